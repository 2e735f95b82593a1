"""What happens around a commit: who hears of it, who waits for it, what is given up."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import itertools
import os
import subprocess
import threading
from datetime import timedelta
from pathlib import Path

import pytest

from pgherald.clients.pgpass import Pgpass
from pgherald.files import Disk
from pgherald.model import LOGIN_FIELDS, Entry, News, NewsKind, Phase, Rotation, Subject
from pgherald.sync.targets import FileTarget, Target
from pgherald.sync.tracked import VerifiedLogin
from support.fake_clock import START
from support.household import database, household, login, until
from support.pgadmin_database import Database

SHOP = database("shop")
BLOG = database("blog")

CLEARED = VerifiedLogin(Entry(SHOP, login(1)), START, 7, START)


class Saving(Disk):
    """An editor that saves the pgpass file before each commit, so many times."""

    def __init__(self, pgpass: Path, times: int) -> None:
        self._pgpass = pgpass
        self._left = times
        self._number = itertools.count()

    def mkdir(self, path: Path, mode: int) -> None:
        if path.parent.name == "commits" and self._left:
            self._left -= 1
            self._pgpass.write_text(f"# saved {next(self._number)}\n")
            self._pgpass.chmod(0o600)
        super().mkdir(path, mode)


class Refusing(Disk):
    """Refuses to change the mode of the person's files."""

    refuses = True

    def fchmod(self, fd: int, mode: int) -> None:
        if self.refuses and "home" in Path(f"/proc/self/fd/{fd}").readlink().parts:
            raise PermissionError(1, os.strerror(1))
        super().fchmod(fd, mode)


async def test_the_watcher_hears_what_was_written(tmp_path: Path) -> None:
    """Each file that a commit wrote is named, so that no look follows; one that was right is not."""
    async with household(tmp_path) as house:
        wrote: list[Path] = []
        house.applier._wrote = wrote.append
        await house.sees((SHOP, login(1)))
        assert wrote == [house.pgpass, house.service_file, house.servers_json]
        wrote.clear()
        house.pgpass.write_text("# mine\n")
        await house.sees((SHOP, login(1)))
        assert wrote == [house.pgpass]


async def test_a_file_that_cannot_be_closed_to_others_is_told(tmp_path: Path) -> None:
    """Where the system forbids it, that is a trouble of this client, and ends when it may."""
    disk = Refusing()
    disk.refuses = False
    async with household(tmp_path, disk=disk) as house:
        await house.sees((SHOP, login(1)))
        disk.refuses = True
        for path in (house.pgpass, house.service_file):
            path.chmod(0o644)
        await house.sees((SHOP, login(1)))
        assert {client.path for client in house.applier.broken} == {
            house.pgpass,
            house.service_file,
        }
        assert {trouble.subject for trouble in house.store.alerts()} == {
            f"client:{house.pgpass}",
            f"client:{house.service_file}",
        }
        disk.refuses = False
        for _ in range(2):
            await house.sees((SHOP, login(1)))
        assert house.pgpass.stat().st_mode & 0o777 == 0o600
        assert house.store.alerts() == []
        assert house.applier.broken == {}


async def test_an_editor_that_never_stops_saving_is_given_up(tmp_path: Path) -> None:
    """After eight attempts, each later than the one before, the others are written without it."""
    disk = Saving(tmp_path / "home" / ".pgpass", 100)
    async with household(tmp_path, disk=disk) as house:
        house.pgpass.write_text("# mine\n")
        house.show((SHOP, login(1)))
        pauses: list[float] = []
        while house.phase(SHOP) is not Phase.BEHIND:
            slept = [pause for pause in house.clock.slept if pause < 1]
            if len(slept) == len(pauses):
                await asyncio.sleep(0.002)  # it is at work, in a thread
            else:
                pauses.append(slept[len(pauses)])
                await house.clock.advance(pauses[-1])
        (client,) = house.applier.broken
        assert client.path == house.pgpass
        assert b"u1" in house.service_file.read_bytes()
        assert house.pgpass.read_text() == "# saved 8\n"
        assert pauses[:8] == [0.05 * number for number in range(1, 9)]


