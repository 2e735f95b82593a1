"""The one writer: what it reads, what it refuses, what it leaves as it was."""

from __future__ import annotations

import errno
import os
import shutil
import signal
import socket
import stat
import sys
import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from pgherald.errors import AlreadyRunning, ChangedMeanwhile, FileTrouble
from pgherald.files import Disk, Files, Identity, Snapshot, errno_of, reported, writer
from pgherald.files.kept import GRACE
from pgherald.files.locks import is_held
from support.disks import NOBODY, FailingDisk, SteppedDisk, TracingDisk, in_child

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


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder of nobody's that nobody can reach; pytest's own belong to root alone."""
    folder = Path(tempfile.mkdtemp())
    if os.geteuid() == 0:
        os.chown(folder, NOBODY, NOBODY)
    yield folder
    shutil.rmtree(folder)


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

    def test_a_snapshot_does_not_show_its_content(self, files: Files, path: Path) -> None:
        """Contents hold passwords, so no repr shows them."""
        snapshot = files.read(path)
        staged = files.stage(snapshot, NEW, private=True)
        assert "CANARY" not in repr(snapshot) + repr(staged)

    def test_a_missing_file_is_no_error(self, files: Files, tmp_path: Path) -> None:
        """A client that is not there yet can be planned, even in folders that are not there."""
        snapshot = files.read(tmp_path / "not" / "yet" / "there")
        assert snapshot == Snapshot(snapshot.path, snapshot.path, None)
        assert not snapshot.loose

    def test_links_are_followed(self, files: Files, path: Path, tmp_path: Path) -> None:
        """A link, even a chain of them, stands for what it leads to."""
        (tmp_path / "one").symlink_to(path)
        (tmp_path / "two").symlink_to("one")
        snapshot = files.read(tmp_path / "two")
        assert (snapshot.content, snapshot.target) == (OLD, path)

    def test_a_relative_path_is_made_absolute(
        self, files: Files, path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A snapshot names its file for good, wherever the program stands later."""
        monkeypatch.chdir(path.parent)
        assert files.read(Path(path.name)).path == path

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

    def test_a_linked_folder_is_a_folder(self, files: Files, path: Path, tmp_path: Path) -> None:
        """A file to be made may lie in a folder that is a link."""
        (tmp_path / "link").symlink_to(path.parent)
        files.replace(files.read(tmp_path / "link" / "new"), NEW, private=True)
        assert (path.parent / "new").read_bytes() == NEW

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

    def test_something_unheard_of_is_refused_too(self, files: Files, path: Path) -> None:
        """A kind that no test knows is still no regular file."""

        class StrangeDisk(Disk):
            def stat(self, path: Path) -> os.stat_result:
                return os.stat_result((0, *super().stat(path)[1:]))

        with pytest.raises(FileTrouble, match="something else"):
            Files(path.parent, StrangeDisk()).read(path)

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
        ("name", "number"),
        [
            ("x" * 300, errno.ENAMETOOLONG),
            (".pgpass/below", errno.ENOTDIR),
            ("nul\0", None),
        ],
    )
    def test_an_impossible_path_is_named(
        self, files: Files, path: Path, name: str, number: int | None
    ) -> None:
        """A path that can be no file gives an error with advice, never a traceback."""
        with pytest.raises(FileTrouble) as caught:
            files.read(path.parent / name)
        assert errno_of(caught.value) == number
        assert caught.value.advice

    def test_an_unreadable_file_is_named_with_advice(self, open_folder: Path) -> None:
        """A file of somebody else gives advice, not a traceback."""
        path = open_folder / "secret"
        path.write_bytes(OLD)
        path.chmod(0)

        def read() -> None:
            with pytest.raises(FileTrouble, match="permission denied") as caught:
                Files(open_folder / "locks").read(path)
            assert "ls -ld" in caught.value.advice

        assert in_child(read, user=NOBODY).report == ""

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
    def test_the_file_holds_the_new_content(self, files: Files, path: Path) -> None:
        """What is returned is the file as it is now, good for the next replacement."""
        after = files.replace(files.read(path), NEW, private=True)
        assert path.read_bytes() == NEW
        assert after == files.read(path)
        assert files.replace(after, OLD, private=True).content == OLD
        assert temps(path.parent) == []

    def test_equal_content_is_not_written(self, path: Path) -> None:
        """A file that is right already is not touched at all."""
        disk = TracingDisk()
        files = Files(path.parent, disk)
        snapshot = files.read(path)
        assert files.replace(snapshot, OLD, private=True) is snapshot
        assert files.replace(snapshot, OLD, private=False) is snapshot
        assert not WRITES & {name for name, _ in disk.trace}

    def test_a_private_file_with_equal_content_is_closed_to_others(
        self, files: Files, path: Path
    ) -> None:
        """A file with passwords in it does not stay open to others, even if nothing changes."""
        path.chmod(0o644)
        inode = path.stat().st_ino
        after = files.replace(files.read(path), OLD, private=True)
        assert mode(path) == after.mode == 0o600
        assert path.stat().st_ino == inode

    def test_a_file_that_changed_is_not_even_closed(self, files: Files, path: Path) -> None:
        """The mode of a file that another program just wrote is that program's affair."""
        path.chmod(0o644)
        snapshot = files.read(path)
        path.write_bytes(NEW)
        with pytest.raises(ChangedMeanwhile):
            files.tighten(snapshot)
        assert mode(path) == 0o644

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

    def test_missing_folders_are_made_for_the_owner_alone(
        self, files: Files, tmp_path: Path
    ) -> None:
        """A file in folders that are not there yet gets private ones."""
        path = tmp_path / "a" / "b" / "file"
        files.replace(files.read(path), NEW, private=False)
        assert path.read_bytes() == NEW
        assert mode(tmp_path / "a") == mode(tmp_path / "a" / "b") == 0o700

    def test_a_folder_that_somebody_else_makes_meanwhile_is_as_good(self, tmp_path: Path) -> None:
        """Two programs that make the same folder do not fail each other."""

        class HastyDisk(Disk):
            def mkdir(self, path: Path, mode: int) -> None:
                super().mkdir(path, mode)
                super().mkdir(path, mode)

        Files(tmp_path / "locks", HastyDisk()).make_folder(tmp_path / "a" / "b")
        assert (tmp_path / "a" / "b").is_dir()

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

    def test_somebody_elses_file_is_not_taken_over(self, path: Path) -> None:
        """Who may write the folder could replace the file, and would become its owner."""

        class OtherUserDisk(TracingDisk):
            def euid(self) -> int:
                return os.geteuid() + 1

        disk = OtherUserDisk()
        files = Files(path.parent, disk)
        with pytest.raises(FileTrouble, match="belongs to user"):
            files.replace(files.read(path), NEW, private=True)
        assert not WRITES & {name for name, _ in disk.trace}

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

    def test_a_file_that_appeared_since_is_not_replaced(self, files: Files, path: Path) -> None:
        """A client that was missing may have been made by its own program meanwhile."""
        path.unlink()
        snapshot = files.read(path)
        path.write_bytes(OLD)
        with pytest.raises(ChangedMeanwhile):
            files.replace(snapshot, NEW, private=True)
        assert path.read_bytes() == OLD

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

    @pytest.mark.parametrize(
        ("number", "words"),
        [
            (errno.ENOSPC, "the disk is full"),
            (errno.EDQUOT, "quota"),
            (errno.EROFS, "can only be read"),
            (errno.EACCES, "permission denied"),
            (errno.EIO, "reports a fault"),
            (errno.EXDEV, os.strerror(errno.EXDEV)),
            (0, "gave no reason"),
        ],
    )
    def test_a_failure_is_told_in_plain_words(self, path: Path, number: int, words: str) -> None:
        """Each error names the file, says what is wrong, and leaves nothing behind."""
        files = Files(path.parent, FailingDisk(1, number, only="fsync"))
        with pytest.raises(FileTrouble, match=words) as caught:
            files.replace(files.read(path), NEW, private=True)
        assert caught.value.path == path
        assert errno_of(caught.value) == number
        assert "CANARY" not in str(caught.value)
        assert path.read_bytes() == OLD
        assert temps(path.parent) == []

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

    def test_a_taken_temporary_name_is_left_alone(self, path: Path) -> None:
        """A file that has the name we wanted is not ours to write; another name is taken."""
        tokens = iter(["0" * 16, "1" * 16])
        taken = path.with_name(f"..pgpass.pgherald-{'0' * 16}.tmp")
        taken.write_bytes(b"not yours")
        files = Files(path.parent, token=lambda: next(tokens))
        files.replace(files.read(path), NEW, private=True)
        assert taken.read_bytes() == b"not yours"
        assert path.read_bytes() == NEW

    def test_names_are_not_tried_for_ever(self, path: Path) -> None:
        """A random source that repeats itself ends in an error, not in a hang."""
        path.with_name(f"..pgpass.pgherald-{'0' * 16}.tmp").write_bytes(b"")
        files = Files(path.parent, token=lambda: "0" * 16)
        with pytest.raises(FileTrouble, match="cannot be written"):
            files.replace(files.read(path), NEW, private=True)

    def test_a_long_name_has_room_for_the_temporary_one(self, files: Files, path: Path) -> None:
        """A name as long as the file system allows can still be replaced."""
        long = path.with_name("ä" * 127)
        long.write_bytes(OLD)
        files.replace(files.read(long), NEW, private=True)
        assert long.read_bytes() == NEW

    def test_sweeping_takes_our_leftovers_of_that_file_alone(
        self, files: Files, path: Path
    ) -> None:
        """What a killed pgherald left goes; what merely looks alike stays."""
        ours = path.with_name("..pgpass.pgherald-0123456789abcdef.tmp")
        others = [
            path.with_name(name)
            for name in (
                "..pgpass2.pgherald-0123456789abcdef.tmp",
                "..pgpass.pgherald-0123456789abcdef.tmp.bak",
                "..pgpass.pgherald-notes.tmp",
                "x.pgpass.pgherald-0123456789abcdef.tmp",
            )
        ]
        for place in (ours, *others):
            place.write_bytes(b"")
        files.sweep(path, ())
        assert sorted(path.parent.iterdir()) == sorted([path, *others])

    def test_remove_deletes_what_was_read(self, files: Files, path: Path) -> None:
        """An undo deletes the file that the commit made, and says what is there now."""
        assert files.remove(files.read(path)).content is None
        assert not path.exists()
        files.remove(files.read(path))


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


