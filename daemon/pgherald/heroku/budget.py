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

The `Ledger` keeps it across starts, and for all pgheralds that run at a time. The state file
says, for each account, how many requests are left. Each process takes some of them out ahead,
uses them up, and takes out more; at its end it brings back the rest. So one that is killed has
used a few too many, and none uses what another one has used. Whoever is started over and over
(a crash loop, `check` in a loop, cron) gets no fresh hour each time.

How much has come back since is counted by the clock that nobody can set, or by the wall clock
where that says less. So a clock that is set brings nothing back early, and one that was wrong
locks nobody out.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Final, NamedTuple

from pgherald.clock import Clock
from pgherald.errors import RateLimited, StoreError
from pgherald.store import BackgroundStore, Store

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

#: The title and the advice where nothing is left.
USED_UP: Final = (
    "pgherald has used up its share of Heroku's requests",
    "Wait some minutes; a longer `poll_interval` helps, or a larger `request_share`.",
)

#: Requests that events leave for the list of apps: a page for each thousand of them.
_FOR_THE_LIST: Final = 8

_PREFIX: Final = "budget:"

#: Requests that are taken out ahead.
_AHEAD: Final = 32.0

#: The part of a burst that is taken for left where nobody knows.
_UNKNOWN: Final = 0.25

#: Seconds that a start waits for the state file.
_START_LIMIT: Final = 2.0

#: Requests of the last hour: how many seconds ago, and how many.
Sent = tuple[tuple[float, int], ...]


class Spending(NamedTuple):
    """How much of a budget was spent since the program started, and what was sent lately."""

    spent: float
    sent: Sent


class Budget:
    """Counts the requests of one account, and says when there are no more.

    Attributes:
        allowance: requests that may be sent in any hour, whatever was sent before.
        burst: requests that may be sent at once.
        remaining: requests that the account had left after the last answer, if known.
        spent: requests taken since the program started, and what others took away.
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
        #: Requests of the last hour, by when each minute began on the wall clock.
        self._minutes: dict[float, int] = {}
        #: Bytes of the answers, by the same.
        self._bytes: dict[float, int] = {}

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
            wait = (1 - left) / self.rate
            raise RateLimited(*USED_UP, retry_at=now + timedelta(seconds=wait))
        self._left, self._at = left - 1, self._clock.monotonic()
        self.spent += 1
        moment = now.timestamp()
        last = max(self._minutes, default=-math.inf)
        minute = last if 0 <= moment - last < _MINUTE else moment
        self._minutes[minute] = self._minutes.get(minute, 0) + 1
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
        return sum(count for _, count in self.spending().sent)

    def received(self, size: int) -> None:
        """Count bytes of an answer, as they came over the wire."""
        if self._minutes:
            minute = max(self._minutes)
            self._bytes[minute] = self._bytes.get(minute, 0) + size

    def bytes_last_hour(self) -> int:
        """How many bytes of answers came in the last hour, since the program started."""
        self.spending()
        self._bytes = {at: size for at, size in self._bytes.items() if at in self._minutes}
        return sum(self._bytes.values())

    def spending(self) -> Spending:
        """How it stands. Of a clock that was set, what lies in the future is dropped."""
        now = self._clock.now().timestamp()
        self._minutes = {at: n for at, n in self._minutes.items() if 0 <= now - at < HOUR}
        return Spending(self.spent, tuple((now - at, n) for at, n in self._minutes.items()))

    def correct(self, left: float, spent: float) -> None:
        """Take over how many were left, by the count of all processes, at so much `spent`."""
        self._left = min(self.burst, left - (self.spent - spent))
        self._at = self._clock.monotonic()

    def remember(self, sent: Iterable[tuple[float, int]]) -> None:
        """Count, for `last_hour`, what an earlier process has sent; see `Spending.sent`."""
        now = self._clock.now().timestamp()
        for age, count in sent:
            self._minutes[now - age] = self._minutes.get(now - age, 0) + count

    @property
    def rate(self) -> float:
        """Requests that come back each second."""
        return (self.allowance - self.burst) / HOUR

    def _refilled(self) -> float:
        passed = self._clock.monotonic() - self._at
        return min(self.burst, self._left + passed * self.rate)


class Shares:
    """Divides among the apps of an account the part of its budget that events may use.

    Each app that had an event within the last hour has the same share, and one that uses up
    its own leaves those of the others alone. What is refused is no loss: the next sweep reads
    the app.
    """

    def __init__(self, clock: Clock, budget: Budget) -> None:
        self._clock = clock
        self._budget = budget
        #: When each app used some of its share, within the last hour.
        self._used: dict[str, list[float]] = {}

    def take(self, app: str) -> bool:
        """Count a request that an event of this app causes; whether it may be sent."""
        self._forget()
        mine = self._used.setdefault(app, [])
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
        lately = {app: [at for at in used if at > since] for app, used in self._used.items()}
        self._used = {app: used for app, used in lately.items() if used}


class Ledger:
    """Keeps one account's budget in the state file."""

    def __init__(self, account: str, budget: Budget, store: BackgroundStore, clock: Clock) -> None:
        self._name = _PREFIX + account
        self._budget = budget
        self._store = store
        self._clock = clock
        self._most_ahead = min(_AHEAD, budget.burst / 4)
        #: How much had been spent when the file was last asked to be brought up to date.
        self._asked_at = 0.0
        # From here on used by the state file's thread.
        self._ahead = 0.0
        self._settled = 0.0
        self._loaded = False

    async def open(self) -> None:
        """Take over what the state file has. Without it, begin with little."""
        spending = self._budget.spending()
        try:
            left, sent = await asyncio.to_thread(
                self._store.ask, lambda file: self._settle(file, spending), _START_LIMIT
            )
        except StoreError:
            # What is known of a file that can be read and not written is the most that is left.
            text = self._store.notes().get(self._name)
            left, sent = _left(text, self._budget, self._clock)
            left = min(left, self._budget.burst * _UNKNOWN)
        self._settled_with(left, sent, spending)
        self._budget.on_take = self._taken

    def close(self) -> None:
        """Give back what was taken out ahead."""
        self._budget.on_take = None
        spending = self._budget.spending()
        self._store.submit(lambda file: self._settle(file, spending, last=True), self._name)

    def _taken(self) -> None:
        if self._budget.spent - self._asked_at < self._most_ahead / 2:
            return
        self._asked_at = self._budget.spent
        spending, loop = self._budget.spending(), asyncio.get_running_loop()

        def work(file: Store) -> None:
            left, sent = self._settle(file, spending)
            with contextlib.suppress(RuntimeError):  # the loop has closed: the program is ending
                loop.call_soon_threadsafe(self._settled_with, left, sent, spending)

        self._store.submit(work, self._name)

    def _settled_with(self, left: float, sent: Sent, spending: Spending) -> None:
        self._budget.correct(left, spending.spent)
        self._budget.remember(sent)

    def _settle(self, file: Store, spending: Spending, *, last: bool = False) -> tuple[float, Sent]:
        """Bring the file up to date: how much is left, and what was sent by others before."""
        left, ahead = 0.0, 0.0
        earlier: Sent = ()

        def change(text: str | None) -> str:
            nonlocal left, ahead, earlier
            kept, found = _left(text, self._budget, self._clock)
            earlier = () if self._loaded else found
            used = spending.spent - self._settled
            left = min(self._budget.burst, kept + self._ahead - used)
            ahead = 0.0 if last else max(0.0, min(self._most_ahead, left))
            return self._text(left - ahead, [*earlier, *spending.sent])

        file.exchange(self._name, change)
        self._ahead, self._settled, self._loaded = ahead, spending.spent, True
        return left, earlier

    def _text(self, left: float, sent: Sequence[tuple[float, int]]) -> str:
        now, moment = self._clock.now().isoformat(), self._clock.monotonic()
        minutes = [[round(age), count] for age, count in sent]
        return json.dumps([round(left, 3), now, round(moment, 3), minutes])


