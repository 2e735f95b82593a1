"""An account's databases, and when Heroku is left in peace."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace

import httpx
import pytest

from pgherald.errors import (
    BadUrl,
    Forbidden,
    HerokuError,
    LoginRequired,
    MissingTool,
    NotVisible,
    RateLimited,
    TwoFactorRequired,
    Unavailable,
)
from pgherald.heroku.account import Account, Missing
from pgherald.model import Database, DatabaseKey, Login, Sighting
from pgherald.secret import Secret
from support.fake_clock import START, FakeClock
from support.heroku_answers import TOKEN, URL, FakeHeroku, FakeTokens, error, ok

MINUTE = 60.0
DOWN = httpx.Response(503)
SCOPE = "The scope of this OAuth authorization does not allow access to this resource."


def database(app: str = "shop", attachment: str = "DATABASE", sslmode: str = "require") -> Database:
    key = DatabaseKey("default", app, attachment)
    return Database(key, app, "Heroku", app, sslmode=sslmode)


class House:
    """A Heroku, an account that asks it, and a clock; polls every minute, without jitter."""

    def __init__(self, tokens: FakeTokens | None = None) -> None:
        self.clock = FakeClock()
        self.heroku = FakeHeroku()
        self.tokens = tokens or FakeTokens()
        self.api = self.heroku.api(self.clock, self.tokens)
        self.account = Account("default", self.api, interval=MINUTE, jitter=lambda: 0.0)

    def answers(self, app: str, response: httpx.Response | Exception) -> None:
        self.heroku.routes[f"/apps/{app}/config-vars"] = response

    async def read(self, *databases: Database) -> Sequence[Sighting | Missing | HerokuError]:
        """What `look` gave, its error included."""
        try:
            return await self.account.read(databases or [database()])
        except HerokuError as exc:
            return [exc]

    async def sweep(self, *apps: str) -> list[Sighting | Missing | HerokuError]:
        """One look at each app, all at once, as a sweep does."""
        looks = await asyncio.gather(*(self.read(database(app)) for app in apps))
        return [look[0] for look in looks]

    async def asked(self, *apps: str, minutes: int) -> list[int]:
        """In which minutes of the next ones requests were sent, sweeping once a minute."""
        times = []
        for minute in range(minutes):
            before = len(self.heroku.requests)
            await self.sweep(*apps)
            times += [minute] * (len(self.heroku.requests) > before)
            await self.clock.advance(MINUTE)
        return times


@pytest.fixture
def house() -> House:
    return House()


# --- what is seen ----------------------------------------------------------------------


async def test_a_sighting(house: House) -> None:
    """A database's login is parsed, with its own sslmode, the moment and the release."""
    house.heroku.holds("shop", {"DATABASE_URL": URL, "READ_URL": "postgres://r:p@h/d"}, release=7)
    one, two = await house.read(database(sslmode="verify-full"), database(attachment="READ"))
    assert one == Sighting(
        DatabaseKey("default", "shop", "DATABASE"),
        Login("h1.example", 5432, "d1", "u1", Secret("CANARY-pw-1"), "verify-full"),
        START,
        7,
    )
    assert isinstance(two, Sighting)
    assert two.login.user == "r"
    assert house.heroku.paths == ["/apps/shop/config-vars", "/apps/shop/releases"]


async def test_a_tunnel_stays_where_it_is(house: House) -> None:
    """Host and port of the configuration stay; user, password and database follow Heroku."""
    house.heroku.holds("shop", {"DATABASE_URL": URL})
    (seen,) = await house.read(replace(database(), host="127.0.0.1", port=15432))
    assert isinstance(seen, Sighting)
    assert seen.login == Login("127.0.0.1", 15432, "d1", "u1", Secret("CANARY-pw-1"))


async def test_the_release_is_asked_for_once_per_login(house: House) -> None:
    """As long as the logins stay, a look is one request; a rotation brings the new release."""
    house.heroku.holds("shop", {"DATABASE_URL": URL}, release=7)
    for _ in range(3):
        await house.read()
    assert house.heroku.paths.count("/apps/shop/releases") == 1
    house.heroku.holds("shop", {"DATABASE_URL": URL.replace("u1", "u2")}, release=8)
    (seen,) = await house.read()
    assert isinstance(seen, Sighting)
    assert seen.release == 8


