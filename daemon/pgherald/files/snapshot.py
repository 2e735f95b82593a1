"""What a file was when it was read, and new content that lies beside it, complete and synced.

A name such as `.pgpass` gives `..pgpass.pgherald-0123456789abcdef.tmp`: hidden, recognisable
as ours, and recognisable as that file's. One that ends in `.old` is complete: it holds what
is about to take the target's place, or what was pushed out of it. The first kind is ours
alone; the second may be a file that somebody is still writing.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import re
import stat
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from pgherald.files.disk import CREATE, Disk

#: Mode bits that let anyone but the owner at a file.
OTHERS = 0o077


@dataclass(frozen=True, slots=True)
class Identity:
    """Changes whenever the file is replaced or written."""

    dev: int
    ino: int
    size: int
    mtime_ns: int

    @classmethod
    def of(cls, found: os.stat_result) -> Identity:
        """The identity in a stat result."""
        return cls(found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns)


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A client's file as it was read. The content, which may hold secrets, is not shown.

    Attributes:
        path: the file as the configuration names it, absolute.
        target: the same without symbolic links: what is really read and written.
        content: its bytes; None when there is no file.
        identity: shows whether it is still the same; None when there is no file.
        mode: permission bits; None when there is no file, or no such thing (Windows).
        uid: owner; None likewise.
        gid: group; None likewise.
    """

    path: Path
    target: Path
    content: bytes | None = field(repr=False)
    identity: Identity | None = None
    mode: int | None = None
    uid: int | None = None
    gid: int | None = None

    def is_at(self, found: os.stat_result) -> bool:
        """Whether a stat result, of whatever name, is of this file, unwritten since."""
        mode = None if self.mode is None else stat.S_IMODE(found.st_mode)
        return (self.identity, self.mode) == (Identity.of(found), mode)

    def holding(self, content: bytes | None) -> Snapshot:
        """The same place with another content."""
        return dataclasses.replace(self, content=content)

    @property
    def loose(self) -> bool:
        """Whether anyone but the owner may get at the file."""
        return self.mode is not None and bool(self.mode & OTHERS)

    def mode_for(self, *, private: bool) -> int:
        """The mode that new content gets: the old one, made private where it must be."""
        if self.mode is None:
            return 0o600
        return self.mode & ~OTHERS if private else self.mode


@dataclass(frozen=True, slots=True)
class Staged:
    """New content, one step away from its place.

    Attributes:
        target: the place.
        temp: where it lies complete, on the target's own disk, one rename away; None for
            rows, which are changed in place.
        content: the content.
    """

    target: Path
    temp: Path | None
    content: bytes = field(repr=False)

    @property
    def aside(self) -> Path:
        """Where that which it replaces is kept."""
        assert self.temp is not None  # a file's always lies somewhere
        return aside_path(self.temp)


def digest(content: bytes | None) -> str | None:
    """SHA-256 in hex; None for no file."""
    import hashlib  # brings OpenSSL along, which quick commands do without

    return None if content is None else hashlib.sha256(content).hexdigest()


#: Characters of the target's name that the temporary name repeats. Four bytes each at the
#: most, so that the whole stays below the 255 bytes that file systems allow.
_NAME_LIMIT: Final = 50

_TRIES: Final = 10


def random_token() -> str:
    """Sixteen hex digits, unlike any before."""
    return os.urandom(8).hex()


def temp_path(target: Path, token: str) -> Path:
    """Where new content for `target` is written first."""
    return target.with_name(f".{target.name[:_NAME_LIMIT]}.pgherald-{token}.tmp")


def aside_path(temp: Path) -> Path:
    """The name under which a temporary file trades places with its target."""
    return temp.with_suffix(".old")


def leftover(target: Path, name: str) -> str | None:
    """What a name in the target's folder is of ours: `tmp`, or `old` if it was pushed out; or None."""
    stem = re.escape(target.name[:_NAME_LIMIT])
    found = re.fullmatch(rf"\.{stem}\.pgherald-[0-9a-f]{{16}}\.(tmp|old)", name, re.DOTALL)
    return found and found[1]


def write_temp(
    disk: Disk,
    target: Path,
    data: bytes,
    finish: Callable[[int], None],
    token: Callable[[], str] = random_token,
) -> Path:
    """Write a new temporary file beside `target` and sync it; nothing is left on failure.

    Args:
        disk: does it.
        target: whose content this is to become.
        data: the content.
        finish: gives the open file its owner and mode, once the content is there.
        token: makes the name unlike any before.

    Raises:
        OSError: as the system says.
    """
    for _ in range(_TRIES):
        temp = temp_path(target, token())
        # A name that is taken was never ours to write or to delete.
        with contextlib.suppress(FileExistsError):
            write_new(disk, temp, data, finish)
            return temp
    raise FileExistsError(f"{_TRIES} temporary names are taken beside {target}")


def write_new(disk: Disk, path: Path, data: bytes, finish: Callable[[int], None]) -> None:
    """Create a file, readable by nobody else from its first byte, and sync it.

    Raises:
        OSError: as the system says; then the file is gone again, unless it was there before.
    """
    fd = disk.open(path, CREATE, 0o600)
    try:
        try:
            write_all(disk, fd, data)
            finish(fd)
            disk.fsync(fd)
        finally:
            disk.close(fd)
    except BaseException:
        drop(disk, path)
        raise


def write_all(disk: Disk, fd: int, data: bytes) -> None:
    """Write every byte, however few the system takes at a time."""
    rest = memoryview(data)
    while rest:
        rest = rest[disk.write(fd, rest) :]


def drop(disk: Disk, path: Path) -> None:
    """Delete what was begun, as far as possible: the failure that led here matters more."""
    with contextlib.suppress(OSError):
        disk.unlink(path)
