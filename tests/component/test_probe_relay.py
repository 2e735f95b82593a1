"""The relay between libpq and a server: who may use it, what it passes on, what it leaves behind."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator

import pytest

from pgherald.sync.relay import LIMIT, Relay
from support.fake_postgres import READY


@contextlib.asynccontextmanager
async def echo() -> AsyncIterator[int]:
    """A server that says everything again."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError), contextlib.closing(writer):
            while data := await reader.read(1000):
                writer.write(data)
                await writer.drain()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1]


class Libpq:
    """Connects to a relay, and knows from which port before anybody else does."""

    def __init__(self) -> None:
        self.port: int | None = None

    @contextlib.asynccontextmanager
    async def connected(
        self, relay: Relay
    ) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
        own = socket.socket()
        own.bind(("127.0.0.1", 0))
        self.port = own.getsockname()[1]
        own.setblocking(False)
        try:
            await asyncio.get_running_loop().sock_connect(own, (relay.host, relay.port))
        except OSError:
            own.close()
            raise
        reader, writer = await asyncio.open_connection(sock=own)
        try:
            yield reader, writer
        finally:
            writer.close()


async def test_only_libpq_may_use_it() -> None:
    """Whoever else connects to the relay's port hears nothing, and takes nobody's turn."""
    ours, stranger = Libpq(), Libpq()
    async with (
        echo() as port,
        Relay("127.0.0.1", port) as relay,
        ours.connected(relay) as (reader, writer),
    ):
        relay.accept(lambda: ours.port)
        for _ in range(5):
            async with stranger.connected(relay) as (heard, said):
                said.write(b"mine")
                with contextlib.suppress(ConnectionError):
                    assert await heard.read(100) == b""
        writer.write(b"ours")
        assert await reader.readexactly(4) == b"ours"


async def test_two_connections_and_no_third() -> None:
    """It may be used twice, as libpq does with `prefer`; what the server sends counts for both."""
    ours = Libpq()
    heard: list[int] = []
    async with echo() as port, Relay("127.0.0.1", port) as relay:
        relay.accept(lambda: ours.port)
        for size in (LIMIT - 100, 100_000):
            assert not relay.exceeded
            async with ours.connected(relay) as (reader, writer):
                writer.write(b"x" * size)
                writer.write_eof()
                heard.append(len(await reader.read()))
        assert heard[0] <= LIMIT - 100
        assert sum(heard) <= LIMIT
        with pytest.raises(ConnectionRefusedError):
            await ours.connected(relay).__aenter__()


@pytest.mark.parametrize("cancelled", [False, True])
async def test_nothing_stays_open(*, cancelled: bool) -> None:
    """However it ends, its port is closed, and the server sees the end of the connection."""
    ended = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(READY)
        with contextlib.suppress(OSError):
            await reader.read()
        ended.set()
        writer.close()

    async def use(begun: asyncio.Future[int]) -> None:
        ours = Libpq()
        async with Relay("127.0.0.1", port) as relay, ours.connected(relay) as (reader, _):
            relay.accept(lambda: ours.port)
            await reader.readexactly(len(READY))
            begun.set_result(relay.port)
            if cancelled:
                await asyncio.Event().wait()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        begun = asyncio.get_running_loop().create_future()
        work = asyncio.create_task(use(begun))
        own = await asyncio.wait_for(begun, 60)
        if cancelled:
            work.cancel()
        await asyncio.wait_for(asyncio.gather(work, return_exceptions=True), 60)
        await asyncio.wait_for(ended.wait(), 60)
        with pytest.raises(ConnectionRefusedError), socket.create_connection(("127.0.0.1", own)):
            pass
