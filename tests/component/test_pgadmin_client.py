"""pgAdmin's servers as one of the clients: with the engine, the commit and a real SQLite."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import time
from collections.abc import AsyncIterator
from contextlib import closing
from datetime import datetime
from pathlib import Path

import pytest

from pgherald.clients.pgpass import Pgpass
from pgherald.clients.service_file import ServiceFile
from pgherald.files import Files, rows
from pgherald.model import Entry, NewsKind
from pgherald.secret import MASK
from pgherald.sync.plan import make_plan
from pgherald.sync.targets import FileTarget, Target
from support.foreign_database import locked
from support.household import Household, database, household, login, until
from support.pgadmin_database import Database

SHOP = database()


def clients(tmp_path: Path, pgadmin: Target) -> list[Target]:
    return [
        FileTarget(Pgpass(), tmp_path / "home" / ".pgpass", "psql"),
        FileTarget(ServiceFile(), tmp_path / "home" / ".pg_service.conf", "service file"),
        pgadmin,
    ]


@pytest.fixture
def pgadmin(tmp_path: Path) -> Database:
    return Database.made(tmp_path / "home" / ".pgadmin" / "pgadmin4.db")


@pytest.fixture
async def house(tmp_path: Path, pgadmin: Database) -> AsyncIterator[Household]:
    async with household(
        tmp_path, clients=clients(tmp_path, pgadmin.client(tmp_path / "state"))
    ) as standing:
        yield standing


async def test_a_renamed_database_is_one_commit(house: Household, pgadmin: Database) -> None:
    """Row and service file change together, and the person hears that pgAdmin needs a hand."""
    await house.sees((SHOP, login()))
    await house.sees((SHOP, login(2, dbname="d2")))
    (row,) = pgadmin.servers().values()
    assert (row["maintenance_db"], row["db_res"]) == ("d2", "d2")
    assert b"dbname=d2" in house.service_file.read_bytes()
    assert house.news[1].reopen


async def test_a_pgadmin_that_was_never_started(tmp_path: Path) -> None:
    """One that is not there is named, and not called up to date; then it gets its server."""
    place = tmp_path / "home" / ".pgadmin" / "pgadmin4.db"
    client = Database(place).client(tmp_path / "state")
    async with household(tmp_path, clients=clients(tmp_path, client)) as house:
        await house.sees((SHOP, login()))
        assert house.kinds() == [NewsKind.TROUBLE, NewsKind.ADDED]
        assert house.news[0].title == f"{place}: is not there"
        assert house.news[1].clients == ("psql", "service file")
        assert not place.parent.exists()
        pgadmin = Database.made(place)
        await house.sees((SHOP, login()))
        assert [row["service"] for row in pgadmin.servers().values()] == ["shop"]
        await house.sees((SHOP, login()))
        assert house.kinds()[2:] == [NewsKind.RECOVERED, NewsKind.MENDED]


async def test_a_pgadmin_that_is_gone_is_trouble(tmp_path: Path) -> None:
    """One that had its server and is not there any more is trouble until it is back."""
    place = tmp_path / "home" / "pgadmin4.db"
    for start in range(2):
        pgadmin = Database.made(place) if start == 0 else None
        client = Database(place).client(tmp_path / "state")
        async with household(tmp_path, clients=clients(tmp_path, client)) as house:
            await house.sees((SHOP, login()))
            if pgadmin is not None:
                place.rename(place.with_name("moved"))
                await house.sees((SHOP, login()))
                assert house.kinds() == [NewsKind.ADDED, NewsKind.TROUBLE]
                assert house.news[1].title == f"{place}: is not there"
                continue
            place.with_name("moved").rename(place)
            await house.sees((SHOP, login()))
            assert house.kinds() == [NewsKind.RECOVERED]


async def test_a_pgadmin_that_holds_its_lock(
    house: Household, pgadmin: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While pgAdmin holds its lock all other clients follow; it follows as soon as it can."""
    monkeypatch.setattr(rows, "WRITE_LIMIT", 0.05)
    monkeypatch.setattr(rows, "READ_LIMIT", 0.05)
    await house.sees((SHOP, login()))
    with locked(pgadmin.path):
        await house.sees((SHOP, login(2, dbname="d2")))
        assert b"dbname=d2" in house.service_file.read_bytes()
        assert b":u2:" in house.pgpass.read_bytes()
        await house.sees((SHOP, login(2, dbname="d2")))
    told = [item for item in house.news if item.kind is NewsKind.TROUBLE]
    assert [(item.label, item.title.partition(": ")[2]) for item in told] == [
        ("pgAdmin", "is locked by another program")
    ]
    await house.sees((SHOP, login(2, dbname="d2")))
    assert pgadmin.ask("SELECT maintenance_db FROM server") == [("d2",)]
    assert house.kinds().count(NewsKind.RECOVERED) == 1
    assert [item.reopen for item in house.news if item.kind is not NewsKind.TROUBLE][-1]


