"""What pgherald remembers between runs: state, history, fingerprints. No secret, ever.

One SQLite file in the state folder. It answers `status` and `history` while the daemon
runs, and it tells a rotation from a client that merely lost its entry: a login is kept as
one keyed hash per field, made with a key that never leaves this file, so that nobody who
reads the file learns a host, a user or a password from it.
"""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import json
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Final, Self, TypeVar

from pgherald.errors import StoreError
from pgherald.files import Files
from pgherald.model import LOGIN_FIELDS, Database, DatabaseKey, Entry, Login, Rotation
from pgherald.secret import Secret
from pgherald.store import records, schema
from pgherald.store.records import DatabaseState, Record, Trouble, text_of
from pgherald.store.schema import SCHEMA_VERSION

T = TypeVar("T")

#: Rotations kept; at one a day for forty databases this is half a year.
HISTORY_LIMIT: Final = 8_000

#: How long one process waits for another's transaction, in seconds.
_BUSY_TIMEOUT: Final = 10.0


class Store:
    """The state file.

    Every method is one short transaction, so that several processes may share the file.

    Raises:
        StoreError: when the file cannot be read or written; names it.
    """

    def __init__(self, path: Path, connection: sqlite3.Connection) -> None:
        self.path = path
        #: What is to be told when the file had to be started afresh.
        self.afresh: StoreError | None = None
        #: Called after each change that this process makes.
        self.on_change: Callable[[], None] | None = None
        self._connection = connection
        self._key = b""

    @classmethod
    def open(cls, path: Path, files: Files) -> Self:
        """Open the state file for reading and writing, and make it when it is not there.

        A file that is no state of ours is moved aside, next to itself, never deleted:
        all that it held can be seen again at Heroku and in the clients, save the history.
        """
        try:
            return cls._open(path, files)
        except sqlite3.DatabaseError as exc:
            if isinstance(exc, sqlite3.OperationalError):
                raise _store_error(path, exc) from exc
        files.set_aside(path, suffix=".damaged")
        try:
            store = cls._open(path, files)
        except sqlite3.Error as exc:
            raise _store_error(path, exc) from exc
        store.afresh = StoreError(
            "pgherald's state file was damaged and has been started afresh",
            f"The old one is kept beside it: {path}.damaged. Only history is lost.",
        )
        return store

    @classmethod
    def _open(cls, path: Path, files: Files) -> Self:
        if not path.exists():
            # SQLite would create it with the umask's mode.
            files.write_private(path, b"")
        connection = sqlite3.connect(path, timeout=_BUSY_TIMEOUT, isolation_level=None)
        connection.row_factory = sqlite3.Row
        store = cls(path, connection)
        try:
            store._prepare()
        except BaseException:
            connection.close()
            raise
        return store

    @classmethod
    def read_only(cls, path: Path) -> Self | None:
        """Open the state file for reading alone; None when there is none yet."""
        if not path.exists():
            return None
        try:
            # Not `mode=ro`: what a killed daemon left half done must be rolled back, by
            # whoever opens the file next.
            connection = sqlite3.connect(
                f"{path.absolute().as_uri()}?mode=rw",
                uri=True,
                timeout=_BUSY_TIMEOUT,
                isolation_level=None,
            )
            connection.row_factory = sqlite3.Row
            store = cls(path, connection)
            if store._version() == 0:
                connection.close()
                return None
            connection.execute("PRAGMA query_only = 1")
        except sqlite3.Error as exc:
            raise _store_error(path, exc) from exc
        return store

    def _version(self) -> int:
        return int(self._connection.execute("PRAGMA user_version").fetchone()[0])

    def _prepare(self) -> None:
        # Losing the last status line to a power cut is fine; the clients have their own fsync.
        self._connection.execute("PRAGMA synchronous = NORMAL")
        with _transaction(self._connection):
            version = self._version()
            if version > SCHEMA_VERSION:
                raise StoreError(
                    f"{self.path} was written by a newer pgherald",
                    "Update pgherald, or set state_dir to another folder.",
                )
            if version == 0:
                schema.create(self._connection)
            elif version < SCHEMA_VERSION:
                schema.upgrade(self._connection, version)
        row = self._connection.execute(
            "SELECT value FROM about WHERE name = 'fingerprint_key'"
        ).fetchone()
        if row is None:
            raise sqlite3.DatabaseError("no fingerprint key")
        self._key = bytes.fromhex(row[0])

    def close(self) -> None:
        """Close the file."""
        self._connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        self.close()

    @contextlib.contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        try:
            with _transaction(self._connection):
                yield self._connection
        except sqlite3.Error as exc:
            raise _store_error(self.path, exc) from exc
        if self.on_change is not None:
            self.on_change()

    def _rows(self, sql: str, values: tuple[object, ...] = ()) -> list[sqlite3.Row]:
        try:
            return self._connection.execute(sql, values).fetchall()
        except sqlite3.Error as exc:
            raise _store_error(self.path, exc) from exc

    # --- logins, as fingerprints -------------------------------------------------------

    def _fingerprint(self, login: Login) -> dict[str, str]:
        return {
            field: hmac.new(
                self._key, f"{field}\0{_plain(getattr(login, field))}".encode(), hashlib.sha256
            ).hexdigest()
            for field in LOGIN_FIELDS
        }

    def changed(self, key: DatabaseKey, login: Login) -> tuple[str, ...] | None:
        """Which fields differ from the login last recorded; None when none was recorded."""
        rows = self._rows("SELECT fingerprint FROM database WHERE key = ?", (str(key),))
        if not rows or rows[0][0] is None:
            return None
        old = json.loads(rows[0][0])
        new = self._fingerprint(login)
        return tuple(field for field in LOGIN_FIELDS if old.get(field) != new[field])

    # --- databases ---------------------------------------------------------------------

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
        """Every client holds these logins; without `at`, only some of the clients do.

        `proven` tells when a connection proved one; without it an earlier proof of the
        very same login still counts, and one of another login does not.
        """
        with self._writing() as connection:
            connection.executemany(
                "INSERT INTO database (key, label, fingerprint, current_at, proven_at, proven)"
                " VALUES (:key, :label, :print, :at, :proven_at, :proven_at IS NOT NULL)"
                " ON CONFLICT (key) DO UPDATE SET label = :label, current_at = coalesce(:at, current_at),"
                " proven_at = coalesce(:proven_at, proven_at),"
                " proven = CASE WHEN :proven_at IS NOT NULL THEN 1"
                "               WHEN fingerprint = :print THEN proven ELSE 0 END,"
                " fingerprint = :print",
                [
                    {
                        "key": str(entry.key),
                        "label": entry.database.name,
                        "print": json.dumps(self._fingerprint(entry.login)),
                        "at": text_of(at),
                        "proven_at": text_of(proven.get(entry.key)),
                    }
                    for entry in entries
                ],
            )

    def databases(self) -> list[DatabaseState]:
        """All databases ever looked at, by key."""
        rows = self._rows("SELECT * FROM database ORDER BY key")
        return _readable(rows, records.database_state)

    def forget(self, key: DatabaseKey) -> None:
        """The person no longer wants this database kept; its history stays."""
        with self._writing() as connection:
            connection.execute("DELETE FROM database WHERE key = ?", (str(key),))
            connection.execute("DELETE FROM trouble WHERE subject = ?", (f"database:{key}",))

    # --- history -----------------------------------------------------------------------

    def add_rotation(self, rotation: Rotation, label: str, clients: tuple[str, ...]) -> None:
        """Keep one rotation."""
        self.add_rotations([(rotation, label)], clients)

    def add_rotations(
        self, rotations: Iterable[tuple[Rotation, str]], clients: tuple[str, ...]
    ) -> None:
        """Keep rotations, and let the oldest beyond `HISTORY_LIMIT` go.

        Args:
            rotations: each with what its database is called.
            clients: labels of the clients they were written to.
        """
        with self._writing() as connection:
            connection.executemany(
                "INSERT INTO rotation"
                " (key, label, changed, seen_at, proven_at, written_at, release, clients)"
                " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
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
            connection.execute(
                "DELETE FROM rotation WHERE id <= (SELECT max(id) FROM rotation) - ?",
                (HISTORY_LIMIT,),
            )

    def history(self, limit: int = 50, key: DatabaseKey | None = None) -> list[Record]:
        """The latest rotations, newest first; of one database, or of all."""
        rows = self._rows(
            "SELECT * FROM rotation WHERE ?1 IS NULL OR key = ?1 ORDER BY id DESC LIMIT ?2",
            (None if key is None else str(key), limit),
        )
        return _readable(rows, records.record)

    def latest(self) -> dict[DatabaseKey, Record]:
        """The latest rotation of each database."""
        rows = self._rows(
            "SELECT * FROM rotation WHERE id IN (SELECT max(id) FROM rotation GROUP BY key)"
        )
        return {found.rotation.key: found for found in _readable(rows, records.record)}

    # --- troubles ----------------------------------------------------------------------

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

    def clear_trouble(self, subject: str) -> Trouble | None:
        """It works. Returns the trouble that is over, None when there was none."""
        if not self._rows("SELECT 1 FROM trouble WHERE subject = ?", (subject,)):
            return None  # the ordinary case takes no write lock
        with self._writing() as connection:
            row = connection.execute(
                "DELETE FROM trouble WHERE subject = ? RETURNING *", (subject,)
            ).fetchone()
        return None if row is None else records.trouble(row)

    def troubles(self) -> list[Trouble]:
        """All that does not work at the moment, the longest-standing first."""
        rows = self._rows("SELECT * FROM trouble ORDER BY since")
        return _readable(rows, records.trouble)

    # --- rows in pgAdmin's databases -----------------------------------------------------

    def known_rows(self) -> dict[Path, str]:
        """Per configuration database of pgAdmin's what is remembered of its rows."""
        if self._version() < SCHEMA_VERSION:
            return {}  # only looked at, and by a newer pgherald than wrote it
        rows = self._rows("SELECT path, known FROM pgadmin")
        return {Path(row["path"]): row["known"] for row in rows}

    def keep_rows(self, path: Path, known: str) -> None:
        """Remember the rows of one configuration database."""
        with self._writing() as connection:
            connection.execute("INSERT OR REPLACE INTO pgadmin VALUES (?, ?)", (str(path), known))

    # --- notes of the running daemon -----------------------------------------------------

    def note(self, name: str, value: str) -> None:
        """Keep one line about the program itself, such as how the last notification went."""
        with self._writing() as connection:
            connection.execute(
                "INSERT INTO about VALUES (?, ?)"
                " ON CONFLICT (name) DO UPDATE SET value = excluded.value",
                (f"note:{name}", value),
            )

    def notes(self) -> dict[str, str]:
        """All such lines."""
        rows = self._rows("SELECT name, value FROM about WHERE name LIKE 'note:%'")
        return {row["name"].removeprefix("note:"): row["value"] for row in rows}


@contextlib.contextmanager
def _transaction(connection: sqlite3.Connection) -> Iterator[None]:
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        # SQLite may have rolled back by itself; a COMMIT that found a reader has not.
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def _readable(rows: list[sqlite3.Row], read: Callable[[sqlite3.Row], T]) -> list[T]:
    """What the rows say; one that somebody has tampered with says nothing."""
    found: list[T] = []
    for row in rows:
        with contextlib.suppress(ValueError, TypeError):
            found.append(read(row))
    return found


def _store_error(path: Path, exc: sqlite3.Error) -> StoreError:
    return StoreError(
        f"{path} cannot be used: {exc}",
        "Check that the folder can be written and the disk is not full.",
    )


def _plain(value: object) -> str:
    return value.reveal() if isinstance(value, Secret) else str(value)
