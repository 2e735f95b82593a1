"""A stand-in for Postgres, and a simulated Heroku in front of it without any socket.

postgres = FakePostgres()
world = await seed_world(postgres, open_door=FakeDoor.opener())
client = browse(world)               # httpx, straight into the application
postgres.accepts(login)              # would Postgres take it?
"""

from __future__ import annotations

import contextlib
import itertools
import random
import re
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any

import httpx
import psycopg

from pgherald.clock import Clock
from pgherald.model import Login
from pgherald.secret import Secret
from pgherald.simulator.application import Application, build
from pgherald.simulator.backend import Backend
from pgherald.simulator.control import HEADER
from pgherald.simulator.faults import Faults
from pgherald.simulator.seed import seed_world
from pgherald.simulator.world import World
from pgherald.sync.probe import Outcome, Proof
from support.fake_clock import FakeClock

ACCEPT = "application/vnd.heroku+json; version=3"
CONTROL_TOKEN = Secret("CANARY-control")


def dice(seed: int) -> random.Random:
    """Randomness that falls the same way each time."""
    return random.Random(seed)  # names and passwords of a test are no secrets


@dataclass
class FakePostgres:
    """Roles and databases in memory, in the shape of `simulator.backend.Backend`."""

    host: str = "127.0.0.1"
    port: int = 5432
    passwords: dict[str, Secret] = field(default_factory=dict)
    locked: set[str] = field(default_factory=set)
    owners: dict[str, str] = field(default_factory=dict)
    statements: list[tuple[str, str]] = field(default_factory=list)

    def accepts(self, login: Login) -> bool:
        """Whether a connection with that login would work."""
        known = self.passwords.get(login.user) == login.password
        return known and login.user not in self.locked and login.dbname in self.owners

    async def execute(self, sql: str, *, dbname: str = "postgres") -> list[tuple[Any, ...]]:
        """Answer the few questions the simulator has."""
        assert dbname == "postgres" or dbname in self.owners, f"no database {dbname}"
        self.statements.append((dbname, sql))
        if "server_version" in sql:
            return [("17.2", 8_000_000)]
        if "pg_stat_activity" in sql:
            return [(3,)]
        if match := re.search(r"rolname = '(.*)'", sql):
            return [(1,)] if match[1] in self.passwords else []
        if match := re.match(r'DROP DATABASE "(.*)"', sql):
            del self.owners[match[1]]
        if match := re.match(r'DROP ROLE IF EXISTS "(.*)"', sql):
            assert match[1] not in self.owners.values(), f"role {match[1]} owns a database"
            self.passwords.pop(match[1], None)
        if match := re.match(r'REASSIGN OWNED BY "(.*)" TO "(.*)"', sql):
            mine = [name for name, owner in self.owners.items() if owner == match[1]]
            self.owners.update(dict.fromkeys(mine, match[2]))
        return []

    async def create_role(self, name: str, password: Secret, *, login: bool = True) -> None:
        assert name not in self.passwords, f"role {name} exists"
        self.passwords[name] = password

    async def set_password(self, name: str, password: Secret) -> None:
        assert name in self.passwords, f"no role {name}"
        self.passwords[name] = password

    async def create_database(self, name: str, owner: str) -> None:
        assert owner in self.passwords, f"no role {owner}"
        self.owners[name] = owner

    async def rename_database(self, old: str, new: str) -> None:
        self.owners[new] = self.owners.pop(old)

    async def end_connections(self, role: str) -> None:
        """There are none."""

    async def lock_role(self, name: str) -> None:
        self.locked.add(name)


@dataclass
class AskingProber:
    """Asks the stand-in for Postgres, and notes which logins it tried; `outcome` overrules it."""

    postgres: FakePostgres
    clock: Clock
    outcome: Outcome | None = None
    tried: list[Login] = field(default_factory=list)

    async def probe(self, login: Login, **_: object) -> Proof:
        self.tried.append(login)
        found = Outcome.WORKS if self.postgres.accepts(login) else Outcome.REFUSED
        return Proof(self.outcome or found, self.clock.now(), 0.1)


