"""The words of the program, as frozen types.

database
    One thing the person wants kept working. Its key is (account, app, attachment)
    and never contains user, host or database name, since all of those can change.
login
    Host, port, dbname, user, password and sslmode at one moment.
sighting
    A login as Heroku showed it, when, and by which release.
rotation
    One login replaced by another. Holds no secret.
client
    A local program's file that holds logins.
entry
    What every client should hold for one database: the database's settings and its login.
"""

from __future__ import annotations

import enum
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Protocol, Self

from pgherald.errors import PgheraldError
from pgherald.secret import Secret

#: The account that a configuration without [[accounts]] has.
DEFAULT_ACCOUNT: Final = "default"
#: The order in which changed fields are named to the person.
LOGIN_FIELDS: Final = ("host", "port", "dbname", "user", "password", "sslmode")
#: libpq's `sslmode` values, the weakest first.
SSLMODES: Final = ("disable", "allow", "prefer", "require", "verify-ca", "verify-full")
#: How a server may ask for the password: libpq's `require_auth`. Neither shows it to the server.
REQUIRE_AUTH: Final = "scram-sha-256,md5"


def strictest(ours: str, *others: str | None) -> str:
    """The strictest of several `sslmode` values, of which `ours` holds if nobody asks for more.

    The others are as they were read in clients; what is none counts for nothing.
    """
    # libpq takes none in capitals, but whoever wrote one wanted no weaker one.
    said = (mode.strip().lower() for mode in others if mode is not None)
    known = (mode for mode in said if mode in SSLMODES)
    return max((ours, *known), key=SSLMODES.index)


class ProbePolicy(enum.StrEnum):
    """What an unproven login may do (configuration key `probe`)."""

    REQUIRE = "require"
    """Nothing is written before the login has opened a connection."""
    PREFER = "prefer"
    """Try to prove; write all the same when it cannot be proven, and say "unproven"."""
    OFF = "off"
    """Do not connect; every login is written and called "unproven"."""


class Phase(enum.StrEnum):
    """How a database stands. The values are those of `check --json`."""

    CURRENT = "current"
    """Every client holds its login, and nothing had to be written."""
    WRITTEN = "written"
    """Its login has just been written into every client."""
    VERIFYING = "proving"
    """Its login is being verified."""
    UNVERIFIED = "unproven"
    """Its login could not be verified, so the clients keep the one that they hold."""
    BEHIND = "behind"
    """At least one client does not hold its login."""
    GONE = "gone"
    """Heroku answers, and does not show it any more."""
    UNREACHABLE = "unreachable"
    """Heroku did not answer for it."""

    @property
    def is_current(self) -> bool:
        """Whether every client holds a verified login."""
        return self in (Phase.CURRENT, Phase.WRITTEN)


class ClientPhase(enum.StrEnum):
    """How one client stands with one database, the best first."""

    CURRENT = "current"
    """It holds the login."""
    OLD = "old"
    """It holds an older login."""
    FAILED = "failed"
    """It cannot be read or written, or cannot hold this login."""
    MISSING = "missing"
    """It is not there: a pgAdmin that was never started, or is gone."""
    NEW = "new"
    """It holds no login of the database yet."""


@dataclass(frozen=True, slots=True, order=True)
class DatabaseKey:
    """Names a database for good: through rotation, failover and renaming.

    Attributes:
        account: name of the Heroku account in the configuration.
        app: name of the Heroku app.
        attachment: name of the add-on attachment; its config var is `<attachment>_URL`.
    """

    account: str
    app: str
    attachment: str

    @property
    def var(self) -> str:
        """Name of the config var that holds the URL."""
        return f"{self.attachment}_URL"

    def __str__(self) -> str:
        """`app/ATTACHMENT`, with `account:` in front unless it is the only, default one."""
        short = f"{self.app}/{self.attachment}"
        return short if self.account == DEFAULT_ACCOUNT else f"{self.account}:{short}"

    @classmethod
    def parse(cls, text: str) -> DatabaseKey:
        """Read back what `str()` gave.

        Raises:
            ValueError: it is none.
        """
        account, colon, rest = text.rpartition(":")
        app, slash, attachment = rest.partition("/")
        if not app or not slash or not attachment or "/" in attachment or (colon and not account):
            raise ValueError(f"not a database key: {text!r}")
        return cls(account or DEFAULT_ACCOUNT, app, attachment)


