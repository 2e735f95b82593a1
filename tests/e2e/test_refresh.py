"""`pgherald refresh`: with a daemon, without one, and whatever Heroku does."""

from __future__ import annotations

import asyncio
import signal
import sqlite3

import pytest

from pgherald.simulator.faults import Fault
from support.children import LIMIT
from support.program import SHOP, House, eventually

#: Far longer than a test runs: whatever is seen in between was asked for.
LONG = "1h"


def forbidden(house: House) -> None:
    house.simulator.app.front.faults.add(Fault("403", "GET /apps/*/config-vars"))


async def test_a_mended_permission_is_seen_at_once(house: House) -> None:
    """What was forbidden and is allowed again is seen by refresh, and by SIGHUP, in a moment."""
    house.configure(SHOP, poll=LONG, events=False)
    forbidden(house)
    async with house.daemon() as daemon:
        await daemon.line("Ready:")
        refused = await house.pgherald("refresh")
        assert (refused.code, "not let this token in" in refused.err) == (1, True)
        house.simulator.app.front.faults.clear()
        mended = await house.pgherald("refresh")
        assert (mended.code, mended.err) == (0, ""), daemon.log
        assert house.behind(house.login()) == []
        forbidden(house)
        assert (await house.pgherald("refresh")).code == 1
        house.simulator.app.front.faults.clear()
        daemon.signal(signal.SIGHUP)

        async with asyncio.timeout(LIMIT):
            while (await house.pgherald("status")).code != 0:
                await asyncio.sleep(0.1)


async def test_several_at_once_are_all_answered(house: House) -> None:
    """Two people ask at the same moment, and the configuration changes: each gets an answer."""
    house.configure(SHOP, poll=LONG, events=False)
    async with house.daemon() as daemon:
        await daemon.line("Ready:")
        asking = [asyncio.create_task(house.pgherald("refresh")) for _ in range(3)]
        await asyncio.sleep(0.5)
        house.configure(SHOP, poll="2h", events=False)
        daemon.signal(signal.SIGHUP)
        done = await asyncio.gather(*asking)
        assert [(each.code, each.err) for each in done] == [(0, "")] * 3, daemon.log


async def test_one_that_asked_before_the_daemon_listened_is_answered(house: House) -> None:
    """A request that came while the daemon started, or took over a configuration, is not lost."""
    house.configure(SHOP, poll=LONG, events=False)
    folder = house.state / "refresh"
    folder.mkdir(parents=True, mode=0o700)
    house.state.chmod(0o700)
    (folder / "asked").write_text("0123456789abcdef")

    def answered() -> bool:
        with sqlite3.connect(house.state / "state.db") as db:
            sql = "SELECT value FROM about WHERE name = 'note:refreshed'"
            return db.execute(sql).fetchall() == [("0123456789abcdef",)]

    async with house.daemon() as daemon:
        await daemon.line("Ready:")
        await eventually(answered, log=daemon)


async def test_one_that_ends_meanwhile_leaves_a_check(house: House) -> None:
    """A daemon that hangs and is killed answers nobody: whoever waits for it goes on without it."""
    house.configure(SHOP, poll=LONG, events=False)
    async with house.daemon() as daemon:
        await daemon.line("Ready:")
        daemon.signal(signal.SIGSTOP)
        asking = asyncio.create_task(house.pgherald("refresh"))
        await eventually((house.state / "refresh" / "asked").exists)
        await house.rotate()
        await daemon.kill()
    done = await asking
    assert (done.code, done.err) == (0, "")
    assert house.behind(house.login()) == []


@pytest.mark.parametrize("place", ["refresh", "refresh/asked"])
async def test_what_is_in_the_way_of_a_request_is_set_aside(house: House, place: str) -> None:
    """A file in place of the folder, or a folder in place of the file, keeps nobody from asking."""
    house.configure(SHOP, poll=LONG, events=False)
    async with house.daemon() as daemon:
        await daemon.line("Ready:")
        path = house.state / place
        if place == "refresh":
            path.rmdir() if path.exists() else None
            path.write_text("x")
        else:
            path.mkdir(parents=True)
        done = await house.pgherald("refresh")
        assert done.code == 0, done.err + daemon.log


async def test_without_a_daemon_it_is_a_check(house: House) -> None:
    """Where no daemon runs, the clients are brought up to date all the same."""
    house.configure(SHOP)
    done = await house.pgherald("refresh")
    assert (done.code, done.err) == (0, "")
    assert house.behind(house.login()) == []
