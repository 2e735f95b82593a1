"""pgAdmin's servers as a client: what is shown of a change, and what is recorded."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import pytest

from pgherald.clients.base import Action, Change
from pgherald.clients.pgpass import Pgpass
from pgherald.clients.service_file import ServiceFile
from pgherald.errors import ChangedMeanwhile
from pgherald.files import Files, Snapshot
from pgherald.files.rows import Rows
from pgherald.model import Entry
from pgherald.secret import MASK
from pgherald.store import BackgroundStore, Store
from pgherald.sync.ownership import parsed
from pgherald.sync.plan import Client, Plan, diff_lines, in_words, make_plan
from pgherald.sync.servers import RowMemory, ServerRows, diff_rows
from support.household import database, login
from support.pgadmin_database import Database

PATH = Path("/pgadmin4.db")


def image(*, there: bool = True, **columns: object) -> bytes:
    return json.dumps({"server": {"7": {"there": there, "columns": columns}}}).encode()


def test_a_changed_row_is_shown_column_by_column() -> None:
    """In the order of their names, what is gone before what is new, and no secret."""
    old = image(port=1, host=None, password="CANARY-1", a="x", name="n", id=7)
    new = image(port=2, host="h", password=None, a=None, name=None, id=7)
    assert list(diff_rows(old, new)) == [
        "@@ server 7 @@", f"-a: {MASK}", "+host: h", "-name: n", f"-password: {MASK}", "-port: 1",
        "+port: 2",
    ]  # fmt: skip


def test_rows_that_come_and_go_are_called_so() -> None:
    """A row that was not there is new, and one that will not be goes."""
    here, gone = image(name="n"), image(there=False, name=None)
    assert list(diff_rows(gone, here)) == ["@@ new server 7 @@", "+name: n"]
    assert list(diff_rows(here, gone)) == ["@@ server 7 goes @@", "-name: n"]


@pytest.fixture
def files(tmp_path: Path) -> Files:
    files = Files(tmp_path / "locks")
    files.private_folder(tmp_path)
    return files


def place(path: Path = PATH) -> Snapshot:
    """Where a database is."""
    return Snapshot(path, path, None)


def put(files: Files, memory: RowMemory, planned_on: object, new: object) -> None:
    """Record something, as a commit does."""
    for step in memory.step(place(), planned_on, new):
        assert (step.private, step.medium) == (True, "record")
        files.replace(step.snapshot, step.new or b"", private=True)


def test_what_is_recorded_is_read_anew(tmp_path: Path, files: Files) -> None:
    """Two processes see each other's records at once, and neither overwrites the other's."""
    one, other = RowMemory(files, tmp_path), RowMemory(files, tmp_path)
    assert one.get(place()) == {}
    put(files, one, {}, {"a": 1})
    assert other.get(place()) == {"a": 1}
    assert other.step(place(), {"a": 1}, {"a": 1}) == []
    with pytest.raises(ChangedMeanwhile):
        other.step(place(), {}, {"b": 2})
    assert other.get(place(Path("/other"))) == {}
    assert one.place(PATH).stat().st_mode & 0o777 == 0o600


def test_a_lost_record_is_read_from_the_state_file(
    tmp_path: Path, files: Files, caplog: pytest.LogCaptureFixture
) -> None:
    """One that is missing or damaged is replaced by its copy; without any, nothing is recorded."""
    memory = RowMemory(files, tmp_path)
    with Store.open(tmp_path / "state.db", files) as store:
        store.keep_rows(PATH, '{"a": 1}')
    copy = {"a": 1, "copy": True}
    assert memory.get(place()) == copy
    put(files, memory, copy, {"b": 2})
    assert memory.get(place()) == {"b": 2}
    record = memory.place(PATH)
    for damaged in (b"", b"{", b"[]", record.read_bytes().replace(b'"b"', b'"c"')):
        record.write_bytes(damaged)
        caplog.clear()
        assert memory.get(place()) == copy
        assert [r.getMessage() for r in caplog.records if r.levelno == logging.ERROR] == [
            "the record of /pgadmin4.db is damaged; its copy counts"
        ]
    for broken in (b"no database", b""):
        (tmp_path / "state.db").write_bytes(broken)
        assert memory.get(place()) == {}


def test_a_copy_of_the_record_is_kept_in_the_state_file(tmp_path: Path, files: Files) -> None:
    """What a plan records of a database that is there, once for each change."""
    rows = ServerRows(Rows(), RowMemory(files, tmp_path))
    before = Snapshot(PATH, PATH, b"{}")
    with BackgroundStore.open(tmp_path / "state.db", files) as store:
        rows.copy(before, b'{"known": {"a": 1}}', store)
        assert store.known_rows() == {PATH: '{"a": 1}'}
        rows.copy(place(), b'{"known": {"a": 2}}', store)
        rows.copy(before, b"", store)
        assert store.known_rows() == {PATH: '{"a": 1}'}


def test_the_picture_that_is_planned_on(tmp_path: Path, files: Files) -> None:
    """The tables, what is recorded of this database, and which pgAdmin is installed."""
    path = tmp_path / "pgadmin4.db"
    base = Database.made(path)
    base.ask("INSERT INTO preferences VALUES (3, 1, 'show_system_objects')")
    base.ask("INSERT INTO server (id, user_id, servergroup_id, name) VALUES (7, 1, 1, 'Mine')")
    memory = RowMemory(files, tmp_path)
    with Store.open(tmp_path / "state.db", files) as store:
        store.keep_rows(path, '{"x": 1}')
    found = ServerRows(Rows(), memory, 91800).read(path)
    whole = json.loads(found.content or b"")
    assert (whole["known"], whole["program"]) == ({"x": 1, "copy": True}, 91800)
    drawn = {name: list(table["rows"].values()) for name, table in whole["tables"].items()}
    assert drawn["keys"] == [{"name": "CSRF_SESSION_KEY", "value": "CANARY-session-key"}]
    assert drawn["version"] == [{"name": "ConfigDB", "value": 52}]
    assert drawn["servergroup"] == [{"id": 1, "user_id": 1, "name": "Servers"}]
    assert drawn["preferences"] == [{"name": "show_system_objects"}]
    assert drawn["sqlite_sequence"] == [{"name": "server", "seq": 7}]
    me = "pgadmin4@pgadmin.org"
    assert drawn["user"] == [
        {"id": 1, "email": me, "username": me, "active": 1, "auth_source": "internal"}
    ]
    assert drawn["server"] == list(base.servers().values())
    status = path.stat()
    assert (found.path, found.target, found.mode) == (path, path, status.st_mode & 0o777)
    assert (found.uid, found.gid) == (status.st_uid, status.st_gid)
    none = tmp_path / "none.db"
    assert ServerRows(Rows(), memory).read(none) == Snapshot(none, none, None)
    rows = ServerRows(Rows(), memory)
    assert rows.record(found, b"") == []
    assert rows.record(Snapshot(none, none, None), b'{"known": {"y": 2}}') == []
    (step,) = rows.record(found, b'{"known": {"y": 2}}')
    assert parsed(step.new) == {"y": 2}
    assert step.snapshot.path == rows.record_of(found)
    assert "first" not in whole
    assert json.loads(rows.read(path, removing=True).content or b"")["first"] == {}


# --- a plan --------------------------------------------------------------------------------


def test_a_diff_shows_a_line_around_each_change() -> None:
    """With its place in both texts, counted from 1; far places are told apart."""
    old = b"[a]\n[b]\n[c]\n[d]\n[e]\n[f]\n[g]\n"
    new = b"[a]\n[B]\n[c]\n[d]\n[e]\n[f]\n[g]\n[h]"
    assert list(diff_lines(ServiceFile(), old, new)) == [
        "@@ -1,3 +1,3 @@", " [a]", "-[b]", "+[B]", " [c]", "@@ -7,1 +7,2 @@", " [g]", "+[h]",
    ]  # fmt: skip
    assert list(diff_lines(ServiceFile(), b"", b"[a]\n")) == ["@@ -1,0 +1,1 @@", "+[a]"]


def test_a_change_in_words() -> None:
    """Fields are told where there was something before."""
    key = database("shop").key
    assert in_words(Change(key, Action.ADOPT, ("a", "b"))) == "adopt shop/DATABASE (a, b)"
    assert in_words(Change(key, Action.UPDATE, ("a",))) == "update shop/DATABASE (a)"
    assert in_words(Change(key, Action.REMOVE, ("a",))) == "remove shop/DATABASE"


@pytest.mark.parametrize(
    ("changes", "both"),
    [
        ({"host": "new"}, True),
        ({"port": 6543}, True),
        ({"user": "u9"}, True),
        ({"dbname": "d9"}, False),
    ],
)
def test_when_both_logins_are_readable_on_the_way(
    tmp_path: Path, changes: dict[str, object], *, both: bool
) -> None:
    """Where host, port or user change, and nowhere else."""
    files = Files(tmp_path / "locks")
    client = Client(Pgpass(), tmp_path / "a", "psql")
    (file,) = make_plan(files, [client], [Entry(database("shop"), login(1))]).files
    files.replace(file.snapshot, file.edit.new, private=True)
    (file,) = make_plan(files, [client], [Entry(database("shop"), login(1, **changes))]).files
    assert (file.expand is not None) is both


def test_which_files_tell_of_a_change(tmp_path: Path, files: Files) -> None:
    """A file itself; of a database, its journal too, which comes and goes."""
    rows = ServerRows(Rows(), RowMemory(files, tmp_path))
    assert Client(Pgpass(), PATH, "x").watched == (PATH,)
    assert Client(Pgpass(), PATH, "x", rows).watched == (PATH, Path("/pgadmin4.db-journal"))
    assert Client(Pgpass(), PATH, "x").subject == "client:/pgadmin4.db"


def test_an_empty_plan() -> None:
    """Where there is no client nothing is to be done."""
    plan = Plan()
    assert (plan.idle, plan.keys, plan.held) == (True, frozenset(), {})


def test_what_is_absent_and_what_is_held(tmp_path: Path) -> None:
    """A file that is not there and need not be is absent; what one holds is told."""
    files = Files(tmp_path / "locks")
    client = Client(Pgpass(), tmp_path / "a", "psql")
    (file,) = make_plan(files, [client], []).files
    assert (file.absent, file.idle) == (True, True)
    entry = Entry(database("shop"), login(1))
    (file,) = make_plan(files, [client], [entry]).files
    assert (file.absent, file.idle, file.expand) == (False, False, None)
    files.replace(file.snapshot, file.edit.new, private=True)
    plan = make_plan(files, [client, client], [entry])
    assert plan.held[entry.key].user == "u1"
    assert not any(file.absent for file in plan.files)
    (file,) = make_plan(files, [client], [], remove=[entry.key]).files
    assert (file.edit.new, file.absent) == (b"", False)


def test_a_line_for_any_user_is_no_login_to_keep(tmp_path: Path) -> None:
    """What somebody made of our line is replaced, and nothing of it is kept readable."""
    files = Files(tmp_path / "locks")
    client = Client(Pgpass(), tmp_path / "a", "psql")
    entry = Entry(database("shop"), login(1))
    (file,) = make_plan(files, [client], [entry]).files
    for old, new in ((b":u1:", b":*:"), (b"db.example.com:", b"*:")):
        changed = file.edit.new.replace(old, new)
        files.replace(files.read(client.path), changed, private=True)
        (again,) = make_plan(files, [client], [entry]).files
        assert (again.expand, again.edit.new) == (None, file.edit.new)
