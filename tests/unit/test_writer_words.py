"""The one writer: what exactly is said when a file cannot be read or written, and what is closed."""

from __future__ import annotations

import dataclasses
import errno
import os
import re
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from pgherald.errors import ChangedMeanwhile, ClientError, FileTrouble
from pgherald.files import Disk, Files, writer
from pgherald.files.snapshot import Staged
from support.disks import FailingDisk, TracingDisk

OLD = b"old CANARY-old\n"
NEW = b"new CANARY-new\n"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "client" / ".pgpass"
    path.parent.mkdir()
    path.write_bytes(OLD)
    path.chmod(0o644)
    return path


def refused(deed: Callable[[], object]) -> ClientError:
    with pytest.raises(ClientError) as caught:
        deed()
    return caught.value


@pytest.mark.parametrize(
    ("only", "deed", "said"),
    [
        ("realpath", lambda files, path: files.read(path), "cannot be read"),
        ("open", lambda files, path: files.read(path), "cannot be read"),
        ("read", lambda files, path: files.read(path), "cannot be read"),
        ("realpath", lambda files, path: files.lock(path).__enter__(), "cannot be locked"),
    ],
)
def test_what_could_not_be_read_is_said(
    path: Path, only: str, deed: Callable[[Files, Path], object], said: str
) -> None:
    """The person's file is named, and what was to be done with it."""
    files = Files(path.parent / "locks", FailingDisk(1, errno.EIO, only=only))
    error = refused(lambda: deed(files, path))
    assert error.reason == f"{said}: the disk reports a fault"
    assert error.path == path


@pytest.mark.parametrize(
    ("only", "deed", "said"),
    [
        ("open", lambda files, old: files.stage(old, NEW, private=True), "cannot be written"),
        ("replace", lambda files, old: files.replace(old, NEW, private=True), "cannot be written"),
        ("exchange", lambda files, old: files.replace(old, NEW, private=True), "cannot be written"),
        ("lstat", lambda files, old: files.replace(old, NEW, private=True), "cannot be read"),
        ("fchmod", lambda files, old: files.tighten(old), "cannot be made private"),
        ("replace", lambda files, old: files.remove(old), "cannot be deleted"),
    ],
)
def test_what_could_not_be_written_is_said(
    path: Path, only: str, deed: Callable[[Files, object], object], said: str
) -> None:
    """Likewise; nothing lies about afterwards, and no descriptor stays open."""
    old = Files(path.parent / "locks").read(path)
    disk = FailingDisk(1, errno.EIO, only=only)
    before = len(list(Path("/proc/self/fd").iterdir()))
    error = refused(lambda: deed(Files(path.parent / "locks", disk), old))
    assert error.reason == f"{said}: the disk reports a fault"
    assert error.path == path
    assert [name.name for name in path.parent.iterdir()] == [".pgpass"]
    assert len(list(Path("/proc/self/fd").iterdir())) == before


@pytest.mark.parametrize(
    "deed",
    [
        lambda files, old: files.verify(old),
        lambda files, old: files.replace(old, NEW, private=True),
        lambda files, old: files.tighten(old),
        lambda files, old: files.remove(old),
    ],
)
def test_what_another_program_changed_is_said(
    path: Path, deed: Callable[[Files, object], object]
) -> None:
    """A file that is not what it was is named, and left as it is."""
    files = Files(path.parent / "locks")
    old = files.read(path)
    path.write_bytes(b"theirs")
    error = refused(lambda: deed(files, old))
    assert isinstance(error, ChangedMeanwhile)
    assert (error.reason, error.path) == ("was changed by another program", path)
    assert path.read_bytes() == b"theirs"
    assert stat.S_IMODE(path.stat().st_mode) == 0o644


def test_a_change_right_after_it_was_put_in_place_is_said(path: Path) -> None:
    """What stands there then is another program's."""

    class Quick(Disk):
        def exchange(self, one: Path, other: Path) -> None:
            super().exchange(one, other)
            other.write_bytes(b"theirs")

    files = Files(path.parent / "locks", Quick())
    error = refused(lambda: files.replace(files.read(path), NEW, private=True))
    assert (error.reason, error.path) == ("was changed by another program", path)


