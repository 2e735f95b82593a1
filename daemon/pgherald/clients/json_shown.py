"""Files of JSON as they may be shown: every text and number that is, or speaks of, a secret masked."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from pgherald.clients import lines
from pgherald.clients.json_text import Array, Document, Node, Object, Splice, splice
from pgherald.errors import Unparsable
from pgherald.secret import MASK

_TELLING = re.compile(r"passw(?:or)?d?|pwd|secret|token|key|credential", re.IGNORECASE)
_SPOKEN = re.compile(r"passw(?:or)?d[\s=:'\"]", re.IGNORECASE)
_NEXT_MEMBER = re.compile(r'\s*(?:"[^"]*"\s*:|[}\]])')


def redact(text: bytes) -> list[str]:
    """The file's lines with every secret masked; see `base.TextClient.redact`."""
    if b"\0" in text:  # UTF-16 perhaps: no pattern would see a word in it
        return [MASK for _ in lines.split(text)]
    try:
        document = Document.parse(text)
    except Unparsable:
        return list(_redact_broken(lines.for_show(text)))
    return list(lines.for_show(splice(document.text, _secrets(document.root)).encode()))


def _secrets(root: Node) -> Iterator[Splice]:
    """Masks for every text and number that is, or speaks of, a secret."""
    todo = [(root, False)]
    while todo:
        node, secret = todo.pop()
        if isinstance(node, Object):
            todo += [(m.node, secret or bool(_TELLING.search(m.key))) for m in node.members]
        elif isinstance(node, Array):
            todo += [(item, secret) for item in node.items]
        elif node.raw not in ("true", "false", "null") and (secret or _speaks(node)):
            yield Splice(node.start, node.end, f'"{MASK}"')


def _speaks(node: Node) -> bool:
    """Whether a text, such as a comment or SQL, may quote a password."""
    text = str(node.value)
    return bool(_SPOKEN.search(text)) or ("://" in text and "@" in text)


def _redact_broken(shown: Iterable[str]) -> Iterator[str]:
    """Show nothing from a telling word up to the next line that begins another member."""
    secret = False
    for line in shown:
        found = _TELLING.search(line)
        secret = bool(found) or (secret and not _NEXT_MEMBER.match(line))
        if "@" in line or (secret and not found):
            yield MASK
        else:
            yield line[: found.end()] + MASK if found else line
