"""The token becomes somebody else's: Heroku is the simulator, asked over a real socket."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from pgherald.daemon.check import check
from pgherald.daemon.look import look
from pgherald.daemon.wiring import Outside
from pgherald.simulator.seed import APPS
from pgherald.simulator.state import Account
from support.workplace import MINUTE, SHOP, Workplace, write

OURS = "person@example.com"
THEIRS = "else@example.com"
TITLE = f"Heroku: logged in as {THEIRS}, no longer as {OURS}"


@pytest.fixture
async def place(tmp_path: Path) -> AsyncIterator[Workplace]:
    """A place whose clients are current, and which was told so."""
    async with Workplace.standing(tmp_path) as standing:
        standing.simulator.world.accounts[0].email = OURS
        await standing.sweep()
        standing.news.clear()
        yield standing


def logs_in(place: Workplace, email: str, *sees: str) -> Account:
    """Log somebody else in, who may see these apps."""
    account = Account(email, email)
    for name in sees:
        app = place.app(name)
        app.collaborators |= {email}
    token = place.simulator.world.add_token(account)
    write(place.home / "token", token.value.reveal() + "\n")
    place.simulator.world.tokens[0].revoked = True
    return account


def comes_back(place: Workplace) -> None:
    token = place.simulator.world.tokens[0]
    token.revoked = False
    write(place.home / "token", token.value.reveal() + "\n")
    place.machine.poller.watched[0].account.retry()


@pytest.mark.parametrize("sees", [(), APPS[:1]])
async def test_one_alert_for_the_account(place: Workplace, sees: tuple[str, ...]) -> None:
    """It says whose login it is now and whose it was, once for all apps; the right one ends it."""
    logs_in(place, THEIRS, *sees)
    await place.passes(5 * MINUTE)
    assert place.status() == [TITLE]
    assert place.told() == [TITLE]
    (news,) = place.news
    assert f"Log in as {OURS} again" in news.advice
    for app in sees:
        assert place.holds(await place.rotate(app), app) is False
        await place.passes(5 * MINUTE)
        assert place.holds(place.shown(app), app), "what it may see is kept up to date"
    comes_back(place)
    await place.passes(5 * MINUTE)
    assert place.status() == []
    assert place.told()[-1:] == ["The Heroku token works again"]


async def test_a_check_names_it_once(place: Workplace) -> None:
    """And gives no database the blame."""
    logs_in(place, THEIRS)
    report = await check(place.machine, lambda _: None)
    assert [error.title for error in report.errors.values()] == [TITLE]
    assert [each.error for each in report.databases] == [None] * len(APPS)
    assert not report.current


async def test_the_doctor_names_it_once(place: Workplace) -> None:
    """It only reads the state, and knows all the same whose login it was."""
    logs_in(place, THEIRS)
    outside = Outside({"HEROKU_HOST": place.simulator.url}, place.home, place.clock)
    looked = await look(place.config, outside, counts=False)
    assert [error.title for error in looked.failures.values()] == [TITLE]


async def test_somebody_else_who_sees_everything_is_as_good(place: Workplace) -> None:
    """Nothing is said of such a login, and from then on an app that is gone is just gone."""
    logs_in(place, THEIRS, *APPS)
    await place.passes(20 * MINUTE)
    assert (place.told(), place.status()) == ([], [])
    place.app(SHOP).collaborators = frozenset()
    await place.passes(5 * MINUTE)
    assert place.status() == [f"{SHOP}: not on Heroku, or not visible"]


async def test_a_token_that_may_not_tell_is_nobodys(place: Workplace) -> None:
    """One that may only read gives each app the blame, as there is nothing else to go by."""
    account = logs_in(place, THEIRS)
    place.simulator.world.tokens[-1].scopes = frozenset({"read-protected"})
    await place.passes(5 * MINUTE)
    assert account.email not in "".join(place.status())
    assert len(place.status()) == len(APPS)
