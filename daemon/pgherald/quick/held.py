"""Whether a lock of pgherald's is held, such as the daemon's."""

from __future__ import annotations

from pathlib import Path
from typing import Final

#: The file in the state folder that the daemon holds as long as it runs.
DAEMON_LOCK: Final = "daemon.lock"


def daemon_runs(state_dir: Path) -> bool:
    """Whether a daemon runs with this state folder."""
    return is_held(state_dir / DAEMON_LOCK)


def is_held(path: Path) -> bool:
    """Whether somebody holds the lock that `files.locks.exclusive` takes on `path`.

    Looks by taking it for an instant; whoever comes in just then waits for that long.
    """
    # What is no file was put there by somebody else, and nobody can hold it.
    if not path.is_file():
        return False
    try:
        import fcntl  # only Unix has it
    except ImportError:
        return _is_held_elsewhere(path)
    try:
        # What filelock does there, without the time that importing it takes.
        with path.open("r+b") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return True
    return False


def _is_held_elsewhere(path: Path) -> bool:
    import filelock  # brings asyncio along

    lock = filelock.FileLock(path, mode=0o600, thread_local=False)
    try:
        with lock.acquire(blocking=False):
            return False
    except (filelock.Timeout, OSError):
        return True
