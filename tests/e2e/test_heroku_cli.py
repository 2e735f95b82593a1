"""The real Heroku CLI, unchanged, against the simulator in front of a real Postgres."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from pgherald.model import Login
from pgherald.secret import Secret
from pgherald.simulator.data_plane import Manner
from pgherald.simulator.postgres import Cluster
from pgherald.simulator.seed import READER, seed_world
from pgherald.simulator.server import Simulator
from pgherald.simulator.state import url_of
from support.children import LIMIT, Done
from support.heroku_cli import HerokuCli
from support.simulator import shown_in, works

APP = "shop-production"


@dataclass
class Desk:
    """A developer's desk: the CLI, and a simulated Heroku that it talks to."""

    cli: HerokuCli
    simulator: Simulator
    home: Path

    async def heroku(self, *args: str) -> Done:
        """Run `heroku ARGS`, which has to succeed."""
        done = await self.cli.run(self.simulator, self.home, *args)
        assert done.ok, done
        return done

    def login(self, name: str = "DATABASE", app: str = APP) -> Login:
        """What the config var shows."""
        return shown_in(self.simulator.world, app, name)

    @property
    def addon(self) -> str:
        return self.simulator.world.addons[0].name


@pytest.fixture
async def desk(cluster: Cluster, tmp_path: Path) -> AsyncIterator[Desk]:
    cli = HerokuCli.find()
    world = await seed_world(cluster, mark="CANARY")
    async with Simulator.running(world) as simulator:
        yield Desk(cli, simulator, tmp_path)
        await world.data.clear()


async def test_looking_around(desk: Desk) -> None:
    """Every command that only reads shows what the simulator holds."""
    login = desk.login()
    named = desk.login(READER.upper())
    wanted = {
        "apps": [APP, "shop-staging", "blog"],
        "auth:whoami": ["dev@example.com"],
        "auth:token": [desk.simulator.world.tokens[0].value.reveal()],
        "addons": [desk.addon, "heroku-postgresql:essential-0"],
        f"addons -a {APP}": [desk.addon, "as DATABASE", "as SHOP on blog app", "heroku-redis"],
        f"addons:info DATABASE -a {APP}": [f"{APP}::DATABASE", "blog::SHOP"],
        f"config -a {APP}": ["CANARY-stripe", url_of(login), url_of(named)],
        f"config:get DATABASE_URL -a {APP}": [url_of(login)],
        f"releases -a {APP}": ["Initial release", f"Attach DATABASE (@ref:{desk.addon})"],
        f"pg:info -a {APP}": ["PG Version", "Following", desk.addon],
        f"pg:credentials -a {APP}": ["default", READER, "as DATABASE", "as SHOP on blog app"],
        f"pg:credentials:url -a {APP}": [f"password={login.password.reveal()} sslmode=require"],
        f"pg:credentials:url -a {APP} --name {READER}": [url_of(named)],
        f"logs -a {APP}": ["app[api]: Release v1 created by user dev@example.com"],
    }
    for command, texts in wanted.items():
        done = await desk.heroku(*command.split())
        assert [text for text in texts if text not in done.out] == [], (command, done)


async def test_rotate(desk: Desk) -> None:
    """After `pg:credentials:rotate` Postgres refuses the old login and takes the one shown."""
    old = desk.login()
    done = await desk.heroku("pg:credentials:rotate", "DATABASE", "-a", APP, "--confirm", APP)
    assert f"Rotating default on {desk.addon}... done" in done.err
    shown = await desk.heroku("config:get", "DATABASE_URL", "-a", APP)
    new = desk.login()
    assert shown.out.strip() == url_of(new) != url_of(old)
    assert desk.login("SHOP", "blog") == new
    assert not await works(old)
    assert await works(new)
    releases = (await desk.heroku("releases", "-a", "blog", "-n", "1")).out
    assert "Update SHOP by heroku-postgresql" in releases
    assert "heroku-postgresql@addons.heroku.com" in releases


