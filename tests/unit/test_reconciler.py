"""Reconcile: sightings in, clients right, news out; on good days and on odd ones."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path

import pytest

from pgherald.errors import FileTrouble, NotVisible, ProbeFailed
from pgherald.model import About, NewsKind, Phase, ProbePolicy, Subject
from pgherald.secret import Secret
from pgherald.sync.alerts import Alerts
from pgherald.sync.plan import Plan
from pgherald.sync.probe import RETRY_PAUSES, Outcome, Proof
from pgherald.sync.reconciler import SLOW
from pgherald.sync.verification import Decision, decide
from support.disks import NoUndo
from support.household import Household, database, household, login, until

SHOP = database("shop")
BLOG = database("blog")
HOUR = 3600.0
DAY = 24 * HOUR + 1


async def test_a_first_login_is_added_everywhere(tmp_path: Path) -> None:
    """A database that is new to all clients is proven, written into each, and called added."""
    async with household(tmp_path) as house:
        await house.sees((SHOP, login(1)))
        assert house.held(SHOP) == {"u1"}
        assert house.kinds() == [NewsKind.ADDED]
        assert house.phase(SHOP) is Phase.WRITTEN
        assert house.prober.tried == [login(1)]


async def test_what_is_right_is_not_written_again(tmp_path: Path) -> None:
    """A second sighting of the same login proves nothing, writes nothing, tells nothing."""
    async with household(tmp_path) as house:
        await house.sees((SHOP, login(1)))
        before = {path: path.stat() for path in house.folder.iterdir()}
        await house.sees((SHOP, login(1)))
        assert {path: path.stat() for path in house.folder.iterdir()} == before
        assert house.phase(SHOP) is Phase.CURRENT
        assert len(house.prober.tried) == 1
        assert len(house.news) == 1


@pytest.mark.parametrize("has_state", [True, False])
async def test_a_rotation_during_a_day_off_is_found(tmp_path: Path, *, has_state: bool) -> None:
    """It is called one at the next start; where the state is lost, by what the clients hold."""
    async with household(tmp_path) as house:
        await house.sees((SHOP, login(1)))
    if not has_state:
        (tmp_path / "state" / "state.db").unlink()
    async with household(tmp_path) as house:
        await house.sees((SHOP, login(2)))
        assert house.held(SHOP) == {"u2"}
        assert house.kinds() == [NewsKind.ROTATED]


async def test_nothing_is_written_before_it_is_proven(tmp_path: Path) -> None:
    """Under `require` the clients keep the old login while the new one is refused."""
    async with household(tmp_path) as house:
        await house.sees((SHOP, login(1)))
        before = house.texts()
        house.prober.outcomes["u2"] = [Outcome.REFUSED]
        await house.sees((SHOP, login(2)))
        assert house.texts() == before
        assert house.phase(SHOP) is Phase.VERIFYING
        assert len(house.news) == 1


async def test_an_early_login_is_tried_again(tmp_path: Path) -> None:
    """A login that Heroku shows a moment too early is written as soon as Postgres takes it."""
    async with household(tmp_path) as house:
        house.prober.outcomes["u1"] = [Outcome.REFUSED, Outcome.REFUSED, Outcome.WORKS]
        await house.sees((SHOP, login(1)))
        await house.clock.advance(RETRY_PAUSES[0] + RETRY_PAUSES[1])
        await house.reconciler.settled()
        assert house.held(SHOP) == {"u1"}
        assert house.kinds() == [NewsKind.ADDED]
        assert house.store.alerts() == []


async def test_a_login_that_stays_refused_is_told_once(tmp_path: Path) -> None:
    """Later sweeps try once each and stay silent, until it works: then it is written, and said."""
    async with household(tmp_path) as house:
        await house.sees((SHOP, login(1)))
        house.prober.outcomes["u2"] = [Outcome.REFUSED]
        await house.sees((SHOP, login(2)))
        await house.retried()
        assert len(house.prober.tried) == 1 + 1 + len(RETRY_PAUSES)
        assert house.held(SHOP) == {"u1"}
        assert house.kinds() == [NewsKind.ADDED, NewsKind.ROTATING, NewsKind.TROUBLE]
        assert house.phase(SHOP) is Phase.UNVERIFIED
        for _ in range(3):
            await house.sees((SHOP, login(2)))
            await house.reconciler.settled()
        tries = 1 + 1 + len(RETRY_PAUSES) + 3
        assert len(house.prober.tried) == tries
        house.prober.hanging["u2"] = asyncio.Event()
        house.show((SHOP, login(2)))
        await until(lambda: len(house.prober.tried) > tries)
        await house.clock.advance(SLOW)
        house.prober.hanging.pop("u2").set()
        await house.reconciler.settled()
        assert len(house.news) == 3
        house.prober.outcomes["u2"] = [Outcome.WORKS]
        await house.sees((SHOP, login(2)))
        await house.reconciler.settled()
        assert house.held(SHOP) == {"u2"}
        assert house.kinds()[3:] == [NewsKind.ROTATED, NewsKind.RECOVERED]


async def test_a_proof_that_comes_too_late_writes_nothing(tmp_path: Path) -> None:
    """A login that was replaced while its probe was under way is not written."""
    async with household(tmp_path) as house:
        gate = house.prober.hanging["u1"] = asyncio.Event()
        house.show((SHOP, login(1)))
        await until(lambda: bool(house.prober.tried))
        house.show((SHOP, login(2)))
        await until(lambda: login(2) in house.prober.tried)
        gate.set()
        await house.reconciler.settled()
        assert house.held(SHOP) == {"u2"}


async def test_a_hanging_probe_keeps_no_other_waiting(tmp_path: Path) -> None:
    """A database whose probe hangs delays nobody: the others are written meanwhile."""
    async with household(tmp_path) as house:
        gate = house.prober.hanging["u1"] = asyncio.Event()
        house.show((SHOP, login(1)), (BLOG, login(2)))
        await until(lambda: house.phase(BLOG) is Phase.WRITTEN)
        assert house.held(BLOG) == {"u2"}
        assert house.held(SHOP) == {"none"}
        gate.set()
        await house.reconciler.settled()
        assert house.held(SHOP) == {"u1"}


async def test_many_rotations_are_one_commit(tmp_path: Path) -> None:
    """Rotations that are proven at about the same time are written once per client."""
    many = [database(f"app-{number}") for number in range(40)]
    async with household(tmp_path) as house:
        await house.sees(*((each, login(1, user=each.key.app)) for each in many))
        commits = house.applier._committer.history()
        assert len(commits) == 1
        assert all(house.held(each) == {each.key.app} for each in many)


@pytest.mark.parametrize(
    ("outcome", "at_once"),
    [(Outcome.UNREACHABLE, True), (Outcome.TLS_REFUSED, True), (Outcome.REFUSED, False)],
)
async def test_prefer_writes_what_cannot_be_proven(
    tmp_path: Path,
    outcome: Outcome,
    at_once: bool,  # a parameter of the table
) -> None:
    """Under `prefer` a login that nobody could try is written at once, and a refused one after its second chances; both are called unproven."""
    shop = database("shop", ProbePolicy.PREFER)
    async with household(tmp_path) as house:
        house.prober.outcomes["u1"] = [outcome]
        await house.sees((shop, login(1)))
        assert (house.held(shop) == {"u1"}) is at_once
        await house.retried()
        assert house.held(shop) == {"u1"}
        assert house.news[-1].proven is False
        assert house.store.databases()[0].proven is False
        # Nor is it taken for proven when a client has lost it.
        house.pgpass.write_text("")
        await house.sees((shop, login(1)))
        await house.retried()
        assert [(news.kind, news.proven) for news in house.news[-1:]] == [(NewsKind.MENDED, False)]


async def test_off_does_not_connect(tmp_path: Path) -> None:
    """Under `off` no connection is made, and status says unproven."""
    shop = database("shop", ProbePolicy.OFF)
    async with household(tmp_path) as house:
        await house.sees((shop, login(1)))
        assert house.held(shop) == {"u1"}
        assert house.prober.tried == []
        assert house.store.databases()[0].proven is False


async def test_a_broken_client_hinders_no_other(tmp_path: Path) -> None:
    """A file that cannot be understood is named, not touched, and every other client is written."""
    async with household(tmp_path) as house:
        house.servers_json.write_text('{"Servers": [')
        await house.sees((SHOP, login(1)))
        assert house.servers_json.read_text() == '{"Servers": ['
        assert house.phase(SHOP) is Phase.BEHIND
        (trouble,) = house.store.alerts()
        assert str(house.servers_json) in trouble.title
        assert [kind for kind in house.kinds() if kind is NewsKind.TROUBLE] == [NewsKind.TROUBLE]
        house.servers_json.unlink()
        await house.sees((SHOP, login(1)))
        assert house.store.alerts() == []
        assert NewsKind.RECOVERED in house.kinds()
        assert house.held(SHOP) == {"u1"}


async def test_without_an_undo_nothing_is_written(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """When the journal cannot be written no client is touched, and that is said."""
    disk = NoUndo(refuses=True)
    async with household(tmp_path, disk=disk) as house:
        await house.sees((SHOP, login(1)))
        assert house.texts() == {}
        assert house.phase(SHOP) is Phase.BEHIND
        assert isinstance(house.reconciler.broken, FileTrouble)
        (trouble,) = house.store.alerts()
        assert (trouble.subject, trouble.label) == ("commit", "commit")
        await house.sees((SHOP, login(1)))
        assert house.kinds() == [NewsKind.TROUBLE]
        broken = str(house.reconciler.broken)
        disk.refuses = False
        await house.sees((SHOP, login(1)))
        assert house.store.alerts() == []
        assert house.kinds() == [NewsKind.TROUBLE, NewsKind.ADDED, NewsKind.RECOVERED]
        assert ("pgherald.sync.reconciler", logging.WARNING, broken) in (caplog.record_tuples)


async def test_an_inexpressible_login_is_named(tmp_path: Path) -> None:
    """A login that one client cannot hold is named with that client; other databases go on."""
    odd = login(1, password=Secret("CANARY-trailing-blank "))
    async with household(tmp_path) as house:
        await house.sees((SHOP, odd), (BLOG, login(2)))
        assert house.held(BLOG) == {"u2"}
        assert house.phase(SHOP) is Phase.BEHIND
        assert house.phase(BLOG) is Phase.WRITTEN
        titles = [trouble.title for trouble in house.store.alerts()]
        assert any("service file" in title and "shop/DATABASE" in title for title in titles)
        assert not any("CANARY" in title for title in titles)


async def test_a_commit_that_is_no_longer_needed(tmp_path: Path) -> None:
    """When somebody mends the files by hand, the trouble of not being able to is over."""
    disk = NoUndo()
    async with household(tmp_path, disk=disk) as house:
        await house.sees((SHOP, login(1)))
        right = house.pgpass.read_bytes()
        disk.refuses = True
        house.pgpass.write_bytes(b"")
        await house.sees((SHOP, login(1)))
        assert [trouble.subject for trouble in house.store.alerts()] == ["commit"]
        house.pgpass.write_bytes(right)
        house.pgpass.chmod(0o600)
        await house.sees((SHOP, login(1)))
        assert house.store.alerts() == []
        assert house.reconciler.broken is None


async def rotated_unrecorded(tmp_path: Path) -> None:
    """A rotation is in the clients, and the daemon ended before it could record it."""
    async with household(tmp_path) as house:
        await house.sees((SHOP, login(1)))
        assert house.store.catch_up()
        state = (tmp_path / "state" / "state.db").read_bytes()
        await house.sees((SHOP, login(2)))
    (tmp_path / "state" / "state.db").write_bytes(state)


async def test_a_rotation_that_was_written_and_not_recorded(tmp_path: Path) -> None:
    """A rotation whose commit outlived its daemon is recorded and told by the next one."""
    await rotated_unrecorded(tmp_path)
    async with household(tmp_path) as house:
        await house.sees((SHOP, login(2)))
        assert house.kinds() == [NewsKind.ROTATED]
        assert house.news[0].proven
        assert len(house.store.history()) == 1
        await house.sees((SHOP, login(2)))
        assert len(house.news) == 1


@pytest.mark.parametrize("absent", [False, True])
async def test_what_was_written_is_recorded_though_another_client_fails(
    tmp_path: Path, *, absent: bool
) -> None:
    """A client that fails for good keeps no rotation out of the history that the others hold.

    Where no client holds it, there is none.
    """
    await rotated_unrecorded(tmp_path)
    async with household(tmp_path) as house:
        for path in (house.pgpass, house.servers_json, house.service_file)[: 3 if absent else 1]:
            path.write_bytes(b"\0")
        for _ in range(3):
            await house.sees((SHOP, login(2)))
        rotated = [item for item in house.news if item.kind is NewsKind.ROTATED]
        assert len(rotated) == len(house.store.history()) == (not absent)
        assert house.phase(SHOP) is Phase.BEHIND
        if rotated:
            assert rotated[0].clients == ("service file", "servers.json")
            assert [label for label, _ in rotated[0].behind] == ["psql"]
            assert house.store.history()[0].rotation.written_at is None


async def test_a_late_record_waits_for_the_state_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While nobody can know whether another process has recorded it, it is not recorded twice."""
    await rotated_unrecorded(tmp_path)
    async with household(tmp_path) as house:
        with monkeypatch.context() as patched:
            patched.setattr(house.store, "catch_up", lambda _: False)
            await house.sees((SHOP, login(2)))
            assert house.kinds() == []
        for _ in range(2):
            await house.sees((SHOP, login(2)))
        assert house.kinds() == [NewsKind.ROTATED]
        assert len(house.store.history()) == 1


