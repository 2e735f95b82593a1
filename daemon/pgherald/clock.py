"""Time, handed in, so that a day of faults is a test of a second."""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime
from typing import Protocol


class Clock(Protocol):
    """What the program asks about time."""

    def now(self) -> datetime:
        """The wall clock, UTC, timezone-aware. May jump either way."""
        ...

    def monotonic(self) -> float:
        """Seconds that never go back. May stand still while the machine sleeps."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Wait that many seconds of monotonic time."""
        ...


class SystemClock:
    """The machine's own clock."""

    def now(self) -> datetime:
        """The wall clock, UTC."""
        return datetime.now(UTC)

    def monotonic(self) -> float:
        """Seconds since some fixed moment."""
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        """Wait on the running loop."""
        await asyncio.sleep(seconds)


def until_beat(clock: Clock, every: float) -> float:
    """Seconds until the monotonic clock next stands at a multiple of `every` seconds.

    Things that are done now and then are done on the beat, so that the machine is woken up once
    for all of them.
    """
    return every - clock.monotonic() % every
