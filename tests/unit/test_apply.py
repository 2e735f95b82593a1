"""What happens around a commit: who hears of it, who waits for it, what is given up."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import itertools
import logging
import os
import threading
from datetime import timedelta
from pathlib import Path

import pytest

from pgherald.clients.pgpass import Pgpass
from pgherald.errors import FileTrouble
from pgherald.files import Disk, Files
from pgherald.model import LOGIN_FIELDS, Entry, News, NewsKind, Phase, Rotation, Subject
from pgherald.sync.plan import Client, Plan, make_plan
from pgherald.sync.targets import FileTarget
from pgherald.sync.tracked import VerifiedLogin
from support.fake_clock import START
from support.household import Household, database, household, login, until
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


async def test_the_watcher_hears_what_was_closed_to_others(tmp_path: Path) -> None:
    """A file whose mode alone was changed is named, too."""
    async with household(tmp_path) as house:
        await house.sees((SHOP, login(1)))
        wrote: list[Path] = []
        house.applier._wrote = wrote.append
        house.pgpass.chmod(0o644)
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


async def stands(house: Household, phase: Phase) -> None:
    """Let time pass until the shop stands like that, or for long enough."""
    for _ in range(4000):
        await house.clock.advance(1)
        if house.phase(SHOP) is phase:
            return
        await asyncio.sleep(0.005)


async def test_an_editor_that_never_stops_saving_is_given_up(tmp_path: Path) -> None:
    """After eight attempts, each later than the one before, the others are written without it."""
    disk = Saving(tmp_path / "home" / ".pgpass", 100)
    async with household(tmp_path, disk=disk) as house:
        house.pgpass.write_text("# mine\n")
        house.show((SHOP, login(1)))
        await stands(house, Phase.BEHIND)
        (client,) = house.applier.broken
        assert client.path == house.pgpass
        assert b"u1" in house.service_file.read_bytes()
        assert house.pgpass.read_text() == "# saved 8\n"
        pauses = [slept for slept in house.clock.slept if slept < 1]
        assert pauses[:8] == [0.05 * number for number in range(1, 9)]


async def test_an_editor_that_stops_in_time_is_not_given_up(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Seven savings in a row are borne, and each is in the log."""
    monkeypatch.setattr("pgherald.sync.restless.HOLD", 1e9)  # threads take the time they take
    caplog.set_level(logging.INFO, "pgherald.sync.apply")
    disk = Saving(tmp_path / "home" / ".pgpass", 7)
    async with household(tmp_path, disk=disk) as house:
        house.pgpass.write_text("# mine\n")
        house.show((SHOP, login(1)))
        await stands(house, Phase.WRITTEN)
        assert house.held(SHOP) == {"u1"}
        assert house.pgpass.read_text().endswith("# saved 6\n")
        said = [message for message in caplog.messages if message.endswith("; planning again")]
        assert len(said) == 7
        assert str(house.pgpass) in said[0]


async def test_what_is_not_wanted_goes_though_nothing_can_be_kept(tmp_path: Path) -> None:
    """A database is taken out of every client, and forgotten as soon as the state allows it."""
    async with household(tmp_path) as house:
        await house.sees((SHOP, login(1)), (BLOG, login(2)))
        await house.applier.remove([SHOP.key])
        assert house.held(SHOP) == {"none"}
        assert [kept.key for kept in house.store.databases()] == [BLOG.key]
        house.store.close()
        plan = await house.applier.remove([BLOG.key])
        assert plan.keys == {BLOG.key}
        assert house.held(BLOG) == {"none"}


async def test_a_commit_that_is_under_way_is_waited_for(tmp_path: Path) -> None:
    """Whoever stops waits for the commit that goes on, but no longer than it was told."""
    gate, inside = threading.Event(), threading.Event()

    class Slow(Disk):
        def mkdir(self, path: Path, mode: int) -> None:
            if path.parent.name == "commits":
                inside.set()
                gate.wait(10)
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


async def test_an_overtaken_login_is_not_even_tried(tmp_path: Path) -> None:
    """Of two logins that Heroku showed since the last look only the latest is compared."""
    async with household(tmp_path) as house:
        house.show((SHOP, login(1)))
        house.show((SHOP, login(2)))
        await house.reconciler.settled()
        assert [tried.user for tried in house.prober.tried] == ["u2"]
        assert house.held(SHOP) == {"u2"}
        assert house.kinds() == [NewsKind.ADDED]


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


