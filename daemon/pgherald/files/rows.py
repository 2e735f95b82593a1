"""Rows in another program's SQLite database: read, looked at again, changed in place.

pgAdmin keeps its servers in such a database, and has it open while it runs. What a change
guarantees, whenever and however it ends:

- one transaction: all of the rows change, or none. After a kill SQLite's own journal takes
  back what was begun, whoever opens the database next;
- every column is looked at again within it: one that another program has changed since it
  was planned is not overwritten;
- the lock is held for these few statements, and never while anything is waited for;
- only columns that differ are written. The file is never replaced, and neither its schema
  nor its journal mode is touched.

A *picture* is what whole tables hold; an *image* is what a change is about: some columns of
some rows, and whether each row is there. Both are JSON in one fixed form, so that equal
contents are equal bytes, as with a file.
"""

from __future__ import annotations

import contextlib
import json
import sqlite3
import stat
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final

from pgherald.errors import ChangedMeanwhile, ClientError, FileTrouble, Unparsable
from pgherald.files.disk import Disk
from pgherald.files.snapshot import Snapshot, Staged
from pgherald.files.trouble import refuse_irregular, refuse_unwritable, reported

Row = dict[str, Any]
Image = dict[str, dict[str, dict[str, Any]]]

#: Seconds that a change waits for another program's transaction. pgAdmin's take milliseconds.
WRITE_LIMIT: Final = 10.0

#: Seconds that a look waits; it is in nobody's way and comes again soon.
READ_LIMIT: Final = 3.0

#: What a row's number is called in a picture's columns.
ROW: Final = "rowid"

_AGAIN: Final = "pgherald tries again by itself."
_LET: Final = "Let the user who runs pgherald read and write the file and its folder (`ls -ld`)."

#: SQLite's primary result codes: (what is wrong, what to do).
_WORDS: Final[Mapping[int, tuple[str, str]]] = {
    sqlite3.SQLITE_BUSY: (
        "is locked by another program",
        f"pgAdmin, or a program that looks into its database, holds it; {_AGAIN}",
    ),
    sqlite3.SQLITE_LOCKED: ("is locked by another program", _AGAIN),
    sqlite3.SQLITE_FULL: ("cannot be written: the disk is full", f"Make room; {_AGAIN}"),
    sqlite3.SQLITE_IOERR: (
        "cannot be read or written: the disk reports a fault",
        "The system's log says more.",
    ),
    sqlite3.SQLITE_READONLY: ("cannot be written: permission denied", _LET),
    sqlite3.SQLITE_PERM: ("cannot be opened: permission denied", _LET),
    sqlite3.SQLITE_CANTOPEN: ("cannot be opened: permission denied, or its folder is gone", _LET),
}

#: Runs a statement on one connection, its argument.
_Run = partial[list[tuple[Any, ...]]]


