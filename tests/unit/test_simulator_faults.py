"""Faults of a simulated Heroku, and its record of requests."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from pgherald.simulator.faults import REFUSALS, Fault
from pgherald.simulator.state import Refused
from support.fake_clock import settle
from support.simulator import SimulatedHeroku


@pytest_asyncio.fixture
async def heroku() -> AsyncIterator[SimulatedHeroku]:
    async with SimulatedHeroku.running() as made:
        yield made


async def test_refusals(heroku: SimulatedHeroku) -> None:
    """Each of Heroku's refusals comes with its status, an id and a message, in JSON."""
    for kind in REFUSALS:
        heroku.faults.add(Fault(kind, count=1))
        reply = await heroku.get()
        assert reply.status_code == int(kind[:3])
        assert reply.json().keys() >= {"id", "message"}


async def test_answers_that_are_not_herokus(heroku: SimulatedHeroku) -> None:
    """One may come from a portal, lead away, be no text, or call itself what it is not."""
    for fault, status, header, text in (
        (Fault("404-html", count=1), 404, "application/json", b"<h1>Not Found</h1>"),
        (Fault("html", count=1), 200, "text/html; charset=utf-8", b"Hotel Wi-Fi"),
        (Fault("garbage", count=1), 200, "application/json", b"\xff"),
    ):
        heroku.faults.add(fault)
        reply = await heroku.get()
        assert (reply.status_code, reply.headers["Content-Type"]) == (status, header)
        assert text in reply.content
    heroku.faults.add(Fault("redirect", location="http://elsewhere.invalid/x"))
    reply = await heroku.get()
    assert (reply.status_code, reply.headers["Location"]) == (302, "http://elsewhere.invalid/x")


async def test_retry_after(heroku: SimulatedHeroku) -> None:
    """A 429 says when to come back if the test wants it."""
    heroku.faults.add(Fault("429", retry_after=30, count=1))
    heroku.faults.add(Fault("429", count=1))
    assert (await heroku.get()).headers["Retry-After"] == "30"
    assert "Retry-After" not in (await heroku.get()).headers


async def test_lasting(heroku: SimulatedHeroku) -> None:
    """A lasting fault is over when its time is."""
    heroku.faults.add(Fault("503"), lasting=60)
    assert (await heroku.get()).status_code == 503
    await heroku.clock.advance(61)
    assert (await heroku.get()).status_code == 200


async def test_match(heroku: SimulatedHeroku) -> None:
    """A fault strikes the requests it is made for and leaves the others alone."""
    heroku.faults.add(Fault("503", "/apps/*/config-vars"))
    heroku.faults.add(Fault("404", "POST /apps"))
    assert (await heroku.get("/apps/blog/config-vars")).status_code == 503
    assert (await heroku.get("/apps/blog")).status_code == 200
    assert (await heroku.get("/apps")).status_code == 200


async def test_unknown_fault() -> None:
    """A fault that does not exist is refused with the list of those that do."""
    with pytest.raises(Refused, match=r"No such fault: 418\. There are: 400, 401"):
        Fault("418")


async def test_slow(heroku: SimulatedHeroku) -> None:
    """A slow answer is the right one, late."""
    heroku.faults.add(Fault("slow", seconds=20))
    reply = asyncio.create_task(heroku.get())
    await settle()
    await heroku.clock.advance(19)
    assert not reply.done()
    await heroku.clock.advance(2)
    assert (await reply).status_code == 200


async def test_drip(heroku: SimulatedHeroku) -> None:
    """A dripping answer is the right one, byte by byte."""
    whole = (await heroku.get("/account/rate-limits")).content
    heroku.faults.add(Fault("drip", seconds=1))
    reply = asyncio.create_task(heroku.get("/account/rate-limits"))
    await settle()
    await heroku.clock.advance(len(whole) - 1)
    assert not reply.done()
    await heroku.clock.advance(2)
    assert (await reply).content == whole


@pytest.mark.parametrize("kind", ["hang", "never-ending", "slow"])
async def test_stop_ends_what_never_ends(heroku: SimulatedHeroku, kind: str) -> None:
    """Whatever the fault, stopping the simulator ends it."""
    heroku.faults.add(Fault(kind, seconds=1e6))
    reply = asyncio.create_task(heroku.get())
    await settle() if kind != "never-ending" else await asyncio.sleep(0.01)
    assert not reply.done()
    heroku.browser.app.front.stop()
    await asyncio.wait({reply}, timeout=1)
    assert reply.done()
    reply.exception()


async def test_requests_are_counted(heroku: SimulatedHeroku) -> None:
    """Each request is remembered with its account and status; a fault's too."""
    await heroku.get()
    await heroku.clock.advance(3600)
    await heroku.browser.api.get("/apps", headers={"Authorization": "Bearer nobody"})
    heroku.faults.add(Fault("503"))
    await heroku.get("/apps/blog")
    assert heroku.browser.app.front.counts() == {
        "total": 3,
        "by_path": {"GET /apps": 2, "GET /apps/blog": 1},
        "by_account": {"dev@example.com": 2, "nobody": 1},
        "last_hour_by_account": {"dev@example.com": 1, "nobody": 1},
        "by_status": {"200": 1, "401": 1, "503": 1},
    }


async def test_names_of_this_machine_are_served(heroku: SimulatedHeroku) -> None:
    """A page that points a name of its own at this machine gets nothing."""
    for host in ("evil.example:5000", "127.0.0.1.evil.example", ""):
        assert (await heroku.get(Host=host)).status_code == 421
    assert not heroku.browser.app.front.visits
    for host in ("127.0.0.1", "localhost:5000", "[::1]:5000"):
        assert (await heroku.get(Host=host)).status_code == 200
