"""The harness around the real pgAdmin tells the truth: what is known to break, breaks in it.

What each kind of server does after a rotation was measured with pgAdmin 9.18. If one of these
tests fails after an update of pgAdmin, pgAdmin has changed, and so may what pgherald promises.
"""

from __future__ import annotations

import asyncio
import dataclasses
import sqlite3
from collections.abc import AsyncIterator, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from pgherald.model import Login
from pgherald.secret import Secret
from pgherald.simulator.postgres import Cluster
from support.cluster import new_login
from support.pgadmin_http import Server, Session
from support.pgadmin_load import busy
from support.pgadmin_page import NoBrowser, PgAdminPage, chromium
from support.pgadmin_person import (
    Gets,
    dashboard,
    first_look,
    fresh_start,
    new_tool,
    open_tool,
    tree,
)
from support.pgadmin_run import ADA, BEN, Mode, RunningPgAdmin, running
from support.pgadmin_setup import Unavailable, install

SERVICE = "shop-production"


#: One of the two each time; the other one takes as long again, in `make test-pgadmin`.
MODES = [Mode.DESKTOP, pytest.param(Mode.SERVER, marks=pytest.mark.pgadmin)]


@pytest.fixture(scope="module", params=MODES, ids=lambda mode: mode.value)
def started(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RunningPgAdmin]:
    """One pgAdmin for all tests here, since each start takes seconds."""
    try:
        with running(install(), tmp_path_factory.mktemp("pgadmin"), request.param) as pgadmin:
            yield pgadmin
    except Unavailable as exc:
        pytest.skip(str(exc))


@pytest.fixture
def pgadmin(started: RunningPgAdmin) -> RunningPgAdmin:
    """A pgAdmin without servers."""
    started.clear()
    return started


@pytest.fixture
async def session(pgadmin: RunningPgAdmin) -> AsyncIterator[Session]:
    async with Session.of(pgadmin, ADA) as opened:
        yield opened


async def rotate(cluster: Cluster, old: Login, *, user: bool = False) -> Login:
    """Change a login as Heroku does: the old one is refused, and its connections end."""
    new = dataclasses.replace(old, password=Secret(old.password.reveal() + "-2"))
    if user:
        new = dataclasses.replace(new, user=f"{old.user}-2")
        await cluster.execute(f'ALTER ROLE "{old.user}" RENAME TO "{new.user}"')
    await cluster.set_password(new.user, new.password)
    await cluster.end_connections(new.user)
    return new


def write_service(pgadmin: RunningPgAdmin, login: Login) -> None:
    """Write the login into the service file of pgAdmin's account."""
    lines = [
        f"[{SERVICE}]",
        f"host={login.host}",
        f"port={login.port}",
        f"dbname={login.dbname}",
        f"user={login.user}",
        f"password={login.password.reveal()}",
        f"sslmode={login.sslmode}",
    ]
    file = pgadmin.home / ".pg_service.conf"
    file.touch(mode=0o600)
    file.write_text("\n".join(lines) + "\n")


async def service_row(pgadmin: RunningPgAdmin, session: Session, login: Login) -> Server:
    """Insert a service row into the live database, and open the server."""
    write_service(pgadmin, login)
    pgadmin.insert(
        name="Shop",
        service=SERVICE,
        maintenance_db=login.dbname,
        db_res=login.dbname,
        connection_params={"sslmode": "require", "connect_timeout": 10},
        save_password=0,
    )
    server = (await session.servers())["Shop"]
    (await session.connect(server)).must()
    return server


async def test_a_saved_password_ends_in_a_prompt(cluster: Cluster, session: Session) -> None:
    """A server made by hand with a saved password works, and asks for one after a rotation."""
    login = await new_login(cluster)
    server = await session.register(login)
    tool = await session.query_tool(server)
    assert [
        await tree(session, server),
        await open_tool(tool),
        await dashboard(session, server),
    ] == [Gets.AT_ONCE] * 3
    assert tool.rows == [[login.user, login.dbname, login.port]]

    await rotate(cluster, login)
    assert await open_tool(tool) is Gets.PROMPT
    for place in (tree, dashboard, new_tool):
        assert await place(session, server) is Gets.PROMPT
    assert await first_look(session.pgadmin, server.name, ADA) is Gets.PROMPT


