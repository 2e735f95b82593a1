"""What the buttons on a notice open, and how it is started."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import pytest

from pgherald.notify.desktop import Action
from pgherald.notify.opening import Opener
from support.household import until

PGADMIN = """\
[Desktop Entry]
Version=1.0
Name=pgAdmin 4
Exec=pgadmin4-app --name "100%% mine" %U
Type=Application

[Desktop Action other]
Exec=something else
"""

NOTES = """\
#!{python}
import json, os, sys
told = {{"argv": sys.argv, "environ": dict(os.environ), "parent": os.getppid(), "pid": os.getpid()}}
with open({out!r} + ".part", "w") as file:
    json.dump(told, file)
os.rename({out!r} + ".part", {out!r})
sys.exit({code})
"""


class Machine:
    """A machine with the programs and desktop files that a test gives it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.home = folder / "home"
        self.bin = folder / "bin"
        self.bin.mkdir()
        self.environ = {
            "PATH": str(self.bin),
            "HOME": str(self.home),
            "DISPLAY": ":7",
            "PGHERALD_STATE_DIR": "/state",
            "HEROKU_API_KEY": "CANARY-token-1",
            "NOTIFY_SOCKET": "/run/CANARY",
            "XDG_RUNTIME_DIR": str(folder / "run"),
        }
        self.opener = Opener(self.environ, self.home, Path("/etc/my config.toml"), system=folder)

    def program(self, name: str, *, code: int = 0) -> Path:
        """A program that notes how it was called; returns where."""
        notes = self.folder / f"{name}.json"
        file = self.bin / name
        file.write_text(NOTES.format(python=sys.executable, out=str(notes), code=code))
        file.chmod(0o755)
        return notes

    def desktop_file(self, place: str, text: str = PGADMIN) -> None:
        file = self.folder / place
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)

    def manager(self) -> None:
        """A user manager of systemd runs."""
        (self.folder / "run" / "systemd").mkdir(parents=True)
        (self.folder / "run" / "systemd" / "private").touch()


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


@pytest.mark.parametrize(
    "place",
    [
        "usr/share/applications/pgadmin4.desktop",
        "home/.local/share/applications/pgadmin4.desktop",
        "var/lib/flatpak/exports/share/applications/org.pgadmin.pgadmin4.desktop",
    ],
)
def test_pgadmin_is_found(machine: Machine, place: str) -> None:
    """PgAdmin's own packages and its Flatpak are found, and only if their program is there."""
    machine.desktop_file(place)
    assert not any(machine.opener.knows(action) for action in Action)
    machine.program("pgadmin4-app")
    assert machine.opener.command(Action.PGADMIN) == ["pgadmin4-app", "--name", "100% mine"]


@pytest.mark.parametrize(
    ("terminals", "first"),
    [
        (["xterm"], ["xterm", "-e"]),
        (["xterm", "konsole", "gnome-terminal"], ["gnome-terminal", "--"]),
    ],
)
def test_a_terminal(machine: Machine, terminals: list[str], first: list[str]) -> None:
    """History and status come in a terminal, the person's own choice first."""
    for name in terminals:
        machine.program(name)
    ours = [sys.executable, "-m", "pgherald", "--config", "/etc/my config.toml"]
    assert machine.opener.command(Action.HISTORY) == [*first, *ours, "history", "--wait"]
    assert machine.opener.command(Action.STATUS) == [*first, *ours, "status", "--watch"]


async def told(notes: Path) -> dict[str, object]:
    await until(notes.exists)
    return read(notes)


def read(notes: Path) -> dict[str, object]:
    found: dict[str, object] = json.loads(notes.read_text())
    return found


async def test_what_is_started_is_not_ours(machine: Machine) -> None:
    """A started program is no child of the daemon, sees the screen, and sees no secret."""
    machine.desktop_file("usr/share/applications/pgadmin4.desktop")
    notes = machine.program("pgadmin4-app")
    await machine.opener.open(Action.PGADMIN)
    call = await told(notes)
    assert call["parent"] != os.getpid()
    assert isinstance(call["argv"], list)
    assert call["argv"][1:] == ["--name", "100% mine"]
    environ = call["environ"]
    assert isinstance(environ, dict)
    assert (environ["DISPLAY"], environ["PGHERALD_STATE_DIR"]) == (":7", "/state")
    assert "CANARY" not in json.dumps(call)


async def test_the_user_manager_starts_it(machine: Machine) -> None:
    """Where systemd manages the session, it starts the program: outside the daemon's sandbox."""
    machine.manager()
    machine.program("xterm")
    notes = machine.program("systemd-run")
    await machine.opener.open(Action.HISTORY)
    argv = (await told(notes))["argv"]
    assert isinstance(argv, list)
    before, after = argv[1 : argv.index("--")], argv[argv.index("--") + 1 :]
    assert before[:3] == ["--user", "--collect", "--quiet"]
    assert "--setenv=DISPLAY=:7" in before
    assert after == machine.opener.command(Action.HISTORY)
    assert "CANARY" not in json.dumps(argv)
