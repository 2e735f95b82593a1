"""Throttles: limit how often something is done that is asked for again and again."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable
from typing import Final

#: Seconds between two comparisons of clients that keep changing. They are written only once they
#: are still.
COMPARED: Final = 0.5

#: Seconds between two reads of tokens that keep changing.
RENEWED: Final = 5.0

#: After so many pauses without a call, the pause is the first one again.
_RESET_AFTER: Final = 4


class Throttle:
    """Doubles the pause with each call, up to a limit; starts over after four idle pauses.

    Args:
        first: seconds between the first two calls.
        longest: seconds between two calls at most.
    """

    def __init__(self, first: float, longest: float) -> None:
        self._first = first
        self._longest = max(first, longest)
        self._pause = first
        self._last = -math.inf

    def wait(self, now: float) -> float:
        """Seconds until the next call may be made.

        Args:
            now: the moment, on a clock that never goes back.
        """
        return max(0.0, self._last + self._pause - now)

    def called(self, now: float) -> None:
        """Note that a call was made."""
        idle = now - self._last >= _RESET_AFTER * self._pause
        self._pause = self._first if idle else min(2 * self._pause, self._longest)
        self._last = now


class ThrottledCall:
    """Makes a call soon after it is asked for, and not too often.

    Args:
        call: what to call.
        every: seconds between two calls at least, so that a program that writes one of our files
            over and over does not keep us busier than that.
        longest: the limit to which that grows; None for `every`.
    """

    def __init__(
        self, call: Callable[[], None], every: float, longest: float | None = None
    ) -> None:
        self._call = call
        self._throttle = Throttle(every, every if longest is None else longest)
        self._timer: asyncio.TimerHandle | None = None

    def soon(self) -> None:
        """Ask for a call. One that is already scheduled serves this request, too."""
        if self._timer is None:
            loop = asyncio.get_running_loop()
            now = loop.time()
            self._timer = loop.call_at(now + self._throttle.wait(now), self._due)

    def cancel(self) -> None:
        """Cancel the scheduled call."""
        if self._timer is not None:
            self._timer.cancel()

    def _due(self) -> None:
        self._timer = None
        self._throttle.called(asyncio.get_running_loop().time())
        self._call()
