"""The state file as SQLite has it: opened, followed, and begun anew where it is damaged."""

from __future__ import annotations

import contextlib
import functools
import sqlite3
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Concatenate, Final, ParamSpec, Self, TypeVar

from pgherald.errors import FileTrouble, StoreError
from pgherald.files import Files
from pgherald.store import damage, records, schema
from pgherald.store.damage import Damaged
from pgherald.store.fingerprints import Fingerprints
from pgherald.store.schema import SCHEMA_VERSION

S = TypeVar("S", bound="StateFile")
T = TypeVar("T")
P = ParamSpec("P")

#: Rotations kept; at one a day for forty databases this is half a year.
HISTORY_LIMIT: Final = 8_000

#: How long one process waits for another's transaction, in seconds.
_BUSY_TIMEOUT: Final = 10.0

_ADVICE: Final = "Check that the folder can be written and the disk is not full."

_HELD: Final = "Close the program that has it open; pgherald goes on by itself."


def outliving_damage(
    method: Callable[Concatenate[S, P], T],
) -> Callable[Concatenate[S, P], T]:
    """A method that goes on with a new file where the old one is damaged, or was replaced."""

    @functools.wraps(method)
    def call(self: S, /, *args: P.args, **kwargs: P.kwargs) -> T:
        return self.outlive(lambda: method(self, *args, **kwargs))

    return call


class StateFile:
    """The state file, opened; `Store` says what is in it.

    Every method is one short transaction, so that several processes may share the file. One
    that finds the file damaged sets it aside and goes on with a new one; so does one that finds
    that another process has done so.

    Raises:
        StoreError: when the file cannot be read or written; names it. `damage.Damaged` where
            it is damaged and was opened for reading alone.
    """

    def __init__(
        self, path: Path, connection: sqlite3.Connection, files: Files | None = None
    ) -> None:
        self.path = path
        #: What is to be told when the file had to be started afresh.
        self.afresh: StoreError | None = None
        #: Called when that happens later than in `open`.
        self.on_afresh: Callable[[StoreError], None] | None = None
        #: Called after each change that this process makes.
        self.on_change: Callable[[], None] | None = None
        self._connection = connection
        self._files = files
        self._identity = _identity(path)
        self._prints = Fingerprints(b"")

    @classmethod
    def open(cls, path: Path, files: Files) -> Self:
        """Open the state file for reading and writing, and make it when it is not there.

        A file that is no state of ours is moved aside, next to itself, never deleted:
        all that it held can be seen again at Heroku and in the clients, save the history.
        """
        with files.lock(path):
            files.sweep(path)
            return cls._open_or_begin(path, files)

    @classmethod
    def _open_or_begin(cls, path: Path, files: Files) -> Self:
        """Open it, or set it aside and begin anew: the one way to do so. Under its lock."""
        way = damage.in_the_way(path)
        if path not in way:
            for place in way:
                files.make_way(place)
            with contextlib.suppress(Damaged):
                return cls._open(path, files)
        aside = damage.set_aside(path, files)
        store = cls._open(path, files)
        store.begun_anew(aside)
        return store

    def begun_anew(self, aside: Path) -> None:
        """Take over what can still be read in the file whose place this one has taken."""
        rows = damage.history_of(aside)
        with said_of(self.path), _transaction(self._connection):
            insert_rotations(self._connection, rows)
        lost = "Its history was saved." if rows else "Only history is lost."
        self.afresh = StoreError(
            "pgherald's state file was damaged and has been started afresh",
            f"The old one is kept beside it: {aside}. {lost} Delete it, and this message is gone.",
        )

    @classmethod
    def _open(cls, path: Path, files: Files) -> Self:
        if _identity(path) is None:
            damage.clear_beside(path, files)
            # SQLite would create it with the umask's mode.
            files.write_private(path, b"")
        with said_of(path):
            connection = sqlite3.connect(path, timeout=_BUSY_TIMEOUT, isolation_level=None)
            store = cls(path, connection, files)
            try:
                store._prepare()
            except BaseException:
                connection.close()
                raise
        return store

    @classmethod
    def read_only(cls, path: Path, within: float = _BUSY_TIMEOUT) -> Self | None:
        """Open the state file for reading alone; None when there is none yet.

        Args:
            path: the file.
            within: seconds that another program is waited for that holds it.
        """
        if damage.in_the_way(path):
            raise Damaged(path)
        if not path.exists():
            return None
        with said_of(path):
            # Not `mode=ro`: what a killed daemon left half done must be rolled back, by
            # whoever opens the file next.
            connection = sqlite3.connect(
                f"{path.absolute().as_uri()}?mode=rw",
                uri=True,
                timeout=within,
                isolation_level=None,
            )
            store = cls(path, connection)
            store._set_up()
            if schema.version_of(connection) == 0:
                connection.close()
                return None
            connection.execute("PRAGMA query_only = 1")
        return store

    def _set_up(self) -> None:
        self._connection.row_factory = sqlite3.Row
        self._connection.text_factory = records.text

    def _prepare(self) -> None:
        self._set_up()
        # A file that says of itself that it keeps another kind of journal is damaged a little.
        self._connection.execute("PRAGMA journal_mode = DELETE")
        # Losing the last status line to a power cut is fine; the clients have their own fsync.
        self._connection.execute("PRAGMA synchronous = NORMAL")
        with _transaction(self._connection):
            version = schema.version_of(self._connection)
            if version > SCHEMA_VERSION:
                raise StoreError(
                    f"{self.path} was written by a newer pgherald",
                    "Update pgherald, or set state_dir to another folder.",
                )
            if version == 0:
                schema.create(self._connection)
            elif version < SCHEMA_VERSION:
                schema.upgrade(self._connection, version)
            else:
                schema.set_version(self._connection)
            damage.verify(self._connection)
            self._prints = Fingerprints(schema.fingerprint_key(self._connection))

    def verify(self) -> None:
        """Make sure that the file is whole; for whoever opened it for reading alone.

        Raises:
            StoreError: it cannot be read; `damage.Damaged` where it is damaged.
        """
        with said_of(self.path):
            damage.verify(self._connection)

    def outlive(self, work: Callable[[], T]) -> T:
        """Do it; once more with a new file, where this one turns out to be damaged.

        Raises:
            StoreError: it cannot be done.
        """
        if self._files is None:
            return work()
        try:
            # Another process may have replaced it.
            if _identity(self.path) != self._identity:
                self._open_again(self._files)
            return work()
        except Damaged:
            self._open_again(self._files)
            return work()

    def _open_again(self, files: Files) -> None:
        """Take over the file that is there; the one that was open is damaged, or gone."""
        self._connection.close()
        self._identity = None
        try:
            with files.lock(self.path):
                new = self._open_or_begin(self.path, files)
                self._identity = _identity(self.path)
        except FileTrouble as exc:
            raise StoreError(exc.title, exc.advice) from exc
        self._connection, self._prints = new._connection, new._prints  # noqa: SLF001 – another of us
        if new.afresh is not None:
            self.afresh = new.afresh
            if self.on_afresh is not None:
                self.on_afresh(new.afresh)

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
        """One transaction."""
        with said_of(self.path), _transaction(self._connection):
            yield self._connection
        if self.on_change is not None:
            self.on_change()

    def _rows(self, sql: str, values: tuple[object, ...] = ()) -> list[sqlite3.Row]:
        """What a query finds."""
        with said_of(self.path):
            return self._connection.execute(sql, values).fetchall()


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


