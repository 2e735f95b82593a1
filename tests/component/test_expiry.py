"""A token that ends soon, told in good time: Heroku is the simulator, asked over a real socket."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from pgherald.daemon.run import Daemon
from pgherald.daemon.wiring import Outside, machinery
from pgherald.heroku.watched import FIRST, STEP, ExpiryWatch
from pgherald.model import News, NewsKind
from pgherald.notify.tell import Teller
from pgherald.simulator.state import Token
from pgherald.sync.alerts import Alerts
from support.fake_clock import FakeClock
from support.program import eventually
from support.workplace import DAY, HOUR, MINUTE, Workplace

FIVE_DAYS = round(5 * DAY)
TITLE = "The Heroku token ends on 2026-"


@pytest.fixture
async def place(tmp_path: Path) -> AsyncIterator[Workplace]:
    """A place whose clients are current, and which was told so."""
    async with Workplace.standing(tmp_path, top='poll_interval = "5m"') as standing:
        await standing.sweep()
        standing.news.clear()
        yield standing


@pytest.fixture
def token(place: Workplace) -> Token:
    """The one in use."""
    return place.simulator.world.tokens[0]


@contextlib.contextmanager
def watching(place: Workplace) -> Iterator[None]:
    """Meanwhile, the end of the token is looked at."""
    alerts = Alerts(place.state.store, place.clock, place.news.append)
    watch = ExpiryWatch(place.machine.poller.watched, alerts, place.clock)
    task = asyncio.create_task(watch.run())
    try:
        yield
    finally:
        task.cancel()


async def passes(place: Workplace, seconds: float) -> int:
    """Let time pass; how many requests that took."""
    before = place.requests
    slept = place.clock.slept
    for _ in range(round(seconds / STEP)):
        rounds = slept.count(STEP)
        await place.clock.advance(STEP)
        await eventually(lambda: slept.count(STEP) > rounds)  # noqa: B023 – awaited here
    return place.requests - before


async def test_told_once_and_once_more_when_renewed(place: Workplace, token: Token) -> None:
    """A token that ends within the week is told once, stays in status, and its renewal is told."""
    token.expires_in = FIVE_DAYS
    with watching(place):
        await passes(place, DAY)
        assert [title.startswith(TITLE) for title in place.told()] == [True]
        assert [title.startswith(TITLE) for title in place.status()] == [True]
        assert place.news[0].advice.startswith(f"Put a token into {place.home}")
        token.expires_in = round(365 * DAY)
        await passes(place, 2 * HOUR)
        assert place.told()[1:] == ["Heroku: the new token is in use"]
        assert place.status() == []


@pytest.mark.parametrize("left", [None, round(8 * DAY)])
async def test_a_day_costs_one_request(place: Workplace, token: Token, left: int | None) -> None:
    """Nothing is told of a token with time left, and asking costs one request a day."""
    token.expires_in = left
    with watching(place):
        assert await passes(place, 3 * DAY - HOUR) == 3
        assert (place.told(), place.status()) == ([], [])


async def test_a_token_that_may_only_read(place: Workplace, token: Token) -> None:
    """Where nobody may know, nothing is told, and asking costs one request a day, too."""
    token.scopes = frozenset({"read-protected"})
    token.expires_in = FIVE_DAYS
    with watching(place):
        assert await passes(place, 2 * DAY - HOUR) == 2
        assert (place.told(), place.status()) == ([], [])
    await place.sweep()
    assert place.is_current()


async def test_heroku_is_down_meanwhile(place: Workplace, token: Token) -> None:
    """An answer that does not come is no renewal, and is held against nobody."""
    token.expires_in = FIVE_DAYS
    with watching(place):
        await passes(place, 2 * HOUR)
        place.goes_wrong("503")
        await passes(place, 3 * HOUR)
        assert len(place.told()) == 1
        assert [title.startswith(TITLE) for title in place.status()] == [True]
        place.goes_well()
        await place.sweep()
        assert place.machine.poller.watched[0].account.stopped is None
        assert len(place.told()) == 1


@pytest.mark.parametrize("hours", [8, 23])
async def test_tokens_of_single_sign_on_are_ordinary(
    place: Workplace, token: Token, hours: float
) -> None:
    """One that never lives for longer than hours is nothing to speak of until Heroku refuses it."""
    token.expires_in = round(hours * HOUR)
    with watching(place):
        await passes(place, 3 * DAY)
        assert (place.told(), place.status()) == ([], [])
        token.revoked = True
        await place.sweep()
        assert place.told() == ["Heroku does not accept the token"]
        token.revoked = False
        await place.clock.advance(DAY)
        place.machine.poller.watched[0].account.retry()
        await place.sweep()
    assert place.told()[1:] == ["The Heroku token works again"]
    assert place.status() == []


async def test_the_last_day_is_not_taken_for_a_renewal(place: Workplace, token: Token) -> None:
    """What was told of a token stays until another one takes its place, however short-lived."""
    with watching(place):
        for hours in range(30, 18, -1):
            token.expires_in = round(hours * HOUR)
            await passes(place, HOUR)
        assert [title.startswith(TITLE) for title in place.status()] == [True]
        token.expires_in = round(8 * HOUR)
        await passes(place, 2 * HOUR)
        assert place.told()[1:] == ["Heroku: the new token is in use"]
        assert place.status() == []


async def test_it_has_ended(place: Workplace, token: Token) -> None:
    """Once the token is refused, that is what is told: nothing is asked, and nothing said twice."""
    token.expires_in = FIVE_DAYS
    with watching(place):
        await passes(place, 2 * HOUR)
        token.revoked = True
        await place.sweep()
        assert await passes(place, DAY) == 0
        assert place.status() == ["Heroku does not accept the token"]
        assert [n.kind for n in place.news] == [NewsKind.TROUBLE, NewsKind.TROUBLE]


async def test_a_restart_tells_nothing_anew(place: Workplace, token: Token) -> None:
    """What was told of a token stays told when pgherald starts again."""
    token.expires_in = FIVE_DAYS
    with watching(place):
        await passes(place, 2 * HOUR)
    outside = Outside({"HEROKU_HOST": place.simulator.url}, place.home, place.clock)
    alerts = Alerts(place.state.store, place.clock, place.news.append)
    async with machinery(place.config, place.state, outside, alerts=alerts, tell=place.news.append):
        with watching(place):
            await passes(place, 2 * HOUR)
    assert len(place.told()) == 1
    assert [title.startswith(TITLE) for title in place.status()] == [True]


async def test_the_daemon_looks(
    tmp_path: Path, place: Workplace, token: Token, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The daemon itself watches it, from its first minute on."""
    token.expires_in = FIVE_DAYS
    told: list[News] = []
    monkeypatch.setattr(Teller, "post", lambda _, news: told.append(news))
    clock = FakeClock()
    env = {"HEROKU_HOST": place.simulator.url, "HOME": str(place.home)}
    config = dataclasses.replace(place.config, state_dir=tmp_path / "another")
    outside = Outside(env, place.home, clock, None, place.probes)
    daemon = Daemon(config, lambda: config, outside, lambda: None)
    running = asyncio.create_task(daemon.run())
    try:
        while not any(n.title.startswith(TITLE) for n in told):
            await clock.advance(FIRST)
            await asyncio.sleep(0.02)  # for the socket, and the threads
    finally:
        daemon.stop()
        await clock.advance(MINUTE)
        await running
