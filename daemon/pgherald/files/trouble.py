"""What keeps a file from being read or written, in plain words, each with what to do about it.

That is what the system says when it refuses, and what is surely in the way before anything is
tried: a commit asks for that before it writes its journal, and a plan before a login is verified
for the file's sake. Not every obstacle can be known beforehand: a full disk only shows itself
when it is written to.
"""

from __future__ import annotations

import contextlib
import errno
import os
import shlex
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from pgherald.errors import FileTrouble
from pgherald.files.disk import Disk
from pgherald.files.snapshot import Snapshot

_AGAIN: Final = "pgherald tries again by itself."
_CORRECT: Final = "Correct the path in the configuration."
_OTHER_PATH: Final = "or name another path in the configuration."
_BUSY: Final = (
    "If a container was given this one file, give it the folder that the file is in; else close "
    f"the program that uses it. {_AGAIN}"
)

#: errno: (what is wrong, what to do). Windows maps its own codes onto these.
_WORDS: Final[dict[int, tuple[str, str]]] = {
    errno.ENOSPC: ("the disk is full", f"Make room on the disk that holds it; {_AGAIN}"),
    errno.EDQUOT: ("your disk quota is used up", f"Delete what you can spare; {_AGAIN}"),
    errno.EFBIG: ("it would be larger than this disk allows", "Move it to another disk."),
    errno.EROFS: ("the disk can only be read", f"Make the disk writable, {_OTHER_PATH}"),
    errno.EACCES: (
        "permission denied",
        "Let the user who runs pgherald read and write the file and its folder (`ls -ld`).",
    ),
    errno.EPERM: (
        "the system does not allow it",
        "Unlock it if `lsattr` shows an i: `sudo chattr -i` (macOS: `ls -lO`, `chflags nouchg`).",
    ),
    errno.EIO: ("the disk reports a fault", "Save what matters from that disk, and replace it."),
    errno.EINVAL: (
        "the system takes it for invalid",
        "Under systemd its group may be one that the service has not: `chgrp` it to your own.",
    ),
    errno.ELOOP: (
        "its symbolic links lead nowhere or in a circle",
        "`ls -l` shows where they lead; point them at a file.",
    ),
    errno.ENAMETOOLONG: ("its name is too long", "Name a shorter path in the configuration."),
    errno.ENOENT: ("its folder is gone", "Make the folder, or correct the configuration's path."),
    errno.ENOTDIR: ("a part of its path is a file, not a folder", _CORRECT),
    errno.EISDIR: ("it is a folder, not a file", "Name a file in the configuration."),
    errno.ENOTEMPTY: ("the folder is not empty", "Delete it if nothing in it is needed."),
    errno.EBUSY: ("it is in use", _BUSY),
    errno.EMFILE: ("too many files are open", f"Close other programs; {_AGAIN}"),
    errno.ENFILE: ("too many files are open on this machine", f"Close other programs; {_AGAIN}"),
    errno.EINTR: ("it was interrupted", f"Nothing is to be done; {_AGAIN}"),
    errno.ESTALE: ("the network folder went away", f"Connect the network folder; {_AGAIN}"),
    errno.ETIMEDOUT: ("the network folder does not answer", f"Check the network; {_AGAIN}"),
}

