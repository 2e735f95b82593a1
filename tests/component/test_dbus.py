"""Desktop notifications over a real session bus."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from jeepney.low_level import Endianness, Header, HeaderFields, Message, MessageType

from pgherald.notify import desktop_for
from pgherald.notify.desktop import Action, Notice, NotShown, Urgency
from pgherald.notify.linux import LinuxDesktop
from pgherald.notify.opening import Opener
from support.dbus import Bus, NotificationServer, notification_server, session_bus

#: Seconds that a notice may take, and where nothing will ever answer.
LIMIT = 60.0
SHORT = 0.3


@pytest.fixture
async def bus(tmp_path: Path) -> AsyncIterator[Bus]:
    async with session_bus(tmp_path) as running:
        yield running


@pytest.fixture
async def server(bus: Bus) -> AsyncIterator[NotificationServer]:
    async with notification_server(bus) as running:
        yield running


@contextlib.asynccontextmanager
async def desktop_on(
    environ: dict[str, str], limit: float = LIMIT, opener: Opener | None = None
) -> AsyncIterator[LinuxDesktop]:
    desktop = LinuxDesktop(environ=environ, limit=limit, opener=opener)
    try:
        yield desktop
    finally:
        await desktop.close()


async def test_a_notice_is_shown(bus: Bus, server: NotificationServer) -> None:
    """The server receives title, body, urgency and our name, and the receipt says "shown"."""
    async with desktop_on(bus.environ) as desktop:
        receipt = await desktop.show(Notice("Heroku rotated Shop", "psql is up to date."))
        await desktop.show(Notice("x", urgency=Urgency.CRITICAL))
    assert (receipt.shown, receipt.backend, receipt.why) == (True, "dbus", "")
    shown, urgent = server.shown
    assert urgent.hints["urgency"] == 2
    said = (shown.app, shown.title, shown.body)
    assert said == ("pgherald", "Heroku rotated Shop", "psql is up to date.")
    assert shown.hints == {"urgency": 1, "desktop-entry": "pgherald"}
    assert (shown.replaces, shown.icon, shown.timeout) == (0, "", -1)


async def presence(environ: dict[str, str]) -> str:
    desktop = desktop_for("linux", environ=environ)
    try:
        return await desktop.presence()
    finally:
        await desktop.close()


async def test_who_would_show_a_notice(bus: Bus, tmp_path: Path) -> None:
    """The server's name is found out without showing anything; no server is told from no bus."""
    with pytest.raises(NotShown, match="no notification server"):
        await presence(bus.environ)
    async with notification_server(bus) as server:
        assert await presence(bus.environ) == "a test"
        assert server.shown == []
        server.behaviour.hang = True
        async with desktop_on(bus.environ, limit=SHORT) as desktop:
            with pytest.raises(NotShown, match="does not answer"):
                await desktop.presence()
    nowhere = {"DBUS_SESSION_BUS_ADDRESS": f"unix:path={tmp_path / 'no-bus'}"}
    with pytest.raises(NotShown, match="no session bus"):
        await presence(nowhere)


async def test_the_same_key_replaces(bus: Bus, server: NotificationServer) -> None:
    """A notice with a known key takes the earlier one's place; others get their own.

    One that is replaced soon is not kept in the desktop's list of old ones.
    """
    async with desktop_on(bus.environ) as desktop:
        for key in ("a", "b", "a", None, None):
            await desktop.show(Notice("x", replaces=key, passing=key == "b"))
    assert [shown.replaces for shown in server.shown] == [0, 0, 1, 0, 0]
    assert [shown.hints.get("transient") for shown in server.shown] == [None, True, *[None] * 3]


