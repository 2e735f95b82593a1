"""Watching files with the real watchdog on the real kernel."""

from __future__ import annotations

import asyncio
import errno
import gc
import os
import shutil
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from watchdog.observers import Observer
from watchdog.observers.api import BaseObserver

from pgherald.clock import SystemClock
from pgherald.watch.paths import Folders, PathWatch

#: A shorter wait than in earnest, so that the tests are quick.
DEBOUNCE = 0.05

#: How long the absence of a call is awaited.
SILENCE = 0.2

LIMIT = 60.0

pytestmark = pytest.mark.skipif(
    not Path("/proc/sys/fs/inotify").exists(), reason="these tests are about inotify"
)


class Home:
    """A folder, a watch, and what it called."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "home"
        self.folder.mkdir()
        self.path = self.folder / "f"
        self.path.write_text("one")
        self.changed: asyncio.Queue[Path] = asyncio.Queue()
        self.watch = PathWatch(self.changed.put_nowait, SystemClock(), debounce=DEBOUNCE)

    async def watching(self, *paths: Path) -> None:
        self.watch.watch(paths or [self.path])
        await self.silence()

    async def change(self) -> Path:
        """The one change that is told."""
        path = await asyncio.wait_for(self.changed.get(), LIMIT)
        await self.silence()
        return path

    async def silence(self) -> None:
        await asyncio.sleep(SILENCE)
        assert self.changed.empty(), self.changed.get_nowait()


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Home]:
    made = Home(tmp_path)
    yield made
    made.watch.stop()


def moved_into_place(path: Path) -> None:
    temporary = path.with_suffix(".tmp")
    temporary.write_text("two!")
    temporary.replace(path)


def as_vim_writes(path: Path) -> None:
    backup = path.with_suffix(".bak")
    path.rename(backup)
    path.write_text("two!")
    backup.unlink()


def written_in_place(path: Path) -> None:
    with path.open("a") as file:
        for _ in range(100):
            file.write("more\n")
            file.flush()


@pytest.mark.parametrize("write", [moved_into_place, as_vim_writes, written_in_place])
async def test_a_write_is_one_change(home: Home, write: Callable[[Path], None]) -> None:
    """However a program writes the file: it is told once."""
    await home.watching()
    write(home.path)
    assert await home.change() == home.path


async def test_a_link_whose_target_is_written_elsewhere(home: Home, tmp_path: Path) -> None:
    """Writing the file behind a link is a change of the link's path."""
    target = tmp_path / "dotfiles" / "f"
    target.parent.mkdir()
    target.write_text("one")
    link = home.folder / "link"
    link.symlink_to(target)
    await home.watching(link)
    moved_into_place(target)
    assert await home.change() == link


async def test_a_folder_that_is_a_link(home: Home, tmp_path: Path) -> None:
    """A path through a linked folder is watched where the folder really is."""
    linked = tmp_path / "linked"
    linked.symlink_to(home.folder)
    await home.watching(linked / "f")
    home.path.write_text("two!")
    assert await home.change() == linked / "f"


async def test_our_own_write_is_silent(home: Home) -> None:
    """A file that we have written ourselves is no change."""
    await home.watching()
    moved_into_place(home.path)
    home.watch.seen(home.path)
    await home.silence()


async def test_a_folder_that_is_deleted_and_comes_back(home: Home) -> None:
    """After the folder has gone and come back, its files are watched again."""
    await home.watching()
    shutil.rmtree(home.folder)
    assert await home.change() == home.path
    home.folder.mkdir()
    home.watch.check_health()
    await home.silence()
    home.path.write_text("two")
    assert await home.change() == home.path


async def test_a_folder_that_is_renamed_away(home: Home, tmp_path: Path) -> None:
    """The health check notices that another folder stands in the old one's place."""
    await home.watching()
    home.folder.rename(tmp_path / "old home")
    home.folder.mkdir()
    home.path.write_text("two")
    home.watch.check_health()
    assert await home.change() == home.path
    home.path.write_text("three")
    assert await home.change() == home.path


async def test_a_folder_that_is_not_there_yet(home: Home, tmp_path: Path) -> None:
    """A folder that appears later is watched from the next health check on."""
    path = tmp_path / "later" / "f"
    await home.watching(path)
    path.parent.mkdir()
    path.write_text("one")
    home.watch.check_health()
    assert await home.change() == path
    path.write_text("two!")
    assert await home.change() == path


async def test_the_end(home: Home) -> None:
    """Stopping leaves no thread and no open file."""
    gc.collect()
    threads, files = threading.active_count(), open_files()
    await home.watching()
    home.watch.stop()
    assert threading.active_count() == threads
    assert open_files() == files
    home.path.write_text("two!")
    await home.silence()


def open_files() -> int:
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


class Alert:
    """Makes observers that fail as the kernel would."""

    def __init__(self, *codes: int) -> None:
        self.codes = list(codes)

    def __call__(self) -> BaseObserver:
        if self.codes:
            code = self.codes.pop(0)
            raise OSError(code, os.strerror(code))
        return Observer()


def test_the_limit_of_watches(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Where the kernel allows no more watches this is said once, and tried again quietly."""
    folders = Folders(
        lambda _: None, observer=Alert(errno.EMFILE, errno.EMFILE, errno.ENOSPC, errno.EPERM)
    )
    for _ in range(4):
        assert not folders.keep([str(tmp_path)])
    assert folders.keep([str(tmp_path)])
    folders.stop()
    told = [record.message.partition(" Changes")[0] for record in caplog.records]
    assert told == [
        "This user's limit of watched files is reached (inotify).",
        "Files cannot be watched: Operation not permitted.",
    ]


def test_a_folder_that_may_not_be_read(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A folder that cannot be watched is named once, and the others are watched."""
    locked, open_ = tmp_path / "locked", tmp_path / "open"
    locked.mkdir()
    open_.mkdir()
    # Root may read everything, so a real mode would prove nothing here.
    may = os.access
    monkeypatch.setattr(os, "access", lambda p, mode: p != str(locked) and may(p, mode))
    folders = Folders(lambda _: None)
    for _ in range(2):
        folders.keep([str(locked), str(open_)])
    assert folders.watched == {str(open_)}
    folders.stop()
    assert [str(locked) in record.message for record in caplog.records] == [True]


def test_an_observer_that_hangs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Stopping does not wait for threads that do not end."""
    monkeypatch.setattr("pgherald.watch.paths.STOP_LIMIT", 0.05)
    release = threading.Event()
    observers: list[BaseObserver] = []

    def make() -> BaseObserver:
        observer = Observer()
        end = observer.stop

        def hang(*args: Any) -> None:
            release.wait(LIMIT)
            end(*args)

        monkeypatch.setattr(observer, "stop", hang)
        observers.append(observer)
        return observer

    folders = Folders(lambda _: None, observer=make)
    folders.keep([str(tmp_path)])
    folders.stop()
    assert observers[0].is_alive()
    release.set()
    observers[0].join(LIMIT)
