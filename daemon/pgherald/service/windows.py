"""Windows: a task that starts when the person logs on.

Task Scheduler schema (learn.microsoft.com, "Task Scheduler Schema"), schtasks.
"""

from __future__ import annotations

import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Final
from xml.sax.saxutils import escape

from pgherald.service.manager import (
    MARK,
    SEE_LOG,
    Manager,
    Programs,
    Remove,
    Report,
    Run,
    Setup,
    Standing,
    Step,
    Write,
)

TASK: Final = "pgherald"

_TEMPLATE: Final = Path(__file__).with_name("task.template")

#: What the task's description says; Windows keeps it, and little else, letter for letter.
_MARK: Final = MARK.partition(",")[0]


class TaskScheduler(Manager):
    """Windows' own scheduler.

    Args:
        env: the environment; tells the account's name.
        state_dir: pgherald's state folder, where log and description lie.
        executable: the Python that runs pgherald; its window-less twin lies beside it.
    """

    name = "Task Scheduler"

    def __init__(self, env: Mapping[str, str], state_dir: Path, executable: str) -> None:
        domain, user = env.get("USERDOMAIN", ""), env.get("USERNAME", "")
        self._user = f"{domain}\\{user}" if domain else user
        self._python = str(Path(executable).with_name("pythonw.exe"))
        self.file = state_dir / "pgherald-task.xml"
        self._log = state_dir / "pgherald.log"

    def standing(self, programs: Programs) -> Standing:
        """As in `Manager`: the task counts, the file is only how it got there."""
        found = programs.run(("schtasks", "/Query", "/TN", TASK, "/XML"))
        if found.code:
            return Standing.MISSING
        # UTF-16 as bytes that were read as UTF-8: a NUL beside each letter.
        return Standing.OURS if _MARK in found.out.replace("\0", "") else Standing.FOREIGN

    def install(self, setup: Setup) -> list[Step]:
        """As in `Manager`."""
        arguments = ("-m", "pgherald", *setup.arguments, "--log-file", str(self._log))
        xml = task(self._user, self._python, arguments)
        return [
            Write(self.file, xml, encoding="utf-16"),
            # One that runs already would keep its old command line.
            Run(("schtasks", "/End", "/TN", TASK), needed=False),
            Run(("schtasks", "/Create", "/TN", TASK, "/XML", str(self.file), "/F")),
            Run(("schtasks", "/Run", "/TN", TASK), advice=SEE_LOG),
        ]

    def uninstall(self) -> list[Step]:
        """As in `Manager`."""
        return [
            Run(("schtasks", "/End", "/TN", TASK), needed=False),
            Run(("schtasks", "/Delete", "/TN", TASK, "/F"), needed=False),
            Remove(self.file),
        ]

    def report(self, programs: Programs) -> Report:
        """As in `Manager`. Its words for a state come in Windows' own language: none are read."""
        found = self.standing(programs)
        return Report(found, enabled=found is not Standing.MISSING, state="")

    def logs(self, number: int, *, follow: bool) -> list[str]:
        """As in `Manager`."""
        path = str(self._log).replace("'", "''")
        wait = " -Wait" if follow else ""
        script = f"Get-Content -Encoding UTF8 -LiteralPath '{path}' -Tail {number}{wait}"
        return ["powershell.exe", "-NoProfile", "-NonInteractive", "-Command", script]


def task(user: str, command: str, arguments: tuple[str, ...]) -> str:
    r"""The task's description.

    Args:
        user: the account, as `DOMAIN\name`; the task starts when it logs on.
        command: the program.
        arguments: what follows it; quoted as Windows' own programs take it apart.
    """
    return _TEMPLATE.read_text(encoding="utf-8").format(
        mark=_MARK,
        user=escape(user),
        command=escape(command),
        arguments=escape(subprocess.list2cmdline(arguments)),
    )
