"""Faults of a simulated Heroku, and its record of requests."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass

import httpx
import pytest
import pytest_asyncio

from pgherald.simulator.faults import REFUSALS, Fault, Faults
from pgherald.simulator.seed import seed_world
from pgherald.simulator.state import Refused
from pgherald.simulator.world import World
from support.fake_clock import FakeClock, settle
from support.simulator import Browser, FakeDoor, FakePostgres, browse, dice


@dataclass
class Troubled:
    """A seeded world in which things go wrong."""

    world: World
    browser: Browser
    clock: FakeClock

    @property
    def faults(self) -> Faults:
        return self.browser.app.faults

    async def get(self, path: str = "/apps") -> httpx.Response:
        return await self.browser.api.get(path)


@pytest_asyncio.fixture
async def heroku() -> AsyncIterator[Troubled]:
    clock = FakeClock()
    world = await seed_world(
        FakePostgres(), clock=clock, source=dice(6), open_door=FakeDoor.opener()
    )
    browser = browse(world)
    yield Troubled(world, browser, clock)
    await browser.close()
    await world.close()


@pytest.mark.parametrize("kind", REFUSALS)
async def test_refusals(heroku: Troubled, kind: str) -> None:
    """Each of Heroku's refusals comes with its status, an id and a message, in JSON."""
    heroku.faults.add(Fault(kind))
    reply = await heroku.get()
    assert reply.status_code == int(kind[:3])
    assert reply.json().keys() >= {"id", "message"}


@pytest.mark.parametrize(
    ("kind", "status", "content_type", "text"),
    [
        ("404-html", 404, "application/json", "<h1>Not Found</h1>"),
        ("html", 200, "text/html; charset=utf-8", "Hotel Wi-Fi"),
    ],
)
async def test_not_heroku(
    heroku: Troubled, kind: str, status: int, content_type: str, text: str
) -> None:
    """An answer may come from a portal or call itself what it is not."""
    heroku.faults.add(Fault(kind))
    reply = await heroku.get()
    assert (reply.status_code, reply.headers["Content-Type"]) == (status, content_type)
    assert text in reply.text


async def test_garbage(heroku: Troubled) -> None:
    """Garbage calls itself JSON and is not even text."""
    heroku.faults.add(Fault("garbage"))
    reply = await heroku.get()
    assert reply.headers["Content-Type"] == "application/json"
    with pytest.raises(UnicodeDecodeError):
        reply.content.decode()


async def test_redirect(heroku: Troubled) -> None:
    """A redirect leads wherever the test wants, away from here by default."""
    heroku.faults.add(Fault("redirect", location="http://elsewhere.invalid/x"))
    reply = await heroku.get()
    assert (reply.status_code, reply.headers["Location"]) == (302, "http://elsewhere.invalid/x")


async def test_sudden_emptiness(heroku: Troubled) -> None:
    """Any body may be put in the place of the right one."""
    heroku.faults.add(Fault("body", "GET /apps", body=[]))
    assert (await heroku.get()).json() == []


async def test_retry_after(heroku: Troubled) -> None:
    """A 429 says when to come back if the test wants it."""
    heroku.faults.add(Fault("429", retry_after=30, count=1))
    heroku.faults.add(Fault("429", count=1))
    assert (await heroku.get()).headers["Retry-After"] == "30"
    assert "Retry-After" not in (await heroku.get()).headers


async def test_count(heroku: Troubled) -> None:
    """A counted fault strikes that many times and no more."""
    heroku.faults.add(Fault("503", count=2))
    assert [(await heroku.get()).status_code for _ in range(3)] == [503, 503, 200]


async def test_lasting(heroku: Troubled) -> None:
    """A lasting fault is over when its time is."""
    heroku.faults.add(Fault("503"), lasting=60)
    assert (await heroku.get()).status_code == 503
    await heroku.clock.advance(61)
    assert (await heroku.get()).status_code == 200


async def test_clear(heroku: Troubled) -> None:
    """Clearing ends every fault."""
    heroku.faults.add(Fault("503"))
    heroku.faults.clear()
    assert (await heroku.get()).status_code == 200


async def test_match(heroku: Troubled) -> None:
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


async def test_slow(heroku: Troubled) -> None:
    """A slow answer is the right one, late."""
    heroku.faults.add(Fault("slow", seconds=20))
    reply = asyncio.create_task(heroku.get())
    await settle()
    await heroku.clock.advance(19)
    assert not reply.done()
    await heroku.clock.advance(2)
    assert (await reply).status_code == 200


async def test_drip(heroku: Troubled) -> None:
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
async def test_stop_ends_what_never_ends(heroku: Troubled, kind: str) -> None:
    """Whatever the fault, stopping the simulator ends it."""
    heroku.faults.add(Fault(kind, seconds=1e6))
    reply = asyncio.create_task(heroku.get())
    await settle() if kind != "never-ending" else await asyncio.sleep(0.01)
    assert not reply.done()
    heroku.browser.app.front.stop()
    await asyncio.wait({reply}, timeout=1)
    assert reply.done()
    reply.exception()


async def test_hang_before_anything_is_read(heroku: Troubled) -> None:
    """A caller who is refused hangs as well, and may leave."""
    heroku.faults.add(Fault("hang"))
    nobody = {"Authorization": "Bearer nobody"}
    reply = asyncio.create_task(heroku.browser.api.post("/apps", json={}, headers=nobody))
    await settle()
    assert not reply.done()
    heroku.browser.app.front.stop()
    await asyncio.wait({reply}, timeout=1)
    assert reply.done()
    reply.exception()


async def test_requests_are_counted(heroku: Troubled) -> None:
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


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:5000", "127.0.0.1.evil.example", ""]
)
async def test_other_names_are_refused(heroku: Troubled, host: str) -> None:
    """A page that points a name of its own at this machine gets nothing."""
    reply = await heroku.browser.api.get("/apps", headers={"Host": host})
    assert reply.status_code == 421
    assert not heroku.browser.app.front.visits


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost:5000", "[::1]:5000"])
async def test_our_names(heroku: Troubled, host: str) -> None:
    """Every name of this machine's loopback is served."""
    assert (await heroku.browser.api.get("/apps", headers={"Host": host})).status_code == 200
