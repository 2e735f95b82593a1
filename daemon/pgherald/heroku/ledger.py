"""Keeps an account's budget across starts, and one for all pgheralds that run at a time.

The state file says, for each account, how many requests are left. Each process takes some of
them out ahead, uses them up, and takes out more; at its end it brings back the rest. So one
that is killed has used a few too many, and none uses what another one has used. Whoever is
started over and over (a crash loop, `check` in a loop, cron) gets no fresh hour each time.

How much has come back since is counted by the clock that nobody can set, or by the wall clock
where that says less. So a clock that is set brings nothing back early, and one that was wrong
locks nobody out.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from pgherald.clock import Clock
from pgherald.errors import StoreError
from pgherald.heroku.budget import HOUR, POOL, Budget, Spending
from pgherald.store import BackgroundStore, FileStore

_PREFIX: Final = "budget:"

#: Requests that are taken out ahead.
_AHEAD: Final = 32.0

#: The part of a burst that is taken for left where nobody knows.
_UNKNOWN: Final = 0.25

#: Seconds that a start waits for the state file.
_START_LIMIT: Final = 2.0

_Sent = tuple[tuple[float, int], ...]


class Ledger:
    """One account's budget and what the state file has of it.

    Args:
        account: its name in the configuration.
        budget: what is kept.
        store: where it is kept.
        clock: tells the time.
    """

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

        def work(file: FileStore) -> None:
            left, sent = self._settle(file, spending)
            with contextlib.suppress(RuntimeError):  # the loop has closed: the program is ending
                loop.call_soon_threadsafe(self._settled_with, left, sent, spending)

        self._store.submit(work, self._name)

    def _settled_with(self, left: float, sent: _Sent, spending: Spending) -> None:
        self._budget.correct(left, spending.spent)
        self._budget.remember(sent)

    # --- in the state file's thread ------------------------------------------------------

    def _settle(
        self, file: FileStore, spending: Spending, *, last: bool = False
    ) -> tuple[float, _Sent]:
        """Bring the file up to date: how much is left, and what was sent by others before."""
        left, ahead = 0.0, 0.0
        earlier: _Sent = ()

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
    """Begin with what the state file has, for who may write nothing.

    Args:
        account: its name in the configuration.
        budget: what it is for.
        notes: as `Store.notes` gives them.
        clock: tells the time.
    """
    left, sent = _left(notes.get(_PREFIX + account), budget, clock)
    budget.correct(left, budget.spent)
    budget.remember(sent)


def _left(text: str | None, budget: Budget, clock: Clock) -> tuple[float, _Sent]:
    """How much is left by now, and what was sent in the last hour, by this text."""
    if text is None:
        return budget.burst, ()
    try:
        kept = _Kept.read(text)
    except (ValueError, TypeError, KeyError, OverflowError, RecursionError):
        return budget.burst * _UNKNOWN, ()
    passed = kept.passed(clock)
    rate = (budget.allowance - budget.burst) / HOUR
    left = min(budget.burst, kept.left + passed * rate)
    sent = tuple((age + passed, count) for age, count in kept.sent if age + passed < HOUR)
    return left, sent


@dataclass(frozen=True, slots=True)
class _Kept:
    """What the file has.

    Attributes:
        left: requests that were left, without those that were taken out ahead.
        at: when, by the wall clock.
        moment: when, by the monotonic clock; of this or an earlier start of the machine.
        sent: see `Spending.sent`.
    """

    left: float
    at: datetime
    moment: float
    sent: _Sent

    @classmethod
    def read(cls, text: str) -> _Kept:
        """What the text says.

        Raises:
            ValueError, TypeError: nothing that could be true.
        """
        left, at, moment, sent = json.loads(text)
        kept = cls(
            float(left),
            datetime.fromisoformat(at),
            float(moment),
            tuple((float(age), int(count)) for age, count in sent),
        )
        numbers = [kept.left, kept.moment, *(age for age, _ in kept.sent)]
        if (
            not all(map(math.isfinite, numbers))
            or abs(kept.left) > POOL
            or kept.at.tzinfo is None
            or not all(age >= 0 and 0 < count <= POOL for age, count in kept.sent)
            or sum(count for _, count in kept.sent) > POOL
        ):
            raise ValueError(text)
        return kept

    def passed(self, clock: Clock) -> float:
        """How many seconds have passed at least."""
        wall = (clock.now() - self.at).total_seconds()
        running = clock.monotonic()
        if running < self.moment:  # the machine was started anew, and has run as long as this
            return max(0.0, min(running, wall))
        passed = running - self.moment
        return min(passed, wall) if wall >= 0 else passed
