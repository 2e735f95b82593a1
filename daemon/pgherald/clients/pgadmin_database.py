"""pgAdmin's configuration database, as far as it matters here. Pure.

The bytes hold whole tables, as `files.rows` reads them, with a few things beside them:

    {"tables": {"server": {"columns": [...], "rows": {"7": {...}}}, ...},
     "known": {"database": "…", "rows": {"shop/DATABASE": [{"id": 7, "owner": "made", ...}]},
               "led": {"shop/DATABASE": ["…"]}, "groups": {"2": "Heroku"}},
     "first": {"server": {"3": {"there": true, "columns": {...}}}},
     "program": 91800}

`known` is the record of ownership: per database its rows (`RowRecord`), digests of the names of
databases that its section has led to, and the groups that pgherald made. The record counts for
one configuration database only, which is known by a value that pgAdmin makes up when it makes
the database; a new installation has nothing recorded.

`first` is there when servers are to be given back: what they held before pgherald first wrote
them, put together from the journals.

`program` is the version of the pgAdmin that is installed here, where that could be found out.
"""

from __future__ import annotations

import dataclasses
import enum
import hashlib
import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from pgherald.errors import ClientError, Unparsable
from pgherald.model import DatabaseKey

Row = dict[str, Any]

#: The tables that are read, with the columns that are; None for all of them.
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

#: pgAdmin: the last schema, that of 8.11, whose releases from 7.2 on may use the keyring.
_LAST_KEYRING_SCHEMA: Final = 40

#: pgAdmin: the schema of 9.12, in which Backup and Restore do without a host (issue 9553).
_BACKUP_SCHEMA: Final = 49

_NEEDED: Final = frozenset(
    "id user_id servergroup_id name host port maintenance_db username password db_res service "
    "save_password connection_params".split()
)


class Unsupported(ClientError):
    """A pgAdmin that cannot be kept working; the advice says what would help."""


class Owner(enum.StrEnum):
    """Whose a row is, and so what pgherald may do with it."""

    MADE = "made"
    """pgherald made it, and it is what pgherald last wrote: it is renamed and deleted."""
    EDITED = "edited"
    """pgherald made it and the person changed it: it is kept current, and never deleted."""
    ADOPTED = "adopted"
    """The person made it and asked for it to be kept: it gets back what it held at first."""
    FOLLOWED = "followed"
    """The person's, and it names pgherald's section: it is kept current, and no more."""


@dataclass(frozen=True, slots=True)
class RowRecord:
    """What is recorded of one server row.

    A row is pgherald's because pgherald made it and recorded that, and only for as long as it is
    what was recorded, compared as a whole. Its number proves nothing, since pgAdmin gives the
    numbers of deleted servers to new ones; neither does the name of its service, which anybody
    may enter.

    Attributes:
        id: the row's number.
        mark: what `mark_of` gave for the row, as pgherald left it.
        owner: whose it is.
        name: the name that the configuration gave it when it was last written.
        group: likewise the group.
        ours: digest of what pgherald writes in a row, as it was last seen; None in a record of
            pgherald 0.1, which kept no digests.
        theirs: likewise of all the rest of the row.
        sslmode: the mode that pgherald asked for; a stricter one in the row is the person's.
        sslrootcert: the root certificate that pgherald wrote into a host row, if any.
        gone: it was seen missing, or leading elsewhere. It counts again only if it comes back
            exactly as it was; until then the record keeps pgherald from making another.
    """

    id: int
    mark: str
    owner: Owner
    name: str
    group: str
    ours: str | None = None
    theirs: str | None = None
    sslmode: str | None = None
    sslrootcert: str | None = None
    gone: bool = False

    @classmethod
    def parse(cls, found: Mapping[str, Any]) -> RowRecord:
        """Read it from a record; one of pgherald 0.1 says only whether pgherald made the row."""
        owner = found.get("owner", Owner.MADE if found["made"] else Owner.ADOPTED)
        own = {
            each.name: found[each.name] for each in dataclasses.fields(cls) if each.name in found
        }
        return cls(**own | {"owner": Owner(owner)})

    def json(self) -> dict[str, Any]:
        """It as the record holds it; pgherald 0.1 understands its first part."""
        made = self.owner is Owner.MADE
        return dataclasses.asdict(self) | {"owner": str(self.owner), "made": made}


