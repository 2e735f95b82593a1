"""The password file in corners: whose a line is, which one stands first, what libpq skips."""

from __future__ import annotations

import pytest

from pgherald.clients import block, pgpass
from pgherald.clients.base import Action, Change
from pgherald.clients.pgpass import Pgpass
from pgherald.errors import Inexpressible
from pgherald.model import DatabaseKey, Entry, Login
from pgherald.secret import Secret
from support import strategies

EDITOR = Pgpass()
A = DatabaseKey("default", "a", "DATABASE")
B = DatabaseKey("default", "b", "DATABASE")


def login(user: str = "u1", password: str = "CANARY-1", port: int = 5432) -> Login:  # noqa: S107 – meant to be found
    return Login("h.example.com", port, "d1", user, Secret(password))


def wanted(key: DatabaseKey = A, **fields: object) -> Entry:
    return strategies.entry(key, login(**fields))  # type: ignore[arg-type]  # the fields are the test's to choose


def with_rows(*rows: bytes, above: bytes = b"") -> bytes:
    """A file in which these rows stand beneath the comment of A."""
    inner = above + block.comment(A) + b"\n" + b"".join(rows)
    return block.BEGIN + b"\n" + inner + block.END + b"\n"


LINE = b"h.example.com:5432:*:u1:CANARY-1\n"


# --- whose a line is -----------------------------------------------------------------------


@pytest.mark.parametrize("typed", [b"\n", b"  # typed\n", b"# typed\n", b" \t\r\n"])
def test_what_is_no_login_beneath_our_comment_hides_none(typed: bytes) -> None:
    """A blank line or a remark among ours does not keep ours from being known and changed."""
    for rows in ((typed, LINE), (LINE, typed)):
        current = with_rows(*rows)
        assert EDITOR.read(current)[A].user == "u1"
        edit = EDITOR.plan(current, [wanted(user="u2")])
        assert edit.changes == (Change(A, Action.UPDATE, ("user",)),)
        assert edit.new == with_rows(LINE.replace(b":u1:", b":u2:")) + typed


def test_a_password_may_end_like_a_remark() -> None:
    """What makes a remark is a line's first byte and no other."""
    current = EDITOR.plan(None, [wanted(password="CANARY#")]).new
    assert EDITOR.read(current)[A].password == Secret("CANARY#")
    assert pgpass.lookup(current, "h.example.com", 5432, "d1", "u1") == Secret("CANARY#")


def test_of_two_equal_lines_one_is_ours() -> None:
    """A copy of our line is the person's, and stays below."""
    edit = EDITOR.plan(with_rows(LINE, LINE), [wanted()])
    assert edit.new == with_rows(LINE) + LINE


# --- which one stands first ----------------------------------------------------------------


def order(edit_of: bytes) -> list[DatabaseKey]:
    return list(EDITOR.read(edit_of))


def test_a_line_that_nobody_wants_keeps_its_place() -> None:
    """Where it is in nobody's way; also one that a wanted login equals."""
    for other in (wanted(user="u9"), wanted(port=6543), wanted()):
        current = EDITOR.plan(None, [other, wanted(B)]).new
        assert order(EDITOR.plan(current, [wanted(B)]).new) == [A, B]


@pytest.mark.parametrize("line", [b"*:5432:*:u1:CANARY-9\n", b"h.example.com:5432\n", b""])
def test_a_line_that_may_match_first_goes_behind(line: bytes) -> None:
    """A wildcard, or a line that cannot be read, is put behind the wanted ones."""
    current = EDITOR.plan(None, [wanted(A, user="u9"), wanted(B)]).new
    current = current.replace(b"h.example.com:5432:*:u9:CANARY-1\n", line)
    assert order(EDITOR.plan(current, [wanted(B)]).new) == [B, A]


def test_one_line_in_the_way_is_enough() -> None:
    """A database with several lines goes behind when any of them hides a wanted one."""
    current = EDITOR.plan(None, [wanted(A, user="u8"), wanted(B)], also={A: [login("u9")]}).new
    rotated = wanted(B, user="u9", password="CANARY-2")
    assert order(EDITOR.plan(current, [rotated]).new) == [B, A]


def test_a_wanted_line_keeps_its_place_when_it_changes() -> None:
    """A rotation moves nothing."""
    current = EDITOR.plan(None, [wanted(A), wanted(B, user="u2")]).new
    assert order(EDITOR.plan(current, [wanted(A, password="CANARY-2"), wanted(B, user="u2")]).new) == [A, B]  # fmt: skip


def test_a_login_that_is_kept_readable_is_no_change() -> None:
    """Planned again, a file with old logins in it is as it should be."""
    also = {A: [login("u0"), login("u00")]}
    current = EDITOR.plan(None, [wanted()], also=also).new
    edit = EDITOR.plan(current, [wanted()], also=also)
    assert (edit.new is current, edit.changes) == (True, ())
    # Nor is it one when another database changes.
    edit = EDITOR.plan(current, [wanted(), wanted(B, user="u2")], also=also)
    assert edit.changes == (Change(B, Action.ADD),)


def test_whose_password_is_hidden() -> None:
    """Two databases at one port with one user are pointed out, by their wanted passwords alone."""
    entries = [wanted(A), wanted(B, password="CANARY-2")]
    said = (
        "a/DATABASE and b/DATABASE have the same host, port and user but different passwords; "
        "psql takes that of a/DATABASE."
    )
    assert EDITOR.plan(None, entries, also={A: [login("u0")]}).warnings == (said,)
    other_port = [wanted(A), wanted(B, password="CANARY-2", port=6543)]
    assert EDITOR.plan(None, other_port).warnings == ()
    # What is kept readable beside it is not compared.
    kept = {A: [login("u0")], B: [login("u0", "CANARY-0")]}
    assert EDITOR.plan(None, [wanted(A), wanted(B, user="u2")], also=kept).warnings == ()


# --- what libpq skips, what is refused -----------------------------------------------------


def test_a_line_that_ends_too_soon_matches_nothing() -> None:
    """A host that is only the beginning of the one asked for is another host."""
    for text in (
        b"h",
        b"h.example.co",
        b"h.example.com",
        b"h.example.com:",
        b"h.example.com:5432:*:u",
    ):
        assert pgpass.lookup(text, "h.example.com", 5432, "d1", "u1") is None


def test_a_remark_that_would_match_is_a_remark() -> None:
    """A line that begins with `#` is skipped, whatever host is asked for."""
    assert pgpass.lookup(b"#h:5432:*:u1:CANARY\n", "#h", 5432, "d1", "u1") is None
    assert pgpass.lookup(b"\\#h:5432:*:u1:CANARY\n", "#h", 5432, "d1", "u1") == Secret("CANARY")


def test_a_wildcard_is_no_name() -> None:
    """A host that would match any is refused, in words that say which."""
    with pytest.raises(Inexpressible) as caught:
        EDITOR.plan(None, [wanted(user="*")])
    assert caught.value.reason == "the user of a/DATABASE is `*`, which matches any"
    assert caught.value.advice == (
        "Let Heroku make a new login: `heroku pg:credentials:rotate DATABASE --app a`."
    )
