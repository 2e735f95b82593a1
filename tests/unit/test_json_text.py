"""JSON that keeps its spelling: what is parsed, what is refused, how new text is set."""

from __future__ import annotations

import json
import sys
from typing import Any, NoReturn

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pgherald.clients.json_text import (
    MAX_DEPTH,
    MAX_NUMBER,
    Array,
    Document,
    Node,
    Object,
    Splice,
    splice,
)
from pgherald.errors import Unparsable

SCALARS = (
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
)
VALUES = st.recursive(
    SCALARS | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner),
    max_leaves=12,
)
#: How a file may be set: `json.dumps` arguments.
STYLES: st.SearchStrategy[dict[str, Any]] = st.sampled_from(
    [
        {"indent": 4},
        {"indent": 2, "ensure_ascii": False},
        {"indent": "\t"},
        {"separators": (",", ":")},
        {"separators": (", ", ": ")},
        {"indent": 1, "separators": (" ,", " : ")},
    ]
)


@st.composite
def spelt(draw: st.DrawFn, values: st.SearchStrategy[Any] = VALUES) -> str:
    """A value as some program or person may have written it."""
    text = json.dumps(draw(values), **draw(STYLES))
    return text.replace("\n", draw(st.sampled_from(["\n", "\r\n", "\r", "\n\n"])))


@st.composite
def damaged(draw: st.DrawFn) -> str:
    """JSON in which one place was overwritten."""
    text = draw(spelt())
    start = draw(st.integers(0, len(text)))
    end = draw(st.integers(start, min(start + 2, len(text))))
    return text[:start] + draw(st.text('{}[]",:\\/u0e.+-tn \n\t\0', max_size=3)) + text[end:]


def no_constant(name: str) -> NoReturn:
    raise ValueError(name)


def built(node: Node) -> Any:
    """The value put together from the nodes, not read back from the text."""
    if isinstance(node, Object):
        return {member.key: built(member.node) for member in node.members}
    if isinstance(node, Array):
        return [built(item) for item in node.items]
    return json.loads(node.source[node.start : node.end])


def members(text: str) -> tuple[Document, Object]:
    document = Document(text)
    assert isinstance(document.root, Object)
    return document, document.root


def inner(owner: Object, key: str) -> Object:
    member = owner.get(key)
    assert member is not None
    assert isinstance(member.node, Object)
    return member.node


@given(spelt() | damaged() | st.text('{}[]",:\\u0e.-1 \n') | st.text(max_size=5))
def test_accepts_what_python_accepts(text: str) -> None:
    """The parser takes exactly the texts that `json.loads` takes, and gives equal values."""
    try:
        expected = json.loads(text, parse_constant=no_constant)
    except ValueError:
        with pytest.raises(Unparsable):
            Document(text)
    else:
        document = Document(text)
        assert json.dumps(built(document.root)) == json.dumps(expected)
        assert json.dumps(document.root.value) == json.dumps(expected)
        assert document.spliced().decode(errors="surrogatepass") == text


@given(st.binary(max_size=20) | spelt().map(lambda text: text.encode("utf-8", "replace")))
def test_any_bytes_are_parsed_or_refused(data: bytes) -> None:
    """Whatever the bytes, parsing ends in a document or in `Unparsable` with a line."""
    refusal = None
    try:
        assert Document.parse(data).spliced() == data
    except Unparsable as exc:
        refusal = exc
    if refusal:
        assert refusal.line is not None
        assert 1 <= refusal.line <= data.count(b"\n") + 1
        assert refusal.advice


_NO_KEY = "a key in double quotes and a colon are missing"
_NO_END = "a text has no closing quote, or a line break or an unknown \\ escape in it"


