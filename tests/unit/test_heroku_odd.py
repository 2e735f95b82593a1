"""Odd values from Heroku: each is that field's trouble, or that answer's, and nobody else's."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Awaitable
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from pgherald.errors import BadUrl, NotHeroku, RateLimited
from pgherald.heroku.account import Account, Missing
from pgherald.heroku.api import HerokuApi
from pgherald.heroku.discovery import Discovery, Rule
from pgherald.heroku.events import AppEvents
from pgherald.heroku.getter import Getter
from pgherald.heroku.shapes import App, Release
from pgherald.heroku.visit import visit
from pgherald.model import Database, DatabaseKey, Sighting
from support.fake_clock import FakeClock
from support.heroku_answers import HOST, TOKEN, URL, FakeHeroku, FakeTokens, ok

MINUTE = 60.0


def raw(body: str, **headers: str) -> httpx.Response:
    """A 200 whose JSON is exactly this text."""
    fields = {"Content-Type": "application/json"}
    fields |= {name.replace("_", "-"): value for name, value in headers.items()}
    return httpx.Response(200, content=body.encode(), headers=fields)


@pytest.fixture
def heroku() -> FakeHeroku:
    return FakeHeroku()


@pytest.fixture
def api(heroku: FakeHeroku) -> HerokuApi:
    return heroku.api(FakeClock())


async def refusal(question: Awaitable[Any]) -> NotHeroku:
    with pytest.raises(NotHeroku) as caught:
        await question
    assert "CANARY" not in str(caught.value)
    assert caught.value.__context__ is None
    return caught.value


# --- fields ----------------------------------------------------------------------------

#: What stands where a moment, a version, a text is expected; as JSON.
ODD = (
    "null", "true", "-1", "1.5", "1e400", "NaN", "[]", "{}", '""', '"\\ud800"', '"\\u0000"',
    "1" + "0" * 400, str(2**63), f'"{"9" * 5000}"',
)  # fmt: skip
ODD_MOMENTS = (
    "0000-01-01T00:00:00Z", "0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00",
    "9999-12-31T23:59:59Z", "2026-01-05T09:00:00", "2026-02-30T00:00:00Z",
    "2026-01-05T09:00:00+99:99", "٢٠٢٦-01-05T09:00:00Z", "soon",
)  # fmt: skip


@pytest.mark.parametrize("odd", [*ODD, *(f'"{moment}"' for moment in ODD_MOMENTS)])
async def test_an_odd_description_of_an_app(heroku: FakeHeroku, api: HerokuApi, odd: str) -> None:
    """An app whose moments or team are odd is an app all the same, without them."""
    heroku.routes["/apps"] = raw(
        f'[{{"id": "1", "name": "shop", "team": {odd}, "released_at": {odd}, "updated_at": {odd}}}]'
    )
    assert await api.apps() == [App("1", "shop", None, None, None)]


@pytest.mark.parametrize("odd", ODD)
async def test_an_odd_release(heroku: FakeHeroku, odd: str) -> None:
    """A release with an odd version leaves the sighting without one, and is asked for once."""
    heroku.holds("shop", {"DATABASE_URL": URL})
    heroku.routes["/apps/shop/releases"] = raw(
        f'[{{"version": {odd}, "description": {odd}, "created_at": {odd}}}]'
    )
    account = Account("default", heroku.api(FakeClock()))
    database = Database(DatabaseKey("default", "shop", "DATABASE"), "Shop", "Heroku", "shop")
    for _ in range(2):
        (seen,) = await account.look([database])
        assert isinstance(seen, Sighting)
        assert seen.release is None
    assert heroku.paths.count("/apps/shop/releases") == 1


async def test_the_right_release_among_odd_ones(heroku: FakeHeroku, api: HerokuApi) -> None:
    """What is understood of a list of releases counts."""
    heroku.routes["/apps/shop/releases"] = raw(
        f'[1, {{"version": {2**63}}}, {{"version": 7, "created_at": 3}}]'
    )
    assert await api.latest_release("shop") == Release(7, None, None)


async def test_an_odd_plan_is_asked_for_elsewhere(heroku: FakeHeroku, api: HerokuApi) -> None:
    """An attachment's plan only describes it; its credential says which it is."""
    good = {"id": "1", "name": "DATABASE", "app": {"name": "shop"}, "addon": {"name": "pg-1"}}
    heroku.routes["/addon-attachments"] = ok(
        [
            {**good, "addon": {"name": "pg-1", "plan": 5}},
            {**good, "name": "READER", "namespace": 5},
            {**good, "app": "shop"},
        ]
    )
    assert [(a.name, a.plan) for a in await api.all_attachments()] == [("DATABASE", None)]


