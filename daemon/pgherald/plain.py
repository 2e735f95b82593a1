"""Frozen dataclasses from plain values, such as JSON or a row of SQLite, and the way back.

Nothing is believed that is of another type than its field: whoever has tampered with a file, or
damaged it, gets an error here and not a surprise later.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import types
import typing
from collections.abc import Callable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, Final, TypeVar

from pgherald.errors import PgheraldError
from pgherald.model import DatabaseKey, Subject

T = TypeVar("T")

_hints = functools.cache(typing.get_type_hints)


def as_json(value: object, *, indent: int | None = 2) -> str:
    """A value as JSON. Secrets are refused, as is all that is not foreseen."""
    return json.dumps(value, indent=indent, ensure_ascii=False, default=_jsonable)


def fields(item: object, *names: str) -> dict[str, Any]:
    """Some attributes of an object, by their names."""
    return {name: getattr(item, name) for name in names}


def _jsonable(value: object) -> object:
    match value:
        case datetime():
            return value.isoformat(timespec="milliseconds")
        case Path() | DatabaseKey():
            return str(value)
        case PgheraldError():
            return fields(value, "kind", "title", "advice")
    raise TypeError(f"{type(value).__name__} is not for showing")


def read(kind: Callable[..., T], fields: Mapping[str, Any]) -> T:
    """A dataclass from its fields; others count for nothing.

    Raises:
        ValueError: one is damaged.
        TypeError: one is missing, or of another type.
    """
    hints = _hints(kind).items()
    return kind(**{name: _value(hint, fields[name]) for name, hint in hints if name in fields})


def moment(text: str) -> datetime:
    """A moment from ISO 8601.

    Raises:
        ValueError: it is none, or in no zone.
    """
    found = datetime.fromisoformat(text)
    if found.tzinfo is None:
        raise ValueError("a moment is in no zone")
    return found


#: What is kept as text.
_TEXTS: Final[Mapping[Any, Callable[[str], object]]] = {
    str: str,
    datetime: moment,
    Path: Path,
    DatabaseKey: DatabaseKey.parse,
    Subject: Subject.read,
}


def _value(hint: Any, value: Any) -> object:
    if isinstance(hint, types.UnionType):  # `X | None`
        return None if value is None else _value(typing.get_args(hint)[0], value)
    if typing.get_origin(hint) is tuple:
        return tuple(_value(typing.get_args(hint)[0], each) for each in _listed(value))
    if dataclasses.is_dataclass(hint) and hint not in _TEXTS:
        return read(typing.cast("type", hint), value)
    wanted = hint if hint in (bool, int) else str
    if type(value) is not wanted:
        raise TypeError(f"a {wanted.__name__} is of another type")
    return _TEXTS.get(hint, hint)(value)


def _listed(value: Any) -> list[Any]:
    """A list, which SQLite has as JSON."""
    found = json.loads(value) if isinstance(value, str) else value
    if not isinstance(found, list):
        raise TypeError("a list is none")
    return found
