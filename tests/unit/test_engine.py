"""Reconcile: sightings in, clients right, news out."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
from pathlib import Path
from typing import Any

import pytest

from pgherald.errors import FileTrouble
from pgherald.files import Disk
from pgherald.model import NewsKind, ProbePolicy
from pgherald.secret import Secret
from pgherald.sync.engine import SLOW, Standing
from pgherald.sync.probe import RETRY_PAUSES, Outcome
from support.disks import NoUndo, SteppedDisk, placed
from support.household import database, household, login, until

SHOP = database("shop")
BLOG = database("blog")


async def test_a_first_login_is_added_everywhere(tmp_path: Path) -> None:
    """A database that is new to all clients is proven, written into each, and called added."""
    async with household(tmp_path) as house:
        await house.sees((SHOP, login(1)))
        assert house.held(SHOP) == {"u1"}
        assert house.kinds() == [NewsKind.ADDED]
        assert house.engine.standing[SHOP.key] is Standing.WRITTEN
        assert house.prober.tried == [login(1)]


async def test_what_is_right_is_not_written_again(tmp_path: Path) -> None:
    """A second sighting of the same login proves nothing, writes nothing, tells nothing."""
    async with household(tmp_path) as house:
        await house.sees((SHOP, login(1)))
        before = {path: path.stat() for path in house.folder.iterdir()}
        await house.sees((SHOP, login(1)))
        assert {path: path.stat() for path in house.folder.iterdir()} == before
        assert house.engine.standing[SHOP.key] is Standing.CURRENT
        assert len(house.prober.tried) == 1
        assert len(house.news) == 1


async def test_a_rotation_is_proven_written_and_told(tmp_path: Path) -> None:
    """A changed login is proven before it is written, recorded with what changed, and told."""
    async with household(tmp_path) as house:
        await house.sees((SHOP, login(1)))
        await house.sees((SHOP, login(2)))
        assert house.held(SHOP) == {"u2"}
        news = house.news[-1]
        assert (news.kind, news.changed, news.proven) == (
            NewsKind.ROTATED,
            ("user", "password"),
            True,
        )
        assert news.clients == ("psql", "service file", "servers.json")
        (record,) = house.store.history()
        assert record.rotation.changed == ("user", "password")
        assert record.rotation.release == 7
        assert record.rotation.proven_at is not None
        assert record.rotation.written_at is not None


async def test_a_rotation_during_a_day_off_is_found(tmp_path: Path) -> None:
    """A rotation that happened while nothing ran is found at the next start, and called one."""
    async with household(tmp_path) as house:
        await house.sees((SHOP, login(1)))
    async with household(tmp_path) as house:
        await house.sees((SHOP, login(2)))
        assert house.held(SHOP) == {"u2"}
        assert house.kinds() == [NewsKind.ROTATED]


async def test_without_state_the_clients_tell_a_rotation(tmp_path: Path) -> None:
    """When the state folder is lost, what the clients hold still tells a rotation from a first entry."""
    async with household(tmp_path) as house:
        await house.sees((SHOP, login(1)))
    (tmp_path / "state" / "state.db").unlink()
    async with household(tmp_path) as house:
        await house.sees((SHOP, login(2)))
        assert house.kinds() == [NewsKind.ROTATED]
        assert set(house.news[0].changed) == {"user", "password"}


async def test_an_accident_is_mended(tmp_path: Path) -> None:
    """A client that lost its entry gets it back, which is no rotation."""
    async with household(tmp_path) as house:
        await house.sees((SHOP, login(1)))
        house.service_file.write_text("[mine]\nhost=localhost\n")
        await house.sees((SHOP, login(1)))
        assert house.held(SHOP) == {"u1"}
        assert house.service_file.read_text().endswith("[mine]\nhost=localhost\n")
        assert house.kinds() == [NewsKind.ADDED, NewsKind.MENDED]
        assert house.store.history() == []


async def test_nothing_is_written_before_it_is_proven(tmp_path: Path) -> None:
    """Under `require` the clients keep the old login while the new one is refused."""
    async with household(tmp_path) as house:
        await house.sees((SHOP, login(1)))
        before = house.texts()
        house.prober.outcomes["u2"] = [Outcome.REFUSED]
        await house.sees((SHOP, login(2)))
        assert house.texts() == before
        assert house.engine.standing[SHOP.key] is Standing.PROVING
        assert len(house.news) == 1


async def test_an_early_login_is_tried_again(tmp_path: Path) -> None:
    """A login that Heroku shows a moment too early is written as soon as Postgres takes it."""
    async with household(tmp_path) as house:
        house.prober.outcomes["u1"] = [Outcome.REFUSED, Outcome.REFUSED, Outcome.WORKS]
        await house.sees((SHOP, login(1)))
        await house.clock.advance(RETRY_PAUSES[0] + RETRY_PAUSES[1])
        await house.engine.settled()
        assert house.held(SHOP) == {"u1"}
        assert house.kinds() == [NewsKind.ADDED]
        assert house.store.troubles() == []


async def test_a_login_that_stays_refused_is_told_once(tmp_path: Path) -> None:
    """After two minutes the person is told, once; later sweeps try once each and stay silent."""
    async with household(tmp_path) as house:
        await house.sees((SHOP, login(1)))
        house.prober.outcomes["u2"] = [Outcome.REFUSED]
        await house.sees((SHOP, login(2)))
        await house.clock.advance(sum(RETRY_PAUSES))
        await house.engine.settled()
        assert len(house.prober.tried) == 1 + 1 + len(RETRY_PAUSES)
        assert house.held(SHOP) == {"u1"}
        assert house.kinds() == [NewsKind.ADDED, NewsKind.ROTATING, NewsKind.TROUBLE]
        assert house.engine.standing[SHOP.key] is Standing.UNPROVEN
        for _ in range(3):
            await house.sees((SHOP, login(2)))
            await house.engine.settled()
        tries = 1 + 1 + len(RETRY_PAUSES) + 3
        assert len(house.prober.tried) == tries
        house.prober.hanging["u2"] = asyncio.Event()
        house.show((SHOP, login(2)))
        await until(lambda: len(house.prober.tried) > tries)
        await house.clock.advance(SLOW)
        house.prober.hanging["u2"].set()
        await house.engine.settled()
        assert len(house.news) == 3


async def test_recovery_is_told_once(tmp_path: Path) -> None:
    """When a refused login works after all, it is written, and the end of the trouble is told."""
    async with household(tmp_path) as house:
        await house.sees((SHOP, login(1)))
        house.prober.outcomes["u2"] = [Outcome.REFUSED]
        await house.sees((SHOP, login(2)))
        await house.clock.advance(sum(RETRY_PAUSES))
        await house.engine.settled()
        house.prober.outcomes["u2"] = [Outcome.WORKS]
        await house.sees((SHOP, login(2)))
        await house.engine.settled()
        assert house.held(SHOP) == {"u2"}
        assert house.kinds()[3:] == [NewsKind.ROTATED, NewsKind.RECOVERED]


async def test_a_slow_proof_is_told_once(tmp_path: Path) -> None:
    """While a rotation takes a while to be proven, that is said once; a first entry is none."""
    async with household(tmp_path) as house:
        house.prober.outcomes["u1"] = [Outcome.REFUSED] * 3 + [Outcome.WORKS]
        await house.sees((SHOP, login(1)))
        await house.clock.advance(sum(RETRY_PAUSES))
        await house.engine.settled()
        assert house.kinds() == [NewsKind.ADDED]
        house.prober.hanging["u2"] = asyncio.Event()
        house.show((SHOP, login(2)))
        await until(lambda: len(house.prober.tried) > 4)
        await house.clock.advance(SLOW - 0.1)
        assert house.kinds()[1:] == []
        await house.clock.advance(60)
        assert house.kinds()[1:] == [NewsKind.ROTATING]
        house.prober.hanging["u2"].set()
        await house.engine.settled()
        assert house.kinds()[1:] == [NewsKind.ROTATING, NewsKind.ROTATED]
        assert house.news[1].subject == house.news[2].subject
        assert house.clock.sleepers == 0


async def test_a_newer_login_overtakes_an_older_one(tmp_path: Path) -> None:
    """Of two logins in quick succession only the later one is ever written."""
    async with household(tmp_path) as house:
        house.prober.outcomes["u1"] = [Outcome.REFUSED]
        await house.sees((SHOP, login(1)))
        await house.sees((SHOP, login(2)))
        await house.clock.advance(sum(RETRY_PAUSES))
        await house.engine.settled()
        assert house.held(SHOP) == {"u2"}
        assert house.prober.tried.count(login(1)) == 1


async def test_a_proof_that_comes_too_late_writes_nothing(tmp_path: Path) -> None:
    """A login that was replaced while its probe was under way is not written."""
    async with household(tmp_path) as house:
        gate = house.prober.hanging["u1"] = asyncio.Event()
        house.show((SHOP, login(1)))
        await until(lambda: bool(house.prober.tried))
        house.show((SHOP, login(2)))
        await until(lambda: login(2) in house.prober.tried)
        gate.set()
        await house.engine.settled()
        assert house.held(SHOP) == {"u2"}


async def test_a_hanging_probe_keeps_no_other_waiting(tmp_path: Path) -> None:
    """A database whose probe hangs delays nobody: the others are written meanwhile."""
    async with household(tmp_path) as house:
        gate = house.prober.hanging["u1"] = asyncio.Event()
        house.show((SHOP, login(1)), (BLOG, login(2)))
        await until(lambda: house.engine.standing.get(BLOG.key) is Standing.WRITTEN)
        assert house.held(BLOG) == {"u2"}
        assert house.held(SHOP) == {"none"}
        gate.set()
        await house.engine.settled()
        assert house.held(SHOP) == {"u1"}


async def test_many_rotations_are_one_commit(tmp_path: Path) -> None:
    """Rotations that are proven at about the same time are written once per client."""
    many = [database(f"app-{number}") for number in range(40)]
    async with household(tmp_path) as house:
        await house.sees(*((each, login(1, user=each.key.app)) for each in many))
        commits = house.applier._committer.history()
        assert len(commits) == 1
        assert all(house.held(each) == {each.key.app} for each in many)


async def test_events_that_come_together_are_one_commit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rotations that events tell of one by one are written once per client, though each is ready."""
    for limit in ("EVENTS_LIMIT", "EVENTS_PROVEN"):  # however slow the machine
        monkeypatch.setattr(f"pgherald.sync.batch.{limit}", 600.0)
    many = [database(f"app-{number}") for number in range(5)]
    async with household(tmp_path) as house:
        house.engine._ready._gather = 3.0  # far longer than a proof here takes
        for each in many:
            wanted = login(1, user=each.key.app)
            house.engine.event()
            house.show((each, wanted))
            await until(lambda: wanted in house.prober.tried and not house.engine.proving)  # noqa: B023 – awaited here
        await house.engine.settled()
        assert len(house.applier._committer.history()) == 1
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
        await house.clock.advance(sum(RETRY_PAUSES))
        await house.engine.settled()
        assert house.held(shop) == {"u1"}
        assert house.news[-1].proven is False
        assert house.store.databases()[0].proven is False
        # Nor is it taken for proven when a client has lost it.
        house.pgpass.write_text("")
        await house.sees((shop, login(1)))
        await house.clock.advance(sum(RETRY_PAUSES))
        await house.engine.settled()
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
        assert house.engine.standing[SHOP.key] is Standing.BEHIND
        (trouble,) = house.store.troubles()
        assert str(house.servers_json) in trouble.title
        assert [kind for kind in house.kinds() if kind is NewsKind.TROUBLE] == [NewsKind.TROUBLE]
        house.servers_json.unlink()
        await house.sees((SHOP, login(1)))
        assert house.store.troubles() == []
        assert NewsKind.RECOVERED in house.kinds()
        assert house.held(SHOP) == {"u1"}


