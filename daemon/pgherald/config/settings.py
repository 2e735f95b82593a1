"""What the configuration says, checked and complete: the rest of the program reads this."""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from datetime import time
from pathlib import Path
from typing import Final

from pgherald.model import REQUIRE_AUTH, Database, DatabaseKey, ProbePolicy
from pgherald.secret import Secret

#: pgAdmin's server group where the person names none.
DEFAULT_GROUP: Final = "Heroku"
#: Heroku's Postgres refuses connections without TLS.
DEFAULT_SSLMODE: Final = "require"
#: The attachment that a database, or a rule, is about where the person names none.
DEFAULT_ATTACHMENT: Final = "DATABASE"


class TokenKind(enum.StrEnum):
    """Where an account's token comes from."""

    AUTO = "auto"
    """$HEROKU_API_KEY, then the Heroku CLI, then netrc."""
    ENV = "env"
    """An environment variable."""
    FILE = "file"
    """The content of a file."""
    COMMAND = "command"
    """What a command prints."""
    KEYRING = "keyring"
    """The operating system's password store."""
    NETRC = "netrc"
    """The netrc file, as the Heroku CLI writes it."""


@dataclass(frozen=True, slots=True)
class TokenSpec:
    """Says where a token comes from; it is never the token itself.

    Attributes:
        kind: which source.
        argument: name of the variable; absolute path of the file, or name of a systemd
            credential; the command; `SERVICE[/USER]` in the keyring; empty for `auto`
            and `netrc`.
    """

    kind: TokenKind = TokenKind.AUTO
    argument: str = ""

    def __str__(self) -> str:
        """The form that the configuration file has: `env:NAME`."""
        return f"{self.kind}:{self.argument}" if self.argument else str(self.kind)


@dataclass(frozen=True, slots=True)
class Account:
    """A Heroku account.

    Attributes:
        name: its name in the configuration.
        token: where its token is.
        request_share: the part of its requests that pgherald may use, above 0 and at most 1.
        events: of how many apps the log is followed, at most.
    """

    name: str
    token: TokenSpec
    request_share: float = 0.25
    events: int = 20


@dataclass(frozen=True, slots=True)
class DiscoverRule:
    """Databases to find by themselves. Patterns are those of `fnmatch.fnmatchcase`.

    Attributes:
        account: name of the account whose apps are searched.
        include: patterns, one of which the app's name has to match.
        exclude: patterns, none of which the app's name may match.
        team: search only this Heroku team's apps; None for all the account can see.
        attachments: patterns, one of which the attachment's name has to match.
        group: pgAdmin's server group for what is found.
        probe: what an unproven login may do.
        sslmode: libpq's `sslmode`.
        require_auth: libpq's `require_auth` for the probe.
    """

    account: str
    include: tuple[str, ...] = ("*",)
    exclude: tuple[str, ...] = ()
    team: str | None = None
    attachments: tuple[str, ...] = (DEFAULT_ATTACHMENT,)
    group: str = DEFAULT_GROUP
    probe: ProbePolicy = ProbePolicy.REQUIRE
    sslmode: str = DEFAULT_SSLMODE
    require_auth: str = REQUIRE_AUTH


class Rows(enum.StrEnum):
    """How servers.json, or pgAdmin itself, names a server."""

    SERVICE = "service"
    """By its section in the service file, where host, user and password are read."""
    HOST = "host"
    """By host, port and user, for readers that cannot see the service file."""


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
        label: what a person calls it, where that is not what the kind is called.
    """

    kind: str
    path: Path
    rows: Rows | None = None
    passfile: str | None = None
    user: str | None = None
    label: str = ""


class Level(enum.StrEnum):
    """How much the person is told (configuration key `level`)."""

    ALL = "all"
    """Rotations, first entries, troubles and their end."""
    ROTATIONS = "rotations"
    """The same without first entries."""
    TROUBLE = "trouble"
    """Troubles and their end, and rotations that leave something to do."""


@dataclass(frozen=True, slots=True)
class QuietHours:
    """A part of each day, in local time; it may go past midnight. The end is not part of it."""

    start: time
    end: time

    def covers(self, moment: time) -> bool:
        """Whether a moment of the day is in it."""
        if self.start <= self.end:
            return self.start <= moment < self.end
        return moment >= self.start or moment < self.end


@dataclass(frozen=True, slots=True)
class Notifications:
    """How the person is told.

    Attributes:
        desktop: whether to show desktop notifications.
        terminals: whether to write to the person's terminals what no desktop shows.
        urls: Apprise addresses; secret, since they hold tokens.
        level: how much is told.
        quiet: when nothing is told; None for never.
    """

    desktop: bool = True
    terminals: bool = True
    urls: tuple[Secret, ...] = ()
    level: Level = Level.ALL
    quiet: QuietHours | None = None


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
    """A program of the person's own.

    Attributes:
        on: what it is run on.
        command: the program and its arguments; no shell looks at them.
        time_limit: seconds after which it is killed.
    """

    on: HookEvent
    command: tuple[str, ...]
    time_limit: float


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
        notifications: how the person is told.
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
    )
