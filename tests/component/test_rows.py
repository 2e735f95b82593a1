"""Rows in another program's database: a real SQLite, and that program at work in it."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import sqlite3
import threading
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from pgherald.clock import SystemClock
from pgherald.errors import ChangedMeanwhile, ClientError, FileTrouble, Unparsable
from pgherald.files import Disk, Files, rows
from pgherald.files.rows import Rows, difference, drawn, picture
from pgherald.sync.transaction import Step, Transactions
from support.disks import FailingDisk, KillingDisk, QuickDisk, SteppedDisk, in_child, moments
from support.foreign_database import TABLES, ask, change, locked, make, step, whole

OLD_FILE = b"old CANARY-old\n"
NEW_FILE = b"new CANARY-new\n"


@pytest.fixture
def database(tmp_path: Path) -> Path:
    return make(tmp_path / "pgadmin4.db")


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody waits long for a lock."""
    monkeypatch.setattr(rows, "WRITE_LIMIT", 0.05)
    monkeypatch.setattr(rows, "READ_LIMIT", 0.05)


class Home:
    """A person's home: a service file, pgAdmin's database, and pgherald's state."""

    def __init__(self, root: Path) -> None:
        root.mkdir(parents=True, exist_ok=True)
        self.root = root
        self.service = root / "pg_service.conf"
        self.service.write_bytes(OLD_FILE)
        self.service.chmod(0o600)
        self.database = make(root / "pgadmin4.db")
        self.before = whole(self.database)

    def files(self, disk: Disk) -> Files:
        return Files(self.root / "locks", disk)

    def committer(self, disk: Disk) -> Transactions:
        return Transactions(self.files(disk), self.root / "commits", SystemClock())

    def steps(self, disk: Disk) -> list[Step]:
        files = self.files(disk)
        file = Step("service file", files.read(self.service), NEW_FILE, private=True)
        return [file, change(self.database, files)]

    def commit(self, disk: Disk, *, proven: bool = True) -> None:
        self.committer(disk).commit(self.steps(disk), proven=proven, note="test")

    @property
    def is_new(self) -> bool:
        """Whether all is new; nothing lies about, and it is old or new, and all of it."""
        assert not [p for p in self.root.rglob("*") if ".pgherald-" in p.name]
        now, file = whole(self.database), self.service.read_bytes()
        new = [
            (1, b"one", None, 6543, b"\x00\xff"),
            (2, b"\xffA", None, None, None),
            (7, b"new", None, None, None),
            (1, b"Servers", b"x"),
            (2, b"Heroku", None),
        ]
        assert (file, now) in ((OLD_FILE, self.before), (NEW_FILE, new))
        return file == NEW_FILE


class ForgetfulDisk(QuickDisk):
    """SQLite as most are built: what is deleted stays in the file until it is written over."""

    def sqlite_open(self, path: Path, timeout: float) -> sqlite3.Connection:
        connection = super().sqlite_open(path, timeout)
        connection.execute("PRAGMA secure_delete = OFF")
        return connection


@pytest.mark.parametrize(
    ("mode", "size", "gone"),
    [
        ("DELETE", 40, False),
        ("PERSIST", 20_000, True),
        ("TRUNCATE", 40, True),
        ("WAL", 20_000, False),
    ],
)
def test_what_a_change_clears_is_nowhere_in_the_file(
    tmp_path: Path, mode: str, size: int, *, gone: bool
) -> None:
    """A saved password that goes stays in no free page, nor in a journal, however long it is."""
    path, secret = make(tmp_path / "pgadmin4.db"), "CANARY-saved-" + "x" * size
    with contextlib.closing(sqlite3.connect(path)) as connection, connection:
        connection.execute(f"PRAGMA journal_mode = {mode}")
        connection.execute("PRAGMA secure_delete = OFF")
        connection.execute("UPDATE server SET password = ? WHERE id = 1", (secret,))
    for name in path.parent.glob(f"{path.name}-*"):
        name.unlink()  # the other program's own
    there = b"CANARY-saved-" + b"x" * 20
    assert there in path.read_bytes()
    disk = ForgetfulDisk()
    columns = None if gone else {"password": None}
    Transactions(Files(tmp_path / "locks", disk), tmp_path / "commits", SystemClock()).commit(
        [step(path, Rows(disk), ("server", 1, columns))], proven=True, note="test"
    )
    assert [file.name for file in tmp_path.glob("pgadmin4.db*") if there in file.read_bytes()] == []
    assert len(whole(path)) == (2 if gone else 3)


