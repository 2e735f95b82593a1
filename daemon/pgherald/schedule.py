"""A short job at intervals, by APScheduler.

The job returns at once, and only begins what takes long: so runs never overlap, and whoever does the
work decides what becomes of a request that comes meanwhile.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from apscheduler.schedulers.asyncio import AsyncIOScheduler
from apscheduler.triggers.base import BaseTrigger

from pgherald.errors import safe_text

log = logging.getLogger(__name__)


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
    """Runs a job at intervals, for the first time after one. Made and used on the running loop.

    Args:
        name: the job's name in the log.
        seconds: the interval.
        job: what to run. If it raises, that is logged, and the schedule goes on.
    """

    def __init__(self, name: str, seconds: float, job: Callable[[], None]) -> None:
        # It would write two lines for every run of every job, for ever.
        logging.getLogger("apscheduler").setLevel(logging.WARNING)
        self._name, self._job = name, job
        #: What the latest run failed of.
        self._said = ""
        # Late is better than never: a laptop that slept must poll as soon as it wakes, but once,
        # not once for every interval it slept through.
        late = {"misfire_grace_time": None, "coalesce": True}
        self._scheduler = AsyncIOScheduler(timezone=UTC, job_defaults=late)
        self._scheduler.start()
        self._timed = self._scheduler.add_job(self._due, Every(seconds), id=name)

    def now(self) -> None:
        """Run the job now, and the next time one interval from now."""
        self.retime()
        self._run()

    def retime(self) -> None:
        """Count the interval from now. To be called after the wall clock has jumped.

        Due times are wall-clock times: after the clock was set back by an hour, the job
        would otherwise rest for an hour.
        """
        due = self._timed.trigger.get_next_fire_time(None, datetime.now(UTC))
        self._timed.modify(next_run_time=due)

    def stop(self) -> None:
        """End the schedule, in the loop's next turn."""
        self._scheduler.shutdown(wait=False)

    async def _due(self) -> None:
        """Run on the loop: APScheduler gives what is no coroutine to a thread."""
        self._run()

    def _run(self) -> None:
        said = ""
        try:
            self._job()
        except Exception as exc:  # noqa: BLE001 – one failed run must not end the schedule
            said = safe_text(exc)
            if said != self._said:  # once, however often it runs
                log.error("%s failed: %s", self._name, said)
        self._said = said
