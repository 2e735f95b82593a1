"""Whole answers of Heroku, byte by byte through the real client: HTTP, unpacking, JSON, shapes."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import gzip
import ssl
import tracemalloc
from collections.abc import Awaitable, Callable, Iterator, Mapping
from datetime import datetime, timedelta, timezone
from typing import Any, Final

import httpcore
import httpx

from pgherald.clock import SystemClock
from pgherald.errors import HerokuError
from pgherald.heroku.answers import LogSession
from pgherald.heroku.api import HerokuApi
from pgherald.heroku.events import Releases
from pgherald.heroku.host import HerokuHost
from pgherald.heroku.tokens import TokenSource
from pgherald.secret import Secret

HOST: Final = HerokuHost.from_env({})
TOKEN: Final = "HRKU-FUZZ-token"
#: Bytes of memory that one answer may cost; the largest that is taken has 8 MiB.
MOST_MEMORY: Final = 96 * 1024 * 1024
#: A connection that is cut into pieces of as many bytes.
_PIECES: Final = (1, 7, 100, 65536)
_ADDRESS: Final = "8.8.8.8"
#: The longest text that anything shows.
_LONGEST: Final = 1024


class _Tokens(TokenSource):
    async def get(self) -> Secret:
        return Secret(TOKEN)


class _Stream(httpcore.AsyncNetworkStream):
    """A connection to somewhere in the internet that answers each request with the same."""

    def __init__(self, pieces: list[bytes]) -> None:
        self._answer = pieces
        self._pieces: list[bytes] = []

    async def read(self, *_: Any, **__: Any) -> bytes:
        return self._pieces.pop(0) if self._pieces else b""

    async def write(self, *_: Any, **__: Any) -> None:
        self._pieces = self._pieces or self._answer.copy()

    async def aclose(self) -> None:
        self._pieces = []

    async def start_tls(self, *_: Any, **__: Any) -> httpcore.AsyncNetworkStream:
        return self

    def get_extra_info(self, info: str) -> Any:
        return (_ADDRESS, 443) if info == "server_addr" else None


class _Network(httpcore.AsyncNetworkBackend):
    """A network on which each connection gives the same bytes."""

    def __init__(self, raw: bytes, size: int) -> None:
        self._pieces = [raw[at : at + size] for at in range(0, len(raw), size)]

    async def connect_tcp(self, *_: Any, **__: Any) -> httpcore.AsyncNetworkStream:
        return _Stream(self._pieces)


def _transport(raw: bytes, size: int) -> httpx.AsyncBaseTransport:
    """The real one, over a network that is none."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    transport = httpx.AsyncHTTPTransport(verify=context)
    transport._pool = httpcore.AsyncConnectionPool(  # noqa: SLF001 – httpx takes no network
        ssl_context=context, network_backend=_Network(raw, size)
    )
    return transport


async def _releases(api: HerokuApi) -> int:
    releases = Releases()
    session = LogSession(Secret(f"https://{_ADDRESS}/FUZZ"), None)
    async with api.http.follow(session.url) as pieces:
        return sum([releases.feed(piece) async for piece in pieces])


_QUESTIONS: Final[tuple[Callable[[HerokuApi], Awaitable[Any]], ...]] = (
    lambda api: api.config_vars("shop", ["DATABASE"]),
    lambda api: api.apps(),
    lambda api: api.attachments(),
    lambda api: api.latest_release("shop"),
    lambda api: api.open_log("shop"),
    lambda api: api.account(),
    lambda api: api.token_ends_at(),
    _releases,
)


