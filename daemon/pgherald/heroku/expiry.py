"""Notifies in good time that a token ends, before a rotation is missed."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final

from pgherald.clock import Clock
from pgherald.errors import LoginRequired, PgheraldError
from pgherald.heroku.watched import Watched
from pgherald.model import About, AlertSink, Subject

log = logging.getLogger(__name__)

#: A token that ends sooner is to be replaced now.
SOON: Final = timedelta(days=7)

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

    default_advice = LoginRequired.default_advice


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

    async def run(self) -> None:
        """Check until cancelled."""
        await self._clock.sleep(FIRST)
        while True:
            for watched in self._accounts:
                await self._check(watched)
            await self._clock.sleep(STEP)

    async def _check(self, watched: Watched) -> None:
        name, now = watched.account.name, self._clock.now()
        if watched.account.stopped is not None:
            # There is an alert about that already, and the next token is another one.
            self._due.pop(name, None)
            self._alerts.keep_only(lambda subject: subject != Subject(About.EXPIRY, name))
            return
        # A clock that was set far back must not put it off for years.
        due = self._due.get(name, now)
        if now < due <= now + _DAILY:
            return
        try:
            at = await watched.account.token_ends_at()
        except PgheraldError as exc:  # a sweep finds out by itself what is wrong
            log.debug("when the token of %s ends: %s", name, exc.title)
            return
        soon = at is not None and at < now + SOON
        self._due[name] = now + (_HOURLY if soon else _DAILY)
        if at is not None and soon:
            title = f"The Heroku token ends on {at.astimezone():%Y-%m-%d}"
            self._alerts.fire(Subject(About.EXPIRY, name), name, TokenEndsSoon(title))
        else:
            self._alerts.resolve(Subject(About.EXPIRY, name))
