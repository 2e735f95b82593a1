"""Desktop notifications over D-Bus, as the desktop notifications standard describes them.

One connection to the session bus is kept open. It is made anew when the bus has gone and
come back, so a daemon that outlives a log-out keeps telling. Over the same connection it
hears which button was pressed.
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
    new_method_call,
)

from pgherald.clock import Clock
from pgherald.notify.bus import SILENT, THE_BUS, Connection, connect
from pgherald.notify.desktop import TIME_LIMIT, Action, Backend, Notice, NotShown, Urgency
from pgherald.notify.opening import LABELS, Opener

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

#: What the server says by itself: which button was pressed, which notice is gone.
_SIGNALS: Final = f"type='signal',sender='{_NAME}',interface='{_NAME}'"


class LinuxDesktop(Backend):
    """The notification server of the person's session.

    Args:
        clock: stamps the receipts.
        environ: `DBUS_SESSION_BUS_ADDRESS` names the bus; without it,
            `XDG_RUNTIME_DIR` leads to the one that systemd starts.
        opener: does what a button promises; None for no buttons.
        limit: seconds that one notice may take.
    """

    name = "dbus"
    in_place = True
    too_slow = SILENT

    def __init__(
        self,
        clock: Clock,
        *,
        environ: Mapping[str, str],
        opener: Opener | None = None,
        limit: float = TIME_LIMIT,
    ) -> None:
        super().__init__(clock, limit=limit)
        self._environ = environ
        self._opener = opener
        self._connection: Connection | None = None
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
        title, body = await self._texts(notice)
        body = escape(body) if "body-markup" in capabilities else body
        actions = self._actions(notice) if "actions" in capabilities else []
        server, (number,) = await self._call(
            "Notify",
            "susssasa{sv}i",
            (
                "pgherald",
                self._number_to_replace(notice.replaces, server),
                "",  # no icon of our own
                title,
                body,
                [text for action in actions for text in (action.value, LABELS[action])],
                _hints(notice),
                SERVERS_CHOICE,
            ),
        )
        if notice.replaces is not None:
            _remember(self._shown, notice.replaces, (server, number))
        _remember(self._offered, (server, number), actions)

    async def _texts(self, notice: Notice) -> tuple[str, str]:
        """Title and body; a title that would lose its end goes into the body."""
        longest = None
        with contextlib.suppress(NotShown):  # an old server may not know the question
            _, (server, *_) = await self._call("GetServerInformation", None, ())
            longest = CUTS_TITLES.get(server)
        if longest is None or len(notice.title) <= longest:
            return notice.title, notice.body
        sentence = notice.title if notice.title.endswith("…") else f"{notice.title}."
        return "pgherald", "\n".join(part for part in (sentence, notice.body) if part)

    def _actions(self, notice: Notice) -> list[Action]:
        """The buttons of a notice that would lead somewhere."""
        return [a for a in notice.actions if self._opener is not None and self._opener.knows(a)]

    def _number_to_replace(self, key: str | None, server: str) -> int:
        """0 for "a new one". Another server's number could name somebody else's notice."""
        shown_by, number = self._shown.get(key or "", ("", 0))
        return number if shown_by == server else 0

    async def _call(self, method: str, signature: str | None, body: tuple[Any, ...]) -> Any:
        """Call the notification server: (its unique name, what it returned)."""
        server = DBusAddress("/org/freedesktop/Notifications", bus_name=_NAME, interface=_NAME)
        if self._connection is None:
            # A new bus gives out the same names as the old one, so its server would look like
            # the one that we know.
            self._shown.clear()
            self._offered.clear()
            self._connection = await self._connect()
        return await self._connection.ask(new_method_call(server, method, signature, body))

    async def _connect(self) -> Connection:
        connection = await connect(self._environ, self._heard, limit=self._limit / 2)
        if self._opener is not None:
            # Without it there is a notice all the same, with buttons that do nothing.
            with contextlib.suppress(NotShown):
                await connection.ask(new_method_call(THE_BUS, "AddMatch", "s", (_SIGNALS,)))
        return connection

    def _heard(self, signal: Message) -> None:
        """A button was pressed, or a notice is gone.

        Only the server that showed a notice is believed: the bus vouches for the sender's name.
        """
        fields = signal.header.fields
        what = fields.get(HeaderFields.member)
        if (
            fields.get(HeaderFields.interface) != _NAME or len(signal.body) != 2
        ):  # the standard's signals
            return
        number, detail = signal.body
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


def _hints(notice: Notice) -> dict[str, tuple[str, Any]]:
    hints = {"urgency": ("y", URGENCY[notice.urgency]), "desktop-entry": ("s", "pgherald")}
    return hints | ({"transient": ("b", True)} if notice.passing else {})


def _remember(memory: dict[Any, Any], key: Any, value: Any) -> None:
    """Keep it as the latest, and let the oldest go."""
    memory.pop(key, None)
    memory[key] = value
    while len(memory) > REMEMBERED:
        del memory[next(iter(memory))]
