"""One server row of pgAdmin's: what is ours in it, and what it says. Pure."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any, Final, Literal

from pgherald.clients.base import Held
from pgherald.clients.pgadmin_picture import Row
from pgherald.errors import Inexpressible
from pgherald.model import Entry, Login
from pgherald.secret import MASK

#: Seconds. psycopg, through which pgAdmin connects, does not read it from the service file,
#: and waits 130 seconds without it.
_CONNECT_TIMEOUT: Final = 10

#: pgAdmin hands every connection parameter to libpq, where these would beat the login.
_LOGIN_PARAMETERS: Final = frozenset(
    {"host", "hostaddr", "port", "user", "password", "dbname", "service", "passfile"}
)

#: Connection parameters that are pgherald's affair in a row of ours; all others are the person's.
OWN_PARAMETERS: Final = _LOGIN_PARAMETERS | {"sslmode", "connect_timeout"}

#: Heroku gives a database such a name, and no second one the same.
_HEROKU_NAME: Final = re.compile(r"d[0-9a-z]{10,}")
_HEROKU_HOST: Final = ".amazonaws.com"

#: Columns whose value is shown; in any other one there might be a secret.
SHOWN: Final = frozenset(
    {
        "id",
        "user_id",
        "servergroup_id",
        "name",
        "host",
        "port",
        "maintenance_db",
        "username",
        "db_res",
        "db_res_type",
        "service",
        "save_password",
        "connection_params",
    }
)
_COLUMN: Final = re.compile(r'^\s*"(\w+)": ')

# pgAdmin could not hold these: NUL ends a C string, half a surrogate pair has no UTF-8.
_UNSTORABLE = re.compile("[\0\ud800-\udfff]")


#: Values by which a column says nothing; False is 0 as well.
UNSET: Final = (None, "", False, "false", "null", "databases")


@dataclass(frozen=True, slots=True)
class RowForm:
    """How rows are made: see `clients.pgadmin`.

    Attributes:
        rows: `service` for service rows, `host` for host rows with a passfile.
        passfile: for host rows, the file as pgAdmin resolves it.
    """

    rows: Literal["service", "host"]
    passfile: str

    def columns(self, entry: Entry) -> Row:
        """What our columns hold in a row for this entry, `connection_params` aside."""
        login = entry.login
        own: Row = {"host": None, "port": None, "username": None, "service": None}
        if self.rows == "service":
            own |= {"service": entry.database.service}
        else:
            own |= {"host": login.host, "port": login.port, "username": login.user}
        return own | {
            "maintenance_db": login.dbname,
            "db_res": login.dbname,
            "password": None,
            "save_password": 0,
        }

    def parameters(self, entry: Entry, present: object) -> str:
        """The row's connection parameters: the text as it stands where it is right.

        Args:
            entry: what the row is for.
            present: what the column holds. pgAdmin answers with an error where that is NULL
                or JSON's null, so it is repaired.
        """
        old = parameters_of(present)
        new = {name: value for name, value in old.items() if name not in _LOGIN_PARAMETERS}
        new["sslmode"] = entry.login.sslmode
        new.setdefault("connect_timeout", _CONNECT_TIMEOUT)
        if self.rows == "host":
            new["passfile"] = self.passfile
        return present if new == old and isinstance(present, str) else json.dumps(new)

    def keeps(self, row: Row) -> bool:
        """Whether a row that was ours still is; the person may have made it their own again.

        So does a rollback. A service row that names another service has another mark, which
        says enough; a host row is ours while it has a passfile. A password that was saved, or
        parameters that were lost, are no sign of anything.
        """
        parameters = parameters_of(row["connection_params"])
        return self.rows == "service" or "passfile" in parameters or not parameters

    def differences(self, entry: Entry, row: Row) -> Row:
        """Our columns that are not as they should be in a row that is there, put right.

        Args:
            entry: what the row is for.
            row: all of its columns.
        """
        wanted = self.columns(entry)
        wanted["connection_params"] = self.parameters(entry, row["connection_params"])
        # The one would give a password, which would beat the service file and the passfile; the
        # other, as "sql", would make pgAdmin read the database's name as a condition.
        wanted |= {"passexec_cmd": None, "db_res_type": "databases"}
        return {
            name: value
            for name, value in wanted.items()
            if row.get(name) != value and not (value in UNSET and row.get(name) in UNSET)
        }


def check(entry: Entry) -> None:
    """Refuse what a row could not hold."""
    texts = {
        "name": entry.database.name,
        "group": entry.database.group,
        "service": entry.database.service,
        "database": entry.login.dbname,
        "host": entry.login.host,
        "user": entry.login.user,
    }
    for what, text in texts.items():
        if not text or _UNSTORABLE.search(text):
            raise _inexpressible(f"the {what} of {entry.key} is empty or holds a NUL")
    if "," in entry.login.dbname:
        # pgAdmin: servers/utils.py splits db_res at commas.
        raise _inexpressible(f"the database name of {entry.key} holds a comma")


def _inexpressible(reason: str) -> Inexpressible:
    return Inexpressible(reason, "Enter this server in pgAdmin by hand.")


def likeness(row: Row, login: Login) -> int:
    """How surely a server leads to the database of a login; 0 for not at all.

    A server may still have the login of some rotation ago.
    """
    if row["maintenance_db"] != login.dbname:
        return 0
    host = str(row["host"]).casefold()
    same_host = (host, row["port"] or 5432) == (login.host.casefold(), login.port)
    if row["username"] == login.user:
        return 3
    if same_host:
        return 2
    unlike_any = _HEROKU_NAME.fullmatch(login.dbname) and host.endswith(_HEROKU_HOST)
    return 1 if unlike_any else 0


def parameters_of(present: object) -> dict[str, Any]:
    """What a row's column of connection parameters says; nothing where it cannot be read."""
    try:
        found = json.loads(present) if isinstance(present, str) else None
    except ValueError:
        found = None
    return found if isinstance(found, dict) else {}


def held(row: Row) -> Held:
    """What a row says of its login."""
    sslmode = parameters_of(row["connection_params"]).get("sslmode")
    return Held(
        host=row["host"] or None,
        port=row["port"] if isinstance(row["port"], int) else None,
        dbname=row["maintenance_db"],
        user=row["username"] or None,
        sslmode=sslmode if isinstance(sslmode, str) else None,
        service=row["service"] or None,
    )


def redacted(line: str) -> str:
    """A line of an image, masked unless its column is known to hold no secret."""
    found = _COLUMN.match(line)
    if found is None or line.rstrip().endswith(("{", "{}", "{},", "null", "null,")):
        return line
    return line if found[1] in SHOWN else f"{found[0]}{MASK}"


def shown(name: object) -> str:
    """A server's name in quotes, fit for one line."""
    return json.dumps(str(name), ensure_ascii=False)