@pytest.mark.parametrize(
    ("text", "line", "reason"),
    [
        ('{\n"a": 1,\n}', 3, "there is a comma before }"),
        ("[\n1,\n\n]", 4, "there is a comma before ]"),
        ("[[1,], 2]", 1, "there is a comma before ]"),
        ('{"a": 1\n"b": 2}', 2, "a comma or } is missing"),
        ("[1 2]", 1, "a comma or ] is missing"),
        ("{a: 1}", 1, _NO_KEY),
        ('{"a" 1}', 1, _NO_KEY),
        ('{x "a": 1}', 1, _NO_KEY),
        ('{"a":\n', 2, "the end is missing"),
        ("", 1, "the end is missing"),
        ('{"a": "x\n"}', 1, _NO_END),
        (r'"\x"', 1, _NO_END),
        ('"\t"', 1, _NO_END),
        ('"\\n\t"', 1, _NO_END),
        ("[NaN]", 1, "NaN and Infinity are not JSON"),
        ("[Infinity]", 1, "NaN and Infinity are not JSON"),
        ("-Infinity", 1, "NaN and Infinity are not JSON"),
        ("{}\n}", 2, "something stands behind the end of the JSON"),
        ("// hello\n{}", 1, "a value is missing or is not JSON"),
        ("[x1]", 1, "a value is missing or is not JSON"),
        ("01", 1, "something stands behind the end of the JSON"),
        ("\ufeff\ufeff{}", 1, "a value is missing or is not JSON"),
    ],
)
def test_names_line_and_reason(text: str, line: int, reason: str) -> None:
    """A person is told in which line the file is wrong, and what is wrong there."""
    with pytest.raises(Unparsable) as caught:
        Document(text)
    assert caught.value.line == line
    assert caught.value.reason == reason
    assert caught.value.advice == "Mend the file, or move it away; then pgherald writes a new one."


@pytest.mark.parametrize("word", ["CANARY-pw", '"CANARY-pw', '{"Password": "CANARY-pw" "x"}'])
def test_a_refusal_quotes_nothing(word: str) -> None:
    """No error repeats the file's text, which may be a password."""
    with pytest.raises(Unparsable) as caught:
        Document(word)
    assert "CANARY" not in str(caught.value)


@pytest.mark.parametrize(
    ("data", "line"),
    [
        ('\n{"a": "é"}'.encode("latin-1"), 2),
        ('\n{"a": 1}'.encode("utf-16"), 1),
        ('\n{"a": 1}'.encode("utf-16-le"), 2),
        (b'\n\n{"a": "\0"}', 3),
        (b'\n"\0"\n"\0"', 2),
        (b'\n"\xed\xa0\x80"', 2),  # half a surrogate pair
    ],
)
def test_refuses_what_is_not_utf8(data: bytes, line: int) -> None:
    """A file in another encoding is refused by that reason, not by a puzzling one."""
    with pytest.raises(Unparsable) as caught:
        Document.parse(data)
    assert (caught.value.line, caught.value.reason) == (line, "this is not UTF-8 text")
    assert caught.value.advice == "Save the file as UTF-8."


@pytest.mark.parametrize(("opening", "closing"), [("[", "]"), ('{"a":', "}")])
def test_depth_has_a_limit(opening: str, closing: str) -> None:
    """Nesting is refused beyond the limit, long before Python's stack ends."""
    assert MAX_DEPTH == 200
    Document(opening * MAX_DEPTH + "1" + closing * MAX_DEPTH)
    for depth in (MAX_DEPTH + 1, 100_000):
        with pytest.raises(Unparsable, match=r"(^|: )objects and lists are nested too deeply"):
            Document(opening * depth + "1" + closing * depth)


def test_numbers_have_a_limit() -> None:
    """A number that Python might refuse to read is refused while parsing, not later."""
    assert sys.int_info.str_digits_check_threshold == MAX_NUMBER
    assert Document("1" * MAX_NUMBER).root.value == int("1" * MAX_NUMBER)
    with pytest.raises(Unparsable, match=r"(^|: )a number is too long"):
        Document("1" * (MAX_NUMBER + 1))
    assert Document(f'"{"1" * 2 * MAX_NUMBER}"').root.value == "1" * 2 * MAX_NUMBER


def test_nodes_show_no_text() -> None:
    """The repr of a node tells its place and nothing of the file."""
    assert "CANARY" not in repr(Document('{"a": ["CANARY"]}').root)


def test_the_last_of_equal_keys_counts() -> None:
    """Equal keys are all seen, and the last one counts, as in Python."""
    _, root = members('{"a": 1, "b": 2, "\\u0061": 3}')
    assert [member.key for member in root.members] == ["a", "b", "a"]
    last = root.get("a")
    assert last is not None
    assert last.node.value == 3


def test_splices_come_in_any_order() -> None:
    """Splices are applied by place; what stands between them stays."""
    spliced = splice("abcdef", [Splice(4, 5, "X"), Splice(0, 1, ""), Splice(2, 2, "--")])
    assert spliced == "b--cdXf"


