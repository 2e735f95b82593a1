"""The state file as SQLite has it: opened, read, written, and begun anew where it is damaged."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Callable, Hashable, Iterable, Iterator
from pathlib import Path
from typing import Final, Self, TypeVar

from pgherald.errors import FileTrouble, StoreError
from pgherald.files import Files
from pgherald.store import damage, records, schema
from pgherald.store.damage import Damaged, reported
from pgherald.store.records import Fingerprints

T = TypeVar("T")

#: Rotations kept; at one a day for forty databases this is half a year.
HISTORY_LIMIT: Final = 8_000

#: How long one process waits for another's transaction, in seconds.
_BUSY_TIMEOUT: Final = 10.0


class Connection(sqlite3.Connection):
    """A connection to the state file, or to a copy of it in memory."""

    @property
    def prints(self) -> Fingerprints:
        """Makes and reads the fingerprints that are in it."""
        return Fingerprints(schema.fingerprint_key(self))

    def __del__(self) -> None:
        self.close()  # a copy is of use until nobody knows it any more


def connect(place: str, within: float = _BUSY_TIMEOUT) -> Connection:
    """Open a database; whoever uses it from several threads has a lock for it."""
    found = sqlite3.connect(
        place,
        uri=True,
        timeout=within,
        isolation_level=None,
        check_same_thread=False,
        factory=Connection,
    )
    found.row_factory = sqlite3.Row
    found.text_factory = records.text
    return found


@contextlib.contextmanager
def transaction(db: sqlite3.Connection) -> Iterator[None]:
    """All or nothing."""
    db.execute("BEGIN IMMEDIATE")
    try:
        yield
        db.execute("COMMIT")
    except BaseException:
        # SQLite may have rolled back by itself; a COMMIT that found a reader has not.
        if db.in_transaction:
            db.execute("ROLLBACK")
        raise


class StateFile:
    """The state file, opened; `Store` knows what is in it.

    Reads and writes are short transactions, so that several processes may share the file. One
    that finds the file damaged sets it aside and goes on with a new one; so does one that finds
    that another process has done so.

    Attributes:
        path: where it is.
        afresh: why it had to be begun anew; None while it had not.
        on_afresh: called when that happens later than in `open`.
        on_change: called after each change that this process makes.

    Raises:
        StoreError: when the file cannot be read or written; names it. `damage.Damaged` where
            it is damaged and was opened for reading alone.
    """

    _db: Connection

    def __init__(self, path: Path, files: Files | None = None) -> None:
        self.path = path
        self.afresh: StoreError | None = None
        self.on_afresh: Callable[[StoreError], None] | None = None
        self.on_change: Callable[[], object] | None = None
        self._files = files
        self._identity: tuple[int, int] | None = None

    @classmethod
    def open(cls, path: Path, files: Files) -> Self:
        """Open the state file for reading and writing, and make it when it is not there.

        A file that is no state of ours is moved aside, next to itself, never deleted:
        all that it held can be seen again at Heroku and in the clients, save the history.
        """
        opened = cls(path, files)
        with files.lock(path):
            files.sweep(path)
            opened._open_or_begin(files)
        return opened

    @classmethod
    def read_only(cls, path: Path, within: float = _BUSY_TIMEOUT) -> Self | None:
        """Open the state file for reading alone; None when there is none yet.

        Args:
            path: the file.
            within: seconds that another program is waited for that holds it.
        """
        if damage.in_the_way(path):
            raise Damaged(path)
        if damage.identity(path) is None:
            return None
        opened = cls(path)
        # Not `mode=ro`: what a killed daemon left half done must be rolled back, by
        # whoever opens the file next.
        with opened._connected(within) as db:
            if schema.version_of(db) == 0:
                db.close()
                return None
            db.execute("PRAGMA query_only = 1")
        return opened

    def _open_or_begin(self, files: Files) -> None:
        """Open it, or set it aside and begin anew: the one way to do so. Under its lock."""
        way = damage.in_the_way(self.path)
        if self.path not in way:
            for place in way:
                files.make_way(place)
            with contextlib.suppress(Damaged):
                self._open_for_writing(files)
                return
        aside = damage.set_aside(self.path, files)
        self._open_for_writing(files)
        rows = damage.history_of(aside)
        with reported(self.path), transaction(self._db):
            insert_rotations(self._db, rows)
        lost = "Its history was saved." if rows else "Only history is lost."
        self.afresh = StoreError(
            "pgherald's state file was damaged and has been started afresh",
            f"The old one is kept beside it: {aside}. {lost} Delete it, and this message is gone.",
        )
        if self.on_afresh is not None:
            self.on_afresh(self.afresh)

    def _open_for_writing(self, files: Files) -> None:
        if damage.identity(self.path) is None:
            damage.clear_beside(self.path, files)
            # SQLite would create it with the umask's mode.
            files.write_private(self.path, b"")
        with self._connected(_BUSY_TIMEOUT) as db:
            # A file that says of itself that it keeps another kind of journal is damaged a little.
            db.execute("PRAGMA journal_mode = DELETE")
            # Losing the last status line to a power cut is fine; the clients have their own fsync.
            db.execute("PRAGMA synchronous = NORMAL")
            with transaction(db):
                version = schema.version_of(db)
                if version > schema.SCHEMA_VERSION:
                    raise StoreError(
                        f"{self.path} was written by a newer pgherald",
                        "Update pgherald, or set state_dir to another folder.",
                    )
                schema.upgrade(db, version)
                damage.verify(db)
        self._identity = damage.identity(self.path)

    @contextlib.contextmanager
    def _connected(self, within: float) -> Iterator[Connection]:
        """Connect anew; whatever goes wrong before the end closes the connection."""
        with reported(self.path):
            db = connect(f"{self.path.absolute().as_uri()}?mode=rw", within)
            try:
                yield db
            except BaseException:
                db.close()
                raise
        self._db = db

    def read(self, query: Callable[[Connection], T]) -> T:
        """Ask the file; once more with a new one, where this one turns out to be damaged."""

        def asked() -> T:
            with reported(self.path):
                return query(self._db)

        if self._files is None:
            return asked()
        try:
            # Another process may have replaced it.
            if damage.identity(self.path) != self._identity:
                self._open_again(self._files)
            return asked()
        except Damaged:
            self._open_again(self._files)
            return asked()

    def recall(self, query: Callable[[Connection], T]) -> T:
        """Ask for something that decisions need: all but the history."""
        return self.read(query)

    def write(self, change: Callable[[Connection], object], about: Hashable = None) -> None:
        """Change the file, in one transaction.

        Args:
            change: does it; may be called several times, on several connections.
            about: an earlier change about the same is superfluous; None for one that never is.
        """

        def work(db: Connection) -> None:
            with transaction(db):
                change(db)

        self.read(work)
        if self.on_change is not None:
            self.on_change()

    def verify(self) -> None:
        """Make sure that the file is whole; for whoever opened it for reading alone."""
        self.read(damage.verify)

    def _open_again(self, files: Files) -> None:
        """Take over the file that is there; the one that was open is damaged, or gone."""
        self._db.close()
        self._identity = None
        try:
            with files.lock(self.path):
                self._open_or_begin(files)
        except FileTrouble as exc:
            raise StoreError(exc.title, exc.advice) from exc

    def close(self) -> None:
        """Close the file."""
        self._db.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def insert_rotations(db: sqlite3.Connection, rows: Iterable[tuple[object, ...]]) -> list[int]:
    """Add rows of `rotation`, all but their number; the numbers that they got."""
    ids = [
        db.execute(
            "INSERT INTO rotation"
            " (key, label, changed, seen_at, proven_at, written_at, release, clients)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?) RETURNING id",
            row,
        ).fetchone()[0]
        for row in rows
    ]
    # By their count, not by their number: a damaged one may be any.
    db.execute(
        "DELETE FROM rotation WHERE id <="
        " (SELECT id FROM rotation ORDER BY id DESC LIMIT 1 OFFSET ?)",
        (HISTORY_LIMIT,),
    )
    return ids
