"""From news to notices: gathering, logging, receipts, levels, quiet hours."""

from __future__ import annotations

import asyncio
import dataclasses
import logging
from collections.abc import Collection, Iterator
from datetime import UTC, datetime, time, timedelta
from pathlib import Path

import pytest

from pgherald.config.schema import Level
from pgherald.config.values import QuietHours
from pgherald.files import Files
from pgherald.model import About, DatabaseKey, News, NewsKind, Subject
from pgherald.notify.tell import Teller, wanted
from pgherald.store import Store
from support.desktops import FakeDesktop
from support.fake_clock import START, FakeClock

log = logging.getLogger("test.tell")


def rotated(name: str) -> News:
    subject = Subject(About.DATABASE, f"{name}/DATABASE")
    return News(NewsKind.ROTATED, subject, START, name, clients=("psql",))


class State(Store):
    """A state file that notes which rotations no start has to notify of any more."""

    done: list[str]

    def told(self, keys: Collection[DatabaseKey]) -> None:
        self.done += [key.app for key in keys]

    @property
    def hindrance(self) -> str | None:
        return self.notes().get("notifications")


@pytest.fixture
def store(tmp_path: Path) -> Iterator[State]:
    with State.open(tmp_path / "state.db", Files(tmp_path / "locks")) as opened:
        opened.done = []
        yield opened


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def desktop(clock: FakeClock) -> FakeDesktop:
    return FakeDesktop(clock)


@pytest.fixture(autouse=True)
def _log_everything(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)


async def test_forty_become_one(clock: FakeClock, desktop: FakeDesktop, store: State) -> None:
    """News of one moment is gathered, however many pieces it comes in."""
    teller = Teller([desktop], clock, log, store)
    for n in range(20):
        teller.post(rotated(f"a{n}"))
    await clock.advance(0.4)
    for n in range(20):
        teller.post(rotated(f"b{n}"))
    assert desktop.shown == []
    await clock.advance(0.2)
    assert desktop.shown == ["Heroku rotated 40 databases"]


async def test_what_comes_while_showing_is_shown_next(
    clock: FakeClock, desktop: FakeDesktop, store: State
) -> None:
    """News that arrives while a notice is being shown is gathered for the next one."""
    desktop.takes = 3.0
    teller = Teller([desktop], clock, log, store)
    teller.post(rotated("A"))
    await clock.advance(1)
    teller.post(rotated("B"))
    await clock.advance(10)
    assert desktop.shown == ["Heroku rotated A", "Heroku rotated B"]
    teller.post(rotated("C"))
    await clock.advance(10)
    assert desktop.shown[-1] == "Heroku rotated C"


@pytest.mark.parametrize("shows", [True, False])
async def test_the_log_has_it_at_once(
    clock: FakeClock,
    desktop: FakeDesktop,
    store: State,
    caplog: pytest.LogCaptureFixture,
    *,
    shows: bool,
) -> None:
    """Each piece of news is in the log before it is shown, if at all; a trouble as a warning."""
    teller = Teller([desktop] if shows else [], clock, log, store)
    teller.post(rotated("A"))
    teller.post(News(NewsKind.TROUBLE, Subject.read("account:x"), START, "x", title="No token"))
    assert desktop.shown == []
    await clock.advance(1)
    assert [(r.levelname, r.message) for r in caplog.records] == [
        ("INFO", "Heroku rotated A: psql is up to date."),
        ("WARNING", "No token: Heroku account x"),
    ]
    await teller.close()


async def test_complains_once_per_reason(
    clock: FakeClock, desktop: FakeDesktop, store: State, caplog: pytest.LogCaptureFixture
) -> None:
    """A desktop that shows nothing is reported once per reason, and once when it works again."""
    teller = Teller([desktop], clock, log, store)
    for why in ("no session bus", "no session bus", "no notification server", "", ""):
        desktop.why = why
        teller.post(rotated("A"))
        await clock.advance(1)
    told = [r.message for r in caplog.records if "rotated" not in r.message]
    assert told == [
        "The notice could not be shown: no session bus.",
        "The notice could not be shown: no notification server.",
        "Notices are shown again.",
    ]


async def test_status_says_what_hindered_a_notice(
    clock: FakeClock, desktop: FakeDesktop, store: State
) -> None:
    """Whoever shows the status hears why a place showed nothing, until it shows something."""
    chat = FakeDesktop(clock, backend="chat")
    chat.why = "1 of 2 chat services did not take it"
    teller = Teller([desktop, chat], clock, log, store)
    teller.post(rotated("A"))
    await clock.advance(1)
    assert store.hindrance == "1 of 2 chat services did not take it"
    chat.why = ""
    teller.post(rotated("A"))
    await clock.advance(1)
    assert store.hindrance == ""
    assert chat.shown == desktop.shown == ["Heroku rotated A"] * 2


async def test_a_passing_notice(clock: FakeClock, desktop: FakeDesktop, store: State) -> None:
    """What is replaced soon goes to desktops that can replace it, and never to a chat."""
    chat = FakeDesktop(clock, backend="chat")
    teller = Teller([desktop, chat], clock, log, store)
    teller.post(News(NewsKind.ROTATING, Subject.read("database:A/X"), START, "A"))
    await clock.advance(1)
    assert (desktop.shown, chat.shown) == (["Heroku is rotating A …"], [])
    desktop.in_place = False
    teller.post(News(NewsKind.ROTATING, Subject.read("database:B/X"), START, "B"))
    await clock.advance(1)
    assert len(desktop.shown) == 1
    await teller.close()


