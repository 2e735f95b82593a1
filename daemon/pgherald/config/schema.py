"""The shape of the configuration file: the single source of truth.

One frozen class per table, one field per key. The field's metadata says what the value
may be, what it means, its default and an example; reading, checking, the example file,
the documents' tables and completion all come from here.

Tables that the program reads as they stand are in `settings`. A new kind of client is one
class here and one line in `ClientsTable`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from pgherald.config import values
from pgherald.config.settings import (
    DEFAULT_ATTACHMENT,
    DEFAULT_GROUP,
    DEFAULT_SSLMODE,
    DiscoverRule,
    Hook,
    Notifications,
    Rows,
    account_key,
)
from pgherald.config.tables import Form, key, section
from pgherald.config.values import TokenSpec, choice
from pgherald.model import REQUIRE_AUTH, ProbePolicy


@dataclass(frozen=True, slots=True)
class HerokuTable:
    """`[heroku]`."""

    token: TokenSpec = key(
        values.TOKEN,
        'Where the token comes from, never the token itself. "auto" takes $HEROKU_API_KEY, '
        "else asks the Heroku CLI (`heroku auth:token`), else reads netrc. The others: "
        '"env:NAME" (a variable), "file:PATH" (a file, or a systemd credential of that name), '
        '"command:COMMAND" (what it prints; no shell), '
        '"keyring:SERVICE" or "keyring:SERVICE/USER" (the system\'s password store), "netrc".',
        default=TokenSpec(),
        example="auto",
    )
    request_share: float = key(
        values.PERCENT,
        "How much of the account's requests pgherald may use. Heroku allows 4,500 an hour for "
        "all that you do.",
        default=0.25,
        example="25%",
    )
    events: bool = key(
        values.FLAG,
        "Follow the apps' own logs for releases, so that a rotation is looked at as it happens "
        "and not at the next look. It only ever makes a look come sooner.",
        default=True,
    )
    events_limit: int = key(
        values.COUNT,
        "Of how many apps, the first ones as they stand here. Each is one open connection and "
        "about one request an hour.",
        default=20,
    )


@dataclass(frozen=True, slots=True)
class AccountTable:
    """One of `[[accounts]]`."""

    name: str = key(
        values.ACCOUNT,
        "A name of your choice, to refer to in `account`: letters, digits, dashes, underscores.",
        example="work",
    )
    token: TokenSpec = key(
        values.TOKEN,
        "Where this account's token comes from, in the forms of [heroku].",
        example="file:~/.config/pgherald/work.token",
    )
    request_share: float = key(values.PERCENT, "As in [heroku].", default=0.25, example="25%")
    events: bool = key(values.FLAG, "As in [heroku].", default=True)
    events_limit: int = key(values.COUNT, "As in [heroku].", default=20)


@dataclass(frozen=True, slots=True)
class DatabaseTable:
    """One of `[[databases]]`."""

    app: str = key(values.APP, "The Heroku app's name.", example="shop-production")
    attachment: str = key(
        values.ATTACHMENT,
        "The attachment's name, as `heroku addons` shows it. The app's config var is "
        "<attachment>_URL; that form is understood too.",
        default=DEFAULT_ATTACHMENT,
    )
    account: str = account_key()
    name: str | None = key(
        values.NAME,
        "What pgAdmin shows.",
        default=None,
        default_text="`app (attachment)`",
        example="shop-production (DATABASE)",
    )
    group: str = key(values.NAME, "The server group in pgAdmin.", default=DEFAULT_GROUP)
    service: str | None = key(
        values.SERVICE,
        "The section in the service file, for `psql service=…`; every database has its own.",
        default=None,
        default_text="`app`; for another attachment than DATABASE, `app-attachment` in lower case",
        example="shop-production",
    )
    probe: ProbePolicy = key(
        values.PROBE,
        "What a login needs before it is written. "
        '"require": it has opened a connection. '
        '"prefer": that was tried; if it could not be done, it is written and called unproven. '
        '"off": nothing; every login is called unproven.',
        default=ProbePolicy.REQUIRE,
    )
    sslmode: str = key(
        values.SSLMODE,
        "libpq's sslmode, for the probe and in every client. Heroku refuses connections "
        "without TLS, so nothing weaker than the default is of use with it. A client in which "
        "you set a stricter one keeps it.",
        default=DEFAULT_SSLMODE,
    )
    require_auth: str = key(
        values.REQUIRE_AUTH,
        "How the server may ask the probe for the password, in libpq's words: scram-sha-256, md5, "
        "password, with commas between them. With password it gets the password itself, so name "
        "that only if you trust the server and the way to it.",
        default=REQUIRE_AUTH,
    )


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
        choice(*Rows, of=Rows),
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
        choice(*Rows, of=Rows),
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


@dataclass(frozen=True, slots=True)
class MetricsTable:
    """`[metrics]`."""

    textfile: str | None = key(
        values.METRICS_FILE,
        "A Prometheus text file for node_exporter's textfile collector to read, kept up to date by "
        "the daemon; its name ends in .prom. Everybody may read it. It holds names and times, "
        "and no secret.",
        default=None,
        example="/var/lib/node_exporter/pgherald.prom",
    )


@dataclass(frozen=True, slots=True)
class Root:
    """The whole file."""

    poll_interval: float = key(
        values.DURATION,
        'Pause between two looks at Heroku: seconds, or a text such as "90s", "5m" or "1h". '
        "At least 5 seconds (0.2 where $HEROKU_HOST is this machine), at most 24 hours.",
        default=60.0,
        example="60s",
    )
    full_sweep: float = key(
        values.up_to(86_400.0, "must be more than no time, and at most 24 hours"),
        "With several apps, Heroku's list of them tells which had a release, and only those "
        "are read. In this time each of them is read once all the same. At most 24 hours.",
        default=900.0,
        example="15m",
    )
    state_dir: str | None = key(
        values.PATH,
        "Folder of pgherald's own notes: history, backups, journal. $PGHERALD_STATE_DIR wins.",
        default=None,
        default_text="the platform's state folder; on Linux `~/.local/state/pgherald`",
        example="~/.local/state/pgherald",
    )
    log_level: str = key(values.LOG_LEVEL, "How much is logged.", default="info")
    heroku: HerokuTable | None = section(
        HerokuTable, Form.ONE, "The Heroku account. May be left out."
    )
    accounts: tuple[AccountTable | None, ...] = section(
        AccountTable, Form.MANY, "Several Heroku accounts, instead of [heroku].", live=False
    )
    databases: tuple[DatabaseTable | None, ...] = section(
        DatabaseTable,
        Form.MANY,
        "The databases to keep working. Repeat the section for each one.",
    )
    discover: tuple[DiscoverRule | None, ...] = section(
        DiscoverRule,
        Form.MANY,
        "Databases to find by themselves, instead of or beside [[databases]]; new apps are "
        "picked up as they appear. Repeat the section for other apps or settings.",
        live=False,
    )
    clients: ClientsTable = section(
        ClientsTable,
        Form.GROUP,
        "The files to keep up to date. A client is on when its section is present, even "
        "empty. For several files of one kind, repeat the section with double brackets: "
        "[[clients.pgpass]].",
    )
    notifications: Notifications | None = section(
        Notifications, Form.ONE, "How you are told of a rotation, or of trouble."
    )
    metrics: MetricsTable | None = section(
        MetricsTable,
        Form.ONE,
        "Figures for other programs. How things stand is in status.json in the state folder, "
        "whether or not this section is there.",
        live=False,
    )
    hooks: tuple[Hook | None, ...] = section(
        Hook,
        Form.MANY,
        "Programs of your own, run by the daemon on what happens. The facts come as JSON on stdin "
        "and in variables PGHERALD_…, without any secret: a hook that needs a password asks "
        "`pgherald password`. Repeat the section for others.",
        live=False,
    )
