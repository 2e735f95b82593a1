"""Rows in another program's database, step by step: what each step makes sure of by itself."""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import json
import sqlite3
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from pgherald.errors import ChangedMeanwhile, FileTrouble, Unparsable
from pgherald.files import Disk, rows
from pgherald.files.pictures import difference, drawn
from pgherald.files.rows import Rows
from support.disks import FailingDisk, QuickDisk
from support.foreign_database import TABLES, ask, locked, make, step

#: A row as an image has it.
Part = dict[str, Any]


@pytest.fixture
def database(tmp_path: Path) -> Path:
    return make(tmp_path / "pgadmin4.db")


class Watching(QuickDisk):
    """Notes limits and statements."""

    def __init__(self) -> None:
        self.limits: list[float] = []
        self.said: list[str] = []
        self.opened: list[sqlite3.Connection] = []

    def sqlite_open(self, path: Path, timeout: float) -> sqlite3.Connection:
        self.limits.append(timeout)
        self.opened.append(super().sqlite_open(path, timeout))
        return self.opened[-1]

    def sqlite_execute(
        self, connection: sqlite3.Connection, sql: str, values: Sequence[object]
    ) -> list[tuple[Any, ...]]:
        self.said.append(sql)
        return super().sqlite_execute(connection, sql, values)

    @property
    def are_closed(self) -> bool:
        """Whether every connection was closed."""
        for connection in self.opened:
            with contextlib.suppress(sqlite3.ProgrammingError):
                connection.total_changes  # noqa: B018 – asking is what fails
                return False
        return bool(self.opened)


def port(database: Path) -> object:
    return ask(database, "SELECT port FROM server WHERE id = 1")[0][0]


def test_a_look_is_short_and_a_change_patient(database: Path) -> None:
    """A look waits three seconds for a lock, a change ten; each connection is closed again."""
    disk = Watching()
    medium = Rows(disk)
    wanted = step(database, medium, ("server", 1, {"port": 7}))
    medium.verify(wanted.snapshot)
    assert disk.limits == [3.0, 3.0, 3.0]
    disk.limits.clear()
    assert wanted.new is not None
    staged = medium.stage(wanted.snapshot, wanted.new, private=False)
    medium.install(staged, over=wanted.snapshot)
    assert disk.limits == [10.0, 10.0]
    assert disk.are_closed
    assert (rows.READ_LIMIT, rows.WRITE_LIMIT) == (3.0, 10.0)


def test_to_stage_is_to_try_and_to_take_back(database: Path) -> None:
    """Staging takes the write lock, looks, and leaves all as it was."""
    disk = Watching()
    medium = Rows(disk)
    wanted = step(database, medium, ("server", 1, {"port": 7}))
    assert wanted.new is not None
    disk.said.clear()
    staged = medium.stage(wanted.snapshot, wanted.new, private=False)
    assert (disk.said[0], disk.said[-1]) == ("BEGIN IMMEDIATE", "ROLLBACK")
    assert (staged.target, staged.temp, staged.content) == (database, None, wanted.new)
    assert port(database) == 5432
    medium.discard(staged)
    disk.said.clear()
    after = medium.install(staged, over=wanted.snapshot)
    assert (disk.said[1], disk.said[-1]) == ("BEGIN IMMEDIATE", "COMMIT")
    assert after == dataclasses.replace(wanted.snapshot, content=wanted.new)
    assert port(database) == 7


def test_each_step_notices_a_change(database: Path) -> None:
    """What another program wrote since is noticed by whichever step comes next, and stays."""
    medium = Rows()
    wanted = step(database, medium, ("server", 1, {"port": 7}))
    assert wanted.new is not None
    staged = medium.stage(wanted.snapshot, wanted.new, private=False)
    ask(database, "UPDATE server SET port = 9 WHERE id = 1")
    for look in (
        lambda: medium.verify(wanted.snapshot),
        lambda: medium.stage(wanted.snapshot, staged.content, private=False),
        lambda: medium.install(staged, over=wanted.snapshot),
    ):
        with pytest.raises(ChangedMeanwhile) as caught:
            look()
        assert caught.value.reason == "was changed by another program"
        assert caught.value.path == database
    assert port(database) == 9


