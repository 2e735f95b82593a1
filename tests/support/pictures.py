"""Pictures of pgAdmin's configuration database, made up for the pure editor."""

from __future__ import annotations

import json
from typing import Any

from pgherald.clients.base import Edit
from pgherald.clients.pgadmin import PgAdmin
from pgherald.model import Database, DatabaseKey, Entry, Login
from pgherald.secret import Secret

#: Columns of `server` that matter here, and some that never do.
COLUMNS = tuple(
    "id user_id servergroup_id name host port maintenance_db username comment password db_res bgcolor"
    " service save_password passexec_cmd connection_params tags db_res_type".split()
)

GOOD = '{"sslmode": "require", "connect_timeout": 10}'


def entry(app: str = "shop", user: str = "u1", **changes: Any) -> Entry:
    """A database of that app; changes name fields of its login, or `name`, `group`, `service`."""
    own = {name: changes.pop(name) for name in ("name", "group", "service") if name in changes}
    key = DatabaseKey("default", app, "DATABASE")
    database = Database(key, own.get("name", app.title()), own.get("group", "Heroku"),
                        own.get("service", app))  # fmt: skip
    login: dict[str, Any] = {
        "host": f"{app}.compute.amazonaws.com",
        "port": 5432,
        "dbname": f"d{app}0123456789",
        "user": user,
        "password": Secret(f"CANARY-{user}"),
    }
    return Entry(database, Login(**(login | changes)))


def server(number: int = 1, **columns: Any) -> dict[str, Any]:
    """A row of `server`, without anything in it that is not named."""
    row: dict[str, Any] = dict.fromkeys(COLUMNS)
    row |= {"id": number, "user_id": 1, "servergroup_id": 1, "name": f"server {number}"}
    return (
        row | {"save_password": 0, "connection_params": "{}", "db_res_type": "databases"} | columns
    )


def by_hand(number: int = 1, of: Entry | None = None, **columns: Any) -> dict[str, Any]:
    """A server as the guide makes it: host, user, saved password."""
    login = (of or entry()).login
    own = {
        "host": login.host,
        "port": login.port,
        "maintenance_db": login.dbname,
        "username": login.user,
        "db_res": login.dbname,
        "password": "CANARY-encrypted",
        "save_password": 1,
        "connection_params": '{"sslmode": "require", "connect_timeout": 30, "sslcert": "x"}',
    }
    return server(number, **(own | columns))


class Books:
    """A configuration database as the editor sees it, and what comes of its plans."""

    def __init__(self, *servers: dict[str, Any], schema: object = 52) -> None:
        self.whole: dict[str, Any] = {
            "tables": {
                "server": {"columns": list(COLUMNS), "rows": {str(r["id"]): r for r in servers}},
                "servergroup": {
                    "columns": ["id", "user_id", "name"],
                    "rows": {"1": {"id": 1, "user_id": 1, "name": "Servers"}},
                },
                "user": {
                    "columns": ["id", "email", "username", "active", "auth_source"],
                    "rows": {"1": person(1, "pgadmin4@pgadmin.org")},
                },
                "keys": {
                    "columns": ["name", "value"],
                    "rows": {"1": {"name": "CSRF_SESSION_KEY", "value": "CANARY-key"}},
                },
                "version": {
                    "columns": ["name", "value"],
                    "rows": {"1": {"name": "ConfigDB", "value": schema}},
                },
                "preferences": {"columns": ["name"], "rows": {}},
                "sqlite_sequence": {
                    "columns": ["name", "seq"],
                    "rows": {"1": {"name": "server", "seq": max([0, *(r["id"] for r in servers)])}},
                },
            },
            "known": {},
        }

    @property
    def content(self) -> bytes:
        return json.dumps(self.whole).encode()

    @property
    def servers(self) -> dict[int, dict[str, Any]]:
        rows = self.whole["tables"]["server"]["rows"]
        return {int(number): dict(row) for number, row in rows.items()}

    @property
    def groups(self) -> dict[int, str]:
        rows = self.whole["tables"]["servergroup"]["rows"]
        return {int(n): row["name"] for n, row in rows.items()}

    def plan(self, *wanted: Entry, editor: PgAdmin | None = None, **more: Any) -> Edit:
        """What the editor plans."""
        return (editor or PgAdmin()).plan(self.content, wanted, **more)

    def apply(self, *wanted: Entry, editor: PgAdmin | None = None, **more: Any) -> Edit:
        """Plan, and let the database be as planned; planned once more, nothing is left."""
        edit = self.plan(*wanted, editor=editor, **more)
        self.whole = json.loads(edit.new)
        rows = self.whole["tables"]["server"]["rows"]
        self.whole["tables"]["server"]["rows"] = {
            number: dict.fromkeys(COLUMNS) | {"db_res_type": "databases"} | row
            for number, row in rows.items()
        }
        seq = self.whole["tables"]["sqlite_sequence"]["rows"]["1"]
        seq["seq"] = max([seq["seq"], *self.servers])
        again = self.plan(*wanted, editor=editor, **more)
        assert (again.changes, json.loads(again.new)) == ((), self.whole)
        return edit

    def prefer(self, *names: str) -> None:
        """A release of pgAdmin with these preferences has been started."""
        rows = {str(number): {"name": name} for number, name in enumerate(names)}
        self.whole["tables"]["preferences"]["rows"] = rows

    def put(self, row: dict[str, Any]) -> None:
        """The person, or pgAdmin's import, makes a server."""
        self.whole["tables"]["server"]["rows"][str(row["id"])] = row
        seq = self.whole["tables"]["sqlite_sequence"]["rows"]["1"]
        seq["seq"] = max(seq["seq"], row["id"])

    def delete(self, number: int) -> None:
        del self.whole["tables"]["server"]["rows"][str(number)]

    def edit(self, number: int, **columns: Any) -> None:
        """The person, or pgAdmin, changes a server."""
        self.whole["tables"]["server"]["rows"][str(number)] |= columns


def person(number: int, name: str, *, active: object = 1) -> dict[str, Any]:
    return {"id": number, "email": name, "username": name, "active": active,
            "auth_source": "internal"}  # fmt: skip