async def test_telling_never_fails(
    clock: FakeClock, desktop: FakeDesktop, store: State, caplog: pytest.LogCaptureFixture
) -> None:
    """A desktop that breaks its promise and raises stops neither the caller nor the next notice."""

    def fail() -> None:
        desktop.before = lambda: None
        raise RuntimeError("CANARY-pw-1")

    desktop.before = fail
    teller = Teller([desktop], clock, log, store)
    teller.post(rotated("A"))
    await clock.advance(1)
    assert caplog.records[-1].message == "A notice could not be made (RuntimeError)."
    teller.post(rotated("B"))
    await clock.advance(1)
    assert desktop.shown == ["Heroku rotated B"]


async def test_close_shows_what_is_pending(
    clock: FakeClock, desktop: FakeDesktop, store: State
) -> None:
    """The last news before the end is shown without waiting for the window."""
    teller = Teller([desktop], clock, log, store)
    teller.post(rotated("A"))
    await teller.close()
    assert desktop.shown == ["Heroku rotated A"]
    assert desktop.closed
    assert clock.now() == START


async def test_close_is_bounded(clock: FakeClock, desktop: FakeDesktop, store: State) -> None:
    """A desktop that hangs does not keep the daemon from ending; the next one shows the notice."""
    desktop.takes = 3600
    teller = Teller([desktop], clock, log, store)
    teller.post(rotated("A"))
    await clock.advance(1)
    async with asyncio.timeout(60):
        await teller.close(within=0.01)
    assert store.done == desktop.shown == []
    assert desktop.closed
    assert clock.sleepers == 0


async def test_whoever_records_hears_what_was_told(
    clock: FakeClock, desktop: FakeDesktop, store: State
) -> None:
    """Not when news comes in but once it was shown; what is not wanted needs no showing."""
    teller = Teller([desktop], clock, log, store, level=Level.TROUBLE)
    teller.post(rotated("unwanted"))
    assert store.done == ["unwanted"]
    assert clock.sleepers == 0  # nor is it kept for later
    teller.post(dataclasses.replace(rotated("wanted"), behind=(("psql", "locked"),)))
    await clock.advance(0.4)
    assert store.done == ["unwanted"]
    await clock.advance(1)
    assert store.done == ["unwanted", "wanted"]


# --- levels and quiet hours --------------------------------------------------------------


def news(kind: NewsKind, name: str = "Shop", **fields: object) -> News:
    plain = News(
        kind, Subject(About.DATABASE, f"{name}/DATABASE"), START, name, title=f"{name} is refused"
    )
    return dataclasses.replace(plain, **fields)  # type: ignore[arg-type]  # names are the test's


ROTATED = news(NewsKind.ROTATED, clients=("psql",), changed=("user", "password"))
REOPEN = dataclasses.replace(ROTATED, reopen=True)
BEHIND = dataclasses.replace(ROTATED, behind=(("psql", "no space left"),))
ADDED, ROTATING = news(NewsKind.ADDED), news(NewsKind.ROTATING)
TROUBLE = news(NewsKind.TROUBLE, "Blog", advice="Do it.")
RECOVERED = news(NewsKind.RECOVERED, "Blog", since=START - timedelta(hours=1))
EVERYTHING = [ADDED, ROTATING, ROTATED, REOPEN, BEHIND, TROUBLE, RECOVERED]


@pytest.mark.parametrize(
    ("level", "left_out"),
    [
        (Level.ALL, []),
        (Level.ROTATIONS, [ADDED]),
        (Level.TROUBLE, [ADDED, ROTATING, ROTATED]),
    ],
)
def test_levels(level: Level, left_out: list[News]) -> None:
    """Each level leaves out its part, and none what leaves something for the person to do."""
    assert [n for n in EVERYTHING if not wanted(n, level)] == left_out


@pytest.mark.parametrize(
    ("hours", "moment", "quiet"),
    [
        ("22-07", "21:59", False), ("22-07", "22:00", True), ("22-07", "00:00", True),
        ("22-07", "07:00", False), ("12-14", "13:00", True), ("12-14", "14:00", False),
    ],
)  # fmt: skip
def test_quiet_hours(hours: str, moment: str, quiet: bool) -> None:  # a parameter of the test
    """Quiet hours may go past midnight; their end is not part of them."""
    start, end = (time(int(hour)) for hour in hours.split("-"))
    assert QuietHours(start, end).covers(time.fromisoformat(moment)) is quiet


def night_clock() -> FakeClock:
    """A clock that shows 23:00 local time."""
    return FakeClock(datetime(2026, 1, 5, 23, 0).astimezone().astimezone(UTC))


NIGHT = QuietHours(time(22), time(7))


async def test_a_night_outlives_the_daemon(store: State) -> None:
    """What was held back when the daemon ended is told by the next one."""
    clock = night_clock()
    desktop = FakeDesktop(clock)
    first = Teller([desktop], clock, log, store, quiet=NIGHT)
    first.post(ROTATED)
    await first.close()
    assert desktop.shown == []
    second = Teller([desktop], clock, log, store, quiet=NIGHT)
    second.resume()
    await clock.advance(60)
    second.post(TROUBLE)
    await second.close()
    assert store.notes()["held"].count('"kind"') == 2
    await clock.advance(9 * 3600)
    third = Teller([desktop], clock, log, store, quiet=NIGHT)
    third.resume()
    await clock.advance(1)
    assert desktop.shown == ["In your quiet hours: 1 trouble and 1 rotation"]
    assert store.notes()["held"] == ""
    await third.close()
