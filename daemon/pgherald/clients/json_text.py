"""JSON that keeps its spelling: a parser that knows where each value stands, and splices.

`json.loads` followed by `json.dumps` would lose a person's indentation, line ends, key
order, duplicate keys, and the way numbers and letters are spelt. Here a text is parsed into
nodes that remember their place, and an edit replaces places and nothing else:

    document = Document.parse(data)
    document.put(document.root, "Port", 5432)   # in its place, or behind the last member
    data = document.spliced()

What is new takes the shape of its neighbours: indentation, line ends, space after colons.
"""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Final

from pgherald.errors import Unparsable

#: A value that is to be written.
Json = str | int | Mapping[str, "Json"]

#: Objects and arrays in each other. pgAdmin's own files have four levels; what is deeper than
#: this is an attack or an accident, and Python's stack is not the place to find out.
MAX_DEPTH: Final = 200

#: Digits in one number. Python refuses to read longer integers, at a length that depends on
#: its settings; this is the lowest that can be set.
MAX_NUMBER: Final = 640

#: A byte order mark, decoded.
BOM: Final = "\ufeff"

# RFC 8259. Possessive quantifiers keep every match linear, whatever the text.
_STRING = r'"[^"\\\x00-\x1f]*+(?:\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4})[^"\\\x00-\x1f]*+)*+"'
_NUMBER = r"-?+(?:0|[1-9][0-9]*+)(?:\.[0-9]++)?+(?:[eE][+-]?+[0-9]++)?+"
_SCALAR = re.compile(rf"{_STRING}|{_NUMBER}|true|false|null")
_KEY = re.compile(rf"({_STRING})[ \t\n\r]*+:[ \t\n\r]*+")
_SOLID = re.compile(r"[^ \t\n\r]")

_BREAK = re.compile(r"\r\n|\n|\r")
_INDENT = re.compile(r"[\r\n]([ \t]++)[^\r\n]")
_DEFAULT_INDENT = "    "


@dataclass(frozen=True, slots=True, eq=False)
class Node:
    """A value and its place; a node that is no `Object` and no `Array` is a scalar.

    Attributes:
        source: the whole text.
        start: index of the value's first character in it.
        end: index behind its last character.
    """

    source: str = field(repr=False)
    start: int
    end: int

    @property
    def raw(self) -> str:
        """The value as it is spelt."""
        return self.source[self.start : self.end]

    @property
    def value(self) -> Any:
        """The value, as `json.loads` gives it: of equal keys the last one counts."""
        return json.loads(self.raw)


