"""Keeps the parts of the daemon running: one that fails is started again.

Every task that is to run for ever runs here: the engine, the publisher, the ticks, the watches.
What it fails of is somebody else's mistake, or the disk's, and may be gone the next moment; the
other parts work on meanwhile. It is logged once; when it lasts, the person is notified, and
again when it works.

Only what is there before any part is may end the daemon: the lock, the state folder, and the
building of a configuration's machinery. There a service manager starts a whole one again.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Final

from pgherald.clock import Clock
from pgherald.errors import PgheraldError, safe_text
from pgherald.model import About, AlertSink, Subject

log = logging.getLogger(__name__)

#: Seconds before a part is started again; doubled with each failure in a row, up to the last.
_FIRST_PAUSE: Final = 1.0
_LONGEST_PAUSE: Final = 60.0

#: A part that has run for so many seconds works.
_WORKS: Final = 60.0

#: So many failures in a row are no accident.
_LASTS: Final = 4


class PartFailed(PgheraldError):
    """A part of the daemon fails again and again."""

    default_advice = (
        "It is started again each minute, and the rest works on. The log names the place; "
        "`pgherald doctor --bundle report.tar.gz` gathers all for a report."
    )


class Supervisor:
    """Runs parts, and starts again those that fail.

    Args:
        clock: times the pauses.

    Attributes:
        alerts: hears of what lasts; None while nobody listens.
    """

    def __init__(self, clock: Clock) -> None:
        self.alerts: AlertSink | None = None
        self._clock = clock

    @contextlib.asynccontextmanager
    async def running(self, part: str, work: Callable[[], Awaitable[None]]) -> AsyncIterator[None]:
        """Meanwhile, keep a part running.

        Args:
            part: its name for people.
            work: runs it, for ever; is called again when it has ended.
        """
        task = asyncio.create_task(self.keep(part, work), name=part)
        try:
            yield
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def keep(
        self, part: str, work: Callable[[], Awaitable[None]], *, endless: bool = True
    ) -> None:
        """Keep a part running until cancelled; see `running`.

        Args:
            part: its name for people.
            work: runs it.
            endless: whether it must not end; else this returns when it does.
        """
        failures, said = 0, ""
        while True:
            began = self._clock.monotonic()
            try:
                recovering = asyncio.create_task(self._recover(part)) if failures else None
                try:
                    await work()
                finally:
                    if recovering is not None:
                        recovering.cancel()
                if not endless:
                    return
                what = "it ended"
            except asyncio.CancelledError:
                if (task := asyncio.current_task()) is not None and task.cancelling():
                    raise
                what = "it was cancelled"
            except Exception as exc:  # noqa: BLE001 – whatever it was, the part must go on
                what = safe_text(exc)
            if self._clock.monotonic() - began >= _WORKS:
                failures, said = 0, ""
            failures += 1
            if what != said:
                log.error("The %s failed and is started again: %s", part, what)
                said = what
            if failures >= _LASTS and self.alerts is not None:
                title = f"The {part} fails again and again: {what}"
                self.alerts.fire(_subject(part), part, PartFailed(title))
            pause = _FIRST_PAUSE * 2.0 ** (min(failures, 32) - 1)
            await self._clock.sleep(min(pause, _LONGEST_PAUSE))

    async def _recover(self, part: str) -> None:
        """Say that a part works again, once it has run for a while."""
        await self._clock.sleep(_WORKS)
        log.info("The %s works again.", part)
        if self.alerts is not None:
            self.alerts.resolve(_subject(part))


def _subject(part: str) -> Subject:
    return Subject(About.PART, part)