# --- reading -------------------------------------------------------------------------------


def test_a_picture_tells_all_that_is_there(database: Path) -> None:
    """Every value comes back as it is stored, whatever it is; missing tables are empty."""
    found = picture(Rows().read(database, TABLES).content or b"")["tables"]
    assert found["server"]["columns"] == ["id", "name", "password", "port", 'a "b']
    assert found["server"]["rows"]["1"] == {
        "id": 1, "name": "one", "password": "CANARY-1", "port": 5432, 'a "b': {"hex": "00ff"},
    }  # fmt: skip
    assert found["server"]["rows"]["2"]["name"] == "\udcffA"
    assert found["servergroup"] == {
        "columns": ["id", "name"],
        "rows": {"1": {"id": 1, "name": "Servers"}},
    }
    assert found["nothing"] == {"columns": [], "rows": {}}


def test_to_read_is_not_to_write(database: Path) -> None:
    """A look changes neither the file nor its time stamps, and leaves nothing beside it."""
    before = (database.read_bytes(), database.stat().st_mtime_ns)
    Rows().read(database, TABLES)
    assert (database.read_bytes(), database.stat().st_mtime_ns) == before
    assert list(database.parent.iterdir()) == [database]


def test_no_file_is_no_content(tmp_path: Path) -> None:
    """A database that is not there is made by nobody; its folder need not be there either."""
    for path in (tmp_path / "pgadmin4.db", tmp_path / "deep" / "down" / "pgadmin4.db"):
        assert Rows().read(path, TABLES).content is None
    assert list(tmp_path.iterdir()) == []


def pipe_instead(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda p: p.write_bytes(b"hello, this is no database at all"), "is no SQLite database"),
        (lambda p: p.write_bytes(p.read_bytes()[:4096] + b"\0" * 9000), "damaged|no SQLite"),
        (lambda p: (p.unlink(), p.mkdir()), "is a folder"),
        (pipe_instead, "is a named pipe"),
    ],
    ids=["text", "damaged", "a folder", "a pipe"],
)
def test_what_is_no_database_is_named(
    database: Path, spoil: Callable[[Path], object], said: str
) -> None:
    """Whatever stands in the database's place is named, and nothing hangs on it."""
    spoil(database)
    with pytest.raises(ClientError, match=said) as caught:
        Rows().read(database, TABLES)
    assert caught.value.path == database
    assert isinstance(caught.value, FileTrouble | Unparsable)


def test_a_link_is_followed(database: Path, tmp_path: Path) -> None:
    """A database behind a link is the one that is changed, and the link stays."""
    link = tmp_path / "link-to-pgadmin4.db"
    link.symlink_to(database)
    Transactions(Files(tmp_path / "locks"), tmp_path / "commits", SystemClock()).commit(
        [step(link, Rows(), ("server", 1, {"port": 1}))], proven=True, note="test"
    )
    assert link.is_symlink()
    assert ask(database, "SELECT port FROM server WHERE id = 1") == [(1,)]


# --- changing ------------------------------------------------------------------------------


def commit(home: Home, *steps: Step) -> str:
    record = home.committer(QuickDisk()).commit(steps, proven=True, note="test")
    assert record is not None
    return record.id


