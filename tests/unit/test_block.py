"""The marked block, through both editors that use it: what is not ours stays as it is."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pgherald.clients import block, lines
from pgherald.clients.base import Action, Change, TextClient
from pgherald.clients.pgpass import Pgpass
from pgherald.clients.service_file import ServiceFile
from pgherald.errors import Unparsable
from pgherald.model import DatabaseKey, Login, strictest
from pgherald.secret import Secret
from support import strategies

SHOP = DatabaseKey("default", "shop", "DATABASE")
BLOG = DatabaseKey("work", "blog", "DATABASE")
LOGIN = Login("db.example.com", 5432, "d1", "u1", Secret("CANARY-pw-1"))
OTHER = Login("db2.example.com", 5433, "d2", "u2", Secret("CANARY-pw-2"))
ENTRIES = [strategies.entry(SHOP, LOGIN), strategies.entry(BLOG, OTHER)]


#: Lines that a person may type anywhere; none of them sets a key of ours.
TYPED = [
    b"# typed\n",
    b"x.example.com:5432:db:me:CANARY-typed\n",
    b"[typed]\n",
    b"application_name=typed\n",
    b"?\n",
]


@dataclass(frozen=True)
class Format:
    """An editor and what its files look like."""

    editor: TextClient
    files: Callable[[], st.SearchStrategy[bytes]]
    rows: Callable[[], st.SearchStrategy[bytes]]
    foreign: bytes

    def __str__(self) -> str:
        return self.editor.kind


FORMATS = [
    Format(Pgpass(), strategies.pgpass_files, strategies.pgpass_rows, b"h:1:d:me:CANARY-mine\n"),
    Format(
        ServiceFile(),
        strategies.service_files,
        strategies.service_rows,
        b"# mine\n[mine]\nhost=h\npassword=CANARY-mine\n",
    ),
]
in_each_format = pytest.mark.parametrize("fmt", FORMATS, ids=str)


def without_block(text: bytes) -> bytes:
    """The file without everything from the line of one marker to that of the other."""
    begin, end = text.find(block.BEGIN), text.find(block.END)
    if begin < 0:
        return text
    after = text.find(b"\n", end) + 1 or len(text)
    return text[:begin] + text[after:]


@in_each_format
@given(data=st.data())
def test_foreign_bytes_stay(fmt: Format, data: st.DataObject) -> None:
    """Adding, changing and removing leave every byte outside the block as it was."""
    file, entries = data.draw(fmt.files()), data.draw(strategies.entry_lists())
    added = fmt.editor.plan(file, entries).new
    assert without_block(added) == file
    changed = [
        strategies.entry(entry.key, data.draw(strategies.logins()), entry.database.service)
        for entry in entries
    ]
    edited = fmt.editor.plan(added, changed, remove=[entry.key for entry in entries[:1]]).new
    assert without_block(edited) == file
    removed = fmt.editor.plan(edited, [], remove=[entry.key for entry in entries])
    assert removed.new == file
    assert {change.action for change in removed.changes} <= {Action.REMOVE}


@in_each_format
@given(data=st.data())
def test_edit_twice_is_edit_once(fmt: Format, data: st.DataObject) -> None:
    """Whatever the file, a second edit finds nothing to do; changes say whether bytes differ."""
    before = fmt.editor.plan(data.draw(fmt.files()), data.draw(strategies.entry_lists())).new
    file = data.draw(strategies.mangled(before, fmt.rows()))
    entries = data.draw(strategies.entry_lists())
    remove = data.draw(st.sets(strategies.keys(), max_size=2))
    try:
        once = fmt.editor.plan(file, entries, remove=remove)
    except Unparsable as exc:
        assert exc.line is not None  # noqa: PT017 – whether it is raised is up to the input
        return
    assert (once.changes == ()) == (once.new == file)
    assert len({change.key for change in once.changes}) == len(once.changes)
    twice = fmt.editor.plan(once.new, entries, remove=remove)
    assert twice.new is once.new
    assert twice.changes == ()


@in_each_format
@given(data=st.data())
def test_typed_lines_are_never_lost(fmt: Format, data: st.DataObject) -> None:
    """What someone types into the file, block included, is in it after every later edit, if only as a comment."""
    rows = lines.split(fmt.editor.plan(fmt.foreign, data.draw(strategies.entry_lists())).new)
    typed = data.draw(st.lists(st.sampled_from(TYPED), min_size=1, max_size=4))
    for row in typed:
        rows.insert(data.draw(st.integers(0, len(rows))), row)
    file = b"".join(rows)
    for _ in range(2):
        wanted = data.draw(strategies.entry_lists())
        remove = data.draw(st.sets(strategies.keys(), max_size=2))
        file = fmt.editor.plan(file, wanted, remove=remove).new
        there = Counter(row.removeprefix(b"#") for row in lines.split(file))
        rows = [*typed, *lines.split(fmt.foreign)]
        assert not Counter(row.removeprefix(b"#") for row in rows) - there


@in_each_format
@given(data=st.data())
def test_what_is_wanted_is_read_back(fmt: Format, data: st.DataObject) -> None:
    """After an edit the file holds what was wanted, whatever state it was in before."""
    before = fmt.editor.plan(data.draw(fmt.files()), data.draw(strategies.entry_lists())).new
    file = data.draw(st.one_of(st.just(before), strategies.mangled(before, fmt.rows())))
    entries = data.draw(strategies.entry_lists())
    try:
        new = fmt.editor.plan(file, entries).new
    except Unparsable:
        return
    held = fmt.editor.read(new)
    for entry in entries:
        what, login = held[entry.key], entry.login
        assert (what.host, what.port, what.user) == (login.host, login.port, login.user)
        assert what.password == login.password
        if fmt.editor.kind == "service_file":
            assert what.dbname == login.dbname
            assert what.sslmode == strictest(login.sslmode, what.sslmode), "a stricter one stays"
            assert what.service == entry.database.service


@in_each_format
@given(data=st.data())
def test_no_password_is_shown(fmt: Format, data: st.DataObject) -> None:
    """Redacted lines answer to the file's lines one by one and hold no password of ours."""
    login = data.draw(strategies.logins())
    login = dataclasses.replace(login, password=Secret("CANARY-pw-1"))
    file = fmt.editor.plan(data.draw(fmt.files()), [strategies.entry(SHOP, login)]).new
    shown = fmt.editor.redact(file)
    rows = file.split(b"\n")
    assert len(shown) == len(rows) - (not rows[-1])
    assert "CANARY-pw-1" not in "\n".join(shown)
    assert all(char.isprintable() or char == "\t" for line in shown for char in line)


