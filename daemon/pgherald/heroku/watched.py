"""An account with its databases, where a poll's results go, and when a token ends."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Collection, Iterable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import chain
from typing import Final, Protocol

from pgherald.clock import Clock
from pgherald.config import database_for
from pgherald.errors import ConfigError, PgheraldError
from pgherald.heroku.account import Account
from pgherald.heroku.discovery import Discovery
from pgherald.model import About, AlertSink, Database, DatabaseKey, Sighting, Subject
from pgherald.store import BackgroundStore, Requests

log = logging.getLogger(__name__)

#: Apps of one account that are asked about at the same time.
_AT_ONCE: Final = 8

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


@dataclass(eq=False)
class Watched:
    """An account and its databases.

    Attributes:
        account: asks Heroku.
        named: databases that the configuration names.
        discovery: finds further ones; None when the configuration has no such rules.
        found: those that were found last.
        discovered_at: when that was, UTC; None when never.
        events: of how many apps the log is followed, at most.
        limit: how many apps are asked about at the same time.
    """

    account: Account
    named: Sequence[Database]
    discovery: Discovery | None = None
    found: tuple[Database, ...] = ()
    discovered_at: datetime | None = None
    events: int = 0
    limit: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(_AT_ONCE))

    @property
    def name(self) -> str:
        """The account's name."""
        return self.account.name

    @property
    def subject(self) -> Subject:
        """The subject of this account's alerts."""
        return Subject(About.ACCOUNT, self.name)

    @property
    def databases(self) -> tuple[Database, ...]:
        """All of the account's databases, named ones first."""
        return (*self.named, *self.found)

    @property
    def has_found(self) -> Collection[tuple[str, str]]:
        """Apps and attachments that it has found, or had, before the program started."""
        if self.discovery is not None and self.discovered_at is None:
            return self.discovery.known
        return [(database.key.app, database.key.attachment) for database in self.found]

    def keep_found(
        self, names: TakenNames | None, others: Collection[Watched]
    ) -> dict[Database, PgheraldError]:
        """Take over what discovery has found, but for what cannot be kept.

        Args:
            names: the service names that are the person's own.
            others: the other accounts. What one of them has found is the same database, since an
                app's name is Heroku's only one.

        Returns:
            Why some of it cannot be kept.
        """
        assert self.discovery is not None  # it is what was asked
        databases = chain(self.named, *(other.databases for other in others))
        services = {database.service: database.key for database in databases}
        theirs = set(chain.from_iterable(other.has_found for other in others))
        named = {database.key for database in self.named}
        refused: dict[Database, PgheraldError] = {}
        found = []
        for item in self.discovery.found:
            database = database_for(item.rule, self.name, item.app, item.attachment)
            if database.key in named or item.name in theirs:
                continue
            error = names.refusal(database) if names is not None else None
            if error is None:
                other = services.setdefault(database.service, database.key)
                error = None if other == database.key else clash(database, other)
            if error is None:
                found.append(database)
            else:
                refused[database] = error
        self.found = tuple(found)
        return refused


class Sightings(Protocol):
    """Where sightings go: the reconciler, or a list for a plan."""

    def sighted(self, sightings: Iterable[tuple[Database, Sighting]]) -> None:
        """Take sightings; returns at once."""
        return

    def absent(self, database: Database, error: PgheraldError) -> None:
        """Heroku answered, and did not show the database's login."""
        return

    def unanswered(self, database: Database, error: PgheraldError) -> None:
        """Heroku did not answer, which is its account's trouble."""
        return

    def found_only(self, account: str, keys: Collection[DatabaseKey]) -> None:
        """Of an account's databases these are the only ones that Heroku shows."""
        return

    def expecting(self) -> AbstractContextManager[None]:
        """While this is open, more may come."""
        return contextlib.nullcontext()

    @property
    def verifying(self) -> Collection[DatabaseKey]:
        """Databases whose login is being verified."""
        return ()


class TakenNames(Protocol):
    """The service names that are the person's own; see `pgherald.sync.names.Names`."""

    def refusal(self, database: Database) -> PgheraldError | None:
        """Why a found database cannot have its service name; None when it can."""
        ...


def by_app(databases: Iterable[Database]) -> dict[str, tuple[Database, ...]]:
    """The databases of each app, in the order in which the apps come first."""
    apps: dict[str, tuple[Database, ...]] = {}
    for database in databases:
        apps[database.key.app] = (*apps.get(database.key.app, ()), database)
    return apps


def clash(database: Database, other: DatabaseKey) -> ConfigError:
    """Two databases that would share a section of the service file."""
    return ConfigError(
        f"{database.key} and {other} would share the service name {database.service!r}",
        advice=f"Give {database.key} a [[databases]] entry with a `service` of its own.",
    )


def keeps_requests(
    accounts: Sequence[Watched], store: BackgroundStore, clock: Clock
) -> Callable[[], None]:
    """Keeps for `status` how many requests each account has cost, where that has changed."""
    kept: dict[str, Requests] = {}

    def keep_requests() -> None:
        for watched in accounts:
            name, budget = watched.account.name, watched.account.api.budget
            now = clock.now()
            sent, size = budget.last_hour(), budget.bytes_last_hour()
            cost = Requests(name, sent, budget.allowance, budget.remaining, now, size)
            if kept.get(name) != cost:
                kept[name] = cost
                store.keep_requests(cost)

    return keep_requests


class TokenEndsSoon(PgheraldError):
    """Everything works, for a few days more."""


def ends_soon(at: datetime | None, now: datetime) -> bool:
    """Whether a token that ends then should be replaced now."""
    return at is not None and _ORDINARY < at - now < _SOON


class ExpiryWatch:
    """Checks once a day when each account's token ends, to notify before a rotation is missed.

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
