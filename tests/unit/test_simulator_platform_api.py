"""The Platform API of a simulated SimulatedHeroku: identity, scopes, ETags, ranges, limits, shapes."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator

import httpx
import pytest
import pytest_asyncio

from pgherald.secret import Secret
from pgherald.simulator.state import postgres_of
from support.simulator import SimulatedHeroku

SDK = {
    "Accept": "application/vnd.heroku+json; version=3.sdk",
    "Accept-Inclusion": "addon:plan,config_vars",
    "Accept-Expansion": "addon_service,plan",
}
CREDENTIALS = "/postgres/v0/databases/{}/credentials"
VARS = "/apps/shop-production/config-vars"
RELEASES = "/apps/shop-production/releases"


@pytest_asyncio.fixture
async def heroku() -> AsyncIterator[SimulatedHeroku]:
    async with SimulatedHeroku.running() as made:
        yield made


# Identity, version, scopes.


async def test_a_basic_password_is_a_token_too(heroku: SimulatedHeroku) -> None:
    """A token may come as `Bearer` or as the password of `Basic` with an empty user."""
    value = base64.b64encode(b":" + heroku.world.tokens[0].value.reveal().encode()).decode()
    for client, path in ((heroku.browser.api, "/account"), (heroku.browser.data, CREDENTIALS)):
        asked = path.format(heroku.world.addons[0].name)
        reply = await client.get(asked, headers={"Authorization": f"Basic {value}"})
        assert reply.status_code == 200
        reply = await client.get(asked, headers={"Authorization": "Bearer nobody"})
        assert reply.json()["id"] == "unauthorized"


async def test_unknown_token(heroku: SimulatedHeroku) -> None:
    """Without a good token everything is 401, with Heroku's own words."""
    for authorization in ("", "Bearer nobody", "Basic %%%", "Digest x", "Basic Og=="):
        reply = await heroku.get("/apps", Authorization=authorization)
        assert reply.status_code == 401
        assert reply.json() == {"id": "unauthorized", "message": "Invalid credentials provided."}


async def test_version_is_required(heroku: SimulatedHeroku) -> None:
    """A request that does not ask for version 3 is 406."""
    for accept in ("*/*", "application/vnd.heroku+json; version=2"):
        reply = await heroku.get("/apps", Accept=accept)
        assert (reply.status_code, reply.json()["id"]) == (406, "not_acceptable")


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


async def test_a_rotation_moves_etag_date_and_release(heroku: SimulatedHeroku) -> None:
    """A rotation changes the config vars' ETag and Last-Modified, and the app's `released_at`."""
    before = await heroku.get(VARS)
    await heroku.clock.advance(90)
    await heroku.world.data.rotate(postgres_of(heroku.world.addons[0]).data)
    after = await heroku.get(VARS)
    assert before.headers["Last-Modified"] == "Mon, 05 Jan 2026 09:00:00 GMT"
    assert after.headers["Last-Modified"] == "Mon, 05 Jan 2026 09:01:30 GMT"
    assert before.headers["ETag"] != after.headers["ETag"]
    app = (await heroku.get("/apps/shop-production")).json()
    assert app["released_at"] == app["updated_at"] == "2026-01-05T09:01:30Z"


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


async def test_newest_release_first(heroku: SimulatedHeroku) -> None:
    """The CLI's way of asking for the newest releases is understood, blanks and all."""
    reply = await heroku.get(RELEASES, Range="version ..; max=2, order=desc")
    assert [release["version"] for release in reply.json()] == [9, 8]
    assert [release["current"] for release in reply.json()] == [True, False]
    more = await heroku.get(RELEASES, Range=reply.headers["Next-Range"])
    assert [release["version"] for release in more.json()] == [7, 6]


# Limits.


async def test_bounded_ranges(heroku: SimulatedHeroku) -> None:
    """A range may have a first and a last value, compared as numbers; one without sense is 416."""
    for header, versions in (
        ("version 2..4", [2, 3, 4]),
        ("version 4..2; order=desc", [4, 3, 2]),
        ("version 8..", [8, 9]),
    ):
        reply = await heroku.get(RELEASES, Range=header)
        assert [release["version"] for release in reply.json()] == versions
    for header in ("color ..", "version ..; max=0", "version a..", "~x"):
        assert (await heroku.get(RELEASES, Range=header)).status_code == 416


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


async def test_apps_of_the_account_and_of_its_teams(heroku: SimulatedHeroku) -> None:
    """`/apps` has the teams' apps, `/users/~/apps` has not, `/teams/T/apps` has no others."""
    member = heroku.world.add_account("member@example.com", teams=["press"])
    news = heroku.world.add_app("news", member, team="press")
    heroku.world.add_app("own", member)
    await heroku.world.data.add_postgres(news, "mini")
    token = f"Bearer {heroku.world.add_token(member).value.reveal()}"

    async def names(path: str) -> list[str]:
        return sorted(row["name"] for row in (await heroku.get(path, Authorization=token)).json())

    assert await names("/apps") == ["news", "own"]
    assert await names("/users/~/apps") == ["own"]
    assert await names("/teams") == ["press"]
    assert await names("/teams/press/apps") == ["news"]
    assert await names("/addons") == await names("/teams/press/addons") != []
    assert await names("/users/~/addons") == []
    assert (await heroku.get("/teams/other/apps")).json()["resource"] == "team"
    shape = (await heroku.get("/apps/news", Authorization=token)).json()
    assert shape["team"]["name"] == "press"


