"""What a simulated rotation does to Postgres and to the config vars, and in which order."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest_asyncio

from pgherald.simulator.data_plane import Manner
from pgherald.simulator.state import postgres_of
from support.simulator import SimulatedHeroku


@pytest_asyncio.fixture
async def heroku() -> AsyncIterator[SimulatedHeroku]:
    async with SimulatedHeroku.running() as made:
        yield made


async def rotate(
    heroku: SimulatedHeroku, name: str = "default", *, forced: bool = False, **manner: float
) -> None:
    data, how = postgres_of(heroku.world.addons[0]).data, Manner(**manner)  # type: ignore[arg-type]  # spelled out by each test
    await heroku.world.data.rotate(data, name, forced=forced, manner=how)


async def test_passwords_carry_the_mark(heroku: SimulatedHeroku) -> None:
    """Every password is 65 characters long and holds the mark, so that a leak is found."""
    password = heroku.login().password.reveal()
    assert len(password) == 65
    assert password.startswith("pCANARY")


async def test_default_rotation_changes_user_and_password(heroku: SimulatedHeroku) -> None:
    """A default rotation leaves host, port and database, and the old login is refused at once."""
    old = heroku.login()
    await rotate(heroku)
    assert heroku.login().changed(old) == ("user", "password")
    assert heroku.postgres.accepts(heroku.login())
    assert not heroku.postgres.accepts(old)
    assert heroku.postgres.ended == [old.user]
    assert old.user in heroku.postgres.locked, "else an app reconnects before the role is gone"
    assert old.user not in heroku.postgres.passwords


async def test_every_attachment_on_every_app_shows_it(heroku: SimulatedHeroku) -> None:
    """A rotation reaches each app that has the database, its pool and its followers."""
    await rotate(heroku)
    new = heroku.login()
    world = heroku.world
    others = [a for a in world.attachments if a.shown and a.addon.postgres is not None]
    same = [
        a for a in others if postgres_of(a.addon).data is postgres_of(heroku.world.addons[0]).data
    ]
    assert {(a.app.name, a.shown.user) for a in same if a.shown and a.credential == "default"} == {
        ("shop-production", new.user),
        ("blog", new.user),
    }
    assert heroku.login("DATABASE_CONNECTION_POOL").password == new.password
    assert heroku.login("DATABASE_CONNECTION_POOL").port != new.port


async def test_one_release_per_app(heroku: SimulatedHeroku) -> None:
    """A rotation makes one release on each app, by the add-on, naming the attachments."""
    before = len(heroku.world.app("shop-production").releases)
    await rotate(heroku)
    release = heroku.world.app("shop-production").releases[-1]
    assert release.version == before + 1
    assert release.description.startswith("Update DATABASE, ")
    assert release.by == "heroku-postgresql@addons.heroku.com"
    blog = heroku.world.app("blog").releases[-1]
    assert blog.description == "Update SHOP by heroku-postgresql"


async def test_rotations_may_overlap(heroku: SimulatedHeroku) -> None:
    """A second rotation during the first one's overlap ends with one role, which owns all."""
    await rotate(heroku, overlap=30)
    await heroku.clock.advance(10)
    await rotate(heroku, overlap=30)
    await heroku.clock.advance(60)
    login = heroku.login()
    assert [
        role.user for role in postgres_of(heroku.world.addons[0]).data.credentials["default"].roles
    ] == [login.user]
    assert heroku.postgres.owners[login.dbname] == login.user


async def test_shown_early(heroku: SimulatedHeroku) -> None:
    """A login may be shown before Postgres takes it; meanwhile the old one works."""
    old = heroku.login()
    await rotate(heroku, user=False, early=10)
    assert heroku.login() != old
    assert heroku.postgres.accepts(old)
    assert not heroku.postgres.accepts(heroku.login())
    await heroku.clock.advance(11)
    assert heroku.postgres.accepts(heroku.login())
    assert not heroku.postgres.accepts(old)


async def test_shown_late(heroku: SimulatedHeroku) -> None:
    """Postgres may have changed while the config vars still show a login that is refused."""
    old = heroku.login()
    await rotate(heroku, user=False, late=10)
    assert heroku.login() == old
    assert not heroku.postgres.accepts(old)
    await heroku.clock.advance(11)
    assert heroku.login() != old
    assert heroku.postgres.accepts(heroku.login())
