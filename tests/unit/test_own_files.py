"""pgherald's own files: logs, notes and what is set aside."""

from __future__ import annotations

import errno
import os
import stat
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from pgherald.errors import FileTrouble
from pgherald.files import Disk, Files
from pgherald.files.snapshot import temp_path
from support.disks import NOBODY, FailingDisk


@pytest.fixture
def files(tmp_path: Path) -> Files:
    return Files(tmp_path / "locks")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A file, private."""
    path = tmp_path / "client" / ".pgpass"
    path.parent.mkdir()
    path.write_bytes(b"old CANARY-old\n")
    path.chmod(0o600)
    return path


def mode(path: Path) -> int:
    return stat.S_IMODE(path.lstat().st_mode)


@pytest.mark.skipif(os.name != "posix" or os.geteuid() != 0, reason="only root can give it away")
def test_a_log_of_somebody_elses(files: Files, tmp_path: Path) -> None:
    """A link that another account has laid in the log's place is not written through."""
    victim, link, log = tmp_path / "victim", tmp_path / "link", tmp_path / "log"
    victim.write_text("mine\n")
    link.symlink_to(victim)
    os.chown(link, NOBODY, -1, follow_symlinks=False)
    log.touch()
    log.chmod(0o666)
    for path, why in ((link, "belongs to user"), (log, "may be written by other users")):
        with pytest.raises(FileTrouble, match=why) as caught:
            files.open_log(path, 100)
        subprocess.run(["/bin/sh", "-ec", caught.value.advice.removeprefix("Run: ")], check=True)
        files.open_log(path, 100).close()
    assert victim.read_text() == "mine\n"


# --- what is said --------------------------------------------------------------------------


def numbered(number: int, only: str) -> FailingDisk:
    """A disk on which the first operation of that kind fails."""
    return FailingDisk(1, number, only=only)


def test_a_folder_that_will_not_do(files: Files, tmp_path: Path) -> None:
    """A link, a file, a folder that others may write to: each is named with what to do."""
    real, link, file = tmp_path / "real", tmp_path / "link", tmp_path / "file"
    real.mkdir(0o755)
    link.symlink_to(real)
    file.touch()
    files.private_folder(real)
    for path in (link, file):
        with pytest.raises(FileTrouble) as caught:
            files.private_folder(path)
        assert caught.value.reason == "is not a folder (a link does not count)"
        assert (caught.value.advice, caught.value.path) == (f"Move it away: {path}", path)
    with pytest.raises(FileTrouble) as caught:
        files.make_folder(file)
    assert caught.value.reason == "is a file, not a folder"
    assert (caught.value.advice, caught.value.path) == (f"Move it away: {file}", file)
    real.chmod(0o702)
    with pytest.raises(FileTrouble) as caught:
        files.private_folder(real)
    assert caught.value.reason == "may be written by other users"
    assert (caught.value.advice, caught.value.path) == (f"Run: chmod go-w {real}", real)


def test_a_folder_of_somebody_elses(tmp_path: Path) -> None:
    """Both users are named, and what to do."""

    class Another(Disk):
        def euid(self) -> int | None:
            return 4321

    owner = NOBODY if os.geteuid() == 0 else os.geteuid()
    os.chown(tmp_path, owner, -1)
    with pytest.raises(FileTrouble) as caught:
        Files(tmp_path / "locks", Another()).private_folder(tmp_path)
    assert caught.value.reason == f"belongs to user {owner}, and pgherald runs as user 4321"
    assert caught.value.advice == f"Run: sudo chown -h 4321 {tmp_path}"
    assert caught.value.path == tmp_path


def test_what_is_deleted_lies_where_it_should(files: Files, tmp_path: Path) -> None:
    """A whole folder goes, and a link, but nothing outside or through a link's end."""
    inside, outside = tmp_path / "state", tmp_path / "other"
    for folder in (inside / "a" / "b", outside):
        folder.mkdir(parents=True)
        (folder / "file").touch()
    (inside / "link").symlink_to(outside)
    for path in (outside, inside, inside / ".." / "other", inside / "link" / "file"):
        with pytest.raises(FileTrouble) as caught:
            files.remove_own_tree(path, within=inside)
        assert caught.value.reason == f"is not deleted: it lies outside {inside}"
        assert caught.value.path == path
    for name in ("a", "link", "none"):
        files.remove_own_tree(inside / name, within=inside)
    assert list(inside.iterdir()) == []
    assert (outside / "file").exists()


