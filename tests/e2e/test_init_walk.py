"""A person who has never seen it, at a real terminal, with README and an empty home."""

from __future__ import annotations

import asyncio
import re
import shutil
import sys
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest

from pgherald.simulator.postgres import Cluster
from pgherald.simulator.seed import APPS
from support.dbus import NotificationServer, notification_server, session_bus
from support.pgadmin_database import Database
from support.program import House, eventually
from support.stand_ins import Answer, StandIns
from support.terminal import Terminal

README = Path(__file__).parents[2] / "README.md"

needs_bus = pytest.mark.skipif(
    shutil.which("dbus-daemon", path="/usr/bin:/bin") is None, reason="needs dbus-daemon"
)


def quick_start() -> list[tuple[str, list[str]]]:
    """The commands of README's first two examples, each with the lines that it prints."""
    start = README.read_text().partition("\n## Start\n")[2].partition("\n## ")[0]
    blocks = re.findall(r"```console\n(.*?)```", start, re.DOTALL)
    parts = re.split(r"^\$ (.*)\n", "".join(blocks[:2]), flags=re.MULTILINE)[1:]
    return [(parts[i], parts[i + 1].splitlines()) for i in range(0, len(parts), 2)]


def plain(text: str, home: Path) -> str:
    """An output without what differs from run to run: home, ports, Postgres's names, widths."""
    text = re.sub(r"[ \t]+$", "", text.replace(str(home), "/home/you"), flags=re.MULTILINE)
    text = re.sub(r"(?<=\S) {2,}", "  ", text)
    text = re.sub(r"(?<=127\.0\.0\.1:)\d+|(?<=port=)\d+", "PORT", text)
    return re.sub(r"\b[du][a-z0-9]{13}\b", "NAME", re.sub(r"(?<=psql  ).*", "PSQL", text))


def prints(shown: str, lines: Sequence[str], home: Path) -> bool:
    """Whether these lines were shown; `…` stands for lines that are left out."""
    parts = "\n".join(lines).split("\n…\n")
    pattern = r"\n(?:.*\n)*?".join(re.escape(plain(part, home)) for part in parts)
    return re.search(pattern, plain(shown, home)) is not None


class Newcomer:
    """Somebody at a terminal, whose Heroku CLI is logged in, and who has a pgAdmin and a desktop."""

    def __init__(self, house: House, folder: Path, desktop: NotificationServer) -> None:
        self.house, self.desktop = house, desktop
        self.programs = StandIns(folder / "bin")
        for name in ("systemctl", "loginctl"):
            self.programs.put(name)
        self.programs.put("heroku", {"auth:token": Answer(out=house.token.read_text())})
        house.token.unlink()
        house.pgpass.unlink()
        for name in ("PGHERALD_CONFIG", "PGHERALD_STATE_DIR", "PGSERVICEFILE", "PGPASSFILE"):
            del house.env[name]
        folders = [self.programs.folder, Path(sys.executable).parent]
        house.env["PATH"] = ":".join([*map(str, folders), house.env["PATH"]])
        assert list(house.home.iterdir()) == []
        self.pgadmin = Database.made(house.home / ".pgadmin" / "pgadmin4.db")

    async def types(self, command: str, *steps: tuple[str, str]) -> Terminal:
        """Type a command; at each text that is shown press keys; its terminal when it has ended."""
        env = {**self.house.env, "TERM": "xterm"}

        def walk() -> Terminal:
            with Terminal(command.split(), env=env, columns=300, cwd=self.house.home) as terminal:
                for text, keys in steps:
                    terminal.until(text)
                    terminal.press(keys)
                assert terminal.end() == 0, terminal.screen
                return terminal

        return await asyncio.to_thread(walk)


@pytest.fixture
async def newcomer(cluster: Cluster, tmp_path: Path) -> AsyncIterator[Newcomer]:
    async with (
        House.standing(cluster, tmp_path, apps=APPS) as house,
        session_bus(tmp_path) as bus,
        notification_server(bus) as desktop,
    ):
        house.env |= bus.environ
        yield Newcomer(house, tmp_path, desktop)


@needs_bus
async def test_the_quick_start(newcomer: Newcomer) -> None:
    """README's quick start leads to a pgAdmin that survives a rotation, line by line as shown."""
    house = newcomer.house
    (init, walked), (check, checked), (psql, _) = quick_start()
    shown = await newcomer.types(
        init,
        ("enter goes on", "shop-p"),
        ("/ shop-p", "\r"),
        ("Do it?", "\r"),
        ("Do you see it?", "\r"),
        ("Keep it running", "\r"),
    )
    assert prints(shown.screen, walked, house.home), shown.screen
    assert "CANARY" not in shown.raw
    assert [notice.title for notice in newcomer.desktop.shown] == ["pgherald can reach you"]
    assert ["systemctl", "--user", "restart", "pgherald.service"] in newcomer.programs.calls

    # Everything is where it belongs.
    login = house.login()
    assert house.behind(login) == ["servers.json"]
    (row,) = newcomer.pgadmin.servers().values()
    assert (row["name"], row["service"]) == ("shop-production (DATABASE)", "shop-production")
    assert (row["host"], row["username"], row["password"]) == (None, None, None)
    told = await newcomer.types(check)
    assert prints(told.screen, checked, house.home), told.screen
    _, conninfo = psql.split()
    assert (await house.psql(conninfo)).out.strip() == login.user

    # The service is a stand-in: what it would start is started here.
    config = house.home / ".config" / "pgherald" / "config.toml"
    house.put(config, 'poll_interval = "0.5s"\n' + config.read_text())
    async with house.daemon() as daemon:
        await daemon.line("Ready:")
        new = await house.rotate()
        await eventually(lambda: house.behind(new) == ["servers.json"], log=daemon)
    assert (await house.psql(conninfo)).out.strip() == new.user
    assert newcomer.pgadmin.servers() == {row["id"]: row}


@needs_bus
async def test_a_notification_that_nobody_sees(newcomer: Newcomer) -> None:
    """Whoever does not see the notification is told what hides it, and what else there is."""
    shown = await newcomer.types(
        "pgherald init --app blog --no-service", ("Do it?", "\r"), ("Do you see it?", "n\r")
    )
    assert "do-not-disturb" in shown.screen
