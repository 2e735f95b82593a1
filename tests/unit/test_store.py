"""What is remembered between runs, and what never is."""

from __future__ import annotations

import dataclasses
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from pgherald.errors import StoreError
from pgherald.files import Files
from pgherald.model import LOGIN_FIELDS, Database, DatabaseKey, Entry, Login, Rotation, Subject
from pgherald.secret import Secret
from pgherald.store import Alert, Store, schema

CANARIES = {
    "host": "CANARY-host.example.com",
    "dbname": "CANARY-dbname",
    "user": "CANARY-user",
    "password": "CANARY-password",
}
KEY = DatabaseKey("default", "shop", "DATABASE")
SHOP = Database(KEY, "Shop", "Heroku", "shop")
LOGIN = Login(
    CANARIES["host"], 5432, CANARIES["dbname"], CANARIES["user"], Secret(CANARIES["password"])
)
ENTRY = Entry(SHOP, LOGIN)
NOW = datetime(2026, 11, 24, 3, 0, tzinfo=UTC)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state.db"


@pytest.fixture
def store(path: Path, tmp_path: Path) -> Iterator[Store]:
    with Store.open(path, Files(tmp_path / "locks")) as opened:
        yield opened


def test_the_state_file_holds_no_login(store: Store, path: Path) -> None:
    """Nobody who reads the state file learns a host, a database, a user or a password."""
    store.record([ENTRY], NOW, {KEY: NOW})
    store.close()
    content = path.read_bytes()
    assert b"shop/DATABASE" in content
    assert [name for name, value in CANARIES.items() if value.encode() in content] == []


def test_each_changed_field_is_noticed(store: Store) -> None:
    """A fingerprint shows which fields of a login changed since it was recorded, if it was."""
    assert store.changed(KEY, LOGIN) is None
    store.looked([SHOP], NOW)
    assert store.changed(KEY, LOGIN) is None
    (state,) = store.databases()
    assert (state.looked_at, state.current_at, state.written) == (NOW, None, False)
    store.record([ENTRY], NOW, {})
    assert store.changed(KEY, LOGIN) == ()
    for field in LOGIN_FIELDS:
        new = Secret("new") if field == "password" else getattr(LOGIN, field) * 2
        changed = dataclasses.replace(LOGIN, **{field: new})  # type: ignore[arg-type]  # one, whichever
        assert store.changed(KEY, changed) == (field,)


def test_fingerprints_of_two_machines_differ(tmp_path: Path) -> None:
    """A fingerprint is keyed per state file, so equal logins are not recognised elsewhere."""
    prints = []
    for name in ("one", "two"):
        with Store.open(tmp_path / name, Files(tmp_path / "locks")) as opened:
            prints.append(opened.mark(KEY, LOGIN))
    assert prints[0] != prints[1]


def test_a_proof_counts_for_its_own_login_alone(store: Store) -> None:
    """A login that was not proven never inherits the proof of the one before it."""
    store.record([ENTRY], NOW, {KEY: NOW})
    store.record([ENTRY], NOW + timedelta(minutes=1), {})
    assert store.databases()[0].proven
    other = Entry(SHOP, dataclasses.replace(LOGIN, user="other"))
    store.record([other], NOW + timedelta(minutes=2), {})
    state = store.databases()[0]
    assert not state.proven
    assert state.proven_at == NOW
    assert state.current_at == NOW + timedelta(minutes=2)


def rotation(number: int, key: DatabaseKey = KEY) -> Rotation:
    at = NOW + timedelta(minutes=number)
    return Rotation(key, ("user", "password"), at, at, at, number)


def test_history_gives_back_what_it_got(store: Store) -> None:
    """History keeps every part of a rotation, newest first, of one database or of all."""
    blog = DatabaseKey("default", "blog", "DATABASE")
    store.record((), None, {}, [(rotation(1), "Shop")], ("psql", "service file"))
    store.record((), None, {}, [(rotation(2, blog), "Blog")], ("psql",))
    assert [record.rotation for record in store.history()] == [rotation(2, blog), rotation(1)]
    (shop,) = store.history(key=KEY)
    assert (shop.label, shop.clients) == ("Shop", ("psql", "service file"))
    assert len(store.history(limit=1)) == 1


