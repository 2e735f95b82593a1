"""Lines, key comments and keywords: the small parts that the editors of text stand on."""

from __future__ import annotations

import pytest

from pgherald.clients import block, lines
from pgherald.errors import Unparsable
from pgherald.model import DatabaseKey
from pgherald.secret import MASK

SHOP = DatabaseKey("default", "shop", "DATABASE")


# --- lines ---------------------------------------------------------------------------------


def test_the_byte_order_mark() -> None:
    """U+FEFF, as editors on Windows put it at the beginning of a UTF-8 file."""
    assert "\ufeff".encode() == lines.BOM


def test_only_its_end_is_taken_from_a_line() -> None:
    """Any run of CR and LF goes, and nothing else does."""
    assert lines.bare(b"a?\r\r\n\n") == b"a?"


@pytest.mark.parametrize(
    ("text", "line"), [(b"\n\0", 2), (b"\0\n\0", 1), (b"a\n\0\n\n\0", 2), (b"\0", 1)]
)
def test_the_first_nul_is_named(text: bytes, line: int) -> None:
    """Of several NULs the person is led to the first."""
    with pytest.raises(Unparsable) as caught:
        lines.refuse_binary(text)
    assert (caught.value.line, caught.value.reason) == (line, "the line holds a NUL byte")


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be"])
def test_utf_16_is_known_in_either_order(encoding: str) -> None:
    """Both byte orders are called by their name."""
    with pytest.raises(Unparsable) as caught:
        lines.refuse_binary("\ufeff# mine\n".encode(encoding))
    assert (caught.value.line, caught.value.reason) == (1, "the file is UTF-16")


@pytest.mark.parametrize(
    ("value", "port"),
    [(b"65535", 65535), (b" 5432\t", 5432), (b"123456", None), (b"54x", None), (b"", None),
     (None, None), (b"-1", None)],
)  # fmt: skip
def test_what_a_port_is(value: bytes | None, port: int | None) -> None:
    """A port has five digits at most, with white space around it."""
    assert lines.number(value) == port


@pytest.mark.parametrize(
    ("text", "at"),
    [("h:5432:d:u:CANARY", 11), (r"a\:b:c:d:e", None), (r"a\:b:c:d:e:f", 11), ("h:5432:d:u", None),
     ("::::", 4)],
)  # fmt: skip
def test_where_a_passwords_field_begins(text: str, at: int | None) -> None:
    """Behind the fourth colon that is no part of a field, counted from the line's beginning."""
    assert lines.fifth_field(text) == at


def test_the_first_secret_of_a_line_counts() -> None:
    """A line is masked from where the first secret may begin."""
    text = "token: a, password=b"
    assert lines.mask_from(text, lines.secret_at(text)) == f"token: {MASK}"
    # By whichever rule: a word, a URL with a user, a fifth field, a long run.
    assert lines.secret_at("postgres://u@h password=x") == len("postgres://")
    assert lines.secret_at("password=a://b@c") == len("password=")
    assert lines.secret_at("# a plain remark") == len("# a plain remark")


# --- key comments --------------------------------------------------------------------------


@pytest.mark.parametrize(
    "line", [b"shop/DATABASE", b"# pgherald: a/", b"# pgherald: /b", b"# pgherald: a/b/c"]
)
def test_what_names_no_database(line: bytes) -> None:
    """A line is a key comment if it begins as one and names a key; anything else is the person's."""
    assert block.key_of(line) is None
    assert not block.is_ours(line)


def test_the_longest_key_comment() -> None:
    """Five hundred bytes are read back, with all around them; one more is no comment of ours."""
    room = 500 - len("# pgherald: /DATABASE")
    longest = DatabaseKey("default", "x" * room, "DATABASE")
    assert block.key_of(block.comment(longest)) == longest
    assert block.key_of(block.comment(longest) + b" ") is None


def test_a_key_keeps_its_odd_bytes() -> None:
    """A name that was no UTF-8 is written as the bytes that it was."""
    odd = DatabaseKey("default", "shop\udcff", "DATABASE")
    assert block.comment(odd) == b"# pgherald: shop\xff/DATABASE"
    assert block.key_of(block.comment(odd)) == odd


@pytest.mark.parametrize("line", [block.BEGIN, b" " + block.END + b"\r\n", block.comment(SHOP)])
def test_our_own_comments_are_known(line: bytes) -> None:
    """Both markers and the key comments are ours."""
    assert block.is_ours(line)


# --- the block -----------------------------------------------------------------------------


def test_an_empty_block_is_left_alone() -> None:
    """A block that held nothing and shall hold nothing stays, and what is to be said is said."""
    text = b"# mine\n" + block.BEGIN + b"\n" + block.END + b"\n"
    edit = block.split(text).edit({}, [b"# mine\n"], (), warnings=["said"])
    assert (edit.new, edit.changes, edit.warnings) == (text, (), ("said",))


def test_the_first_line_decides_about_line_ends() -> None:
    """A file whose line ends are mixed gets those of its first line."""
    assert block.split(b"a\r\nb\n").eol == b"\r\n"
    assert block.split(b"a\nb\r\n").eol == b"\n"
    assert block.split(b"").eol == b"\n"
