"""Targets: what each reads and shows, what is recorded of rows, what becomes of it in the end."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import pytest

from pgherald.clients.pgpass import Pgpass
from pgherald.clients.servers_json import ServersJson
from pgherald.clients.service_file import ServiceFile
from pgherald.daemon.uninstall import plan_undoing
from pgherald.errors import ChangedMeanwhile
from pgherald.files import Files, Snapshot
from pgherald.files.rows import Rows
from pgherald.model import Entry
from pgherald.secret import MASK
from pgherald.store import Store
from pgherald.sync.manifest import Medium
from pgherald.sync.plan import make_plan
from pgherald.sync.targets import Fate, FileTarget, Ownership, Target
from pgherald.sync.targets.file import diff_lines
from pgherald.sync.targets.originals import Original
from pgherald.sync.targets.pgadmin import diff_rows
from support.fake_clock import START
from support.household import database, login
from support.pgadmin_database import Database

SHOP = Entry(database("shop"), login(1))
PATH = Path("/pgadmin4.db")
FOREIGN = b"# mine\nlocalhost:5432:*:me:CANARY-mine\n"


@pytest.fixture
def files(tmp_path: Path) -> Files:
    files = Files(tmp_path / "locks")
    files.private_folder(tmp_path)
    return files


# --- what is shown -------------------------------------------------------------------------


def test_a_diff_shows_a_line_around_each_change() -> None:
    """With its place in both texts, counted from 1; equal texts give nothing."""
    old = b"[a]\n[b]\n[c]\n[d]\n[e]\n[f]\n[g]\n"
    new = b"[a]\n[B]\n[c]\n[d]\n[e]\n[f]\n[g]\n[h]"
    assert list(diff_lines(ServiceFile(), old, new)) == [
        "@@ -1,3 +1,3 @@", " [a]", "-[b]", "+[B]", " [c]", "@@ -7,1 +7,2 @@", " [g]", "+[h]",
    ]  # fmt: skip
    assert list(diff_lines(ServiceFile(), b"", b"[a]\n")) == ["@@ -1,0 +1,1 @@", "+[a]"]
    assert list(diff_lines(Pgpass(), b"# a\n", b"# a\n")) == []


def test_rows_are_shown_column_by_column_without_secrets() -> None:
    """What is gone before what is new; rows that come and go are called so."""

    def image(*, there: bool = True, **columns: object) -> bytes:
        return json.dumps({"server": {"7": {"there": there, "columns": columns}}}).encode()

    old = image(port=1, host=None, password="CANARY-1", name="n", id=7)
    new = image(port=2, host="h", password=None, name=None, id=7)
    assert list(diff_rows(old, new)) == [
        "@@ server 7 @@", "+host: h", "-name: n", f"-password: {MASK}", "-port: 1", "+port: 2",
    ]  # fmt: skip
    here, gone = image(name="n"), image(there=False, name=None)
    assert list(diff_rows(gone, here)) == ["@@ new server 7 @@", "+name: n"]
    assert list(diff_rows(here, gone)) == ["@@ server 7 goes @@", "-name: n"]


# --- what is recorded of rows --------------------------------------------------------------


def place(path: Path = PATH) -> Snapshot:
    """Where a database is."""
    return Snapshot(path, path, None)


def put(files: Files, ownership: Ownership, planned_on: object, new: object) -> None:
    """Record something, as a transaction does."""
    for step in ownership.step(place(), planned_on, new):
        assert (step.private, step.medium) == (True, Medium.RECORD)
        files.replace(step.snapshot, step.new or b"", private=True)


def test_what_is_recorded_is_read_anew(tmp_path: Path, files: Files) -> None:
    """Two processes see each other's records at once, and neither overwrites the other's."""
    one, other = Ownership(files, tmp_path), Ownership(files, tmp_path)
    assert one.get(place()) == {}
    put(files, one, {}, {"a": 1})
    assert other.get(place()) == {"a": 1}
    assert other.step(place(), {"a": 1}, {"a": 1}) == []
    with pytest.raises(ChangedMeanwhile):
        other.step(place(), {}, {"b": 2})
    assert other.get(place(Path("/other"))) == {}
    assert one.path(PATH).stat().st_mode & 0o777 == 0o600


def test_a_lost_record_is_read_from_the_state_file(
    tmp_path: Path, files: Files, caplog: pytest.LogCaptureFixture
) -> None:
    """One that is missing or damaged is replaced by its copy; without any, nothing is recorded."""
    ownership = Ownership(files, tmp_path)
    with Store.open(tmp_path / "state.db", files) as store:
        store.keep_rows(PATH, '{"a": 1}')
    copy = {"a": 1, "copy": True}
    assert ownership.get(place()) == copy
    put(files, ownership, copy, {"b": 2})
    assert ownership.get(place()) == {"b": 2}
    record = ownership.path(PATH)
    for damaged in (b"", b"[]", record.read_bytes().replace(b'"b"', b'"c"')):
        record.write_bytes(damaged)
        assert ownership.get(place()) == copy
    assert {r.getMessage() for r in caplog.records if r.levelno == logging.ERROR} == {
        "the record of /pgadmin4.db is damaged; its copy counts"
    }
    for broken in (b"no database", b""):
        (tmp_path / "state.db").write_bytes(broken)
        assert ownership.get(place()) == {}


def test_what_was_written_is_known_without_its_mark(tmp_path: Path, files: Files) -> None:
    """Recorded also where nothing had to be written; that it cannot be recorded hinders nothing."""
    pgpass = tmp_path / ".pgpass"
    ours = Pgpass().plan(None, [SHOP]).new
    pgpass.write_bytes(ours)
    ownership = Ownership(files, tmp_path)
    target = FileTarget.of(Pgpass(), pgpass, "psql", ownership)
    bare = b"".join(row for row in ours.splitlines(keepends=True) if not row.startswith(b"#"))
    assert not target.editor.read(bare)
    (tmp_path / "ownership").symlink_to("nowhere")
    target.records(target.read(files), ours)
    assert not target.editor.read(bare)
    (tmp_path / "ownership").unlink()
    target.records(target.read(files), ours)
    assert target.editor.read(bare) == target.editor.read(ours) != {}
    record = ownership.path(pgpass)
    assert b"CANARY" not in record.read_bytes()
    record.write_bytes(b"damaged")
    assert not target.editor.read(bare)
    record.unlink()
    record.mkdir()
    assert not target.editor.read(bare)


# --- what becomes of it when pgherald goes -------------------------------------------------


@pytest.mark.parametrize(
    ("first", "typed", "restore", "fate", "left"),
    [
        # It was not there: it goes, unless something of the person's has come into it.
        (None, b"", True, Fate.DELETED, None),
        (None, b"# new\n", True, Fate.EDITED, b"# new\n"),
        (None, b"# new\n", False, Fate.CLEARED, b"# new\n"),
        # It was there: it is again what it was, if nothing has come into it.
        (FOREIGN, b"", True, Fate.RESTORED, FOREIGN),
        (FOREIGN, b"", False, Fate.CLEARED, FOREIGN),
        (FOREIGN, b"# new\n", True, Fate.EDITED, FOREIGN + b"# new\n"),
        # Nobody knows what it was: what is ours goes.
        (..., b"", True, Fate.EDITED, FOREIGN),
        (..., b"", False, Fate.CLEARED, FOREIGN),
    ],
)
def test_what_becomes_of_a_file(
    tmp_path: Path, first: Any, typed: bytes, *, restore: bool, fate: Fate, left: bytes | None
) -> None:
    """By what it held at first, what has come into it, and what is asked for."""
    files = Files(tmp_path / "locks")
    path = tmp_path / ".pgpass"
    before = FOREIGN if first is ... else first
    path.write_bytes(Pgpass().plan(before, [SHOP]).new + typed)
    known = {} if first is ... else {path: Original("psql", path, START, Medium.FILE, first)}
    undoing = plan_undoing(files, [FileTarget(Pgpass(), path, "psql")], known, restore=restore)
    (undo,) = undoing.files
    assert (undo.fate, undo.new, undo.original) == (fate, left, known.get(path))
    (step,) = undoing.steps()
    assert (step.snapshot, step.new, step.private) == (undo.snapshot, left, True)
    shown = list(undo.diff())
    assert "-# pgherald: shop/DATABASE" in shown
    assert not any("CANARY" in line for line in shown)
    assert "CANARY" not in repr(undo)


@pytest.mark.parametrize("known", [True, False])
def test_a_file_without_anything_of_ours_is_left_alone(tmp_path: Path, *, known: bool) -> None:
    """The person has taken it out and gone on; the first content is named all the same."""
    path = tmp_path / ".pgpass"
    path.write_bytes(b"# edited\n")
    original = Original("psql", path, START, Medium.FILE, FOREIGN) if known else None
    originals = {} if original is None else {path: original}
    target = FileTarget(Pgpass(), path, "psql")
    undoing = plan_undoing(Files(tmp_path / "locks"), [target], originals, restore=True)
    (undo,) = undoing.files
    assert (undo.fate, undo.new, undo.original) == (Fate.UNTOUCHED, b"# edited\n", original)
    assert undoing.steps() == []


def test_an_old_login_or_a_broken_file_is_never_brought_back(tmp_path: Path) -> None:
    """Where the first content is an earlier pgherald's, or no file of this kind."""
    files = Files(tmp_path / "locks")
    earlier = Pgpass().plan(FOREIGN, [Entry(database("shop"), login(9))]).new
    pgpass, servers = tmp_path / ".pgpass", tmp_path / "servers.json"
    pgpass.write_bytes(Pgpass().plan(FOREIGN, [SHOP]).new)
    servers.write_bytes(ServersJson().plan(None, [SHOP]).new)
    known = {
        pgpass: Original("psql", pgpass, START, Medium.FILE, earlier),
        servers: Original("servers.json", servers, START, Medium.FILE, b"{ no json"),
    }
    targets = [
        FileTarget(Pgpass(), pgpass, "psql"),
        FileTarget(ServersJson(), servers, "servers.json"),
    ]
    one, other = plan_undoing(files, targets, known, restore=True).files
    assert (one.fate, one.new) == (Fate.EDITED, FOREIGN)
    assert other.fate is Fate.EDITED