async def test_what_another_process_wrote_is_not_recorded_twice(tmp_path: Path) -> None:
    """A `check` beside the daemon writes and records a rotation: the daemon adds no second one."""
    async with household(tmp_path) as daemon, household(tmp_path) as check:
        await daemon.sees((SHOP, login(1)))
        assert daemon.store.catch_up()
        await check.sees((SHOP, login(1)))
        assert check.store.catch_up()
        await check.sees((SHOP, login(2)))
        assert check.store.catch_up()
        await daemon.sees((SHOP, login(2)))
        assert NewsKind.ROTATED not in daemon.kinds()
        assert len(daemon.store.history()) == 1


async def test_a_prober_that_breaks_is_said(tmp_path: Path) -> None:
    """A mistake in the prober ends as an unproven login with a reason, not in silence."""
    async with household(tmp_path) as house:

        async def broken(_: object, **__: object) -> None:
            raise ZeroDivisionError

        house.prober.probe = broken  # type: ignore[assignment,method-assign]  # the mistake
        await house.sees((SHOP, login(1)))
        await house.retried()
        assert house.phase(SHOP) is Phase.UNVERIFIED
        assert house.kinds() == [NewsKind.TROUBLE]
        assert house.news[0].advice.startswith("ZeroDivisionError. ")


