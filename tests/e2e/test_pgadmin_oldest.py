"""The oldest pgAdmin that is supported: its import, its configuration database, its connection."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from pgherald.clients.servers_json import ServersJson
from pgherald.clients.service_file import ServiceFile
from pgherald.model import Entry
from pgherald.simulator.postgres import Cluster
from pgherald.sync.targets import FileTarget
from support.cluster import new_login
from support.household import database, household
from support.pgadmin_database import Database
from support.pgadmin_http import Session
from support.pgadmin_run import RunningPgAdmin, running
from support.pgadmin_setup import PgAdmin, Unavailable, oldest

pytestmark = [pytest.mark.pgadmin, pytest.mark.timeout(900)]

SHOP = database()


@pytest.fixture(scope="module")
def used(tmp_path_factory: pytest.TempPathFactory) -> PgAdmin:
    """One pgAdmin, with its configuration database made."""
    try:
        program = oldest()
    except Unavailable as exc:
        pytest.skip(str(exc))
    return PgAdmin.fresh(program, tmp_path_factory.mktemp("home"))


@pytest.fixture(scope="module")
def started(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningPgAdmin]:
    """The same as a running program."""
    try:
        with running(oldest(), tmp_path_factory.mktemp("running")) as pgadmin:
            yield pgadmin
    except Unavailable as exc:
        pytest.skip(str(exc))


@pytest.mark.parametrize("client", [ServersJson(), ServersJson("host", "/.pgpass")])
async def test_its_import_takes_our_file(
    cluster: Cluster, used: PgAdmin, tmp_path: Path, client: ServersJson
) -> None:
    """Service rows and host rows arrive in the table of pgAdmin 6.21 as they were meant."""
    used.forget()
    entry = Entry(SHOP, await new_login(cluster))
    file = tmp_path / "servers.json"
    file.write_bytes(client.plan(None, [entry]).new)
    assert used.load(file)[1] == 1
    row = used.servers()[SHOP.name]
    assert (row["maintenance_db"], row["db_res"]) == (entry.login.dbname, entry.login.dbname)
    assert row["connection_params"]["sslmode"] == "require"
    if client.rows == "service":
        assert (row["service"], row["host"]) == (SHOP.service, None)
    else:
        assert (row["host"], row["username"]) == (entry.login.host, entry.login.user)
        assert row["connection_params"]["passfile"] == "/.pgpass"


async def test_a_server_made_by_pgherald_works_in_it(
    cluster: Cluster, started: RunningPgAdmin, tmp_path: Path
) -> None:
    """A row that is put into its live database shows up, and connects without a password."""
    old = await new_login(cluster)
    service_file = started.home / ".pg_service.conf"
    clients = [
        FileTarget(ServiceFile(), service_file, "service file"),
        Database(started.database).client(tmp_path / "state"),
    ]
    async with household(tmp_path, clients=clients) as house:
        await house.sees((SHOP, old))
        async with Session.of(started) as session:
            server = (await session.servers())[SHOP.name]
            (await session.connect(server)).must()
            assert list((await session.refresh(server)).must()) == [old.dbname]
