"""What a simulated rotation does to Postgres and to the config vars, and in which order."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest
import pytest_asyncio

from pgherald.model import Login
from pgherald.simulator.data_plane import Manner
from pgherald.simulator.seed import READER, seed_world
from pgherald.simulator.state import Attachment, Data, Refused, RoleState, postgres_of
from pgherald.simulator.world import World
from support.fake_clock import FakeClock
from support.simulator import FakeDoor, FakePostgres, dice


@dataclass
class Shop:
    """The first app of a seeded world and its database."""

    world: World
    postgres: FakePostgres
    clock: FakeClock

    @property
    def data(self) -> Data:
        return postgres_of(self.world.addons[0]).data

    def attachment(self, name: str = "DATABASE", app: str = "shop-production") -> Attachment:
        return self.world.attachment(self.world.app(app), name)

    def login(self, name: str = "DATABASE", app: str = "shop-production") -> Login:
        """What the config var shows."""
        shown = self.attachment(name, app).shown
        assert shown is not None
        return shown

    def works(self, login: Login) -> bool:
        return self.postgres.accepts(login)

    async def rotate(self, name: str = "default", *, forced: bool = False, **manner: float) -> None:
        how = Manner(**manner)  # type: ignore[arg-type]  # spelled out by each test
        await self.world.data.rotate(self.data, name, forced=forced, manner=how)


@pytest_asyncio.fixture
async def shop() -> AsyncIterator[Shop]:
    clock, postgres = FakeClock(), FakePostgres()
    world = await seed_world(
        postgres,
        clock=clock,
        source=dice(2),
        mark="CANARY",
        open_door=FakeDoor.opener(),
    )
    yield Shop(world, postgres, clock)
    await world.close()


async def test_passwords_carry_the_mark(shop: Shop) -> None:
    """Every password is 65 characters long and holds the mark, so that a leak is found."""
    password = shop.login().password.reveal()
    assert len(password) == 65
    assert password.startswith("pCANARY")


async def test_default_rotation_changes_user_and_password(shop: Shop) -> None:
    """A default rotation leaves host, port and database, and the old login is refused at once."""
    old = shop.login()
    await shop.rotate()
    assert shop.login().changed(old) == ("user", "password")
    assert shop.works(shop.login())
    assert not shop.works(old)
    assert shop.postgres.ended == [old.user]
    assert old.user in shop.postgres.locked, "else an app reconnects before the role is gone"
    assert old.user not in shop.postgres.passwords


async def test_objects_go_to_the_new_role(shop: Shop) -> None:
    """The new role owns what the old one owned, or the app would lose its tables."""
    old = shop.login()
    await shop.rotate()
    assert shop.postgres.owners[old.dbname] == shop.login().user
    run = [sql.split('"')[0] for dbname, sql in shop.postgres.statements if dbname == old.dbname]
    assert run == ["REASSIGN OWNED BY ", "DROP OWNED BY "]


async def test_every_attachment_on_every_app_shows_it(shop: Shop) -> None:
    """A rotation reaches each app that has the database, its pool and its followers."""
    await shop.rotate()
    new = shop.login()
    world = shop.world
    others = [a for a in world.attachments if a.shown and a.addon.postgres is not None]
    same = [a for a in others if postgres_of(a.addon).data is shop.data]
    assert {(a.app.name, a.shown.user) for a in same if a.shown and a.credential == "default"} == {
        ("shop-production", new.user),
        ("blog", new.user),
    }
    assert shop.login("DATABASE_CONNECTION_POOL").password == new.password
    assert shop.login("DATABASE_CONNECTION_POOL").port != new.port


async def test_other_databases_and_credentials_stay(shop: Shop) -> None:
    """A rotation of one credential changes no other login and releases no other app."""
    before = shop.login(READER.upper()), shop.login(app="shop-staging")
    releases = len(shop.world.app("shop-staging").releases)
    await shop.rotate()
    assert (shop.login(READER.upper()), shop.login(app="shop-staging")) == before
    assert len(shop.world.app("shop-staging").releases) == releases


async def test_one_release_per_app(shop: Shop) -> None:
    """A rotation makes one release on each app, by the add-on, naming the attachments."""
    before = len(shop.world.app("shop-production").releases)
    await shop.rotate()
    release = shop.world.app("shop-production").releases[-1]
    assert release.version == before + 1
    assert release.description.startswith("Update DATABASE, ")
    assert release.by == "heroku-postgresql@addons.heroku.com"
    blog = shop.world.app("blog").releases[-1]
    assert blog.description == "Update SHOP by heroku-postgresql"


async def test_one_release_per_attachment_if_wanted(shop: Shop) -> None:
    """Where each attachment makes a release, several follow each other."""
    before = len(shop.world.app("shop-production").releases)
    await shop.rotate(release_each=True)
    texts = [r.description for r in shop.world.app("shop-production").releases[before:]]
    assert texts[0] == "Update DATABASE by heroku-postgresql"
    assert len(texts) == 4


async def test_password_alone(shop: Shop) -> None:
    """A rotation may keep the user name; the old password is refused."""
    old = shop.login()
    await shop.rotate(user=False)
    assert shop.login().changed(old) == ("password",)
    assert shop.works(shop.login())
    assert not shop.works(old)


async def test_overlap_keeps_the_old_login_for_a_while(shop: Shop) -> None:
    """With an overlap both logins work until it is over."""
    old = shop.login()
    await shop.rotate(overlap=30)
    assert shop.works(old)
    assert shop.works(shop.login())
    await shop.clock.advance(31)
    assert not shop.works(old)
    assert shop.works(shop.login())


async def test_rotations_may_overlap(shop: Shop) -> None:
    """A second rotation during the first one's overlap ends with one role, which owns all."""
    await shop.rotate(overlap=30)
    await shop.clock.advance(10)
    await shop.rotate(overlap=30)
    await shop.clock.advance(60)
    login = shop.login()
    assert [role.user for role in shop.data.credentials["default"].roles] == [login.user]
    assert shop.postgres.owners[login.dbname] == login.user


