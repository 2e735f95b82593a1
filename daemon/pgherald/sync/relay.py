"""What stands between libpq and a server: a relay that counts.

libpq keeps whatever a server sends, without a limit and without a way to set one. So the probe
makes the connection to the server itself, and libpq reaches it by way of a port on loopback. The
relay passes bytes on as they are, TLS included, and cuts the connection once the server has sent
more than a Postgres ever does before the answer to one small query.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Callable
from types import TracebackType
from typing import Final, Self

__all__ = ["LIMIT", "Relay"]

#: Bytes that a server may send, over all connections of a relay. Postgres needs some 5,000, most
#: of them for its certificates.
LIMIT: Final = 65_536

#: Bytes that are read at a time, and that the system may keep for us beside them.
_CHUNK: Final = 16_384

#: With sslmode `prefer` and `allow` libpq connects a second time.
_CONNECTIONS: Final = 2

_LOOPBACK: Final = "127.0.0.1"


class Relay:
    """Passes bytes between libpq and a server, as an asynchronous context manager.

    Entering it connects to the server. Leaving it waits until libpq's last words, which it says
    while it closes its connection, have been passed on; an error or a cancellation does not wait.

    Args:
        address: IP address of the server.
        port: TCP port of the server.

    Attributes:
        host: the address at which libpq finds the relay.
        port: the port there; 0 before the relay is entered.
        exceeded: whether the server sent more than `LIMIT` bytes.
        answered: whether it sent any.
    """

    host: Final = _LOOPBACK

    def __init__(self, address: str, port: int) -> None:
        self.port = 0
        self.exceeded = self.answered = False
        self._server = (address, port)
        self._left = LIMIT
        self._far: socket.socket | None = None
        self._listener: socket.socket | None = None
        self._accepting: asyncio.Task[None] | None = None
        self._serving: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        """Connect to the server.

        Raises:
            OSError: nobody answers there, or this machine cannot connect at all.
        """
        self._far = await self._connect()
        try:
            self._listener = _listen()
        except OSError:
            self._far.close()
            raise
        self.port = self._listener.getsockname()[1]
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Pass on what libpq still said, and close everything."""
        if self._accepting is not None:
            self._accepting.cancel()
        elif self._listener is not None:
            self._listener.close()
        if self._far is not None:
            self._far.close()
        for task in self._serving if kind is not None else ():
            task.cancel()
        # Should this be cancelled meanwhile, so are they.
        await asyncio.gather(*self._serving, return_exceptions=True)

    def accept(self, expected: Callable[[], int | None]) -> None:
        """Take libpq's connections from now on.

        Args:
            expected: the port from which libpq connects at the moment. Whoever comes from
                another one is not libpq, and is turned away.
        """
        listener = self._listener
        assert listener is not None, "it has been entered"  # for the types
        self._accepting = asyncio.create_task(self._accept(listener, expected))
        # A task that is cancelled before its first step does nothing at its end.
        self._accepting.add_done_callback(lambda _: listener.close())

    async def _accept(self, listener: socket.socket, expected: Callable[[], int | None]) -> None:
        loop = asyncio.get_running_loop()
        accepted = 0
        while accepted < _CONNECTIONS:
            near, (_, port) = await loop.sock_accept(listener)
            if port != expected():
                near.close()
                continue
            accepted += 1
            task = asyncio.create_task(self._serve(near))
            self._serving.add(task)
            task.add_done_callback(self._serving.discard)

    async def _serve(self, near: socket.socket) -> None:
        """Pass bytes on until libpq has closed its end."""
        with near, contextlib.suppress(OSError):
            near.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            far, self._far = self._far or await self._connect(), None
            with far:
                down = asyncio.create_task(self._pass_down(far, near))
                try:
                    await _pass_up(near, far)
                finally:
                    down.cancel()
                    await asyncio.wait({down})

    async def _connect(self) -> socket.socket:
        address = self._server[0]
        far = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET)
        try:
            far.setblocking(False)
            # What the system takes in beyond what is read here is bounded too.
            far.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _CHUNK)
            far.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            await asyncio.get_running_loop().sock_connect(far, self._server)
        except BaseException:
            far.close()
            raise
        return far

    async def _pass_down(self, far: socket.socket, near: socket.socket) -> None:
        """From the server to libpq, as long as it is not too much."""
        loop = asyncio.get_running_loop()
        # Whatever ends it, libpq sees the end of the connection.
        with contextlib.suppress(OSError):
            while data := await loop.sock_recv(far, _CHUNK):
                self.answered = True
                self._left -= len(data)
                if self._left < 0:
                    self.exceeded = True
                    break
                await loop.sock_sendall(near, data)
        with contextlib.suppress(OSError):
            near.shutdown(socket.SHUT_WR)


async def _pass_up(near: socket.socket, far: socket.socket) -> None:
    """From libpq to the server, until libpq closes."""
    loop = asyncio.get_running_loop()
    while data := await loop.sock_recv(near, _CHUNK):
        # A server that is gone may have said why, and that has still to reach libpq.
        with contextlib.suppress(OSError):
            await loop.sock_sendall(far, data)


def _listen() -> socket.socket:
    listener = socket.socket()
    try:
        # Windows lets another program listen on the same port otherwise.
        if (exclusive := getattr(socket, "SO_EXCLUSIVEADDRUSE", None)) is not None:
            listener.setsockopt(socket.SOL_SOCKET, exclusive, 1)
        listener.bind((_LOOPBACK, 0))
        listener.listen()
        listener.setblocking(False)
    except OSError:
        listener.close()
        raise
    return listener