def test_a_commit_over_a_file_and_rows_and_its_rollback(tmp_path: Path) -> None:
    """One commit changes both, and a rollback gives both back, deleted rows with every value."""
    home = Home(tmp_path)
    home.commit(QuickDisk())
    assert home.is_new
    gone = step(home.database, Rows(), ("server", 1, None), ("server", 2, None))
    deleted = commit(home, gone)
    assert ask(home.database, "SELECT id FROM server") == [(7,)]
    committer = home.committer(QuickDisk())
    with contextlib.suppress(FileTrouble):  # text that is no text cannot be put back
        committer.rollback(deleted)
    ask(home.database, "DELETE FROM server WHERE id = 2")
    one = step(home.database, Rows(), ("server", 7, None))
    assert committer.rollback(commit(home, one)).left == ()
    assert ask(home.database, "SELECT name FROM server WHERE id = 7") == [(b"new",)]


def test_only_what_differs_is_written(database: Path) -> None:
    """A column that nobody plans to change is not in the statement, so it cannot be lost."""
    statements: list[str] = []

    class Watching(QuickDisk):
        def sqlite_execute(
            self, connection: sqlite3.Connection, sql: str, values: Sequence[object] = ()
        ) -> list[tuple[Any, ...]]:
            statements.append(sql)
            return super().sqlite_execute(connection, sql, values)

    disk = Watching()
    files = Files(database.parent / "locks", disk)
    wanted = step(database, Rows(disk), ("server", 1, {"port": 1, "name": "one"}))
    statements.clear()
    Transactions(files, database.parent / "commits", SystemClock()).commit(
        [wanted], proven=True, note="test"
    )
    assert [s for s in statements if s.startswith("UPDATE")] == [
        'UPDATE "server" SET "port" = ? WHERE rowid = ?'
    ]
    assert all("PRAGMA journal" not in s and "VACUUM" not in s for s in statements)


@pytest.mark.parametrize(
    "sql",
    [
        "UPDATE server SET port = 1 WHERE id = 1",
        "UPDATE server SET password = 'CANARY-typed' WHERE id = 1",
        "DELETE FROM server WHERE id = 1",
        "INSERT INTO server (id, name) VALUES (7, 'theirs')",
        "INSERT INTO servergroup (id, name) VALUES (2, 'theirs')",
    ],
)
def test_a_row_that_changed_meanwhile_is_planned_again(tmp_path: Path, sql: str) -> None:
    """What pgAdmin wrote since the plan is not overwritten, and the file is as it was."""
    home = Home(tmp_path)
    steps = home.steps(QuickDisk())
    ask(home.database, sql)
    theirs = whole(home.database)
    with pytest.raises(ChangedMeanwhile) as caught:
        home.committer(QuickDisk()).commit(steps, proven=True, note="test")
    assert caught.value.path == home.database
    assert (whole(home.database), home.service.read_bytes()) == (theirs, OLD_FILE)


@pytest.mark.parametrize(
    ("sql", "kept"),
    [
        (
            "UPDATE server SET name = 'renamed' WHERE id = 1",
            "SELECT name = 'renamed' FROM server WHERE id = 1",
        ),
        ("UPDATE server SET port = 1 WHERE id = 2", "SELECT port FROM server WHERE id = 2"),
        ("INSERT INTO server (id) VALUES (8)", "SELECT count(*) FROM server WHERE id = 8"),
    ],
)
def test_other_columns_and_rows_may_change_meanwhile(tmp_path: Path, sql: str, kept: str) -> None:
    """What the commit does not touch may change at any moment, and stays as it became."""
    home = Home(tmp_path)
    steps = home.steps(QuickDisk())
    ask(home.database, sql)
    home.committer(QuickDisk()).commit(steps, proven=True, note="test")
    assert ask(home.database, "SELECT port, password FROM server WHERE id = 1") == [(6543, None)]
    assert ask(home.database, kept) == [(1,)]


class Meddling(QuickDisk):
    """The other program writes right before our n-th transaction begins."""

    def __init__(self, database: Path, at: int) -> None:
        self._database = database
        self._at = at

    def sqlite_execute(
        self, connection: sqlite3.Connection, sql: str, values: Sequence[object] = ()
    ) -> list[tuple[Any, ...]]:
        if sql == "BEGIN IMMEDIATE":
            self._at -= 1
            if self._at == 0:
                ask(self._database, "UPDATE server SET port = 9 WHERE id = 1")
        return super().sqlite_execute(connection, sql, values)


