"""The sections of a service file: which are ours, and where a line ends to be one."""

from __future__ import annotations

import pytest

from pgherald.clients import block, sections, service_file
from pgherald.clients.base import Action, Change
from pgherald.clients.sections import TOO_LONG
from pgherald.clients.service_file import ServiceFile
from pgherald.errors import Inexpressible, Unparsable
from pgherald.model import DatabaseKey, Entry, Login
from pgherald.secret import Secret
from support import strategies

EDITOR = ServiceFile()
SHOP = DatabaseKey("default", "shop", "DATABASE")
BLOG = DatabaseKey("default", "blog", "DATABASE")
LOGIN = Login("db.example.com", 5432, "d1", "u1", Secret("CANARY-pw-1"))
ENTRY = strategies.entry(SHOP, LOGIN, "shop")
SECOND = strategies.entry(BLOG, LOGIN, "blog")

#: The advice where the shop's login cannot be held.
NEW_LOGIN = "Let Heroku make a new login: `heroku pg:credentials:rotate DATABASE --app shop`."


def block_of(*slots: tuple[DatabaseKey, bytes]) -> block.Parts:
    """A file whose block has these slots."""
    inner = b"".join(block.comment(key) + b"\n" + body for key, body in slots)
    return block.split(block.BEGIN + b"\n" + inner + block.END + b"\n")


@pytest.mark.parametrize(
    ("header", "name"),
    [
        (b"[shop]", b"shop"), (b"[shop] # mine", b"shop"), (b"[a] [b]", b"a"), (b"[]", b""),
        (b"shop]", None), (b"[shop", None), (b"", None), (None, None), (b"x[shop]", None),
    ],
)  # fmt: skip
def test_which_service_a_header_defines(header: bytes | None, name: bytes | None) -> None:
    """It begins with a bracket, and the first closing one ends the name."""
    assert sections.service(header) == name


@pytest.mark.parametrize(("length", "counted"), [(TOO_LONG - 1, False), (TOO_LONG, True)])
def test_a_line_that_is_too_long_counts(length: int, *, counted: bool) -> None:
    """A line that fills its buffer is refused by libpq, be it a remark or a header."""
    assert sections.counts(b"#".ljust(length, b"x")) is counted
    assert sections.is_loose([b"# x\n", b"[".ljust(length, b"x")]) is counted


def test_what_is_loose() -> None:
    """What stands before the first header, remarks and blank lines aside."""
    assert sections.is_loose([b"\n", b"# x\n", b"host=x\n", b"[a]\n"])
    assert not sections.is_loose([b"\n", b"# x\n", b" [a]\n", b"host=x\n"])
    assert not sections.is_loose([])


@pytest.mark.parametrize(("length", "stays"), [(TOO_LONG - 1, True), (TOO_LONG, False)])
def test_a_line_that_is_too_long_leaves_our_section(length: int, *, stays: bool) -> None:
    """It would make libpq refuse all."""
    row = b"options=".ljust(length - 1, b"x") + b"\n"
    sorted_rows = sections.sort(block_of((SHOP, b"[shop]\nhost=h\n" + row)), {SHOP: b"[shop]"})
    assert (row in sorted_rows.sections[SHOP].raw) is stays
    assert (row in sorted_rows.stray) is not stays


@pytest.mark.parametrize(
    ("row", "stays"),
    [
        (b"application_name=me\n", True), (b"Password = x\n", True), (b"# mine\n", True),
        (b"\n", True), (b"user\n", False), (b"host2=x\n", False), (b"2host=x\n", False),
        (b"service=other\n", False), (b"ldap://h/\n", False),
    ],
)  # fmt: skip
def test_what_may_stand_in_our_section(row: bytes, *, stays: bool) -> None:
    """What libpq takes for a keyword and its value, and what it takes no note of."""
    found = sections.sort(block_of((SHOP, b"[shop]\nhost=h\n" + row)), {SHOP: b"[shop]"})
    assert (row in found.sections[SHOP].raw) is stays
    assert (row in found.stray) is not stays


