"""From news to notices: gathering, logging, receipts."""

from __future__ import annotations

import asyncio
import dataclasses
import logging
from datetime import timedelta

import pytest

from pgherald.config.settings import Level
from pgherald.model import News, NewsKind
from pgherald.notify.desktop import Receipt
from pgherald.notify.tell import Teller
from support.desktops import FakeDesktop
from support.fake_clock import START, FakeClock, settle

log = logging.getLogger("test.tell")


def rotated(name: str) -> News:
    return News(NewsKind.ROTATED, f"database:{name}", START, name, clients=("psql",))


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def desktop(clock: FakeClock) -> FakeDesktop:
    return FakeDesktop(clock)


@pytest.fixture(autouse=True)
def _log_everything(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)


async def test_forty_become_one(clock: FakeClock, desktop: FakeDesktop) -> None:
    """News of one moment is gathered, however many pieces it comes in."""
    teller = Teller(desktop, None, clock, log)
    for n in range(20):
        await teller.tell([rotated(f"a{n}")])
    await clock.advance(0.4)
    await teller.tell([rotated(f"b{n}") for n in range(20)])
    assert desktop.shown == []
    await clock.advance(0.2)
    assert desktop.shown == ["Heroku rotated 40 databases"]
    assert teller.last_receipt == Receipt(True, "fake", "", START + timedelta(seconds=0.5))


async def test_what_comes_while_showing_is_shown_next(
    clock: FakeClock, desktop: FakeDesktop
) -> None:
    """News that arrives while a notice is being shown is gathered for the next one."""
    desktop.takes = 3.0
    teller = Teller(desktop, None, clock, log)
    await teller.tell([rotated("A")])
    await clock.advance(1)
    await teller.tell([rotated("B")])
    await clock.advance(10)
    assert desktop.shown == ["Heroku rotated A", "Heroku rotated B"]
    await teller.tell([rotated("C")])
    await clock.advance(10)
    assert desktop.shown[-1] == "Heroku rotated C"


async def test_the_log_has_it_at_once(
    clock: FakeClock, desktop: FakeDesktop, caplog: pytest.LogCaptureFixture
) -> None:
    """Each piece of news is in the log before anything is shown, a trouble as a warning."""
    teller = Teller(desktop, None, clock, log)
    await teller.tell([rotated("A")])
    teller.post(News(NewsKind.TROUBLE, "account:x", START, "x", title="No token"))
    assert [(r.levelname, r.message) for r in caplog.records] == [
        ("INFO", "Heroku rotated A: psql is up to date."),
        ("WARNING", "No token: Heroku account x"),
    ]
    await teller.close()


async def test_complains_once_per_reason(
    clock: FakeClock, desktop: FakeDesktop, caplog: pytest.LogCaptureFixture
) -> None:
    """A desktop that shows nothing is reported once per reason, and once when it works again."""
    teller = Teller(desktop, None, clock, log)
    for why in ("no session bus", "no session bus", "no notification server", "", ""):
        desktop.why = why
        await teller.tell([rotated("A")])
        await clock.advance(1)
    told = [r.message for r in caplog.records if "rotated" not in r.message]
    assert told == [
        "The notice could not be shown: no session bus.",
        "The notice could not be shown: no notification server.",
        "Notices are shown again.",
    ]


async def test_what_another_way_has_shown_was_shown(
    clock: FakeClock, desktop: FakeDesktop, caplog: pytest.LogCaptureFixture
) -> None:
    """Of a notice that a fallback has shown nobody says that it could not be shown."""
    teller = Teller(desktop, None, clock, log)
    desktop.why, desktop.elsewhere = "no session bus (notify-send did)", True
    await teller.tell([rotated("A")])
    await clock.advance(1)
    assert caplog.messages[1:] == [
        "The notice was shown in another way than usual: no session bus (notify-send did)."
    ]


async def test_the_receipt_is_kept(clock: FakeClock, desktop: FakeDesktop) -> None:
    """Status can say what became of the last notice, on the desktop and in the chat."""
    chat = FakeDesktop(clock, backend="chat")
    chat.why = "1 of 2 chat services did not take it"
    teller = Teller(desktop, chat, clock, log)  # type: ignore[arg-type]  # it has the same `show`
    await teller.tell([rotated("A")])
    await clock.advance(1)
    shown_at = START + timedelta(seconds=0.5)
    assert teller.last_receipt == Receipt(True, "fake", "", shown_at)
    assert teller.last_chat_receipt == Receipt(False, "chat", chat.why, shown_at)
    assert chat.shown == desktop.shown