async def test_a_proof_that_nobody_needs_is_given_up(tmp_path: Path) -> None:
    """Heroku shows again what the clients hold while another login is still being tried."""
    async with household(tmp_path) as house:
        await house.sees((SHOP, login(1)))
        house.prober.hanging["u2"] = asyncio.Event()
        house.show((SHOP, login(2)))
        await until(lambda: login(2) in house.prober.tried)
        task = house.reconciler.snapshot()[SHOP.key].task
        assert task is not None
        async with asyncio.timeout(5):
            await house.sees((SHOP, login(1)))
        assert house.reconciler.verifying == ()
        await asyncio.wait([task])
        assert task.cancelled()
        assert house.phase(SHOP) is Phase.CURRENT


async def test_what_became_right_by_itself_is_well(tmp_path: Path) -> None:
    """A login that stayed unproven is no trouble any more once Heroku shows the old one again."""
    async with household(tmp_path) as house:
        await house.sees((SHOP, login(1)))
        house.prober.outcomes["u2"] = [Outcome.TLS_REFUSED]
        await house.sees((SHOP, login(2)))
        await house.reconciler.settled()
        assert house.phase(SHOP) is Phase.UNVERIFIED
        await house.sees((SHOP, login(1)))
        assert house.phase(SHOP) is Phase.CURRENT
        assert (house.error(SHOP), house.store.alerts()) == (None, [])