@pytest.mark.parametrize("restarted", [True, False, None])
async def test_what_was_adopted_while_it_was_open(
    tmp_path: Path, pgadmin: Database, *, restarted: bool | None
) -> None:
    """PgAdmin keeps the old login: each notice says to reopen the server, until pgAdmin is restarted.

    Where no process can be seen, for a month.
    """
    old = login()
    pgadmin.insert({
        "user_id": 1, "servergroup_id": 1, "name": "By hand", "host": old.host, "port": old.port,
        "username": old.user, "maintenance_db": old.dbname, "connection_params": "{}",
    })  # fmt: skip
    started: list[datetime] = []
    adopting = pgadmin.client(tmp_path / "state", adopt=True)
    async with household(
        tmp_path,
        clients=clients(tmp_path, adopting),
        pgadmin_runs=lambda at: None if restarted is None else started[0] <= at,
    ) as house:
        started.append(house.clock.now())
        await house.sees((SHOP, old))
        for number in (2, 3):
            await house.clock.advance(60)
            await house.sees((SHOP, login(number)))
        assert [item.reopen for item in house.news] == [True, True, True]
        await house.clock.advance(31 * 86_400)
        started[0] = house.clock.now() if restarted else started[0]
        await house.sees((SHOP, login(4)))
        assert house.news[-1].reopen is (restarted is False)


async def test_a_login_that_was_typed_into_our_server(house: Household, pgadmin: Database) -> None:
    """It is cleared; a pgAdmin that was connected by it goes on with it until it is reopened."""
    await house.sees((SHOP, login()))
    pgadmin.ask("UPDATE server SET password = 'CANARY-typed', save_password = 1")
    await house.sees((SHOP, login()))
    await house.sees((SHOP, login(2)))
    assert [item.reopen for item in house.news] == [False, True, True]


@pytest.mark.parametrize("noted", ["{", "[]", '{"shop/DATABASE": 5}', '{"shop/DATABASE": "x"}'])
async def test_a_damaged_note_of_what_is_open(house: Household, noted: str) -> None:
    """A state file that somebody has damaged costs that note, and no rotation."""
    await house.sees((SHOP, login()))
    house.store.note("superseded", noted)
    await house.sees((SHOP, login(2)))
    assert [item.kind for item in house.news] == [NewsKind.ADDED, NewsKind.ROTATED]
    assert not house.news[-1].reopen


@pytest.mark.parametrize(
    "sql",
    [
        "DROP TABLE server", "UPDATE version SET value = 2", "DELETE FROM version",
        "DELETE FROM user", "DELETE FROM keys",
    ],
)  # fmt: skip
async def test_a_pgadmin_that_is_being_made_or_migrated(
    house: Household, pgadmin: Database, sql: str
) -> None:
    """It is waited for until it is quiet: nothing is said, and then it gets its server."""
    whole = pgadmin.path.read_bytes()
    pgadmin.ask(sql)
    just_now = time.time() + 60  # however slow this machine is
    os.utime(pgadmin.path, (just_now, just_now))
    house.show((SHOP, login()))
    await until(lambda: house.clock.sleepers > 0)
    pgadmin.path.write_bytes(whole)
    await house.clock.advance(5)
    await house.reconciler.settled(verifying=False)
    assert [row["service"] for row in pgadmin.servers().values()] == ["shop"]
    assert house.kinds() == [NewsKind.ADDED]


async def test_one_that_stays_as_it_is_is_named(house: Household, pgadmin: Database) -> None:
    """What has been quiet, and cannot be kept, is trouble."""
    pgadmin.ask("UPDATE version SET value = 2")
    long_ago = time.time() - 60
    os.utime(pgadmin.path, (long_ago, long_ago))
    await house.sees((SHOP, login()))
    assert "older than 6.20" in next(i.title for i in house.news if i.kind is NewsKind.TROUBLE)


