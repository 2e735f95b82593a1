"""The primitive operations: each does what it says, to the machine's own disk."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

import pytest

from pgherald.files import Disk
from pgherald.files.disk import CREATE, READ


class Windows(Disk):
    """As it is where files have neither owners nor modes."""

    posix = False


DISK = Disk()


def test_where_there_are_no_owners_and_modes(tmp_path: Path) -> None:
    """Nothing is asked of a system that does not know it."""
    disk = Windows()
    assert disk.euid() is None
    disk.fchmod(-1, 0o600)
    disk.fchown(-1, 0, 0)
    disk.fsync_folder(tmp_path / "none")


def test_a_pipe_is_opened_without_waiting(tmp_path: Path) -> None:
    """What turns out to be no file keeps nobody waiting, and a link is not followed."""
    os.mkfifo(tmp_path / "pipe")
    os.close(DISK.open(tmp_path / "pipe", READ))
    (tmp_path / "link").symlink_to(tmp_path / "pipe")
    with pytest.raises(OSError, match=os.strerror(errno.ELOOP)):
        DISK.open(tmp_path / "link", READ)
    assert READ == os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_NOFOLLOW


def test_a_new_file_is_new_and_private(tmp_path: Path) -> None:
    """What is there already, be it a dangling link, is not opened as new; a new one is 0600."""
    old = os.umask(0)
    try:
        os.close(DISK.open(tmp_path / "new", CREATE))
    finally:
        os.umask(old)
    assert stat.S_IMODE((tmp_path / "new").stat().st_mode) == 0o600
    (tmp_path / "link").symlink_to(tmp_path / "none")
    for there in ("new", "link"):
        with pytest.raises(FileExistsError):
            DISK.open(tmp_path / there, CREATE)
    assert not (tmp_path / "none").exists()
    assert CREATE == os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
