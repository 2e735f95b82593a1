"""The apps, attachments, config vars and releases of a simulated Heroku."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable

import pytest
import pytest_asyncio

from pgherald.simulator.seed import seed_world
from pgherald.simulator.state import LogBook, Refused, url_of
from pgherald.simulator.world import World
from support.fake_clock import START, FakeClock
from support.simulator import FakeDoor, FakePostgres, SimulatedHeroku


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


async def test_change_of_config_moves_what_heroku_moves(world: World, clock: FakeClock) -> None:
    """A config change makes a release, and moves `released_at` and `updated_at` together."""
    app = world.app("blog")
    before = len(app.releases)
    await clock.advance(60)
    world.set_config(app, {"A": "1", "B": "2"}, by="dev@example.com")
    assert len(app.releases) == before + 1
    assert app.releases[-1].description == "Set A, B config vars"
    assert app.released_at == app.updated_at == clock.now()
    assert [line.text.partition(": ")[2] for line in app.log.after(0)][-2:] == [
        "Set A, B config vars by user dev@example.com",
        f"Release v{before + 1} created by user dev@example.com",
    ]


async def test_none_removes_a_config_var(world: World) -> None:
    """A config var set to nothing is gone, and the release says so."""
    app = world.app("blog")
    world.set_config(app, {"RACK_ENV": None}, by="dev@example.com")
    assert "RACK_ENV" not in world.config_vars(app)
    assert app.releases[-1].description == "Remove RACK_ENV config vars"


async def test_attachments_own_their_config_vars(world: World) -> None:
    """A person cannot overwrite a config var that belongs to an attachment."""
    with pytest.raises(Refused, match="Cannot overwrite attachment values DATABASE_URL"):
        world.set_config(world.app("blog"), {"DATABASE_URL": "x"}, by="dev@example.com")


async def test_renaming_an_app_makes_no_release(world: World, clock: FakeClock) -> None:
    """A new name moves `updated_at` and nothing else; a name in use is refused."""
    app = world.app("blog")
    released = app.released_at
    await clock.advance(5)
    world.rename_app(app, "journal")
    assert world.app("journal") is app
    assert (app.released_at, app.updated_at) == (released, clock.now())
    with pytest.raises(Refused, match="already taken"):
        world.rename_app(app, "shop-staging")
    with pytest.raises(Refused, match="already taken"):
        world.add_app("journal", app.owner)


async def test_promote_keeps_the_old_database_under_another_name(world: World) -> None:
    """Promoting re-points DATABASE; the database it named before keeps a color of its own."""
    app = world.app("shop-staging")
    old = world.attachment(app, "DATABASE")
    new = await world.data.add_postgres(app, "standard-0")
    world.promote(app, new)
    now = world.attachment(app, "DATABASE")
    assert now.addon is new
    assert now.id != old.id
    assert [a.name for a in world.attachments if a.app is app and a.addon is old.addon] != []
    assert world.config_vars(app)["DATABASE_URL"] == url_of(world.login(new))


async def test_a_name_in_use_asks_for_confirmation(world: World) -> None:
    """Taking another attachment's name away needs the app's name as confirmation."""
    app = world.app("blog")
    addon = world.attachment(world.app("shop-staging"), "DATABASE").addon
    with pytest.raises(Refused, match="already in use") as refused:
        world.attach(addon, app, "DATABASE")
    assert (refused.value.status, refused.value.id) == (423, "confirmation_required")


async def test_detach_takes_the_config_var(world: World) -> None:
    """A detached database leaves neither attachment nor config var, and makes a release."""
    app = world.app("blog")
    world.detach(world.attachment(app, "SHOP"))
    assert "SHOP_URL" not in world.config_vars(app)
    assert app.releases[-1].description.startswith("Detach SHOP (@ref:postgresql-")


async def test_resolve(world: World) -> None:
    """An attachment is found by name, config var, color and id, and an add-on's name or id gives all of its own."""
    app = world.app("shop-production")
    mine = [a for a in world.attachments if a.app is app]
    assert world.resolve("DATABASE", mine) == world.resolve("DATABASE_URL", mine)
    assert [a.name for a in world.resolve("DATABASE", mine)] == ["DATABASE"]
    colored = next(a for a in mine if a.name.startswith("HEROKU_POSTGRESQL_"))
    color = colored.name.removeprefix("HEROKU_POSTGRESQL_")
    assert world.resolve(color, mine) == world.resolve(colored.id, mine) == [colored]
    everything = [a for a in mine if a.addon is colored.addon]
    assert world.resolve(colored.addon.name, mine) == everything
    assert world.resolve(colored.addon.id, mine) == everything
    with pytest.raises(Refused, match="Couldn't find that add-on attachment"):
        world.resolve("NOTHING", mine)


async def test_what_is_not_there(world: World) -> None:
    """Each kind of thing has its own 404."""
    lookups: list[tuple[Callable[[], object], str]] = [
        (lambda: world.app("x"), "app"),
        (lambda: world.addon("x"), "add_on"),
        (lambda: world.attachment(world.apps[0], "x"), "attachment"),
        (lambda: world.login(world.addons[0], "credential:x"), "credential"),
        (lambda: world.login(world.addon(_redis(world))), "database"),
    ]
    for look_up, resource in lookups:
        with pytest.raises(Refused) as refused:
            look_up()
        assert (refused.value.status, refused.value.extra) == (404, {"resource": resource})


def _redis(world: World) -> str:
    return next(a.name for a in world.addons if a.service == "heroku-redis")


async def test_a_pool_is_not_everywhere(world: World) -> None:
    """A database without a pool cannot be attached through one."""
    app = world.app("blog")
    addon = world.attachment(app, "DATABASE").addon
    with pytest.raises(Refused, match="pooling is not available"):
        world.attach(addon, app, "POOL", namespace="connection-pooling:default")


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


async def test_close_ends_what_is_under_way(world: World) -> None:
    """Closing a world stops what was to happen later and closes every door."""
    world.later(world.clock.sleep(3600))
    doors = [addon.postgres.door for addon in world.addons if addon.postgres is not None]
    await world.close()
    assert [door.closed for door in doors if isinstance(door, FakeDoor)] == [True] * 4


async def test_quiet_waits_for_what_is_under_way(world: World, clock: FakeClock) -> None:
    """A test may wait until everything that was begun has ended."""
    world.later(world.clock.sleep(3600))
    await clock.run(world.quiet())
    assert clock.slept == [3600]


async def test_log_lines_look_like_herokus() -> None:
    """A log line is `<RFC 3339 with microseconds> source[dyno]: message`."""
    book = LogBook()
    book.write(START, "app", "api", "Release v2 created by user u@example.com")
    [line] = book.after(0)
    assert line.text == (
        "2026-01-05T09:00:00.000000+00:00 app[api]: Release v2 created by user u@example.com"
    )


async def test_one_app_is_enough() -> None:
    """A world may have a single app, which then has everything."""
    world = await seed_world(FakePostgres(), apps=["only"], open_door=FakeDoor.opener())
    assert len([a for a in world.attachments if a.app.name == "only"]) == 7
    await world.close()
