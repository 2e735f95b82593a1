"""The state file's tables, and how an older file gets them."""

from __future__ import annotations

import secrets
import sqlite3
from typing import Final

#: Raised by one with every change of the tables below; an older file is brought up to date.
SCHEMA_VERSION: Final = 2

_SCHEMA: Final = """
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
"""

_PGADMIN: Final = """
CREATE TABLE pgadmin (
    path  TEXT PRIMARY KEY,        -- of the configuration database
    known TEXT NOT NULL            -- JSON: the server rows that are pgherald's
) WITHOUT ROWID
"""


def create(connection: sqlite3.Connection) -> None:
    """Make the tables of a new state file. To be called within a transaction."""
    for statement in (*_SCHEMA.split(";\n"), _PGADMIN):
        connection.execute(statement)
    connection.execute("INSERT INTO about VALUES ('fingerprint_key', ?)", (secrets.token_hex(32),))
    connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")


def upgrade(connection: sqlite3.Connection, version: int) -> None:
    """Bring the tables of an older file up to date. To be called within a transaction."""
    if version < 2:  # noqa: PLR2004 – the version that brought the table
        connection.execute(_PGADMIN)
    connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