@pytest.mark.parametrize("turned", [False, True])
def test_what_is_put_in_stands_before_what_is_replaced(turned: bool) -> None:  # noqa: FBT001 – a column
    """Two splices at one place keep their order: what takes no room of the text comes first."""
    for splices, expected in (
        ([Splice(1, 1, "-"), Splice(1, 2, "X")], "a-Xc"),
        ([Splice(0, 1, "X"), Splice(1, 1, "-")], "X-bc"),
    ):
        given = splices[::-1] if turned else splices
        assert splice("abc", given) == expected


@pytest.mark.parametrize(
    ("old", "new"),
    [
        # Nothing to imitate.
        ("{}", '{\n    "k": {\n        "a": 1\n    }\n}'),
        ("{\r\n}\r\n", '{\r\n    "k": {\r\n        "a": 1\r\n    }\r\n}\r\n'),
        # One line.
        ('{"x":1}', '{"x":1,"k":{"a":1}}'),
        ('{"x": 1}\n', '{"x": 1, "k": {"a": 1}}\n'),
        ('{ "x" : 1 }', '{ "x" : 1, "k" : {"a" : 1} }'),
        ('{"x": 1,"y": 2}', '{"x": 1,"y": 2,"k": {"a": 1}}'),
        # Several lines.
        ('{\n "x": 1\n}', '{\n "x": 1,\n "k": {\n  "a": 1\n }\n}'),
        ('{\r\n\t"x":1\r\n}', '{\r\n\t"x":1,\r\n\t"k":{\r\n\t\t"a":1\r\n\t}\r\n}'),
        ('{\r "x": 1\r}', '{\r "x": 1,\r "k": {\r  "a": 1\r }\r}'),
        # Blank lines between members, a comma on the next line.
        (
            '{\n  "x": 1,\n\n  "y": 2\n}',
            '{\n  "x": 1,\n\n  "y": 2,\n\n  "k": {\n    "a": 1\n  }\n}',
        ),
        (
            '{\n  "x": 1,\n \n  "y": 2\n}',
            '{\n  "x": 1,\n \n  "y": 2,\n \n  "k": {\n    "a": 1\n  }\n}',
        ),
        ('{\n "x": 1\n ,"y": 2}', '{\n "x": 1\n ,"y": 2,"k": {"a": 1}}'),
        # A value beneath its key.
        ('{\n "x":\n 1\n}', '{\n "x":\n 1,\n "k": {\n  "a": 1\n }\n}'),
        # Neighbours that stand on one line each.
        ('{\n  "x": {"b": 2}\n}', '{\n  "x": {"b": 2},\n  "k": {"a": 1}\n}'),
        ('{\n  "x": {\n    "b": 2}\n}', '{\n  "x": {\n    "b": 2},\n  "k": {\n    "a": 1\n  }\n}'),
        (
            '{\n  "x": {"b": 2,\n    "c": 3}\n}',
            '{\n  "x": {"b": 2,\n    "c": 3},\n  "k": {"a": 1}\n}',
        ),
        # A neighbour with nothing in it.
        ('{\n  "x": {}\n}', '{\n  "x": {},\n  "k": {\n    "a": 1\n  }\n}'),
        # No indentation at all.
        ('{\n"x": 1\n}', '{\n"x": 1,\n"k": {\n    "a": 1\n}\n}'),
    ],
)
def test_new_members_look_like_their_neighbours(old: str, new: str) -> None:
    """What is added takes indentation, line ends and spacing from what is there."""
    document, root = members(old)
    assert document.put(root, "k", {"a": 1})
    assert document.spliced().decode() == new


def test_members_of_one_line_are_set_as_their_neighbours_are() -> None:
    """Within one line the space behind a comma is that behind a colon."""
    for colon in (":", ": ", " :  "):
        document, root = members(f'{{"x"{colon}1}}')
        document.put(root, "k", {"a": 1, "b": 2})
        space = colon.partition(":")[2]
        assert (
            document.spliced().decode().endswith(f'"k"{colon}{{"a"{colon}1,{space}"b"{colon}2}}}}')
        )


