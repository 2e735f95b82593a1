"""Tables of a TOML file as dataclasses: one class for each, one field for each key.

A field's metadata says what its value may be; `reference.toml` says what it means.
`read` turns what `tomllib` gave into instances of these classes, with every problem in one go;
`Lines` finds the line of each.
"""

from __future__ import annotations

import contextlib
import dataclasses
import enum
import functools
import itertools
import json
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import MISSING, dataclass
from importlib import resources
from typing import Any, Final, Generic, TypeVar

from pgherald.config.values import Kind, Wrong, shown, suggestion

#: Where a value stands: keys, and places in an array counted from 0.
Place = tuple[str | int, ...]

#: What may be missing where a line ends in the middle of a value: nothing, or an array's end first.
_ENDS: Final = ("", *("]" + "".join(more) for n in range(4) for more in itertools.product("]}", repeat=n)))  # fmt: skip


class Lines:
    """Finds on which line each key of a TOML file stands.

    `tomllib` tells no lines. `tomlkit` keeps the text, but it moves `[[tables]]` of one name
    together when others stand between them, so lines counted in its rendering point to the wrong
    place. So `tomllib` itself is asked, with one more line each time: what it finds then begins on
    that line. This is used only on text that `tomllib` has accepted, and only when there is a
    problem to report.

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


T = TypeVar("T")

_META: Final = "pgherald"


@dataclass(frozen=True, slots=True)
class Key:
    """One key.

    Attributes:
        kind: what its value may be; for an array, what each item may be.
        default: its default; MISSING when the table is wrong without it.
        many: whether the value is an array.
        empty: what is wrong with an empty array; nothing if that is empty too.
    """

    kind: Kind
    default: Any
    many: bool
    empty: str


class Form(enum.Enum):
    """How a table is written."""

    ONE = enum.auto()
    """`[name]`, once."""
    MANY = enum.auto()
    """`[[name]]`, any number of times."""
    EITHER = enum.auto()
    """`[name]`, or `[[name]]` for several."""
    GROUP = enum.auto()
    """Holds other tables, and nothing else."""


@dataclass(frozen=True, slots=True)
class Section:
    """One table: its class, and how it is written."""

    table: type
    form: Form


@dataclass(frozen=True, slots=True)
class Problem:
    """Something wrong in the file.

    Attributes:
        place: the key or table it is about.
        message: what is wrong, in one sentence; holds no secret.
        other: a second place whose line the message ends with, such as the first of two equals.
    """

    place: Place
    message: str
    other: Place | None = None


def key(kind: Kind, *, default: Any = MISSING, many: bool = False, empty: str = "") -> Any:
    """A field for one key; without a default it is required. See `Key`."""
    metadata = {_META: Key(kind, default, many, empty)}
    return dataclasses.field(default=default, metadata=metadata)


def section(table: type, form: Form) -> Any:
    """A field for one table, or for all tables of one name."""
    metadata = {_META: Section(table, form)}
    if form is Form.GROUP:
        return dataclasses.field(default_factory=table, metadata=metadata)
    return dataclasses.field(default=None if form is Form.ONE else (), metadata=metadata)


@functools.cache
def reference() -> Mapping[str, Any]:
    """What people are to know of each table and key: `reference.toml`."""
    return tomllib.loads(resources.files(__package__).joinpath("reference.toml").read_text("utf-8"))


def entry(place: Iterable[str | int]) -> Mapping[str, Any]:
    """What the reference says of a table or key."""
    found: Mapping[str, Any] = reference()["keys"]
    for name in place:
        found = found[name] if isinstance(name, str) else found
    return found


def names(table: type) -> list[str]:
    """The fields of a table, in the order in which people should read them: its base's come last."""
    own = list(table.__annotations__)
    fields = [field.name for field in dataclasses.fields(table)]
    return sorted(fields, key=lambda name: own.index(name) if name in own else len(own))


def parts(table: type) -> dict[str, Key | Section]:
    """What a table may hold, by name, in the order of `names`."""
    metadata = {field.name: field.metadata for field in dataclasses.fields(table)}
    return {name: metadata[name][_META] for name in names(table) if metadata[name]}


def sections(table: type, above: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Section]]:
    """Every table below a table with its path, such as `("clients", "pgpass")`, in reading order."""
    for name, part in parts(table).items():
        if isinstance(part, Section):
            yield (*above, name), part
            yield from sections(part.table, (*above, name))


