"""The shape of `[clients]` in the configuration file; see `schema`.

A new kind of client is one class here and one line in `ClientsTable`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from pgherald.config import values
from pgherald.config.meta import Form, key, section
from pgherald.config.settings import Rows


class ClientTable:
    """What every table of a client offers beside its keys.

    Attributes:
        home: its default path below the home folder; empty when `path` is required.
        appdata: the same on Windows, below %APPDATA%.
        path: the path as written; None for the default.
    """

    __slots__ = ()

    home: ClassVar[str] = ""
    appdata: ClassVar[str] = ""
    path: str | None


@dataclass(frozen=True, slots=True)
class ServiceFileTable(ClientTable):
    """`[clients.service_file]`. The places are libpq's own."""

    home: ClassVar = ".pg_service.conf"
    appdata: ClassVar = "postgresql/.pg_service.conf"

    path: str | None = key(
        values.PATH,
        "The file. Set it if you use $PGSERVICEFILE.",
        default=None,
        default_text=r"`~/.pg_service.conf`; on Windows `%APPDATA%\postgresql\.pg_service.conf`",
        example="~/.pg_service.conf",
    )


@dataclass(frozen=True, slots=True)
class PgpassTable(ClientTable):
    """`[clients.pgpass]`. The places are libpq's own."""

    home: ClassVar = ".pgpass"
    appdata: ClassVar = "postgresql/pgpass.conf"

    path: str | None = key(
        values.PATH,
        "The file. Set it if you use $PGPASSFILE.",
        default=None,
        default_text=r"`~/.pgpass`; on Windows `%APPDATA%\postgresql\pgpass.conf`",
        example="~/.pgpass",
    )


@dataclass(frozen=True, slots=True)
class ServersJsonTable(ClientTable):
    """`[clients.servers_json]`."""

    path: str = key(values.PATH, "The file.", example="~/heroku-servers.json")
    rows: Rows = key(
        values.ROWS,
        'How a server is named. "service": by its section in the service file, which needs '
        '[clients.service_file]. "host": by host, port and user, for a pgAdmin that cannot '
        "see the service file.",
        default=Rows.SERVICE,
    )
    passfile: str | None = key(
        values.TEXT,
        'With rows = "host": the pgpass file as the pgAdmin that imports the servers will '
        "see it. It is written as it stands, except that ~/ is expanded.",
        default=None,
        default_text="none",
        example="/.pgpass",
    )


@dataclass(frozen=True, slots=True)
class PgAdminTable(ClientTable):
    """`[clients.pgadmin]`."""

    path: str = key(
        values.PATH,
        'pgAdmin\'s configuration database, pgadmin4.db. "auto" finds that of every pgAdmin on '
        "this machine that you may write to.",
        default="auto",
        example="auto",
    )
    user: str | None = key(
        values.NAME,
        "Whose servers, as you sign in to pgAdmin. Needed where one pgAdmin serves several people.",
        default=None,
        default_text="the only user there is",
        example="me@example.com",
    )
    rows: Rows | None = key(
        values.ROWS,
        'How a server is named. "service": by its section in the service file, which needs '
        "[clients.service_file], and which everybody who may sign in to that pgAdmin can use. "
        '"host": by host, port and user, with a passfile in the storage folder of `user`.',
        default=None,
        default_text='`"host"` where `user` is set, else `"service"`',
        example="service",
    )
    storage: str | None = key(
        values.PATH,
        'With rows = "host": the folder in which pgAdmin keeps a storage folder for each of its '
        "users (its STORAGE_DIR).",
        default=None,
        default_text="the folder `storage` beside the configuration database",
        example="/var/lib/pgadmin/storage",
    )


@dataclass(frozen=True, slots=True)
class ClientsTable:
    """`[clients]`: one line per kind."""

    pgadmin: tuple[PgAdminTable | None, ...] = section(
        PgAdminTable,
        Form.EITHER,
        "pgAdmin itself: each database gets a server in it, which never asks for a password "
        "again. Servers of your own stay as they are.",
    )

    service_file: tuple[ServiceFileTable | None, ...] = section(
        ServiceFileTable,
        Form.EITHER,
        "The service file of libpq, password included. pgAdmin and psql read it again at "
        "every connection, so that a running pgAdmin notices nothing of a rotation.",
    )
    pgpass: tuple[PgpassTable | None, ...] = section(
        PgpassTable,
        Form.EITHER,
        "The password file of libpq, for programs that are given host and user: psql, "
        "pgcli, DBeaver.",
    )
    servers_json: tuple[ServersJsonTable | None, ...] = section(
        ServersJsonTable,
        Form.EITHER,
        "A list of servers for pgAdmin to import (Tools > Import/Export Servers), for new "
        "installations, containers and colleagues. It holds no passwords.",
    )
