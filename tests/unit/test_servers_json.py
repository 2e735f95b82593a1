"""The editor of servers.json."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from pgherald.clients.base import Action, Change, Edit, Held
from pgherald.clients.json_text import MAX_SIZE
from pgherald.clients.servers_json import MARK, ServersJson
from pgherald.errors import Unparsable
from pgherald.model import Database, DatabaseKey, Entry, Login, strictest
from pgherald.secret import MASK, Secret
from pgherald.sync.targets.file import diff_lines

SERVICE = ServersJson()
HOST = ServersJson("host", "/.pgpass")


def entry(app: str = "shop", **changes: Any) -> Entry:
    """A database with settings worth telling apart; `changes` name fields of either part."""
    fields: dict[str, Any] = {
        "host": f"{app}.example",
        "port": 5432,
        "dbname": f"db-{app}",
        "user": f"u-{app}",
        "password": Secret("CANARY-pw"),
        "sslmode": "require",
        "name": app.title(),
        "group": "Heroku",
        "service": app,
    } | changes
    database = {name: fields.pop(name) for name in ("name", "group", "service")}
    return Entry(Database(DatabaseKey("default", app, "DATABASE"), **database), Login(**fields))


SHOP = entry()


def server(**changes: Any) -> dict[str, Any]:
    """Our service row of `SHOP`; a change to `...` takes a field away."""
    fields = {
        "Name": "Shop",
        "Group": "Heroku",
        "Service": "shop",
        "MaintenanceDB": "db-shop",
        "DBRestriction": "db-shop",
        "ConnectionParameters": {"sslmode": "require", "connect_timeout": 10},
        MARK: "shop/DATABASE",
    } | changes
    return {key: value for key, value in fields.items() if value is not ...}


def file(*servers: Any, **top: Any) -> bytes:
    """A file with these servers, numbered from 1."""
    numbered = {str(number): each for number, each in enumerate(servers, 1)}
    return json.dumps({**top, "Servers": numbered}, indent=2).encode()


def servers_of(data: bytes) -> dict[str, Any]:
    servers: dict[str, Any] = json.loads(data)["Servers"]
    return servers


def planned(client: ServersJson, current: bytes | None, *wanted: Entry) -> dict[str, Any]:
    return servers_of(client.plan(current, wanted).new)


def fields_of(client: ServersJson, current: bytes, *wanted: Entry) -> tuple[str, ...]:
    """Fields of the one update; none when nothing changes."""
    changes = client.plan(current, wanted or [SHOP]).changes
    assert all(change.action is Action.UPDATE for change in changes)
    return changes[0].fields if changes else ()


# --- what is written ---------------------------------------------------------------------


def test_a_new_file_of_service_rows() -> None:
    """A new file is pgAdmin's format with four spaces, and names the service only."""
    edit = SERVICE.plan(None, [SHOP])
    assert edit.changes == (Change(SHOP.key, Action.ADD),)
    assert edit.warnings == ()
    assert edit.new.decode() == (
        "{\n"
        '    "Servers": {\n'
        '        "1": {\n'
        '            "Name": "Shop",\n'
        '            "Group": "Heroku",\n'
        '            "Service": "shop",\n'
        '            "MaintenanceDB": "db-shop",\n'
        '            "DBRestriction": "db-shop",\n'
        '            "ConnectionParameters": {\n'
        '                "sslmode": "require",\n'
        '                "connect_timeout": 10\n'
        "            },\n"
        '            "pgherald": "shop/DATABASE"\n'
        "        }\n"
        "    }\n"
        "}\n"
    )


@pytest.mark.parametrize(
    ("taken", "expected"),
    [
        (["1", "2"], "3"),
        (["7", "3", "x", ""], "8"),
        (["-5", "1.5", "٣"], "1"),
        (["007"], "8"),
        (["999999999", "1000000000", "9" * 5000], "1000000001"),
    ],
)
def test_a_new_server_gets_a_free_number(taken: list[str], expected: str) -> None:
    """A new server is numbered behind the highest number, and never in another's place."""
    old = json.dumps({"Servers": {key: {"Name": "x"} for key in taken}}).encode()
    servers = planned(SERVICE, old, SHOP)
    assert list(servers) == [*taken, expected]


