"""What pgherald remembers between runs: state, history, fingerprints. No secret, ever.

One SQLite file in the state folder. It answers `status` and `history` while the daemon
runs, and it tells a rotation from a client that merely lost its entry: a login is kept as
one keyed hash per field, made with a key that never leaves this file, so that nobody who
reads the file learns a host, a user or a password from it.

Each operation is written here once, in SQL. `StateFile` does it to the file at once;
`BackgroundStore` does it to a copy in memory at once, and to the file later.
"""

from __future__ import annotations

import contextlib
import json
import sqlite3
from collections.abc import Callable, Collection, Hashable, Iterable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Final, TypeVar

from pgherald.errors import ConfigError, StoreError
from pgherald.model import Database, DatabaseKey, Entry, Login, Rotation, Subject
from pgherald.store import records
from pgherald.store.file import Connection, StateFile, insert_rotations
from pgherald.store.records import Alert, DatabaseState, Record, Requests, row_of

T = TypeVar("T")

_NOTE: Final = "INSERT OR REPLACE INTO about VALUES ('note:' || ?, ?)"

_REQUESTS: Final = "requests:"

_OWNER: Final = "configuration"

#: Seconds that a state file held by another program is waited for, to learn whose it is.
_OWNER_LIMIT: Final = 1.0


