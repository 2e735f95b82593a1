"""Looks again soon where a login has just changed.

A rotation of a named credential shows a temporary login first and the real one a little
later; and Heroku may show a login before Postgres takes it, or take it back. None of that
should wait for the next sweep. A login that changes all the time is followed up now and then.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Hashable
from typing import Final

from pgherald.clock import Clock
from pgherald.heroku.pace import Pace

#: When to look again: 1, 3, 10 and 30 seconds after a change was seen. These are the pauses.
PAUSES: Final = (1.0, 2.0, 7.0, 20.0)


class FollowUps:
    """Keeps one series of looks for each subject.

    Args:
        clock: waits.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._series: dict[Hashable, asyncio.Task[None]] = {}
        self._paces: dict[Hashable, Pace] = {}

    def begin(
        self,
        subject: Hashable,
        look: Callable[[], None],
        go_on: Callable[[], bool],
        longest: float | None = None,
    ) -> None:
        """Begin a series, in the place of an earlier one of the same subject.

        Args:
            subject: what is looked at.
            look: begins a look; returns at once.
            go_on: asked before each look; the series ends when it says no.
            longest: for a change, which may come again and again: seconds between the
                beginnings of two series at most. When it is too soon, the earlier one goes on.
        """
        if longest is not None:
            now = self._clock.monotonic()
            pace = self._paces.setdefault(subject, Pace(PAUSES[0], longest))
            if pace.wait(now):
                return
            pace.done(now)
        self.end(subject)
        task = asyncio.create_task(self._run(look, go_on), name=f"follow up {subject}")
        self._series[subject] = task
        task.add_done_callback(lambda ended: self._forget(subject, ended))

    def end(self, subject: Hashable) -> None:
        """End a series, if there is one."""
        if (task := self._series.pop(subject, None)) is not None:
            task.cancel()

    async def stop(self) -> None:
        """End all of them."""
        tasks = list(self._series.values())
        for task in tasks:
            task.cancel()
        for task in tasks:
            with contextlib.suppress(asyncio.CancelledError):
                await task

    def _forget(self, subject: Hashable, task: asyncio.Task[None]) -> None:
        if self._series.get(subject) is task:
            del self._series[subject]

    async def _run(self, look: Callable[[], None], go_on: Callable[[], bool]) -> None:
        for pause in PAUSES:
            await self._clock.sleep(pause)
            if not go_on():
                return
            look()
