"""What an account may cost."""

from __future__ import annotations

import asyncio

import pytest

from pgherald.errors import RateLimited
from pgherald.heroku.api import HerokuApi
from pgherald.heroku.budget import Budget
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
    """A quarter of Heroku's 4,500 requests at once, and a quarter of what comes back each hour."""
    clock = FakeClock()
    budget = Budget(clock)
    assert spend(budget) == 1125
    for _ in range(3):
        await clock.advance(HOUR)
        assert spend(budget) == 1125
    await clock.advance(HOUR / 1125)
    assert budget.left == 1


async def test_it_says_when_there_will_be_one() -> None:
    """Whoever gets none is told when to come again, and what helps."""
    clock = FakeClock()
    budget = Budget(clock, 0.01)
    assert spend(budget) == 45
    with pytest.raises(RateLimited) as caught:
        budget.take()
    assert caught.value.retry_at is not None
    assert (caught.value.retry_at - START).total_seconds() == pytest.approx(HOUR / 45)
    assert "request_share" in caught.value.advice
    await clock.advance(HOUR / 45 + 0.001)
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
    assert 1000 < sent <= 1125
    budget.saw(4500)
    assert budget.left == 0, "a pool that is full again is no leave to take all at once"


async def test_what_can_wait() -> None:
    """Once half is gone, what can wait has to."""
    budget = Budget(FakeClock())
    for _ in range(562):
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
    assert sum(isinstance(outcome, RateLimited) for outcome in outcomes) == 5
    assert len(heroku.requests) == 4
