"""What Heroku is asked, and what its answers mean."""

from __future__ import annotations

import asyncio
import inspect
import json
import logging
import re
import socket
import ssl
import traceback
from collections.abc import Awaitable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from pgherald import __version__
from pgherald.errors import (
    AccountSuspended,
    Forbidden,
    HerokuError,
    LoginRequired,
    MissingTool,
    NotHeroku,
    NotVisible,
    PgheraldError,
    RateLimited,
    TwoFactorRequired,
    Unavailable,
    UnsafeHost,
)
from pgherald.heroku import getter as getter_module
from pgherald.heroku.api import HerokuApi
from pgherald.heroku.getter import Getter
from pgherald.heroku.host import HerokuHost
from pgherald.heroku.shapes import Release
from pgherald.secret import Secret
from support.fake_clock import START, FakeClock
from support.heroku_answers import (
    HOST,
    TOKEN,
    URL,
    FakeHeroku,
    FakeTokens,
    error,
    for_token,
    ok,
    tagged,
)

APP = {
    "id": "01234567-89ab-cdef-0123-456789abcdef",
    "name": "shop",
    "team": {"id": "t", "name": "acme"},
    "released_at": "2012-01-01T12:00:00Z",
    "updated_at": None,
}
ATTACHMENT = {
    "id": "a1",
    "name": "DATABASE",
    "namespace": None,
    "app": {"id": "x", "name": "shop"},
    "addon": {"id": "p", "name": "postgresql-curved-1", "plan": {"name": "heroku-postgresql:mini"}},
}


@pytest.fixture
def heroku() -> FakeHeroku:
    return FakeHeroku()


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


async def trouble(ask: Awaitable[object], kind: type[PgheraldError]) -> PgheraldError:
    """The error of a question; checked to show no secret and to have nothing behind it."""
    with pytest.raises(kind) as caught:
        await ask
    problem = caught.value
    assert type(problem) is kind
    assert "CANARY" not in "".join([*traceback.format_exception(problem), repr(vars(problem))])
    assert problem.__cause__ is None
    assert problem.__context__ is None
    return problem


# --- requests --------------------------------------------------------------------------


async def test_the_request(heroku: FakeHeroku, clock: FakeClock) -> None:
    """Every request names the API's version, the token and who asks; gzip is welcome."""
    heroku.routes["/account"] = ok({"email": "me@example.com"})
    assert await heroku.api(clock).account() == "me@example.com"
    (request,) = heroku.requests
    assert request.method == "GET"
    assert request.headers["Accept"] == "application/vnd.heroku+json; version=3"
    assert request.headers["Authorization"] == f"Bearer {TOKEN}"
    assert request.headers["User-Agent"].startswith(f"pgherald/{__version__} (+https://")
    assert request.headers["Accept-Encoding"] == "gzip"


def test_only_reads_are_ever_sent() -> None:
    """One module builds requests: GETs, and the one POST that opens a log session for reading."""
    room = Path(getter_module.__file__).parent
    sources = {path.name: path.read_text() for path in room.glob("*.py")}
    assert {name for name, text in sources.items() if "import httpx" in text} == {
        "api.py",
        "getter.py",
    }
    everything = "".join(sources.values())
    getter = sources["getter.py"]
    assert everything.count("build_request(") == getter.count("build_request(") == 3
    assert re.findall(r'build_request\(\s*"(\w+)",\s+(.*?),\s+headers', getter) == [
        ("GET", "self.host.url + path"),
        ("POST", "self.host.url + path"),
        ("GET", "address"),
    ]
    # What the POST goes to is made beside it, from nothing but an app's name.
    assert inspect.getsource(Getter.open_log).count('f"/apps/{segment(app)}/log-sessions"') == 1
    assert "path" not in inspect.signature(Getter.open_log).parameters
    assert not re.search(r"\.(post|put|patch|delete|request|stream)\(", everything)
    assert not re.search(r"httpx\.(get|post|put|patch|delete|request|stream)\(", everything)
    assert "follow_redirects=True" not in everything


async def test_a_log_session_is_of_the_app_alone(heroku: FakeHeroku, clock: FakeClock) -> None:
    """No name makes the POST go to another path than the app's log sessions."""
    for name in ("../account", "a/config-vars?", "a#", ".."):
        with pytest.raises(NotVisible):
            await heroku.api(clock).open_log(name)
    assert all(re.fullmatch(r"/apps/[\w%~-]+/log-sessions", path) for path in heroku.paths)


