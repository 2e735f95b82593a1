"""The schedule of sweeps, kept by APScheduler.

APScheduler says when a job is due. Running it is our own part, since a run must be cancelled at
shutdown, must not overlap with itself, and must not lose a request that comes meanwhile.
"""

from __future__ import annotations

import asyncio
import logging
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
    """

    def __init__(self, seconds: float) -> None:
        self._interval = timedelta(seconds=seconds)

    def get_next_fire_time(self, _previous: datetime | None, now: datetime) -> datetime:
        """When to run next; `now` is the wall clock."""
        return now + self._interval


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
    """

    def __init__(self, log: logging.Logger) -> None:
        # It would write two lines for every run of every job, for ever.
        logging.getLogger("apscheduler").setLevel(logging.WARNING)
        self._log = log
        self._jobs: dict[str, _Scheduled] = {}
        self._scheduler = AsyncIOScheduler(
            timezone=UTC,
            # Late is better than never: a laptop that slept must poll as soon as it wakes,
            # but once, not once for every interval it slept through.
            job_defaults={"misfire_grace_time": None, "coalesce": True, "max_instances": 1},
        )
        self._scheduler.start()

    def every(self, name: str, seconds: float, job: Job) -> None:
        """Run `job` every so many seconds, for the first time after one interval.

        Args:
            name: the job's name here and in the log.
            seconds: the interval.
            job: what to run. If it raises, that is logged, and the schedule goes on.
        """
        scheduled = self._jobs[name] = _Scheduled(name, job, Every(seconds))

        async def due() -> None:
            self._start(scheduled)

        self._scheduler.add_job(due, scheduled.trigger, id=name, name=name)

    def now(self, name: str) -> None:
        """Run the job now, and the next time one interval from now.

        While it is running it is run once more afterwards: what it has already read may be what
        has changed.
        """
        scheduled = self._jobs[name]
        self._retime(scheduled)
        if scheduled.running is not None:
            scheduled.again = True
        else:
            self._start(scheduled)

    def due(self, name: str) -> datetime:
        """When the job runs next, UTC."""
        due: datetime = self._scheduler.get_job(name).next_run_time
        return due

    def retime(self) -> None:
        """Count every interval from now. To be called after the wall clock has jumped.

        Due times are wall-clock times: after the clock was set back by an hour, a job
        would otherwise rest for an hour.
        """
        for scheduled in self._jobs.values():
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