async def test_what_was_not_proven_is_told_so(tmp_path: Path) -> None:
    """As not proven, unless it was written by a pgherald that had proven it."""
    async with household(tmp_path) as house:
        item = dataclasses.replace(cleared(1), proven_at=None)
        plan = await house.applier.apply([item])
        assert [news.proven for news in house.news] == [False]
        assert house.store.databases()[0].proven_at is None
        await house.recorder.record([item], plan, late=True)
        assert house.news[-1].proven is True


async def test_what_was_interrupted_is_recorded_as_it_happened(tmp_path: Path) -> None:
    """A commit whose process was killed before it could record it: seen, proven, and its release."""
    async with household(tmp_path) as house:
        await house.applier.apply([cleared(1)])
        recorded, house.store.record = house.store.record, lambda *_: None  # type: ignore[method-assign]  # killed
        plan = await house.applier.apply([cleared(2)])
        house.store.record = recorded  # type: ignore[method-assign]  # likewise
        assert house.store.history() == []
        house.news.clear()
        await house.clock.advance(3600)
        again = dataclasses.replace(
            cleared(2), proven_at=None, seen_at=house.clock.now(), release=9
        )
        await house.recorder.record([again], plan, late=True)
        (record,) = house.store.history()
        assert (record.rotation.seen_at, record.rotation.proven_at, record.rotation.release) == (
            cleared(2).seen_at, cleared(2).proven_at, 7,
        )  # fmt: skip
        assert [(news.kind, news.proven) for news in house.news] == [(NewsKind.ROTATED, True)]
        # A login that no commit has written is recorded as it is seen.
        other = dataclasses.replace(cleared(3), proven_at=None)
        await house.recorder.record([other], plan, late=True)
        assert house.store.history()[0].rotation.proven_at is None


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


async def test_only_what_changed_is_told(tmp_path: Path) -> None:
    """Of several databases that are written together, those whose entry changed."""
    async with household(tmp_path) as house:
        await house.applier.apply([cleared(1), cleared(2, "blog")])
        house.news.clear()
        await house.applier.apply([cleared(1), cleared(3, "blog")])
        assert [news.label for news in house.news] == ["Blog"]
        house.news.clear()
        await house.applier.apply([cleared(1), cleared(3, "blog")])
        assert house.news == []
        assert len(house.applier._committer.history()) == 2


async def test_a_client_that_is_behind_is_told_with_the_reason(tmp_path: Path) -> None:
    """The others are up to date; the database is not called current."""
    async with household(tmp_path) as house:
        await house.applier.apply([cleared(1)])
        house.servers_json.write_text("{")
        plan = await house.applier.apply([cleared(2)])
        assert [client.label for client, _ in plan.failed] == ["servers.json"]
        assert house.news[-1].clients == ("psql", "service file")
        assert house.news[-1].behind == (("servers.json", "this is not JSON: Expecting property name enclosed in double quotes"),)  # fmt: skip
        (record,) = house.store.history()
        assert record.rotation.written_at is None


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


async def test_a_slow_proof_is_told_if_it_is_a_rotation(tmp_path: Path) -> None:
    """Not of a new database, and not of another sslmode."""
    async with household(tmp_path) as house:
        house.recorder.announce(Entry(SHOP, login(1)))
        await house.applier.apply([cleared(1)])
        house.news.clear()
        house.recorder.announce(Entry(SHOP, login(1)))
        house.recorder.announce(Entry(SHOP, login(1, sslmode="verify-full")))
        assert house.news == []
        house.recorder.announce(Entry(SHOP, login(2)))
        assert house.news == [
            News(NewsKind.ROTATING, Subject.read("database:shop/DATABASE"), START, "Shop")
        ]


async def test_a_client_is_well_again_once_it_is_written(tmp_path: Path) -> None:
    """Its trouble ends with the commit, or when it turns out that nothing is left to do."""
    async with household(tmp_path) as house:
        for again in (lambda: house.applier.apply([cleared(2)]), None):
            await house.applier.apply([cleared(1)])
            before = house.pgpass.read_bytes()
            house.pgpass.write_bytes(b"\0")
            plan = await house.applier.plan([cleared(1).entry])
            await house.applier.note_clients(plan)
            (client,) = house.applier.broken
            assert (client.path, len(house.store.alerts())) == (house.pgpass, 1)
            house.pgpass.write_bytes(before)
            if again is None:
                await house.applier.note_clients(await house.applier.plan([cleared(1).entry]))
            else:
                await again()
            assert (house.applier.broken, house.store.alerts()) == ({}, [])