async def test_odd_config_vars_beside_the_right_one(heroku: FakeHeroku, api: HerokuApi) -> None:
    """A config var that is no text, or has an odd name, hides no other and is not named."""
    odd = '"A": 1, "B": {"CANARY": []}, "\\u001b[2J_URL": "postgres://u:p@h/d", "\\ud800": null'
    heroku.routes["/apps/shop/config-vars"] = raw(f'{{{odd}, "DATABASE_URL": "{URL}"}}')
    seen = await api.config_vars("shop", ["DATABASE"])
    assert seen.logins["DATABASE"].reveal() == URL
    assert seen.names == ()


async def test_one_odd_database_of_an_app(heroku: FakeHeroku) -> None:
    """A config var of ours that is no text is trouble for its own database alone."""
    heroku.routes["/apps/shop/config-vars"] = ok({"DATABASE_URL": URL, "READER_URL": 5})
    account = Account("default", heroku.api(FakeClock()))
    one, two = await account.look(
        [
            Database(DatabaseKey("default", "shop", name), name, "Heroku", name.lower())
            for name in ("DATABASE", "READER")
        ]
    )
    assert isinstance(one, Sighting)
    assert isinstance(two, Missing)
    assert isinstance(two.error, BadUrl)


@pytest.mark.parametrize("expires", [*ODD, "-5", "99999999999"])
async def test_an_odd_end_of_the_token(heroku: FakeHeroku, api: HerokuApi, expires: str) -> None:
    """A token whose end makes no sense has none."""
    entry = f'{{"access_token": {{"token": "{TOKEN}", "expires_in": {expires}}}}}'
    other = '{"access_token": {"token": "\\ud800", "expires_in": 5}}'
    heroku.routes["/oauth/authorizations"] = raw(f"[{other}, {entry}]")
    assert await api.token_ends_at() is None


# --- lists -----------------------------------------------------------------------------


async def test_one_odd_app_hides_no_other(
    heroku: FakeHeroku, api: HerokuApi, caplog: pytest.LogCaptureFixture
) -> None:
    """Of 1,200 apps 1,199 are seen; the log says once that one is not, and again after a change."""
    apps: list[Any] = [{"id": str(n), "name": f"app-{n}"} for n in range(1200)]
    odd = [*apps[:700], {"id": "x", "name": "CANARY\x1b[2J"}, *apps[701:]]

    def said() -> list[str]:
        return [r.getMessage() for r in caplog.records if r.levelno >= logging.WARNING]

    def pages(items: list[Any]) -> None:
        def page(request: httpx.Request) -> httpx.Response:
            if request.headers["Range"] == "next":
                return ok(items[1000:])
            return ok(items[:1000], Next_Range="next")

        heroku.routes["/apps"] = page

    for _ in range(3):
        pages(odd)
        assert len(await api.apps()) == 1199
    once = ["The account's apps: 1 of 1200 have an odd shape and are left out."]
    assert said() == once
    pages(apps)
    assert len(await api.apps()) == 1200
    pages(odd)
    await api.apps()
    assert said() == once * 2
    assert "CANARY" not in caplog.text


async def test_an_odd_attachment_loses_no_database(heroku: FakeHeroku) -> None:
    """A database that was found stays found while its entry makes no sense, and no longer."""

    def attached(app: Any) -> dict[str, Any]:
        addon = {"name": "pg-1", "plan": {"name": "heroku-postgresql:mini"}}
        return {"id": "1", "name": "DATABASE", "app": {"name": app}, "addon": addon}

    discovery = Discovery(Account("default", heroku.api(FakeClock())), [Rule()])
    for shown, found in (
        (["a", "b"], ["a", "b"]),
        (["a", 5], ["a", "b"]),
        ([5, "c"], ["a", "b", "c"]),
        (["c"], ["c"]),
    ):
        heroku.routes["/addon-attachments"] = ok([attached(app) for app in shown])
        assert [each.app for each in await discovery.discover()] == found


