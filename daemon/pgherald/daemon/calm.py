"""What happens over and over is answered now and then."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

#: Clients that are changed over and over are compared once in this many seconds. They are only
#: written once they are still.
COMPARED: Final = 0.5

#: Tokens that are changed over and over are read once in this many seconds.
RENEWED: Final = 5.0


class Calm:
    """Does something soon after it is asked for, and at most once in a while.

    Args:
        work: what to do.
        every: seconds from one time to the next, at the least: a program that writes one of
            our files over and over does not keep us busier than that.
    """

    def __init__(self, work: Callable[[], None], every: float) -> None:
        self._work = work
        self._every = every
        self._until = 0.0
        self._promised: asyncio.TimerHandle | None = None

    def soon(self) -> None:
        """Ask for it. What is promised already sees this change too."""
        if self._promised is None:
            loop = asyncio.get_running_loop()
            self._promised = loop.call_at(max(loop.time(), self._until), self._do)

    def cancel(self) -> None:
        """Break the promise."""
        if self._promised is not None:
            self._promised.cancel()

    def _do(self) -> None:
        self._promised = None
        self._until = asyncio.get_running_loop().time() + self._every
        self._work()