class TestOwnFiles:
    def test_a_private_folder_is_made_with_all_above_it(self, files: Files, tmp_path: Path) -> None:
        """State folders are their owner's alone; making sure twice is fine."""
        folder = tmp_path / "state" / "pgherald"
        files.private_folder(folder)
        files.private_folder(folder)
        assert mode(folder) == mode(folder.parent) == 0o700

    def test_a_folder_that_others_may_read_is_left_so(self, files: Files, tmp_path: Path) -> None:
        """The person's own folder keeps its mode; the files in it are private themselves."""
        folder = tmp_path / "folder"
        folder.mkdir()
        folder.chmod(0o755)
        files.private_folder(folder)
        assert mode(folder) == 0o755

    @pytest.mark.parametrize("bits", [0o777, 0o720, 0o702])
    def test_a_folder_that_others_may_write_is_refused(
        self, files: Files, tmp_path: Path, bits: int
    ) -> None:
        """Who can write the folder could put their files in the place of ours."""
        folder = tmp_path / "folder"
        folder.mkdir()
        if os.geteuid() == 0:
            os.chown(folder, -1, NOBODY)  # root's own group is nobody else's
        elif bits == 0o720:
            pytest.skip("only root can give a folder to another group")
        folder.chmod(bits)
        with pytest.raises(FileTrouble, match="may be written by other users") as caught:
            files.private_folder(folder)
        assert caught.value.advice == f"Run: chmod go-w {folder}"

    def test_a_link_or_a_file_is_no_private_folder(self, files: Files, tmp_path: Path) -> None:
        """A link in the state folder's place may lead anywhere."""
        (tmp_path / "real").mkdir()
        (tmp_path / "link").symlink_to(tmp_path / "real")
        (tmp_path / "file").write_bytes(b"")
        for name in ("link", "file"):
            with pytest.raises(FileTrouble, match="is not a folder"):
                files.private_folder(tmp_path / name)

    def test_somebody_elses_folder_is_refused(self, tmp_path: Path) -> None:
        """State in a folder of somebody else is theirs to change."""

        class OtherUserDisk(Disk):
            def euid(self) -> int:
                return os.geteuid() + 1

        if os.geteuid() == 0:
            os.chown(tmp_path, NOBODY, NOBODY)  # root's folders are as good as ours
        with pytest.raises(FileTrouble, match="belongs to user"):
            Files(tmp_path / "locks", OtherUserDisk()).private_folder(tmp_path)

    def test_make_folder_refuses_a_file(self, files: Files, path: Path) -> None:
        """A file where a folder should be is named, not written into."""
        with pytest.raises(FileTrouble, match="a file, not a folder"):
            files.make_folder(path)

    def test_private_files_are_replaced_whole(self, files: Files, path: Path) -> None:
        """State is written in one instant and readable by its owner alone."""
        path.chmod(0o644)
        files.write_private(path, NEW)
        assert (path.read_bytes(), mode(path)) == (NEW, 0o600)

    def test_text_files_get_the_mode_asked_for(self, files: Files, tmp_path: Path) -> None:
        """A unit file may be read by all, whatever the umask; its folders are made."""
        path = tmp_path / "units" / "pgherald.service"
        old = os.umask(0o077)
        try:
            files.write_text_file(path, "ä\n", 0o644)
        finally:
            os.umask(old)
        assert (path.read_bytes(), mode(path)) == ("ä\n".encode(), 0o644)

    def test_a_new_private_file_replaces_nothing(self, files: Files, path: Path) -> None:
        """What must not exist yet is never overwritten, nor deleted on failure."""
        with pytest.raises(FileTrouble):
            files.write_new_private(path, NEW)
        assert path.read_bytes() == OLD

    def test_set_aside_keeps_the_file_under_another_name(self, files: Files, path: Path) -> None:
        """A damaged file of ours makes room and stays to be looked at."""
        aside = files.set_aside(path, suffix=".damaged")
        assert aside == path.with_name(".pgpass.damaged")
        assert aside.read_bytes() == OLD
        assert not path.exists()

    def test_names_are_sorted_and_a_missing_folder_has_none(self, files: Files, path: Path) -> None:
        """Whoever lists a folder gets one order, and no error for one that is not there yet."""
        (path.parent / "a").write_bytes(b"")
        assert files.names(path.parent) == (".pgpass", "a")
        assert files.names(path.parent / "gone") == ()

    def test_removing_what_is_gone_is_no_error(self, files: Files, path: Path) -> None:
        """Deleting asks for an end, not for a deed."""
        files.remove_own(path)
        files.remove_own(path)
        files.remove_own_tree(path, within=path.parent)
        files.remove_tree(path.parent / "gone")
        assert not path.exists()

    def test_a_tree_is_removed_and_its_links_are_not_followed(
        self, files: Files, path: Path, tmp_path: Path
    ) -> None:
        """Deleting our folder never deletes what a link in it leads to."""
        root = tmp_path / "commits"
        (root / "one" / "deep").mkdir(parents=True)
        (root / "one" / "deep" / "file").write_bytes(b"")
        (root / "one" / "link").symlink_to(path.parent)
        files.remove_own_tree(root / "one", within=root)
        assert path.read_bytes() == OLD
        assert list(root.iterdir()) == []

    @pytest.mark.parametrize("name", [".", "..", "one/../../client", "link/.pgpass"])
    def test_nothing_outside_its_root_is_removed(
        self, files: Files, path: Path, tmp_path: Path, name: str
    ) -> None:
        """A wrong path cannot lead a deletion out of the folder it is confined to."""
        root = tmp_path / "commits"
        root.mkdir()
        (root / "link").symlink_to(path.parent)
        with pytest.raises(FileTrouble, match="lies outside"):
            files.remove_own_tree(root / name, within=root)
        assert path.exists()

    def test_a_throw_away_folder_is_removed_but_never_a_home(
        self, files: Files, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The demo cleans up after itself and cannot be pointed at a home, or above it."""
        home = tmp_path / "home" / "me"
        (home / "demo").mkdir(parents=True)
        (tmp_path / "link").symlink_to(home / "demo")
        monkeypatch.setenv("HOME", str(home))
        for place in (home, home.parent, Path("/"), tmp_path / "link"):
            with pytest.raises(FileTrouble, match="no throw-away folder"):
                files.remove_tree(place)
        files.remove_tree(home / "demo")
        assert home.is_dir()
        assert not (home / "demo").exists()

    def test_folders_that_cannot_be_synced_are_no_error(
        self, path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Some file systems cannot sync folders; other failures to do so are told."""
        number = errno.EINVAL

        def fail(_: int) -> None:
            raise OSError(number, "no")

        monkeypatch.setattr(os, "fsync", fail)
        Disk().fsync_folder(path.parent)
        number = errno.EIO
        with pytest.raises(OSError, match="no"):
            Disk().fsync_folder(path.parent)


class TestLocks:
    def test_a_thread_may_lock_again_what_it_holds(self, files: Files, path: Path) -> None:
        """A commit that locks its files may call what locks one of them."""
        with files.lock(path), files.lock(path):
            pass
        with files.lock(path, limit=0):
            pass

    def test_lock_files_are_private_and_away_from_the_person(
        self, files: Files, path: Path, tmp_path: Path
    ) -> None:
        """Nothing of ours appears beside the person's file, and no name tells of it."""
        with files.lock(path):
            assert list(path.parent.iterdir()) == [path]
            (lock,) = (tmp_path / "locks").iterdir()
            assert mode(lock) == 0o600
            assert "pgpass" not in lock.name

    def test_another_pgherald_waits_and_gives_up_in_time(
        self, files: Files, path: Path, tmp_path: Path
    ) -> None:
        """A file has one writer at a time, under whatever name; who waits too long says why."""
        (tmp_path / "link").symlink_to(path)
        others = Files(tmp_path / "locks")
        with (
            files.lock(path),
            pytest.raises(FileTrouble, match="another pgherald"),
            others.lock(tmp_path / "link", limit=0.02),
        ):
            pass

    def test_only_one_daemon_runs(self, files: Files, tmp_path: Path) -> None:
        """The second one is told which process the first is; afterwards the way is free."""
        path = tmp_path / "state" / "daemon.lock"
        with (
            files.exclusive(path, "pgherald run"),
            pytest.raises(AlreadyRunning) as caught,
            Files(tmp_path / "locks").exclusive(path, "pgherald run"),
        ):
            pass
        assert f"process {os.getpid()}, pgherald run" in caught.value.title
        with files.exclusive(path, "pgherald check"):
            assert mode(path) == 0o600
        assert not path.with_name("daemon.lock.pid").exists()

    def test_a_dead_holder_holds_nothing(self, files: Files, tmp_path: Path) -> None:
        """The system lets go of a lock when its process ends, so a crash blocks no start."""
        path = tmp_path / "daemon.lock"

        def crash() -> None:
            with files.exclusive(path, "pgherald run"):
                os.kill(os.getpid(), signal.SIGKILL)

        assert in_child(crash).killed
        assert path.with_name("daemon.lock.pid").exists()
        with files.exclusive(path, "pgherald run"):
            pass

    @pytest.mark.parametrize("note", [b"", b"\xff", b"soon"])
    def test_a_holder_without_a_note_is_still_a_holder(
        self, files: Files, tmp_path: Path, note: bytes
    ) -> None:
        """A lock that is held is held, whoever it is."""
        path = tmp_path / "daemon.lock"
        with files.exclusive(path, "pgherald run"):
            if note:
                path.with_name("daemon.lock.pid").write_bytes(note)
            else:
                path.with_name("daemon.lock.pid").unlink()
            with (
                pytest.raises(AlreadyRunning) as caught,
                Files(tmp_path / "locks").exclusive(path, "x"),
            ):
                pass
        assert caught.value.title == "pgherald is already running"

    @pytest.mark.parametrize("system", ["Unix", "Windows"])
    def test_whether_a_daemon_runs_can_be_asked(
        self, files: Files, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, system: str
    ) -> None:
        """A look at the lock neither takes it nor makes it."""
        if system == "Windows":
            import filelock  # noqa: F401 – while it can see what this system is

            monkeypatch.setitem(sys.modules, "fcntl", None)
        path = tmp_path / "daemon.lock"
        assert not is_held(path)
        assert not path.exists()
        with files.exclusive(path, "pgherald run"):
            assert is_held(path)
        assert not is_held(path)


def test_reported_lets_other_errors_pass(path: Path) -> None:
    """Only the system's errors are put in words; a bug stays a bug."""
    with pytest.raises(KeyError), reported(path, "read"):
        raise KeyError


def test_a_drive_that_is_not_there_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A path whose drive is missing, as on Windows, is an error and not an endless search."""
    monkeypatch.setattr(os.path, "lexists", lambda _: False)
    files = Files(tmp_path / "locks")
    with pytest.raises(FileTrouble, match="its drive is not there"):
        files.read(tmp_path / "gone" / ".pgpass")
    with pytest.raises(FileTrouble):
        files.make_folder(tmp_path / "gone")
