"""The control routes of a simulated Heroku."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

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


async def test_what_a_person_does(heroku: SimulatedHeroku) -> None:
    """Apps are renamed, databases attached, promoted, detached and destroyed."""
    addon = heroku.world.attachment(heroku.world.app("shop-staging"), "DATABASE").addon.name
    await heroku.do("rename-app", app="blog", name="journal")
    made = await heroku.do("attach", app="journal", addon=addon, name="STAGING")
    assert made["name"] == "STAGING"
    await heroku.do("promote", app="journal", addon=addon)
    assert heroku.login(app="journal") == heroku.login(app="shop-staging")
    await heroku.do("detach", app="journal", attachment="STAGING")
    await heroku.do("destroy-addon", addon=addon)
    assert "DATABASE_URL" not in heroku.world.config_vars(heroku.world.app("shop-staging"))


async def test_world_holds_no_secret(heroku: SimulatedHeroku) -> None:
    """The world as shown names hosts and users, and no password, token or config value."""
    told = (await heroku.browser.control.get("world")).text
    assert heroku.login().user in told
    secrets = [*heroku.world.config_vars(heroku.world.app("shop-production")).values()]
    secrets.remove("production")
    hidden = [heroku.login().password, heroku.world.tokens[0].value, CONTROL_TOKEN]
    assert not [s for s in [*secrets, *(h.reveal() for h in hidden)] if s in told]


async def test_orders_that_make_no_sense(heroku: SimulatedHeroku) -> None:
    """An order is refused as a whole when any piece of it is missing, wrong or unknown."""
    orders: tuple[tuple[str, dict[str, Any], str], ...] = (
        ("rotate", {}, "app is missing"),
        ("rotate", {"app": 1}, "app must be a str"),
        ("rotate", SHOP | {"hurry": True}, "Not understood: hurry"),
        ("fault", {"kind": "418"}, "No such fault"),
    )
    for name, body, message in orders:
        assert message in (await heroku.do(name, 422, **body))["message"]
    await heroku.do("explode", 404)
