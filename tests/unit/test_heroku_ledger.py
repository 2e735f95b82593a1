"""A budget that outlives its process, and is one for all that run at a time."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from pgherald.errors import RateLimited, StoreError
from pgherald.files import Files
from pgherald.heroku.budget import Budget
from pgherald.heroku.ledger import Ledger
from pgherald.store import BackgroundStore, Store
from support.fake_clock import START, FakeClock

HOUR = 3600.0
SHARE = 0.04  # 180 requests in an hour, 60 of them at once
NOTE = "budget:default"


class Home:
    """A state folder, and processes that come and go.

    Attributes:
        sent: when each request was sent, by the monotonic clock.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.clock = FakeClock()
        self.files = Files(folder / "locks")
        self.path = folder / "state.db"
        self.sent: list[float] = []
        self._stores: list[BackgroundStore] = []

    @contextlib.asynccontextmanager
    async def process(self, *, killed: bool = False) -> AsyncIterator[Budget]:
        """A process of pgherald; one that is killed gives nothing back."""
        with BackgroundStore.open(self.path, self.files) as store:
            budget = Budget(self.clock, SHARE)
            ledger = Ledger("default", budget, store, self.clock)
            await ledger.open()
            self._stores.append(store)
            yield budget
            self._stores.remove(store)
            if not killed:
                ledger.close()
            assert store.catch_up()
            await asyncio.sleep(0)

    async def settled(self) -> None:
        """Wait until each process has written what it spent, and knows what the others wrote."""
        for store in self._stores * 2:
            assert await asyncio.to_thread(store.catch_up)
        await asyncio.sleep(0)

    def spend(self, budget: Budget, most: int = 10_000) -> int:
        """Send as many requests as there are, but no more than `most`."""
        for count in range(most):
            try:
                budget.take()
            except RateLimited:
                return count
            self.sent.append(self.clock.monotonic())
        return most

    def most_in_an_hour(self) -> int:
        return max(sum(at <= later < at + HOUR for later in self.sent) for at in self.sent)

    def note(self, text: str | None = None) -> str:
        """What the state file has; with `text`, put something there."""
        with Store.open(self.path, self.files) as store:
            if text is not None:
                store.note(NOTE, text)
            return store.notes()[NOTE]


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path)


@pytest.mark.parametrize("killed", [False, True])
@pytest.mark.parametrize("pause", [0.0, 5.0, 300.0])
async def test_however_often_it_is_started(home: Home, pause: float, *, killed: bool) -> None:
    """A loop of starts sends no more in any hour than one that runs on; nor after a kill."""
    for _ in range(60):
        async with home.process(killed=killed) as budget:
            home.spend(budget, 41)  # what a start costs with twenty apps
        await home.clock.advance(pause)
    assert home.most_in_an_hour() <= 180
    if pause:
        await home.clock.advance(HOUR)
    async with home.process() as budget:
        assert budget.left == (60 if pause else 0)
        assert budget.last_hour() <= 180


async def test_a_start_that_sends_nothing_costs_nothing(home: Home) -> None:
    """What was taken out ahead is given back at the end."""
    for _ in range(50):
        async with home.process() as budget:
            assert budget.left == 60
    async with home.process() as budget:
        home.spend(budget, 10)
    async with home.process() as budget:
        assert budget.left == 50
        assert budget.last_hour() == 10


async def test_kills_cost_a_few_each(home: Home) -> None:
    """One that is killed at once, over and over, uses up the budget: no more can be known."""
    left = []
    for _ in range(6):
        async with home.process(killed=True) as budget:
            left.append(budget.left)
    assert left == [60, 45, 30, 15, 0, 0]


async def test_a_check_beside_the_daemon(home: Home) -> None:
    """Two processes at a time send together no more than one alone."""
    async with home.process() as daemon, home.process() as check:
        for _ in range(40):
            for budget in (daemon, check):
                home.spend(budget, 2)
            await home.settled()
        assert len(home.sent) <= 62
    assert home.most_in_an_hour() <= 180


