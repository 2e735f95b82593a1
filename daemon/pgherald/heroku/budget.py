"""What an account may cost: a share of its requests, and less when others use them up.

Heroku: each account has a pool of 4,500 requests, of which 75 come back a minute, for
everything that the person does. A quarter of both is what pgherald takes at most, unless
told otherwise: 1,125 requests at once, and 1,125 an hour from then on.

Each answer tells how many requests the account has left. Of those, too, no more than the
share is taken: where other programs have used up the pool, pgherald lives on its share of
what comes back, and the person's own tools find the rest.
"""

from __future__ import annotations

from collections import deque
from datetime import datetime, timedelta
from typing import Final

from pgherald.clock import Clock
from pgherald.errors import RateLimited

#: Heroku: requests in an account's pool, and as many come back an hour.
POOL: Final = 4500

#: The part of it that pgherald takes at most.
SHARE: Final = 0.25

_HOUR: Final = 3600.0
_MINUTE: Final = timedelta(minutes=1)


class Budget:
    """Counts the requests of one account, and says when there are no more.

    Attributes:
        allowance: requests that may be sent at once, and in each hour from then on.
        remaining: requests that the account had left after the last answer, if known.
    """

    def __init__(self, clock: Clock, share: float = SHARE) -> None:
        """Make a budget, with all of it still there.

        Args:
            clock: tells the time.
            share: the part of Heroku's pool that may be used, above 0 and at most 1.
        """
        self.allowance = max(1, round(POOL * share))
        self.remaining: int | None = None
        self._share = share
        self._clock = clock
        self._left = float(self.allowance)
        self._at = clock.monotonic()
        #: Requests of the last hour, by the minute.
        self._minutes: deque[tuple[datetime, int]] = deque()

    @property
    def left(self) -> int:
        """How many requests may be sent now."""
        return int(self._refilled())

    @property
    def is_ample(self) -> bool:
        """Whether more than half is left, so that what can wait need not wait."""
        return self._refilled() > self.allowance / 2

    def take(self) -> None:
        """Count a request that is about to be sent.

        Raises:
            RateLimited: there is none left; it tells when there will be one.
        """
        left = self._refilled()
        now = self._clock.now()
        if left < 1:
            wait = (1 - left) * _HOUR / self.allowance
            raise RateLimited(
                "pgherald has used up its own share of Heroku's requests",
                "It looks less often for a while. A longer `poll_interval` helps, or a larger "
                "`request_share`.",
                retry_at=now + timedelta(seconds=wait),
            )
        self._left, self._at = left - 1, self._clock.monotonic()
        if self._minutes and timedelta() <= now - self._minutes[-1][0] < _MINUTE:
            began, count = self._minutes.pop()
            self._minutes.append((began, count + 1))
        else:
            self._minutes.append((now, 1))
        self._forget()

    def saw(self, remaining: int) -> None:
        """Heroku said how many requests the account has left."""
        self.remaining = remaining
        self._left = min(self._refilled(), remaining * self._share)
        self._at = self._clock.monotonic()

    def last_hour(self) -> int:
        """How many requests were sent in the last hour, to the minute."""
        self._forget()
        return sum(count for _, count in self._minutes)

    def _refilled(self) -> float:
        passed = self._clock.monotonic() - self._at
        return min(float(self.allowance), self._left + passed * self.allowance / _HOUR)

    def _forget(self) -> None:
        """Let go of what is more than an hour old, or from before the clock was set back."""
        now, hour = self._clock.now(), timedelta(seconds=_HOUR)
        while self._minutes and not timedelta() <= now - self._minutes[0][0] < hour:
            self._minutes.popleft()
