"""The password file: what libpq must read, and what of other people's lines must stay."""

from __future__ import annotations

import dataclasses

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from pgherald.clients import block, pgpass
from pgherald.clients.base import Action, Change, Held, TextClient
from pgherald.clients.pgpass import Pgpass
from pgherald.errors import Inexpressible, Unparsable
from pgherald.model import DatabaseKey, Entry, Login
from pgherald.secret import MASK, Secret
from support import strategies

EDITOR: TextClient = Pgpass()
SHOP = DatabaseKey("default", "shop", "DATABASE")
BLOG = DatabaseKey("default", "blog", "DATABASE")
LOGIN = Login("db.example.com", 5432, "d1", "u1", Secret("CANARY-pw-1"))
ENTRY = strategies.entry(SHOP, LOGIN)

BLOCK = b"""\
# >>> pgherald: this part is rewritten, put your own lines below it >>>
# pgherald: shop/DATABASE
db.example.com:5432:*:u1:CANARY-pw-1
# <<< pgherald: end of the part that is rewritten, your own lines go below <<<
"""
END = BLOCK.splitlines(keepends=True)[-1]
LINE = BLOCK.splitlines(keepends=True)[2]


def changed(**fields: object) -> Login:
    """The login with some fields changed."""
    return dataclasses.replace(LOGIN, **fields)  # type: ignore[arg-type]  # the fields are the test's to choose


def entry(key: DatabaseKey = SHOP, /, **fields: object) -> Entry:
    """An entry with some fields of its login changed."""
    return strategies.entry(key, changed(**fields))


def found(text: bytes, login: Login, dbname: str = "any") -> str | None:
    """The password that libpq takes from the file."""
    secret = pgpass.lookup(text, login.host, login.port, dbname, login.user)
    return None if secret is None else secret.reveal()


def test_format_is_stable() -> None:
    """The bytes of a written block are a format that later versions must still read."""
    assert EDITOR.plan(None, [ENTRY]).new == BLOCK
    held = Held("db.example.com", 5432, None, "u1", LOGIN.password)
    assert EDITOR.read(BLOCK) == {SHOP: held}
    assert (EDITOR.kind, EDITOR.label, EDITOR.private) == ("pgpass", "psql", True)


@given(data=st.data())
def test_libpq_finds_what_was_wanted(data: st.DataObject) -> None:
    """In any file, after an edit, a look-up by libpq's rules gives each wanted password."""
    before = EDITOR.plan(
        data.draw(strategies.pgpass_files()), data.draw(strategies.entry_lists())
    ).new
    file = data.draw(
        st.one_of(st.just(before), strategies.mangled(before, strategies.pgpass_rows()))
    )
    entries = data.draw(strategies.entry_lists())
    also = {each.key: data.draw(st.lists(strategies.logins(), max_size=2)) for each in entries}
    try:
        new = EDITOR.plan(file, entries, also=also).new
    except Unparsable:
        return
    for each in entries:
        for dbname in (each.login.dbname, "other"):
            assert found(new, each.login, dbname) == each.login.password.reveal()
    roles = {(each.login.host, each.login.port, each.login.user) for each in entries}
    for login in [login for old in also.values() for login in old]:
        if (login.host, login.port, login.user) not in roles:
            assert found(new, login) is not None


@given(data=st.data())
def test_other_logins_mean_what_they_meant(data: st.DataObject) -> None:
    """No edit changes what libpq finds for a login that is not ours."""
    file = data.draw(strategies.pgpass_files())
    # Behind a byte order mark libpq does not see the first line; that is not kept.
    assume(not file.startswith(strategies.BOM))
    new = EDITOR.plan(file, data.draw(strategies.entry_lists())).new
    host = data.draw(st.sampled_from(["a", "b", "a:b", "localhost", "", "*", "\\"]))
    user = data.draw(st.sampled_from(["a", "b", "ab", "*", "localhost", "no one has it"]))
    args = (host, 5432, "a", user)
    assume(pgpass.lookup(EDITOR.plan(None, _entries(new)).new, *args) is None)
    assert pgpass.lookup(new, *args) == pgpass.lookup(file, *args)


def _entries(text: bytes) -> list[Entry]:
    """What the block holds, as entries."""
    return [
        strategies.entry(key, Login(h.host or "", h.port or 0, "d", h.user or "", h.password))
        for key, h in EDITOR.read(text).items()
        if h.password is not None
    ]


