"""What a person gets from the real pgAdmin after each kind of rotation, with the real pgherald.

pgAdmin runs and is connected, the daemon runs beside it, Heroku is simulated in front of a real
Postgres that refuses the old login and has ended its connections. Then the person looks: in one
place, as the first thing after the rotation. What they get stands in docs/pgadmin-matrix.json,
from which the table in docs/clients.md is made; PGHERALD_RECORD=1 writes it anew.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pytest

from pgherald.model import Login
from pgherald.simulator.data_plane import Manner
from pgherald.simulator.postgres import Cluster
from support.pgadmin_http import WHO, QueryTool, Server, Session
from support.pgadmin_page import NoBrowser, PgAdminPage, chromium
from support.pgadmin_person import Gets, dashboard, fresh_start, new_tool, open_tool, tree
from support.pgadmin_run import ADA, Mode, RunningPgAdmin, running
from support.pgadmin_setup import REPOSITORY, Unavailable, install
from support.program import House, Program, eventually

MATRIX: Final = REPOSITORY / "docs" / "pgadmin-matrix.json"

APP: Final = "shop-production"
NAME: Final = "Shop (production)"
SHOP: Final = f'[[databases]]\napp = "{APP}"\nname = "{NAME}"\n'

Rotate = Callable[[House], Awaitable[object]]


async def _password(house: House) -> None:
    await house.world.data.rotate(house.data(), manner=Manner(user=False))


async def _user(house: House) -> None:
    await house.world.data.rotate(house.data(), manner=Manner(user=True))


async def _host(house: House) -> None:
    await house.world.data.failover(house.addon(), host=_other_host(house), login=True)


async def _everything(house: House) -> None:
    host = _other_host(house)
    await house.world.data.failover(house.addon(), host=host, dbname=True, login=True)


def _other_host(house: House) -> str:
    return "localhost" if house.login().host == "127.0.0.1" else "127.0.0.1"


#: Each kind of rotation, by what changes.
ROTATIONS: Final[Mapping[str, tuple[Rotate, set[str]]]] = {
    "password": (_password, {"password"}),
    "user, password": (_user, {"user", "password"}),
    "host, port, user, password": (_host, {"host", "port", "user", "password"}),
    "and the database's name": (_everything, {"host", "port", "user", "password", "dbname"}),
}

#: One that was adopted while it was open, and not reopened since.
OPEN: Final = "adopted while open"
DESIGNS: Final = ["service row", "adopted row", "passfile row", OPEN]

#: Where a person may look first, as the table names it.
PLACES: Final = (
    "tree refresh",
    "open query tool",
    "new query tool",
    "dashboard",
    "freshly started",
)


@dataclass
class Desk:
    """A person's desk: pgAdmin runs on it, and pgherald keeps it.

    Attributes:
        house: the home, and Heroku.
        pgadmin: the program.
        daemon: the program.
        user: who logs in, in server mode.
        name: the server that they look at.
    """

    house: House
    pgadmin: RunningPgAdmin
    daemon: Program
    user: str
    name: str

    async def cell(self, kind: str, place: str) -> str:
        """Rotate, and look into one place; what the person gets."""
        async with Session.of(self.pgadmin, self.user) as session:
            server = (await session.servers())[self.name]
            (await session.connect(server)).must()
            (await session.refresh(server)).must()
            tool = await session.query_tool(server)
            assert (await tool.run(WHO)).works
            await self.rotate(kind)
            gets = await self._look(session, server, tool, place)
            if gets in (Gets.AT_ONCE, Gets.CONTINUE) and place == "open query tool":
                assert tool.rows[0][:2] == [self.login.user, self.login.dbname]
        return str(gets)

    async def opened(self, kind: str, places: tuple[str, ...]) -> dict[str, str]:
        """Adopt servers that are open, one for each place, rotate, and look; what the person gets."""
        async with Session.of(self.pgadmin, self.user) as session:
            open_ones: dict[str, tuple[Server, QueryTool]] = {}
            for place in places:
                self.name = f"{kind}, {place}"
                server = await session.register(self.login, self.name)
                (await session.refresh(server)).must()
                tool = await session.query_tool(server)
                assert (await tool.run(WHO)).works
                open_ones[place] = (server, tool)
            done = await self.house.pgherald("check", "--adopt")
            assert "reopen the server" in done.out, done
            await self.rotate(kind)
            return {
                place: str(await self._look(session, server, tool, place))
                for place, (server, tool) in open_ones.items()
            }

    @property
    def login(self) -> Login:
        return self.house.login()

    async def rotate(self, kind: str) -> None:
        """Rotate, and wait until pgherald has written it everywhere."""
        deed, changes = ROTATIONS[kind]
        old = self.login
        await deed(self.house)
        assert set(self.login.changed(old)) == changes
        await eventually(
            lambda: not self.house.behind(self.login) and self.is_current(), log=self.daemon
        )

    def is_current(self) -> bool:
        """Whether the server's row holds what it is to hold."""
        row = self.row
        host = row["service"] is None
        names_it = (row["host"], row["port"], row["username"]) == (
            self.login.host, self.login.port, self.login.user,
        )  # fmt: skip
        return row["maintenance_db"] == self.login.dbname and (names_it or not host)

    @property
    def row(self) -> dict[str, Any]:
        """The server's row."""
        with closing(sqlite3.connect(self.pgadmin.database, timeout=30)) as connection:
            connection.row_factory = sqlite3.Row
            found = connection.execute("SELECT * FROM server WHERE name = ?", (self.name,))
            return dict(found.fetchone())

    async def _look(self, session: Session, server: Server, tool: QueryTool, place: str) -> Gets:
        match place:
            case "tree refresh":
                return await tree(session, server)
            case "open query tool":
                return await open_tool(tool)
            case "dashboard":
                return await dashboard(session, server)
            case "freshly started":
                return await fresh_start(self.pgadmin, self.name, self.user)
            case _:
                # As the notice says: refresh first. It may take what a refresh takes.
                refreshed = await tree(session, server)
                return max(refreshed, await new_tool(session, server), key=list(Gets).index)