# --- what is updated ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("client", "change", "fields"),
    [
        (SERVICE, {"host": "new", "port": 6000, "user": "new"}, ()),
        (SERVICE, {"dbname": "new"}, ("MaintenanceDB", "DBRestriction")),
        (SERVICE, {"sslmode": "verify-full"}, ("sslmode",)),
        (SERVICE, {"name": "N", "group": "G", "service": "s"}, ("Name", "Group", "Service")),
        (HOST, {"host": "new", "port": 6000, "user": "new"}, ("Host", "Port", "Username")),
        (HOST, {"service": "new"}, ()),
    ],
)
def test_an_update_touches_what_changed(
    client: ServersJson, change: Mapping[str, Any], fields: tuple[str, ...]
) -> None:
    """Only the fields that differ are written, and they are named."""
    old = client.plan(None, [SHOP]).new
    edit = client.plan(old, [entry(**change)])
    assert edit.changes == ((Change(SHOP.key, Action.UPDATE, fields),) if fields else ())
    assert edit.new == old or fields
    assert client.plan(None, [entry(**change)]).new == edit.new


@pytest.mark.parametrize(
    ("spelling", "fields"),
    [
        ('"Port": 5432, "Name": "\\u0053hop"', ()),
        ('"Port": "5432", "Name": "shop"', ("Name", "Port")),
        ('"Port": true, "Name": ["Shop"]', ("Name", "Port")),
        ('"Port": null, "Name": null', ("Name", "Port")),
    ],
)
def test_a_value_is_rewritten_when_pgadmin_would_read_another(
    spelling: str, fields: tuple[str, ...]
) -> None:
    """Another spelling of the same value stays; another JSON type does not."""
    rest = {k: v for k, v in planned(HOST, None, SHOP)["1"].items() if k not in {"Port", "Name"}}
    old = f'{{"Servers": {{"1": {{{spelling}, {json.dumps(rest)[1:]}}}}}'
    assert fields_of(HOST, old.encode()) == fields


@pytest.mark.parametrize("client", [SERVICE, HOST])
@pytest.mark.parametrize(
    "name", ["host", "hostaddr", "port", "user", "password", "dbname", "service"]
)
def test_connection_parameters_never_beat_the_login(client: ServersJson, name: str) -> None:
    """Every connection parameter reaches libpq, so one that names a login's part has to go."""
    old = servers_of(client.plan(None, [SHOP]).new)["1"]
    old["ConnectionParameters"] = {name: "old", "sslrootcert": "/c"} | old["ConnectionParameters"]
    edit = client.plan(file(old), [SHOP])
    assert edit.changes[0].fields == (name,)
    assert servers_of(edit.new)["1"]["ConnectionParameters"] == {
        k: v for k, v in old["ConnectionParameters"].items() if k != name
    }


@pytest.mark.parametrize(("theirs", "fields"), [("databases", ()), ("sql", ("DBRestrictionType",))])
def test_the_restriction_is_a_list_of_names(theirs: Any, fields: tuple[str, ...]) -> None:
    """The DB restriction is never left to be read as SQL."""
    edit = SERVICE.plan(file(server(DBRestrictionType=theirs)), [SHOP])
    assert servers_of(edit.new) == {"1": server(DBRestrictionType="databases")}
    assert (edit.changes[0].fields if edit.changes else ()) == fields


# --- how it is written -------------------------------------------------------------------

FOREIGN_FILE = {"x": [1, {"y": []}], "Servers": {"7": {"Name": "theirs", "Tags": {}}}, "z": None}


