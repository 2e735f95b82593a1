"""The editor of pgAdmin's servers: what is ours in a row, whose a row is, and what stays."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pgherald.clients.base import Action
from pgherald.clients.pgadmin import PgAdmin
from pgherald.clients.pgadmin_database import ConfigDatabase, Owner, Unsupported, mark_of
from pgherald.clients.pgadmin_ownership import current_records
from pgherald.clients.servers_json import ServersJson
from pgherald.errors import Inexpressible, Unparsable
from pgherald.model import Entry
from support.pictures import GOOD, Books, by_hand, entry, person, server

SHOP = entry()
KEY = SHOP.key
HOST = PgAdmin("host", user="me@example.com")
ADOPT = PgAdmin(adopt=True)


def service_row(of: Entry = SHOP) -> dict[str, Any]:
    """Our columns of a service row that is as it should be."""
    return {
        "host": None,
        "port": None,
        "username": None,
        "password": None,
        "save_password": 0,
        "service": of.database.service,
        "maintenance_db": of.login.dbname,
        "db_res": of.login.dbname,
        "connection_params": GOOD,
    }


def actions(edit: Any) -> list[tuple[str, Action, tuple[str, ...]]]:
    return [(change.key.app, change.action, change.fields) for change in edit.changes]


# --- new rows ------------------------------------------------------------------------------


def test_a_database_gets_a_service_row() -> None:
    """A new row names the service, the database and how to connect; no login stands in it."""
    books = Books()
    edit = books.apply(SHOP)
    (row,) = books.servers.values()
    assert row == row | service_row()
    assert (row["name"], row["user_id"]) == ("Shop", 1)
    assert books.groups[row["servergroup_id"]] == "Heroku"
    assert actions(edit) == [("shop", Action.ADD, ())]
    assert b"CANARY-u1" not in edit.new


def test_a_number_is_never_used_again() -> None:
    """The row of a deleted server's number would be taken for it by an open pgAdmin."""
    books = Books(server(7))
    books.delete(7)
    books.apply(SHOP)
    assert list(books.servers) == [8]


# --- rows that are there -------------------------------------------------------------------


@pytest.mark.parametrize(
    "crept",
    [
        {"password": "CANARY-typed", "save_password": 1},
        {"save_password": 1},
        {"port": 5432},
        {"username": "me"},
        {"passexec_cmd": "echo CANARY"},
        {"db_res": None},
        {"db_res_type": "sql"},
        {"connection_params": None},
        {"connection_params": "null"},
        {"connection_params": "{"},
        {"connection_params": '{"sslmode": "prefer", "connect_timeout": 10}'},
        {"connection_params": '{"sslmode": "require", "connect_timeout": 10, "passfile": "x"}'},
    ],
    ids=str,
)
def test_what_would_beat_the_service_file_is_cleared(crept: dict[str, Any]) -> None:
    """A password that was saved, a host, a command: the row is put right, and nothing else in it."""
    books = Books()
    books.apply(SHOP)
    before = books.servers[1]
    books.edit(1, **crept)
    edit = books.apply(SHOP)
    assert actions(edit) == [("shop", Action.UPDATE, tuple(crept))]
    after = books.servers[1]
    assert json.loads(after.pop("connection_params")) == json.loads(GOOD)
    assert after | {"connection_params": GOOD} == before


def test_a_name_changed_in_the_configuration_is_taken_over() -> None:
    """A name and group that the person never changed in pgAdmin follow the configuration."""
    books = Books()
    books.apply(SHOP)
    edit = books.apply(entry(name="New", group="Servers"))
    assert actions(edit) == [("shop", Action.UPDATE, ("name", "group"))]
    assert (books.servers[1]["name"], books.servers[1]["servergroup_id"]) == ("New", 1)


def test_a_deleted_server_stays_deleted() -> None:
    """The person deleted it: no sweep and no rotation brings it back, only their wish."""
    books = Books()
    books.apply(SHOP)
    books.delete(1)
    assert books.apply(SHOP).changes == ()
    assert books.apply(entry(dbname="other")).changes == ()
    assert books.servers == {}
    edit = books.apply(SHOP, editor=PgAdmin(recreate=True))
    assert actions(edit) == [("shop", Action.ADD, ())]
    books.delete(2)
    assert books.apply(SHOP).changes == ()


