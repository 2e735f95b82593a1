"""A rotation is in the clients as soon as Heroku says so, long before the next look."""

from __future__ import annotations

import asyncio
from pathlib import Path

from pgherald.simulator.data_plane import Manner
from pgherald.simulator.faults import Fault
from pgherald.simulator.postgres import Cluster
from support.dbus import notification_server, session_bus
from support.program import SHOP, House, Program, eventually

#: Nothing here waits for the next look.
POLL = "1h"

ANALYTICS = '[[databases]]\napp = "shop-production"\nattachment = "ANALYTICS"\n'
SESSIONS = "POST /apps/*/log-sessions"


async def begin(house: House, daemon: Program) -> None:
    """Wait until the clients hold what is there, and the log is being read."""
    await eventually(lambda: not house.behind(house.login()), log=daemon)
    await eventually(lambda: house.requests("GET /sessions/*") > 0, log=daemon)


async def test_a_rotation_is_not_waited_for(house: House) -> None:
    """A release that the app's log tells of brings the new login into every client at once."""
    house.configure(SHOP, poll=POLL)
    async with house.daemon() as daemon:
        await begin(house, daemon)
        for _ in range(2):
            await house.rotate()
            await eventually(lambda: not house.behind(house.login()), log=daemon)


async def test_the_second_step_is_not_waited_for(house: House) -> None:
    """Without any log, a rotation in two steps is followed to its end by looking again soon."""
    house.configure(ANALYTICS, poll=POLL)
    house.simulator.app.front.faults.add(Fault("403", SESSIONS))
    house.world.data.manner, go = Manner(step=5.0), house.later_steps_wait()
    service = "shop-production-analytics"
    async with house.daemon() as daemon:
        old = house.login(attachment="ANALYTICS")
        await eventually(lambda: not house.behind(old, service), log=daemon)
        await house.world.data.rotate(house.data(), "analytics")
        between = house.login(attachment="ANALYTICS")
        house.put(house.token, house.token.read_text())  # makes a sweep
        await eventually(lambda: not house.behind(between, service), log=daemon)
        go.set()
        await house.world.quiet()
        new = house.login(attachment="ANALYTICS")
        assert new != between
        await eventually(lambda: not house.behind(new, service), log=daemon)


async def test_nobody_has_to_have_events(house: House) -> None:
    """Switched off, no log session is ever opened."""
    house.configure(SHOP, events=False)
    async with house.daemon() as daemon:
        await eventually(lambda: house.requests("GET /apps/*/config-vars") > 2, log=daemon)
    assert house.requests(SESSIONS) == 0


async def test_a_refused_log_leaves_the_sweeps_alone(house: House) -> None:
    """Where Heroku allows no log session it is asked once, says so once, and polling goes on."""
    house.simulator.app.front.faults.add(Fault("403", SESSIONS))
    house.configure(SHOP)
    async with house.daemon() as daemon:
        await daemon.line("no events")
        new = await house.rotate()
        await eventually(lambda: not house.behind(new), log=daemon)
        assert house.requests(SESSIONS) == 1
        assert daemon.count("WARNING") == 0, daemon.log
        # What all of it cost is there to be seen.
        (cost,) = (await house.pgherald("status", "--json")).json["requests"]
        assert 0 < cost["last_hour"] <= house.requests()
        assert cost["remaining"] >= 4500 - house.requests()


async def test_a_session_that_ends_costs_nothing(house: House) -> None:
    """When Heroku ends the session, what happens meanwhile is seen as soon as there is another."""
    house.configure(SHOP, poll=POLL)
    async with house.daemon() as daemon:
        await begin(house, daemon)
        house.simulator.app.sessions.end_all()
        new = await house.rotate()
        await eventually(lambda: not house.behind(new), log=daemon)
        await eventually(lambda: house.requests(SESSIONS) == 2, log=daemon)


async def test_what_rotates_at_once_is_one_commit(cluster: Cluster, tmp_path: Path) -> None:
    """Twenty apps rotate, their logs tell of it one by one, and it is one commit and one notice.

    On a machine that is very busy it may be a few.
    """
    apps = [f"shop-{number}" for number in range(20)]
    async with (
        House.standing(cluster, tmp_path, apps=apps) as house,
        session_bus(tmp_path) as bus,
        notification_server(bus) as server,
    ):
        tables = [f'[[databases]]\napp = "{app}"\n' for app in apps]
        house.configure(*tables, poll=POLL, desktop=True)

        def behind() -> bool:
            return any(house.behind(house.login(app), app) for app in apps)

        def titles() -> list[str]:
            return [shown.title for shown in server.shown if "rotated" in shown.title]

        async with house.daemon(bus.environ) as daemon:
            await eventually(lambda: not behind(), log=daemon)
            await eventually(lambda: house.requests("GET /sessions/*") == len(apps), log=daemon)
            before = house.commits()
            await asyncio.gather(*(house.rotate(app) for app in apps))
            await eventually(lambda: not behind(), log=daemon)
            await eventually(lambda: bool(titles()), log=daemon)
            assert len(before) < len(house.commits()) <= len(before) + 3, daemon.log
        assert len(titles()) <= 3, titles()