@pytest.mark.parametrize("name", ["../account", "a/b", "a?b", "a#b", "..", "a%2Fb", "ä b"])
async def test_a_name_stays_one_segment(heroku: FakeHeroku, clock: FakeClock, name: str) -> None:
    """No name, however odd, can make a request go to another path."""
    with pytest.raises(NotVisible):
        await heroku.api(clock).config_vars(name, ["DATABASE"])
    assert re.fullmatch(r"/apps/[\w%~-]+/config-vars", heroku.paths[0])


async def test_a_request_that_would_leave_the_host(heroku: FakeHeroku) -> None:
    """A path that changes the host is refused before anything is sent."""
    getter = Getter(HOST, transport=heroku.transport)
    await trouble(getter.get("@evil.org/apps", Secret(TOKEN), {}), UnsafeHost)
    stranger = Getter(HerokuHost("https", "evil.org", 443), transport=heroku.transport)
    await trouble(stranger.get("/apps", Secret(TOKEN), {}), UnsafeHost)
    assert heroku.requests == []
    assert getter.requests == 0


async def test_requests_and_budget_are_counted(heroku: FakeHeroku, clock: FakeClock) -> None:
    """The API knows how many requests it sent and how many the account has left."""
    heroku.routes["/account"] = ok({"email": "e"}, RateLimit_Remaining="4498")
    heroku.routes["/account/rate-limits"] = ok({"remaining": 4400}, RateLimit_Remaining="x")
    api = heroku.api(clock)
    assert api.budget.remaining is None
    await api.account()
    assert api.requests == 1
    assert vars(api.budget)["remaining"] == 4498
    assert api.budget.last_hour() == 1
    assert await api.rate_limit() == 4400
    assert api.requests == 2
    assert vars(api.budget)["remaining"] == 4400
    assert api.budget.last_hour() == 1, "that question is free"
    await api.aclose()
    await HerokuApi(HOST, FakeTokens(), clock=clock).aclose()


# --- config vars -----------------------------------------------------------------------

CONFIG = {
    "DATABASE_URL": URL,
    "OTHER_URL": "postgresql://x:CANARY@h/d",
    "READER_URL": "redis://:CANARY@h",
    "SECRET_KEY": "CANARY",
    "POSTGRES": "postgres://x:CANARY@h/d",
    "GONE_URL": None,
}


async def test_config_vars_are_picked_and_dropped(heroku: FakeHeroku, clock: FakeClock) -> None:
    """Only the URLs asked for stay; of other Postgres URLs the names; of the rest nothing."""
    heroku.holds("shop", CONFIG)
    api = heroku.api(clock)
    seen = await api.config_vars("shop", ["DATABASE", "GONE", "ABSENT"])
    assert seen.logins == {"DATABASE": Secret(URL)}
    assert seen.names == ("OTHER_URL",)
    assert (seen.seen_at, seen.unchanged) == (START, False)
    assert "CANARY" not in repr(seen)
    assert "CANARY" not in repr(api._memory)


async def test_when_the_token_ends(heroku: FakeHeroku, clock: FakeClock) -> None:
    """Of the account's tokens ours counts, and none of the answer is kept, whatever its ETag."""
    another, ours = ({"token": t, "expires_in": n} for t, n in (("CANARY", 5), (TOKEN, 3600)))
    body = [{"access_token": another}, {"access_token": ours}]
    heroku.routes["/oauth/authorizations"] = ok(body, ETag='"1"')
    api = heroku.api(clock)
    assert await api.token_ends_at() == clock.now() + timedelta(hours=1)
    assert not api._memory
    assert api.requests == 1


@pytest.mark.parametrize("said", ["You do not have access.", "The scope does not permit this."])
async def test_a_token_that_may_not_ask_when_it_ends(
    heroku: FakeHeroku, clock: FakeClock, said: str
) -> None:
    """A narrow token is told nothing, and stays as good as it was."""
    heroku.routes["/oauth/authorizations"] = error(403, "forbidden", said)
    api = heroku.api(clock)
    assert await api.token_ends_at() is None
    assert api.refused is None


