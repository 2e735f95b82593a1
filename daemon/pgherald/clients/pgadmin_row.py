"""One server of pgAdmin's: what is ours in it, and what it says. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final, Literal

from pgherald.clients.base import Held
from pgherald.clients.pgadmin_database import Row
from pgherald.errors import Inexpressible
from pgherald.model import Entry, Login, strictest

#: Seconds. psycopg, through which pgAdmin connects, does not read it from the service file,
#: and waits 130 seconds without it.
_CONNECT_TIMEOUT: Final = 10

#: pgAdmin hands every connection parameter to libpq, where these would beat the login.
LOGIN_PARAMETERS: Final = frozenset(
    "host hostaddr port user password dbname service passfile".split()
)

#: Connection parameters that are pgherald's affair in a row of ours; all others are the person's.
OWN_PARAMETERS: Final = LOGIN_PARAMETERS | {"sslmode", "connect_timeout"}

#: Columns that are pgherald's affair in a row of ours, `connection_params` aside.
OWN_COLUMNS: Final = frozenset(
    "host port username service maintenance_db db_res db_res_type passexec_cmd".split()
)

#: Columns that pgAdmin hands to libpq, unless they are NULL.
_TO_LIBPQ: Final = ("host", "port", "username")

#: Columns that say nothing of whose a row is: pgAdmin itself writes a password that is saved.
_NEITHER: Final = frozenset({"id", "user_id", "password", "save_password"})

#: Parameters that hold a login, or a part of one that the next rotation makes wrong.
_HOLDING: Final = LOGIN_PARAMETERS | {"scram_client_key", "scram_server_key"}

#: Parameters that are of use with Kerberos alone.
_KERBEROS: Final = ("krbsrvname", "gsslib", "gssdelegation")

#: pgAdmin: the cloud_status of a server that it has asked a cloud for, and that is not there yet.
_DEPLOYING: Final = -1

#: Databases that every Postgres has.
_EVERYWHERE: Final = ("postgres", "template1")

#: Heroku gives a database such a name, and no second one the same.
_HEROKU_NAME: Final = re.compile(r"d[0-9a-z]{10,}")
_HEROKU_HOST: Final = ".amazonaws.com"

#: Columns whose value is shown; in any other one there might be a secret.
SHOWN: Final = frozenset(
    "id user_id servergroup_id name host port maintenance_db username db_res db_res_type service "
    "save_password connection_params".split()
)

#: pgAdmin could not hold these: NUL ends a C string, half a surrogate pair has no UTF-8.
UNSTORABLE: Final = re.compile("[\0\ud800-\udfff]")

#: Values by which a column says nothing; False is 0 as well.
UNSET: Final = (None, "", False, "false", "null")

_NAMES: Final = frozenset(("host", "maintenance_db", "username", "db_res", "service"))


@dataclass(frozen=True, slots=True)
class RowForm:
    """How rows are made: see `clients.pgadmin`.

    Attributes:
        rows: `service` for service rows, `host` for host rows with a passfile.
        passfile: for host rows, the file as pgAdmin resolves it: in server mode below
            the user's own storage folder. None leaves the one that stands there.
    """

    rows: Literal["service", "host"] = "service"
    passfile: str | None = None

    def columns(self, entry: Entry) -> Row:
        """What our columns hold in a row for this entry, `connection_params` aside."""
        login = entry.login
        own: Row = {"host": None, "port": None, "username": None, "service": None}
        if self.rows == "service":
            own |= {"service": entry.database.service}
        else:
            own |= {"host": login.host, "port": login.port, "username": login.user}
        own |= {"maintenance_db": login.dbname, "db_res": login.dbname}
        return own | {"password": None, "save_password": 0}

    def parameters(self, entry: Entry, present: object) -> str:
        """The row's connection parameters: the text as it stands where it is right.

        Args:
            entry: what the row is for.
            present: what the column holds. pgAdmin answers with an error where that is NULL
                or JSON's null, so it is repaired.
        """
        old = parameters_of(present)
        new = {name: value for name, value in old.items() if name not in LOGIN_PARAMETERS}
        if self.rows == "host" and entry.database.sslrootcert is not None:
            new["sslrootcert"] = entry.database.sslrootcert
        new["sslmode"] = mode_for(entry.login.sslmode, new)
        new.setdefault("connect_timeout", _CONNECT_TIMEOUT)
        passfile = old.get("passfile") if self.passfile is None else self.passfile
        if self.rows == "host" and passfile is not None:
            new["passfile"] = passfile
        return present if new == old and isinstance(present, str) else json.dumps(new)

    def keeps(self, row: Row) -> bool:
        """Whether a row that was ours still is; the person may have made it their own again.

        So does a rollback. A service row is ours while it says no other way to the server; a
        host row while it has a passfile. A password that was saved, or parameters that were
        lost, are no sign of anything.
        """
        if self.rows == "service":
            return own_way(row) is None
        parameters = parameters_of(row["connection_params"])
        return "passfile" in parameters or not parameters

    def is_plain(self, row: Row, name: str) -> bool:
        """Whether a row is just what pgherald makes, and nobody has put anything into it.

        Args:
            row: all of its columns.
            name: what pgherald called it.
        """
        ours = OWN_COLUMNS | _NEITHER | {"servergroup_id", "name", "connection_params"}
        return (
            row["name"] == name
            and all(value in UNSET for column, value in row.items() if column not in ours)
            and row["db_res"] == row["maintenance_db"]
            and parameters_of(row["connection_params"]).keys() <= OWN_PARAMETERS
            and (self.rows == "host" or not signs_in(row))
        )

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
        return _unlike(row, wanted)

    def followed(self, entry: Entry, row: Row, leads: Callable[[str], bool]) -> Row:
        """What has to change in a row of the person's that names our section, to keep it working.

        Args:
            entry: what its section is for.
            row: all of its columns.
            leads: whether the database has a name, or had it.
        """
        old = parameters_of(row["connection_params"])
        wanted: Row = dict.fromkeys((*_TO_LIBPQ, "password"))
        wanted |= {"service": entry.database.service, "save_password": 0}
        if row["maintenance_db"] not in _EVERYWHERE:
            wanted["maintenance_db"] = entry.login.dbname
        shown = [entry.login.dbname if leads(name) else name for name in restriction(row)]
        if shown != restriction(row):
            wanted["db_res"] = ",".join(dict.fromkeys(shown))
        if old.get("sslmode") != (mode := mode_for(entry.login.sslmode, old)):
            wanted["connection_params"] = json.dumps(old | {"sslmode": mode})
        return _unlike(row, wanted)

    def obstacle(self, row: Row) -> str | None:
        """Why a server that was made by hand cannot be adopted without loss; None if it can."""
        return next(self._obstacles(row, parameters_of(row["connection_params"])), None)

    def _obstacles(self, row: Row, parameters: Row) -> Iterator[str]:
        """All such reasons.

        Of pgAdmin's columns and libpq's parameters these are the ones that go by the row's own
        host and port, that sign in in a way of their own, or that are other people's affair.
        """
        if self.rows == "service" and _is_on(row.get("use_ssh_tunnel")):
            yield "its SSH tunnel leads to the host and port that stand in it"
        if _is_on(row.get("shared")):
            yield "it is shared with the other users of this pgAdmin"
        if row.get("cloud_status") == _DEPLOYING:
            yield "pgAdmin is still deploying it"
        if row.get("passexec_cmd") not in UNSET:
            yield "it gets its password from a command"
        kerberos = any(parameters.get(name) not in UNSET for name in _KERBEROS)
        needs = parameters.get("gssencmode") == "require"
        if _is_on(row.get("kerberos_conn")) or kerberos or needs:
            yield "it signs in with Kerberos"
        same = {
            "host": row["host"],
            "port": str(row["port"]),
            "user": row["username"],
            "dbname": row["maintenance_db"],
        }
        # A passfile is not read where a password is given, and comes back with the rest.
        for name in sorted(_HOLDING & parameters.keys() - {"passfile"}):
            value = parameters[name]
            if value not in UNSET and (str(value) if name == "port" else value) != same.get(name):
                yield f"its parameter {name} is a part of its login"


def mode_for(ours: str, present: Row) -> str:
    """The `sslmode` that a row gets: never one that is weaker than the person's own.

    Args:
        ours: the mode that pgherald asks for.
        present: the row's parameters as they are. With the system's certificates libpq takes no
            other mode than verify-full, and is content with none.
    """
    system = "verify-full" if present.get("sslrootcert") == "system" else None
    theirs = present.get("sslmode")
    return strictest(ours, theirs if isinstance(theirs, str) else None, system)


def _unlike(row: Row, wanted: Row) -> Row:
    """The columns that differ; an empty text hides from libpq what the service says."""
    return {
        name: value
        for name, value in wanted.items()
        if row.get(name) != value
        and (
            name in _TO_LIBPQ
            or not (says_nothing(name, value) and says_nothing(name, row.get(name)))
        )
    }


def says_nothing(column: str, value: object) -> bool:
    """Whether a column's value is as good as none; "databases" is a restriction's default."""
    if column in _NAMES:  # a user may be called "false"
        return not value
    return value in UNSET or (column == "db_res_type" and value == "databases")


def _is_on(value: object) -> bool:
    """Whether a switch is on; pgAdmin's databases hold its position in several spellings."""
    return value not in (*UNSET, "0")


