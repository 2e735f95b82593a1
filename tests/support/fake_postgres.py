"""A server that speaks just enough of Postgres's protocol to fail at a chosen moment.

async with fake_postgres(refusing("57P03", "the database system is starting up")) as port:
    ...
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import struct
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path

from pgherald.simulator.tls import make_certificate

#: What happens once the client has said who it is.
Behaviour = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]

OPEN = b"R" + struct.pack("!ii", 8, 0)
ASK_PASSWORD = b"R" + struct.pack("!ii", 8, 3)
ASK_MD5 = b"R" + struct.pack("!ii4s", 12, 5, b"salt")
ASK_SCRAM = b"R" + struct.pack("!ii", 23, 10) + b"SCRAM-SHA-256\0\0"
READY = b"Z" + struct.pack("!ic", 5, b"I")


def error(sqlstate: str, text: str, severity: str = "FATAL") -> bytes:
    fields = f"S{severity}\0VFATAL\0C{sqlstate}\0M{text}\0\0".encode()
    return b"E" + struct.pack("!i", len(fields) + 4) + fields


def refusing(sqlstate: str, text: str, severity: str = "FATAL") -> Behaviour:
    async def behave(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(error(sqlstate, text, severity))

    return behave


async def trusting(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Lets anybody in without a password."""
    writer.write(OPEN + READY)


async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Takes any password, and answers no query."""
    await _let_in(reader, writer)
    await reader.read()


def answering(answer: bytes) -> Behaviour:
    """Takes any password, and answers the first query so, before it hangs up."""

    async def behave(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await _let_in(reader, writer)
        await _message(reader, typed=True)
        writer.write(answer)

    return behave


def message(kind: bytes, body: bytes, *, length: int | None = None) -> bytes:
    """One message; its length may be a lie."""
    return kind + struct.pack("!i", len(body) + 4 if length is None else length) + body


def row(*values: bytes) -> bytes:
    """A DataRow."""
    fields = b"".join(struct.pack("!i", len(value)) + value for value in values)
    return message(b"D", struct.pack("!h", len(values)) + fields)


def columns(count: int) -> bytes:
    """A RowDescription of text columns."""
    column = b"c\0" + struct.pack("!ihihih", 0, 0, 25, -1, -1, 0)
    return message(b"T", struct.pack("!h", count) + column * count)


#: What a Postgres answers to a query for one row of two columns.
ONE_ROW = columns(2) + row(b"u", b"d") + message(b"C", b"SELECT 1\0") + READY


class Flood:
    """Takes any password, and sends `first`, and then a piece again and again without end.

    That is after the client's first query, if it is to be `queried`, else at once. `sent` counts
    the bytes that could be handed to the system so far.
    """

    def __init__(
        self, piece: bytes, first: bytes = b"", *, queried: bool = True, pause: float = 0
    ) -> None:
        # In large pieces, since a small one at a time is slow.
        self._piece = piece if pause else piece * (65_536 // len(piece) + 1)
        self._first = first
        self._queried = queried
        self._pause = pause
        self.sent = 0

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._queried:
            await _let_in(reader, writer)
            await _message(reader, typed=True)
        writer.write(self._first)
        while True:
            writer.write(self._piece)
            await writer.drain()
            self.sent += len(self._piece)
            await asyncio.sleep(self._pause)


@contextlib.asynccontextmanager
async def fake_postgres(behave: Behaviour, *, tls: bytes = b"S") -> AsyncIterator[int]:
    """Listen on loopback for as long as the block lasts; the port.

    An answer to a client that wants TLS other than `S` ends the conversation.
    """
    context = _context()
    tasks: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            try:
                await _message(reader, typed=False)
                writer.write(tls)
                if tls == b"S":
                    await writer.start_tls(context)
                    await _message(reader, typed=False)
                    await behave(reader, writer)
                await writer.drain()
            finally:
                writer.close()

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(serve(reader, writer))
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    listener = await asyncio.start_server(accept, "127.0.0.1", 0)
    try:
        yield listener.sockets[0].getsockname()[1]
    finally:
        listener.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _context() -> ssl.SSLContext:
    certificate = make_certificate(datetime.now(UTC))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    with tempfile.TemporaryDirectory() as folder:
        pem = Path(folder, "server.pem")
        pem.write_text(certificate.pem + certificate.key.reveal())
        context.load_cert_chain(pem)
    return context


async def _let_in(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(ASK_MD5)
    await _message(reader, typed=True)
    writer.write(OPEN + READY)


async def _message(reader: asyncio.StreamReader, *, typed: bool) -> bytes:
    """One message of the client's, without its length."""
    if typed:
        await reader.readexactly(1)
    (length,) = struct.unpack("!i", await reader.readexactly(4))
    return await reader.readexactly(length - 4)
