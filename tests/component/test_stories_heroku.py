"""Heroku's bad days, told as stories: what the person sees, and that nothing was lost.

Heroku is the simulator, asked over a real socket; the clients are real files; a day passes
in seconds (see `support.workplace`).
"""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from pgherald.heroku.network import TIME_LIMIT
from pgherald.simulator.server import Simulator
from support.http_server import answer, serve
from support.proxy import Proxy
from support.workplace import DAY, HOUR, MINUTE, SHOP, Workplace, write

#: Asked every five minutes, a day is 288 sweeps.
CALM = 'poll_interval = "5m"'

ROTATED = "Heroku rotated Shop-production"
WORKS_AGAIN = "Heroku works again"
DEAD_TOKEN = "Heroku does not accept the token"


@pytest.fixture
async def place(tmp_path: Path) -> AsyncIterator[Workplace]:
    """A place whose clients are current."""
    async with Workplace.standing(tmp_path, top=CALM) as standing:
        await standing.sweep()
        assert standing.is_current()
        yield standing


# --- Heroku is down --------------------------------------------------------------------------


async def test_heroku_is_down_for_a_day(place: Workplace) -> None:
    """The person is told once, when it has lasted 15 minutes, and once when it is over.

    What was rotated meanwhile is in all clients a quarter of an hour later at the latest.
    """
    before = place.shown()
    place.goes_wrong("503")
    await place.passes(15 * MINUTE)
    assert place.told() == []
    await place.passes(DAY)
    assert place.told() == ["Heroku has a problem of its own (503)"]
    assert place.holds(before)
    rotated = await place.rotate()
    assert place.holds(before)
    place.goes_well()
    await place.passes(15 * MINUTE)
    assert place.told()[1:] == [WORKS_AGAIN, ROTATED]
    assert place.holds(rotated)
    assert place.is_current()
    place.nothing_is_lost()


#: What an answer means: how it goes wrong, what the person is told within the hour, and
#: whether pgherald then waits for another token.
PASSING = {
    "429": "Heroku's limit of requests is used up",
    "503": "Heroku has a problem of its own (503)",
    "cut": "The connection to Heroku broke off",
    "html": "What answers is not Heroku: it sends a page, not data",
    "hang": "Heroku does not answer in time",
}


@pytest.mark.parametrize("kind", PASSING)
async def test_answers_that_mostly_pass_by_themselves(place: Workplace, kind: str) -> None:
    """Whatever Heroku, or something in its place, says for an hour: one notice, and one after."""
    before = place.shown()
    place.goes_wrong(kind)
    await place.passes(HOUR)
    assert place.told() == [PASSING[kind]]
    assert place.holds(before)
    rotated = await place.rotate()
    place.goes_well()
    await place.passes(15 * MINUTE)
    assert place.told()[1:] == [WORKS_AGAIN, ROTATED]
    assert place.holds(rotated)
    place.nothing_is_lost()


OF_ONE_APP = {
    "400": "Heroku refuses the question (400)",
    "402": "Heroku waits for a payment",
    "403": "Heroku does not let this token in",
    "403-suspended": "suspended by Heroku",
    "404": "not on Heroku, or not visible",
}


@pytest.mark.parametrize("kind", OF_ONE_APP)
async def test_answers_that_concern_one_app(place: Workplace, kind: str) -> None:
    """One app's refusal is told at once, for that app alone; the others are kept as ever."""
    before = place.shown()
    place.goes_wrong(kind, match=f"GET /apps/{SHOP}/*")
    await place.passes(HOUR)
    assert place.told() == [f"{SHOP}: {OF_ONE_APP[kind]}"]
    assert place.holds(before)
    blog = await place.rotate("blog")
    await place.passes(5 * MINUTE)
    assert place.holds(blog, "blog")
    shop = await place.rotate()
    place.goes_well()
    await place.passes(15 * MINUTE)
    assert place.told()[1:] == ["Heroku rotated Blog", ROTATED, "Shop-production works again"]
    assert place.holds(shop)
    place.nothing_is_lost()


OF_THE_TOKEN = {
    "401": DEAD_TOKEN,
    "403-scope": "The Heroku token may not read config vars",
    "403-two-factor": "Heroku asks for a second factor",
}