@contextlib.asynccontextmanager
async def desk(cluster: Cluster, tmp_path: Path, design: str) -> AsyncIterator[Desk]:
    """A desk whose server is of one design."""
    mode = Mode.SERVER if design == "passfile row" else Mode.DESKTOP
    user = ADA if mode is Mode.SERVER else ""
    async with House.standing(cluster, tmp_path) as house:
        program = await asyncio.to_thread(_install)
        # In a thread: the simulator of this test has to answer meanwhile.
        with contextlib.ExitStack() as stack:
            standing = running(program, tmp_path, mode, home=house.home)
            pgadmin = await asyncio.to_thread(stack.enter_context, standing)
            client = f'[clients.pgadmin]\npath = "{pgadmin.database}"\n'
            client += f'user = "{user}"\n' if user else ""
            house.configure(SHOP, client, poll="0.2s")
            name = NAME
            if design == "adopted row":
                name = "By hand"
                async with Session.of(pgadmin, user) as session:
                    await session.register(house.login(), name)
            arguments = ["--adopt"] if design == "adopted row" else []
            done = await house.pgherald("check", *arguments)
            assert (done.code, done.err) == (0, ""), done
            async with house.daemon() as daemon:
                await daemon.line("Ready:")
                yield Desk(house, pgadmin, daemon, user, name)


def _install() -> Any:
    try:
        return install()
    except Unavailable as exc:
        pytest.skip(str(exc))


async def measured(
    cluster: Cluster,
    tmp_path: Path,
    design: str,
    kinds: Mapping[str, object],
    places: tuple[str, ...],
) -> dict[str, dict[str, str]]:
    """What the person gets, by rotation and place."""
    async with desk(cluster, tmp_path, design) as at:
        number = at.row["id"]
        if design == OPEN:
            return {kind: await at.opened(kind, places) for kind in kinds}
        found = {kind: {place: await at.cell(kind, place) for place in places} for kind in kinds}
        # It is the same server all along, and never was anything of a password in it.
        assert at.row["id"] == number
        assert (at.row["password"], at.row["save_password"]) == (None, 0)
    return found


