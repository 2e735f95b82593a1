"""One GET request, and every way it can go wrong.

- Only GET: nothing here can change anything at Heroku.
- `HerokuHost.allows` is asked with the very URL that is about to be used. Redirects are
  never followed: the token would travel along.
- A total time limit beside httpx's own, which begin anew with each piece: a body that
  drips for ever ends here. A size limit, counted as the body comes in.
- Company proxies from the environment (`HTTPS_PROXY`, `ALL_PROXY`, `NO_PROXY`; on macOS and
  Windows the system's) are used for Heroku, and never for this machine.
  `SSL_CERT_FILE` and `SSL_CERT_DIR` count in both cases.

Errors leave without the library's exception behind them, since that holds the request
and with it the token.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

import httpx

import pgherald
from pgherald.errors import HerokuError, MissingTool, NotHeroku, Unavailable, UnsafeHost
from pgherald.heroku.host import HerokuHost
from pgherald.secret import Secret

log = logging.getLogger(__name__)

TIME_LIMIT: Final = 20.0
SIZE_LIMIT: Final = 16 * 1024 * 1024
USER_AGENT: Final = f"pgherald/{pgherald.__version__} (+https://github.com/pgherald/pgherald)"

_NOT_MODIFIED: Final = 304
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
    """Sends GET requests with a token to one Heroku.

    Attributes:
        host: where they go.
        requests: how many have been sent.
    """

    def __init__(
        self,
        host: HerokuHost,
        *,
        transport: httpx.AsyncBaseTransport | None = None,
        time_limit: float = TIME_LIMIT,
        size_limit: int = SIZE_LIMIT,
    ) -> None:
        self.host = host
        self.requests = 0
        self._transport = transport
        self._time_limit = time_limit
        self._size_limit = size_limit
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
        problem: HerokuError
        try:
            async with asyncio.timeout(self._time_limit):
                return await self._get(path, token, headers)
        except httpx.HTTPError as exc:
            log.debug("GET %s: %s", path, type(exc).__name__)
            problem = _in_plain_words(exc)
        except TimeoutError:
            problem = _too_slow()
        raise problem

    async def aclose(self) -> None:
        """Close the connections."""
        if self._client is not None:
            await self._client.aclose()

    async def _get(self, path: str, token: Secret, headers: Mapping[str, str]) -> Answer:
        client = self._client = self._client or _client(self.host, self._transport)
        request = client.build_request("GET", self.host.url + path, headers=headers)
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
                raise NotHeroku("What answers is not Heroku: it redirects elsewhere")
            return Answer(response.status_code, response.headers, await self._body(response))
        finally:
            await response.aclose()

    async def _body(self, response: httpx.Response) -> bytes:
        body = bytearray()
        async for piece in response.aiter_bytes():
            body += piece
            if len(body) > self._size_limit:
                raise NotHeroku("What answers is not Heroku: it does not stop sending")
        return bytes(body)


def _client(host: HerokuHost, transport: httpx.AsyncBaseTransport | None) -> httpx.AsyncClient:
    """A client that follows no redirect, and no proxy on the way to this machine."""
    problem: HerokuError | MissingTool
    try:
        return httpx.AsyncClient(
            transport=transport,
            trust_env=not host.is_loopback,
            verify=httpx.create_ssl_context() if transport is None else True,
            follow_redirects=False,
            timeout=TIME_LIMIT,
            # A body's size can be judged only as long as it is not compressed.
            headers={"User-Agent": USER_AGENT, "Accept-Encoding": "identity"},
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


def _too_slow() -> Unavailable:
    return Unavailable("Heroku does not answer in time")
