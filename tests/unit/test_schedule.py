"""The schedule of sweeps. Nothing here waits: jobs are made due by setting their due time."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import pytest

from pgherald.errors import LoginRequired
from pgherald.schedule import Every, Schedule
from support.fake_clock import START, settle


class Job:
    """Counts its runs; fails if asked to."""

    def __init__(self) -> None:
        self.runs = 0
        self.fails: Exception | None = None

    def __call__(self) -> None:
        self.runs += 1
        if self.fails is not None:
            raise self.fails


@pytest.fixture
def job() -> Job:
    return Job()


@pytest.fixture
async def sweeps(job: Job) -> AsyncIterator[Schedule]:
    sweeps = Schedule("sweep", 60, job)
    yield sweeps
    sweeps.stop()


def rests(sweeps: Schedule) -> float:
    """Seconds until the job is due."""
    due: datetime = sweeps._scheduler.get_job("sweep").next_run_time
    return (due - datetime.now(UTC)).total_seconds()


async def make_due(sweeps: Schedule, late: timedelta = timedelta(seconds=1)) -> None:
    """Make the job due, as if it had been for a while, and let it run."""
    sweeps._scheduler.modify_job("sweep", next_run_time=datetime.now(UTC) - late)
    await settle()


async def test_a_job_runs_after_each_interval(
    sweeps: Schedule, job: Job, caplog: pytest.LogCaptureFixture
) -> None:
    """For the first time after one; and a sweep a minute does not fill the log."""
    caplog.set_level(logging.INFO)
    await settle()
    assert job.runs == 0
    assert rests(sweeps) == pytest.approx(60, abs=2)
    for runs in (1, 2):
        await make_due(sweeps)
        assert job.runs == runs
        assert rests(sweeps) == pytest.approx(60, abs=2)
    assert caplog.records == []


async def test_a_late_job_runs_once(sweeps: Schedule, job: Job) -> None:
    """After a night with the lid closed a job runs at once, and once."""
    await make_due(sweeps, late=timedelta(hours=8))
    assert job.runs == 1
    assert rests(sweeps) == pytest.approx(60, abs=2)


async def test_a_job_that_is_run_now_is_due_an_interval_later(sweeps: Schedule, job: Job) -> None:
    """Its next turn is a full interval away, however near it was."""
    sweeps._scheduler.modify_job("sweep", next_run_time=datetime.now(UTC) + timedelta(seconds=9))
    sweeps.now()
    assert job.runs == 1
    assert rests(sweeps) == pytest.approx(60, abs=2)


async def test_a_failed_run_is_logged_and_the_schedule_goes_on(
    sweeps: Schedule, job: Job, caplog: pytest.LogCaptureFixture
) -> None:
    """One line, without any text that could be secret, once however often it fails alike."""
    refused = LoginRequired("Heroku refused the token")
    broken = RuntimeError("postgres://u:CANARY-pw-1@h/d")
    for job.fails in (broken, refused, refused, None, refused):
        await make_due(sweeps)
    assert job.runs == 5
    first, *others = (r.message for r in caplog.records)
    assert first.startswith("sweep failed: RuntimeError in ")
    assert others == ["sweep failed: Heroku refused the token"] * 2
    assert "CANARY" not in caplog.text


async def test_after_the_clock_was_set_back(sweeps: Schedule, job: Job) -> None:
    """Re-timing saves a job from waiting until the old time comes round again."""
    hour = timedelta(hours=1)
    sweeps._scheduler.modify_job("sweep", next_run_time=datetime.now(UTC) + hour)
    sweeps.retime()
    assert rests(sweeps) == pytest.approx(60, abs=2)


def test_every_counts_from_now() -> None:
    """The next due time depends on the present alone, not on when the last one was."""
    far = START + timedelta(days=1)
    assert Every(60).get_next_fire_time(far, START) == START + timedelta(seconds=60)
