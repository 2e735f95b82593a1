"""The editor of pgAdmin's servers in corners: odd memories, odd numbers, what exactly is said."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

import pytest

from pgherald.clients.base import Action, Held
from pgherald.clients.pgadmin import PgAdmin
from pgherald.clients.pgadmin_database import ConfigDatabase, Unsupported, mark_of
from pgherald.clients.pgadmin_row import held, likeness, redacted, shown
from pgherald.errors import PgheraldError, Unparsable
from pgherald.secret import MASK
from support.pictures import COLUMNS, Books, by_hand, entry, person, server

SHOP = entry()
KEY = SHOP.key
ME = "me@example.com"
ADOPT = PgAdmin(adopt=True)
HOST = PgAdmin("host", user=ME)


def groups(books: Books) -> dict[str, dict[str, Any]]:
    rows: dict[str, dict[str, Any]] = books.whole["tables"]["servergroup"]["rows"]
    return rows


def users(*rows: dict[str, Any]) -> Books:
    """A pgAdmin with these users."""
    books = Books()
    books.whole["tables"]["user"]["rows"] = {str(row["id"]): row for row in rows}
    return books


# --- numbers -------------------------------------------------------------------------------


def test_new_rows_and_groups_get_numbers_of_their_own() -> None:
    """Several new servers and groups of one plan take the next free numbers, one each."""
    books = Books()
    books.apply(entry("a", group="A"), entry("b", group="B"), entry("c", group="A"))
    assert sorted(books.servers) == [1, 2, 3]
    assert books.groups == {1: "Servers", 2: "A", 3: "B"}


def test_a_number_that_is_remembered_is_not_used_again() -> None:
    """Not even where the database no longer knows that it ever gave it away."""
    books = Books()
    books.apply(entry("a"), entry("b"))
    books.delete(2)
    counts = books.whole["tables"]["sqlite_sequence"]["rows"]
    counts["1"]["seq"] = None
    counts["2"] = {"name": "other", "seq": 70}
    edit = books.plan(entry("a"), entry("b"), entry("c", group="New"))
    tables = json.loads(edit.new)["tables"]
    assert sorted(tables["server"]["rows"]) == ["1", "3"]
    assert sorted(tables["servergroup"]["rows"]) == ["1", "2", "3"]


def test_a_servers_number_is_nothing_to_groups() -> None:
    """A new group gets the next number of groups, however many servers there were."""
    books = Books(server(70))
    books.apply(entry("a"))
    books.apply(entry("a"), entry("b", group="New"))
    assert books.groups == {1: "Servers", 2: "Heroku", 3: "New"}


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


# --- whose a row is ------------------------------------------------------------------------


def test_wanted_beats_removed() -> None:
    """A database that is wanted stays, even if it is named for removal too."""
    books = Books()
    books.apply(SHOP)
    assert books.apply(SHOP, remove=[KEY]).changes == ()


def test_equal_content_is_the_same_object() -> None:
    """Where there is nothing to do the very bytes come back."""
    books = Books()
    books.apply(SHOP)
    content = books.content
    assert PgAdmin().plan(content, [SHOP]).new is content


def test_a_row_that_was_found_again_is_not_ours() -> None:
    """Where all records are lost nothing shows who made it: it is kept current, never deleted."""
    books = Books()
    books.apply(SHOP)
    del books.whole["known"]
    books.apply(renamed := entry(dbname="other"))
    assert sorted(books.servers) == [1, 2]
    books = Books()
    books.apply(SHOP)
    del books.whole["known"]
    books.apply(SHOP)
    books.apply(renamed)
    assert books.servers[1]["maintenance_db"] == "other"
    edit = books.apply(remove=[KEY])
    assert (edit.changes, sorted(books.servers)) == ((), [1])
    assert edit.outcomes == (
        (
            'Server "Shop" stays without its login, since nothing shows that pgherald made it: '
            "delete it in pgAdmin, or give it a host and a user."
        ),
    )


def test_a_service_row_is_nothing_to_host_rows() -> None:
    """Where host rows are kept, a row that names our service is the person's own."""
    books = Books(server(1, user_id=2, service="shop"))
    books.whole["tables"]["user"]["rows"]["2"] = person(2, ME)
    before = books.servers[1]
    books.apply(SHOP, editor=HOST)
    assert sorted(books.servers) == [1, 2]
    assert books.servers[1] == before


