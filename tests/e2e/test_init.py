"""`pgherald init` as a whole program: for scripts, at a terminal, and when it is stopped."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from pgherald.simulator.postgres import Cluster
from pgherald.simulator.seed import APPS
from support.pgadmin_database import Database
from support.program import OWN_LINE, House
from support.stand_ins import StandIns
from support.terminal import Terminal

SHOP = ("--app", "shop-production", "--yes", "--no-service")
CTRL_C = "\x03"


class Flat:
    """A home with a token in netrc, as older Heroku CLIs leave it, and a pgAdmin."""

    def __init__(self, house: House, folder: Path) -> None:
        self.house = house
        self.config = house.home / ".config" / "pgherald" / "config.toml"
        for name in ("PGHERALD_CONFIG", "PGHERALD_STATE_DIR"):
            del house.env[name]
        self.programs = StandIns(folder / "bin")
        self.programs.put("systemctl")
        self.programs.put("loginctl")
        house.env["PATH"] = f"{self.programs.folder}:{house.env['PATH']}"
        self.log_in()
        self.pgadmin = Database.made(house.home / ".pgadmin" / "pgadmin4.db")

    def log_in(self) -> None:
        machine = self.house.simulator.url.removeprefix("http://")
        token = self.house.token.read_text().strip()
        self.house.put(self.netrc, f"machine {machine}\n  login me\n  password {token}\n")

    @property
    def netrc(self) -> Path:
        return self.house.home / ".netrc"

    def terminal(self, *words: str, kind: str = "xterm", columns: int = 80) -> Terminal:
        argv = [sys.executable, "-m", "pgherald", "init", *words]
        return Terminal(
            argv, env={**self.house.env, "TERM": kind}, columns=columns, cwd=self.house.home
        )

    def files(self) -> dict[str, bytes]:
        """Every file of the home but pgherald's own notes."""
        return {
            str(path.relative_to(self.house.home)): path.read_bytes()
            for path in self.house.home.rglob("*")
            if path.is_file() and "pgherald" not in path.relative_to(self.house.home).parts[:3]
        }


@pytest.fixture
async def flat(cluster: Cluster, tmp_path: Path) -> AsyncIterator[Flat]:
    async with House.standing(cluster, tmp_path, apps=APPS) as house:
        yield Flat(house, tmp_path)


async def at(terminal: Terminal, *steps: tuple[str, str]) -> int:
    """Wait for each text and press its keys; then the exit code."""

    def walk() -> int:
        for text, keys in steps:
            terminal.until(text)
            terminal.press(keys)
        return terminal.end()

    return await asyncio.to_thread(walk)


# --- for scripts --------------------------------------------------------------------------------


async def test_for_scripts(flat: Flat) -> None:
    """With flags alone the configuration is written, private, and every client holds the login.

    No secret is shown, and Heroku is asked by GET alone.
    """
    done = await flat.house.pgherald("init", *SHOP)
    assert (done.code, done.err) == (0, "")
    assert "CANARY" not in done.out + flat.config.read_text()
    assert {visit.method for visit in flat.house.simulator.app.front.visits} == {"GET"}
    assert "dev@example.com, by " in done.out
    assert flat.config.stat().st_mode & 0o777 == 0o600
    assert flat.config.parent.stat().st_mode & 0o777 == 0o700
    assert flat.house.behind(flat.house.login()) == ["servers.json"]
    assert flat.house.pgpass.read_text().endswith(OWN_LINE)
    assert [row["service"] for row in flat.pgadmin.servers().values()] == ["shop-production"]
    assert flat.programs.calls == []
    again = await flat.house.pgherald("check")
    assert again.out == "shop-production (DATABASE): current\n"


# --- the login ----------------------------------------------------------------------------------


async def test_a_file_with_the_token(flat: Flat) -> None:
    """Without a login a person may name a file with a token; its place gets into the file."""
    flat.netrc.unlink()
    with flat.terminal() as terminal:
        code = await at(
            terminal,
            ("A file that holds a token", "nothing-there\r"),
            ("There is no ", ""),
            ("A file that holds a token (Enter to stop): nothing-there", "token\r"),
            ("enter goes on", "blog \r"),
            ("Do it?", "\r"),
            ("Keep it running", "n\r"),
        )
    assert code == 0, terminal.screen
    assert 'token = "file:~/token"' in flat.config.read_text()