async def test_a_304_gives_what_was_picked(heroku: FakeHeroku, clock: FakeClock) -> None:
    """Unchanged config vars cost an empty answer, and are seen anew."""
    heroku.holds("shop", CONFIG)
    api = heroku.api(clock)
    first = await api.config_vars("shop", ["DATABASE"])
    await clock.advance(60)
    second = await api.config_vars("shop", ["DATABASE"])
    assert second.unchanged
    assert second.seen_at == START + timedelta(seconds=60)
    assert (second.logins, second.names) == (first.logins, first.names)


async def test_other_attachments_are_another_question(heroku: FakeHeroku, clock: FakeClock) -> None:
    """What was picked for some attachments is no answer for others: the values were dropped."""
    heroku.holds("shop", CONFIG)
    api = heroku.api(clock)
    await api.config_vars("shop", ["DATABASE"])
    seen = await api.config_vars("shop", ["OTHER"])
    assert not seen.unchanged
    assert set(seen.logins) == {"OTHER"}
    assert "If-None-Match" not in heroku.requests[1].headers


async def test_a_changed_var_replaces_the_memory(heroku: FakeHeroku, clock: FakeClock) -> None:
    """A new value has a new ETag, and from then on that one is remembered."""
    heroku.holds("shop", CONFIG)
    api = heroku.api(clock)
    await api.config_vars("shop", ["DATABASE"])
    heroku.holds("shop", {"DATABASE_URL": "postgres://u:new@h/d"})
    assert (await api.config_vars("shop", ["DATABASE"])).logins["DATABASE"] != Secret(URL)
    assert (await api.config_vars("shop", ["DATABASE"])).unchanged