@pytest.mark.parametrize("releases", [ok([]), DOWN, error(403, "forbidden"), ok("?")])
async def test_a_sighting_does_not_need_the_release(house: House, releases: httpx.Response) -> None:
    """The login counts, whatever happens to the question for the release."""
    house.heroku.holds("shop", {"DATABASE_URL": URL})
    house.heroku.routes["/apps/shop/releases"] = releases
    (seen,) = await house.read()
    assert isinstance(seen, Sighting)
    assert seen.release is None


async def test_problems_are_per_database(house: House) -> None:
    """A var that is gone or bad is that database's trouble; the others are seen."""
    house.heroku.holds("shop", {"DATABASE_URL": URL, "BAD_URL": "CANARY", "NULL_URL": None})
    names = ["GONE", "DATABASE", "BAD", "NULL"]
    seen = await house.read(*(database(attachment=name) for name in names))
    gone, fine, bad, null = seen
    assert isinstance(gone, Missing)
    assert gone.error.title == "shop has no GONE_URL"
    assert "heroku addons --app shop" in gone.error.advice
    assert isinstance(fine, Sighting)
    assert isinstance(bad, Missing)
    assert isinstance(bad.error, BadUrl)
    assert bad.error.title == "BAD_URL of shop is not a Postgres URL"
    assert isinstance(null, Missing)
    assert null.error.title == "NULL_URL of shop is masked"
    assert "CANARY" not in f"{seen} {bad.error}"


async def test_a_var_that_is_gone_names_the_others(house: House) -> None:
    """The advice names config vars that do hold a Postgres URL, three at most."""
    names = ["HEROKU_POSTGRESQL_RED_URL", "X1_URL", "X2_URL", "X3_URL"]
    house.heroku.holds("shop", dict.fromkeys(names, URL))
    (gone,) = await house.read()
    assert isinstance(gone, Missing)
    assert gone.error.advice == (
        "It has HEROKU_POSTGRESQL_RED_URL, X1_URL, X2_URL: name one of them, without `_URL`, as the "
        "`attachment`."
    )


# --- the token -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("response", "kind"),
    [
        (error(401, "unauthorized"), LoginRequired),
        (error(403, "forbidden", SCOPE), Forbidden),
        (error(403, "two_factor"), TwoFactorRequired),
    ],
)
async def test_a_token_that_will_not_do_stops_the_account(
    house: House, response: httpx.Response, kind: type[HerokuError]
) -> None:
    """One refusal is enough for all apps; a new token in the source starts it again at once."""
    house.answers("shop", response)
    house.heroku.holds("blog", {"DATABASE_URL": URL})
    (first,) = await house.read()
    assert type(first) is kind
    assert house.account.stopped is first
    assert await house.asked("shop", "blog", minutes=100) == []
    assert (await house.sweep("shop", "blog")) == [first, first]
    house.tokens.token = "HRKU-2"
    (seen,) = await house.read(database("blog"))
    assert isinstance(seen, Sighting)
    assert house.account.stopped is None


async def test_no_token_at_all(house: House) -> None:
    """Without a token nothing is sent; the same token coming back starts it again."""
    house.heroku.holds("shop", {"DATABASE_URL": URL})
    await house.read()
    house.tokens.token = None
    sent = len(house.heroku.requests)
    (missing,) = await house.read()
    assert isinstance(missing, LoginRequired)
    assert await house.asked("shop", minutes=5) == []
    assert len(house.heroku.requests) == sent
    house.tokens.token = TOKEN
    assert isinstance((await house.read())[0], Sighting)


async def test_a_program_is_asked_for_a_token_every_15_minutes() -> None:
    """While the account is stopped the CLI, which asks Heroku itself, is run rarely."""
    house = House(FakeTokens(cheap=False))
    house.answers("shop", error(401, "unauthorized"))
    await house.read()
    reads = house.tokens.reads
    assert await house.asked("shop", minutes=61) == []
    assert house.tokens.reads - reads == 4
    house.heroku.holds("shop", {"DATABASE_URL": URL})
    house.tokens.token = "HRKU-2"
    assert await house.asked("shop", minutes=16) == [14, 15]


