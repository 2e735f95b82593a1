"""A rotation is in the clients as soon as Heroku says so, long before the next look."""

from __future__ import annotations

from pgherald.simulator.data_plane import Manner
from pgherald.simulator.faults import Fault
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
