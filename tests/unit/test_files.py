"""The one writer: what it reads, what it refuses, what it leaves as it was."""

from __future__ import annotations

import errno
import os
import socket
import stat
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from pgherald.errors import ChangedMeanwhile, FileTrouble
from pgherald.files import Disk, Files, Identity, Snapshot, errno_of, writer
from pgherald.files.kept import GRACE
from support.disks import NOBODY, SteppedDisk, TracingDisk

OLD = b"old CANARY-old\n"
NEW = b"new CANARY-new\n"

#: All that may change without the content being touched.
WRITES = {"write", "replace", "exchange", "link", "unlink", "mkdir", "fchmod", "fchown"}


@pytest.fixture
def files(tmp_path: Path) -> Files:
    return Files(tmp_path / "locks")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A client's file, private."""
    path = tmp_path / "client" / ".pgpass"
    path.parent.mkdir()
    path.write_bytes(OLD)
    path.chmod(0o600)
    return path


def mode(path: Path) -> int:
    return stat.S_IMODE(path.lstat().st_mode)


def temps(folder: Path) -> list[Path]:
    return [path for path in folder.iterdir() if ".pgherald-" in path.name]


class TestReading:
    def test_a_file_is_read_with_its_content_mode_and_owner(self, files: Files, path: Path) -> None:
        """A snapshot tells all that a later replacement has to keep."""
        path.chmod(0o640)
        snapshot = files.read(path)
        assert snapshot.content == OLD
        assert (snapshot.path, snapshot.target) == (path, path)
        assert (snapshot.mode, snapshot.uid) == (0o640, os.geteuid())
        assert snapshot.identity is not None
        assert snapshot.identity.size == len(OLD)

    def test_a_missing_file_is_no_error(self, files: Files, tmp_path: Path) -> None:
        """A client that is not there yet can be planned, even in folders that are not there."""
        snapshot = files.read(tmp_path / "not" / "yet" / "there")
        assert snapshot == Snapshot(snapshot.path, snapshot.path, None)
        assert not snapshot.loose

    def test_a_link_to_a_missing_file_is_a_file_to_be(self, files: Files, path: Path) -> None:
        """A dangling link into a folder that exists says where the file shall be made."""
        path.unlink()
        path.symlink_to("elsewhere")
        snapshot = files.read(path)
        assert snapshot.content is None
        files.replace(snapshot, NEW, private=True)
        assert path.is_symlink()
        assert (path.parent / "elsewhere").read_bytes() == NEW

    @pytest.mark.parametrize("name", ["link", "link/file", "link/deep/file"])
    def test_a_link_to_a_missing_folder_is_refused(
        self, files: Files, tmp_path: Path, name: str
    ) -> None:
        """No folder is made where a disk may just not be mounted."""
        gone = tmp_path / "gone" / "deeper"
        (tmp_path / "link").symlink_to(gone)
        with pytest.raises(FileTrouble, match="a link to a place that is not there"):
            files.read(tmp_path / name)
        assert not gone.parent.exists()

    def test_links_in_a_circle_are_named(self, files: Files, tmp_path: Path) -> None:
        """A circle of links ends in an error, not in a hang."""
        (tmp_path / "a").symlink_to("b")
        (tmp_path / "b").symlink_to("a")
        with pytest.raises(FileTrouble, match="in a circle") as caught:
            files.read(tmp_path / "a")
        assert errno_of(caught.value) == errno.ELOOP

    @pytest.mark.parametrize("kind", ["a folder", "a named pipe", "a socket", "a device"])
    def test_what_is_no_file_is_named_and_never_waited_for(
        self, files: Files, tmp_path: Path, kind: str
    ) -> None:
        """Only regular files are clients; a pipe without a writer blocks nobody."""
        path = tmp_path / "thing"
        listener = socket.socket(socket.AF_UNIX)
        if kind == "a folder":
            path.mkdir()
        elif kind == "a named pipe":
            os.mkfifo(path)
        elif kind == "a socket":
            listener.bind(str(path))
        else:
            path = Path(os.devnull)
        with pytest.raises(FileTrouble, match=f"is {kind}, not a file") as caught:
            files.read(path)
        listener.close()
        assert errno_of(caught.value) is None

    def test_a_huge_file_is_refused(
        self, files: Files, path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A path that names a film by mistake does not fill the memory."""
        monkeypatch.setattr(writer, "_CHUNK", 4)
        monkeypatch.setattr(writer, "SIZE_LIMIT", len(OLD))
        assert files.read(path).content == OLD
        path.write_bytes(OLD + b"x")
        with pytest.raises(FileTrouble, match="larger than"):
            files.read(path)

    @pytest.mark.parametrize(
        ("swap", "words"), [(os.mkfifo, "a named pipe"), (partial(os.symlink, "x"), "in a circle")]
    )
    def test_what_takes_a_files_place_at_the_last_moment_is_refused(
        self, path: Path, swap: Callable[[Path], None], words: str
    ) -> None:
        """Between the look and the opening a pipe blocks nobody, and a link leads nowhere."""

        class SwappingDisk(SteppedDisk):
            def step(self, name: str, args: tuple[Any, ...]) -> None:
                if name == "open":
                    path.unlink()
                    swap(path)

        with pytest.raises(FileTrouble, match=words):
            Files(path.parent, SwappingDisk()).read(path)

    def test_a_file_that_changes_while_it_is_read_is_read_again(self, path: Path) -> None:
        """Nothing is planned on a half-written file."""
        changes = iter([b"one", b"two", OLD])

        class RestlessDisk(SteppedDisk):
            def step(self, name: str, args: tuple[Any, ...]) -> None:
                if name == "read" and (new := next(changes, None)):
                    path.write_bytes(new)

        assert Files(path.parent, RestlessDisk()).read(path).content == OLD

    def test_a_file_that_never_rests_is_given_up(self, path: Path) -> None:
        """A file that is written without pause ends in an error, not in a hang."""

        class RestlessDisk(SteppedDisk):
            def step(self, name: str, args: tuple[Any, ...]) -> None:
                if name == "open":
                    path.unlink(missing_ok=True)
                if name == "realpath":
                    path.write_bytes(OLD)

        with pytest.raises(ChangedMeanwhile, match="is being written"):
            Files(path.parent, RestlessDisk()).read(path)


class TestReplacing:
    def test_equal_content_is_not_written(self, path: Path) -> None:
        """A file that is right already is not touched at all."""
        disk = TracingDisk()
        files = Files(path.parent, disk)
        snapshot = files.read(path)
        assert files.replace(snapshot, OLD, private=True) is snapshot
        assert files.replace(snapshot, OLD, private=False) is snapshot
        assert not WRITES & {name for name, _ in disk.trace}

    @pytest.mark.parametrize(
        ("old", "private", "new"),
        [
            (0o600, True, 0o600),
            (0o644, True, 0o600),
            (0o400, True, 0o400),
            (0o750, True, 0o700),
            (0o644, False, 0o644),
            (0o660, False, 0o660),
            (None, True, 0o600),
            (None, False, 0o600),
        ],
    )
    def test_the_mode_stays_or_becomes_stricter(
        self, files: Files, path: Path, old: int | None, new: int, *, private: bool
    ) -> None:
        """A private file loses what others may do; else the mode stays; new files are private."""
        path.unlink() if old is None else path.chmod(old)
        files.replace(files.read(path), NEW, private=private)
        assert mode(path) == new

    @pytest.mark.parametrize("size", [0, 1, 100_000])
    def test_few_bytes_at_a_time_become_the_whole_file(self, path: Path, size: int) -> None:
        """However little the system takes at once, all of it is written."""

        class SlowDisk(Disk):
            def write(self, fd: int, data: memoryview) -> int:
                return super().write(fd, data[:4099])

        new = os.urandom(size)
        files = Files(path.parent, SlowDisk())
        files.replace(files.read(path), new, private=True)
        assert path.read_bytes() == new

    @pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
    def test_root_keeps_owner_and_group(self, files: Files, path: Path) -> None:
        """A file stays its owner's, even when root replaces it."""
        os.chown(path, 1234, 4321)
        after = files.replace(files.read(path), NEW, private=True)
        assert (after.uid, after.gid) == (1234, 4321)
        assert path.stat().st_uid == 1234

    @pytest.mark.parametrize("reason", [errno.EPERM, errno.EINVAL, errno.EIO])
    @pytest.mark.parametrize("private", [True, False])
    def test_a_group_that_cannot_be_kept_matters_where_it_may_read(
        self, path: Path, reason: int, *, private: bool
    ) -> None:
        """No group gains or loses access because we could not give the new file away."""

        class PoorDisk(Disk):
            """Nobody gives a file to another group, and temporary files have another one."""

            def fstat(self, fd: int) -> os.stat_result:
                found = super().fstat(fd)
                if found.st_size == len(NEW):
                    fields = list(found)
                    fields[stat.ST_GID] += 1
                    return os.stat_result(fields)
                return found

            def fchown(self, fd: int, uid: int, gid: int) -> None:
                assert uid == -1
                raise OSError(reason, "no")

        path.write_bytes(b"a longer old content")
        path.chmod(0o640)
        files = Files(path.parent, PoorDisk())
        if private and reason != errno.EIO:
            files.replace(files.read(path), NEW, private=True)
            assert mode(path) == 0o600
        else:
            with pytest.raises(FileTrouble, match="cannot be written"):
                files.replace(files.read(path), NEW, private=private)
            assert path.read_bytes() == b"a longer old content"

    @pytest.mark.parametrize("content", [NEW, b"another", None])
    @pytest.mark.parametrize("deed", ["replace", "remove"])
    def test_a_file_that_changed_since_is_not_replaced(
        self, files: Files, path: Path, content: bytes | None, deed: str
    ) -> None:
        """What another program wrote, or deleted, stays so; so does a touch without a change."""
        snapshot = files.read(path)
        path.unlink()
        if content is not None:
            path.write_bytes(content)
        deeds: dict[str, Callable[[Snapshot], object]] = {
            "replace": partial(files.replace, new=NEW, private=True),
            "remove": files.remove,
        }
        with pytest.raises(ChangedMeanwhile, match="changed by another program"):
            deeds[deed](snapshot)
        assert path.exists() is (content is not None)
        assert temps(path.parent) == []

    def test_a_write_within_the_same_tick_is_noticed(
        self, files: Files, path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Where the file system's time is coarse, the content itself tells of the change."""
        snapshot = files.read(path)
        path.write_bytes(OLD.upper())

        def same(_: object) -> object:
            return snapshot.identity

        monkeypatch.setattr(Identity, "of", same)
        with pytest.raises(ChangedMeanwhile):
            files.replace(snapshot, NEW, private=True)

    def test_a_change_right_after_the_rename_is_reported(self, path: Path) -> None:
        """Who overwrites us at once has won; the caller learns it and plans again."""

        class OvertakenDisk(Disk):
            def exchange(self, one: Path, other: Path) -> None:
                super().exchange(one, other)
                other.write_bytes(b"somebody else's")

        files = Files(path.parent, OvertakenDisk())
        with pytest.raises(ChangedMeanwhile):
            files.replace(files.read(path), NEW, private=True)
        assert path.read_bytes() == b"somebody else's"

    def test_an_interruption_leaves_nothing_behind(self, path: Path) -> None:
        """Ctrl-C in the middle of a write is no reason for a temporary file to stay."""

        class InterruptedDisk(SteppedDisk):
            def step(self, name: str, args: tuple[Any, ...]) -> None:
                if name == "replace":
                    raise KeyboardInterrupt

        files = Files(path.parent, InterruptedDisk())
        with pytest.raises(KeyboardInterrupt):
            files.replace(files.read(path), NEW, private=True)
        with pytest.raises(KeyboardInterrupt):
            files.write_private(path.parent / "own", NEW)
        assert [place for place in path.parent.iterdir() if place.suffix != ".lock"] == [path]


class WindowsDisk(Disk):
    """Behaves as Windows does while somebody has the file open: so many refusals."""

    posix = False

    def __init__(self, refusals: int, winerror: int = 32) -> None:
        self.refusals = refusals
        self.winerror = winerror

    def exchange(self, one: Path, other: Path) -> None:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))

    def written(self, fd: int) -> bool | None:
        return None

    def replace(self, source: Path, target: Path) -> None:
        if self.refusals and ".pgherald-" not in target.name:
            self.refusals -= 1
            exc = PermissionError(errno.EACCES, "in use")
            exc.winerror = self.winerror  # type: ignore[attr-defined]  # only Windows has it
            raise exc
        super().replace(source, target)


