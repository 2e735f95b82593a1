"""Windows: a task that starts when the person logs on.

Task Scheduler schema (learn.microsoft.com, "Task Scheduler Schema"), schtasks.
"""

from __future__ import annotations

import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Final
from xml.sax.saxutils import escape

from pgherald.service import manager

TASK: Final = "pgherald"

_TEMPLATE: Final = Path(__file__).with_name("task.template")

#: What the task's description says; Windows keeps it, and little else, letter for letter.
_MARK: Final = manager.MARK.partition(",")[0]


class TaskScheduler(manager.Manager):
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

    def standing(self, programs: manager.Programs) -> manager.Standing:
        """As in `Manager`: the task counts, the file is only how it got there."""
        found = programs.run(("schtasks", "/Query", "/TN", TASK, "/XML"))
        if found.code:
            return manager.Standing.MISSING
        # UTF-16 as bytes that were read as UTF-8: a NUL beside each letter.
        return (
            manager.Standing.OURS
            if _MARK in found.out.replace("\0", "")
            else manager.Standing.FOREIGN
        )

    def install(self, setup: manager.Setup) -> list[manager.Step]:
        """As in `Manager`."""
        arguments = ("-m", "pgherald", *setup.arguments, "--log-file", str(self._log))
        xml = task(self._user, self._python, arguments)
        return [
            manager.Write(self.file, xml, encoding="utf-16"),
            # One that runs already would keep its old command line.
            manager.Run(("schtasks", "/End", "/TN", TASK), needed=False),
            manager.Run(("schtasks", "/Create", "/TN", TASK, "/XML", str(self.file), "/F")),
            manager.Run(("schtasks", "/Run", "/TN", TASK), advice=manager.SEE_LOG),
        ]

    def uninstall(self) -> list[manager.Step]:
        """As in `Manager`."""
        return [
            manager.Run(("schtasks", "/End", "/TN", TASK), needed=False),
            manager.Run(("schtasks", "/Delete", "/TN", TASK, "/F"), needed=False),
            manager.Remove(self.file),
        ]

    def report(self, programs: manager.Programs) -> manager.Report:
        """As in `Manager`. Its words for a state come in Windows' own language: none are read."""
        found = self.standing(programs)
        return manager.Report(found, enabled=found is not manager.Standing.MISSING, state="")

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