@pytest.mark.parametrize("frame", [("", ""), ("", "\n"), ("\n ", "\r\n \n"), ("\ufeff", "\n")])
@pytest.mark.parametrize("newline", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize(
    "style",
    [
        {"indent": 4},
        {"indent": 1},
        {"indent": 0},
        {"indent": "\t"},
        {"indent": 2, "separators": (",", ":")},
        {"separators": (", ", ": ")},
        {"separators": (",", ": ")},
        {"separators": (",", ":")},
    ],
    ids=str,
)
def test_the_layout_stays(style: dict[str, Any], newline: str, frame: tuple[str, str]) -> None:
    """Indentation, line ends, spaces, byte order mark and what frames the file stay as they are."""

    def written(value: object) -> bytes:
        body = json.dumps(value, **style).replace("\n", newline)
        return f"{frame[0]}{body}{frame[1]}".encode()

    old = written(FOREIGN_FILE)
    new = SERVICE.plan(old, [SHOP]).new
    servers = FOREIGN_FILE["Servers"] | {"8": server()}  # type: ignore[operator]  # a dict
    assert new == written(FOREIGN_FILE | {"Servers": servers})
    assert SERVICE.plan(new, [], remove=[SHOP.key]).new == old


def test_letters_are_escaped_as_the_file_does() -> None:
    """ASCII stays ASCII, which pgAdmin reads in every locale; a readable file stays readable."""
    wanted = entry(name="Ünï")
    for old in (None, b'{"a": "\\u00e9"}'):
        new = SERVICE.plan(old, [wanted]).new
        assert new.isascii()
        assert servers_of(new)["1"]["Name"] == "Ünï"
    new = SERVICE.plan('{"a": "é", "b": "\\ud800\\u00e9\\/"}'.encode(), [wanted]).new
    assert new.startswith('{"a": "é", "b": "\\ud800é/", '.encode())
    assert servers_of(new)["1"]["Name"] == "Ünï"
    for whole in (new, SERVICE.plan(b'{"b": "x\\ud800"}', [wanted]).new):
        assert json.loads(whole)["b"].strip("xé/") == "\ud800"


# --- what is ours, and what goes ---------------------------------------------------------


@pytest.mark.parametrize(
    "mark", [None, 7, True, ["shop/DATABASE"], "", "shop", "a/b/c", "shop/\n", "shop/\ud800"]
)
def test_a_mark_that_we_did_not_write_is_foreign(mark: Any) -> None:
    """A server whose mark is no database's key belongs to the person."""
    old = file(server(pgherald=mark))
    assert SERVICE.read(old) == {}
    assert servers_of(SERVICE.plan(old, [SHOP]).new) == {
        "1": server(pgherald=mark),
        "2": server(),
    }


def test_removing_leaves_copies() -> None:
    """Ours goes; a person's copy stays and loses our mark, which is said; neighbours keep their bytes."""
    mine = server(Name="Mine", Group="Private")
    edit = SERVICE.plan(file(server(), {"Name": "x"}, mine), [], remove=[SHOP.key])
    assert edit.changes == (Change(SHOP.key, Action.REMOVE),)
    left = {name: value for name, value in mine.items() if name != MARK}
    expected = {"Servers": {"2": {"Name": "x"}, "3": left}}
    assert edit.new.decode() == json.dumps(expected, indent=2)
    assert edit.outcomes == ("Server 'Mine' is a copy of pgherald's: it stays as it is.",)
    assert SERVICE.plan(edit.new, [], remove=SERVICE.read(edit.new)).changes == ()


# --- what is refused and warned of -------------------------------------------------------


NOT_JSON = "this is not JSON: "
TWICE = "a key stands twice in one object"
INEXACT = "a number is too large or too exact, and would become another one"
CONSTANT = "NaN and Infinity are not JSON"


@pytest.mark.parametrize(
    ("text", "line", "reason"),
    [
        # No JSON at all.
        ('{\n"Servers": {}', 2, NOT_JSON), ('{"a": 1\n"b": 2}', 2, NOT_JSON), ('{"a": "x\n"}', 1, NOT_JSON), ("{}\n}", 2, NOT_JSON), ("?", 1, NOT_JSON), ("\ufeff\ufeff{}", 1, NOT_JSON), ('{\n"S\\u0065rvers": []}', None, '"Servers" is not an object'), ('{"Servers": {},\n "Servers": {}}', None, TWICE), ('{"a": [\nNaN]}', None, CONSTANT), ('{"a": "1e400",\n"b": 1e400}', None, INEXACT), ('{"a": 0e99999999999999999999}', None, INEXACT), ('{"a": -0}', None, INEXACT),
    ],
    ids=lambda value: str(value)[:40],
)  # fmt: skip
def test_refuses_what_it_could_not_keep(text: str, line: int | None, reason: str) -> None:
    """A file that is not pgAdmin's, or that would lose a value, is named with line and reason."""
    for use in (SERVICE.read, SERVICE.services, lambda data: SERVICE.plan(data, [SHOP])):
        with pytest.raises(Unparsable) as caught:
            use(text.encode())
        assert caught.value.reason.startswith(reason)
        assert line in (None, caught.value.line)
        assert caught.value.advice == (
            "Mend the file, or move it away; then pgherald writes a new one."
        )


@pytest.mark.parametrize(
    ("data", "line"),
    [
        ('\n{"a": "é"}'.encode("latin-1"), 2),
        ('\n{"a": 1}'.encode("utf-16"), 1),
        ('\n{"a": 1}'.encode("utf-16-le"), 2),
        (b'\n\n{"a": "\0"}', 3),
        (b'\n"\xed\xa0\x80"', 2),  # half a surrogate pair
    ],
)
def test_refuses_another_encoding(data: bytes, line: int) -> None:
    """A file in another encoding is refused for that reason, not for a puzzling one."""
    with pytest.raises(Unparsable) as caught:
        SERVICE.plan(data, [SHOP])
    assert (caught.value.line, caught.value.reason) == (line, "this is not UTF-8 text")
    assert caught.value.advice == "Save the file as UTF-8."


@pytest.mark.parametrize(("opening", "closing"), [("[", "]"), ('{"a":', "}")])
def test_refuses_bottomless_nesting(opening: str, closing: str) -> None:
    """What Python's stack cannot hold is refused; nothing of it is shown."""

    def deep(depth: int) -> bytes:
        return f'{{"x":{opening * depth}1{closing * depth}}}'.encode()

    new = SERVICE.plan(deep(100), [SHOP]).new
    assert json.loads(new)["x"] == json.loads(deep(100))["x"]
    with pytest.raises(Unparsable, match="objects and lists are nested too deeply"):
        SERVICE.plan(deep(100_000), [SHOP])
    assert set(SERVICE.redact(deep(100_000))) == {MASK}


def test_refuses_a_huge_file() -> None:
    """A file beyond the limit is not even parsed, and none is made."""
    fits = b'{"x": ""}' + b" " * (MAX_SIZE - 9)
    assert SERVICE.read(fits) == {}
    with pytest.raises(Unparsable, match="the file is larger than 16 MiB"):
        SERVICE.read(fits + b" ")
    with pytest.raises(Unparsable, match="the file is larger than 16 MiB"):
        SERVICE.plan(fits, [SHOP])  # nor is one written that would be refused the next time


@pytest.mark.parametrize("word", ["CANARY-pw", '"CANARY-pw', '{"Password": "CANARY-pw" "x"}'])
def test_a_refusal_quotes_nothing(word: str) -> None:
    """No error repeats the file's text, which may be a password."""
    with pytest.raises(Unparsable) as caught:
        SERVICE.read(word.encode())
    assert "CANARY" not in f"{caught.value} {caught.value!r}"
    assert caught.value.__context__ is None  # its error would hold the whole text


def test_warns_of_a_foreign_twin() -> None:
    """A foreign server with our server's name and group is kept, and named."""
    twin = {"Name": "Shop", "Group": "Heroku", "Service": "mine", "MaintenanceDB": "d"}
    old = file(twin | {"Name": "Other"}, twin, twin | {"Group": "Mine"})
    edit = SERVICE.plan(old, [SHOP])
    assert len(edit.warnings) == 1
    assert 'Server "2" ' in edit.warnings[0]
    assert SERVICE.plan(old, []).warnings == ()
    odd = old.replace(b'"2"', b'"\\ud800\\u001b"')
    assert SERVICE.plan(odd, [SHOP]).warnings[0].isprintable()


# --- what is shown -----------------------------------------------------------------------


@pytest.mark.parametrize(
    "member",
    [
        '"Password": "CANARY-pw"',
        '"P\\u0061ssword":"CANARY-pw \\" CANARY"',
        '"TunnelPassword": \n "CANARY-pw"',
        '"PasswordExecCommand": "echo CANARY-pw"',
        '"apiToken": ["CANARY-pw", {"a": "CANARY-pw"}]',
        '"x": {"clientSecret": {"a": {"b": "CANARY-pw"}}}',
        '"Comment": "postgres://u:CANARY-pw@host/db"',
        '"Comment": "postgres:\\/\\/u:CANARY-pw@host"',
        '"PostConnectionSQL": "ALTER ROLE x PASSWORD \'CANARY-pw\'"',
        '"Comment": "password=CANARY-pw"',
    ],
)
@pytest.mark.parametrize("broken", ["", "}", "\n,"])
def test_secrets_are_masked(member: str, broken: str) -> None:
    """No secret is shown, ours or theirs, even when the file cannot be parsed."""
    member = member if not broken else member.replace("\\u0061", "a")
    text = f'{{"Servers": {{\n"1": {{"Name": "CANARY",\n{member}\n}}}}}}{broken}\n'
    shown = SERVICE.redact(text.encode())
    assert not any("CANARY" in line for line in shown)
    assert any(MASK in line for line in shown)
    assert len(shown) == text.count("\n")


def test_of_a_server_that_is_not_ours_only_the_brackets_are_shown() -> None:
    """Keys, texts and numbers are masked; what can only be yes, no or nothing is not."""
    members = {"Name": "a", "Port": 1, "x": ["a", {"y": None}], "SavePassword": True}
    text = json.dumps({"Servers": {"1": members, "odd": {}}, "Note": "x"}).encode()
    mask = f'"{MASK}"'
    one, two, three, four = (f'"{MASK} {number}"' for number in range(1, 5))
    foreign = f"{one}: {mask}, {two}: {mask}, {three}: [{mask}, {{{one}: null}}], {four}: true"
    assert SERVICE.redact(text) == [
        f'{{"Servers": {{"1": {{{foreign}}}, {two}: {{}}}}, {two}: {mask}}}'
    ]


def test_a_diff_shows_our_change_and_nothing_of_theirs() -> None:
    """The lines of ours are seen to change; what is foreign is masked, and an odd layout whole."""
    theirs = {"CANARY": ["CANARY", 4711], "Name": "CANARY"}
    old = file(server(Service="old", Comment="CANARY"), theirs, CANARY=True)
    shown = list(diff_lines(SERVICE, old, SERVICE.plan(old, [SHOP]).new))
    assert [line for line in shown if line[0] in "+-"] == [
        '-      "Service": "old",',
        '+      "Service": "shop",',
    ]
    assert not any("CANARY" in line for line in shown)
    uneven = old.replace(b"\n    ", b"\n\n   ")
    shown = list(diff_lines(SERVICE, uneven, SERVICE.plan(uneven, [SHOP]).new))
    assert any(line[0] == "+" and '"Service": "shop",' in line for line in shown)
    assert not any("CANARY" in line or "4711" in line for line in shown)


@given(st.binary() | st.text('{}[]":,pasword@/\n\r\0\\').map(str.encode))
def test_showing_never_fails(text: bytes) -> None:
    """Whatever the bytes, there is one shown line per line."""
    assert len(SERVICE.redact(text)) == text.count(b"\n") + (
        not text.endswith(b"\n") and text != b""
    )


# --- what holds for every file -----------------------------------------------------------

WORDS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0,"), min_size=1)
SLUGS = st.text("abc-019", min_size=1, max_size=4)
KEYS = st.builds(DatabaseKey, st.sampled_from(["default", "work"]), SLUGS, st.sampled_from("AB"))
LOGINS = st.builds(
    Login,
    host=WORDS,
    port=st.integers(1, 65535),
    dbname=WORDS,
    user=WORDS,
    password=st.just(Secret("CANARY-pw")),
    sslmode=st.sampled_from(["require", "verify-full"]),
)
ENTRIES = st.lists(
    st.builds(Entry, st.builds(Database, KEYS, name=WORDS, group=WORDS, service=WORDS), LOGINS),
    max_size=4,
    unique_by=lambda each: each.key,
)
CLIENTS = st.builds(ServersJson, st.sampled_from(["service", "host"]), st.none() | st.just("/p"))
JUNK = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner),
    max_leaves=6,
)
FOREIGN = st.dictionaries(
    st.text(max_size=3) | st.integers(0, 12).map(str),
    JUNK | st.fixed_dictionaries({"Name": WORDS, "Group": WORDS, "Port": st.just(1.50)}),
    max_size=4,
)