@pytest.mark.parametrize("years", [-10, 10])
async def test_a_clock_that_is_set(home: Home, years: int) -> None:
    """A wall clock that is set brings nothing back early, and locks nobody out."""
    async with home.process() as budget:
        home.spend(budget)
    home.clock.jump(years * 365.0 * 86_400)
    async with home.process() as budget:
        assert budget.left == 0
    await home.clock.advance(HOUR / 2)
    async with home.process() as budget:
        assert budget.left in (59, 60)
        home.spend(budget)
    home.clock.jump(-years * 365.0 * 86_400)
    async with home.process() as budget:
        assert budget.left == 0
    await home.clock.advance(HOUR / 2)
    async with home.process() as budget:
        assert budget.left in (59, 60)


async def test_after_a_restart_of_the_machine(home: Home) -> None:
    """The monotonic clock begins anew: what has passed since is at least what it says."""
    home.clock._monotonic = 1e6
    async with home.process() as budget:
        home.spend(budget)
    home.clock._monotonic = 30.0
    home.clock.jump(600)
    async with home.process() as budget:
        assert budget.left == 1
    await home.clock.advance(HOUR / 2)
    async with home.process() as budget:
        assert budget.left == 60


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "null",
        "[1, 2]",
        json.dumps([1e300, START.isoformat(), 1000.0, []]),
        json.dumps([-1e9, START.isoformat(), 1000.0, []]),
        '[NaN, "2026-01-05T09:00:00+00:00", 1000, []]',
        '[5, "2026-01-05T09:00:00+00:00", Infinity, []]',
        json.dumps([5, "2026-01-05T09:00:00", 1000.0, []]),
        json.dumps([5, "yesterday", 1000.0, []]),
        json.dumps([5, START.isoformat(), 1000.0, [[-1, 2]]]),
        json.dumps([5, START.isoformat(), 1000.0, [[1, 10**30]]]),
        json.dumps([5, START.isoformat(), 1000.0, 7]),
        json.dumps([10**400, START.isoformat(), 1000.0, []]),
        "[" * 100_000,
    ],
)
async def test_a_damaged_note_is_no_fresh_hour(home: Home, text: str) -> None:
    """What cannot be true says nothing: there is a little to work with, and it works on."""
    async with home.process():
        pass
    home.note(text)
    async with home.process() as budget:
        assert budget.left == 15
        assert home.spend(budget) == 15
    await home.clock.advance(HOUR / 2)
    async with home.process() as budget:
        assert budget.left in (59, 60)


async def test_another_share(home: Home) -> None:
    """A share that is made smaller holds from the next start on."""
    async with home.process():
        pass
    home.note(json.dumps([1000, START.isoformat(), 1000.0, []]))
    async with home.process() as budget:
        assert budget.left == 60


async def test_a_held_state_file_delays_no_start_for_long(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file that cannot be read in time leaves a little to work with, until it can be."""
    async with home.process() as budget:
        home.spend(budget, 5)

    def held(*_: object) -> None:
        raise StoreError("in use")

    with BackgroundStore.open(home.path, home.files) as store:
        budget = Budget(home.clock, SHARE)
        ledger = Ledger("default", budget, store, home.clock)
        with monkeypatch.context() as patched:
            patched.setattr(store, "ask", held)
            await ledger.open()
        assert budget.left == 15
        home.spend(budget, 8)
        assert store.catch_up()
        await asyncio.sleep(0)
        assert budget.left == 60 - 5 - 8
        ledger.close()


async def test_a_state_file_that_may_only_be_read(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A start that can keep nothing begins with what the file says, and no more than a little."""
    for spent, left in ((60, 0), (50, 10), (0, 15)):
        await home.clock.advance(HOUR)
        async with home.process() as budget:
            home.spend(budget, spent)
        with BackgroundStore.open(home.path, home.files) as store:

            def held(*_: object) -> None:
                raise StoreError("attempt to write a readonly database")

            monkeypatch.setattr(store, "ask", held)
            again = Budget(home.clock, SHARE)
            await Ledger("default", again, store, home.clock).open()
        assert again.left == left
