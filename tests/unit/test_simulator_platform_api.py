"""The Platform API of a simulated SimulatedHeroku: identity, scopes, ETags, ranges, limits, shapes."""

from __future__ import annotations

from collections.abc import AsyncIterator

import httpx
import pytest
import pytest_asyncio

from support.simulator import SimulatedHeroku

VARS = "/apps/shop-production/config-vars"
RELEASES = "/apps/shop-production/releases"


@pytest_asyncio.fixture
async def heroku() -> AsyncIterator[SimulatedHeroku]:
    async with SimulatedHeroku.running() as made:
        yield made


# Identity, version, scopes.


async def test_unknown_token(heroku: SimulatedHeroku) -> None:
    """Without a good token everything is 401, with Heroku's own words."""
    for authorization in ("", "Bearer nobody", "Basic %%%", "Digest x", "Basic Og=="):
        reply = await heroku.get("/apps", Authorization=authorization)
        assert reply.status_code == 401
        assert reply.json() == {"id": "unauthorized", "message": "Invalid credentials provided."}


async def test_scopes(heroku: SimulatedHeroku) -> None:
    """Plain `read` opens neither config vars nor releases nor the account; reading writes nothing."""
    for scope, path, status in (
        ("read", "/apps", 200),
        ("read", VARS, 403),
        ("read", RELEASES, 403),
        ("read-protected", VARS, 200),
        ("identity", "/account", 200),
        ("identity", "/apps", 403),
    ):
        reply = await heroku.get(path, Authorization=heroku.token(scope))
        assert (scope, path, reply.status_code) == (scope, path, status)
        assert reply.headers["Oauth-Scope"] == scope
    token = {"Authorization": heroku.token("read-protected")}
    assert (await heroku.browser.api.patch(VARS, json={"A": "1"}, headers=token)).status_code == 403


async def test_what_one_may_not_see_is_not_there(heroku: SimulatedHeroku) -> None:
    """Another account's app is 404, exactly as one that does not exist."""
    stranger = heroku.world.add_token(heroku.world.add_account("other@example.com"))
    header = f"Bearer {stranger.value.reveal()}"
    hidden = await heroku.get("/apps/blog", Authorization=header)
    missing = await heroku.get("/apps/nothing")
    assert hidden.status_code == missing.status_code == 404
    assert hidden.json() == missing.json()
    assert hidden.json() == {
        "resource": "app",
        "id": "not_found",
        "message": "Couldn't find that app.",
    }
    assert "ETag" not in hidden.headers
    assert (await heroku.get("/apps", Authorization=header)).json() == []


# ETags and dates.


async def test_etag_stays_until_the_content_changes(heroku: SimulatedHeroku) -> None:
    """Unchanged content keeps its ETag, strong and of 32 digits, and is 304 with no body."""
    first = await heroku.get(VARS)
    tag = first.headers["ETag"]
    assert len(tag) == 34
    again = await heroku.get(VARS, If_None_Match=tag)
    assert (again.status_code, again.content) == (304, b"")
    assert again.headers["ETag"] == tag
    heroku.world.set_config(heroku.world.apps[0], {"A": "1"}, by="dev@example.com")
    changed = await heroku.get(VARS, If_None_Match=f'"other", {tag}')
    assert changed.status_code == 200
    assert changed.headers["ETag"] != tag


# Ranges.


async def test_long_lists_come_in_parts(heroku: SimulatedHeroku) -> None:
    """A list longer than a page is 206 with a `Next-Range`, which asks for the rest."""
    heroku.browser.app.limits.page = 2
    first = await heroku.get("/apps")
    assert (first.status_code, len(first.json())) == (206, 2)
    rest = await heroku.get("/apps", Range=first.headers["Next-Range"])
    assert (rest.status_code, len(rest.json())) == (200, 1)
    assert "Next-Range" not in rest.headers
    ids = [app["id"] for app in first.json() + rest.json()]
    assert ids == sorted(app.id for app in heroku.world.apps)
    assert first.headers["Content-Range"] == f"id {ids[0]}..{ids[1]}"
    assert first.headers["Accept-Ranges"] == "id, name"


# Limits.


async def test_rate_limit(heroku: SimulatedHeroku) -> None:
    """Each request costs one of the pool, a 304 too; an empty pool is 429; it refills in time."""
    first = await heroku.get("/apps")
    assert first.headers["RateLimit-Remaining"] == "4499"
    again = await heroku.get("/apps", If_None_Match=first.headers["ETag"])
    assert again.headers["RateLimit-Remaining"] == "4498"
    account = heroku.world.accounts[0]
    heroku.browser.app.limits.set(account, 0, heroku.clock.monotonic())
    empty = await heroku.get("/apps")
    assert (empty.status_code, empty.json()["id"]) == (429, "rate_limit")
    await heroku.clock.advance(60)
    assert (await heroku.get("/account/rate-limits")).json() == {"remaining": 75}
    assert (await heroku.get("/account/rate-limits")).json() == {"remaining": 75}
    assert (await heroku.get("/apps")).headers["RateLimit-Remaining"] == "74"


# What is asked.


async def test_trouble_inside_tells_nothing(
    heroku: SimulatedHeroku, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When the simulator itself breaks, the answer is a 500 that quotes nobody's secret."""

    def broken(_app: object) -> None:
        raise RuntimeError("CANARY-pw-1")

    monkeypatch.setattr(heroku.world, "config_vars", broken)
    transport = httpx.ASGITransport(heroku.browser.app.front, raise_app_exceptions=False)
    headers = heroku.browser.api.headers
    async with httpx.AsyncClient(transport=transport, headers=headers) as client:
        reply = await client.get(f"http://127.0.0.1:5000{VARS}")
    assert (reply.status_code, reply.json()["id"]) == (500, "internal_server_error")
    assert "CANARY" not in reply.text
