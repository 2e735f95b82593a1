"""A tiny HTTP server on 127.0.0.1 whose answers a test scripts byte by byte.

    async with serve(answer(200, "[]")) as server:
        ...                       # talk to server.url
    assert server.heads[0].startswith("GET /apps ")

A script gets the open connection, so it can drip, flood, hang up in the middle or speak
something that is not HTTP. It runs once for each request head that comes in.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field

Script = Callable[[asyncio.StreamWriter, str], Awaitable[None]]


@dataclass
class ScriptedServer:
    """What the server has seen so far; `connections` counts silent ones, too."""

    port: int = 0
    heads: list[str] = field(default_factory=list)
    connections: int = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"


@contextlib.asynccontextmanager
async def serve(
    script: Script, *, tls: ssl.SSLContext | None = None, greeting: bytes = b""
) -> AsyncIterator[ScriptedServer]:
    """Run a server; at the end its connections are cut."""
    server = ScriptedServer()
    tasks: set[asyncio.Task[None]] = set()

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        server.connections += 1
        writer.write(greeting)
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
                server.heads.append(head)
                await script(writer, head)
                await writer.drain()
        except (asyncio.IncompleteReadError, asyncio.CancelledError, OSError):
            pass
        finally:
            writer.transport.abort()

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(talk(reader, writer))
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    listener = await asyncio.start_server(accept, "127.0.0.1", 0, ssl=tls)
    server.port = listener.sockets[0].getsockname()[1]
    try:
        yield server
    finally:
        listener.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await listener.wait_closed()


def answer(status: int, body: str = "", headers: Mapping[str, str] | None = None) -> Script:
    """A script that gives one whole, ordinary answer; JSON unless `headers` say otherwise."""
    raw = body.encode()
    fields = {
        "Content-Type": "application/json",
        "Content-Length": str(len(raw)),
        **(headers or {}),
    }
    head = "".join(f"{name}: {value}\r\n" for name, value in fields.items())

    async def script(writer: asyncio.StreamWriter, head_of_request: str) -> None:
        writer.write(f"HTTP/1.1 {status} Scripted\r\n{head}\r\n".encode() + raw)

    return script


def flood(piece: bytes, pause: float = 0.0) -> Script:
    """A script whose body never ends: `piece` again and again, with a pause in seconds."""

    async def script(writer: asyncio.StreamWriter, head_of_request: str) -> None:
        writer.write(
            b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
            b"Transfer-Encoding: chunked\r\n\r\n"
        )
        while True:
            writer.write(f"{len(piece):x}\r\n".encode() + piece + b"\r\n")
            await writer.drain()
            await asyncio.sleep(pause)

    return script


def bytes_then_close(raw: bytes) -> Script:
    """A script that sends exactly these bytes and hangs up."""

    async def script(writer: asyncio.StreamWriter, head_of_request: str) -> None:
        writer.write(raw)
        await writer.drain()
        writer.close()

    return script


async def silence(writer: asyncio.StreamWriter, head_of_request: str) -> None:
    """A script that takes the request and never answers."""
    await asyncio.Event().wait()
