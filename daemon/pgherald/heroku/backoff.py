"""Backoff and throttles: a broken Heroku is asked less often than a healthy one.

| what went wrong | who rests | how long |
|---|---|---|
| the token is missing, refused, too narrow | the account | until the token changes |
| the limit of requests | the account | as Heroku says, else 1, 2, 4 … 15 minutes |
| gone, forbidden, suspended, or refused otherwise | that app or list | until the next poll; an app that no list shows, 15 minutes |
| down, or not Heroku | that app, then the account | 1, 2, 4 … poll intervals, up to 15 minutes |

In the last row the first failure is held against nobody but the app that saw it. When the
app fails again, and no other has worked in between, Heroku is down: the account rests. When
others have worked, the trouble is that app's own.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from pgherald.clock import Clock
from pgherald.errors import HerokuError, NotHeroku, RateLimited, Unavailable
from pgherald.heroku.answers import needs_other_token

LONGEST: Final = 15 * 60.0
_MINUTE: Final = 60.0
#: By which part of itself a pause may be shorter, so that many daemons do not march in step.
_SPREAD: Final = 0.2

#: Seconds between two comparisons of clients that keep changing. They are written only once they
#: are still.
COMPARED: Final = 0.5

#: Seconds between two reads of tokens that keep changing.
RENEWED: Final = 5.0

#: After so many pauses without a call, the pause is the first one again.
_RESET_AFTER: Final = 4


class Pause:
    """A time to wait.

    It is over as soon as either clock says so: the wall clock goes on while the machine
    sleeps, and the monotonic one cannot be set back.
    """

    def __init__(self, clock: Clock, seconds: float) -> None:
        self._clock = clock
        self._wall = clock.now() + timedelta(seconds=seconds)
        self._monotonic = clock.monotonic() + seconds

    @property
    def is_over(self) -> bool:
        """Whether it is."""
        return self._clock.now() >= self._wall or self._clock.monotonic() >= self._monotonic


@dataclass
class _Rest:
    """Somebody is not asked for a while; stays, when it is over, until something works."""

    error: HerokuError
    pause: Pause
    since: float
    failures: int
    is_own: bool = False


class Backoff:
    """Keeps the rests of one account.

    A subject is what was asked: an app's name; None for what concerns no single app.

    Attributes:
        stopped: why nothing at all is asked until the token changes; None while it is.
    """

    def __init__(self, clock: Clock, interval: float, jitter: Callable[[], float]) -> None:
        self.stopped: HerokuError | None = None
        self._clock = clock
        self._interval = interval
        self._jitter = jitter
        self._everyone: _Rest | None = None
        self._rests: dict[str | None, _Rest] = {}
        self._succeeded_at: float | None = None

    def check(self, subject: str | None) -> float:
        """Let a request through; hand the moment it began back to `failed` or `succeeded`.

        Raises:
            HerokuError: not now; it is the error that began the rest.
        """
        if self.stopped is not None:
            raise self.stopped.with_traceback(None)
        for rest in (self._everyone, self._rests.get(subject)):
            if rest is not None and not rest.pause.is_over:
                raise rest.error.with_traceback(None)
        return self._clock.monotonic()

    def succeeded(self, subject: str | None, began: float) -> None:
        """The request was answered."""
        self._succeeded_at = self._clock.monotonic()
        self._rests.pop(subject, None)
        rest = self._everyone
        # An answer to a question from before the limit says nothing about the limit.
        if rest and (began > rest.since or not isinstance(rest.error, RateLimited)):
            self._everyone = None

    def failed(self, subject: str | None, error: HerokuError, began: float) -> None:
        """The request failed."""
        mine = self._rests.get(subject)
        if needs_other_token(error):
            self.stopped = error
        elif isinstance(error, RateLimited):
            self._everyone = self._longer(self._everyone, error, began, self._limited(error))
        elif not isinstance(error, Unavailable | NotHeroku):
            self._rests[subject] = self._longer(mine, error, began, LONGEST)
            self._rests[subject].is_own = True
        elif mine is None or self._anything_succeeded_since(mine.since):
            rest = self._rests[subject] = self._longer(mine, error, began, self._interval)
            rest.is_own = mine is not None
        else:
            self._everyone = self._longer(self._everyone, error, began, self._interval)

    def is_own(self, subject: str | None, error: HerokuError) -> bool:
        """Whether an error that was raised here concerns this subject alone."""
        rest = self._rests.get(subject)
        return rest is not None and rest.error is error and rest.is_own

    def forget_refusal(self, subject: str) -> None:
        """Ask an app again that was refused: whoever mended that is not to wait."""
        rest = self._rests.get(subject)
        if rest is not None and not isinstance(rest.error, Unavailable | NotHeroku):
            del self._rests[subject]

    def reset(self) -> None:
        """Forget every rest, since somebody did something about it; but not the limit's.

        Another token of the same account has the same requests left: none.
        """
        self.stopped = None
        if self._everyone is not None and not isinstance(self._everyone.error, RateLimited):
            self._everyone = None
        self._rests.clear()

    def _anything_succeeded_since(self, moment: float) -> bool:
        """Others, that is: had the failing one worked, its rest would be gone."""
        return self._succeeded_at is not None and self._succeeded_at >= moment

    def _limited(self, error: RateLimited) -> float:
        if error.retry_at is None:
            return _MINUTE
        told = (error.retry_at - self._clock.now()).total_seconds()
        return max(told, self._interval)

    def _longer(self, rest: _Rest | None, error: HerokuError, began: float, first: float) -> _Rest:
        """The next rest, twice as long as the one before.

        A failure of a request that was under way when the rest began counts no more:
        twenty apps that fail together are one failure.
        """
        if rest is not None and began <= rest.since:
            return rest
        failures = rest.failures + 1 if rest else 1
        told = isinstance(error, RateLimited) and error.retry_at is not None
        seconds = first if told else min(first * 2.0 ** min(failures - 1, 32), LONGEST)
        if not told:
            seconds *= 1 - _SPREAD * self._jitter()
        now = self._clock.monotonic()
        return _Rest(error, Pause(self._clock, seconds), now, failures)


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
        longest: the limit to which that grows; never less than `every`.
    """

    def __init__(self, call: Callable[[], None], every: float, longest: float = 0.0) -> None:
        self._call = call
        self._throttle = Throttle(every, longest)
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
