"""The control routes of a simulated Heroku."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import pytest
import pytest_asyncio

from pgherald.model import Login
from pgherald.simulator.control import HEADER
from pgherald.simulator.seed import READER, seed_world
from pgherald.simulator.world import World
from support.fake_clock import FakeClock
from support.simulator import CONTROL_TOKEN, Browser, FakeDoor, FakePostgres, browse, dice

SHOP = {"app": "shop-production"}


@dataclass
class Controlled:
    """A seeded world and a client of its control routes."""

    world: World
    browser: Browser
    clock: FakeClock

    def login(self, app: str = "shop-production", name: str = "DATABASE") -> Login:
        shown = self.world.attachment(self.world.app(app), name).shown
        assert shown is not None
        return shown

    async def do(self, order: str, status: int = 200, /, **body: Any) -> Any:
        reply = await self.browser.control.post(order, json=body)
        assert reply.status_code == status, reply.text
        return reply.json()


@pytest_asyncio.fixture
async def heroku() -> AsyncIterator[Controlled]:
    clock = FakeClock()
    world = await seed_world(
        FakePostgres(), clock=clock, source=dice(7), open_door=FakeDoor.opener()
    )
    browser = browse(world)
    yield Controlled(world, browser, clock)
    await browser.close()
    await world.close()


async def test_closed_without_the_token(heroku: Controlled) -> None:
    """Without the control token, nothing happens."""
    old = heroku.login()
    reply = await heroku.browser.control.post("rotate", json=SHOP, headers={HEADER: "guess"})
    assert reply.status_code == 401
    assert heroku.login() == old


async def test_closed_to_web_pages(heroku: Controlled) -> None:
    """A web page is refused even with the token."""
    headers = {"Origin": "http://127.0.0.1:5000"}
    reply = await heroku.browser.control.get("world", headers=headers)
    assert reply.status_code == 403


async def test_rotate(heroku: Controlled) -> None:
    """A rotation is ordered by app and attachment; the answer tells all but the password."""
    old = heroku.login()
    told = await heroku.do("rotate", **SHOP)
    assert heroku.login().changed(old) == ("user", "password")
    assert told["user"] == heroku.login().user
    assert heroku.login().password.reveal() not in str(told)


async def test_rotate_in_a_manner(heroku: Controlled) -> None:
    """An order may say how the rotation goes; whole numbers do for seconds."""
    old = heroku.login()
    await heroku.do("rotate", **SHOP, user=False, early=5)
    assert heroku.login().changed(old) == ("password",)
    await heroku.do("rotate", **SHOP, late=60)
    assert heroku.login().changed(old) == ("password",)


async def test_rotate_the_credential_of_the_attachment(heroku: Controlled) -> None:
    """A named credential's attachment rotates that credential; `all` rotates every one."""
    default, named = heroku.login(), heroku.login(name=READER.upper())
    await heroku.do("rotate", **SHOP, attachment=READER.upper())
    assert heroku.login() == default
    assert heroku.login(name=READER.upper()) != named
    await heroku.do("rotate", **SHOP, all=True, forced=True)
    assert heroku.login() != default


async def test_manner_holds_for_later_rotations(heroku: Controlled) -> None:
    """The usual manner can be set, for rotations that the real CLI orders."""
    told = await heroku.do("manner", step=12.5)
    assert told["step"] == heroku.world.data.manner.step == 12.5


async def test_failover_and_rename(heroku: Controlled) -> None:
    """A failover moves host and port, a renaming the database name."""
    old = heroku.login()
    told = await heroku.do("failover", **SHOP, host="localhost")
    assert (told["host"], told["port"]) == ("localhost", heroku.login().port)
    assert heroku.login().changed(old) == ("host", "port")
    await heroku.do("rename-database", **SHOP)
    assert heroku.login().changed(old) == ("host", "port", "dbname")
    await heroku.do("failover", **SHOP, dbname=True, login=True)
    assert heroku.login().changed(old) == ("host", "port", "dbname", "user", "password")


async def test_what_a_person_does(heroku: Controlled) -> None:
    """Apps are renamed, databases attached, promoted, detached and destroyed."""
    addon = heroku.world.attachment(heroku.world.app("shop-staging"), "DATABASE").addon.name
    await heroku.do("rename-app", app="blog", name="journal")
    made = await heroku.do("attach", app="journal", addon=addon, name="STAGING")
    assert made["name"] == "STAGING"
    await heroku.do("promote", app="journal", addon=addon)
    assert heroku.login("journal") == heroku.login("shop-staging")
    await heroku.do("detach", app="journal", attachment="STAGING")
    await heroku.do("destroy-addon", addon=addon)
    assert "DATABASE_URL" not in heroku.world.config_vars(heroku.world.app("shop-staging"))