def peek(account: str, budget: Budget, notes: Mapping[str, str], clock: Clock) -> None:
    """Begin with what the state file's notes have of an account, for who may write nothing."""
    left, sent = _left(notes.get(_PREFIX + account), budget, clock)
    budget.correct(left, budget.spent)
    budget.remember(sent)


def _left(text: str | None, budget: Budget, clock: Clock) -> tuple[float, Sent]:
    """How much is left by now, and what was sent in the last hour, by this text."""
    if text is None:
        return budget.burst, ()
    try:
        left, at, moment, minutes = json.loads(text)
        left, passed = float(left), _passed(datetime.fromisoformat(at), float(moment), clock)
        sent = tuple((float(age), int(count)) for age, count in minutes)
        counts = [count for _, count in sent]
        true = abs(left) <= POOL and min(counts, default=1) > 0 and sum(counts) <= POOL
        if not true or not all(0 <= age < math.inf for age, _ in sent):
            raise ValueError(text)
    except (ValueError, TypeError, KeyError, OverflowError, RecursionError):
        return budget.burst * _UNKNOWN, ()
    left = min(budget.burst, left + passed * budget.rate)
    return left, tuple((age + passed, count) for age, count in sent if age + passed < HOUR)


def _passed(at: datetime, moment: float, clock: Clock) -> float:
    """How many seconds have passed at least since a moment by both clocks.

    Raises:
        ValueError, TypeError: it is none that could be true.
    """
    wall, running = (clock.now() - at).total_seconds(), clock.monotonic()
    if not math.isfinite(moment):
        raise ValueError(moment)
    if running < moment:  # the machine was started anew, and has run as long as this
        return max(0.0, min(running, wall))
    passed = running - moment
    return min(passed, wall) if wall >= 0 else passed