async def test_addons(heroku: SimulatedHeroku) -> None:
    """An add-on shows the config vars on its own app, and its price when asked to expand."""
    addon = heroku.world.addons[0]
    plain = (await heroku.get(f"/addons/{addon.name}")).json()
    assert plain["plan"]["name"] == "heroku-postgresql:standard-0"
    assert "SHOP_URL" not in plain["config_vars"]
    assert "DATABASE_URL" in plain["config_vars"]
    assert "price" not in plain["plan"]
    rich = (await heroku.browser.api.get("/apps/blog/addons", headers=SDK)).json()
    assert {row["plan"]["price"]["cents"] for row in rich} == {500, 5000}


async def test_attachments(heroku: SimulatedHeroku) -> None:
    """An attachment tells its plan and config vars only when asked to include them."""
    everywhere = (await heroku.get("/addon-attachments")).json()
    assert len(everywhere) == len(heroku.world.attachments)
    assert all("config_vars" not in row for row in everywhere)
    one = next(row for row in everywhere if row["namespace"] == "credential:analytics")
    assert (await heroku.get(f"/addon-attachments/{one['id']}")).json() == one
    assert (await heroku.get("/apps/shop-production/addon-attachments/ANALYTICS")).json() == one
    assert (await heroku.get("/addon-attachments/nothing")).status_code == 404
    of_addon = (await heroku.get(f"/addons/{one['addon']['id']}/addon-attachments")).json()
    assert "SHOP" in {row["name"] for row in of_addon}
    on_app = await heroku.browser.api.get("/apps/blog/addon-attachments", headers=SDK)
    assert {tuple(row["config_vars"]) for row in on_app.json()} == {
        ("DATABASE_URL",),
        ("SHOP_URL",),
    }


async def test_resolve_attachments(heroku: SimulatedHeroku) -> None:
    """A name resolves within the app given, or everywhere; an unknown one is 404."""
    path = "/actions/addon-attachments/resolve"
    app = heroku.world.app("blog").id
    here = await heroku.post(path, {"addon_attachment": "DATABASE_URL", "app": app}, SDK)
    assert [row["app"]["name"] for row in here.json()] == ["blog"]
    assert here.json()[0]["addon"]["plan"]["name"] == "heroku-postgresql:essential-0"
    everywhere = await heroku.post(path, {"addon_attachment": "DATABASE"})
    assert len(everywhere.json()) == 3
    missing = await heroku.post(path, {"addon_attachment": "X", "app": "blog"})
    assert (missing.status_code, missing.json()["id"]) == (404, "not_found")
    assert (await heroku.post(path, {})).status_code == 422


async def test_resolve_addons(heroku: SimulatedHeroku) -> None:
    """An add-on resolves by its own name, or by an attachment's; a service narrows it down."""
    path = "/actions/addons/resolve"
    addon = heroku.world.addons[0]
    for body in (
        {"addon": addon.name},
        {"addon": addon.id, "app": "blog"},
        {"addon": "SHOP", "app": "blog"},
        {"addon": "SHOP", "app": "blog", "addon_service": "heroku-postgresql"},
    ):
        assert [row["id"] for row in (await heroku.post(path, body)).json()] == [addon.id]
    other = {"addon": "SHOP", "app": "blog", "addon_service": "heroku-redis"}
    elsewhere = {"addon": addon.name, "app": "shop-staging"}
    for body in (other, elsewhere, {"addon": "X"}):
        reply = await heroku.post(path, body)
        assert (reply.status_code, reply.json()["resource"]) == (404, "add_on")


async def test_change_config_vars(heroku: SimulatedHeroku) -> None:
    """`config:set` answers with all config vars; what is no text is refused."""
    reply = await heroku.browser.api.patch(VARS, json={"A": "1", "RACK_ENV": None})
    assert reply.json()["A"] == "1"
    assert "RACK_ENV" not in reply.json()
    assert (await heroku.browser.api.patch(VARS, json={"A": 1})).status_code == 422


async def test_releases(heroku: SimulatedHeroku) -> None:
    """A release is found by its version, with or without `v`, and by its id."""
    release = (await heroku.get("/apps/blog/releases/1")).json()
    assert release["description"] == "Initial release"
    assert (await heroku.get("/apps/blog/releases/v1")).json() == release
    assert (await heroku.get(f"/apps/blog/releases/{release['id']}")).json() == release
    assert (await heroku.get("/apps/blog/releases/99")).json()["resource"] == "release"


async def test_authorizations(heroku: SimulatedHeroku) -> None:
    """`heroku auth:token` finds its own token among the account's, and nobody else's."""
    other = heroku.world.add_token(heroku.world.add_account("x@example.com"), Secret("CANARY-x"))
    rows = (await heroku.get("/oauth/authorizations")).json()
    assert [row["access_token"]["token"] for row in rows] == [heroku.world.tokens[0].value.reveal()]
    assert other.value.reveal() not in str(rows)


async def test_unknown_endpoint(heroku: SimulatedHeroku) -> None:
    """A path or method that is not simulated is 404, in JSON, as at Heroku."""
    for reply in (await heroku.get("/dynos"), await heroku.post("/apps", {})):
        assert reply.status_code == 404
        assert reply.json()["message"].startswith("The requested API endpoint was not found.")


async def test_bodies_are_objects(heroku: SimulatedHeroku) -> None:
    """A request whose body is no JSON object is 400."""
    for body in (b"{", b"[1]", b"\xff"):
        reply = await heroku.browser.api.post("/addon-attachments", content=body)
        assert (reply.status_code, reply.json()["id"]) == (400, "bad_request")


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
