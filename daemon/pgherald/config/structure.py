"""From what `tomllib` gave to the tables of `schema`, with every problem in one go."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from pgherald.config.lines import Place
from pgherald.config.meta import Form, Key, Section, heading, parts, sections
from pgherald.config.schema import Root
from pgherald.config.values import Wrong, shown, suggestion


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


def structure(data: Mapping[str, Any]) -> tuple[Root, list[Problem]]:
    """Read the whole file.

    Returns:
        The tables, and the problems inside them. A table with a problem is None where
        there may be several, and otherwise as if it were not there, so that the rest
        can still be checked.
    """
    reading = _Reading()
    return Root(**reading.parts(Root, data, ())), reading.problems


class _Reading:
    """Reads tables, and gathers what is wrong with them."""

    def __init__(self) -> None:
        self.problems: list[Problem] = []

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
            if name not in value:
                if isinstance(part, Key) and part.required:
                    self._note(here, f"{name} is missing")
                continue
            with self._noting(here):
                found[name] = self._part(part, value[name], here)
        for name in sorted(value.keys() - known.keys()):
            self._note((*place, name), _unknown(name, table))
        return found

    def _part(self, part: Key | Section, value: Any, place: Place) -> Any:
        if isinstance(part, Key):
            return self._key(part, value, place)
        return self._section(part, value, place)

    def _key(self, key: Key, value: Any, place: Place) -> Any:
        if not key.many:
            return key.kind.read(value)
        if not isinstance(value, list):
            raise Wrong(f"must be an array such as {key.example}, not {shown(value)}")
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
        match form:
            case Form.MANY:
                raise Wrong(f"may come several times: write [[{name}]], with double brackets")
            case Form.EITHER:
                return (self._table(table, value, place),)
            case Form.GROUP:
                # Of several clients, the ones that are right can still be checked.
                return table(**self.parts(table, value, place))
            case _:
                return self._table(table, value, place)

    def _table(self, table: type, value: Any, place: Place) -> Any:
        """The whole table; None when anything in it is wrong."""
        before = len(self.problems)
        found: dict[str, Any] = {}
        with self._noting(place):
            found = self.parts(table, value, place)
        return table(**found) if len(self.problems) == before else None

    @contextlib.contextmanager
    def _noting(self, place: Place) -> Iterator[None]:
        """What is raised as wrong meanwhile is a problem of this place."""
        try:
            yield
        except Wrong as exc:
            self._note(place, f"{_label(place)} {exc}")

    def _note(self, place: Place, message: str) -> None:
        self.problems.append(Problem(place, message))


def _label(place: Place) -> str:
    """What a message calls a place; the line says which of several it is."""
    return next(step for step in reversed(place) if isinstance(step, str))


def _unknown(key: str, table: type) -> str:
    """The message for a key that a table does not have."""
    headings = {section.table: heading(path, section.form) for path, section in sections(Root)}
    where = f" in {headings[table]}" if table in headings else ""
    message = f"unknown key {shown(key)}{where}"
    if near := suggestion(key, parts(table)):
        return message + near
    if key in parts(Root):
        return f"{message}; it belongs at the top level, before the first [section]"
    if homes := [name for other, name in headings.items() if key in parts(other)]:
        return f"{message}; it belongs in {' or '.join(homes)}"
    return f"{message}; known are {', '.join(parts(table))}"