def test_a_section_ends_at_the_next_header() -> None:
    """What another section says is not read as ours, though both are left together."""
    body = b"[shop]\nhost=h\n[mine]\nuser=u\n# mine\n"
    section = sections.sort(block_of((SHOP, body)), {}).sections[SHOP]
    assert (section.values, section.kept, section.headless) == ({"host": b"h"}, (), False)
    assert b"".join(section.raw).endswith(body)


@pytest.mark.parametrize(("row", "headless"), [(b"# mine\n", False), (b"\n", False), (b"user=u\n", True)])  # fmt: skip
def test_what_spoils_the_section_before(row: bytes, *, headless: bool) -> None:
    """A setting above our header is one of the section before; a remark is none."""
    section = sections.sort(block_of((SHOP, row + b"[shop]\nhost=h\n")), {}).sections[SHOP]
    assert section.headless is headless


def test_of_a_copied_section_the_first_is_ours() -> None:
    """What someone copied is theirs: it neither names what goes nor hides what follows."""
    parts = block_of((SHOP, b"[shop]\n"), (SHOP, b"[taken]\n"), (BLOG, b"[blog]\n"))
    assert sections.leaving(parts, {BLOG: b"[taken]"}, ()) == set()
    assert sections.leaving(parts, {BLOG: b"[shop]"}, ()) == {SHOP}
    found = sections.sort(parts, {BLOG: b"[blog]"})
    assert list(found.sections) == [SHOP, BLOG]
    assert found.sections[SHOP].header == b"[shop]"
    assert found.foreign == [b"[taken]\n"]


def test_no_section_of_the_persons_goes_with_ours() -> None:
    """Where nobody can tell which of two sections is ours, both stay as the person's."""
    first, second = EDITOR.plan(None, [ENTRY]).new, EDITOR.plan(None, [SECOND]).new
    typed = b"[mine]\nhost=x\n"
    ours = b"".join(first.splitlines(keepends=True)[2:-1])
    end = block.END + b"\n"
    inner = block.comment(SHOP) + b"\n" + ours + typed
    edit = EDITOR.plan(second.replace(end, inner + end), [SECOND], remove=[SHOP])
    assert edit.changes == (Change(SHOP, Action.REMOVE),)
    assert edit.new == second + ours + typed


# --- what is said --------------------------------------------------------------------------


@pytest.mark.parametrize("loose", [b"", b"host=loose\n"])
def test_a_hidden_section_is_named_with_its_line_in_the_new_file(loose: bytes) -> None:
    """The line is that of the new bytes, whatever pgherald puts above it."""
    edit = EDITOR.plan(loose + b"# mine\n[shop]\nhost=x\n", [ENTRY])
    number = [row for row, text in enumerate(edit.new.split(b"\n"), 1) if text == b"[shop]"][-1]
    (said,) = edit.warnings
    assert said.startswith(f"Your own section [shop] on line {number} is hidden by pgherald's ")


def test_doubtful_lines_are_named_in_each_section() -> None:
    """A section that nobody wants now keeps no other's from being looked at."""
    current = EDITOR.plan(None, [ENTRY, SECOND]).new
    current = current.replace(block.END, b"hostaddr=10.0.0.1=x\nodd=1\n" + block.END)
    assert EDITOR.plan(current, [SECOND]).warnings == (
        "Your line `hostaddr=` in [blog] sends libpq there, whatever the host is.",
        "Your own lines in [blog] hold a keyword that libpq may refuse.",
    )