def heading(path: tuple[str, ...], form: Form) -> str:
    """How a table begins: `[clients.pgpass]`."""
    name = ".".join(path)
    return f"[[{name}]]" if form is Form.MANY else f"[{name}]"


def toml(value: Any) -> str:
    """A text, a number, a truth or an array of them as TOML has it."""
    return json.dumps(value, ensure_ascii=False)


def read(root: type[T], data: Mapping[str, Any]) -> tuple[T, list[Problem]]:
    """Read a whole file.

    Returns:
        The tables, and the problems inside them. A table with a problem is None where
        there may be several, and otherwise as if it were not there, so that the rest
        can still be checked.
    """
    reader = _Reader(root)
    return root(**reader.parts(root, data, ())), reader.problems


class _Reader(Generic[T]):
    """Reads tables, and gathers what is wrong with them."""

    def __init__(self, root: type[T]) -> None:
        self.problems: list[Problem] = []
        self._root = root

    def parts(self, table: type, value: Any, place: Place) -> dict[str, Any]:
        """What a table says, by name, as far as it is right.

        Raises:
            Wrong: it is no table.
        """
        if not isinstance(value, Mapping):
            raise Wrong(f"must be a table, not {shown(value)}")
        found: dict[str, Any] = {}
        known = parts(table)
        for name, part in known.items():
            here = (*place, name)
            with self._noting(here):
                if name not in value:
                    if isinstance(part, Key) and part.default is MISSING:
                        raise Wrong("is missing")
                elif isinstance(part, Key):
                    found[name] = self._key(part, value[name], here)
                else:
                    found[name] = self._section(part, value[name], here)
        for name in sorted(value.keys() - known.keys()):
            self.problems.append(Problem((*place, name), self._unknown(name, table)))
        return found

    def _key(self, key: Key, value: Any, place: Place) -> Any:
        if not key.many:
            return key.kind.read(value)
        if not isinstance(value, list):
            example = toml(entry(place).get("example", key.default))
            raise Wrong(f"must be an array such as {example}, not {shown(value)}")
        if key.empty and not value:
            raise Wrong(f"is empty{key.empty}")
        items: list[Any] = []
        for index, item in enumerate(value):
            with self._noting((*place, index)):
                items.append(key.kind.read(item))
        return tuple(items)

    def _section(self, section: Section, value: Any, place: Place) -> Any:
        table, form, name = section.table, section.form, place[-1]
        if isinstance(value, list):
            if form not in {Form.MANY, Form.EITHER}:
                raise Wrong(f"comes once: write [{name}], with single brackets")
            return tuple(self._table(table, one, (*place, i)) for i, one in enumerate(value))
        if form is Form.MANY:
            raise Wrong(f"may come several times: write [[{name}]], with double brackets")
        if form is Form.GROUP:
            # Of several clients, the ones that are right can still be checked.
            return table(**self.parts(table, value, place))
        found = self._table(table, value, place)
        return (found,) if form is Form.EITHER else found

    def _table(self, table: type, value: Any, place: Place) -> Any:
        """The whole table; None when anything in it is wrong."""
        before = len(self.problems)
        with self._noting(place):
            found = self.parts(table, value, place)
            if len(self.problems) == before:
                return table(**found)
        return None

    @contextlib.contextmanager
    def _noting(self, place: Place) -> Iterator[None]:
        """What is raised as wrong meanwhile is a problem of this place."""
        try:
            yield
        except Wrong as exc:
            # The line says which of several it is.
            label = next(step for step in reversed(place) if isinstance(step, str))
            self.problems.append(Problem(place, f"{label} {exc}"))

    def _unknown(self, key: str, table: type) -> str:
        """The message for a key that a table does not have."""
        headings = {s.table: heading(path, s.form) for path, s in sections(self._root)}
        where = f" in {headings[table]}" if table in headings else ""
        message = f"unknown key {shown(key)}{where}"
        if near := suggestion(key, parts(table)):
            return message + near
        if key in parts(self._root):
            return f"{message}; it belongs at the top level, before the first [section]"
        if homes := [name for other, name in headings.items() if key in parts(other)]:
            return f"{message}; it belongs in {' or '.join(homes)}"
        return f"{message}; known are {', '.join(parts(table))}"
