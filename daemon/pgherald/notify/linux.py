"""Desktop notifications over D-Bus, as the desktop notifications standard describes them.

One connection to the session bus is kept open. It is made anew when the bus has gone and
come back, so a daemon that outlives a log-out keeps notifying. Over the same connection come
the buttons that were pressed.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterator, Mapping
from html import escape
from types import SimpleNamespace
from typing import Any, Final

from jeepney import (
    DBusAddress,
    DBusErrorResponse,
    HeaderFields,
    MatchRule,
    Message,
    new_method_call,
)
from jeepney.auth import BEGIN, AuthenticationError, Authenticator
from jeepney.bus import get_connectable_addresses
from jeepney.bus_messages import message_bus
from jeepney.io.asyncio import DBusConnection, DBusRouter
from jeepney.io.common import RouterClosed
from jeepney.wrappers import unwrap_msg

from pgherald.notify.desktop import TIME_LIMIT, Action, Backend, Notice, NotShown, Urgency
from pgherald.notify.opening import LABELS, Opener

#: How the bus begins the names of its errors.
_ERROR: Final = "org.freedesktop.DBus.Error."
#: Errors that mean: nobody shows notifications here.
_NO_SERVER: Final = ("ServiceUnknown", "NameHasNoOwner", "Spawn", "org.freedesktop.systemd1.")
#: Errors that mean: somebody should answer, and does not.
_NO_ANSWER: Final = ("NoReply", "TimedOut", "Timeout")
#: Whoever cannot answer.
_SILENT: Final = "the notification server does not answer"

#: The standard's values of the `urgency` hint.
URGENCY: Final = {Urgency.LOW: 0, Urgency.NORMAL: 1, Urgency.CRITICAL: 2}

#: The standard: let the server decide how long a notice stays.
SERVERS_CHOICE: Final = -1

#: Servers that cut off a title, and after how many letters at the least. Seen: Xfce's, which has
#: one line for it, as wide as the body happens to be.
CUTS_TITLES: Final = {"Xfce Notify Daemon": 20}

#: How many notices are remembered so that they can be replaced.
REMEMBERED: Final = 256

_NAME: Final = "org.freedesktop.Notifications"
_SERVER: Final = DBusAddress("/org/freedesktop/Notifications", bus_name=_NAME, interface=_NAME)

#: Signals of the server: which button was pressed, which notice is gone. The bus wants to be
#: asked by the server's name, and names senders by their number.
_WANTED: Final = MatchRule(type="signal", sender=_NAME, interface=_NAME)
_COMING: Final = MatchRule(type="signal", interface=_NAME)


class LinuxDesktop(Backend):
    """The notification server of the person's session.

    Args:
        environ: `DBUS_SESSION_BUS_ADDRESS` names the bus; without it,
            `XDG_RUNTIME_DIR` leads to the one that systemd starts.
        opener: does what a button promises; None for no buttons.
        more: as for every back end.
    """

    name = "dbus"
    in_place = True
    silent = _SILENT

    def __init__(
        self, *, environ: Mapping[str, str], opener: Opener | None = None, **more: Any
    ) -> None:
        super().__init__(**more)
        self._environ = environ
        self._opener = opener
        self._connection: _Connection | None = None
        self._turn = asyncio.Lock()
        # key -> (the server that showed it, the server's number for it)
        self._shown: dict[str, tuple[str, int]] = {}
        # (the server, its number) -> the buttons that it has
        self._offered: dict[tuple[str, int], list[Action]] = {}
        self._opening: set[asyncio.Task[None]] = set()

    async def close(self) -> None:
        """Hang up."""
        connection, self._connection = self._connection, None
        if connection is not None:
            await connection.close()

    async def presence(self) -> str:
        """As in `Backend`: the notification server's own name."""
        try:
            async with asyncio.timeout(self._limit):
                _, (name, *_) = await self._call("GetServerInformation")
        except TimeoutError:
            raise NotShown(self.silent) from None
        return str(name)

    async def _send(self, notice: Notice) -> None:
        async with self._turn:
            try:
                await self._notify(notice)
            except _HungUp:
                # A kept connection dies with its bus; the bus may be back already.
                await self.close()
                await self._notify(notice)

    async def _notify(self, notice: Notice) -> None:
        # Asked every time: the answer also tells which server is there now.
        server, (capabilities,) = await self._call("GetCapabilities")
        title, body = await self._texts(notice)
        body = escape(body, quote=False) if "body-markup" in capabilities else body
        opener = self._opener if "actions" in capabilities else None
        actions = [each for each in notice.actions if opener and opener.knows(each)]
        hints = {"urgency": ("y", URGENCY[notice.urgency]), "desktop-entry": ("s", "pgherald")}
        if notice.passing:
            hints["transient"] = ("b", True)
        server, (number,) = await self._call(
            "Notify",
            "susssasa{sv}i",
            *("pgherald", self._number_to_replace(notice.replaces, server)),
            *("", title, body),  # no icon of our own
            [text for action in actions for text in (action.value, LABELS[action])],
            hints,
            SERVERS_CHOICE,
        )
        if notice.replaces is not None:
            _remember(self._shown, notice.replaces, (server, number))
        _remember(self._offered, (server, number), actions)

    async def _texts(self, notice: Notice) -> tuple[str, str]:
        """Title and body; a title that would lose its end goes into the body."""
        longest = None
        with contextlib.suppress(NotShown):  # an old server may not know the question
            _, (server, *_) = await self._call("GetServerInformation")
            longest = CUTS_TITLES.get(server)
        if longest is None or len(notice.title) <= longest:
            return notice.title, notice.body
        sentence = notice.title if notice.title.endswith("…") else f"{notice.title}."
        return "pgherald", "\n".join(part for part in (sentence, notice.body) if part)

    def _number_to_replace(self, key: str | None, server: str) -> int:
        """0 for "a new one". Another server's number could name somebody else's notice."""
        shown_by, number = self._shown.get(key or "", ("", 0))
        return number if shown_by == server else 0

    async def _call(self, method: str, signature: str | None = None, *body: Any) -> Any:
        """Call the notification server: (its unique name, what it returned)."""
        if self._connection is None:
            # A new bus gives out the same names as the old one, so its server would look like
            # the one that we know.
            self._shown.clear()
            self._offered.clear()
            limit = TIME_LIMIT if self._limit is None else self._limit
            self._connection = await _connect(self._environ, self._heard, limit=limit / 2)
            if self._opener is not None:
                # Without it there is a notice all the same, with buttons that do nothing.
                with contextlib.suppress(NotShown):
                    await self._connection.ask(message_bus.AddMatch(_WANTED))
        return await self._connection.ask(new_method_call(_SERVER, method, signature, body))

    def _heard(self, signal: Message) -> None:
        """A button was pressed, or a notice is gone.

        Only the server that showed a notice is believed: the bus vouches for the sender's name.
        """
        if len(signal.body) != 2:  # the standard's signals
            return
        fields, (number, detail) = signal.header.fields, signal.body
        what = fields.get(HeaderFields.member)
        notice = (fields.get(HeaderFields.sender, ""), number)
        if what == "NotificationClosed":
            self._offered.pop(notice, None)
        elif what == "ActionInvoked" and detail in self._offered.get(notice, ()):
            self._open(Action(detail))

    def _open(self, action: Action) -> None:
        assert self._opener is not None  # tells mypy what a button means
        opening = asyncio.create_task(self._opener.open(action))
        self._opening.add(opening)
        opening.add_done_callback(self._opening.discard)


