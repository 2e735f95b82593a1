"""One request, and every way it can go wrong.

- Reads only: GET, and the one POST by which Heroku opens a log session for reading. Nothing
  here can change anything at Heroku.
- `HerokuHost.allows` is asked with the very URL that is about to be used. Redirects are
  never followed: the token would travel along.
- A total time limit beside httpx's own, which begin anew with each piece: a body that
  drips for ever ends here.
- httpx unpacks whatever layers an answer names, each raw piece as a whole: a few kilobytes of
  `gzip, gzip` become gigabytes before anybody can count them. So its decoders are passed by:
  one layer of gzip is unpacked, no further than the size limit.

Errors leave without the library's exception behind them, since that holds the request
and with it the token. With `log_level = "debug"` each request is one line of the log.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import re
import socket
import time
import zlib
from collections.abc import AsyncIterable, AsyncIterator, Mapping
from dataclasses import dataclass, field
from typing import Final, cast
from urllib.parse import quote

import httpx

from pgherald.errors import HerokuError, NotHeroku, Unavailable, UnsafeHost
from pgherald.heroku import network
from pgherald.heroku.budget import Budget
from pgherald.heroku.host import Guard, HerokuHost, Resolver, refusal, resolve
from pgherald.secret import Secret

log = logging.getLogger(__name__)

#: A page of a thousand add-ons has three megabytes at most.
SIZE_LIMIT: Final = 8 * 1024 * 1024

_NOT_MODIFIED: Final = 304
#: Only what Heroku itself says of the app, none of what the app says; one old line, and the new
#: ones as they come. The public schema calls the filter `dyno_name`, the Heroku CLI `dyno`.
_LOG_SESSION: Final = {"source": "app", "dyno": "api", "lines": 1, "tail": True}
#: Seconds of silence after which the kernel asks whether the other side is still there.
_SILENCE: Final = 60
#: RFC 9110, 8.4.1.3: the second is another name of the first.
_GZIP: Final = frozenset({"gzip", "x-gzip"})
#: zlib: a gzip header is expected, with the largest window.
_GZIP_WINDOW: Final = 16 + zlib.MAX_WBITS
#: No release and no quota of Heroku's comes near it; SQLite's own integers end far beyond.
MOST: Final = 2**31 - 1
_DIGITS: Final = re.compile(r"[0-9]{1,10}")


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back.

    Attributes:
        status: HTTP status, never a redirect.
        headers: by name, in any case.
        body: decompressed; may hold secrets, so it is decoded, picked from and dropped.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes = field(repr=False)


class HttpClient:
    """Sends requests with a token to one Heroku, and follows logs without it.

    Attributes:
        host: where they go.
        requests: how many have been sent.
        heard: the headers of the latest answer, by name, in any case.
    """

    def __init__(
        self,
        host: HerokuHost,
        budget: Budget,
        *,
        transport: httpx.AsyncBaseTransport | None = None,
        trust: network.Trust = httpx.create_ssl_context,
        time_limit: float = network.TIME_LIMIT,
        size_limit: int = SIZE_LIMIT,
        resolver: Resolver = resolve,
    ) -> None:
        self.host = host
        self.requests = 0
        self.heard: Mapping[str, str] = {}
        self._budget = budget
        self._transport = transport
        self._trust = trust
        self._time_limit = time_limit
        self._size_limit = size_limit
        self._resolver = resolver
        self._client: httpx.AsyncClient | None = None

    async def get(self, path: str, token: Secret, headers: Mapping[str, str]) -> Answer:
        """Send one request.

        Args:
            path: begins with a slash; its segments are quoted already.
            token: goes into the Authorization header.
            headers: further headers.

        Raises:
            RateLimited: the budget has none left; nothing was sent.
            UnsafeHost: the token would go to a stranger; nothing was sent.
            Unavailable: no network, no answer, or no whole answer.
            NotHeroku: a redirect, a flood, or something that is not HTTP.
            MissingTool: the proxy needs a package that is not installed.
        """
        request = self._opened().build_request("GET", self.host.url + path, headers=headers)
        return await self._send(request, token)

    async def open_log(self, app: str, token: Secret, headers: Mapping[str, str]) -> Answer:
        """Open a log session of an app, to read what it is about to say of its releases.

        Args:
            app: the app's name.
            token: as for `get`.
            headers: further headers.

        Raises:
            HerokuError, MissingTool: as `get`.
        """
        path = f"/apps/{segment(app)}/log-sessions"
        request = self._opened().build_request(
            "POST", self.host.url + path, headers=headers, json=_LOG_SESSION
        )
        return await self._send(request, token)

    @contextlib.asynccontextmanager
    async def follow(self, url: Secret) -> AsyncIterator[AsyncIterator[bytes]]:
        """Fetch a log session, for as long as it lasts, without the token.

        Gives the body piece by piece. It may be silent for an hour: the kernel alone looks
        whether the other side is still there, so that silence wakes nobody up.

        Args:
            url: the session's address, which is the key to it.

        Raises:
            UnsafeHost: the address is none that a log may be fetched from.
            Unavailable: the session is over, or cannot be reached, or broke off.
            NotHeroku: what answers is no log.
        """
        request, guard = self._log_request(url)
        problem: HerokuError
        began = time.monotonic()
        try:
            async with asyncio.timeout(self._time_limit):
                response = await self._opened().send(request, stream=True)
            async with contextlib.aclosing(response):
                # Its address is the key to it, so no part of that is logged.
                taken = (time.monotonic() - began) * 1000
                log.debug("GET of a log session: %d in %d ms", response.status_code, taken)
                known = guard.opened or self.host.allows(str(request.url))
                if self._transport is None and not known:
                    raise refusal()  # nobody has seen where the connection leads
                _check_log(response)
                yield self._log_pieces(response)
                return
        except network.BROKEN as exc:
            log.debug("GET of a log session: %s", type(exc).__name__)
            problem = network.in_plain_words(exc)
        raise problem

    async def _log_pieces(self, response: httpx.Response) -> AsyncIterator[bytes]:
        problem: HerokuError
        try:
            async for piece in self._unpacked(response, gzip=False):
                yield piece
        except httpx.HTTPError as exc:
            problem = network.in_plain_words(exc)
        else:
            return
        raise problem

    def _log_request(self, url: Secret) -> tuple[httpx.Request, Guard]:
        """The request for a log, and what watches over its connection."""
        address = None
        with contextlib.suppress(httpx.InvalidURL, UnicodeError):
            found = httpx.URL(url.reveal())
            # Asking for its host decodes it, which may fail where reading it did not.
            address = found if found.host and self.host.allows_log(str(found)) else None
        if address is None:
            raise refusal()
        guard = Guard(self.host, address.raw_host.decode("ascii"), self._resolver)
        request = self._opened().build_request(
            "GET",
            address,
            headers={
                "Accept": "text/event-stream",
                "Accept-Encoding": "identity",
                # Each log has a connection of its own, so that the guard sees it being made.
                "Connection": "close",
            },
            timeout=httpx.Timeout(self._time_limit, read=None),
            extensions={"trace": guard},
        )
        return request, guard

    async def aclose(self) -> None:
        """Close the connections."""
        if self._client is not None:
            await self._client.aclose()

    def _opened(self) -> httpx.AsyncClient:
        self._client = self._client or network.open_client(self.host, self._transport, self._trust)
        return self._client

    async def _send(self, request: httpx.Request, token: Secret) -> Answer:
        if not self.host.allows(str(request.url)):
            raise UnsafeHost(
                f"Refused: a request would leave {self.host.name}",
                "This is a mistake in pgherald; nothing was sent. Please report it.",
            )
        self._budget.take()
        request.headers["Authorization"] = f"Bearer {token.reveal()}"
        self.requests += 1
        outcome, began = "cancelled", time.monotonic()
        problem: HerokuError
        try:
            async with asyncio.timeout(self._time_limit):
                answer = await self._answer(request)
            outcome = str(answer.status)
        except network.BROKEN as exc:
            problem, outcome = network.in_plain_words(exc), type(exc).__name__
        except HerokuError as exc:
            outcome = exc.title
            raise
        else:
            return answer
        finally:
            # The path is quoted still, and without its query.
            path = request.url.raw_path.partition(b"?")[0].decode("ascii")
            left, taken = self._budget.left, (time.monotonic() - began) * 1000
            words = "%s %s: %s in %d ms, %d requests left"
            log.debug(words, request.method, path, outcome, taken, left)
        raise problem

    async def _answer(self, request: httpx.Request) -> Answer:
        response = await self._opened().send(request, stream=True)
        async with contextlib.aclosing(response):
            if response.is_redirect and response.status_code != _NOT_MODIFIED:
                raise network.redirected()
            body = bytearray()
            async for piece in self._unpacked(response, gzip=True):
                body += piece
        self.heard = response.headers
        left = count_of(self.heard.get("RateLimit-Remaining", ""))
        if left is not None:
            self._budget.saw(left)
        return Answer(response.status_code, self.heard, bytes(body))

    async def _unpacked(self, response: httpx.Response, *, gzip: bool) -> AsyncIterator[bytes]:
        """The body as it comes in, unpacked, and counted before it is kept.

        Args:
            response: what is being received.
            gzip: whether gzip was asked for.

        Raises:
            NotHeroku: it is longer than the limit, damaged, or packed in another way.
        """
        encoding = response.headers.get("Content-Encoding", "").strip().lower()
        is_packed = gzip and encoding in _GZIP
        if not is_packed and encoding not in {"", "identity"}:
            raise NotHeroku("What answers is not Heroku: it packs its data as nobody asked for")
        unpacker = zlib.decompressobj(_GZIP_WINDOW) if is_packed else None
        taken, given, broken = 0, 0, False
        # Not `aiter_bytes`, which unpacks without a limit.
        async for raw in cast("AsyncIterable[bytes]", response.stream):
            taken += len(raw)
            self._budget.received(len(raw))
            # One byte more than there is room for shows that there is more.
            piece, room = raw, self._size_limit - given + 1
            if unpacker is not None:
                try:
                    piece = unpacker.decompress(raw, room)
                except zlib.error:
                    broken = True
                if broken or unpacker.unused_data:
                    raise network.damaged()
            given += len(piece)
            if max(taken, given) > self._size_limit:
                raise NotHeroku("What answers is not Heroku: it does not stop sending")
            if piece:
                yield piece
        if unpacker is not None and taken and not unpacker.eof:
            raise network.damaged()


def segment(name: str) -> str:
    """A name as one segment of a path. Dots are quoted too, since a library may resolve `..`."""
    return quote(name, safe="").replace(".", "%2E")


def count_of(text: str) -> int | None:
    """The number that a header holds; None where it holds anything else."""
    number = int(text) if _DIGITS.fullmatch(text) else None
    return number if number is not None and number <= MOST else None


def _check_log(response: httpx.Response) -> None:
    """Go on only with a log; have the kernel look after its connection."""
    if response.status_code != httpx.codes.OK:
        # Heroku: 403 or 404 when the session is over.
        raise Unavailable(f"The log session cannot be read ({response.status_code})")
    stream = response.extensions.get("network_stream")
    wire = stream.get_extra_info("socket") if stream is not None else None
    if wire is None:
        return
    with contextlib.suppress(OSError):
        wire.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for option in ("TCP_KEEPIDLE", "TCP_KEEPALIVE"):  # Linux; macOS
            if hasattr(socket, option):
                wire.setsockopt(socket.IPPROTO_TCP, getattr(socket, option), _SILENCE)
