"""What is pushed out of its place by a replacement: kept until it is nobody's."""

from __future__ import annotations

import errno
import logging
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pgherald.errors import BeingWritten, ChangedMeanwhile
from pgherald.files import Disk, Files, digest
from pgherald.files.disk import READ
from pgherald.files.kept import GRACE
from support.disks import QuickDisk, SteppedDisk

OLD = b"old CANARY-old\n"
NEW = b"new CANARY-new\n"
THEIRS = b"theirs CANARY-theirs\n"
LATE = b"late CANARY-late\n"

ASIDE = "..pgpass.pgherald-0123456789abcdef.old"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A client's file, private, in a folder of its own."""
    path = tmp_path / "client" / ".pgpass"
    path.parent.mkdir()
    write(path, OLD)
    return path


def write(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    path.chmod(0o600)


def saved_by_rename(path: Path, content: bytes = THEIRS) -> None:
    new = path.with_name("editor's own")
    write(new, content)
    new.replace(path)


def beside(path: Path) -> list[str]:
    return sorted(name.name for name in path.parent.iterdir() if name != path)


class Moment(SteppedDisk):
    """Somebody does something right before, or right after, two files trade places.

    Attributes:
        blind: whether nobody can say who writes a file.
    """

    def __init__(
        self,
        before: Callable[[], object] = lambda: None,
        after: Callable[[], object] = lambda: None,
        *,
        blind: bool = False,
    ) -> None:
        self._before, self._after = before, after
        self.blind = blind
        self.trades = 0

    def exchange(self, one: Path, other: Path) -> None:
        self.trades += 1
        if self.trades == 1:
            self._before()
        super().exchange(one, other)
        if self.trades == 1:
            self._after()

    def written(self, fd: int) -> bool | None:
        return None if self.blind else super().written(fd)


class NoExchange(Moment):
    """A file system that cannot exchange two files; the moment is that of the link."""

    def exchange(self, one: Path, other: Path) -> None:
        raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))

    def link(self, source: Path, target: Path) -> None:
        self.trades += 1
        super().link(source, target)
        if self.trades == 1:
            self._before()


def files(
    path: Path, disk: Disk | None = None, sleep: Callable[[float], None] | None = None
) -> Files:
    return Files(path.parent / "locks", disk or QuickDisk(), sleep=sleep or (lambda _: None))


