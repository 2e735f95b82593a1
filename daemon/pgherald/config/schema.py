"""The configuration: the shape of the file, and what the program reads of it.

Each table is a frozen class, each key a field. The field's metadata says what the value may be;
`reference.toml` has what it means and an example. Reading, checking, the example file, the
documents' tables and completion all come from these two. A new kind of client is one class here,
one line in `ClientsTable`, and its texts in `reference.toml`.

`Config` is what comes out, checked and complete: `build` makes it from the tables. Where a table
is of use as it stands, it is part of it.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar, Final

from pgherald.config import values
from pgherald.config.tables import Form, key, section
from pgherald.config.values import QuietHours, TokenSpec, choice
from pgherald.model import REQUIRE_AUTH, Database, DatabaseKey, ProbePolicy
from pgherald.secret import Secret

#: pgAdmin's server group where the person names none.
DEFAULT_GROUP: Final = "Heroku"
#: Heroku's Postgres refuses connections without TLS.
DEFAULT_SSLMODE: Final = "require"
#: The attachment that a database, or a rule, is about where the person names none.
DEFAULT_ATTACHMENT: Final = "DATABASE"


# --- the file -------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class HerokuTable:
    """`[heroku]`."""

    token: TokenSpec = key(values.TOKEN, default=TokenSpec())
    request_share: float = key(values.PERCENT, default=0.25)
    events: bool = key(values.FLAG, default=True)
    events_limit: int = key(values.COUNT, default=20)

    @property
    def followed(self) -> int:
        """Of how many apps the log is followed, at most."""
        return self.events_limit if self.events else 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Account(HerokuTable):
    """A Heroku account: one of `[[accounts]]`, or the only one, of which `[heroku]` speaks."""

    name: str = key(values.ACCOUNT)
    token: TokenSpec = key(values.TOKEN)


@dataclass(frozen=True, slots=True)
class DatabaseTable:
    """One of `[[databases]]`."""

    app: str = key(values.APP)
    attachment: str = key(values.ATTACHMENT, default=DEFAULT_ATTACHMENT)
    account: str = key(values.ACCOUNT, default="")
    name: str | None = key(values.NAME, default=None)
    group: str = key(values.NAME, default=DEFAULT_GROUP)
    service: str | None = key(values.SERVICE, default=None)
    probe: ProbePolicy = key(values.PROBE, default=ProbePolicy.REQUIRE)
    sslmode: str = key(values.SSLMODE, default=DEFAULT_SSLMODE)
    sslrootcert: str | None = key(values.PATH, default=None)
    require_auth: str = key(values.REQUIRE_AUTH, default=REQUIRE_AUTH)
    host: str | None = key(values.HOST, default=None)
    port: int | None = key(values.PORT, default=None)


@dataclass(frozen=True, slots=True)
class DiscoverRule:
    """Databases to find by themselves: one of `[[discover]]`. An empty account is the only one."""

    include: tuple[str, ...] = key(
        values.APP_PATTERN, default=("*",), many=True, empty=", so that nothing can match"
    )
    exclude: tuple[str, ...] = key(values.APP_PATTERN, default=(), many=True)
    team: str | None = key(values.NAME, default=None)
    attachments: tuple[str, ...] = key(
        values.ATTACHMENT_PATTERN,
        default=(DEFAULT_ATTACHMENT,),
        many=True,
        empty=", so that nothing can match",
    )
    account: str = key(values.ACCOUNT, default="")
    group: str = key(values.NAME, default=DEFAULT_GROUP)
    probe: ProbePolicy = key(values.PROBE, default=ProbePolicy.REQUIRE)
    sslmode: str = key(values.SSLMODE, default=DEFAULT_SSLMODE)
    sslrootcert: str | None = key(values.PATH, default=None)
    require_auth: str = key(values.REQUIRE_AUTH, default=REQUIRE_AUTH)


class Rows(enum.StrEnum):
    """How servers.json, or pgAdmin itself, names a server."""

    SERVICE = "service"
    """By its section in the service file, where host, user and password are read."""
    HOST = "host"
    """By host, port and user, for readers that cannot see the service file."""


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

    path: str | None = key(values.PATH, default=None)


@dataclass(frozen=True, slots=True)
class PgpassTable(ClientTable):
    """`[clients.pgpass]`. The places are libpq's own."""

    home: ClassVar = ".pgpass"
    appdata: ClassVar = "postgresql/pgpass.conf"

    path: str | None = key(values.PATH, default=None)


@dataclass(frozen=True, slots=True)
class ServersJsonTable(ClientTable):
    """`[clients.servers_json]`."""

    path: str = key(values.PATH)
    rows: Rows = key(choice(*Rows, of=Rows), default=Rows.SERVICE)
    passfile: str | None = key(values.TEXT, default=None)


@dataclass(frozen=True, slots=True)
class PgAdminTable(ClientTable):
    """`[clients.pgadmin]`."""

    path: str = key(values.PATH, default="auto")
    user: str | None = key(values.NAME, default=None)
    auth_source: str | None = key(values.NAME, default=None)
    rows: Rows | None = key(choice(*Rows, of=Rows), default=None)
    storage: str | None = key(values.PATH, default=None)


@dataclass(frozen=True, slots=True)
class ClientsTable:
    """`[clients]`: one line per kind."""

    pgadmin: tuple[PgAdminTable | None, ...] = section(PgAdminTable, Form.EITHER)
    service_file: tuple[ServiceFileTable | None, ...] = section(ServiceFileTable, Form.EITHER)
    pgpass: tuple[PgpassTable | None, ...] = section(PgpassTable, Form.EITHER)
    servers_json: tuple[ServersJsonTable | None, ...] = section(ServersJsonTable, Form.EITHER)


