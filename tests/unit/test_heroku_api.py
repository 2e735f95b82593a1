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
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import httpx
import pytest

from pgherald import __version__
from pgherald.clock import SystemClock
from pgherald.config import DiscoverRule
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
from pgherald.heroku.account import Account
from pgherald.heroku.answers import App
from pgherald.heroku.api import HerokuApi, TokenInfo
from pgherald.heroku.budget import Budget
from pgherald.heroku.discovery import Discovery
from pgherald.heroku.events import AppEvents
from pgherald.heroku.host import HerokuHost
from pgherald.heroku.http import HttpClient
from pgherald.model import Database, DatabaseKey, Sighting
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
)

APP = {
    "id": "01234567-89ab-cdef-0123-456789abcdef",
    "name": "shop",
    "team": {"id": "t", "name": "acme"},
    "released_at": "2012-01-01T12:00:00Z",
    "updated_at": None,
}
DATABASE = Database(DatabaseKey("default", "shop", "DATABASE"), "Shop", "Heroku", "shop")
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


@pytest.fixture
def api(heroku: FakeHeroku, clock: FakeClock) -> HerokuApi:
    return heroku.api(clock)


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


async def test_the_request(heroku: FakeHeroku, api: HerokuApi) -> None:
    """Every request names the API's version, the token and who asks; gzip is welcome."""
    heroku.routes["/account"] = ok({"email": "me@example.com"})
    assert await api.account() == "me@example.com"
    (request,) = heroku.requests
    assert request.method == "GET"
    assert request.headers["Accept"] == "application/vnd.heroku+json; version=3"
    assert request.headers["Authorization"] == f"Bearer {TOKEN}"
    assert request.headers["User-Agent"].startswith(f"pgherald/{__version__} (+https://")
    assert request.headers["Accept-Encoding"] == "gzip"


def test_only_reads_are_ever_sent() -> None:
    """One module builds requests: GETs, and the one POST that opens a log session for reading."""
    room = Path(inspect.getfile(HttpClient)).parent
    sources = {path.name: path.read_text() for path in room.glob("*.py")}
    assert {name for name, text in sources.items() if "import httpx" in text} == {
        "api.py",
        "http.py",
        "network.py",
    }
    everything = "".join(sources.values())
    http = sources["http.py"]
    assert everything.count("build_request(") == http.count("build_request(") == 3
    assert re.findall(r'build_request\(\s*"(\w+)",\s+(.*?),\s+headers', http) == [
        ("GET", "self.host.url + path"),
        ("POST", "self.host.url + path"),
        ("GET", "address"),
    ]
    # What the POST goes to is made beside it, from nothing but an app's name.
    assert inspect.getsource(HttpClient.open_log).count('f"/apps/{segment(app)}/log-sessions"') == 1
    assert "path" not in inspect.signature(HttpClient.open_log).parameters
    assert not re.search(r"\.(post|put|patch|delete|request|stream)\(", everything)
    assert not re.search(r"httpx\.(get|post|put|patch|delete|request|stream)\(", everything)
    assert "follow_redirects=True" not in everything


async def test_a_log_session_is_of_the_app_alone(heroku: FakeHeroku, api: HerokuApi) -> None:
    """No name makes the POST go to another path than the app's log sessions."""
    for name in ("../account", "a/config-vars?", "a#", ".."):
        with pytest.raises(NotVisible):
            await api.open_log(name)
    assert all(re.fullmatch(r"/apps/[\w%~-]+(/log-sessions)?", path) for path in heroku.paths)


@pytest.mark.parametrize("name", ["../account", "a?b", "..", "a%2Fb", "ä b"])
async def test_a_name_stays_one_segment(heroku: FakeHeroku, api: HerokuApi, name: str) -> None:
    """No name, however odd, can make a request go to another path."""
    with pytest.raises(NotVisible):
        await api.config_vars(name, ["DATABASE"])
    assert re.fullmatch(r"/apps/[\w%~-]+/config-vars", heroku.paths[0])