@in_each_format
def test_new_file(fmt: Format) -> None:
    """A file that we create holds the block alone, and is empty when the block goes."""
    edit = fmt.editor.plan(None, ENTRIES)
    rows = edit.new.split(b"\n")
    assert (rows[0], rows[-2:]) == (block.BEGIN, [block.END, b""])
    assert edit.changes == (Change(SHOP, Action.ADD), Change(BLOG, Action.ADD))
    gone = fmt.editor.plan(edit.new, [], remove=[BLOG, SHOP])
    assert gone.new == b""
    assert gone.changes == (Change(SHOP, Action.REMOVE), Change(BLOG, Action.REMOVE))


@in_each_format
@pytest.mark.parametrize("current", [None, b"", b"# mine\n", b"\xef\xbb\xbf"])
def test_nothing_wanted_changes_nothing(fmt: Format, current: bytes | None) -> None:
    """Without anything of ours to write, the file stays, and its absence too."""
    edit = fmt.editor.plan(current, [], remove=[SHOP])
    assert (edit.new, edit.changes) == (current or b"", ())
    assert fmt.editor.read(current) == {}


@in_each_format
def test_unwanted_entries_stay(fmt: Format) -> None:
    """An entry that is neither wanted nor removed keeps its bytes: emptiness is no order."""
    current = fmt.editor.plan(None, ENTRIES).new.replace(b"u2", b"edited")
    changed = [strategies.entry(SHOP, OTHER)]
    new = fmt.editor.plan(current, changed).new
    tail = block.comment(BLOG)
    assert new[new.index(tail) :] == current[current.index(tail) :]
    assert fmt.editor.plan(current, []).new is current


_REMEDIES = (
    (
        "Delete the lines that begin with `# >>> pgherald:` or `# <<< pgherald:` and what "
        "pgherald wrote between them; it is written again."
    ),
    "Save it as UTF-8.",
    "Save the file as UTF-8 text.",
)


@in_each_format
@pytest.mark.parametrize(
    ("text", "line", "reason"),
    [
        (block.BEGIN + b"\n\n", 1, "never ends"),
        (b"# mine\n\n" + block.END, 3, "without having begun"),
        (block.BEGIN + b"\n" + block.BEGIN + b"\n" + block.END, 2, "second time"),
        ((block.BEGIN + b"\n" + block.END + b"\n") * 2, 3, "second time"),
        (block.BEGIN + b"\n" + block.END + b"\n" + block.END, 3, "without having begun"),
        ("# mine\n".encode("utf-16"), 1, "UTF-16"),
        (b"# mine\n\nCANARY\0\n", 3, "NUL"),
    ],
)
def test_damage_is_named_with_its_line(fmt: Format, text: bytes, line: int, reason: str) -> None:
    """A file that cannot be understood is refused, with line, reason, advice and no secret."""
    for attempt in (fmt.editor.read, lambda text: fmt.editor.plan(text, ENTRIES)):
        with pytest.raises(Unparsable, match=reason) as caught:
            attempt(text)
        assert caught.value.line == line
        assert caught.value.advice in _REMEDIES
        assert "CANARY" not in str(caught.value)


@in_each_format
def test_wanted_beats_removed(fmt: Format) -> None:
    """A database that is wanted stays, even if it is named for removal too."""
    current = fmt.editor.plan(None, ENTRIES).new
    assert fmt.editor.plan(current, ENTRIES, remove=[SHOP, BLOG]).new is current


@pytest.mark.parametrize(
    "key",
    [
        DatabaseKey("", "shop", "DATABASE"),
        DatabaseKey("default", "shop\n", "DATABASE"),
        DatabaseKey("default", "sh\nop", "DATABASE"),
        DatabaseKey("a/b", "shop", "DATABASE"),
        DatabaseKey("default", "x" * 500, "DATABASE"),
        DatabaseKey("default", "\ud800", "DATABASE"),
    ],
)
def test_a_key_that_cannot_be_read_back_is_refused(key: DatabaseKey) -> None:
    """No entry is written that could not be found again."""
    with pytest.raises(ValueError):  # noqa: PT011 – what matters is that nothing is written
        block.comment(key)


@pytest.mark.parametrize(
    "line", [b"# pgherald: ", b"# pgherald: words", b"# pgherald: postgres://u:p@h/d", b"# mine"]
)
def test_other_comments_name_no_key(line: bytes) -> None:
    """A comment that only looks like ours is the person's."""
    assert block.key_of(line) is None
