"""Log sessions of a simulated Heroku: formats, filters, tails, expiry."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest_asyncio

from support.simulator import SimulatedHeroku

EVENTS = {"Accept": "text/event-stream"}


@pytest_asyncio.fixture
async def heroku() -> AsyncIterator[SimulatedHeroku]:
    async with SimulatedHeroku.running() as made:
        book = made.world.app("blog").log
        book.write(made.clock.now(), "app", "web.1", "GET /")
        book.write(made.clock.now(), "heroku", "router", "at=info")
        yield made


async def opened(heroku: SimulatedHeroku, **body: Any) -> str:
    """Open a session; its URL."""
    reply = await heroku.post("/apps/blog/log-sessions", body)
    assert reply.status_code == 201, reply.text
    return str(reply.json()["logplex_url"])


async def lines(heroku: SimulatedHeroku, url: str) -> list[str]:
    """What a session says, until it ends."""
    reply = await heroku.browser.control.get(url)
    assert reply.status_code == 200
    return list(reply.text.splitlines())


async def test_events(heroku: SimulatedHeroku) -> None:
    """Who asks for server-sent events gets an id and the line with each."""
    reply = await heroku.browser.control.get(await opened(heroku, lines=1), headers=EVENTS)
    assert reply.headers["Content-Type"].startswith("text/event-stream")
    identity, data, _ = reply.text.split("\n", 2)
    assert identity.startswith("id: ")
    assert data == "data: 2026-01-05T09:00:00.000000+00:00 heroku[router]: at=info"


async def test_last_event_id(heroku: SimulatedHeroku) -> None:
    """Who comes back to the same address goes on after the last event seen."""
    url = await opened(heroku, lines=1)
    assert len(await lines(heroku, url)) == 1
    back = await heroku.browser.control.get(url, headers={"Last-Event-ID": "7"})
    assert len(back.text.splitlines()) == 3
