"""What becomes of each client when pgherald goes: planned, without writing."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest

from pgherald.clients.pgadmin import PgAdmin
from pgherald.clients.pgadmin_undo import without_ours
from pgherald.clients.pgpass import Pgpass
from pgherald.clients.servers_json import ServersJson
from pgherald.files import Files
from pgherald.files.rows import Rows
from pgherald.model import Entry
from pgherald.sync.originals import Original
from pgherald.sync.plan import Client, make_plan
from pgherald.sync.undo import Fate, plan_undoing
from support.fake_clock import START
from support.household import database, login
from support.pgadmin_database import Database
from support.pictures import Books, by_hand, entry, server

SHOP = Entry(database("shop"), login(1))

ADOPT = PgAdmin(adopt=True)


def first(*rows: dict[str, Any], groups: dict[int, str | None] | None = None) -> bytes:
    """What rows and groups said before they were ever changed; None: it was not there."""
    at = "2026-11-24T12:00:00+00:00"
    server = {str(row["id"]): {"there": True, "columns": row, "at": at} for row in rows}
    made = {
        str(number): {"there": name is not None, "columns": {"name": name}}
        for number, name in (groups or {}).items()
    }
    return json.dumps({"server": server, "servergroup": made}).encode()


def undone(books: Books, original: bytes | None) -> Books:
    """The books as they are afterwards."""
    after = Books()
    after.whole = json.loads(without_ours(ADOPT, books.content, original).new)
    return after


# --- files ---------------------------------------------------------------------------------


@pytest.mark.parametrize("restore", [True, False])
def test_an_original_that_cannot_be_understood_is_not_brought_back(
    tmp_path: Path, *, restore: bool
) -> None:
    """A file whose first content is no file of this kind is only cleared of what is ours."""
    files = Files(tmp_path / "locks")
    path = tmp_path / "servers.json"
    path.write_bytes(ServersJson().plan(b'{"Servers": {}}', [SHOP]).new)
    client = Client(ServersJson(), path, "servers.json")
    original = Original("servers.json", path, START, "file", b'{"Servers": ')
    (undo,) = plan_undoing(files, [client], {path: original}, restore=restore).files
    assert undo.fate is (Fate.EDITED if restore else Fate.CLEARED)
    assert undo.new == b'{"Servers": {}}'


def test_a_file_that_already_is_as_it_was_is_left_alone(tmp_path: Path) -> None:
    """Where nothing differs nothing is to be done, whatever is asked for."""
    files = Files(tmp_path / "locks")
    path = tmp_path / ".pgpass"
    path.write_bytes(b"# mine\n")
    original = Original("psql", path, START, "file", b"# mine\n")
    undoing = plan_undoing(files, [Client(Pgpass(), path, "psql")], {path: original}, restore=True)
    assert [undo.fate for undo in undoing.files] == [Fate.UNTOUCHED]
    assert undoing.steps == []


@pytest.mark.parametrize("restore", [True, False])
@pytest.mark.parametrize("known", [True, False])
def test_a_file_without_anything_of_ours_is_left_alone(
    tmp_path: Path, *, restore: bool, known: bool
) -> None:
    """The person has taken it out and gone on; what was there at first is told all the same."""
    files = Files(tmp_path / "locks")
    path = tmp_path / ".pgpass"
    path.write_bytes(b"# edited\n")
    original = Original("psql", path, START, "file", FOREIGN) if known else None
    originals = {} if original is None else {path: original}
    client = Client(Pgpass(), path, "psql")
    (undo,) = plan_undoing(files, [client], originals, restore=restore).files
    assert (undo.fate, undo.new, undo.original) == (Fate.UNTOUCHED, b"# edited\n", original)


FOREIGN = b"# mine\nlocalhost:5432:*:me:CANARY-mine\n"


@pytest.mark.parametrize(
    ("first", "typed", "restore", "fate", "left"),
    [
        # It was not there: it goes, unless something of the person's has come into it.
        (None, b"", True, Fate.DELETED, None),
        (None, b"", False, Fate.DELETED, None),
        (None, b"# new\n", True, Fate.EDITED, b"# new\n"),
        (None, b"# new\n", False, Fate.CLEARED, b"# new\n"),
        # It was there: it is again what it was, if nothing has come into it.
        (FOREIGN, b"", True, Fate.RESTORED, FOREIGN),
        (FOREIGN, b"", False, Fate.CLEARED, FOREIGN),
        (FOREIGN, b"# new\n", True, Fate.EDITED, FOREIGN + b"# new\n"),
        (FOREIGN, b"# new\n", False, Fate.CLEARED, FOREIGN + b"# new\n"),
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
    client = Client(Pgpass(), path, "psql")
    known = {} if first is ... else {path: Original("psql", path, START, "file", first)}
    undoing = plan_undoing(files, [client], known, restore=restore)
    (undo,) = undoing.files
    assert (undo.fate, undo.new) == (fate, left)
    assert undo.original == known.get(path)
    (step,) = undoing.steps
    assert (step.label, step.snapshot, step.new) == ("psql", undo.snapshot, left)
    assert (step.private, step.medium, step.expand) == (True, "file", None)
    shown = list(undo.diff())
    assert "-# pgherald: shop/DATABASE" in shown
    assert not any("CANARY" in line for line in shown)
    assert "CANARY" not in repr(undo)
    assert left is not None or not any(line.startswith("+") for line in shown)
    stays = {f"-{line}" for line in (left or b"").decode().splitlines()}
    assert not stays & set(shown)


def test_a_file_of_an_earlier_pgherald_is_not_brought_back(tmp_path: Path) -> None:
    """What it was before that one nobody knows; an old login is never written again."""
    files = Files(tmp_path / "locks")
    path = tmp_path / ".pgpass"
    path.write_bytes(Pgpass().plan(FOREIGN, [SHOP]).new)
    earlier = Pgpass().plan(FOREIGN, [Entry(database("shop"), login(9))]).new
    known = {path: Original("psql", path, START, "file", earlier)}
    (undo,) = plan_undoing(files, [Client(Pgpass(), path, "psql")], known, restore=True).files
    assert (undo.fate, undo.new) == (Fate.EDITED, FOREIGN)


def test_what_is_not_there_and_what_cannot_be_read(tmp_path: Path) -> None:
    """A missing file is left alone; a broken one is named with its path, and hinders no other."""
    files = Files(tmp_path / "locks")
    missing, broken = tmp_path / "a", tmp_path / "b"
    broken.write_bytes(b"\0")
    clients = [Client(Pgpass(), path, path.name) for path in (broken, missing)]
    known = {missing: Original("psql", missing, START, "file", None)}
    undoing = plan_undoing(files, clients, known, restore=True)
    assert undoing.files[0].original == known[missing]
    assert list(undoing.files[0].diff()) == []
    assert [(undo.client.path, undo.fate, undo.new) for undo in undoing.files] == [
        (missing, Fate.UNTOUCHED, None)
    ]
    ((client, error),) = undoing.failed
    assert (client.path, error.path) == (broken, broken)
    assert undoing.steps == []


def keep_shop(files: Files, client: Client) -> None:
    """The shop's server is in pgAdmin's database, and recorded."""
    assert client.rows is not None
    (file,) = make_plan(files, [client], [SHOP]).files
    before, after = file.images
    records = client.rows.record(file.snapshot, file.edit.new)
    rows = Rows()
    old = dataclasses.replace(file.snapshot, content=before)
    rows.install(rows.stage(old, after, private=False), over=old)
    for step in records:
        files.replace(step.snapshot, step.new or b"", private=True)


@pytest.mark.parametrize("restore", [True, False])
def test_what_becomes_of_rows(tmp_path: Path, *, restore: bool) -> None:
    """Rows that pgherald made go, by one step of rows; without any nothing is to be done."""
    files = Files(tmp_path / "locks")
    base = Database.made(tmp_path / "pgadmin4.db")
    client = base.client(tmp_path / "state")
    original = Original("pgAdmin", base.path, START, "rows", b"{}")
    (undo,) = plan_undoing(files, [client], {base.path: original}, restore=restore).files
    assert (undo.fate, undo.original) == (Fate.UNTOUCHED, original)
    keep_shop(files, client)
    undoing = plan_undoing(files, [client], {}, restore=restore)
    (undo,) = undoing.files
    assert undo.fate is (Fate.RESTORED if restore else Fate.CLEARED)
    assert [(step.medium, step.private) for step in undoing.steps] == [
        ("rows", False),
        ("record", True),
    ]
    assert "-name: Shop" in list(undo.diff())
    assert undo.outcomes == ('Server "Shop" is deleted: pgherald made it.',)


def test_a_server_that_stays_without_its_login_is_named(tmp_path: Path) -> None:
    """One that was made by hand, and of which nobody knows what it held: it is said so."""
    files = Files(tmp_path / "locks")
    base = Database.made(tmp_path / "pgadmin4.db")
    login = SHOP.login
    base.ask(
        "INSERT INTO server (user_id, servergroup_id, name, host, port, maintenance_db, username,"
        " connection_params) VALUES (1, 1, 'By hand', ?, ?, ?, ?, '{}')",
        login.host, login.port, login.dbname, login.user,
    )  # fmt: skip
    client = base.client(tmp_path / "state", adopt=True)
    keep_shop(files, client)
    (undo,) = plan_undoing(files, [client], {}, restore=False).files
    assert undo.fate is Fate.UNTOUCHED
    (outcome,) = undo.outcomes
    assert outcome.startswith('Server "By hand" stays without its login')


def test_the_words_of_a_fate_are_stable() -> None:
    """The command's answer holds them."""
    assert [str(fate) for fate in Fate] == [
        "untouched", "restored", "deleted", "cleared", "edited",
    ]  # fmt: skip