def test_what_is_new_is_ascii() -> None:
    """New text is ASCII, since pgAdmin reads the file in the machine's own encoding."""
    document, root = members('{"é": "é"}')
    document.put(root, "ö", "ü\u2028")
    assert document.spliced() == '{"é": "é", "\\u00f6": "\\u00fc\\u2028"}'.encode()


@pytest.mark.parametrize(
    ("spelling", "value", "changes"),
    [
        ('"\\u0041"', "A", False),
        ("5432", 5432, False),
        ("5432.0", 5432, True),
        ("true", 1, True),
        ('"5432"', 5432, True),
        ("null", "", True),
        ('{"b":2, "a":1}', "x", True),
    ],
)
def test_equal_values_keep_their_spelling(
    spelling: str,
    value: str | int,
    changes: bool,  # noqa: FBT001 – a column of the table above
) -> None:
    """An equal value is never rewritten; equal means the same JSON type, too."""
    old = f'{{"k": {spelling}, "x": 0}}'
    document, root = members(old)
    assert document.put(root, "k", value) is changes
    expected = f'{{"k": {json.dumps(value)}, "x": 0}}' if changes else old
    assert document.spliced().decode() == expected


@pytest.mark.parametrize(
    ("drop", "new"),
    [
        ("a", '{ "b": 2 , "c": 3\n}'),
        ("b", '{ "a": 1 , "c": 3\n}'),
        ("c", '{ "a": 1, "b": 2\n}'),
        ("ab", '{ "c": 3\n}'),
        ("bc", '{ "a": 1\n}'),
        ("ac", '{ "b": 2\n}'),
        ("abc", "{}"),
    ],
)
def test_a_dropped_member_takes_its_comma_along(drop: str, new: str) -> None:
    """Members go with one comma each, wherever they stand, and the rest stays valid."""
    document, root = members('{ "a": 1, "b": 2 , "c": 3\n}')
    for key in drop:
        member = root.get(key)
        assert member is not None
        document.drop(root, member)
    assert document.spliced().decode() == new


def test_dropping_and_adding_meet() -> None:
    """Edits of one object and of objects within it go together, even at the same place."""
    document, root = members('{\n  "a": 1,\n  "b": {"x": 1, "y": 2}\n}')
    nested = inner(root, "b")
    for owner, key in ((root, "a"), (nested, "y")):
        member = owner.get(key)
        assert member is not None
        document.drop(owner, member)
    document.put(root, "c", 3)
    document.put(nested, "z", 4)
    document.put(nested, "x", 5)
    assert document.spliced().decode() == '{\n  "b": {"x": 5, "z": 4},\n  "c": 3\n}'


def test_all_members_can_be_exchanged() -> None:
    """New members take the place and the look of old ones that all go."""
    document, root = members('{\n  "a": 1,\n  "b": 2\n}')
    for member in root.members:
        document.drop(root, member)
    document.put(root, "c", {})
    document.put(root, "d", 4)
    assert document.spliced().decode() == '{\n  "c": {},\n  "d": 4\n}'


@given(
    spelt(st.dictionaries(st.text(max_size=4), VALUES, max_size=4)),
    st.dictionaries(st.text(max_size=4), st.text(max_size=4) | st.integers(), max_size=3),
    st.sets(st.text(max_size=4)),
)
def test_edits_mean_what_they_mean_for_a_dict(
    text: str, added: dict[str, str | int], dropped: set[str]
) -> None:
    """Putting and dropping members gives what the same edits give on the parsed value."""
    document, root = members(text)
    expected = json.loads(text)
    for key in dropped - added.keys():
        if member := root.get(key):
            document.drop(root, member)
            del expected[key]
    for key, value in added.items():
        document.put(root, key, value)
        expected[key] = value
    assert json.loads(document.spliced()) == expected


@given(
    spelt(st.dictionaries(st.text(max_size=4), VALUES, min_size=1, max_size=4)),
    st.dictionaries(st.text(min_size=5, max_size=6), st.text(max_size=4), min_size=1, max_size=3),
)
def test_what_was_added_can_be_taken_out_again(text: str, added: dict[str, str]) -> None:
    """Dropping members that were added gives the old bytes back."""
    document, root = members(text)
    for key, value in added.items():
        document.put(root, key, value)
    document, root = members(document.spliced().decode())
    for key in added:
        member = root.get(key)
        assert member is not None
        document.drop(root, member)
    assert document.spliced().decode() == text