@pytest.mark.parametrize("lost", ["state.db", "ownership", "both"])
async def test_a_record_that_is_lost(tmp_path: Path, pgadmin: Database, lost: str) -> None:
    """One of its two homes is enough; without both no second server is made, and none deleted."""
    state, files = tmp_path / "state", Files(tmp_path / "locks")
    async with household(
        tmp_path, clients=clients(tmp_path, pgadmin.client(tmp_path / "state"))
    ) as house:
        await house.sees((SHOP, login()))
    for name in ("state.db", "ownership"):
        if lost in (name, "both"):
            files.remove_own_tree(state / name, within=state)
    async with household(
        tmp_path, clients=clients(tmp_path, pgadmin.client(tmp_path / "state"))
    ) as house:
        await house.sees((SHOP, login()))
        assert len(pgadmin.servers()) == 1
        await house.applier.remove([SHOP.key])
    assert len(pgadmin.servers()) == (1 if lost == "both" else 0)


async def test_a_commit_beside_a_busy_pgadmin(house: Household, pgadmin: Database) -> None:
    """A pgAdmin that writes all the time is planned anew until it fits, and loses nothing."""
    await house.sees((SHOP, login()))
    busy = True

    def write() -> int:
        count = 0
        with closing(sqlite3.connect(pgadmin.path, timeout=10)) as connection:
            while busy:
                with connection:
                    connection.execute("UPDATE server SET comment = ?", (str(count),))
                count += 1
                time.sleep(
                    0.002
                )  # nobody writes without a breath; SQLite lets such a one starve all
        return count

    writing = asyncio.create_task(asyncio.to_thread(write))
    try:
        for number in range(2, 12):
            await house.sees((SHOP, login(number, dbname=f"d{number}")))
            await until(lambda n=number: pgadmin.ask("SELECT db_res FROM server") == [(f"d{n}",)])  # type: ignore[misc]  # a default keeps the number
    finally:
        busy = False
        count = await writing
    assert pgadmin.ask("SELECT comment FROM server") == [(str(count - 1),)]
    assert pgadmin.ask("PRAGMA integrity_check") == [("ok",)]
    assert NewsKind.TROUBLE not in house.kinds()


async def test_a_plan_shows_rows_column_by_column(
    tmp_path: Path, house: Household, pgadmin: Database
) -> None:
    """The diff names each column that changes, and shows no secret; what goes is shown going."""
    await house.sees((SHOP, login()))
    pgadmin.ask("UPDATE server SET password = 'CANARY-typed', save_password = 1")
    plan = await house.applier.plan([Entry(SHOP, login())])
    (file,) = [file for file in plan.files if file.client.prominent]
    assert list(file.diff()) == [
        "@@ server 1 @@",
        f"-password: {MASK}",
        "-save_password: 1",
        "+save_password: 0",
    ]
    await house.sees((SHOP, login()))
    pgadmin.ask("UPDATE server SET bgcolor = '#00f'")
    kept = await house.applier.plan([], remove=[SHOP.key])
    assert [list(file.diff()) for file in kept.files if file.client.prominent] == [[]]
    pgadmin.ask("UPDATE server SET bgcolor = NULL")
    gone = await house.applier.plan([], remove=[SHOP.key])
    (file,) = [file for file in gone.files if file.client.prominent]
    lines = list(file.diff())
    assert lines[0] == "@@ server 1 goes @@"
    assert "-service: shop" in lines
    assert not any("CANARY" in line for line in lines)
    assert [path.name for path in file.client.watched] == ["pgadmin4.db", "pgadmin4.db-journal"]
    never = Database(tmp_path / "none" / "pgadmin4.db").client(tmp_path / "state")
    (file,) = make_plan(house.files, [never], [Entry(SHOP, login())]).files
    assert (list(file.diff()), file.absent, file.idle) == ([], True, True)


async def test_two_pgadmins(tmp_path: Path, pgadmin: Database) -> None:
    """Several installations each get their servers, in one commit."""
    other = Database.made(tmp_path / "home" / "other-pgadmin4.db")
    both = [
        *clients(tmp_path, pgadmin.client(tmp_path / "state")),
        other.client(tmp_path / "state"),
    ]
    async with household(tmp_path, clients=both) as house:
        await house.sees((SHOP, login()))
        assert len(house.news) == 1
    assert len(pgadmin.servers()) == len(other.servers()) == 1