def test_what_is_not_kept_is_taken_back(database: Path) -> None:
    """Where a trigger changes what was written, nothing is changed, and that is said."""
    ask(
        database,
        "CREATE TRIGGER t AFTER UPDATE ON server BEGIN UPDATE server SET port = 0 WHERE id = 1; END",
    )
    medium = Rows()
    wanted = step(database, medium, ("server", 1, {"port": 7}))
    assert wanted.new is not None
    staged = medium.stage(wanted.snapshot, wanted.new, private=False)
    with pytest.raises(FileTrouble) as caught:
        medium.install(staged, over=wanted.snapshot)
    assert (caught.value.reason, caught.value.path) == ("did not keep what was written", database)
    assert port(database) == 5432


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


def test_what_is_found_of_the_file(database: Path, tmp_path: Path) -> None:
    """Mode, owner and group are told where there are any; a folder is no database."""
    found = database.stat()
    snapshot = Rows().read(database, TABLES)
    assert (snapshot.path, snapshot.target) == (database, database)
    assert (snapshot.mode, snapshot.uid, snapshot.gid) == (0o600, found.st_uid, found.st_gid)
    for again in (None, b"{}"):
        gone = Rows().again(tmp_path / "none.db", again)
        assert (gone.path, gone.content) == (tmp_path / "none.db", None)
    assert Rows().again(database, None).content is None
    with pytest.raises(FileTrouble, match="is a folder, not a file"):
        Rows().read(tmp_path, TABLES)


@pytest.mark.parametrize("only", ["stat", "realpath"])
def test_a_disk_that_fails_is_named(database: Path, only: str) -> None:
    """Before SQLite is asked, too."""
    with pytest.raises(FileTrouble) as caught:
        Rows(FailingDisk(1, errno.EIO, only=only)).read(database, TABLES)
    assert caught.value.reason == "cannot be read: the disk reports a fault"
    assert caught.value.path == database


def test_what_cannot_be_written_back(database: Path) -> None:
    """A number or a text that SQLite cannot hold is refused for this file."""
    medium = Rows()
    wanted = step(database, medium, ("server", 1, {"port": 7}))
    for value in (2**70, "\ud800"):
        image: dict[str, dict[str, Part]] = json.loads(wanted.new or b"")
        image["server"]["1"]["columns"]["port"] = value
        staged = dataclasses.replace(
            medium.stage(wanted.snapshot, wanted.new or b"", private=False), content=drawn(image)
        )
        with pytest.raises(FileTrouble) as caught:
            medium.install(staged, over=wanted.snapshot)
        assert caught.value.reason == "holds text that cannot be written back"
        assert caught.value.path == database


def test_the_database_is_never_deleted(database: Path) -> None:
    """No undo goes so far, and that is said."""
    medium = Rows()
    with pytest.raises(FileTrouble) as caught:
        medium.remove(medium.read(database, TABLES))
    assert caught.value.reason == "is another program's, so it is not deleted"
    assert caught.value.path == database


# --- what SQLite says ----------------------------------------------------------------------


class Saying(Disk):
    """SQLite says this, whatever is asked."""

    def __init__(self, code: int | None) -> None:
        self._code = code

    def sqlite_open(self, path: Path, timeout: float) -> sqlite3.Connection:
        trouble = sqlite3.OperationalError("CANARY")
        if self._code is not None:
            trouble.sqlite_errorcode = self._code
        raise trouble


_BACKUP = "Name pgAdmin's pgadmin4.db, or restore it from a backup."
_LS = "Let the user who runs pgherald {} the file and its folder (`ls -ld`)."


