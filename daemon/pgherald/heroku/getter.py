"""One request, and every way it can go wrong.

- Reads only: GET, and the one POST by which Heroku opens a log session for reading. Nothing
  here can change anything at Heroku.
- `HerokuHost.allows` is asked with the very URL that is about to be used. Redirects are
  never followed: the token would travel along.
- A total time limit beside httpx's own, which begin anew with each piece: a body that
  drips for ever ends here. A size limit, counted as the body comes in and is unpacked.
- No cookie is kept or sent back.
- Company proxies from the environment (`HTTPS_PROXY`, `ALL_PROXY`, `NO_PROXY`; on macOS and
  Windows the system's) are used for Heroku, and never for this machine.
  `SSL_CERT_FILE` and `SSL_CERT_DIR` count in both cases.

Errors leave without the library's exception behind them, since that holds the request
and with it the token.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import http.cookiejar
import logging
import socket
import ssl
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, cast
from urllib.parse import quote

import httpx

import pgherald
from pgherald.errors import (
    HerokuError,
    MissingTool,
    NotHeroku,
    Unavailable,
    UnsafeHost,
)
from pgherald.heroku.body import pieces
from pgherald.heroku.host import HerokuHost
from pgherald.heroku.peer import Guard, Resolver, refusal, resolve
from pgherald.secret import Secret

#: Reads the certificates of the authorities to trust.
Trust = Callable[[], ssl.SSLContext]

log = logging.getLogger(__name__)

TIME_LIMIT: Final = 20.0
#: A page of a thousand add-ons has three megabytes at most.
SIZE_LIMIT: Final = 8 * 1024 * 1024
USER_AGENT: Final = f"pgherald/{pgherald.__version__} (+https://github.com/pgherald/pgherald)"

_NOT_MODIFIED: Final = 304
#: What httpx raises where a redirect leads to no address, followed or not.
_NO_ADDRESS: Final = (httpx.InvalidURL, UnicodeError)
#: Only what Heroku itself says of the app, none of what the app says; one old line, and the new
#: ones as they come. The public schema calls the filter `dyno_name`, the Heroku CLI `dyno`.
_LOG_SESSION: Final = {"source": "app", "dyno": "api", "lines": 1, "tail": True}
#: Seconds of silence after which the kernel asks whether the other side is still there.
_SILENCE: Final = 60
_UNREACHED: Final = "Heroku cannot be reached"
_PROXY_ADVICE: Final = "Look at the proxy in HTTPS_PROXY, ALL_PROXY or the system's settings."


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


class Getter:
    """Sends requests with a token to one Heroku, and follows logs without it.

    Attributes:
        host: where they go.
        requests: how many have been sent.
    """

    def __init__(
        self,
        host: HerokuHost,
        *,
        transport: httpx.AsyncBaseTransport | None = None,
        trust: Trust = httpx.create_ssl_context,
        time_limit: float = TIME_LIMIT,
        size_limit: int = SIZE_LIMIT,
        resolver: Resolver = resolve,
    ) -> None:
        self.host = host
        self.requests = 0
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
            UnsafeHost: the token would go to a stranger; nothing was sent.
            Unavailable: no network, no answer, or no whole answer.
            NotHeroku: a redirect, a flood, or something that is not HTTP.
            MissingTool: the proxy needs a package that is not installed.
        """
        client = self._opened()
        request = client.build_request("GET", self.host.url + path, headers=headers)
        return await self._in_time(client, request, token)

    async def open_log(self, app: str, token: Secret, headers: Mapping[str, str]) -> Answer:
        """Open a log session of an app, to read what it is about to say of its releases.

        Args:
            app: the app's name.
            token: as for `get`.
            headers: further headers.

        Raises:
            HerokuError, MissingTool: as `get`.
        """
        client, path = self._opened(), f"/apps/{segment(app)}/log-sessions"
        request = client.build_request(
            "POST", self.host.url + path, headers=headers, json=_LOG_SESSION
        )
        return await self._in_time(client, request, token)

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
        client = self._opened()
        request, guard = self._log_request(client, url)
        problem: HerokuError
        try:
            async with asyncio.timeout(self._time_limit):
                response = await client.send(request, stream=True)
            try:
                known = guard.opened or self.host.allows(str(request.url))
                if self._transport is None and not known:
                    raise refusal()  # nobody has seen where the connection leads
                _check_log(response)
                yield self._pieces(response)
                return
            finally:
                await response.aclose()
        except httpx.HTTPError as exc:
            log.debug("GET of a log session: %s", type(exc).__name__)
            problem = _in_plain_words(exc)
        except TimeoutError:
            problem = _too_slow()
        except _NO_ADDRESS:
            problem = _redirected()
        raise problem

    async def _pieces(self, response: httpx.Response) -> AsyncIterator[bytes]:
        problem: HerokuError
        try:
            async for piece in self._unpacked(response, gzip=False):
                yield piece
        except httpx.HTTPError as exc:
            problem = _in_plain_words(exc)
        else:
            return
        raise problem

    def _log_request(self, client: httpx.AsyncClient, url: Secret) -> tuple[httpx.Request, Guard]:
        """The request for a log, and what watches over its connection."""
        address = None
        with contextlib.suppress(*_NO_ADDRESS):
            found = httpx.URL(url.reveal())
            # Asking for its host decodes it, which may fail where reading it did not.
            address = found if found.host and self.host.allows_log(str(found)) else None
        if address is None:
            raise refusal()
        guard = Guard(self.host, address.raw_host.decode("ascii"), self._resolver)
        request = client.build_request(
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

    async def _in_time(
        self, client: httpx.AsyncClient, request: httpx.Request, token: Secret
    ) -> Answer:
        problem: HerokuError
        try:
            async with asyncio.timeout(self._time_limit):
                return await self._send(client, request, token)
        except httpx.HTTPError as exc:
            log.debug("%s %s: %s", request.method, request.url.path, type(exc).__name__)
            problem = _in_plain_words(exc)
        except TimeoutError:
            problem = _too_slow()
        except _NO_ADDRESS:
            problem = _redirected()
        raise problem

    async def aclose(self) -> None:
        """Close the connections."""
        if self._client is not None:
            await self._client.aclose()

    def _opened(self) -> httpx.AsyncClient:
        self._client = self._client or _client(self.host, self._transport, self._trust)
        return self._client

    async def _send(
        self, client: httpx.AsyncClient, request: httpx.Request, token: Secret
    ) -> Answer:
        if not self.host.allows(str(request.url)):
            raise UnsafeHost(
                f"Refused: a request would leave {self.host.name}",
                "This is a mistake in pgherald; nothing was sent. Please report it.",
            )
        request.headers["Authorization"] = f"Bearer {token.reveal()}"
        self.requests += 1
        response = await client.send(request, stream=True)
        try:
            if response.is_redirect and response.status_code != _NOT_MODIFIED:
                raise _redirected()
            return Answer(response.status_code, response.headers, await self._body(response))
        finally:
            await response.aclose()

    async def _body(self, response: httpx.Response) -> bytes:
        body = bytearray()
        async for piece in self._unpacked(response, gzip=True):
            body += piece
        return bytes(body)

    def _unpacked(self, response: httpx.Response, *, gzip: bool) -> AsyncIterator[bytes]:
        encoding = response.headers.get("Content-Encoding", "")
        # Not `aiter_bytes`, which unpacks without a limit.
        raw = cast("httpx.AsyncByteStream", response.stream)
        return pieces(raw, encoding, self._size_limit, gzip=gzip)


def segment(name: str) -> str:
    """A name as one segment of a path. Dots are quoted too, since a library may resolve `..`."""
    return quote(name, safe="").replace(".", "%2E")


class _NoCookies(http.cookiejar.CookieJar):
    """Keeps no cookie, and does not even parse one."""

    def extract_cookies(self, response: Any, request: Any) -> None:
        """Leave the answer's cookies where they are."""


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


def shared_trust() -> Trust:
    """The same certificates for several accounts: a hundred of them take two megabytes."""
    return functools.cache(httpx.create_ssl_context)


def _client(
    host: HerokuHost, transport: httpx.AsyncBaseTransport | None, trust: Trust
) -> httpx.AsyncClient:
    """A client that follows no redirect, and no proxy on the way to this machine."""
    problem: HerokuError | MissingTool
    try:
        return httpx.AsyncClient(
            transport=transport,
            trust_env=not host.is_loopback,
            verify=trust() if transport is None else True,
            follow_redirects=False,
            timeout=TIME_LIMIT,
            headers={"User-Agent": USER_AGENT, "Accept-Encoding": "gzip"},
            cookies=_NoCookies(),
        )
    except ImportError:
        problem = MissingTool(
            "The proxy speaks SOCKS, for which a package is missing",
            "Run: pip install 'httpx[socks]', or set HTTPS_PROXY to an HTTP proxy.",
        )
    except OSError:
        problem = Unavailable(
            "The certificates to trust cannot be read", "Look at SSL_CERT_FILE and SSL_CERT_DIR."
        )
    except (ValueError, httpx.InvalidURL):
        problem = Unavailable("The proxy's address cannot be understood", _PROXY_ADVICE)
    raise problem


def _in_plain_words(exc: httpx.HTTPError) -> HerokuError:
    """What a person would say about it. Nothing of the exception's own text is used."""
    if isinstance(exc, httpx.TimeoutException):
        return _too_slow()
    if isinstance(exc, httpx.ProxyError):
        return Unavailable(f"{_UNREACHED}: the proxy refuses", _PROXY_ADVICE)
    if isinstance(exc, httpx.ConnectError):
        return _unconnected(exc)
    if isinstance(exc, httpx.DecodingError):
        return NotHeroku("What answers is not Heroku: its data is damaged")
    # httpcore's only words for a server that hangs up without a word; h11's words for
    # an answer that ends early. Whatever else breaks the protocol is no web server of Heroku's.
    if isinstance(exc, httpx.RemoteProtocolError) and not any(
        words in str(exc) for words in ("disconnected", "closed connection")
    ):
        return NotHeroku("What answers is not Heroku: it does not speak HTTP")
    return Unavailable("The connection to Heroku broke off")


def _unconnected(exc: BaseException) -> Unavailable:
    for cause in _causes(exc):
        if isinstance(cause, ssl.SSLCertVerificationError):
            return Unavailable(
                f"{_UNREACHED}: the certificate is not trusted",
                "A company proxy may stand in between: point SSL_CERT_FILE to its certificate. "
                "A wrong clock has the same effect.",
            )
        if isinstance(cause, ssl.SSLError):
            return Unavailable(f"{_UNREACHED}: no secure connection comes about")
        if isinstance(cause, socket.gaierror):
            return Unavailable(f"{_UNREACHED}: no network or DNS")
        if isinstance(cause, ConnectionRefusedError):
            return Unavailable(f"{_UNREACHED}: the connection is refused")
    return Unavailable(f"{_UNREACHED}: no way through the network")


def _causes(exc: BaseException | None) -> Iterator[BaseException]:
    """The exception and all behind it; anyio groups those of several addresses."""
    while exc is not None:
        yield exc
        if isinstance(exc, BaseExceptionGroup):
            for each in exc.exceptions:
                yield from _causes(each)
        exc = exc.__cause__ or exc.__context__


def _redirected() -> NotHeroku:
    return NotHeroku("What answers is not Heroku: it redirects elsewhere")


def _too_slow() -> Unavailable:
    return Unavailable("Heroku does not answer in time")
