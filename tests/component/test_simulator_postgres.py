"""Simulated rotations and failovers, with a real Postgres behind them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass

import psycopg
import pytest

from pgherald.model import Login
from pgherald.simulator.data_plane import Manner
from pgherald.simulator.postgres import Cluster
from pgherald.simulator.seed import seed_world
from pgherald.simulator.state import postgres_of
from pgherald.simulator.world import World
from support.fake_clock import FakeClock
from support.simulator import connect, shown_in, works


@dataclass
class Shop:
    """The database of the first app in a seeded world."""

    world: World
    clock: FakeClock

    def login(self) -> Login:
        """What the config var shows."""
        return shown_in(self.world, "shop-production")

    async def end(self) -> None:
        """Let the time pass that everything under way takes."""
        await self.clock.run(self.world.quiet())

    async def rotate(self, **manner: float) -> None:
        data, how = postgres_of(self.world.addons[0]).data, Manner(**manner)  # type: ignore[arg-type]  # numbers all
        await self.world.data.rotate(data, manner=how)


@pytest.fixture
async def shop(cluster: Cluster) -> AsyncIterator[Shop]:
    clock = FakeClock()
    world = await seed_world(cluster, clock=clock, mark="CANARY")
    yield Shop(world, clock)
    await world.data.clear()
    await world.close()


async def test_rotation_ends_the_old_login(shop: Shop) -> None:
    """After a rotation the old login is refused, its open connections are cut, the new one works."""
    old = shop.login()
    connection = await connect(old)
    await shop.rotate()
    with pytest.raises(psycopg.OperationalError):
        await connection.execute("SELECT 1")
    await connection.close()
    assert not await works(old)
    assert await works(shop.login())


async def test_tables_survive_a_rotation(shop: Shop) -> None:
    """What the old user made, the new one owns: reads, changes, and drops it."""
    async with await connect(shop.login()) as before:
        await before.execute("CREATE TABLE orders (id int)")
        await before.execute("INSERT INTO orders VALUES (1)")
    await shop.rotate()
    async with await connect(shop.login()) as after:
        found = await (await after.execute("SELECT id FROM orders")).fetchall()
        await after.execute("ALTER TABLE orders ADD COLUMN total int")
        await after.execute("DROP TABLE orders")
        owned = "SELECT pg_get_userbyid(datdba) FROM pg_database WHERE datname = current_database()"
        owner = await (await after.execute(owned)).fetchone()
    assert (found, owner) == ([(1,)], (shop.login().user,))


async def test_both_logins_work_in_the_overlap(shop: Shop) -> None:
    """During an overlap the old login works beside the new one, with the same rights."""
    old = shop.login()
    async with await connect(old) as before:
        await before.execute("CREATE TABLE orders (id int)")
    await shop.rotate(overlap=30)
    assert await works(old)
    async with await connect(shop.login()) as after:
        await after.execute("INSERT INTO orders VALUES (1)")
    await shop.end()
    assert not await works(old)
    assert await works(shop.login())


async def test_early_and_late(shop: Shop) -> None:
    """Shown early, the new login is refused for a while; shown late, the old one is."""
    for manner in ("early", "late"):
        old = shop.login()
        await shop.rotate(**{manner: 30})
        assert (shop.login() == old) is (manner == "late")
        assert not await works(shop.login())
        await shop.end()
        assert await works(shop.login())


async def test_failover(shop: Shop) -> None:
    """After a failover nobody listens at the old address, and open connections are cut."""
    old = shop.login()
    connection = await connect(old)
    await shop.world.data.failover(shop.world.addons[0], host="localhost", dbname=True, login=True)
    with pytest.raises(psycopg.OperationalError):
        await connection.execute("SELECT 1")
    await connection.close()
    new = shop.login()
    assert new.changed(old) == ("host", "port", "dbname", "user", "password")
    with pytest.raises(psycopg.OperationalError, match=r"refused"):
        await connect(old)
    assert await works(new)
