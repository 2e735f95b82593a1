"""On which line each key of a TOML file stands.

`tomllib` tells no lines. `tomlkit` keeps the text, but it moves `[[tables]]` of one
name together when others stand between them, so lines counted in its rendering point
to the wrong place. This scanner is used only on text that `tomllib` has accepted, and
only when there is a problem to report; it knows just enough of TOML to find the keys.
"""

from __future__ import annotations

import re
import tomllib
from collections import deque
from collections.abc import Iterator
from typing import Final, NamedTuple

#: Where a value stands: keys, and places in an array counted from 0.
Place = tuple[str | int, ...]

_TOKEN: Final = re.compile(
    r"""
      (?P<word> \"{3} (?:[^\\]|\\.)*? \"{3} \"{0,2}   # up to two quotes may end the text itself
              | '{3} .*? '{3} '{0,2}
              | " (?:[^"\\]|\\.)* "
              | ' [^']* '
              | [^\s\[\]{}=,.\#"']+ )
    | \#[^\n]*
    | (?P<mark> [\n\[\]{}=,.] )
    """,
    re.VERBOSE | re.DOTALL,
)


class _Token(NamedTuple):
    mark: str  # punctuation or a line's end; empty for a word
    word: str
    line: int


class Lines:
    """Finds lines by place.

    Args:
        text: a TOML document that `tomllib` accepts.

    Attributes:
        known: the line of every table, key and array item, counted from 1.
    """

    def __init__(self, text: str) -> None:
        self.known: dict[Place, int] = {(): 1}
        self._sizes: dict[Place, int] = {}
        self._tokens = deque(_tokens(text))
        table: Place = ()
        while self._skip("\n"):
            if self._next.mark == "[":
                table = self._header()
            else:
                self._pair(table)

    def of(self, place: Place) -> int:
        """The line of a place, or of the innermost thing around it that the file has."""
        while place not in self.known:
            place = place[:-1]
        return self.known[place]

    def _header(self) -> Place:
        """`[a.b]` or `[[a.b]]`; returns the place of the table that it opens."""
        line = self._take().line
        many = self._next.mark == "["
        if many:
            self._take()
        place: Place = ()
        for key in self._key("]"):
            # A name that stands for an array of tables means its newest table.
            size = self._sizes.get(place)
            place = (*place, key) if size is None else (*place, size - 1, key)
            self.known.setdefault(place, line)
        if many:
            self._take()
            self._sizes[place] = self._sizes.get(place, 0) + 1
        if place in self._sizes:
            place = (*place, self._sizes[place] - 1)
            self.known.setdefault(place, line)
        return place

    def _pair(self, table: Place) -> None:
        """`a.b = value`."""
        line = self._next.line
        place = table
        for key in self._key("="):
            place = (*place, key)
            self.known.setdefault(place, line)
        self._value(place)

    def _key(self, end: str) -> list[str]:
        """The parts of a dotted key; takes `end` too."""
        parts: list[str] = []
        while (token := self._take()).mark != end:
            if token.word.startswith(("'", '"')):
                parts.append(tomllib.loads(f"key = {token.word}")["key"])
            elif token.word:
                parts.append(token.word)
        return parts

    def _value(self, place: Place) -> None:
        opening = self._take().mark
        if opening == "[":
            index = 0
            while self._skip("\n,") and self._next.mark != "]":
                self.known.setdefault((*place, index), self._next.line)
                self._value((*place, index))
                index += 1
            self._take()
        elif opening == "{":
            while self._skip("\n,") and self._next.mark != "}":
                self._pair(place)
            self._take()
        else:  # the rest of a number or date, whose dots came apart
            while self._tokens and self._next.mark in {"", "."}:
                self._take()

    @property
    def _next(self) -> _Token:
        return self._tokens[0]

    def _take(self) -> _Token:
        return self._tokens.popleft()

    def _skip(self, marks: str) -> bool:
        """Pass over these marks; whether anything else is left."""
        while self._tokens and self._next.mark and self._next.mark in marks:
            self._take()
        return bool(self._tokens)


def _tokens(text: str) -> Iterator[_Token]:
    line, seen = 1, 0
    for match in _TOKEN.finditer(text):
        line += text.count("\n", seen, match.start())
        seen = match.start()
        if match.lastgroup:  # else a comment
            yield _Token(match["mark"] or "", match["word"] or "", line)
