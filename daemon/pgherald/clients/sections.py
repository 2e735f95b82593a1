"""The sections of a service file: which are ours, and what someone typed between them."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Final

from pgherald.clients import block
from pgherald.clients.base import fingerprint
from pgherald.model import LOGIN_FIELDS, DatabaseKey

#: Closes the block when foreign lines that belong to no section follow it: libpq would
#: take them for lines of our last section.
CLOSING: Final = b"[pgherald end]"

#: libpq reads lines into 1,024 bytes and refuses those that, with their end, fill them.
TOO_LONG: Final = 1023

#: libpq's keywords, but for those that it refuses in a service file.
KEYWORD: Final = re.compile(rb"(?!(service|servicefile|requiressl)$)[a-z_]+")

#: Stands above a line that only the configuration asks for, so that it goes with its reason.
ASKED: Final = b"# pgherald: as the configuration says"

#: The keys by which a section is known again.
_IDENTITY: Final = frozenset(LOGIN_FIELDS) - {"sslmode"}


@dataclass(frozen=True, slots=True)
class Want:
    """What a section should hold: its header, and our keys with their values, in order."""

    header: bytes
    values: Mapping[str, bytes] = field(repr=False)


@dataclass(frozen=True, slots=True)
class Section:
    """What stands beneath one key comment and may stay there.

    Attributes:
        raw: all of it, key comment included, in the order in which it stands.
        header: the text of the first header; None when it is missing.
        ours: our keys and their values. A misspelt one (`Password =`) keeps its odd form.
        kept: the person's own lines.
        headless: whether libpq takes some of the lines for the section before.
    """

    raw: tuple[bytes, ...] = field(repr=False)
    header: bytes | None
    ours: tuple[tuple[str, bytes], ...] = field(repr=False)
    kept: tuple[bytes, ...] = field(repr=False)
    headless: bool

    @property
    def values(self) -> dict[str, bytes]:
        """What libpq reads for our keys: the first line of each wins."""
        return dict(reversed(self.ours))

    @property
    def fingerprint(self) -> str:
        """Stands for the section, however its lines are spaced.

        What says how to connect is left out: a person may have made it stricter.
        """
        values = {key.strip().lower(): value.strip() for key, value in reversed(self.ours)}
        login = {key: value for key, value in values.items() if key in _IDENTITY}
        return fingerprint(service(self.header), sorted(login.items()))


@dataclass(frozen=True, slots=True)
class Sorted:
    """The block's lines: ours, and those that someone typed.

    Attributes:
        sections: ours, by database.
        stray: lines that would spoil the section in which they stand, and those below
            `CLOSING`. They must not come under a header of the person's.
        foreign: sections of the person's, and what stood above our first one.
    """

    sections: dict[DatabaseKey, Section] = field(default_factory=dict)
    stray: list[bytes] = field(default_factory=list, repr=False)
    foreign: list[bytes] = field(default_factory=list, repr=False)

    def add_foreign(self, rows: Iterable[bytes], into: list[bytes]) -> None:
        """Sort lines of which none is ours, but for `CLOSING`; `into` until a header comes."""
        for row in rows:
            text = row.strip()
            if text == CLOSING:
                into = self.stray
                continue
            if text.startswith(b"["):
                into = self.foreign
            into.append(row)


def leaving(
    parts: block.Parts, wants: Mapping[DatabaseKey, Want], remove: Collection[DatabaseKey]
) -> set[DatabaseKey]:
    """Databases whose section goes: on request, or because a wanted one takes its name."""
    taken = {service(want.header) for want in wants.values()}
    first = {slot.key: slot for slot in reversed(parts.slots)}
    return {
        key
        for key, slot in first.items()
        if key not in wants
        and (key in remove or any(service(row.strip()) in taken for row in slot.body))
    }


def sort(
    parts: block.Parts,
    wants: Mapping[DatabaseKey, Want],
    going: Collection[DatabaseKey] = (),
) -> Sorted:
    """Tell our lines in the block from those that someone typed.

    What stands beneath the comment of a database that is neither wanted nor going is left
    together, whatever it is, as long as it spoils nothing.

    Args:
        parts: the file.
        wants: what sections should hold.
        going: databases whose section goes.
    """
    found = Sorted()
    found.add_foreign(parts.loose, found.foreign)
    for slot in parts.slots:
        if slot.key in found.sections:
            # Someone copied one of ours, comment included: the copy is theirs.
            found.add_foreign((slot.comment, *slot.body), found.stray)
            continue
        want = wants.get(slot.key)
        asked = want is not None or slot.key in going
        first, own, after = _bounds(slot.body, want.header if want else None, asked=asked)
        found.add_foreign((*slot.body[first:own], *slot.body[after:]), found.stray)
        rows: list[bytes] = []
        for row in slot.body[:first] + slot.body[own:after]:
            fits = len(row) < TOO_LONG and (not asked or _may_stay(row.strip()))
            (rows if fits else found.stray).append(row)
        ours = LOGIN_FIELDS if want is None else want.values.keys()
        found.sections[slot.key] = _section(slot.comment, rows, ours)
    return found


def entries(rows: Sequence[bytes]) -> Iterator[tuple[str | None, Sequence[bytes]]]:
    """The sections, each with its fingerprint, and the comments and blank lines between them."""
    starts = [index for index, row in enumerate(rows) if row.strip().startswith(b"[")]
    yield None, rows[: starts[0] if starts else len(rows)]
    for start, stop in pairwise([*starts, len(rows)]):
        end = max(index for index in range(start, stop) if counts(rows[index])) + 1
        yield _section(b"", rows[start:end]).fingerprint, rows[start:end]
        yield None, rows[end:stop]


def service(header: bytes | None) -> bytes | None:
    """The service that a header defines. libpq ignores what follows the bracket."""
    name, bracket, _ = (header or b"").partition(b"]")
    return name[1:] if bracket and name.startswith(b"[") else None


def counts(row: bytes) -> bool:
    """Whether libpq takes note of the line: neither blank nor a comment, or too long."""
    text = row.strip()
    return len(row) >= TOO_LONG or (bool(text) and not text.startswith(b"#"))


def arranged(parts: block.Parts, found: Sorted) -> list[bytes]:
    """All lines that are not ours, in an order in which each means what it meant.

    That is their own order, with one exception: lines that stood below the block and under
    no header of their own must not come under one that stood above the block or in it.
    """
    head = 0
    for index, row in enumerate(parts.below):
        if row.strip().startswith(b"["):
            break
        if counts(row):
            head = index + 1
    below = parts.below
    return [*found.stray, *below[:head], *parts.above, *found.foreign, *below[head:]]


def is_loose(foreign: Sequence[bytes]) -> bool:
    """Whether lines that libpq takes note of come before the first header."""
    first = next((row for row in foreign if counts(row)), b"[")
    return len(first) >= TOO_LONG or not first.strip().startswith(b"[")


def _bounds(body: Sequence[bytes], wanted: bytes | None, *, asked: bool) -> tuple[int, int, int]:
    """Where the first header stands beneath a key comment, ours, and the one after ours.

    A sole header is ours, whatever it says. Of several it is the wanted one; when there is
    no such, all are treated as the person's, so that nothing is lost. For a database that
    nobody asks about, ours reaches from the first header to the end.
    """
    texts = [row.strip() for row in body]
    starts = [index for index, text in enumerate(texts) if text.startswith(b"[")]
    closing = [index for index in starts if texts[index] == CLOSING]
    named = [index for index in starts if texts[index] != CLOSING]
    right = [index for index in named if texts[index] == wanted]
    if not right and (len(named) == 1 or not asked):
        right = named
    own = right[0] if right else len(body)
    after = (index for index in (starts if asked else closing) if index > own)
    return starts[0] if starts else len(body), own, next(after, len(body))


def _section(
    comment: bytes, rows: Sequence[bytes], keys: Collection[str] = LOGIN_FIELDS
) -> Section:
    """What the lines of our section say, of which those with these keys are ours."""
    ours, kept = list[tuple[str, bytes]](), list[bytes]()
    header: bytes | None = None
    headless = asked = False
    for row in rows:
        text = row.strip()
        before, asked = asked, text == ASKED
        if asked:
            continue
        if text.startswith(b"["):
            if header is not None:
                break
            header = text
            continue
        headless |= header is None and counts(row)
        if _is_ours(text, (*keys, "sslrootcert") if before else keys):
            key, _, value = text.partition(b"=")
            ours.append((key.decode(), value))
        else:
            kept.append(row)
    return Section((comment, *rows), header, tuple(ours), tuple(kept), headless)


def _is_ours(text: bytes, keys: Collection[str] = LOGIN_FIELDS) -> bool:
    """Whether the line sets one of our keys, however misspelt."""
    key, equals, _ = text.partition(b"=")
    return bool(equals) and key.strip().lower().decode(errors="replace") in keys


def _may_stay(text: bytes) -> bool:
    """Whether the line may stand in a section of ours, as far as can be known."""
    if not text or text.startswith((b"#", b"[")) or _is_ours(text):
        return True
    key, equals, _ = text.partition(b"=")
    return bool(equals and KEYWORD.fullmatch(key)) and key[:4] != b"ldap"