async def test_a_commit_that_is_under_way_is_waited_for(tmp_path: Path) -> None:
    """Whoever stops waits for the commit that goes on, but no longer than it was told."""
    gate, inside = threading.Event(), threading.Event()

    class Slow(Disk):
        def mkdir(self, path: Path, mode: int) -> None:
            if path.parent.name == "commits":
                inside.set()
                gate.wait(60)
            super().mkdir(path, mode)

    async with household(tmp_path, disk=Slow()) as house:
        await house.applier.finished(10)  # nothing is under way
        work = asyncio.create_task(house.applier.apply([CLEARED]))
        try:
            await until(inside.is_set)
            work.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await work
            await house.applier.finished(0.01)
            assert not house.pgpass.exists()
        finally:
            gate.set()
        await house.applier.finished(10)
        assert house.held(SHOP) == {"u1"}
        assert house.kinds() == []


# --- what is told and kept of a commit -----------------------------------------------------


def cleared(number: int = 1, app: str = "shop", **changes: object) -> VerifiedLogin:
    entry = Entry(database(app), login(number, **changes))
    return VerifiedLogin(entry, START - timedelta(seconds=9), 7, START - timedelta(seconds=3))


ALL = ("psql", "service file", "servers.json")


async def test_what_is_told_and_kept_of_a_rotation(tmp_path: Path) -> None:
    """Each field of the news, of the record and of the state."""
    async with household(tmp_path) as house:
        await house.applier.apply([cleared(1)])
        await house.clock.advance(60)
        await house.applier.apply([cleared(2)])
        now = house.clock.now()
        assert house.news == [
            News(
                NewsKind.ADDED, Subject.read("database:shop/DATABASE"), START, "Shop",
                changed=LOGIN_FIELDS, proven=True, clients=ALL, service="shop",
            ),
            News(
                NewsKind.ROTATED, Subject.read("database:shop/DATABASE"), now, "Shop",
                changed=("user", "password"), proven=True, clients=ALL, service="shop",
            ),
        ]  # fmt: skip
        (record,) = house.store.history()
        assert record.rotation == Rotation(
            SHOP.key, ("user", "password"), START - timedelta(seconds=9),
            START - timedelta(seconds=3), now, 7,
        )  # fmt: skip
        assert (record.label, record.clients) == ("Shop", ALL)
        (kept,) = house.store.databases()
        assert (kept.current_at, kept.proven_at) == (now, START - timedelta(seconds=3))


async def test_what_nobody_was_told_is_told_at_the_next_start(tmp_path: Path) -> None:
    """Once, with all that history knows of it; and what was told is not told again."""
    async with household(tmp_path) as house:
        await house.applier.apply([cleared(1)])
        told, house.store.told = house.store.told, lambda _: None  # type: ignore[assignment,method-assign]  # killed
        await house.applier.apply([cleared(2)])
        house.store.told = told  # type: ignore[method-assign]  # likewise
        before = house.news[-1]
        house.news.clear()
        for _ in range(2):
            await house.recorder.resume()
        assert house.news == [dataclasses.replace(before, service="")]


async def test_an_entry_that_came_back_is_mended(tmp_path: Path) -> None:
    """By what the store knows; without it, by what the clients held; sslmode is no rotation."""
    async with household(tmp_path) as house:
        await house.applier.apply([cleared(1)])
        house.pgpass.write_text("")
        await house.applier.apply([cleared(1)])
        await house.applier.apply([cleared(1, sslmode="verify-full")])
        assert house.kinds() == [NewsKind.ADDED, NewsKind.MENDED, NewsKind.MENDED]
        assert house.news[-1].changed == ("sslmode",)
        house.news.clear()
        house.store.close()
        await house.applier.apply([cleared(2, sslmode="verify-full")])
        house.pgpass.write_text("")
        await house.applier.apply([cleared(2, sslmode="verify-full")])
        assert house.kinds() == [NewsKind.ROTATED, NewsKind.MENDED]
        assert [news.changed for news in house.news] == [("user", "password"), ()]


