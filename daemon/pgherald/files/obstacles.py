"""What surely keeps a place from being written, found out without writing anything.

A commit asks this before it writes its journal, and a plan before a login is proven for the
file's sake. Not every obstacle can be known beforehand: a full disk only shows itself when
it is written to.
"""

from __future__ import annotations

import errno
import os
import shlex
import stat
from pathlib import Path
from typing import Final

from pgherald.errors import FileTrouble
from pgherald.files.disk import Disk
from pgherald.files.snapshot import Snapshot
from pgherald.files.words import reported

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
        OSError: it does not; its number tells why.
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