class _HungUp(NotShown):
    def __init__(self) -> None:
        super().__init__("the session bus hung up")


class _Connection:
    """A connection to the session bus.

    Args:
        reader: from the bus.
        writer: to the bus.
        heard: takes each signal that comes in; must neither block nor raise.
    """

    def __init__(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        heard: Callable[[Message], None],
    ) -> None:
        self._writer = writer
        self._router = DBusRouter(DBusConnection(reader, writer))
        # All that jeepney does with a queue.
        self._router.filter(_COMING, queue=SimpleNamespace(put_nowait=heard))

    async def ask(self, call: Message) -> tuple[str, tuple[Any, ...]]:
        """Send a call and wait for its answer: (who answered, what).

        Raises:
            NotShown: the answer is an error, or the connection died.
        """
        try:
            reply = await self._router.send_and_get_reply(call)
            return reply.header.fields.get(HeaderFields.sender, ""), unwrap_msg(reply)
        except (RouterClosed, KeyError, OSError, EOFError):  # jeepney 0.9 forgets a call twice
            raise _HungUp from None
        except DBusErrorResponse as error:
            name = str(error.name or "").removeprefix(_ERROR)
        if name.startswith(_NO_SERVER):
            raise NotShown("no notification server")
        if name.startswith(_NO_ANSWER):
            raise NotShown(_SILENT)
        raise NotShown(f"the notification server refused ({name.rpartition('.')[2]})")

    async def close(self) -> None:
        """Hang up. Never raises."""
        self._writer.transport.abort()
        with contextlib.suppress(Exception):  # whatever ended the connection
            await self._router.__aexit__(None, None, None)
        with contextlib.suppress(OSError):
            await self._writer.wait_closed()


async def _connect(
    environ: Mapping[str, str], heard: Callable[[Message], None], *, limit: float
) -> _Connection:
    """Open a connection to the session bus, and say hello, which it wants to hear first.

    jeepney's own way of connecting leaves the socket open when the bus does not answer.

    Args:
        environ: see `LinuxDesktop`.
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
            async with asyncio.timeout(limit), contextlib.AsyncExitStack() as stack:
                stack.callback(writer.transport.abort)
                await _authenticate(reader, writer)
                connection = _Connection(reader, writer, heard)
                stack.push_async_callback(connection.close)
                await connection.ask(message_bus.Hello())
                stack.pop_all()
                return connection
        except TimeoutError:
            raise NotShown("the session bus does not answer") from None
        except (OSError, EOFError):
            raise _HungUp from None
    raise NotShown("no session bus")


def _places(environ: Mapping[str, str]) -> Iterator[str]:
    """The bus's sockets; an abstract one begins with NUL."""
    address = environ.get("DBUS_SESSION_BUS_ADDRESS")
    if not address and (runtime := environ.get("XDG_RUNTIME_DIR")):
        yield f"{runtime}/bus"
        return
    # jeepney: an address of another transport, or nonsense, raises in the middle.
    with contextlib.suppress(RuntimeError, ValueError):
        yield from get_connectable_addresses(address or "")


async def _authenticate(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
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


def _remember(memory: dict[Any, Any], key: Any, value: Any) -> None:
    """Keep it as the latest, and let the oldest go."""
    memory.pop(key, None)
    memory[key] = value
    while len(memory) > REMEMBERED:
        del memory[next(iter(memory))]
