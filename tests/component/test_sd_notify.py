"""The daemon under systemd: a datagram socket that stands for it, and the backoff of its starts."""

from __future__ import annotations

import asyncio
import itertools
import os
import socket
import struct
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pgherald.clock import SystemClock
from pgherald.service.sd_notify import (
    FREE,
    LONGEST,
    Manager,
    StartBackoff,
    watchdog_interval,
)
from support.fake_clock import FakeClock


class Systemd:
    """The far side of `$NOTIFY_SOCKET`."""

    def __init__(self, address: str) -> None:
        self.wire = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.wire.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        self.wire.settimeout(60)
        self.wire.bind(address)

    def receive(self) -> tuple[list[str], int]:
        """The next message's lines, and the sender's process id."""
        data, credentials, _, _ = self.wire.recvmsg(4096, socket.CMSG_SPACE(12))
        pid, _, _ = struct.unpack("3i", credentials[0][2])
        return data.decode().split("\n"), pid


@pytest.fixture(params=["path", "abstract"])
def systemd(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[Systemd, str]]:
    """A manager, and how `$NOTIFY_SOCKET` names it."""
    if request.param == "path":
        name = str(tmp_path / "notify")
        far = Systemd(name)
    else:
        name = f"@pgherald-test-{os.getpid()}"
        far = Systemd("\0" + name[1:])
    with far.wire:
        yield far, name


def test_everything_arrives(systemd: tuple[Systemd, str]) -> None:
    """Each message has systemd's own words, in one line each, and comes from our process."""
    far, name = systemd
    clock = FakeClock()
    manager = Manager({"NOTIFY_SOCKET": name}, clock)
    assert manager.listens
    messages: list[tuple[Callable[[], bool], list[str]]] = [
        (manager.ready, ["READY=1"]),
        (lambda: manager.ready("2 databases"), ["READY=1", "STATUS=2 databases"]),
        (lambda: manager.status("asking"), ["STATUS=asking"]),
        (lambda: manager.status(""), ["STATUS="]),
        (lambda: manager.status("one\nSTOPPING=1\n"), ["STATUS=one STOPPING=1"]),
        (manager.watchdog, ["WATCHDOG=1"]),
        (manager.reloading, ["RELOADING=1", "MONOTONIC_USEC=1000000000"]),
        (manager.stopping, ["STOPPING=1"]),
    ]
    for send, lines in messages:
        assert send()
        assert far.receive() == (lines, os.getpid())


def test_the_reload_stamp_is_systemds_own_clock(systemd: tuple[Systemd, str]) -> None:
    """The stamp is microseconds of CLOCK_MONOTONIC, or systemd would ignore the reload."""
    far, name = systemd
    before = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
    Manager({"NOTIFY_SOCKET": name}, SystemClock()).reloading()
    after = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
    stamp = int(far.receive()[0][1].removeprefix("MONOTONIC_USEC="))
    assert before - 1 <= stamp <= after


@pytest.mark.parametrize("name", ["", "relative", "vsock:2:1234", "/nowhere/at/all", "@nobody"])
def test_without_a_manager_nothing_happens(name: str) -> None:
    """Started by hand, or by something else, the daemon says the same and nobody hears it."""
    manager = Manager({"NOTIFY_SOCKET": name} if name else {}, FakeClock())
    assert not manager.ready("up")
    assert not manager.status("")


