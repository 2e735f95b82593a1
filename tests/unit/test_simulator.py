"""A simulated Heroku, without any socket: what it answers, refuses, rotates and shows."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import httpx
import pytest

from pgherald.simulator.control import HEADER
from pgherald.simulator.data_plane import Manner
from pgherald.simulator.faults import REFUSALS, Fault
from pgherald.simulator.state import Refused, postgres_of, url_of
from support.fake_clock import settle
from support.simulator import CONTROL_TOKEN, SimulatedHeroku

SHOP = {"app": "shop-production"}
VARS = "/apps/shop-production/config-vars"
RELEASES = "/apps/shop-production/releases"


@pytest.fixture
async def heroku() -> AsyncIterator[SimulatedHeroku]:
    async with SimulatedHeroku.running() as made:
        yield made


async def rotate(heroku: SimulatedHeroku, manner: Manner | None = None) -> None:
    data = postgres_of(heroku.world.addons[0]).data
    await heroku.world.data.rotate(data, manner=manner)


# --- the world: apps, attachments, config vars, releases -------------------------------------


async def test_urls(heroku: SimulatedHeroku) -> None:
    """Every database's URL begins as the CLI wants; whatever a password holds, it can be parsed."""
    config = heroku.world.config_vars(heroku.world.app("shop-production"))
    urls = [value for value in config.values() if "@127.0.0.1" in value and "redis" not in value]
    assert len(urls) == 5
    assert all(url.startswith("postgres://u") or "analytics" in url for url in urls)
    login = heroku.login()
    odd = type(login)(login.host, 5432, "d/b", "u:x", type(login.password)("p@ss/word%"))
    assert url_of(odd) == "postgres://u%3Ax:p%40ss%2Fword%25@127.0.0.1:5432/d%2Fb"


async def test_passwords_carry_the_mark(heroku: SimulatedHeroku) -> None:
    """Every password is 65 characters long and holds the mark, so that a leak is found."""
    password = heroku.login().password.reveal()
    assert (len(password), password[:7]) == (65, "pCANARY")


async def test_who_may_see_what(heroku: SimulatedHeroku) -> None:
    """An app is seen by its owner, its collaborators and its team, and by nobody else."""
    world = heroku.world
    owner = world.add_account("owner@example.com")
    friend = world.add_account("friend@example.com")
    member = world.add_account("member@example.com", teams=["press"])
    app = world.add_app("news", owner, team="press", collaborators=["friend@example.com"])
    assert all(app.seen_by(account) for account in (owner, friend, member))
    assert not app.seen_by(world.accounts[0])
    addon = await world.data.add_postgres(app, "mini")
    assert world.addon(addon.id, member) is addon
    with pytest.raises(Refused):
        world.addon(addon.id, world.accounts[0])
    world.attach(addon, world.app("blog"), "NEWS")
    assert world.addon(addon.id, world.accounts[0]) is addon


async def test_a_rotation_is_shown_everywhere(heroku: SimulatedHeroku) -> None:
    """On each app that has the database, and by its pool: one release each, by the add-on."""
    world, shop = heroku.world, heroku.world.app("shop-production")
    before, data = len(shop.releases), postgres_of(world.addons[0]).data
    await rotate(heroku)
    new = heroku.login()
    assert {
        (attachment.app.name, attachment.shown.user)
        for attachment in world.attachments
        if attachment.shown and attachment.credential == "default"
        and attachment.addon.postgres and postgres_of(attachment.addon).data is data
    } == {("shop-production", new.user), ("blog", new.user)}  # fmt: skip
    pool = heroku.login("DATABASE_CONNECTION_POOL")
    assert (pool.password, pool.port == new.port) == (new.password, False)
    release = shop.releases[-1]
    assert (release.version, release.by) == (before + 1, "heroku-postgresql@addons.heroku.com")
    assert release.description.startswith("Update DATABASE, ")
    assert world.app("blog").releases[-1].description == "Update SHOP by heroku-postgresql"


async def test_rotations_may_overlap(heroku: SimulatedHeroku) -> None:
    """A second rotation during the first one's overlap ends with one role, which owns all."""
    await rotate(heroku, Manner(overlap=30))
    await heroku.clock.advance(10)
    await rotate(heroku, Manner(overlap=30))
    await heroku.clock.advance(60)
    login = heroku.login()
    (role,) = postgres_of(heroku.world.addons[0]).data.credentials["default"].roles
    assert role.user == heroku.postgres.owners[login.dbname] == login.user


