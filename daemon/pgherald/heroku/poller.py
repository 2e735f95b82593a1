"""A sweep: one pass of asking Heroku about every database.

The account chooses which apps have to be read (`pgherald.heroku.overview`). Of the others
Heroku shows what it showed before, and that is handed on anew: what is handed on is compared
with the clients at every sweep. Each app is asked for itself. An app that answers late, or
never, keeps no other waiting, not even until the next sweep: that one simply leaves out what
is still under way.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
from collections.abc import Awaitable, Callable, Collection, Coroutine, Iterable, Mapping, Sequence
from datetime import timedelta
from typing import Any, Final

from pgherald.clock import Clock
from pgherald.errors import (
    NotVisible,
    PgheraldError,
    RateLimited,
    safe_text,
)
from pgherald.heroku.account import Missing
from pgherald.heroku.backoff import LONGEST
from pgherald.heroku.budget import Shares
from pgherald.heroku.followup import FollowUps
from pgherald.heroku.pace import Pace
from pgherald.heroku.watched import (
    AlertSink,
    AllFree,
    Sightings,
    TakenNames,
    Watched,
    by_app,
    clash,
)
from pgherald.model import About, Database, DatabaseKey, Login, Sighting, Subject

log = logging.getLogger(__name__)

#: How often Heroku is asked whether there are new apps or attachments.
DISCOVERY_INTERVAL: Final = timedelta(minutes=15)

#: What a discovery is called among the apps that are being asked about; no app has such a name.
_DISCOVERY: Final = "?"

#: Seconds between the first two requests that an app's events cause; then 2, 4, … up to the
#: poll interval.
_CALM: Final = 1.0

_PUT_OFF: Final = RateLimited(
    "pgherald has used up its share of Heroku's requests",
    "Wait some minutes: they come back bit by bit. A longer `poll_interval` helps, or a larger "
    "`request_share`.",
)


async def _no_names() -> TakenNames:
    return AllFree()


class Poller:
    """Asks Heroku and hands the answers on.

    Args:
        watched: the accounts.
        sightings: takes what Heroku showed.
        alerts: hears what Heroku did not answer.
        clock: tells the time.
        names: learns which service names are the person's own.

    Attributes:
        swept: called, if there is one, whenever nothing is under way any more.
    """

    def __init__(
        self,
        watched: Sequence[Watched],
        sightings: Sightings,
        alerts: AlertSink,
        clock: Clock,
        names: Callable[[], Awaitable[TakenNames]] = _no_names,
    ) -> None:
        self._names = names
        self.watched = tuple(watched)
        self._sightings = sightings
        self._alerts = alerts
        self._clock = clock
        self.swept: Callable[[], None] | None = None
        self._under_way: dict[tuple[str, str], asyncio.Task[None]] = {}
        self._again: dict[tuple[str, str], Watched] = {}
        self._later: dict[tuple[str, str], asyncio.Task[None]] = {}
        self._follow_ups = FollowUps(clock)
        #: By account and app: when an event may have it read again.
        self._paces: dict[tuple[str, str], Pace] = {}
        #: By account: how much of its budget the events of each app may use.
        self._shares = {w.account.name: Shares(clock, w.account.api.budget) for w in self.watched}
        #: What does not work, of an account as a whole, by subject.
        self.errors: dict[Subject, PgheraldError] = {}

    @property
    def databases(self) -> tuple[Database, ...]:
        """All databases of all accounts."""
        return tuple(itertools.chain.from_iterable(w.databases for w in self.watched))

    def sweep(self) -> None:
        """Begin a sweep of every account. Returns at once."""
        for watched in self.watched:
            self._begin((watched.account.name, ""), self._sweep_account, watched)

    def look_at(self, database: Database) -> None:
        """Read a database's app soon: something is wrong with its login. Returns at once."""
        for watched in self.watched:
            if watched.account.name == database.key.account:
                self.look(watched, database.key.app)

    def look(self, watched: Watched, app: str, *, follow_up: bool = False) -> None:
        """Read one app now or soon, whatever the list says. Returns at once.

        While it is being read, it is read once more afterwards: the part that was read already
        may be the one that has changed. The more often this is called for an app, the further
        apart its readings are; and what they cost comes out of that app's share of the budget.

        Args:
            watched: whose app.
            app: its name.
            follow_up: whether an earlier reading asked for this, at its own times.
        """
        name = (watched.account.name, app)
        if name in self._later:
            return  # that reading sees this change, too
        if name in self._under_way:
            self._again[name] = watched
            return
        databases = by_app(watched.databases).get(app)
        if databases is None:
            return
        pace = self._paces.setdefault(name, Pace(_CALM, _longest(watched)))
        now = self._clock.monotonic()
        if not follow_up and (wait := pace.wait(now)):
            self._later[name] = asyncio.create_task(self._look_later(name, watched, wait))
        elif self._shares[name[0]].take(app):
            if not follow_up:
                pace.done(now)
            self._begin(name, self._look, watched, databases)

    async def finished(self) -> None:
        """Wait until everything that was begun has ended, but for looking again later."""
        while self._under_way:
            await asyncio.wait(self._under_way.values())

    @property
    def doing(self) -> str:
        """What is under way, in a few words; empty for nothing. May be asked by any thread."""
        under_way = [app for _, app in list(self._under_way)]
        apps = sum(app not in ("", _DISCOVERY) for app in under_way)
        if apps:
            return f"Asking Heroku: {apps} app{'' if apps == 1 else 's'} to go"
        return "Asking Heroku which apps there are" if under_way else ""

    async def stop(self) -> None:
        """Give up what is under way."""
        await self._follow_ups.stop()
        self._again.clear()
        tasks = [*self._under_way.values(), *self._later.values()]
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
        if (watched := self._again.pop(name, None)) is not None and not task.cancelled():
            self.look(watched, name[1])
        if not task.cancelled() and (exc := task.exception()) is not None:
            account, app = name
            # Somebody else's words may hold a URL, so they are not repeated.
            error = PgheraldError(
                f"pgherald stumbled over a mistake of its own: {safe_text(exc)}",
                "Please report it.",
            )
            log.error("%s, asking about %s", error.title, app or account)
            self._failed(Subject(About.ACCOUNT, account), account, error)
        if not self._under_way and self.swept is not None:
            self.swept()

    async def _sweep_account(self, watched: Watched) -> None:
        if apps := by_app(watched.databases):
            with self._sightings.expecting():
                await self._sweep_apps(watched, apps)
        if self._discovery_due(watched):
            # For itself, so that a long list keeps no database waiting that is known already.
            self._begin((watched.account.name, _DISCOVERY), self._discover, watched)

    async def _sweep_apps(self, watched: Watched, apps: dict[str, tuple[Database, ...]]) -> None:
        try:
            choice = await watched.account.choose(list(apps))
        except PgheraldError as exc:
            self._unanswered(watched.databases, exc)
            self._failed(watched.subject, watched.account.name, exc)
            return
        if choice.listed:
            self._worked(watched.subject)
        for app in choice.read:
            self._begin((watched.account.name, app), self._look, watched, apps.pop(app))
        self._put_off(watched, {app: apps.pop(app) for app in choice.put_off})
        self._hand_on(watched, apps)

    def _put_off(self, watched: Watched, apps: Mapping[str, Sequence[Database]]) -> None:
        """Say so where the budget does not allow to read what should be read."""
        subject = Subject(About.BUDGET, watched.account.name)
        if not apps:
            self._worked(subject)
            return
        self._unanswered(itertools.chain.from_iterable(apps.values()), _PUT_OFF)
        self._failed(subject, watched.account.name, _PUT_OFF)

    def _hand_on(self, watched: Watched, apps: Mapping[str, Sequence[Database]]) -> None:
        """Take for seen again what was seen of apps that need not be read."""
        databases: list[Database] = []
        seen: list[Sighting | Missing] = []
        for app, group in apps.items():
            known = watched.account.known(group)
            if known is not None:
                databases += group
                seen += known
            else:  # it has another database now
                self._begin((watched.account.name, app), self._look, watched, group)
        self._answered(databases, seen)

    # --- one app -------------------------------------------------------------------------

    async def _look(self, watched: Watched, databases: Sequence[Database]) -> None:
        """Ask about one app's databases."""
        before = watched.account.known(databases)
        with self._sightings.expecting():
            try:
                async with watched.limit:
                    seen = await watched.account.look(databases)
            except PgheraldError as exc:
                self._unanswered(databases, exc)
                self._failed(watched.subject, watched.account.name, exc)
                return
            self._worked(watched.subject)
            self._answered(databases, seen)
        if before is None or _logins(before) != _logins(seen):
            self._shares[watched.account.name].charge(databases[0].key.app)  # for the release
            self._follow_up(watched, databases, changed=before is not None)

    async def _look_later(self, name: tuple[str, str], watched: Watched, wait: float) -> None:
        """Read an app for which an event came too soon after the one before."""
        try:
            await self._clock.sleep(wait)
        finally:
            del self._later[name]
        self.look(watched, name[1])

    def _follow_up(self, watched: Watched, databases: Sequence[Database], *, changed: bool) -> None:
        """Look again soon, as long as a login is being proven or may change once more."""
        app = databases[0].key.app
        keys = {database.key for database in databases}

        def again() -> None:
            self.look(watched, app, follow_up=True)

        def go_on() -> bool:
            return changed or not keys.isdisjoint(self._sightings.verifying)

        subject, longest = (watched.account.name, app), _longest(watched) if changed else None
        self._follow_ups.begin(subject, again, go_on, longest)

    def _answered(self, databases: Sequence[Database], seen: Sequence[Sighting | Missing]) -> None:
        """Hand on what Heroku showed; `seen` has one item for each of these databases."""
        sightings: list[tuple[Database, Sighting]] = []
        for database, what in zip(databases, seen, strict=True):
            self.errors.pop(Subject(About.DATABASE, database.key), None)
            if isinstance(what, Missing):
                self._sightings.absent(database, what.error)
            else:
                sightings.append((database, what))
        self._sightings.sighted(sightings)

    def _unanswered(self, databases: Iterable[Database], error: PgheraldError) -> None:
        for database in databases:
            self._sightings.unanswered(database, error)

    def _failed(self, subject: Subject, label: str, error: PgheraldError) -> None:
        self.errors[subject] = error
        self._alerts.fire(subject, label, error)

    def _worked(self, subject: Subject) -> None:
        self.errors.pop(subject, None)
        self._alerts.resolve(subject)

    # --- discovery -----------------------------------------------------------------------

    def _discovery_due(self, watched: Watched) -> bool:
        if watched.discovery is None:
            return False
        # A clock that was set back must not put discovery off for the time it was set back.
        since = watched.discovered_at
        return since is None or abs(self._clock.now() - since) >= DISCOVERY_INTERVAL

    async def _discover(self, watched: Watched) -> None:
        """Find databases by the rules. What was found before stays when Heroku is silent."""
        assert watched.discovery is not None  # asked by the caller
        assert watched.adopt is not None  # goes with discovery
        # Not the account's own subject: an app that answers would end discovery's trouble.
        subject = Subject(About.DISCOVERY, watched.account.name)
        names: TakenNames = AllFree()
        try:
            names = await self._names()
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
            if (refusal := names.refusal(database)) is not None:
                self._failed(Subject(About.DATABASE, database.key), database.name, refusal)
                clashing.add(database.key)
                continue
            if (other := services.setdefault(database.service, database.key)) != database.key:
                self._failed(
                    Subject(About.DATABASE, database.key), database.name, clash(database, other)
                )
                clashing.add(database.key)
                continue
            keys.add(database.key)
            databases.append(database)
        watched.found = tuple(databases)
        for app, group in by_app(each for each in databases if each.key not in before).items():
            self._begin((watched.account.name, app), self._look, watched, group)
        self._keep_only(watched.account.name, keys | clashing)

    def _keep_only(self, account: str, keys: Collection[DatabaseKey]) -> None:
        """What of an account is no longer found cannot be in trouble either."""

        def concerns(subject: Subject) -> bool:
            key = subject.database
            return key is None or key.account != account or key in keys

        for subject in [subject for subject in self.errors if not concerns(subject)]:
            del self.errors[subject]
        self._alerts.keep_only(concerns)
        self._sightings.found_only(account, keys)

    def _others(self, watched: Watched) -> list[Database]:
        """Databases that a newly found one must not be confused with."""
        others = (w.databases for w in self.watched if w is not watched)
        return [*watched.named, *itertools.chain.from_iterable(others)]


def _longest(watched: Watched) -> float:
    """Seconds between two readings of an app that is never still."""
    return min(watched.account.interval, LONGEST)


def _logins(seen: Iterable[Sighting | Missing]) -> list[Login | None]:
    return [None if isinstance(what, Missing) else what.login for what in seen]
