"""One record for each database: the only place that knows how it stands.

Everything that shows how a database stands (`status`, status.json, metrics, alerts, the exit
code of `check`) is read from these records. Nothing is decided from a message's words.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from pgherald.errors import (
    ClientError,
    NotVisible,
    NotYetProven,
    PgheraldError,
    ProbeFailed,
    safe_text,
)
from pgherald.model import (
    About,
    ClientPhase,
    Database,
    DatabaseKey,
    Entry,
    Phase,
    ProbePolicy,
    Sighting,
    Subject,
)
from pgherald.store import BackgroundStore
from pgherald.sync.alerts import Alerts
from pgherald.sync.plan import Plan
from pgherald.sync.probe import Proof
from pgherald.sync.verification import Trial, Verification

log = logging.getLogger(__name__)

#: Alerts that say that a login does not connect.
_REFUSALS: Final = frozenset({ProbeFailed.__name__, NotYetProven.__name__})

#: By the ways in which logins connected: the latest time that each did.
Latest = dict[tuple[Trial, ...], Verification]


@dataclass(frozen=True, slots=True)
class VerifiedLogin:
    """A login that may be written.

    Attributes:
        entry: the database and its login.
        seen_at: when Heroku showed the login, UTC.
        release: the app's release that showed it, when known.
        proven_at: when a connection verified it, UTC; None when the person chose otherwise.
    """

    entry: Entry
    seen_at: datetime
    release: int | None
    proven_at: datetime | None

    @property
    def key(self) -> DatabaseKey:
        """The database's key."""
        return self.entry.key


@dataclass(eq=False, slots=True)
class Tracked:
    """How one database stands.

    Attributes:
        database: which one.
        sighting: its login as Heroku showed it last; None before the first.
        compared: how its login stands in the clients and with Postgres; None before the first
            comparison.
        absence: why Heroku's latest answer does not show it; None when it does.
        is_unanswered: whether there was no answer, which is its account's trouble.
        login_error: why its login could not be verified.
        format_error: why a client cannot hold its login.
        clients: by path, how each client stands with it.
        verification: of the login that Heroku shows.
        rejected: the ways in which the login was tried, and given up.
        due: whether it waits to be compared with the clients.
        shown: whether Heroku has shown it since the last comparison.
        task: what reconciles it at the moment.
        trials: the ways in which that task verifies its login; empty once it is verified.
        held: whether that task only verifies what the clients hold, and is to write nothing.
        waits: whether that task waits to try once more.
    """

    database: Database
    sighting: Sighting | None = None
    compared: Phase | None = None
    absence: PgheraldError | None = None
    is_unanswered: bool = False
    login_error: PgheraldError | None = None
    format_error: PgheraldError | None = None
    clients: dict[str, ClientPhase] = field(default_factory=dict)
    verification: Verification | None = None
    rejected: tuple[Trial, ...] = ()
    due: bool = False
    shown: bool = False
    task: asyncio.Task[None] | None = None
    trials: tuple[Trial, ...] = ()
    held: bool = False
    waits: bool = False

    @property
    def key(self) -> DatabaseKey:
        """The database's key."""
        return self.database.key

    @property
    def subject(self) -> Subject:
        """The subject of its alerts."""
        return Subject(About.DATABASE, self.key)

    @property
    def entry(self) -> Entry | None:
        """What the clients should hold; None before Heroku has shown it."""
        return None if self.sighting is None else Entry(self.database, self.sighting.login)

    @property
    def phase(self) -> Phase | None:
        """How it stands; None while nothing is known."""
        if self.absence is None:
            return self.compared
        gone = isinstance(self.absence, NotVisible) and not self.is_unanswered
        return Phase.GONE if gone else Phase.UNREACHABLE

    @property
    def error(self) -> PgheraldError | None:
        """Why it is not current, if the reason is its own."""
        return self.absence or self.format_error or self.login_error

    @property
    def is_verifying(self) -> bool:
        """Whether its login is being verified at the moment."""
        return self.task is not None and bool(self.trials)

    def cancel(self) -> None:
        """Stop reconciling it: what Heroku shows now is another matter."""
        if self.task is not None:
            self.task.cancel()
            self.task, self.trials = None, ()

    def login(self, proven_at: datetime | None) -> VerifiedLogin:
        """The login that Heroku shows, as one that may be written."""
        assert self.sighting is not None
        entry = Entry(self.database, self.sighting.login)
        return VerifiedLogin(entry, self.sighting.seen_at, self.sighting.release, proven_at)


