"""Locks between the processes of one user: one writer per client file, one daemon.

A lock is held on a file in pgherald's own folder, never on or beside the person's file,
and the system lets go of it when its process ends, however it ends.
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Final

from pgherald.errors import AlreadyRunning, FileTrouble
from pgherald.files.own import OwnFiles
from pgherald.files.trouble import reported

if TYPE_CHECKING:
    import filelock

#: The file in the state folder that the daemon holds as long as it runs.
DAEMON_LOCK: Final = "daemon.lock"

#: How long one writer waits for another, in seconds. A commit takes milliseconds.
LOCK_LIMIT: Final = 10.0

#: What a note says: a process, and what it is.
_NOTE: Final = re.compile(r"([1-9][0-9]{0,9})(?: (pgherald [a-z]+))?")

#: Bytes of a note that are read.
_NOTE_LIMIT: Final = 100

#: How long `exclusive` tries, in seconds.
_INSTANT: Final = 0.2


class Locks:
    """The locks in one folder.

    Args:
        folder: where the lock files lie; made when the first lock is taken.
        own: makes the folder.
    """

    def __init__(self, folder: Path, own: OwnFiles) -> None:
        self._folder = folder
        self._own = own
        # One object per lock file and process: filelock counts re-entry by object and thread.
        self._made: dict[str, filelock.FileLock] = {}

    @contextlib.contextmanager
    def hold(self, path: Path, target: Path, limit: float) -> Iterator[None]:
        """Hold the lock of `target`; again in the same thread is fine.

        Args:
            path: the file as the person knows it.
            target: the same without links: two names of one file have one lock.
            limit: seconds to wait for another holder.

        Raises:
            FileTrouble: another pgherald held it all that time.
        """
        import hashlib  # like the next one, slow to import and seldom needed

        import filelock  # brings asyncio along, which quick commands do without

        self._own.make_way_for_folder(self._folder)
        self._own.private_folder(self._folder)
        name = f"{hashlib.sha256(os.fsencode(target)).hexdigest()[:32]}.lock"
        self._own.make_way(self._folder / name)
        # setdefault is atomic, so that two threads share one object.
        lock = self._made.setdefault(name, filelock.FileLock(self._folder / name, mode=0o600))
        with reported(path, "locked"):
            try:
                lock.acquire(timeout=limit)
            except filelock.Timeout:
                raise FileTrouble(
                    "is being written by another pgherald",
                    "Nothing is to be done, unless one of them hangs: `pgherald status` tells.",
                    path=path,
                ) from None
        try:
            yield
        finally:
            lock.release()


@contextlib.contextmanager
def exclusive(path: Path, who: str, own: OwnFiles) -> Iterator[None]:
    """Be the only one who holds `path`, without waiting.

    Args:
        path: the lock file; beside it, `<path>.pid` names the holder.
        who: what holds it, such as `pgherald run`.
        own: writes the note.

    Raises:
        AlreadyRunning: somebody else holds it; names the process, if known.
        FileTrouble: the system does not let us.
    """
    import filelock

    own.private_folder(path.parent)
    note = path.with_name(f"{path.name}.pid")
    for place in (path, note):
        own.make_way(place)
    lock = filelock.FileLock(path, mode=0o600, thread_local=False)
    with reported(path, "locked"):
        try:
            # Long enough to outlast `is_held`.
            lock.acquire(timeout=_INSTANT)
        except filelock.Timeout:
            raise _already_running(note) from None
    try:
        own.write_private(note, f"{os.getpid()} {who}\n".encode())
        yield
    finally:
        with contextlib.suppress(FileTrouble):
            own.remove_own(note)
        lock.release()


def daemon_runs(state_dir: Path) -> bool:
    """Whether a daemon runs with this state folder."""
    return is_held(state_dir / DAEMON_LOCK)


def is_held(path: Path) -> bool:
    """Whether somebody holds the lock that `files.locks.exclusive` takes on `path`.

    Takes it for an instant to find out; whoever comes in just then waits for that long.
    """
    # What is no file was put there by somebody else, and nobody can hold it.
    if not os.path.isfile(path):
        return False
    try:
        import fcntl  # only Unix has it
    except ImportError:
        return _is_held_elsewhere(path)
    try:
        # What filelock does there, without the time that importing it takes. A shared lock needs
        # no leave to write.
        with path.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
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


def _already_running(note: Path) -> AlreadyRunning:
    which, stop = "", "Stop the other one first"
    # Opening a pipe would wait for somebody to write.
    with contextlib.suppress(OSError, ValueError):
        if note.is_file():
            with note.open("rb") as file:
                said = _NOTE.fullmatch(file.read(_NOTE_LIMIT).decode().strip())
            if said is not None:
                which = f" (process {said[1]}, {said[2] or 'pgherald'})"
                stop = f"Stop it first (`kill {said[1]}`, or its service)"
    return AlreadyRunning(
        f"pgherald is already running{which}", f"{stop}, or set another state_dir."
    )
