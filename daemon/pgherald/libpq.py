"""Connecting to a Postgres with a login and nothing else.

libpq fills whatever a caller leaves open from some thirty environment variables, from
`~/.pgpass`, from service files and from `~/.postgresql/`. That is right for `psql` and wrong
for a proof: it would prove the person's shell. Here every parameter that the environment
could set is set, to libpq's own default unless the login says otherwise.
"""

from __future__ import annotations

import os
import ssl
from pathlib import Path
from typing import Final

from pgherald.model import REQUIRE_AUTH, Login

#: What the server's list of connections shows.
APPLICATION_NAME: Final = "pgherald"

#: What no connection parameter outweighs. libpq: a service that is named but not defined is
#: an error even if it is not needed (fe-connect.c, `parseServiceInfo`); the others are sent
#: to the server, which refuses values that it does not know (`EnvironmentOptions`).
_STUBBORN: Final = ("PGSERVICE", "PGDATESTYLE", "PGTZ", "PGGEQO")

#: The oldest libpq that can withhold a password from a server (`require_auth`).
OLDEST: Final = 160000

#: What stands in place of a root certificate's file for those that the system trusts. From
#: libpq 16 on; it is refused with any sslmode but `verify-full`.
SYSTEM: Final = "system"

#: A path that exists nowhere. libpq takes an empty one for its own default.
_NOWHERE: Final = str(Path(os.devnull, "none"))

#: The parameters to which neither libpq's default nor an empty value would do.
_DEFAULTS: Final = {
    "application_name": APPLICATION_NAME,
    "passfile": _NOWHERE,
    "sslcert": _NOWHERE,
    "sslkey": _NOWHERE,
    "sslcertmode": "disable",
    "sslrootcert": _NOWHERE,
    "sslcrl": _NOWHERE,
    "gssencmode": "disable",
    "min_protocol_version": "3.0",
    "max_protocol_version": "3.0",
}


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
    root_certificate: Path | str | None = None,
    require_auth: str = REQUIRE_AUTH,
) -> str:
    """A connection string that leaves nothing open. It holds the password.

    sslmode `require` and weaker check no certificate here. libpq would, if there happens to
    be a `~/.postgresql/root.crt`; but a proof is about the login, and a certificate for some
    other server says nothing about it. With `verify-ca` and `verify-full` the person has asked
    for the check, and then it is done with that very file, as in every other client.

    Args:
        login: whom to connect as, and where to.
        address: IP address of the login's host, or of what leads there.
        timeout: seconds that connecting may take; libpq's own limit, in whole seconds.
        port: port at that address, if it is not the login's own.
        root_certificate: what to verify against, instead of libpq's usual file; with a file
            `require` verifies too, in libpq as here. `system` stands for the system's own.
        require_auth: how the server may ask for the password. One that asks for none proves none.

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
    if root_certificate is not None or login.sslmode.startswith("verify-"):
        settings |= _verifying(root_certificate)
    if any("\0" in value for value in settings.values()):
        raise ValueError("the login holds a NUL")
    parameters = {
        option.keyword.decode(): (option.compiled or b"").decode()
        for option in pq.Conninfo.get_defaults()
        if option.envvar and option.keyword != b"service"
    }
    # An older libpq does not know all of ours.
    parameters |= {name: settings[name] for name in settings.keys() & parameters.keys()}
    return conninfo.make_conninfo("", **parameters)


def _verifying(root_certificate: Path | str | None) -> dict[str, str]:
    """libpq: the certificates are in `~/.postgresql`, on Windows in `postgresql` in `%APPDATA%`."""
    if root_certificate == SYSTEM:
        # The OpenSSL that comes with psycopg keeps none, and searches where some other system
        # has them; Python knows where they are here.
        return {"sslrootcert": ssl.get_default_verify_paths().cafile or SYSTEM}
    if root_certificate is not None:
        return {"sslrootcert": str(root_certificate)}
    appdata = os.environ.get("APPDATA") if os.name == "nt" else None
    folder = Path(appdata, "postgresql") if appdata else Path.home() / ".postgresql"
    return {"sslrootcert": str(folder / "root.crt"), "sslcrl": str(folder / "root.crl")}
