"""Each has its share: stories of noisy apps, crash loops, a state file that is held, bad disks."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import errno
import json
import os
import sqlite3
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from pgherald.daemon import generation
from pgherald.daemon.publish import Publisher
from pgherald.daemon.run import Daemon
from pgherald.daemon.wiring import Outside
from pgherald.heroku.events import AppEvents
from pgherald.heroku.watched import ExpiryWatch
from pgherald.simulator.postgres import Cluster
from pgherald.sync.reconciler import Reconciler
from pgherald.watch import wake
from support.children import LIMIT
from support.fake_clock import FakeClock
from support.program import SHOP, House, eventually
from support.workplace import MINUTE, Workplace

STAGING = '[[databases]]\napp = "shop-staging"\n'
APPS = ("quiet", *(f"noisy-{number}" for number in range(12)))


# --- a noisy app ---------------------------------------------------------------------------------


class Street:
    """A place whose apps have logs that are followed, in a manner of speaking.

    Attributes:
        asked: requests about each app so far.
    """

    def __init__(self, place: Workplace, noisy: int) -> None:
        self.place = place
        self.noisy = APPS[1 : 1 + noisy]
        self.most = 0

    def release(self, app: str) -> None:
        """Make a release of an app, which its log tells of."""
        poller = self.place.machine.poller
        self.place.simulator.world.release(self.place.app(app), "Set X", "somebody")
        poller.read(poller.watched[0], app)

    async def passes(self, seconds: float) -> None:
        """Time with a sweep a minute, while noisy apps have a release every fifth of a second."""
        place = self.place
        for second in range(round(seconds)):
            for _ in range(5):
                for app in self.noisy:
                    self.release(app)
                await place.clock.advance(0.2)
            if second % 60 == 59:
                place.machine.poller.sweep()
            await place.done()
            self.most = max(self.most, place.api.budget.last_hour())

    def asked(self, app: str) -> int:
        visits = self.place.simulator.app.front.visits
        return sum(visit.path.startswith(f"/apps/{app}/") for visit in visits)


@pytest.mark.parametrize("noisy", [0, 12])
async def test_a_quiet_app_is_seen_as_without_noisy_ones(tmp_path: Path, noisy: int) -> None:
    """A rotation that the log tells of is in the clients at once, whatever other logs tell.

    The account's allowance is never exceeded, and a noisy app that rotates is not forgotten.
    """
    top = 'poll_interval = "1m"\n'
    async with Workplace.standing(tmp_path, apps=APPS, watched=APPS, top=top) as place:
        await place.sweep()
        street = Street(place, noisy)
        await street.passes(4 * MINUTE)
        for _ in range(2):
            rotated = await place.rotate("quiet")
            street.release("quiet")
            await place.done()
            assert place.holds(rotated, "quiet")
            await street.passes(90)
        if noisy:
            mine = await place.rotate(APPS[1])
            await street.passes(3 * MINUTE)
            assert place.holds(mine, APPS[1])
            assert street.asked(APPS[1]) < 15 * 4, "not a request a second"
        assert street.most <= place.api.budget.allowance


# --- started over and over -------------------------------------------------------------------------


async def test_check_in_a_loop(cluster: Cluster, tmp_path: Path) -> None:
    """Each check does its one pass, until the hour's requests are used up; that is then said."""
    async with House.standing(cluster, tmp_path, apps=("shop-production", "shop-staging")) as house:
        house.configure(SHOP, STAGING, top="")
        text = house.config.read_text()
        # 45 requests in an hour, fifteen of them at once.
        house.put(house.config, text.replace("[heroku]\n", '[heroku]\nrequest_share = "1%"\n'))
        checks = [await house.pgherald("check") for _ in range(7)]
        assert checks[0].code == 0
        assert checks[-1].code == 1
        assert "used up" in checks[-1].err
        assert "request_share" in checks[-1].err
        assert "Wait some minutes" in checks[-1].err
        assert house.requests() <= 45
        plan = await house.pgherald("plan")
        assert plan.code == 1
        assert "used up" in plan.err
        assert house.requests() <= 45


# --- a state file that is held -----------------------------------------------------------------------

_HOLDS = """\
import sqlite3, sys
held = sqlite3.connect(sys.argv[1], isolation_level=None, timeout=60)
held.execute("BEGIN EXCLUSIVE")
print("held", flush=True)
sys.stdin.read()
"""