async def test_the_person_acted(house: House) -> None:
    """`retry` reads the token afresh and asks at once, whatever was the matter."""
    house.answers("shop", error(401, "unauthorized"))
    await house.read()
    house.heroku.holds("shop", {"DATABASE_URL": URL})
    forgotten = house.tokens.forgotten
    house.account.retry()
    assert isinstance((await house.read())[0], Sighting)
    assert house.tokens.forgotten == forgotten + 1
    house.answers("shop", error(404, "not_found"))
    await house.read()
    house.heroku.holds("shop", {"DATABASE_URL": URL})
    house.account.retry()
    assert isinstance((await house.read())[0], Sighting)


async def test_a_missing_tool_is_no_reason_to_stop(house: House) -> None:
    """A package that the source needs may be installed any minute: nothing is sent before."""
    house.tokens.token = None
    house.tokens.error = MissingTool("The package keyring is not installed", "Install it.")
    with pytest.raises(MissingTool):
        await house.read()
    assert house.account.stopped is None
    assert house.heroku.requests == []


# --- pauses ----------------------------------------------------------------------------


@pytest.mark.parametrize("response", [DOWN, httpx.ConnectError("x"), ok([])])
async def test_a_broken_heroku_is_asked_less_and_less(
    house: House, response: httpx.Response | Exception
) -> None:
    """Down, unreachable or not Heroku: pauses of 1, 1, 2, 4, 8, 15, 15 polls, then none."""
    house.answers("shop", response)
    assert await house.asked("shop", minutes=62) == [0, 1, 2, 4, 8, 16, 31, 46, 61]
    house.heroku.holds("shop", {"DATABASE_URL": URL})
    await house.clock.advance(15 * MINUTE)
    assert await house.asked("shop", minutes=3) == [0, 1, 2]


async def test_many_apps_in_an_outage_are_one_failure(house: House) -> None:
    """Apps that fail together make the pause grow once, and all wait."""
    apps = [f"app{n}" for n in range(5)]
    for app in apps:
        house.answers(app, DOWN)
    assert await house.asked(*apps, minutes=20) == [0, 1, 2, 4, 8, 16]
    assert len(house.heroku.requests) == 6 * len(apps)


async def test_one_bad_app_delays_no_other(house: House) -> None:
    """An app that always fails while others work rests alone; its databases are missing."""
    house.answers("bad", DOWN)
    house.heroku.holds("good", {"DATABASE_URL": URL})
    outcomes = []
    for _ in range(40):
        bad, good = await house.sweep("bad", "good")
        outcomes.append(type(bad))
        assert isinstance(good, Sighting)
        await house.clock.advance(MINUTE)
    assert house.heroku.paths.count("/apps/bad/config-vars") == 6  # 0, 1, 3, 7, 15, 30
    assert outcomes[0] is Unavailable
    assert set(outcomes[1:]) == {Missing}


async def test_an_outage_after_good_times_is_the_accounts(house: House) -> None:
    """When all fail, the account rests, even though each had worked before."""
    for app in ("a", "b"):
        house.heroku.holds(app, {"DATABASE_URL": URL})
    await house.sweep("a", "b")
    await house.clock.advance(MINUTE)
    for app in ("a", "b"):
        house.answers(app, DOWN)
    assert await house.asked("a", "b", minutes=9) == [0, 1, 2, 4, 8]
    assert all(isinstance(each, Unavailable) for each in await house.sweep("a", "b"))


@pytest.mark.parametrize("response", [error(404, "not_found"), error(422, "invalid_params")])
async def test_an_app_that_is_gone_is_asked_every_15_minutes(
    house: House, response: httpx.Response
) -> None:
    """Gone, forbidden, unpaid and odd apps are asked rarely, and their databases are missing."""
    house.answers("gone", response)
    house.heroku.holds("good", {"DATABASE_URL": URL})
    gone, good = await house.sweep("gone", "good")
    assert isinstance(gone, Missing)
    assert gone.key == database("gone").key
    assert isinstance(good, Sighting)
    for _ in range(44):
        await house.clock.advance(MINUTE)
        assert [type(each) for each in await house.sweep("gone", "good")] == [Missing, Sighting]
    assert house.heroku.paths.count("/apps/gone/config-vars") == 3


