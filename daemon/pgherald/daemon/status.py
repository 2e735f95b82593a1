"""How everything stands, read from the state, in one shape for all readers: `status`, status.json.

Nothing is decided here from a message's words: a database's phase and its clients are those of its
record (`sync.tracked`), as the daemon or a check kept them.

Scripts may rely on it. Moments are ISO 8601 in UTC once it is JSON, null for never:

    {
      "ok": true,                       // no troubles; as the exit code of `status`
      "running": true,                  // the daemon
      "databases": [{
        "key": "shop/DATABASE",         // as in `check` and `history`
        "name": "Shop (production)",
        "current": true,                // every client was last seen to hold its login
        "looked_at": "2026-01-05T09:00:00.000+00:00",
        "next_look_at": "…",            // null when the daemon does not run, or has to wait
        "current_at": "…",
        "proven": true,                 // the login in the clients was proven
        "proven_at": "…",
        "last_rotation_at": null,
        "clients": {"psql": "current"}  // each: current | old | failed | missing | new
      }],
      "clients": [{"kind": "pgpass", "path": "/home/me/.pgpass", "ok": true}],
      "troubles": [{                    // the longest-standing first
        "subject": "database:shop/DATABASE",    // or account:…, budget:…, client:…, config, …
        "name": "Shop (production)",
        "kind": "ProbeFailed",          // a stable word
        "title": "…", "advice": "…",    // for people; the advice may be empty
        "since": "…"
      }],
      "requests": [{                    // what each account cost, as of the last sweep
        "account": "default",
        "last_hour": 64,                // requests that pgherald sent in the hour before
        "bytes_last_hour": 18432,       // bytes of the answers, as they came over the wire
        "allowance": 1125,              // what it may send in an hour
        "remaining": 4431,              // what the account had left, all programs counted
        "at": "…"
      }],
      "notifications": null             // why the latest could not be shown
    }

No secret is in any of it: the store, where it comes from, holds none.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from pgherald import plain
from pgherald.config import Config
from pgherald.errors import RolledBack
from pgherald.files.locks import daemon_runs
from pgherald.model import About, ClientPhase, DatabaseKey, Phase, Subject
from pgherald.plain import fields
from pgherald.store import Alert, DatabaseState, Record, Requests, Store

#: The file in the state folder.
STATUS_FILE: Final = "status.json"

#: What is shown as it is kept.
_TROUBLE: Final = ("kind", "title", "advice", "since")
_REQUESTS: Final = ("account", "last_hour", "bytes_last_hour", "allowance", "remaining", "at")

#: What each kind of client is called, as in notices; what people look at all day comes first.
LABELS: Final = {
    "pgadmin": "pgAdmin",
    "pgpass": "psql",
    "service_file": "service file",
    "servers_json": "servers.json",
}

#: How one client stands with one database, the best first.
WORDS: Final = tuple(ClientPhase)

#: The kind of trouble that a daemon is which should run and does not.
STOPPED: Final = "DaemonStopped"

#: A daemon that has not asked Heroku for so many intervals does not do its work.
_INTERVALS: Final = 3

#: Phases in which each client holds a login that has connected.
_CURRENT: Final = frozenset({Phase.CURRENT, Phase.WRITTEN})


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """What the daemon noted of itself.

    Attributes:
        started_at: when it started, or a service was installed that is to start it, UTC.
        swept_at: when it last ended a sweep since, UTC; None before the first.
        expected: whether it should be running: nobody ended it at its terminal, or took its
            service away.
    """

    started_at: datetime
    swept_at: datetime | None = None
    expected: bool = True

    @classmethod
    def read(cls, notes: Mapping[str, str]) -> Heartbeat | None:
        """From the state's notes; None when there never was a daemon."""
        with contextlib.suppress(ValueError, TypeError, KeyError):
            return plain.read(cls, json.loads(notes["daemon"]))
        return None

    def keep(self, store: Store) -> None:
        """Keep it as the note `daemon`."""
        store.note("daemon", plain.as_json(dataclasses.asdict(self), indent=None))


@dataclass(frozen=True, slots=True)
class Status:
    """How everything stands.

    Attributes:
        databases: those that Heroku was asked for, and those that are still to be, by key.
        running: whether the daemon runs.
        alerts: what does not work, the longest-standing first.
        latest: the latest rotation of each database.
        notifications: why the latest notice could not be shown; empty when it could.
        requests: what each account cost.
        warnings: what is left alone in the clients, and its like: it asks for no change.
    """

    databases: list[DatabaseState]
    running: bool = False
    alerts: list[Alert] = field(default_factory=list)
    latest: Mapping[DatabaseKey, Record] = field(default_factory=dict)
    notifications: str = ""
    requests: list[Requests] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    def is_current(self, database: DatabaseState) -> bool:
        """Whether every client was last seen to hold this database's login."""
        known = database.phase in _CURRENT if database.phase else database.current_at is not None
        return known and not self.in_trouble(Subject(About.DATABASE, database.key))

    def in_trouble(self, subject: Subject) -> bool:
        """Whether something does not work with it."""
        return any(trouble.subject == subject for trouble in self.alerts)

    def clients(self, config: Config, database: DatabaseState) -> dict[str, str]:
        """How each kind of client stands with a database: label to one of `WORDS`.

        Several clients of one kind are as good as the worst of them.
        """
        usual = ClientPhase.CURRENT if database.written else ClientPhase.NEW
        found: dict[str, ClientPhase] = {}
        for client in config.clients:
            label = LABELS[client.kind]
            word = ClientPhase(database.clients.get(str(client.path), usual))
            if (
                self.in_trouble(Subject(About.CLIENT, client.path))
                and word is not ClientPhase.MISSING
            ):
                word = ClientPhase.FAILED
            found[label] = max(word, found.get(label, word), key=WORDS.index)
        return {label: str(found[label]) for label in LABELS.values() if label in found}

    def next_look(self, config: Config, database: DatabaseState) -> datetime | None:
        """When the daemon asks again, UTC; None when nobody knows."""
        waits = self.in_trouble(Subject(About.ACCOUNT, database.key.account))
        if not self.running or waits or database.looked_at is None:
            return None
        return database.looked_at + timedelta(seconds=config.poll_interval)