@st.composite
def texts(draw: st.DrawFn, newlines: tuple[str, ...] = ("\n", "\r\n", "\n\n")) -> bytes:
    """A servers.json with foreign servers only, set in any way."""
    top: dict[str, Any] = draw(st.dictionaries(st.text(max_size=2), JUNK, max_size=2))
    top["Servers"] = draw(FOREIGN)
    top |= draw(st.dictionaries(st.text(max_size=2), JUNK, max_size=2))
    style: dict[str, Any] = draw(
        st.sampled_from([{"indent": 4}, {"indent": "\t"}, {}, {"separators": (",", ":")}])
    )
    text = json.dumps(top, ensure_ascii=draw(st.booleans()), **style)
    text = text.replace("\n", draw(st.sampled_from(newlines)))
    frame = draw(st.sampled_from([("", ""), ("\ufeff", "\n"), ("\n ", "\r\n")]))
    return (frame[0] + text + frame[1]).encode()


@st.composite
def files(draw: st.DrawFn) -> bytes:
    """Such a file, with some servers of ours."""
    return draw(CLIENTS).plan(draw(texts()), draw(ENTRIES)).new


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    """Such a file in which one place was overwritten."""
    data = draw(files())
    start = draw(st.integers(0, len(data)))
    end = draw(st.integers(start, min(start + 3, len(data))))
    return data[:start] + draw(st.binary(max_size=3)) + data[end:]