class Store(StateFile):
    """What the state file holds. Every method is one short transaction."""

    # --- logins, as fingerprints -------------------------------------------------------

    def mark(self, key: DatabaseKey, login: Login) -> str:
        """One keyed hash of a database's login, by which it is known again."""
        return self.recall(lambda db: db.prints).mark(key, login)

    def changed(self, key: DatabaseKey, login: Login) -> tuple[str, ...] | None:
        """Which fields differ from the login last recorded; None when none was recorded."""
        sql = "SELECT fingerprint FROM database WHERE key = ?"
        found = self._known(sql, lambda row: row["fingerprint"], key)
        prints = self.recall(lambda db: db.prints)
        return prints.differs(found[0], key, login) if found else None

    def connected_at(self, key: DatabaseKey, login: Login) -> datetime | None:
        """When this very login connected last, if it is the one that was recorded."""
        sql = "SELECT * FROM database WHERE key = ?"
        found = [
            state.proven_at for state in self._known(sql, DatabaseState.read, key) if state.proven
        ]
        return found[0] if found and self.changed(key, login) == () else None

    def disproved(self, key: DatabaseKey) -> None:
        """The login that was recorded no longer connects."""
        self._change("UPDATE database SET proven = 0 WHERE key = ?", [row_of(key)])

    # --- databases ---------------------------------------------------------------------

    def looked(self, databases: Iterable[Database], at: datetime) -> None:
        """Heroku answered for these databases."""
        rows = [row_of(database.key, database.name, at) for database in databases]
        self._change(
            "INSERT INTO database (key, label, looked_at) VALUES (?1, ?2, ?3)"
            " ON CONFLICT (key) DO UPDATE SET label = ?2, looked_at = ?3",
            rows,
            ("looked", *(row[0] for row in rows)),
        )

    def keep(
        self, key: DatabaseKey, phase: str, clients: Mapping[str, str], label: str = ""
    ) -> None:
        """Keep a database's phase, and one word for each client's path, where that is new.

        The label is for one that is not known yet.
        """
        new, sql = (phase, dict(clients)), "SELECT * FROM database WHERE key = ?"
        if self._known(sql, records.phase_and_clients, key) != [new]:
            self._change(
                "INSERT INTO database (key, label, phase, clients) VALUES (?1, ?4, ?2, ?3)"
                " ON CONFLICT (key) DO UPDATE SET phase = ?2, clients = ?3",
                [row_of(key, *new, label or str(key))],
                ("keep", key),
            )

    def databases(self) -> list[DatabaseState]:
        """All databases ever looked at, by key."""
        return self._all("SELECT * FROM database ORDER BY key", DatabaseState.read)

    def recalled(self) -> list[DatabaseState]:
        """The same, without waiting for the file."""
        return self._known("SELECT * FROM database ORDER BY key", DatabaseState.read)

    def forget(self, key: DatabaseKey) -> None:
        """The person no longer wants this database kept; its history stays."""
        self._change("DELETE FROM database WHERE key = ?", [row_of(key)])
        self._change("DELETE FROM trouble WHERE subject = ?", [(f"database:{key}",)])

    # --- history -----------------------------------------------------------------------

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
        entries = tuple(entries)
        rows = [records.rotation_row(rotation, label, clients) for rotation, label in rotations]

        def change(db: Connection) -> None:
            ids = insert_rotations(db, rows)
            untold = [(f"untold:{number}",) for number in ids]
            db.executemany("INSERT OR REPLACE INTO about VALUES (?, '')", untold)
            prints = db.prints
            for entry in entries:
                sealed = prints.of(entry.key, entry.login)
                unsealed = prints.of(entry.key, entry.login, sealed=False)
                proven_at = proven.get(entry.key)
                db.execute(
                    "INSERT INTO database (key, label, fingerprint, current_at, proven_at, proven)"
                    " VALUES (?1, ?2, ?3, ?5, ?6, ?6 IS NOT NULL)"
                    " ON CONFLICT (key) DO UPDATE SET label = ?2, fingerprint = ?3,"
                    " current_at = coalesce(?5, current_at), proven_at = coalesce(?6, proven_at),"
                    " proven = CASE WHEN ?6 IS NOT NULL THEN 1"
                    "               WHEN fingerprint IN (?3, ?4) THEN proven ELSE 0 END",
                    row_of(entry.key, entry.database.name, sealed, unsealed, at, proven_at),
                )

        replaceable = at is not None and not proven and not rows
        about = ("current", *(entry.key for entry in entries))
        self.write(change, about if replaceable else None)

    def untold(self) -> list[Record]:
        """Rotations that nobody is known to have been told, oldest first."""
        sql = "SELECT * FROM rotation WHERE 'untold:' || id IN (SELECT name FROM about) ORDER BY id"
        return self._all(sql, Record.read)

    def told(self, keys: Collection[DatabaseKey]) -> None:
        """The person was told of the rotations of these databases."""
        self._change(
            "DELETE FROM about WHERE name IN (SELECT 'untold:' || id FROM rotation WHERE key = ?)",
            [row_of(key) for key in keys],
        )

    def history(self, limit: int = 50, key: DatabaseKey | None = None) -> list[Record]:
        """The latest rotations, newest first; of one database, or of all."""
        sql = "SELECT * FROM rotation WHERE ?1 IS NULL OR key = ?1 ORDER BY id DESC LIMIT ?2"
        return self._all(sql, Record.read, key, limit)

    def latest(self) -> dict[DatabaseKey, Record]:
        """The latest rotation of each database."""
        sql = "SELECT * FROM rotation WHERE id IN (SELECT max(id) FROM rotation GROUP BY key)"
        return {record.rotation.key: record for record in self._all(sql, Record.read)}

    # --- troubles ----------------------------------------------------------------------

    def put_alert(self, trouble: Alert) -> None:
        """Keep a trouble, in the place of an earlier one of the same subject."""
        sql = (
            "INSERT OR REPLACE INTO trouble (subject, label, kind, title, advice, since, told)"
            " VALUES (?, ?, ?, ?, ?, ?, ?)"
        )
        self._change(sql, [trouble.row()], ("trouble", trouble.subject))

    def clear_alert(self, subject: Subject) -> Alert | None:
        """It works. Returns the trouble that is over, None when there was none."""
        found = self.alert(subject)
        if found is not None:  # the ordinary case takes no write lock
            sql = "DELETE FROM trouble WHERE subject = ?"
            self._change(sql, [(subject,)], ("trouble", subject))
        return found

    def alert(self, subject: Subject) -> Alert | None:
        """What does not work about a subject; None when all does."""
        found = self._known("SELECT * FROM trouble WHERE subject = ?", Alert.read, subject)
        return found[0] if found else None

    def alerts(self) -> list[Alert]:
        """All that does not work at the moment, the longest-standing first."""
        return self._known("SELECT * FROM trouble ORDER BY since", Alert.read)

    # --- rows in pgAdmin's databases -----------------------------------------------------

    def known_rows(self) -> dict[Path, str]:
        """Per configuration database of pgAdmin's what is recorded of its rows; a copy of it."""
        if not self._known("SELECT 1 FROM sqlite_master WHERE name = 'pgadmin'", tuple):
            return {}  # only read, and by a newer pgherald than wrote it
        rows = self._known("SELECT * FROM pgadmin", lambda row: (str(row[0]), str(row[1])))
        return {Path(path): known for path, known in rows}

    def keep_rows(self, path: Path, known: str) -> None:
        """Keep a copy of what is recorded of the rows of one configuration database."""
        sql = "INSERT OR REPLACE INTO pgadmin VALUES (?, ?)"
        self._change(sql, [(str(path), known)], ("rows", path))

    # --- notes of the running daemon -----------------------------------------------------

    def note(self, name: str, value: str) -> None:
        """Keep one line about the program itself, such as how the last notification went."""
        if self.notes().get(name) != value:
            self._change(_NOTE, [(name, value)], ("note", name))

    def notes(self) -> dict[str, str]:
        """All such lines."""
        sql = "SELECT substr(name, 6), value FROM about WHERE name LIKE 'note:%'"
        return dict(self._known(sql, lambda row: (str(row[0]), str(row[1]))))

    def exchange(self, name: str, change: Callable[[str | None], str]) -> None:
        """Replace a note by what `change` makes of it, with no other process in between."""

        def exchanged(db: Connection) -> None:
            sql = "SELECT value FROM about WHERE name = 'note:' || ?"
            row = db.execute(sql, (name,)).fetchone()
            db.execute(_NOTE, (name, change(None if row is None else row[0])))

        self.write(exchanged)

    def keep_requests(self, requests: Requests) -> None:
        """Keep what an account cost, in the place of what was kept of it before."""
        self.note(_REQUESTS + requests.account, requests.note())

    def requests(self) -> list[Requests]:
        """What each account cost, by its name."""
        found: list[Requests] = []
        for name, value in sorted(self.notes().items()):
            if name.startswith(_REQUESTS):
                with contextlib.suppress(ValueError, TypeError):  # somebody has tampered with it
                    found.append(Requests.read(name.removeprefix(_REQUESTS), value))
        return found

    def claim(self, configuration: Path) -> None:
        """Note that the state is that of this configuration file; see `shared`."""
        self.note(_OWNER, json.dumps(str(configuration)))

    # --- how all of them do it -----------------------------------------------------------

    def _change(self, sql: str, rows: Iterable[tuple[object, ...]], about: Hashable = None) -> None:
        self.write(lambda db: db.executemany(sql, rows), about)

    def _all(self, sql: str, read: Callable[[sqlite3.Row], T], *values: object) -> list[T]:
        return self.read(lambda db: _readable(db.execute(sql, row_of(*values)), read))

    def _known(self, sql: str, read: Callable[[sqlite3.Row], T], *values: object) -> list[T]:
        return self.recall(lambda db: _readable(db.execute(sql, row_of(*values)), read))


def shared(path: Path, configuration: Path) -> ConfigError | None:
    """The error of using another configuration's state; None where it may be used.

    It may where the other configuration file is gone: then it was moved, or replaced. A state
    file that says nothing, or cannot be read, is nobody's.

    Args:
        path: the state file.
        configuration: the configuration file; it need not exist yet.
    """
    with contextlib.suppress(StoreError, OSError, KeyError, TypeError, ValueError):
        store = Store.read_only(path, _OWNER_LIMIT)
        if store is None:
            return None
        with store:
            owner = Path(json.loads(store.notes()[_OWNER]))
        same = configuration.exists() and owner.samefile(configuration)
        if owner.exists() and not same:
            return ConfigError(
                f"{configuration} uses the state folder of another configuration, {owner}",
                advice=f"Give {configuration} a `state_dir` of its own, for example "
                f'`state_dir = "{path.parent}-2"`; or delete {owner} if nobody uses it.',
            )
    return None


def _readable(rows: Iterable[sqlite3.Row], read: Callable[[sqlite3.Row], T]) -> list[T]:
    """What the rows say; one that somebody has tampered with says nothing."""
    found: list[T] = []
    for row in rows:
        with contextlib.suppress(ValueError, TypeError):
            found.append(read(row))
    return found
