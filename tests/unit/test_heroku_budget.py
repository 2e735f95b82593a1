"""What an account may cost."""

from __future__ import annotations

import asyncio

import pytest

from pgherald.errors import RateLimited
from pgherald.heroku.api import HerokuApi
from pgherald.heroku.budget import Budget, Shares
from support.fake_clock import START, FakeClock
from support.heroku_answers import HOST, FakeHeroku, FakeTokens, ok

HOUR = 3600.0


def spend(budget: Budget, most: int = 10_000) -> int:
    """Take until there is nothing left; how many there were."""
    for count in range(most):
        try:
            budget.take()
        except RateLimited:
            return count
    raise AssertionError("it never ends")


async def test_a_share_and_no_more() -> None:
    """A third of a quarter of Heroku's 4,500 requests at once; the rest comes back in an hour."""
    clock = FakeClock()
    budget = Budget(clock)
    assert spend(budget) == 375
    for _ in range(3):
        await clock.advance(HOUR)
        assert spend(budget) == 375
    await clock.advance(HOUR / 749)
    assert budget.left == 1


@pytest.mark.parametrize("pause", [1.0, 7.0, 60.0, 600.0, 1800.0])
async def test_no_hour_ever_sees_more_than_the_allowance(pause: float) -> None:
    """Whoever takes all that there is, again and again, gets the allowance in no hour twice."""
    clock = FakeClock()
    budget = Budget(clock)
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


async def test_others_use_it_up() -> None:
    """Of what other programs have left no more than the share is taken, nor of what comes back."""
    clock = FakeClock()
    budget = Budget(clock)
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


async def test_what_can_wait() -> None:
    """Once half is gone, what can wait has to."""
    budget = Budget(FakeClock())
    for _ in range(187):
        budget.take()
    assert budget.is_ample
    budget.take()
    assert not budget.is_ample


@pytest.mark.parametrize("jump", [-86_400.0, 86_400.0])
async def test_the_last_hour(jump: float) -> None:
    """Requests are counted for an hour, and a clock that is set wrong leaves no old ones."""
    clock = FakeClock()
    budget = Budget(clock)
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


async def test_an_app_uses_up_its_own_share_alone() -> None:
    """However much one app asks for, another one still gets as much as it would without it."""
    clock = FakeClock()
    budget = Budget(clock)
    shares = Shares(clock, budget)
    noisy = sum(shares.take("noisy") for _ in range(10_000))
    assert noisy == 281, "a quarter of the allowance is for events"
    assert sum(shares.take("quiet") for _ in range(140)) == 140
    assert not shares.take("noisy")
    await clock.advance(HOUR)
    assert shares.take("noisy")


async def test_many_noisy_apps_leave_each_other_and_the_list_their_requests() -> None:
    """Shares become smaller with each app that has events, and never nothing."""
    clock = FakeClock()
    budget = Budget(clock)
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


async def test_events_leave_the_list_its_requests() -> None:
    """When there is little left, it is for the list of apps."""
    clock = FakeClock()
    budget = Budget(clock)
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