class ConfigDatabase:
    """A configuration database, to be edited in place.

    Attributes:
        whole: everything, as it came and as it is to be.
        user: number of the user whose servers these are.
        servers: the user's servers by number.
        groups: names of the user's groups by number.
        columns: the columns of `server`.
        schema: number of the database's schema, that of the newest pgAdmin that ever used it.
        records: per database the rows that are recorded, whether or not they are there.
        led: per database digests of the names of databases that its section has led to.
        made_groups: groups that pgherald made, by number, where they are still there.
        identity: distinguishes this configuration database from any other.

    Args:
        current: its bytes.
        user: whose servers, by mail address or name; None for the only one there is.
        auth_source: how that user signs in; None where the name is the only one of its kind.

    Raises:
        Unparsable: it is not pgAdmin's database.
        Unsupported: this pgAdmin cannot be kept working, or serves several people.
    """

    def __init__(self, current: bytes, user: str | None, auth_source: str | None = None) -> None:
        self.whole: dict[str, Any] = json.loads(current)
        self.columns = frozenset(self.whole["tables"]["server"]["columns"])
        schemas = [
            row.get("value") for row in self.rows("version") if row.get("name") == "ConfigDB"
        ]
        if not schemas or not self.columns:
            raise Unparsable(
                "is not a configuration database of pgAdmin 4",
                "If it has 0 bytes, as a first start that failed leaves it: delete it, and start "
                "pgAdmin once. Else name pgAdmin's own pgadmin4.db as `path`.",
            )
        if (
            not isinstance(schemas[0], int)
            or schemas[0] < OLDEST_SCHEMA
            or not self.columns >= _NEEDED
        ):
            raise Unsupported(
                "is of a pgAdmin older than 6.20",
                "Update pgAdmin to the newest release; then pgherald sees to the rest.",
            )
        self.schema = schemas[0]
        self.user = _user(self.rows("user"), user, auth_source)
        self.servers = {row["id"]: row for row in self._own("server")}
        self.groups = {row["id"]: str(row["name"]) for row in self._own("servergroup")}
        # The other two of its keys were the same everywhere in databases that began long ago.
        # No digest can be guessed without this one.
        keys = [r.get("value") for r in self.rows("keys") if r.get("name") == "CSRF_SESSION_KEY"]
        if not keys:
            raise Unsupported("is not set up yet", "Start pgAdmin once.")
        self._salt, self.identity = str(keys), digest(f"database {keys}")
        record = self.whole.get("known", {})
        if record.get("database") != self.identity:
            record = {}
        self.records = {
            DatabaseKey.parse(key): tuple(map(RowRecord.parse, rows))
            for key, rows in record.get("rows", {}).items()
        }
        self.led = {
            DatabaseKey.parse(key): [*names] for key, names in record.get("led", {}).items()
        }
        self.made_groups = {
            int(number): str(name)
            for number, name in record.get("groups", {}).items()
            if self.groups.get(int(number)) == name
        }

    def rows(self, table: str) -> list[Row]:
        """The rows of a table, other people's included."""
        return list(self.whole["tables"][table]["rows"].values())

    def _own(self, table: str) -> list[Row]:
        return [row for row in self.rows(table) if row.get("user_id") == self.user]

    def record(self, known: Mapping[DatabaseKey, Sequence[RowRecord]]) -> dict[str, Any]:
        """The record of ownership, as the bytes hold it."""
        return {
            "database": self.identity,
            "rows": {str(key): [row.json() for row in rows] for key, rows in known.items()},
            "led": {str(key): list(names) for key, names in self.led.items()},
            "groups": {str(number): name for number, name in self.made_groups.items()},
        }

    def original(self, number: int) -> Mapping[str, Any] | None:
        """What a server was before pgherald first wrote it, as far as the journals know."""
        found: Mapping[str, Any] | None = (
            self.whole.get("first", {}).get("server", {}).get(str(number))
        )
        return found

    def secret_digest(self, text: str) -> str:
        """A digest that only somebody who has this database can compare with a guess."""
        return digest(f"{self._salt} {text}")

    def led_to(self, name: object) -> str:
        """How `led` holds a database's name."""
        return self.secret_digest(f"led {name}")

    def group_of(self, row: Row) -> str:
        """The name of a server's group."""
        return self.groups.get(row["servergroup_id"], "")

    # --- what is changed -------------------------------------------------------------------

    def add(self, row: Row) -> int:
        """Add a server; its number.

        One switch's default in the table is the text "false", which pgAdmin takes for on: it
        would export a server that signs in with Kerberos.
        """
        number = self._free("server")
        switches = {name: 0 for name in ("kerberos_conn",) if name in self.columns}
        row = {"id": number, "user_id": self.user, **row, **switches}
        self.servers[number] = self.whole["tables"]["server"]["rows"][str(number)] = row
        return number

    def delete(self, number: int) -> None:
        """Delete a server."""
        del self.servers[number], self.whole["tables"]["server"]["rows"][str(number)]

    def group(self, name: str) -> int:
        """The number of the user's group of that name, which is made where there is none."""
        if there := [int(number) for number, each in self.groups.items() if each == name]:
            return min(there)
        number = self._free("servergroup")
        row = {"id": number, "user_id": self.user, "name": name}
        self.whole["tables"]["servergroup"]["rows"][str(number)] = row
        self.groups[number] = self.made_groups[number] = name
        return number

    def drop_groups(self, names: Collection[str]) -> None:
        """Take out groups that we made and that are left without a server.

        Args:
            names: groups that pgherald 0.1, which did not record it, may have made.
        """
        first = self.whole.get("first", {}).get("servergroup", {})
        made = {int(number) for number, was in first.items() if not was["there"]}
        made = {number for number in made if self.groups.get(number) in names}
        used = {row["servergroup_id"] for row in self.rows("server")}
        for number in (made | self.made_groups.keys()) - used:
            del self.whole["tables"]["servergroup"]["rows"][str(number)]
            self.made_groups.pop(number, None)

    def _free(self, table: str) -> int:
        """A number that no row of the table has, nor, as far as can be known, ever had.

        An open pgAdmin would take a new server for the one that had its number before.
        """
        counts: list[int] = [
            row["seq"] or 0 for row in self.rows("sqlite_sequence") if row["name"] == table
        ]
        ours = [row.id for rows in self.records.values() for row in rows if table == "server"]
        return max([*map(int, self.whole["tables"][table]["rows"]), *counts, *ours], default=0) + 1

    # --- which pgAdmin it is ---------------------------------------------------------------

    @property
    def broken_for_services(self) -> str | None:
        """The release in use, where it is one in which service rows do not work.

        pgAdmin issues 5889 (6.20), 6149 (7.0), 7840 (8.10, 8.11). No database says which
        release uses it; the preferences that each release adds narrow it down.
        """
        program = self.whole.get("program") or 0
        preferences = {row["name"] for row in self.rows("preferences")}
        for schema, (first, last), broken, has, lacks in _SUSPECTS:
            if schema != self.schema:
                continue
            if first <= program <= last:
                if program in broken:
                    return broken[program]
            elif has in preferences and lacks not in preferences:
                return " or ".join(broken.values())
        return None

    @property
    def lost_tools(self) -> str:
        """The tools that fail on a service row, since they want host and user in the row."""
        program = self.whole.get("program") or 0
        tools = ["Maintenance", "Refresh Materialized View"]
        if program < 91200 if program else self.schema < _BACKUP_SCHEMA:
            tools += ["Backup", "Restore"]
        if program < 70000 if program else self.schema <= OLDEST_SCHEMA:
            tools.append("Import/Export Data")
        return f"{', '.join(tools[:-1])} and {tools[-1]}"

    @property
    def keeps_passwords_elsewhere(self) -> bool:
        """Whether it may be a pgAdmin that puts saved passwords into the system's keyring.

        pgAdmin: 7.2 to 8.11. There such a password beats the service file, and nothing in
        the row says so.
        """
        return self.schema <= _LAST_KEYRING_SCHEMA


