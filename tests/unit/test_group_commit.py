"""Which verified logins wait a moment for others, and how long at the most."""

from __future__ import annotations

import asyncio
import math

import pytest

from pgherald.sync.group_commit import (
    EVENTS_LIMIT,
    EVENTS_VERIFIED,
    GATHER,
    LIMIT,
    GroupCommit,
    Window,
)

QUIET = 0.25


class Group:
    """A group commit at moments of the test's choice."""

    def __init__(self, *moments: float, event: float = -math.inf) -> None:
        unused = None
        self.group = GroupCommit(unused, asyncio.Lock(), asyncio.Event(), QUIET)  # type: ignore[arg-type]  # nothing is written
        self.group._event = event
        for moment in moments:
            self.group._window.add(moment)

    def closes(self, expected: int) -> float:
        """When it is written, while so many more are expected."""
        self.group.expected = expected
        return self.group._closes()


@pytest.mark.parametrize(
    ("moments", "due"), [([10.0], 10.25), ([10.0, 10.2], 10.45), ([10.0, 10.9], 11.0)]
)
def test_a_window_closes_after_a_silence_or_at_its_limit(moments: list[float], due: float) -> None:
    """A silence closes it, and in the end its limit."""
    window = Window(QUIET)
    for moment in moments:
        window.add(moment)
    assert window.closes(1.0) == pytest.approx(due)


def test_a_single_login_is_written_at_once() -> None:
    """A login that is verified alone waits for nobody."""
    assert Group(10.0).closes(0) <= 10.0


@pytest.mark.parametrize(("event", "due"), [(10.0, 10.0 + GATHER), (10.1, 10.1 + GATHER)])
def test_after_an_event_others_are_waited_for(event: float, due: float) -> None:
    """An event holds back verified logins for a moment, since rotations rarely come alone."""
    assert Group(10.1, event=event).closes(0) == pytest.approx(due)
    assert Group(20.0, event=event).closes(0) <= 20.0


@pytest.mark.parametrize(("expected", "limit"), [(0, EVENTS_LIMIT), (3, EVENTS_VERIFIED)])
def test_no_stream_of_events_postpones_for_ever(expected: int, limit: float) -> None:
    """However many events come, and logins with them, the first is written in time."""
    moments = [10.0 + tenth / 10 for tenth in range(100)]
    assert Group(*moments, event=moments[-1]).closes(expected) == 10.0 + limit


def test_a_verification_that_hangs_is_not_waited_for() -> None:
    """A silence closes it though something is on its way, sooner the less that is."""
    group = Group(10.1, event=10.0)
    assert group.closes(1) == pytest.approx(10.1 + QUIET + 0.05)
    assert group.closes(10) == pytest.approx(10.1 + QUIET + 0.5)


def test_a_mass_rotation_that_a_sweep_finds_has_time() -> None:
    """Without events, a thousand logins stay one transaction, as long as they keep coming."""
    moments = [10.0, 10.0 + EVENTS_LIMIT, 20.0]
    assert Group(*moments).closes(100) == pytest.approx(20.0 + QUIET + 1.0)
    assert Group(*moments, 10.0 + LIMIT).closes(100) == 10.0 + LIMIT