# --- pgAdmin's servers ---------------------------------------------------------------------


def test_a_server_made_by_hand_gets_back_what_it_said() -> None:
    """Every column of an adopted server is again what it was."""
    mine = by_hand(1)
    books = Books(mine)
    books.apply(entry(), editor=ADOPT)
    assert books.servers[1] != mine
    assert undone(books, first(mine)).servers == {1: mine}
    (outcome,) = without_ours(ADOPT, books.content, first(mine)).outcomes
    assert outcome == (
        'Server "server 1" has its own host, user and saved password of 2026-11-24 again; Heroku '
        "may have changed them since."
    )


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("password", "CANARY-typed"),
        ("save_password", 1),
        ("db_res_type", "sql"),
    ],
)
def test_what_the_person_has_filled_in_again_stays(column: str, value: object) -> None:
    """A column that pgherald had emptied, and that holds something since, is the person's."""
    mine = by_hand(1, password="CANARY-first", save_password=2)
    books = Books(mine)
    books.apply(entry(), editor=ADOPT)
    books.edit(1, **{column: value})
    assert undone(books, first(mine)).servers == {1: mine | {column: value}}


def test_a_server_that_was_there_before_pgherald_is_not_deleted() -> None:
    """Whatever is recorded: what the journals show as somebody's is given back to them."""
    books = Books()
    books.apply(entry())
    assert undone(books, first()).servers == {}
    mine = by_hand(1)
    assert undone(books, first(mine)).servers[1]["host"] == mine["host"]


