"""What other programs read: status.json, metrics, the line for systemd."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import json
import logging
import socket
import threading
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace

import pytest
from prometheus_client.parser import text_string_to_metric_families

from pgherald import __version__
from pgherald.config import ClientSetting, Config, load
from pgherald.daemon import publish
from pgherald.daemon.publish import Publisher
from pgherald.daemon.status import Heartbeat, Status
from pgherald.daemon.supervisor import Supervisor
from pgherald.errors import ProbeFailed
from pgherald.files import Files
from pgherald.model import DatabaseKey, Entry, Rotation, Subject
from pgherald.service.sd_notify import Manager
from pgherald.store import Alert, BackgroundStore
from support.commands import CLIENTS, SHOP
from support.fake_clock import START, FakeClock
from support.household import database, login, until

KEY = DatabaseKey("default", "shop-production", "DATABASE")
PRODUCTION = dataclasses.replace(database("shop-production"), name="Shop")
REFUSED = ProbeFailed("Postgres refuses the login of Shop", "Make another one.")


class Room:
    """A state folder, and a publisher that shows it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.showing = 0
        self.clock = FakeClock()
        self.files = Files(folder / "state" / "locks")
        self.files.private_folder(folder / "state")
        self.store = BackgroundStore.open(folder / "state" / "state.db", self.files)
        # The far side of $NOTIFY_SOCKET.
        self.systemd = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.systemd.bind(str(folder / "notify"))
        self.systemd.setblocking(False)
        self.config = self.configured()
        self.publisher = self.publishing()

    def publishing(self) -> Publisher:
        manager = Manager({"NOTIFY_SOCKET": str(self.folder / "notify")}, self.clock)
        publisher = Publisher(self.config, self.store, self.files, manager, self.clock)
        show = publisher._show

        async def noted(*, running: bool) -> None:
            self.showing += 1
            try:
                await show(running=running)
            finally:
                self.showing -= 1

        publisher._show = noted  # type: ignore[method-assign]  # so that the end of it is known
        return publisher

    def running(self) -> contextlib.AbstractAsyncContextManager[None]:
        """Meanwhile, the publisher shows every change."""
        return self.publisher.running(5, Supervisor(self.clock))

    def configured(self, more: str = "") -> Config:
        file = self.folder / "config.toml"
        file.write_text(f'state_dir = "state"\n{SHOP}{CLIENTS}{more}')
        return load(file, {})

    def with_metrics(self, name: str = "pgherald.prom") -> Path:
        """Ask for metrics; where they are."""
        self.config = self.configured(f'[metrics]\ntextfile = "{name}"\n')
        return self.folder / name

    def healthy(self) -> None:
        self.store.looked([PRODUCTION], START)
        self.store.record([Entry(PRODUCTION, login())], START, {KEY: START})

    def troubled(self) -> None:
        clients = {str(client.path): "old" for client in self.config.clients}
        self.store.keep(KEY, "unproven", clients)
        told = (REFUSED.kind, REFUSED.title, REFUSED.advice)
        self.store.put_alert(
            Alert(Subject.read(f"database:{KEY}"), "Shop", *told, START, told=True)
        )

    def status(self) -> dict[str, object]:
        shown = json.loads((self.folder / "state" / "status.json").read_text())
        assert isinstance(shown, dict)
        return shown

    def heard(self) -> list[str]:
        """What systemd was told."""
        found = []
        while True:
            try:
                found.append(self.systemd.recv(4096).decode())
            except BlockingIOError:
                return found

    async def shown(self) -> None:
        """Let time pass until all that has changed is shown."""
        self.store.catch_up()
        async with asyncio.timeout(20):
            while True:
                await asyncio.sleep(0.005)
                await self.clock.advance(1)
                if not self.showing and not self.publisher._changed.is_set():
                    return


@pytest.fixture
async def room(tmp_path: Path) -> AsyncIterator[Room]:
    made = Room(tmp_path)
    with made.store, made.systemd:
        yield made