@pytest.mark.parametrize("user", [True, False])
async def test_shown_early(shop: Shop, *, user: bool) -> None:
    """A login may be shown before Postgres takes it; meanwhile the old one works."""
    old = shop.login()
    await shop.rotate(user=user, early=10)
    assert shop.login() != old
    assert shop.works(old)
    assert not shop.works(shop.login())
    await shop.clock.advance(11)
    assert shop.works(shop.login())
    assert not shop.works(old)


async def test_clearing_in_the_middle(shop: Shop) -> None:
    """A world can be cleared while a login is shown whose role does not exist yet."""
    await shop.rotate(early=10)
    await shop.world.data.clear()
    assert not shop.postgres.passwords


@pytest.mark.parametrize("user", [True, False])
async def test_shown_late(shop: Shop, *, user: bool) -> None:
    """Postgres may have changed while the config vars still show a login that is refused."""
    old = shop.login()
    await shop.rotate(user=user, late=10)
    assert shop.login() == old
    assert not shop.works(old)
    await shop.clock.advance(11)
    assert shop.login() != old
    assert shop.works(shop.login())


async def test_named_rotation_goes_through_a_temporary_role(shop: Shop) -> None:
    """A named rotation shows `<name>-rotating`, then `<name>` again: two URL changes."""
    name = READER.upper()
    old = shop.login(name)
    await shop.rotate(READER, step=20)
    between = shop.login(name)
    assert between.user == f"{READER}-rotating"
    assert shop.works(between)
    assert shop.works(old)
    states = [role.state for role in shop.data.credentials[READER].roles]
    assert states == [RoleState.REVOKING, RoleState.ACTIVE]
    with pytest.raises(Refused, match="is being rotated"):
        await shop.rotate(READER)
    await shop.clock.advance(21)
    new = shop.login(name)
    assert new.changed(old) == ("password",)
    assert shop.works(new)
    assert not shop.works(between)
    assert not shop.works(old)
    await shop.rotate(READER)


async def test_named_rotation_by_force_changes_once(shop: Shop) -> None:
    """A forced rotation of a named credential has no step in between."""
    app = shop.world.app("shop-production")
    before = len(app.releases)
    await shop.rotate(READER, forced=True)
    assert len(app.releases) == before + 1
    assert shop.login(READER.upper()).user == READER