@pytest.mark.parametrize("user", [False, True], ids=["password", "user and password"])
async def test_a_service_row_goes_on(
    cluster: Cluster, pgadmin: RunningPgAdmin, session: Session, *, user: bool
) -> None:
    """A service row works at once in tree and dashboard, and after Continue in an open tool."""
    old = await new_login(cluster)
    server = await service_row(pgadmin, session, old)
    tool = await session.query_tool(server)
    assert await open_tool(tool) is Gets.AT_ONCE

    new = await rotate(cluster, old, user=user)
    write_service(pgadmin, new)
    assert await tree(session, server) is Gets.AT_ONCE
    await cluster.end_connections(new.user)
    assert await dashboard(session, server) is Gets.AT_ONCE
    assert await open_tool(tool) is Gets.CONTINUE
    assert tool.rows == [[new.user, new.dbname, new.port]]
    # A new tool asks with the role that the tree saw last.
    assert await tree(session, server) is Gets.AT_ONCE
    assert await new_tool(session, server) is Gets.AT_ONCE


async def test_a_new_tool_before_the_tree_knows_the_role(
    cluster: Cluster, pgadmin: RunningPgAdmin, session: Session
) -> None:
    """A tool opened after the role changed asks for a password until the tree is refreshed."""
    old = await new_login(cluster)
    server = await service_row(pgadmin, session, old)
    assert await new_tool(session, server) is Gets.AT_ONCE
    write_service(pgadmin, await rotate(cluster, old, user=True))
    assert await dashboard(session, server) is Gets.AT_ONCE
    assert await new_tool(session, server) is Gets.PROMPT
    assert await tree(session, server) is Gets.AT_ONCE
    assert await new_tool(session, server) is Gets.AT_ONCE


async def test_a_passfile_row_needs_reopening(
    cluster: Cluster, pgadmin: RunningPgAdmin, session: Session
) -> None:
    """A row with a passfile follows a password at once; another role needs its row changed."""
    old = await new_login(cluster)

    def write_passfile(login: Login) -> None:
        folder = pgadmin.storage(ADA) if pgadmin.mode is Mode.SERVER else pgadmin.home
        file = folder / ".pgpass"
        file.touch(mode=0o600)
        file.write_text(f"{login.host}:*:*:{login.user}:{login.password.reveal()}\n")

    write_passfile(old)
    passfile = "/.pgpass" if pgadmin.mode is Mode.SERVER else str(pgadmin.home / ".pgpass")
    number = pgadmin.insert(
        name="Shop",
        host=old.host,
        port=old.port,
        username=old.user,
        maintenance_db=old.dbname,
        db_res=old.dbname,
        connection_params={"sslmode": "require", "passfile": passfile},
        save_password=0,
    )
    server = (await session.servers())["Shop"]
    (await session.connect(server)).must()
    tool = await session.query_tool(server)

    new = await rotate(cluster, old)
    write_passfile(new)
    assert await tree(session, server) is Gets.AT_ONCE
    assert await open_tool(tool) is Gets.CONTINUE

    new = await rotate(cluster, new, user=True)
    write_passfile(new)
    assert await tree(session, server) is Gets.PROMPT
    with closing(sqlite3.connect(pgadmin.database, timeout=30)) as connection, connection:
        connection.execute("UPDATE server SET username = ? WHERE id = ?", (new.user, number))
    assert await open_tool(tool) is Gets.REOPENING
    await cluster.end_connections(new.user)
    assert await tree(session, server) is Gets.AT_ONCE
    assert await dashboard(session, server) is Gets.AT_ONCE
    assert tool.rows == [[new.user, new.dbname, new.port]]


async def test_a_renamed_database_needs_a_new_tool(
    cluster: Cluster, pgadmin: RunningPgAdmin, session: Session
) -> None:
    """After the database is renamed, a service row asks, and with its row changed reopens."""
    old = await new_login(cluster)
    server = await service_row(pgadmin, session, old)
    tool = await session.query_tool(server)

    await cluster.rename_database(old.dbname, f"{old.dbname}-2")
    new = dataclasses.replace(old, dbname=f"{old.dbname}-2")
    write_service(pgadmin, new)
    assert await tree(session, server) is Gets.PROMPT
    with closing(sqlite3.connect(pgadmin.database, timeout=30)) as connection, connection:
        row = (new.dbname, new.dbname, server.id)
        connection.execute("UPDATE server SET maintenance_db = ?, db_res = ? WHERE id = ?", row)
    assert await tree(session, server) is Gets.REOPENING
    assert await open_tool(tool) is Gets.NEW_TOOL


async def test_a_fresh_start(cluster: Cluster, pgadmin: RunningPgAdmin) -> None:
    """Started anew after a rotation, a service row opens at once, and one made by hand asks."""
    old = await new_login(cluster)
    async with Session.of(pgadmin, ADA) as session:
        await service_row(pgadmin, session, old)
        await session.register(old)
    write_service(pgadmin, await rotate(cluster, old, user=True))
    address = pgadmin.url
    assert await fresh_start(pgadmin, "Shop", ADA) is Gets.AT_ONCE
    assert pgadmin.url != address, "it was not started anew"
    assert await first_look(pgadmin, "By hand", ADA) is Gets.PROMPT