@dataclass
class FakeDoor:
    """An address that leads nowhere."""

    port: int
    closed: bool = False

    def close(self) -> None:
        self.closed = True

    @classmethod
    def opener(cls) -> Callable[[Backend], FakeDoor]:
        """Opens doors on ports 20001, 20002 and so on."""
        ports = itertools.count(20001)
        return lambda _backend: cls(next(ports))


@dataclass
class Browser:
    """A client of a simulated Heroku, without sockets: straight into the application."""

    app: Application
    api: httpx.AsyncClient
    data: httpx.AsyncClient
    control: httpx.AsyncClient

    async def close(self) -> None:
        for client in (self.api, self.data, self.control):
            await client.aclose()


def browse(world: World, token: Secret | None = None) -> Browser:
    """Clients of a world: as the Platform API's, the Data API's and the control routes' callers."""
    app = build(world, CONTROL_TOKEN)
    transport = httpx.ASGITransport(app.front)
    bearer = {"Authorization": f"Bearer {(token or world.tokens[0].value).reveal()}"}

    def client(headers: dict[str, str]) -> httpx.AsyncClient:
        return httpx.AsyncClient(
            transport=transport, base_url="http://127.0.0.1:5000", headers=headers
        )

    control = client({HEADER: CONTROL_TOKEN.reveal()})
    control.base_url = httpx.URL("http://127.0.0.1:5000/_simulator/")
    return Browser(app, client(bearer | {"Accept": ACCEPT}), client(bearer), control)


@dataclass
class SimulatedHeroku:
    """A seeded world without any socket, with clients of it and a clock that a test moves."""

    world: World
    postgres: FakePostgres
    clock: FakeClock
    browser: Browser

    @classmethod
    @contextlib.asynccontextmanager
    async def running(cls) -> AsyncIterator[SimulatedHeroku]:
        """Make one, and close it in the end."""
        postgres, clock = FakePostgres(), FakeClock()
        world = await seed_world(
            postgres, clock=clock, source=dice(3), mark="CANARY", open_door=FakeDoor.opener()
        )
        browser = browse(world)
        yield cls(world, postgres, clock, browser)
        await browser.close()
        await world.close()

    @property
    def faults(self) -> Faults:
        return self.browser.app.faults

    def login(self, name: str = "DATABASE") -> Login:
        """What the config var of an attachment shows."""
        return shown_in(self.world, "shop-production", name)

    def token(self, *scopes: str) -> str:
        """A header for another token of the same account."""
        made = self.world.add_token(self.world.accounts[0], scopes=scopes)
        return f"Bearer {made.value.reveal()}"

    async def get(self, path: str = "/apps", **headers: str) -> Any:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return await self.browser.api.get(path, headers=named)

    async def post(self, path: str, body: Any, headers: dict[str, str] | None = None) -> Any:
        """Send something to the Platform API."""
        return await self.browser.api.post(path, json=body, headers=headers)

    async def do(self, order: str, status: int = 200, /, **body: Any) -> Any:
        """Give an order by the control routes; the answer."""
        reply = await self.browser.control.post(order, json=body)
        assert reply.status_code == status, reply.text
        return reply.json()


def shown_in(world: World, app: str, attachment: str = "DATABASE") -> Login:
    """The login that a config var shows at this moment."""
    shown = world.attachment(world.app(app), attachment).shown
    assert shown is not None
    return shown


async def connect(login: Login) -> psycopg.AsyncConnection[Any]:
    """A real connection with a login, over TLS."""
    return await psycopg.AsyncConnection.connect(
        host=login.host, port=login.port, dbname=login.dbname, user=login.user,
        password=login.password.reveal(), sslmode=login.sslmode, connect_timeout=60, autocommit=True,
    )  # fmt: skip


async def works(login: Login) -> bool:
    """Whether a real Postgres takes a login. A password refused and a port closed are both no."""
    try:
        connection = await connect(login)
    except psycopg.OperationalError:
        return False
    await connection.close()
    return True
