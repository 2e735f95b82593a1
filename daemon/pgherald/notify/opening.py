"""What a button on a notice opens: pgAdmin, or a terminal with pgherald in it.

What is started belongs to the person's session and not to the daemon: the daemon's sandbox
would be a cage for pgAdmin, and its end would be pgAdmin's. So the user manager starts it
where there is one; else it is started by a helper that ends at once. Linux only: the
notifications of `osascript` and PowerShell cannot tell that they were clicked.
"""

from __future__ import annotations

import configparser
import contextlib
import logging
import shlex
import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

from pgherald import process
from pgherald.notify.desktop import Action, NotShown, run

log = logging.getLogger(__name__)

#: What stands on the buttons.
LABELS: Final = {
    Action.PGADMIN: "Open pgAdmin",
    Action.HISTORY: "Show history",
    Action.STATUS: "Show status",
}

#: The desktop files of pgAdmin's own packages, and of its Flatpak.
PGADMIN: Final = ("pgadmin4.desktop", "org.pgadmin.pgadmin4.desktop")

#: Terminals, and what each wants to read before the program that it shall run. The person's
#: own choice comes first.
TERMINALS: Final = tuple(
    command.split()
    for command in (
        *("xdg-terminal-exec", "x-terminal-emulator -e", "gnome-terminal --", "ptyxis --"),
        *("konsole -e", "xfce4-terminal -x", "kitty", "alacritty -e", "foot", "wezterm start --"),
        "xterm -e",
    )
)

#: Starts a program and ends, so that it is nobody's child.
LET_GO: Final = """\
import subprocess, sys
nothing = subprocess.DEVNULL
subprocess.Popen(sys.argv[1:], stdin=nothing, stdout=nothing, stderr=nothing, start_new_session=True)
"""


class Opener:
    """Finds what can be opened, and opens it.

    Args:
        environ: our environment.
        home: the home folder.
        config: the configuration file that pgherald is to read.
        system: where the file system begins.
    """

    def __init__(
        self, environ: Mapping[str, str], home: Path, config: Path, *, system: Path = Path("/")
    ) -> None:
        self._environ = environ
        self._home = home
        self._config = config
        self._system = system

    def knows(self, action: Action) -> bool:
        """Whether there is something to open."""
        return self.command(action) is not None

    def command(self, action: Action) -> list[str] | None:
        """What an action would run; None where there is nothing to run."""
        if action is Action.PGADMIN:
            return next(self._pgadmins(), None)
        terminal = next((t for t in TERMINALS if self._found(t[0])), None)
        if terminal is None:
            return None
        show = ["history", "--wait"] if action is Action.HISTORY else ["status", "--watch"]
        ours = [sys.executable, "-m", "pgherald", "--config", str(self._config), *show]
        return [*terminal, *ours]

    async def open(self, action: Action) -> None:
        """Open it. Never raises: what hinders it is logged."""
        command = self.command(action)
        if command is None:  # removed since the notice was shown
            return
        try:
            await self._start(command)
        except (NotShown, TimeoutError):
            log.warning("%s: it cannot be started.", LABELS[action])

    async def _start(self, command: Sequence[str]) -> None:
        also = process.SESSION | process.OURS
        environ = process.environment(self._environ, also)
        if self._manager_runs():
            given = [f"--setenv={n}={v}" for n, v in environ.items() if n in also]
            manager = ["systemd-run", "--user", "--collect", "--quiet", *given, "--", *command]
            with contextlib.suppress(NotShown, TimeoutError):
                await run(manager, environ)
                return
        helper = [sys.executable, "-I", "-c", LET_GO, *command]
        await run(helper, environ)

    def _manager_runs(self) -> bool:
        """Whether systemd's user manager runs: its private socket is there."""
        runtime = self._environ.get("XDG_RUNTIME_DIR")
        return bool(runtime) and Path(str(runtime), "systemd", "private").exists()

    def _found(self, program: str) -> str | None:
        return shutil.which(program, path=self._environ.get("PATH", ""))

    def _pgadmins(self) -> Iterator[list[str]]:
        for folder in self._data_folders():
            for name in PGADMIN:
                command = command_of(folder / "applications" / name)
                if command and self._found(command[0]):
                    yield command

    def _data_folders(self) -> Iterator[Path]:
        """Where desktop files are (freedesktop.org: XDG base directories), and Flatpak's."""
        own = Path(self._environ.get("XDG_DATA_HOME") or self._home / ".local" / "share")
        yield from (own, own / "flatpak" / "exports" / "share")
        shared = self._environ.get("XDG_DATA_DIRS") or "/usr/local/share:/usr/share"
        for folder in (*shared.split(":"), "/var/lib/flatpak/exports/share"):
            if folder.startswith("/"):
                yield self._system / folder.lstrip("/")


def command_of(file: Path) -> list[str] | None:
    """The program that a desktop file starts, without any file to open; None for no such file.

    The form is freedesktop.org's: quoted as a shell would, with fields such as `%U`.
    """
    entries = configparser.RawConfigParser(strict=False, delimiters=("=",), comment_prefixes=("#",))
    try:
        entries.read_string(file.read_text(encoding="utf-8"))
        words = shlex.split(entries.get("Desktop Entry", "Exec"))
    except (OSError, ValueError, configparser.Error):
        return None
    fields = [f"%{letter}" for letter in "fFuUdDnNickvm"]
    return [word.replace("%%", "%") for word in words if word not in fields] or None