def test_a_server_that_names_service_and_host_is_the_persons() -> None:
    """The host would beat the service, so it is no row of ours."""
    theirs = server(1, service="shop", host="localhost")
    books = Books(theirs)
    books.apply(SHOP)
    assert books.servers[1] == theirs
    assert sorted(books.servers) == [1, 2]


def test_a_service_that_changes_hands() -> None:
    """A row that is one database's is not taken for another's that gets its service's name."""
    books = Books()
    books.apply(entry("a", service="s"))
    books.apply(entry("b", service="s"), entry("a", service="t"))
    assert {number: row["service"] for number, row in books.servers.items()} == {1: "t", 2: "s"}
    assert {number: row["name"] for number, row in books.servers.items()} == {1: "A", 2: "B"}


def test_a_host_row_without_its_passfile_is_the_persons() -> None:
    """One whose passfile was taken out leads by another way now, and is left alone."""
    books = users(person(1, "boss@example.com"), person(2, ME))
    books.apply(SHOP, editor=HOST)
    books.edit(1, connection_params='{"sslmode": "require"}')
    before = books.servers
    assert books.apply(entry(user="u2"), editor=HOST).changes == ()
    assert books.servers == before


def test_of_several_rows_the_first_is_read() -> None:
    """What is held is what the row says that was recorded first."""
    books = Books()
    books.apply(SHOP)
    params = '{"sslmode": "verify-full", "connect_timeout": 10}'
    books.put(books.servers[1] | {"id": 5, "name": "Copy", "connection_params": params})
    books.apply(SHOP)
    assert PgAdmin().read(books.content)[KEY].sslmode == "require"
    books.delete(1)
    assert PgAdmin().read(books.content)[KEY].sslmode == "verify-full"


# --- adoption ------------------------------------------------------------------------------


def test_a_server_of_a_service_hides_no_hand_made_one() -> None:
    """Whatever stands before it, a hand-made server is found."""
    books = Books(server(1, service="other"), server(2), by_hand(3))
    books.apply(SHOP, editor=ADOPT)
    assert books.servers[3]["service"] == "shop"


def test_an_adopted_server_is_no_twin() -> None:
    """A server of the person's stays when another one is adopted, though nothing else is in it."""
    books = Books(by_hand(1, name="Shop", servergroup_id=2))
    groups(books)["2"] = {"id": 2, "user_id": 1, "name": "Heroku"}
    books.apply(SHOP, editor=ADOPT)
    books.whole["tables"]["server"]["rows"]["7"] = by_hand(7)
    books.apply(SHOP, editor=ADOPT)
    assert sorted(books.servers) == [1, 7]


def test_a_password_in_the_database_is_no_obstacle() -> None:
    """In releases with the keyring, too, one that stands in the row can be cleared by it."""
    books = Books(by_hand(), schema=40)
    assert [change.action for change in books.apply(SHOP, editor=ADOPT).changes] == [Action.ADOPT]


def test_what_is_offered() -> None:
    """A server that could be adopted is named, and how; one with a password elsewhere, too."""
    said = 'Server "server 1", made by hand, leads to shop/DATABASE too: '
    assert Books(by_hand()).plan(SHOP).warnings == (
        f"{said}`pgherald check --adopt` keeps it working as well.",
    )
    assert Books(by_hand(password=None), schema=40).plan(SHOP).warnings == (
        (
            f"{said}choose Clear Saved Password for it in pgAdmin, since this release keeps it in the"
            " system's keyring; then `pgherald check --adopt` keeps it working."
        ),
    )


@pytest.mark.parametrize("column", ["host", "port", "username", "password", "passexec_cmd"])
@pytest.mark.parametrize("nothing", [None, "", 0, False, "false", "null"])
def test_an_empty_column_is_as_good_as_none(column: str, nothing: object) -> None:
    """What says nothing is not written again in another spelling."""
    books = Books()
    books.apply(SHOP)
    books.edit(1, **{column: nothing})
    assert books.apply(SHOP).changes == ()


