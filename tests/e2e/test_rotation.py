"""The main job with the whole program: Heroku changes a login, and every client follows.

The daemon is the real one, in a process of its own; Postgres is real, and so is the Heroku
CLI that rotates. How long it took is told by the simulator's record of the release and by
the time stamps of the clients' files, so a slow test run is no slow program.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import pytest

from pgherald.model import Login
from pgherald.simulator.data_plane import Manner
from pgherald.simulator.faults import Fault
from pgherald.simulator.postgres import Cluster
from support.dbus import notification_server, session_bus
from support.heroku_cli import HerokuCli
from support.program import OWN_LINE, SHOP, House, Program, eventually
from support.simulator import works

#: Seconds between two sweeps, in all these tests.
POLL = 1.0

#: Seconds from the release to the last client. The promise is a poll and a second, which
#: `make bench` measures; whatever could hold up a client here would take longer than this.
PROMISE = 12.0

APP = "shop-production"
ANALYTICS = f'[[databases]]\napp = "{APP}"\nattachment = "ANALYTICS"\nservice = "analytics"\n'
STAGING = '[[databases]]\napp = "shop-staging"\n'


@pytest.fixture
async def house(cluster: Cluster, tmp_path: Path) -> AsyncIterator[House]:
    apps = (APP, "shop-staging")
    async with House.standing(cluster, tmp_path, apps=apps) as standing:
        yield standing


async def heroku(house: House, *arguments: str) -> None:
    """Run the real Heroku CLI, which has to succeed."""
    done = await HerokuCli.find().run(house.simulator, house.home, *arguments)
    assert done.ok, done


async def connects(house: House, login: Login, service: str = APP) -> None:
    """Libpq gets in by the service, and by host and pgpass, and nobody gives a password."""
    by_host = f"host={login.host} port={login.port} dbname={login.dbname} user={login.user}"
    for conninfo in (f"service={service}", f"{by_host} sslmode=require"):
        done = await house.psql(conninfo)
        assert (done.code, done.out.strip()) == (0, login.user), (conninfo, done)


async def followed(
    house: House, daemon: Program, login: Login, app: str = APP, service: str = APP
) -> None:
    """Every client holds the login, in the promised time, and libpq gets in."""
    await eventually(lambda: not house.behind(login, service), log=daemon)
    assert house.changed_at() - house.released_at(app) <= PROMISE, daemon.log
    await connects(house, login, service)
    assert OWN_LINE in house.pgpass.read_text()


async def begin(house: House, daemon: Program, app: str = APP, service: str = APP) -> Login:
    """Wait until the clients hold the login that is there to begin with."""
    login = house.login(app, "ANALYTICS" if service == "analytics" else "DATABASE")
    await eventually(lambda: not house.behind(login, service), log=daemon)
    return login


# With the real Heroku CLI


@pytest.mark.parametrize("new_user", [True, False], ids=["user and password", "password only"])
async def test_rotated_by_the_heroku_cli(house: House, *, new_user: bool) -> None:
    """After `heroku pg:credentials:rotate` every client follows."""
    house.world.data.manner = Manner(user=new_user)
    house.configure(SHOP)
    async with house.daemon() as daemon:
        old = await begin(house, daemon)
        await heroku(house, "pg:credentials:rotate", "-a", APP, "--confirm", APP)
        new = house.login()
        assert (new.user != old.user, new.password != old.password) == (new_user, True)
        await followed(house, daemon, new)
        assert not await works(old)
    (record,) = (await house.pgherald("history", "--json")).json
    assert record["changed"] == (["user", "password"] if new_user else ["password"])
    assert record["release"] == len(house.app().releases)
    assert record["proven_at"]


async def test_named_credential_in_two_steps(house: House) -> None:
    """A named credential goes through a temporary user and back; clients follow both times."""
    house.configure(ANALYTICS)
    house.world.data.manner, go = Manner(step=1), house.later_steps_wait()
    async with house.daemon() as daemon:
        old = await begin(house, daemon, service="analytics")
        command = ["pg:credentials:rotate", "-a", APP, "--name", "analytics", "--confirm", APP]
        await heroku(house, *command)
        between = house.login(attachment="ANALYTICS")
        assert between.user == "analytics-rotating"
        await followed(house, daemon, between, service="analytics")
        go.set()
        await house.world.quiet()
        new = house.login(attachment="ANALYTICS")
        assert new.user == old.user
        await followed(house, daemon, new, service="analytics")
        assert not await works(old)
        assert not await works(between)
    history = (await house.pgherald("history", "--json")).json
    assert [record["changed"] for record in history] == [["user", "password"]] * 2


# What only Heroku itself does


async def test_moved(house: House) -> None:
    """Another address or another database name is followed like another password."""
    house.configure(SHOP)
    data = house.world.data
    async with house.daemon() as daemon:
        old = await begin(house, daemon)
        for deed, changed in (
            (partial(data.failover), {"port"}),
            (partial(data.failover, host="localhost", dbname=True, login=True),
             {"host", "port", "dbname", "user", "password"}),
            (data.rename_database, {"dbname"}),
        ):  # fmt: skip
            await deed(house.addon())
            new = house.login()
            assert set(new.changed(old)) == changed
            await followed(house, daemon, new)
            assert not await works(old)
            old = new


async def test_shown_before_postgres_takes_it(house: House) -> None:
    """A login that Heroku shows early is not written before Postgres takes it; no alarm."""
    house.configure(SHOP)
    go = house.later_steps_wait()
    async with house.daemon() as daemon:
        old = await begin(house, daemon)
        await house.world.data.rotate(house.data(), manner=Manner(early=1, overlap=600))
        new = house.login()
        assert new != old
        await daemon.line("trying again")
        assert house.behind(old) == []
        assert not await works(new)
        go.set()
        await eventually(lambda: not house.behind(new), log=daemon)
        await connects(house, new)
        assert daemon.count("WARNING") == 0, daemon.log


async def test_rotated_while_pgherald_was_off(house: House) -> None:
    """A rotation that nobody saw is found at the next start, and told as a rotation."""
    house.configure(SHOP)
    assert (await house.pgherald("check")).code == 0
    old = house.login()
    new = await house.rotate()
    assert (house.behind(old), await works(old)) == ([], False)
    async with house.daemon() as daemon:
        await daemon.line("Heroku rotated Shop")
        assert house.behind(new) == []
        await connects(house, new)
    assert len((await house.pgherald("history", "--json")).json) == 1


async def test_a_mass_rotation_is_one_commit_and_one_notice(
    cluster: Cluster, tmp_path: Path
) -> None:
    """Twenty databases that rotate at once make one commit and one notification."""
    apps = [f"shop-{number}" for number in range(20)]
    async with (
        House.standing(cluster, tmp_path, apps=apps) as house,
        session_bus(tmp_path) as bus,
        notification_server(bus) as server,
    ):
        # One sweep sees all of them: the next is asked for by touching the token's file.
        house.configure(
            *(f'[[databases]]\napp = "{app}"\n' for app in apps),
            poll="10m",
            desktop=True,
            events=False,  # they would make a look at each app as it rotates
        )
        assert (await house.pgherald("check")).code == 0
        before, began = house.commits(), datetime.now(UTC).isoformat()

        def has_looked() -> bool:
            shown = json.loads((house.state / "status.json").read_text())["databases"]
            return all(each["looked_at"] > began for each in shown)

        async with house.daemon(bus.environ) as daemon:
            await eventually(has_looked, log=daemon)  # the first sweep is over
            await asyncio.gather(*(house.rotate(app) for app in apps))
            house.put(house.token, house.token.read_text())
            await eventually(
                lambda: not any(house.behind(house.login(app), app) for app in apps), log=daemon
            )
            await eventually(lambda: bool(server.shown), log=daemon)
            assert len(set(house.commits()) - set(before)) == 1
        (notice,) = server.shown
        assert notice.title == "Heroku rotated 20 databases"
        assert len((await house.pgherald("history", "--json", "-n", "99")).json) == len(apps)


@pytest.mark.parametrize("kind", ["hang", "never-ending"])
async def test_an_app_that_hangs_delays_nobody(house: House, kind: str) -> None:
    """While one app's answer never comes, or never ends, another app's rotation is in time."""
    house.configure(SHOP, STAGING)
    async with house.daemon() as daemon:
        await begin(house, daemon)
        await begin(house, daemon, "shop-staging", "shop-staging")
        house.simulator.app.front.faults.add(Fault(kind, "GET /apps/shop-staging/*"))
        before = house.requests("* /apps/shop-staging/*")
        await house.rotate("shop-staging")  # the list shows it, so it is asked
        await eventually(lambda: house.requests("* /apps/shop-staging/*") > before, log=daemon)
        for _ in range(2):
            await followed(house, daemon, await house.rotate())


# What does not change


async def test_a_daemon_with_nothing_to_do_writes_nothing(house: House) -> None:
    """Sweeps that find everything as it should be leave every client and journal alone."""
    house.configure(SHOP)
    assert (await house.pgherald("check")).code == 0
    stamps, commits = house.stamps(), house.commits()
    async with house.daemon() as daemon:
        await daemon.line("Ready:")
        seen = house.requests()
        await eventually(lambda: house.requests() >= seen + 3, log=daemon)
    assert (house.stamps(), house.commits()) == (stamps, commits)
