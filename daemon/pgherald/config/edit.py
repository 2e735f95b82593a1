"""Changes a configuration file as a person would: only what is asked for, nothing else.

    text = edited(text, Wishes(add=(NewDatabase("shop-production"),)))

Comments, order, blank lines and keys that nobody here knows stay as they are. tomlkit sets
single values. Whole `[[databases]]` are put in and taken out by their lines: tomlkit counts the
comment above a header as part of the table before, and would take it along.

Pure. Whatever comes out is read again, and has to say exactly what was asked for.
"""

from __future__ import annotations

import contextlib
import copy
import dataclasses
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from pgherald.config.schema import DEFAULT_ATTACHMENT
from pgherald.config.tables import Lines
from pgherald.config.values import TokenSpec
from pgherald.errors import ConfigError

_HEAD: Final = """\
# pgherald's configuration, begun by `pgherald init`. It is yours to edit.
# `pgherald config example` prints every key with its meaning.

"""


@dataclass(frozen=True, slots=True)
class NewDatabase:
    """One of `[[databases]]` to add.

    Attributes:
        app: the Heroku app's name.
        attachment: the attachment's name.
        account: which of `[[accounts]]`; None for the only one.
        service: the section in the service file; None for the default.
    """

    app: str
    attachment: str = DEFAULT_ATTACHMENT
    account: str | None = None
    service: str | None = None

    @property
    def keys(self) -> dict[str, str]:
        """The keys to write: those that differ from the default."""
        fields = dataclasses.fields(self)
        return {f.name: getattr(self, f.name) for f in fields if getattr(self, f.name) != f.default}


@dataclass(frozen=True, slots=True)
class Wishes:
    """What is to be different.

    Attributes:
        add: databases to add.
        drop: places of databases to take out, counted from 0 in the file's order.
        token: the token's source, as `[heroku]` writes it; None to leave it.
        clients: kinds of client to have, each with its path or None for the default; one that
            is there stays as it is.
        desktop: whether to show desktop notifications; None to leave it.
    """

    add: tuple[NewDatabase, ...] = ()
    drop: frozenset[int] = frozenset()
    token: str | None = None
    clients: Mapping[str, str | None] = field(default_factory=dict)
    desktop: bool | None = None


def fresh(wishes: Wishes) -> str:
    """A new configuration."""
    token = wishes.token or str(TokenSpec())
    return _HEAD + "\n".join(_tables(dataclasses.replace(wishes, token=token)))


def _tables(wishes: Wishes) -> list[str]:
    """What is wished for, as a person would write it into an empty file."""
    parts = [] if wishes.token is None else [_table("[heroku]", {"token": wishes.token})]
    parts += [_table("[[databases]]", new.keys) for new in wishes.add]
    paths = {kind: {"path": path} if path else {} for kind, path in wishes.clients.items()}
    parts.append("".join(_table(f"[clients.{kind}]", keys) for kind, keys in paths.items()))
    if wishes.desktop is not None:
        parts.append(f"[notifications]\ndesktop = {'true' if wishes.desktop else 'false'}\n")
    return parts


def _table(heading: str, keys: Mapping[str, str]) -> str:
    return f"{heading}\n" + "".join(f"{name} = {_quoted(text)}\n" for name, text in keys.items())


def edited(text: str, wishes: Wishes) -> str:
    """The configuration with what is wished for.

    Args:
        text: a configuration that loads; line ends stay as they are.
        wishes: what is to be different.

    Raises:
        ConfigError: the file is written in a way that this cannot follow; names what to write
            by hand.
    """
    line_end = "\r\n" if "\r\n" in text else "\n"
    plain = text.replace("\r\n", "\n")
    before = tomllib.loads(plain)
    wanted = copy.deepcopy(before)
    _set_databases(wanted, wishes, dict)
    _set_values(wanted, wishes, lambda _document, _name: {})
    new = plain
    if before.get("databases") != wanted.get("databases"):
        new = _with_databases(new, wishes)
    if any(before.get(name) != wanted.get(name) for name in ("heroku", "clients", "notifications")):
        new = _with_values(new, wishes)
    with contextlib.suppress(tomllib.TOMLDecodeError):
        if tomllib.loads(new) == wanted:
            return new.replace("\n", line_end)
    raise ConfigError(
        "The configuration is written in a way that init cannot change",
        tuple(f"  {line}" for line in "".join(_tables(wishes)).splitlines()),
        "Write these lines into it by hand, then run: pgherald check",
    )


