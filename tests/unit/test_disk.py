"""The primitive operations: each does what it says, to the machine's own disk."""

from __future__ import annotations

import contextlib
import errno
import os
import sqlite3
import stat
from importlib.util import module_from_spec
from pathlib import Path

import pytest

from pgherald.files import Disk, disk
from pgherald.files.disk import CREATE, READ


class Windows(Disk):
    """As it is where files have neither owners nor modes."""

    posix = False


DISK = Disk()


def descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def test_where_there_are_no_owners_and_modes(tmp_path: Path) -> None:
    """Nothing is asked of a system that does not know it."""
    disk = Windows()
    assert disk.euid() is None
    disk.fchmod(-1, 0o600)
    disk.fchown(-1, 0, 0)
    disk.fsync_folder(tmp_path / "none")


def test_how_files_are_opened(monkeypatch: pytest.MonkeyPatch) -> None:
    """With all that the system has against pipes, terminals and links, and as they are, not as text."""
    safe = os.O_NONBLOCK | os.O_NOCTTY | os.O_NOFOLLOW
    new = os.O_WRONLY | os.O_CREAT | os.O_EXCL
    assert os.O_RDONLY | safe == READ
    assert new | os.O_NOFOLLOW == CREATE
    # As on Windows, where it is asked anew what there is.
    for name in ("O_NONBLOCK", "O_NOCTTY", "O_NOFOLLOW"):
        monkeypatch.delattr(os, name)
    monkeypatch.setattr(os, "O_BINARY", 1 << 30, raising=False)
    spec = disk.__spec__
    assert spec is not None
    assert spec.loader is not None
    there = module_from_spec(spec)
    spec.loader.exec_module(there)
    found = (there.READ, there.CREATE, there._BINARY)
    assert found == (os.O_RDONLY, new, 1 << 30)


def test_owners_and_modes(tmp_path: Path) -> None:
    """Where there are any, they are asked for and set."""
    assert DISK.euid() == os.geteuid()
    fd = os.open(tmp_path / "a", os.O_CREAT | os.O_RDWR)
    try:
        DISK.fchmod(fd, 0o640)
        DISK.fchown(fd, os.geteuid(), os.getegid())
        assert stat.S_IMODE(DISK.fstat(fd).st_mode) == 0o640
    finally:
        os.close(fd)
    with pytest.raises(OSError, match=os.strerror(errno.EBADF)):
        DISK.fchmod(fd, 0o600)
    with pytest.raises(OSError, match=os.strerror(errno.EBADF)):
        DISK.fchown(fd, 0, 0)


def test_what_is_closed_is_closed(tmp_path: Path) -> None:
    """A descriptor goes back to the system."""
    fd = DISK.open(tmp_path / "a", os.O_CREAT | os.O_WRONLY)
    DISK.close(fd)
    with pytest.raises(OSError, match=os.strerror(errno.EBADF)):
        os.fstat(fd)


def test_a_sync_asks_the_system() -> None:
    """What cannot be synced, as a pipe cannot, is the system's to refuse."""
    ends = os.pipe()
    try:
        with pytest.raises(OSError, match=os.strerror(errno.EINVAL)):
            DISK.fsync(ends[1])
    finally:
        for end in ends:
            os.close(end)


def test_a_folder_is_synced_and_closed_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is the folder that is synced; a file system that cannot do it is no trouble, a fault is."""
    before = descriptors()
    synced = []

    def look(fd: int) -> None:
        synced.append(os.fstat(fd).st_ino)

    monkeypatch.setattr(os, "fsync", look)
    DISK.fsync_folder(tmp_path)
    assert synced == [tmp_path.stat().st_ino]
    (tmp_path / "file").touch()
    with pytest.raises(NotADirectoryError):
        DISK.fsync_folder(tmp_path / "file")
    for number in (errno.EINVAL, errno.ENOTSUP, errno.EIO):

        def refuse(_: int, number: int = number) -> None:
            raise OSError(number, os.strerror(number))

        monkeypatch.setattr(os, "fsync", refuse)
        fault = number == errno.EIO
        with pytest.raises(OSError, match="error") if fault else contextlib.nullcontext():
            DISK.fsync_folder(tmp_path)
    assert descriptors() == before


def test_no_database_is_made(tmp_path: Path) -> None:
    """Where there is no file there is an error, and still no file."""
    with pytest.raises(sqlite3.OperationalError):
        DISK.sqlite_open(tmp_path / "none.db", 0.1)
    assert list(tmp_path.iterdir()) == []


def test_how_a_database_is_opened(tmp_path: Path) -> None:
    """To write, waiting for as long as was said, with transactions that are begun by hand."""
    path = tmp_path / "a ? #%.db"
    with contextlib.closing(sqlite3.connect(path)) as made, made:
        made.execute("CREATE TABLE t (x TEXT)")
        made.execute("INSERT INTO t VALUES (CAST(x'ff' AS TEXT))")
    with contextlib.closing(DISK.sqlite_open(path, 1.25)) as connection:
        assert connection.isolation_level is None
        assert DISK.sqlite_execute(connection, "PRAGMA busy_timeout", ()) == [(1250,)]
        DISK.sqlite_execute(connection, "INSERT INTO t VALUES (?)", ("y",))
        assert not connection.in_transaction
        assert DISK.sqlite_execute(connection, "SELECT x FROM t", ()) == [("\udcff",), ("y",)]


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