async def test_the_memory_is_bounded(
    heroku: FakeHeroku, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many apps there are, the memory of answers has an end; the oldest goes first."""
    monkeypatch.setattr("pgherald.heroku.api._MOST_REMEMBERED", 8)
    api = heroku.api(clock)
    for number in range(10):
        heroku.holds(f"app{number}", {})
        await api.config_vars(f"app{number}", ["DATABASE"])
    assert len(api._memory) == 8
    assert not (await api.config_vars("app1", ["DATABASE"])).unchanged
    assert (await api.config_vars("app9", ["DATABASE"])).unchanged


@pytest.mark.parametrize("etag", ["", "x" * 2000, "\x07"])
async def test_an_odd_etag_is_not_sent_back(
    heroku: FakeHeroku, clock: FakeClock, etag: str
) -> None:
    """An ETag that is missing, endless or unprintable is not remembered."""
    heroku.routes["/account"] = ok({"email": "e"}, ETag=etag)
    api = heroku.api(clock)
    await api.account()
    await api.account()
    assert "If-None-Match" not in heroku.requests[1].headers


@pytest.mark.parametrize(
    "body",
    [
        "[]",
        "null",
        '"CANARY"',
        "1",
        '{"DATABASE_URL": 1}',
        '{"A": {"CANARY": "x"}}',
        '{"A": ["x"]}',
    ],
)
async def test_config_vars_of_an_odd_shape(heroku: FakeHeroku, clock: FakeClock, body: str) -> None:
    """Only an object of strings and nulls is taken for config vars."""
    heroku.routes["/apps/shop/config-vars"] = ok(json.loads(body))
    await trouble(heroku.api(clock).config_vars("shop", ["DATABASE"]), NotHeroku)


# --- lists -----------------------------------------------------------------------------


async def test_apps(heroku: FakeHeroku, clock: FakeClock) -> None:
    """An app keeps only what is needed, with times that know their zone."""
    heroku.routes["/apps"] = ok([APP, {**APP, "team": None}])
    heroku.routes["/teams/acme/apps"] = ok([APP])
    api = heroku.api(clock)
    one, two = await api.apps()
    assert (one.name, one.team, two.team) == ("shop", "acme", None)
    assert one.released_at == datetime(2012, 1, 1, 12, tzinfo=UTC)
    assert one.updated_at is None
    assert await api.team_apps("acme") == [one]


async def test_attachments(heroku: FakeHeroku, clock: FakeClock) -> None:
    """Attachments are asked for with their plan, in the CLI's own way."""
    bare = {**ATTACHMENT, "namespace": "credential:ro", "addon": {"name": "p"}}
    heroku.routes["/apps/shop/addon-attachments"] = ok([ATTACHMENT, bare])
    heroku.routes["/addon-attachments"] = ok([ATTACHMENT])
    heroku.routes["/addons"] = ok([{"name": "p", "plan": {"name": "heroku-postgresql:mini"}}])
    api = heroku.api(clock)
    one, two = await api.attachments("shop")
    assert (one.app, one.name, one.namespace) == ("shop", "DATABASE", None)
    assert (one.addon, one.plan) == ("postgresql-curved-1", "heroku-postgresql:mini")
    assert (two.namespace, two.plan) == ("credential:ro", None)
    assert await api.all_attachments() == [one]
    assert await api.addon_plans() == {"p": "heroku-postgresql:mini"}
    for request in heroku.requests[:2]:
        assert request.headers["Accept"] == "application/vnd.heroku+json; version=3.sdk"
        assert request.headers["Accept-Inclusion"] == "addon:plan,config_vars"


def pages(request: httpx.Request) -> httpx.Response:
    """Three pages of apps; the ranges are as opaque as Heroku's."""
    at = request.headers["Range"]
    number = {"id ..; max=1000": 0, "id ]x..; odd words": 1, "]]2": 2}[at]
    following = {0: "id ]x..; odd words", 1: "]]2"}.get(number)
    headers = {"Next-Range": following} if following else {}
    app, etag = {**APP, "name": f"app{number}"}, f'"{number}"'
    if request.headers.get("If-None-Match") == etag:
        return httpx.Response(304, headers={"ETag": etag})
    status = 206 if following else 200
    return httpx.Response(status, json=[app], headers={**headers, "ETag": etag})


async def test_lists_are_followed_to_their_end(heroku: FakeHeroku, clock: FakeClock) -> None:
    """`Next-Range` is sent back word by word, also where a page comes as a 304 without it."""
    heroku.routes["/apps"] = pages
    api = heroku.api(clock)
    for _ in range(2):
        assert [app.name for app in await api.apps()] == ["app0", "app1", "app2"]
    known = [request.headers.get("If-None-Match") for request in heroku.requests]
    assert known == [None, None, None, '"0"', '"1"', '"2"']


async def test_a_full_last_page_is_read_anew(heroku: FakeHeroku, clock: FakeClock) -> None:
    """The ETag of a page that is full would not tell that another one has begun behind it."""
    heroku.routes["/apps"] = tagged([APP] * 1000)
    api = heroku.api(clock)
    for _ in range(2):
        assert len(await api.apps()) == 1000
    assert "If-None-Match" not in heroku.requests[1].headers


async def test_a_list_of_one_page_is_remembered(heroku: FakeHeroku, clock: FakeClock) -> None:
    """An unchanged list comes as an empty 304, and cannot be spoilt by who got it before."""
    heroku.routes["/apps"] = tagged([APP])
    api = heroku.api(clock)
    first = await api.apps()
    first.clear()
    second = await api.apps()
    assert isinstance(second, list)
    assert [app.name for app in second] == ["shop"]
    assert heroku.requests[1].headers["If-None-Match"]


@pytest.mark.parametrize("following", ["same", "{}", "x" * 2000])
async def test_a_list_without_end(heroku: FakeHeroku, clock: FakeClock, following: str) -> None:
    """A list that goes round in circles, or on for ever, is given up."""

    def page(request: httpx.Request) -> httpx.Response:
        return ok([], Next_Range=following.format(len(heroku.requests)))

    heroku.routes["/apps"] = page
    await trouble(heroku.api(clock).apps(), NotHeroku)
    assert len(heroku.requests) <= 101


async def test_the_latest_release(heroku: FakeHeroku, clock: FakeClock) -> None:
    """The newest release is asked for, and found even when the server sends more."""
    old = {"version": 9, "description": "Deploy", "created_at": "2012-01-01T12:00:00Z"}
    heroku.routes["/apps/shop/releases"] = ok([old, {**old, "version": 11}], Next_Range="x")
    heroku.routes["/apps/new/releases"] = ok([])
    api = heroku.api(clock)
    at = datetime(2012, 1, 1, 12, tzinfo=UTC)
    assert await api.latest_release("shop") == Release(11, "Deploy", at)
    assert await api.latest_release("new") is None
    assert heroku.requests[0].headers["Range"] == "version ..; max=1, order=desc"


@pytest.mark.parametrize(
    "change",
    [
        {"name": 1},
        {"name": "a/b"},
        {"name": "CANARY\n"},
        {"name": ""},
        {"name": "a" * 200},
        {"id": None},
    ],
)
async def test_apps_of_an_odd_shape(
    heroku: FakeHeroku, clock: FakeClock, change: dict[str, Any]
) -> None:
    """Where no app has an id and a name in Heroku's alphabet, it is not Heroku that answers."""
    heroku.routes["/apps"] = ok([{**APP, **change}])
    with pytest.raises(NotHeroku) as caught:
        await heroku.api(clock).apps()
    assert "CANARY" not in str(caught.value)


@pytest.mark.parametrize("body", [{}, [1], [[]], [None], "x"])
async def test_lists_of_an_odd_shape(heroku: FakeHeroku, clock: FakeClock, body: Any) -> None:
    """A list of anything but the things asked for is not Heroku's."""
    for path in ("/apps", "/addon-attachments", "/addons", "/apps/shop/releases"):
        heroku.routes[path] = ok(body)
    api = heroku.api(clock)
    for ask in (api.apps, api.all_attachments, api.addon_plans, lambda: api.latest_release("shop")):
        await trouble(ask(), NotHeroku)


async def test_a_text_that_would_flood_the_screen(heroku: FakeHeroku, clock: FakeClock) -> None:
    """Endless texts and control characters from outside do not get through; the rest does."""
    for description in ("x" * 2000, "\x1b[2J", 5, None):
        heroku.routes["/apps/shop/releases"] = ok([{"version": 1, "description": description}])
        assert await heroku.api(clock).latest_release("shop") == Release(1, None, None)


# --- errors ----------------------------------------------------------------------------

SCOPE = "The scope of this OAuth authorization does not allow access to this resource."


@pytest.mark.parametrize(
    ("response", "kind", "words"),
    [
        (error(401, "unauthorized"), LoginRequired, "does not accept the token"),
        (httpx.Response(401), LoginRequired, "does not accept the token"),
        (error(402, "delinquent"), AccountSuspended, "shop: Heroku waits for a payment"),
        (error(403, "suspended"), AccountSuspended, "shop: suspended"),
        (error(403, "two_factor"), TwoFactorRequired, "second factor"),
        (error(403, "forbidden", SCOPE), Forbidden, "may not read config vars"),
        (error(403, "forbidden"), Forbidden, "shop: Heroku does not let this token in"),
        (error(404, "not_found"), NotVisible, "shop: not on Heroku"),
        (httpx.Response(404), NotVisible, "shop: not on Heroku"),
        (error(410, "gone"), HerokuError, "no longer answers"),
        (error(422, "invalid_params", "CANARY"), HerokuError, "refuses the question (422)"),
        (error(500, "x"), Unavailable, "a problem of its own (500)"),
        (httpx.Response(503, text="<html>CANARY"), Unavailable, "(503)"),
        (httpx.Response(401, text="<html>CANARY"), NotHeroku, "status 401"),
        (httpx.Response(404, html="<h1>Not Found</h1>"), NotHeroku, "status 404"),
        (httpx.Response(403, json=["CANARY"]), NotHeroku, "status 403"),
        (httpx.Response(407, text="CANARY"), NotHeroku, "status 407"),
        (httpx.Response(304), NotHeroku, "status 304"),
        (
            httpx.Response(302, headers={"Location": "https://evil.org/CANARY"}),
            NotHeroku,
            "redirects",
        ),
        (httpx.Response(300), NotHeroku, "redirects"),
        (httpx.Response(204), NotHeroku, "status 204"),
        (httpx.Response(200, html="<h1>Sign in to CANARY"), NotHeroku, "a page, not data"),
        (httpx.Response(200, content=b"{}"), NotHeroku, "a page, not data"),
    ],
)
async def test_each_refusal_has_its_error(
    heroku: FakeHeroku,
    clock: FakeClock,
    response: httpx.Response,
    kind: type[HerokuError],
    words: str,
) -> None:
    """Each status becomes one of our errors, in words that hold nothing from the answer."""
    heroku.routes["/apps/shop/config-vars"] = response
    problem = await trouble(heroku.api(clock).config_vars("shop", ["DATABASE"]), kind)
    assert words in problem.title


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"<h1>Not Found</h1>",
        b"{",
        b'{"a":"CANARY',
        b"\xff\xfe\x00",
        b"[" * 100_000,
        b"9" * 5000,
    ],
)
@pytest.mark.parametrize("status", [200, 206])
async def test_json_that_is_none(
    heroku: FakeHeroku, clock: FakeClock, content: bytes, status: int
) -> None:
    """A body that is not what its header says is not Heroku's, whatever it breaks."""
    headers = {"Content-Type": "application/vnd.heroku+json; charset=utf-8"}
    heroku.routes["/apps/shop/config-vars"] = httpx.Response(
        status, headers=headers, content=content
    )
    await trouble(heroku.api(clock).config_vars("shop", ["DATABASE"]), NotHeroku)