@dataclass(frozen=True, slots=True, eq=False)
class Array(Node):
    """A JSON array."""

    items: tuple[Node, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Member:
    """One `"key": value` of an object.

    Attributes:
        key: the key, decoded.
        start: index of the key's opening quote in the text.
        key_end: index behind the key's closing quote.
        node: the value.
    """

    key: str
    start: int
    key_end: int
    node: Node


@dataclass(frozen=True, slots=True, eq=False)
class Object(Node):
    """A JSON object, with every member in the text's order, equal keys included."""

    members: tuple[Member, ...] = field(repr=False)

    def get(self, key: str) -> Member | None:
        """The member of that key; the last one, if there are several."""
        return next((m for m in reversed(self.members) if m.key == key), None)


@dataclass(frozen=True, slots=True)
class Splice:
    """Puts `text` in the place of the characters from `start` to before `end`."""

    start: int
    end: int
    text: str


def unparsable(text: str, reason: str, at: int) -> Unparsable:
    """The error for something wrong at that index of a text."""
    advice = "Mend the file, or move it away; then pgherald writes a new one."
    return Unparsable(reason, advice, line=text.count("\n", 0, at) + 1)


def splice(text: str, splices: Iterable[Splice]) -> str:
    """Apply splices that do not overlap, given in any order."""
    parts: list[str] = []
    done = 0
    for each in sorted(splices, key=lambda each: (each.start, each.end)):
        parts += (text[done : each.start], each.text)
        done = each.end
    return "".join([*parts, text[done:]])


class Document:
    """A JSON text that is changed in place.

    Edits are collected and applied together by `spliced`; nodes keep describing the text
    as it was parsed. An object's members are edited, or it is replaced or dropped as a
    whole, never both.

    Attributes:
        text: the text as parsed, with its byte order mark if it has one.
        root: the outermost value.
    """

    def __init__(self, text: str) -> None:
        self.text = text
        self.root = _Parser(text).document()
        self._edits: dict[Object, _Edits] = {}

    @classmethod
    def parse(cls, data: bytes) -> Document:
        """Parse UTF-8, with or without a byte order mark.

        Accepts what `json.loads` does, except NaN and Infinity, encodings other than
        UTF-8, nesting beyond `MAX_DEPTH`, and numbers longer than `MAX_NUMBER`.

        Raises:
            Unparsable: with the line and the reason.
        """
        try:
            text, bad = data.decode(), data.find(b"\0")
        except UnicodeDecodeError as exc:
            text, bad = "", exc.start
        if bad < 0:
            return cls(text)
        line = data.count(b"\n", 0, bad) + 1
        raise Unparsable("this is not UTF-8 text", "Save the file as UTF-8.", line=line)

    def put(self, owner: Object, key: str, value: Json) -> bool:
        """Give a member this value: in its place, or else behind the last member.

        An equal value stays as it is spelt. An empty object has no layout to imitate: members
        put into it are set as if it were the outermost one.

        Returns:
            Whether that changes anything.
        """
        member = owner.get(key)
        if member is None:
            self._edit(owner).added[key] = value
            return True
        # Compared as JSON, since for Python 1 == 1.0 == True.
        if json.dumps(member.node.value) == json.dumps(value):
            return False
        rendered = self._layout(owner).render(value)
        self._edit(owner).replaced.append(Splice(member.node.start, member.node.end, rendered))
        return True

    def drop(self, owner: Object, member: Member) -> None:
        """Take a member away, with its comma and the space around it."""
        self._edit(owner).dropped.add(member)

    def spliced(self) -> bytes:
        """The text with all edits, as UTF-8."""
        splices = (each for edits in self._edits.values() for each in self._splices(edits))
        return splice(self.text, splices).encode()

    def _edit(self, owner: Object) -> _Edits:
        return self._edits.setdefault(owner, _Edits(owner))

    def _splices(self, edits: _Edits) -> Iterator[Splice]:
        owner = edits.owner
        kept = [m for m in owner.members if m not in edits.dropped]
        yield from edits.replaced
        layout = self._layout(owner)
        if not owner.members:
            yield Splice(owner.start, owner.end, layout.render(edits.added))
            return
        added = [layout.member(key, value) for key, value in edits.added.items()]
        first, last = owner.members[0], owner.members[-1]
        if kept:
            yield from _removals(owner, edits.dropped)
            yield Splice(last.node.end, last.node.end, "".join(f",{layout.gap}{m}" for m in added))
        elif added:
            yield Splice(first.start, last.node.end, f",{layout.gap}".join(added))
        else:
            yield Splice(owner.start + 1, owner.end - 1, "")

    def _layout(self, owner: Object) -> _Layout:
        if not owner.members:  # nothing to imitate but the line ends
            newline = _newline(self.text) or "\n"
            return _Layout(newline + self._unit, ": ", newline, "", self._unit)
        last = owner.members[-1]
        colon = self.text[last.key_end : last.node.start]
        if _newline(colon):
            colon = ": "
        if len(owner.members) > 1:
            gap = self.text[owner.members[-2].node.end : last.start].partition(",")[2]
        else:
            gap = self.text[owner.start + 1 : last.start] or colon.partition(":")[2]
        newline = _newline(gap)
        if not newline:
            return _Layout(gap, colon, "", "", self._unit)
        indent = gap.rpartition(newline[-1])[2]
        if isinstance(last.node, Object) and last.node.members:
            # Beside an object that stands on one line, a new one stands on one line too.
            newline = _newline(self.text[last.node.start : last.node.members[0].start])
        return _Layout(gap, colon, newline, indent, self._unit)

    @cached_property
    def _unit(self) -> str:
        """The first indented line shows how far one level is indented."""
        found = _INDENT.search(self.text)
        return found.group(1) if found else _DEFAULT_INDENT


@dataclass(slots=True)
class _Edits:
    """What is to happen to one object's members."""

    owner: Object
    dropped: set[Member] = field(default_factory=set)
    added: dict[str, Json] = field(default_factory=dict)
    replaced: list[Splice] = field(default_factory=list)


def _removals(owner: Object, dropped: set[Member]) -> Iterator[Splice]:
    """Cut members out, each with one comma; at least one member is kept."""
    kept_before = False
    for index, member in enumerate(owner.members):
        if member not in dropped:
            kept_before = True
        elif kept_before:
            yield Splice(owner.members[index - 1].node.end, member.node.end, "")
        else:
            yield Splice(member.start, owner.members[index + 1].start, "")


@dataclass(frozen=True, slots=True)
class _Layout:
    """How an object's members are set, so that a new one looks like them.

    Attributes:
        gap: white space before a member's key.
        colon: the colon between key and value, with the space around it.
        newline: the line end inside a member's value; empty when that stands on one line.
        indent: a member's indentation.
        unit: what one level more is indented.
    """

    gap: str
    colon: str
    newline: str
    indent: str
    unit: str

    def member(self, key: str, value: Json) -> str:
        """`"key": value`."""
        return f"{json.dumps(key)}{self.colon}{self.render(value)}"

    def render(self, value: Json) -> str:
        """The value's text, in ASCII: pgAdmin reads the file in the machine's own encoding."""
        if not isinstance(value, Mapping):
            return json.dumps(value)
        inner = dataclasses.replace(self, indent=self.indent + self.unit)
        members = [inner.member(key, each) for key, each in value.items()]
        if not members:
            return "{}"
        if not self.newline:
            return "{" + ("," + self.colon.partition(":")[2]).join(members) + "}"
        margin = self.newline + inner.indent
        return "{" + margin + f",{margin}".join(members) + self.newline + self.indent + "}"


def _newline(text: str) -> str:
    """The first line end in a text; empty when there is none."""
    found = _BREAK.search(text)
    return found.group() if found else ""


class _Parser:
    """Recursive descent, as deep as `MAX_DEPTH`."""

    def __init__(self, text: str) -> None:
        self._text = text

    def document(self) -> Node:
        root = self._value(self._skip(len(BOM) if self._text.startswith(BOM) else 0), 0)
        end = self._skip(root.end)
        if end < len(self._text):
            raise self._wrong("something stands behind the end of the JSON", end)
        return root

    def _value(self, at: int, depth: int) -> Node:
        opening = self._text[at : at + 1]
        if opening in ("{", "[") and depth == MAX_DEPTH:
            raise self._wrong("objects and lists are nested too deeply", at)
        if opening == "{":
            return self._object(at, depth + 1)
        if opening == "[":
            return self._array(at, depth + 1)
        found = _SCALAR.match(self._text, at)
        if found is None:
            raise self._wrong(self._no_value(at), at)
        if opening != '"' and found.end() - at > MAX_NUMBER:
            raise self._wrong("a number is too long", at)
        return Node(self._text, at, found.end())

    def _object(self, start: int, depth: int) -> Object:
        members: list[Member] = []
        at = self._skip(start + 1)
        if self._text[at : at + 1] == "}":
            return Object(self._text, start, at + 1, ())
        while True:
            found = _KEY.match(self._text, at)
            if found is None:
                raise self._wrong("a key in double quotes and a colon are missing", at)
            raw = found.group(1)
            key = json.loads(raw) if "\\" in raw else raw[1:-1]
            members.append(Member(key, at, found.end(1), self._value(found.end(), depth)))
            at, done = self._separator(members[-1].node.end, "}")
            if done:
                return Object(self._text, start, at, tuple(members))

    def _array(self, start: int, depth: int) -> Array:
        items: list[Node] = []
        at = self._skip(start + 1)
        if self._text[at : at + 1] == "]":
            return Array(self._text, start, at + 1, ())
        while True:
            items.append(self._value(at, depth))
            at, done = self._separator(items[-1].end, "]")
            if done:
                return Array(self._text, start, at, tuple(items))

    def _separator(self, at: int, closing: str) -> tuple[int, bool]:
        """Where the next member begins, or the index behind `closing` and True."""
        at = self._skip(at)
        found = self._text[at : at + 1]
        if found == closing:
            return at + 1, True
        if found != ",":
            raise self._wrong(f"a comma or {closing} is missing", at)
        at = self._skip(at + 1)
        if self._text[at : at + 1] == closing:
            raise self._wrong(f"there is a comma before {closing}", at)
        return at, False

    def _skip(self, at: int) -> int:
        found = _SOLID.search(self._text, at)
        return found.start() if found else len(self._text)

    def _no_value(self, at: int) -> str:
        """Why no value begins here. Nothing of the text is quoted: it may be a password."""
        if at == len(self._text):
            return "the end is missing"
        if self._text[at] == '"':
            return "a text has no closing quote, or a line break or an unknown \\ escape in it"
        if self._text.startswith(("NaN", "Infinity", "-Infinity"), at):
            return "NaN and Infinity are not JSON"
        return "a value is missing or is not JSON"

    def _wrong(self, reason: str, at: int) -> Unparsable:
        return unparsable(self._text, reason, at)
