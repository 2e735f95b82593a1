"""Finding the line of a key in a TOML file."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Iterator
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from pgherald.config.lines import Lines, Place


def places(data: Any, place: Place = ()) -> Iterator[Place]:
    """Every place in what `tomllib` gives."""
    yield place
    if isinstance(data, dict):
        for key, value in data.items():
            yield from places(value, (*place, key))
    elif isinstance(data, list):
        for index, value in enumerate(data):
            yield from places(value, (*place, index))


def test_the_nearest_place_stands_in() -> None:
    """What is missing is missing where it should have been: in the table around it."""
    lines = Lines("a = 1\n\n[[b]]\nc = 2\n")
    assert lines.of(("b", 0, "missing", 5)) == 3
    assert lines.of(("missing",)) == 1
    assert lines.of(()) == 1


def test_a_table_between_two_of_one_array() -> None:
    """Tables of one array need not stand together; each keeps its own line."""
    lines = Lines("[[a]]\nx = 1\n[b]\n[[a]]\nx = 2\n")
    assert (lines.of(("a", 0, "x")), lines.of(("a", 1, "x"))) == (2, 5)


class _Writer:
    """Writes a random document, and notes the line of everything in it."""

    def __init__(self, draw: st.DrawFn) -> None:
        self._draw = draw
        self.text = ""
        self.lines: dict[Place, int] = {(): 1}
        self._names = 0
        self._arrays: dict[str, int] = {}
        self._table: Place = ()
        for _ in range(draw(st.integers(0, 12))):
            self._statement()

    def _pick(self, *choices: str) -> str:
        return self._draw(st.sampled_from(choices))

    def _note(self, place: Place) -> None:
        self.lines[place] = self.text.count("\n") + 1

    def _name(self) -> tuple[str, str]:
        """A new key, and one way to write it."""
        self._names += 1
        plain = f"k{self._names}"
        odd = self._pick("é", "#", "[", " = ", ".", '"') + str(self._names)
        return self._draw(
            st.sampled_from(
                [(plain, plain), (plain, f"'{plain}'"), (odd, json.dumps(odd, ensure_ascii=False))]
            )
        )

    def _statement(self) -> None:
        self.text += self._pick("", "", "\n", "# x = [\n", "  \t")
        form = self._pick("pair", "pair", "table", "array", "again")
        if form == "pair":
            self._pair(self._table)
        elif form == "table":
            key, written = self._name()
            self._table = (key,)
            self._note(self._table)
            self.text += f"[ {written} ]"
        else:
            name = self._pick("m", "n") if form == "again" else self._name()[0]
            index = self._arrays.get(name, 0)
            self._arrays[name] = index + 1
            if index == 0:
                self._note((name,))
            self._table = (name, index)
            self._note(self._table)
            self.text += f"[[{json.dumps(name, ensure_ascii=False)}]]"
        self.text += self._pick("\n", " # ]\n")

    def _pair(self, table: Place, depth: int = 0) -> None:
        place = table
        parts = []
        for _ in range(self._draw(st.integers(1, 3))):
            key, written = self._name()
            place = (*place, key)
            self._note(place)
            parts.append(written)
        self.text += self._pick(".", " . ").join(parts) + self._pick("=", " = ")
        self._value(place, depth)

    def _value(self, place: Place, depth: int) -> None:
        form = self._pick("plain", "plain", "array", "table") if depth < 3 else "plain"
        if form == "plain":
            several = ['"""a\n\n[b] # \\"""\n""c"""""', "'''\n]\\'''''"] if not depth else []
            self.text += self._pick(
                "1", "-1.5e+3", "true", "nan", "1979-05-27T07:32:00.5-07:00", '"# \\" ]"', "'\\'",
                *several,
            )  # fmt: skip
        elif form == "array":
            gap = self._pick("", " ", "\n", " # ],\n ")
            self.text += "[" + gap
            for index in range(self._draw(st.integers(0, 3))):
                self._note((*place, index))
                self._value((*place, index), depth + 1)
                self.text += gap + "," + gap
            self.text += "]"
        else:
            self.text += "{"
            for index in range(self._draw(st.integers(0, 3))):
                self.text += ", " if index else " "
                self._pair(place, depth + 1)
            self.text += " }"


@given(st.data())
def test_any_layout(data: st.DataObject) -> None:
    """In any document, the line reported is the line of the key; nothing else is reported."""
    writer = data.draw(st.composite(_Writer)())
    newline = data.draw(st.sampled_from(["\n", "\r\n"]))
    text = writer.text.replace("\n", newline)
    assert Lines(text).known == writer.lines
    assert set(writer.lines) == set(places(tomllib.loads(text)))