def heroku(data: bytes) -> None:
    """An answer: of the right shape or refused, in bounded memory, without a secret in the words.

    The first byte says which question is answered and in which pieces; the rest is the answer.
    """
    choice, raw = data[:1] or b"\0", data[1:]
    transport = _transport(raw, _PIECES[choice[0] // 64])
    with _bounded():
        asyncio.run(_answered(choice[0] % 64 % (len(_QUESTIONS) + 1), transport))


async def _answered(number: int, transport: httpx.AsyncBaseTransport) -> None:
    api = HerokuApi(HOST, _Tokens(), clock=SystemClock(), transport=transport)
    try:
        if number < len(_QUESTIONS):
            # Twice: the second may be answered out of the memory, or not.
            answers = [await _QUESTIONS[number](api) for _ in range(2)]
        else:
            answers = [await api.token_info()]
    except HerokuError as exc:
        assert "FUZZ" not in f"{exc.title} {exc.advice} {exc!r}", "the error quotes a secret"
        assert exc.__context__ is None, "the error holds the library's, and so the token"
        return
    finally:
        await api.aclose()
    for answer in answers:
        _check(answer)
    assert 0 <= api.budget.left <= api.budget.allowance, "the budget is out of bounds"


@contextlib.contextmanager
def _bounded() -> Iterator[None]:
    tracemalloc.start()
    try:
        yield
        assert tracemalloc.get_traced_memory()[1] < MOST_MEMORY, "too much memory"
    finally:
        tracemalloc.stop()


def _check(answer: Any) -> None:
    """What is handed out can be stored, shown in any time zone, and printed."""
    if dataclasses.is_dataclass(answer):
        _check([getattr(answer, field.name) for field in dataclasses.fields(answer)])
    elif isinstance(answer, Mapping):
        _check([*answer, *answer.values()])
    elif isinstance(answer, list | tuple | frozenset):
        for each in answer:
            _check(each)
    elif isinstance(answer, str):
        assert answer.isprintable(), "a text that cannot be printed"
        assert len(answer) <= _LONGEST, "an endless text"
    elif isinstance(answer, int):
        assert 0 <= answer < 1 << 63, "a number that SQLite cannot hold"
    elif isinstance(answer, datetime):
        for hours in (-14, 14):
            answer.astimezone(timezone(timedelta(hours=hours)))
    else:
        assert answer is None or isinstance(answer, Secret | timedelta), "of no known kind"


def _seed(choice: int, body: bytes, head: bytes = b"", status: bytes = b"200 OK") -> bytes:
    length = b"Content-Length: %d\r\n" % len(body)
    kind = b"Content-Type: application/json\r\n"
    return bytes([choice]) + b"HTTP/1.1 " + status + b"\r\n" + kind + length + head + b"\r\n" + body


def _chunked(choice: int, body: bytes) -> bytes:
    head = (
        b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
    )
    return bytes([choice]) + head + b"%x\r\n" % len(body) + body + b"\r\n0\r\n\r\n"


_VARS: Final = b'{"DATABASE_URL": "postgres://u:FUZZ@h.example/d", "OTHER_URL": "postgres://FUZZ"}'
_APP: Final = (
    b'{"id": "1", "name": "shop", "team": {"name": "acme"}, "released_at": "2026-01-05T09:00:00Z"}'
)
_ATTACHMENT: Final = (
    b'{"id": "1", "name": "DATABASE", "namespace": "role:u2", "app": {"name": "shop"},'
    b' "addon": {"name": "pg-1", "plan": {"name": "heroku-postgresql:mini"}}}'
)
_LINES: Final = b"data: 2026-01-05T09:00:00+00:00 app[api]: Release v7 created by user e\n" * 3
_GZIP: Final = b"Content-Encoding: gzip\r\n"
_BOMB: Final = gzip.compress(b"0" * 100_000_000, mtime=0)

#: Which question, and its answer; then what once was a finding, or is known to be tried.
SEEDS: Final = (
    _seed(0, _VARS, b'ETag: "1"\r\nRateLimit-Remaining: 4499\r\n'),
    _seed(64, gzip.compress(_VARS, mtime=0), _GZIP),
    _chunked(128, _VARS),
    _seed(1, b"[" + _APP + b"]", b"Next-Range: x\r\n"),
    _seed(2, b"[" + _ATTACHMENT + b"]"),
    _seed(3, b'[{"name": "pg-1", "plan": {"name": "heroku-postgresql:mini"}}]'),
    _seed(4, b'[{"version": 7, "description": "x", "created_at": "2026-01-05T09:00:00Z"}]'),
    _seed(5, b'{"logplex_url": "https://FUZZ.example/", "created_at": "2026-01-05T09:00:00Z"}'),
    _seed(6, b'{"email": "me@example.com"}'),
    _seed(7, b'[{"access_token": {"token": "HRKU-FUZZ-token", "expires_in": 3600}}]'),
    _seed(8, _LINES, b"Connection: keep-alive\r\n"),
    _seed(9, b'{"email": "me"}', b"Date: Mon, 05 Jan 2026 09:02:00 GMT\r\nOauth-Scope: global\r\n"),
    _seed(0, b'{"id": "forbidden", "message": "FUZZ"}', status=b"403 Forbidden"),
    _seed(0, b"", b"Retry-After: Mon, 05 Jan 2026 09:02:00 GMT\r\n", b"429 Too Many Requests"),
    _seed(0, b"", b"Location: https://FUZZ.example/\r\n", b"302 Found"),
    _seed(0, b"", b"Location: http://[FUZZ\r\n", b"301 Moved"),
    _seed(0, b"", b"Location: https:FUZZ.example\r\n", b"302 Found"),
    _seed(8, b"", b"Location: https:FUZZ.example\r\n", b"302 Found"),
    _seed(0, b"", b"Location: https://xn--\r\n", b"302 Found"),
    _seed(192, _BOMB, _GZIP),
    _seed(192, gzip.compress(_BOMB, mtime=0), b"Content-Encoding: gzip, gzip\r\n"),
    _seed(200, _BOMB, _GZIP),
    _seed(192, gzip.compress(b"[" * 100_000, mtime=0), _GZIP),
    _seed(192, gzip.compress(b"[" + b"[]," * 500_000 + b"[]]", mtime=0), _GZIP),
    _seed(4, b'[{"version": %d}]' % 2**63),
    _seed(0, _VARS, b"RateLimit-Remaining: " + b"9" * 400 + b"\r\n"),
    _seed(5, b'{"logplex_url": "https://["}'),
    b"\0HTTP/1.1 101 Switching Protocols\r\n\r\nFUZZ",
    b"\0HTTP/1.1 204 No Content\r\nContent-Encoding: gzip\r\n\r\n",
    b"\0" + b"HTTP/1.1 103 Early Hints\r\n\r\n" * 50,
)