class TestWindows:
    @pytest.mark.parametrize("winerror", [5, 32])
    def test_a_replacement_waits_for_the_editor(self, path: Path, winerror: int) -> None:
        """Where an open file cannot be replaced, it is tried again with growing pauses.

        The last one is for the old file: nobody can say whether it is still open.
        """
        pauses: list[float] = []
        files = Files(path.parent, WindowsDisk(3, winerror), sleep=pauses.append)
        files.replace(files.read(path), NEW, private=True)
        assert path.read_bytes() == NEW
        assert pauses == [0.02, 0.05, 0.1, GRACE]

    @pytest.mark.parametrize("disk", [WindowsDisk(100), WindowsDisk(1, winerror=19)])
    def test_it_does_not_wait_for_ever(self, path: Path, disk: WindowsDisk) -> None:
        """An editor that never lets go, or another refusal, becomes an error."""
        pauses: list[float] = []
        files = Files(path.parent, disk, sleep=pauses.append)
        with pytest.raises(FileTrouble, match="permission denied"):
            files.replace(files.read(path), NEW, private=True)
        assert len(pauses) in (0, 6)
        assert temps(path.parent) == []

    def test_modes_and_owners_are_left_alone(self, path: Path) -> None:
        """Where files have no modes, none is asked for, so nothing looks open to others."""
        path.chmod(0o666)
        disk = WindowsDisk(0)
        files = Files(path.parent, disk)
        snapshot = files.read(path)
        assert not snapshot.loose
        assert files.replace(snapshot, OLD, private=True) is snapshot
        fd = os.open(path, os.O_RDONLY)
        disk.fchmod(fd, 0o600)
        disk.fchown(fd, NOBODY, NOBODY)
        os.close(fd)
        assert mode(path) == 0o666
        files.private_folder(path.parent)