async def test_set_config(heroku: Controlled) -> None:
    """A person's own config vars change, and a release is made."""
    told = await heroku.do("set-config", app="blog", vars={"A": "1"})
    assert heroku.world.config_vars(heroku.world.app("blog"))["A"] == "1"
    assert told["release"] == len(heroku.world.app("blog").releases)


async def test_show_anything(heroku: Controlled) -> None:
    """Any text may stand in an attachment's config var, until the login is put back."""
    app = heroku.world.app("blog")
    right = heroku.world.config_vars(app)["DATABASE_URL"]
    await heroku.do("show", app="blog", value="mysql://x")
    assert heroku.world.config_vars(app)["DATABASE_URL"] == "mysql://x"
    await heroku.do("show", app="blog")
    assert heroku.world.config_vars(app)["DATABASE_URL"] == right


async def test_faults(heroku: Controlled) -> None:
    """Faults are ordered and ended, and never strike the control routes."""
    await heroku.do("fault", kind="503", lasting=60, retry_after=5)
    assert (await heroku.browser.api.get("/apps")).status_code == 503
    shown = (await heroku.browser.control.get("world")).json()
    assert shown["faults"] == ["503 *"]
    await heroku.do("calm")
    await heroku.do("fault", kind="body", match="GET /apps", body=[])
    assert (await heroku.browser.api.get("/apps")).json() == []


async def test_tokens(heroku: Controlled) -> None:
    """An account's tokens are revoked and restored."""
    await heroku.do("revoke-token", account="dev@example.com")
    assert (await heroku.browser.api.get("/apps")).status_code == 401
    await heroku.do("restore-token", account="dev@example.com")
    assert (await heroku.browser.api.get("/apps")).status_code == 200
    await heroku.do("revoke-token", 404, account="nobody@example.com")


async def test_limits(heroku: Controlled) -> None:
    """What an account has left, the refill and the page can be set."""
    await heroku.do("limits", account="dev@example.com", remaining=1, refill=0, page=2)
    assert (await heroku.browser.api.get("/apps")).status_code == 206
    assert (await heroku.browser.api.get("/apps")).status_code == 429
    await heroku.clock.advance(3600)
    assert (await heroku.browser.api.get("/apps")).status_code == 429
    assert (await heroku.do("limits"))["page"] == 2


async def test_end_log_sessions(heroku: Controlled) -> None:
    """Every log session can be ended, as when Heroku restarts its log routers."""
    reply = await heroku.browser.api.post("/apps/blog/log-sessions", json={})
    await heroku.do("end-log-sessions")
    gone = await heroku.browser.control.get(reply.json()["logplex_url"])
    assert gone.status_code == 404


async def test_requests(heroku: Controlled) -> None:
    """The control routes tell how often each path was asked for; they do not count themselves."""
    await heroku.browser.api.get("/apps")
    told = (await heroku.browser.control.get("requests")).json()
    assert (told["total"], told["by_path"]) == (1, {"GET /apps": 1})
    await heroku.do("forget-requests")
    assert (await heroku.browser.control.get("requests")).json()["total"] == 0


async def test_world_holds_no_secret(heroku: Controlled) -> None:
    """The world as shown names hosts and users, and no password, token or config value."""
    told = (await heroku.browser.control.get("world")).text
    assert heroku.login().user in told
    secrets = [*heroku.world.config_vars(heroku.world.app("shop-production")).values()]
    secrets.remove("production")
    hidden = [heroku.login().password, heroku.world.tokens[0].value, CONTROL_TOKEN]
    assert not [s for s in [*secrets, *(h.reveal() for h in hidden)] if s in told]


@pytest.mark.parametrize(
    ("name", "body", "message"),
    [
        ("rotate", {}, "app is missing"),
        ("rotate", {"app": 1}, "app must be a str"),
        ("rotate", SHOP | {"hurry": True}, "Not understood: hurry"),
        ("rotate", SHOP | {"early": "soon"}, "early must be a float"),
        ("fault", {"kind": "418"}, "No such fault"),
        ("calm", {"x": 1}, "Not understood: x"),
    ],
)
async def test_orders_that_make_no_sense(
    heroku: Controlled, name: str, body: dict[str, Any], message: str
) -> None:
    """An order is refused as a whole when any piece of it is missing, wrong or unknown."""
    told = await heroku.do(name, 422, **body)
    assert message in told["message"]


async def test_unknown_order(heroku: Controlled) -> None:
    """An order that does not exist is 404."""
    await heroku.do("explode", 404)
