"""The Data API of a simulated Heroku: credentials and `pg:info`."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest_asyncio

from support.simulator import SimulatedHeroku


@pytest_asyncio.fixture
async def heroku() -> AsyncIterator[SimulatedHeroku]:
    async with SimulatedHeroku.running() as made:
        yield made


def base(heroku: SimulatedHeroku) -> str:
    return f"/postgres/v0/databases/{heroku.world.addons[0].name}"


async def test_readers_may_not_rotate(heroku: SimulatedHeroku) -> None:
    """A token that may only read sees credentials and changes none."""
    token = heroku.world.add_token(heroku.world.accounts[0], scopes=["read-protected"])
    headers = {"Authorization": f"Bearer {token.value.reveal()}"}
    read = await heroku.browser.data.get(f"{base(heroku)}/credentials", headers=headers)
    assert read.status_code == 200
    rotate = await heroku.browser.data.post(f"{base(heroku)}/credentials_rotation", headers=headers)
    assert rotate.status_code == 403


async def test_odd_not_found(heroku: SimulatedHeroku) -> None:
    """An unknown path or database is HTML that calls itself JSON, as recorded from Heroku."""
    redis = next(a for a in heroku.world.addons if a.service == "heroku-redis")
    for path in (
        "/postgres/v0/nothing",
        "/client/v11/databases/x",
        f"/client/v11/databases/{redis.id}",
    ):
        reply = await heroku.browser.data.get(path)
        assert (reply.status_code, reply.text) == (404, "<h1>Not Found</h1>")
        assert reply.headers["Content-Type"] == "application/json"