def own_way(row: Row) -> str | None:
    """In which way a row leads to its server past the service that it names; None if by that."""
    parameters = parameters_of(row["connection_params"])
    if _is_on(row.get("use_ssh_tunnel")):
        return "goes through an SSH tunnel"
    if not {row["host"], parameters.get("host"), parameters.get("hostaddr")} <= {*UNSET}:
        return "has a host of its own"
    return None


def signs_in(row: Row, login: Login | None = None) -> bool:
    """Whether a row signs in by itself, whatever the service that it names says.

    Args:
        row: all of its columns.
        login: what the service says; who says the same goes by it.
    """
    parameters = parameters_of(row["connection_params"])
    # Not `kerberos_conn`: pgAdmin exports it as on where it never was, and without a host of its
    # own and a Kerberos parameter such a row goes by its service all the same.
    same = {} if login is None else {"port": login.port, "username": login.user}
    return any(
        row.get(name) not in (*UNSET, same.get(name))
        for name in ("port", "username", "passexec_cmd")
    ) or any(parameters.get(name) not in UNSET for name in _HOLDING)


def parts(row: Row) -> tuple[dict[str, Any], dict[str, Any]]:
    """What a row says, by column: what is pgherald's affair in a row of ours, and all the rest.

    What says nothing is left out, since pgAdmin writes it in several spellings, and a newer
    pgAdmin adds columns that say nothing. So is a saved password, and the row's number.
    """
    ours: dict[str, Any] = {}
    theirs: dict[str, Any] = {}
    for name, value in row.items():
        if name == "connection_params":
            for key, each in parameters_of(value).items():
                (ours if key in OWN_PARAMETERS else theirs)[f"{name}.{key}"] = each
        elif name not in _NEITHER and value not in ("[]", "{}") and not says_nothing(name, value):
            (ours if name in OWN_COLUMNS else theirs)[name] = value
    return ours, theirs


