"""The tick that notices a wake-up."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from pgherald.watch.wake import tick
from support.fake_clock import FakeClock, settle


class Ticking:
    """The tick on a fake clock, and what it called."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.jumps: list[float] = []
        self.ticks = 0
        self.fails = False

    def on_jump(self, seconds: float) -> None:
        self.jumps.append(round(seconds, 3))
        if self.fails:
            raise RuntimeError("CANARY-pw-1")

    def on_tick(self) -> None:
        self.ticks += 1
        if self.fails:
            raise RuntimeError("CANARY-pw-1")


@pytest.fixture
async def ticking() -> AsyncIterator[Ticking]:
    state = Ticking()
    task = asyncio.create_task(tick(state.clock, state.on_jump, on_tick=state.on_tick))
    await settle()
    yield state
    task.cancel()
    await settle()
    assert task.cancelled()


async def test_an_ordinary_day(ticking: Ticking) -> None:
    """As long as the clocks agree, nothing is reported; two ticks a minute."""
    await ticking.clock.advance(3600)
    assert (ticking.jumps, ticking.ticks) == ([], 120)


async def test_ticks_come_on_the_beat() -> None:
    """Whatever began when, all that ticks wakes the machine at the same moments."""
    clock = FakeClock()
    moments: list[float] = []
    tasks = []
    for _ in range(2):
        await clock.advance(7)
        ticks = tick(clock, moments.append, on_tick=lambda: moments.append(clock.monotonic()))
        tasks.append(asyncio.create_task(ticks))
    await clock.advance(1080 - clock.monotonic())
    assert moments == [1020, 1020, 1050, 1050, 1080, 1080]
    for task in tasks:
        task.cancel()
    await settle()


async def test_the_lid_was_closed(ticking: Ticking) -> None:
    """A sleep is noticed within one tick after the wake-up, once, with its length."""
    await ticking.clock.advance(45)
    ticking.clock.suspend(8 * 3600)
    await ticking.clock.advance(15)
    assert ticking.jumps == [8 * 3600]
    await ticking.clock.advance(300)
    assert ticking.jumps == [8 * 3600]


async def test_the_clock_was_set_back(ticking: Ticking) -> None:
    """A clock that was set back is reported with its sign."""
    ticking.clock.jump(-3600)
    await ticking.clock.advance(30)
    assert ticking.jumps == [-3600]


async def test_a_failing_callback(ticking: Ticking, caplog: pytest.LogCaptureFixture) -> None:
    """Whatever a callback does, the next tick comes, and no secret is logged."""
    ticking.fails = True
    ticking.clock.jump(60)
    await ticking.clock.advance(60)
    assert (ticking.jumps, ticking.ticks) == ([60], 2)
    assert "A wake-up check failed (RuntimeError)." in caplog.text
    assert "CANARY" not in caplog.text
