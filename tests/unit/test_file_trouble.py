"""What surely keeps a file from being written, and what to do about it."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from pgherald.errors import FileTrouble
from pgherald.files import Disk, Files, Identity, Snapshot
from pgherald.files.rows import Rows

OURS, THEIRS = 4321, 0


class Closed(Disk):
    """A disk on which some places cannot be written."""

    def __init__(self, *closed: Path) -> None:
        self.closed = closed
        self.read_only = False
        self.mounts: tuple[Path, ...] = ()

    def euid(self) -> int:
        return OURS

    def egid(self) -> int:
        return 8765

    def may_write(self, path: Path) -> bool:
        return path not in self.closed

    def is_read_only(self, path: Path) -> bool:
        return self.read_only

    def is_mount(self, path: Path) -> bool:
        return path in self.mounts


class Mine(Closed):
    """Such a disk of the user who runs this test."""

    def euid(self) -> int:
        return os.geteuid()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    made = tmp_path / "home" / "a client"
    made.parent.mkdir()
    made.write_bytes(b"")
    return made


def refused(disk: Disk, path: Path, *, uid: int | None = OURS, mode: int = 0o600) -> str:
    """Why a file is refused, and the advice; empty when it is not."""
    snapshot = Snapshot(path, path, b"", None, mode, uid, uid)
    try:
        Files(path.parent, disk).refuse_unwritable(snapshot)
    except FileTrouble as exc:
        return f"{exc.reason} / {exc.advice}" if exc.path == path else f"{exc.path} is named"
    return ""


def test_a_file_that_may_be_replaced_passes(path: Path) -> None:
    """Its own mode does not matter, nor that it is not there yet, nor its folder."""
    disk = Closed(path)
    assert refused(Closed(), path) == ""
    assert refused(disk, path, mode=0o400) == ""
    assert refused(Closed(), path.parent / "not" / "there", uid=None) == ""


def test_somebody_elses_file_comes_with_the_command_that_mends_it(path: Path) -> None:
    """In a folder of our own it can be made our own; elsewhere another program keeps it."""
    belongs = f"belongs to user {THEIRS}, and pgherald runs as user {OURS} / "
    assert refused(Closed(), path, uid=THEIRS) == (
        f"{belongs}Make it your own: sudo chown {OURS}:8765 '{path}'"
    )
    assert refused(Closed(path.parent), path, uid=THEIRS) == (
        f"{belongs}Let the program that made {path} keep it current, or name a file of your own "
        "as this client's `path` in the configuration."
    )


def test_the_reason_is_the_systems(path: Path) -> None:
    """A mount that can only be read, or of the file itself; a mark; or the rights of others."""
    denied, marked = "permission denied", "the system does not allow it"
    folder, me = path.parent, os.geteuid()
    disk = Closed(path)
    disk.read_only = True
    assert "the disk can only be read" in refused(disk, path)
    assert marked in refused(Mine(path), path, uid=me)
    for place in (path, folder / "not" / "there"):
        there = place == path
        assert denied in refused(Closed(folder), place, uid=OURS if there else None)
        assert marked in refused(Mine(folder), place, uid=me if there else None)
    disk = Closed(folder)
    disk.read_only = True
    assert "the disk can only be read" in refused(disk, path)
    disk.posix = False  # as on Windows, where there are no users: it is tried
    assert refused(disk, path, uid=None) == ""
    disk = Closed()
    disk.mounts = (path,)
    assert "is mounted by itself" in refused(disk, path)
    assert "Mount the folder" in refused(disk, path)


def test_a_database_is_changed_where_it_is(path: Path) -> None:
    """It has to be writable itself, whoever owns it, and so has its folder for the journal."""

    def refused_rows(disk: Disk, uid: int | None = THEIRS) -> str:
        try:
            Rows(disk).refuse_unwritable(Snapshot(path, path, b"{}", None, 0o660, uid, uid))
        except FileTrouble as exc:
            return exc.reason
        return ""

    assert refused_rows(Closed()) == ""
    assert refused_rows(Closed(path)) == "cannot be written: permission denied"
    assert refused_rows(Closed(path.parent)) == "cannot be written: permission denied"
    path.with_name(f"{path.name}-wal").touch()
    assert refused_rows(Closed(path.parent)) == ""
    assert refused_rows(Closed(path)) == "cannot be written: permission denied"


def test_a_loose_file_of_somebody_elses_is_named_as_that(path: Path) -> None:
    """It is no fault of the system's that its mode stays."""
    before = Identity.of(path.stat()), path.stat().st_mode
    files = Files(path.parent, Closed())
    snapshot = Snapshot(path, path, b"", None, 0o644, THEIRS, THEIRS)
    with pytest.raises(FileTrouble) as caught:
        files.tighten(snapshot)
    assert caught.value.reason == (
        f"can be read by others, and belongs to user {THEIRS}, and pgherald runs as user {OURS}"
    )
    assert "sudo chown" in caught.value.advice
    assert (Identity.of(path.stat()), path.stat().st_mode) == before


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells what is mounted")
def test_the_real_disk_knows_its_mounts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As /proc/self/mountinfo has them; where there is no such file, as on macOS, none is known."""
    disk = Disk()
    assert disk.is_mount(Path("/proc"))
    assert not disk.is_mount(tmp_path / "a client")
    assert not disk.is_read_only(tmp_path)
    assert disk.may_write(tmp_path)
    assert not disk.may_write(tmp_path / "not there")

    def gone(_: Path) -> bytes:
        raise FileNotFoundError

    monkeypatch.setattr(Path, "read_bytes", gone)
    assert not Disk().is_mount(Path("/proc"))
