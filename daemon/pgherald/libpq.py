"""Connecting to a Postgres with a login and nothing else, or as the clients on this machine do.

libpq fills whatever a caller leaves open from some thirty environment variables, from
`~/.pgpass`, from service files and from `~/.postgresql/`. That is right for `psql` and wrong
for a proof: it would prove the person's shell. Here every parameter that the environment
could set is set, to libpq's own default unless the login or an `Extra` says otherwise.
"""

from __future__ import annotations

import errno
import os
import ssl
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from pgherald.model import LOGIN_FIELDS, REQUIRE_AUTH, Login

#: What the server's list of connections shows.
APPLICATION_NAME: Final = "pgherald"

#: What no connection parameter outweighs, with what it sets. libpq: a service that is named but
#: not defined is an error even if it is not needed (fe-connect.c, `parseServiceInfo`); the others
#: are sent to the server, which refuses values that it does not know (`EnvironmentOptions`).
_STUBBORN: Final = {
    "PGSERVICE": "",
    "PGDATESTYLE": "datestyle",
    "PGTZ": "timezone",
    "PGGEQO": "geqo",
}

#: The oldest libpq that can withhold a password from a server (`require_auth`).
OLDEST: Final = 160000

#: What stands in place of a root certificate's file for those that the system trusts. From
#: libpq 16 on; it is refused with any sslmode but `verify-full`.
SYSTEM: Final = "system"

#: A path that exists nowhere. libpq takes an empty one for its own default, and this one, as any
#: that names no file, for none.
NOWHERE: Final = str(Path(os.devnull, "none"))

#: The parameters to which neither libpq's default nor an empty value would do.
_DEFAULTS: Final = {
    "application_name": APPLICATION_NAME,
    **dict.fromkeys(("passfile", "sslcert", "sslkey", "sslrootcert", "sslcrl"), NOWHERE),
    "sslcertmode": "disable",
    "gssencmode": "disable",
    "min_protocol_version": "3.0",
    "max_protocol_version": "3.0",
}

#: What a client never takes from elsewhere, since the login says it.
SET: Final = frozenset({*LOGIN_FIELDS, "passfile", "service", "servicefile"})

#: Values by which libpq connects to no server, or to few, by keyword.
_REFUSING: Final = {
    "gssencmode": ("require",),
    "sslrootcert": (SYSTEM,),
    "sslcertmode": ("require",),
    "sslnegotiation": ("direct",),
    "target_session_attrs": ("read-only", "standby"),
}


_ROOT_MENDS: Final = (
    'Write sslrootcert = "none" into this database\'s table of the configuration, or add the '
    "certificate of its server's authority to that file."
)
_CERT_MENDS: Final = (
    "If it is for this server, its key belongs beside it, without a passphrase and after "
    "`chmod 600`. If it is not, add the line "
    f"`sslcert={NOWHERE}` to the database's section of the service file."
)

#: The files of certificates: keyword, variable and name of each, and what mends the first.
_FILES: Final = (
    (
        (("sslrootcert", "PGSSLROOTCERT", "root.crt"), ("sslcrl", "PGSSLCRL", "root.crl")),
        _ROOT_MENDS,
    ),
    (
        (("sslcert", "PGSSLCERT", "postgresql.crt"), ("sslkey", "PGSSLKEY", "postgresql.key")),
        _CERT_MENDS,
    ),
)


@dataclass(frozen=True, slots=True)
class Extra:
    """Parameters that a client takes from elsewhere than the login.

    Attributes:
        source: the file, variable or line that says them.
        options: the parameters, by libpq's keyword.
        remedy: what mends it, should they keep libpq from connecting.
    """

    source: str
    options: tuple[tuple[str, str], ...] = field(repr=False)
    remedy: str


def refuses(keyword: str, value: str) -> bool:
    """Whether libpq connects to hardly any Postgres of Heroku's with this value."""
    if keyword == "require_auth":
        return not {"scram-sha-256", "md5"} & set(value.replace(" ", "").split(","))
    return value in _REFUSING.get(keyword, ())


def files(env: Mapping[str, str] = os.environ) -> Iterator[Extra]:
    """The certificates that libpq uses on this machine, whatever the client.

    They are in `~/.postgresql`, on Windows in `postgresql` in `%APPDATA%`, or where a variable
    says. libpq verifies by a root certificate under `require` too.
    """
    for places, mend in _FILES:
        found = {
            keyword: env.get(variable) or str(_folder(env) / name)
            for keyword, variable, name in places
        }
        (first, variable, _), *_ = places
        if env.get(variable):
            yield Extra(variable, tuple(found.items()), f"Run: unset {variable}")
        elif _may_be(Path(found[first])):
            source = found[first].replace(str(Path.home()), "~", 1)
            yield Extra(source, tuple(found.items()), mend)


