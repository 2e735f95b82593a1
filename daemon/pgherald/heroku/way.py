"""The way to Heroku: what the environment says of proxies and certificates, and DNS."""

from __future__ import annotations

import importlib.util
import os
import socket
from collections.abc import Mapping
from typing import Final
from urllib.parse import urlsplit

from pgherald.errors import MissingTool, Unavailable
from pgherald.heroku.host import HerokuHost

_PROXIES: Final = ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy")
_CERTIFICATES: Final = {"SSL_CERT_FILE": os.path.isfile, "SSL_CERT_DIR": os.path.isdir}
_SCHEMES: Final = frozenset({"http", "https", "socks5", "socks5h"})


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
        scheme = _scheme(env[name])
        if scheme not in _SCHEMES:
            raise Unavailable(
                f"{name} is no address of a proxy",
                f"Write it as http://HOST:PORT, or `unset {name}`.",
            )
        if scheme.startswith("socks") and importlib.util.find_spec("socksio") is None:
            raise MissingTool(
                f"The proxy in {name} speaks SOCKS, for which a package is missing",
                "Run: pip install 'httpx[socks]', or set HTTPS_PROXY to an HTTP proxy.",
            )


def _scheme(proxy: str) -> str:
    """The scheme of a proxy's address; empty where it is no address."""
    try:
        parts = urlsplit(proxy if "://" in proxy else f"http://{proxy}")
        usable = bool(parts.hostname) and parts.port != 0
    except ValueError:
        return ""
    return parts.scheme if usable else ""


def check_certificates(env: Mapping[str, str]) -> None:
    """See whether the certificates that the environment names are there.

    Raises:
        Unavailable: they are not; no secure connection could be made.
    """
    for name, is_there in _CERTIFICATES.items():
        if env.get(name) and not is_there(env[name]):
            raise Unavailable(f"{name} names what is not there", f"Correct it, or `unset {name}`.")


def look_up(host: HerokuHost) -> None:
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
