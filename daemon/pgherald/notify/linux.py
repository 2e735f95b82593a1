"""Desktop notifications over D-Bus, as the desktop notifications standard describes them.

One connection to the session bus is kept open. It is made anew when the bus has gone and
come back, so a daemon that outlives a log-out keeps telling.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Mapping
from typing import Any, Final
from xml.sax.saxutils import escape

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

from pgherald.clock import Clock
from pgherald.notify.desktop import TIME_LIMIT, Backend, Notice, NotShown, Urgency

#: The standard's values of the `urgency` hint.
URGENCY: Final = {Urgency.LOW: 0, Urgency.NORMAL: 1, Urgency.CRITICAL: 2}

#: The standard: let the server decide how long a notice stays.
SERVERS_CHOICE: Final = -1

#: How many notices are remembered so that they can be replaced.
REMEMBERED: Final = 256

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


class LinuxDesktop(Backend):
    """The notification server of the person's session.

    Args:
        clock: stamps the receipts.
        environ: `DBUS_SESSION_BUS_ADDRESS` names the bus; without it,
            `XDG_RUNTIME_DIR` leads to the one that systemd starts.
        limit: seconds that one notice may take.
    """

    name = "dbus"
    too_slow = "the notification server does not answer"

    def __init__(
        self, clock: Clock, *, environ: Mapping[str, str], limit: float = TIME_LIMIT
    ) -> None:
        super().__init__(clock, limit=limit)
        self._environ = environ
        self._connection: DBusConnection | None = None
        self._turn = asyncio.Lock()
        # key -> (the server that showed it, the server's number for it)
        self._shown: dict[str, tuple[str, int]] = {}

    async def close(self) -> None:
        """Hang up."""
        connection, self._connection = self._connection, None
        if connection is not None:
            await _hang_up(connection)

    async def server(self) -> str:
        """The name of the notification server.

        Raises:
            NotShown: there is none, or it does not answer.
        """
        try:
            async with asyncio.timeout(self._limit):
                _, (name, *_) = await self._call("GetServerInformation", None, ())
        except TimeoutError:
            raise NotShown(self.too_slow) from None
        except (OSError, EOFError):
            raise NotShown("the session bus hung up") from None
        return str(name)

    async def _send(self, notice: Notice) -> None:
        async with self._turn:
            for _ in range(2):
                try:
                    return await self._notify(notice)
                except (OSError, EOFError):
                    # A kept connection dies with its bus; the bus may be back already.
                    await self.close()
            raise NotShown("the session bus hung up")

    async def _notify(self, notice: Notice) -> None:
        # Asked every time: the answer also tells which server is there now.
        server, (capabilities,) = await self._call("GetCapabilities", None, ())
        body = escape(notice.body) if "body-markup" in capabilities else notice.body
        hints = {"urgency": ("y", URGENCY[notice.urgency]), "desktop-entry": ("s", "pgherald")}
        server, (number,) = await self._call(
            "Notify",
            "susssasa{sv}i",
            (
                "pgherald",
                self._number_to_replace(notice.replaces, server),
                "",  # no icon of our own
                notice.title,
                body,
                [],
                hints,
                SERVERS_CHOICE,
            ),
        )
        if notice.replaces is not None:
            self._remember(notice.replaces, server, number)

    def _number_to_replace(self, key: str | None, server: str) -> int:
        """0 for "a new one". Another server's number could name somebody else's notice."""
        shown_by, number = self._shown.get(key or "", ("", 0))
        return number if shown_by == server else 0

    def _remember(self, key: str, server: str, number: int) -> None:
        self._shown.pop(key, None)
        self._shown[key] = (server, number)
        while len(self._shown) > REMEMBERED:
            del self._shown[next(iter(self._shown))]

    async def _call(self, method: str, signature: str | None, body: tuple[Any, ...]) -> Any:
        """Call the notification server: (its unique name, what it returned)."""
        server = DBusAddress(
            "/org/freedesktop/Notifications",
            bus_name="org.freedesktop.Notifications",
            interface="org.freedesktop.Notifications",
        )
        if self._connection is None:
            # A new bus gives out the same names as the old one, so its server would look like
            # the one that we know.
            self._shown.clear()
            self._connection = await connect(self._environ, limit=self._limit / 2)
        return await _ask(self._connection, new_method_call(server, method, signature, body))


async def connect(environ: Mapping[str, str], *, limit: float) -> DBusConnection:
    """Open a connection to the session bus.

    Args:
        environ: see `LinuxDesktop`.
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
                return await _greet(reader, writer)
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


async def _greet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> DBusConnection:
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
    connection = DBusConnection(reader, writer)
    bus = DBusAddress(
        "/org/freedesktop/DBus",
        bus_name="org.freedesktop.DBus",
        interface="org.freedesktop.DBus",
    )
    await _ask(connection, new_method_call(bus, "Hello"))
    return connection


async def _ask(connection: DBusConnection, call: Message) -> tuple[str, tuple[Any, ...]]:
    """Send a call and wait for its answer: (who answered, what).

    Raises:
        NotShown: the answer is an error.
        OSError, EOFError: the connection died.
    """
    serial = next(connection.outgoing_serial)
    await connection.send(call, serial=serial)
    while True:
        # No signals are subscribed to. What else arrives is a late answer to a call that was
        # given up.
        reply = await connection.receive()
        if reply.header.fields.get(HeaderFields.reply_serial) == serial:
            break
    if reply.header.message_type is MessageType.error:
        raise NotShown(_why(str(reply.header.fields.get(HeaderFields.error_name, ""))))
    return reply.header.fields.get(HeaderFields.sender, ""), reply.body


def _why(error: str) -> str:
    if error.startswith(NO_SERVER):
        return "no notification server"
    if error.startswith(NO_ANSWER):
        return LinuxDesktop.too_slow
    return f"the notification server refused ({error.rpartition('.')[2]})"


async def _hang_up(connection: DBusConnection) -> None:
    connection.writer.transport.abort()
    with contextlib.suppress(OSError):
        await connection.writer.wait_closed()