@contextlib.asynccontextmanager
async def held(state: Path) -> AsyncIterator[None]:
    """Meanwhile, another program holds the state file."""
    program = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        _HOLDS,
        str(state),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    assert program.stdin is not None
    assert program.stdout is not None
    try:
        async with asyncio.timeout(LIMIT):
            assert await program.stdout.readline() == b"held\n"
        yield
    finally:
        program.stdin.close()
        await program.wait()


async def test_the_daemon_lives_while_its_state_file_is_held(
    cluster: Cluster, tmp_path: Path
) -> None:
    """A rotation is in the clients while it is held, the log has one error, and it ends in time."""
    async with House.standing(cluster, tmp_path) as house:
        house.configure(SHOP)
        async with house.daemon() as daemon:
            await eventually(lambda: not house.behind(house.login()), log=daemon)
            await eventually(lambda: _history(house) == 0, log=daemon)
            async with held(house.state / "state.db"):
                rotated = await house.rotate()
                await eventually(lambda: not house.behind(rotated), log=daemon)
                again = await house.rotate()
                await eventually(lambda: not house.behind(again), log=daemon)
            await eventually(lambda: _history(house) == 2, log=daemon)
            await asyncio.sleep(1)
            assert _history(house) == 2
            assert daemon.count("cannot be used") <= 1
            async with held(house.state / "state.db"):
                await house.rotate()
                await daemon.terminate()
            assert daemon.code == 0


def _history(house: House) -> int:
    with contextlib.closing(sqlite3.connect(house.state / "state.db", timeout=30)) as state:
        return int(state.execute("SELECT count(*) FROM rotation").fetchone()[0])


# --- a disk that fails once ------------------------------------------------------------------------


def failing_once(monkeypatch: pytest.MonkeyPatch, where: Any, name: str) -> list[int]:
    """Let a method fail at its first call, as by a disk; how often it was called."""
    plain, calls = getattr(where, name), [0]

    def fails(*args: Any, **kwargs: Any) -> Any:
        calls[0] += 1
        if calls[0] == 1:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return plain(*args, **kwargs)

    monkeypatch.setattr(where, name, fails)
    return calls


PARTS: tuple[tuple[Any, str], ...] = (
    (Publisher, "_show"),
    (Reconciler, "_compare"),
    (ExpiryWatch, "run"),
    (generation, "alert_astray"),
    (AppEvents, "run"),
    (wake, "until_beat"),
)


@pytest.fixture
async def place(tmp_path: Path) -> AsyncIterator[Workplace]:
    async with Workplace.standing(tmp_path, watched=("shop-production",)) as standing:
        yield standing


@pytest.mark.parametrize(("where", "name"), PARTS, ids=lambda part: getattr(part, "__name__", part))
async def test_a_part_that_fails_once_works_again(
    place: Workplace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: Any, name: str
) -> None:
    """Whichever part of the daemon meets a bad moment of the disk, it works again a moment later.

    Clients are kept meanwhile, status.json says that the daemon runs, and at the end that it
    does not.
    """
    calls = failing_once(monkeypatch, where, name)
    clock = FakeClock()
    state = tmp_path / "another"
    config = dataclasses.replace(place.config, state_dir=state, poll_interval=60.0)
    env = {"HEROKU_HOST": place.simulator.url, "HOME": str(place.home)}
    outside = Outside(env, place.home, clock, None, place.probes)
    daemon = Daemon(config, lambda: config, outside, lambda: None)
    running = asyncio.create_task(daemon.run())

    def shown() -> dict[str, Any]:
        with contextlib.suppress(OSError, ValueError):
            found = json.loads((state / "status.json").read_text())
            assert isinstance(found, dict)
            return found
        return {}

    async def until(condition: Any) -> None:
        async with asyncio.timeout(LIMIT):
            while not condition():
                assert not running.done()
                await clock.advance(1)
                await asyncio.sleep(0.02)

    try:
        await until(lambda: calls[0] >= 2 and shown().get("running") is True)
        await until(lambda: place.holds(place.shown()))
        rotated = await place.rotate()
        await until(lambda: place.holds(rotated))
        await until(lambda: [d["current"] for d in shown()["databases"]] == [True])
    finally:
        daemon.stop()
        async with asyncio.timeout(LIMIT):
            while not running.done():
                await clock.advance(1)
                await asyncio.sleep(0.02)
    assert shown()["running"] is False