# --- what is called current connects -------------------------------------------------------------


async def test_a_current_login_connects_once_a_day(tmp_path: Path) -> None:
    """A login that is called current has connected within a day, across restarts, and no oftener."""
    async with household(tmp_path) as house:
        await house.sees((SHOP, login(1)))
    async with household(tmp_path) as house:
        await house.sees((SHOP, login(1)))
        assert house.prober.tried == []
        for _ in range(96):
            await house.clock.advance(DAY / 48)
            await house.sees((SHOP, login(1)))
        assert len(house.prober.tried) == 2
        (state,) = house.store.databases()
        assert state.proven_at is not None
        assert (house.clock.now() - state.proven_at).total_seconds() < DAY
        assert house.phase(SHOP) is Phase.CURRENT
        assert house.news == []


@pytest.mark.parametrize("policy", [ProbePolicy.REQUIRE, ProbePolicy.PREFER])
async def test_a_login_that_dies_is_announced_once(tmp_path: Path, policy: ProbePolicy) -> None:
    """A login that no longer connects, though Heroku shows it, is named once; so is its end.

    Heroku is asked at once, since a refused login is the first sign of a rotation; a touched file
    changes nothing about it.
    """
    shop = database("shop", policy)
    async with household(tmp_path) as house:
        asked: list[str] = []
        house.reconciler.refused = lambda database: asked.append(database.key.app)
        await house.sees((shop, login(1)))
        house.prober.outcomes["u1"] = [Outcome.REFUSED]
        await house.clock.advance(DAY)
        await house.sees((shop, login(1)))
        assert asked[:1] == ["shop"]
        await house.retried()
        assert house.phase(shop) is Phase.UNVERIFIED
        trouble = house.news[-1]
        assert trouble.kind is NewsKind.TROUBLE
        assert trouble.advice.startswith("Heroku still shows this login. ")
        for _ in range(3):
            house.reconciler.again()
            await house.reconciler.settled()
            await house.sees((shop, login(1)))
            await house.sees((BLOG, login(9)))
        assert house.kinds() == [NewsKind.ADDED, NewsKind.TROUBLE, NewsKind.ADDED]
        house.prober.outcomes["u1"] = [Outcome.WORKS]
        await house.sees((shop, login(1)))
        await house.reconciler.settled()
        assert house.kinds()[3:] == [NewsKind.RECOVERED]
        assert house.phase(shop) is Phase.CURRENT


