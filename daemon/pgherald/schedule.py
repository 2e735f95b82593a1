"""The schedule of sweeps, kept by APScheduler.

APScheduler says when; the running of a job is in our own hands, since it must be cancelled
at shutdown, must not overlap with itself, and must not lose a wish that comes in meanwhile.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from apscheduler.schedulers.asyncio import AsyncIOScheduler
from apscheduler.triggers.base import BaseTrigger

from pgherald.errors import safe_text

Job = Callable[[], Awaitable[None]]

#: Seconds that `stop` gives cancelled jobs to end.
STOP_LIMIT: Final = 1.0


class Every(BaseTrigger):  # type: ignore[misc]  # APScheduler ships no types
    """Due one interval from now, whenever "now" is.

    APScheduler's own interval trigger counts from the last due time. After a clock that was
    set back, that lies in the future; after a long sleep it is worked off step by step.

    Args:
        seconds: the interval.
        jitter: seconds that are added at most, so that many daemons do not ask together.
        chance: gives a number from 0 to below 1.
    """

    def __init__(self, seconds: float, jitter: float, chance: Callable[[], float]) -> None:
        self.seconds = seconds
        self.jitter = jitter
        self._chance = chance

    def get_next_fire_time(self, _previous: datetime | None, now: datetime) -> datetime:
        """When to run next; `now` is the wall clock."""
        return now + timedelta(seconds=self.seconds + self.jitter * self._chance())


@dataclass(eq=False)
class _Scheduled:
    name: str
    job: Job
    trigger: Every
    running: asyncio.Task[None] | None = None
    again: bool = False
    said: str = ""


class Schedule:
    """Runs named jobs at intervals, one run of each at a time.

    Made and used on the running loop's thread.

    Args:
        log: gets one line when a job fails.
        chance: randomness for the jitter, from 0 to below 1.
    """

    def __init__(
        self,
        log: logging.Logger,
        *,
        chance: Callable[[], float] = random.random,
    ) -> None:
        # It would write two lines for every run of every job, for ever.
        logging.getLogger("apscheduler").setLevel(logging.WARNING)
        self._log = log
        self._chance = chance
        self._jobs: dict[str, _Scheduled] = {}
        self._scheduler = AsyncIOScheduler(
            timezone=UTC,
            # Late is better than never: a laptop that slept must look as soon as it wakes,
            # but once, not once for every interval it slept through.
            job_defaults={"misfire_grace_time": None, "coalesce": True, "max_instances": 1},
        )
        self._scheduler.start()

    def every(self, name: str, seconds: float, job: Job, *, jitter: float = 0.0) -> None:
        """Run `job` every so many seconds, for the first time after one interval.

        A job of the same name is replaced; a run of it that is under way goes on.

        Args:
            name: the job's name here and in the log.
            seconds: the interval.
            job: what to run. If it raises, that is logged, and the schedule goes on.
            jitter: seconds by which the interval grows at random, at most.
        """
        trigger = Every(seconds, jitter, self._chance)
        scheduled = self._jobs.setdefault(name, _Scheduled(name, job, trigger))
        scheduled.job, scheduled.trigger = job, trigger

        async def due() -> None:
            self._start(scheduled)

        self._scheduler.add_job(due, trigger, id=name, name=name, replace_existing=True)

    def now(self, name: str) -> None:
        """Run the job now, and the next time one interval from now.

        While it is running it is run once more afterwards: what it has already looked at
        may be what has changed. A paused job runs too, and stays paused.
        """
        scheduled = self._jobs[name]
        if self.due(name) is not None:
            self._retime(scheduled)
        if scheduled.running is not None:
            scheduled.again = True
        else:
            self._start(scheduled)

    def reschedule(self, name: str, seconds: float) -> None:
        """Change the interval, counted from now. Ends a pause."""
        scheduled = self._jobs[name]
        scheduled.trigger.seconds = seconds
        self._retime(scheduled)

    def pause(self, name: str) -> None:
        """Let the job rest until `resume` or `reschedule`. A run under way goes on."""
        self._scheduler.pause_job(name)

    def resume(self, name: str) -> None:
        """End a pause; due after one interval."""
        self._retime(self._jobs[name])

    def remove(self, name: str) -> None:
        """Forget the job; a run under way is cancelled."""
        scheduled = self._jobs.pop(name)
        self._scheduler.remove_job(name)
        scheduled.again = False
        if scheduled.running is not None:
            scheduled.running.cancel()

    def due(self, name: str) -> datetime | None:
        """When the job runs next, UTC; None while it is paused."""
        job = self._scheduler.get_job(name)
        due: datetime | None = job.next_run_time
        return due

    def retime(self) -> None:
        """Count every interval from now. To be called after the wall clock has jumped.

        Due times are wall-clock times: after the clock was set back by an hour, a job
        would otherwise rest for an hour.
        """
        for name, scheduled in self._jobs.items():
            if self.due(name) is not None:
                self._retime(scheduled)

    async def stop(self) -> None:
        """End the schedule and cancel what runs. Takes a second at most."""
        if not self._scheduler.running:
            return
        self._scheduler.shutdown(wait=False)
        running = {s.running for s in self._jobs.values() if s.running is not None}
        self._jobs.clear()
        for task in running:
            task.cancel()
        await asyncio.sleep(0)  # the scheduler itself ends in the loop's next turn
        if running:
            await asyncio.wait(running, timeout=STOP_LIMIT)

    def _retime(self, scheduled: _Scheduled) -> None:
        due = scheduled.trigger.get_next_fire_time(None, datetime.now(UTC))
        self._scheduler.modify_job(scheduled.name, next_run_time=due)

    def _start(self, scheduled: _Scheduled) -> None:
        if scheduled.running is None:
            scheduled.running = asyncio.get_running_loop().create_task(self._run(scheduled))

    async def _run(self, scheduled: _Scheduled) -> None:
        try:
            while True:
                scheduled.again = False
                try:
                    await scheduled.job()
                except Exception as exc:  # noqa: BLE001 – one failed run must not end the schedule
                    said = safe_text(exc)
                    if said != scheduled.said:  # once, however often it runs
                        self._log.error("%s failed: %s", scheduled.name, said)
                    scheduled.said = said
                else:
                    scheduled.said = ""
                if not scheduled.again:
                    return
        finally:
            scheduled.running = None