class Tracker:
    """All records, and the alerts that follow from them.

    Args:
        store: keeps the records for `status`.
        alerts: is given what does not work.
    """

    def __init__(self, store: BackgroundStore, alerts: Alerts) -> None:
        self._store = store
        self._alerts = alerts
        self._tracked: dict[DatabaseKey, Tracked] = {}

    def __iter__(self) -> Iterator[Tracked]:
        return iter(list(self._tracked.values()))

    def snapshot(self) -> dict[DatabaseKey, Tracked]:
        """How each database stands."""
        return dict(self._tracked)

    @property
    def wanted(self) -> list[Entry]:
        """What each client should hold, by the latest sighting of each database."""
        return [tracked.entry for tracked in self if tracked.entry is not None]

    def latest(self) -> Latest:
        """By the ways in which logins connected: the latest time that each did."""
        found: dict[tuple[Trial, ...], Verification] = {}
        for tracked in self:
            each = tracked.verification
            if each is not None and each.works:
                found[each.trials] = max(each, found.get(each.trials, each), key=lambda v: v.at)
        return found

    def sighted(self, database: Database, sighting: Sighting) -> None:
        """Heroku showed a login; a newer one ends what is being done about the older one."""
        tracked = self._track(database)
        if tracked.sighting is None or tracked.sighting.login != sighting.login:
            tracked.cancel()
        tracked.sighting, tracked.absence = sighting, None
        tracked.due = tracked.shown = True

    def absent(self, database: Database, error: PgheraldError) -> None:
        """Heroku answered, and did not show the database's login."""
        tracked = self._track(database)
        tracked.absence, tracked.is_unanswered = error, False
        self._alerts.fire(tracked.subject, database.name, error)
        self.keep(tracked)

    def unanswered(self, database: Database, error: PgheraldError) -> None:
        """Heroku did not answer, which is its account's trouble."""
        tracked = self._track(database)
        tracked.absence, tracked.is_unanswered = error, True

    def found_only(self, account: str, keys: Collection[DatabaseKey]) -> None:
        """Of an account's databases these are the only ones that Heroku shows.

        Of the others nothing is kept up to date any more, so their records end here.
        """
        clients = {state.key: state.clients for state in self._store.recalled()}
        for key in clients.keys() | self._tracked.keys():
            if key.account == account and key not in keys:
                if (tracked := self._tracked.pop(key, None)) is not None:
                    tracked.cancel()
                if key in clients:
                    self._store.keep(key, str(Phase.GONE), clients[key])

    def begin(self, tracked: Tracked, needed: tuple[Trial, ...], found: Plan) -> None:
        """Begin to reconcile a database."""
        tracked.cancel()
        tracked.trials, tracked.held = needed, tracked.key not in found.keys
        if not tracked.held or tracked.compared is None or not tracked.compared.is_current:
            tracked.compared = Phase.VERIFYING
        log.debug("%s: %s; verifying it", tracked.key, found.in_words(tracked.key))

    def settle(self, tracked: Tracked, found: Plan, phase: Phase) -> None:
        """Nothing more can be done for a database: all is well, or a client is behind."""
        tracked.clients = found.clients(tracked.key)
        log.debug("%s: %s", tracked.key, found.in_words(tracked.key))
        # A client that fails is named; it takes nothing from what the others hold.
        if found.failed or tracked.key in found.refusals:
            tracked.compared = Phase.BEHIND
            return
        tracked.compared, tracked.login_error = phase, None
        if tracked.verification is not None and tracked.verification.trouble is not None:
            self._login_error(tracked, tracked.verification.trouble)
        elif tracked.absence is None:  # else Heroku has to answer first
            self._alerts.resolve(tracked.subject)

    def share(self, tracked: Tracked, latest: Verification | None) -> None:
        """Databases with the very same login are verified by one connection."""
        known, policy = tracked.verification, tracked.database.probe
        if latest is None or policy is ProbePolicy.OFF or tracked.task is not None:
            return
        if self.is_disputed(tracked, latest.at):
            return
        if known is None or known.trials != latest.trials or known.at < latest.at:
            tracked.verification, tracked.rejected = latest, ()
            self.connected(tracked.login(latest.at))

    def proof(self, tracked: Tracked, needed: tuple[Trial, ...]) -> Verification | None:
        """When its login connected in these ways; None when it has to do so before it is written."""
        known = tracked.verification
        if known is None or known.trials != needed or not known.works:
            return None
        return None if self.is_disputed(tracked, known.at) else known

    def is_disputed(self, tracked: Tracked, at: datetime | None) -> bool:
        """Whether its login was refused, here or in another pgherald, since it connected."""
        alert = self._alerts.kept(tracked.subject)
        if alert is None or alert.kind not in _REFUSALS:
            return False
        return at is None or at <= alert.since

    def connected(self, login: VerifiedLogin) -> None:
        """Keep when a login connected, if it is the one that the store knows."""
        if self._store.changed(login.key, login.entry.login) == ():
            self._store.record([login.entry], None, {login.key: login.proven_at})

    def not_yet(self, tracked: Tracked, proof: Proof) -> None:
        """A login has not connected, and is tried again."""
        title = proof.error(tracked.database).title
        self._login_error(tracked, NotYetProven(title, "It is being tried again."))

    def give_up(self, tracked: Tracked, needed: tuple[Trial, ...], error: PgheraldError) -> None:
        """A login does not connect, and is tried once a sweep from now on."""
        tracked.rejected, tracked.verification = needed, None
        tracked.compared = Phase.UNVERIFIED
        self._login_error(tracked, error)

    def note(self, found: Plan) -> None:
        """Note how each client stands with each database, and which cannot hold a login."""
        for tracked in self:
            if tracked.sighting is None:
                continue  # Heroku has never shown it, so nothing was planned for it
            key, subject = tracked.key, Subject(About.FORMAT, tracked.key)
            tracked.clients = found.clients(key)
            if key not in found.refusals:
                tracked.format_error = None
                self._alerts.resolve(subject)
                continue
            client, error = found.refusals[key]
            title = f"{client.label} cannot hold the login of {key}: {error.reason}"
            tracked.format_error = ClientError(title, error.advice)
            # A subject of its own: the same login may also be refused by Postgres.
            self._alerts.fire(subject, tracked.database.name, tracked.format_error)

    def blunder(self, tracked: Tracked, exc: Exception) -> None:
        """A mistake of pgherald's own: it concerns this database, and hinders no other."""
        title = f"pgherald stumbled over a mistake of its own: {safe_text(exc)}"
        log.error("%s: %s", tracked.key, title)
        tracked.compared = Phase.BEHIND
        self._login_error(tracked, PgheraldError(title, "Please report it."))

    def keep(self, tracked: Tracked) -> None:
        """Keep a record for `status`. That Heroku did not answer for a while is no part of it."""
        gone = tracked.phase is Phase.GONE
        phase = Phase.GONE if gone else tracked.compared
        clients = {path: str(each) for path, each in tracked.clients.items()}
        self._store.keep(tracked.key, str(phase or ""), clients, tracked.database.name)

    def _track(self, database: Database) -> Tracked:
        tracked = self._tracked.setdefault(database.key, Tracked(database))
        tracked.database = database
        return tracked

    def _login_error(self, tracked: Tracked, error: PgheraldError) -> None:
        tracked.login_error = error
        if tracked.absence is None:
            self._alerts.fire(tracked.subject, tracked.database.name, error)