async def test_a_database_that_heroku_lost_stays_so(tmp_path: Path) -> None:
    """A touched file and a neighbour's rotation resolve nothing that Heroku has not answered."""
    async with household(tmp_path) as house:
        await house.sees((SHOP, login(1)), (BLOG, login(5)))
        house.reconciler.absent(SHOP, NotVisible("shop has no DATABASE_URL"))
        for number in (6, 7, 8):
            house.reconciler.again()
            await house.sees((BLOG, login(number)))
        assert house.phase(SHOP) is Phase.GONE
        health = (NewsKind.TROUBLE, NewsKind.RECOVERED)
        assert [news.kind for news in house.news if news.kind in health] == [NewsKind.TROUBLE]
        await house.sees((SHOP, login(1)))
        await house.reconciler.settled()
        assert [news.kind for news in house.news if news.kind in health] == list(health)
        assert house.phase(SHOP) is Phase.CURRENT


# --- what only an answer of Heroku's or Postgres's may end -----------------------------------


async def refused_though_held(house: Household) -> None:
    """The login that the clients hold stops working, and a day later that is found."""
    await house.sees((SHOP, login(1)))
    house.prober.outcomes["u1"] = [Outcome.REFUSED]
    await house.clock.advance(DAY)
    await house.sees((SHOP, login(1)))


