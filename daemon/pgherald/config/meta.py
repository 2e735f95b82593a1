"""What the schema says about a key or a table, kept in the metadata of fields."""

from __future__ import annotations

import dataclasses
import enum
import json
from collections.abc import Iterator
from dataclasses import MISSING, dataclass
from typing import Any, Final

from pgherald.config.values import Kind

_META: Final = "pgherald"


@dataclass(frozen=True, slots=True)
class Key:
    """What there is to know about one key.

    Attributes:
        kind: what its value may be; for an array, what each item may be.
        about: what it means, in a sentence or two.
        default: the default as the documents show it; empty when the key is required.
        example: the value in the example file, as TOML.
        many: whether the value is an array.
    """

    kind: Kind
    about: str
    default: str
    example: str
    many: bool

    @property
    def required(self) -> bool:
        """Whether the table is wrong without it."""
        return not self.default

    @property
    def type(self) -> str:
        """What the value may be, in words."""
        return f"array of {self.kind.word}s" if self.many else self.kind.word


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
    """What there is to know about one table.

    Attributes:
        table: its class.
        form: how it is written.
        about: what it is for.
        live: whether the example file has it switched on.
    """

    table: type
    form: Form
    about: str
    live: bool


def key(
    kind: Kind,
    about: str,
    *,
    default: Any = MISSING,
    default_text: str = "",
    example: Any = None,
    many: bool = False,
) -> Any:
    """A field for one key.

    Args:
        kind: what its value may be.
        about: what it means.
        default: its default, as the field holds it; none makes the key required.
        default_text: the default for people, where it is not just the value.
        example: the value in the example file; the default if left out, so that a
            required key has to have one.
        many: whether the value is an array of `kind`.
    """
    written = _toml(default if example is None else example)
    if default is not MISSING:
        default_text = default_text or (f"`{_toml(default)}`" if default != () else "none")
    meta = Key(kind, about, default_text, written, many)
    return dataclasses.field(default=default, metadata={_META: meta})


def section(table: type, form: Form, about: str, *, live: bool = True) -> Any:
    """A field for one table, or for all tables of one name."""
    metadata = {_META: Section(table, form, about, live)}
    if form is Form.GROUP:
        return dataclasses.field(default_factory=table, metadata=metadata)
    return dataclasses.field(default=None if form is Form.ONE else (), metadata=metadata)


def parts(table: type) -> dict[str, Key | Section]:
    """What a table may hold, by name, in the order in which people should read it."""
    return {field.name: field.metadata[_META] for field in dataclasses.fields(table)}


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


def _toml(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)