# --- pgAdmin ------------------------------------------------------------------------------------


@pytest.mark.parametrize("kept", [True, False])
async def test_adoption_is_offered(flat: Flat, kept: bool) -> None:  # a column of the table
    """A server made by hand is named, and kept working only if the person likes."""
    login = flat.house.login()
    flat.pgadmin.ask(
        "INSERT INTO server (user_id, servergroup_id, name, host, port, maintenance_db, username,"
        " password, save_password, connection_params)"
        " VALUES (1, 1, 'By hand', ?, ?, ?, ?, 'CANARY-encrypted', 1, '{}')",
        login.host, login.port, login.dbname, login.user,
    )  # fmt: skip
    with flat.terminal("--app", "shop-production", "--no-service") as terminal:
        code = await at(
            terminal,
            ("Keep that working as well?", "\r" if kept else "n\r"),
            ("Do it?", "\r"),
        )
    assert code == 0, terminal.screen
    assert "leading there too: By hand." in terminal.screen
    names = {row["name"]: row["service"] for row in flat.pgadmin.servers().values()}
    if kept:
        assert names == {"By hand": "shop-production"}
    else:
        assert names == {"By hand": None, "shop-production (DATABASE)": "shop-production"}


# --- at a terminal ------------------------------------------------------------------------------


async def test_without_a_real_terminal(flat: Flat) -> None:
    """On a dumb terminal the databases are numbered, and nothing moves the cursor."""
    with flat.terminal("--no-service", kind="dumb") as terminal:
        code = await at(terminal, ("or all: ", "9\r"), ("Name some", "1,3\r"), ("Do it?", "y\r"))
    assert code == 0, terminal.screen
    assert "\x1b" not in terminal.raw
    assert 'app = "blog"' in flat.config.read_text()
    assert 'app = "shop-production"' in flat.config.read_text()


async def test_ctrl_z_and_fg(flat: Flat) -> None:
    """Ctrl-Z stops it, as any program in a shell; fg draws the list again, with its marks."""
    argv = [sys.executable, "-m", "pgherald", "init", "--no-service", "--dry-run"]
    env = {**flat.house.env, "TERM": "xterm", "PS1": "> "}
    shell = ["bash", "--norc", "--noprofile", "-i"]
    with Terminal(shell, env=env, columns=100, cwd=flat.house.home) as terminal:
        code = await at(
            terminal,
            ("> ", f"{' '.join(argv)}\r"),
            ("goes on", "blog "),
            ("● blog", "\x1a"),
            ("Stopped ", "fg\r"),
            ("● blog", "\x1b\r"),
            ("Databases: blog/DATABASE", "exit\r"),
        )
    assert code == 0, terminal.screen


async def test_ctrl_c_in_the_list(flat: Flat) -> None:
    """Ctrl-C ends it with 130, and everything is as it was."""
    before = flat.files()
    with flat.terminal() as terminal:
        code = await at(terminal, ("enter goes on", CTRL_C))
    assert code == 130, terminal.screen
    assert terminal.screen.rstrip().endswith("Stopped.")
    assert flat.files() == before
    assert not flat.config.exists()


async def test_ctrl_c_while_it_writes(flat: Flat, cluster: Cluster) -> None:
    """Ctrl-C while a further database is proven gives the configuration back byte for byte."""
    assert (await flat.house.pgherald("init", *SHOP)).code == 0
    before, text = flat.files(), flat.config.read_bytes()
    await cluster.lock_role(flat.house.login("blog").user)
    with flat.terminal("--app", "blog") as terminal:
        code = await at(terminal, ("Do it?", "\r"), ("waiting for Postgres", CTRL_C))
    assert (code, flat.config.read_bytes()) == (130, text)
    assert flat.files() == before


# --- the service --------------------------------------------------------------------------------


async def test_the_service(flat: Flat) -> None:
    """With --yes the service is installed where there is a manager; a second time it stays."""
    done = await flat.house.pgherald("init", *SHOP[:3])
    assert done.code == 0
    assert "pgherald runs as a service now (systemd: " in done.out
    assert ["systemctl", "--user", "restart", "pgherald.service"] in flat.programs.calls
    calls = len(flat.programs.calls)
    again = await flat.house.pgherald("init", *SHOP[:3])
    assert "The service is there already" in again.out
    assert len(flat.programs.calls) == calls
