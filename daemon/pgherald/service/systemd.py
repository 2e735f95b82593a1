"""Linux: a unit of the person's own service manager."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from pgherald.service.mark import Standing, marked, standing
from pgherald.service.programs import Programs
from pgherald.service.setup import Report, Setup
from pgherald.service.steps import Remove, Run, Step, Write
from pgherald.service.units import namespaces_allowed, quoted, user_unit

UNIT: Final = "pgherald.service"

_NO_MANAGER: Final = (
    "`systemctl --user status` must work: log in as yourself, not by su or sudo. Where "
    "there is no such manager, let another one run `pgherald run`."
)
_SEE_LOG: Final = "`pgherald service logs` shows why. `pgherald service uninstall` takes it back."


class Systemd:
    """The user's service manager.

    Args:
        env: the environment; tells where the units are.
        home: the home folder.
        sandbox: whether the machine allows user namespaces; None to look.
        account: the numeric user id.
    """

    name = "systemd"

    def __init__(
        self,
        env: Mapping[str, str],
        home: Path,
        *,
        sandbox: bool | None = None,
        account: int | None = None,
    ) -> None:
        config = env.get("XDG_CONFIG_HOME", "")
        folder = Path(config) if config.startswith("/") else home / ".config"
        self.file = folder / "systemd" / "user" / UNIT
        self._sandbox = namespaces_allowed() if sandbox is None else sandbox
        self._account = str(os.getuid() if account is None else account)

    def standing(self, programs: Programs) -> Standing:  # another manager asks a program
        """As in `Manager`."""
        return standing(read(self.file))

    def install(self, setup: Setup) -> list[Step]:
        """As in `Manager`."""
        unit = user_unit(
            " ".join(map(quoted, setup.program)),
            sandbox=self._sandbox,
            writable=setup.writable,
            token=setup.token,
            config=setup.config,
            environment=setup.environment,
        )
        return [
            # Is there such a manager at all? Asked before anything is written.
            Run(_ctl("show", "--property=Version"), advice=_NO_MANAGER),
            Write(self.file, marked(unit)),
            Run(_ctl("daemon-reload"), advice=_NO_MANAGER),
            Run(_ctl("enable", UNIT), advice=_NO_MANAGER),
            # One that runs already takes over the new unit; one that does not is started.
            Run(_ctl("restart", UNIT), advice=_SEE_LOG),
            *([Run(("loginctl", "enable-linger"))] if setup.linger else []),
        ]

    def uninstall(self) -> list[Step]:
        """As in `Manager`. Lingering stays: other services of the person may need it."""
        return [
            Run(_ctl("disable", "--now", UNIT), needed=False),
            Remove(self.file),
            Run(_ctl("daemon-reload"), needed=False),
        ]

    def report(self, programs: Programs) -> Report:
        """As in `Manager`."""
        wanted = "ActiveState,SubState,UnitFileState,StatusText"
        ended = programs.run(_ctl("show", UNIT, f"--property={wanted}"))
        found = dict(line.split("=", 1) for line in ended.out.splitlines() if "=" in line)
        state = (
            f"{found['ActiveState']} ({found.get('SubState')})" if "ActiveState" in found else ""
        )
        if text := found.get("StatusText"):
            state += f": {text}"
        unit = found.get("UnitFileState")
        return Report(
            self.standing(programs),
            None if unit is None else unit.startswith("enabled"),
            state or ended.err.strip().partition("\n")[0],
            self._lingers(programs),
        )

    def _lingers(self, programs: Programs) -> bool:
        # Of a user who is neither logged in nor lingers, loginctl knows nothing: exit code 1.
        asked = programs.run(("loginctl", "show-user", self._account, "--property=Linger"))
        return asked.out.strip() == "Linger=yes"

    def logs(self, number: int, *, follow: bool) -> list[str]:
        """As in `Manager`."""
        command = ["journalctl", "--user", f"--unit={UNIT}", f"--lines={number}"]
        return [*command, "--follow"] if follow else [*command, "--no-pager"]

    def remarks(self, setup: Setup) -> list[str]:
        """As in `Manager`."""
        if setup.linger:
            return ["It runs from the machine's start on, whether you are logged in or not."]
        return [
            "It runs while you are logged in. To keep it running while you are not, which systemd",
            "calls lingering: pgherald service install --linger",
        ]


def read(path: Path) -> str | None:
    """A file's text; None when there is none."""
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        return None


def _ctl(*words: str) -> tuple[str, ...]:
    return ("systemctl", "--user", *words)