@pytest.mark.parametrize(
    ("code", "reason", "advice"),
    [
        (
            sqlite3.SQLITE_BUSY, "is locked by another program",
            (
                "pgAdmin, or a program that looks into its database, holds it; pgherald tries "
                "again by itself."
            ),
        ),
        (
            sqlite3.SQLITE_LOCKED, "is locked by another program",
            "pgherald tries again by itself.",
        ),
        (
            sqlite3.SQLITE_FULL, "cannot be written: the disk is full",
            "Make room; pgherald tries again by itself.",
        ),
        (
            sqlite3.SQLITE_IOERR, "cannot be read or written: the disk reports a fault",
            "The system's log says more.",
        ),
        (
            sqlite3.SQLITE_IOERR_WRITE, "cannot be read or written: the disk reports a fault",
            "The system's log says more.",
        ),
        (
            sqlite3.SQLITE_READONLY, "cannot be written: permission denied", _LS.format("write"),
        ),
        (sqlite3.SQLITE_PERM, "cannot be opened: permission denied", "See `ls -ld`."),
        (
            sqlite3.SQLITE_CANTOPEN, "cannot be opened: permission denied, or its folder is gone",
            _LS.format("read and write"),
        ),
        (sqlite3.SQLITE_NOTADB, "is no SQLite database", _BACKUP),
        (sqlite3.SQLITE_CORRUPT, "is a damaged SQLite database", _BACKUP),
        (sqlite3.SQLITE_TOOBIG, "cannot be used: OperationalError", ""),
        (None, "cannot be used: OperationalError", ""),
    ],
)  # fmt: skip
def test_what_sqlite_says_is_put_into_words(
    database: Path, code: int | None, reason: str, advice: str
) -> None:
    """Each trouble of SQLite's has its own words, names the file, and quotes nothing."""
    with pytest.raises((FileTrouble, Unparsable)) as caught:
        Rows(Saying(code)).read(database, TABLES)
    assert (caught.value.reason, caught.value.path) == (reason, database)
    assert caught.value.advice == advice


# --- pictures and images -------------------------------------------------------------------


def pictured(**tables: dict[str, dict[str, object]]) -> bytes:
    return drawn({"tables": {name: {"columns": [], "rows": rows} for name, rows in tables.items()}})


def test_the_one_form() -> None:
    """Equal contents are equal bytes: sorted, one space for each level, ASCII, one line end."""
    assert drawn({"b": 1, "a": {"ä": None}}) == b'{\n "a": {\n  "\\u00e4": null\n },\n "b": 1\n}\n'


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


def test_a_picture_of_what_there_is(database: Path) -> None:
    """Columns in the table's order, rows by number, bytes as hex digits; no table is no columns."""
    content = json.loads(Rows().read(database, {**TABLES, "server": None}).content or b"")
    server = content["tables"]["server"]
    assert server["columns"] == ["id", "name", "password", "port", 'a "b']
    assert list(server["rows"]) == ["1", "2"]
    assert server["rows"]["1"]['a "b'] == {"hex": "00ff"}
    assert content["tables"]["nothing"] == {"columns": [], "rows": {}}
    assert content["tables"]["servergroup"]["columns"] == ["id", "name"]


def test_a_row_without_columns_is_there_or_not(database: Path) -> None:
    """An image may ask for a row alone."""
    image = drawn(
        {"server": {"1": {"there": True, "columns": {}}, "5": {"there": True, "columns": {}}}}
    )
    found = json.loads(Rows().again(database, image).content or b"")
    assert {number: part["there"] for number, part in found["server"].items()} == {
        "1": True,
        "5": False,
    }


