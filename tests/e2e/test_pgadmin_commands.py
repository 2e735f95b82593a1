"""What the commands say and do about servers in pgAdmin. Its database is a small one of the tests'.

The real pgAdmin is asked in test_pgadmin_matrix.py.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from pgherald.simulator.postgres import Cluster
from support.pgadmin_database import Database
from support.program import SHOP, House

PGADMIN = "[clients.pgadmin]\n"


@pytest.fixture
async def house(cluster: Cluster, tmp_path: Path) -> AsyncIterator[House]:
    async with House.standing(cluster, tmp_path) as standing:
        standing.configure(SHOP, PGADMIN)
        yield standing


@pytest.fixture
def pgadmin(house: House) -> Database:
    """The desktop's database, where it is looked for."""
    return Database.made(house.home / ".pgadmin" / "pgadmin4.db")


def by_hand(house: House, pgadmin: Database) -> None:
    """The person has a server of their own for the database."""
    login = house.login()
    pgadmin.ask(
        "INSERT INTO server (user_id, servergroup_id, name, host, port, maintenance_db, username,"
        " password, save_password, connection_params, bgcolor)"
        " VALUES (1, 1, 'By hand', ?, ?, ?, ?, 'CANARY-encrypted', 1, '{}', '#ff0000')",
        login.host, login.port, login.dbname, login.user,
    )  # fmt: skip


async def test_adoption_is_shown_and_then_done(house: House, pgadmin: Database) -> None:
    """`plan` offers a hand-made server, `plan --adopt` shows the change, `check --adopt` makes it."""
    by_hand(house, pgadmin)
    before = pgadmin.path.read_bytes()
    offered = await house.pgherald("plan")
    assert 'Server "By hand", made by hand, leads to shop-production/DATABASE too' in offered.out
    shown = await house.pgherald("plan", "--adopt")
    assert "adopt shop-production/DATABASE (By hand)" in shown.out
    assert "-password: ••••••" in shown.out
    assert "+service: shop-production" in shown.out
    assert "CANARY" not in offered.out + shown.out
    assert pgadmin.path.read_bytes() == before

    done = await house.pgherald("check", "--adopt")
    assert (done.code, done.err) == (0, "")
    (row,) = pgadmin.servers().values()
    assert (row["name"], row["bgcolor"], row["service"]) == (
        "By hand",
        "#ff0000",
        "shop-production",
    )
    assert (row["host"], row["username"], row["password"]) == (None, None, None)
    again = await house.pgherald("plan", "--json")
    assert (again.json["idle"], [f["warnings"] for f in again.json["files"]]) == (True, [[]] * 4)


async def test_a_deleted_server_comes_back_when_asked(house: House, pgadmin: Database) -> None:
    """`check` leaves a deleted server deleted, `check --recreate` makes it again."""
    assert (await house.pgherald("check")).code == 0
    pgadmin.ask("DELETE FROM server")
    assert (await house.pgherald("check")).code == 0
    assert pgadmin.servers() == {}
    assert "new server" in (await house.pgherald("plan", "--recreate")).out
    assert (await house.pgherald("check", "--recreate")).code == 0
    assert len(pgadmin.servers()) == 1


async def test_a_pgadmin_that_comes_later(house: House) -> None:
    """Without a pgAdmin the others are kept; the daemon finds it as soon as it has been started."""
    first = await house.pgherald("check")
    assert (first.code, house.behind(house.login())) == (1, [])
    assert "is not there" in first.err
    assert "pgAdmin" not in first.out
    async with house.daemon() as daemon:
        await daemon.line("Ready:")
        pgadmin = Database.made(house.home / ".pgadmin" / "pgadmin4.db")
        await daemon.line("mended")
    assert [row["service"] for row in pgadmin.servers().values()] == ["shop-production"]


async def test_a_saved_password_goes_by_itself(house: House, pgadmin: Database) -> None:
    """The daemon sees at once that somebody saved a password, without waiting for its next look."""
    house.configure(SHOP, PGADMIN, poll="10m")
    async with house.daemon() as daemon:
        await daemon.line("now keeps")
        asked = house.requests()
        pgadmin.ask("UPDATE server SET password = 'CANARY-typed', save_password = 1")
        await daemon.line("mended")
        assert pgadmin.ask("SELECT password, save_password FROM server") == [(None, 0)]
        assert house.requests() == asked


@pytest.mark.parametrize(
    ("sql", "said", "advice"),
    [
        ("UPDATE version SET value = 31", "older than 6.20", "Update pgAdmin"),
        (
            "INSERT INTO user (id, email, username, active, fs_uniquifier) VALUES (2, 'b@x', 'b@x', 1, 'y')",
            "several people",
            "Name yourself",
        ),
        ("DROP TABLE server", "not a configuration database", "pgadmin4.db"),
    ],
)
async def test_what_cannot_be_kept_is_named(
    house: House, pgadmin: Database, sql: str, said: str, advice: str
) -> None:
    """A pgAdmin that cannot be kept is named with the remedy, and hinders no other client."""
    pgadmin.ask(sql)
    before = pgadmin.path.read_bytes()
    done = await house.pgherald("check")
    assert done.code == 1
    assert said in done.err
    assert advice in done.err
    assert str(pgadmin.path) in done.err
    assert house.behind(house.login()) == []
    assert pgadmin.path.read_bytes() == before


async def test_no_secret_of_pgadmins_gets_out(house: House, pgadmin: Database) -> None:
    """What pgAdmin keeps secret is in no output and not in the state; only a backup may have it."""
    by_hand(house, pgadmin)
    said = [await house.pgherald(*words) for words in
            (("plan", "--adopt", "--json"), ("check", "--adopt", "--json"), ("status", "--json"),
             ("history", "--json"))]  # fmt: skip
    assert all("CANARY" not in done.out + done.err for done in said)
    holding = [
        path.relative_to(house.state).parts[0]
        for path in house.state.rglob("*")
        if path.is_file() and b"CANARY-encrypted" in path.read_bytes()
    ]
    assert holding == ["commits"]
    assert not any(
        b"CANARY-session-key" in path.read_bytes()
        for path in house.state.rglob("*")
        if path.is_file()
    )
