"""The engine, part by part: what it waits for, what it remembers, what it says."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path

import pytest

from pgherald.model import ProbePolicy
from pgherald.sync.engine import QUIET, SEEN_LIMIT, SLOW, Engine, Standing
from pgherald.sync.plan import Plan
from pgherald.sync.probe import RETRY_PAUSES, Outcome
from support.household import database, household, login, until

SHOP, BLOG = database("shop"), database("blog")


def test_the_limits() -> None:
    """How long is waited for more, told, and borne."""
    assert (QUIET, SEEN_LIMIT, SLOW) == (0.25, 1.0, 2.0)
    assert [str(standing) for standing in Standing] == [
        "current", "written", "proving", "unproven", "behind",
    ]  # fmt: skip


async def test_what_is_expected_is_waited_for(tmp_path: Path) -> None:
    """Two sightings of one sweep are one commit; without a sweep each is written at once."""
    async with household(tmp_path) as house:
        with house.engine.expecting():
            house.show((SHOP, login(1)))
            await asyncio.sleep(0.02)
            assert house.prober.tried == []
            house.show((BLOG, login(2)))
            settled = asyncio.create_task(house.engine.settled())
            await asyncio.sleep(0.01)
            assert not settled.done()
        await settled
        assert [tried.user for tried in house.prober.tried] == ["u1", "u2"]
        assert len(house.applier._committer.history()) == 1


async def test_nothing_more_to_come_is_heard_of(tmp_path: Path) -> None:
    """Who waits until all is done goes on once a sweep has ended that found nothing."""
    async with household(tmp_path) as house:
        with house.engine.expecting():
            settled = asyncio.create_task(house.engine.settled())
            await asyncio.sleep(0.01)
            assert not settled.done()
        async with asyncio.timeout(5):
            await settled


async def test_proofs_are_waited_for_unless_told_otherwise(tmp_path: Path) -> None:
    """All is done once no login is being proven any more, the pauses in between included."""
    async with household(tmp_path) as house:
        house.prober.outcomes["u1"] = [Outcome.REFUSED, Outcome.WORKS]
        house.show((SHOP, login(1)))
        await until(lambda: bool(house.prober.tried))
        await house.engine.settled(proving=False)
        settled = asyncio.create_task(house.engine.settled())
        await asyncio.sleep(0.01)
        assert not settled.done()
        await house.clock.advance(RETRY_PAUSES[0])
        await settled
        assert house.held(SHOP) == {"u1"}


async def test_a_proof_that_nobody_needs_is_given_up(tmp_path: Path) -> None:
    """Heroku shows again what the clients hold while another login is still being tried."""
    async with household(tmp_path) as house:
        await house.sees((SHOP, login(1)))
        house.prober.hanging["u2"] = asyncio.Event()
        house.show((SHOP, login(2)))
        await until(lambda: login(2) in house.prober.tried)
        task = house.engine._cases[SHOP.key].task
        async with asyncio.timeout(5):
            await house.sees((SHOP, login(1)))
        assert house.engine.proving == ()
        await asyncio.wait([task])
        assert task.cancelled()
        assert house.engine.standing[SHOP.key] is Standing.CURRENT


async def test_an_older_proof_does_not_end_a_newer_one(tmp_path: Path) -> None:
    """The one that was given up leaves the one that took its place alone."""
    async with household(tmp_path) as house:
        for number in (1, 2):
            house.prober.hanging[f"u{number}"] = asyncio.Event()
            house.show((SHOP, login(number)))
            await until(lambda number=number: login(number) in house.prober.tried)  # type: ignore[misc]  # of this turn
        await asyncio.sleep(0.01)
        assert house.engine.proving == (SHOP.key,)
        house.prober.hanging["u2"].set()
        await house.engine.settled()
        assert house.held(SHOP) == {"u2"}


async def test_one_that_works_again_gets_its_chances_back(tmp_path: Path) -> None:
    """A login that was given up, and then worked, is tried as often as a new one."""
    async with household(tmp_path) as house:
        house.prober.outcomes["u1"] = [Outcome.REFUSED]
        house.show((SHOP, login(1)))
        await until(lambda: bool(house.prober.tried))
        await house.clock.advance(sum(RETRY_PAUSES))
        await house.engine.settled()
        house.prober.outcomes["u1"] = [Outcome.WORKS]
        await house.sees((SHOP, login(1)))
        await house.sees((SHOP, login(2)))
        house.prober.outcomes["u1"] = [Outcome.REFUSED, Outcome.WORKS]
        await house.sees((SHOP, login(1)))
        await house.clock.advance(RETRY_PAUSES[0])
        await house.engine.settled()
        assert house.held(SHOP) == {"u1"}


async def test_a_cleared_login_that_was_overtaken_is_not_written(tmp_path: Path) -> None:
    """What Heroku no longer shows goes into no client, though it had been proven."""
    shop = database("shop", ProbePolicy.OFF)
    async with household(tmp_path) as house:
        tighten = house.applier.tighten

        async def overtaken(plan: Plan) -> None:
            # The first login waits to be written by now.
            house.applier.tighten = tighten  # type: ignore[method-assign]  # once
            house.show((shop, login(2)))
            await tighten(plan)

        house.applier.tighten = overtaken  # type: ignore[method-assign]  # something comes in between
        await house.sees((shop, login(1)))
        assert house.held(shop) == {"u2"}
        assert len(house.applier._committer.history()) == 1


async def test_a_login_is_proven_once(tmp_path: Path) -> None:
    """What was proven is written again without another probe, be it lost from a client."""
    async with household(tmp_path) as house:
        await house.sees((SHOP, login(1)))
        house.pgpass.write_text("")
        await house.sees((SHOP, login(1)))
        assert len(house.prober.tried) == 1
        assert house.news[-1].proven is True
        assert house.held(SHOP) == {"u1"}
        # Another one in between makes no difference.
        await house.sees((SHOP, login(2)))
        await house.sees((SHOP, login(1)))
        assert [tried.user for tried in house.prober.tried] == ["u1", "u2", "u1"]


async def test_what_is_being_tried_is_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Status knows of it, with the first finding; nobody is told yet."""
    caplog.set_level(logging.INFO)
    async with household(tmp_path) as house:
        house.prober.outcomes["u1"] = [Outcome.REFUSED]
        await house.sees((SHOP, login(1)))
        await until(lambda: SHOP.key in house.engine.problems)
        problem = house.engine.problems[SHOP.key]
        assert (problem.kind, problem.title) == (
            "NotYetProven",
            "Postgres refuses the login of Shop",
        )
        assert problem.advice == "It is being tried again."
        assert house.engine.standing[SHOP.key] is Standing.PROVING
        assert house.engine.proving == (SHOP.key,)
        (trouble,) = house.store.troubles()
        assert (trouble.subject, trouble.label) == ("database:shop/DATABASE", "Shop")
        assert house.news == []
        assert "shop/DATABASE: Postgres refuses the login of Shop; trying again" in caplog.text