async def test_what_a_person_does_to_a_server(
    cluster: Cluster, pgadmin: RunningPgAdmin, session: Session
) -> None:
    """A rename, a colour, a typed password that is saved and a removal arrive in the database."""
    login = await new_login(cluster)
    server = await service_row(pgadmin, session, login)
    server = await session.change(server, name="Mine", bgcolor="#ff0000", fgcolor="#ffffff")
    assert (await session.servers())["Mine"] == server
    await session.disconnect(server)
    (await session.connect(server, login.password.reveal(), save=True)).must()
    row = pgadmin.pgadmin.servers()["Mine"]
    assert (row["bgcolor"], row["fgcolor"], row["save_password"]) == ("#ff0000", "#ffffff", 1)
    assert row["password"]
    # What was saved wins over the service file from the next opening on.
    write_service(pgadmin, await rotate(cluster, login))
    assert await first_look(pgadmin, "Mine", ADA) is Gets.PROMPT
    await session.disconnect(server)
    await session.delete(server)
    assert pgadmin.pgadmin.servers() == {}


async def test_a_person_who_writes_all_the_time(pgadmin: RunningPgAdmin) -> None:
    """A busy pgAdmin and a writer beside it get on with each other."""
    number = pgadmin.insert(name="Shop", service=SERVICE, connection_params={})

    def write() -> None:
        for each in range(100):
            with closing(sqlite3.connect(pgadmin.database, timeout=30)) as connection, connection:
                row = (f"comment {each}", number)
                connection.execute("UPDATE server SET comment = ? WHERE id = ?", row)

    async with Session.of(pgadmin, ADA) as one, Session.of(pgadmin, ADA) as two:
        async with busy(one, two) as load:
            await asyncio.to_thread(write)
        assert load.writes >= 2
    assert pgadmin.pgadmin.servers()["Shop"]["comment"] == "comment 99"
    with closing(sqlite3.connect(pgadmin.database)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]


async def test_people_of_one_pgadmin(pgadmin: RunningPgAdmin) -> None:
    """In server mode each person sees servers of their own; in desktop mode there is only one."""
    if pgadmin.mode is Mode.DESKTOP:
        pgadmin.insert(name="Mine", service=SERVICE, connection_params={})
        names = [{"Mine"}, {"Mine"}]
    else:
        pgadmin.insert(ADA, name="Hers", service=SERVICE, connection_params={})
        pgadmin.insert(BEN, name="His", service=SERVICE, connection_params={})
        names = [{"Hers"}, {"His"}]
        with pytest.raises(AssertionError, match="does not let"):
            async with Session.of(pgadmin, ADA, "CANARY-wrong-password"):
                pass
    async with Session.of(pgadmin, ADA) as ada, Session.of(pgadmin, BEN) as ben:
        assert [set(await ada.servers()), set(await ben.servers())] == names


def is_picture(path: Path) -> bool:
    return path.read_bytes().startswith(b"\x89PNG")


async def test_in_the_browser(
    cluster: Cluster, pgadmin: RunningPgAdmin, session: Session, tmp_path: Path
) -> None:
    """What the HTTP calls say is what a person sees in the window."""
    try:
        chromium()
    except NoBrowser as exc:
        pytest.skip(str(exc))
    old = await new_login(cluster)
    await service_row(pgadmin, session, old)
    await session.register(old)
    async with PgAdminPage.open(pgadmin, ADA) as window:
        await window.open_server("Servers", "Shop")
        tool = await window.open_query_tool(old.dbname)
        ran = await tool.run("SELECT current_user, $$ü '%s'$$ AS quoted")
        assert (ran.rows, ran.dialog) == ([[old.user, "ü '%s'"]], "")
        await window.picture(tmp_path / "before.png")

        write_service(pgadmin, await rotate(cluster, old))
        ran = await tool.run()
        assert ran.dialog.startswith("Connection Warning")
        await window.picture(tmp_path / "during.png")
        ran = await tool.press_continue()
        assert (ran.rows, ran.dialog) == ([[old.user, "ü '%s'"]], "")
        await window.picture(tmp_path / "after.png")

        ran = await tool.run("SELECT nonsense")
        assert 'column "nonsense" does not exist' in ran.message

        await cluster.end_connections(old.user)
        await window.refresh("Shop")
        await window.expand("Databases")
        assert old.dbname in await window.lines()
        assert await window.dialog() == ""
        await window.open_server("Servers", "By hand")
        assert "password authentication failed" in await window.dialog()
        await window.picture(tmp_path / "prompt.png")
        await window.press("Cancel")
        assert await window.dialog() == ""
    assert all(is_picture(tmp_path / f"{name}.png") for name in ("before", "during", "prompt"))