async def test_a_passing_notice(clock: FakeClock, desktop: FakeDesktop) -> None:
    """What is replaced soon goes to desktops that can replace it, and never to a chat."""
    chat = FakeDesktop(clock, backend="chat")
    teller = Teller(desktop, chat, clock, log)  # type: ignore[arg-type]  # it has the same `show`
    teller.post(News(NewsKind.ROTATING, "database:A", START, "A"))
    await clock.advance(1)
    assert (desktop.shown, chat.shown) == (["Heroku is rotating A …"], [])
    desktop.in_place = False
    teller.post(News(NewsKind.ROTATING, "database:B", START, "B"))
    await clock.advance(1)
    assert len(desktop.shown) == 1
    await teller.close()


async def test_without_any_desktop(clock: FakeClock, caplog: pytest.LogCaptureFixture) -> None:
    """A person who wants no notices still has the log, and no complaint in it."""
    teller = Teller(None, None, clock, log)
    await teller.tell([rotated("A")])
    await clock.advance(1)
    await teller.close()
    assert len(caplog.records) == 1
    assert teller.last_receipt is None


async def test_telling_never_fails(
    clock: FakeClock, desktop: FakeDesktop, caplog: pytest.LogCaptureFixture
) -> None:
    """A desktop that breaks its promise and raises stops neither the caller nor the next notice."""

    def fail() -> None:
        desktop.before = lambda: None
        raise RuntimeError("CANARY-pw-1")

    desktop.before = fail
    teller = Teller(desktop, None, clock, log)
    await teller.tell([rotated("A")])
    await clock.advance(1)
    assert caplog.records[-1].message == "A notice could not be made (RuntimeError)."
    await teller.tell([rotated("B")])
    await clock.advance(1)
    assert desktop.shown == ["Heroku rotated B"]


async def test_close_shows_what_is_pending(clock: FakeClock, desktop: FakeDesktop) -> None:
    """The last news before the end is shown without waiting for the window."""
    teller = Teller(desktop, None, clock, log)
    await teller.tell([rotated("A")])
    await teller.close()
    assert desktop.shown == ["Heroku rotated A"]
    assert desktop.closed
    assert clock.now() == START


async def test_close_is_bounded(clock: FakeClock, desktop: FakeDesktop) -> None:
    """A desktop that hangs does not keep the daemon from ending."""
    desktop.takes = 3600
    teller = Teller(desktop, None, clock, log)
    await teller.tell([rotated("A")])
    await settle()
    async with asyncio.timeout(5):
        await teller.close(within=0.01)
    assert desktop.shown == []
    assert desktop.closed
    assert clock.sleepers == 0


async def test_close_with_nothing_to_tell(clock: FakeClock, desktop: FakeDesktop) -> None:
    """An idle teller ends at once."""
    await Teller(desktop, None, clock, log).close()
    assert desktop.closed


async def test_whoever_records_hears_what_was_told(clock: FakeClock, desktop: FakeDesktop) -> None:
    """Not when news comes in but once it was shown; what is not wanted needs no showing."""
    heard: list[str] = []
    teller = Teller(
        desktop, None, clock, log, level=Level.TROUBLE,
        on_told=lambda news: heard.extend(item.label for item in news),
    )  # fmt: skip
    teller.post(rotated("unwanted"))
    assert heard == ["unwanted"]
    teller.post(dataclasses.replace(rotated("wanted"), behind=(("psql", "locked"),)))
    await clock.advance(0.4)
    assert heard == ["unwanted"]
    await clock.advance(1)
    assert heard == ["unwanted", "wanted"]


async def test_what_could_not_be_shown_in_time_was_not_told(
    clock: FakeClock, desktop: FakeDesktop
) -> None:
    """A notice that a stopping daemon gave up is told by the next one."""
    heard: list[object] = []
    desktop.takes = 60
    teller = Teller(desktop, None, clock, log, on_told=heard.extend)
    teller.post(rotated("A"))
    await clock.advance(1)
    await teller.close(within=0.01)
    assert heard == []
