"""Locks: what is said when one is held, and who may let go of it."""

from __future__ import annotations

import errno
import os
import signal
import stat
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from pgherald.errors import AlreadyRunning, FileTrouble
from pgherald.files import Files
from pgherald.files.locks import is_held
from support.disks import in_child


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


def _refused(*_: object, **__: object) -> None:
    raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))


def test_a_note_says_who_holds_it(files: Files, tmp_path: Path) -> None:
    """The note stands beside the lock while it is held, and goes with it, whatever happened."""
    path = tmp_path / "daemon.lock"
    note = path.with_name("daemon.lock.pid")
    said = []

    def work() -> None:
        with files.exclusive(path, "pgherald run"):
            said.append(note.read_text())
            raise KeyError

    with pytest.raises(KeyError):
        work()
    assert said == [f"{os.getpid()} pgherald run\n"]
    assert not note.exists()
    assert not is_held(path)


def _as_folder(path: Path) -> None:
    path.mkdir()
    (path / "x").touch()


def _as_unreadable(path: Path) -> None:
    path.touch()
    path.chmod(0)


IN_THE_WAY: dict[str, Callable[[Path], None]] = {
    "folder": _as_folder,
    "pipe": os.mkfifo,
    "link": lambda path: path.symlink_to(path.with_name("elsewhere")),
    "mode": _as_unreadable,
}


@pytest.mark.parametrize("what", IN_THE_WAY)
def test_what_is_no_lock_is_set_aside(
    files: Files, tmp_path: Path, caplog: pytest.LogCaptureFixture, what: str
) -> None:
    """Whatever lies where a lock or its note belongs holds up nobody, and is kept and named."""
    lock, note, client = (tmp_path / name for name in ("daemon.lock", "daemon.lock.pid", ".pgpass"))
    with files.lock(client):
        pass
    (of_client,) = (tmp_path / "locks").iterdir()
    of_client.unlink()
    for turn in range(2):
        places = (lock, note, of_client)
        for place in places:
            place.unlink(missing_ok=True)
            IN_THE_WAY[what](place)
        caplog.clear()
        fresh = Files(tmp_path / "locks")
        if what != "mode":
            assert not is_held(lock)
        with fresh.exclusive(lock, "pgherald run"), fresh.lock(client):
            assert is_held(lock)
            assert note.read_text() == f"{os.getpid()} pgherald run\n"
        assert [f"{place.name}.damaged" in caplog.text for place in places] == [True] * 3, turn
        assert all(os.path.lexists(f"{place}.damaged") for place in places)
    assert not (tmp_path / "elsewhere").exists()


@pytest.mark.parametrize("system", ["Unix", "Windows"])
def test_whether_a_lock_is_held_can_be_asked(
    files: Files, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, system: str
) -> None:
    """Asking neither takes nor makes it; what cannot be read counts as held, no file does not."""
    if system == "Windows":
        import filelock  # noqa: F401 – while it can see what this system is

        monkeypatch.setitem(sys.modules, "fcntl", None)
    path = tmp_path / "daemon.lock"
    path.mkdir()
    assert is_held(path) is False
    path.rmdir()
    assert is_held(path) is False
    assert not path.exists()
    with files.exclusive(path, "pgherald run"):
        assert is_held(path)
    with monkeypatch.context() as patch:
        patch.setattr(Path, "open", _refused)
        patch.setattr("filelock.FileLock.acquire", _refused)
        assert is_held(path) is True
    path.unlink()
    path.touch()
    assert is_held(path) is False


@pytest.mark.parametrize(
    "take",
    [lambda files, path: files.lock(path, limit=5), lambda files, path: files.exclusive(path, "x")],
    ids=["lock", "exclusive"],
)
def test_a_lock_is_let_go_when_its_work_fails(
    files: Files, tmp_path: Path, take: Callable[[Files, Path], object]
) -> None:
    """An error in what was done under it leaves no lock behind."""
    path = tmp_path / "a"
    with pytest.raises(KeyError), take(files, path):  # type: ignore[attr-defined]  # both are contexts
        raise KeyError

    def another() -> None:
        with take(Files(tmp_path / "locks"), path):  # type: ignore[attr-defined]  # likewise
            pass

    assert in_child(another).report == ""


def test_a_thread_may_lock_again_what_it_holds(files: Files, path: Path) -> None:
    """A commit that locks its files may call what locks one of them."""
    with files.lock(path), files.lock(path):
        pass
    with files.lock(path, limit=0):
        pass


def test_lock_files_are_private_and_away_from_the_person(
    files: Files, path: Path, tmp_path: Path
) -> None:
    """Nothing of ours appears beside the person's file, and no name tells of it."""
    with files.lock(path):
        assert list(path.parent.iterdir()) == [path]
        (lock,) = (tmp_path / "locks").iterdir()
        assert mode(lock) == 0o600
        assert "pgpass" not in lock.name


def test_another_pgherald_waits_and_gives_up_in_time(
    files: Files, path: Path, tmp_path: Path
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


def test_only_one_daemon_runs(files: Files, tmp_path: Path) -> None:
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


def test_a_dead_holder_holds_nothing(files: Files, tmp_path: Path) -> None:
    """The system lets go of a lock when its process ends, so a crash blocks no start."""
    path = tmp_path / "daemon.lock"

    def crash() -> None:
        with files.exclusive(path, "pgherald run"):
            os.kill(os.getpid(), signal.SIGKILL)

    assert in_child(crash).killed
    assert path.with_name("daemon.lock.pid").exists()
    with files.exclusive(path, "pgherald run"):
        pass