def foreign(data: bytes) -> Any:
    """The file's value without our servers, worked out without the editor's help."""
    top = json.loads(data.decode("utf-8-sig"))
    ours = {str(key) for key in SERVICE.read(data)}
    top["Servers"] = {
        number: each
        for number, each in top.get("Servers", {}).items()
        if not (isinstance(each, dict) and str(each.get(MARK)) in ours)
    }
    return top


@given(files(), CLIENTS, ENTRIES)
def test_what_is_not_ours_keeps_its_values_and_order(
    old: bytes, client: ServersJson, wanted: list[Entry]
) -> None:
    """Foreign keys, servers and their order survive every edit, and so does the removal of ours."""
    new = client.plan(old, wanted).new
    assert json.dumps(foreign(new)) == json.dumps(foreign(old))
    bare = client.plan(new, [], remove=SERVICE.read(new)).new
    assert json.dumps(json.loads(bare.decode("utf-8-sig"))) == json.dumps(foreign(old))


@given(files(), CLIENTS, ENTRIES)
def test_a_second_edit_changes_nothing(
    old: bytes, client: ServersJson, wanted: list[Entry]
) -> None:
    """Edit twice is edit once, and changes are reported when and only when there are any."""
    first = client.plan(old, wanted)
    assert bool(first.changes) is (first.new != old)
    second = client.plan(first.new, wanted)
    assert (second.new, second.changes) == (first.new, ())
    assert second.warnings == first.warnings


