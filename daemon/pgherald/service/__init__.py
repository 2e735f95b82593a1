"""How the operating system runs the daemon.

manager
    What the service managers have in common: what is written and run, and whose their file is.
systemd, launchd, windows
    One service manager each; `unit.template` and `task.template` hold their texts.
sd_notify
    The daemon's messages to systemd, and the backoff of its starts.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path

from pgherald.service.manager import Manager


def manager_of(env: Mapping[str, str], home: Path, state_dir: Path) -> Manager:
    """This platform's service manager."""
    if sys.platform == "win32":
        from pgherald.service.windows import TaskScheduler  # one of the three

        return TaskScheduler(env, state_dir, sys.executable)
    if sys.platform == "darwin":
        from pgherald.service.launchd import Launchd

        return Launchd(home)
    from pgherald.service.systemd import Systemd

    return Systemd(env, home)