@dataclass(frozen=True, slots=True)
class Login:
    """Everything needed to connect, at one moment. Compared whole.

    Attributes:
        host: host name or address; an IPv6 address without brackets.
        port: TCP port, 1 to 65535.
        dbname: name of the database on the server.
        user: role name.
        password: the password; never shown by `repr`.
        sslmode: libpq's `sslmode`, such as `require`.
    """

    host: str
    port: int
    dbname: str
    user: str
    password: Secret
    sslmode: str = "require"

    def changed(self, other: Login | None) -> tuple[str, ...]:
        """Names of the fields in which `other` differs, in `LOGIN_FIELDS` order.

        Without another login every field counts as changed.
        """
        if other is None:
            return LOGIN_FIELDS
        return tuple(f for f in LOGIN_FIELDS if getattr(self, f) != getattr(other, f))


@dataclass(frozen=True, slots=True)
class Database:
    """A database and what the person asked for it.

    Attributes:
        key: which database.
        name: what pgAdmin shows.
        group: pgAdmin's server group.
        service: section in the service file; unique among all databases.
        probe: what an unproven login may do.
        sslmode: libpq's `sslmode` for this database.
        sslrootcert: libpq's `sslrootcert` for this database; None to leave it to the clients.
        host, port: where it is reached from here, if not where Heroku says: a tunnel.
        require_auth: libpq's `require_auth` for the probe.
    """

    key: DatabaseKey
    name: str
    group: str
    service: str
    probe: ProbePolicy = ProbePolicy.REQUIRE
    sslmode: str = "require"
    require_auth: str = REQUIRE_AUTH
    sslrootcert: str | None = None
    host: str | None = None
    port: int | None = None


@dataclass(frozen=True, slots=True)
class Sighting:
    """A login as Heroku showed it.

    Attributes:
        key: which database.
        login: what Heroku showed, with the database's own `sslmode`.
        seen_at: when, UTC.
        release: the app's release that showed it, when known.
    """

    key: DatabaseKey
    login: Login
    seen_at: datetime
    release: int | None = None


@dataclass(frozen=True, slots=True)
class Rotation:
    """One login replaced by another. Holds no secret, so it may be stored and shown.

    Attributes:
        key: which database.
        changed: names of the login's fields that changed, in `LOGIN_FIELDS` order.
        seen_at: when Heroku first showed the new login, UTC.
        proven_at: when a connection proved it, UTC; None when it never was.
        written_at: when every client held it, UTC; None when not (yet).
        release: the app's release that brought it, when known.
    """

    key: DatabaseKey
    changed: tuple[str, ...]
    seen_at: datetime
    proven_at: datetime | None = None
    written_at: datetime | None = None
    release: int | None = None


@dataclass(frozen=True, slots=True)
class Entry:
    """What every client should hold for one database."""

    database: Database
    login: Login

    @property
    def key(self) -> DatabaseKey:
        """The database's key."""
        return self.database.key


class NewsKind(enum.StrEnum):
    """What the person may be told."""

    ADDED = "added"
    """A database is kept for the first time."""
    ROTATING = "rotating"
    """Heroku shows a new login, and proving it takes a while. One of the others follows."""
    ROTATED = "rotated"
    """A rotation is in the clients."""
    MENDED = "mended"
    """A client had lost or changed an entry; it holds the right one again."""
    TROUBLE = "trouble"
    """Something that worked stopped working. Told once."""
    RECOVERED = "recovered"
    """Something that was in trouble works again. Told once."""