#: How releases with a fault are known: their schema, the first and the last release that has it, the
#: ones with the fault by number, a preference that they have, and one that came later. Read in the
#: wheels of all releases from 6.19 to 9.18. What 8.12 writes is what 8.11 does.
_SUSPECTS: Final = (
    (35, (62000, 70799), {62000: "6.20"}, "show_system_objects", "cardinality_notation"),
    (35, (62000, 70799), {70000: "7.0"}, "last_storage", "breadcrumbs_enable"),
    (40, (80700, 81399), {81000: "8.10", 81100: "8.11"},
     "close_tab_panel", "data_result_rows_per_page"),
)  # fmt: skip


def digest(text: str) -> str:
    """A short digest."""
    return hashlib.sha256(f"pgherald {text}".encode("utf-8", "surrogatepass")).hexdigest()[:16]


def mark_of(row: Row) -> str:
    """What a row leads by: its service or, in a host row, its database."""
    return digest(f"row {row['service'] or row['maintenance_db']}")


def _user(users: Sequence[Row], wanted: str | None, auth_source: str | None) -> int:
    """The number of the user."""
    found = [row for row in users if row.get("active") not in (0, None, "false")]
    if wanted is not None:
        found = [row for row in found if wanted in (row.get("username"), row.get("email"))]
        sources = sorted({str(row.get("auth_source")) for row in found})
        if auth_source is not None:
            found = [row for row in found if row.get("auth_source") == auth_source]
        how = "" if auth_source is None else f" who signs in by {auth_source}"
        choice = f"auth_source = {' or '.join(map(json.dumps, sources))}"
        if not found:
            advice = "Write `user` in [clients.pgadmin] as you sign in to pgAdmin."
            by = f"Write in [clients.pgadmin] how that user signs in: {choice}"
            raise Unsupported(f"has no user {wanted!r}{how}", by if sources else advice)
        if len({row.get("username") for row in found}) < len(found):
            by = f"Write in [clients.pgadmin] how you sign in: {choice}"
            raise Unsupported(f"has several users {wanted!r}", by)
    elif len(found) > 1:
        raise Unsupported(
            "serves several people, to all of whom a service row would be open",
            'Name yourself in [clients.pgadmin], as you sign in to pgAdmin: user = "…".',
        )
    if not found:
        raise Unsupported("has no user yet", "Start pgAdmin once.")
    number: int = found[0]["id"]
    return number