@pytest.mark.parametrize("restarts", [False, True])
async def test_a_refused_login_that_heroku_hides_for_a_while_is_still_refused(
    tmp_path: Path, *, restarts: bool
) -> None:
    """That a database was away says nothing about its login, which connects before it is current."""
    async with household(tmp_path) as house:
        await refused_though_held(house)
        await house.retried()
        house.reconciler.absent(SHOP, NotVisible("shop has no DATABASE_URL"))
        if not restarts:
            await comes_back_refused(house)
    if restarts:
        async with household(tmp_path) as house:
            house.prober.outcomes["u1"] = [Outcome.REFUSED]
            await comes_back_refused(house)


async def comes_back_refused(house: Household) -> None:
    await house.sees((SHOP, login(1)))
    await house.retried()
    assert house.phase(SHOP) is Phase.UNVERIFIED
    assert NewsKind.RECOVERED not in house.kinds()
    house.prober.outcomes["u1"] = [Outcome.WORKS]
    await house.sees((SHOP, login(1)))
    assert house.phase(SHOP) is Phase.CURRENT
    assert house.store.alerts() == []


async def test_a_touched_client_does_not_end_a_verification(tmp_path: Path) -> None:
    """While a held login is refused, a client's file that is touched neither resolves nor restarts."""
    async with household(tmp_path) as house:
        await refused_though_held(house)
        tried = len(house.prober.tried)
        house.reconciler.again()
        await house.reconciler.settled(verifying=False)
        assert house.phase(SHOP) is not Phase.CURRENT or house.error(SHOP) is not None
        assert house.reconciler.verifying == (SHOP.key,)
        await house.retried()
        assert len(house.prober.tried) == tried + len(RETRY_PAUSES)
        assert house.kinds()[1:] == [NewsKind.TROUBLE]


async def test_a_restart_ends_no_refusal(tmp_path: Path) -> None:
    """After a restart a refused login is in trouble until it connects, whatever is touched."""
    async with household(tmp_path) as house:
        await refused_though_held(house)
        await house.retried()
    async with household(tmp_path) as house:
        house.prober.outcomes["u1"] = [Outcome.REFUSED]
        await house.sees((SHOP, login(1)))
        house.reconciler.again()
        await house.reconciler.settled(verifying=False)
        assert house.kinds() == []
        assert [alert.kind for alert in house.store.alerts()] == ["ProbeFailed"]
        house.prober.outcomes["u1"] = [Outcome.WORKS]
        await house.clock.advance(sum(RETRY_PAUSES))
        await house.sees((SHOP, login(1)))
        assert house.kinds() == [NewsKind.RECOVERED]
        assert house.store.alerts() == []


