"""Log sessions of a simulated Heroku: formats, filters, tails, expiry."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import pytest
import pytest_asyncio

from pgherald.simulator.seed import seed_world
from pgherald.simulator.world import World
from support.fake_clock import FakeClock
from support.simulator import Browser, FakeDoor, FakePostgres, browse, dice

EVENTS = {"Accept": "text/event-stream"}


@dataclass
class Logs:
    """A seeded world and a client of its log sessions."""

    world: World
    browser: Browser
    clock: FakeClock

    async def open(self, **body: Any) -> str:
        """Open a session; its URL."""
        reply = await self.browser.api.post("/apps/blog/log-sessions", json=body)
        assert reply.status_code == 201, reply.text
        return str(reply.json()["logplex_url"])

    async def lines(self, url: str) -> list[str]:
        """What a session says, until it ends."""
        reply = await self.browser.control.get(url)
        assert reply.status_code == 200
        return reply.text.splitlines()


@pytest_asyncio.fixture
async def logs() -> AsyncIterator[Logs]:
    clock = FakeClock()
    world = await seed_world(
        FakePostgres(), clock=clock, source=dice(5), open_door=FakeDoor.opener()
    )
    browser = browse(world)
    world.app("blog").log.write(clock.now(), "app", "web.1", "GET /")
    world.app("blog").log.write(clock.now(), "heroku", "router", "at=info")
    yield Logs(world, browser, clock)
    await browser.close()
    await world.close()


async def test_session_has_an_address(logs: Logs) -> None:
    """A session tells an address at the simulator itself, to be fetched without a token."""
    url = await logs.open()
    assert url.startswith("http://127.0.0.1:5000/sessions/")
    assert "?srv=" in url
    assert len(await logs.lines(url)) == 10


async def test_plain_lines(logs: Logs) -> None:
    """Who does not ask for events gets plain lines labelled as HTML, as recorded."""
    reply = await logs.browser.control.get(await logs.open(lines=1))
    assert reply.headers["Content-Type"].startswith("text/html")
    assert reply.text == "2026-01-05T09:00:00.000000+00:00 heroku[router]: at=info\n"


async def test_events(logs: Logs) -> None:
    """Who asks for server-sent events gets an id and the line with each."""
    reply = await logs.browser.control.get(await logs.open(lines=1), headers=EVENTS)
    assert reply.headers["Content-Type"].startswith("text/event-stream")
    identity, data, _ = reply.text.split("\n", 2)
    assert identity.startswith("id: ")
    assert data == "data: 2026-01-05T09:00:00.000000+00:00 heroku[router]: at=info"


@pytest.mark.parametrize(
    ("body", "count"),
    [
        ({"source": "app", "dyno": "api"}, 8),
        ({"source": "app", "dyno_name": "web"}, 1),
        ({"dyno": "web.1"}, 1),
        ({"source": "heroku"}, 1),
        ({"dyno": "web.2"}, 0),
    ],
)
async def test_filters(logs: Logs, body: dict[str, str], count: int) -> None:
    """Source and dyno narrow the lines down; both names of the dyno field are understood."""
    assert len(await logs.lines(await logs.open(**body))) == count


async def test_last_event_id(logs: Logs) -> None:
    """Who comes back to the same address goes on after the last event seen."""
    url = await logs.open(lines=1)
    assert len(await logs.lines(url)) == 1
    back = await logs.browser.control.get(url, headers={"Last-Event-ID": "7"})
    assert len(back.text.splitlines()) == 3


async def test_nobody_came(logs: Logs) -> None:
    """A session that nobody fetched is gone after five minutes."""
    url = await logs.open()
    await logs.clock.advance(301)
    assert (await logs.browser.control.get(url)).status_code == 404


async def test_an_hour_after_the_first_visit(logs: Logs) -> None:
    """A session that somebody fetched lasts an hour from then on."""
    url = await logs.open()
    await logs.lines(url)
    await logs.clock.advance(3500)
    await logs.lines(url)
    await logs.world.quiet()
    await logs.clock.advance(200)
    assert (await logs.browser.control.get(url)).status_code == 404


async def test_unknown_session(logs: Logs) -> None:
    """A session that never was is 404."""
    reply = await logs.browser.control.get("http://127.0.0.1:5000/sessions/nothing")
    assert reply.status_code == 404


@pytest.mark.parametrize("body", [{"lines": 0}, {"lines": "x"}, {"source": 1}])
async def test_bad_sessions(logs: Logs, body: dict[str, Any]) -> None:
    """A session that makes no sense is 422."""
    reply = await logs.browser.api.post("/apps/blog/log-sessions", json=body)
    assert reply.status_code == 422


async def test_plain_read_suffices(logs: Logs) -> None:
    """A log session needs no protected scope."""
    token = logs.world.add_token(logs.world.accounts[0], scopes=["read"])
    headers = {"Authorization": f"Bearer {token.value.reveal()}"}
    reply = await logs.browser.api.post("/apps/blog/log-sessions", json={}, headers=headers)
    assert reply.status_code == 201
    assert "ETag" not in reply.headers