class RefusingDisk(SteppedDisk):
    """Refuses to put anything into the place of one file."""

    def __init__(self, name: str) -> None:
        self.name: str | None = name

    def step(self, name: str, args: tuple[Any, ...]) -> None:
        target = placed(name, args)
        if target is not None and target.name == self.name:
            raise OSError(30, os.strerror(30), str(target))


async def test_an_unwritable_client_hinders_no_other(tmp_path: Path) -> None:
    """A file that cannot be written is named, and every other client is written all the same."""
    disk = RefusingDisk("servers.json")
    async with household(tmp_path, disk=disk) as house:
        await house.sees((SHOP, login(1)))
        assert b"u1" in house.pgpass.read_bytes()
        assert b"u1" in house.service_file.read_bytes()
        assert not house.servers_json.exists()
        assert house.news[-1].behind[0][0] == "servers.json"
        assert house.store.troubles()[0].subject == f"client:{house.servers_json}"
        disk.name = None
        await house.sees((SHOP, login(1)))
        assert house.held(SHOP) == {"u1"}
        assert house.store.troubles() == []


async def test_without_an_undo_nothing_is_written(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """When the journal cannot be written no client is touched, and that is said."""
    disk = NoUndo(refuses=True)
    async with household(tmp_path, disk=disk) as house:
        await house.sees((SHOP, login(1)))
        assert house.texts() == {}
        assert house.engine.standing[SHOP.key] is Standing.BEHIND
        assert isinstance(house.engine.broken, FileTrouble)
        (trouble,) = house.store.troubles()
        assert (trouble.subject, trouble.label) == ("commit", "commit")
        await house.sees((SHOP, login(1)))
        assert house.kinds() == [NewsKind.TROUBLE]
        broken = str(house.engine.broken)
        disk.refuses = False
        await house.sees((SHOP, login(1)))
        assert house.store.troubles() == []
        assert house.kinds() == [NewsKind.TROUBLE, NewsKind.ADDED, NewsKind.RECOVERED]
        assert ("pgherald.sync.engine", logging.WARNING, broken) in (caplog.record_tuples)


async def test_an_editor_that_saves_meanwhile_loses_nothing(tmp_path: Path) -> None:
    """A file that changes between plan and commit is planned again, never overwritten."""

    class Editor(Disk):
        """Saves the pgpass file once, in the moment between plan and commit."""

        saved = False

        def mkdir(self, path: Path, mode: int) -> None:
            if "commits" in path.parts and not self.saved:
                self.saved = True
                pgpass.write_text("localhost:5432:*:me:CANARY-mine\n")
            super().mkdir(path, mode)

    pgpass = tmp_path / "home" / ".pgpass"
    async with household(tmp_path, disk=Editor()) as house:
        house.pgpass.write_text("# mine\n")
        house.show((SHOP, login(1)))
        for _ in range(50):
            await house.clock.advance(1)
            await asyncio.sleep(0.005)
        await house.engine.settled()
        assert house.pgpass.read_text().endswith("localhost:5432:*:me:CANARY-mine\n")
        assert house.held(SHOP) == {"u1"}


async def test_a_password_file_is_closed_to_others(tmp_path: Path) -> None:
    """A file with passwords that others may read is made private, though its text is right."""
    async with household(tmp_path) as house:
        await house.sees((SHOP, login(1)))
        house.pgpass.chmod(0o644)
        await house.sees((SHOP, login(1)))
        assert house.pgpass.stat().st_mode & 0o777 == 0o600


async def test_an_inexpressible_login_is_named(tmp_path: Path) -> None:
    """A login that one client cannot hold is named with that client; other databases go on."""
    odd = login(1, password=Secret("CANARY-trailing-blank "))
    async with household(tmp_path) as house:
        await house.sees((SHOP, odd), (BLOG, login(2)))
        assert house.held(BLOG) == {"u2"}
        assert house.engine.standing[SHOP.key] is Standing.BEHIND
        assert house.engine.standing[BLOG.key] is Standing.WRITTEN
        titles = [trouble.title for trouble in house.store.troubles()]
        assert any("service file" in title and "shop/DATABASE" in title for title in titles)
        assert not any("CANARY" in title for title in titles)


async def test_a_stopped_engine_leaves_no_task(tmp_path: Path) -> None:
    """Ending the engine ends every proof that was under way."""
    async with household(tmp_path) as house:
        house.prober.hanging["u1"] = asyncio.Event()
        house.show((SHOP, login(1)))
        await until(lambda: bool(house.prober.tried))
    await asyncio.sleep(0)
    left = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
    with contextlib.suppress(TimeoutError):
        await asyncio.wait(left, timeout=1) if left else None
    assert not [task for task in left if not task.done()]
