"""How everything stands, read from the state, for all readers: `store.status_file` has the shape."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from pgherald.config import ClientSetting, Config
from pgherald.errors import NotYetProven, ProbeFailed
from pgherald.model import DatabaseKey
from pgherald.store import DatabaseState, Record, Store, Trouble
from pgherald.store.requests import Requests, kept
from pgherald.store.status_file import DatabaseShown, Shown

#: What each kind of client is called, as in notices; what people look at all day comes first.
LABELS: Final = {
    "pgadmin": "pgAdmin",
    "pgpass": "psql",
    "service_file": "service file",
    "servers_json": "servers.json",
}

#: How one client stands with one database, the best first.
WORDS: Final = ("current", "old", "failed", "new")

#: As long as a login cannot be proven, the clients keep the old one.
_UNPROVEN: Final = (ProbeFailed.__name__, NotYetProven.__name__)


@dataclass(frozen=True, slots=True)
class Status:
    """How everything stands.

    Attributes:
        databases: those that were looked at, and those that are still to be, by key.
        troubles: what does not work, the longest-standing first.
        latest: the latest rotation of each database.
        notifications: why the latest notice could not be shown; empty when it could.
        requests: what each account cost.
        warnings: what is left alone in the clients, and its like: it asks for no change.
    """

    databases: list[DatabaseState]
    troubles: list[Trouble] = field(default_factory=list)
    latest: Mapping[DatabaseKey, Record] = field(default_factory=dict)
    notifications: str = ""
    requests: list[Requests] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    def is_current(self, database: DatabaseState) -> bool:
        """Whether every client was last seen to hold this database's login."""
        return database.current_at is not None and not self.in_trouble(f"database:{database.key}")

    def in_trouble(self, subject: str) -> bool:
        """Whether something does not work with it."""
        return any(trouble.subject == subject for trouble in self.troubles)

    def clients(self, config: Config, database: DatabaseState) -> dict[str, str]:
        """How each kind of client stands with a database: label to one of `WORDS`.

        Several clients of one kind are as good as the worst of them.
        """
        found: dict[str, str] = {}
        for setting in config.clients:
            label, word = LABELS[setting.kind], self._word(setting, database)
            found[label] = max(word, found.get(label, word), key=WORDS.index)
        return {label: found[label] for label in LABELS.values() if label in found}

    def _word(self, setting: ClientSetting, database: DatabaseState) -> str:
        if not database.written:
            return "new"
        for trouble in self.troubles:
            if trouble.subject in ("commit", f"client:{setting.path}"):
                return "failed"
            refused = trouble.title.startswith(setting.label or LABELS[setting.kind])
            if trouble.subject == f"fit:{database.key}" and refused:
                return "failed"
            if trouble.subject == f"database:{database.key}" and trouble.kind in _UNPROVEN:
                return "old"
        return "current"

    def next_look(self, config: Config, database: DatabaseState) -> datetime | None:
        """When a running daemon looks again, UTC; None when nobody knows."""
        waits = self.in_trouble(f"account:{database.key.account}")
        if waits or database.looked_at is None:
            return None
        return database.looked_at + timedelta(seconds=config.poll_interval)


def status_of(config: Config, store: Store | None) -> Status:
    """Read how everything stands.

    Args:
        config: tells what has yet to be looked at.
        store: the state; None when there is none yet.

    Raises:
        StoreError: the state cannot be read.
    """
    if store is None:
        return Status(_with_new_ones(config, []))
    notes, accounts = store.notes(), {account.name for account in config.accounts}
    return Status(
        _with_new_ones(config, store.databases()),
        store.troubles(),
        store.latest(),
        notes.get("notifications", ""),
        [cost for cost in kept(notes) if cost.account in accounts],
        _listed(notes.get("warnings", "[]")),
    )


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


def as_json(config: Config, status: Status, *, running: bool) -> Shown:
    """The shape for all readers; moments are still `datetime`s.

    Args:
        config: the configuration.
        status: how everything stands with it.
        running: whether the daemon runs.
    """
    return {
        "ok": not status.troubles,
        "running": running,
        "databases": [
            _database(config, status, database, running=running) for database in status.databases
        ],
        "clients": [
            {
                "kind": client.kind,
                "path": str(client.path),
                "ok": not status.in_trouble(f"client:{client.path}"),
            }
            for client in config.clients
        ],
        "troubles": [
            {
                "subject": trouble.subject,
                "name": trouble.label,
                "kind": trouble.kind,
                "title": trouble.title,
                "advice": trouble.advice,
                "since": trouble.since,
            }
            for trouble in status.troubles
        ],
        "requests": [
            {
                "account": cost.account,
                "last_hour": cost.last_hour,
                "allowance": cost.allowance,
                "remaining": cost.remaining,
                "at": cost.at,
            }
            for cost in status.requests
        ],
        "notifications": status.notifications or None,
        "warnings": status.warnings,
    }


def _database(
    config: Config, status: Status, database: DatabaseState, *, running: bool
) -> DatabaseShown:
    record = status.latest.get(database.key)
    return {
        "key": str(database.key),
        "name": database.label,
        "current": status.is_current(database),
        "looked_at": database.looked_at,
        "next_look_at": status.next_look(config, database) if running else None,
        "current_at": database.current_at,
        "proven": database.proven,
        "proven_at": database.proven_at,
        "last_rotation_at": None if record is None else record.rotation.seen_at,
        "clients": status.clients(config, database),
    }