class Level(enum.StrEnum):
    """How much the person is notified of (configuration key `level`)."""

    ALL = "all"
    """Rotations, first entries, troubles and their end."""
    ROTATIONS = "rotations"
    """The same without first entries."""
    TROUBLE = "trouble"
    """Troubles and their end, and rotations that leave something to do."""


@dataclass(frozen=True, slots=True)
class Notifications:
    """How the person is notified: `[notifications]`."""

    desktop: bool = key(values.FLAG, default=True)
    level: Level = key(choice(*Level, of=Level), default=Level.ALL)
    quiet: QuietHours | None = key(values.QUIET, default=None)
    terminals: bool = key(values.FLAG, default=True)
    urls: tuple[Secret, ...] = key(values.URL, default=(), many=True)


class HookEvent(enum.StrEnum):
    """What a hook can be run on."""

    ROTATION = "rotation"
    """A rotation is in the clients."""
    TROUBLE = "trouble"
    """Something stopped working."""
    RECOVERY = "recovery"
    """It works again."""


@dataclass(frozen=True, slots=True)
class Hook:
    """A program of the person's own: one of `[[hooks]]`."""

    on: HookEvent = key(choice(*HookEvent, of=HookEvent))
    command: tuple[str, ...] = key(values.TEXT, many=True, empty=": name a program")
    time_limit: float = key(
        values.up_to(3600.0, "must be more than nothing, and at most one hour"), default=30.0
    )


@dataclass(frozen=True, slots=True)
class MetricsTable:
    """`[metrics]`."""

    textfile: str | None = key(values.METRICS_FILE, default=None)


@dataclass(frozen=True, slots=True)
class Root:
    """The whole file."""

    poll_interval: float = key(values.DURATION, default=60.0)
    full_sweep: float = key(
        values.up_to(86400.0, "must be more than no time, and at most 24 hours"), default=900.0
    )
    state_dir: str | None = key(values.PATH, default=None)
    log_level: str = key(values.LOG_LEVEL, default="info")
    heroku: HerokuTable | None = section(HerokuTable, Form.ONE)
    accounts: tuple[Account | None, ...] = section(Account, Form.MANY)
    databases: tuple[DatabaseTable | None, ...] = section(DatabaseTable, Form.MANY)
    discover: tuple[DiscoverRule | None, ...] = section(DiscoverRule, Form.MANY)
    clients: ClientsTable = section(ClientsTable, Form.GROUP)
    notifications: Notifications | None = section(Notifications, Form.ONE)
    metrics: MetricsTable | None = section(MetricsTable, Form.ONE)
    hooks: tuple[Hook | None, ...] = section(Hook, Form.MANY)


# --- what comes out -------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class ClientSetting:
    """One client's file.

    Attributes:
        kind: the client, as the configuration names it: `pgpass`, `service_file`, …
        path: the file, absolute; it need not exist.
        rows: how `servers_json` and `pgadmin` name a server; None for other kinds.
        passfile: what is written as the connection parameter `passfile` with `Rows.HOST`;
            None to write none.
        user: whose servers in `pgadmin`; None for the only user's.
        auth_source: how that user signs in; None where the name is the only one of its kind.
        trouble: why a `pgadmin` that was found cannot be kept, and what to do.
        label: what a person calls it, where that is not what the kind is called.
    """

    kind: str
    path: Path
    rows: Rows | None = None
    passfile: str | None = None
    user: str | None = None
    label: str = ""
    auth_source: str | None = None
    trouble: tuple[str, str] | None = None


@dataclass(frozen=True, slots=True)
class Config:
    """The whole configuration.

    Attributes:
        path: the file it was read from, absolute.
        poll_interval: pause between two sweeps, in seconds.
        full_sweep: time in which every app is read, changed or not, in seconds.
        state_dir: folder of pgherald's own state, absolute; it need not exist.
        log_level: `debug`, `info`, `warning` or `error`.
        accounts: at least one.
        databases: the databases that the file names.
        discover: rules that find more.
        clients: the files to keep up to date, at least one.
        notifications: how the person is notified.
        metrics_file: a Prometheus text file to keep up to date, absolute; None for none.
        hooks: programs that are run on what happens.
    """

    path: Path
    poll_interval: float
    state_dir: Path
    log_level: str
    accounts: tuple[Account, ...]
    databases: tuple[Database, ...]
    discover: tuple[DiscoverRule, ...]
    clients: tuple[ClientSetting, ...]
    notifications: Notifications = field(default_factory=Notifications)
    metrics_file: Path | None = None
    full_sweep: float = 900.0
    hooks: tuple[Hook, ...] = ()


def default_name(app: str, attachment: str) -> str:
    """What pgAdmin shows for a database without a `name`."""
    return f"{app} ({attachment})"


def default_service(app: str, attachment: str) -> str:
    """The section in the service file of a database without a `service`."""
    if attachment == DEFAULT_ATTACHMENT:
        return app
    return f"{app}-{attachment.lower().replace('_', '-')}"


def database_for(rule: DiscoverRule, account: str, app: str, attachment: str) -> Database:
    """The database that a rule found, with the defaults a named one would have."""
    return Database(
        key=DatabaseKey(account, app, attachment),
        name=default_name(app, attachment),
        group=rule.group,
        service=default_service(app, attachment),
        probe=rule.probe,
        sslmode=rule.sslmode,
        require_auth=rule.require_auth,
        sslrootcert=rule.sslrootcert,
    )
