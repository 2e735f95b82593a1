"""Whose a server is: numbers that come back, edits, other spellings, and what a record is worth."""

from __future__ import annotations

import json
from typing import Any

import pytest

from pgherald.clients.base import Action
from pgherald.clients.pgadmin import PgAdmin
from pgherald.clients.pgadmin_database import ConfigDatabase, Owner
from pgherald.clients.pgadmin_ownership import current_records
from pgherald.sync.targets.ownership import drawn, parsed
from support.pictures import GOOD, Books, by_hand, entry, server

SHOP = entry()
KEY = SHOP.key
ADOPT = PgAdmin(adopt=True)


def owners(books: Books) -> dict[int, Owner]:
    """Whose each row is that is recorded and there."""
    known = current_records(PgAdmin(), ConfigDatabase(books.content, None))[KEY]
    return {row.id: row.owner for row in known if not row.gone}


def like_ours(number: int, **columns: Any) -> dict[str, Any]:
    """A row of the person's that lives by our section."""
    name = SHOP.login.dbname
    own = {"service": "shop", "maintenance_db": name, "db_res": name, "connection_params": GOOD}
    return server(number, **(own | columns))


@pytest.mark.parametrize(
    "edit",
    [
        {"name": "Mine"},
        {"servergroup_id": 1},
        {"bgcolor": "#f00"},
        {"comment": "x"},
        {"tags": '[{"text": "x"}]'},
        {"connection_params": '{"sslmode": "verify-full", "connect_timeout": 10}'},
        {"connection_params": '{"sslmode": "require", "connect_timeout": 10, "options": "x"}'},
        {"username": "me"},
        {"db_res": None},
        {"a_new_column": "x"},
    ],
    ids=str,
)
def test_an_edit_makes_a_server_the_persons_to_keep(edit: dict[str, Any]) -> None:
    """From the first edit on it is never deleted nor renamed, even if the edit is taken back."""
    books = Books()
    books.apply(SHOP)
    before = books.servers[1]
    books.edit(1, **edit)
    books.apply(entry(dbname="other"))
    assert owners(books) == {1: Owner.EDITED}
    assert books.servers[1]["maintenance_db"] == "other"
    books.edit(1, **{column: before.get(column) for column in edit})
    books.apply(entry(dbname="other", name="Renamed", group="Servers"))
    assert owners(books) == {1: Owner.EDITED}
    assert books.servers[1]["name"] == "Shop"
    edit_of = books.apply(remove=[KEY])
    assert list(books.servers) == [1]
    assert "it is not just what pgherald made" in edit_of.outcomes[0]


@pytest.mark.parametrize(
    "spelling",
    [
        {"password": "CANARY-typed", "save_password": 1},
        {"tags": "null", "comment": ""},
        {"tags": "[]"},
        {"shared": 0, "kerberos_conn": "false", "use_ssh_tunnel": 0, "cloud_status": 0},
        {"db_res_type": None},
        {"connection_params": '{"connect_timeout":  10,"sslmode":"require"}'},
        {"column_of_a_newer_pgadmin": None},
    ],
    ids=str,
)
def test_what_pgadmin_writes_by_itself_is_no_edit(spelling: dict[str, Any]) -> None:
    """Another spelling of nothing, a new column and a saved password say nothing of a person."""
    books = Books()
    books.apply(SHOP)
    books.edit(1, **spelling)
    books.apply(SHOP)
    assert owners(books) == {1: Owner.MADE}
    books.apply(remove=[KEY])
    assert books.servers == {}


def test_a_new_server_with_the_number_of_ours() -> None:
    """It is the person's whatever it names, and only kept current."""
    for columns in ({"name": "Mine"}, {"name": "Mine", "connection_params": "{}"}):
        books = Books()
        books.apply(SHOP)
        books.delete(1)
        books.put(like_ours(1, **columns))
        books.apply(entry(dbname="other"))
        assert Owner.MADE not in owners(books).values()
        assert books.servers[1]["maintenance_db"] == "other"
        books.apply(remove=[KEY])
        assert list(books.servers) == [1]


def test_one_that_was_seen_gone_comes_back_only_as_it_was() -> None:
    """A backup of pgAdmin's database brings it back; another one with its number is a stranger."""
    books = Books(by_hand(1))
    books.apply(SHOP, editor=ADOPT)
    as_it_was = books.servers[1]
    for again, owner in ((as_it_was, Owner.ADOPTED), (as_it_was | {"name": "x"}, Owner.FOLLOWED)):
        books.delete(1)
        books.apply(SHOP)
        assert owners(books) == {}
        books.put(again)
        books.apply(SHOP)
        assert owners(books) == {1: owner}


def test_only_names_that_the_section_led_to_are_followed() -> None:
    """The latest ones; a restriction to something else stays as it is."""
    books = Books()
    for number in range(3):
        books.apply(entry(dbname=f"d{number}"))
    for number in range(3):
        books.put(like_ours(10 + number, maintenance_db=f"d{number}", db_res="a,b"))
    books.put(like_ours(20, maintenance_db="d9"))
    edit = books.apply(entry(dbname="renamed-database"))
    assert [change.action for change in edit.changes] == [Action.UPDATE]
    assert {n: (row["maintenance_db"], row["db_res"]) for n, row in books.servers.items()} == {
        1: ("renamed-database", "renamed-database"), 10: ("renamed-database", "a,b"),
        11: ("renamed-database", "a,b"), 12: ("renamed-database", "a,b"),
        20: ("d9", SHOP.login.dbname),
    }  # fmt: skip
    assert edit.warnings == (
        "Server \"server 20\" names the service 'shop' and is not pgherald's: it is left as it is.",
    )
    assert "renamed-database" not in json.dumps(books.whole["known"])


# --- the record --------------------------------------------------------------------------------


def test_a_record_is_whole_or_none() -> None:
    """It is read back as it was written; what is damaged is as good as none."""
    known = {"database": "x", "rows": {"shop/DATABASE": []}, "led": {}, "groups": {}}
    assert parsed(drawn(known)) == known
    text = drawn(known)
    for at in range(len(text)):
        damaged = text[:at] + bytes([text[at] ^ 1]) + text[at + 1 :]
        assert parsed(damaged) in (None, known)
    for other in (None, b"", b"null", b"[]", b"{}", b"\xff"):
        assert parsed(other) is None