@pytest.mark.parametrize(
    ("fields", "line"),
    [
        ({"host": "::1"}, b"\\:\\:1:5432:*:u1:CANARY-pw-1"),
        ({"host": "#h"}, b"\\#h:5432:*:u1:CANARY-pw-1"),
        ({"user": "a\\b:c"}, b"db.example.com:5432:*:a\\\\b\\:c:CANARY-pw-1"),
        ({"user": "**"}, b"db.example.com:5432:*:**:CANARY-pw-1"),
        ({"password": Secret("C:\\ ANARY ")}, b"db.example.com:5432:*:u1:C\\:\\\\ ANARY "),
        ({"password": Secret("")}, b"db.example.com:5432:*:u1:"),
        ({"password": Secret("\udcff")}, b"db.example.com:5432:*:u1:\xff"),
    ],
)
def test_special_characters_are_escaped(fields: dict[str, object], line: bytes) -> None:
    """Each field is written so that libpq, and we, read back what was meant."""
    new = EDITOR.plan(None, [entry(**fields)]).new
    assert new.split(b"\n")[2] == line
    login = changed(**fields)
    assert found(new, login) == login.password.reveal()
    assert EDITOR.read(new)[SHOP].password == login.password
    assert EDITOR.plan(new, [entry(**fields)]).new is new


@pytest.mark.parametrize(
    ("line", "fields"),
    [
        (b"db.example.com:5432:d1:u1:CANARY-pw-1\n", ("dbname",)),
        (b"db.example.com:*:*:*:CANARY-pw-1\n", ("port", "user")),
        (b"db.example.com:5432:*:u1\n", ("host", "port", "user", "password")),
        (b"db.example.com:5432:*:u1:CANARY-pw-1:x\n", ("host", "port", "user", "password")),
        (b"?\n", ("host", "port", "user", "password")),
        (b"", ("host", "port", "user", "password")),
    ],
)
def test_a_damaged_line_is_mended(line: bytes, fields: tuple[str, ...]) -> None:
    """The line under our comment is ours whatever it says, and the change names what was wrong."""
    damaged = BLOCK.replace(LINE, line)
    edit = EDITOR.plan(damaged, [ENTRY])
    assert edit.new == BLOCK
    assert edit.changes == (Change(SHOP, Action.UPDATE, fields),)
    assert EDITOR.plan(damaged, []).new is damaged


@pytest.mark.parametrize(
    ("line", "held"),
    [
        (b"?\n", Held()),
        (b"", Held()),
        (b"*:*:*:*:CANARY\n", Held(password=Secret("CANARY"))),
        (b"h:x:d:u\\:v:CANARY\\\n", Held(host="h", user="u:v", password=Secret("CANARY\\"))),
    ],
)
def test_held_is_none_where_nothing_can_be_read(line: bytes, held: Held) -> None:
    """A wildcard, a port that is no number, a line that is none: None, never a guess."""
    assert EDITOR.read(BLOCK.replace(LINE, line)) == {SHOP: held}


def test_unknown_lines_beneath_our_comment_are_not_taken_for_ours() -> None:
    """When it is not clear which line is ours, all are kept below."""
    own = b"h:1:d:me:CANARY-mine\n"
    current = BLOCK.replace(LINE, own + LINE)
    edit = EDITOR.plan(current, [entry(user="u2")])
    assert edit.new == BLOCK.replace(b"u1", b"u2") + own + LINE
    assert EDITOR.plan(current, []).new is current
    assert EDITOR.plan(current, [], remove=[SHOP]).new == own + LINE


def test_logins_kept_readable_stand_behind_the_wanted_one() -> None:
    """During a commit both can be read, each line is there once, and afterwards they go."""
    old, older = changed(user="u0"), changed(host="old.example.com")
    also = {SHOP: [old, older, old, LOGIN, changed(user="*")], BLOG: [old]}
    both = EDITOR.plan(BLOCK, [ENTRY], also=also)
    comment = b"# pgherald: shop/DATABASE\n"
    extra = comment + LINE.replace(b"u1", b"u0") + comment + LINE.replace(b"db.", b"old.")
    assert both.new == BLOCK.replace(END, extra + END)
    assert both.changes == (Change(SHOP, Action.UPDATE, ("old login",)),)
    assert EDITOR.plan(both.new, [ENTRY], also=also).new is both.new
    assert EDITOR.read(both.new) == EDITOR.read(BLOCK)
    after = EDITOR.plan(both.new, [ENTRY])
    assert (after.new, after.changes) == (BLOCK, both.changes)