def test_rows_come_and_go_with_every_value(database: Path) -> None:
    """A row is put in, changed and deleted, blobs and odd names of columns included."""
    medium = Rows()
    changes: list[tuple[str, int, Part | None]] = [
        ("server", 7, {"id": 7, "name": "new", 'a "b': {"hex": "ff00"}}),
        ("server", 7, {'a "b': {"hex": ""}, "port": 1}),
        ("server", 7, None),
    ]
    seen = []
    for change in changes:
        wanted = step(database, medium, change)
        staged = medium.stage(wanted.snapshot, wanted.new or b"", private=False)
        medium.install(staged, over=wanted.snapshot)
        seen.append(ask(database, 'SELECT name, port, "a ""b" FROM server WHERE id = 7'))
    assert seen == [[(b"new", None, b"\xff\x00")], [(b"new", 1, b"")], []]


def test_a_table_without_a_number_of_its_own(database: Path) -> None:
    """Its rows are told by those that SQLite gives them."""
    ask(database, "CREATE TABLE keys (name TEXT, value TEXT)")
    ask(database, "INSERT INTO keys VALUES ('a', 'b')")
    content = json.loads(Rows().read(database, {"keys": None}).content or b"")
    assert content["tables"]["keys"]["rows"] == {"1": {"name": "a", "value": "b"}}


def test_where_files_have_no_modes(database: Path) -> None:
    """Nothing is told of them, and the rows are read all the same."""

    class Windows(QuickDisk):
        posix = False

    found = Rows(Windows()).read(database, TABLES)
    assert (found.mode, found.uid, found.gid) == (None, None, None)
    assert found.content == Rows().read(database, TABLES).content


def test_only_a_whole_row_is_deleted(database: Path) -> None:
    """What an image does not name has to be as the table's default makes it, or the row stays."""
    ask(
        database,
        "CREATE TABLE thing (id INTEGER PRIMARY KEY, name, colour, size INTEGER DEFAULT '3',"
        " kind DEFAULT 'plain', odd BOOLEAN DEFAULT 'false')",
    )
    for change, goes in (
        ("", True),
        ("UPDATE thing SET size = 3, kind = 'plain'", True),
        ("UPDATE thing SET colour = 'red'", False),
        ("UPDATE thing SET size = 0", False),
        ("UPDATE thing SET kind = ''", False),
        ("UPDATE thing SET odd = 1", False),
    ):
        ask(database, "DELETE FROM thing")
        ask(database, "INSERT INTO thing (id, name) VALUES (5, 'n')")
        if change:
            ask(database, change)
        image: Part = {"thing": {"5": {"there": False, "columns": {"id": None, "name": None}}}}
        before = Rows(QuickDisk()).again(database, json.dumps(image).encode())
        there = {"thing": {"5": {"there": True, "columns": {"id": 5, "name": "n"}}}}
        assert (json.loads(before.content or b"") == there) is goes
        as_made = dataclasses.replace(before, content=json.dumps(there).encode())
        if goes:
            known = dataclasses.replace(before, content=before.content)
            staged = Rows().stage(known, drawn(image), private=False)
            Rows().install(staged, over=known)
        else:
            with pytest.raises(ChangedMeanwhile):
                Rows().stage(as_made, drawn(image), private=False)
        assert (ask(database, "SELECT count(*) FROM thing") == [(0,)]) is goes


def test_a_row_that_begins_anew_names_its_id() -> None:
    """The id is in the image though it does not change; others have what differs."""
    old = {"tables": {"t": {"rows": {str(n): {"id": n, "a": 1, "b": 2} for n in (1, 2)}}}}
    new = {"tables": {"t": {"rows": {str(n): {"id": n, "a": 3, "b": 2} for n in (1, 2)}}}}
    before, after = difference(drawn(old), drawn(new | {"begins": {"t": ["2", "3"]}}))
    assert json.loads(before)["t"] == {
        "1": {"there": True, "columns": {"a": 1}},
        "2": {"there": True, "columns": {"a": 1, "id": 2}},
    }
    assert json.loads(after)["t"]["2"] == {"there": True, "columns": {"a": 3, "id": 2}}