async def test_a_request_that_would_leave_the_host(heroku: FakeHeroku) -> None:
    """A path that changes the host is refused before anything is sent."""
    client = HttpClient(HOST, Budget(SystemClock()), transport=heroku.transport)
    await trouble(client.get("@evil.org/apps", Secret(TOKEN), {}), UnsafeHost)
    stranger = HttpClient(
        HerokuHost("https", "evil.org", 443), Budget(SystemClock()), transport=heroku.transport
    )
    await trouble(stranger.get("/apps", Secret(TOKEN), {}), UnsafeHost)
    assert heroku.requests == []


async def test_each_request_is_a_line_of_the_debug_log(
    heroku: FakeHeroku, api: HerokuApi, caplog: pytest.LogCaptureFixture
) -> None:
    """Method, path, status, time and budget are there; no secret, config var or query value is."""
    caplog.set_level(logging.DEBUG, "pgherald")
    heroku.holds("shop", CONFIG)
    heroku.routes["/apps/shop/log-sessions"] = ok(
        {"logplex_url": "https://logs.example.com/CANARY"}
    )
    heroku.routes["/account?x=QUERY"] = ok({"email": "x"})
    await api.config_vars("shop", ["DATABASE"])
    session = await api.open_log("shop")
    heroku.routes["/CANARY"] = httpx.Response(403)
    with pytest.raises(Unavailable):
        async with api.http.follow(session.url):
            pass
    await api.http.get("/account?x=QUERY", Secret(TOKEN), {})
    await trouble(api.config_vars("gone", ["DATABASE"]), NotVisible)
    heroku.routes["/apps/shop/config-vars"] = httpx.ReadError("CANARY")
    await trouble(api.config_vars("shop", ["DATABASE"]), Unavailable)
    lines = [r.getMessage() for r in caplog.records if r.name == "pgherald.heroku.http"]
    assert [re.sub(r"in \d+ ms", "in N ms", line) for line in lines] == [
        "GET /apps/shop/config-vars: 200 in N ms, 374 requests left",
        "GET /apps/shop: 404 in N ms, 373 requests left",
        "POST /apps/shop/log-sessions: 200 in N ms, 372 requests left",
        "GET of a log session: 403 in N ms",
        "GET /account: 200 in N ms, 371 requests left",
        "GET /apps/gone/config-vars: 404 in N ms, 370 requests left",
        "GET /apps/shop/config-vars: ReadError in N ms, 369 requests left",
    ]
    assert not re.search("CANARY|QUERY", caplog.text)


# --- config vars -----------------------------------------------------------------------

CONFIG = {
    "DATABASE_URL": URL,
    "OTHER_URL": "postgresql://x:CANARY@h/d",
    "READER_URL": "redis://:CANARY@h",
    "SECRET_KEY": "CANARY",
    "POSTGRES": "postgres://x:CANARY@h/d",
    "GONE_URL": None,
}


async def test_config_vars_are_picked_and_dropped(heroku: FakeHeroku, api: HerokuApi) -> None:
    """Only the URLs asked for stay; of other whole Postgres URLs the names; of the rest nothing."""
    heroku.holds("shop", CONFIG)
    seen = await api.config_vars("shop", ["DATABASE", "GONE", "ABSENT"])
    assert seen.logins == {"DATABASE": Secret(URL), "GONE": None}
    assert seen.others == (("OTHER_URL", "POSTGRES"),)
    assert seen.seen_at == START
    assert "CANARY" not in repr(seen)
    assert "CANARY" not in repr(api._memory)


async def test_a_name_whose_url_is_another(heroku: FakeHeroku, api: HerokuApi) -> None:
    """Of `PG` and `PG_URL` the one counts that holds a Postgres URL, and `PG_URL` if both do."""
    for other, bare in (("https://pgadmin.example", True), ("", True), (None, False), (URL, False)):
        heroku.holds("shop", {"PG": "postgres://u:p@h/d", "PG_URL": other})
        assert (await api.config_vars("shop", ["PG"])).bare == ({"PG"} if bare else set())


async def test_when_the_token_ends(heroku: FakeHeroku, api: HerokuApi, clock: FakeClock) -> None:
    """Of the account's tokens ours counts, and none of the answer is kept, whatever its ETag."""
    another, ours = ({"token": t, "expires_in": n} for t, n in (("CANARY", 5), (TOKEN, 3600)))
    body = [{"access_token": another}, {"access_token": ours}]
    heroku.routes["/oauth/authorizations"] = ok(body, ETag='"1"')
    assert await api.token_ends_at() == clock.now() + timedelta(hours=1)
    assert not api._memory
    assert len(heroku.requests) == 1