def variables(env: Mapping[str, str]) -> Iterator[Extra]:
    """The variables that reach every client that is started here, but for those in `files`."""
    from psycopg import pq  # 100 ms that most commands do not need

    known = {o.envvar.decode(): o.keyword.decode() for o in pq.Conninfo.get_defaults() if o.envvar}
    names = _STUBBORN.keys() | known.keys()
    for name in sorted(name for name in names if env.get(name)):
        keyword, value = known.get(name, ""), env[name]
        if setting := _STUBBORN.get(name):
            keyword, value = "options", f"-c {setting}=" + value.replace(" ", "\\ ")
        if keyword not in SET | {place[0] for places, _ in _FILES for place in places}:
            yield Extra(name, ((keyword, value),), f"Run: unset {name}")


def defines(service: str) -> bool:
    """Whether libpq finds a service on this machine. Nothing is sent anywhere for that."""
    from psycopg import conninfo, pq  # 100 ms that most commands do not need

    text = conninfo.make_conninfo("", service=service, hostaddr="127.0.0.1", port=1)
    connection = pq.PGconn.connect_start(text.encode())
    try:
        return b"service" not in connection.error_message
    finally:
        connection.finish()


def ignore_environment() -> None:
    """Take the four variables that no parameter outweighs out of this process's environment."""
    for name in _STUBBORN:
        os.environ.pop(name, None)


def conninfo(
    login: Login,
    *,
    address: str,
    timeout: float,
    port: int | None = None,
    require_auth: str = REQUIRE_AUTH,
    options: Mapping[str, str] = {},
) -> str:
    """A connection string that leaves nothing open. It holds the password.

    Args:
        login: whom to connect as, and where to.
        address: IP address of the login's host, or of what leads there.
        timeout: seconds that connecting may take; libpq's own limit, in whole seconds.
        port: port at that address, if it is not the login's own.
        require_auth: how the server may ask for the password. One that asks for none proves none.
        options: further parameters. Without `sslrootcert`, `verify-ca` and `verify-full` verify
            by libpq's usual file and the weaker modes not at all.

    Raises:
        ValueError: the login holds a NUL, which no Postgres can take. Names no value.
    """
    from psycopg import conninfo, pq  # 100 ms that most commands do not need

    settings = _DEFAULTS | {
        "host": login.host,
        "hostaddr": address,
        "port": str(port or login.port),
        "dbname": login.dbname,
        "user": login.user,
        "password": login.password.reveal(),
        "sslmode": login.sslmode,
        "require_auth": require_auth,
        "connect_timeout": str(max(2, round(timeout))),
    }
    if login.sslmode.startswith("verify-"):
        folder = _folder(os.environ)
        settings |= {"sslrootcert": str(folder / "root.crt"), "sslcrl": str(folder / "root.crl")}
    if "sslcert" in options:
        settings["sslcertmode"] = "allow"
    parameters = {
        option.keyword.decode(): (option.compiled or b"").decode()
        for option in pq.Conninfo.get_defaults()
        if option.envvar and option.keyword != b"service"
    }
    # An older libpq does not know all of ours.
    parameters |= {name: settings[name] for name in settings.keys() & parameters.keys()}
    parameters |= options
    if (login.sslmode, options.get("sslrootcert")) == ("verify-full", SYSTEM):
        # The OpenSSL that comes with psycopg keeps none, and searches where some other system
        # has them; Python knows where they are here.
        parameters["sslrootcert"] = ssl.get_default_verify_paths().cafile or SYSTEM
    if any("\0" in value for value in parameters.values()):
        raise ValueError("the login holds a NUL")
    return conninfo.make_conninfo("", **parameters)


def _may_be(path: Path) -> bool:
    """Whether libpq uses or misses a file: one that it cannot look for keeps it from connecting."""
    try:
        path.stat()
    except OSError as exc:
        return exc.errno not in {errno.ENOENT, errno.ENOTDIR}
    except ValueError:  # a NUL in the path
        return False
    return True


def _folder(env: Mapping[str, str]) -> Path:
    appdata = env.get("APPDATA") if os.name == "nt" else None
    return Path(appdata, "postgresql") if appdata else Path.home() / ".postgresql"
