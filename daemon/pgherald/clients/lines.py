"""Lines of a text file as bytes: taken apart without loss, shown without a secret."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Final

from pgherald.errors import Inexpressible, Unparsable
from pgherald.model import LOGIN_FIELDS, DatabaseKey, Login

BOM: Final = b"\xef\xbb\xbf"

_LINE: Final = re.compile(rb"[^\n]*\n|[^\n]+")


def split(text: bytes) -> list[bytes]:
    """The lines of `text`, each with its line end; joined again they give `text`.

    Only a line feed ends a line, as for libpq.
    """
    return _LINE.findall(text)


def bare(line: bytes) -> bytes:
    """The line without its end. libpq drops any run of CR and LF from a pgpass line."""
    return line.rstrip(b"\r\n")


def join(rows: Iterable[bytes], eol: bytes) -> bytes:
    """Put lines together. One that had no line end gets one, unless it comes last."""
    ended: list[bytes] = []
    for row in rows:
        if ended and not ended[-1].endswith(b"\n"):
            ended.append(eol)
        ended.append(row)
    return b"".join(ended)


def refuse_binary(text: bytes) -> None:
    """Make sure that the bytes are lines of text in an encoding that contains ASCII.

    Raises:
        Unparsable: they are UTF-16 or hold a NUL byte, at which libpq would stop reading.
    """
    nul = text.find(b"\0")
    # Without a NUL they are odd bytes of the person's and no UTF-16, of which each line end has
    # one. They may come to stand first when lines above them go.
    if nul >= 0 and text.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise Unparsable("the file is UTF-16", "Save it as UTF-8.", line=1)
    if nul >= 0:
        line = text.count(b"\n", 0, nul) + 1
        raise Unparsable("the line holds a NUL byte", "Save the file as UTF-8 text.", line=line)


def raw(value: str) -> bytes:
    """The bytes of a text; what stands for undecodable bytes becomes those bytes again.

    Raises:
        UnicodeEncodeError: the text has no UTF-8 form.
    """
    return value.encode("utf-8", "surrogateescape")


def decode(value: bytes) -> str:
    """The text of some bytes, whatever they are; `raw` gives them back."""
    return value.decode("utf-8", "surrogateescape")


def encoded(login: Login) -> dict[str, bytes]:
    """A login's fields by name, as bytes that fit on one line.

    No URL is accepted that would give another one: a NUL, a line break or half a surrogate pair in
    it, or several hosts; see `heroku.url`.
    """
    values = {name: raw(str(getattr(login, name))) for name in LOGIN_FIELDS}
    return values | {"password": raw(login.password.reveal())}


def inexpressible(reason: str, key: DatabaseKey) -> Inexpressible:
    """The error for a login that the format cannot hold, with what to do about it."""
    return Inexpressible(
        reason,
        "Let Heroku make a new login: "
        f"`heroku pg:credentials:rotate {key.attachment} --app {key.app}`.",
    )


def number(value: bytes | None) -> int | None:
    """A port as libpq reads it, with white space around it allowed; None if it is none."""
    digits = (value or b"").strip()
    return int(digits) if digits.isdigit() and len(digits) <= len("65535") else None


def for_show(text: bytes) -> Iterator[str]:
    """Lines without their ends, safe for a terminal: what cannot be printed is escaped."""
    for line in split(text):
        shown = bare(line).decode("utf-8", "backslashreplace")
        yield "".join(c if c.isprintable() or c == "\t" else ascii(c)[1:-1] for c in shown)