@pytest.mark.parametrize("said", ["You do not have access.", "The scope does not permit this."])
async def test_a_token_that_may_not_ask_when_it_ends(
    heroku: FakeHeroku, api: HerokuApi, said: str
) -> None:
    """A narrow token is told nothing, and stays as good as it was."""
    heroku.routes["/oauth/authorizations"] = error(403, "forbidden", said)
    assert await api.token_ends_at() is None
    assert api.refused is None


async def test_a_304_gives_what_was_picked(
    heroku: FakeHeroku, api: HerokuApi, clock: FakeClock
) -> None:
    """Unchanged config vars cost an empty answer, and are seen anew; in full now and then."""
    heroku.holds("shop", CONFIG)
    first = await api.config_vars("shop", ["DATABASE"])
    await clock.advance(60)
    second = await api.config_vars("shop", ["DATABASE"])
    assert heroku.requests[1].headers["If-None-Match"]
    assert second.seen_at == START + timedelta(seconds=60)
    assert second.logins == first.logins
    await clock.advance(15 * 60)
    heroku.holds("shop", {"DATABASE_URL": "postgres://u:new@h/d"})
    assert (await api.config_vars("shop", ["DATABASE"])).logins != first.logins
    assert "If-None-Match" not in heroku.requests[2].headers


async def test_other_attachments_are_another_question(heroku: FakeHeroku, api: HerokuApi) -> None:
    """What was picked for some attachments is no answer for others: the values were dropped."""
    heroku.holds("shop", CONFIG)
    await api.config_vars("shop", ["DATABASE"])
    seen = await api.config_vars("shop", ["OTHER"])
    assert set(seen.logins) == {"OTHER"}
    assert "If-None-Match" not in heroku.requests[1].headers