def promised(design: str) -> dict[str, dict[str, str]]:
    """What stands in the documents."""
    found: dict[str, dict[str, str]] = json.loads(MATRIX.read_text())["designs"][design]
    return found


def test_the_documents_promise_no_prompt() -> None:
    """In no place, after no rotation, for no kind of server does a person type a password."""
    designs = json.loads(MATRIX.read_text())["designs"]
    assert list(designs) == DESIGNS
    for design in designs.values():
        assert list(design) == list(ROTATIONS)
        for places in design.values():
            assert list(places) == list(PLACES)
            assert str(Gets.PROMPT) not in places.values()


async def test_a_rotation_in_short(cluster: Cluster, tmp_path: Path) -> None:
    """After Heroku's own rotation a running pgAdmin gives what the documents promise."""
    kinds = {
        kind: None for kind in ROTATIONS if kind in ("user, password", "and the database's name")
    }
    places = tuple(place for place in PLACES if place != "freshly started")
    found = await measured(cluster, tmp_path, "service row", kinds, places)
    whole = promised("service row")
    assert found == {kind: {place: whole[kind][place] for place in places} for kind in kinds}


@pytest.mark.pgadmin
@pytest.mark.timeout(600)
@pytest.mark.parametrize("design", DESIGNS)
async def test_the_whole_matrix(cluster: Cluster, tmp_path: Path, design: str) -> None:
    """Every kind of server, after every kind of rotation, in every place, gives what is promised."""
    found = await measured(cluster, tmp_path, design, ROTATIONS, PLACES)
    if os.environ.get("PGHERALD_RECORD"):
        record(design, found)
    assert found == promised(design)


def record(design: str, found: dict[str, dict[str, str]]) -> None:
    """Write down what was measured, for the documents."""
    whole = json.loads(MATRIX.read_text()) if MATRIX.exists() else {"designs": {}}
    whole["designs"][design] = found
    whole["pgadmin"] = install().version
    MATRIX.write_text(json.dumps(whole, indent=1) + "\n")


#: What the pictures in the documents show being run.
SQL: Final = "SELECT current_user, current_database(), now()::date AS today"


@pytest.mark.pgadmin
@pytest.mark.timeout(300)
async def test_what_a_person_sees(cluster: Cluster, tmp_path: Path) -> None:
    """In the browser a rotation is one Continue in an open query tool, and nothing in the tree."""
    try:
        chromium()
    except NoBrowser as exc:
        pytest.skip(str(exc))
    pictures = REPOSITORY / "docs" / "pictures" if os.environ.get("PGHERALD_RECORD") else tmp_path
    async with desk(cluster, tmp_path, "service row") as at, PgAdminPage.open(at.pgadmin) as window:
        await window.open_server("Heroku", NAME)
        assert await window.dialog() == ""
        old = at.login
        tool = await window.open_query_tool(old.dbname)
        ran = await tool.run(SQL)
        assert (ran.rows[0][:2], ran.dialog) == ([old.user, old.dbname], "")
        await window.picture(pictures / "pgadmin-before.png")

        await at.rotate("user, password")
        ran = await tool.run()
        assert ran.dialog.startswith("Connection Warning")
        await window.picture(pictures / "pgadmin-during.png")

        ran = await tool.press_continue()
        assert (ran.rows[0][:2], ran.dialog) == ([at.login.user, old.dbname], "")
        await window.picture(pictures / "pgadmin-after.png")
        await window.refresh(NAME)
        assert await window.dialog() == ""
    for name in ("before", "during", "after"):
        assert (pictures / f"pgadmin-{name}.png").read_bytes().startswith(b"\x89PNG")