async def test_a_file_that_stays_open_to_others_is_remembered_as_it_is(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """It is tried once for each mode; each file by itself."""
    tried: list[str] = []

    class NoModes(Disk):
        def fchmod(self, fd: int, mode: int) -> None:
            tried.append(Path(f"/proc/self/fd/{fd}").readlink().name)

    async with household(tmp_path, disk=NoModes()) as house:
        await house.applier.apply([cleared(1)])
        tried.clear()
        house.pgpass.chmod(0o640)
        for expected in ([".pgpass"], []):
            tried.clear()
            plan = await house.applier.plan([cleared(1).entry])
            assert any(file.loose for file in plan.files) is bool(expected)
            await house.applier.tighten(plan)
            assert tried == expected
        assert f"{house.pgpass} can be read by others: its file system has no modes" in caplog.text
        house.pgpass.chmod(0o644)
        house.service_file.chmod(0o640)
        tried.clear()
        await house.applier.tighten(await house.applier.plan([cleared(1).entry]))
        assert tried == [".pgpass", ".pg_service.conf"]


async def test_one_that_hangs_is_named_and_asked_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file that does not answer keeps nobody waiting, and no second thread goes after it."""
    monkeypatch.setattr("pgherald.sync.apply._READ_LIMIT", 1.0)
    gate = threading.Event()
    asked: list[Path] = []

    class Hanging(Disk):
        def stat(self, path: Path) -> os.stat_result:
            if path.name == "servers.json":
                asked.append(path)
                gate.wait(60)
            return super().stat(path)

    try:
        async with household(tmp_path, disk=Hanging()) as house:
            for _ in range(2):
                plan = await house.applier.plan([cleared(1).entry])
                ((client, error),) = plan.failed
                assert client.path == error.path == house.servers_json
                assert error.reason == "does not answer"
                assert error.advice == "Is it on a network folder that is gone?"
            assert len(asked) == 1
            gate.set()
            await until(lambda: not house.applier._hanging)
            assert (await house.applier.plan([cleared(1).entry])).failed == []
    finally:
        gate.set()


# --- pgAdmin, and files that others name otherwise -----------------------------------------


def keeping(tmp_path: Path, *, started: bool = True) -> list[Target]:
    """Pgpass, and the servers of a pgAdmin that may never have been started."""
    path = tmp_path / "home" / "pgadmin4.db"
    base = Database.made(path) if started else Database(path)
    return [
        FileTarget(Pgpass(), tmp_path / "home" / ".pgpass", "psql"),
        base.client(tmp_path / "state"),
    ]


@pytest.mark.parametrize("runs", [True, False, None])
async def test_a_pgadmin_that_runs_is_to_be_refreshed(tmp_path: Path, *, runs: bool | None) -> None:
    """After another user has come, unless it is known that none runs."""
    async with household(tmp_path, clients=keeping(tmp_path)) as house:
        house.recorder._see_pgadmin = lambda _: runs
        await house.applier.apply([cleared(1)])
        await house.applier.apply([cleared(2)])
        assert [news.refresh for news in house.news] == [False, runs is not False]


@pytest.fixture
def tracked(tmp_path: Path) -> Path:
    """A file that git tracks."""
    file = tmp_path / "home" / "pgpass"
    file.parent.mkdir()
    file.touch(0o600)
    script = "git init -q; git add pgpass"
    subprocess.run(["/bin/sh", "-ec", script], cwd=file.parent, check=True)
    return file


async def test_a_file_in_a_repository_is_told_once(tmp_path: Path, tracked: Path) -> None:
    """By one notice, whatever else is written later; nothing counts as not working."""
    target = FileTarget(Pgpass(), tracked, "psql")
    async with household(tmp_path, clients=[target]) as house:
        for number in (1, 2, 2):
            await house.sees((SHOP, login(number)))
        (told,) = [item for item in house.news if item.kind is NewsKind.TROUBLE]
        assert f"is tracked by git in {tracked.parent}" in told.title
        assert told.advice.endswith("rm --cached pgpass")
        assert house.store.alerts() == []


async def test_a_lost_record_comes_back_by_itself(tmp_path: Path) -> None:
    """Whose rows are whose is recorded again at the next sweep, though no client is written."""
    async with household(tmp_path, clients=keeping(tmp_path)) as house:
        await house.sees((SHOP, login(1)))
        assert await asyncio.to_thread(house.store.catch_up)
        (record,) = (tmp_path / "state" / "ownership").iterdir()
        recorded = record.read_bytes()
        for damaged in (b"", recorded[:-9]):
            record.write_bytes(damaged)
            await house.sees((SHOP, login(1)))
            assert record.read_bytes() == recorded
        assert house.kinds() == [NewsKind.ADDED]
        assert len(house.applier._committer.history()) == 1