async def test_the_memory_is_bounded(
    heroku: FakeHeroku, api: HerokuApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many apps there are, the memory of answers has an end; the oldest goes first."""
    monkeypatch.setattr("pgherald.heroku.api._MOST_REMEMBERED", 8)
    for number in range(10):
        heroku.holds(f"app{number}", {})
        await api.config_vars(f"app{number}", ["DATABASE"])
    assert len(api._memory) == 8
    for number in (1, 9):
        await api.config_vars(f"app{number}", ["DATABASE"])
    known = ["If-None-Match" in request.headers for request in heroku.requests[-2:]]
    assert known == [False, True]


@pytest.mark.parametrize(
    "body",
    [
        "[]", "null", '"CANARY"', "1", '{"DATABASE_URL": 1}', '{"A": {"CANARY": "x"}}',
        '{"A": ["x"]}',
    ],
)  # fmt: skip
async def test_config_vars_of_an_odd_shape(heroku: FakeHeroku, api: HerokuApi, body: str) -> None:
    """Only an object of strings and nulls is taken for config vars."""
    heroku.routes["/apps/shop/config-vars"] = ok(json.loads(body))
    await trouble(api.config_vars("shop", ["DATABASE"]), NotHeroku)


# --- lists -----------------------------------------------------------------------------


async def test_apps(heroku: FakeHeroku, api: HerokuApi) -> None:
    """An app keeps only what is needed, with times that know their zone."""
    heroku.routes["/apps"] = ok([APP, {**APP, "team": None}])
    heroku.routes["/teams/acme/apps"] = ok([APP])
    one, two = await api.apps()
    assert one == two == App("shop", datetime(2012, 1, 1, 12, tzinfo=UTC), str(APP["id"]))
    assert await api.apps("acme") == [one]


async def test_attachments(heroku: FakeHeroku, api: HerokuApi) -> None:
    """Attachments are asked for with their plan, in the CLI's own way."""
    bare = {**ATTACHMENT, "namespace": "credential:ro", "addon": {"name": "p"}}
    heroku.routes["/addon-attachments"] = ok([ATTACHMENT, bare])
    one, two = await api.attachments()
    assert (one.app, one.name, one.namespace) == ("shop", "DATABASE", None)
    assert (one.addon, one.plan) == ("postgresql-curved-1", "heroku-postgresql:mini")
    assert (two.namespace, two.plan) == ("credential:ro", None)
    headers = heroku.requests[0].headers
    assert headers["Accept"] == "application/vnd.heroku+json; version=3.sdk"
    assert headers["Accept-Inclusion"] == "addon:plan,config_vars"


def pages(request: httpx.Request) -> httpx.Response:
    """Three pages of apps; the ranges are as opaque as Heroku's."""
    at = request.headers["Range"]
    number = {"id ..; max=1000": 0, "id ]x..; odd words": 1, "]]2": 2}[at]
    following = {0: "id ]x..; odd words", 1: "]]2"}.get(number)
    headers = {"Next-Range": following} if following else {}
    status = 206 if following else 200
    app = {**APP, "name": f"app{number}"}
    return httpx.Response(status, json=[app], headers={**headers, "ETag": '"1"'})


async def test_lists_are_followed_to_their_end(heroku: FakeHeroku, api: HerokuApi) -> None:
    """`Next-Range` is sent back word by word, and each page is asked for in full each time."""
    heroku.routes["/apps"] = pages
    for _ in range(2):
        assert [app.name for app in await api.apps()] == ["app0", "app1", "app2"]
    assert not any("If-None-Match" in request.headers for request in heroku.requests)


@pytest.mark.parametrize("following", ["same", "{}", "x" * 2000])
async def test_a_list_without_end(heroku: FakeHeroku, api: HerokuApi, following: str) -> None:
    """A list that goes round in circles, or on for ever, is given up."""

    def page(request: httpx.Request) -> httpx.Response:
        return ok([], Next_Range=following.format(len(heroku.requests)))

    heroku.routes["/apps"] = page
    await trouble(api.apps(), NotHeroku)
    assert len(heroku.requests) <= 101


async def test_the_latest_release(heroku: FakeHeroku, api: HerokuApi) -> None:
    """The newest release is asked for, and found even when the server sends more."""
    old = {"version": 9, "description": "Deploy", "created_at": "2012-01-01T12:00:00Z"}
    heroku.routes["/apps/shop/releases"] = ok([old, {**old, "version": 11}], Next_Range="x")
    heroku.routes["/apps/new/releases"] = ok([])
    assert await api.latest_release("shop") == 11
    assert await api.latest_release("new") is None
    assert heroku.requests[0].headers["Range"] == "version ..; max=1, order=desc"


@pytest.mark.parametrize("name", [1, "a/b", "CANARY\n", "", "a" * 200])
async def test_apps_of_an_odd_shape(heroku: FakeHeroku, api: HerokuApi, name: object) -> None:
    """Where no app has a name in Heroku's alphabet, it is not Heroku that answers."""
    heroku.routes["/apps"] = ok([{**APP, "name": name}])
    await trouble(api.apps(), NotHeroku)


@pytest.mark.parametrize("body", [{}, [1], [[]], [None], "x"])
async def test_lists_of_an_odd_shape(heroku: FakeHeroku, api: HerokuApi, body: Any) -> None:
    """A list of anything but the things asked for is not Heroku's."""
    for path in ("/apps", "/addon-attachments", "/apps/shop/releases"):
        heroku.routes[path] = ok(body)
    for ask in (api.apps, api.attachments, lambda: api.latest_release("shop")):
        await trouble(ask(), NotHeroku)


# --- errors ----------------------------------------------------------------------------

SCOPE = "The scope of this OAuth authorization does not allow access to this resource."


@pytest.mark.parametrize(
    ("response", "kind", "words"),
    [
        (error(401, "unauthorized"), LoginRequired, "does not accept the token"),
        (error(402, "delinquent"), AccountSuspended, "shop: Heroku waits for a payment"),
        (error(403, "suspended"), AccountSuspended, "shop: suspended"),
        (error(403, "two_factor"), TwoFactorRequired, "second factor"),
        (
            httpx.Response(403, json={"id": "two_factor", "app": {"name": "shop"}}),
            Forbidden,
            "shop: Heroku asks for a second factor",
        ),
        (error(403, "forbidden", SCOPE), Forbidden, "may not read config vars"),
        (error(403, "forbidden"), Forbidden, "shop: Heroku does not let this token in"),
        (error(403, "forbidden", "No access to telescope."), Forbidden, "shop: Heroku does not"),
        (error(404, "not_found"), NotVisible, "shop: not on Heroku"),
        (error(410, "gone"), HerokuError, "no longer answers"),
        (error(422, "invalid_params", "CANARY"), HerokuError, "refuses the question (422)"),
        (httpx.Response(503, text="<html>CANARY"), Unavailable, "(503)"),
        (httpx.Response(404, html="<h1>Not Found</h1>"), NotHeroku, "status 404"),
        (httpx.Response(403, json=["CANARY"]), NotHeroku, "status 403"),
        (httpx.Response(304), NotHeroku, "status 304"),
        (
            httpx.Response(302, headers={"Location": "https://evil.org/CANARY"}),
            NotHeroku,
            "redirects",
        ),
        (httpx.Response(204), NotHeroku, "status 204"),
        (httpx.Response(200, html="<h1>Sign in to CANARY"), NotHeroku, "a page, not data"),
        (httpx.Response(200, content=b"{}"), NotHeroku, "a page, not data"),
    ],
)
async def test_each_refusal_has_its_error(
    heroku: FakeHeroku,
    api: HerokuApi,
    response: httpx.Response,
    kind: type[HerokuError],
    words: str,
) -> None:
    """Each status becomes one of our errors, in words that hold nothing from the answer."""
    heroku.routes["/apps/shop/config-vars"] = response
    problem = await trouble(api.config_vars("shop", ["DATABASE"]), kind)
    assert words in problem.title


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("", None),
        ("120", 120),
        ("0", 0),
        ("999999999999999999", None),
        ("soon", None),
        ("Mon, 05 Jan 2026 09:02:00 GMT", 120),
        ("Mon, 05 Jan 2026 08:00:00 GMT", 0),
        ("Thu, 01 Jan 2099 00:00:00 GMT", 3600),
    ],
)
async def test_when_to_ask_again(
    heroku: FakeHeroku, api: HerokuApi, text: str, seconds: int | None
) -> None:
    """`Retry-After` is understood as seconds or date, and believed for an hour at most."""
    heroku.routes["/account"] = error(429, "rate_limit", Retry_After=text)
    problem = await trouble(api.account(), RateLimited)
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
        (httpx.ConnectError("CANARY"), Unavailable, "no way through the network"),
        (httpx.ReadTimeout("CANARY"), Unavailable, "does not answer in time"),
        (httpx.ProxyError("CANARY"), Unavailable, "the proxy refuses"),
        (httpx.RemoteProtocolError("Server disconnected …"), Unavailable, "broke off"),
        (httpx.RemoteProtocolError("illegal: CANARY"), NotHeroku, "does not speak HTTP"),
        (httpx.DecodingError("CANARY"), NotHeroku, "damaged"),
        (TimeoutError("CANARY"), Unavailable, "does not answer in time"),
    ],
)
async def test_each_broken_way_has_plain_words(
    heroku: FakeHeroku, api: HerokuApi, exc: Exception, kind: type[HerokuError], words: str
) -> None:
    """Whatever breaks on the way is said in plain words, with none of the library's."""
    heroku.routes["/account"] = exc
    problem = await trouble(api.account(), kind)
    assert words in problem.title