@pytest.mark.parametrize("kind", OF_THE_TOKEN)
async def test_answers_that_another_token_would_change(place: Workplace, kind: str) -> None:
    """An expired token, one that may too little, a second factor: told at once, and then silence.

    Heroku is left in peace until there is another token; that one is found by the next sweep.
    """
    place.goes_wrong(kind)
    await place.passes(5 * MINUTE)
    assert place.told() == [OF_THE_TOKEN[kind]]
    asked = place.requests
    await place.passes(DAY)
    assert place.requests == asked
    assert place.told() == [OF_THE_TOKEN[kind]]
    rotated = await place.rotate()
    place.goes_well()
    other = place.simulator.world.add_token(place.simulator.world.accounts[0])
    write(place.home / "token", other.value.reveal() + "\n")
    await place.passes(5 * MINUTE)
    assert place.told()[1:] == ["The Heroku token works again", ROTATED]
    assert place.holds(rotated)
    place.nothing_is_lost()


# --- how it answers --------------------------------------------------------------------------


async def test_a_slow_heroku_is_a_healthy_one(tmp_path: Path) -> None:
    """An answer that takes ten seconds is waited for, and nobody hears of it."""
    async with Workplace.standing(tmp_path, top=CALM) as place:
        place.api.http._time_limit = 20
        await place.sweep()
        rotated = await place.rotate()
        place.goes_wrong("slow", seconds=10)
        async with place.time_goes_on(1.0):
            await place.sweep()
        assert place.holds(rotated)
        assert place.told() == [ROTATED]


# --- the way there ---------------------------------------------------------------------------


async def test_nobody_listens(tmp_path: Path) -> None:
    """A network that refuses and one that swallows are an outage: told once, over when it is."""
    async with Proxy.to("127.0.0.1", 9) as proxy:

        def through(simulator: Simulator) -> dict[str, str]:
            proxy._target = ("127.0.0.1", int(simulator.url.rpartition(":")[2]))
            return {"HEROKU_HOST": f"http://127.0.0.1:{proxy.port}"}

        async with Workplace.standing(tmp_path, top=CALM, env=through) as place:
            await place.sweep()
            await proxy.refuse()
            proxy.cut()
            await place.passes(30 * MINUTE)
            assert place.status() == ["Heroku cannot be reached: the connection is refused"]
            await proxy.restore()
            proxy.swallow()
            await place.passes(30 * MINUTE)
            assert place.status() == ["Heroku does not answer in time"]
            rotated = await place.rotate()
            await proxy.restore()
            await place.passes(15 * MINUTE)
            assert place.holds(rotated)
            assert len(place.told()) == 3
            assert place.told()[1:] == [WORKS_AGAIN, ROTATED]
            place.nothing_is_lost()


@pytest.mark.parametrize("status", [407, 502])
async def test_a_company_proxy_that_refuses(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, status: int
) -> None:
    """The proxy is named, it is told where to look, and it never sees the token."""
    async with serve(answer(status)) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", proxy.url)
        async with Workplace.standing(tmp_path, top=CALM, env=lambda _: {}) as place:
            await place.passes(30 * MINUTE)
            assert place.told() == ["Heroku cannot be reached: the proxy refuses"]
            assert "HTTPS_PROXY" in place.news[0].advice
        assert proxy.heads[0].startswith("CONNECT api.heroku.com:443 ")
        assert "CANARY" not in "".join(proxy.heads)


# --- what the person, or a colleague, does at Heroku -----------------------------------------


def renamed(place: Workplace) -> None:
    place.simulator.world.rename_app(place.app(), "shop-renamed")


def deleted(place: Workplace) -> None:
    place.simulator.world.apps.remove(place.app())


@pytest.mark.parametrize("deed", [renamed, deleted])
async def test_an_app_that_is_no_longer_there(
    place: Workplace, deed: Callable[[Workplace], None]
) -> None:
    """An app renamed, given away or deleted is named once, with what to look at; its login stays.

    The other apps' rotations are written as ever.
    """
    before = place.shown()
    deed(place)
    await place.passes(HOUR)
    assert place.told() == [f"{SHOP}: not on Heroku, or not visible"]
    assert "heroku apps" in next(n.advice for n in place.news if n.title)
    blog = await place.rotate("blog")
    await place.passes(5 * MINUTE)
    assert place.holds(blog, "blog")
    assert place.holds(before)
    place.nothing_is_lost()


async def promoted(place: Workplace) -> None:
    world = place.simulator.world
    await world.data.add_postgres(place.app(), "standard-2")
    world.promote(place.app(), world.addons[-1])


async def test_an_attachment_that_leads_to_another_database(place: Workplace) -> None:
    """After `pg:promote` the clients lead to the new database, and the person is told of it."""
    before = place.shown()
    await promoted(place)
    after = place.shown()
    assert (after.dbname, after.user) != (before.dbname, before.user)
    await place.passes(5 * MINUTE)
    assert place.told() == [ROTATED]
    assert "dbname" in next(n.changed for n in place.news if n.changed)
    assert place.is_current()
    place.nothing_is_lost()


