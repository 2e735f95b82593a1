"""A configuration database with the tables of the real pgAdmin that matter here.

For tests that need no pgAdmin; whether the real one agrees is asked in tests/e2e.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

from pgherald.clients.pgadmin import PgAdmin
from pgherald.files import Files
from pgherald.files.rows import Rows
from pgherald.model import Login
from pgherald.sync.targets import Ownership, PgAdminTarget

#: The tables as the real one makes them.
_TABLES = Path(__file__).with_name("pgadmin_schema.sql").read_text()

#: What a desktop's pgAdmin puts into them at first.
_ROWS = """
INSERT INTO version VALUES ('ConfigDB', 52);
INSERT INTO keys VALUES ('CSRF_SESSION_KEY', 'CANARY-session-key');
INSERT INTO user (id, email, username, active, fs_uniquifier)
    VALUES (1, 'pgadmin4@pgadmin.org', 'pgadmin4@pgadmin.org', 1, 'x');
INSERT INTO servergroup VALUES (1, 1, 'Servers');
"""


class Database:
    """One configuration database."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @classmethod
    def made(cls, path: Path) -> Database:
        """A new one, without servers."""
        path.parent.mkdir(parents=True, exist_ok=True)
        with closing(sqlite3.connect(path)) as connection, connection:
            connection.executescript(_TABLES + _ROWS)
        path.chmod(0o600)
        return cls(path)

    def ask(self, sql: str, *values: object) -> list[tuple[Any, ...]]:
        """What pgAdmin's statement gives; whatever it changes is kept."""
        with closing(sqlite3.connect(self.path, timeout=10)) as connection, connection:
            return connection.execute(sql, values).fetchall()

    def insert(self, row: Mapping[str, Any]) -> int:
        """A server that pgAdmin's window or import makes; its number."""
        columns, marks = ", ".join(row), ", ".join("?" * len(row))
        sql = f"INSERT INTO server ({columns}) VALUES ({marks}) RETURNING id"  # the test's names
        return int(self.ask(sql, *row.values())[0][0])

    def by_hand(self, login: Login, name: str = "By hand") -> int:
        """A server as a person makes it, its password saved; its number."""
        return self.insert(
            {
                "user_id": 1, "servergroup_id": 1, "name": name, "host": login.host,
                "port": login.port, "maintenance_db": login.dbname, "username": login.user,
                "password": "CANARY-encrypted", "save_password": 1,
                "connection_params": '{"sslmode":  "prefer"}',
            }
        )  # fmt: skip

    def servers(self) -> dict[int, dict[str, Any]]:
        """All rows of `server`, by number."""
        with closing(sqlite3.connect(self.path)) as connection:
            connection.row_factory = sqlite3.Row
            return {row["id"]: dict(row) for row in connection.execute("SELECT * FROM server")}

    def client(self, state: Path, **editor: Any) -> PgAdminTarget:
        """The client that keeps its servers, for a pgherald with that state folder."""
        ownership = Ownership(Files(state / "locks"), state)
        return PgAdminTarget(PgAdmin(**editor), self.path, "pgAdmin", ownership, Rows())