def test_history_does_not_grow_for_ever(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """The oldest rotations go once there are too many."""
    monkeypatch.setattr("pgherald.store.file.HISTORY_LIMIT", 3)
    for number in range(5):
        store.record((), None, {}, [(rotation(number), "Shop")], ())
    assert [record.rotation.release for record in store.history()] == [4, 3, 2]


TROUBLE = Alert(
    Subject.read("account:default"), "Heroku", "Unavailable", "503", "Wait.", NOW, told=False
)


def test_a_trouble_is_kept_whole(store: Store) -> None:
    """It comes back as it was put in, a later one takes its place, and its end is given once."""
    store.put_alert(TROUBLE)
    assert store.alerts() == [TROUBLE]
    told = dataclasses.replace(TROUBLE, title="no DNS", told=True)
    store.put_alert(told)
    assert store.alerts() == [told]
    assert store.clear_alert(Subject.read("account:default")) == told
    assert store.clear_alert(Subject.read("account:default")) is None
    assert store.alerts() == []


def test_a_forgotten_database_keeps_its_history(store: Store) -> None:
    """What happened stays known when a database is no longer wanted."""
    store.record([ENTRY], NOW, {})
    store.put_alert(dataclasses.replace(TROUBLE, subject=Subject.read(f"database:{KEY}")))
    store.record((), None, {}, [(rotation(1), "Shop")], ())
    store.forget(KEY)
    assert (store.databases(), store.alerts()) == ([], [])
    assert len(store.history()) == 1


def test_without_a_state_file_there_is_nothing_to_read(path: Path) -> None:
    """Asking for status before the first run creates nothing."""
    assert Store.read_only(path) is None
    assert not path.exists()
    path.touch()
    assert Store.read_only(path) is None


def test_a_newer_state_file_is_left_alone(path: Path, store: Store, tmp_path: Path) -> None:
    """An older pgherald does not touch what a newer one wrote."""
    store.close()
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA user_version = 99")
        connection.execute("UPDATE about SET value = '99' WHERE name = 'schema_version'")
    connection.close()
    before = path.read_bytes()
    with pytest.raises(StoreError, match="newer pgherald"):
        Store.open(path, Files(tmp_path / "locks"))
    assert path.read_bytes() == before


def test_a_failed_transaction_leaves_nothing(store: Store) -> None:
    """A transaction that fails in the middle leaves no half of it behind."""
    other = DatabaseKey("default", "blog", "DATABASE")
    broken = dataclasses.replace(SHOP, key=other, name=None)  # type: ignore[arg-type]  # refused by the table
    with pytest.raises(StoreError, match="NOT NULL"):
        store.record([ENTRY, Entry(broken, LOGIN)], NOW, {})
    assert store.databases() == []


@pytest.mark.parametrize("version", [1, 2])
def test_an_older_state_file_is_brought_up_to_date(tmp_path: Path, version: int) -> None:
    """A state file of an earlier version keeps what it holds, and takes what is new from then on."""
    path, files = tmp_path / "state.db", Files(tmp_path / "locks")
    with Store.open(path, files) as store:
        store.note("kept", "yes")
        store.record([ENTRY], NOW, {})
        store.keep_rows(Path("/b"), "old")
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.executescript(
            "ALTER TABLE database DROP COLUMN phase; ALTER TABLE database DROP COLUMN clients;"
            f"PRAGMA user_version = {version};"
            f"UPDATE about SET value = '{version}' WHERE name = 'schema_version'"
        )
        if version < 2:
            connection.execute("DROP TABLE pgadmin")
    reader = Store.read_only(path)
    assert reader is not None
    with reader:
        reader.verify()
        assert reader.known_rows() == ({Path("/b"): "old"} if version == 2 else {})
        (state,) = reader.databases()
        assert (state.phase, state.clients) == ("", {})
    with Store.open(path, files) as store:
        assert store.notes() == {"kept": "yes"}
        assert store.changed(KEY, LOGIN) == ()
        store.keep_rows(Path("/a"), "new")
        store.keep(KEY, "current", {"/a": "current"})
        (state,) = store.databases()
        assert (state.phase, state.clients) == ("current", {"/a": "current"})
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA user_version").fetchone() == (schema.SCHEMA_VERSION,)


# --- damage while it is open ------------------------------------------------------------------


def zeroed(path: Path, table: str) -> None:
    """One page of the disk is empty."""
    with closing(sqlite3.connect(path)) as connection:
        (page,) = connection.execute(
            "SELECT rootpage FROM sqlite_master WHERE name = ?", (table,)
        ).fetchone()
        (size,) = connection.execute("PRAGMA page_size").fetchone()
        # Whoever has the file open sees by its count of changes that it is another one.
        connection.execute("INSERT OR REPLACE INTO about VALUES ('x', 'y')")
        connection.commit()
    with path.open("r+b") as file:
        file.seek((page - 1) * size)
        file.write(bytes(size))


@pytest.mark.parametrize("table", ["about", "database", "rotation"])
def test_damage_that_comes_later_is_outlived(store: Store, path: Path, table: str) -> None:
    """Whatever is asked of a file that is damaged by now is done with a new one, and said once."""
    store.record((), None, {}, [(rotation(1), "Shop")], ())
    said: list[StoreError] = []
    store.on_afresh = said.append
    zeroed(path, table)
    for _ in range(2):
        store.looked([SHOP], NOW)
        store.record([ENTRY], NOW, {})
        store.put_alert(TROUBLE)
        store.keep_rows(Path("/a"), "{}")
        store.note("a", "b")
        store.told([KEY])
    assert store.changed(KEY, LOGIN) == ()
    assert [state.key for state in store.databases()] == [KEY]
    assert (store.alerts(), store.known_rows()) == ([TROUBLE], {Path("/a"): "{}"})
    assert store.notes() == {"a": "b"}
    assert len(store.history()) == (0 if table == "rotation" else 1)
    assert [error.title for error in said] == [
        "pgherald's state file was damaged and has been started afresh"
    ]
    assert path.with_name("state.db.damaged").exists()


def test_a_file_that_another_process_has_replaced_is_followed(
    store: Store, path: Path, tmp_path: Path
) -> None:
    """What a daemon keeps is kept where everybody looks, not in the file that was set aside."""
    said: list[StoreError] = []
    store.on_afresh = said.append
    path.rename(path.with_name("state.db.damaged"))
    with Store.open(path, Files(tmp_path / "locks")) as other:
        store.record([ENTRY], NOW, {})
        assert other.changed(KEY, LOGIN) == ()
        assert store.changed(KEY, LOGIN) == ()
    path.unlink()
    store.note("a", "b")
    assert path.exists()
    assert said == []


def test_what_can_be_read_of_the_history_is_saved(store: Store, path: Path, tmp_path: Path) -> None:
    """Rotations outlive damage to another table, and are numbered on."""
    for number in range(3):
        store.record((), None, {}, [(rotation(number), "Shop")], ("psql",))
    before = store.history()
    store.close()
    zeroed(path, "trouble")
    with Store.open(path, Files(tmp_path / "locks")) as again:
        assert [each.rotation for each in again.history()] == [each.rotation for each in before]
        assert again.afresh is not None
        assert "Its history was saved." in again.afresh.advice
        again.record((), None, {}, [(rotation(9), "Shop")], ())
        assert len(again.history()) == 4


def test_a_fingerprint_of_the_first_version_counts(store: Store) -> None:
    """It has no seal, and neither looks like a rotation nor loses its proof."""
    store.record([ENTRY], NOW, {KEY: NOW})
    old = store._db.prints.of(KEY, LOGIN, sealed=False)
    assert "seal" not in old
    store._db.execute("UPDATE database SET fingerprint = ?", (old,))
    assert store.changed(KEY, LOGIN) == ()
    store.record([ENTRY], NOW, {})
    assert store.databases()[0].proven


def test_a_damaged_fingerprint_is_no_rotation(store: Store) -> None:
    """Nor is one of another database: who has one letter wrong knows nothing."""
    store.record([ENTRY], NOW, {})
    (print_,) = store._db.execute("SELECT fingerprint FROM database").fetchone()
    other = DatabaseKey("default", "blog", "DATABASE")
    store.record([Entry(dataclasses.replace(SHOP, key=other), LOGIN)], NOW, {})
    for place in range(0, len(print_), 9):
        wrong = print_[:place] + chr(ord(print_[place]) ^ 1) + print_[place + 1 :]
        store._db.execute("UPDATE database SET fingerprint = ?", (wrong,))
        assert store.changed(KEY, LOGIN) in ((), None), wrong
    store._db.execute("UPDATE database SET fingerprint = ?", (print_,))
    assert store.changed(KEY, LOGIN) == ()
    assert store.changed(other, LOGIN) is None


def test_a_rotation_is_untold_until_it_is_told(store: Store) -> None:
    """What was recorded in the last moment is known to be told still; each database for itself."""
    blog = DatabaseKey("default", "blog", "DATABASE")
    store.record(
        [ENTRY], NOW, {KEY: NOW}, [(rotation(1), "Shop"), (rotation(2, blog), "B")], ("psql",)
    )
    assert [each.label for each in store.untold()] == ["Shop", "B"]
    store.told([KEY])
    assert [each.label for each in store.untold()] == ["B"]
    store.told([KEY, blog])
    assert store.untold() == []
    assert len(store.history()) == 2