def _set_databases(document: Any, wishes: Wishes, table: Callable[[dict[str, str]], Any]) -> None:
    """Change the list of databases in what `tomllib` or tomlkit made of the file."""
    if not wishes.add and not wishes.drop:
        return
    databases = document.setdefault("databases", [])
    for index in sorted(wishes.drop, reverse=True):
        del databases[index]
    databases.extend(table(new.keys) for new in wishes.add)
    if not databases:
        del document["databases"]


def _set_values(document: Any, wishes: Wishes, table: Callable[[Any, str], Any]) -> None:
    """Change single values and clients in what `tomllib` or tomlkit made of the file.

    Args:
        document: the file.
        wishes: what is to be different.
        table: makes an empty table for this name in that table.
    """

    def at(parent: Any, name: str) -> Any:
        if name not in parent:
            parent[name] = table(parent, name)
        return parent[name]

    if wishes.token is not None:
        at(document, "heroku")["token"] = wishes.token
    for kind, path in wishes.clients.items():
        clients = at(document, "clients")
        if kind not in clients:
            client = at(clients, kind)
            if path is not None:
                client["path"] = path
    if wishes.desktop is not None:
        at(document, "notifications")["desktop"] = wishes.desktop


def _with_values(text: str, wishes: Wishes) -> str:
    """Single values, and clients, set by tomlkit; nothing where it would move other lines."""
    import tomlkit  # only a configuration that is there already needs it

    def table(parent: Any, name: str) -> Any:
        if isinstance(parent, tomlkit.items.InlineTable):
            return tomlkit.inline_table()
        return tomlkit.table(is_super_table=name == "clients")

    document = tomlkit.parse(text)
    if tomlkit.dumps(document) != text:
        return text  # it moves `[[databases]]` together where other tables stand between them
    _set_values(document, wishes, table)
    return tomlkit.dumps(document)


def _with_databases(text: str, wishes: Wishes) -> str:
    """`[[databases]]` put in and taken out."""
    lines = text.split("\n")
    known = Lines(text).known
    # No value of ours begins a line with a bracket, so these are the headers.
    heads = sorted({at for at in known.values() if lines[at - 1].lstrip().startswith("[")})
    tables = [at for place, at in known.items() if place[:-1] == ("databases",)]
    if not set(tables) <= set(heads):
        return _in_array(text, wishes)

    def end(head: int) -> int:
        """The last line of a table: blank lines, and a comment right above the next, are not its."""
        bound = min((other for other in heads if other > head), default=len(lines) + 1)
        last = bound - 1
        while last > head and lines[last - 1].lstrip()[:1] in {"", "#"}:
            last -= 1
        after = last + 1
        while after < bound and lines[after - 1].strip():
            after += 1
        return last if after == bound <= len(lines) else after - 1

    new = [
        line
        for each in wishes.add
        for line in ("", *_table("[[databases]]", each.keys).splitlines())
    ]
    at = max(map(end, tables), default=None)
    if at is None:
        at, new = _first_place(lines, known), [*new[1:], ""] if new else []
    spans = [(at, at, new), *((tables[i] - 1, end(tables[i]), []) for i in wishes.drop)]
    for start, stop, instead in sorted(spans, key=lambda span: span[:2], reverse=True):
        if stop > start and start and not lines[start - 1].strip():
            start -= 1  # noqa: PLW2901 – the blank line before goes with the table
        lines[start:stop] = instead
    return "\n".join(lines).lstrip("\n") if text[:1] != "\n" else "\n".join(lines)


def _first_place(lines: list[str], known: Mapping[tuple[str | int, ...], int]) -> int:
    """Where the first of the databases goes: before the clients, with the comment above them."""
    clients = [at for place, at in known.items() if place[:1] == ("clients",)]
    if not clients or not lines[min(clients) - 1].lstrip().startswith("["):
        if lines[-1]:
            lines.append("")
        return len(lines) - 1
    at = head = min(clients) - 1
    while at and lines[at - 1].lstrip().startswith("#"):
        at -= 1
    return at or head  # a comment that begins the file is the file's


def _in_array(text: str, wishes: Wishes) -> str:
    """The same where they are written as `databases = [{…}]`."""
    import tomlkit

    def table(keys: dict[str, str]) -> Any:
        made = tomlkit.inline_table()
        made.update(keys)
        return made

    document = tomlkit.parse(text)
    _set_databases(document, wishes, table)
    return tomlkit.dumps(document)


def _quoted(text: str) -> str:
    """A TOML text. One with backslashes, a Windows path say, reads best in single quotes."""
    if "\\" in text and "'" not in text and text.isprintable():
        return f"'{text}'"
    import tomlkit

    return tomlkit.string(text).as_string()
