"""The mark in a file that `pgherald service install` wrote, and what it tells later.

The mark is one line, a comment, with a checksum of all the others: so a file that somebody
else wrote, or that a person has changed since, is told from our own and never overwritten.
"""

from __future__ import annotations

import enum
import hashlib
import re
from typing import Final

WORDS: Final = "Written by pgherald service install, checksum"

_LINE: Final = re.compile(rf"^.*{WORDS} ([0-9a-f]{{16}}).*\n", re.MULTILINE)


class Standing(enum.StrEnum):
    """Whose file it is."""

    MISSING = "missing"
    """There is none."""
    OURS = "ours"
    """As it was written."""
    EDITED = "edited"
    """Written by us, and changed since."""
    FOREIGN = "foreign"
    """Somebody else's."""

    @property
    def may_go(self) -> bool:
        """Whether it may be overwritten or deleted."""
        return self in (Standing.MISSING, Standing.OURS)


def marked(text: str, *, line: int = 0, begin: str = "# ", end: str = "") -> str:
    """The text with a mark.

    Args:
        text: ends with a line break.
        line: where the mark goes, counted from 0; XML wants its declaration first.
        begin: begins a comment.
        end: ends it.
    """
    # Not `splitlines`, for which a form feed ends a line.
    lines = text.split("\n")
    lines.insert(min(line, len(lines) - 1), f"{begin}{WORDS} {_checksum(text)}{end}")
    return "\n".join(lines)


def standing(text: str | None) -> Standing:
    """Whose file this is; None when there is none."""
    if text is None:
        return Standing.MISSING
    found = _LINE.search(text)
    if found is None:
        return Standing.FOREIGN
    rest = text[: found.start()] + text[found.end() :]
    return Standing.OURS if _checksum(rest) == found[1] else Standing.EDITED


def _checksum(text: str) -> str:
    """Finds what a person changed; it is no protection against anybody."""
    return hashlib.sha256(text.encode()).hexdigest()[:16]
