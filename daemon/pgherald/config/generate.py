"""What is written from the schema: the example file, the documents' tables, completion."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator
from dataclasses import MISSING, dataclass
from typing import Final

from pgherald.config import schema, tables

_WIDTH: Final = 88

#: The variables that pgherald goes by, each with its meaning.
ENVIRONMENT: Final = tuple(tables.reference()["environment"].items())


@dataclass(frozen=True, slots=True)
class KeyInfo:
    """One key, for people.

    Attributes:
        path: where it is: `poll_interval`, `databases[].app`, `clients.pgpass.path`.
        name: the last part of the path.
        type: what its value may be, in words.
        default: the default, in words; empty when the key is required.
        description: what it means.
        example: a value, as TOML.
    """

    path: str
    name: str
    type: str
    default: str
    description: str
    example: str


def describe() -> list[KeyInfo]:
    """Every key there is, in reading order."""
    return [info for path, section in _tables() for info in _keys(path, section)]


def example() -> str:
    """The example configuration, a complete file that loads as it is."""
    blocks = [tables.reference()["pages"]["example"]]
    for path, section in _tables():
        live = not path or not tables.entry(path).get("off")
        if path:
            title = tables.heading(path, section.form)
            lines = [f"# ── {title} ".ljust(_WIDTH, "─"), _comment(_about(path))]
            if section.form is not tables.Form.GROUP:
                lines.append(f"{'' if live else '#'}{title}")
            blocks.append("\n".join(lines) + "\n")
        for key in _keys(path, section):
            off = "" if live and not key.default else "#"
            about = f"{key.description} {_default_note(key)}".rstrip()
            blocks.append(f"{_comment(about)}\n{off}{key.name} = {key.example}\n")
    return "\n".join(blocks)


def document() -> str:
    """The page `docs/configuration.md`."""
    blocks = [tables.reference()["pages"]["document"]]
    for path, section in _tables():
        title = f"`{tables.heading(path, section.form)}`" if path else "Top level"
        about = _markdown(_about(path)) if path else "Before the first `[section]`."
        blocks.append(f"## {title}\n\n{about}\n")
        if section.form is not tables.Form.GROUP:
            blocks.append(_table(path, section))
    rows = [f"| `{name}` | {about} |" for name, about in ENVIRONMENT]
    lines = ["## Environment", "", "| variable | meaning |", "|---|---|", *rows, ""]
    return "\n".join([*blocks, "\n".join(lines)])


def _tables() -> list[tuple[tuple[str, ...], tables.Section]]:
    """Every table with its path, the whole file first."""
    return [((), tables.Section(schema.Root, tables.Form.ONE)), *tables.sections(schema.Root)]


def _about(path: tuple[str, ...]) -> str:
    return " ".join(tables.entry(path)["about"].split())


def _keys(path: tuple[str, ...], section: tables.Section) -> Iterator[KeyInfo]:
    """The keys of one table."""
    prefix = ".".join(path) + ("[]" if section.form is tables.Form.MANY else "")
    for name, key in tables.parts(section.table).items():
        if isinstance(key, tables.Key):
            where = (*path, name)
            example = tables.entry(where).get("example", key.default)
            yield KeyInfo(
                path=f"{prefix}.{name}" if prefix else name,
                name=name,
                type=f"array of {key.kind.word}s" if key.many else key.kind.word,
                default=tables.entry(where).get("default") or _default(key, example),
                description=_about(where),
                example=tables.toml(example),
            )


def _default(key: tables.Key, example: object) -> str:
    """The default in words: as the example has it, where that means the same."""
    if key.default is MISSING:
        return ""
    if key.default in {None, ()}:
        return "none"
    same = not key.many and key.kind.read(example) == key.default
    return f"`{tables.toml(example if same else key.default)}`"


def _default_note(key: KeyInfo) -> str:
    """The default, where the line below the comment does not show it."""
    if not key.default:
        return "Required."
    return "" if key.default == f"`{key.example}`" else f"Default: {key.default}."


def _comment(text: str) -> str:
    return textwrap.fill(
        text,
        _WIDTH,
        initial_indent="# ",
        subsequent_indent="# ",
        break_on_hyphens=False,
        break_long_words=False,
    )


def _markdown(text: str) -> str:
    """Text for a Markdown table; what stands in backticks stays."""
    return re.sub(r"`[^`]*`|[<*|]", lambda m: m[0] if len(m[0]) > 1 else f"\\{m[0]}", text)


def _table(path: tuple[str, ...], section: tables.Section) -> str:
    rows = [
        f"| `{k.name}` | {k.type} | {k.default or '**required**'} | {_markdown(k.description)} |"
        for k in _keys(path, section)
    ]
    return "\n".join(["| key | type | default | meaning |", "|---|---|---|---|", *rows, ""])
