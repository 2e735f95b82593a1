"""On which line each key of a TOML file stands.

`tomllib` tells no lines. `tomlkit` keeps the text, but it moves `[[tables]]` of one
name together when others stand between them, so lines counted in its rendering point
to the wrong place. This scanner is used only on text that `tomllib` has accepted, and
only when there is a problem to report; it knows just enough of TOML to find the keys.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Mapping
from typing import Final, NamedTuple

#: Where a value stands: keys, and places in an array counted from 0.
Place = tuple[str | int, ...]

_TOKEN: Final = re.compile(
    r"""
      (?P<text> \"{3} (?:[^\\]|\\.)*? \"{3} \"{0,2}   # up to two quotes may end the text itself
              | '{3} .*? '{3} '{0,2}
              | " (?:[^"\\]|\\.)* "
              | ' [^']* ' )
    | (?P<pause> \n | \#[^\n]* )
    | (?P<mark> [\[\]{}=,.] )
    | (?P<bare> [^\s\[\]{}=,.\#"']+ )
    """,
    re.VERBOSE | re.DOTALL,
)


class _Token(NamedTuple):
    kind: str
    text: str
    line: int


class Lines:
    """Finds lines by place.

    Args:
        text: a TOML document that `tomllib` accepts.
    """

    def __init__(self, text: str) -> None:
        self._known: dict[Place, int] = {(): 1}
        self._sizes: dict[Place, int] = {}
        self._tokens = list(_tokens(text))
        self._at = 0
        self._document()

    @property
    def known(self) -> Mapping[Place, int]:
        """The line of every table, key and array item, counted from 1."""
        return self._known

    def of(self, place: Place) -> int:
        """The line of a place, or of the innermost thing around it that the file has."""
        while place not in self._known:
            place = place[:-1]
        return self._known[place]

    def _document(self) -> None:
        table: Place = ()
        while self._skip("pause"):
            if self._peek() == "[":
                table = self._header()
            else:
                self._pair(table)

    def _header(self) -> Place:
        """`[a.b]` or `[[a.b]]`; returns the place of the table that it opens."""
        line = self._take().line
        many = self._peek() == "["
        if many:
            self._take()
        place: Place = ()
        for key in self._key("]"):
            # A name that stands for an array of tables means its newest table.
            size = self._sizes.get(place)
            place = (*place, key) if size is None else (*place, size - 1, key)
            self._note(place, line)
        if many:
            self._take()
            self._sizes[place] = self._sizes.get(place, 0) + 1
        if place in self._sizes:
            place = (*place, self._sizes[place] - 1)
            self._note(place, line)
        return place

    def _pair(self, table: Place) -> None:
        """`a.b = value`."""
        line = self._tokens[self._at].line
        place = table
        for key in self._key("="):
            place = (*place, key)
            self._note(place, line)
        self._value(place)

    def _key(self, end: str) -> list[str]:
        """The parts of a dotted key; takes `end` too."""
        parts: list[str] = []
        while (token := self._take()).text != end or token.kind != "mark":
            if token.kind == "text":
                parts.append(tomllib.loads(f"key = {token.text}")["key"])
            elif token.kind == "bare":
                parts.append(token.text)
        return parts

    def _value(self, place: Place) -> None:
        opening = self._take()
        if opening.kind == "mark" and opening.text == "[":
            index = 0
            while self._skip("pause", ",") and self._peek() != "]":
                self._note((*place, index), self._tokens[self._at].line)
                self._value((*place, index))
                index += 1
            self._take()
        elif opening.kind == "mark" and opening.text == "{":
            while self._skip("pause", ",") and self._peek() != "}":
                self._pair(place)
            self._take()
        else:  # the rest of a number or date, whose dots came apart
            while self._at < len(self._tokens) and (
                self._tokens[self._at].kind == "bare" or self._peek() == "."
            ):
                self._at += 1

    def _note(self, place: Place, line: int) -> None:
        self._known.setdefault(place, line)

    def _peek(self) -> str:
        """The next mark; empty for anything else."""
        token = self._tokens[self._at]
        return token.text if token.kind == "mark" else ""

    def _take(self) -> _Token:
        self._at += 1
        return self._tokens[self._at - 1]

    def _skip(self, *what: str) -> bool:
        """Pass over tokens of these kinds or texts; whether any other is left."""
        while self._at < len(self._tokens):
            token = self._tokens[self._at]
            if token.kind not in what and (token.kind != "mark" or token.text not in what):
                return True
            self._at += 1
        return False


def _tokens(text: str) -> Iterator[_Token]:
    line, seen = 1, 0
    for match in _TOKEN.finditer(text):
        line += text.count("\n", seen, match.start())
        seen = match.start()
        yield _Token(match.lastgroup or "", match.group(), line)