def test_a_file_that_never_rests_is_given_up(path: Path) -> None:
    """After five readings, and it is said why."""

    class Restless(Disk):
        readings = 0

        def read(self, fd: int, size: int) -> bytes:
            self.readings += 1
            found = super().read(fd, size)
            if found:
                path.chmod(0o600 + self.readings)
            return found

    disk = Restless()
    error = refused(lambda: Files(path.parent / "locks", disk).read(path))
    assert (error.reason, error.path) == ("is being written by another program", path)
    assert disk.readings == 10


def test_a_huge_file_is_refused_in_words(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The limit is named in MiB; real files have far less."""
    assert writer.SIZE_LIMIT == 64 * 1024 * 1024
    monkeypatch.setattr(writer, "SIZE_LIMIT", 2 * 1024 * 1024)
    files = Files(path.parent / "locks")
    path.write_bytes(b"x" * 2 * 1024 * 1024)
    content = files.read(path).content
    assert content is not None
    assert len(content) == 2 * 1024 * 1024
    path.write_bytes(b"x" * (2 * 1024 * 1024 + 1))
    error = refused(lambda: files.read(path))
    assert error.reason == "is larger than 2 MiB, so it is hardly a client's file"
    assert error.advice == "Correct the path in the configuration."
    assert error.path == path


def test_a_link_that_leads_nowhere_is_named(tmp_path: Path) -> None:
    """The link is, be it the file or a folder above it; a plain missing folder is none."""
    (tmp_path / "link").symlink_to(tmp_path / "gone" / "deeper")
    files = Files(tmp_path / "locks")
    for name in ("link", "link/file", "link/deep/file"):
        path = tmp_path / name
        error = refused(lambda path=path: files.read(path))  # type: ignore[misc]  # bound at once
        assert error.reason == (
            f"cannot be found: {tmp_path / 'link'} is a link to a place that is not there"
        )
        assert error.advice == "Connect or mount what it leads to, or correct the link."
        assert error.path == path
    assert files.read(tmp_path / "no" / "such" / "file").content is None
    (tmp_path / "real").mkdir()
    (tmp_path / "folder").symlink_to("real")
    inside = files.read(tmp_path / "folder" / "no" / "such" / "file")
    assert inside.target == tmp_path / "real" / "no" / "such" / "file"
    (tmp_path / "ok").symlink_to("new")
    assert files.read(tmp_path / "ok").target == tmp_path / "new"


def test_a_drive_that_is_not_there_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on Windows."""
    monkeypatch.setattr(os.path, "lexists", lambda _: False)
    path = tmp_path / "gone" / ".pgpass"
    error = refused(lambda: Files(tmp_path / "locks").read(path))
    assert error.reason == "cannot be found: its drive is not there"
    assert (error.advice, error.path) == ("Connect the drive.", path)


def test_somebody_elses_file_is_refused_in_words(path: Path) -> None:
    """Both users are named; nobody knows the owner of what is not there, and root may do all."""

    class Another(Disk):
        user: int | None = 4321

        def euid(self) -> int | None:
            return self.user

    disk = Another()
    files = Files(path.parent / "locks", disk)
    old = files.read(path)
    error = refused(lambda: files.stage(old, NEW, private=True))
    assert error.reason == f"belongs to user {os.geteuid()}, and pgherald runs as user 4321"
    assert error.advice == f"Make it your own: sudo chown 4321:{os.getegid()} {path}"
    assert error.path == path
    assert refused(lambda: files.refuse_unwritable(old)).reason == error.reason
    files.discard(files.stage(files.read(path.with_name("new")), NEW, private=True))
    for user in (0, None, os.geteuid()):
        disk.user = user
        files.discard(files.stage(old, NEW, private=True))


def test_an_owners_file_is_written_by_its_owner(path: Path) -> None:
    """Whoever that is; the new file is theirs as well, and keeps its group."""
    if os.geteuid():
        pytest.skip("only root can give a file away")
    os.chown(path, 4321, 8765)

    class Owner(Disk):
        def euid(self) -> int | None:
            return 4321

    files = Files(path.parent / "locks", Owner())
    after = files.replace(files.read(path), NEW, private=True)
    assert (after.uid, after.gid, after.mode) == (4321, 8765, 0o600)


def test_an_owner_that_cannot_be_kept_is_an_error(path: Path) -> None:
    """Whoever it is, and however private the file; a group alone that nobody else is let in by is none."""

    class Held(Disk):
        def euid(self) -> int | None:
            return None

        def fchown(self, fd: int, uid: int, gid: int) -> None:
            raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))

    files = Files(path.parent / "locks", Held())
    old = files.read(path)
    stranger = dataclasses.replace(old, uid=4321)
    refused(lambda: files.stage(stranger, NEW, private=True))
    colleagues = dataclasses.replace(old, gid=8765, mode=0o640)
    refused(lambda: files.stage(colleagues, NEW, private=False))
    files.discard(files.stage(colleagues, NEW, private=True))