def test_a_new_configuration_database_begins_afresh() -> None:
    """What was deleted in another pgAdmin, or before it was installed anew, counts no more."""
    books = Books()
    books.apply(SHOP)
    books.delete(1)
    books.whole["tables"]["keys"]["rows"]["1"]["value"] = "CANARY-other"
    assert actions(books.apply(SHOP)) == [("shop", Action.ADD, ())]


# --- adoption ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "row",
    [
        by_hand(),
        by_hand(username="u-of-some-rotation-ago"),
        by_hand(host="old.compute.amazonaws.com", username="old"),
        by_hand(host="OLD.example", port=None),
        by_hand(port=None, username="old"),
        by_hand(service=""),
    ],
    ids=lambda row: f"{row['host']}:{row['port']} {row['username']}",
)
def test_a_hand_made_server_is_offered_and_adopted(row: dict[str, Any]) -> None:
    """A server from the guide is named first; when asked, it becomes ours with number and name."""
    books = Books(row)
    offered = books.plan(SHOP)
    assert [w for w in offered.warnings if "check --adopt" in w and '"server 1"' in w]
    assert json.loads(offered.new)["tables"]["server"]["rows"]["1"] == row

    edit = books.apply(SHOP, editor=ADOPT)
    assert actions(edit) == [("shop", Action.ADOPT, ("server 1",))]
    assert edit.warnings == ()
    (after,) = books.servers.values()
    parameters = {"sslmode": "require", "connect_timeout": 30, "sslcert": "x"}
    assert json.loads(after["connection_params"]) == parameters
    assert after == row | service_row() | {"connection_params": after["connection_params"]}


@pytest.mark.parametrize(
    "row",
    [
        by_hand(maintenance_db="postgres"),
        by_hand(user_id=2),
        by_hand(service="mine"),
        by_hand(host=None),
        by_hand(host="db.example", username="other"),
    ],
    ids=["another database", "another user's", "a service", "no host", "another host and user"],
)
def test_what_leads_elsewhere_is_not_adopted(row: dict[str, Any]) -> None:
    """Another database, another user's server, a service of the person's own stay theirs."""
    of = entry(dbname="shop")
    row = row | ({"maintenance_db": "shop"} if row["maintenance_db"] != "postgres" else {})
    books = Books(row)
    edit = books.apply(of, editor=ADOPT)
    assert actions(edit) == [("shop", Action.ADD, ())]
    assert books.servers[1] == row


@pytest.mark.parametrize(
    ("dbname", "row", "adopted"),
    [
        ("shop", {"host": "db.example", "username": "old"}, True),
        ("shop", {"host": "DB.Example", "port": None, "username": "old"}, True),
        ("shop", {"host": "db.example", "port": 6543, "username": "old"}, False),
        ("shop", {"host": "elsewhere", "username": "u1"}, True),
        ("shop", {"host": "old.amazonaws.com", "username": "old"}, False),
        ("d0123456789abc", {"host": "old.amazonaws.com", "username": "old"}, True),
        ("d0123456789abc", {"host": "old.example", "username": "old"}, False),
        ("d0123", {"host": "old.amazonaws.com", "username": "old"}, False),
        ("shop", {"maintenance_db": "postgres"}, True),
        ("shop", {"maintenance_db": "postgres", "db_res": "postgres, shop"}, True),
        ("shop", {"maintenance_db": "postgres", "db_res": "other"}, False),
        ("shop", {"maintenance_db": "postgres", "db_res": None}, False),
    ],
)
def test_how_a_hand_made_server_is_known(
    dbname: str, row: dict[str, Any], *, adopted: bool
) -> None:
    """By its database with its user or its host; by the database alone where Heroku made it up."""
    wanted = entry(dbname=dbname, host="db.example")
    books = Books(by_hand(1, wanted, **row))
    books.apply(wanted, editor=ADOPT)
    assert (books.servers[1]["service"] == "shop") is adopted


