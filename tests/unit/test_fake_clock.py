"""The tests' own clock: a fake that lies would let every other test lie."""

from __future__ import annotations

import asyncio

import pytest

from pgherald.clock import Clock
from support.fake_clock import START, FakeClock, settle


async def test_sleepers_wake_in_order_at_their_own_moment() -> None:
    """Whoever sleeps shorter wakes first, and sees the moment it asked for."""
    clock: FakeClock = FakeClock()
    woken: list[tuple[str, float]] = []

    async def sleeper(name: str, seconds: float) -> None:
        await clock.sleep(seconds)
        woken.append((name, (clock.now() - START).total_seconds()))

    tasks = [asyncio.create_task(sleeper(n, s)) for n, s in (("b", 2), ("a", 1), ("c", 9))]
    await clock.advance(5)
    assert woken == [("a", 1.0), ("b", 2.0)]
    assert clock.sleepers == 1
    await clock.advance(4)
    assert woken[-1] == ("c", 9.0)
    await asyncio.gather(*tasks)


async def test_a_loop_is_woken_as_often_as_in_real_time() -> None:
    """One long advance equals many short ones for a task that sleeps in a loop."""
    clock = FakeClock()
    ticks: list[float] = []

    async def ticker(on: Clock) -> None:
        while True:
            await on.sleep(30)
            ticks.append(on.monotonic())

    task = asyncio.create_task(ticker(clock))
    await clock.advance(3600)
    assert len(ticks) == 120
    assert clock.slept == [30] * 121
    task.cancel()
    await settle()
    assert clock.sleepers == 0
    await clock.advance(60)
    assert len(ticks) == 120


async def test_run_skips_the_waiting() -> None:
    """`run` gives the result, however long the work sleeps and wherever else it waits."""
    clock = FakeClock()

    async def work() -> float:
        await clock.sleep(0)
        await clock.sleep(3600)
        await asyncio.to_thread(lambda: None)
        await clock.sleep(60)
        return clock.monotonic()

    before = clock.monotonic()
    assert await clock.run(work()) == before + 3660


async def test_a_spinning_task_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """A task that never waits fails the test instead of hanging it."""
    monkeypatch.setattr("support.fake_clock.TOO_MANY_TURNS", 100)

    async def spin() -> None:
        while True:  # never waiting is its purpose
            await asyncio.sleep(0)

    task = asyncio.create_task(spin())
    with pytest.raises(AssertionError, match="without ever waiting"):
        await settle()
    task.cancel()
