"""From what `tomllib` gave to the tables of `schema`, with every problem in one go."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, cast

import attrs
import cattrs
from cattrs.gen import make_dict_structure_fn, override

from pgherald.config.lines import Place
from pgherald.config.meta import Form, Key, Section, heading, parts, sections
from pgherald.config.schema import Root
from pgherald.config.values import Wrong, shown, suggestion

_Hook = Callable[[Any, Any], Any]


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
    try:
        return _converter().structure(data, Root), []
    except cattrs.BaseValidationError as group:
        problems = list(_problems(group, ()))
    sound = copy.deepcopy(dict(data))
    for holder, step in [_innermost(sound, problem.place) for problem in problems]:
        if isinstance(holder, list):
            holder[step] = None
        else:
            holder.pop(step, None)
    return _converter().structure(sound, Root), problems


@cache
def _converter() -> cattrs.Converter:
    converter = cattrs.Converter()
    converter.register_structure_hook_factory(attrs.has, lambda cls: _table_hook(cls, converter))
    return converter


def _table_hook(table: type, converter: cattrs.Converter) -> _Hook:
    hooks = {
        name: override(
            struct_hook=_key_hook(part)
            if isinstance(part, Key)
            else _section_hook(name, part, converter)
        )
        for name, part in parts(table).items()
    }
    read: Callable[..., Any] = make_dict_structure_fn(
        table, converter, _cattrs_forbid_extra_keys=True, **cast("Any", hooks)
    )

    def hook(value: Any, _: Any) -> Any:
        if not isinstance(value, Mapping):
            raise Wrong(f"must be a table, not {shown(value)}")
        return read(value, table)

    return hook


def _key_hook(key: Key) -> _Hook:
    def many(value: Any, _: Any) -> tuple[Any, ...]:
        if not isinstance(value, list):
            raise Wrong(f"must be an array such as {key.example}, not {shown(value)}")
        return _each(value, key.kind.read)

    return many if key.many else lambda value, _: key.kind.read(value)


def _section_hook(name: str, part: Section, converter: cattrs.Converter) -> _Hook:
    def one(value: Any, _: Any = None) -> Any:
        if isinstance(value, list):
            raise Wrong(f"comes once: write [{name}], with single brackets")
        # None is not TOML: it marks a table that was taken out.
        return None if value is None else converter.structure(value, part.table)

    def many(value: Any, _: Any) -> tuple[Any, ...]:
        if isinstance(value, list):
            return _each(value, one)
        if part.form is Form.MANY:
            raise Wrong(f"may come several times: write [[{name}]], with double brackets")
        return (one(value),)

    return many if part.form in {Form.MANY, Form.EITHER} else one


def _each(values: list[Any], read: Callable[[Any], Any]) -> tuple[Any, ...]:
    """Read every item; the wrong ones are raised together."""
    items: list[Any] = []
    wrong: list[Exception] = []
    for index, value in enumerate(values):
        try:
            items.append(read(value))
        except (Wrong, cattrs.BaseValidationError) as exc:
            exc.add_note(cattrs.IterableValidationNote("", index, None))
            wrong.append(exc)
    if wrong:
        raise cattrs.IterableValidationError("", wrong, tuple)
    return tuple(items)


def _problems(error: Exception, place: Place) -> Iterator[Problem]:
    """Flatten what cattrs raised at a place."""
    if isinstance(error, cattrs.BaseValidationError):
        for inner in error.exceptions:
            yield from _problems(inner, (*place, *_step(inner)))
    elif isinstance(error, cattrs.ForbiddenExtraKeysError):
        for key in sorted(error.extra_fields):
            yield Problem((*place, key), _unknown(key, error.cl))
    elif isinstance(error, KeyError):
        yield Problem(place, f"{_label(place)} is missing")
    else:
        yield Problem(place, f"{_label(place)} {error}")


def _step(error: Exception) -> Place:
    """The key or index that cattrs notes on an error inside a group."""
    notes = getattr(error, "__notes__", ())
    return tuple(
        note.name if isinstance(note, cattrs.AttributeValidationNote) else note.index
        for note in notes
    )


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


def _innermost(data: dict[str, Any], place: Place) -> tuple[Any, Any]:
    """The innermost table around a place, as (what holds it, key or index).

    Where no table is around it, that is the top-level key.
    """
    node: Any = data
    table: type = Root
    found: tuple[Any, Any] = (data, place[0])
    step: Any
    for step in place:
        if isinstance(step, str):
            part = parts(table).get(step)
            if not isinstance(part, Section):
                break
            table = part.table
        child = node[step]
        if isinstance(child, dict):
            found = (node, step)
        elif not isinstance(child, list):
            break
        node = child
    return found