@pytest.mark.parametrize("at", [1, 2], ids=["before staging", "before the change itself"])
def test_a_row_is_looked_at_again_within_the_transaction(tmp_path: Path, at: int) -> None:
    """However late the other program writes, its value stays and the file is as it was."""
    home = Home(tmp_path)
    with pytest.raises(ChangedMeanwhile):
        home.commit(Meddling(home.database, at))
    assert ask(home.database, "SELECT port FROM server WHERE id = 1") == [(9,)]
    assert home.service.read_bytes() == OLD_FILE


def test_a_database_that_goes_away_is_left_alone(tmp_path: Path) -> None:
    """PgAdmin was taken off the machine in the middle of a commit: there is nothing to settle."""
    home = Home(tmp_path)
    child = in_child(partial(home.commit, KillingDisk(40)))
    assert child.killed
    home.database.unlink()
    settled = home.committer(QuickDisk()).recover()
    assert [path for each in settled for path in each.left] == [home.database]
    assert not home.database.exists()


def test_where_files_have_no_modes(database: Path) -> None:
    """On Windows a database is read and changed all the same."""

    class Windows(QuickDisk):
        posix = False

    medium = Rows(Windows())
    snapshot = medium.read(database, TABLES)
    assert (snapshot.mode, snapshot.loose) == (None, False)
    medium.refuse_unwritable(snapshot)


# --- somebody else's lock ------------------------------------------------------------------


@pytest.mark.usefixtures("impatient")
def test_a_lock_is_waited_for_and_then_named(tmp_path: Path) -> None:
    """A pgAdmin that holds its lock is named after a while, and no client is touched."""
    home = Home(tmp_path)
    steps = home.steps(QuickDisk())
    with locked(home.database):
        with pytest.raises(FileTrouble, match="is locked by another program") as caught:
            home.committer(QuickDisk()).commit(steps, proven=True, note="test")
        assert home.service.read_bytes() == OLD_FILE
    assert "tries again by itself" in caught.value.advice
    assert not home.is_new
    home.committer(QuickDisk()).commit(steps, proven=True, note="test")
    assert home.is_new


@pytest.mark.usefixtures("impatient")
def test_a_lock_that_comes_at_the_last_moment_takes_all_back(tmp_path: Path) -> None:
    """When pgAdmin takes its lock between our two looks, the file that was renamed goes back."""
    home = Home(tmp_path)
    stack = contextlib.ExitStack()

    class LockedLate(QuickDisk):
        late = False

        def exchange(self, one: Path, other: Path) -> None:
            super().exchange(one, other)
            if other == home.service and not self.late:
                self.late = True
                stack.enter_context(locked(home.database))

    with stack, pytest.raises(FileTrouble, match="is locked"):
        home.commit(LockedLate())
    assert not home.is_new


def test_no_lock_is_held_while_anything_is_waited_for(tmp_path: Path) -> None:
    """While files are staged, synced and renamed, the other program can write."""
    home = Home(tmp_path)

    class Busy(SteppedDisk):
        writes = 0

        def step(self, name: str, args: tuple[object, ...]) -> None:
            if name in ("replace", "fsync", "mkdir", "listdir", "open"):
                ask(home.database, "UPDATE server SET name = name || '.' WHERE id = 2")
                self.writes += 1

    home.commit(busy := Busy())
    assert busy.writes > 10
    assert ask(home.database, "SELECT port FROM server WHERE id = 1") == [(6543,)]


# --- kills and faults ----------------------------------------------------------------------


def homes(folder: Path, share: int, of: int) -> Iterator[tuple[int, Home]]:
    for at in moments(share, of):
        assert at < 500, "the commit never ends"
        yield at, Home(folder / str(at))


