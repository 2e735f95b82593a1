"""What a person has in the real pgAdmin after pgherald has left."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from pgherald.simulator.postgres import Cluster
from support.pgadmin_http import Server, Session
from support.pgadmin_run import RunningPgAdmin, running
from support.pgadmin_setup import Unavailable, install
from support.program import SHOP, House

pytestmark = [pytest.mark.pgadmin, pytest.mark.timeout(600)]


@pytest.fixture
async def house(cluster: Cluster, tmp_path: Path) -> AsyncIterator[House]:
    async with House.standing(cluster, tmp_path) as standing:
        yield standing


@pytest.fixture
async def pgadmin(house: House, tmp_path: Path) -> AsyncIterator[RunningPgAdmin]:
    """A pgAdmin that runs, in the home of the house; it is kept."""
    try:
        standing = running(install(), tmp_path, home=house.home)
        pgadmin = await asyncio.to_thread(standing.__enter__)
    except Unavailable as exc:
        pytest.skip(str(exc))
    house.configure(SHOP, f'[clients.pgadmin]\npath = "{pgadmin.database}"\n')
    try:
        yield pgadmin
    finally:
        await asyncio.to_thread(standing.__exit__, None, None, None)


async def test_an_adopted_server_is_the_persons_again(
    house: House, pgadmin: RunningPgAdmin
) -> None:
    """`uninstall --restore` gives a running pgAdmin a server back as the person had made it.

    It opens with the password that pgAdmin itself had encrypted: nothing is typed.
    """
    async with Session.of(pgadmin) as session:
        mine = await session.register(house.login())
        before = pgadmin.pgadmin.servers()
        assert (await house.pgherald("check", "--adopt")).code == 0
        ((_, adopted),) = pgadmin.pgadmin.servers().items()
        assert (adopted["service"], adopted["password"]) == ("shop-production", None)
        (await session.reopen(mine)).must()

        done = await house.pgherald("uninstall", "--restore", "--yes")
        assert done.code == 0, done.err
        assert pgadmin.pgadmin.servers() == before
        assert not house.service_file.exists()
        assert house.login().dbname in (await _looked_at(session, mine))
    await asyncio.to_thread(pgadmin.restart)
    async with Session.of(pgadmin) as session:
        assert house.login().dbname in (await _looked_at(session, mine))


async def test_a_server_that_pgherald_made_goes(house: House, pgadmin: RunningPgAdmin) -> None:
    """What pgherald made goes without a trace, and the person's own servers stay as they are."""
    pgadmin.insert(
        name="Local",
        host="localhost",
        port=5432,
        maintenance_db="postgres",
        username="me",
        connection_params={"sslmode": "prefer"},
    )
    before, groups = pgadmin.pgadmin.servers(), await _groups(pgadmin)
    assert (await house.pgherald("check")).code == 0
    assert len(pgadmin.pgadmin.servers()) == 2
    done = await house.pgherald("uninstall", "--restore", "--yes")
    assert done.code == 0, done.err
    assert pgadmin.pgadmin.servers() == before
    assert await _groups(pgadmin) == groups


async def _looked_at(session: Session, server: Server) -> list[str]:
    (await session.reopen(server)).must()
    return list((await session.refresh(server)).must())


async def _groups(pgadmin: RunningPgAdmin) -> set[str]:
    async with Session.of(pgadmin) as session:
        return set(await session.groups())
