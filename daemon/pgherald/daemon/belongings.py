"""Files that are pgherald's own: what they are called, and what a kill leaves beside them."""

from __future__ import annotations

import contextlib
import os
import re
from pathlib import Path
from typing import Final

from pgherald.config import Config
from pgherald.daemon.status import STATUS_FILE
from pgherald.errors import ClientError
from pgherald.files import Files
from pgherald.files.locks import DAEMON_LOCK
from pgherald.files.own import DAMAGED
from pgherald.sync.manifest import OWNERSHIP

#: A folder in which nothing else changes, so that watching it costs nothing.
_REFRESH: Final = "refresh"

#: All that pgherald makes in its state folder. The person may have chosen a folder of theirs.
_NAMES: Final = (
    "state.db",
    OWNERSHIP,
    STATUS_FILE,
    "commits",
    "locks",
    _REFRESH,
    DAEMON_LOCK,
    f"{DAEMON_LOCK}.pid",
    "pgherald.log",
    "pgherald-task.xml",
)

#: What may follow such a name: SQLite keeps things beside its files, and some are set aside.
_SUFFIXES: Final = re.compile(rf"(-journal|-wal|-shm|\.old|{re.escape(DAMAGED)})*")


def is_own(name: str) -> bool:
    """Whether something of that name in the state folder is pgherald's."""
    return any(
        name.startswith(own) and _SUFFIXES.fullmatch(name[len(own) :]) is not None for own in _NAMES
    )


def request_of(state_dir: Path) -> Path:
    """The file by which `pgherald refresh` asks the running daemon: no signal is on all systems.

    The answer is a note in the state.
    """
    return state_dir / _REFRESH / "asked"


def sweep(config: Config, files: Files) -> None:
    """Delete the temporary files that a killed pgherald left beside all that it writes.

    Those of a file that another pgherald is writing at this moment are left to it.
    """
    paths = [config.state_dir / name for name in _NAMES]
    records = config.state_dir / OWNERSHIP
    with contextlib.suppress(ClientError):
        paths += [records / name for name in files.names(records) if name.endswith(".json")]
    paths += [config.path, *(client.path for client in config.clients)]
    paths += [config.metrics_file] if config.metrics_file is not None else []
    for path in paths:
        with contextlib.suppress(ClientError), files.lock(path, limit=0):
            # Content is written beside what a link leads to; of pgherald's own, beside the link.
            for target in {path, Path(os.path.realpath(path))}:
                files.sweep(target)