async def test_a_refusal_that_a_check_found_is_verified(tmp_path: Path) -> None:
    """What `check` found refused stays trouble until it connects, and the daemon notifies once."""
    async with household(tmp_path) as house:
        await house.sees((SHOP, login(1)))
        await house.clock.advance(HOUR)
        house.prober.outcomes["u1"] = [Outcome.REFUSED]
        check = Alerts(house.store, house.clock, lambda _: None, notifies=False)
        check.fire(Subject(About.DATABASE, SHOP.key), "Shop", ProbeFailed("Refused"))
        await house.sees((SHOP, login(1)))
        await house.retried()
        assert house.phase(SHOP) is Phase.UNVERIFIED
        assert house.kinds()[1:] == [NewsKind.TROUBLE]
        house.prober.outcomes["u1"] = [Outcome.WORKS]
        await house.sees((SHOP, login(1)))
        assert house.phase(SHOP) is Phase.CURRENT
        assert house.kinds()[1:] == [NewsKind.TROUBLE, NewsKind.RECOVERED]
        assert house.store.alerts() == []
        tried = len(house.prober.tried)
        await house.sees((SHOP, login(1)))
        assert len(house.prober.tried) == tried


async def test_a_client_changed_during_a_daily_verification_is_mended(tmp_path: Path) -> None:
    """A client that loses its entry while the held login is verified gets it back."""
    async with household(tmp_path) as house:
        await house.sees((SHOP, login(1)))
        await house.clock.advance(DAY)
        release = house.prober.hanging["u1"] = asyncio.Event()
        house.show((SHOP, login(1)))
        await until(lambda: bool(house.reconciler.verifying))
        house.pgpass.write_text("")
        house.reconciler.again()
        inside = house.reconciler
        await until(lambda: inside._window.opened is None and not inside._clients.locked())
        release.set()
        await house.reconciler.settled()
        assert house.held(SHOP) == {"u1"}
        assert house.phase(SHOP) is Phase.WRITTEN


async def test_equal_logins_are_verified_once_a_day(tmp_path: Path) -> None:
    """Databases that share a login share its connection, whenever Heroku shows each of them."""
    async with household(tmp_path) as house:
        await house.sees((SHOP, login(1)))
        await house.clock.advance(HOUR)
        await house.sees((BLOG, login(1)))
        assert len(house.prober.tried) == 1
        await house.clock.advance(DAY)
        await house.sees((SHOP, login(1)))
        await house.sees((BLOG, login(1)))
        assert len(house.prober.tried) == 2
        proven = {state.key: state.proven_at for state in house.store.databases()}
        assert set(proven.values()) == {house.clock.now()}
    async with household(tmp_path) as house:
        await house.clock.advance(DAY + HOUR)
        await house.sees((SHOP, login(1)), (BLOG, login(1)))
        assert house.prober.tried == []


async def test_a_mistake_with_one_database_hinders_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An exception in one database's task is its own trouble; the others are brought up to date."""

    def mistaken(policy: ProbePolicy, proof: Proof, *, last: bool, held: bool) -> Decision:
        if policy is ProbePolicy.PREFER:
            raise ZeroDivisionError
        return decide(policy, proof, last=last, held=held)

    monkeypatch.setattr("pgherald.sync.reconciler.decide", mistaken)
    odd = database("odd", ProbePolicy.PREFER)
    async with household(tmp_path) as house:
        await house.sees((odd, login(1)), (SHOP, login(2)))
        assert house.held(SHOP) == {"u2"}
        assert house.phase(odd) is Phase.BEHIND
        (alert,) = house.store.alerts()
        assert alert.subject == Subject(About.DATABASE, odd.key)
        monkeypatch.setattr("pgherald.sync.reconciler.decide", decide)
        await house.sees((odd, login(1)), (SHOP, login(2)))
        assert house.held(odd) == {"u1"}
        assert house.store.alerts() == []


