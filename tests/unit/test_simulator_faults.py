"""Faults of a simulated Heroku, and its record of requests."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from pgherald.simulator.faults import REFUSALS, Fault
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


async def test_match(heroku: SimulatedHeroku) -> None:
    """A fault strikes the requests it is made for and leaves the others alone."""
    heroku.faults.add(Fault("503", "/apps/*/config-vars"))
    heroku.faults.add(Fault("404", "POST /apps"))
    assert (await heroku.get("/apps/blog/config-vars")).status_code == 503
    assert (await heroku.get("/apps/blog")).status_code == 200
    assert (await heroku.get("/apps")).status_code == 200


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


async def test_names_of_this_machine_are_served(heroku: SimulatedHeroku) -> None:
    """A page that points a name of its own at this machine gets nothing."""
    for host in ("evil.example:5000", "127.0.0.1.evil.example", ""):
        assert (await heroku.get(Host=host)).status_code == 421
    assert not heroku.browser.app.front.visits
    for host in ("127.0.0.1", "localhost:5000", "[::1]:5000"):
        assert (await heroku.get(Host=host)).status_code == 200