def test_adoption_leaves_no_twin() -> None:
    """The row that we had made goes when a hand-made one takes its place, unless it was used."""
    books = Books(by_hand())
    books.apply(SHOP)
    assert len(books.servers) == 2
    books.apply(SHOP, editor=ADOPT)
    assert list(books.servers) == [1]

    books = Books(by_hand())
    books.apply(SHOP)
    books.edit(2, bgcolor="#f00")
    books.apply(SHOP, editor=ADOPT)
    assert list(books.servers) == [1, 2]
    books.apply(renamed := entry(dbname="other"))
    assert all(row == row | {"db_res": renamed.login.dbname} for row in books.servers.values())


def test_each_server_is_adopted_for_the_login_it_is_likest() -> None:
    """Two credentials of one database: the user tells which of them a server is for."""
    other = entry("shop-ro", user="u2", host=SHOP.login.host, dbname=SHOP.login.dbname)
    books = Books(by_hand(1, other), by_hand(2, SHOP), by_hand(3, SHOP, username="old"))
    books.apply(SHOP, other, editor=ADOPT)
    assert {n: row["service"] for n, row in books.servers.items()} == {
        1: "shop-ro", 2: "shop", 3: "shop",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("schema", "program", "tools"),
    [
        (52, None, "Maintenance and Refresh Materialized View"),
        (49, None, "Maintenance and Refresh Materialized View"),
        (48, None, "Maintenance, Refresh Materialized View, Backup and Restore"),
        (52, 91100, "Maintenance, Refresh Materialized View, Backup and Restore"),
        (35, 62100, "Refresh Materialized View, Backup, Restore and Import/Export Data"),
    ],
)
def test_what_adopting_costs_is_said_before(schema: int, program: int | None, tools: str) -> None:
    """The tools that fail on a service row are named in the offer, and where it is taken."""
    books = Books(by_hand(), schema=schema)
    books.whole["program"] = program
    (offered,) = books.plan(SHOP).warnings
    (adopted,) = books.plan(SHOP, editor=ADOPT).outcomes
    for said in (offered, adopted):
        assert f"{tools} fail" in said
    assert books.plan(SHOP, editor=PgAdmin("host", adopt=True)).outcomes == ()


def test_a_password_in_the_keyring_is_cleared_by_the_person_first() -> None:
    """PgAdmin 7.2 to 8.11 would go on using it, so such a server is not adopted; it is said why."""
    row = by_hand(password=None)
    books = Books(row, schema=40)
    edit = books.apply(SHOP, editor=ADOPT)
    assert "Clear Saved Password" in edit.warnings[0]
    assert books.servers[1] == row
    books.edit(1, save_password=None)
    assert actions(books.apply(SHOP, editor=ADOPT)) == [("shop", Action.ADOPT, ("server 1",))]
    books = Books(row, schema=41)
    assert actions(books.apply(SHOP, editor=ADOPT)) == [("shop", Action.ADOPT, ("server 1",))]


# --- removal -------------------------------------------------------------------------------


def test_what_is_neither_wanted_nor_removed_stays() -> None:
    """A sweep that saw nothing of a database changes nothing of it."""
    books = Books()
    books.apply(SHOP)
    assert books.apply(entry("blog")).changes[0].key.app == "blog"
    assert books.servers[1] == books.servers[1] | service_row()


# --- several people ------------------------------------------------------------------------


def shared() -> Books:
    """A pgAdmin that serves two people."""
    books = Books()
    books.whole["tables"]["user"]["rows"] = {
        "1": person(1, "boss@example.com"),
        "2": person(2, "me@example.com"),
        "3": person(3, "gone@example.com", active=0),
    }
    return books