# --- status.json --------------------------------------------------------------------------------


async def test_every_change_is_shown(room: Room) -> None:
    """The file follows what happens, is private, and says at the end that the daemon has gone."""
    async with room.running():
        room.publisher.follow(room.config, "watching 1 database")
        await room.shown()
        assert (room.status()["running"], room.status()["ok"]) == (True, True)
        room.healthy()
        room.troubled()
        await room.shown()
        assert room.status()["ok"] is False
        room.store.clear_alert(Subject.read(f"database:{KEY}"))
        await room.shown()
        assert room.status()["ok"] is True
    assert room.status()["running"] is False
    assert (room.folder / "state" / "status.json").stat().st_mode & 0o777 == 0o600
    assert room.store.on_change is None


async def test_a_sweep_that_is_overdue_is_shown_though_nothing_changes(room: Room) -> None:
    """What only the clock brings about is shown within one interval."""
    async with room.running():
        room.healthy()
        Heartbeat(START).keep(room.store)
        await room.shown()
        assert room.status()["ok"] is True
        for _ in range(5):
            await room.clock.advance(room.config.poll_interval)
            await room.shown()
        assert room.status()["ok"] is False


async def test_a_burst_is_shown_once(room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    """However much changes within a second, the file is written at most twice; the same bytes never."""
    writes: list[Path] = []
    plain = Files.write_private

    def noted(files: Files, path: Path, data: bytes) -> None:
        writes.append(path)
        plain(files, path, data)

    monkeypatch.setattr(Files, "write_private", noted)
    async with room.running():
        room.publisher.follow(room.config, "x")
        await room.shown()
        writes.clear()
        for second in range(200):
            room.store.looked([PRODUCTION], START + timedelta(seconds=second))
            await asyncio.sleep(0)
        await room.shown()
        assert len(writes) <= 2
        written = len(writes)
        room.publisher.soon()
        await room.shown()
        assert len(writes) == written


async def test_a_file_that_hangs_hinders_no_other(
    room: Room, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Metrics in a folder that does not answer are left alone; status.json follows what happens.

    Once the folder answers, the metrics are as they should be.
    """
    answers = threading.Event()
    plain = publish._write_metrics
    begun: list[str] = []

    def hangs(files: Files, path: Path, text: str) -> None:
        begun.append(text)
        answers.wait(60)
        plain(files, path, text)

    async def wait(tasks: set[asyncio.Task[None]], **limit: float) -> object:
        # The limit is over for the file that hangs, and never for another, however slow.
        hangs = room.publisher._writing.get(file) in tasks and not answers.is_set()
        return await asyncio.wait(tasks, timeout=min(0.05, *limit.values()) if hangs else None)

    monkeypatch.setattr(publish, "_write_metrics", hangs)
    monkeypatch.setattr(publish, "asyncio", SimpleNamespace(**vars(asyncio) | {"wait": wait}))
    file = room.with_metrics()
    room.publisher = room.publishing()
    with caplog.at_level(logging.WARNING):
        async with room.running():
            room.publisher.follow(room.config, "x")
            await room.shown()
            room.troubled()
            await room.shown()
            assert room.status()["ok"] is False
            room.store.clear_alert(Subject.read(f"database:{KEY}"))
            await room.shown()
            assert room.status()["ok"] is True
            assert len(begun) == 1, "nobody waits for it a second time"
            answers.set()
            await until(file.exists)
            room.troubled()
            await room.shown()
            assert "pgherald_troubles 1.0" in file.read_text()
    assert [record.getMessage() for record in caplog.records] == [f"{file} does not answer"]


# --- metrics ------------------------------------------------------------------------------------


def samples(text: str) -> dict[tuple[str, ...], float]:
    """What Prometheus reads: name and labels' values, and the figure."""
    return {
        (sample.name, *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


async def test_metrics(room: Room) -> None:
    """Prometheus reads every figure; everybody may read the file."""
    file = room.with_metrics()
    room.healthy()
    at = START + timedelta(minutes=1)
    for _ in range(2):
        rotation = Rotation(KEY, ("user", "password"), at, at, at, 42)
        room.store.record((), None, {}, [(rotation, "Shop")], ("psql",))
    room.publisher = room.publishing()
    async with room.running():
        room.publisher.follow(room.config, "x")
        await room.shown()
        start = START.timestamp()
        found = samples(file.read_text())
        key = str(KEY)
        assert (
            found.items()
            >= {
                ("pgherald_build_info", __version__): 1.0,
                ("pgherald_up",): 1.0,
                ("pgherald_troubles",): 0.0,
                ("pgherald_database_current", key): 1.0,
                ("pgherald_database_proven", key): 1.0,
                ("pgherald_database_looked_timestamp_seconds", key): start,
                ("pgherald_database_last_rotation_timestamp_seconds", key): start + 60,
                ("pgherald_client_ok", "pgpass", str(room.folder / "pgpass")): 1.0,
                ("pgherald_rotations_total",): 2.0,
            }.items()
        )
        room.troubled()
        await room.shown()
        found = samples(file.read_text())
        assert (
            found["pgherald_trouble_since_timestamp_seconds", f"database:{key}", "ProbeFailed"]
            == start
        )
        assert found["pgherald_database_current", key] == 0.0
    assert samples(file.read_text())["pgherald_up",] == 0.0
    assert file.stat().st_mode & 0o777 == 0o644
    assert "CANARY" not in file.read_text()


def test_odd_names_in_metrics(room: Room) -> None:
    """A quote, a backslash or a line break in a name does not break the file."""
    odd = Path('/home/me/"odd"\\\n.pgpass')
    config = dataclasses.replace(room.config, clients=(ClientSetting("pgpass", odd),))
    text = publish.metrics_of(config, Status([], running=True))
    assert samples(text)["pgherald_client_ok", "pgpass", str(odd)] == 1.0


async def test_a_foreign_file_is_not_overwritten(
    room: Room, caplog: pytest.LogCaptureFixture
) -> None:
    """A file that pgherald did not write stays, and the log says so; all else goes on."""
    file = room.with_metrics("mine.prom")
    file.write_text("mine 1\n")
    room.publisher = room.publishing()
    with caplog.at_level(logging.WARNING):
        async with room.running():
            room.publisher.follow(room.config, "x")
            await room.shown()
            assert room.status()["running"] is True
    assert file.read_text() == "mine 1\n"
    assert f"{file}: was not written by pgherald" in caplog.text


async def test_metrics_that_are_no_longer_wanted_go(room: Room) -> None:
    """After a reload that asks for another file or none, the old one does not lie on."""
    old = room.with_metrics("old.prom")
    room.publisher = room.publishing()
    async with room.running():
        room.publisher.follow(room.config, "x")
        await room.shown()
        assert old.exists()
        new = room.with_metrics("new.prom")
        room.publisher.follow(room.config, "x")
        await room.shown()
        assert (old.exists(), new.exists()) == (False, True)


# --- systemd ------------------------------------------------------------------------------------


async def test_the_line_for_systemd(room: Room) -> None:
    """The line says what is watched and how it stands, and is said only when it changes."""
    async with room.running():
        room.publisher.follow(room.config, "watching 1 database")
        await room.shown()
        assert room.heard() == ["STATUS=watching 1 database; 1 not current yet"]
        room.healthy()
        await room.shown()
        assert room.heard() == ["STATUS=watching 1 database; all current"]
        room.store.looked([PRODUCTION], START + timedelta(seconds=9))
        await room.shown()
        assert room.heard() == []
        room.troubled()
        await room.shown()
        assert room.heard() == [
            "STATUS=watching 1 database; trouble: Postgres refuses the login of Shop"
        ]