@pytest.mark.parametrize("proven", [True, False], ids=["proven", "unproven"])
def test_after_a_kill_at_any_statement_file_and_rows_agree(tmp_path: Path, *, proven: bool) -> None:
    """Killed at any operation or statement, both are old or both are new after the next start."""
    news: list[bool] = []
    for at, home in homes(tmp_path, proven, 2):
        child = in_child(partial(home.commit, KillingDisk(at), proven=proven))
        assert child.report == ""
        assert in_child(partial(home.committer(QuickDisk()).recover)).report == ""
        news.append(home.is_new)
        if not child.killed:
            break
    assert at > 60
    assert news == sorted(news)
    assert (news[0], news[-1]) == (False, True)


def test_any_operation_may_fail_once(tmp_path: Path) -> None:
    """A failure anywhere is reported and all is as before, or it does not matter."""
    reported = 0
    for at, home in homes(tmp_path, 0, 4):
        disk = FailingDisk(at, errno.ENOSPC)
        trouble: ClientError | None = None
        try:
            home.commit(disk)
        except ClientError as exc:
            trouble = exc
        home.committer(QuickDisk()).recover()
        assert home.is_new is (trouble is None), (at, disk.failed)
        reported += trouble is not None
        if disk.failed is None:
            break
    assert reported > 15


class Failing(QuickDisk):
    """SQLite fails once, at the statement with that number; looks do not count."""

    def __init__(self, at: int, code: int) -> None:
        self._at = at
        self._code = code
        self.count = 0

    def sqlite_execute(
        self, connection: sqlite3.Connection, sql: str, values: Sequence[object] = ()
    ) -> list[tuple[Any, ...]]:
        if not sql.startswith(("SELECT", "PRAGMA", "ROLLBACK")):
            self.count += 1
            if self.count == self._at:
                trouble = sqlite3.OperationalError("the test's")
                trouble.sqlite_errorcode = self._code
                raise trouble
        return super().sqlite_execute(connection, sql, values)


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("SQLITE_FULL", "the disk is full"),
        ("SQLITE_IOERR", "reports a fault"),
        ("SQLITE_READONLY", "permission denied"),
        ("SQLITE_CANTOPEN", "cannot be opened"),
        ("SQLITE_MISUSE", "cannot be used"),
    ],
)
def test_what_sqlite_says_is_put_into_words(tmp_path: Path, code: str, said: str) -> None:
    """At whichever statement SQLite fails, the file is named in plain words and all goes back."""
    for at, home in homes(tmp_path, 0, 1):
        disk = Failing(at, getattr(sqlite3, code))
        try:
            home.commit(disk)
        except FileTrouble as exc:
            trouble = exc
        else:
            assert home.is_new
            if disk.count < at:
                break
            continue
        assert said in trouble.title
        assert "the test's" not in str(trouble)
        assert trouble.path == home.database
        assert not home.is_new


def test_an_unknown_trigger_is_noticed(tmp_path: Path) -> None:
    """A database that does not keep what is written into it is left as it was."""
    home = Home(tmp_path)
    ask(
        home.database,
        "CREATE TRIGGER t AFTER UPDATE ON server BEGIN UPDATE server SET port = 0 WHERE id = 1; END",
    )
    with pytest.raises(FileTrouble, match="did not keep what was written"):
        home.commit(QuickDisk())
    assert not home.is_new


def test_a_commit_that_sqlite_takes_back_by_itself(tmp_path: Path) -> None:
    """Where SQLite has ended the transaction in its trouble, its own error is what is told."""
    home = Home(tmp_path)

    class Full(QuickDisk):
        def sqlite_execute(
            self, connection: sqlite3.Connection, sql: str, values: Sequence[object] = ()
        ) -> list[tuple[Any, ...]]:
            if sql != "COMMIT":
                return super().sqlite_execute(connection, sql, values)
            connection.rollback()
            trouble = sqlite3.OperationalError("the test's")
            trouble.sqlite_errorcode = sqlite3.SQLITE_FULL
            raise trouble

    with pytest.raises(FileTrouble, match="the disk is full"):
        home.commit(Full())
    assert not home.is_new


