"""The state file's tables, and how an older file gets them."""

from __future__ import annotations

import contextlib
import re
import secrets
import sqlite3
from typing import Final

#: Raised by one with every change of the tables below; an older file is brought up to date.
SCHEMA_VERSION: Final = 3

#: Versions that a newer pgherald may have. One that is higher is damaged.
_NEWER: Final = frozenset(range(SCHEMA_VERSION + 1, 1_000))

#: What each version adds to the tables of the one before it.
_ADDED: Final = {
    1: """
CREATE TABLE about (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE database (
    key         TEXT PRIMARY KEY,
    label       TEXT NOT NULL,
    fingerprint TEXT,              -- JSON: login field -> keyed hash
    looked_at   TEXT,              -- when Heroku last answered for it
    current_at  TEXT,              -- when every client was last known to hold its login
    proven_at   TEXT,              -- when a connection last proved its login
    proven      INTEGER NOT NULL DEFAULT 0
) WITHOUT ROWID;
CREATE TABLE rotation (
    id         INTEGER PRIMARY KEY AUTOINCREMENT,
    key        TEXT NOT NULL,
    label      TEXT NOT NULL,
    changed    TEXT NOT NULL,      -- JSON list of field names
    seen_at    TEXT NOT NULL,
    proven_at  TEXT,
    written_at TEXT,
    release    INTEGER,
    clients    TEXT NOT NULL       -- JSON list of client labels
);
CREATE INDEX rotation_by_key ON rotation (key, id);
CREATE TABLE trouble (
    subject TEXT PRIMARY KEY,
    label   TEXT NOT NULL,
    kind    TEXT NOT NULL,
    title   TEXT NOT NULL,
    advice  TEXT NOT NULL,
    since   TEXT NOT NULL,
    told    INTEGER NOT NULL
) WITHOUT ROWID;
""",
    2: """
CREATE TABLE pgadmin (
    path  TEXT PRIMARY KEY,        -- of the configuration database
    known TEXT NOT NULL            -- JSON: the server rows that are pgherald's
) WITHOUT ROWID;
""",
    # The phase, and as JSON one word for the path of each client.
    3: """
ALTER TABLE database ADD COLUMN phase TEXT NOT NULL DEFAULT '';
ALTER TABLE database ADD COLUMN clients TEXT NOT NULL DEFAULT '{}';
""",
}


def upgrade(connection: sqlite3.Connection, version: int) -> None:
    """Bring the tables of an older file up to date. To be called within a transaction.

    Args:
        connection: the file.
        version: of its tables; 0 where there are none yet.
    """
    _build(connection, version, SCHEMA_VERSION)
    if version == 0:
        connection.execute(
            "INSERT INTO about VALUES ('fingerprint_key', ?)", (secrets.token_hex(32),)
        )
    # Noted in the header, and once more in a table.
    if _versions(connection) != (SCHEMA_VERSION, SCHEMA_VERSION):
        connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
        connection.execute(
            "INSERT OR REPLACE INTO about VALUES ('schema_version', ?)", (str(SCHEMA_VERSION),)
        )


def _build(connection: sqlite3.Connection, old: int, new: int) -> None:
    for version in range(old + 1, new + 1):
        for statement in _ADDED[version].split(";\n"):
            connection.execute(statement)


def version_of(connection: sqlite3.Connection) -> int:
    """The version of the tables; 0 for a file without any, as SQLite makes it.

    Kept in two places, since a version that is wrong by one bit looks like that of a newer
    pgherald, which would be left alone for good. Where they differ the tables decide.

    Raises:
        sqlite3.DatabaseError: there are tables, and no version of ours.
    """
    if connection.execute("SELECT 1 FROM sqlite_master").fetchone() is None:
        return 0
    header, noted = _versions(connection)
    if header in _NEWER and noted in (header, None):
        return header
    if fits(connection):
        return SCHEMA_VERSION
    if header not in range(1, SCHEMA_VERSION):
        raise sqlite3.DatabaseError("its version, or its tables, are damaged")
    return header


def fits(connection: sqlite3.Connection, version: int = SCHEMA_VERSION) -> bool:
    """Whether the tables of that version, or of this one, are all there, with the right columns.

    And there is no trigger or index of a stranger, which would act on all that is written.
    """
    with contextlib.closing(sqlite3.connect(":memory:", isolation_level=None)) as model:
        _build(model, 0, min(version, SCHEMA_VERSION))
        wanted = _shape(model)
    return (
        wanted.items() <= _shape(connection).items()
        and not connection.execute(
            "SELECT 1 FROM sqlite_master WHERE type = 'trigger'"
            " OR (type = 'index' AND sql IS NOT NULL AND name != 'rotation_by_key')"
        ).fetchone()
    )


def _versions(connection: sqlite3.Connection) -> tuple[int, int | None]:
    """What the header says, and what the table says: None where it says nothing."""
    header = int(connection.execute("PRAGMA user_version").fetchone()[0])
    row = connection.execute("SELECT value FROM about WHERE name = 'schema_version'").fetchone()
    if row is None:
        return header, None
    return header, int(row[0]) if re.fullmatch("[0-9]{1,9}", str(row[0])) else -1


def fingerprint_key(connection: sqlite3.Connection) -> bytes:
    """The key that logins are hashed with.

    Raises:
        sqlite3.DatabaseError: it is not there, or damaged.
    """
    row = connection.execute("SELECT value FROM about WHERE name = 'fingerprint_key'").fetchone()
    if row is None or re.fullmatch("[0-9a-f]{64}", str(row[0])) is None:
        raise sqlite3.DatabaseError("no fingerprint key")
    return bytes.fromhex(row[0])


def _shape(connection: sqlite3.Connection) -> dict[str, object]:
    """Each table's columns with all that SQLite knows of them."""
    tables = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
    return {
        str(name): [
            tuple(column)
            for column in connection.execute("SELECT * FROM pragma_table_info(?)", (name,))
        ]
        for (name,) in tables.fetchall()
        if not str(name).startswith("sqlite_")
    }
