"""What a simulated Heroku is made of: plain records, changed by `world` and `rotation` alone."""

from __future__ import annotations

import asyncio
import enum
import random
import string
import uuid
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final
from urllib.parse import quote

from pgherald.model import Login
from pgherald.secret import Secret
from pgherald.simulator.backend import Door

POSTGRES: Final = "heroku-postgresql"
DEFAULT: Final = "default"
POOLED: Final = "connection-pooling:default"

#: Middles of automatic attachment names, as in HEROKU_POSTGRESQL_NAVY.
# fmt: off
COLORS: Final = (
    "AMBER", "AQUA", "BRONZE", "COBALT", "COPPER", "CYAN", "GRAY", "GREEN", "IVORY", "JADE",
    "MAUVE", "NAVY", "OLIVE", "ONYX", "ORANGE", "PINK", "PURPLE", "ROSE", "TEAL", "YELLOW",
)
# fmt: on

#: Log lines kept for each app, as Heroku's Cedar generation does.
LOG_LINES: Final = 1500


class Refused(Exception):
    """Heroku says no. Turned into an HTTP answer by `http`.

    Attributes:
        status: HTTP status.
        id: Heroku's word for it, such as `not_found`.
        message: what the answer tells a person.
        extra: further keys of the answer's body, such as `resource`.
    """

    def __init__(self, status: int, id_: str, message: str, **extra: Any) -> None:
        self.status = status
        self.id = id_
        self.message = message
        self.extra = extra
        super().__init__(message)

    @classmethod
    def not_found(cls, resource: str, noun: str = "") -> Refused:
        """Something that is not there, or not for the caller's eyes: Heroku tells no difference."""
        return cls(404, "not_found", f"Couldn't find that {noun or resource}.", resource=resource)

    @classmethod
    def invalid(cls, message: str) -> Refused:
        """A request that cannot be fulfilled as it stands."""
        return cls(422, "invalid_params", message)


class Mint:
    """Makes names, ids and passwords in the shapes that Heroku gives them.

    Args:
        source: where the randomness comes from.
        mark: text put into every password, so that a test finds one that leaked.
    """

    def __init__(self, source: random.Random, mark: str = "") -> None:
        self._source = source
        self._mark = mark

    def uuid(self) -> str:
        """A random id."""
        return str(uuid.UUID(int=self._source.getrandbits(128), version=4))

    def role(self) -> str:
        """A user name: `u` and 13 letters or digits."""
        return "u" + self._letters(13)

    def dbname(self) -> str:
        """A database name: `d` and 13 letters or digits."""
        return "d" + self._letters(13)

    def password(self) -> Secret:
        """65 letters and digits (Dev Center: credentials)."""
        head = "p" + self._mark
        return Secret(head + self._letters(65 - len(head)))

    def addon_name(self, service: str) -> str:
        """Such as `postgresql-curved-12345`."""
        shape = self._source.choice(("curved", "round", "tidy", "polished", "angular", "spherical"))
        return f"{service.removeprefix('heroku-')}-{shape}-{self._source.randint(10_000, 99_999)}"

    def color(self) -> str:
        """The middle of an attachment's automatic name, such as `NAVY`."""
        return self._source.choice(COLORS)

    def _letters(self, count: int) -> str:
        return "".join(self._source.choices(string.ascii_lowercase + string.digits, k=count))


@dataclass(slots=True)
class LogLine:
    """One line of an app's log; `id` grows."""

    id: int
    text: str
    source: str
    dyno: str


class LogBook:
    """An app's log: the last lines, and those who wait for the next."""

    def __init__(self) -> None:
        self._lines: deque[LogLine] = deque(maxlen=LOG_LINES)
        self._last = 0
        self._more = asyncio.Event()
        self._closed = False

    def write(self, at: datetime, source: str, dyno: str, message: str) -> None:
        """Add a line in Heroku's form: `<RFC 3339 with µs> source[dyno]: message`."""
        self._last += 1
        text = f"{at.isoformat(timespec='microseconds')} {source}[{dyno}]: {message}"
        self._lines.append(LogLine(self._last, text, source, dyno))
        self.wake()

    def close(self) -> None:
        """End every tail, now and from now on."""
        self._closed = True
        self.wake()

    def after(self, last: int) -> Iterator[LogLine]:
        """The lines kept whose id is greater."""
        return (line for line in tuple(self._lines) if line.id > last)

    async def follow(self, last: int, ended: Callable[[], bool]) -> AsyncIterator[LogLine]:
        """The lines whose id is greater, and each new one.

        Until the book is closed or, at the next `wake`, `ended` says so.
        """
        while True:
            more = self._more
            for line in self.after(last):
                last = line.id
                yield line
            if self._closed or ended():
                return
            await more.wait()

    def wake(self) -> None:
        """Let everybody who follows look again."""
        more, self._more = self._more, asyncio.Event()
        more.set()