@pytest.mark.parametrize(
    ("entry", "reason", "advice"),
    [
        (
            strategies.entry(SHOP, Login("h ", 5432, "d ", "u", Secret("CANARY")), "shop"),
            "the host of shop/DATABASE is not the name of one host",
            NEW_LOGIN,
        ),
        (
            strategies.entry(SHOP, Login("h", 5432, "d ", "u", Secret("CANARY")), "shop"),
            "the dbname of shop/DATABASE ends in white space",
            NEW_LOGIN,
        ),
        (
            strategies.entry(SHOP, Login("h", 5432, "d", "u" * TOO_LONG, Secret("CANARY")), "shop"),
            "the user of shop/DATABASE is too long for libpq",
            NEW_LOGIN,
        ),
        (
            strategies.entry(SHOP, Login("h", 5432, "d", "\ud800", Secret("CANARY")), "shop"),
            "the user of shop/DATABASE holds what UTF-8 cannot express",
            NEW_LOGIN,
        ),
        (
            strategies.entry(SHOP, Login("h", 5432, "d\n", "u", Secret("CANARY")), "shop"),
            "the dbname of shop/DATABASE holds a line break",
            NEW_LOGIN,
        ),
        (
            strategies.entry(SHOP, Login("h", 5432, "d\0", "u", Secret("CANARY")), "shop"),
            "the dbname of shop/DATABASE holds a NUL byte",
            NEW_LOGIN,
        ),
        (
            strategies.entry(SHOP, Login("h", 5432, "d", "", Secret("CANARY")), "shop"),
            "the user of shop/DATABASE is empty",
            NEW_LOGIN,
        ),
        (
            strategies.entry(SHOP, LOGIN, "a]b"),
            "the service name of shop/DATABASE cannot stand in a service file",
            "Give this database another `service` in the configuration.",
        ),
    ],
)
def test_why_a_login_is_refused(entry: Entry, reason: str, advice: str) -> None:
    """A refusal says which field of which database, why, and what helps."""
    with pytest.raises(Inexpressible) as caught:
        EDITOR.plan(None, [entry])
    assert (caught.value.reason, caught.value.advice) == (reason, advice)


@pytest.mark.parametrize(
    ("wanted", "said"),
    [
        ([ENTRY, ENTRY], "a database is wanted twice"),
        ([ENTRY, strategies.entry(BLOG, LOGIN, "shop")], "a service is wanted twice"),
    ],
)
def test_what_is_wanted_twice(wanted: list[Entry], said: str) -> None:
    """A mistake of the program says what it is."""
    with pytest.raises(ValueError, match=f"^{said}$"):
        EDITOR.plan(None, wanted)


@pytest.mark.parametrize(
    ("text", "line", "reason"),
    [
        (b"\n[shop]\nodd\n", 3, "the line is none that libpq accepts in a section"),
        (b"\n\n#".ljust(TOO_LONG + 2, b"x"), 3, "the line is longer than libpq can read"),
        (block.BEGIN + b"\n", 1, "pgherald's part begins here and never ends"),
        (block.END + b"\n", 1, "pgherald's part ends here without having begun"),
        ((block.BEGIN + b"\n") * 2, 2, "pgherald's part begins a second time"),
    ],
)
def test_what_is_wrong_with_a_file(text: bytes, line: int, reason: str) -> None:
    """Whoever has to mend the file is told the line, and what is wrong there."""
    with pytest.raises(Unparsable) as caught:
        _ = (EDITOR.plan(text, [ENTRY]), service_file.lookup(text, "shop"))
    assert (caught.value.line, caught.value.reason) == (line, reason)


def test_a_key_that_no_comment_can_carry() -> None:
    """A mistake of the program names the key."""
    with pytest.raises(ValueError, match=r"^not a key that a comment can carry: 'a/b/"):
        block.comment(DatabaseKey("default", "a/b", "DATABASE"))


def test_what_libpq_is_told_to_do_about_binary_files() -> None:
    """A file that is no text is refused with what would help."""
    for text, advice in (
        (b"\xff\xfe\0", "Save it as UTF-8."),
        (b"\0", "Save the file as UTF-8 text."),
    ):
        with pytest.raises(Unparsable) as caught:
            EDITOR.plan(text, [ENTRY])
        assert caught.value.advice == advice
