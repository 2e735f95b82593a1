"""How long a file has to be left alone before it is replaced."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from pgherald.files import Files
from pgherald.sync.restless import Stillness
from support.fake_clock import START, FakeClock

#: A time of a file that says nothing: long ago, by the fake clock.
LONG_AGO = START.timestamp() - 3600


class Desk:
    """One file, and what is known of it."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "file"
        self.clock = FakeClock()
        self.still = Stillness(self.clock)
        self._files = Files(folder / "locks")
        self._number = 0
        self.save()

    def save(self, content: str = "", at: float = LONG_AGO) -> None:
        """Somebody saves it; its time tells nothing, unless it is said."""
        self._number += 1
        self.path.write_text(content or f"{self._number}\n")
        os.utime(self.path, (at + self._number / 1000, at + self._number / 1000))

    def left(self) -> float:
        """It is read; the seconds for which it must be left alone."""
        self.still.saw(self._files.read(self.path))
        return round(self.still.left(self.path), 3)


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


async def test_a_quiet_file_is_still_at_once(desk: Desk) -> None:
    """A rotation does not wait for a file that nobody writes; nor for one that is unknown."""
    assert desk.still.left(desk.path) == 0
    assert desk.left() == 0
    await desk.clock.advance(100)
    assert desk.left() == 0


async def test_the_pause_grows_with_the_changes_and_is_bounded(desk: Desk) -> None:
    """The more often it changes, the longer it must be still, but never two seconds."""
    desk.left()
    pauses = []
    for _ in range(12):
        desk.save()
        pauses.append(desk.left())
        await desk.clock.advance(0.1)
    assert pauses == sorted(pauses)
    assert pauses[0] < 0.5
    assert pauses[0] < pauses[1] < pauses[-1] < 2
    await desk.clock.advance(2)
    assert desk.left() == 0


async def test_what_we_wrote_is_no_change(desk: Desk) -> None:
    """Our own content is found there; another one is somebody's."""
    desk.left()
    desk.still.wrote(desk.path, b"ours\n")
    desk.save("ours\n")
    assert desk.left() == 0
    desk.save("theirs\n")
    assert desk.left() > 0


async def test_what_a_watcher_saw_counts_once(desk: Desk) -> None:
    """An event is a change, and the file as it is then is known; it may be the first or the last of it."""
    desk.still.touched(desk.path)
    once = desk.left()
    assert once == round(desk.still.left(desk.path), 3) > 0
    await desk.clock.advance(60)
    desk.path.unlink()
    desk.still.touched(desk.path)
    assert desk.left() == once
    assert desk.still.left(Path("nul\0")) == 0


@pytest.mark.parametrize(
    ("age", "waits"), [(0.1, True), (100, False), (-0.5, False), (-100, False)]
)
async def test_the_first_reading_takes_a_hint_from_the_files_time(
    desk: Desk, age: float, *, waits: bool
) -> None:
    """A command that has seen nothing waits for a file that was written just now, not for odd times."""
    desk.save(at=START.timestamp() - age)
    left = desk.left()
    assert (left > 0) is waits
    assert left < 0.3


async def test_a_wall_clock_that_is_set_changes_nothing(desk: Desk) -> None:
    """Stillness is counted by the clock that never jumps."""
    desk.left()
    desk.save()
    first = desk.left()
    desk.clock.jump(3600)
    assert desk.left() == first
    desk.clock.jump(-7200)
    assert desk.left() == first