async def test_a_prober_that_breaks_is_logged_without_its_words(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """As an error, with the database, and no traceback, which might quote the login."""
    async with household(tmp_path) as house:

        async def broken(_: object) -> None:
            raise LookupError("odd")

        house.prober.probe = broken  # type: ignore[assignment,method-assign]  # the mistake
        await house.sees((SHOP, login(1)))
        await until(lambda: SHOP.key in house.engine.problems)
        said = [record for record in caplog.records if record.levelno == logging.ERROR]
        assert said
        assert said[0].getMessage().startswith("shop/DATABASE: the probe itself failed: ")
        assert not any(record.exc_info for record in said)


async def test_what_became_right_by_itself_is_well(tmp_path: Path) -> None:
    """A login that stayed unproven is no trouble any more once Heroku shows the old one again."""
    async with household(tmp_path) as house:
        await house.sees((SHOP, login(1)))
        house.prober.outcomes["u2"] = [Outcome.TLS_REFUSED]
        await house.sees((SHOP, login(2)))
        await house.engine.settled()
        assert house.engine.standing[SHOP.key] is Standing.UNPROVEN
        await house.sees((SHOP, login(1)))
        assert house.engine.standing[SHOP.key] is Standing.CURRENT
        assert (house.engine.problems, house.store.troubles()) == ({}, [])


async def test_one_that_was_given_up_is_tried_once_a_sweep(tmp_path: Path) -> None:
    """Not for two minutes each time; another login of it gets all its chances."""
    async with household(tmp_path) as house:
        house.prober.outcomes |= {"u1": [Outcome.TLS_REFUSED], "u2": [Outcome.REFUSED]}
        for _ in range(3):
            await house.sees((SHOP, login(1)))
            await house.engine.settled()
        assert len(house.prober.tried) == 3
        await house.sees((SHOP, login(2)))
        await until(lambda: len(house.prober.tried) == 4)
        assert house.engine.proving == (SHOP.key,)
        await house.clock.advance(1.0)
        await until(lambda: len(house.prober.tried) == 5)


async def test_a_login_without_a_form_is_told_by_itself(tmp_path: Path) -> None:
    """Which client cannot hold it, and why; it ends when Heroku shows one that fits."""
    async with household(tmp_path) as house:
        bad, fits = login(1, dbname="a,b"), login(2)
        await house.sees((SHOP, bad), (BLOG, login(3)))
        problem = house.engine.problems[SHOP.key]
        assert problem.title.startswith("servers.json cannot hold the login of shop/DATABASE: ")
        assert problem.advice == "Enter this server in pgAdmin by hand."
        assert house.engine.standing[SHOP.key] is Standing.BEHIND
        assert [trouble.subject for trouble in house.store.troubles()] == ["fit:shop/DATABASE"]
        await house.sees((SHOP, fits), (BLOG, login(3)))
        assert house.store.troubles() == []


async def test_without_a_probe_it_is_written_at_once(tmp_path: Path) -> None:
    """Where the person chose so, and it is told that nobody has proven it."""
    shop = database("shop", ProbePolicy.OFF)
    async with household(tmp_path) as house:
        await house.sees((shop, login(1)))
        assert house.prober.tried == []
        assert [news.proven for news in house.news] == [False]
        assert house.engine.standing[shop.key] is Standing.WRITTEN
        assert house.engine.wanted[0].login == login(1)


def test_an_engine_waits_as_long_as_it_is_told(tmp_path: Path) -> None:
    """The silence that closes a batch is handed in."""
    engine = Engine(applier=None, prober=None, store=None, troubles=None, clock=None, quiet=7.0)  # type: ignore[arg-type]  # not asked
    assert (engine._seen._quiet, engine._seen._limit) == (7.0, SEEN_LIMIT)
    usual = Engine(applier=None, prober=None, store=None, troubles=None, clock=None)  # type: ignore[arg-type]  # likewise
    assert usual._seen._quiet == QUIET
    assert (usual.broken, usual.problems, usual.standing, usual.proving) == (None, {}, {}, ())


async def test_a_proof_that_is_under_way_is_not_begun_again(tmp_path: Path) -> None:
    """The same login seen once more goes on being proven."""
    async with household(tmp_path) as house:
        house.prober.hanging["u2"] = asyncio.Event()
        house.show((SHOP, login(2)))
        await until(lambda: bool(house.prober.tried))
        house.show((SHOP, login(2)))
        await until(house.engine._queue.empty)
        await until(lambda: not house.engine._seen and not house.engine._working)
        assert [tried.user for tried in house.prober.tried] == ["u2"]
        assert house.engine.standing[SHOP.key] is Standing.PROVING
        house.prober.hanging["u2"].set()
        await house.engine.settled()
        assert house.held(SHOP) == {"u2"}
