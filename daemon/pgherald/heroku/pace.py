"""What happens over and over is answered now and then."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable
from typing import Final

#: Clients that are changed over and over are compared once in this many seconds. They are only
#: written once they are still.
COMPARED: Final = 0.5

#: Tokens that are changed over and over are read once in this many seconds.
RENEWED: Final = 5.0

#: Something rests for so many times its pause: then it has calmed down.
_CALMED_DOWN: Final = 4


class Pace:
    """Spaces what is done over and over: twice as far each time, up to a limit.

    Once nothing was done for four times the pause, it begins anew.

    Args:
        first: seconds between the first two.
        longest: seconds between two at most.
    """

    def __init__(self, first: float, longest: float) -> None:
        self._first = first
        self._longest = max(first, longest)
        self._pause = first
        self._last = -math.inf

    def wait(self, now: float) -> float:
        """Seconds until it may be done again.

        Args:
            now: the moment, on a clock that never goes back.
        """
        return max(0.0, self._last + self._pause - now)

    def done(self, now: float) -> None:
        """It was done."""
        calm = now - self._last >= _CALMED_DOWN * self._pause
        self._pause = self._first if calm else min(2 * self._pause, self._longest)
        self._last = now


class Calm:
    """Does something soon after it is asked for, and at most once in a while.

    Args:
        work: what to do.
        every: seconds from one time to the next, at the least: a program that writes one of
            our files over and over does not keep us busier than that.
        longest: seconds between two at most, when it is asked for over and over; None for
            `every`.
    """

    def __init__(
        self, work: Callable[[], None], every: float, longest: float | None = None
    ) -> None:
        self._work = work
        self._pace = Pace(every, every if longest is None else longest)
        self._promised: asyncio.TimerHandle | None = None

    def soon(self) -> None:
        """Ask for it. What is promised already sees this change too."""
        if self._promised is None:
            loop = asyncio.get_running_loop()
            now = loop.time()
            self._promised = loop.call_at(now + self._pace.wait(now), self._do)

    def cancel(self) -> None:
        """Break the promise."""
        if self._promised is not None:
            self._promised.cancel()

    def _do(self) -> None:
        self._promised = None
        self._pace.done(asyncio.get_running_loop().time())
        self._work()