async def test_a_mistake_while_writing_loses_no_rotation(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An exception in the middle of a transaction is said, and the next sweep writes."""
    async with household(tmp_path) as house:
        await house.sees((SHOP, login(1)))

        async def mistaken(*_: object) -> Plan:
            raise ZeroDivisionError

        with monkeypatch.context() as patch:
            patch.setattr(house.applier, "apply", mistaken)
            await house.sees((SHOP, login(2)))
            assert [alert.kind for alert in house.store.alerts()] == ["PgheraldError"]
        await house.sees((SHOP, login(2)))
        assert house.held(SHOP) == {"u2"}
        assert house.store.alerts() == []


async def test_databases_that_heroku_no_longer_shows_are_let_go(tmp_path: Path) -> None:
    """They are gone in the state, also after a restart, and nothing about them is kept up to date."""
    for _ in range(2):
        async with household(tmp_path) as house:
            await house.sees((SHOP, login(1)))
            house.reconciler.found_only("default", {SHOP.key})
            assert list(house.reconciler.snapshot()) == [SHOP.key]
            if not house.store.databases()[1:]:
                await house.sees((BLOG, login(2)))
                continue
            states = {state.key: state.phase for state in house.store.databases()}
            assert states == {SHOP.key: "current", BLOG.key: "gone"}
            assert [entry.key for entry in house.reconciler.wanted] == [SHOP.key]
            await house.sees((BLOG, login(2)))
            assert house.phase(BLOG) is Phase.CURRENT
            house.reconciler.found_only("default", {SHOP.key})
            assert list(house.reconciler.snapshot()) == [SHOP.key]
            assert house.held(BLOG) == {"u2"}


async def test_a_network_that_lets_nobody_through_is_no_alarm(tmp_path: Path) -> None:
    """That a held login cannot be tried is shown by status, and notified to nobody."""
    async with household(tmp_path) as house:
        await house.sees((SHOP, login(1)))
        house.prober.outcomes["u1"] = [Outcome.UNREACHABLE]
        await house.clock.advance(DAY)
        await house.sees((SHOP, login(1)))
        await house.retried()
        assert house.phase(SHOP) is Phase.UNVERIFIED
        assert len(house.store.alerts()) == 1
        house.prober.outcomes["u1"] = [Outcome.WORKS]
        await house.sees((SHOP, login(1)))
        assert house.store.alerts() == []
        assert house.kinds() == [NewsKind.ADDED]


@pytest.mark.parametrize("given_up", [True, False])
async def test_a_lost_entry_ends_no_refusal(tmp_path: Path, given_up: bool) -> None:
    """A client that loses its entry while the login is refused gets it when the login connects."""
    async with household(tmp_path) as house:
        await refused_though_held(house)
        if given_up:
            await house.retried()
        house.pgpass.write_text("")
        house.reconciler.again()
        await house.reconciler.settled(verifying=False)
        await house.sees((SHOP, login(1)))
        assert house.phase(SHOP) in (Phase.VERIFYING, Phase.UNVERIFIED)
        assert len(house.store.alerts()) == 1
        assert house.pgpass.read_text() == ""
        assert NewsKind.RECOVERED not in house.kinds()
        house.prober.outcomes["u1"] = [Outcome.WORKS]
        await house.clock.advance(sum(RETRY_PAUSES))
        await house.sees((SHOP, login(1)))
        assert house.held(SHOP) == {"u1"}
        assert house.store.alerts() == []


async def test_equal_logins_end_no_refusal(tmp_path: Path) -> None:
    """That another database's same login connected earlier says nothing about a later refusal."""
    async with household(tmp_path) as house:
        await house.sees((SHOP, login(1)), (BLOG, login(1)))
        await house.clock.advance(HOUR)
        house.prober.outcomes["u1"] = [Outcome.REFUSED]
        check = Alerts(house.store, house.clock, lambda _: None, notifies=False)
        check.fire(Subject(About.DATABASE, SHOP.key), "Shop", ProbeFailed("Refused"))
        for _ in range(2):
            await house.sees((SHOP, login(1)), (BLOG, login(1)))
            await house.retried()
        tried = len(house.prober.tried)
        await house.sees((SHOP, login(1)), (BLOG, login(1)))
        assert len(house.prober.tried) == tried + 1
        assert house.phase(SHOP) is Phase.UNVERIFIED