def test_without_an_image_a_server_stays_as_it_is() -> None:
    """What nobody knows any more is not made up: the server stays, its login does not come back."""
    books = Books(by_hand(1))
    books.apply(entry(), editor=ADOPT)
    before = books.servers
    for original in (None, first(), first(by_hand(2))):
        edit = without_ours(ADOPT, books.content, original)
        assert json.loads(edit.new)["tables"]["server"]["rows"] == {"1": before[1]}
        (outcome,) = edit.outcomes
        assert "not known any more" in outcome


def test_a_server_that_was_not_there_at_first_is_not_made() -> None:
    """An image of a row that pgherald itself had made gives nothing back."""
    books = Books(by_hand(1))
    books.apply(entry(), editor=ADOPT)
    image = json.loads(first(by_hand(1, name="never")))
    image["server"]["1"]["there"] = False
    assert undone(books, json.dumps(image).encode()).servers == books.servers


def test_each_server_gets_back_what_is_known_of_it() -> None:
    """One of which nothing is known keeps no other from its login, and is named with all."""
    rows = by_hand(1), by_hand(2)
    books = Books(*rows)
    books.apply(entry(), editor=ADOPT)
    now = books.servers
    for known, other in ((0, 1), (1, 0)):
        edit = without_ours(ADOPT, books.content, first(rows[known]))
        servers = json.loads(edit.new)["tables"]["server"]["rows"]
        assert servers[str(known + 1)] == rows[known]
        assert servers[str(other + 1)] == now[other + 1]
        assert [("not known any more" in outcome) for outcome in edit.outcomes] == [
            number != known for number in (0, 1)
        ]


def test_a_server_that_the_person_took_back_is_theirs() -> None:
    """An adopted server that leads to something of the person's own now is not touched."""
    mine = by_hand(1)
    books = Books(mine)
    books.apply(entry(), editor=ADOPT)
    books.edit(1, service="my-own")
    assert undone(books, first(mine)).servers == books.servers