@pytest.mark.parametrize(
    ("variable", "value", "kind"),
    [
        ("HTTPS_PROXY", "socks5://CANARY@127.0.0.1:1", MissingTool),
        ("HTTPS_PROXY", "gopher://CANARY@127.0.0.1:1", Unavailable),
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


@pytest.mark.parametrize("other", [TOKEN, "HRKU-2"])
async def test_many_that_hear_401_renew_once(
    heroku: FakeHeroku, clock: FakeClock, other: str
) -> None:
    """Ten apps that are refused together start the token's program once, in vain or not."""
    heroku.routes["/account"] = for_token("HRKU-2", error(401, "unauthorized"), ok({"email": "e"}))
    tokens = FakeTokens(cheap=False)
    await tokens.get()
    tokens.token = other
    api = heroku.api(clock, tokens)
    outcomes = await asyncio.gather(*(api.account() for _ in range(10)), return_exceptions=True)
    assert all(o == "e" if other != TOKEN else isinstance(o, LoginRequired) for o in outcomes)
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


# --- odd values: each is that field's trouble, or that answer's, and nobody else's ---------


def raw(body: str) -> httpx.Response:
    """A 200 whose JSON is exactly this text."""
    headers = {"Content-Type": "application/json"}
    return httpx.Response(200, content=body.encode(), headers=headers)


#: What stands where a moment, a version, a number is expected; as JSON.
ODD = ("null", "true", "-1", "1.5", "NaN", "[]", '"\\ud800"', str(2**63), f'"{"9" * 5000}"')
ODD_MOMENTS = (
    "0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59Z", "2026-01-05T09:00:00",
    "2026-02-30T00:00:00Z", "٢٠٢٦-01-05T09:00:00Z", "soon",
)  # fmt: skip


@pytest.mark.parametrize("odd", [*ODD, *(f'"{moment}"' for moment in ODD_MOMENTS)])
async def test_an_odd_moment_of_an_app(heroku: FakeHeroku, api: HerokuApi, odd: str) -> None:
    """An app whose moment is odd is an app all the same, without it."""
    heroku.routes["/apps"] = raw(f'[{{"name": "shop", "released_at": {odd}}}]')
    assert await api.apps() == [App("shop", None)]


@pytest.mark.parametrize("odd", ODD)
async def test_an_odd_release(heroku: FakeHeroku, api: HerokuApi, odd: str) -> None:
    """A release with an odd version leaves the sighting without one, and is asked for once."""
    heroku.holds("shop", {"DATABASE_URL": URL})
    heroku.routes["/apps/shop/releases"] = raw(f'[{{"version": {odd}}}]')
    account = Account("default", api)
    for _ in range(2):
        (seen,) = await account.read([DATABASE])
        assert isinstance(seen, Sighting)
        assert seen.release is None
    assert heroku.paths.count("/apps/shop/releases") == 1


async def test_odd_config_vars_beside_the_right_one(heroku: FakeHeroku, api: HerokuApi) -> None:
    """A config var that is no text, or has an odd name, hides no other and is not named."""
    odd = '"A": 1, "B": {"CANARY": []}, "\\u001b[2J_URL": "postgres://u:p@h/d", "\\ud800": null'
    heroku.routes["/apps/shop/config-vars"] = raw(f'{{{odd}, "DATABASE_URL": "{URL}"}}')
    seen = await api.config_vars("shop", ["DATABASE"])
    assert seen.logins["DATABASE"] == Secret(URL)
    assert seen.others == ()


@pytest.mark.parametrize("expires", [*ODD, "-5", "99999999999"])
async def test_an_odd_end_of_the_token(heroku: FakeHeroku, api: HerokuApi, expires: str) -> None:
    """A token whose end makes no sense has none."""
    entry = f'{{"access_token": {{"token": "{TOKEN}", "expires_in": {expires}}}}}'
    other = '{"access_token": {"token": "\\ud800", "expires_in": 5}}'
    heroku.routes["/oauth/authorizations"] = raw(f"[{other}, {entry}]")
    assert await api.token_ends_at() is None


async def test_one_odd_app_hides_no_other(
    heroku: FakeHeroku, api: HerokuApi, caplog: pytest.LogCaptureFixture
) -> None:
    """Of 1,200 apps 1,199 are seen; the log says once that one is not, and again after a change."""
    apps: list[Any] = [{"id": str(n), "name": f"app-{n}"} for n in range(1200)]
    odd = [*apps[:700], {"id": "x", "name": "CANARY\x1b[2J"}, *apps[701:]]
    for items in (odd, odd, odd, apps, odd):

        def page(request: httpx.Request, items: list[Any] = items) -> httpx.Response:
            last = request.headers["Range"] == "next"
            return ok(items[1000:]) if last else ok(items[:1000], Next_Range="next")

        heroku.routes["/apps"] = page
        assert len(await api.apps()) == (1199 if items is odd else 1200)
    said = [r.getMessage() for r in caplog.records if r.levelno >= logging.WARNING]
    assert said == ["The account's apps: 1 of 1200 have an odd shape and are left out."] * 2
    assert "CANARY" not in caplog.text


async def test_an_odd_attachment_loses_no_database(heroku: FakeHeroku, api: HerokuApi) -> None:
    """A database that was found stays found while its entry makes no sense, and no longer."""

    def attached(app: Any) -> dict[str, Any]:
        addon = {"name": "pg-1", "plan": {"name": "heroku-postgresql:mini"}}
        return {"id": "1", "name": "DATABASE", "app": {"name": app}, "addon": addon}

    discovery = Discovery(Account("default", api), [DiscoverRule()])
    heroku.routes["/apps"] = ok([])
    for shown, found in (
        (["a", "b"], ["a", "b"]),
        (["a", 5], ["a", "b"]),
        ([5, "c"], ["a", "b", "c"]),
        (["c"], ["c"]),
    ):
        heroku.routes["/addon-attachments"] = ok([attached(app) for app in shown])
        await discovery.discover()
        assert [each.app for each in discovery.found] == found


@pytest.mark.parametrize(
    "body",
    [
        "[" * 100_000, '{"a":' * 100_000, '{"DATABASE_URL": ' + "9" * 5000 + "}",
        f'{{"DATABASE_URL": "{URL}", "X": [' + "[]," * 300_000 + "[]]}", '{"a": "CANARY',
        "\\ud800", "",
    ],
    ids=len,
)  # fmt: skip
async def test_json_that_cannot_be_read(heroku: FakeHeroku, api: HerokuApi, body: str) -> None:
    """JSON that is too deep, too long, too many or none is refused, and nothing of it is shown."""
    heroku.routes["/apps/shop/config-vars"] = raw(body)
    await trouble(api.config_vars("shop", ["DATABASE"]), NotHeroku)


async def test_json_of_the_largest_account(heroku: FakeHeroku, api: HerokuApi) -> None:
    """A full page of apps with all that Heroku says of each is far below the limits."""
    full = {f"field_{n}": {"id": "x" * 36, "name": "x" * 30} for n in range(20)}
    apps = [{"id": str(n), "name": f"app-{n}", **full} for n in range(1000)]
    heroku.routes["/apps"] = ok(apps)
    assert len(json.dumps(apps)) > 2_000_000
    assert len(await api.apps()) == 1000


@pytest.mark.parametrize(
    "left",
    [
        "9" * 400, "9" * 5000, "٤٢", "\uff14\uff12", "²", "-1", "1e3", "0x10", "4500, 4500",
        "99999999999",
    ],
)  # fmt: skip
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
    found = await api.token_info()
    assert found.remaining is None


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
    found = await api.token_info()
    assert found.ahead is None
    assert found.scopes == frozenset({"global", "read"})


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


# --- what Heroku says of the token ---------------------------------------------------------


async def test_what_the_headers_tell() -> None:
    """Scope, time and the requests that are left are in the answer's headers."""
    heroku, clock = FakeHeroku(), FakeClock()
    date = format_datetime(clock.now() + timedelta(seconds=120), usegmt=True)
    heroku.routes["/account"] = ok(
        {"email": "x"}, Oauth_Scope="identity read-protected", Date=date, RateLimit_Remaining="7"
    )
    found = await heroku.api(clock).token_info()
    assert found.scopes == frozenset({"identity", "read-protected"})
    assert found.ahead is not None
    assert abs(found.ahead + timedelta(seconds=120)) <= timedelta(seconds=1)
    assert found.remaining == 7
    assert heroku.paths == ["/account", "/oauth/authorizations"]
    assert all(request.method == "GET" for request in heroku.requests)


@pytest.mark.parametrize("status", [403, 404])
async def test_a_narrow_token_is_answered_too(status: int) -> None:
    """A token that may not ask for the account is told its scope all the same."""
    heroku = FakeHeroku()
    for path in ("/account", "/oauth/authorizations"):
        heroku.routes[path] = error(status, "forbidden", Oauth_Scope="read-protected")
    assert await heroku.api(FakeClock()).token_info() == TokenInfo(
        frozenset({"read-protected"}), None, None, None
    )


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (error(401, "unauthorized"), LoginRequired),
        (httpx.Response(200, text="<html>sign in</html>"), NotHeroku),
        (httpx.Response(403, text="<html>no</html>"), NotHeroku),
    ],
)
async def test_what_is_no_answer(
    heroku: FakeHeroku, api: HerokuApi, answer: httpx.Response, kind: type[HerokuError]
) -> None:
    """A refused token or a captive portal is an error, and no token without rights."""
    heroku.routes["/account"] = answer
    problem = await trouble(api.token_info(), kind)
    assert kind is NotHeroku or "It came from the test." in problem.advice