# --- the Platform API ------------------------------------------------------------------------


async def test_unknown_token(heroku: SimulatedHeroku) -> None:
    """Without a good token everything is 401, with Heroku's own words."""
    for authorization in ("", "Bearer nobody", "Basic %%%", "Digest x", "Basic Og=="):
        reply = await heroku.get("/apps", Authorization=authorization)
        assert reply.status_code == 401
        assert reply.json() == {"id": "unauthorized", "message": "Invalid credentials provided."}


async def test_scopes(heroku: SimulatedHeroku) -> None:
    """Plain `read` opens neither config vars nor releases nor the account; reading writes nothing."""
    for scope, path, status in (
        ("read", "/apps", 200), ("read", VARS, 403), ("read", RELEASES, 403),
        ("read-protected", VARS, 200), ("identity", "/account", 200), ("identity", "/apps", 403),
    ):  # fmt: skip
        reply = await heroku.get(path, Authorization=heroku.token(scope))
        assert (scope, path, reply.status_code) == (scope, path, status)
        assert reply.headers["Oauth-Scope"] == scope
    token = {"Authorization": heroku.token("read-protected")}
    assert (await heroku.browser.api.patch(VARS, json={"A": "1"}, headers=token)).status_code == 403
    base = f"/postgres/v0/databases/{heroku.world.addons[0].name}"
    read = await heroku.browser.data.get(f"{base}/credentials", headers=token)
    refused = await heroku.browser.data.post(f"{base}/credentials_rotation", headers=token)
    assert (read.status_code, refused.status_code) == (200, 403)


async def test_what_one_may_not_see_is_not_there(heroku: SimulatedHeroku) -> None:
    """Another account's app is 404, exactly as one that does not exist."""
    stranger = heroku.world.add_token(heroku.world.add_account("other@example.com"))
    header = f"Bearer {stranger.value.reveal()}"
    hidden = await heroku.get("/apps/blog", Authorization=header)
    missing = await heroku.get("/apps/nothing")
    assert hidden.status_code == missing.status_code == 404
    said = {"resource": "app", "id": "not_found", "message": "Couldn't find that app."}
    assert hidden.json() == missing.json() == said
    assert "ETag" not in hidden.headers
    assert (await heroku.get("/apps", Authorization=header)).json() == []


async def test_an_unknown_path_of_the_data_api(heroku: SimulatedHeroku) -> None:
    """It, and a database that is none, are HTML that calls itself JSON, as recorded from Heroku."""
    redis = next(a for a in heroku.world.addons if a.service == "heroku-redis")
    for path in ("/postgres/v0/nothing", f"/client/v11/databases/{redis.id}"):
        reply = await heroku.browser.data.get(path)
        assert (reply.status_code, reply.text) == (404, "<h1>Not Found</h1>")
        assert reply.headers["Content-Type"] == "application/json"


async def test_etag_stays_until_the_content_changes(heroku: SimulatedHeroku) -> None:
    """Unchanged content keeps its ETag, strong and of 32 digits, and is 304 with no body."""
    tag = (await heroku.get(VARS)).headers["ETag"]
    assert len(tag) == 34
    again = await heroku.get(VARS, If_None_Match=tag)
    assert (again.status_code, again.content, again.headers["ETag"]) == (304, b"", tag)
    heroku.world.set_config(heroku.world.apps[0], {"A": "1"}, by="dev@example.com")
    changed = await heroku.get(VARS, If_None_Match=f'"other", {tag}')
    assert (changed.status_code, changed.headers["ETag"] == tag) == (200, False)


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


async def test_rate_limit(heroku: SimulatedHeroku) -> None:
    """Each request costs one of the pool, a 304 too; an empty pool is 429; it refills in time."""
    first = await heroku.get("/apps")
    again = await heroku.get("/apps", If_None_Match=first.headers["ETag"])
    left = [reply.headers["RateLimit-Remaining"] for reply in (first, again)]
    assert left == ["4499", "4498"]
    heroku.browser.app.limits.set(heroku.world.accounts[0], 0, heroku.clock.monotonic())
    empty = await heroku.get("/apps")
    assert (empty.status_code, empty.json()["id"]) == (429, "rate_limit")
    await heroku.clock.advance(60)
    for _ in range(2):
        assert (await heroku.get("/account/rate-limits")).json() == {"remaining": 75}
    assert (await heroku.get("/apps")).headers["RateLimit-Remaining"] == "74"


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


