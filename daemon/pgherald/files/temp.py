"""Temporary files: written beside their target, complete and synced before anyone renames them.

A name such as `.pgpass` gives `..pgpass.pgherald-0123456789abcdef.tmp`: hidden, recognisable
as ours, and recognisable as that file's. One that ends in `.old` is complete: it holds what
is about to take the target's place, or what was pushed out of it. The first kind is ours
alone; the second may be a file that somebody is still writing.
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Final

from pgherald.files.disk import CREATE, Disk

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


def is_temp_of(target: Path, name: str) -> bool:
    """Whether `name`, in the target's folder, is a temporary file of ours for it."""
    return _is_ours(target, name, "tmp")


def aside_path(temp: Path) -> Path:
    """The name under which a temporary file trades places with its target."""
    return temp.with_suffix(".old")


def is_aside_of(target: Path, name: str) -> bool:
    """Whether `name`, in the target's folder, was pushed out of the target's place by us."""
    return _is_ours(target, name, "old")


def _is_ours(target: Path, name: str, end: str) -> bool:
    stem = re.escape(target.name[:_NAME_LIMIT])
    return re.fullmatch(rf"\.{stem}\.pgherald-[0-9a-f]{{16}}\.{end}", name, re.DOTALL) is not None


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
