"""What pgAdmin's configuration database holds, as far as it matters here. Pure.

The bytes are a picture of whole tables, drawn by `files.rows`, with a few things beside them:

    {"tables": {"server": {"columns": [...], "rows": {"7": {...}}}, ...},
     "known": {"database": "…", "rows": {"shop/DATABASE": [{"id": 7, "owner": "made", ...}]},
               "led": {"shop/DATABASE": ["…"]}, "groups": {"2": "Heroku"}},
     "first": {"server": {"3": {"there": true, "columns": {...}}}},
     "program": 91800}

`known` is the record of ownership: per database its rows (see `pgadmin_known`), digests of the
names of databases that its section has led to, and the groups that pgherald made. The record
counts for one configuration database only, which is known by a value that pgAdmin makes up when
it makes the database; a new installation has nothing recorded.

`first` is there when servers are to be given back: what they held before pgherald first wrote
them, put together from the journals.

`program` is the version of the pgAdmin that is installed here, where that could be found out.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from pgherald.clients.pgadmin_known import Known, Row, digest
from pgherald.errors import ClientError, Unparsable
from pgherald.model import DatabaseKey

#: The tables that are looked at, with the columns that are; None for all of them.
TABLES: Final[Mapping[str, Sequence[str] | None]] = {
    "server": None,
    "servergroup": ("id", "user_id", "name"),
    "user": ("id", "email", "username", "active", "auth_source"),
    "keys": ("name", "value"),
    "version": ("name", "value"),
    "preferences": ("name",),
    "sqlite_sequence": ("name", "seq"),
}

#: pgAdmin: the first schema with `connection_params`, that of 6.20.
OLDEST_SCHEMA: Final = 35

_NEEDED: Final = frozenset(
    {
        "id",
        "user_id",
        "servergroup_id",
        "name",
        "host",
        "port",
        "maintenance_db",
        "username",
        "password",
        "db_res",
        "service",
        "save_password",
        "connection_params",
    }
)

_UPDATE: Final = "Update pgAdmin to the newest release; then pgherald sees to the rest."


class Unsupported(ClientError):
    """A pgAdmin that cannot be kept working; the advice says what would help."""


@dataclass(frozen=True, slots=True)
class Picture:
    """The parsed picture.

    Attributes:
        whole: everything, as it came.
        user: number of the user whose servers these are.
        database: tells this configuration database from any other.
        servers: the user's servers by number.
        groups: names of the user's groups by number.
        columns: the columns of `server`.
        schema: number of the database's schema, that of the newest pgAdmin that ever used it.
        known: per database the rows that are recorded, whether or not they are there.
        led: per database digests of the names of databases that its section has led to.
        made_groups: groups that pgherald made, by number, where they are still there.
        salt: what pgAdmin made up for this database alone; no digest can be guessed without it.
    """

    whole: Mapping[str, Any] = field(repr=False)
    user: int
    database: str
    servers: Mapping[int, Row] = field(repr=False)
    groups: Mapping[int, str]
    columns: frozenset[str]
    schema: int
    known: Mapping[DatabaseKey, tuple[Known, ...]]
    led: Mapping[DatabaseKey, tuple[str, ...]]
    made_groups: Mapping[int, str]
    salt: str = field(repr=False)

    @property
    def first(self) -> Mapping[str, Mapping[str, Any]] | None:
        """What rows held before pgherald first wrote them, by table; None where nobody asked."""
        found: Mapping[str, Mapping[str, Any]] | None = self.whole.get("first")
        return found

    def secret_digest(self, text: str) -> str:
        """A digest that only somebody who has this database can compare with a guess."""
        return digest(f"{self.salt} {text}")

    def led_to(self, name: object) -> str:
        """How `led` holds a database's name."""
        return self.secret_digest(f"led {name}")

    def group_of(self, row: Row) -> str:
        """The name of a server's group."""
        return self.groups.get(row["servergroup_id"], "")

    @property
    def switched_off(self) -> Row:
        """Switches that a new server needs to hold.

        The table's own default of this one is the text "false", which pgAdmin takes for on: it
        would export a server that signs in with Kerberos.
        """
        return {name: 0 for name in ("kerberos_conn",) if name in self.columns}

    def free(self, table: str) -> int:
        """A number that no row of the table has, nor, as far as can be known, ever had.

        An open pgAdmin would take a new server for the one that had its number before.
        """
        tables = self.whole["tables"]
        counts = [
            row["seq"] or 0 for row in _rows(tables, "sqlite_sequence") if row["name"] == table
        ]
        ours = [row.id for rows in self.known.values() for row in rows if table == "server"]
        return max([*map(int, tables[table]["rows"]), *counts, *ours], default=0) + 1

    @property
    def broken_for_services(self) -> str | None:
        """The release in use, where it is one in which service rows do not work.

        pgAdmin issues 5889 (6.20), 6149 (7.0), 7840 (8.10, 8.11). No database says which
        release uses it; the preferences that each release adds narrow it down.
        """
        program = self.whole.get("program") or 0
        for suspect in _SUSPECTS:
            if suspect.schema != self.schema:
                continue
            if suspect.releases[0] <= program <= suspect.releases[1]:
                found = [word for number, word in suspect.broken if number == program]
            else:
                names = {row["name"] for row in _rows(self.whole["tables"], "preferences")}
                likely = suspect.has in names and suspect.lacks not in names
                found = [" or ".join(word for _, word in suspect.broken)] if likely else []
            if found:
                return found[0]
        return None

    @property
    def keeps_passwords_elsewhere(self) -> bool:
        """Whether it may be a pgAdmin that puts saved passwords into the system's keyring.

        pgAdmin: 7.2 to 8.11. There such a password beats the service file, and nothing in
        the row says so.
        """
        return self.schema <= _LAST_KEYRING_SCHEMA


