"""A state file that nobody waits for."""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import sqlite3
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from pgherald.errors import StoreError, Unavailable
from pgherald.files import Files
from pgherald.model import Entry, Rotation, Subject
from pgherald.store import Alert, BackgroundStore, Store, background
from pgherald.store import file as state_file
from support.fake_clock import START
from support.household import database, login

SHOP, BLOG = database("shop"), database("blog")
LIMIT = 30.0


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever waits for a locked file gives up sooner than outside."""
    monkeypatch.setattr(state_file, "_BUSY_TIMEOUT", 0.05)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state.db"


@pytest.fixture
def store(path: Path, tmp_path: Path) -> Iterator[BackgroundStore]:
    with BackgroundStore.open(path, Files(tmp_path / "locks")) as opened:
        yield opened


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Meanwhile, somebody else holds the file."""
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("BEGIN EXCLUSIVE")
    try:
        yield
    finally:
        connection.close()


def until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + LIMIT
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.005)


def rotation(number: int) -> Rotation:
    at = START + timedelta(seconds=number)
    return Rotation(SHOP.key, ("password",), at, at, at, number)


def trouble(title: str, subject: str = "account:default") -> Alert:
    error = Unavailable(title)
    return Alert(Subject.read(subject), "default", error.kind, title, "", START, told=True)


def test_nothing_waits_and_nothing_is_lost_or_recorded_twice(
    store: BackgroundStore, path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """What is recorded while another program holds the file is there once, in order, afterwards.

    Until then, whoever asks is answered from memory; and the log has one error, not one for each
    attempt.
    """
    with locked(path):
        for number in range(1, 6):
            store.record((), None, {}, [(rotation(number), "Shop")], ("psql",))
            store.record([Entry(SHOP, login(number))], START, {SHOP.key: START})
            store.looked([SHOP], START + timedelta(seconds=number))
        store.put_alert(trouble("down"))
        store.note("held", "x")
        assert store.changed(SHOP.key, login(5)) == ()
        assert store.changed(SHOP.key, login(4)) == ("user", "password")
        assert [t.title for t in store.alerts()] == ["down"]
        assert store.notes()["held"] == "x"
        until(lambda: "cannot be used" in caplog.text)
        assert not store.catch_up(0.2)
    assert store.catch_up(LIMIT)
    assert [found.rotation.release for found in store.history()] == [5, 4, 3, 2, 1]
    assert [r.levelno for r in caplog.records if r.levelno >= logging.WARNING] == [logging.ERROR]
    with Store.open(path, Files(path.parent / "locks")) as other:
        assert other.changed(SHOP.key, login(5)) == ()
        (state,) = other.databases()
        assert state.looked_at == START + timedelta(seconds=5)
        assert [t.title for t in other.alerts()] == ["down"]


def test_what_is_superfluous_is_dropped(store: BackgroundStore, path: Path) -> None:
    """However long the file is held, the queue does not grow with each poll."""
    with locked(path):
        for number in range(300):
            at = START + timedelta(seconds=number)
            store.looked([BLOG], at)
            store.looked([SHOP, BLOG], at)
            store.record([Entry(SHOP, login(1))], at, {})
            store.put_alert(trouble(f"down {number}"))
            store.note("requests:default", str(number))
            if number % 2:
                store.clear_alert(Subject.read("account:default"))
        assert len(store._writes) < 12
    assert store.catch_up(LIMIT)
    assert store.alerts() == []
    assert {state.looked_at for state in store.databases()} == {START + timedelta(seconds=299)}
    assert store.notes()["requests:default"] == "299"


def test_a_mistake_stands_in_nobodys_way(
    store: BackgroundStore, path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """What cannot be written by a mistake of ours is logged, and the next write is done."""

    def mistaken(_: object) -> None:
        raise RuntimeError("CANARY")

    store.submit(mistaken)
    store.note("no text", "\udcff")
    store.record([Entry(dataclasses.replace(SHOP, name=None), login(1))], START, {})  # type: ignore[arg-type]  # refused by the table
    store.note("x", "1")
    assert store.catch_up()
    assert store.notes() == {"x": "1"}
    assert not path.with_name("state.db.damaged").exists()
    assert "RuntimeError" in caplog.text
    assert "NOT NULL" in caplog.text
    assert "CANARY" not in caplog.text


def test_who_asks_waits_no_longer_than_a_limit(store: BackgroundStore, path: Path) -> None:
    """A question about a file that is held ends with an error that names the file."""
    with locked(path), pytest.raises(StoreError) as caught:
        store.ask(lambda _: time.sleep(LIMIT), 0.05)
    assert str(path) in caught.value.title
    assert caught.value.advice


def test_a_newer_program_may_use_the_file_meanwhile(store: BackgroundStore, path: Path) -> None:
    """A column that an update adds while the daemon runs on changes nothing for the daemon."""
    store.put_alert(trouble("first"))
    assert store.catch_up(LIMIT)
    with contextlib.closing(sqlite3.connect(path)) as newer, newer:
        newer.execute("ALTER TABLE trouble ADD COLUMN weight INTEGER NOT NULL DEFAULT 1")
        newer.execute("UPDATE trouble SET title = 'second'")
    assert store.databases() == []
    assert [alert.title for alert in store.alerts()] == ["second"]
    store.put_alert(trouble("third"))
    assert store.catch_up(LIMIT)
    with contextlib.closing(sqlite3.connect(path)) as newer:
        assert newer.execute("SELECT title FROM trouble").fetchall() == [("third",)]


def test_the_end_does_not_wait_for_a_lock(
    path: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A daemon that stops while somebody holds the file gives up, and says how much is lost."""
    store = BackgroundStore.open(path, Files(tmp_path / "locks"))
    with locked(path):
        store.record((), None, {}, [(rotation(1), "Shop")], ("psql",))
        store.close()
        until(lambda: "1 records could not be written" in caplog.text)


@pytest.mark.parametrize("patience", [0.05, 60.0])
def test_a_file_that_is_held_at_the_start(
    path: Path, tmp_path: Path, patience: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever begins while somebody holds the file knows nothing yet, and everything later.

    Whether SQLite gives up first, or whoever waits for it.
    """
    with Store.open(path, Files(tmp_path / "locks")) as other:
        other.note("kept", "1")
        other.record([Entry(SHOP, login(1))], START, {})
    monkeypatch.setattr(state_file, "_BUSY_TIMEOUT", patience)
    monkeypatch.setattr(background, "_OPEN_LIMIT", 0.5)
    with contextlib.ExitStack() as stack:
        with locked(path):
            store = stack.enter_context(BackgroundStore.open(path, Files(tmp_path / "locks")))
            assert (store.notes(), store.changed(SHOP.key, login(1))) == ({}, None)
            store.note("new", "2")
        assert store.catch_up(LIMIT)
        assert store.notes() == {"kept": "1", "new": "2"}
        assert store.changed(SHOP.key, login(1)) == ()
