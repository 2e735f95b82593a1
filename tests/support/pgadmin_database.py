"""A small configuration database, with the tables and columns of pgAdmin's that matter here.

For tests that need no pgAdmin; whether the real one agrees is asked in tests/e2e.
"""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

from pgherald.clients.pgadmin import PgAdmin
from pgherald.files.rows import Rows
from pgherald.sync.plan import Client
from pgherald.sync.servers import RowMemory, ServerRows

_TABLES = """
CREATE TABLE version (name VARCHAR PRIMARY KEY, value INTEGER);
CREATE TABLE keys (name VARCHAR PRIMARY KEY, value VARCHAR);
CREATE TABLE preferences (id INTEGER PRIMARY KEY, cid INTEGER, name VARCHAR);
CREATE TABLE user (id INTEGER PRIMARY KEY, email VARCHAR, username VARCHAR, active BOOLEAN,
    auth_source VARCHAR);
CREATE TABLE servergroup (id INTEGER PRIMARY KEY, user_id INTEGER, name VARCHAR,
    UNIQUE (user_id, name));
CREATE TABLE server (id INTEGER PRIMARY KEY AUTOINCREMENT, user_id INTEGER, servergroup_id INTEGER,
    name VARCHAR NOT NULL, host VARCHAR, port INTEGER, maintenance_db VARCHAR, username VARCHAR,
    comment VARCHAR, password VARCHAR, db_res VARCHAR, bgcolor VARCHAR, service VARCHAR,
    save_password INTEGER DEFAULT 0, passexec_cmd VARCHAR, connection_params JSON, tags JSON,
    db_res_type VARCHAR DEFAULT 'databases');
INSERT INTO version VALUES ('ConfigDB', 52);
INSERT INTO keys VALUES ('CSRF_SESSION_KEY', 'CANARY-session-key');
INSERT INTO user VALUES (1, 'pgadmin4@pgadmin.org', 'pgadmin4@pgadmin.org', 1, 'internal');
INSERT INTO servergroup VALUES (1, 1, 'Servers');
"""


class Database:
    """One configuration database.

    Attributes:
        path: the file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    @classmethod
    def made(cls, path: Path) -> Database:
        """A new one, without servers."""
        path.parent.mkdir(parents=True, exist_ok=True)
        with closing(sqlite3.connect(path)) as connection, connection:
            connection.executescript(_TABLES)
        path.chmod(0o600)
        return cls(path)

    def ask(self, sql: str, *values: object) -> list[tuple[Any, ...]]:
        """What pgAdmin's statement gives; whatever it changes is kept."""
        with closing(sqlite3.connect(self.path, timeout=10)) as connection, connection:
            return connection.execute(sql, values).fetchall()

    def servers(self) -> dict[int, dict[str, Any]]:
        """All rows of `server`, by number."""
        with closing(sqlite3.connect(self.path)) as connection:
            connection.row_factory = sqlite3.Row
            return {row["id"]: dict(row) for row in connection.execute("SELECT * FROM server")}

    def client(self, memory: RowMemory | None = None, **editor: Any) -> Client:
        """The client that keeps its servers."""
        rows = ServerRows(Rows(), memory or RowMemory({}))
        return Client(PgAdmin(**editor), self.path, "pgAdmin", rows, frozenset({"dbname"}))