@dataclass(slots=True, eq=False)
class Account:
    """A person (or add-on provider) with a Heroku account."""

    id: str
    email: str
    teams: frozenset[str] = frozenset()


@dataclass(slots=True, eq=False)
class Token:
    """What a request proves itself with.

    Attributes:
        scopes: OAuth scopes, such as `global` or `read-protected`.
        revoked: refused from now on, with 401.
        expires_in: seconds that are left to it, as Heroku says; None for ever.
    """

    id: str
    value: Secret
    account: Account
    scopes: frozenset[str]
    created_at: datetime
    revoked: bool = False
    expires_in: int | None = None


@dataclass(frozen=True, slots=True)
class Release:
    """One version of an app: its code and its config vars."""

    id: str
    version: int
    description: str
    by: str
    user_id: str
    created_at: datetime


@dataclass(slots=True, eq=False)
class App:
    """An app. `vars` are the person's own config vars; attachments add theirs."""

    id: str
    name: str
    owner: Account
    created_at: datetime
    updated_at: datetime
    released_at: datetime
    team: str | None = None
    collaborators: frozenset[str] = frozenset()
    vars: dict[str, str] = field(default_factory=dict)
    releases: list[Release] = field(default_factory=list)
    log: LogBook = field(default_factory=LogBook)
    generation: str = "cedar"

    def seen_by(self, account: Account) -> bool:
        """Whether an account may know of this app."""
        if account is self.owner or account.email in self.collaborators:
            return True
        return self.team is not None and self.team in account.teams


class RoleState(enum.StrEnum):
    """Where a role stands in its credential's life."""

    ENABLING = "enabling"
    ACTIVE = "active"
    REVOKING = "revoking"


@dataclass(slots=True, eq=False)
class Role:
    """One Postgres role of a credential."""

    user: str
    password: Secret
    state: RoleState = RoleState.ACTIVE


@dataclass(slots=True, eq=False)
class Credential:
    """A named way into a database: `default`, or one the person made."""

    uuid: str
    name: str
    roles: list[Role]
    rotating: bool = False

    @property
    def active(self) -> Role:
        """The role that config vars are to show."""
        return next(role for role in self.roles if role.state is RoleState.ACTIVE)


@dataclass(slots=True, eq=False)
class Data:
    """What a leader and its followers have in common.

    A follower copies its leader byte for byte, roles and passwords included, so one
    record serves both.
    """

    dbname: str
    credentials: dict[str, Credential]
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)


@dataclass(slots=True, eq=False)
class Postgres:
    """The Postgres of one add-on: its data and the address it is reached at."""

    data: Data
    host: str
    door: Door
    pool_door: Door | None = None
    leader: Addon | None = None


@dataclass(slots=True, eq=False)
class Addon:
    """An add-on. `postgres` is set for heroku-postgresql alone."""

    id: str
    name: str
    service: str
    plan: str
    app: App
    created_at: datetime
    updated_at: datetime
    postgres: Postgres | None = None
    state: str = "provisioned"

    @property
    def plan_name(self) -> str:
        """Such as `heroku-postgresql:standard-0`."""
        return f"{self.service}:{self.plan}"


@dataclass(slots=True, eq=False)
class Attachment:
    """An add-on under a name on an app.

    Attributes:
        namespace: None for the default credential, `credential:NAME`, or
            `connection-pooling:default`.
        shown: the login that the config var shows now. It may differ from what
            Postgres takes: that is what early and late visibility are.
        fixed: config vars with a value of their own: those of an add-on that is not
            Postgres, and those that a test has put something else into.
    """

    id: str
    name: str
    addon: Addon
    app: App
    created_at: datetime
    updated_at: datetime
    namespace: str | None = None
    shown: Login | None = None
    fixed: dict[str, str] = field(default_factory=dict)

    @property
    def config_vars(self) -> dict[str, str]:
        """The config vars that this attachment puts on its app."""
        shown = {} if self.shown is None else {f"{self.name}_URL": url_of(self.shown)}
        return shown | self.fixed

    @property
    def credential(self) -> str:
        """Name of the credential that it shows."""
        return credential_in(self.namespace)


def credential_in(namespace: str | None) -> str:
    """Name of the credential that a namespace stands for."""
    if namespace is None or namespace == POOLED:
        return DEFAULT
    return namespace.removeprefix("credential:")


def postgres_of(addon: Addon) -> Postgres:
    """The Postgres of an add-on.

    Raises:
        Refused: 404; it is another kind of add-on.
    """
    if addon.postgres is None:
        raise Refused.not_found("database")
    return addon.postgres


def url_of(login: Login) -> str:
    """A login as Heroku writes it: `postgres://user:password@host:port/dbname`."""
    user, password = quote(login.user, safe=""), quote(login.password.reveal(), safe="")
    return f"postgres://{user}:{password}@{login.host}:{login.port}/{quote(login.dbname, safe='')}"
