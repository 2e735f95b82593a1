"""Reconcile on odd days: nothing missed, nobody told twice, nobody left in the dark."""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import os
import sqlite3
import threading
from pathlib import Path
from typing import Any

import pytest

from pgherald.files import Disk, Snapshot
from pgherald.model import NewsKind
from pgherald.sync.engine import Standing
from pgherald.sync.probe import RETRY_PAUSES, Outcome
from support.disks import NoUndo, SteppedDisk, placed
from support.household import database, household, login, until

SHOP = database("shop")
BLOG = database("blog")


class ReadOnly(SteppedDisk):
    """Refuses to put anything into the place of one file."""

    name: str | None = ".pgpass"

    def step(self, name: str, args: tuple[Any, ...]) -> None:
        target = placed(name, args)
        if target is not None and target.name == self.name:
            raise OSError(30, os.strerror(30), str(target))


async def test_a_client_that_stays_broken_is_told_once(tmp_path: Path) -> None:
    """A client that cannot be written for days is told once and stays in status, whatever else happens."""
    disk = ReadOnly()
    disk.name = None
    async with household(tmp_path, disk=disk) as house:
        await house.sees((SHOP, login(1)))
        disk.name = ".pgpass"
        house.news.clear()
        for _ in range(4):
            await house.sees((SHOP, login(2)))
            await house.sees((BLOG, login(9)))
        assert sorted(house.kinds()) == [NewsKind.ADDED, NewsKind.ROTATED, NewsKind.TROUBLE]
        assert [trouble.subject for trouble in house.store.troubles()] == [f"client:{house.pgpass}"]
        assert house.engine.standing[SHOP.key] is Standing.BEHIND


async def test_what_is_behind_is_not_called_current(tmp_path: Path) -> None:
    """A rotation that one client missed leaves the database's `current_at` where it was."""
    disk = ReadOnly()
    disk.name = None
    async with household(tmp_path, disk=disk) as house:
        await house.sees((SHOP, login(1)))
        before = house.store.databases()[0].current_at
        disk.name = ".pgpass"
        await house.clock.advance(60)
        await house.sees((SHOP, login(2)))
        assert house.store.databases()[0].current_at == before