def test_how_surely_a_server_leads_there() -> None:
    """The user says more than the host, and the host more than a name that Heroku made up."""
    login = SHOP.login
    same_user = by_hand(1, host="other.example")
    same_host = by_hand(1, username="old")
    same_name = by_hand(1, host="old.compute.amazonaws.com", username="old")
    neither = by_hand(1, host="old.example", username="old")
    sure = [likeness(row, login) for row in (neither, same_name, same_host, same_user)]
    assert sure[0] == 0
    assert sure == sorted(set(sure))
    longer = entry(dbname="d0123456789abc-mine").login
    row = by_hand(1, maintenance_db=longer.dbname, host="x.amazonaws.com", username="old")
    assert likeness(row, longer) == 0


# --- removal -------------------------------------------------------------------------------


def test_each_row_of_a_database_that_goes() -> None:
    """Our own goes; each that a person made or changed is named and stays."""
    books = Books(by_hand(1), by_hand(2))
    books.apply(SHOP, entry("blog"))
    books.edit(3, bgcolor="#f00")
    books.apply(SHOP, entry("blog"), editor=ADOPT)
    edit = PgAdmin().plan(books.content, [], remove=[KEY, entry("blog").key])
    assert sorted(json.loads(edit.new)["tables"]["server"]["rows"]) == ["1", "2", "3"]
    last = ": delete it in pgAdmin, or give it a host and a user."
    assert edit.outcomes == (
        f'Server "Shop" stays without its login, since it is not just what pgherald made{last}',
        *(
            f'Server "server {number}" stays without its login, since what it held before it was '
            f"adopted is not known any more{last}"
            for number in (1, 2)
        ),
        'Server "Blog" is deleted: pgherald made it.',
    )


# --- host rows -----------------------------------------------------------------------------


def test_the_passfile_is_that_of_the_configuration() -> None:
    """A host row names the passfile that the editor was given."""
    books = users(person(2, ME))
    books.apply(SHOP, editor=PgAdmin("host", "/mine/.pgpass", ME))
    assert json.loads(books.servers[1]["connection_params"])["passfile"] == "/mine/.pgpass"


# --- who is who ----------------------------------------------------------------------------


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


# --- which pgAdmin -------------------------------------------------------------------------


def test_exactly_the_columns_that_are_needed() -> None:
    """An old pgAdmin with these columns and no more will do."""
    books = Books()
    books.whole["tables"]["server"]["columns"] = [
        name
        for name in COLUMNS
        if name not in {"comment", "bgcolor", "passexec_cmd", "tags", "db_res_type"}
    ]
    assert ConfigDatabase(books.content, None).user == 1


def test_other_versions_are_not_the_databases() -> None:
    """Only the row of the configuration database's own schema counts."""
    books = Books()
    rows = books.whole["tables"]["version"]["rows"]
    books.whole["tables"]["version"]["rows"] = {"0": {"name": "Other", "value": 1}, **rows}
    assert ConfigDatabase(books.content, None).schema == 52


@pytest.mark.parametrize(
    ("schema", "preferences", "program", "broken"),
    [
        (35, ["show_system_objects"], 61999, True),
        (35, ["last_storage"], 61999, True),
        (35, ["last_storage"], 62000, True),
        (35, ["show_system_objects"], 70799, False),
        (35, ["last_storage"], 70799, False),
        (35, ["last_storage", "cardinality_notation"], 70799, False),
        (35, ["last_storage"], 70800, True),
        (40, ["close_tab_panel"], 80699, True),
        (40, ["close_tab_panel"], 80700, False),
        (40, ["close_tab_panel"], 81399, False),
        (40, ["close_tab_panel"], 81400, True),
    ],
)
def test_what_is_installed_counts_where_it_may_have_written_it(
    schema: int, preferences: list[str], program: int, *, broken: bool
) -> None:
    """The version that is installed tells, from the first to the last release with that schema."""
    books = Books(schema=schema)
    books.prefer(*preferences)
    books.whole["program"] = program
    assert bool(ConfigDatabase(books.content, None).broken_for_services) is broken


# --- what is remembered --------------------------------------------------------------------


def test_what_was_remembered_is_known_again() -> None:
    """Marks are kept for years: each pgherald makes them as the one before."""
    assert mark_of(server(1, service="shop")) == "5ae78192451e33bc"
    assert mark_of(server(1, maintenance_db="dshop")) == "566d8c137cb97958"
    assert ConfigDatabase(Books().content, None).identity == "124fe9ca0b529030"
    assert re.fullmatch("[0-9a-f]{16}", mark_of(server(1, service="\ud800")))


