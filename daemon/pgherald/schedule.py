"""Short jobs at intervals, by APScheduler.

A job returns at once, and only begins what takes long: so runs never overlap, and whoever does the
work decides what becomes of a request that comes meanwhile.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from apscheduler.schedulers.asyncio import AsyncIOScheduler
from apscheduler.triggers.base import BaseTrigger

from pgherald.errors import safe_text

Job = Callable[[], None]


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


class Schedule:
    """Runs named jobs at intervals. Made and used on the running loop's thread.

    Args:
        log: gets one line when a job fails.
    """

    def __init__(self, log: logging.Logger) -> None:
        # It would write two lines for every run of every job, for ever.
        logging.getLogger("apscheduler").setLevel(logging.WARNING)
        self._log = log
        self._jobs: dict[str, Job] = {}
        #: What each job failed of last.
        self._said: dict[str, str] = {}
        # Late is better than never: a laptop that slept must poll as soon as it wakes, but once,
        # not once for every interval it slept through.
        late = {"misfire_grace_time": None, "coalesce": True}
        self._scheduler = AsyncIOScheduler(timezone=UTC, job_defaults=late)
        self._scheduler.start()

    def every(self, name: str, seconds: float, job: Job) -> None:
        """Run `job` every so many seconds, for the first time after one interval.

        Args:
            name: the job's name here and in the log.
            seconds: the interval.
            job: what to run. If it raises, that is logged, and the schedule goes on.
        """
        self._jobs[name] = job
        self._scheduler.add_job(self._due, Every(seconds), [name], id=name, name=name)

    def now(self, name: str) -> None:
        """Run the job now, and the next time one interval from now."""
        self._retime(name)
        self._run(name)

    def retime(self) -> None:
        """Count every interval from now. To be called after the wall clock has jumped.

        Due times are wall-clock times: after the clock was set back by an hour, a job
        would otherwise rest for an hour.
        """
        for name in self._jobs:
            self._retime(name)

    def stop(self) -> None:
        """End the schedule, in the loop's next turn."""
        self._scheduler.shutdown(wait=False)

    def _retime(self, name: str) -> None:
        job = self._scheduler.get_job(name)
        job.modify(next_run_time=job.trigger.get_next_fire_time(None, datetime.now(UTC)))

    async def _due(self, name: str) -> None:
        """Run on the loop: APScheduler gives what is no coroutine to a thread."""
        self._run(name)

    def _run(self, name: str) -> None:
        said = ""
        try:
            self._jobs[name]()
        except Exception as exc:  # noqa: BLE001 – one failed run must not end the schedule
            said = safe_text(exc)
            if said != self._said.get(name):  # once, however often it runs
                self._log.error("%s failed: %s", name, said)
        self._said[name] = said
