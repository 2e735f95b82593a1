"""A clock under the test's control, in the shape of `pgherald.clock.Clock`.

    clock = FakeClock()
    task = asyncio.create_task(wakes_every_minute(clock))
    await clock.advance(3600)      # an hour, in a few milliseconds: 60 wake-ups, in order
    clock.jump(-3600)              # somebody set the clock back
    clock.suspend(8 * 3600)        # the lid was closed overnight

Only sleeps on this clock are faked. Threads, sockets and asyncio's own time limits
keep real time.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
from collections.abc import Coroutine
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

T = TypeVar("T")

#: A Monday morning, so that tests read well.
START = datetime(2026, 1, 5, 9, 0, tzinfo=UTC)

#: More turns of the loop than any honest test needs: somebody spins without sleeping.
TOO_MANY_TURNS = 100_000


class FakeClock:
    """A wall clock and a monotonic clock that move only when told.

    Attributes:
        slept: seconds of every `sleep` asked for so far, in order; shows growing pauses.
    """

    def __init__(self, start: datetime = START) -> None:
        self._wall = start
        self._monotonic = 1000.0  # not 0, so that nobody mistakes "never" for "at the start"
        self._sleepers: list[tuple[float, int, asyncio.Future[None]]] = []
        self._order = itertools.count()
        self.slept: list[float] = []

    def now(self) -> datetime:
        """The wall clock, UTC."""
        return self._wall

    def monotonic(self) -> float:
        """Seconds that never go back."""
        return self._monotonic

    async def sleep(self, seconds: float) -> None:
        """Wait until `advance` has passed that many seconds."""
        self.slept.append(seconds)
        if seconds <= 0:
            await asyncio.sleep(0)
            return
        waiter = asyncio.get_running_loop().create_future()
        heapq.heappush(self._sleepers, (self._monotonic + seconds, next(self._order), waiter))
        await waiter

    @property
    def sleepers(self) -> int:
        """How many tasks sleep on this clock right now."""
        return sum(not waiter.done() for _, _, waiter in self._sleepers)

    async def advance(self, seconds: float) -> None:
        """Let both clocks run on, waking each sleeper at its own moment, in order.

        Each woken task runs until it waits again before the next one wakes, so one that
        sleeps in a loop is woken as often as it would be in real time.
        """
        await settle()
        end = self._monotonic + seconds
        while (due := self._next_due()) is not None and due <= end:
            self._wake_first()
            await settle()
        self._move_to(end)
        await settle()

    async def run(self, work: Coroutine[Any, Any, T], *, within: float = 86_400) -> T:
        """Run `work` to its end, skipping from sleep to sleep; return its result."""
        task = asyncio.ensure_future(work)
        end = self._monotonic + within
        try:
            while True:
                await settle()
                if task.done():
                    return task.result()
                due = self._next_due()
                if due is None:  # it waits for a thread or a socket, which keep real time
                    await self._await_sleep_or_end(task)
                elif due > end:
                    raise TimeoutError(f"still running after {within} s")
                else:
                    self._wake_first()
        finally:
            task.cancel()
            await asyncio.wait({task})

    def jump(self, seconds: float) -> None:
        """Set the wall clock forward or back; the monotonic clock does not notice."""
        self._wall += timedelta(seconds=seconds)

    def suspend(self, seconds: float) -> None:
        """Let the machine sleep: the wall clock moves on, the monotonic one stands still."""
        if seconds < 0:
            raise ValueError("a machine cannot sleep backwards; use jump()")
        self.jump(seconds)

    def _next_due(self) -> float | None:
        while self._sleepers and self._sleepers[0][2].done():  # cancelled meanwhile
            heapq.heappop(self._sleepers)
        return self._sleepers[0][0] if self._sleepers else None

    def _wake_first(self) -> None:
        due, _, waiter = heapq.heappop(self._sleepers)
        self._move_to(due)
        waiter.set_result(None)

    def _move_to(self, moment: float) -> None:
        self._wall += timedelta(seconds=moment - self._monotonic)
        self._monotonic = moment

    async def _await_sleep_or_end(self, task: asyncio.Future[Any]) -> None:
        async with asyncio.timeout(60):
            while not task.done() and self._next_due() is None:
                await asyncio.wait({task}, timeout=0.005)


async def settle() -> None:
    """Let every task run until each one waits for something."""
    ready = asyncio.get_running_loop()._ready  # type: ignore[attr-defined]  # asyncio has no public word for "idle"
    for _ in range(TOO_MANY_TURNS):
        await asyncio.sleep(0)
        if not ready:
            return
    raise AssertionError("a task runs without ever waiting")
