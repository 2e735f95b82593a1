"""On which line each key of a TOML file stands.

`tomllib` tells no lines. `tomlkit` keeps the text, but it moves `[[tables]]` of one name together
when others stand between them, so lines counted in its rendering point to the wrong place. So
`tomllib` itself is asked, with one more line each time: what it finds then begins on that line.
This is used only on text that `tomllib` has accepted, and only when there is a problem to report.
"""

from __future__ import annotations

import itertools
import tomllib
from collections.abc import Iterator
from typing import Any, Final

#: Where a value stands: keys, and places in an array counted from 0.
Place = tuple[str | int, ...]

#: What may be missing where a line ends in the middle of a value: nothing, or an array's end first.
_ENDS: Final = ("", *("]" + "".join(more) for n in range(4) for more in itertools.product("]}", repeat=n)))  # fmt: skip


class Lines:
    """Finds lines by place.

    Args:
        text: a TOML document that `tomllib` accepts.

    Attributes:
        known: the line of every table, key and array item, counted from 1. What follows a text
            of several lines in the same array or inline table counts as on the text's first line.
    """

    def __init__(self, text: str) -> None:
        self.known: dict[Place, int] = {(): 1}
        self._sizes: dict[Place, int] = {}
        table: Place = ()
        statement, begin = "", 1
        for number, line in enumerate(text.split("\n"), 1):
            statement += f"{line}\n"
            found, end = next(_parsed(statement), ({}, None))
            if statement.lstrip().startswith("["):
                table = self._header(found, begin)
            else:
                for place in _places(found, table):
                    self.known.setdefault(place, begin)
            if end is not None:
                begin = number + 1
            if end == "":
                statement = ""

    def of(self, place: Place) -> int:
        """The line of a place, or of the innermost thing around it that the file has."""
        while place not in self.known:
            place = place[:-1]
        return self.known[place]

    def _header(self, found: Any, line: int) -> Place:
        """`[a.b]` or `[[a.b]]`; returns the place of the table that it opens."""
        place: Place = ()
        while isinstance(found, dict) and found:
            ((key, found),) = found.items()
            # A name that stands for an array of tables means its newest table.
            size = self._sizes.get(place)
            place = (*place, key) if size is None else (*place, size - 1, key)
            self.known.setdefault(place, line)
        if found:
            self._sizes[place] = self._sizes.get(place, 0) + 1
            place = (*place, self._sizes[place] - 1)
            self.known.setdefault(place, line)
        return place


def _parsed(statement: str) -> Iterator[tuple[dict[str, Any], str]]:
    """What a statement says as far as it goes, and what is missing at its end."""
    for end in _ENDS:
        try:
            yield tomllib.loads(statement + end), end
        except tomllib.TOMLDecodeError:
            continue


def _places(value: Any, place: Place) -> Iterator[Place]:
    """Every place in what `tomllib` gives."""
    inner: Any = value.items() if isinstance(value, dict) else ()
    for key, item in enumerate(value) if isinstance(value, list) else inner:
        yield (*place, key)
        yield from _places(item, (*place, key))