def test_a_host_row_names_the_login_and_the_passfile() -> None:
    """A host row follows host, port and user, and its password is in the owner's passfile."""
    books = shared()
    books.apply(SHOP, editor=HOST)
    (row,) = books.servers.values()
    login = SHOP.login
    assert (row["user_id"], row["service"], row["password"]) == (2, None, None)
    assert (row["host"], row["port"], row["username"]) == (login.host, login.port, login.user)
    assert json.loads(row["connection_params"])["passfile"] == "/.pgpass"
    edit = books.apply(entry(user="u2", host="new.example"), editor=HOST)
    assert actions(edit) == [("shop", Action.UPDATE, ("host", "username"))]
    books.edit(1, password="CANARY", save_password=1, connection_params=None)
    edit = books.apply(entry(user="u2", host="new.example"), editor=HOST)
    assert actions(edit) == [
        ("shop", Action.UPDATE, ("password", "save_password", "connection_params"))
    ]


def test_a_host_row_is_adopted_too() -> None:
    """A hand-made server of the named user gets the passfile and loses the saved password."""
    books = shared()
    books.whole["tables"]["server"]["rows"] = {
        "1": by_hand(1, user_id=1), "2": by_hand(2, user_id=2),
    }  # fmt: skip
    books.apply(SHOP, editor=PgAdmin("host", user="me@example.com", adopt=True))
    assert books.servers[1] == by_hand(1, user_id=1)
    assert books.servers[2]["password"] is None
    assert json.loads(books.servers[2]["connection_params"])["passfile"] == "/.pgpass"


# --- refusals ------------------------------------------------------------------------------


_OF_7_0 = ["show_system_objects", "cardinality_notation", "last_storage"]


@pytest.mark.parametrize(
    ("schema", "preferences", "program", "release"),
    [
        (35, ["show_system_objects"], None, "6.20"),
        (35, _OF_7_0, None, "7.0"),
        (40, ["close_tab_panel"], None, "8.10 or 8.11"),
        (35, [], 62000, "6.20"),
        (40, ["close_tab_panel"], 81100, "8.11"),
        (40, ["close_tab_panel"], 91800, "8.10 or 8.11"),
        (35, ["show_system_objects", "cardinality_notation"], None, None),
        (35, [*_OF_7_0, "breadcrumbs_enable"], None, None),
        (40, ["close_tab_panel", "data_result_rows_per_page"], None, None),
        (40, ["close_tab_panel"], 81200, None),
        (35, _OF_7_0, 70100, None),
        (52, ["close_tab_panel"], 81000, None),
    ],
)
def test_a_release_that_cannot_do_it_is_refused(
    schema: int, preferences: list[str], program: int | None, release: str | None
) -> None:
    """As far as it can be told: by the installed program, else by what releases leave behind."""
    books = Books(schema=schema)
    books.prefer(*preferences)
    books.whole["program"] = program
    assert books.plan(SHOP, editor=PgAdmin("host")).changes
    if release is None:
        assert books.plan(SHOP).changes
        return
    with pytest.raises(Unsupported, match=f"pgAdmin {release},") as caught:
        books.plan(SHOP)
    assert "newest release" in caught.value.advice


@pytest.mark.parametrize("editor", [PgAdmin(), ServersJson("host")])
def test_what_a_row_cannot_hold_is_refused(editor: PgAdmin | ServersJson) -> None:
    """In servers.json too: a comma in the database's name would part the restriction."""
    with pytest.raises(
        Inexpressible, match="the database of shop/DATABASE holds a comma"
    ) as caught:
        editor.plan(None, [entry("fine"), entry(dbname="a,b")])
    assert caught.value.advice == "Enter this server in pgAdmin by hand."


# --- reading and showing -------------------------------------------------------------------


def test_what_is_held() -> None:
    """What a row says of its login can be read back; of several rows, from the first."""
    books = Books()
    books.apply(SHOP)
    held = PgAdmin().read(books.content)[KEY]
    assert (held.service, held.dbname, held.sslmode) == ("shop", SHOP.login.dbname, "require")
    assert (held.host, held.port, held.user, held.password) == (None, None, None, None)
    books = shared()
    books.apply(SHOP, editor=HOST)
    held = HOST.read(books.content)[KEY]
    assert (held.host, held.port, held.user) == (SHOP.login.host, 5432, "u1")


