"""Finding the line of a key in a TOML file."""

from __future__ import annotations

import itertools
import tomllib
from collections.abc import Iterator
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from pgherald.config.tables import Lines, Place


def places(data: Any, place: Place = ()) -> Iterator[tuple[Place, Any]]:
    """Every place in what `tomllib` gives, with what stands there."""
    yield place, data
    if isinstance(data, dict | list):
        for key, value in data.items() if isinstance(data, dict) else enumerate(data):
            yield from places(value, (*place, key))


def test_the_nearest_place_stands_in() -> None:
    """What is missing is missing where it should have been: in the table around it."""
    lines = Lines("a = 1\n\n[[b]]\nc = 2\n")
    assert lines.of(("b", 0, "missing", 5)) == 3
    assert lines.of(("missing",)) == 1
    assert lines.of(()) == 1


def test_a_table_between_two_of_one_array() -> None:
    """Tables of one array need not stand together; each keeps its own line."""
    lines = Lines("[[a]]\nx = 1\n[b]\n[[a]]\nx = 2\n[a.c]\ny = [\n[1],\n{z = [\n2]}]\n")
    assert [lines.of(("a", n, *rest)) for n, rest in ((0, "x"), (1, ()), (1, "x"))] == [2, 4, 5]
    assert lines.of(("a", 1, "c")) == 6
    item = ("a", 1, "c", "y", 1)
    assert [lines.of(place) for place in (item, (*item, "z"), (*item, "z", 0))] == [9, 9, 10]


@st.composite
def documents(draw: st.DrawFn) -> str:
    """A document in which every key, and every text in an array, stands once."""
    count = itertools.count()

    def pick(*choices: str) -> str:
        return draw(st.sampled_from(choices))

    def name() -> str:
        plain = f"k{next(count):04}"
        return pick(plain, f'"{plain} é#[ = ."', f"'{plain} \"'")

    def value(depth: int) -> str:
        form = pick("plain", "plain", "array", "table") if depth < 3 else "plain"
        if form == "array":
            gap = pick("", " ", "\n", " # ],\n ")
            items = (value(depth + 1) for _ in range(draw(st.integers(0, 3))))
            return "[" + gap + "".join(f"{item}{gap},{gap}" for item in items) + "]"
        if form == "table":
            return "{ " + ", ".join(pair(depth + 1) for _ in range(draw(st.integers(0, 3)))) + " }"
        several = ['"""a\n\n[b] # \\"""\n""c"""""', "'''\n]\\'''''"] if not depth else []
        return pick(
            f'"v{next(count):04} # \\" ]"', "-1.5e+3", "1979-05-27T07:32:00.5-07:00", *several
        )

    def pair(depth: int) -> str:
        return pick(".", " . ").join(name() for _ in range(draw(st.integers(1, 3)))) + (
            pick("=", " = ") + value(depth)
        )

    arrays: list[str] = []
    text = ""
    for _ in range(draw(st.integers(0, 12))):
        form = pick("blank", "pair", "table", "array", "again")
        if form == "array":
            arrays.append(name())
        title = pick(*arrays) if arrays and form == "again" else name()
        opened = f"[[{arrays[-1]}]]" if form == "array" else f"[[{title}]]"
        text += {
            "blank": pick("", "  # [x]\n# y = 1"),
            "pair": pair(0),
            "table": f"[{title}.{name()}]",
        }.get(form, opened if arrays else "") + pick("\n", " # [z]\n")
    return text


@given(documents(), st.sampled_from(["\n", "\r\n"]))
def test_any_layout(text: str, newline: str) -> None:
    """In any document, the line that is found is the one where the key, or the item, is written."""
    text = text.replace("\n", newline)
    known = Lines(text).known
    found = list(places(tomllib.loads(text)))
    assert set(known) == {place for place, _ in found}
    for place, held in found:
        step = place[-1] if place else 0
        written = step if isinstance(step, str) else held
        if isinstance(written, str) and written[:1] in {"k", "v"}:
            assert known[place] == text.count("\n", 0, text.index(written[:5])) + 1