async def test_names_of_this_machine_are_served(heroku: SimulatedHeroku) -> None:
    """A page that points a name of its own at this machine gets nothing."""
    for host in ("evil.example:5000", "127.0.0.1.evil.example", ""):
        assert (await heroku.get(Host=host)).status_code == 421
    assert not heroku.browser.app.front.visits
    for host in ("127.0.0.1", "localhost:5000", "[::1]:5000"):
        assert (await heroku.get(Host=host)).status_code == 200


# --- log sessions ----------------------------------------------------------------------------


async def test_a_log_session(heroku: SimulatedHeroku) -> None:
    """Server-sent events have an id; who comes back with the last one goes on behind it."""
    book = heroku.world.app("blog").log
    book.write(heroku.clock.now(), "app", "web.1", "GET /")
    book.write(heroku.clock.now(), "heroku", "router", "at=info")
    opened = await heroku.post("/apps/blog/log-sessions", {"lines": 1})
    assert opened.status_code == 201
    url, get = opened.json()["logplex_url"], heroku.browser.control.get
    assert len((await get(url)).text.splitlines()) == 1
    events = await get(url, headers={"Accept": "text/event-stream"})
    assert events.headers["Content-Type"].startswith("text/event-stream")
    identity, data, _ = events.text.split("\n", 2)
    assert identity.startswith("id: ")
    assert data == "data: 2026-01-05T09:00:00.000000+00:00 heroku[router]: at=info"
    back = await get(url, headers={"Last-Event-ID": "7"})
    assert len(back.text.splitlines()) == 3


# --- faults ----------------------------------------------------------------------------------


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


async def test_a_fault_strikes_what_it_is_made_for(heroku: SimulatedHeroku) -> None:
    """And leaves other requests alone."""
    heroku.faults.add(Fault("503", "/apps/*/config-vars"))
    heroku.faults.add(Fault("404", "POST /apps"))
    asked = ("/apps/blog/config-vars", "/apps/blog", "/apps")
    assert [(await heroku.get(path)).status_code for path in asked] == [503, 200, 200]


@pytest.mark.parametrize("kind", ["hang", "never-ending", "slow"])
async def test_stop_ends_what_never_ends(heroku: SimulatedHeroku, kind: str) -> None:
    """Whatever the fault, stopping the simulator ends it."""
    heroku.faults.add(Fault(kind, seconds=1e6))
    reply = asyncio.create_task(heroku.get())
    await settle() if kind != "never-ending" else await asyncio.sleep(0.01)
    assert not reply.done()
    heroku.browser.app.front.stop()
    await asyncio.wait({reply}, timeout=60)
    assert reply.done()
    reply.exception()


# --- the control routes ----------------------------------------------------------------------


async def test_closed_without_the_token(heroku: SimulatedHeroku) -> None:
    """Without the control token nothing happens; a web page is refused even with it."""
    old = heroku.login()
    reply = await heroku.browser.control.post("rotate", json=SHOP, headers={HEADER: "guess"})
    assert (reply.status_code, heroku.login()) == (401, old)
    headers = {"Origin": "http://127.0.0.1:5000"}
    assert (await heroku.browser.control.get("world", headers=headers)).status_code == 403


async def test_an_order_to_rotate(heroku: SimulatedHeroku) -> None:
    """By app and attachment; the old login is refused at once; the answer holds no password."""
    old = heroku.login()
    told = await heroku.do("rotate", **SHOP)
    new = heroku.login()
    assert new.changed(old) == ("user", "password")
    assert [heroku.postgres.accepts(login) for login in (old, new)] == [False, True]
    assert told["user"] == new.user
    assert new.password.reveal() not in str(told)


async def test_the_world_as_shown_holds_no_secret(heroku: SimulatedHeroku) -> None:
    """It names hosts and users, and no password, token or config value."""
    told = (await heroku.browser.control.get("world")).text
    assert heroku.login().user in told
    secrets = [*heroku.world.config_vars(heroku.world.app("shop-production")).values()]
    secrets.remove("production")
    hidden = [heroku.login().password, heroku.world.tokens[0].value, CONTROL_TOKEN]
    assert not [s for s in [*secrets, *(h.reveal() for h in hidden)] if s in told]
