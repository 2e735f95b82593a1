"""What an account may cost; kept across starts, and one for all processes that run at a time."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from pgherald.errors import RateLimited, StoreError
from pgherald.files import Files
from pgherald.heroku.api import HerokuApi
from pgherald.heroku.budget import Budget, Ledger, Shares
from pgherald.store import BackgroundStore, Store
from support.fake_clock import START, FakeClock
from support.heroku_answers import HOST, FakeHeroku, FakeTokens, ok

HOUR = 3600.0


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def budget(clock: FakeClock) -> Budget:
    return Budget(clock)


def spend(budget: Budget, most: int = 10_000) -> int:
    """Take until there is nothing left; how many there were."""
    for count in range(most):
        try:
            budget.take()
        except RateLimited:
            return count
    raise AssertionError("it never ends")


async def test_a_share_and_no_more(clock: FakeClock, budget: Budget) -> None:
    """A third of a quarter of Heroku's 4,500 requests at once; the rest comes back in an hour."""
    assert spend(budget) == 375
    for _ in range(3):
        await clock.advance(HOUR)
        assert spend(budget) == 375
    await clock.advance(HOUR / 749)
    assert budget.left == 1


@pytest.mark.parametrize("pause", [7.0, 600.0])
async def test_no_hour_ever_sees_more_than_the_allowance(
    clock: FakeClock, budget: Budget, pause: float
) -> None:
    """Whoever takes all that there is, again and again, gets the allowance in no hour twice."""
    taken: list[float] = []
    most = 0
    await clock.advance(12 * HOUR)  # what was not used in the past is not there now
    end = clock.monotonic() + 3 * HOUR
    while clock.monotonic() < end:
        taken += [clock.monotonic()] * spend(budget)
        most = max(most, budget.last_hour())
        await clock.advance(pause)
    in_hours = [sum(start <= at < start + HOUR for at in taken) for start in sorted(set(taken))]
    assert max(in_hours) <= budget.allowance
    assert most <= budget.allowance


async def test_it_says_when_there_will_be_one() -> None:
    """Whoever gets none is told when to come again, and what helps."""
    clock = FakeClock()
    budget = Budget(clock, 0.01)
    assert spend(budget) == 15
    with pytest.raises(RateLimited) as caught:
        budget.take()
    assert caught.value.retry_at is not None
    assert (caught.value.retry_at - START).total_seconds() == pytest.approx(HOUR / 30)
    assert "request_share" in caught.value.advice
    await clock.advance(HOUR / 30 + 0.001)
    budget.take()


async def test_others_use_it_up(clock: FakeClock, budget: Budget) -> None:
    """Of what other programs have left no more than the share is taken, nor of what comes back."""
    budget.saw(100)
    assert budget.left == 25
    budget.saw(3)
    assert budget.left == 0
    # From here on the person's other tools take whatever comes back, and more.
    sent = 0
    for _ in range(60):
        await clock.advance(60)
        sent += spend(budget)
        budget.saw(0)
    assert 700 < sent <= 750
    budget.saw(4500)
    assert budget.left == 0, "a pool that is full again is no leave to take all at once"


async def test_what_can_wait(budget: Budget) -> None:
    """Once half is gone, what can wait has to."""
    for _ in range(187):
        budget.take()
    assert budget.is_ample
    budget.take()
    assert not budget.is_ample


@pytest.mark.parametrize("jump", [-86_400.0, 86_400.0])
async def test_the_last_hour(clock: FakeClock, budget: Budget, jump: float) -> None:
    """Requests are counted for an hour, and a clock that is set wrong leaves no old ones."""
    for _ in range(90):
        budget.take()
        await clock.advance(60)
    assert budget.last_hour() == 59
    clock.jump(jump)
    assert budget.last_hour() == 0
    budget.take()
    assert budget.last_hour() == 1


async def test_nothing_is_sent_beyond_the_budget() -> None:
    """Whatever is asked, no request leaves once the budget is used up."""
    heroku, clock = FakeHeroku(), FakeClock()
    heroku.routes["/account"] = ok({"email": "e"})
    api = HerokuApi(
        HOST, FakeTokens(), clock=clock, budget=Budget(clock, 0.001), transport=heroku.transport
    )
    outcomes = await asyncio.gather(*(api.account() for _ in range(9)), return_exceptions=True)
    assert sum(isinstance(outcome, RateLimited) for outcome in outcomes) == 8
    assert len(heroku.requests) == 1


# --- shares --------------------------------------------------------------------------------------


async def test_an_app_uses_up_its_own_share_alone(clock: FakeClock, budget: Budget) -> None:
    """However much one app asks for, another one still gets as much as it would without it."""
    shares = Shares(clock, budget)
    noisy = sum(shares.take("noisy") for _ in range(10_000))
    assert noisy == 281, "a quarter of the allowance is for events"
    assert sum(shares.take("quiet") for _ in range(140)) == 140
    assert not shares.take("noisy")
    await clock.advance(HOUR)
    assert shares.take("noisy")


async def test_many_noisy_apps_leave_each_other_and_the_list_their_requests(
    clock: FakeClock, budget: Budget
) -> None:
    """Shares become smaller with each app that has events, and never nothing."""
    shares = Shares(clock, budget)
    apps = [f"app{number}" for number in range(40)]
    used = dict.fromkeys(apps, 0)
    for _ in range(100):
        for app in apps:
            if shares.take(app):
                budget.take()
                used[app] += 1
    assert set(used.values()) == {7}
    assert budget.left > 90


async def test_events_leave_the_list_its_requests(clock: FakeClock, budget: Budget) -> None:
    """When there is little left, it is for the list of apps."""
    shares = Shares(clock, budget)
    budget.saw(30)
    assert not shares.take("shop")
    assert budget.left == 7
    # With a share so small that this is all there is, half of it is for events.
    small = Budget(clock, 0.005)
    assert Shares(clock, small).take("shop")


async def test_what_had_to_be_sent_with_it_counts() -> None:
    """A reading that led to a second request costs two of the share."""
    clock = FakeClock()
    shares = Shares(clock, Budget(clock))
    shares.charge("shop")  # a sweep's: no event's
    taken = 0
    while shares.take("shop"):
        shares.charge("shop")
        taken += 1
    assert taken == 141


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
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    """A state folder; a start waits for it for as long as a busy machine needs."""
    monkeypatch.setattr("pgherald.heroku.budget._START_LIMIT", 60.0)
    return Home(tmp_path)


@pytest.mark.parametrize(("pause", "killed"), [(0.0, False), (5.0, True), (300.0, False)])
async def test_however_often_it_is_started(home: Home, pause: float, *, killed: bool) -> None:
    """A loop of starts sends no more in any hour than one that runs on; nor after a kill."""
    for _ in range(25):
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
    for _ in range(5):
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
        "{", "null", "[1, 2]", "[" * 100_000,
        json.dumps([1e300, START.isoformat(), 1000.0, []]),
        '[NaN, "2026-01-05T09:00:00+00:00", 1000, []]',
        json.dumps([5, "2026-01-05T09:00:00", 1000.0, []]),
        json.dumps([5, START.isoformat(), 1000.0, [[1, 10**30]]]),
        json.dumps([5, START.isoformat(), 1000.0, 7]),
    ],
)  # fmt: skip
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