def insert_rotations(
    connection: sqlite3.Connection, rows: Iterable[tuple[object, ...]]
) -> list[int]:
    """Add rows of `rotation`, all but their number; the numbers that they got."""
    ids = [
        connection.execute(
            "INSERT INTO rotation"
            " (key, label, changed, seen_at, proven_at, written_at, release, clients)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?) RETURNING id",
            row,
        ).fetchone()[0]
        for row in rows
    ]
    # By their count, not by their number: a damaged one may be any.
    connection.execute(
        "DELETE FROM rotation WHERE id <="
        " (SELECT id FROM rotation ORDER BY id DESC LIMIT 1 OFFSET ?)",
        (HISTORY_LIMIT,),
    )
    return ids


def _identity(path: Path) -> tuple[int, int] | None:
    """Which file is there; None for none."""
    try:
        found = path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as exc:
        raise StoreError(f"{path} cannot be used: {exc.strerror}", _ADVICE) from exc
    return found.st_dev, found.st_ino


@contextlib.contextmanager
def said_of(path: Path) -> Iterator[None]:
    """What SQLite says, as an error of ours: `Damaged` if it is damage."""
    try:
        yield
    except (sqlite3.Error, UnicodeDecodeError) as exc:
        if damage.proven(path, exc):
            raise Damaged(path) from exc
        advice = _HELD if damage.is_held(exc) else _ADVICE
        raise StoreError(f"{path} cannot be used: {exc}", advice) from exc
    except (UnicodeEncodeError, OverflowError) as exc:
        raise StoreError(f"{path} cannot hold a value: {type(exc).__name__}") from exc
