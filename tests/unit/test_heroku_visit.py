"""One look at Heroku: the token's scope and end, and the clock."""

from __future__ import annotations

from datetime import timedelta
from email.utils import format_datetime

import httpx
import pytest

from pgherald.errors import LoginRequired, NotHeroku, PgheraldError, RateLimited, Unavailable
from pgherald.heroku.getter import Getter
from pgherald.heroku.visit import Visit, visit
from support.fake_clock import FakeClock
from support.heroku_answers import HOST, TOKEN, FakeHeroku, FakeTokens, error, ok


async def look(heroku: FakeHeroku) -> Visit:
    return await visit(getter(heroku), FakeTokens(), FakeClock())


def getter(heroku: FakeHeroku) -> Getter:
    return Getter(HOST, transport=heroku.transport)


async def test_what_the_headers_tell() -> None:
    """Scope, time and the requests that are left are in the answer's headers."""
    heroku, clock = FakeHeroku(), FakeClock()
    date = format_datetime(clock.now() + timedelta(seconds=120), usegmt=True)
    heroku.routes["/account"] = ok(
        {"email": "x"}, Oauth_Scope="identity read-protected", Date=date, RateLimit_Remaining="7"
    )
    found = await visit(getter(heroku), FakeTokens(), clock)
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
    assert await look(heroku) == Visit(frozenset({"read-protected"}), None, None, None)


async def test_when_the_token_ends() -> None:
    """Of all authorizations the one with our token counts; odd ones are passed over."""
    heroku, clock = FakeHeroku(), FakeClock()
    heroku.routes["/account"] = ok({"email": "x"})
    heroku.routes["/oauth/authorizations"] = ok(
        [
            None,
            {"access_token": None},
            {"access_token": {"token": None, "expires_in": 1}},
            {"access_token": {"token": "another", "expires_in": 5}},
            {"access_token": {"token": TOKEN, "expires_in": 3600}},
        ]
    )
    found = await visit(getter(heroku), FakeTokens(), clock)
    assert found.expires_at == clock.now() + timedelta(hours=1)


@pytest.mark.parametrize("expires", [None, "soon", 10**20])
async def test_a_token_without_an_end(expires: object) -> None:
    """A token that never ends, or whose end makes no sense, has none."""
    heroku = FakeHeroku()
    heroku.routes["/account"] = ok({"email": "x"}, Date="yesterday", RateLimit_Remaining="many")
    heroku.routes["/oauth/authorizations"] = ok(
        [{"access_token": {"token": TOKEN, "expires_in": expires}}]
    )
    assert await look(heroku) == Visit(None, None, None, None)


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (error(401, "unauthorized"), LoginRequired),
        (error(429, "rate_limit"), RateLimited),
        (error(503, "x"), Unavailable),
        (httpx.Response(200, text="<html>sign in</html>"), NotHeroku),
        (httpx.Response(403, text="<html>no</html>"), NotHeroku),
        (httpx.ConnectError("CANARY"), Unavailable),
    ],
)
async def test_what_is_no_answer(
    answer: httpx.Response | Exception, kind: type[PgheraldError]
) -> None:
    """A refused token, an outage or a captive portal is an error, with advice where one helps."""
    heroku = FakeHeroku()
    heroku.routes["/account"] = answer
    with pytest.raises(kind) as raised:
        await look(heroku)
    assert "CANARY" not in str(raised.value)
    if kind is LoginRequired:
        assert "It came from the test." in raised.value.advice
