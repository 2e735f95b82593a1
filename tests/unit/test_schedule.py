"""The schedule of sweeps. Nothing here waits: jobs are made due by setting their due time."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import pytest

from pgherald.errors import LoginRequired, safe_text
from pgherald.schedule import Every, Schedule
from support.fake_clock import START, settle

log = logging.getLogger("test.sweeps")


class Job:
    """Counts its runs; waits for `go` in each of them if asked to."""

    def __init__(self, *, waits: bool = False) -> None:
        self.started = 0
        self.ended = 0
        self.go = asyncio.Event()
        if not waits:
            self.go.set()
        self.fails: Exception | None = None

    async def __call__(self) -> None:
        self.started += 1
        await self.go.wait()
        if self.fails is not None:
            raise self.fails
        self.ended += 1


@pytest.fixture
async def sweeps() -> AsyncIterator[Schedule]:
    running = Schedule(log)
    yield running
    await running.stop()


def rests(sweeps: Schedule, name: str = "sweep") -> float:
    """Seconds until the job is due."""
    return (sweeps.due(name) - datetime.now(UTC)).total_seconds()


async def make_due(sweeps: Schedule, late: timedelta = timedelta(seconds=1)) -> None:
    """Make the job due, as if it had been for a while, and let it run."""
    sweeps._scheduler.modify_job("sweep", next_run_time=datetime.now(UTC) - late)
    await settle()


async def test_a_job_is_due_after_one_interval(sweeps: Schedule) -> None:
    """The first run comes after an interval."""
    job = Job()
    sweeps.every("sweep", 60, job)
    await settle()
    assert job.started == 0
    assert rests(sweeps) == pytest.approx(60, abs=2)


async def test_a_due_job_runs_and_is_due_again(sweeps: Schedule) -> None:
    """Running goes on, one interval after the other."""
    job = Job()
    sweeps.every("sweep", 60, job)
    for runs in (1, 2):
        await make_due(sweeps)
        assert (job.started, job.ended) == (runs, runs)
        assert rests(sweeps) == pytest.approx(60, abs=2)


async def test_a_late_job_runs_once(sweeps: Schedule) -> None:
    """After a night with the lid closed a job runs at once, and once."""
    job = Job()
    sweeps.every("sweep", 60, job)
    await make_due(sweeps, late=timedelta(hours=8))
    assert job.started == 1
    assert rests(sweeps) == pytest.approx(60, abs=2)


async def test_a_job_never_overlaps_with_itself(sweeps: Schedule) -> None:
    """A run that takes longer than the interval is not joined by another."""
    job = Job(waits=True)
    sweeps.every("sweep", 60, job)
    await make_due(sweeps)
    await make_due(sweeps)
    assert job.started == 1
    job.go.set()
    await settle()
    assert (job.started, job.ended) == (1, 1)


async def test_now(sweeps: Schedule) -> None:
    """A job runs at once when wished, and its next turn is a full interval away."""
    job = Job()
    sweeps.every("sweep", 60, job)
    sweeps._scheduler.modify_job("sweep", next_run_time=datetime.now(UTC) + timedelta(seconds=9))
    sweeps.now("sweep")
    await settle()
    assert job.ended == 1
    assert rests(sweeps) == pytest.approx(60, abs=2)


async def test_a_wish_during_a_run_is_not_lost(sweeps: Schedule) -> None:
    """What changes during a run is looked at by one more run, however many wishes came."""
    job = Job(waits=True)
    sweeps.every("sweep", 60, job)
    for _ in range(3):
        sweeps.now("sweep")
        await settle()
    assert job.started == 1
    job.go.set()
    await settle()
    assert (job.started, job.ended) == (2, 2)


async def test_a_failed_run_is_logged_and_the_schedule_goes_on(
    sweeps: Schedule, caplog: pytest.LogCaptureFixture
) -> None:
    """A job that raises costs one line of the log, without any text that could be secret."""
    job = Job()
    sweeps.every("sweep", 60, job)
    job.fails = RuntimeError("postgres://u:CANARY-pw-1@h/d")
    await make_due(sweeps)
    job.fails = LoginRequired("Heroku refused the token")
    await make_due(sweeps)
    job.fails = None
    await make_due(sweeps)
    assert (job.started, job.ended) == (3, 1)
    first, second = (r.message for r in caplog.records)
    assert first.startswith("sweep failed: RuntimeError in ")
    assert "test_schedule.py:" in first
    assert second == "sweep failed: Heroku refused the token"
    assert "CANARY" not in caplog.text


async def test_the_same_failure_is_logged_once(
    sweeps: Schedule, caplog: pytest.LogCaptureFixture
) -> None:
    """However often the job runs; and anew after it has worked."""
    job = Job()
    sweeps.every("sweep", 60, job)
    for error in (True, True, True, False, True):
        job.fails = LoginRequired("Heroku refused the token") if error else None
        await make_due(sweeps)
    assert [r.message for r in caplog.records] == ["sweep failed: Heroku refused the token"] * 2


async def test_apscheduler_writes_nothing(
    sweeps: Schedule, caplog: pytest.LogCaptureFixture
) -> None:
    """A sweep a minute does not fill the log."""
    caplog.set_level(logging.INFO)
    sweeps.every("sweep", 60, Job())
    await make_due(sweeps)
    await sweeps.stop()
    assert caplog.records == []


async def test_after_the_clock_was_set_back(sweeps: Schedule) -> None:
    """Re-timing saves a job from waiting until the old time comes round again."""
    sweeps.every("sweep", 60, Job())
    hour = timedelta(hours=1)
    sweeps._scheduler.modify_job("sweep", next_run_time=datetime.now(UTC) + hour)
    sweeps.retime()
    assert rests(sweeps) == pytest.approx(60, abs=2)


async def test_stop_does_not_wait() -> None:
    """At the end, a run under way is cancelled, and stopping twice does no harm."""
    sweeps = Schedule(log)
    job = Job(waits=True)
    sweeps.every("sweep", 60, job)
    sweeps.now("sweep")
    await settle()
    async with asyncio.timeout(5):
        await sweeps.stop()
        await sweeps.stop()
    assert (job.started, job.ended) == (1, 0)
    assert len(asyncio.all_tasks()) == 1


async def test_stop_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """A run that will not be cancelled is left behind."""
    monkeypatch.setattr("pgherald.schedule.STOP_LIMIT", 0.01)
    release = asyncio.Event()

    async def stubborn() -> None:
        while not release.is_set():
            try:
                await release.wait()
            except asyncio.CancelledError:
                continue

    sweeps = Schedule(log)
    sweeps.every("sweep", 60, stubborn)
    sweeps.now("sweep")
    await settle()
    await sweeps.stop()
    release.set()
    await settle()
    assert len(asyncio.all_tasks()) == 1


def test_every_counts_from_now() -> None:
    """The next due time depends on the present alone, not on when the last one was."""
    far = START + timedelta(days=1)
    assert Every(60).get_next_fire_time(far, START) == START + timedelta(seconds=60)


def test_describe_an_exception_without_a_place() -> None:
    """An exception that was never raised has a type, and that must do."""
    assert safe_text(KeyError("CANARY-pw-1")) == "KeyError"
