"""Which Heroku is asked, and the one rule where a token may go.

`HEROKU_HOST` means what it means to the Heroku CLI (@heroku-cli/command: src/vars.ts):

    (unset or empty)           https://api.heroku.com
    http://127.0.0.1:5000      a full URL: a simulator on this machine
    https://api.heroku.com     a full URL below one of Heroku's own domains
    herokudev.com              a bare domain: https://api.<domain>

The CLI checks the *text* of the URL and, when that fails, warns and talks to the real
Heroku. Here the parts are checked, by a list of what is allowed, and anything else is
refused: no user part, no path, no trailing dot, no letters outside ASCII, no address
in an unusual notation.

A log is fetched without the token, from wherever Heroku names; but that address may be this
machine in disguise: `0.0.0.0`, `127.1`, `2130706433`, `0x7f.1`, `[::ffff:127.0.0.1]`, or any name
that DNS leads there, perhaps only at the second question. The spelling cannot tell. So the name is
resolved and every address is checked before a connection is made, and then the address that the
socket is connected to. Through a company's proxy the name is resolved by the proxy; of the way
there, nothing is checked.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import re
import socket
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Self

from pgherald.errors import UnsafeHost

#: @heroku-cli/command, src/api-client.ts: the domains it sends its token to.
HEROKU_DOMAINS: Final = ("heroku.com", "herokai.com", "herokuspace.com", "herokudev.com")

_LABEL: Final = r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
_NAME: Final = rf"{_LABEL}(?:\.{_LABEL})*"
_ORIGIN: Final = re.compile(rf"(https?)://({_NAME}|\[::1\])(?::([0-9]{{1,5}}))?")
_BARE: Final = re.compile(_NAME)
_PORTS: Final = {"https": 443, "http": 80}
_SHOWN: Final = 60
#: RFC 6052: in these, a gateway of the network finds an IPv4 address.
_NAT64: Final = ipaddress.IPv6Network("64:ff9b::/96")

#: All that is given out as addresses of the public internet. Of the rest, old networks of houses
#: (`fec0::`) and new ones of providers (`5f00::`) are no exceptions that every Python knows.
_UNICAST: Final = ipaddress.IPv6Network("2000::/3")


@dataclass(frozen=True, slots=True)
class HerokuHost:
    """One Heroku: scheme, host and port, already found safe.

    Attributes:
        scheme: `https`, or `http` for loopback.
        name: host name or address, lower case; IPv6 in brackets.
        port: TCP port.
    """

    scheme: str
    name: str
    port: int

    @classmethod
    def from_env(cls, env: Mapping[str, str]) -> Self:
        """The host that `HEROKU_HOST` names, or Heroku's own.

        Raises:
            UnsafeHost: it is neither Heroku's nor this machine.
        """
        text = env.get("HEROKU_HOST", "")
        if not text:
            return cls("https", "api.heroku.com", 443)
        url = text if "://" in text or not _BARE.fullmatch(text.lower()) else f"https://api.{text}"
        # Lower case last: the Kelvin sign's lower case is a plain k.
        host = cls._parse(url.lower().removesuffix("/")) if text.isascii() else None
        if host is None or not host.is_safe:
            raise UnsafeHost(
                f"Refused: HEROKU_HOST names {_shown(text)}",
                "A token goes to Heroku's own domains over https or to this machine, nowhere "
                "else. Unset HEROKU_HOST, or set it to a URL such as http://127.0.0.1:5000.",
            )
        return host

    @classmethod
    def _parse(cls, origin: str) -> Self | None:
        found = _ORIGIN.fullmatch(origin)
        if not found:
            return None
        scheme, name, port = found.groups()
        number = int(port) if port else _PORTS[scheme]
        return cls(scheme, name, number) if 0 < number < 2**16 else None

    @classmethod
    def _origin(cls, url: str) -> Self | None:
        """Scheme, host and port of a URL."""
        scheme, _, rest = url.partition("://")
        return cls._parse(f"{scheme}://{re.split('[/?#]', rest, maxsplit=1)[0]}")

    @property
    def is_loopback(self) -> bool:
        """Whether it is this machine: localhost, 127.0.0.0/8 or ::1."""
        if self.name in {"localhost", "[::1]"}:
            return True
        try:
            return ipaddress.IPv4Address(self.name).is_loopback
        except ValueError:
            return False

    @property
    def is_safe(self) -> bool:
        """Whether a token may go there."""
        if self.is_loopback:
            return True
        return self.scheme == "https" and any(
            self.name == domain or self.name.endswith(f".{domain}") for domain in HEROKU_DOMAINS
        )

    @property
    def is_default(self) -> bool:
        """Whether it is Heroku itself, not a simulator and not another of its clouds."""
        return self.url == "https://api.heroku.com"

    @property
    def is_known_to_cli(self) -> bool:
        """Whether the Heroku CLI takes it for safe as well.

        Where it does not, it asks the real Heroku instead, so it must not be run.
        It knows no other loopback than these two, and no port behind a domain.
        """
        if self.is_loopback:
            return self.name in {"localhost", "127.0.0.1"}
        return self.port == _PORTS[self.scheme]

    @property
    def netrc_machine(self) -> str:
        """Under which machine the Heroku CLI keeps its login: the port belongs to it."""
        return self.url.partition("://")[2]

    @property
    def url(self) -> str:
        """The URL that every path is appended to; no slash at the end."""
        port = "" if self.port == _PORTS[self.scheme] else f":{self.port}"
        return f"{self.scheme}://{self.name}{port}"

    def allows(self, url: str) -> bool:
        """Whether a request to this URL may carry the token: same scheme, host and port.

        Asked for every request, with the URL as the HTTP library is going to use it.
        """
        return self._origin(url) == self and self.is_safe

    def allows_log(self, url: str) -> bool:
        """Whether a log may be fetched from this URL, which Heroku has named, without the token.

        From anywhere over https, since Heroku's log routers have names of their own; where
        Heroku is this machine, from this machine alone, and where it is not, never from it.
        That is the spelling; `allows_log_from` has the last word.
        """
        origin = self._origin(url)
        if origin is None:
            return False
        if self.is_loopback or origin.is_loopback:
            return self.is_loopback and origin.is_loopback
        return origin.scheme == "https"

    def allows_log_from(self, address: str) -> bool:
        """Whether a log may be fetched from this IP address, which its name was resolved to.

        From this machine, where that is what stands for Heroku; else from the public internet,
        and from no other network: not this machine, not the one that it stands in.
        """
        try:
            ip = ipaddress.ip_address(address.partition("%")[0])
        except ValueError:
            return False
        if isinstance(ip, ipaddress.IPv6Address):
            ip = ip.ipv4_mapped or ip
        return ip.is_loopback if self.is_loopback else _is_public(ip)


def _is_public(ip: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
    """Whether it belongs to the public internet, and so does the IPv4 address within it, if any."""
    if isinstance(ip, ipaddress.IPv6Address):
        within = ipaddress.IPv4Address(int(ip) & 0xFFFF_FFFF) if ip in _NAT64 else ip.sixtofour
        if within is None and ip not in _UNICAST:
            return False
        ip = within or ip
    return ip.is_global and not ip.is_multicast and not ip.is_reserved


def _shown(text: str) -> str:
    """The host as it may be shown: without a user part, in visible ASCII, not too long."""
    host = ascii(text.rpartition("@")[2])[1:-1]
    return host if len(host) <= _SHOWN else f"{host[:_SHOWN]}…"


#: Gives the addresses of a name and a port; raises OSError where there are none.
Resolver = Callable[[str, int], Awaitable[Sequence[str]]]


async def resolve(name: str, port: int) -> list[str]:
    """The addresses that the system has for a name, as the connection will ask for them."""
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(name, port, type=socket.SOCK_STREAM)
    return [str(address[0]) for *_, address in found]


class Guard:
    """Follows the steps of one request for a log.

    Args:
        host: says which addresses a log may come from.
        name: the name or address that is requested from, IPv6 without brackets.
        resolver: resolves its name.

    Attributes:
        opened: whether a connection was seen being made.
    """

    def __init__(self, host: HerokuHost, name: str, resolver: Resolver) -> None:
        self.opened = False
        self._host = host
        self._name = name
        self._resolver = resolver
        self._direct = False

    async def __call__(self, event: str, info: Mapping[str, Any]) -> None:
        """Take note of a step.

        Raises:
            UnsafeHost: it leads where no log may come from.
        """
        if event == "connection.connect_tcp.started":
            self.opened = True
            # Otherwise it is a proxy that is connected to.
            self._direct = info["host"] == self._name
            if self._direct:
                with contextlib.suppress(OSError):  # connecting fails by the same, in its own words
                    self._check(await self._resolver(self._name, info["port"]))
        elif event == "connection.connect_tcp.complete" and self._direct:
            stream = info["return_value"]
            address = stream.get_extra_info("server_addr")
            try:
                self._check([str(address[0]) if address else ""])
            except UnsafeHost:
                await stream.aclose()
                raise

    def _check(self, addresses: Sequence[str]) -> None:
        if not all(map(self._host.allows_log_from, addresses)):
            raise refusal()


def refusal() -> UnsafeHost:
    """The address is none that a log may be fetched from."""
    return UnsafeHost(
        "Refused: Heroku names an odd address for an app's log",
        "Nothing was sent there. Rotations are noticed by the next sweep.",
    )