async def test_a_404_labelled_json_that_is_none(heroku: FakeHeroku, clock: FakeClock) -> None:
    """An error whose body is not JSON proves nothing about the app."""
    headers = {"Content-Type": "application/json"}
    heroku.routes["/apps/shop/config-vars"] = httpx.Response(
        404, headers=headers, content=b"<h1>Not Found</h1>"
    )
    await trouble(heroku.api(clock).config_vars("shop", ["DATABASE"]), NotHeroku)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("", None),
        ("120", 120),
        ("0", 0),
        ("999999999999999999", None),
        ("99999", 3600),
        ("-5", None),
        ("soon", None),
        ("Mon, 05 Jan 2026 09:02:00 GMT", 120),
        ("Mon, 05 Jan 2026 08:00:00 GMT", 0),
        ("Thu, 01 Jan 2099 00:00:00 GMT", 3600),
    ],
)
async def test_when_to_ask_again(
    heroku: FakeHeroku, clock: FakeClock, text: str, seconds: int | None
) -> None:
    """`Retry-After` is understood as seconds or date, and believed for an hour at most."""
    heroku.routes["/account"] = error(429, "rate_limit", Retry_After=text)
    problem = await trouble(heroku.api(clock).account(), RateLimited)
    assert isinstance(problem, RateLimited)
    wanted = None if seconds is None else START + timedelta(seconds=seconds)
    assert problem.retry_at == wanted