def status_now(config: Config) -> Status:
    """Read how everything stands at this moment; Heroku is not asked.

    Raises:
        StoreError: the state cannot be read.
    """
    running = daemon_runs(config.state_dir)
    store = Store.read_only(config.state_dir / "state.db")
    with contextlib.nullcontext() if store is None else store:
        return status_of(config, store, datetime.now(UTC), running=running)


def status_of(config: Config, store: Store | None, now: datetime, *, running: bool) -> Status:
    """Read how everything stands.

    Args:
        config: says what has yet to be asked for.
        store: the state; None when there is none yet.
        now: the moment, UTC.
        running: whether the daemon runs.

    Raises:
        StoreError: the state cannot be read.
    """
    if store is None:
        return Status(_with_new_ones(config, []), running)
    notes, accounts = store.notes(), {account.name for account in config.accounts}
    databases = _with_new_ones(config, store.databases())
    alerts = store.alerts()
    alerts += _gone(databases, {trouble.subject for trouble in alerts}, now)
    alerts += _idle(config, Heartbeat.read(notes), now, running=running)
    if not running:  # the configuration at hand could be read, and nobody goes by another one
        alerts = [alert for alert in alerts if alert.subject.about is not About.CONFIG]
    return Status(
        databases,
        running,
        # What a person did on purpose comes first: it may be forgotten most easily.
        sorted(alerts, key=lambda alert: (alert.kind != RolledBack.__name__, alert.since)),
        store.latest(),
        notes.get("notifications", ""),
        [cost for cost in store.requests() if cost.account in accounts],
        _listed(notes.get("warnings", "[]")),
    )


def _gone(databases: list[DatabaseState], known: set[Subject], now: datetime) -> list[Alert]:
    """Databases that Heroku no longer shows: shown as such, without a notice for each."""
    return [
        Alert(
            Subject(About.DATABASE, state.key),
            state.label,
            "Gone",
            f"{state.label} is no longer on Heroku, or not visible to this account",
            "`pgherald check --prune` removes its logins from the clients.",
            state.looked_at or now,
            told=True,
        )
        for state in databases
        if state.phase == Phase.GONE and Subject(About.DATABASE, state.key) not in known
    ]


def _idle(
    config: Config, heartbeat: Heartbeat | None, now: datetime, *, running: bool
) -> list[Alert]:
    """A daemon that should run and does not, or does not do its work."""
    if heartbeat is None:
        return []
    seen_at = heartbeat.swept_at or heartbeat.started_at
    if not running:
        title = "The pgherald daemon is not running"
        advice = (
            "Start it: `pgherald service install`, or `pgherald run` in a terminal. If none is to "
            "run: `pgherald service uninstall`."
        )
        kind, troubled = STOPPED, heartbeat.expected
    else:
        title = "The pgherald daemon has not asked Heroku for a while"
        advice = (
            "Start it anew: `pgherald service install`, or where you started it in a terminal. "
            "Its log says what holds it up."
        )
        kind = "SweepOverdue"
        # A sweep that is still to come is one from before the clock was set back.
        troubled = abs(now - seen_at) > timedelta(seconds=_INTERVALS * config.poll_interval)
    return [
        Alert(Subject(About.DAEMON), "pgherald", kind, title, advice, seen_at, told=True)
    ] * troubled


def _listed(text: str) -> list[str]:
    with contextlib.suppress(ValueError):  # somebody has tampered with it
        found = json.loads(text)
        return [str(each) for each in found] if isinstance(found, list) else []
    return []


def _with_new_ones(config: Config, seen: list[DatabaseState]) -> list[DatabaseState]:
    """The databases as pgherald knows them, and those that it has yet to look at."""
    known = {state.key for state in seen}
    new = [
        DatabaseState(database.key, database.name, None, None, None, proven=False)
        for database in config.databases
        if database.key not in known
    ]
    return sorted([*seen, *new], key=lambda state: state.key)


def as_json(config: Config, status: Status) -> dict[str, Any]:
    """The shape for all readers; moments are still `datetime`s.

    Args:
        config: the configuration.
        status: how everything stands with it.
    """
    return {
        "ok": not status.alerts,
        "running": status.running,
        "databases": [_database(config, status, database) for database in status.databases],
        "clients": [
            {
                "kind": client.kind,
                "path": str(client.path),
                "ok": not status.in_trouble(Subject(About.CLIENT, client.path)),
            }
            for client in config.clients
        ],
        "troubles": [
            {"subject": each.subject, "name": each.label, **fields(each, *_TROUBLE)}
            for each in status.alerts
        ],
        "requests": [fields(cost, *_REQUESTS) for cost in status.requests],
        "notifications": status.notifications or None,
        "warnings": status.warnings,
    }


def _database(config: Config, status: Status, database: DatabaseState) -> dict[str, Any]:
    record = status.latest.get(database.key)
    return {
        "key": str(database.key),
        "name": database.label,
        "current": status.is_current(database),
        "looked_at": database.looked_at,
        "next_look_at": status.next_look(config, database),
        **fields(database, "current_at", "proven", "proven_at"),
        "last_rotation_at": None if record is None else record.rotation.seen_at,
        "clients": status.clients(config, database),
    }
