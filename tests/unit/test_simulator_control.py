"""The control routes of a simulated Heroku."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest_asyncio

from pgherald.simulator.control import HEADER
from support.simulator import CONTROL_TOKEN, SimulatedHeroku

SHOP = {"app": "shop-production"}


@pytest_asyncio.fixture
async def heroku() -> AsyncIterator[SimulatedHeroku]:
    async with SimulatedHeroku.running() as made:
        yield made


async def test_closed_without_the_token(heroku: SimulatedHeroku) -> None:
    """Without the control token nothing happens; a web page is refused even with it."""
    old = heroku.login()
    reply = await heroku.browser.control.post("rotate", json=SHOP, headers={HEADER: "guess"})
    assert reply.status_code == 401
    assert heroku.login() == old
    headers = {"Origin": "http://127.0.0.1:5000"}
    assert (await heroku.browser.control.get("world", headers=headers)).status_code == 403


async def test_rotate(heroku: SimulatedHeroku) -> None:
    """A rotation is ordered by app and attachment; the answer tells all but the password."""
    old = heroku.login()
    told = await heroku.do("rotate", **SHOP)
    assert heroku.login().changed(old) == ("user", "password")
    assert told["user"] == heroku.login().user
    assert heroku.login().password.reveal() not in str(told)


async def test_world_holds_no_secret(heroku: SimulatedHeroku) -> None:
    """The world as shown names hosts and users, and no password, token or config value."""
    told = (await heroku.browser.control.get("world")).text
    assert heroku.login().user in told
    secrets = [*heroku.world.config_vars(heroku.world.app("shop-production")).values()]
    secrets.remove("production")
    hidden = [heroku.login().password, heroku.world.tokens[0].value, CONTROL_TOKEN]
    assert not [s for s in [*secrets, *(h.reveal() for h in hidden)] if s in told]
