"""What may be seen of a servers.json: the keys and values that pgherald writes, and brackets."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator
from typing import Final

from pgherald.clients import lines
from pgherald.clients.json_text import Array, Document, Member, Node, Object, Splice, splice
from pgherald.errors import Unparsable
from pgherald.secret import MASK

#: What may be seen of a server of ours: the keys that we write.
_SHOWN: Final = frozenset(
    {
        *("Name", "Group", "Service", "Host", "Port", "Username", "MaintenanceDB", "DBRestriction"),
        *("DBRestrictionType", "pgherald"),
    }
)
_SHOWN_PARAMETERS: Final = frozenset({"sslmode", "connect_timeout", "passfile"})

_SPOKEN = re.compile(r"passw(?:or)?d[\s=:'\"]", re.IGNORECASE)


def shown(text: bytes, is_ours: Callable[[Object], bool]) -> list[str]:
    """The file's lines for showing; see `TextClient.redact`.

    Args:
        text: the file. Of a broken one nobody knows whose is what.
        is_ours: tells a server of ours.
    """
    try:
        document = Document.parse(text)
    except Unparsable:
        return [MASK for _ in lines.split(text)]
    masked = splice(document.text, _foreign(document.root, is_ours))
    return list(lines.for_show(masked.encode()))


def _foreign(root: Node, is_ours: Callable[[Object], bool]) -> Iterator[Splice]:
    """Masks for all that is not ours: every key and value but those that we write."""
    for member in root.members if isinstance(root, Object) else ():
        if member.key != "Servers" or not isinstance(member.node, Object):
            yield from _masked(member)
            continue
        for each in member.node.members:
            if isinstance(each.node, Object) and is_ours(each.node):
                yield from _foreign_in_ours(each.node, _SHOWN)
            else:
                yield from _masked(each.node if each.key.isdigit() else each)
    if not isinstance(root, Object):
        yield from _masked(root)


def _foreign_in_ours(owner: Object, names: Collection[str]) -> Iterator[Splice]:
    """Masks for what a person has added to a server of ours."""
    for member in owner.members:
        if member.key == "ConnectionParameters" and isinstance(member.node, Object):
            yield from _foreign_in_ours(member.node, _SHOWN_PARAMETERS)
        elif member.key not in names or not _is_plain(member.node):
            yield from _masked(member)


def _masked(what: Member | Node) -> Iterator[Splice]:
    """Masks for every key, text and number; brackets stay, and so do the lines."""
    todo: list[Member | Node] = [what]
    while todo:
        node = todo.pop()
        if isinstance(node, Member):
            yield Splice(node.start, node.key_end, f'"{MASK}"')
            todo.append(node.node)
        elif isinstance(node, Object):
            todo += node.members
        elif isinstance(node, Array):
            todo += node.items
        elif node.raw not in ("true", "false", "null"):
            yield Splice(node.start, node.end, f'"{MASK}"')


def _is_plain(node: Node) -> bool:
    """Whether it is one value, and no text that may quote a password."""
    text = "" if isinstance(node, Object | Array) else str(node.value)
    return bool(text) and not _SPOKEN.search(text) and not ("://" in text and "@" in text)
