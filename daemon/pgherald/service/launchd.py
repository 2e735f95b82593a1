"""macOS: an agent of launchd, which runs while the person is logged in.

launchd.plist(5), launchctl(1).
"""

from __future__ import annotations

import os
import plistlib
import re
from pathlib import Path
from typing import Any, Final

from pgherald.service import manager

LABEL: Final = "org.pgherald"

#: `launchctl bootout` returns before the agent has gone; until then a new one is refused.
_TRIES: Final = 5


class Launchd(manager.Manager):
    """launchd, in the person's graphical session.

    Args:
        home: the home folder.
        account: the numeric user id.
    """

    name = "launchd"

    def __init__(self, home: Path, *, account: int | None = None) -> None:
        self.file = home / "Library" / "LaunchAgents" / f"{LABEL}.plist"
        self._log = home / "Library" / "Logs" / "pgherald.log"
        self._session = f"gui/{os.getuid() if account is None else account}"
        self._agent = f"{self._session}/{LABEL}"

    def install(self, setup: manager.Setup) -> list[manager.Step]:
        """As in `Manager`."""
        text = agent(setup, self._log)
        return [
            manager.Write(self.file, manager.marked(text, line=1, begin="<!-- ", end=" -->")),
            # An agent that is loaded already would keep its old plist.
            manager.Run(("launchctl", "bootout", self._agent), needed=False),
            # `launchctl disable` outlives an uninstallation.
            manager.Run(("launchctl", "enable", self._agent), needed=False),
            manager.Run(
                ("launchctl", "bootstrap", self._session, str(self.file)),
                tries=_TRIES,
                advice=manager.SEE_LOG,
            ),
        ]

    def uninstall(self) -> list[manager.Step]:
        """As in `Manager`."""
        return [
            manager.Run(("launchctl", "bootout", self._agent), needed=False),
            manager.Remove(self.file),
        ]

    def report(self, programs: manager.Programs) -> manager.Report:
        """As in `Manager`."""
        ended = programs.run(("launchctl", "print", self._agent))
        if ended.code:
            return manager.Report(self.standing(programs), enabled=False, state="not loaded")
        found = re.search(r"^\s*state = (.+)$", ended.out, re.MULTILINE)
        return manager.Report(
            self.standing(programs), enabled=True, state=found[1] if found else "loaded"
        )

    def logs(self, number: int, *, follow: bool) -> list[str]:
        """As in `Manager`."""
        return ["tail", "-n", str(number), *(["-F"] if follow else []), str(self._log)]


def agent(setup: manager.Setup, log: Path) -> str:
    """The property list.

    Args:
        setup: what it shall run.
        log: where stderr goes.
    """
    wanted: dict[str, Any] = {
        "Label": LABEL,
        "ProgramArguments": [*setup.program, *setup.arguments],
        "RunAtLoad": True,
        # Whatever ends it but being told to; launchd cannot tell a wrong configuration from a crash.
        "KeepAlive": {"SuccessfulExit": False},
        # launchd knows no pause that grows; this one is Windows' shortest, too.
        "ThrottleInterval": 60,
        # It ends within two seconds, in the middle of anything; more means that it hangs.
        "ExitTimeOut": 10,
        "ProcessType": "Background",
        "StandardErrorPath": str(log),
        # Everything it makes is for this account alone, even before a mode is set.
        "Umask": 0o077,
        # Its memory holds passwords, and so would a core dump.
        "SoftResourceLimits": {"Core": 0},
        "HardResourceLimits": {"Core": 0},
    }
    if setup.environment:
        wanted["EnvironmentVariables"] = dict(setup.environment)
    return plistlib.dumps(wanted, sort_keys=False).decode()
