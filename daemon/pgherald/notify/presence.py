"""Whether there is somebody to show a notice, found out without showing one."""

from __future__ import annotations

import shutil
from collections.abc import Mapping

from pgherald.clock import Clock
from pgherald.notify.desktop import NotShown

#: The program that shows notices, by platform.
_PROGRAMS = {"darwin": "osascript", "win32": "powershell"}


async def presence(platform: str, environ: Mapping[str, str], clock: Clock) -> str:
    """The name of whatever shows notices here.

    Args:
        platform: `sys.platform`.
        environ: the process's environment.
        clock: times the look.

    Raises:
        NotShown: there is nobody; says why.
    """
    if platform == "linux":
        from pgherald.notify.linux import LinuxDesktop  # only this platform needs it

        desktop = LinuxDesktop(clock, environ=environ)
        try:
            return await desktop.server()
        finally:
            await desktop.close()
    program = _PROGRAMS.get(platform)
    if program is None:
        raise NotShown("this platform has no notifications that pgherald knows")
    if shutil.which(program, path=environ.get("PATH")) is None:
        raise NotShown(f"{program} is not there")
    return program