_KINDS: Final = (
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISFIFO, "a named pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)


@contextlib.contextmanager
def reported(path: Path, deed: str) -> Iterator[None]:
    """Turn a system error into a `FileTrouble` about `path`.

    Args:
        path: the file as the person knows it, whichever file the error was about.
        deed: what could not be done, such as `written`.

    Raises:
        FileTrouble: the cause is the system error; `errno_of` reads its number.
    """
    try:
        yield
    except OSError as exc:
        what, advice = _WORDS.get(exc.errno or 0, (_unknown(exc), ""))
        raise FileTrouble(f"cannot be {deed}: {what}", advice, path=path) from exc
    except ValueError as exc:
        # What `os` says of a path that holds a NUL.
        raise FileTrouble(f"cannot be {deed}: that is no path", _CORRECT, path=path) from exc


def _unknown(exc: OSError) -> str:
    return os.strerror(exc.errno) if exc.errno else "the system gave no reason"


def errno_of(trouble: FileTrouble) -> int | None:
    """The system's number of what went wrong; None when pgherald itself refused."""
    return trouble.__cause__.errno if isinstance(trouble.__cause__, OSError) else None


def refuse_irregular(path: Path, found: os.stat_result) -> None:
    """Pass regular files only.

    Raises:
        FileTrouble: names what it is instead.
    """
    if stat.S_ISREG(found.st_mode):
        return
    what = next((name for test, name in _KINDS if test(found.st_mode)), "something else")
    raise FileTrouble(f"is {what}, not a file", "Name a file in the configuration.", path=path)


_ELSEWHERE: Final = "or name a file of your own as this client's `path` in the configuration"


def foreign(disk: Disk, snapshot: Snapshot) -> tuple[str, str] | None:
    """Why somebody else's file is left alone, and what to do; None where it is our own.

    Root may write everybody's files, and where there are no users nobody is foreign.
    """
    euid = disk.euid()
    if snapshot.uid is None or euid in (None, 0, snapshot.uid):
        return None
    if disk.may_write(snapshot.target.parent):
        place = shlex.quote(str(snapshot.target))
        advice = f"Make it your own: sudo chown {euid}:{disk.egid()} {place}"
    else:
        # Such as a package's folder or a mounted secret, to which a link leads.
        advice = f"Let the program that made {snapshot.target} keep it current, {_ELSEWHERE}."
    return f"belongs to user {snapshot.uid}, and pgherald runs as user {euid}", advice


def refuse_unwritable(disk: Disk, snapshot: Snapshot, *, in_place: bool = False) -> None:
    """Pass a file that may be written, as far as that can be known.

    Args:
        disk: knows.
        snapshot: the file as it was read.
        in_place: it is not replaced but changed where it is, as an SQLite database is.

    Raises:
        FileTrouble: it cannot be written.
    """
    if not disk.posix:
        return
    target = snapshot.target
    with reported(snapshot.path, "written"):
        if snapshot.uid is not None:
            if in_place:
                _refuse_closed(disk, target)
            else:
                _refuse_fixed(disk, snapshot)
        if in_place and os.path.lexists(f"{target}-wal"):
            return  # SQLite needs no further file beside it
        folder = target.parent
        while not os.path.lexists(folder):
            folder = folder.parent
        _refuse_closed(disk, folder)


def _refuse_fixed(disk: Disk, snapshot: Snapshot) -> None:
    """Pass a file in whose place another one may be put. Its own mode does not matter."""
    path, target = snapshot.path, snapshot.target
    if (why := foreign(disk, snapshot)) is not None:
        raise FileTrouble(*why, path=path)
    if disk.is_mount(target):
        raise FileTrouble(
            "cannot be written: it is mounted by itself, so it cannot be replaced",
            f"Mount the folder that it is in instead, {_ELSEWHERE}.",
            path=path,
        )
    # An owner whom the mode lets write is only stopped by the mount or by a mark such as
    # `chattr +i`, and these forbid a replacement as well.
    if disk.euid() == snapshot.uid and (snapshot.mode or 0) & stat.S_IWUSR:
        _refuse_closed(disk, target)


def _refuse_closed(disk: Disk, path: Path) -> None:
    """Pass what the system lets us write to.

    Raises:
        OSError: it does not; its number says why.
    """
    if disk.may_write(path):
        return
    try:
        found = disk.stat(path)
        if disk.is_read_only(path):
            number = errno.EROFS
        elif disk.euid() == found.st_uid and found.st_mode & stat.S_IWUSR:
            number = errno.EPERM
        else:
            number = errno.EACCES
    except FileNotFoundError:
        return  # gone a moment ago: it is planned anew
    raise OSError(number, os.strerror(number), str(path))
