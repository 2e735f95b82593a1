"""pgAdmin's servers as they were before pgherald."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import pytest

from pgherald.clients.pgadmin import PgAdmin, without_ours
from pgherald.model import Entry
from support.pictures import Books, by_hand, entry, server

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


def undone(books: Books, original: bytes | None, editor: PgAdmin = ADOPT) -> Books:
    """The books as they are afterwards."""
    after = Books()
    after.whole = json.loads(without_ours(editor, books.content, original).new)
    return after


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


@pytest.mark.parametrize("since", ["/theirs.crt", None])
def test_a_host_row_gets_its_root_certificate_back(since: str | None) -> None:
    """The configuration's goes, also once that names none any more; one that the person named since stays."""
    editor, plain = PgAdmin("host", adopt=True), entry()
    mine = by_hand(1, connection_params='{"sslmode": "verify-full", "sslrootcert": "/mine.crt"}')
    books = Books(mine)
    shop = dataclasses.replace(plain.database, sslrootcert="/ours.crt")
    books.apply(Entry(shop, plain.login), editor=editor)
    books.apply(plain, editor=editor)
    now = json.loads(books.servers[1]["connection_params"])
    assert now["sslrootcert"] == "/ours.crt"
    books.edit(1, connection_params=json.dumps(now | {"sslrootcert": since or "/ours.crt"}))
    row = undone(books, first(mine), editor).servers[1]
    assert json.loads(row["connection_params"])["sslrootcert"] == (since or "/mine.crt")


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