async def test_all_credentials(shop: Shop) -> None:
    """Rotating all changes the default and each named credential."""
    before = shop.login(), shop.login(READER.upper())
    await shop.world.data.rotate_all(shop.data)
    after = shop.login(), shop.login(READER.upper())
    assert all(a.password != b.password for a, b in zip(before, after, strict=True))


async def test_failover_moves_host_and_port(shop: Shop) -> None:
    """After a failover the old ports are closed and the config vars show another address."""
    old = shop.login()
    postgres = postgres_of(shop.world.addons[0])
    doors = [postgres.door, postgres.pool_door]
    await shop.world.data.failover(shop.world.addons[0], host="localhost")
    assert shop.login().changed(old) == ("host", "port")
    assert all(door.closed for door in doors)  # type: ignore[union-attr]  # FakeDoors
    assert shop.login("SHOP", "blog") == shop.login()
    assert shop.login("DATABASE_CONNECTION_POOL").host == "localhost"


async def test_emergency_move_changes_everything_at_once(shop: Shop) -> None:
    """Heroku's own moves may change host, port, database, user and password in one release."""
    app, old = shop.world.app("blog"), shop.login(app="blog")
    addon = shop.attachment(app="blog").addon
    before = len(app.releases)
    await shop.world.data.failover(addon, host="localhost", dbname=True, login=True)
    new = shop.login(app="blog")
    assert new.changed(old) == ("host", "port", "dbname", "user", "password")
    assert shop.works(new)
    assert len(app.releases) == before + 1


async def test_renamed_database(shop: Shop) -> None:
    """A renamed database keeps everything but its name, for its named credentials too."""
    old = shop.login()
    await shop.world.data.rename_database(shop.world.addons[0])
    assert shop.login().changed(old) == ("dbname",)
    assert shop.login(READER.upper()).dbname == shop.login().dbname
    assert shop.works(shop.login())


async def test_destroyed_addon_is_gone_everywhere(shop: Shop) -> None:
    """A destroyed add-on leaves no attachment, role or database; one that is followed keeps data."""
    leader, follower = shop.world.addons[0], shop.world.addons[1]
    assert postgres_of(follower).leader is leader
    await shop.world.data.destroy(leader)
    assert shop.data.dbname in shop.postgres.owners
    assert all(a.addon is not leader for a in shop.world.attachments)
    await shop.world.data.destroy(follower)
    assert READER not in shop.postgres.passwords
    await shop.world.data.clear()
    assert not shop.postgres.passwords
    assert not shop.postgres.owners
    assert not shop.world.addons


async def test_named_credentials_come_and_go(shop: Shop) -> None:
    """A named credential is a role; its destruction gives its objects to the default one."""
    plane = shop.world.data
    await plane.create_credential(shop.data, "report")
    assert "report" in shop.postgres.passwords
    await plane.destroy_credential(shop.data, "report")
    assert "report" not in shop.postgres.passwords


@pytest.mark.parametrize("name", ["default", READER, "No Name", "x'; --", "postgres-role"])
async def test_bad_credential_names(shop: Shop, name: str) -> None:
    """A name that is taken, is no name, or belongs to another role is refused."""
    shop.postgres.passwords.setdefault("postgres-role", shop.login().password)
    with pytest.raises(Refused) as refused:
        await shop.world.data.create_credential(shop.data, name)
    assert refused.value.status == 422


@pytest.mark.parametrize(("name", "status"), [("default", 422), (READER, 422), ("nobody", 404)])
async def test_credentials_that_stay(shop: Shop, name: str, status: int) -> None:
    """The default credential, an attached one and an unknown one cannot be destroyed."""
    with pytest.raises(Refused) as refused:
        await shop.world.data.destroy_credential(shop.data, name)
    assert refused.value.status == status


async def test_only_postgres_fails_over(shop: Shop) -> None:
    """An add-on that is no Postgres has no database to move."""
    redis = next(a for a in shop.world.addons if a.service == "heroku-redis")
    with pytest.raises(Refused, match="database"):
        await shop.world.data.failover(redis)