def test_a_login_kept_readable_never_hides_a_wanted_one() -> None:
    """An old password of a role stands nowhere in front of the role's new one."""
    second = entry(BLOG, user="u2", password=Secret("CANARY-pw-2"))
    old = changed(user="u2", password=Secret("CANARY-old"))
    new = EDITOR.plan(None, [ENTRY, second], also={SHOP: [old]}).new
    assert found(new, old) == "CANARY-pw-2"


@pytest.mark.parametrize("line", [LINE, b"?\n", b"*:*:*:*:CANARY-old\n"])
def test_a_left_over_line_never_hides_a_wanted_one(line: bytes) -> None:
    """A database that nobody wants now may be another name of one that is: its line goes last."""
    left_over = BLOCK.replace(LINE, line)
    wanted = entry(BLOG, password=Secret("CANARY-pw-2"))
    new = EDITOR.plan(left_over, [wanted]).new
    assert found(new, LOGIN) == "CANARY-pw-2"
    assert list(EDITOR.read(new)) == [BLOG, SHOP]
    assert EDITOR.plan(new, [wanted]).new is new
    assert BLOG not in EDITOR.read(EDITOR.plan(new, [], remove=[BLOG]).new)


def test_two_passwords_for_one_role_are_pointed_out() -> None:
    """Where the file cannot satisfy both databases, the person learns which one it serves."""
    wanted = [entry(BLOG, password=Secret("CANARY-pw-2")), ENTRY]
    edit = EDITOR.plan(BLOCK, wanted)
    assert edit.warnings == (
        (
            "shop/DATABASE and blog/DATABASE have the same host, port and user but different "
            "passwords; psql takes that of shop/DATABASE."
        ),
    )
    assert found(edit.new, LOGIN) == "CANARY-pw-1"


def test_a_user_who_would_match_any_is_refused() -> None:
    """A login without a form in this file is refused by name, with advice and no secret."""
    with pytest.raises(Inexpressible, match="the user of shop/DATABASE is `\\*`") as caught:
        EDITOR.plan(None, [entry(user="*")])
    assert "heroku pg:credentials:rotate DATABASE --app shop" in caught.value.advice
    assert "CANARY" not in str(caught.value)


@pytest.mark.parametrize(
    ("line", "shown"),
    [
        ("h:1:d:u:CANARY", "h:1:d:u:" + MASK),
        ("h:1:d:u:CANARY:more", "h:1:d:u:" + MASK),
        ("a\\:b:1:d:u:CANARY", "a\\:b:1:d:u:" + MASK),
        ("::1:1:d:u:CANARY", "::1:1:" + MASK),
        ("h:1:u:CANARY", MASK),
        ("h\\:1\\:d\\:u\\:CANARY", MASK),
        ("CANARY", MASK),
        ("# CANARY", MASK),
        ("  ", "  "),
    ],
)
def test_redacted_line(line: str, shown: str) -> None:
    """Of our line the password is masked, or all of it where it is not clear where that is."""
    ours = [block.BEGIN.decode(), "# pgherald: shop/DATABASE", line]
    assert EDITOR.redact("\n".join(ours).encode()) == [*ours[:2], shown]


@pytest.mark.parametrize(
    "line", ["h:1:d:u:CANARY", "CANARY", "# CANARY", " # my bank: 1234", "[x]"]
)
def test_a_line_that_is_not_ours_is_masked_whole(line: str) -> None:
    """Whatever it looks like, and wherever it stands: anything may be in a comment."""
    for above in (
        [], [block.BEGIN.decode()], ["# pgherald: shop/DATABASE"],
        [block.BEGIN.decode(), "# pgherald: shop/DATABASE", "h:1:d:u:x"],
        [block.BEGIN.decode(), "# pgherald: shop/DATABASE", "h:1:d:u:x", block.END.decode()],
    ):  # fmt: skip
        text = "\n".join([*above, line, "", "\t"])
        assert EDITOR.redact(text.encode())[-3:] == [MASK, "", "\t"]


@pytest.mark.parametrize(
    ("asked", "user"),
    [
        ("u1", "u1"),
        ('"u1"', "u1"),
        ('"Odd ""name"""', 'Odd "name"'),
        ('"', '"'),
        ('""', ""),
        ('"u1', '"u1'),
        ('u1"', 'u1"'),
        ("", ""),
    ],
)
def test_the_quotes_of_pgadmin(asked: str, user: str) -> None:
    """PgAdmin's quotes around a user name are undone, and nothing else is."""
    assert pgpass.unquoted(asked) == user
