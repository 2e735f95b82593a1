"""What pgherald remembers between runs: state, history, fingerprints. No secret, ever.

One SQLite file in the state folder. It answers `status` and `history` while the daemon
runs, and it tells a rotation from a client that merely lost its entry: a login is kept as
one keyed hash per field, made with a key that never leaves this file, so that nobody who
reads the file learns a host, a user or a password from it.
"""

from __future__ import annotations

import contextlib
import json
import sqlite3
from collections.abc import Callable, Collection, Iterable, Mapping
from datetime import datetime
from pathlib import Path
from typing import TypeVar

from pgherald.model import Database, DatabaseKey, Entry, Login, Rotation
from pgherald.store import records, schema
from pgherald.store.file import (
    HISTORY_LIMIT,
    StateFile,
    insert_rotations,
    outliving_damage,
    said_of,
)
from pgherald.store.records import DatabaseState, Record, Trouble, text_of

__all__ = ["HISTORY_LIMIT", "Store"]

T = TypeVar("T")


class Store(StateFile):
    """What the state file holds. Every method is one short transaction."""

    # --- logins, as fingerprints -------------------------------------------------------

    def mark(self, key: DatabaseKey, login: Login) -> str:
        """One keyed hash of a database's login, by which it is known again."""
        return self._prints.mark(key, login)

    @outliving_damage
    def changed(self, key: DatabaseKey, login: Login) -> tuple[str, ...] | None:
        """Which fields differ from the login last recorded; None when none was recorded."""
        rows = self._rows("SELECT fingerprint FROM database WHERE key = ?", (str(key),))
        return self._prints.differs(rows[0][0], key, login) if rows else None

    # --- databases ---------------------------------------------------------------------

    @outliving_damage
    def looked(self, databases: Iterable[Database], at: datetime) -> None:
        """Heroku answered for these databases."""
        with self._writing() as connection:
            connection.executemany(
                "INSERT INTO database (key, label, looked_at) VALUES (?, ?, ?)"
                " ON CONFLICT (key) DO UPDATE"
                " SET label = excluded.label, looked_at = excluded.looked_at",
                [(str(database.key), database.name, text_of(at)) for database in databases],
            )

    def current(
        self,
        entries: Iterable[Entry],
        at: datetime | None,
        proven: Mapping[DatabaseKey, datetime | None],
    ) -> None:
        """Every client holds these logins; see `record`."""
        self.record(entries, at, proven)

    @outliving_damage
    def keep(self, key: DatabaseKey, phase: str, clients: Mapping[str, str]) -> None:
        """Keep a database's phase, and one word for each client's path."""
        with self._writing() as connection:
            connection.execute(
                "INSERT INTO database (key, label, phase, clients) VALUES (?1, ?1, ?2, ?3)"
                " ON CONFLICT (key) DO UPDATE"
                " SET phase = excluded.phase, clients = excluded.clients",
                (str(key), phase, json.dumps(dict(clients))),
            )

    @outliving_damage
    def databases(self) -> list[DatabaseState]:
        """All databases ever looked at, by key."""
        rows = self._rows("SELECT * FROM database ORDER BY key")
        return _readable(rows, records.database_state)

    @outliving_damage
    def forget(self, key: DatabaseKey) -> None:
        """The person no longer wants this database kept; its history stays."""
        with self._writing() as connection:
            connection.execute("DELETE FROM database WHERE key = ?", (str(key),))
            connection.execute("DELETE FROM trouble WHERE subject = ?", (f"database:{key}",))

    # --- history -----------------------------------------------------------------------

    def add_rotation(self, rotation: Rotation, label: str, clients: tuple[str, ...]) -> None:
        """Keep one rotation."""
        self.record((), None, {}, [(rotation, label)], clients)

    @outliving_damage
    def record(
        self,
        entries: Iterable[Entry],
        at: datetime | None,
        proven: Mapping[DatabaseKey, datetime | None],
        rotations: Iterable[tuple[Rotation, str]] = (),
        clients: tuple[str, ...] = (),
    ) -> None:
        """Keep what is now in the clients and how it got there, all or nothing.

        The oldest rotations beyond `HISTORY_LIMIT` go. The new ones count as not yet told.

        Args:
            entries: the logins that every client holds; without `at`, that some of them do.
            at: when this was so, UTC.
            proven: when a connection proved one; without it an earlier proof of the very same
                login still counts, and one of another login does not.
            rotations: each with what its database is called.
            clients: labels of the clients that they were written to.
        """
        with self._writing() as connection:
            ids = insert_rotations(
                connection,
                [
                    (
                        str(rotation.key),
                        label,
                        json.dumps(rotation.changed),
                        text_of(rotation.seen_at),
                        text_of(rotation.proven_at),
                        text_of(rotation.written_at),
                        rotation.release,
                        json.dumps(clients),
                    )
                    for rotation, label in rotations
                ],
            )
            connection.executemany(
                "INSERT OR REPLACE INTO about VALUES (?, '')",
                [(f"untold:{number}",) for number in ids],
            )
            connection.executemany(
                "INSERT INTO database (key, label, fingerprint, current_at, proven_at, proven)"
                " VALUES (:key, :label, :print, :at, :proven_at, :proven_at IS NOT NULL)"
                " ON CONFLICT (key) DO UPDATE SET label = :label, current_at = coalesce(:at, current_at),"
                " proven_at = coalesce(:proven_at, proven_at),"
                " proven = CASE WHEN :proven_at IS NOT NULL THEN 1"
                "               WHEN fingerprint IN (:print, :old) THEN proven ELSE 0 END,"
                " fingerprint = :print",
                [
                    {
                        "key": str(entry.key),
                        "label": entry.database.name,
                        "print": self._prints.of(entry.key, entry.login),
                        "old": self._prints.of(entry.key, entry.login, sealed=False),
                        "at": text_of(at),
                        "proven_at": text_of(proven.get(entry.key)),
                    }
                    for entry in entries
                ],
            )

    @outliving_damage
    def untold(self) -> list[Record]:
        """Rotations that nobody is known to have been told, oldest first."""
        rows = self._rows(
            "SELECT * FROM rotation WHERE 'untold:' || id IN (SELECT name FROM about) ORDER BY id"
        )
        return _readable(rows, records.record)

    @outliving_damage
    def told(self, keys: Collection[DatabaseKey]) -> None:
        """The person was told of the rotations of these databases."""
        with self._writing() as connection:
            connection.executemany(
                "DELETE FROM about WHERE name IN"
                " (SELECT 'untold:' || id FROM rotation WHERE key = ?)",
                [(str(key),) for key in keys],
            )

    @outliving_damage
    def history(self, limit: int = 50, key: DatabaseKey | None = None) -> list[Record]:
        """The latest rotations, newest first; of one database, or of all."""
        rows = self._rows(
            "SELECT * FROM rotation WHERE ?1 IS NULL OR key = ?1 ORDER BY id DESC LIMIT ?2",
            (None if key is None else str(key), limit),
        )
        return _readable(rows, records.record)

    @outliving_damage
    def latest(self) -> dict[DatabaseKey, Record]:
        """The latest rotation of each database."""
        rows = self._rows(
            "SELECT * FROM rotation WHERE id IN (SELECT max(id) FROM rotation GROUP BY key)"
        )
        return {found.rotation.key: found for found in _readable(rows, records.record)}

    # --- troubles ----------------------------------------------------------------------

    @outliving_damage
    def put_trouble(self, trouble: Trouble) -> None:
        """Keep a trouble, in the place of an earlier one of the same subject."""
        with self._writing() as connection:
            connection.execute(
                "INSERT OR REPLACE INTO trouble VALUES (?, ?, ?, ?, ?, ?, ?)",
                (
                    trouble.subject,
                    trouble.label,
                    trouble.kind,
                    trouble.title,
                    trouble.advice,
                    text_of(trouble.since),
                    trouble.told,
                ),
            )

    @outliving_damage
    def clear_trouble(self, subject: str) -> Trouble | None:
        """It works. Returns the trouble that is over, None when there was none."""
        if not self._rows("SELECT 1 FROM trouble WHERE subject = ?", (subject,)):
            return None  # the ordinary case takes no write lock
        with self._writing() as connection:
            row = connection.execute(
                "DELETE FROM trouble WHERE subject = ? RETURNING *", (subject,)
            ).fetchone()
        return next(iter(_readable([] if row is None else [row], records.trouble)), None)

    @outliving_damage
    def troubles(self) -> list[Trouble]:
        """All that does not work at the moment, the longest-standing first."""
        rows = self._rows("SELECT * FROM trouble ORDER BY since")
        return _readable(rows, records.trouble)

    # --- rows in pgAdmin's databases -----------------------------------------------------

    @outliving_damage
    def known_rows(self) -> dict[Path, str]:
        """Per configuration database of pgAdmin's what is recorded of its rows; a copy of it."""
        with said_of(self.path):
            if schema.version_of(self._connection) < schema.PGADMIN:
                return {}  # only looked at, and by a newer pgherald than wrote it
        return dict(_readable(self._rows("SELECT path, known FROM pgadmin"), records.known_rows))

    @outliving_damage
    def keep_rows(self, path: Path, known: str) -> None:
        """Keep a copy of what is recorded of the rows of one configuration database."""
        with self._writing() as connection:
            connection.execute("INSERT OR REPLACE INTO pgadmin VALUES (?, ?)", (str(path), known))

    # --- notes of the running daemon -----------------------------------------------------

    @outliving_damage
    def note(self, name: str, value: str) -> None:
        """Keep one line about the program itself, such as how the last notification went."""
        with self._writing() as connection:
            connection.execute(
                "INSERT INTO about VALUES (?, ?)"
                " ON CONFLICT (name) DO UPDATE SET value = excluded.value",
                (f"note:{name}", value),
            )

    @outliving_damage
    def notes(self) -> dict[str, str]:
        """All such lines."""
        rows = self._rows("SELECT name, value FROM about WHERE name LIKE 'note:%'")
        return {row["name"].removeprefix("note:"): str(row["value"]) for row in rows}


def _readable(rows: list[sqlite3.Row], read: Callable[[sqlite3.Row], T]) -> list[T]:
    """What the rows say; one that somebody has tampered with says nothing."""
    found: list[T] = []
    for row in rows:
        with contextlib.suppress(ValueError, TypeError):
            found.append(read(row))
    return found