def keep_shop(files: Files, target: Target) -> None:
    """The shop's server is in pgAdmin's database, and recorded."""
    (file,) = make_plan(files, [target], [SHOP]).files
    change, *records = file.steps()
    rows = Rows()
    assert change.new is not None
    rows.install(rows.stage(change.snapshot, change.new, private=False), over=change.snapshot)
    for step in records:
        files.replace(step.snapshot, step.new or b"", private=True)


@pytest.mark.parametrize("restore", [True, False])
def test_rows_that_pgherald_made_go_with_their_record(tmp_path: Path, *, restore: bool) -> None:
    """By one step of rows and one of the record; without any row nothing is to be done."""
    files = Files(tmp_path / "locks")
    base = Database.made(tmp_path / "pgadmin4.db")
    target = base.client(tmp_path / "state")
    original = Original("pgAdmin", base.path, START, Medium.ROWS, b"{}")
    (undo,) = plan_undoing(files, [target], {base.path: original}, restore=restore).files
    assert (undo.fate, undo.original) == (Fate.UNTOUCHED, original)
    keep_shop(files, target)
    undoing = plan_undoing(files, [target], {}, restore=restore)
    (undo,) = undoing.files
    assert undo.fate is Fate.RELEASED
    assert [(step.medium, step.private) for step in undoing.steps()] == [
        (Medium.ROWS, False),
        (Medium.RECORD, True),
    ]
    assert "-name: Shop" in list(undo.diff())
    assert undo.outcomes == ('Server "Shop" is deleted: pgherald made it.',)