class TestWriters:
    def test_a_file_that_is_open_to_be_written_is_not_replaced(self, path: Path) -> None:
        """It is left alone, and can be replaced once it is closed; to read it hinders nobody."""
        disk = Moment()
        before = files(path).read(path)
        with path.open("ab"), pytest.raises(BeingWritten) as caught:
            files(path, disk).replace(before, NEW, private=True)
        assert caught.value.path == path
        assert f"lsof '{path}'" in caught.value.advice
        assert (path.read_bytes(), beside(path), disk.trades) == (OLD, [], 0)
        with path.open("rb"):
            files(path).replace(before, NEW, private=True)
        assert (path.read_bytes(), beside(path)) == (NEW, [])

    @pytest.mark.parametrize("kind", [Moment, NoExchange])
    def test_who_opens_it_at_the_last_moment_loses_nothing(
        self, path: Path, kind: type[Moment]
    ) -> None:
        """The old file goes back to its place, and what is written into it later is there."""
        opened: list[Any] = []
        disk = kind(lambda: opened.append(path.open("ab", buffering=0)))
        inode = path.stat().st_ino
        with pytest.raises(BeingWritten):
            files(path, disk).replace(files(path).read(path), NEW, private=True)
        opened[0].write(LATE)
        opened[0].close()
        assert path.read_bytes() == OLD + LATE
        assert (path.stat().st_ino, beside(path)) == (inode, [])

    @pytest.mark.parametrize("content", [OLD, THEIRS])
    def test_who_renames_to_it_at_the_last_moment_loses_nothing(
        self, path: Path, content: bytes
    ) -> None:
        """A file that was put in its place goes back there, even if it holds the same bytes."""
        disk = Moment(lambda: saved_by_rename(path, content))
        with pytest.raises(ChangedMeanwhile):
            files(path, disk).replace(files(path).read(path), NEW, private=True)
        assert (path.read_bytes(), beside(path)) == (content, [])

    def test_a_file_that_is_made_at_the_last_moment_stays(self, path: Path) -> None:
        """Nothing takes a place that somebody has taken."""
        path.unlink()

        class Made(SteppedDisk):
            def step(self, name: str, args: tuple[Any, ...]) -> None:
                if name == "link":
                    write(path, THEIRS)

        with pytest.raises(ChangedMeanwhile):
            files(path, Made()).replace(files(path).read(path), NEW, private=True)
        assert (path.read_bytes(), beside(path)) == (THEIRS, [])

    def test_where_nobody_says_who_writes_the_old_file_is_kept_for_a_moment(
        self, path: Path
    ) -> None:
        """What is written into it meanwhile brings it back."""
        disk = Moment(blind=True)
        slept: list[float] = []
        with path.open("ab", buffering=0) as writer:

            def sleep(seconds: float) -> None:
                slept.append(seconds)
                writer.write(LATE)

            with pytest.raises(ChangedMeanwhile):
                files(path, disk, sleep).replace(files(path).read(path), NEW, private=True)
        assert slept == [GRACE]
        assert (path.read_bytes(), beside(path)) == (OLD + LATE, [])
        files(path, disk).replace(files(path).read(path), NEW, private=True)
        assert (path.read_bytes(), beside(path)) == (NEW, [])

    def test_what_two_programs_write_at_once_is_kept_twice(
        self, path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        """One has our new file, the other the old one: both stay, and the log names them."""
        opened: list[Any] = []
        disk = Moment(
            lambda: opened.append(path.open("ab", buffering=0)), lambda: saved_by_rename(path)
        )
        caplog.set_level(logging.WARNING)
        with pytest.raises(BeingWritten):
            files(path, disk).replace(files(path).read(path), NEW, private=True)
        opened[0].write(LATE)
        opened[0].close()
        assert path.read_bytes() == THEIRS
        assert disk.trades == 1, "theirs was taken out of its place"
        (name,) = beside(path)
        assert name.startswith(".pgpass.pgherald-kept-")
        assert path.with_name(name).read_bytes() == OLD + LATE
        assert path.with_name(name).stat().st_mode & 0o777 == 0o600
        assert name in caplog.text

    def test_who_writes_ours_while_theirs_goes_back_loses_nothing(self, path: Path) -> None:
        """A program that replaces our file in the instant in which the old one comes back wins."""

        class Twice(Moment):
            def exchange(self, one: Path, other: Path) -> None:
                if self.trades == 1:
                    saved_by_rename(path)
                super().exchange(one, other)

        disk = Twice(lambda: path.write_bytes(LATE))
        with pytest.raises(ChangedMeanwhile):
            files(path, disk).replace(files(path).read(path), NEW, private=True)
        assert path.read_bytes() == THEIRS
        (name,) = beside(path)
        assert path.with_name(name).read_bytes() == LATE

    def test_neither_exchange_nor_links_is_no_obstacle(self, path: Path) -> None:
        """On such a file system a file is replaced, and made, all the same."""

        class Poor(NoExchange):
            def link(self, source: Path, target: Path) -> None:
                raise OSError(errno.EPERM, os.strerror(errno.EPERM))

        disk = Poor()
        files(path, disk).replace(files(path).read(path), NEW, private=True)
        other = path.with_name("other")
        files(path, disk).replace(files(path).read(other), NEW, private=True)
        assert path.read_bytes() == other.read_bytes() == NEW
        assert beside(path) == ["other"]

    def test_a_file_that_is_being_written_is_not_deleted(self, path: Path) -> None:
        """Nor is one that somebody saves in the instant before an undo takes it away."""

        class Saved(SteppedDisk):
            def step(self, name: str, args: tuple[Any, ...]) -> None:
                if name == "replace" and args[0] == path:
                    saved_by_rename(path)

        before = files(path).read(path)
        with path.open("ab"), pytest.raises(BeingWritten):
            files(path).remove(before)
        with pytest.raises(ChangedMeanwhile):
            files(path, Saved()).remove(before)
        assert (path.read_bytes(), beside(path)) == (THEIRS, [])
        files(path).remove(files(path).read(path))
        assert (path.exists(), beside(path)) == (False, [])


class TestSweeping:
    KNOWN = (digest(OLD), digest(NEW))

    @pytest.mark.parametrize("there", [OLD, NEW, THEIRS, None])
    def test_what_the_commit_knows_is_deleted(self, path: Path, there: bytes | None) -> None:
        """The old bytes are in the journal; the place is left as it is."""
        write(path.with_name(ASIDE), OLD)
        path.unlink() if there is None else write(path, there)
        files(path).sweep(path, self.KNOWN)
        assert beside(path) == []
        assert (path.read_bytes() if path.exists() else None) == there

    @pytest.mark.parametrize("there", [NEW, None])
    def test_what_it_does_not_know_goes_back(self, path: Path, there: bytes | None) -> None:
        """Somebody wrote the old file while pgherald was dying: that is the newest."""
        write(path.with_name(ASIDE), LATE)
        path.unlink() if there is None else write(path, there)
        files(path).sweep(path, self.KNOWN)
        assert (path.read_bytes(), beside(path)) == (LATE, [])

    def test_two_strangers_are_both_kept(self, path: Path) -> None:
        """What stands in the place was written later, and the other one is not thrown away."""
        write(path.with_name(ASIDE), LATE)
        write(path, THEIRS)
        files(path).sweep(path, self.KNOWN)
        (name,) = beside(path)
        assert (path.read_bytes(), path.with_name(name).read_bytes()) == (THEIRS, LATE)
        files(path).sweep(path, self.KNOWN)
        assert beside(path) == [name]


class TestAsking:
    def asked(self, path: Path) -> bool | None:
        return files(path).written(path)

    def test_only_writers_count(self, path: Path) -> None:
        """Readers do not; a mapping that may be written does, though its file is closed."""
        assert self.asked(path) is False
        with path.open("rb"):
            assert self.asked(path) is False
        for mode in ("ab", "r+b"):
            with path.open(mode):
                assert self.asked(path) is True
        assert self.asked(path) is False
        assert self.asked(path.with_name("missing")) is False
        assert self.asked(path.parent) is None

    def test_asking_disturbs_nobody(self, path: Path) -> None:
        """A program that opens the file all the while is never refused, and we are not ended."""
        code = "import sys\nfor _ in range(20000): open(sys.argv[1], 'ab').close()\nprint('well')"
        with subprocess.Popen([sys.executable, "-c", code, path], stdout=subprocess.PIPE) as other:
            found = set()
            fd = os.open(path, READ)
            while other.poll() is None:
                found.add(Disk().written(fd))
            os.close(fd)
            assert other.stdout is not None
            assert other.stdout.read() == b"well\n"
        assert found == {True, False}