def test_an_adopted_server_is_never_renamed() -> None:
    """Its name and group are the person's, whatever the configuration says."""
    mine = by_hand(1, name="Shop", servergroup_id=5)
    books = Books(mine)
    books.whole["tables"]["servergroup"]["rows"]["5"] = {"id": 5, "user_id": 1, "name": "Heroku"}
    books.apply(entry(), editor=ADOPT)
    books.apply(entry(name="New", group="Other"), editor=ADOPT)
    assert (books.servers[1]["name"], books.servers[1]["servergroup_id"]) == ("Shop", 5)
    assert undone(books, first(mine)).servers == {1: mine}


def test_what_pgherald_0_1_had_renamed_goes_back() -> None:
    """In its journals are the columns that it changed, name and group among them."""
    mine = by_hand(1, name="Shop", servergroup_id=5)
    books = Books(mine | {"servergroup_id": 6})
    groups = books.whole["tables"]["servergroup"]["rows"]
    groups["5"] = {"id": 5, "user_id": 1, "name": "Heroku"}
    groups["6"] = {"id": 6, "user_id": 1, "name": "Other"}
    books.apply(entry(name="New", group="Other"), editor=ADOPT)
    books.edit(1, name="New")
    image = json.loads(first(mine))
    del image["server"]["1"]["columns"]["id"]
    assert undone(books, json.dumps(image).encode()).servers == {1: mine}


def test_a_group_that_the_person_moved_a_server_to_stays() -> None:
    """A server goes back into its first group only from the one that pgherald had put it in."""
    mine = by_hand(1)
    books = Books(mine)
    books.apply(entry(), editor=ADOPT)
    groups = books.whole["tables"]["servergroup"]["rows"]
    groups["9"] = {"id": 9, "user_id": 1, "name": "Mine"}
    books.edit(1, servergroup_id=9)
    assert undone(books, first(mine)).servers[1]["servergroup_id"] == 9


def test_a_name_of_the_persons_stays() -> None:
    """An adopted server that was renamed since keeps its new name."""
    mine = by_hand(1)
    books = Books(mine)
    books.apply(entry(), editor=ADOPT)
    books.edit(1, name="Renamed")
    assert undone(books, first(mine)).servers[1] == mine | {"name": "Renamed"}


@pytest.mark.parametrize(
    ("since", "then"),
    [
        ({"sslcert": "y"}, {"sslcert": "y"}),
        ({"options": "-c x=1"}, {"options": "-c x=1"}),
        ({"sslmode": "disable"}, {}),
        ({"sslmode": "verify-full"}, {"sslmode": "verify-full"}),
        ({"connect_timeout": 99}, {}),
    ],
)
def test_parameters_of_the_persons_stay(since: dict[str, object], then: dict[str, str]) -> None:
    """A parameter that was added or changed since stays, a stricter mode too; ours go back."""
    mine = by_hand(1)
    books = Books(mine)
    books.apply(entry(), editor=ADOPT)
    now = json.loads(books.servers[1]["connection_params"])
    books.edit(1, connection_params=json.dumps(now | since))
    row = undone(books, first(mine)).servers[1]
    assert json.loads(row["connection_params"]) == json.loads(mine["connection_params"]) | then


def test_a_group_that_pgherald_made_goes_with_its_last_server() -> None:
    """The group goes where no server is left in it, and stays where one is."""
    books = Books()
    books.apply(entry())
    (group,) = (number for number, name in books.groups.items() if name == "Heroku")
    assert undone(books, None).groups == {1: "Servers"}
    books.put(server(50, servergroup_id=group, user_id=2))
    assert undone(books, None).groups == {1: "Servers", group: "Heroku"}


def test_a_group_that_pgherald_0_1_made_goes_too() -> None:
    """That one kept no record of groups; the journals show that it was not there."""
    books = Books()
    books.apply(entry())
    books.whole["known"]["groups"] = {}
    assert undone(books, first(groups={1: None, 9: None, 2: None})).groups == {1: "Servers"}
    assert undone(books, None).groups == {1: "Servers", 2: "Heroku"}


def test_a_group_that_is_not_pgheralds_stays() -> None:
    """One that was there at first, that was renamed, or that is another user's is let be."""
    for change in ({"name": "Mine"}, {"user_id": 2}):
        books = Books()
        books.apply(entry())
        books.whole["tables"]["servergroup"]["rows"]["2"] |= change
        assert len(undone(books, first(groups={2: None})).groups) == 2
    books = Books()
    books.whole["tables"]["servergroup"]["rows"]["2"] = {"id": 2, "user_id": 1, "name": "Heroku"}
    books.apply(entry())
    assert len(undone(books, first(groups={2: "Heroku"})).groups) == 2