# --- any sequence --------------------------------------------------------------------------

ROWS = st.fixed_dictionaries(
    {},
    optional={
        "host": st.sampled_from([None, "", SHOP.login.host, "old.compute.amazonaws.com"]),
        "port": st.sampled_from([None, 5432, 6543]),
        "maintenance_db": st.sampled_from([None, SHOP.login.dbname, "postgres"]),
        "username": st.sampled_from([None, "", "u1", "old"]),
        "service": st.sampled_from([None, "", "shop", "blog", "mine"]),
        "password": st.sampled_from([None, "", "CANARY-encrypted"]),
        "save_password": st.sampled_from([None, 0, 1]),
        "connection_params": st.sampled_from([None, "null", "{", "{}", "[]", GOOD]),
        "passexec_cmd": st.sampled_from([None, "", "echo CANARY"]),
        "user_id": st.sampled_from([1, 2]),
        "servergroup_id": st.sampled_from([1, 9]),
    },
)


@given(
    rows=st.lists(ROWS, max_size=4),
    edits=st.lists(st.tuples(st.integers(1, 6), ROWS | st.none()), max_size=5),
    adopt=st.booleans(),
    host=st.booleans(),
)
def test_whatever_is_there_our_rows_come_right(
    rows: list[dict[str, Any]],
    edits: list[tuple[int, dict[str, Any] | None]],
    adopt: bool,  # hypothesis passes it by name
    host: bool,
) -> None:
    """After any edits by anybody, our rows are right, others' are untouched, twice changes nothing."""
    editor = PgAdmin("host" if host else "service", user="pgadmin4@pgadmin.org", adopt=adopt)
    books = Books(*(server(number, **row) for number, row in enumerate(rows, 1)))
    books.apply(SHOP, entry("blog"), editor=editor)
    for number, columns in edits:
        if number in books.servers:
            books.delete(number) if columns is None else books.edit(number, **columns)
    before = books.servers
    edit = books.apply(SHOP, entry("blog"), editor=editor)
    picture = ConfigDatabase(books.content, editor.user)
    ours: dict[int, Entry] = {}
    for wanted in (SHOP, entry("blog")):
        known = [row for row in current_records(editor, picture)[wanted.key] if not row.gone]
        ours |= {row.id: wanted for row in known}
        for row in known:
            there = books.servers[row.id]
            if row.owner is Owner.FOLLOWED:
                assert (there["host"], there["service"]) == (None, wanted.database.service)
                assert there["maintenance_db"] in (wanted.login.dbname, "postgres")
            else:
                assert editor.differences(wanted, there) == {}
    untouched = {n: row for n, row in books.servers.items() if n not in ours}
    assert untouched == {n: before[n] for n in untouched}
    assert {change.key for change in edit.changes} <= {SHOP.key, entry("blog").key}


@pytest.mark.parametrize("column", ["host", "username"])
@pytest.mark.parametrize("followed", [True, False])
def test_an_empty_text_in_the_way_of_the_service_goes(column: str, *, followed: bool) -> None:
    """Libpq takes it for one that is given, and not the service's in its place."""
    books = Books()
    books.apply(SHOP)
    books.edit(
        1, **{column: ""}, **({"connection_params": None, "bgcolor": "red"} if followed else {})
    )
    books.apply(SHOP)
    assert (books.servers[1][column], books.servers[1]["service"]) == (None, "shop")


ME = "me@example.com"


def groups(books: Books) -> dict[str, dict[str, Any]]:
    rows: dict[str, dict[str, Any]] = books.whole["tables"]["servergroup"]["rows"]
    return rows


def users(*rows: dict[str, Any]) -> Books:
    """A pgAdmin with these users."""
    books = Books()
    books.whole["tables"]["user"]["rows"] = {str(row["id"]): row for row in rows}
    return books


def test_of_two_groups_with_one_name_the_older_is_used() -> None:
    """The one with the lower number, however the rows are told."""
    for order in (("5", "3"), ("3", "5")):
        books = Books()
        for number in order:
            groups(books)[number] = {"id": int(number), "user_id": 1, "name": "Heroku"}
        books.apply(SHOP)
        assert books.servers[1]["servergroup_id"] == 3