# --- broken is cheaper than healthy ----------------------------------------------------------

#: Hours of a working day, and its sweeps, one every five minutes.
HOURS = 8
SWEEPS = HOURS * 12


async def requests_of_a_day(folder: Path, trouble: Callable[[Workplace], object]) -> int:
    """How many requests a working day of that kind costs, with two apps."""
    async with Workplace.standing(folder, top=CALM, watched=(SHOP, "blog")) as place:
        place.api.http._time_limit = TIME_LIMIT  # a busy machine must not look like an outage
        await place.sweep()
        asked = place.requests
        if inspect.isawaitable(begun := trouble(place)):
            await begun
        await place.passes(HOURS * HOUR)
        place.nothing_is_lost()
        return place.requests - asked


def healthy(place: Workplace) -> None:
    """Nothing is wrong."""


async def one_rotation(place: Workplace) -> None:
    """Nothing is wrong, and Heroku rotates the shop's database."""
    await place.rotate()


def dead_token(place: Workplace) -> None:
    place.simulator.world.tokens[0].revoked = True


def outage(place: Workplace) -> None:
    place.goes_wrong("503")


def limited(place: Workplace) -> None:
    place.goes_wrong("429")


def one_app_gone(place: Workplace) -> None:
    place.simulator.world.rename_app(place.app(), "elsewhere")


def one_app_forbidden(place: Workplace) -> None:
    """The list shows it, and its config vars may not be read."""
    place.goes_wrong("403", match=f"GET /apps/{SHOP}/*")


def shows(place: Workplace, url: str) -> None:
    """From now on Heroku shows that for the shop's database."""
    place.simulator.world.attachment(place.app(), "DATABASE").fixed = {"DATABASE_URL": url}


def one_bad_url(place: Workplace) -> None:
    shows(place, "CANARY, which is no URL")


def one_bad_database(place: Workplace) -> None:
    """Heroku shows a login that Postgres never takes."""
    shows(place, "postgres://u:CANARY-wrong@127.0.0.1:20001/d")


#: The requests of a good day: the list in each sweep, each app each quarter of an hour, and once
#: when the token ends.
GOOD = SWEEPS + 2 * (HOURS * 4 + 1) + 1

#: A day's kind, and the most requests that it may cost.
DAYS: dict[Callable[[Workplace], object], int] = {
    healthy: GOOD,
    # What is new costs five requests more, once: it is looked at four times, and its release.
    one_rotation: GOOD + 5,
    dead_token: 2,
    # Asked at most every twelve minutes: a quarter of an hour, less a fifth by chance.
    outage: 2 * (HOURS * 5 + 4),
    limited: 2 * (HOURS * 5 + 4),
    one_app_gone: GOOD,
    # One question at each sweep, so that a permission is seen as soon as somebody grants it.
    one_app_forbidden: GOOD + SWEEPS,
    # These are new logins too, so a good day with a rotation is what they are compared with.
    one_bad_url: GOOD + 5,
    one_bad_database: GOOD + 5,
}


@pytest.mark.parametrize("trouble", DAYS)
async def test_broken_is_cheaper_than_healthy(
    tmp_path: Path, trouble: Callable[[Workplace], object]
) -> None:
    """A day with a dead token, an outage or an app gone costs no more requests than a good one.

    A bad database costs no more than a good day on which there is a new login as well.
    """
    asked = await requests_of_a_day(tmp_path, trouble)
    # A connection that breaks off on a busy machine is asked again: that is no kind of day.
    assert asked <= DAYS[trouble] * 1.02
    if trouble in (healthy, one_rotation):
        assert asked >= DAYS[trouble] - 3


@pytest.mark.parametrize("kind", ["403", "404"])
async def test_a_mended_refusal_is_seen_at_the_next_sweep(place: Workplace, kind: str) -> None:
    """A permission that somebody grants, or an app that is back, is seen one poll later."""
    place.goes_wrong(kind, match=f"GET /apps/{SHOP}/*")
    await place.rotate()
    await place.passes(HOUR)
    assert not place.is_current()
    place.goes_well()
    await place.passes(place.config.poll_interval)
    assert place.is_current()


def test_the_document_tells_these_numbers() -> None:
    """docs/reliability.md names for each kind of day the number that is asserted here."""
    text = (Path(__file__).parents[2] / "docs" / "reliability.md").read_text()
    for trouble, most in DAYS.items():
        assert f"| {trouble.__name__.replace('_', ' ')} | {most} |" in text
