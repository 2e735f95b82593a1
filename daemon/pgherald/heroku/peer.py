"""Where a log's connection really leads, checked before anything is sent over it.

An address that Heroku names for a log may be this machine in disguise: `0.0.0.0`, `127.1`,
`2130706433`, `0x7f.1`, `[::ffff:127.0.0.1]`, or any name that DNS leads there, perhaps only at
the second question. The spelling cannot tell. So the name is resolved and every address is
checked before a connection is made, and then the address that the socket is connected to.

Through a company's proxy the name is resolved by the proxy; of the way there, nothing is checked.

httpx hands the steps of a connection to the `trace` extension of a request; an error that is
raised there ends the request.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from pgherald.errors import UnsafeHost
from pgherald.heroku.host import HerokuHost

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
                await self._check_name(info["port"])
        elif event == "connection.connect_tcp.complete" and self._direct:
            await self._check_socket(info["return_value"])

    async def _check_name(self, port: int) -> None:
        try:
            addresses = await self._resolver(self._name, port)
        except OSError:
            return  # the connection is about to fail by the same, in words of its own
        if not all(self._host.allows_log_from(address) for address in addresses):
            raise refusal()

    async def _check_socket(self, stream: Any) -> None:
        address = stream.get_extra_info("server_addr")
        if not address or not self._host.allows_log_from(str(address[0])):
            await stream.aclose()
            raise refusal()


def refusal() -> UnsafeHost:
    """The address is none that a log may be fetched from."""
    return UnsafeHost(
        "Refused: Heroku names an odd address for an app's log",
        "Nothing was sent there. Rotations are noticed by the next sweep.",
    )