def connect_error(cause: BaseException) -> httpx.ConnectError:
    """A failed connection as httpx words it: the cause lies behind."""
    problem = httpx.ConnectError("CANARY")
    problem.__cause__ = OSError("CANARY")
    problem.__cause__.__cause__ = cause
    return problem


@pytest.mark.parametrize(
    ("exc", "kind", "words"),
    [
        (connect_error(socket.gaierror()), Unavailable, "no network or DNS"),
        (connect_error(ConnectionRefusedError()), Unavailable, "the connection is refused"),
        (
            connect_error(ExceptionGroup("", [OSError(), ConnectionRefusedError()])),
            Unavailable,
            "the connection is refused",
        ),
        (connect_error(ssl.SSLCertVerificationError()), Unavailable, "certificate is not trusted"),
        (connect_error(ssl.SSLError()), Unavailable, "no secure connection"),
        (connect_error(ExceptionGroup("", [OSError()])), Unavailable, "no way through the network"),
        (httpx.ConnectError("CANARY"), Unavailable, "no way through the network"),
        (httpx.ConnectTimeout("CANARY"), Unavailable, "does not answer in time"),
        (httpx.ReadTimeout("CANARY"), Unavailable, "does not answer in time"),
        (httpx.ProxyError("CANARY"), Unavailable, "the proxy refuses"),
        (httpx.ReadError("CANARY"), Unavailable, "broke off"),
        (httpx.RemoteProtocolError("Server disconnected …"), Unavailable, "broke off"),
        (httpx.RemoteProtocolError("illegal: CANARY"), NotHeroku, "does not speak HTTP"),
        (httpx.DecodingError("CANARY"), NotHeroku, "damaged"),
        (TimeoutError("CANARY"), Unavailable, "does not answer in time"),
    ],
)
async def test_each_broken_way_has_plain_words(
    heroku: FakeHeroku, clock: FakeClock, exc: Exception, kind: type[HerokuError], words: str
) -> None:
    """Whatever breaks on the way is said in plain words, with none of the library's."""
    heroku.routes["/account"] = exc
    problem = await trouble(heroku.api(clock).account(), kind)
    assert words in problem.title


@pytest.mark.parametrize(
    ("variable", "value", "kind"),
    [
        ("HTTPS_PROXY", "socks5://CANARY@127.0.0.1:1", MissingTool),
        ("HTTPS_PROXY", "gopher://CANARY@127.0.0.1:1", Unavailable),
        ("HTTPS_PROXY", "http://127.0.0.1:CANARY", Unavailable),
        ("SSL_CERT_FILE", "/nonexistent/CANARY.pem", Unavailable),
    ],
)
async def test_an_environment_that_cannot_be_used(
    clock: FakeClock,
    monkeypatch: pytest.MonkeyPatch,
    variable: str,
    value: str,
    kind: type[HerokuError],
) -> None:
    """A proxy or certificate file that cannot be used is an error with advice, not a crash."""
    monkeypatch.setenv(variable, value)
    problem = await trouble(HerokuApi(HOST, FakeTokens(), clock=clock).account(), kind)
    assert problem.advice


