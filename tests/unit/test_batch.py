"""What waits a moment for others, and how long at the most."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from pgherald.model import DatabaseKey
from pgherald.sync.batch import EVENTS_LIMIT, EVENTS_PROVEN, GATHER, READY_LIMIT, Batch, Ready
from support.household import database

QUIET = 0.25


@dataclass(frozen=True)
class Item:
    key: DatabaseKey
    number: int = 0


def item(app: str, number: int = 0) -> Item:
    return Item(database(app).key, number)


def ready(*moments: float) -> Ready[Item]:
    """Proven logins of several apps, at these moments."""
    batch: Ready[Item] = Ready(QUIET)
    for moment in moments:
        batch.add(item(f"app-{moment}"), moment)
    return batch


def test_the_latest_of_each_database_counts() -> None:
    """What a later item has overtaken is not handled."""
    batch: Batch[Item] = Batch(QUIET, 1.0)
    for number in (1, 2):
        batch.add(item("shop", number), 10.0)
    assert batch.take() == [item("shop", 2)]
    assert not batch


@pytest.mark.parametrize(
    ("moments", "due"), [([10.0], 10.25), ([10.0, 10.2], 10.45), ([10.0, 10.9], 11.0)]
)
def test_a_batch_is_due(moments: list[float], due: float) -> None:
    """A silence closes it, and in the end its limit."""
    batch: Batch[Item] = Batch(QUIET, 1.0)
    for moment in moments:
        batch.add(item(f"app-{moment}"), moment)
    assert batch.due() == pytest.approx(due)


def test_nobody_waits_where_nothing_is_on_its_way() -> None:
    """A login that is proven alone is written at once."""
    assert ready(10.0).closes(0) <= 10.0


def test_after_an_event_others_are_waited_for() -> None:
    """An event holds back what is ready for a moment, since rotations rarely come alone."""
    batch = ready(10.1)
    batch.event(10.0)
    assert batch.closes(0) == pytest.approx(10.0 + GATHER)
    batch.event(10.1)
    assert batch.closes(0) == pytest.approx(10.1 + GATHER)
    later = ready(20.0)
    later.event(10.0)
    assert later.closes(0) <= 20.0


@pytest.mark.parametrize(("expected", "limit"), [(0, EVENTS_LIMIT), (3, EVENTS_PROVEN)])
def test_no_stream_of_events_postpones_for_ever(expected: int, limit: float) -> None:
    """However thick and fast events come, and logins with them, the first is written in time."""
    batch = ready(10.0)
    for tenth in range(100):
        now = 10.0 + tenth / 10
        batch.event(now)
        batch.add(item(f"app-{now}"), now)
    assert batch.closes(expected) == 10.0 + limit


def test_what_hangs_is_not_waited_for() -> None:
    """A silence closes it though something is on its way, sooner the less that is."""
    batch = ready(10.1)
    batch.event(10.0)
    assert batch.closes(1) == pytest.approx(10.1 + QUIET + 0.05)
    assert batch.closes(10) == pytest.approx(10.1 + QUIET + 0.5)


def test_a_mass_rotation_that_a_sweep_finds_has_time() -> None:
    """Without events, a thousand proofs stay one commit, as long as they keep coming."""
    batch = ready(10.0, 10.0 + EVENTS_LIMIT, 20.0)
    assert batch.closes(100) == pytest.approx(20.0 + QUIET + 1.0)
    batch.add(item("late"), 10.0 + READY_LIMIT)
    assert batch.closes(100) == 10.0 + READY_LIMIT
