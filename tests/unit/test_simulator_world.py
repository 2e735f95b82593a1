"""The apps, attachments, config vars and releases of a simulated Heroku."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from pgherald.simulator.state import Refused, url_of
from pgherald.simulator.world import World
from support.fake_clock import FakeClock
from support.simulator import SimulatedHeroku


@pytest_asyncio.fixture
async def heroku() -> AsyncIterator[SimulatedHeroku]:
    async with SimulatedHeroku.running() as made:
        yield made


@pytest.fixture
def world(heroku: SimulatedHeroku) -> World:
    return heroku.world


@pytest.fixture
def clock(heroku: SimulatedHeroku) -> FakeClock:
    return heroku.clock


async def test_urls_begin_as_the_cli_wants(world: World) -> None:
    """Every database URL starts with `postgres://`: the CLI knows no other beginning."""
    config = world.config_vars(world.app("shop-production"))
    urls = [value for value in config.values() if "@127.0.0.1" in value and "redis" not in value]
    assert len(urls) == 5
    assert all(url.startswith("postgres://u") or "analytics" in url for url in urls)


async def test_url_is_percent_encoded(world: World) -> None:
    """Whatever stands in a password, the URL can be parsed back."""
    login = world.login(world.addons[0])
    odd = type(login)(login.host, 5432, "d/b", "u:x", type(login.password)("p@ss/word%"))
    assert url_of(odd) == "postgres://u%3Ax:p%40ss%2Fword%25@127.0.0.1:5432/d%2Fb"


async def test_who_may_see_what(world: World) -> None:
    """An app is seen by its owner, its collaborators and its team, and by nobody else."""
    owner = world.add_account("owner@example.com")
    friend = world.add_account("friend@example.com")
    member = world.add_account("member@example.com", teams=["press"])
    app = world.add_app("news", owner, team="press", collaborators=["friend@example.com"])
    assert all(app.seen_by(account) for account in (owner, friend, member))
    assert not app.seen_by(world.accounts[0])
    addon = await world.data.add_postgres(app, "mini")
    assert world.addon(addon.id, member) is addon
    with pytest.raises(Refused):
        world.addon(addon.id, world.accounts[0])
    world.attach(addon, world.app("blog"), "NEWS")
    assert world.addon(addon.id, world.accounts[0]) is addon