def test_another_users_group_is_not_used() -> None:
    """A group belongs to one user."""
    books = Books()
    groups(books)["4"] = {"id": 4, "user_id": 2, "name": "Heroku"}
    books.apply(SHOP)
    assert books.servers[1]["servergroup_id"] == 5
    assert groups(books)["5"]["user_id"] == 1


def test_a_service_that_changes_hands() -> None:
    """A row that is one database's is not taken for another's that gets its service's name."""
    books = Books()
    books.apply(entry("a", service="s"))
    books.apply(entry("b", service="s"), entry("a", service="t"))
    assert {number: row["service"] for number, row in books.servers.items()} == {1: "t", 2: "s"}
    assert {number: row["name"] for number, row in books.servers.items()} == {1: "A", 2: "B"}


@pytest.mark.parametrize("active", [0, None, "false"])
def test_a_user_who_may_not_come_is_none(active: object) -> None:
    """A user who is switched off counts for nothing, however that is written down."""
    books = users(person(1, "boss@example.com"), person(2, ME, active=active))
    assert ConfigDatabase(books.content, None).user == 1
    with pytest.raises(Unsupported, match="has no user 'me@"):
        ConfigDatabase(books.content, ME)


def test_a_user_has_two_names() -> None:
    """Either may stand in the configuration; where both are somebody's, the first one is meant."""
    books = users(person(1, "boss@example.com"), person(2, ME) | {"username": "me"},
                  person(3, "x@example.com") | {"username": ME})  # fmt: skip
    assert [ConfigDatabase(books.content, name).user for name in ("me", ME, "x@example.com")] == [
        2,
        2,
        3,
    ]


def test_users_of_one_name_are_told_apart_by_how_they_sign_in() -> None:
    """A name is somebody's only together with the way of signing in, which can be configured."""
    books = users(
        person(1, ME) | {"auth_source": "internal"}, person(2, ME) | {"auth_source": "ldap"}
    )
    assert ConfigDatabase(books.content, ME, "ldap").user == 2
    for source, advice in [(None, 'auth_source = "internal" or "ldap"'), ("oauth2", '"ldap"')]:
        with pytest.raises(Unsupported) as caught:
            ConfigDatabase(books.content, ME, source)
        assert caught.value.advice.endswith(advice)


def test_what_was_remembered_is_known_again() -> None:
    """Marks are kept for years: each pgherald makes them as the one before."""
    assert mark_of(server(1, service="shop")) == "5ae78192451e33bc"
    assert mark_of(server(1, maintenance_db="dshop")) == "566d8c137cb97958"
    assert ConfigDatabase(Books().content, None).identity == "124fe9ca0b529030"
    assert re.fullmatch("[0-9a-f]{16}", mark_of(server(1, service="\ud800")))


def another() -> Books:
    books = Books()
    books.whole["tables"]["version"] = {"columns": [], "rows": {}}
    return books


@pytest.mark.parametrize(
    ("books", "user", "reason", "advice"),
    [
        (another(), None, "is not a configuration database of pgAdmin 4", "If it has 0 bytes"),
        (Books(schema=34), None, "is of a pgAdmin older than 6.20", "Update pgAdmin"),
        (users(person(1, "a"), person(2, "b")), None, "serves several people", 'user = "…"'),
        (Books(), "eve", "has no user 'eve'", "Write `user` in [clients.pgadmin]"),
        (users(), None, "has no user yet", "Start pgAdmin once."),
    ],
    ids=["another database", "too old", "several", "not there", "nobody"],
)
def test_why_a_pgadmin_is_refused(books: Books, user: str | None, reason: str, advice: str) -> None:
    """Each refusal says what is the matter, and what helps."""
    with pytest.raises((Unsupported, Unparsable)) as caught:
        books.plan(SHOP, editor=PgAdmin(user=user))
    assert caught.value.reason.startswith(reason)
    assert advice in caught.value.advice
