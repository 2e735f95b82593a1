"""What an hour costs at Heroku, counted by the simulator.

No clock is waited for: an hour on a clock in the test's hand, with a real simulator behind it
and no sockets in between.
"""

from __future__ import annotations

import contextlib
import random
from collections.abc import AsyncIterator, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import httpx

from bench.table import Row, ratio
from pgherald.errors import PgheraldError
from pgherald.heroku.account import Account
from pgherald.heroku.api import HerokuApi
from pgherald.heroku.budget import POOL
from pgherald.heroku.host import HerokuHost
from pgherald.heroku.poller import Poller
from pgherald.heroku.watched import Watched
from pgherald.model import Database, DatabaseKey, Sighting
from pgherald.simulator.seed import READER
from pgherald.simulator.state import postgres_of
from pgherald.simulator.world import World
from support.fake_clock import FakeClock
from support.heroku_answers import FakeTokens
from support.simulator import Browser, FakeDoor, FakePostgres, browse

#: Databases, the apps that they are on, and further apps of the account.
SIZES: Final = ((1, 1, 0), (10, 5, 0), (100, 20, 0), (1000, 200, 0), (5, 5, 1200))

#: Requests in a healthy hour with a thousand databases: the promise.
PROMISE: Final = 400

POLL: Final = 60.0


class _Deaf:
    """Takes sightings and troubles, and does nothing with them."""

    verifying: tuple[DatabaseKey, ...] = ()

    def __init__(self) -> None:
        self.seen = 0
        self.alerts: list[str] = []

    def sighted(self, sightings: Iterable[tuple[Database, Sighting]]) -> None:
        self.seen += len(list(sightings))

    def absent(self, database: Database, _error: PgheraldError) -> None:
        self.alerts.append(f"database:{database.key}")

    def unanswered(self, database: Database, error: PgheraldError) -> None:
        """Its account's trouble is counted."""

    def found_only(self, account: str, keys: object) -> None:
        """Nothing is forgotten."""

    @contextlib.contextmanager
    def expecting(self) -> Iterator[None]:
        yield

    def fire(self, subject: str, *_: object) -> None:
        self.alerts.append(subject)

    def resolve(self, subject: str) -> None:
        """Nothing was wrong."""

    def keep_only(self, concerns: object) -> None:
        """Nothing was found."""


@dataclass
class Town:
    """A simulated Heroku, and who asks it."""

    clock: FakeClock
    browser: Browser
    databases: list[Database]

    @classmethod
    @contextlib.asynccontextmanager
    async def standing(cls, databases: int, apps: int, others: int) -> AsyncIterator[Town]:
        """With that many databases, evenly on that many apps, and others on none of interest."""
        clock = FakeClock()
        dice = random.Random(7)  # names in a bench are no secrets
        world = World(
            FakePostgres(), clock=clock, source=dice, mark="CANARY", open_door=FakeDoor.opener()
        )
        owner = world.add_account("dev@example.com")
        world.add_token(owner)
        made = []
        for number in range(apps):
            app = world.add_app(f"app-{number:03}", owner)
            addon = await world.data.add_postgres(app, "standard-0")
            names = ["DATABASE", *(f"DB{n}" for n in range(1, databases // apps))]
            for name in names[1:]:
                world.attach(addon, app, name)
            made += [_database(app.name, name) for name in names]
            assert READER not in postgres_of(addon).data.credentials
        for number in range(others):
            world.add_app(f"other-{number:04}", owner)
        browser = browse(world)
        await clock.advance(3600)  # so that the releases are old
        yield cls(clock, browser, made)
        await browser.close()
        await world.close()

    def asked(self) -> int:
        """Requests so far."""
        return len(self.browser.app.front.visits)

    async def hours(self) -> tuple[int, int, int]:
        """Requests of pgherald's first hour, and of the next one, and that one's bytes."""
        host = HerokuHost.from_env({"HEROKU_HOST": "http://127.0.0.1:5000"})
        token = self.browser.api.headers["Authorization"].removeprefix("Bearer ")
        transport = httpx.ASGITransport(self.browser.app.front)
        api = HerokuApi(host, FakeTokens(token), clock=self.clock, transport=transport)
        account = Account("default", api, interval=POLL, jitter=lambda: 0.0)
        deaf = _Deaf()
        poller = Poller([Watched(account, self.databases)], deaf, deaf, self.clock)
        counts = []
        for _ in range(2):
            before = self.asked()
            for _ in range(int(3600 / POLL)):
                poller.sweep()
                await poller.finished()
                await self.clock.advance(POLL)
            counts.append(self.asked() - before)
        await poller.stop()
        await api.aclose()
        # The first sweep may put off what half of a burst does not allow.
        assert set(deaf.alerts) <= {"budget:default"}
        assert deaf.seen > 0.99 * len(self.databases) * 2 * int(3600 / POLL)
        return counts[0], counts[1], api.budget.bytes_last_hour()

    async def naive(self) -> int:
        """Requests of somebody who asks for each database's config vars every minute, in an hour.

        Counted for one minute, since each is like the other.
        """
        before = self.asked()
        for database in self.databases:
            answer = await self.browser.api.get(f"/apps/{database.key.app}/config-vars")
            assert answer.json()[database.key.var]
        return (self.asked() - before) * int(3600 / POLL)


def _database(app: str, attachment: str) -> Database:
    key = DatabaseKey("default", app, attachment)
    return Database(key, str(key), "Heroku", str(key))


def _beyond(number: int) -> str:
    return f"; Heroku allows {POOL:,}" if number > POOL else ""


async def rows(folder: Path) -> list[Row]:
    """One row for each size."""
    found = []
    for databases, apps, others in SIZES:
        async with Town.standing(databases, apps, others) as town:
            first, healthy, size = await town.hours()
            naive = await town.naive()
        number = "1 database" if databases == 1 else f"{databases:,} databases on {apps} apps"
        number += f" of {apps + others:,}" if others else ""
        found.append(
            Row(
                f"requests in a healthy hour, {number}",
                f"{healthy}, {size / 1000:,.0f} kB ({first} in the first hour)",
                f"{naive:,}: each database's config var, each minute{_beyond(naive)}",
                ratio(healthy, naive),
                good=healthy < PROMISE,
            )
        )
    return found
