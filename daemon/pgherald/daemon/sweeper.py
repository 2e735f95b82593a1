"""A sweep: one pass of asking Heroku about every database.

Each app is asked for itself. An app that answers late, or never, keeps no other waiting,
not even until the next sweep: that one simply leaves out what is still under way.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
from collections.abc import Callable, Collection, Coroutine, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final, Protocol

from pgherald.clock import Clock
from pgherald.errors import ConfigError, NotVisible, PgheraldError, StoreError, safe_text
from pgherald.heroku.account import Account, Missing
from pgherald.heroku.discovery import Discovery, Found
from pgherald.model import Database, DatabaseKey, Sighting

log = logging.getLogger(__name__)

#: How often Heroku is asked whether there are new apps or attachments.
DISCOVERY_INTERVAL: Final = timedelta(minutes=15)

#: What a discovery is called among the apps that are being asked about; no app has such a name.
_DISCOVERY: Final = "?"

#: Apps of one account that are asked about at the same time.
_AT_ONCE: Final = 8


@dataclass(eq=False)
class Watched:
    """An account and its databases.

    Attributes:
        account: asks Heroku.
        named: databases that the configuration names.
        discovery: finds further ones; None when the configuration has no such rules.
        adopt: makes a database of a found attachment.
        found: those that were found last.
        discovered_at: when that was, UTC; None when never.
    """

    account: Account
    named: Sequence[Database]
    discovery: Discovery | None = None
    adopt: Callable[[Found], Database] | None = None
    found: tuple[Database, ...] = ()
    discovered_at: datetime | None = None
    limit: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(_AT_ONCE))

    @property
    def subject(self) -> str:
        """The subject of this account's troubles."""
        return _account(self.account.name)

    @property
    def databases(self) -> tuple[Database, ...]:
        """All of the account's databases, named ones first."""
        return (*self.named, *self.found)


class Sightings(Protocol):
    """Where sightings go: the engine, or a list for a plan."""

    def sighted(self, sightings: Iterable[tuple[Database, Sighting]]) -> None:
        """Take sightings; returns at once."""
        ...

    def expecting(self) -> AbstractContextManager[None]:
        """While this is open, more may come."""
        ...


class Listens(Protocol):
    """Who hears of troubles and their end; see `pgherald.sync.troubles.Troubles`."""

    def arose(self, subject: str, label: str, error: PgheraldError) -> None:
        """Something does not work."""
        ...

    def ended(self, subject: str) -> None:
        """It works."""
        ...

    def keep_only(self, concerns: Callable[[str], bool]) -> None:
        """Forget the troubles of what is no longer kept."""
        ...