class About(enum.StrEnum):
    """The kind of thing that a `Subject` is."""

    ACCOUNT = "account"
    LOGIN = "login"
    BUDGET = "budget"
    EXPIRY = "expiry"
    DISCOVERY = "discovery"
    DATABASE = "database"
    FORMAT = "fit"
    CLIENT = "client"
    CONFIG = "config"
    COMMIT = "commit"
    STORE = "store"
    PGADMIN = "pgadmin"
    HOOK = "hook"
    PART = "part"
    DAEMON = "daemon"

    @property
    def is_account(self) -> bool:
        """Whether its key is the name of a Heroku account."""
        return self in {About.ACCOUNT, About.LOGIN, About.BUDGET, About.EXPIRY, About.DISCOVERY}


#: Kinds of trouble with a database whose titles name it.
_NAMES_DATABASE: Final = frozenset({"ProbeFailed", "NotYetProven", "ConfigError", "Gone"})


class Subject(str):
    """What an alert or a piece of news is about: a kind of thing, and which one.

    It is a text as well, such as `database:shop/DATABASE`: that is how the state, status.json and
    hooks have it. Two are equal when their texts are.

    Attributes:
        about: the kind of thing.
        key: which one: a database's key, an account's name, a client's path; empty where there is
            only one.
    """

    __slots__ = ("about", "key")

    about: About
    key: str

    def __new__(cls, about: About, key: object = "") -> Self:
        """Make one; `key` is taken as text."""
        found = super().__new__(cls, f"{about}:{key}" if str(key) else str(about))
        found.about, found.key = about, str(key)
        return found

    def __getnewargs__(self) -> tuple[About, str]:  # type: ignore[override]  # for copies
        return self.about, self.key

    @classmethod
    def read(cls, text: str) -> Subject:
        """One from the text that the state keeps.

        Raises:
            ValueError: it is none.
        """
        about, _, key = text.partition(":")
        return cls(About(about), key)

    def prefix(self, label: str = "", kind: str = "") -> str:
        """Begins a title with whom it concerns, where titles of that kind do not say so.

        Args:
            label: what a person calls it; empty when that is not known.
            kind: the error's kind.
        """
        if self.about.is_account:
            return "" if self.key == DEFAULT_ACCOUNT else f"Heroku account {self.key}: "
        named = self.about is not About.DATABASE or kind in _NAMES_DATABASE
        return "" if named or not label else f"{label}: "

    @property
    def database(self) -> DatabaseKey | None:
        """The database's key, if it is a database."""
        return DatabaseKey.parse(self.key) if self.about is About.DATABASE else None


@dataclass(frozen=True, slots=True)
class News:
    """One thing worth telling, without any secret in it.

    Attributes:
        kind: what happened.
        subject: what it is about; equal for a trouble and its recovery.
        at: when, UTC.
        label: the subject as a person calls it: the database's name, the account, the file.
        changed: for a rotation, names of the login's fields that changed.
        proven: whether a connection proved the login now in the clients.
        clients: labels of the clients that are up to date, such as `psql`.
        behind: clients that could not be brought up to date: (label, what is wrong).
        title: for a trouble, its headline.
        advice: for a trouble, what the person can do.
        since: for a recovery, when the trouble began, UTC.
        reopen: whether the person has to reopen the server in pgAdmin.
        refresh: for a rotation, whether a server open in pgAdmin has to be refreshed for new tools.
        service: for what was written, the database's section in the service file.
        error: for a trouble and its end, the stable word for what does not work.
    """

    kind: NewsKind
    subject: Subject
    at: datetime
    label: str
    changed: tuple[str, ...] = ()
    proven: bool = True
    clients: tuple[str, ...] = ()
    behind: tuple[tuple[str, str], ...] = ()
    title: str = ""
    advice: str = ""
    since: datetime | None = None
    reopen: bool = False
    refresh: bool = False
    service: str = ""
    error: str = ""


class AlertSink(Protocol):
    """Where alerts are fired and resolved; see `pgherald.sync.alerts.Alerts`."""

    def fire(self, subject: Subject, label: str, error: PgheraldError) -> None:
        """Something does not work."""
        return

    def resolve(self, subject: Subject) -> None:
        """It works."""
        return

    def keep_only(self, concerns: Callable[[Subject], bool]) -> None:
        """Forget the alerts about what is no longer kept."""
        return
