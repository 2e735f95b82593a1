"""Somebody else on this machine, who tries to read each file the moment it appears.

    with looking(home) as onlooker:      # as another user, where this process may become one
        ...
    assert onlooker.read == set()        # what could be opened
    assert onlooker.open_modes == set()  # what its mode would have let others open

The kernel tells of each file by inotify(7), so that even a file that lives for a millisecond
is tried.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import select
import stat
import struct
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

NOBODY: Final = 65534

#: IN_MODIFY, IN_ATTRIB, IN_CLOSE_WRITE, IN_MOVED_TO, IN_CREATE (inotify(7)). Not IN_OPEN: it opens.
_EVENTS: Final = 0x2 | 0x4 | 0x8 | 0x80 | 0x100
_HEAD: Final = struct.Struct("iIII")


@dataclass
class Onlooker:
    """What somebody else found.

    Attributes:
        events: how many files it was told of.
        read: names of those that it could open.
        open_modes: names of those with a mode that lets others in, at any moment it looked.
    """

    events: int = 0
    read: set[str] = field(default_factory=set)
    open_modes: set[str] = field(default_factory=set)


@contextlib.contextmanager
def looking(*folders: Path) -> Iterator[Onlooker]:
    """Look at what happens in folders until the block ends.

    As another user where this process is root's; else as this one, by modes alone.
    """
    found = Onlooker()
    with tempfile.TemporaryFile() as notes:
        child = subprocess.Popen(
            [sys.executable, __file__, *map(str, folders)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=notes,
        )
        assert child.stdin is not None
        assert child.stdout is not None
        assert child.stdout.readline() == b"ready\n"
        try:
            yield found
        finally:
            child.stdin.close()  # it looks at what it has been told of, and ends
            child.wait(timeout=60)
            child.stdout.close()
        notes.seek(0)
        for line in notes.read().decode().splitlines():
            kind, _, name = line.partition(" ")
            if kind == "event":
                found.events += 1
            else:
                (found.read if kind == "read" else found.open_modes).add(name)
    assert child.returncode == 0


def _look(folders: list[Path]) -> None:
    """Be the onlooker: notes go to stderr, until stdin ends."""
    libc = ctypes.CDLL(None, use_errno=True)
    queue = libc.inotify_init1(0)
    watched = {libc.inotify_add_watch(queue, bytes(f), _EVENTS): f for f in folders}
    other = os.geteuid() == 0
    if other:
        os.setgroups([])
        os.setresgid(NOBODY, NOBODY, NOBODY)
        os.setresuid(NOBODY, NOBODY, NOBODY)
    print("ready", flush=True)  # noqa: T201 – the parent waits for it
    while True:
        ready, _, _ = select.select([queue, 0], [], [])
        if queue not in ready:
            return
        for where, name in _events(os.read(queue, 65_536)):
            _try(watched[where] / name, 2, other=other)


def _try(path: Path, writer: int, *, other: bool) -> None:
    os.write(writer, f"event {path.name}\n".encode())
    with contextlib.suppress(OSError):
        mode = path.lstat().st_mode
        if stat.S_ISREG(mode) and mode & 0o077:
            os.write(writer, f"mode {path.name}\n".encode())
    if other:
        with contextlib.suppress(OSError):
            os.close(os.open(path, os.O_RDONLY | os.O_NONBLOCK))
            os.write(writer, f"read {path.name}\n".encode())


def _events(raw: bytes) -> Iterator[tuple[int, str]]:
    at = 0
    while at < len(raw):
        where, _mask, _cookie, length = _HEAD.unpack_from(raw, at)
        name = raw[at + _HEAD.size : at + _HEAD.size + length].rstrip(b"\0")
        at += _HEAD.size + length
        if where >= 0 and name:
            yield where, os.fsdecode(name)


if __name__ == "__main__":
    _look([Path(name) for name in sys.argv[1:]])