@dataclass(frozen=True, slots=True)
class _Suspect:
    """How releases with a fault are known.

    Attributes:
        schema: their schema.
        releases: first and last release with that schema, as pgAdmin's APP_VERSION_INT.
        broken: the ones with the fault, as number and in words.
        has: a preference that they have.
        lacks: one that came later.
    """

    schema: int
    releases: tuple[int, int]
    broken: tuple[tuple[int, str], ...]
    has: str
    lacks: str


#: Read in the wheels of all releases from 6.19 to 9.18. What 8.12 writes is what 8.11 does.
_SUSPECTS: Final = (
    _Suspect(35, (62000, 70799), ((62000, "6.20"),), "show_system_objects", "cardinality_notation"),
    _Suspect(35, (62000, 70799), ((70000, "7.0"),), "last_storage", "breadcrumbs_enable"),
    _Suspect(
        40,
        (80700, 81399),
        ((81000, "8.10"), (81100, "8.11")),
        "close_tab_panel",
        "data_result_rows_per_page",
    ),
)

_LAST_KEYRING_SCHEMA: Final = 40


def opened(current: bytes, user: str | None) -> Picture:
    """Read a picture.

    Args:
        current: its bytes.
        user: whose servers, by mail address or name; None for the only one there is.

    Raises:
        Unparsable: it is not pgAdmin's database.
        Unsupported: this pgAdmin cannot be kept working, or serves several people.
    """
    whole: dict[str, Any] = json.loads(current)
    tables = whole["tables"]
    versions = [row for row in _rows(tables, "version") if row.get("name") == "ConfigDB"]
    if not versions or not tables["server"]["columns"]:
        raise Unparsable(
            "is not a configuration database of pgAdmin 4",
            'Name pgAdmin\'s pgadmin4.db, or leave the path to pgherald: path = "auto".',
        )
    schema, columns = versions[0].get("value"), frozenset(tables["server"]["columns"])
    if not isinstance(schema, int) or schema < OLDEST_SCHEMA or not columns >= _NEEDED:
        raise Unsupported("is of a pgAdmin older than 6.20", _UPDATE)
    number = _user(tables, user)
    made_up = [r.get("value") for r in _rows(tables, "keys") if r.get("name") == "CSRF_SESSION_KEY"]
    # The other two of its keys were the same everywhere in databases that began long ago.
    database = digest(f"database {made_up}")
    groups = {
        row["id"]: str(row["name"])
        for row in _rows(tables, "servergroup")
        if row.get("user_id") == number
    }
    record = whole.get("known", {})
    record = record if record.get("database") == database else {}
    made_groups = {int(number): str(name) for number, name in record.get("groups", {}).items()}
    return Picture(
        whole=whole,
        user=number,
        database=database,
        servers={row["id"]: row for row in _rows(tables, "server") if row.get("user_id") == number},
        groups=groups,
        columns=columns,
        schema=schema,
        known={
            DatabaseKey.parse(key): tuple(map(Known.parse, rows))
            for key, rows in record.get("rows", {}).items()
        },
        led={DatabaseKey.parse(key): tuple(names) for key, names in record.get("led", {}).items()},
        made_groups={n: name for n, name in made_groups.items() if groups.get(n) == name},
        salt=str(made_up),
    )


def record(
    database: str,
    known: Mapping[DatabaseKey, Sequence[Known]],
    led: Mapping[DatabaseKey, Sequence[str]],
    groups: Mapping[int, str],
) -> dict[str, Any]:
    """The record of ownership, as the picture holds it."""
    return {
        "database": database,
        "rows": {str(key): [row.json() for row in rows] for key, rows in known.items()},
        "led": {str(key): list(names) for key, names in led.items()},
        "groups": {str(number): name for number, name in groups.items()},
    }


def _rows(tables: Mapping[str, Any], name: str) -> list[Row]:
    return list(tables[name]["rows"].values())


def _user(tables: Mapping[str, Any], wanted: str | None) -> int:
    """The number of the user."""
    users = [row for row in _rows(tables, "user") if row.get("active") not in (0, None, "false")]
    if wanted is not None:
        found = [row for row in users if wanted in (row.get("username"), row.get("email"))]
        if not found:
            raise Unsupported(
                f"has no user {wanted!r}",
                "Write `user` in [clients.pgadmin] as you sign in to pgAdmin.",
            )
    elif len(users) > 1:
        raise Unsupported(
            "serves several people, to all of whom a service row would be open",
            'Name yourself in [clients.pgadmin], as you sign in to pgAdmin: user = "…".',
        )
    else:
        found = users
    if not found:
        raise Unsupported("has no user yet", "Start pgAdmin once.")
    number: int = found[0]["id"]
    return number
