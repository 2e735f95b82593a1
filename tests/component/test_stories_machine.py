"""A laptop's days, told as stories: closed lids and odd clocks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from support.disks import PLACING, SteppedDisk
from support.fake_clock import FakeClock
from support.workplace import DAY, HOUR, MINUTE, SHOP, Workplace

CALM = 'poll_interval = "5m"'
ROTATED = "Heroku rotated Shop-production"
WORKS_AGAIN = "Heroku works again"
DOWN = "Heroku has a problem of its own (503)"


# --- the lid -----------------------------------------------------------------------------------


class Lid(SteppedDisk):
    """A real disk on a laptop whose lid is closed for eight hours at one of its operations.

    Attributes:
        closes_at: the number of renames until then; 0 for never.
    """

    def __init__(self, clock: FakeClock) -> None:
        self._clock = clock
        self.closes_at = 0

    def step(self, name: str, args: tuple[Any, ...]) -> None:
        """Sleep, if it is time."""
        if name in PLACING and self.closes_at:
            self.closes_at -= 1
            if not self.closes_at:
                self._clock.suspend(8 * HOUR)


@pytest.mark.parametrize("rename", range(1, 6))
async def test_the_lid_is_closed_in_the_middle_of_a_commit(tmp_path: Path, rename: int) -> None:
    """A commit that eight hours of sleep fall into is finished, and told once.

    What Heroku rotated in the night is in all clients half a minute after the lid is opened.
    """
    clock = FakeClock()
    lid = Lid(clock)
    async with Workplace.standing(
        tmp_path, top=CALM, watched=(SHOP,), clock=clock, disk=lid
    ) as place:
        await place.sweep()
        evening = await place.rotate()
        began = clock.now()
        lid.closes_at = rename
        await place.sweep()
        assert (clock.now() - began).total_seconds() >= 8 * HOUR
        assert place.holds(evening)
        night = await place.rotate()
        await clock.advance(30)  # of the time that a machine that sleeps does not have
        await place.done()
        assert place.holds(night)
        assert place.told() == [ROTATED, ROTATED]
        place.nothing_is_lost()


async def test_the_lid_is_closed_during_an_outage(tmp_path: Path) -> None:
    """Sleep does not count: an outage of two minutes around a night is not worth a word."""
    async with Workplace.standing(tmp_path, top='poll_interval = "1m"', watched=(SHOP,)) as place:
        await place.sweep()
        place.goes_wrong("503")
        await place.passes(MINUTE)
        place.clock.suspend(8 * HOUR)
        await place.passes(MINUTE)
        place.goes_well()
        await place.passes(2 * MINUTE)
        assert place.told() == []
        assert place.is_current()


# --- the clock ---------------------------------------------------------------------------------


@pytest.mark.parametrize("jump", [-DAY, -365 * DAY, 365 * DAY])
async def test_the_clock_is_set(tmp_path: Path, jump: float) -> None:
    """A clock set back or forward delays nothing: rotations, pauses and notices go on as ever."""
    async with Workplace.standing(tmp_path, top=CALM, watched=(SHOP,)) as place:
        await place.sweep()
        place.clock.jump(jump)
        first = await place.rotate()
        await place.passes(5 * MINUTE)
        assert place.holds(first)
        place.goes_wrong("503")
        await place.passes(30 * MINUTE)
        assert place.told() == [ROTATED, DOWN]
        place.clock.jump(-jump)
        second = await place.rotate()
        place.goes_well()
        await place.passes(15 * MINUTE)
        assert place.holds(second)
        assert place.told()[2:] == [WORKS_AGAIN, ROTATED]
        history = place.state.store.history(limit=10)
        assert len(history) == 2
        place.nothing_is_lost()


async def test_a_limit_does_not_outlast_a_clock_that_is_set_back(tmp_path: Path) -> None:
    """Told to wait ten minutes, pgherald waits ten minutes, though the clock says it is yesterday."""
    async with Workplace.standing(tmp_path, top=CALM, watched=(SHOP,)) as place:
        await place.sweep()
        place.goes_wrong("429", retry_after=600)
        await place.passes(5 * MINUTE)
        place.goes_well()
        rotated = await place.rotate()
        place.clock.jump(-DAY)
        await place.passes(10 * MINUTE)
        assert place.holds(rotated)


# --- the desktop -------------------------------------------------------------------------------