async def test_a_file_that_was_written_is_not_tightened_besides(tmp_path: Path) -> None:
    """The commit sets its mode; one that is private already, or need not be, is let be."""
    touched: list[str] = []

    class Watching(Disk):
        def fchmod(self, fd: int, mode: int) -> None:
            touched.append(Path(f"/proc/self/fd/{fd}").readlink().name)
            super().fchmod(fd, mode)

    async with household(tmp_path, disk=Watching()) as house:
        await house.applier.apply([cleared(1)])
        touched.clear()
        house.servers_json.chmod(0o644)
        house.service_file.chmod(0o640)
        plan = await house.applier.plan([cleared(1).entry])
        await house.applier.tighten(plan)
        assert touched == [".pg_service.conf"]
        touched.clear()
        house.pgpass.chmod(0o644)
        house.pgpass.write_text("")
        await house.applier.tighten(await house.applier.plan([cleared(1).entry]))
        assert touched == []


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
    monkeypatch.setattr("pgherald.sync.apply._READ_LIMIT", 0.05)
    gate = threading.Event()
    asked: list[Path] = []

    class Hanging(Disk):
        def stat(self, path: Path) -> os.stat_result:
            if path.name == "servers.json":
                asked.append(path)
                gate.wait(10)
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
            assert (await house.applier.plan([cleared(1).entry])).failed == ()
    finally:
        gate.set()


async def test_the_note_of_a_commit_is_in_order(tmp_path: Path) -> None:
    """Each change once, whichever client it was first found in."""
    async with household(tmp_path) as house:
        await house.applier.apply([cleared(2, "shop"), cleared(1, "blog")])
        (commit,) = house.applier._committer.history()
        assert commit.note == "add blog/DATABASE; add shop/DATABASE"
        assert commit.proven is True
        assert [file.medium for file in commit.files] == ["file", "file", "file"]


async def test_what_no_client_holds_is_not_kept(tmp_path: Path) -> None:
    """Where there is no client nothing is current, whatever was told."""
    async with household(tmp_path) as house:
        await house.recorder.record([cleared(1)], Plan())
        assert house.store.databases() == []
        assert house.store.history() == []
        assert [news.clients for news in house.news] == [()]


# --- pgAdmin, and files that others name otherwise -----------------------------------------


def keeping(tmp_path: Path, *, started: bool = True) -> list[Client]:
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
        house.recorder._see_pgadmin = lambda: runs
        await house.applier.apply([cleared(1)])
        await house.applier.apply([cleared(2)])
        assert [news.refresh for news in house.news] == [False, runs is not False]


@pytest.mark.parametrize("started", [True, False])
async def test_a_pgadmin_that_was_never_started_needs_nothing(
    tmp_path: Path, *, started: bool
) -> None:
    """Nobody is told to reopen a server that is not there."""
    async with household(tmp_path, clients=keeping(tmp_path, started=started)) as house:
        await house.applier.apply([cleared(1)])
        await house.applier.apply([cleared(2, dbname="d2")])
        assert [(news.reopen, news.refresh) for news in house.news] == [
            (False, False),
            (started, started),
        ]


async def test_what_nobody_holds_is_no_rotation(tmp_path: Path) -> None:
    """Where no client is there, nothing of a rotation is kept."""
    (_, never) = keeping(tmp_path, started=False)
    async with household(tmp_path, clients=[never]) as house:
        plan = await house.applier.plan([cleared(1).entry])
        for number in (1, 2):
            await house.recorder.record([cleared(number)], plan)
        assert house.kinds() == [NewsKind.ADDED, NewsKind.ROTATED]
        assert house.store.history() == []


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


async def test_both_logins_are_readable_while_it_is_written(tmp_path: Path) -> None:
    """In pgpass, where they can stand beside each other."""
    async with household(tmp_path) as house:
        await house.applier.apply([cleared(1)])
        await house.applier.apply([cleared(2)])
        last, first = house.applier._committer.history()
        assert [file.label for file in last.files if file.expand is not None] == ["psql"]
        assert {file.expand for file in first.files} == {None}


def test_whose_file_has_failed(tmp_path: Path) -> None:
    """It is known by the name in the configuration, and by that of what a link leads to."""
    files = Files(tmp_path / "locks")
    real, link = tmp_path / "real", tmp_path / "link"
    real.write_text("")
    link.symlink_to(real)
    other, client = (FileTarget(Pgpass(), path, path.name) for path in (tmp_path / "other", link))
    plan = make_plan(files, [other, client], [])
    for path in (real, link):
        assert plan.client_of(FileTrouble("is broken", path=path)) is client
    nobodys = FileTrouble("is broken", path=tmp_path / "journal")
    with pytest.raises(FileTrouble) as caught:
        plan.client_of(nobodys)
    assert caught.value is nobodys
