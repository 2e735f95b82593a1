"""Damage to the state file: known from what only hinders, set aside, and what is saved from it.

A file that is locked, full, not permitted or on a failing disk is whole, and stays where it is.
Anything else that SQLite complains of is damage if the file says so itself: its pages are
checked, its tables are compared with those that pgherald makes, and so is the count of
rotations. Whoever finds it sets the file aside and begins a new one: `Store` does both, in one
place.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from pgherald.errors import StoreError
from pgherald.files import Files
from pgherald.files.own import DAMAGED
from pgherald.store import records, schema

#: What SQLite keeps beside a file, and reads with it.
_BESIDE: Final = ("-journal", "-wal", "-shm")

#: From about twice as many on SQLite finds no number for another rotation, and says that the
#: disk is full.
_COUNTABLE: Final = 2**62

#: Where the header says which SQLite may write the file: https://www.sqlite.org/fileformat.html#1.3.2
_WRITE_VERSION: Final = 18

#: Codes that say it all.
_SURE: Final = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})

#: Codes of what hinders a file that is whole.
_HINDERED: Final = frozenset({
    sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_PERM, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_NOMEM, sqlite3.SQLITE_AUTH,
    sqlite3.SQLITE_INTERRUPT, sqlite3.SQLITE_PROTOCOL, sqlite3.SQLITE_NOLFS,
})  # fmt: skip


#: Codes of a file that another program holds.
_HELD: Final = frozenset({sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED})

_ADVICE: Final = "Check that the folder can be written and the disk is not full."


class Damaged(StoreError):
    """The state file is damaged, and whoever found out may only read."""

    def __init__(self, path: Path) -> None:
        super().__init__(
            f"pgherald's state file is damaged: {path}",
            "Run: pgherald check. It keeps the damaged file beside a new one.",
        )


class Refused(StoreError):
    """The state file is all right, and cannot hold a value."""


@contextlib.contextmanager
def reported(path: Path) -> Iterator[None]:
    """Raise an error of ours for one of SQLite's: `Damaged` if it is damage."""
    try:
        yield
    except (sqlite3.Error, UnicodeDecodeError) as exc:
        if proven(path, exc):
            raise Damaged(path) from exc
        error = Refused if isinstance(exc, sqlite3.IntegrityError) else StoreError
        held = "Close the program that has it open; pgherald goes on by itself."
        raise error(f"{path} cannot be used: {exc}", held if is_held(exc) else _ADVICE) from exc
    except (UnicodeEncodeError, OverflowError) as exc:
        raise Refused(f"{path} cannot hold a value: {type(exc).__name__}") from exc


def identity(path: Path) -> tuple[int, int] | None:
    """Which file is there; None for none."""
    try:
        found = path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as exc:
        raise StoreError(f"{path} cannot be used: {exc.strerror}", _ADVICE) from exc
    return found.st_dev, found.st_ino


def proven(path: Path, exc: Exception) -> bool:
    """Whether what SQLite complained of is damage."""
    code = getattr(exc, "sqlite_errorcode", None)
    if code is None:
        # Those that are about the file: `verify` raises one, and a name in it may be no text.
        return type(exc) in (sqlite3.DatabaseError, UnicodeDecodeError)
    if code & 0xFF in _SURE:
        return True
    if code & 0xFF in _HINDERED:
        return code & 0xFF == sqlite3.SQLITE_READONLY and _forbids_writing(path)
    try:
        with contextlib.closing(
            sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)
        ) as again:
            verify(again)
    except (sqlite3.Error, UnicodeDecodeError) as found:
        return getattr(found, "sqlite_errorcode", 0) & 0xFF not in _HINDERED
    return False


def is_held(exc: BaseException | None) -> bool:
    """Whether SQLite complained of nothing but another program that holds the file."""
    return isinstance(exc, sqlite3.Error) and getattr(exc, "sqlite_errorcode", 0) & 0xFF in _HELD


def _forbids_writing(path: Path) -> bool:
    """Whether the file says of itself that only a newer SQLite may write it, which none has made."""
    try:
        with path.open("rb") as file:
            head = file.read(_WRITE_VERSION + 1)
    except OSError:
        return False
    return len(head) > _WRITE_VERSION and head[_WRITE_VERSION] not in (1, 2)


def verify(connection: sqlite3.Connection) -> None:
    """Make sure that a file is whole. Takes 5 ms for all rotations that are kept.

    Raises:
        sqlite3.DatabaseError: it is not.
    """
    (_, _, path) = next(iter(connection.execute("PRAGMA database_list")))
    if _forbids_writing(Path(path)):
        raise sqlite3.DatabaseError("its header is damaged")
    said = [str(row[0]) for row in connection.execute("PRAGMA integrity_check(1)")]
    if said != ["ok"]:
        raise sqlite3.DatabaseError(said[0])
    if not schema.fits(connection, schema.version_of(connection)):
        raise sqlite3.DatabaseError("its tables are not pgherald's")
    schema.fingerprint_key(connection)
    newest, counted = connection.execute(
        "SELECT coalesce(max(id), 0), coalesce((SELECT max(seq) FROM sqlite_sequence), 0) FROM rotation"
    ).fetchone()
    if not newest <= counted < _COUNTABLE:
        raise sqlite3.DatabaseError("its rotations are counted wrongly")


def set_aside(path: Path, files: Files) -> Path:
    """Move the file away, with what SQLite keeps beside it; where it is now.

    Nothing of it is applied to the file that takes its place. An earlier damaged one goes.

    Raises:
        FileTrouble: it cannot be moved.
    """
    aside = files.set_aside(path, DAMAGED)
    for name in _BESIDE:
        files.remove_own_tree(aside.with_name(aside.name + name), within=path.parent)
    clear_beside(path, files)
    return aside


def clear_beside(path: Path, files: Files) -> None:
    """Move away what SQLite kept beside a file that is gone."""
    for name in _BESIDE:
        beside = path.with_name(path.name + name)
        if beside.is_symlink() or beside.exists():
            files.rename_own(beside, path.with_name(path.name + DAMAGED + name))


def in_the_way(path: Path) -> list[Path]:
    """What is no file where the state file, or what SQLite keeps beside it, belongs."""
    places = [path, *(path.with_name(path.name + name) for name in _BESIDE)]
    return [place for place in places if os.path.lexists(place) and not place.is_file()]


def history_of(aside: Path) -> list[tuple[Any, ...]]:
    """Rotations that can still be read in a damaged file, oldest first.

    Each row is checked as it is whenever history is read, so none is worse than there.
    """
    found: list[tuple[Any, ...]] = []
    if not aside.is_file():
        return found  # to open a pipe is to wait
    # As it stands: a journal that lies beside it may be what is damaged.
    uri = f"{aside.absolute().as_uri()}?mode=ro&immutable=1"
    with (
        contextlib.suppress(sqlite3.Error, OSError, UnicodeDecodeError),
        contextlib.closing(sqlite3.connect(uri, uri=True)) as connection,
    ):
        connection.row_factory = sqlite3.Row
        connection.text_factory = records.text
        for row in connection.execute("SELECT * FROM rotation ORDER BY id DESC"):
            with contextlib.suppress(ValueError, TypeError):
                records.Record.read(row)
                found.append(tuple(row)[1:])
    return found[::-1]