async def test_the_limit_of_requests_is_kept(house: House) -> None:
    """Nothing is sent before the moment that Heroku named."""
    house.answers("shop", error(429, "rate_limit", Retry_After="600"))
    (limited,) = await house.read()
    assert isinstance(limited, RateLimited)
    assert await house.asked("shop", "other", minutes=12) == [10]


async def test_a_limit_without_a_moment(house: House) -> None:
    """Where Heroku names none, the pauses are 1, 2, 4, 8, 15 minutes; an answer ends them."""
    house.answers("shop", error(429, "rate_limit"))
    assert await house.asked("shop", minutes=50) == [0, 1, 3, 7, 15, 30, 45]
    house.heroku.holds("shop", {"DATABASE_URL": URL})
    assert await house.asked("shop", minutes=12) == [10, 11]
    house.answers("shop", error(429, "rate_limit"))
    assert await house.asked("shop", minutes=4) == [0, 1, 3]


async def test_an_answer_from_before_the_limit_does_not_lift_it(house: House) -> None:
    """An answer to a request from before the limit says nothing about it."""
    release = asyncio.Event()

    async def slow() -> str:
        await release.wait()
        return "fine"

    early = asyncio.create_task(house.account.ask("early", slow))
    await house.clock.advance(1)
    house.answers("shop", error(429, "rate_limit", Retry_After="600"))
    await house.read()
    release.set()
    assert await early == "fine"
    await house.read(database("other"))
    assert len(house.heroku.requests) == 1


async def test_a_limit_in_the_past_waits_a_poll(house: House) -> None:
    """A moment that has passed is no reason to ask faster than usual."""
    house.answers("shop", error(429, "rate_limit", Retry_After="0"))
    await house.read()
    await house.clock.advance(MINUTE / 2)
    await house.read()
    assert len(house.heroku.requests) == 1


async def test_a_new_token_does_not_lift_the_limit(house: House) -> None:
    """However often the token's file is written, a used-up limit is waited for."""
    house.answers("shop", error(429, "rate_limit", Retry_After="600"))
    await house.read()
    for _ in range(5):
        house.account.retry()
        await house.read()
    assert len(house.heroku.requests) == 1


async def test_a_late_failure_of_an_older_request_counts_no_more(house: House) -> None:
    """A request from before the pause that fails during it does not make the pause longer."""
    release = asyncio.Event()

    async def slow() -> None:
        await release.wait()
        raise RateLimited("late")

    late = asyncio.create_task(house.account.ask("late", slow))
    await house.clock.advance(1)
    house.answers("shop", error(429, "rate_limit"))
    await house.read()
    release.set()
    with pytest.raises(RateLimited):
        await late
    await house.clock.advance(MINUTE)
    await house.read()
    assert len(house.heroku.requests) == 2


@pytest.mark.parametrize("away", [3600.0, -3600.0])
async def test_pauses_survive_odd_clocks(house: House, away: float) -> None:
    """A pause ends after a sleep of the machine, and is not prolonged by a clock set back."""
    house.answers("shop", error(404, "not_found"))
    await house.read()
    house.clock.jump(away)
    await house.clock.advance(0 if away > 0 else 15 * MINUTE)
    await house.read()
    assert len(house.heroku.requests) == 2


async def test_pauses_are_made_unequal() -> None:
    """Jitter makes a pause up to a fifth shorter, never longer."""
    house = House()
    account = Account("default", house.api, interval=MINUTE, jitter=lambda: 1.0)
    house.answers("shop", DOWN)
    for seconds, requests in ((0, 1), (47, 1), (1, 2)):
        await house.clock.advance(seconds)
        with pytest.raises(Unavailable):
            await account.read([database()])
        assert len(house.heroku.requests) == requests


async def test_a_question_of_its_own_has_its_own_rest(house: House) -> None:
    """What concerns no single app rests apart from the apps."""

    async def gone() -> None:
        raise NotVisible("no more databases")

    with pytest.raises(NotVisible):
        await house.account.ask(None, gone)
    house.heroku.holds("shop", {"DATABASE_URL": URL})
    assert isinstance((await house.read())[0], Sighting)
    with pytest.raises(NotVisible):
        await house.account.ask(None, lambda: pytest.fail("asked again"))