def test_a_full_queue_does_not_hold_us_up(
    systemd: tuple[Systemd, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """When systemd does not read, a message is dropped after a moment."""
    monkeypatch.setattr("pgherald.service.sd_notify.SEND_LIMIT", 0.01)
    _, name = systemd
    manager = Manager({"NOTIFY_SOCKET": name}, FakeClock())
    sent = itertools.takewhile(bool, (manager.watchdog() for _ in range(10_000)))
    assert sum(sent) < 10_000


@pytest.mark.parametrize(
    ("environ", "seconds"),
    [
        ({}, None),
        ({"WATCHDOG_USEC": "60000000"}, 30.0),
        ({"WATCHDOG_USEC": "60000000", "WATCHDOG_PID": "43"}, None),
        ({"WATCHDOG_USEC": "0"}, None),
        ({"WATCHDOG_USEC": "1", "WATCHDOG_PID": "me"}, None),
    ],
)
def test_the_watchdog_interval(environ: dict[str, str], seconds: float | None) -> None:
    """A sign of life comes twice as often as asked for, if it is us who were asked."""
    assert watchdog_interval(environ, 42) == seconds


# --- starts in a row ------------------------------------------------------------------------


class Machine:
    """A machine on which pgherald is started again and again."""

    def __init__(self, folder: Path) -> None:
        self.clock = FakeClock()
        self.folder = folder
        self.env = {"NOTIFY_SOCKET": str(folder / "notify"), "RUNTIME_DIRECTORY": str(folder)}

    async def start(self, *, lasting: float = 5.0) -> float:
        """Start, and die; gives the seconds it waited before it began."""
        before = len(self.clock.slept)
        task = asyncio.create_task(StartBackoff(self.env, self.clock).wait())
        while not task.done():
            await self.clock.advance(30)
        await task
        await self.clock.advance(lasting)
        return sum(self.clock.slept[before:])


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


async def test_the_backoff_grows_and_never_gives_up(machine: Machine) -> None:
    """The first starts follow at once, then after 30 s, 60 s and so on up to 15 minutes."""
    waits = [await machine.start() for _ in range(10)]
    assert waits == [0, 0, 0, 30, 60, 120, 240, 480, 900, 900]


async def test_a_run_that_lasted_or_ended_well_was_no_failure(machine: Machine) -> None:
    """Whoever crashes once a day is started at once, and so is whoever was stopped in between."""
    assert [await machine.start(lasting=3600) for _ in range(5)] == [0] * 5
    for _ in range(FREE):
        await machine.start()
    StartBackoff(machine.env, machine.clock).clear()
    assert await machine.start() == 0


async def test_whoever_ends_the_wait_need_not_wait(
    machine: Machine, caplog: pytest.LogCaptureFixture
) -> None:
    """A wait is logged; killed then, by `systemctl restart`, the next one begins at once."""
    for _ in range(FREE):
        await machine.start()
    task = asyncio.create_task(StartBackoff(machine.env, machine.clock).wait())
    await machine.clock.advance(1)
    assert not task.done()
    task.cancel()
    assert "Ended unexpectedly 3 times in a row: begins anew in 30 s" in caplog.text
    assert await machine.start() == 0


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("", 0), ("9", 0), ("9 nan", 0), ("9 1e99", 0), ("-9 900", 0), ("9" * 5000 + " 1", 0),
     (f"{'9' * 400} 999.0\n", LONGEST)],
)  # fmt: skip
async def test_a_damaged_count(machine: Machine, text: str, seconds: float) -> None:
    """Whatever stands in the count's place, pgherald begins, after the longest wait at most."""
    (machine.folder / "starts").write_text(text)
    assert await machine.start() == seconds


async def test_a_folder_that_cannot_be_written(machine: Machine) -> None:
    """A count that cannot be kept is no reason not to begin."""
    (machine.folder / "no folder").touch()
    machine.env["RUNTIME_DIRECTORY"] = str(machine.folder / "no folder" / "gone")
    assert [await machine.start() for _ in range(5)] == [0] * 5


def test_the_unit_waits_longer_than_the_longest_backoff() -> None:
    """For systemd, waiting is no start that hangs."""
    units = [path.read_text() for path in (Path(__file__).parents[2] / "systemd").glob("*.service")]
    waits = [int(text.split("TimeoutStartSec=")[1].split("min")[0]) for text in units]
    assert len(waits) == 2
    assert all(minutes * 60 > LONGEST + 60 for minutes in waits)