def check(entry: Entry) -> None:
    """Make sure that a server can hold what it is to hold.

    Raises:
        Inexpressible: it could not.
    """
    if "," in entry.login.dbname:  # pgAdmin: servers/utils.py splits db_res at commas
        raise Inexpressible(
            f"the database of {entry.key} holds a comma", "Enter this server in pgAdmin by hand."
        )


def likeness(row: Row, login: Login) -> int:
    """How surely a server leads to the database of a login; 0 for not at all.

    A server may still have the login of some rotation ago.
    """
    if login.dbname not in databases_of(row):
        return 0
    host = str(row["host"]).casefold()
    same_host = (host, row["port"] or 5432) == (login.host.casefold(), login.port)
    if row["username"] == login.user:
        return 3
    if same_host:
        return 2
    unlike_any = _HEROKU_NAME.fullmatch(login.dbname) and host.endswith(_HEROKU_HOST)
    return 1 if unlike_any else 0


def databases_of(row: Row) -> set[str]:
    """The databases that a server is for: the one that it names, or those that it is restricted to.

    Many servers name one that every Postgres has, to connect to, and say in the restriction which
    they are for.
    """
    if row["maintenance_db"] not in (*UNSET, *_EVERYWHERE):
        return {row["maintenance_db"]}
    return set(restriction(row))


def restriction(row: Row) -> list[str]:
    """The databases that a server shows; empty where it shows all."""
    return [name.strip() for name in str(row["db_res"] or "").split(",") if name.strip()]


def is_twin(row: Row, other: Row) -> bool:
    """Whether two servers differ in nothing: the import has added the one that was there.

    It fills in some of what counts with a tunnel alone.
    """
    one, two = (
        [{name: part[name] for name in part if name[:7] != "tunnel_"} for part in parts(each)]
        for each in (row, other)
    )
    return one == two


def parameters_of(present: object) -> dict[str, Any]:
    """What a row's column of connection parameters says; nothing where it cannot be read."""
    try:
        found = json.loads(present) if isinstance(present, str) else None
    except ValueError:
        found = None
    return found if isinstance(found, dict) else {}


def held(row: Row) -> Held:
    """What a row says of its login."""
    parameters = parameters_of(row["connection_params"])
    sslmode, rootcert = parameters.get("sslmode"), parameters.get("sslrootcert")
    return Held(
        host=row["host"] or None,
        port=row["port"] if isinstance(row["port"], int) else None,
        dbname=row["maintenance_db"],
        user=row["username"] or None,
        sslmode=sslmode if isinstance(sslmode, str) else None,
        service=row["service"] or None,
        sslrootcert=rootcert if isinstance(rootcert, str) and rootcert else None,
    )


def shown(name: object) -> str:
    """A server's name in quotes, fit for one line."""
    return json.dumps(str(name), ensure_ascii=False)
