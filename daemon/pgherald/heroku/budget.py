"""What an account may cost: a share of its requests, and less when others use them up.

Heroku: each account has a pool of 4,500 requests, of which 75 come back a minute, for
everything that the person does. A quarter of that is what pgherald sends at most in any hour,
unless the configuration says otherwise: 1,125 requests. A third of them may be sent at once;
two thirds come back in the course of an hour. So whatever happened before, no hour ever sees
more than all of them.

Each answer tells how many requests the account has left. Of those, too, no more than the
share is taken: where other programs have used up the pool, pgherald lives on its share of
what comes back, and the person's own tools find the rest.

What is scarce goes to what is needed most. What can wait (log sessions, readings in turn, the
number of a release) stops when half of a burst is gone; a sweep takes at most half of what is
left; and requests that are caused by the events of one app come out of that app's share.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from pgherald.clock import Clock
from pgherald.errors import RateLimited

#: Heroku: requests in an account's pool, and as many come back an hour.
POOL: Final = 4500

#: The part of it that pgherald takes at most.
SHARE: Final = 0.25

HOUR: Final = 3600.0
_MINUTE: Final = 60.0

#: The part of what an hour allows that may be sent at once. The rest is enough for a poll every
#: 5 seconds.
_AT_ONCE: Final = 1 / 3

#: The part of what an hour allows that events may cost, those of all apps together.
_EVENTS: Final = 0.25

#: Requests that events leave for the list of apps: a page for each thousand of them.
_FOR_THE_LIST: Final = 8


@dataclass(frozen=True, slots=True)
class Spending:
    """How a budget stands at one moment, for whoever keeps it across starts.

    Attributes:
        spent: requests taken from it since the program started, and what others took away.
        sent: requests of the last hour: how many seconds ago, and how many.
    """

    spent: float
    sent: tuple[tuple[float, int], ...]


@dataclass(slots=True)
class _Minute:
    wall: datetime
    monotonic: float
    count: int


class Budget:
    """Counts the requests of one account, and says when there are no more.

    Attributes:
        allowance: requests that may be sent in any hour, whatever was sent before.
        burst: requests that may be sent at once.
        remaining: requests that the account had left after the last answer, if known.
        spent: see `Spending`.
        on_take: called, if there is one, with each request that is taken.
    """

    def __init__(self, clock: Clock, share: float = SHARE) -> None:
        """Make a budget, with all of it still there.

        Args:
            clock: tells the time.
            share: the part of Heroku's pool that may be used, above 0 and at most 1.
        """
        self.allowance = max(3, round(POOL * share))
        self.burst = self.allowance * _AT_ONCE
        self.remaining: int | None = None
        self.spent = 0.0
        self.on_take: Callable[[], None] | None = None
        self._share = share
        self._clock = clock
        self._left = self.burst
        self._at = clock.monotonic()
        #: Requests of the last hour, by the minute.
        self._minutes: deque[_Minute] = deque()

    @property
    def left(self) -> int:
        """How many requests may be sent now."""
        return max(0, int(self._refilled()))

    @property
    def is_ample(self) -> bool:
        """Whether more than half of a burst is left, so that what can wait need not wait."""
        return self._refilled() > self.burst / 2

    def take(self) -> None:
        """Count a request that is about to be sent.

        Raises:
            RateLimited: there is none left; it tells when there will be one.
        """
        left = self._refilled()
        now = self._clock.now()
        if left < 1:
            wait = (1 - left) / self._rate
            raise RateLimited(
                "pgherald has used up its own share of Heroku's requests",
                "It asks less often for a while. A longer `poll_interval` helps, or a larger "
                "`request_share`.",
                retry_at=now + timedelta(seconds=wait),
            )
        self._left, self._at = left - 1, self._clock.monotonic()
        self.spent += 1
        self._forget()
        last = self._minutes[-1] if self._minutes else None
        if last is not None and self._age(last) < _MINUTE:
            last.count += 1
        else:
            self._minutes.append(_Minute(now, self._at, 1))
        if self.on_take is not None:
            self.on_take()

    def saw(self, remaining: int) -> None:
        """Heroku said how many requests the account has left."""
        self.remaining = remaining
        left, most = self._refilled(), remaining * self._share
        if left > most:
            self.spent += left - most
            self._left, self._at = most, self._clock.monotonic()

    def last_hour(self) -> int:
        """How many requests were sent in the last hour, to the minute."""
        self._forget()
        return sum(minute.count for minute in self._minutes)

    # --- across starts -------------------------------------------------------------------

    def spending(self) -> Spending:
        """How it stands."""
        self._forget()
        sent = tuple((self._age(minute), minute.count) for minute in self._minutes)
        return Spending(self.spent, sent)

    def correct(self, left: float, spent: float) -> None:
        """Take over how many requests are left, as counted together with other processes.

        Args:
            left: how many, at a moment
            spent: when that much had been spent here.
        """
        self._left = min(self.burst, left - (self.spent - spent))
        self._at = self._clock.monotonic()

    def remember(self, sent: Iterable[tuple[float, int]]) -> None:
        """Count, for `last_hour`, what an earlier process has sent; see `Spending.sent`."""
        now, moment = self._clock.now(), self._clock.monotonic()
        earlier = [_Minute(now - timedelta(seconds=age), moment - age, n) for age, n in sent]
        self._minutes.extendleft(reversed(earlier))

    @property
    def _rate(self) -> float:
        """Requests that come back each second."""
        return (self.allowance - self.burst) / HOUR

    def _refilled(self) -> float:
        passed = self._clock.monotonic() - self._at
        return min(self.burst, self._left + passed * self._rate)

    def _age(self, minute: _Minute) -> float:
        """How long ago a minute began, in seconds, by whichever clock says more.

        The wall clock goes on while the machine sleeps, and the other cannot be set.
        """
        wall = (self._clock.now() - minute.wall).total_seconds()
        return max(wall, self._clock.monotonic() - minute.monotonic)

    def _forget(self) -> None:
        """Let go of what is more than an hour old, or from before the clock was set back."""
        now = self._clock.now()
        while self._minutes and not (
            self._minutes[0].wall <= now and self._age(self._minutes[0]) < HOUR
        ):
            self._minutes.popleft()


class Shares:
    """Divides among the apps of an account the part of its budget that events may use.

    Each app that had an event within the last hour has the same share, and one that uses up
    its own leaves those of the others alone. What is refused is no loss: the next sweep reads
    the app.
    """

    def __init__(self, clock: Clock, budget: Budget) -> None:
        self._clock = clock
        self._budget = budget
        #: When each app used some of its share, within the last hour; the oldest first.
        self._used: dict[str, deque[float]] = {}

    def take(self, app: str) -> bool:
        """Count a request that an event of this app causes; whether it may be sent."""
        self._forget()
        mine = self._used.setdefault(app, deque())
        share = max(1.0, self._budget.allowance * _EVENTS / len(self._used))
        kept_back = min(_FOR_THE_LIST, self._budget.burst / 4)
        may = len(mine) < int(share) and self._budget.left > kept_back
        if may:
            mine.append(self._clock.monotonic())
        elif not mine:
            del self._used[app]
        return may

    def charge(self, app: str) -> None:
        """Count a further request that had to be sent with the one that was taken."""
        if app in self._used:
            self._used[app].append(self._clock.monotonic())

    def _forget(self) -> None:
        since = self._clock.monotonic() - HOUR
        for app, moments in list(self._used.items()):
            while moments and moments[0] <= since:
                moments.popleft()
            if not moments:
                del self._used[app]
