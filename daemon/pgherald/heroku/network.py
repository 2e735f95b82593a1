"""The network on the way to Heroku: proxies, certificates, DNS, and what goes wrong there.

Company proxies from the environment (`HTTPS_PROXY`, `ALL_PROXY`, `NO_PROXY`; on macOS and
Windows the system's) are used for Heroku, and never for this machine. `SSL_CERT_FILE` and
`SSL_CERT_DIR` count in both cases. No cookie is kept or sent back.
"""

from __future__ import annotations

import contextlib
import functools
import importlib.util
import os
import socket
import ssl
from collections.abc import Callable, Iterator, Mapping
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import Final

import httpx

import pgherald
from pgherald.errors import HerokuError, MissingTool, NotHeroku, Unavailable
from pgherald.heroku.host import HerokuHost

#: Reads the certificates of the authorities to trust.
Trust = Callable[[], ssl.SSLContext]

#: Seconds that a request may take.
TIME_LIMIT: Final = 20.0
USER_AGENT: Final = f"pgherald/{pgherald.__version__} (+https://github.com/pgherald/pgherald)"

#: Whatever httpx raises; the last two where a redirect leads to no address, followed or not.
BROKEN: Final = (httpx.HTTPError, TimeoutError, httpx.InvalidURL, UnicodeError)

_PROXY_ADVICE: Final = "Correct the proxy in HTTPS_PROXY, ALL_PROXY or the system's settings."
_PROXIES: Final = ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy")
_CERTIFICATES: Final = {"SSL_CERT_FILE": os.path.isfile, "SSL_CERT_DIR": os.path.isdir}

#: Why no connection comes about, by what lies behind it.
_UNCONNECTED: Final[tuple[tuple[type[BaseException], str, str], ...]] = (
    (
        ssl.SSLCertVerificationError,
        "the certificate is not trusted",
        (
            "A company proxy may stand in between: point SSL_CERT_FILE to its certificate. "
            "A wrong clock has the same effect."
        ),
    ),
    (ssl.SSLError, "no secure connection comes about", ""),
    (socket.gaierror, "no network or DNS", ""),
    (ConnectionRefusedError, "the connection is refused", ""),
)


def shared_trust() -> Trust:
    """The same certificates for several accounts: a hundred of them take two megabytes."""
    return functools.cache(httpx.create_ssl_context)


def open_client(
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
            cookies=CookieJar(DefaultCookiePolicy(allowed_domains=())),
        )
    except ImportError:
        problem = _no_socks("The proxy")
    except OSError:
        problem = Unavailable(
            "The certificates to trust cannot be read",
            "Correct SSL_CERT_FILE and SSL_CERT_DIR, or `unset` them.",
        )
    except (ValueError, httpx.InvalidURL):
        problem = Unavailable("The proxy's address cannot be understood", _PROXY_ADVICE)
    raise problem


def in_plain_words(exc: Exception) -> HerokuError:
    """What a person would say about it. Nothing of the exception's own text is used."""
    error: HerokuError = Unavailable("The connection to Heroku broke off")
    if isinstance(exc, httpx.ConnectError):
        error = _unconnected(exc)
    elif isinstance(exc, httpx.RemoteProtocolError):
        # httpcore's only words for a server that hangs up without a word; h11's words for an
        # answer that ends early. Whatever else breaks the protocol is no web server of Heroku's.
        if not any(words in str(exc) for words in ("disconnected", "closed connection")):
            error = NotHeroku("What answers is not Heroku: it does not speak HTTP")
    elif isinstance(exc, TimeoutError | httpx.TimeoutException):
        error = Unavailable("Heroku does not answer in time")
    elif isinstance(exc, httpx.InvalidURL | UnicodeError):
        error = redirected()
    elif isinstance(exc, httpx.ProxyError):
        error = Unavailable("Heroku cannot be reached: the proxy refuses", _PROXY_ADVICE)
    elif isinstance(exc, httpx.DecodingError):
        error = damaged()
    return error


def _unconnected(exc: BaseException) -> Unavailable:
    for cause in _causes(exc):
        for kind, words, advice in _UNCONNECTED:
            if isinstance(cause, kind):
                return Unavailable(f"Heroku cannot be reached: {words}", advice)
    return Unavailable("Heroku cannot be reached: no way through the network")


def _causes(exc: BaseException | None) -> Iterator[BaseException]:
    """The exception and all behind it; anyio groups those of several addresses."""
    while exc is not None:
        yield exc
        if isinstance(exc, BaseExceptionGroup):
            for each in exc.exceptions:
                yield from _causes(each)
        exc = exc.__cause__ or exc.__context__


def redirected() -> NotHeroku:
    """The answer is a redirect, wherever it leads."""
    return NotHeroku("What answers is not Heroku: it redirects elsewhere")


def damaged() -> NotHeroku:
    """The answer cannot be unpacked."""
    return NotHeroku("What answers is not Heroku: its data is damaged")


def proxies(env: Mapping[str, str]) -> list[str]:
    """Names of the variables that name a proxy for Heroku; their values may hold a password."""
    return [name for name in _PROXIES if env.get(name)]


def check_proxies(env: Mapping[str, str]) -> None:
    """See whether the proxies that the environment names can be used.

    Raises:
        Unavailable: one is no address of a proxy.
        MissingTool: one speaks SOCKS, for which a package is missing.
    """
    for name in proxies(env):
        with contextlib.suppress(ValueError, httpx.InvalidURL):
            url = httpx.Proxy(env[name] if "://" in env[name] else f"http://{env[name]}").url
            if url.scheme.startswith("socks") and importlib.util.find_spec("socksio") is None:
                raise _no_socks(f"The proxy in {name}")
            if url.host and url.port != 0:
                continue
        advice = f"Write it as http://HOST:PORT, or `unset {name}`."
        raise Unavailable(f"{name} is no address of a proxy", advice)


def _no_socks(proxy: str) -> MissingTool:
    return MissingTool(
        f"{proxy} speaks SOCKS, for which a package is missing",
        "Run: pip install 'httpx[socks]', or set HTTPS_PROXY to an HTTP proxy.",
    )


def check_certificates(env: Mapping[str, str]) -> None:
    """See whether the certificates that the environment names are there.

    Raises:
        Unavailable: they are not; no secure connection could be made.
    """
    for name, is_there in _CERTIFICATES.items():
        if env.get(name) and not is_there(env[name]):
            raise Unavailable(f"{name} names what is not there", f"Correct it, or `unset {name}`.")


def resolve_host(host: HerokuHost) -> None:
    """Ask DNS for Heroku. Blocks.

    Raises:
        Unavailable: its name has no address, or nobody can be asked.
    """
    try:
        socket.getaddrinfo(host.name.strip("[]"), host.port, type=socket.SOCK_STREAM)
    except OSError:
        raise Unavailable(
            f"The name {host.name} has no address here: no network, or no DNS",
            f"Try: nslookup {host.name}",
        ) from None