# --- the token -------------------------------------------------------------------------


async def test_an_expired_token_is_renewed(heroku: FakeHeroku, clock: FakeClock) -> None:
    """After a 401 the source is asked afresh, and a new token is tried at once."""
    heroku.routes["/account"] = for_token("HRKU-2", error(401, "unauthorized"), ok({"email": "e"}))
    tokens = FakeTokens(cheap=False)
    api = heroku.api(clock, tokens)
    await tokens.get()
    tokens.token = "HRKU-2"
    assert await api.account() == "e"
    assert len(heroku.requests) == 2


async def test_a_refused_token_is_not_tried_twice(heroku: FakeHeroku, clock: FakeClock) -> None:
    """When the source has no other token, one request is all; the error names the source."""
    heroku.routes["/account"] = error(401, "unauthorized")
    api = heroku.api(clock, FakeTokens())
    problem = await trouble(api.account(), LoginRequired)
    assert "It came from the test." in problem.advice
    assert len(heroku.requests) == 1
    assert api.refused == Secret(TOKEN)


async def test_two_dead_tokens(heroku: FakeHeroku, clock: FakeClock) -> None:
    """A second token that is refused too ends it: no third request."""
    heroku.routes["/account"] = error(401, "unauthorized")
    tokens = FakeTokens(cheap=False)
    await tokens.get()
    tokens.token = "HRKU-2"
    api = heroku.api(clock, tokens)
    await trouble(api.account(), LoginRequired)
    assert len(heroku.requests) == 2
    assert api.refused == Secret("HRKU-2")


async def test_many_that_hear_401_renew_once(heroku: FakeHeroku, clock: FakeClock) -> None:
    """Ten apps that are refused together start the token's program once."""
    heroku.routes["/account"] = for_token("HRKU-2", error(401, "unauthorized"), ok({"email": "e"}))
    tokens = FakeTokens(cheap=False)
    await tokens.get()
    tokens.token = "HRKU-2"
    api = heroku.api(clock, tokens)
    assert await asyncio.gather(*(api.account() for _ in range(10))) == ["e"] * 10
    assert tokens.forgotten == 1


async def test_many_that_hear_401_in_vain_renew_once(heroku: FakeHeroku, clock: FakeClock) -> None:
    """The same holds when there is no other token."""
    heroku.routes["/account"] = error(401, "unauthorized")
    tokens = FakeTokens(cheap=False)
    api = heroku.api(clock, tokens)
    outcomes = await asyncio.gather(*(api.account() for _ in range(10)), return_exceptions=True)
    assert all(isinstance(outcome, LoginRequired) for outcome in outcomes)
    assert tokens.forgotten == 1


async def test_a_token_that_works_again_may_expire_again(
    heroku: FakeHeroku, clock: FakeClock
) -> None:
    """After it has worked, a token that was once refused is renewed like any other."""
    tokens = FakeTokens(cheap=False)
    api = heroku.api(clock, tokens)
    heroku.routes["/account"] = error(401, "unauthorized")
    await trouble(api.account(), LoginRequired)
    heroku.routes["/account"] = ok({"email": "e"})
    await api.account()
    assert api.refused is None
    tokens.token = "HRKU-2"
    heroku.routes["/account"] = for_token("HRKU-2", error(401, "unauthorized"), ok({"email": "e"}))
    assert await api.account() == "e"


async def test_the_log_holds_no_secret(
    heroku: FakeHeroku, clock: FakeClock, caplog: pytest.LogCaptureFixture
) -> None:
    """Even with every library at DEBUG neither token nor URL gets into the log."""
    caplog.set_level(logging.DEBUG)
    heroku.holds("shop", CONFIG)
    api = heroku.api(clock)
    await api.config_vars("shop", ["DATABASE"])
    heroku.routes["/apps/shop/config-vars"] = httpx.ReadError("CANARY")
    await trouble(api.config_vars("shop", ["DATABASE"]), Unavailable)
    assert "GET /apps/shop/config-vars: ReadError" in caplog.text
    assert "CANARY" not in caplog.text
