"""The shape of the configuration file: the single source of truth.

One frozen class per table, one field per key. The field's metadata says what the value
may be, what it means, its default and an example; reading, checking, the example file,
the documents' tables and completion all come from here.

The tables of the clients are in `client_tables`.
"""

from __future__ import annotations

from dataclasses import dataclass

from pgherald.config import values
from pgherald.config.client_tables import ClientsTable
from pgherald.config.hooks import HookTable
from pgherald.config.meta import Form, key, section
from pgherald.config.settings import DEFAULT_ATTACHMENT, DEFAULT_GROUP, DEFAULT_SSLMODE
from pgherald.config.settings import TokenSpec as Token
from pgherald.config.telling import MetricsTable, NotificationsTable
from pgherald.model import REQUIRE_AUTH, ProbePolicy


@dataclass(frozen=True, slots=True)
class HerokuTable:
    """`[heroku]`."""

    token: Token = key(
        values.TOKEN,
        'Where the token comes from, never the token itself. "auto" takes $HEROKU_API_KEY, '
        "else asks the Heroku CLI (`heroku auth:token`), else reads netrc. The others: "
        '"env:NAME" (a variable), "file:PATH" (a file, or a systemd credential of that name), '
        '"command:COMMAND" (what it prints; no shell), '
        '"keyring:SERVICE" or "keyring:SERVICE/USER" (the system\'s password store), "netrc".',
        default=Token(),
        default_text='`"auto"`',
        example="auto",
    )
    request_share: float = key(
        values.PERCENT,
        "How much of the account's requests pgherald may use. Heroku allows 4,500 an hour for "
        "all that you do.",
        default=0.25,
        default_text='`"25%"`',
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
    token: Token = key(
        values.TOKEN,
        "Where this account's token comes from, in the forms of [heroku].",
        example="file:~/.config/pgherald/work.token",
    )
    request_share: float = key(
        values.PERCENT,
        "As in [heroku].",
        default=0.25,
        default_text='`"25%"`',
        example="25%",
    )
    events: bool = key(values.FLAG, "As in [heroku].", default=True)
    events_limit: int = key(values.COUNT, "As in [heroku].", default=20)


_ACCOUNT_ABOUT = "Which of [[accounts]] this belongs to. Needed when there are several."
_PROBE_ABOUT = (
    "What a login needs before it is written. "
    '"require": it has opened a connection. '
    '"prefer": that was tried; if it could not be done, it is written and called unproven. '
    '"off": nothing; every login is called unproven.'
)
_SSLMODE_ABOUT = (
    "libpq's sslmode, for the probe and in every client. Heroku refuses connections "
    "without TLS, so nothing weaker than the default is of use with it. A client in which "
    "you set a stricter one keeps it."
)
_REQUIRE_AUTH_ABOUT = (
    "How the server may ask the probe for the password, in libpq's words: scram-sha-256, md5, "
    "password, with commas between them. With password it gets the password itself, so name that "
    "only if you trust the server and the way to it."
)


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
    account: str | None = key(
        values.ACCOUNT,
        _ACCOUNT_ABOUT,
        default=None,
        default_text="the only account",
        example="default",
    )
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
    probe: ProbePolicy = key(values.PROBE, _PROBE_ABOUT, default=ProbePolicy.REQUIRE)
    sslmode: str = key(values.SSLMODE, _SSLMODE_ABOUT, default=DEFAULT_SSLMODE)
    require_auth: str = key(values.REQUIRE_AUTH, _REQUIRE_AUTH_ABOUT, default=REQUIRE_AUTH)


@dataclass(frozen=True, slots=True)
class DiscoverTable:
    """One of `[[discover]]`."""

    include: tuple[str, ...] = key(
        values.APP_PATTERN,
        "Apps to look at: patterns with * and ?.",
        default=("*",),
        example=["shop-*"],
        many=True,
    )
    exclude: tuple[str, ...] = key(
        values.APP_PATTERN,
        "Apps to leave out, even if they are included.",
        default=(),
        example=["*-review", "*-pr-*"],
        many=True,
    )
    team: str | None = key(
        values.NAME,
        "Only apps of this Heroku team.",
        default=None,
        default_text="every app the account can see",
        example="acme",
    )
    attachments: tuple[str, ...] = key(
        values.ATTACHMENT_PATTERN,
        "Attachments to keep: patterns with * and ?. The default is each app's main "
        'database, once; ["*"] adds followers, named credentials and second names of the '
        "same database. Connection pools only where a pattern without * and ? names them.",
        default=(DEFAULT_ATTACHMENT,),
        many=True,
    )
    account: str | None = key(
        values.ACCOUNT,
        _ACCOUNT_ABOUT,
        default=None,
        default_text="the only account",
        example="default",
    )
    group: str = key(values.NAME, "The server group in pgAdmin.", default=DEFAULT_GROUP)
    probe: ProbePolicy = key(values.PROBE, "As in [[databases]].", default=ProbePolicy.REQUIRE)
    sslmode: str = key(values.SSLMODE, "As in [[databases]].", default=DEFAULT_SSLMODE)
    require_auth: str = key(values.REQUIRE_AUTH, "As in [[databases]].", default=REQUIRE_AUTH)


@dataclass(frozen=True, slots=True)
class Root:
    """The whole file."""

    poll_interval: float = key(
        values.DURATION,
        'Pause between two looks at Heroku: seconds, or a text such as "90s", "5m" or "1h". '
        "At least 5 seconds (0.2 where $HEROKU_HOST is this machine), at most 24 hours.",
        default=60.0,
        default_text='`"60s"`',
        example="60s",
    )
    full_sweep: float = key(
        values.DURATION,
        "With several apps, Heroku's list of them tells which had a release, and only those "
        "are read. In this time each of them is read once all the same. At most 24 hours.",
        default=900.0,
        default_text='`"15m"`',
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
        AccountTable,
        Form.MANY,
        "Several Heroku accounts, instead of [heroku].",
        live=False,
    )
    databases: tuple[DatabaseTable | None, ...] = section(
        DatabaseTable,
        Form.MANY,
        "The databases to keep working. Repeat the section for each one.",
    )
    discover: tuple[DiscoverTable | None, ...] = section(
        DiscoverTable,
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
    notifications: NotificationsTable | None = section(
        NotificationsTable, Form.ONE, "How you are told of a rotation, or of trouble."
    )
    metrics: MetricsTable | None = section(
        MetricsTable,
        Form.ONE,
        "Figures for other programs. How things stand is in status.json in the state folder, "
        "whether or not this section is there.",
        live=False,
    )
    hooks: tuple[HookTable | None, ...] = section(
        HookTable,
        Form.MANY,
        "Programs of your own, run by the daemon on what happens. The facts come as JSON on stdin "
        "and in variables PGHERALD_…, without any secret: a hook that needs a password asks "
        "`pgherald password`. Repeat the section for others.",
        live=False,
    )
