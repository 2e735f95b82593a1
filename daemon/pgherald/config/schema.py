"""The shape of the configuration file: the single source of truth.

One frozen class per table, one field per key. The field's metadata says what the value may be;
`reference.toml` has what it means and an example. Reading, checking, the example file, the
documents' tables and completion all come from these two.

Tables that the program reads as they stand are in `settings`. A new kind of client is one
class here, one line in `ClientsTable`, and its texts in `reference.toml`.
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
)
from pgherald.config.tables import Form, key, section
from pgherald.config.values import TokenSpec, choice
from pgherald.model import REQUIRE_AUTH, ProbePolicy


@dataclass(frozen=True, slots=True)
class HerokuTable:
    """`[heroku]`."""

    token: TokenSpec = key(values.TOKEN, default=TokenSpec())
    request_share: float = key(values.PERCENT, default=0.25)
    events: bool = key(values.FLAG, default=True)
    events_limit: int = key(values.COUNT, default=20)


@dataclass(frozen=True, slots=True)
class AccountTable:
    """One of `[[accounts]]`."""

    name: str = key(values.ACCOUNT)
    token: TokenSpec = key(values.TOKEN)
    request_share: float = key(values.PERCENT, default=0.25)
    events: bool = key(values.FLAG, default=True)
    events_limit: int = key(values.COUNT, default=20)


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
    require_auth: str = key(values.REQUIRE_AUTH, default=REQUIRE_AUTH)


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
    rows: Rows | None = key(choice(*Rows, of=Rows), default=None)
    storage: str | None = key(values.PATH, default=None)


@dataclass(frozen=True, slots=True)
class ClientsTable:
    """`[clients]`: one line per kind."""

    pgadmin: tuple[PgAdminTable | None, ...] = section(PgAdminTable, Form.EITHER)
    service_file: tuple[ServiceFileTable | None, ...] = section(ServiceFileTable, Form.EITHER)
    pgpass: tuple[PgpassTable | None, ...] = section(PgpassTable, Form.EITHER)
    servers_json: tuple[ServersJsonTable | None, ...] = section(ServersJsonTable, Form.EITHER)


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
    accounts: tuple[AccountTable | None, ...] = section(AccountTable, Form.MANY)
    databases: tuple[DatabaseTable | None, ...] = section(DatabaseTable, Form.MANY)
    discover: tuple[DiscoverRule | None, ...] = section(DiscoverRule, Form.MANY)
    clients: ClientsTable = section(ClientsTable, Form.GROUP)
    notifications: Notifications | None = section(Notifications, Form.ONE)
    metrics: MetricsTable | None = section(MetricsTable, Form.ONE)
    hooks: tuple[Hook | None, ...] = section(Hook, Form.MANY)