async def test_a_held_state_file_stops_no_rotation(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When the state cannot be kept any more, rotations are written and announced all the same.

    That is in the log once, however often something cannot be recorded.
    """
    monkeypatch.setattr("pgherald.store.file._BUSY_TIMEOUT", 0.05)
    monkeypatch.setattr("pgherald.sync.apply._RECORD_LIMIT", 0.05)
    async with household(tmp_path) as house:
        await house.sees((SHOP, login(1)))
        assert house.store.catch_up()
        with contextlib.closing(sqlite3.connect(tmp_path / "state" / "state.db")) as holder:
            holder.execute("BEGIN EXCLUSIVE")
            for number in range(2, 7):
                await house.sees((SHOP, login(number)))
                assert house.held(SHOP) == {f"u{number}"}
            await until(lambda: "cannot be used" in caplog.text)
        assert house.kinds() == [NewsKind.ADDED, *[NewsKind.ROTATED] * 5]
        said = [record for record in caplog.records if record.levelno >= logging.WARNING]
        assert [record.levelno for record in said] == [logging.ERROR]
        assert not said[0].exc_info


async def test_a_full_disk_is_told_though_nothing_can_be_kept(tmp_path: Path) -> None:
    """A disk that is full for clients and state alike is told, for there is something to do."""

    class Full(Disk):
        full = False

        def mkdir(self, path: Path, mode: int) -> None:
            if self.full:
                raise OSError(28, os.strerror(28), str(path))
            super().mkdir(path, mode)

    disk = Full()
    async with household(tmp_path, disk=disk) as house:
        await house.sees((SHOP, login(1)))
        disk.full = True
        house.store.close()
        await house.sees((SHOP, login(2)))
        assert house.held(SHOP) == {"u1"}
        assert house.kinds() == [NewsKind.ADDED, NewsKind.TROUBLE]
        assert "the disk is full" in house.news[-1].title


async def test_a_commit_that_is_no_longer_needed(tmp_path: Path) -> None:
    """When somebody mends the files by hand, the trouble of not being able to is over."""
    disk = NoUndo()
    async with household(tmp_path, disk=disk) as house:
        await house.sees((SHOP, login(1)))
        right = house.pgpass.read_bytes()
        disk.refuses = True
        house.pgpass.write_bytes(b"")
        await house.sees((SHOP, login(1)))
        assert [trouble.subject for trouble in house.store.troubles()] == ["commit"]
        house.pgpass.write_bytes(right)
        house.pgpass.chmod(0o600)
        await house.sees((SHOP, login(1)))
        assert house.store.troubles() == []
        assert house.engine.broken is None


async def test_a_commit_is_needed_as_long_as_a_client_cannot_be_read(tmp_path: Path) -> None:
    """Others that are right do not show that writing works again."""
    disk = NoUndo()
    async with household(tmp_path, disk=disk) as house:
        await house.sees((SHOP, login(1)))
        right = house.pgpass.read_bytes()
        disk.refuses = True
        house.pgpass.write_bytes(b"")
        await house.sees((SHOP, login(1)))
        house.pgpass.write_bytes(right)
        house.pgpass.chmod(0o600)
        house.servers_json.write_bytes(b"{")
        await house.sees((SHOP, login(1)))
        assert {trouble.subject for trouble in house.store.troubles()} == {
            "commit",
            f"client:{house.servers_json}",
        }


@pytest.mark.parametrize("how", ["refused", "unreadable"])
async def test_what_is_behind_stays_so_at_each_look(tmp_path: Path, how: str) -> None:
    """Though nothing can be written, by this daemon and by the next one."""
    shop = login(1, host="two,hosts") if how == "refused" else login(1)
    for _ in range(2):
        async with household(tmp_path) as house:
            if how == "unreadable":
                house.servers_json.write_bytes(b"{")
            for _ in range(2):
                await house.sees((BLOG, login(2)), (SHOP, shop))
                assert house.engine.standing[SHOP.key] is Standing.BEHIND
            subjects = {trouble.subject for trouble in house.store.troubles()}
            assert subjects == {
                f"fit:{SHOP.key}" if how == "refused" else f"client:{house.servers_json}"
            }


async def test_what_is_right_is_current_at_each_look(tmp_path: Path) -> None:
    """`status` says when it was looked at last, and when nothing had to be written."""
    async with household(tmp_path) as house:
        await house.sees((SHOP, login(1)))
        await house.clock.advance(60)
        await house.sees((SHOP, login(1)))
        (state,) = house.store.databases()
        assert state.current_at == state.looked_at == house.clock.now()


async def test_a_rotation_that_was_written_and_not_recorded(tmp_path: Path) -> None:
    """A rotation whose commit outlived its daemon is recorded and told by the next one."""
    async with household(tmp_path) as house:
        await house.sees((SHOP, login(1)))
        assert house.store.catch_up()
        state = (tmp_path / "state" / "state.db").read_bytes()
        await house.sees((SHOP, login(2)))
    (tmp_path / "state" / "state.db").write_bytes(state)
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
    async with household(tmp_path) as house:
        await house.sees((SHOP, login(1)))
        assert house.store.catch_up()
        state = (tmp_path / "state" / "state.db").read_bytes()
        await house.sees((SHOP, login(2)))
    (tmp_path / "state" / "state.db").write_bytes(state)
    async with household(tmp_path) as house:
        for path in (house.pgpass, house.servers_json, house.service_file)[: 3 if absent else 1]:
            path.write_bytes(b"\0")
        for _ in range(3):
            await house.sees((SHOP, login(2)))
        rotated = [item for item in house.news if item.kind is NewsKind.ROTATED]
        assert len(rotated) == len(house.store.history()) == (not absent)
        assert house.engine.standing[SHOP.key] is Standing.BEHIND
        if rotated:
            assert rotated[0].clients == ("service file", "servers.json")
            assert [label for label, _ in rotated[0].behind] == ["psql"]
            assert house.store.history()[0].rotation.written_at is None


async def test_a_client_that_fails_from_the_first_does_not_keep_it_new(tmp_path: Path) -> None:
    """What the other clients hold already is known to be written."""
    async with household(tmp_path) as house:
        await house.sees((SHOP, login(1)))
    (tmp_path / "state" / "state.db").unlink()
    async with household(tmp_path) as house:
        house.pgpass.write_bytes(b"\0")
        await house.sees((SHOP, login(1)))
        (state,) = house.store.databases()
        assert (state.written, state.current_at) == (True, None)


async def test_a_late_record_waits_for_the_state_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While nobody can know whether another process has recorded it, it is not recorded twice."""
    async with household(tmp_path) as house:
        await house.sees((SHOP, login(1)))
        assert house.store.catch_up()
        state = (tmp_path / "state" / "state.db").read_bytes()
        await house.sees((SHOP, login(2)))
    (tmp_path / "state" / "state.db").write_bytes(state)
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


async def test_a_refusal_is_not_told_again_after_a_restart(tmp_path: Path) -> None:
    """A login that is still refused when pgherald starts anew is no news."""
    for start in range(3):
        async with household(tmp_path) as house:
            if start == 0:
                await house.sees((SHOP, login(1)))
            house.prober.outcomes["u2"] = [Outcome.REFUSED]
            await house.sees((SHOP, login(2)))
            await house.clock.advance(sum(RETRY_PAUSES))
            await house.engine.settled()
            told = [kind for kind in house.kinds() if kind is NewsKind.TROUBLE]
            assert len(told) == (1 if start == 0 else 0)


async def test_an_unreadable_client_is_no_recovery(tmp_path: Path) -> None:
    """That a file can no longer be read does not mean that the refused login works."""
    async with household(tmp_path) as house:
        await house.sees((SHOP, login(1)))
        house.prober.outcomes["u2"] = [Outcome.REFUSED]
        await house.sees((SHOP, login(2)))
        await house.clock.advance(sum(RETRY_PAUSES))
        await house.engine.settled()
        for path in (house.pgpass, house.service_file, house.servers_json):
            path.write_bytes(b"\xff\xfe")
        await house.sees((SHOP, login(2)))
        assert NewsKind.RECOVERED not in house.kinds()


async def test_a_prober_that_breaks_is_said(tmp_path: Path) -> None:
    """A mistake in the prober ends as an unproven login with a reason, not in silence."""
    async with household(tmp_path) as house:

        async def broken(_: object, **__: object) -> None:
            raise ZeroDivisionError

        house.prober.probe = broken  # type: ignore[assignment,method-assign]  # the mistake
        await house.sees((SHOP, login(1)))
        await house.clock.advance(sum(RETRY_PAUSES))
        await house.engine.settled()
        assert house.engine.standing[SHOP.key] is Standing.UNPROVEN
        assert house.kinds() == [NewsKind.TROUBLE]
        assert house.news[0].advice.startswith("ZeroDivisionError. ")


async def test_a_folder_that_hangs_keeps_no_client_waiting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A client on a network folder that does not answer is named; the others are written."""
    monkeypatch.setattr("pgherald.sync.apply._READ_LIMIT", 2.0)
    gate = threading.Event()

    class Hanging(Disk):
        def open(self, path: Path, flags: int, mode: int = 0o600) -> int:
            if path.name == "servers.json":
                gate.wait(60)
            return super().open(path, flags, mode)

    try:
        async with household(tmp_path, disk=Hanging()) as house:
            house.servers_json.write_text("{}")
            await house.sees((SHOP, login(1)))
            assert b"u1" in house.pgpass.read_bytes()
            assert house.engine.standing[SHOP.key] is Standing.BEHIND
            (trouble,) = house.store.troubles()
            assert "does not answer" in trouble.title
            gate.set()
            await until(lambda: not house.applier._hanging)
            await house.sees((SHOP, login(1)))
            assert house.held(SHOP) == {"u1"}
    finally:
        gate.set()


async def test_a_file_system_without_modes(tmp_path: Path) -> None:
    """Where a file stays open to others whatever is done, that is said once and written never."""

    class NoModes(Disk):
        def fchmod(self, fd: int, mode: int) -> None:
            """Answers well and does nothing, as vfat does."""

        def open(self, path: Path, flags: int, mode: int = 0o600) -> int:
            return super().open(path, flags, 0o755 if "home" in path.parts else mode)

    async with household(tmp_path, disk=NoModes()) as house:
        for _ in range(5):
            await house.sees((SHOP, login(1)))
        assert len(house.applier._committer.history()) == 1
        assert house.engine.standing[SHOP.key] is Standing.CURRENT


async def test_another_sslmode_is_no_rotation(tmp_path: Path) -> None:
    """What the person changes in the configuration is written, and not called a rotation."""
    async with household(tmp_path) as house:
        await house.sees((SHOP, login(1)))
        await house.sees((SHOP, dataclasses.replace(login(1), sslmode="verify-full")))
        assert house.kinds() == [NewsKind.ADDED, NewsKind.MENDED]
        assert house.store.history() == []


async def test_a_changed_file_is_mended_without_heroku(tmp_path: Path) -> None:
    """What another program did to a client is mended from what Heroku showed last."""
    async with household(tmp_path) as house:
        await house.sees((SHOP, login(1)))
        house.pgpass.write_text("# mine\n")
        house.engine.again()
        await house.engine.settled()
        assert house.held(SHOP) == {"u1"}


def test_a_snapshot_shows_no_content() -> None:
    """A snapshot in a log or a traceback shows no file's content."""
    assert "CANARY" not in repr(Snapshot(Path("a"), Path("a"), b"CANARY"))
