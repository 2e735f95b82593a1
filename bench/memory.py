"""What an idle daemon takes: memory, and how often it wakes up."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import statistics
import subprocess
import sys
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Final

from bench.table import Row
from pgherald.heroku.watched import FIRST
from pgherald.simulator.postgres import Cluster
from support.heroku_cli import HerokuCli
from support.program import SHOP, House, Program, eventually

#: Times the memory of the four packages alone, and wake-ups a minute with and without the signs
#: of life that systemd asks for: the promise.
PROMISE: Final = 1.2
WATCHED: Final = 6
UNWATCHED: Final = 2

#: The four packages that the program cannot do without, imported and set up, and nothing else.
PACKAGES: Final = """
import asyncio, sys
import httpx, psycopg
from apscheduler.schedulers.asyncio import AsyncIOScheduler
from watchdog.events import FileSystemEventHandler
from watchdog.observers import Observer

async def main():
    scheduler = AsyncIOScheduler()
    scheduler.start()
    scheduler.add_job(print, "interval", hours=1)
    observer = Observer()
    observer.schedule(FileSystemEventHandler(), sys.argv[1])
    observer.start()
    async with httpx.AsyncClient():
        print("idle", flush=True)
        await asyncio.Event().wait()

asyncio.run(main())
"""

#: How long a process is watched: some minutes, of which the median counts. A thread goes to sleep
#: of itself, by the kernel's count, also when it waits for a page that the kernel took away from a
#: process long idle; that comes now and then, in the packages' own process too, and is nobody's
#: wake-up.
_MINUTES: Final = 3

#: Seconds until the last thing that a start brings about, and those until that is over.
_LAST: Final = FIRST + 30.0
_SETTLE: Final = 5.0


def resident(pid: int) -> float:
    """Memory of a process in MiB. proc(5): VmRSS."""
    return _status(Path(f"/proc/{pid}/status"), "VmRSS") / 1024


def wake_ups(pid: int) -> int:
    """How often its threads have gone to sleep of themselves, and so were woken up again."""
    return sum(
        _status(task / "status", "voluntary_ctxt_switches")
        for task in Path(f"/proc/{pid}/task").iterdir()
    )


def _status(path: Path, field: str) -> int:
    line = next(line for line in path.read_text().splitlines() if line.startswith(f"{field}:"))
    return int(line.split()[1])


async def rows(folder: Path) -> list[Row]:
    """One row for memory, two for wake-ups."""
    # With a sign of life every 15 seconds.
    wire = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    wire.bind(str(folder / "notify"))
    systemd = {"NOTIFY_SOCKET": str(folder / "notify"), "WATCHDOG_USEC": "30000000"}
    with wire:
        async with (
            _daemon(folder / "plain") as (house, daemon),
            _daemon(folder / "watched", systemd) as (others, other),
            _packages(folder) as packages,
        ):
            await _idle(house, daemon)
            await _idle(others, other)
            plain, watched, alone = await _per_minute(daemon.pid, other.pid, packages)
            ours, theirs = resident(daemon.pid), resident(packages)
            cli = await _cli(house)
    memory = Row(
        "memory of the idle daemon",
        f"{ours:.0f} MiB",
        f"{theirs:.0f} MiB: its four packages alone, idle "
        f"({cli:.0f} MiB: `heroku config:get`, each time)",
        f"{ours / theirs:.2f}",
        good=ours <= PROMISE * theirs,
    )
    beside = f"{alone}: its four packages alone, idle"
    return [
        memory,
        Row("wake-ups a minute, idle", str(plain), beside, good=plain <= UNWATCHED),
        Row("the same with systemd's watchdog", str(watched), beside, good=watched <= WATCHED),
    ]


@contextlib.asynccontextmanager
async def _daemon(
    folder: Path, more: Mapping[str, str] | None = None
) -> AsyncIterator[tuple[House, Program]]:
    """A daemon in a house of its own."""
    folder.mkdir()
    with await asyncio.to_thread(Cluster.start, folder) as cluster:
        async with House.standing(cluster, folder) as house:
            house.configure(SHOP, poll="1h")
            async with house.daemon(more) as daemon:
                yield house, daemon


async def _idle(house: House, daemon: Program) -> None:
    """Wait until there is nothing left to do, and the app's log is followed."""
    await eventually(lambda: not house.behind(house.login()), log=daemon)
    await eventually(lambda: house.requests("GET /sessions/*") > 0, log=daemon)
    # A minute after the start, and then once a day, it asks when the token ends.
    asks = "GET /oauth/authorizations*"
    await eventually(lambda: house.requests(asks) > 0, within=_LAST, log=daemon)
    await asyncio.sleep(_SETTLE)


async def _per_minute(*pids: int) -> list[int]:
    """How often each process was woken up in the median minute."""
    minutes: list[list[int]] = []
    for _ in range(_MINUTES):
        before = [wake_ups(pid) for pid in pids]
        await asyncio.sleep(60)
        minutes.append([wake_ups(pid) - seen for pid, seen in zip(pids, before, strict=True)])
    return [statistics.median_low(counted) for counted in zip(*minutes, strict=True)]


@contextlib.asynccontextmanager
async def _packages(folder: Path) -> AsyncIterator[int]:
    """The four packages alone, in a process of their own; its id."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", PACKAGES, str(folder)), stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    try:
        await process.stdout.readline()
        yield process.pid
    finally:
        process.kill()
        await process.wait()


async def _cli(house: House) -> float:
    """The most that the Heroku CLI takes. getrusage(2), by way of wait4."""
    cli = HerokuCli.find()
    env = cli.environment(house.simulator, house.home)
    argv = [cli.node, str(cli.script), "config:get", "DATABASE_URL", "-a", "shop-production"]

    def run() -> float:
        with subprocess.Popen(
            argv, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        ) as process:
            _, status, usage = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
        return usage.ru_maxrss / 1024

    return await asyncio.to_thread(run)
