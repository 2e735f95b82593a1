"""Which events make us look, and what counts as a change. The folder watch is a stand-in."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import pytest

from pgherald.watch.paths import Folders, OnEvent, PathWatch
from support.fake_clock import FakeClock, settle


class FakeFolders(Folders):
    """Notes what it shall watch."""

    def __init__(self, on_event: OnEvent) -> None:
        super().__init__(on_event)
        self.on_event = on_event
        self.kept: frozenset[str] = frozenset()
        self.stopped = False

    def keep(self, wanted: Iterable[str]) -> bool:
        before, self.kept = self.kept, frozenset(wanted)
        return bool(self.kept - before)

    def stop(self) -> None:
        self.stopped = True


class House:
    """A path watch with its neighbours."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.clock = FakeClock()
        self.changed: list[str] = []
        self.fakes: list[FakeFolders] = []
        self.fails = False
        self.watch = PathWatch(self.on_change, self.clock, folders=self.make)

    def make(self, on_event: OnEvent) -> FakeFolders:
        self.fakes.append(FakeFolders(on_event))
        return self.fakes[-1]

    def on_change(self, path: Path) -> None:
        self.changed.append(path.name)
        if self.fails:
            raise RuntimeError("CANARY-pw-1")

    def file(self, name: str, text: str = "one") -> Path:
        path = self.home / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path

    async def event(self, path: Path) -> None:
        self.fakes[-1].on_event(str(path))
        await settle()

    async def quiet(self) -> None:
        """Let the debounce pass."""
        await self.clock.advance(0.2)


@pytest.fixture
async def house(tmp_path: Path) -> House:
    return House(tmp_path)


async def watching(house: House, *paths: Path) -> None:
    house.watch.watch(paths)
    await house.quiet()
    assert house.changed == []


async def test_a_change_is_noticed_though_folders_cannot_be_watched(
    house: House, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A moment in which the disk fails loses no change that was there to be seen."""
    path = house.file("f")
    await watching(house, path)

    def fails(*_: object) -> bool:
        raise OSError(5, "CANARY")

    house.file("f", "two!")
    with monkeypatch.context() as patched:
        patched.setattr(FakeFolders, "keep", fails)
        await house.event(path)
        await house.quiet()
    assert house.changed == ["f"]
    assert "OSError" in caplog.text
    assert "CANARY" not in caplog.text


async def test_a_change_is_told_once(house: House) -> None:
    """Many events for one change are one call, a moment later."""
    path = house.file("a")
    await watching(house, path)
    path.write_text("another")
    for _ in range(5):
        await house.event(path)
    assert house.changed == []
    await house.quiet()
    await house.quiet()
    assert house.changed == ["a"]


async def test_other_files_do_not_even_make_us_look(house: House) -> None:
    """A busy home folder does not wake the daemon."""
    await watching(house, house.file("a"))
    await house.event(house.home / "b")
    assert house.clock.sleepers == 0


async def test_our_own_write(house: House) -> None:
    """A file that we wrote is known, so the events of the writing change nothing."""
    path = house.file("a")
    await watching(house, path)
    path.write_text("written by us")
    house.watch.seen(path)
    house.watch.seen(house.home / "never heard of")
    await house.event(path)
    await house.quiet()
    assert house.changed == []
    path.write_text("written by another")
    await house.event(path)
    await house.quiet()
    assert house.changed == ["a"]


async def test_a_change_during_the_look_is_seen(house: House) -> None:
    """An event that comes while a callback runs is looked at afterwards."""
    path = house.file("a")
    await watching(house, path)
    path.write_text("two!")
    await house.event(path)
    await house.clock.advance(0.1)
    path.write_text("three")
    await house.event(path)
    await house.quiet()
    path.write_text("four four")
    await house.event(path)
    await house.quiet()
    assert house.changed == ["a", "a"]


async def test_a_failing_callback(house: House, caplog: pytest.LogCaptureFixture) -> None:
    """A change that cannot be handled does not hide the next one, nor show its secret."""
    paths = [house.file("a"), house.file("b")]
    await watching(house, *paths)
    house.fails = True
    for path in paths:
        path.write_text("another")
    await house.event(paths[0])
    await house.quiet()
    assert sorted(house.changed) == ["a", "b"]
    assert "CANARY" not in caplog.text
    assert "RuntimeError" in caplog.text


async def test_a_callback_may_change_what_is_watched(house: House) -> None:
    """A reload in the middle of a look drops paths without a word about them."""
    paths = [house.file("a"), house.file("b")]

    def reload(path: Path) -> None:
        house.changed.append(path.name)
        house.watch.watch([path])

    house.watch = PathWatch(reload, house.clock, folders=house.make)
    house.watch.watch(paths)
    await house.quiet()
    for path in paths:
        path.write_text("another")
    await house.event(paths[0])
    await house.quiet()
    assert len(house.changed) == 1


async def test_a_link_that_leads_elsewhere(house: House) -> None:
    """A link made anew is a change, and from then on the new target's folder is watched."""
    house.file("old/f")
    new = house.file("new/f", "other")
    link = house.home / "l"
    link.symlink_to("old/f")
    await watching(house, link)
    link.unlink()
    link.symlink_to("new/f")
    await house.event(link)
    await house.quiet()
    assert house.changed == ["l"]
    assert house.fakes[-1].kept == {str(house.home), str(new.parent)}


async def test_a_folder_that_comes_later(house: House) -> None:
    """What appeared while its folder was not watched is noticed at the health check."""
    path = house.home / "later" / "a"
    await watching(house, path)
    house.fakes[-1].kept = frozenset()  # as if it could not be watched
    house.file("later/a")
    house.watch.check_health()
    await house.quiet()
    assert house.changed == ["a"]


async def test_stop(house: House) -> None:
    """After the end nothing is called, whatever still comes in."""
    path = house.file("a")
    await watching(house, path)
    path.write_text("another")
    await house.event(path)
    house.watch.stop()
    assert house.fakes[-1].stopped
    await house.event(path)
    house.watch.check_health()
    await house.quiet()
    assert house.changed == []
    assert len(house.fakes) == 1
    PathWatch(house.on_change, house.clock).stop()