async def test_a_list_that_begins_elsewhere_each_time(heroku: FakeHeroku, api: HerokuApi) -> None:
    """Pages that are no longer part of a list are forgotten, whatever `Next-Range` leads to."""

    def page(request: httpx.Request) -> httpx.Response:
        where = request.headers["Range"]
        following = "" if where.startswith("x") else f"x{len(heroku.requests)}"
        return ok([{"id": "1", "name": "shop"}], Next_Range=following, ETag=f'"{where}"')

    heroku.routes["/apps"] = page
    for _ in range(20):
        assert len(await api.apps()) == 2
    assert len(api._memory) == 2


async def test_a_list_of_very_many_pages(
    heroku: FakeHeroku, api: HerokuApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A list ends at a number of items, too, not only of pages."""
    monkeypatch.setattr("pgherald.heroku.api._MOST_ITEMS", 100)
    many = [{"id": "1", "name": "shop"}] * 60
    heroku.routes["/apps"] = lambda _: ok(many, Next_Range=f"{len(heroku.requests)}")
    await refusal(api.apps())
    assert len(heroku.requests) == 2


# --- JSON ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "body",
    [
        "[" * 100_000,
        '{"a":' * 100_000,
        '{"DATABASE_URL": ' + "9" * 5000 + "}",
        f'{{"DATABASE_URL": "{URL}", "X": [' + "[]," * 300_000 + "[]]}",
        '{"a": "CANARY',
        "\\ud800",
        "",
    ],
    ids=len,
)
async def test_json_that_cannot_be_read(heroku: FakeHeroku, api: HerokuApi, body: str) -> None:
    """JSON that is too deep, too long, too many or none is refused, and nothing of it is shown."""
    heroku.routes["/apps/shop/config-vars"] = raw(body)
    await refusal(api.config_vars("shop", ["DATABASE"]))


async def test_json_of_the_largest_account(heroku: FakeHeroku, api: HerokuApi) -> None:
    """A full page of apps with all that Heroku says of each is far below the limits."""
    full = {f"field_{n}": {"id": "x" * 36, "name": "x" * 30} for n in range(20)}
    apps = [{"id": str(n), "name": f"app-{n}", **full} for n in range(1000)]
    heroku.routes["/apps"] = ok(apps)
    assert len(json.dumps(apps)) > 2_000_000
    assert len(await api.apps()) == 1000


async def test_a_key_twice_and_an_odd_number(heroku: FakeHeroku, api: HerokuApi) -> None:
    """The last of two equal keys counts, as for the Heroku CLI; odd numbers elsewhere do no harm."""
    heroku.routes["/apps/shop/config-vars"] = raw(
        f'{{"DATABASE_URL": "no", "X": NaN, "Y": 1e999, "DATABASE_URL": "{URL}"}}'
    )
    assert (await api.config_vars("shop", ["DATABASE"])).logins["DATABASE"].reveal() == URL


# --- headers ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    "left",
    [
        "9" * 400,
        "9" * 5000,
        "٤٢",
        "\uff14\uff12",
        "²",
        "-1",
        "1e3",
        "0x10",
        "4500, 4500",
        "99999999999",
    ],
)
async def test_an_odd_number_of_requests_left(
    heroku: FakeHeroku, api: HerokuApi, left: str
) -> None:
    """`RateLimit-Remaining` is a plain number, or nothing; the answer it came with counts."""
    headers = [(b"RateLimit-Remaining", left.encode()), (b"Content-Type", b"application/json")]
    heroku.routes["/account"] = lambda _: httpx.Response(
        200, content=b'{"email": "me"}', headers=headers
    )
    heroku.routes["/oauth/authorizations"] = ok([])
    assert await api.account() == "me"
    assert api.budget.remaining is None
    assert api.budget.left == api.budget.burst - 1
    found = await visit(Getter(HOST, transport=heroku.transport), FakeTokens(), FakeClock())
    assert found.remaining is None


@pytest.mark.parametrize("left", ["-1", "true", "1.5", "1" + "0" * 400, '"7"', "NaN"])
async def test_an_odd_rate_limit(heroku: FakeHeroku, api: HerokuApi, left: str) -> None:
    """Likewise where it is asked for."""
    heroku.routes["/account/rate-limits"] = raw(f'{{"remaining": {left}}}')
    await refusal(api.rate_limit())
    assert api.budget.left == api.budget.burst


@pytest.mark.parametrize(
    "text",
    [
        "9" * 400, "٤٢", "1e3", "Mon, 05 Jan 99999 09:02:00 GMT",
        "Fri, 31 Dec 9999 23:59:59 -1400", "Mon, 05 Jan 2026 09:02:00 +99999999999",
        "Mon, 05 Jan 2026 09:02:00 -0000", "x" * 100_000, " ", ",",
    ],
)  # fmt: skip
async def test_odd_moments_in_headers(heroku: FakeHeroku, api: HerokuApi, text: str) -> None:
    """`Retry-After` and `Date` that make no sense say nothing; the status still counts."""
    odd = [(b"Retry-After", text.encode()), (b"Date", text.encode())]
    heroku.routes["/apps"] = lambda _: httpx.Response(429, headers=odd)
    with pytest.raises(RateLimited) as caught:
        await api.apps()
    assert caught.value.retry_at is None
    heroku.routes["/account"] = lambda _: httpx.Response(
        200, json={}, headers=[*odd, (b"Oauth-Scope", b"global,\xff, read " + b"x" * 99)]
    )
    heroku.routes["/oauth/authorizations"] = ok([])
    found = await visit(Getter(HOST, transport=heroku.transport), FakeTokens(), FakeClock())
    assert found.ahead is None
    assert found.scopes == frozenset({"global", "read"})


async def test_no_cookie_is_kept(heroku: FakeHeroku, api: HerokuApi) -> None:
    """Whatever cookies come, none is sent back, and none is held."""

    def answer(request: httpx.Request) -> httpx.Response:
        number = len(heroku.requests)
        cookies = [("Set-Cookie", f"c{number}-{n}={'x' * 999}; Path=/") for n in range(9)]
        return httpx.Response(200, json={"email": "me"}, headers=cookies)

    heroku.routes["/account"] = answer
    for _ in range(20):
        await api.account()
    assert len(heroku.requests) == 20
    assert all("Cookie" not in request.headers for request in heroku.requests)
    assert not api._getter._opened().cookies


# --- the address of a log --------------------------------------------------------------


@pytest.mark.parametrize(
    "address",
    [
        '"https://["', '"https://logs.example.com:99999/"', '"https://logs.example.com:x/"',
        '"https://\\u0000/"', '"https://logs.example.com/\\n"', '"https://\\ud800.example/"',
        '"https://' + "x" * 100_000 + '/"', '"https://' + "x" * 300 + '/"', '"https://xn--/"', '"https://xn--a/"', '"https://xn--0000.example.com/"',
        '"https://a..b/"', '"https://\\u2488com/"', '"//x"', '"?"', '""', "5", "null", "[]",
        '"https://127.0.0.1/CANARY"', '"gopher://x/"', '"https://user:CANARY@logs.example.com/"',
    ],
)  # fmt: skip
async def test_an_odd_address_of_a_log(
    heroku: FakeHeroku, address: str, caplog: pytest.LogCaptureFixture
) -> None:
    """An odd address costs some attempts; a right one, later, is followed as ever."""
    caplog.set_level(logging.INFO)
    heroku.routes["/apps/shop/log-sessions"] = lambda _: raw(f'{{"logplex_url": {address}}}')
    clock = FakeClock()
    account = Account("default", heroku.api(clock))
    events = AppEvents(account, "shop", lambda: None, asyncio.Semaphore(), chance=lambda: 0.0)
    task = asyncio.create_task(events.run())
    try:
        await clock.advance(2 * 3600)
        assert not task.done()
        assert 2 <= len(heroku.requests) <= 20
        heroku.routes["/apps/shop/log-sessions"] = ok({"logplex_url": "https://logs.example.com/s"})
        heroku.routes["/s"] = lambda _: httpx.Response(200, stream=Silence())
        await clock.advance(901)
        assert events.connected
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    assert "mistake" not in caplog.text
    assert "CANARY" not in caplog.text


class Silence(httpx.AsyncByteStream):
    """A log that says nothing."""

    async def __aiter__(self) -> Any:
        await asyncio.Event().wait()
        yield b""


async def test_a_moment_of_another_zone(heroku: FakeHeroku, api: HerokuApi) -> None:
    """A moment is UTC from the start, whatever zone Heroku writes it in."""
    heroku.routes["/apps"] = ok(
        [{"id": "1", "name": "shop", "released_at": "2026-01-05T09:00:00+14:00"}]
    )
    (app,) = await api.apps()
    assert app.released_at == datetime(2026, 1, 4, 19, tzinfo=UTC)
    assert app.released_at is not None
    assert app.released_at.utcoffset() == timedelta()