class Rows:
    """Reads and changes rows. Every method may be called from any thread.

    Where another program is in the way, or the system refuses, methods raise `FileTrouble`;
    where the file is no SQLite database, `Unparsable`. Both name the file.

    Args:
        disk: opens the database and runs each statement.
    """

    def __init__(self, disk: Disk | None = None) -> None:
        self._disk = disk or Disk()

    # Reading

    def read(self, path: Path, tables: Mapping[str, Sequence[str] | None]) -> Snapshot:
        """The picture of these tables; a snapshot without content where there is no file.

        Args:
            path: the database.
            tables: per table the columns that are wanted, or None for all of them. What the
                database does not have is left out.
        """
        if (snapshot := self._found(path)) is None:
            return self.place(path)
        with self._open(path, write=False) as run:
            content = {name: _table(run, name, columns) for name, columns in tables.items()}
        return snapshot.holding(drawn({"tables": content}))

    def place(self, path: Path) -> Snapshot:
        """Where the database is, there or not, without its content."""
        return Snapshot(path.absolute(), self._target(path), None)

    def age(self, path: Path) -> float:
        """Seconds since the database was last written, or its journal was."""
        times = [0.0]
        for each in (path, path.with_name(f"{path.name}-journal")):
            with contextlib.suppress(OSError):
                times.append(self._disk.stat(each).st_mtime)
        return time.time() - max(times)

    def again(self, path: Path, image: bytes | None) -> Snapshot:
        """The same rows and columns as in an image, as they are now."""
        snapshot = self._found(path)
        if snapshot is None or image is None:
            return self.place(path)
        with self._open(path, write=False) as run:
            return snapshot.holding(drawn(_now(run, json.loads(image))))

    def verify(self, snapshot: Snapshot) -> None:
        """Make sure that the rows of an image are still what they were.

        Raises:
            ChangedMeanwhile: they are not.
        """
        if self.again(snapshot.path, snapshot.content).content != snapshot.content:
            raise _changed(snapshot.path)

    # Writing

    def refuse_unwritable(self, snapshot: Snapshot) -> None:
        """Pass a database that may be written, as far as that can be known without trying.

        Raises:
            FileTrouble: it cannot be, or no journal can be made beside it.
        """
        refuse_unwritable(self._disk, snapshot, in_place=True)

    def stage(self, snapshot: Snapshot, new: bytes, *, private: bool) -> Staged:  # as for a file
        """See whether the change could be made now, and make none.

        All that is likely to fail fails here, before any client is touched.
        """
        with self._open(snapshot.path, write=True) as run, _transaction(run, keep=False):
            if drawn(_now(run, json.loads(new))) != snapshot.content:
                raise _changed(snapshot.path)
        return Staged(snapshot.target, None, new)

    def install(self, staged: Staged, *, over: Snapshot) -> Snapshot:
        """Change the rows from one image to the other; the rows as they are afterwards.

        Raises:
            ChangedMeanwhile: another program has changed one of them; none was changed.
        """
        image = json.loads(staged.content)
        with self._open(over.path, write=True) as run, _transaction(run, keep=True):
            if drawn(_now(run, image)) != over.content:
                raise _changed(over.path)
            assert over.content is not None  # it was compared
            _change(run, json.loads(over.content), image)
            if drawn(_now(run, image)) != staged.content:
                # A trigger, or a column of another kind than pgAdmin's.
                raise FileTrouble("did not keep what was written", path=over.path)
        return over.holding(staged.content)

    # What only files have

    def discard(self, staged: Staged) -> None:
        """Nothing lies anywhere."""

    def remove(self, snapshot: Snapshot) -> Snapshot:
        """Never done: the database is not ours.

        Raises:
            FileTrouble: always.
        """
        raise FileTrouble("is another program's, so it is not deleted", path=snapshot.path)

    def sweep(self, target: Path, known: Collection[str | None]) -> None:
        """Nothing lies about."""

    # Inside

    def _target(self, path: Path) -> Path:
        with reported(path, "read"):
            return self._disk.realpath(path.absolute())

    def _found(self, path: Path) -> Snapshot | None:
        """The database without its content; None where there is none."""
        path = path.absolute()
        target = self._target(path)
        with reported(path, "read"):
            try:
                found = self._disk.stat(path)
            except FileNotFoundError:
                return None
            refuse_irregular(path, found)
        if not self._disk.posix:
            return Snapshot(path, target, None)
        mode = stat.S_IMODE(found.st_mode)
        return Snapshot(path, target, None, None, mode, found.st_uid, found.st_gid)

    @contextlib.contextmanager
    def _open(self, path: Path, *, write: bool) -> Iterator[_Run]:
        """A connection, closed again; what SQLite says is put into plain words."""
        path = path.absolute()
        limit = WRITE_LIMIT if write else READ_LIMIT
        try:
            connection = self._disk.sqlite_open(self._target(path), limit)
            try:
                yield partial(self._disk.sqlite_execute, connection)
            finally:
                connection.close()
        except sqlite3.Error as exc:
            raise _trouble(path, exc) from exc
        except (UnicodeError, OverflowError) as exc:
            advice = "Take out what is not UTF-8 there: pgAdmin's server dialogue shows the text."
            raise FileTrouble("holds text that cannot be written back", advice, path=path) from exc


@contextlib.contextmanager
def _transaction(run: _Run, *, keep: bool) -> Iterator[None]:
    """One transaction that has the write lock from its beginning on.

    Args:
        run: runs it.
        keep: whether what it changes stays.
    """
    if keep:
        # What goes may be a saved password. Only some builds of SQLite overwrite by themselves
        # what is free from now on.
        run("PRAGMA secure_delete = ON")
    run("BEGIN IMMEDIATE")
    try:
        yield
        run("COMMIT" if keep else "ROLLBACK")
    except BaseException:
        if run.args[0].in_transaction:
            run("ROLLBACK")
        raise


def _table(run: _Run, name: str, wanted: Sequence[str] | None) -> dict[str, Any]:
    """A table's columns, in its own order, and its rows by number."""
    there = [str(row[1]) for row in run(f"PRAGMA table_info({_quoted(name)})")]
    columns = [column for column in there if wanted is None or column in wanted]
    if not there:
        return {"columns": [], "rows": {}}
    listed = ", ".join(map(_quoted, columns))
    rows = run(f"SELECT {ROW}, {listed} FROM {_quoted(name)}")  # names from the schema, quoted
    return {
        "columns": columns,
        "rows": {
            str(row[0]): dict(zip(columns, map(_plain, row[1:]), strict=True)) for row in rows
        },
    }


def _now(run: _Run, image: Image) -> Image:
    """What an image's rows and columns hold."""
    now: Image = {}
    for table, rows in image.items():
        for number, part in rows.items():
            columns = sorted(part["columns"])
            listed = ", ".join(map(_quoted, columns)) or "1"
            found = run(
                f"SELECT {listed} FROM {_quoted(table)} WHERE {ROW} = ?",  # quoted
                (int(number),),
            )
            row = dict(zip(columns, map(_plain, found[0]), strict=False)) if found else None
            if row is not None and not part["there"]:
                row |= _more(run, table, number, columns)
                columns = sorted(row)
            now.setdefault(table, {})[number] = part_of(row, columns)
    return now