class Sweeper:
    """Asks Heroku and hands the answers on.

    Args:
        watched: the accounts.
        sightings: takes what Heroku showed.
        troubles: hears what Heroku did not answer.
        clock: tells the time.
    """

    def __init__(
        self, watched: Sequence[Watched], sightings: Sightings, troubles: Listens, clock: Clock
    ) -> None:
        self.watched = tuple(watched)
        self._sightings = sightings
        self._troubles = troubles
        self._clock = clock
        self._under_way: dict[tuple[str, str], asyncio.Task[None]] = {}
        #: What could not be asked, by database or account, as of the latest attempt.
        self._failures: dict[str, PgheraldError] = {}
        #: Databases that went unanswered because of what may be their account's trouble.
        self._unanswered: dict[DatabaseKey, PgheraldError] = {}

    @property
    def databases(self) -> tuple[Database, ...]:
        """All databases of all accounts."""
        return tuple(itertools.chain.from_iterable(w.databases for w in self.watched))

    @property
    def failures(self) -> Mapping[str, PgheraldError]:
        """What could not be asked, by subject, as of the latest attempt.

        An error that may be the whole account's is the account's, until another app of it is
        answered; from then on it is that of the databases that went without an answer.
        """
        own = {
            f"database:{key}": error
            for key, error in self._unanswered.items()
            if _account(key.account) not in self._failures
        }
        return self._failures | own

    def sweep(self) -> None:
        """Begin a sweep of every account. Returns at once."""
        for watched in self.watched:
            self._begin((watched.account.name, ""), self._sweep_account, watched)

    async def finished(self) -> None:
        """Wait until everything that was begun has ended."""
        while self._under_way:
            await asyncio.wait(self._under_way.values())

    async def stop(self) -> None:
        """Give up what is under way."""
        tasks = list(self._under_way.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _begin(
        self,
        name: tuple[str, str],
        work: Callable[..., Coroutine[Any, Any, None]],
        *args: object,
    ) -> None:
        if name in self._under_way:
            return
        task = asyncio.create_task(work(*args))
        self._under_way[name] = task
        task.add_done_callback(lambda ended: self._ended(name, ended))

    def _ended(self, name: tuple[str, str], task: asyncio.Task[None]) -> None:
        del self._under_way[name]
        if not task.cancelled() and (exc := task.exception()) is not None:
            account, app = name
            # Somebody else's words may hold a URL, so they are not repeated.
            error = PgheraldError(
                f"pgherald stumbled over a mistake of its own: {safe_text(exc)}",
                "Please report it.",
            )
            log.error("%s, asking about %s", error.title, app or account)
            self._failed(_account(account), account, error)

    async def _sweep_account(self, watched: Watched) -> None:
        self._look_at(watched, watched.databases)
        if self._discovery_due(watched):
            # For itself, so that a long list keeps no database waiting that is known already.
            self._begin((watched.account.name, _DISCOVERY), self._discover, watched)

    def _look_at(self, watched: Watched, databases: Sequence[Database]) -> None:
        ordered = sorted(databases, key=lambda database: database.key)
        for app, group in itertools.groupby(ordered, lambda database: database.key.app):
            self._begin((watched.account.name, app), self._look, watched, tuple(group))

    # --- one app -------------------------------------------------------------------------

    async def _look(self, watched: Watched, databases: Sequence[Database]) -> None:
        """Ask about one app's databases."""
        with self._sightings.expecting():
            try:
                async with watched.limit:
                    seen = await watched.account.look(databases)
            except PgheraldError as exc:
                self._unanswered.update((database.key, exc) for database in databases)
                self._failed(watched.subject, watched.account.name, exc)
                return
            for database in databases:
                self._unanswered.pop(database.key, None)
            self._worked(watched.subject)
            self._take(databases, seen)

    def _take(self, databases: Sequence[Database], seen: Sequence[Sighting | Missing]) -> None:
        by_key = {database.key: database for database in databases}
        for what in seen:
            database = by_key[what.key]
            if isinstance(what, Missing):
                self._failed(f"database:{what.key}", database.name, what.error)
                continue
            # The trouble itself ends in the engine, once the clients hold the login.
            self._failures.pop(f"database:{what.key}", None)
            self._sightings.sighted([(database, what)])

    def _failed(self, subject: str, label: str, error: PgheraldError) -> None:
        self._failures[subject] = error
        try:
            self._troubles.arose(subject, label, error)
        except StoreError as exc:
            log.error("%s", exc)  # noqa: TRY400 – a full disk is no bug, so no traceback

    def _worked(self, subject: str) -> None:
        self._failures.pop(subject, None)
        try:
            self._troubles.ended(subject)
        except StoreError as exc:
            log.error("%s", exc)  # noqa: TRY400 – a full disk is no bug, so no traceback

    # --- discovery -----------------------------------------------------------------------

    def _discovery_due(self, watched: Watched) -> bool:
        if watched.discovery is None:
            return False
        # A clock that was set back must not put discovery off for the time it was set back.
        since = watched.discovered_at
        return since is None or abs(self._clock.now() - since) >= DISCOVERY_INTERVAL

    async def _discover(self, watched: Watched) -> None:
        """Find databases by the rules. What was found before stays when Heroku is silent."""
        assert watched.discovery is not None  # noqa: S101 – asked by the caller
        assert watched.adopt is not None  # noqa: S101 – goes with discovery
        # Not the account's own subject: an app that answers would end discovery's trouble.
        subject = f"discovery:{watched.account.name}"
        try:
            with self._sightings.expecting():
                found = await watched.discovery.discover()
        except NotVisible as exc:
            # One rule finds nothing any more; the others' finds count all the same.
            self._failed(subject, watched.account.name, exc)
            found = watched.discovery.found
        except PgheraldError as exc:
            self._failed(subject, watched.account.name, exc)
            return
        else:
            self._worked(subject)
        watched.discovered_at = self._clock.now()
        before = {database.key for database in watched.found}
        keys = {database.key for database in watched.named}
        clashing: set[DatabaseKey] = set()
        services = {database.service: database.key for database in self._others(watched)}
        databases: list[Database] = []
        for item in found:
            database = watched.adopt(item)
            if database.key in keys:
                continue
            if (other := services.setdefault(database.service, database.key)) != database.key:
                self._failed(f"database:{database.key}", database.name, _clash(database, other))
                clashing.add(database.key)
                continue
            keys.add(database.key)
            databases.append(database)
        watched.found = tuple(databases)
        self._look_at(watched, [database for database in databases if database.key not in before])
        self._keep_only(watched.account.name, keys | clashing)

    def _keep_only(self, account: str, keys: Collection[DatabaseKey]) -> None:
        """What of an account is no longer found cannot be in trouble either."""

        def concerns(subject: str) -> bool:
            key = database_of(subject)
            return key is None or key.account != account or key in keys

        for subject in [subject for subject in self._failures if not concerns(subject)]:
            del self._failures[subject]
        for key in [key for key in self._unanswered if not concerns(f"database:{key}")]:
            del self._unanswered[key]
        try:
            self._troubles.keep_only(concerns)
        except StoreError as exc:
            log.error("%s", exc)  # noqa: TRY400 – a full disk is no bug, so no traceback

    def _others(self, watched: Watched) -> list[Database]:
        """Databases that a newly found one must not be confused with."""
        return [
            *watched.named,
            *itertools.chain.from_iterable(w.databases for w in self.watched if w is not watched),
        ]


def database_of(subject: str) -> DatabaseKey | None:
    """The database that a subject names; None when it is about something else."""
    kind, _, name = subject.partition(":")
    return DatabaseKey.parse(name) if kind == "database" else None


def _account(name: str) -> str:
    """The subject of an account's troubles."""
    return f"account:{name}"


def _clash(database: Database, other: DatabaseKey) -> ConfigError:
    return ConfigError(
        f"{database.key} and {other} would share the service name {database.service!r}",
        advice=f"Give {database.key} a [[databases]] entry with a `service` of its own.",
    )