def test_nobody_is_in_the_others_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Dozens of commits beside a program that writes all the time: no error on either side."""
    for limit in ("READ_LIMIT", "WRITE_LIMIT"):  # SQLite queues nobody: on a busy machine it lasts
        monkeypatch.setattr(f"pgherald.files.rows.{limit}", 60.0)
    home = Home(tmp_path)
    rounds = 40
    done = threading.Event()
    alerts: list[BaseException] = []

    def other(number: int) -> None:
        try:
            with contextlib.closing(sqlite3.connect(home.database, timeout=60)) as connection:
                while not done.wait(0.002):
                    with connection:
                        connection.execute(
                            "UPDATE servergroup SET other = other + 1 WHERE id = ?", (number,)
                        )
        except BaseException as exc:  # noqa: BLE001 – told below
            alerts.append(exc)

    threads = [threading.Thread(target=other, args=(1,)) for _ in range(2)]
    for thread in threads:
        thread.start()
    try:
        for number in range(rounds):
            commit(home, step(home.database, Rows(), ("server", 1, {"port": number})))
    finally:
        done.set()
        for thread in threads:
            thread.join()
    assert alerts == []
    assert ask(home.database, "SELECT port FROM server WHERE id = 1") == [(rounds - 1,)]
    whole(home.database)


# --- each step by itself --------------------------------------------------------------------


def test_a_failure_lets_go_of_the_lock(database: Path) -> None:
    """Whatever statement fails, the transaction is over and the connection is closed."""
    number, failed = 0, True
    while failed:
        number += 1
        disk = FailingDisk(number, errno.EIO, only="sqlite_execute")
        medium = Rows(disk)
        try:
            wanted = step(database, medium, ("server", 1, {"port": 7 + number}))
            assert wanted.new is not None
            staged = medium.stage(wanted.snapshot, wanted.new, private=False)
            medium.install(staged, over=wanted.snapshot)
        except FileTrouble as exc:
            assert exc.reason == "cannot be read or written: the disk reports a fault"  # noqa: PT017 – whether it fails is up to the number
        with locked(database):
            pass
        failed = disk.failed is not None
    assert number > 10


def test_the_database_is_never_deleted(database: Path) -> None:
    """No undo goes so far, and that is said."""
    medium = Rows()
    with pytest.raises(FileTrouble) as caught:
        medium.remove(medium.read(database, TABLES))
    assert caught.value.reason == "is another program's, so it is not deleted"
    assert caught.value.path == database


# --- pictures and images -------------------------------------------------------------------


def pictured(**tables: dict[str, dict[str, object]]) -> bytes:
    return drawn({"tables": {name: {"columns": [], "rows": rows} for name, rows in tables.items()}})


def test_a_difference_holds_what_differs_and_no_more() -> None:
    """A row that is in both is there with what differs, another with all that is known of it."""
    old = pictured(a={"2": {"x": 1, "y": 1, "z": 1}, "10": {"y": 1, "x": 2}}, b={"1": {"x": 1}})
    new = pictured(a={"2": {"x": 2, "y": 1, "w": 1}, "3": {"v": 1, "u": 1}}, c={"1": {"x": 1}})
    before, after = map(json.loads, difference(old, new))
    assert before == {
        "a": {
            "2": {"there": True, "columns": {"w": None, "x": 1, "z": 1}},
            "3": {"there": False, "columns": {"u": None, "v": None}},
            "10": {"there": True, "columns": {"x": 2, "y": 1}},
        },
        "b": {"1": {"there": True, "columns": {"x": 1}}},
        "c": {"1": {"there": False, "columns": {"x": None}}},
    }
    assert after == {
        "a": {
            "2": {"there": True, "columns": {"w": 1, "x": 2, "z": None}},
            "3": {"there": True, "columns": {"u": 1, "v": 1}},
            "10": {"there": False, "columns": {"x": None, "y": None}},
        },
        "b": {"1": {"there": False, "columns": {"x": None}}},
        "c": {"1": {"there": True, "columns": {"x": 1}}},
    }