def test_only_one_of_the_keys_tells_databases_apart() -> None:
    """Two others were once the same in each database that pgAdmin made."""
    books = Books()
    keys = books.whole["tables"]["keys"]["rows"]
    keys["8"] = {"name": "SECRET_KEY", "value": "CANARY-other"}
    assert (
        ConfigDatabase(books.content, None).identity
        == ConfigDatabase(Books().content, None).identity
    )


# --- what is said --------------------------------------------------------------------------

_UPDATE = "Update pgAdmin to the newest release; then pgherald sees to the rest."


def broken_release() -> Books:
    books = Books(schema=40)
    books.prefer("close_tab_panel")
    return books


def another() -> Books:
    books = Books()
    books.whole["tables"]["version"] = {"columns": [], "rows": {}}
    return books


@pytest.mark.parametrize(
    ("made", "user", "reason", "advice"),
    [
        (
            broken_release, None,
            "is used by pgAdmin 8.10 or 8.11, in which a server cannot name a service",
            "Update pgAdmin to the newest release, and start it once.",
        ),
        (
            another, None, "is not a configuration database of pgAdmin 4",
            'Name pgAdmin\'s pgadmin4.db, or leave the path to pgherald: path = "auto".',
        ),
        (lambda: Books(schema=34), None, "is of a pgAdmin older than 6.20", _UPDATE),
        (
            lambda: users(person(1, "a"), person(2, "b")), None,
            "serves several people, to all of whom a service row would be open",
            'Name yourself in [clients.pgadmin], as you sign in to pgAdmin: user = "…".',
        ),
        (
            Books, "eve", "has no user 'eve'",
            "Write `user` in [clients.pgadmin] as you sign in to pgAdmin.",
        ),
        (users, None, "has no user yet", "Start pgAdmin once."),
    ],
)  # fmt: skip
def test_why_a_pgadmin_is_refused(
    made: Callable[[], Books], user: str | None, reason: str, advice: str
) -> None:
    """Each refusal says what is the matter, and what helps."""
    with pytest.raises((Unsupported, Unparsable)) as caught:
        made().plan(SHOP, editor=PgAdmin(user=user))
    assert isinstance(caught.value, PgheraldError)
    assert (caught.value.reason, caught.value.advice) == (reason, advice)


@pytest.mark.parametrize(
    ("line", "shown"),
    [
        (' "password": null', True), (' "password": null,', True), (' "password": {}', True),
        (' "password": {},', True), (' "password": {  ', True), (' "password": "x"', False),
        (' "host": "x"', True), ("]", True), ('x "password": "x"', True),
    ],
)  # fmt: skip
def test_which_columns_are_shown(line: str, shown: bool) -> None:  # a column of the table above
    """A value is shown where its column holds no secret, and where there is none."""
    assert redacted(line) == (line if shown else f' "password": {MASK}')


@pytest.mark.parametrize(
    "column",
    [
        "id", "user_id", "servergroup_id", "name", "host", "port", "maintenance_db", "username",
        "db_res", "db_res_type", "service", "save_password", "connection_params",
    ],
)  # fmt: skip
def test_what_says_where_a_server_leads_is_shown(column: str) -> None:
    """Whoever asks for a plan is to see what changes: of these columns none holds a secret."""
    assert redacted(f' "{column}": "x",') == f' "{column}": "x",'


def test_odd_values_are_not_held() -> None:
    """What a row says is told only where it is what it should be; an empty text says nothing."""
    odd = server(
        1, host="", port="5432", username="", service="", connection_params='{"sslmode": 1}'
    )
    assert held(odd) == Held(dbname=None)
    assert held(server(1, port=5432, maintenance_db="d")) == Held(port=5432, dbname="d")


def test_a_name_is_shown_as_it_is_read() -> None:
    """In quotes, and in its own letters."""
    assert shown('Käse "7"') == '"Käse \\"7\\""'


def test_showing_takes_any_bytes() -> None:
    """What is no UTF-8 is shown all the same."""
    assert PgAdmin().redact(b"\xff\n{") == ["\ufffd", "{"]