def _more(run: _Run, table: str, number: str, known: Sequence[str]) -> Row:
    """What somebody has put into a row that is to go: such a row is not deleted."""
    default = {str(row[1]): row[4] for row in run(f"PRAGMA table_info({_quoted(table)})")}
    whole = run(f"SELECT * FROM {_quoted(table)} WHERE {ROW} = ?", (int(number),))[0]  # quoted
    return {
        name: _plain(value)
        for name, value in zip(default, whole, strict=True)
        if name not in known
        and value is not None
        and str(value) != str(default[name]).strip("'\"()")
    }


def _change(run: _Run, before: Image, after: Image) -> None:
    for table, rows in after.items():
        name = _quoted(table)
        for number, part in rows.items():
            columns: Row = part["columns"]
            old = before[table][number]
            if part["there"] and old["there"]:
                columns = {name: v for name, v in columns.items() if v != old["columns"][name]}
            values = [_stored(value) for value in columns.values()]
            if not part["there"]:
                run(f"DELETE FROM {name} WHERE {ROW} = ?", (int(number),))  # quoted
            elif old["there"]:
                sets = ", ".join(f"{_quoted(column)} = ?" for column in columns)
                run(
                    f"UPDATE {name} SET {sets} WHERE {ROW} = ?",  # quoted
                    (*values, int(number)),
                )
            else:
                listed = ", ".join(map(_quoted, columns))
                marks = ", ".join("?" for _ in columns)
                run(f"INSERT INTO {name} ({listed}) VALUES ({marks})", values)  # quoted


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _plain(value: object) -> object:
    """A value as JSON holds it; bytes by their hex digits."""
    return {"hex": value.hex()} if isinstance(value, bytes) else value


def _stored(value: object) -> object:
    """The way back from `_plain`."""
    return bytes.fromhex(value["hex"]) if isinstance(value, dict) else value


def _changed(path: Path) -> ChangedMeanwhile:
    return ChangedMeanwhile("was changed by another program", path=path)


def _trouble(path: Path, exc: sqlite3.Error) -> ClientError:
    code = getattr(exc, "sqlite_errorcode", None)
    if code in (sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT):
        broken = code == sqlite3.SQLITE_CORRUPT
        return Unparsable(
            "is a damaged SQLite database" if broken else "is no SQLite database",
            "Name pgAdmin's pgadmin4.db, or restore it from a backup.",
            path=path,
        )
    # The upper bits say more than is needed here.
    what, advice = _WORDS.get((code or 0) & 0xFF, (f"cannot be used: {type(exc).__name__}", ""))
    return FileTrouble(what, advice, path=path)


# --- pictures and images ---------------------------------------------------------------


def difference(old: bytes, new: bytes) -> tuple[bytes, bytes]:
    """What has to change between two pictures: the images before and after.

    A row that is in both is there with the columns that differ, and with its `id` if the new
    picture's `begins` (numbers by table) has it; one that is in one of them is there whole.
    """
    before: Image = {}
    after: Image = {}
    old_tables, new_tables = _tables(old), _tables(new)
    begins = json.loads(new).get("begins", {})
    for table in sorted({*old_tables, *new_tables}):
        olds, news = old_tables.get(table, {}), new_tables.get(table, {})
        for number in sorted({*olds, *news}, key=int):
            was, is_ = olds.get(number), news.get(number)
            if was == is_:
                continue
            named = {"id"} if number in begins.get(table, ()) else set()
            columns = sorted({*_columns(was, is_), *named})
            before.setdefault(table, {})[number] = part_of(was, columns)
            after.setdefault(table, {})[number] = part_of(is_, columns)
    return drawn(before), drawn(after)


def picture(content: bytes) -> dict[str, Any]:
    """Read a picture, or what was made of one."""
    found: dict[str, Any] = json.loads(content)
    return found


def _columns(was: Row | None, is_: Row | None) -> list[str]:
    if was is None or is_ is None:
        return [*(was or is_ or ())]
    return [name for name in {*was, *is_} if was.get(name) != is_.get(name)]


def part_of(row: Row | None, columns: Sequence[str]) -> dict[str, Any]:
    """What an image holds of a row: some columns, and whether it is there."""
    values = {name: None if row is None else row.get(name) for name in columns}
    return {"there": row is not None, "columns": values}


def _tables(content: bytes) -> dict[str, dict[str, Row]]:
    tables: dict[str, dict[str, Any]] = json.loads(content)["tables"]
    return {name: table["rows"] for name, table in tables.items()}


def drawn(value: object) -> bytes:
    """The one form that a picture, or an image, has as bytes."""
    text = json.dumps(value, indent=1, sort_keys=True, ensure_ascii=True)
    return text.encode() + b"\n"
