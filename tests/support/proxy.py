"""A TCP proxy on loopback that can fail like a network.

async with Proxy.to("127.0.0.1", cluster.port) as proxy:
    connect_to(proxy.port)
    proxy.swallow()        # a firewall that drops packets: whoever connects hangs
    await proxy.refuse()   # nobody listens
    proxy.cut()            # open connections break
    await proxy.restore()  # all is well again, on the same port
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Self

CHUNK = 65_536


class Proxy:
    """Passes bytes between a port of its own and a server, until told otherwise."""

    def __init__(self, host: str, port: int) -> None:
        self.port = 0
        self.accepted = 0
        self._target = (host, port)
        self._listener: asyncio.Server | None = None
        self._flowing = asyncio.Event()
        self._accepting = asyncio.Condition()
        self._open: set[asyncio.Task[None]] = set()

    @classmethod
    @contextlib.asynccontextmanager
    async def to(cls, host: str, port: int) -> AsyncIterator[Self]:
        """A proxy for as long as the block lasts."""
        proxy = cls(host, port)
        await proxy.restore()
        try:
            yield proxy
        finally:
            await proxy.refuse()
            proxy.cut()
            await asyncio.gather(*proxy._open, return_exceptions=True)

    async def restore(self) -> None:
        """Listen, and pass on; what was swallowed arrives late."""
        self._flowing.set()
        if self._listener is None:
            self._listener = await asyncio.start_server(self._accept, "127.0.0.1", self.port)
            self.port = self._listener.sockets[0].getsockname()[1]

    def swallow(self) -> None:
        """Accept, and pass nothing on, in either direction: a black hole."""
        self._flowing.clear()

    async def refuse(self) -> None:
        """Listen no more. Open connections stay."""
        if self._listener is not None:
            self._listener.close()
            self._listener = None
            await asyncio.sleep(0)

    def cut(self) -> None:
        """Break every open connection."""
        for task in self._open:
            task.cancel()

    async def has_accepted(self, count: int) -> None:
        """Wait until it has accepted that many; at most a minute."""
        async with asyncio.timeout(60), self._accepting:
            await self._accepting.wait_for(lambda: self.accepted >= count)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # In a task of its own: asyncio logs a handler that is cancelled as an error.
        task = asyncio.create_task(self._serve(reader, writer))
        self._open.add(task)
        task.add_done_callback(self._open.discard)
        async with self._accepting:
            self.accepted += 1
            self._accepting.notify_all()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await self._flowing.wait()
            far_reader, far_writer = await asyncio.open_connection(*self._target)
        except OSError:
            writer.transport.abort()
            return
        except asyncio.CancelledError:
            writer.transport.abort()
            raise
        pumps = [
            asyncio.create_task(self._pump(reader, far_writer)),
            asyncio.create_task(self._pump(far_reader, writer)),
        ]
        try:
            await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
            # Whatever one side still said before it left reaches the other.
            writer.close()
            far_writer.close()
        except asyncio.CancelledError:
            writer.transport.abort()
            far_writer.transport.abort()
            raise
        finally:
            for pump in pumps:
                pump.cancel()
            await asyncio.gather(*pumps, return_exceptions=True)

    async def _pump(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        while data := await source.read(CHUNK):
            await self._flowing.wait()
            sink.write(data)
            await sink.drain()