def test_where_files_have_no_owners(path: Path) -> None:
    """A file is told by its identity all the same."""

    class Windows(Disk):
        posix = False

    files = Files(path.parent / "locks", Windows())
    old = files.read(path)
    assert old.identity == Files(path.parent / "locks").read(path).identity
    assert (old.mode, old.uid, old.gid) == (None, None, None)
    assert files.replace(old, NEW, private=True).content == NEW


def test_equal_content_is_closed_to_others_only_if_it_is_private(path: Path) -> None:
    """A file without passwords keeps its mode."""
    files = Files(path.parent / "locks")
    old = files.read(path)
    assert files.replace(old, OLD, private=False) is old
    assert stat.S_IMODE(path.stat().st_mode) == 0o644
    assert files.replace(old, OLD, private=True).mode == 0o600


def test_what_was_read_is_closed(path: Path) -> None:
    """No descriptor stays open, and no more is read than there is."""
    disk = TracingDisk()
    files = Files(path.parent / "locks", disk)
    files.tighten(files.read(path))
    assert disk.names().count("open") == disk.names().count("close") == 3


def test_what_was_written_is_closed(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The new file too, whether or not it could be written."""
    disk = TracingDisk()
    files = Files(path.parent / "locks", disk)
    old = files.read(path)
    files.discard(files.stage(old, NEW, private=True))

    def broken(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(disk, "fsync", broken)
    refused(lambda: files.stage(old, NEW, private=True))
    assert disk.names().count("open") == disk.names().count("close") == 3


def test_parts_that_are_handed_in_are_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The token, the disk, the folder of locks and the waiting are those that were given."""
    slept: list[float] = []
    disk = TracingDisk()
    files = Files(tmp_path / "locks", disk, sleep=slept.append, token=lambda: "0" * 16)
    staged = files.stage(files.read(tmp_path / "a"), NEW, private=True)
    assert staged == Staged(tmp_path / "a", tmp_path / f".a.pgherald-{'0' * 16}.tmp", NEW)
    with files.lock(tmp_path / "a"):
        (lock,) = (tmp_path / "locks").iterdir()
    assert re.fullmatch(r"[0-9a-f]+\.lock", lock.name)

    class Busy(PermissionError):
        winerror = 32

    def busy(*_: object) -> None:
        raise Busy

    monkeypatch.setattr(disk, "replace", busy)  # Windows, for a while
    (tmp_path / "a").write_bytes(OLD)
    with pytest.raises(FileTrouble):
        files.install(staged, over=files.read(tmp_path / "a"))
    assert slept == [0.02, 0.05, 0.1, 0.2, 0.4, 0.8]


def test_an_owner_that_is_right_is_left_alone(path: Path) -> None:
    """Owner and group are set only where they differ: a system may refuse even what changes nothing."""
    disk = TracingDisk()
    files = Files(path.parent / "locks", disk)
    files.discard(files.stage(files.read(path), NEW, private=True))
    assert "fchown" not in disk.names()
