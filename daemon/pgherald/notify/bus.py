"""The session bus: one connection, over which calls are answered and signals come in."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Mapping
from typing import Any, Final

from jeepney import (  # type: ignore[import-untyped]  # jeepney ships no types
    DBusAddress,
    HeaderFields,
    Message,
    MessageType,
    new_method_call,
)
from jeepney.auth import (  # type: ignore[import-untyped]  # likewise
    BEGIN,
    AuthenticationError,
    Authenticator,
)
from jeepney.bus import get_connectable_addresses  # type: ignore[import-untyped]  # likewise
from jeepney.io.asyncio import DBusConnection  # type: ignore[import-untyped]  # likewise

from pgherald.notify.desktop import NotShown

#: Errors of the bus that mean: nobody shows notifications here.
NO_SERVER: Final = (
    "org.freedesktop.DBus.Error.ServiceUnknown",
    "org.freedesktop.DBus.Error.NameHasNoOwner",
    "org.freedesktop.DBus.Error.Spawn",
    "org.freedesktop.systemd1.",
)
#: Errors of the bus that mean: somebody should answer, and does not.
NO_ANSWER: Final = (
    "org.freedesktop.DBus.Error.NoReply",
    "org.freedesktop.DBus.Error.TimedOut",
    "org.freedesktop.DBus.Error.Timeout",
)
#: What is said of a server of which that is so.
SILENT: Final = "the notification server does not answer"

#: The bus itself, as somebody to call.
THE_BUS: Final = DBusAddress(
    "/org/freedesktop/DBus",
    bus_name="org.freedesktop.DBus",
    interface="org.freedesktop.DBus",
)


class Connection:
    """A connection that has said hello.

    Args:
        connection: the bare one.
        heard: takes each signal that comes in; must neither block nor raise.
    """

    def __init__(self, connection: DBusConnection, heard: Callable[[Message], None]) -> None:
        self._connection = connection
        self._heard = heard
        self._waiting: dict[int, asyncio.Future[Message]] = {}
        self._listening = asyncio.create_task(self._listen(), name="session bus")

    async def ask(self, call: Message) -> tuple[str, tuple[Any, ...]]:
        """Send a call and wait for its answer: (who answered, what).

        Raises:
            NotShown: the answer is an error.
            OSError, EOFError: the connection died.
        """
        if self._listening.done():
            raise EOFError
        serial = next(self._connection.outgoing_serial)
        answer = self._waiting[serial] = asyncio.get_running_loop().create_future()
        try:
            await self._connection.send(call, serial=serial)
            reply = await answer
        finally:
            del self._waiting[serial]
        if reply.header.message_type is MessageType.error:
            raise NotShown(_why(str(reply.header.fields.get(HeaderFields.error_name, ""))))
        return reply.header.fields.get(HeaderFields.sender, ""), reply.body

    async def close(self) -> None:
        """Hang up. Never raises."""
        self._listening.cancel()
        self._connection.writer.transport.abort()
        await asyncio.wait({self._listening})
        with contextlib.suppress(OSError):
            await self._connection.writer.wait_closed()

    async def _listen(self) -> None:
        """Hand answers to those who wait, until the connection dies."""
        with contextlib.suppress(Exception):  # nonsense on the line is a dead line
            while True:
                message = await self._connection.receive()
                if message.header.message_type is MessageType.signal:
                    self._heard(message)
                    continue
                # What nobody waits for is a late answer to a call that was given up.
                serial = message.header.fields.get(HeaderFields.reply_serial)
                waiting = self._waiting.get(serial)
                if waiting is not None and not waiting.done():
                    waiting.set_result(message)
        for waiting in self._waiting.values():
            if not waiting.done():
                waiting.set_exception(EOFError())


async def connect(
    environ: Mapping[str, str], heard: Callable[[Message], None], *, limit: float
) -> Connection:
    """Open a connection to the session bus.

    Args:
        environ: see `pgherald.notify.linux.LinuxDesktop`.
        heard: takes each signal that comes in; must neither block nor raise.
        limit: seconds the bus may take to say hello.

    Raises:
        NotShown: there is no bus, or it refuses us.
    """
    for place in _places(environ):
        try:
            reader, writer = await asyncio.open_unix_connection(place)
        except OSError:
            continue
        try:
            async with asyncio.timeout(limit):
                return await _greet(reader, writer, heard)
        except BaseException as problem:
            writer.transport.abort()
            if isinstance(problem, TimeoutError):
                raise NotShown("the session bus does not answer") from None
            if isinstance(problem, EOFError | OSError):
                raise NotShown("the session bus hung up") from None
            raise
    raise NotShown("no session bus")


def _places(environ: Mapping[str, str]) -> list[str]:
    """The bus's sockets; an abstract one begins with NUL."""
    address = environ.get("DBUS_SESSION_BUS_ADDRESS")
    if not address and (runtime := environ.get("XDG_RUNTIME_DIR")):
        return [f"{runtime}/bus"]
    places = []
    # jeepney: an address of another transport, or nonsense, raises in the middle.
    with contextlib.suppress(RuntimeError, ValueError):
        for place in get_connectable_addresses(address or ""):
            places.append(place)  # noqa: PERF402 – keep those found before it raises
    return places


async def _greet(
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    heard: Callable[[Message], None],
) -> Connection:
    """Authenticate and say hello, which the bus wants to hear first.

    jeepney's own way of connecting leaves the socket open when the bus does not answer.
    """
    steps = Authenticator()
    for line in steps:
        writer.write(line)
        answer = await reader.read(1024)
        if not answer:
            raise EOFError
        try:
            steps.feed(answer)
        except AuthenticationError:
            raise NotShown("the session bus refuses this user") from None
    writer.write(BEGIN)
    connection = Connection(DBusConnection(reader, writer), heard)
    try:
        await connection.ask(new_method_call(THE_BUS, "Hello"))
    except BaseException:
        await connection.close()
        raise
    return connection


def _why(error: str) -> str:
    if error.startswith(NO_SERVER):
        return "no notification server"
    if error.startswith(NO_ANSWER):
        return SILENT
    return f"the notification server refused ({error.rpartition('.')[2]})"