@given(files(), CLIENTS, ENTRIES)
def test_what_was_written_is_read_back(
    old: bytes, client: ServersJson, wanted: list[Entry]
) -> None:
    """Reading gives every wanted entry as it was meant, with the stricter of two sslmodes."""
    before = client.read(old)
    held = client.read(client.plan(old, wanted).new)
    for each in wanted:
        login = each.login
        sslmode = strictest(login.sslmode, before.get(each.key, Held()).sslmode)
        assert held[each.key] == (
            Held(dbname=login.dbname, sslmode=sslmode, service=each.database.service)
            if client.rows == "service"
            else Held(login.host, login.port, login.dbname, login.user, None, sslmode)
        )


@given(texts(("\n", "\r\n", "\r")), CLIENTS, ENTRIES)
def test_added_then_removed_is_as_before(
    old: bytes, client: ServersJson, wanted: list[Entry]
) -> None:
    """A database that is added and removed again leaves the old bytes of an evenly set file."""
    assume(b"\x7f" not in old)  # JSON may escape it and need not
    new = client.plan(old, wanted).new
    assert client.plan(new, [], remove=[each.key for each in wanted]).new == old


@given(damaged() | st.binary(max_size=12), CLIENTS, ENTRIES)
def test_any_bytes_are_edited_or_refused(
    old: bytes, client: ServersJson, wanted: list[Entry]
) -> None:
    """Whatever the bytes: `Unparsable`, or a valid file that keeps what was foreign."""
    edit: Edit | Unparsable
    try:
        edit = client.plan(old, wanted)
    except Unparsable as exc:
        edit = exc
    if isinstance(edit, Unparsable):
        assert edit.line is None or 1 <= edit.line <= old.count(b"\n") + 1
        return
    if not edit.changes:
        assert edit.new == old
        return
    new = json.loads(edit.new.decode("utf-8-sig"))
    assert len(new["Servers"]) >= len(wanted)
    if old.removeprefix(b"\xef\xbb\xbf").strip(b" \t\r\n"):
        assert json.dumps(foreign(edit.new)) == json.dumps(foreign(old))