async def test_rotate_a_named_credential(desk: Desk) -> None:
    """`--name` goes through a temporary user, which `pg:credentials` shows meanwhile."""
    desk.simulator.world.data.manner = Manner(step=600)
    old = desk.login(READER.upper())
    await desk.heroku("pg:credentials:rotate", "-a", APP, "--name", READER, "--confirm", APP)
    assert desk.login(READER.upper()).user == f"{READER}-rotating"
    shown = await desk.heroku("pg:credentials", "-a", APP)
    assert "waiting for no connections to be revoked" in shown.out
    assert f"{READER}-rotating" in shown.out
    assert await works(old)


@pytest.mark.parametrize("flags", [["--all"], ["--force"]])
async def test_rotate_all_and_by_force(desk: Desk, flags: list[str]) -> None:
    """`--all` changes every credential, `--force` alone the default one, in every case for real."""
    default, named = desk.login(), desk.login(READER.upper())
    await desk.heroku("pg:credentials:rotate", "-a", APP, "--confirm", APP, *flags)
    assert not await works(default)
    assert await works(desk.login())
    assert await works(named) == ("--all" not in flags)
    assert await works(desk.login(READER.upper()))


async def test_a_credential_of_ones_own(desk: Desk) -> None:
    """A named credential is made, attached, detached and destroyed; another one is promoted."""
    await desk.heroku("pg:credentials:create", "-a", APP, "--name", "report")
    attach = ["addons:attach", desk.addon, "--credential", "report", "--as", "REPORT", "-a", APP]
    await desk.heroku(*attach)
    login = desk.login("REPORT")
    assert login.user == "report"
    assert await works(login)
    destroy = ["pg:credentials:destroy", "-a", APP, "--name", "report", "--confirm", APP]
    refused = await desk.cli.run(desk.simulator, desk.home, *destroy)
    assert not refused.ok
    assert "must be detached" in refused.err
    await desk.heroku("addons:detach", "REPORT", "-a", APP)
    await desk.heroku(*destroy)
    assert not await works(login)
    # Another app's attachment takes the place of its DATABASE.
    await desk.heroku("pg:promote", "SHOP", "-a", "blog")
    assert desk.login("DATABASE", "blog") == desk.login()


@pytest.mark.skipif(shutil.which("psql") is None, reason="pg:psql needs psql")
async def test_psql(desk: Desk) -> None:
    """`pg:psql` gets through to the real Postgres, before and after a rotation."""
    for _ in range(2):
        done = await desk.heroku("pg:psql", "-a", APP, "-c", "select current_user")
        assert desk.login().user in done.out
        await desk.simulator.world.data.rotate_all(
            desk.simulator.world.addons[0].postgres.data  # type: ignore[union-attr]  # the first one is Postgres
        )


async def test_tail(desk: Desk) -> None:
    """`logs --tail` hears of a rotation while it happens."""
    args = ["logs", "--tail", "--source", "app", "--dyno", "api", "-a", "blog"]
    process = await desk.cli.start(desk.simulator, desk.home, *args)
    assert process.stdout is not None
    try:
        async with asyncio.timeout(LIMIT):
            await process.stdout.readuntil(b"Release v1 created")
            await desk.heroku("pg:credentials:rotate", "-a", APP, "--confirm", APP)
            await process.stdout.readuntil(b"Update SHOP by heroku-postgresql")
            await process.stdout.readuntil(b"created by user heroku-postgresql@addons.heroku.com")
    finally:
        process.kill()
        await process.communicate()


async def test_a_bad_token(desk: Desk) -> None:
    """A token that is no good is told as the CLI tells it for the real Heroku."""
    token = Secret("HRKU-CANARY-bad")
    done = await desk.cli.run(desk.simulator, desk.home, "apps", token=token)
    assert not done.ok
    assert "HEROKU_API_KEY is invalid" in done.err
