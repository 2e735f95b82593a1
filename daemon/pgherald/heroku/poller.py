"""Polls Heroku: sweeps all accounts, reads single apps, and discovers databases.

In a sweep the account chooses the apps to be read (`pgherald.heroku.overview`). For the others
the last answer still holds and is handed on again, since every sweep compares what it shows with
the clients. Each app is read in a task of its own, so one that answers late, or never, delays no
other, not even in the next sweep, which leaves out what is still under way.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from itertools import chain
from typing import Any, Final

from pgherald import errors
from pgherald.clock import Clock
from pgherald.heroku.account import Missing
from pgherald.heroku.backoff import LONGEST, Throttle
from pgherald.heroku.budget import USED_UP, Shares
from pgherald.heroku.watched import Sightings, TakenNames, Watched, by_app
from pgherald.model import About, AlertSink, Database, DatabaseKey, Login, Sighting, Subject

log = logging.getLogger(__name__)

#: How often Heroku is asked whether there are new apps or attachments.
DISCOVERY_INTERVAL: Final = timedelta(minutes=15)

#: Names of tasks that are about an account and no single app; no app has such a name.
_SWEEP: Final = ""
_DISCOVERY: Final = "?"

#: Seconds between the first two readings that an app's events cause; then 2, 4, … up to the
#: poll interval.
_FIRST_PAUSE: Final = 1.0

#: Pauses between the readings that follow a change. A rotation of a named credential shows a
#: temporary login first; and Heroku may show a login before Postgres takes it, or take it back.
_FOLLOW_UPS: Final = (1.0, 2.0, 7.0, 20.0)

_PUT_OFF: Final = errors.RateLimited(*USED_UP)


@dataclass(eq=False)
class _App:
    """When an app is read next.

    Attributes:
        events: limits the readings that its events cause.
        changes: limits the follow-ups of its changes, which may come again and again.
        later: waits for a reading that its events caused too early, or during another one.
        following: runs the follow-ups of the last change.
    """

    events: Throttle
    changes: Throttle
    later: asyncio.Task[None] | None = None
    following: asyncio.Task[None] | None = None


class Poller:
    """Polls Heroku and hands the answers on.

    Args:
        watched: the accounts.
        sightings: takes what Heroku showed.
        alerts: takes what Heroku did not answer.
        clock: tells the time.
        names: learns which service names are the person's own; None when none is.

    Attributes:
        swept: called, if there is one, whenever nothing is under way any more.
        errors: what does not work, of an account as a whole, by subject.
    """

    def __init__(
        self,
        watched: Sequence[Watched],
        sightings: Sightings,
        alerts: AlertSink,
        clock: Clock,
        names: Callable[[], Awaitable[TakenNames]] | None = None,
    ) -> None:
        self._names = names
        self.watched = tuple(watched)
        self._sightings = sightings
        self._alerts = alerts
        self._clock = clock
        self.swept: Callable[[], None] | None = None
        self.errors: dict[Subject, errors.PgheraldError] = {}
        self._under_way: dict[tuple[Watched, str], asyncio.Task[None]] = {}
        self._apps: dict[tuple[Watched, str], _App] = {}
        #: Found databases that Heroku did not show, until discovery has asked about them.
        self._doubted: set[DatabaseKey] = set()
        #: How much of an account's budget the events of each app may use.
        self._shares = {each: Shares(clock, each.account.api.budget) for each in self.watched}

    @property
    def databases(self) -> tuple[Database, ...]:
        """All databases of all accounts."""
        return tuple(chain.from_iterable(w.databases for w in self.watched))

    def sweep(self) -> None:
        """Start a sweep of every account. Returns at once."""
        for watched in self.watched:
            self._start(watched, _SWEEP, self._sweep_account(watched))

    def reread(self, database: Database) -> None:
        """Read a database's app soon: something is wrong with its login. Returns at once."""
        for watched in self.watched:
            if watched.account.name == database.key.account:
                self.read(watched, database.key.app)

    def read(self, watched: Watched, app: str, *, follow_up: bool = False) -> None:
        """Read one app now or soon, whatever the list says. Returns at once.

        An app that is being read is read once more afterwards, since it may have changed
        meanwhile. Frequent calls are throttled, and paid from the app's share of the budget.

        Args:
            watched: whose app.
            app: its name.
            follow_up: whether an earlier reading asked for this, at its own times.
        """
        state = self._app(watched, app)
        databases = by_app(watched.databases).get(app)
        if databases is None or state.later is not None:
            return  # that reading sees this change, too
        now = self._clock.monotonic()
        wait = 0.0 if follow_up else state.events.wait(now)
        if wait or (watched, app) in self._under_way:
            state.later = asyncio.create_task(self._read_later(state, watched, app, wait))
        elif self._shares[watched].take(app):
            if not follow_up:
                state.events.called(now)
            self._start(watched, app, self._read(watched, databases))

    def _app(self, watched: Watched, app: str) -> _App:
        longest = min(watched.account.interval, LONGEST)
        new = _App(Throttle(_FIRST_PAUSE, longest), Throttle(_FOLLOW_UPS[0], longest))
        return self._apps.setdefault((watched, app), new)

    async def finished(self) -> None:
        """Wait until everything that was started has ended, but for later readings."""
        while self._under_way:
            await asyncio.wait(self._under_way.values())

    @property
    def doing(self) -> str:
        """What is under way, in a few words; empty for nothing. May be asked by any thread."""
        under_way = [app for _, app in list(self._under_way)]
        apps = sum(app not in (_SWEEP, _DISCOVERY) for app in under_way)
        if apps:
            return f"Asking Heroku: {apps} app{'' if apps == 1 else 's'} to go"
        return "Asking Heroku which apps there are" if under_way else ""

    async def stop(self) -> None:
        """Cancel what is under way."""
        tasks = list(self._under_way.values())
        for app in self._apps.values():
            tasks += [task for task in (app.later, app.following) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _start(self, watched: Watched, name: str, work: Coroutine[Any, Any, None]) -> None:
        """Begin something about an app, or about the account, that is not under way already."""
        if (watched, name) in self._under_way:
            work.close()
            return
        task = self._under_way[watched, name] = asyncio.create_task(work)
        task.add_done_callback(lambda ended: self._ended(watched, name, ended))

    def _ended(self, watched: Watched, name: str, task: asyncio.Task[None]) -> None:
        del self._under_way[watched, name]
        if not task.cancelled() and (exc := task.exception()) is not None:
            # Somebody else's words may hold a URL, so they are not repeated.
            error = errors.PgheraldError(
                f"pgherald stumbled over a mistake of its own: {errors.safe_text(exc)}",
                "Please report it.",
            )
            log.error("%s, asking about %s", error.title, name or watched.account.name)
            self._failed(watched.subject, watched, error)
        if not self._under_way and self.swept is not None:
            self.swept()

    async def _sweep_account(self, watched: Watched) -> None:
        if apps := by_app(watched.databases):
            with self._sightings.expecting():
                await self._sweep_apps(watched, apps)
        # A clock that was set back must not put discovery off for the time it was set back.
        since, discovery = watched.discovered_at, watched.discovery
        due = since is None or abs(self._clock.now() - since) >= DISCOVERY_INTERVAL
        if due or (discovery is not None and await discovery.is_mended()):
            # For itself, so that a long list keeps no database waiting that is known already.
            self._start(watched, _DISCOVERY, self._discover(watched))

    async def _sweep_apps(self, watched: Watched, apps: dict[str, tuple[Database, ...]]) -> None:
        try:
            choice = await watched.account.choose(list(apps))
        except errors.PgheraldError as exc:
            self._unanswered(watched.databases, exc)
            self._failed(watched.subject, watched, exc)
            return
        if choice.listed:
            self._worked(watched.subject)
        for app in choice.read:
            self._start(watched, app, self._read(watched, apps.pop(app)))
        subject = Subject(About.BUDGET, watched.name)
        self._unanswered(chain.from_iterable(map(apps.pop, choice.put_off)), _PUT_OFF)
        self._stands(subject, watched, _PUT_OFF if choice.put_off else None)
        # What need not be read counts as seen again.
        databases: list[Database] = []
        seen: list[Sighting | Missing] = []
        for app, group in apps.items():
            known = watched.account.known(group)
            if known is not None:
                databases += group
                seen += known
            else:  # it has another database now
                self._start(watched, app, self._read(watched, group))
        self._answered(watched, databases, seen)

    # --- one app -------------------------------------------------------------------------

    async def _read(self, watched: Watched, databases: Sequence[Database]) -> None:
        """Read one app's databases."""
        before = watched.account.known(databases)
        with self._sightings.expecting():
            try:
                async with watched.limit:
                    seen = await watched.account.read(databases)
            except errors.PgheraldError as exc:
                self._unanswered(set(databases).intersection(watched.databases), exc)
                self._failed(watched.subject, watched, exc)
                return
            self._worked(watched.subject)
            self._stands(
                Subject(About.LOGIN, watched.name), watched, watched.account.identity.error
            )
            self._answered(watched, databases, seen)
        if before is None or _logins(before) != _logins(seen):
            self._shares[watched].charge(databases[0].key.app)  # for the release
            self._follow_up(watched, databases, changed=before is not None)

    async def _read_later(self, state: _App, watched: Watched, app: str, wait: float) -> None:
        """Read an app whose event came too soon after the one before."""
        try:
            await self._clock.sleep(wait)
            if (task := self._under_way.get((watched, app))) is not None:
                await asyncio.wait({task})
        finally:
            state.later = None
        self.read(watched, app)

    def _follow_up(self, watched: Watched, databases: Sequence[Database], *, changed: bool) -> None:
        """Read an app again soon after a change, or while a first login is being verified.

        This takes the place of an earlier series, unless that began only a moment ago.
        """
        state = self._app(watched, databases[0].key.app)
        if changed:
            now = self._clock.monotonic()
            if state.changes.wait(now):
                return
            state.changes.called(now)
        if state.following is not None:
            state.following.cancel()
        state.following = asyncio.create_task(self._read_again(watched, databases, changed))

    async def _read_again(
        self, watched: Watched, databases: Sequence[Database], changed: bool
    ) -> None:
        keys = {database.key for database in databases}
        for pause in _FOLLOW_UPS:
            await self._clock.sleep(pause)
            if not changed and keys.isdisjoint(self._sightings.verifying):
                return
            self.read(watched, databases[0].key.app, follow_up=True)

    def _answered(
        self, watched: Watched, databases: Sequence[Database], seen: Sequence[Sighting | Missing]
    ) -> None:
        """Hand on what Heroku showed; `seen` has one item for each of these databases."""
        sightings: list[tuple[Database, Sighting]] = []
        kept = {database.key for database in watched.databases}
        for database, what in zip(databases, seen, strict=True):
            if database.key not in kept:
                continue  # discovery has found meanwhile that it is gone
            self.errors.pop(Subject(About.DATABASE, database.key), None)
            if not isinstance(what, Missing):
                self._doubted.discard(database.key)
                sightings.append((database, what))
            elif isinstance(what.error, errors.OtherLogin):  # which is its account's trouble
                self._sightings.unanswered(database, what.error)
            elif self._is_doubtful(watched, database, what.error):
                self._doubted.add(database.key)
                self._sightings.unanswered(database, what.error)
                self._start(watched, _DISCOVERY, self._discover(watched))
            else:
                self._sightings.absent(database, what.error)
        self._sightings.sighted(sightings)

    def _is_doubtful(
        self, watched: Watched, database: Database, error: errors.PgheraldError
    ) -> bool:
        """Whether discovery is to say first that a database is still there.

        Review apps come and go, and nobody wants to hear of each that has gone.
        """
        is_found = isinstance(error, errors.NotVisible) and database in watched.found
        return is_found and database.key not in self._doubted

    def _unanswered(self, databases: Iterable[Database], error: errors.PgheraldError) -> None:
        for database in databases:
            self._sightings.unanswered(database, error)

    def _stands(self, subject: Subject, whose: Watched, error: errors.PgheraldError | None) -> None:
        if error is None:
            self._worked(subject)
        else:
            self._failed(subject, whose, error)

    def _failed(
        self, subject: Subject, whose: Watched | Database, error: errors.PgheraldError
    ) -> None:
        self.errors[subject] = error
        self._alerts.fire(subject, whose.name, error)

    def _worked(self, subject: Subject) -> None:
        self.errors.pop(subject, None)
        self._alerts.resolve(subject)

    # --- discovery -----------------------------------------------------------------------

    async def _discover(self, watched: Watched) -> None:
        """Find databases by the rules. What was found before stays when Heroku is silent."""
        if watched.discovery is None or watched.account.identity.error is not None:
            return  # somebody else's databases are none to be kept
        # Not the account's own subject: an app that answers would end discovery's trouble.
        subject = Subject(About.DISCOVERY, watched.name)
        names: TakenNames | None = None
        trouble: errors.PgheraldError | None = None
        try:
            names = None if self._names is None else await self._names()
            with self._sightings.expecting():
                await watched.discovery.discover()
            trouble = watched.discovery.unmet
        except errors.OtherLogin:
            pass  # which is the account's trouble, as soon as an app is read
        except errors.PgheraldError as exc:
            trouble = exc
        # What passes by itself is asked again at the next sweep.
        if trouble is None or isinstance(trouble, errors.Forbidden | errors.NotVisible):
            watched.discovered_at = self._clock.now()
        if trouble is None or isinstance(trouble, errors.HerokuError):
            self._take_over(watched, names)
        if trouble is None or not await self._concerns_all(watched, trouble):
            self._stands(subject, watched, trouble)

    def _take_over(self, watched: Watched, names: TakenNames | None) -> None:
        """Keep from now on what discovery has found, and nothing else that it had found before."""
        before = {database.key for database in watched.found} - self._doubted
        refused = watched.keep_found(names, [w for w in self.watched if w is not watched])
        for database, error in refused.items():
            self._failed(Subject(About.DATABASE, database.key), database, error)
        new = [database for database in watched.found if database.key not in before]
        if watched.subject in self.errors:
            self._unanswered(new, self.errors[watched.subject])
        else:
            for app, group in by_app(new).items():
                self._start(watched, app, self._read(watched, group))
        # What is no longer found cannot be in trouble either.
        keys = {database.key for database in (*watched.databases, *refused)}

        def concerns(subject: Subject) -> bool:
            key = subject.database
            return key is None or key.account != watched.name or key in keys

        self.errors = {each: error for each, error in self.errors.items() if concerns(each)}
        self._alerts.keep_only(concerns)
        self._sightings.found_only(watched.name, keys)

    async def _concerns_all(self, watched: Watched, error: errors.PgheraldError) -> bool:
        """Whether a trouble that discovery has met is the account's, which is named for itself."""
        under_way = self._under_way.items()
        reads = [task for (whose, app), task in under_way if whose is watched and app != _DISCOVERY]
        if reads:
            await asyncio.wait(reads)
        of_all = watched.account.stopped is not None or isinstance(error, errors.AccountSuspended)
        of_a_rule = not of_all and isinstance(error, errors.Forbidden | errors.NotVisible)
        return not of_a_rule and watched.subject in self.errors


def _logins(seen: Iterable[Sighting | Missing]) -> list[Login | None]:
    return [None if isinstance(what, Missing) else what.login for what in seen]
