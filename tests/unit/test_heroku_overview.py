"""One list instead of one question for each app; and what the list does not tell."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

import httpx
import pytest

from pgherald.errors import Unavailable
from pgherald.heroku.account import Account
from pgherald.heroku.budget import Budget
from pgherald.model import Database, Sighting
from support.fake_clock import START, FakeClock
from support.heroku_answers import URL, FakeHeroku, error, tagged
from support.household import database

MINUTE = 60.0
HOUR = 3600.0
LIST = "/apps"


class Town:
    """An account with apps, swept once a minute.

    Attributes:
        stamps: when each app had its last release, as the list shows it.
    """

    def __init__(self, *apps: str, share: float = 0.25, full_sweep: float = 900.0) -> None:
        self.clock = FakeClock()
        self.heroku = FakeHeroku()
        self.api = self.heroku.api(self.clock, budget=Budget(self.clock, share))
        self.account = Account(
            "default", self.api, interval=MINUTE, full_sweep=full_sweep, jitter=lambda: 0.0
        )
        self.apps = list(apps)
        self.stamps: dict[str, str | None] = dict.fromkeys(apps, "2025-12-01T08:00:00Z")
        self.ids = {app: f"id-{app}" for app in apps}
        for app in apps:
            self.heroku.holds(app, {"DATABASE_URL": URL})
        self.lists()

    def lists(self, *, more: int = 0) -> None:
        """Show the list as `stamps` says, and that many apps of no interest."""
        rows = [
            {"id": self.ids[name], "name": name, "released_at": stamp}
            for name, stamp in self.stamps.items()
        ]
        rows += [{**rows[0], "name": f"other-{number}"} for number in range(more)]
        self.heroku.routes[LIST] = tagged(rows)

    def released(self, app: str) -> None:
        """The app has a release at this moment."""
        self.stamps[app] = self.clock.now().strftime("%Y-%m-%dT%H:%M:%SZ")
        self.lists()

    async def read(self, app: str) -> None:
        await self.account.read([database(app)])

    async def sweep(self) -> list[str]:
        """Sweep; which apps were read."""
        before = len(self.heroku.requests)
        choice = await self.account.choose(self.apps)
        for app in choice.read:
            await self.read(app)
        return [p.split("/")[2] for p in self.heroku.paths[before:] if p.endswith("config-vars")]

    async def sweeps(self, minutes: int) -> list[list[str]]:
        """One sweep a minute; which apps each of them read."""
        read = []
        for _ in range(minutes):
            read.append(await self.sweep())
            await self.clock.advance(MINUTE)
        return read

    def asked(self, path: str) -> int:
        return self.heroku.paths.count(path)


async def test_one_app_is_read_directly() -> None:
    """For one app the list would be a question too many."""
    town = Town("shop")
    assert await town.sweeps(5) == [["shop"]] * 5
    assert town.asked(LIST) == 0


async def test_one_list_for_several() -> None:
    """Apps without a release are not read; the list is asked for in full: its 304 is no proof."""
    town = Town("a", "b", "c", full_sweep=86_400.0)
    assert await town.sweeps(5) == [["a", "b", "c"], [], [], [], []]
    assert town.asked(LIST) == 5
    lists = [r for r in town.heroku.requests if r.url.path == LIST]
    assert not any("If-None-Match" in request.headers for request in lists)


async def test_a_release_is_read() -> None:
    """An app with another `released_at` is read, and once more: its second was not over yet."""
    town = Town("a", "b", "c", full_sweep=86_400.0)
    await town.sweeps(2)
    town.released("b")
    assert await town.sweeps(4) == [["b"], ["b"], [], []]


async def test_an_app_whose_name_was_given_to_another() -> None:
    """Another app by the same name is read at once, though its last release was as long ago."""
    town = Town("a", "b", "c", full_sweep=86_400.0)
    await town.sweeps(2)
    town.ids["b"] = "another"
    town.lists()
    assert await town.sweeps(2) == [["b"], []]


async def test_few_of_very_many_apps() -> None:
    """A list of 1,200 apps costs more bytes than five apps are worth, and is asked for once."""
    apps = ["a", "b", "c", "d", "e"]
    town = Town(*apps)
    town.lists(more=1200)
    assert await town.sweeps(60) == [apps] * 60
    assert town.asked(LIST) == 1
    assert town.api.budget.last_hour() < 320
    assert town.api.budget.bytes_last_hour() < 200_000


async def test_bytes_are_saved_as_far_as_requests_allow() -> None:
    """Where reading each app would use up the budget, the list takes turns with it."""
    apps = [f"app{number:02}" for number in range(24)]
    town = Town(*apps)
    town.lists(more=1200)
    await town.sweeps(120)
    assert 10 < town.asked(LIST) < 100
    assert town.api.budget.is_ample


async def test_two_releases_in_one_second() -> None:
    """A rotation that shares its stamp with the release before is not missed."""
    town = Town("a", "b", full_sweep=86_400.0)
    await town.sweeps(2)
    town.released("a")
    await town.sweep()
    await town.clock.advance(0.5)
    town.heroku.holds("a", {"DATABASE_URL": URL.replace("u1", "u2")})
    await town.sweep()
    await town.clock.advance(MINUTE)
    await town.sweep()
    found = town.account.known([database("a")])
    assert found is not None
    known = found[0]
    assert isinstance(known, Sighting)
    assert known.login.user == "u2"
    assert await town.sweep() == []


async def test_a_failed_reading_does_not_count() -> None:
    """An app that could not be read is read in the next sweep, though the list stays the same."""
    town = Town("a", "b", full_sweep=86_400.0)
    await town.sweeps(2)
    town.released("a")
    town.heroku.routes["/apps/a/config-vars"] = httpx.Response(503)
    with pytest.raises(Unavailable):
        await town.sweep()
    await town.clock.advance(MINUTE)
    town.heroku.holds("a", {"DATABASE_URL": URL})
    assert await town.sweep() == ["a"]


@pytest.mark.parametrize("gone", [("b",), ("a", "b", "c")])
@pytest.mark.parametrize("is_listed", [True, False])
async def test_an_app_of_which_the_list_says_nothing(
    gone: tuple[str, ...], *, is_listed: bool
) -> None:
    """It is asked for itself in every sweep, so that its own error, or login, is seen."""
    town = Town("a", "b", "c", full_sweep=86_400.0)
    for app in gone:
        town.stamps[app] = None
        if not is_listed:
            del town.stamps[app]
    town.lists()
    assert await town.sweeps(3) == [["a", "b", "c"], [*gone], [*gone]]


async def test_each_app_has_its_turn() -> None:
    """Whatever the list says, each app is read once in the time of a full sweep, spread evenly."""
    apps = [f"app{number:02}" for number in range(30)]
    town = Town(*apps)
    await town.sweep()
    await town.clock.advance(MINUTE)
    read = await town.sweeps(15)
    assert sorted(app for apps in read for app in apps) == apps
    assert {len(apps) for apps in read} == {2}


async def test_a_night_is_made_up_for() -> None:
    """After a sleep of the machine every app is due at once."""
    apps = [f"app{number:02}" for number in range(30)]
    town = Town(*apps)
    await town.sweep()
    town.clock.suspend(8 * HOUR)
    assert sorted(await town.sweep()) == apps
    await town.clock.advance(MINUTE)
    town.clock.jump(-8 * HOUR)
    assert len(await town.sweep()) <= 2


async def test_a_list_of_as_many_pages_as_apps() -> None:
    """Where few of very many apps are wanted, they are read and the list is left alone."""
    town = Town("a", "b")
    town.lists(more=1999)  # comes on three pages, which is more than two apps
    rows = town.heroku.routes[LIST]
    assert await town.sweep() == ["a", "b"]
    asked = town.asked(LIST)
    town.heroku.routes[LIST] = rows
    assert await town.sweeps(14) == [["a", "b"]] * 14
    assert town.asked(LIST) == asked


@pytest.mark.parametrize("status", [403, 404, 406, 416, 422])
async def test_a_list_that_is_refused(status: int) -> None:
    """Where apps cannot be listed they are read one by one, and the list is asked for rarely."""
    town = Town("a", "b")
    town.heroku.routes[LIST] = error(status, "refused")
    assert await town.sweeps(16) == [["a", "b"]] * 16
    assert town.asked(LIST) == 2


async def test_an_outage_costs_less_than_health() -> None:
    """While the list fails nothing else is asked, and the list ever more rarely."""
    town = Town("a", "b", "c", full_sweep=86_400.0)
    await town.sweeps(2)
    before = len(town.heroku.requests)
    town.heroku.routes[LIST] = httpx.Response(503)
    for _ in range(60):
        with pytest.raises(Unavailable):
            await town.account.choose(town.apps)
        await town.clock.advance(MINUTE)
    assert len(town.heroku.requests) - before <= 8


async def test_a_list_that_fails_alone() -> None:
    """A list that fails while apps answer hinders no reading, and makes for no more of them."""
    town = Town("a", "b", "c", full_sweep=86_400.0)
    await town.sweeps(2)
    town.heroku.routes[LIST] = httpx.Response(503)
    with pytest.raises(Unavailable):
        await town.sweep()
    await town.read("a")
    await town.clock.advance(MINUTE)
    assert await town.sweep() == []
    assert town.asked(LIST) == 4


async def test_what_the_budget_does_not_allow_is_put_off() -> None:
    """With more apps than requests the longest unread come first, and none is forgotten."""
    apps = [f"app{number:02}" for number in range(40)]
    town = Town(*apps, share=0.01)  # 15 requests at once, and 30 an hour
    choice = await town.account.choose(apps)
    assert len(choice.read) == 7, "half of what the list has left"
    assert set(choice.read) | choice.put_off == set(apps)
    read: set[str] = set()
    for _ in range(180):
        read.update(await town.sweep())
        await town.clock.advance(MINUTE)
    assert read == set(apps)
    assert len(town.heroku.requests) <= 15 + 30 * 3


async def test_the_others_use_up_the_quota() -> None:
    """When other programs leave nothing, no error arises: the sweeps only become thinner."""
    town = Town("a", "b", "c")
    await town.sweeps(2)
    town.api.budget.saw(2)
    choice = await town.account.choose(town.apps)
    assert (choice.read, choice.put_off) == ((), frozenset(town.apps))
    await town.clock.advance(MINUTE)
    choice = await town.account.choose(town.apps)
    assert choice.listed
    assert not choice.put_off


async def test_another_token_reads_all_anew() -> None:
    """What one token's owner may see says nothing about another's."""
    town = Town("a", "b", full_sweep=86_400.0)
    await town.sweeps(3)
    town.account.retry()
    assert await town.sweeps(2) == [["a", "b"], []]


async def test_what_is_known_is_seen_as_of_now() -> None:
    """What an app showed is handed on with the present moment; other databases are not known."""
    town = Town("a")
    group: Sequence[Database] = [database("a")]
    assert town.account.known(group) is None
    await town.account.read(group)
    await town.clock.advance(MINUTE)
    found = town.account.known(group)
    assert found is not None
    known = found[0]
    assert isinstance(known, Sighting)
    assert known.seen_at == START + timedelta(seconds=MINUTE)
    assert town.account.known([*group, *group]) is None