async def test_few_notices_are_remembered(
    bus: Bus, server: NotificationServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What may be replaced is a bounded number of the latest notices."""
    monkeypatch.setattr("pgherald.notify.linux.REMEMBERED", 2)
    async with desktop_on(bus.environ) as desktop:
        for key in ("a", "b", "c", "a"):
            await desktop.show(Notice("x", replaces=key))
    assert [shown.replaces for shown in server.shown] == [0, 0, 0, 0]


async def test_another_servers_numbers_are_forgotten(bus: Bus) -> None:
    """A restarted server is never asked to replace a notice that could be somebody else's."""
    async with desktop_on(bus.environ) as desktop:
        async with notification_server(bus) as first:
            await desktop.show(Notice("x", replaces="a"))
        async with notification_server(bus) as second:
            receipt = await desktop.show(Notice("x", replaces="a"))
    assert receipt.shown
    assert [s.replaces for s in (*first.shown, *second.shown)] == [0, 0]


class Noting(Opener):
    """Knows some actions, and notes what it is asked to open."""

    def __init__(self, *known: Action) -> None:
        self.known = known
        self.opened: asyncio.Queue[Action] = asyncio.Queue()

    def knows(self, action: Action) -> bool:
        return action in self.known

    async def open(self, action: Action) -> None:
        self.opened.put_nowait(action)


BUTTONS = (Action.PGADMIN, Action.HISTORY)


async def test_a_button_that_is_pressed(bus: Bus, server: NotificationServer) -> None:
    """Pressing a button opens what stands on it, once."""
    server.behaviour.capabilities = ["body", "actions"]
    opener = Noting(*BUTTONS)
    async with desktop_on(bus.environ, opener=opener) as desktop:
        await desktop.show(Notice("x", actions=BUTTONS))
        (shown,) = server.shown
        assert shown.actions == ["pgadmin", "Open pgAdmin", "history", "Show history"]
        server.press(shown, "status")  # there never was such a button
        await desktop.show(Notice("y", actions=BUTTONS))
        server.press(server.shown[1], "pgadmin")
        server.press(server.shown[1], "pgadmin")  # it is closed by now
        await desktop.show(Notice("z", actions=BUTTONS))
        server.press(server.shown[2], "history")
        async with asyncio.timeout(LIMIT):
            assert await opener.opened.get() is Action.PGADMIN
            assert await opener.opened.get() is Action.HISTORY


async def test_only_what_can_be_opened_has_a_button(bus: Bus, server: NotificationServer) -> None:
    """A button that would lead nowhere, or that the server cannot show, is not offered."""
    async with desktop_on(bus.environ, opener=Noting(Action.PGADMIN)) as desktop:
        await desktop.show(Notice("x", actions=BUTTONS))
        server.behaviour.capabilities = ["actions"]
        await desktop.show(Notice("x", actions=BUTTONS))
    assert [shown.actions for shown in server.shown] == [[], ["pgadmin", "Open pgAdmin"]]


async def test_only_the_server_itself_is_believed(bus: Bus, server: NotificationServer) -> None:
    """Another program on the bus cannot press our buttons."""
    server.behaviour.capabilities = ["actions"]
    opener = Noting(*BUTTONS)
    async with desktop_on(bus.environ, opener=opener) as desktop:
        await desktop.show(Notice("x", actions=BUTTONS))
        stranger = NotificationServer(bus)
        await stranger.start(named=False)
        stranger.press(server.shown[0], "pgadmin")
        await stranger.press_everywhere(server.shown[0], "pgadmin")
        await stranger.stop()
        server.press(server.shown[0], "history")
        assert await asyncio.wait_for(opener.opened.get(), LIMIT) is Action.HISTORY
        assert opener.opened.empty()


@pytest.mark.parametrize(
    ("capabilities", "expected"),
    [(["body", "body-markup"], "a &lt;b&gt; &amp; c"), (["body"], "a <b> & c")],
)
async def test_markup_is_escaped_where_it_is_understood(
    bus: Bus, server: NotificationServer, capabilities: list[str], expected: str
) -> None:
    """A body is text: escaped for a server that reads markup, and left alone for others."""
    server.behaviour.capabilities = capabilities
    async with desktop_on(bus.environ) as desktop:
        await desktop.show(Notice("<t> & t", "a <b> & c"))
    assert server.shown[0].body == expected
    assert server.shown[0].title == "<t> & t"  # the standard: titles have no markup


async def test_a_title_that_would_be_cut_off(bus: Bus, server: NotificationServer) -> None:
    """Where a server cuts titles off, a long one is read in the body; elsewhere it stays."""
    short, long = "Heroku rotated Shop", "Heroku rotated shop-production"
    rotating = "Heroku is rotating shop-production …"
    given = [(short, "All is well."), (long, "All is well."), (rotating, "")]
    async with desktop_on(bus.environ) as desktop:
        for name in ("another", "Xfce Notify Daemon"):
            server.behaviour.server = name
            for title, body in given:
                await desktop.show(Notice(title, body))
    cut = [given[0], ("pgherald", f"{long}.\nAll is well."), ("pgherald", rotating)]
    assert [(s.title, s.body) for s in server.shown] == [*given, *cut]


async def test_a_server_that_hangs(bus: Bus, server: NotificationServer) -> None:
    """A server that never answers costs the time limit; once it answers, notices are shown."""
    server.behaviour.hang = True
    async with desktop_on(bus.environ, SHORT) as desktop:
        async with asyncio.timeout(LIMIT):
            receipt = await desktop.show(Notice("x"))
        assert (receipt.shown, receipt.why) == (False, "the notification server does not answer")
        server.behaviour.hang, desktop._limit = False, LIMIT
        assert (await desktop.show(Notice("y"))).shown


async def test_the_bus_restarts(bus: Bus) -> None:
    """After the bus has gone and come back, notices are shown again."""
    async with desktop_on(bus.environ) as desktop:
        assert (await desktop.show(Notice("first"))).why == "no notification server"
        async with notification_server(bus):
            assert (await desktop.show(Notice("before", replaces="a"))).shown
        await bus.stop()
        assert (await desktop.show(Notice("meanwhile"))).why == "no session bus"
        await bus.start()
        async with notification_server(bus) as server:
            assert (await desktop.show(Notice("after", replaces="a"))).shown
            assert [(s.title, s.replaces) for s in server.shown] == [("after", 0)]


@pytest.mark.parametrize("address", [None, "unix:path=/nowhere/at/all", "unix:=;x"])
async def test_no_bus(address: str | None, tmp_path: Path) -> None:
    """Without a bus, or with an address that leads nowhere, the receipt says so."""
    environ = {} if address is None else {"DBUS_SESSION_BUS_ADDRESS": address}
    async with desktop_on(environ) as desktop:
        receipt = await desktop.show(Notice("x"))
    assert (receipt.shown, receipt.why) == (False, "no session bus")


#: A bus's answer to the first call that it gets.
_ANSWERS = {HeaderFields.reply_serial: 1, HeaderFields.signature: "s"}
_HEADER = Header(Endianness.little, MessageType.method_return, 0, 1, 0, 1, _ANSWERS)
HELLO = Message(_HEADER, (":1.1",)).serialise(1)


@contextlib.asynccontextmanager
async def strange_bus(folder: Path, answers: list[bytes | None]) -> AsyncIterator[dict[str, str]]:
    """Something that listens where a bus should: gives these answers, None to hang up."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            for answer in answers:
                await reader.read(1024)
                if answer is None:
                    return
                writer.write(answer)
            await reader.read()
        finally:
            writer.close()

    listening = await asyncio.start_unix_server(serve, folder / "strange")
    try:
        yield {"DBUS_SESSION_BUS_ADDRESS": f"unix:path={folder / 'strange'}"}
    finally:
        listening.close()
        await listening.wait_closed()


@pytest.mark.parametrize(
    ("answers", "why"),
    [
        ([], "the session bus does not answer"),
        ([None], "the session bus hung up"),
        ([b"REJECTED EXTERNAL\r\n"], "the session bus refuses this user"),
        ([b"OK 0123\r\n", HELLO, None], "the session bus hung up"),
    ],
)
async def test_a_bus_that_is_none(tmp_path: Path, answers: list[bytes | None], why: str) -> None:
    """Whatever listens in the bus's place, `show` ends in time and says what it met."""
    limit = LIMIT if answers else SHORT
    async with strange_bus(tmp_path, answers) as environ, desktop_on(environ, limit) as desktop:
        async with asyncio.timeout(LIMIT):
            receipt = await desktop.show(Notice("x"))
    assert (receipt.shown, receipt.why) == (False, why)