def test_a_throw_away_folder(files: Files, tmp_path: Path, home: Path) -> None:
    """One that is a link, or that holds the person's home, is not deleted; the others are."""
    folder, link = tmp_path / "scratch", tmp_path / "link"
    (folder / "a").mkdir(parents=True)
    link.symlink_to(folder)
    for path in (link, home, home.parent, Path("/")):
        with pytest.raises(FileTrouble) as caught:
            files.remove_tree(path)
        assert caught.value.reason == "is not deleted: it is no throw-away folder"
        assert caught.value.path == path
    for _ in range(2):
        files.remove_tree(folder)
    assert not folder.exists()


def test_nothing_is_left_of_what_could_not_be_put_in_place(tmp_path: Path) -> None:
    """Neither the temporary file nor a part of the new content."""
    files = Files(tmp_path / "locks", numbered(errno.EIO, "replace"))
    with pytest.raises(FileTrouble):
        files.write_private(tmp_path / "a", b"x")
    assert [path.name for path in tmp_path.iterdir()] == ["locks"]


def test_what_a_killed_write_left_goes_with_the_next_one(files: Files, tmp_path: Path) -> None:
    """Of the same file alone; and not while another pgherald is writing it."""
    left = temp_path(tmp_path / "a", "0" * 16)
    other = temp_path(tmp_path / "b", "0" * 16)
    for path in (left, other):
        path.write_text("half")
    files.write_private(tmp_path / "a", b"x")
    assert (left.exists(), other.exists()) == (False, True)
    files.write_text_file(tmp_path / "b", "x")
    assert not other.exists()


# --- folders that are nobody's to make -------------------------------------------------------


@pytest.fixture
def away(tmp_path: Path) -> Files:
    """A reader and writer of files whose state is somewhere else."""
    (tmp_path / "state").mkdir()
    return Files(tmp_path / "state" / "locks")


@pytest.mark.parametrize(
    "deed",
    [
        lambda files, path: files.open_log(path, 100).close(),
        lambda files, path: files.write_text_file(path, "x"),
        lambda files, path: files.replace(files.read(path), b"x", private=True),
        lambda files, path: files.private_folder(path),
        lambda files, path: files.make_folder(path),
    ],
)
@pytest.mark.parametrize("name", ["nope/x", "nope/deep/x"])
def test_a_mistyped_path_makes_no_folder(
    away: Files, tmp_path: Path, deed: Callable[[Files, Path], object], name: str
) -> None:
    """It is named with the command that makes the folder, should it be meant."""
    path = tmp_path / name
    with pytest.raises(FileTrouble) as caught:
        deed(away, path)
    assert not (tmp_path / "nope").exists()
    assert caught.value.path == path
    assert caught.value.reason == f"lies in a folder that is not there: {path.parent}"
    advice = "Correct the path, or make the folder: "
    assert caught.value.advice == f"{advice}mkdir -p {path.parent}"
    subprocess.run(["/bin/sh", "-ec", caught.value.advice.removeprefix(advice)], check=True)
    deed(away, path)
    assert path.exists()


def test_below_the_home_folder_they_are_made(away: Files, home: Path, tmp_path: Path) -> None:
    """And below those of XDG and Windows, and below the state folder; for the owner alone."""
    (tmp_path / "config").mkdir()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
        for folder in (home / "a" / "b", tmp_path / "config" / "c", tmp_path / "state" / "d" / "e"):
            away.open_log(folder / "log", 100).close()
            assert stat.S_IMODE(folder.stat().st_mode) == 0o700


@pytest.mark.parametrize("name", ["/", "", "relative"])
def test_the_whole_machine_is_nobodys_home(away: Files, tmp_path: Path, name: str) -> None:
    """Some services have `/` for their home: all that is mistyped would lie below it."""
    with pytest.MonkeyPatch.context() as patch:
        for variable in ("HOME", "XDG_CONFIG_HOME"):
            patch.setenv(variable, name)
        with pytest.raises(FileTrouble, match="a folder that is not there"):
            away.open_log(tmp_path / "nope" / "log", 100)


def test_a_home_behind_a_link(away: Files, tmp_path: Path) -> None:
    """Whoever's home folder is a link has one all the same."""
    (tmp_path / "real").mkdir()
    (tmp_path / "home").symlink_to(tmp_path / "real")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HOME", str(tmp_path / "home"))
        away.open_log(tmp_path / "home" / "a" / "log", 100).close()
        away.open_log(tmp_path / "real" / "b" / "log", 100).close()


def test_private_files_are_replaced_whole(files: Files, path: Path) -> None:
    """State is written in one instant and readable by its owner alone."""
    path.chmod(0o644)
    files.write_private(path, b"new")
    assert (path.read_bytes(), mode(path)) == (b"new", 0o600)


def test_a_new_private_file_replaces_nothing(files: Files, path: Path) -> None:
    """What must not exist yet is never overwritten, nor deleted on failure."""
    with pytest.raises(FileTrouble):
        files.write_new_private(path, b"new")
    assert path.read_bytes() == b"old CANARY-old\n"
