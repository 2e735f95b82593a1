"""An SQLite database of another program's, small, with that program at work in it."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from pgherald.files import Files
from pgherald.files.rows import Rows, difference, drawn, picture
from pgherald.sync.manifest import Medium
from pgherald.sync.transaction import Step

TABLES = {"server": None, "servergroup": ("id", "name"), "nothing": None}


def make(path: Path) -> Path:
    """Make it, with two servers in it, a blob and text that is no text among their values."""
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.executescript(
            "CREATE TABLE server (id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT, password TEXT,"
            ' port INTEGER, "a ""b" BLOB);'
            "CREATE TABLE servergroup (id INTEGER PRIMARY KEY, name TEXT UNIQUE, other TEXT);"
            "INSERT INTO server VALUES (1, 'one', 'CANARY-1', 5432, x'00ff');"
            "INSERT INTO server VALUES (2, CAST(x'ff41' AS TEXT), NULL, NULL, NULL);"
            "INSERT INTO servergroup VALUES (1, 'Servers', 'x')"
        )
    path.chmod(0o600)
    return path


def ask(path: Path, sql: str, values: Sequence[object] = ()) -> list[tuple[Any, ...]]:
    """What the other program's statement gives; whatever it changes is kept."""
    with closing(sqlite3.connect(path, timeout=10)) as connection, connection:
        connection.text_factory = bytes
        return connection.execute(sql, values).fetchall()


def whole(path: Path) -> list[tuple[Any, ...]]:
    """Every row of both tables; SQLite finds nothing wrong with them."""
    assert ask(path, "PRAGMA integrity_check") == [(b"ok",)]
    return ask(path, "SELECT * FROM server") + ask(path, "SELECT * FROM servergroup")


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """The other program is in the middle of a transaction of its own."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("BEGIN EXCLUSIVE")
        yield


def step(path: Path, rows: Rows, *changes: tuple[str, int, dict[str, Any] | None]) -> Step:
    """A commit's step that makes these changes: (table, number, columns; None to delete)."""
    snapshot = rows.read(path, TABLES)
    assert snapshot.content is not None
    new = picture(snapshot.content)
    for table, number, columns in changes:
        there = new["tables"][table]["rows"]
        if columns is None:
            del there[str(number)]
        else:
            there[str(number)] = there.get(str(number), {}) | columns
    before, after = difference(snapshot.content, drawn(new))
    at_first = rows.again(path, before)
    assert at_first.content == before
    return Step("pgAdmin", at_first, after, private=False, medium=Medium.ROWS)


def change(path: Path, files: Files) -> Step:
    """A change of each kind at once: a row changed, one made, one in another table made."""
    return step(
        path,
        Rows(files.disk),
        ("server", 1, {"password": None, "port": 6543}),
        ("server", 7, {"id": 7, "name": "new"}),
        ("servergroup", 2, {"id": 2, "name": "Heroku"}),
    )
