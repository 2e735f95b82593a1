"""Notifies in good time that a token ends, before a rotation is missed."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final

from pgherald.clock import Clock
from pgherald.errors import PgheraldError
from pgherald.heroku.account import Account
from pgherald.heroku.watched import Watched
from pgherald.model import About, AlertSink, Subject

log = logging.getLogger(__name__)

#: A token that ends sooner is to be replaced now.
_SOON: Final = timedelta(days=7)

#: Nothing is said of one that ends sooner still. By then there has been an alert for days, or it
#: never had longer to live, as those of single sign-on, which nobody can replace in good time.
_ORDINARY: Final = timedelta(days=1)

#: By how much two answers differ about when the same token ends, at most.
_SAME: Final = timedelta(hours=1)

#: Seconds before the first check: the first sweep comes first, and a daemon that is started
#: over and over asks nothing.
FIRST: Final = 60.0

#: Seconds between two checks.
STEP: Final = 3600.0

#: How often Heroku is asked: one request. More often while a token ends soon, to see it renewed.
_DAILY: Final = timedelta(days=1) - timedelta(seconds=STEP / 2)
_HOURLY: Final = timedelta(seconds=STEP / 2)


class TokenEndsSoon(PgheraldError):
    """Everything works, for a few days more."""


def ends_soon(at: datetime | None, now: datetime) -> bool:
    """Whether a token that ends then should be replaced now."""
    return at is not None and _ORDINARY < at - now < _SOON


class ExpiryWatch:
    """Checks once a day when each account's token ends.

    A token that may only read may not ask that, so its end cannot be known.

    Args:
        accounts: whose tokens.
        alerts: takes the alert and its end.
        clock: tells the time and waits.
    """

    def __init__(self, accounts: Sequence[Watched], alerts: AlertSink, clock: Clock) -> None:
        self._accounts = accounts
        self._alerts = alerts
        self._clock = clock
        self._due: dict[str, datetime] = {}
        #: By account: when the token ends about which there is an alert.
        self._ends: dict[str, datetime] = {}

    async def run(self) -> None:
        """Check until cancelled."""
        await self._clock.sleep(FIRST)
        while True:
            for watched in self._accounts:
                await self._check(watched.account)
            await self._clock.sleep(STEP)

    async def _check(self, account: Account) -> None:
        now, subject = self._clock.now(), Subject(About.EXPIRY, account.name)
        if account.stopped is not None:
            # There is an alert about that already, and the next token is another one.
            self._due.pop(account.name, None)
            self._alerts.keep_only(lambda other: other != subject)
            return
        # A clock that was set far back must not put it off for years.
        due = self._due.get(account.name, now)
        if now < due <= now + _DAILY:
            return
        try:
            at = await account.token_ends_at()
        except PgheraldError as exc:  # a sweep finds out by itself what is wrong
            log.debug("when the token of %s ends: %s", account.name, exc.title)
            return
        self._due[account.name] = now + _DAILY
        before = self._ends.pop(account.name, None)
        if at is not None and ends_soon(at, now):
            self._due[account.name], self._ends[account.name] = now + _HOURLY, at
            title = f"The Heroku token ends on {at.astimezone():%Y-%m-%d}"
            error = TokenEndsSoon(title, account.api.tokens.advice)
            self._alerts.fire(subject, account.name, error)
        elif at is not None and before is not None and abs(at - before) < _SAME:
            self._due[account.name], self._ends[account.name] = now + _HOURLY, before
        elif at is not None and before is None and at - now < _SOON:
            self._alerts.keep_only(lambda other: other != subject)
        else:
            self._alerts.resolve(subject)
