"""A service that ends again and again begins less and less often."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from pgherald.service import rest
from pgherald.service.rest import FREE, LONGEST, Starts
from support.fake_clock import FakeClock

HOUR = 3600.0


class Machine:
    """A machine on which pgherald is started again and again."""

    def __init__(self, folder: Path) -> None:
        self.clock = FakeClock()
        self.folder = folder
        self.env = {"NOTIFY_SOCKET": str(folder / "notify"), "RUNTIME_DIRECTORY": str(folder)}

    async def start(self, *, lasting: float = 5.0) -> float:
        """Start, and die; gives the seconds it rested before it began."""
        before = len(self.clock.slept)
        task = asyncio.create_task(Starts(self.env, self.clock).rest())
        while not task.done():
            await self.clock.advance(1)
        await task
        await self.clock.advance(lasting)
        return sum(self.clock.slept[before:])


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


async def test_the_rest_grows_and_never_ends_for_good(machine: Machine) -> None:
    """The first starts follow at once, then after 30 s, 60 s and so on up to 15 minutes."""
    rests = [await machine.start() for _ in range(14)]
    assert rests == [0, 0, 0, 30, 60, 120, 240, 480, 900, 900, 900, 900, 900, 900]


async def test_a_run_that_lasted_was_no_failure(machine: Machine) -> None:
    """Whoever crashes once a day is started at once each time."""
    assert [await machine.start(lasting=HOUR) for _ in range(9)] == [0] * 9


async def test_an_end_as_it_was_told_clears_the_count(machine: Machine) -> None:
    """After `systemctl stop`, the next start is the first one."""
    for _ in range(FREE):
        await machine.start()
    Starts(machine.env, machine.clock).ended()
    assert await machine.start() == 0


async def test_whoever_ends_the_rest_need_not_wait(
    machine: Machine, caplog: pytest.LogCaptureFixture
) -> None:
    """While it rests it says so; killed then, by `systemctl restart`, the next one begins at once."""
    for _ in range(FREE):
        await machine.start()
    task = asyncio.create_task(Starts(machine.env, machine.clock).rest())
    await machine.clock.advance(1)
    assert not task.done()
    task.cancel()
    assert "Ended unexpectedly 3 times in a row: begins anew in 30 s" in caplog.text
    assert await machine.start() == 0


@pytest.mark.parametrize(
    "text",
    ["", "x", "9", "9 x", "9 nan", "9 inf", "9 -inf", "9 1e99", "-9 900", "9 900 1", "9" * 5000 + " 1",
     "٩ 900", "\0" * 99],
)  # fmt: skip
async def test_a_record_that_says_nothing_plain(machine: Machine, text: str) -> None:
    """Whatever stands in the count's place, pgherald begins, at once."""
    (machine.folder / "starts").write_text(text)
    assert await machine.start() == 0


async def test_a_count_beyond_all_bounds(machine: Machine) -> None:
    """A count that somebody made up costs no more than the longest rest."""
    (machine.folder / "starts").write_text(f"{'9' * 400} 999.0\n")
    assert await machine.start() == LONGEST


@pytest.mark.parametrize("missing", ["NOTIFY_SOCKET", "RUNTIME_DIRECTORY"])
async def test_without_systemd_it_never_rests(machine: Machine, missing: str) -> None:
    """Started by hand, or by another manager, it begins at once and writes nothing."""
    del machine.env[missing]
    assert [await machine.start() for _ in range(9)] == [0] * 9
    assert list(machine.folder.iterdir()) == []


async def test_a_folder_that_cannot_be_written(machine: Machine) -> None:
    """A count that cannot be kept is no reason not to begin."""
    (machine.folder / "no folder").touch()
    machine.env["RUNTIME_DIRECTORY"] = str(machine.folder / "no folder" / "gone")
    assert [await machine.start() for _ in range(9)] == [0] * 9


def test_the_unit_waits_longer_than_the_longest_rest() -> None:
    """For systemd, a rest is no start that hangs."""
    units = (Path(rest.__file__).parents[3] / "systemd").glob("*.service")
    waits = [text.split("TimeoutStartSec=")[1].split("min")[0] for text in _texts(units)]
    assert len(waits) == 2
    assert all(int(minutes) * 60 > LONGEST + 60 for minutes in waits)


def _texts(paths: Iterator[Path]) -> list[str]:
    return [path.read_text() for path in paths]
