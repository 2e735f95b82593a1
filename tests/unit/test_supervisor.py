"""Parts of the daemon that fail are started again, and nothing ends in silence."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

import pytest

from pgherald.daemon.supervisor import Supervisor
from pgherald.errors import PgheraldError
from pgherald.model import Subject
from support.fake_clock import FakeClock


class Hears:
    """Keeps what lasts, and what works again."""

    def __init__(self) -> None:
        self.said: list[str] = []

    def fire(self, subject: Subject, label: str, error: PgheraldError) -> None:
        if f"{label} fails" not in self.said:
            self.said.append(f"{label} fails")
        assert "CANARY" not in str(error)

    def resolve(self, subject: Subject) -> None:
        self.said.append(f"{subject} works")

    def keep_only(self, concerns: Callable[[Subject], bool]) -> None:
        raise AssertionError


class Part:
    """Fails as often as it is told to, and works from then on.

    Attributes:
        starts: when it was started, by the clock.
    """

    def __init__(self, clock: FakeClock, failures: int) -> None:
        self._clock = clock
        self._failures = failures
        self._began = clock.monotonic()
        self.starts: list[float] = []

    async def run(self) -> None:
        self.starts.append(self._clock.monotonic() - self._began)
        if len(self.starts) <= self._failures:
            raise OSError(5, "CANARY")
        await asyncio.Event().wait()


async def test_what_fails_once_runs_again(caplog: pytest.LogCaptureFixture) -> None:
    """A second later; it is in the log, without the error's own words, and nobody is notified."""
    clock, hears = FakeClock(), Hears()
    supervisor, part = Supervisor(clock), Part(clock, 1)
    supervisor.alerts = hears
    async with supervisor.running("part", part.run):
        await clock.advance(1)
        assert part.starts == [0, 1]
        await clock.advance(600)
    assert part.starts == [0, 1]
    assert "The part failed and is started again: OSError" in caplog.text
    assert "CANARY" not in caplog.text
    assert hears.said == ["part:part works"]


async def test_what_fails_again_and_again_is_tried_ever_less_often(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Up to once a minute; that is logged once, announced once, and its end is announced once."""
    clock, hears = FakeClock(), Hears()
    supervisor, part = Supervisor(clock), Part(clock, 20)
    supervisor.alerts = hears
    async with supervisor.running("part", part.run):
        await clock.advance(3600)
        assert part.starts[:7] == [0, 1, 3, 7, 15, 31, 63]
        assert part.starts[-1] - part.starts[-2] == 60
        assert len(part.starts) == 21
        assert hears.said == ["part fails", "part:part works"]
    assert [r.levelno for r in caplog.records if r.levelno >= logging.WARNING] == [logging.ERROR]


@pytest.mark.parametrize("how", ["ends", "cancels itself"])
async def test_no_part_ends_in_silence(how: str, caplog: pytest.LogCaptureFixture) -> None:
    """One that ends without an error, or by a cancelled task of its own, is started again too."""
    clock = FakeClock()
    starts: list[float] = []

    async def work() -> None:
        starts.append(clock.monotonic())
        if how == "cancels itself":
            raise asyncio.CancelledError

    async with Supervisor(clock).running("part", work):
        await clock.advance(3)
        assert len(starts) == 3
    assert "The part failed and is started again" in caplog.text


async def test_what_may_end_ends() -> None:
    """A log that Heroku does not allow to be followed is not followed again."""
    clock = FakeClock()
    starts = 0

    async def work() -> None:
        nonlocal starts
        starts += 1

    await Supervisor(clock).keep("log", work, endless=False)
    assert starts == 1
