"""How much the person is told, and quiet hours."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Sequence
from datetime import UTC, datetime, time, timedelta

import pytest

from pgherald.config.settings import Level, QuietHours
from pgherald.model import News, NewsKind
from pgherald.notify.desktop import Urgency
from pgherald.notify.quiet import from_text, to_text, wanted
from pgherald.notify.tell import Teller
from pgherald.notify.texts import summary_of
from support.desktops import FakeDesktop
from support.fake_clock import START, FakeClock

log = logging.getLogger("test.quiet")


def news(kind: NewsKind, name: str = "Shop", **fields: object) -> News:
    plain = News(kind, f"database:{name}", START, name, title=f"{name} is refused")
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
    assert wanted(EVERYTHING, level) == [n for n in EVERYTHING if n not in left_out]


@pytest.mark.parametrize(
    ("hours", "moment", "quiet"),
    [
        ("22-07", "21:59", False), ("22-07", "22:00", True), ("22-07", "00:00", True),
        ("22-07", "06:59", True), ("22-07", "07:00", False), ("12-14", "13:00", True),
        ("12-14", "11:59", False), ("12-14", "14:00", False), ("12-14", "00:00", False),
    ],
)  # fmt: skip
def test_quiet_hours(hours: str, moment: str, quiet: bool) -> None:  # a parameter of the test
    """Quiet hours may go past midnight; their end is not part of them."""
    start, end = (time(int(hour)) for hour in hours.split("-"))
    assert QuietHours(start, end).covers(time.fromisoformat(moment)) is quiet


def test_news_survives_a_restart() -> None:
    """What is held back comes back as it was; what is damaged is nothing."""
    assert from_text(to_text(EVERYTHING)) == EVERYTHING
    assert to_text([]) == ""
    for text in ("", "[]", "nonsense", "[1]", '[{"kind": "rotated"}]', "{}"):
        assert from_text(text) == []


def test_the_summary_of_a_night() -> None:
    """A night is one notice: counted, the most urgent first, and what to do about it."""
    (notice,) = summary_of([ROTATED, TROUBLE, news(NewsKind.ROTATED, "Forum")])
    assert notice.title == "In your quiet hours: 1 trouble and 2 rotations"
    assert notice.body.splitlines() == [
        "Blog is refused.",
        "Heroku rotated Forum.",
        "Heroku rotated Shop.",
        "`pgherald status` tells what to do.",
    ]
    assert notice.urgency is Urgency.CRITICAL


def test_a_night_with_one_event_needs_no_summary() -> None:
    """One event is told as it would have been; a trouble that is over is not told at all."""
    (notice,) = summary_of([ROTATING, ROTATED, TROUBLE, RECOVERED])
    assert notice.title == "Heroku rotated Shop"
    assert summary_of([TROUBLE, RECOVERED]) == []


def test_a_long_night() -> None:
    """A summary stays short."""
    (notice,) = summary_of([news(NewsKind.RECOVERED, f"s{n}", title=str(n)) for n in range(2)]
                           + [news(NewsKind.TROUBLE, f"t{n}", title=f"t{n}") for n in range(2)]
                           + [news(NewsKind.ADDED, "x"), ROTATED])  # fmt: skip
    assert notice.title == ("In your quiet hours: 2 troubles, 1 rotation and 2 more")
    assert "And 3 more." in notice.body


class Memory:
    """Keeps what is held back."""

    def __init__(self) -> None:
        self.news: list[News] = []

    def load(self) -> list[News]:
        return self.news

    def save(self, news: Sequence[News]) -> None:
        self.news = list(news)


def night_clock() -> FakeClock:
    """A clock that shows 23:00 local time."""
    return FakeClock(datetime(2026, 1, 5, 23, 0).astimezone().astimezone(UTC))


NIGHT = QuietHours(time(22), time(7))


async def test_nothing_is_told_at_night() -> None:
    """News of quiet hours is logged at once, kept, and told as one notice in the morning."""
    clock, memory = night_clock(), Memory()
    desktop = FakeDesktop(clock)
    teller = Teller(desktop, None, clock, log, quiet=NIGHT, kept=memory)
    teller.post(ROTATED)
    await clock.advance(3600)
    teller.post(TROUBLE)
    assert memory.news == [ROTATED, TROUBLE]
    await clock.advance(6.9 * 3600)
    assert desktop.shown == []
    await clock.advance(0.2 * 3600)
    assert desktop.shown == ["In your quiet hours: 1 trouble and 1 rotation"]
    assert memory.news == []
    teller.post(ROTATED)
    await clock.advance(1)
    assert desktop.shown[1:] == ["Heroku rotated Shop"]
    await teller.close()


async def test_a_night_outlives_the_daemon() -> None:
    """What was held back when the daemon ended is told by the next one."""
    clock, memory = night_clock(), Memory()
    desktop = FakeDesktop(clock)
    first = Teller(desktop, None, clock, log, quiet=NIGHT, kept=memory)
    first.post(ROTATED)
    await first.close()
    assert desktop.shown == []
    second = Teller(desktop, None, clock, log, quiet=NIGHT, kept=memory)
    second.resume()
    await clock.advance(60)
    second.post(TROUBLE)
    await second.close()
    assert memory.news == [ROTATED, TROUBLE]
    await clock.advance(9 * 3600)
    third = Teller(desktop, None, clock, log, quiet=NIGHT, kept=memory)
    third.resume()
    await clock.advance(1)
    assert desktop.shown == ["In your quiet hours: 1 trouble and 1 rotation"]
    assert memory.news == []
    await third.close()


async def test_the_level_counts_before_the_night() -> None:
    """What the person does not want to hear is not kept either."""
    clock, memory = night_clock(), Memory()
    teller = Teller(
        FakeDesktop(clock), None, clock, log, level=Level.TROUBLE, quiet=NIGHT, kept=memory
    )
    teller.post(ROTATED)
    await clock.advance(60)
    assert memory.news == []
    assert clock.sleepers == 0
    await teller.close()
