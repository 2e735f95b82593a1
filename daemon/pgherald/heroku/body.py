"""An answer's body, unpacked here and counted before it is kept.

The HTTP library unpacks whatever layers an answer names, each raw piece as a whole: a few
kilobytes of `gzip, gzip` become gigabytes before anybody can count them. So its decoders are
passed by. One layer of gzip is unpacked, no further than the limit, and only where it was
asked for; every other encoding is refused.
"""

from __future__ import annotations

import zlib
from collections.abc import AsyncIterable, AsyncIterator
from typing import Final

from pgherald.errors import NotHeroku

#: RFC 9110, 8.4.1.3: the second is another name of the first.
_GZIP: Final = frozenset({"gzip", "x-gzip"})
_PLAIN: Final = frozenset({"", "identity"})
#: zlib: a gzip header is expected, with the largest window.
_GZIP_WINDOW: Final = 16 + zlib.MAX_WBITS


async def pieces(
    body: AsyncIterable[bytes], encoding: str, limit: int, *, gzip: bool
) -> AsyncIterator[bytes]:
    """The body as it comes in, unpacked.

    Args:
        body: what comes in, as it was sent.
        encoding: the answer's `Content-Encoding`.
        limit: the most bytes to take in, and to give out.
        gzip: whether gzip was asked for.

    Raises:
        NotHeroku: it is longer, damaged, or packed in another way; and what `body` raises.
    """
    encoding = encoding.strip().lower()
    if encoding not in (_PLAIN | _GZIP if gzip else _PLAIN):
        raise NotHeroku("What answers is not Heroku: it packs its data as nobody asked for")
    unpacker = zlib.decompressobj(_GZIP_WINDOW) if encoding in _GZIP else None
    taken = given = 0
    async for raw in body:
        taken += len(raw)
        # One byte more than there is room for shows that there is more.
        piece = raw if unpacker is None else _unpacked(unpacker, raw, limit - given + 1)
        given += len(piece)
        if max(taken, given) > limit:
            raise NotHeroku("What answers is not Heroku: it does not stop sending")
        if piece:
            yield piece
    if unpacker is not None and taken and not unpacker.eof:
        raise _damaged()


def _unpacked(unpacker: zlib._Decompress, raw: bytes, most: int) -> bytes:
    try:
        piece = unpacker.decompress(raw, most)
    except zlib.error:
        pass
    else:
        if not unpacker.unused_data:
            return piece
    raise _damaged()


def _damaged() -> NotHeroku:
    return NotHeroku("What answers is not Heroku: its data is damaged")
