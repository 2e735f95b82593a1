"""A rotation, killed at each of its changes to files and to the state file: one record, one notice."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pgherald.config import Config, load
from pgherald.daemon.check import check
from pgherald.daemon.wiring import Outside, machinery, state_of
from pgherald.files import Disk
from pgherald.model import News, NewsKind
from pgherald.sync.alerts import Alerts
from support.commands import CLIENTS, SHOP, Desk
from support.disks import CHANGES, Child, in_child, moments

#: More changes than there are.
ENOUGH = 500

#: Statements that change something, or end what does.
WRITES = ("INSERT", "UPDATE", "DELETE", "COMMIT")


async def work(config: Config, outside: Outside, notices: Path, step: Callable[[], None]) -> None:
    """One `check`; each notice of a rotation is a line in a file, and `step` comes before it."""

    def tell(news: News) -> None:
        if news.kind is NewsKind.ROTATED:
            step()
            with notices.open("a") as file:
                file.write(f"{news.subject} {news.proven}\n")

    with state_of(config, outside.clock) as state:
        alerts = Alerts(state.store, outside.clock, tell)
        async with machinery(config, state, outside, alerts=alerts, tell=tell) as machine:
            report = await check(machine, print)
    assert report.current


class Killer:
    """Kills the process at a change: of a file, or of the state."""

    def __init__(self, at: int) -> None:
        self._at = at
        self._count = 0

    def step(self) -> None:
        self._count += 1
        if self._count == self._at:
            os.kill(os.getpid(), signal.SIGKILL)

    def arm(self) -> None:
        """Watch every file, and every database that is no copy in memory."""
        for name in CHANGES - {"write", "fsync", "fsync_folder", "sqlite_execute"}:
            setattr(Disk, name, self._watched(getattr(Disk, name)))
        connect = sqlite3.connect
        step = self.step

        def watched(database: Any, **options: Any) -> sqlite3.Connection:
            base: Any = options.pop("factory", sqlite3.Connection)

            class Watched(base):  # type: ignore[misc]  # whichever it is
                def execute(self, sql: str, *values: Any) -> Any:
                    if sql.startswith(WRITES):
                        step()
                    return super().execute(sql, *values)

                def executemany(self, sql: str, rows: Any) -> Any:
                    step()
                    return super().executemany(sql, rows)

            kind = base if database == ":memory:" else Watched
            made: sqlite3.Connection = connect(database, factory=kind, **options)
            return made

        sqlite3.connect = watched  # type: ignore[assignment]  # of many shapes, one is used

    def _watched(self, real: Callable[..., Any]) -> Callable[..., Any]:
        def operation(*args: Any) -> Any:
            self.step()
            return real(*args)

        return operation


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Desk:
    """One database, known and current, and a rotation that nobody has seen yet."""
    # A killed process loses nothing that it did not sync; only a power cut would.
    for name in ("fsync", "fsync_folder"):
        monkeypatch.setattr(Disk, name, lambda *_: None)
    (tmp_path / "desk").mkdir()
    desk = Desk.laid(tmp_path / "desk", monkeypatch)
    desk.configure(SHOP + CLIENTS)
    assert desk.run("check").code == 0
    desk.rotate()
    return desk


def child(desk: Desk, notices: Path, at: int) -> Child:
    def run() -> None:
        config = load(desk.file, os.environ)
        killer = Killer(at)
        if at:
            killer.arm()
        asyncio.run(work(config, desk.outside(os.environ), notices, killer.step))

    ended = in_child(run)
    assert ended.report == ""
    return ended


def test_a_kill_gives_one_record_and_one_notice(tmp_path: Path, desk: Desk) -> None:
    """Killed anywhere, the next start completes history: once, proven, and told.

    Only where the kill comes right between the notice and the note that it was given, it is given
    again: a notice too many is better than none.
    """
    shutil.copytree(desk.folder, tmp_path / "pristine")
    twice = 0
    for at in moments(0, 4):
        assert at < ENOUGH, "it never ends"
        shutil.rmtree(desk.folder)
        shutil.copytree(tmp_path / "pristine", desk.folder)
        notices = tmp_path / f"notices-{at}"
        notices.touch()
        killed = child(desk, notices, at).killed
        early = notices.read_text()
        for _ in range(2):
            assert not child(desk, notices, 0).killed
        (record,) = desk.run("history", "--json").json
        assert record["proven_at"], at
        assert record["written_at"], at
        assert record["changed"] == ["user", "password"], at
        told = notices.read_text().splitlines()
        assert set(told) == {"database:shop-production/DATABASE True"}, at
        if len(told) == 2:
            assert early, at
            twice += 1
        else:
            assert len(told) == 1, (at, told)
        if not killed:
            break
    assert at > 40
    # The note is one transaction; a few others of the state file may come before it.
    assert twice <= 8
