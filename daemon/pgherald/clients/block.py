"""The marked block: pgherald's part of a text file that other people write too.

    # >>> pgherald: this part is rewritten, put your own lines below it >>>
    # pgherald: shop-production/DATABASE
    (what the client reads)
    # <<< pgherald: end of the part that is rewritten, your own lines go below <<<
    (everything else, byte for byte)

The block stands at the top, because in both of libpq's formats the first match wins.
What belongs to a database is found by the comment that names its key, whatever else in it
may have changed. The three comments are a stable format: files written by one version are
read by every later one. A marker is known by its beginning, so that its words may improve.

Other programs write such files anew without their comments, or sort them. Then an entry is known
by the fingerprint that was recorded when it was written.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import Final

from pgherald.clients import lines
from pgherald.clients.base import Action, Change, Edit, Known, Print
from pgherald.errors import Unparsable
from pgherald.model import DatabaseKey

BEGIN: Final = b"# >>> pgherald: this part is rewritten, put your own lines below it >>>"
END: Final = b"# <<< pgherald: end of the part that is rewritten, your own lines go below <<<"

_BEGIN_MARK: Final = b"# >>> pgherald:"
_END_MARK: Final = b"# <<< pgherald:"
_KEY_MARK: Final = b"# pgherald:"

#: Bytes of a key comment. Far below the 1,023 of libpq's service file.
_LONGEST_COMMENT: Final = 500

#: The field of a change in which only the place or the form of lines changes, not what
#: the client reads from them.
ORDER: Final = "order"

_ADVICE: Final = (
    "Delete the lines that begin with `# >>> pgherald:` or `# <<< pgherald:` and what "
    "pgherald wrote between them; it is written again."
)


@dataclass(frozen=True, slots=True)
class Slot:
    """What stands beneath one key comment, up to the next one or the end of the block.

    Attributes:
        key: the database that the comment names.
        comment: the key comment, with its line end.
        body: the lines beneath it, with their line ends. Not all need be ours.
    """

    key: DatabaseKey
    comment: bytes
    body: tuple[bytes, ...] = field(repr=False)


@dataclass(frozen=True, slots=True)
class Parts:
    """A file taken apart at the block's markers. All lines keep their line ends.

    Attributes:
        current: the file's bytes; None when there is no file.
        bom: the byte order mark; stays the first bytes of the file.
        eol: line end for new lines, as the block's or else the file's first line has it.
        above: lines above the block; there should be none.
        loose: lines in the block above the first key comment; there should be none.
        slots: the rest of the block. A key may have several.
        below: lines below the block; the whole file when there is no block.
    """

    current: bytes | None = field(repr=False)
    bom: bytes
    eol: bytes
    above: tuple[bytes, ...] = field(repr=False)
    loose: tuple[bytes, ...] = field(repr=False)
    slots: tuple[Slot, ...]
    below: tuple[bytes, ...] = field(repr=False)

    def prints(self, entries: Entries, ours: Mapping[DatabaseKey, str]) -> Iterator[Print]:
        """The fingerprints of our entries, and of the person's, which are never to be ours."""
        yield from ours.items()
        for rows in (self.above, self.loose, self.below):
            yield from ((None, mark) for mark, _ in entries(rows) if mark is not None)

    def edit(
        self,
        pieces: Mapping[DatabaseKey, Sequence[bytes]],
        foreign: Sequence[bytes],
        changes: Sequence[Change],
        *,
        moved: Sequence[bytes] = (),
        warnings: Iterable[str] = (),
        closing: Sequence[bytes] = (),
    ) -> Edit:
        """Put the file together again.

        A block that held nothing and shall hold nothing is left alone with all around it:
        there is nothing of ours to put in order.

        Args:
            pieces: per database its lines in the block, key comments included, in order.
            foreign: all lines that are not ours, in order.
            changes: what was done. When the bytes differ and this is empty, the place or
                form of lines changed, which is reported as `ORDER` of the first database.
            moved: those of `foreign` that stood in the block; the person is notified.
            warnings: what else the person should know.
            closing: further lines of ours at the end of the block.
        """
        current = self.current or b""
        if not pieces and not self.slots:
            return Edit(current, (), tuple(warnings))
        begin, end = BEGIN + self.eol, END + self.eol
        block = [begin, *chain(*pieces.values()), *closing, end] if pieces else []
        new = self.bom + lines.join(chain(block, foreign), self.eol)
        if new in (current, current + self.eol):  # a last line may do without its end
            return Edit(current, (), tuple(warnings))
        if not changes:
            changes = (Change(next(iter(pieces)), Action.UPDATE, (ORDER,)),)
        return Edit(new, tuple(changes), (*_moved_warning(moved), *warnings))


#: Takes lines apart into those that may be an entry of ours, each with its fingerprint, and others.
Entries = Callable[[Sequence[bytes]], Iterable[tuple[str | None, Sequence[bytes]]]]


def split(current: bytes | None, known: Known = dict, entries: Entries = lambda _rows: ()) -> Parts:
    """Take a file apart.

    Args:
        current: the file's bytes; None when there is no file.
        known: what pgherald wrote, by which entries of ours without a mark are found.
        entries: finds what may be one.

    Raises:
        Unparsable: it is not text, or the block's markers are damaged, and what stood between
            them is not known.
    """
    text = current or b""
    lines.refuse_binary(text)
    bom = lines.BOM if text.startswith(lines.BOM) else b""
    rows = lines.split(text[len(bom) :])
    damage, keys = None, {key for row in rows if (key := key_of(row)) is not None}
    try:
        above, inner, below = _taken_apart(rows)
    except Unparsable as exc:
        # A tool has sorted the lines, or moved sections together with the comments above them.
        damage, above, inner = exc, [], []
        below = rows = [row for row in rows if not _is_mark(row) and key_of(row) is None]
    # The marker's own, not that of a line above it: the block will stand at the top.
    first = rows[len(above)] if len(above) < len(rows) else b""
    eol = b"\r\n" if first.endswith(b"\r\n") else b"\n"
    named = [(index, key) for index, row in enumerate(inner) if (key := key_of(row)) is not None]
    starts = [index for index, _ in named] + [len(inner)]
    slots = tuple(
        Slot(key, inner[index], tuple(inner[index + 1 : stop]))
        for (index, key), stop in zip(named, starts[1:], strict=True)
    )
    loose = tuple(inner[: starts[0]])
    parts = Parts(current, bom, eol, tuple(above), loose, slots, tuple(below))
    parts = _claimed(parts, known, entries)
    if damage is not None:
        marks = known()
        found = {mark for slot in parts.slots for mark in marks[slot.key]}
        if not keys or not all(found & {*marks.get(key, ())} for key in keys):
            raise damage
    return parts


def _claimed(parts: Parts, known: Known, entries: Entries) -> Parts:
    """The same, with entries of ours that have lost their key comment as slots."""
    there = {slot.key for slot in parts.slots}
    missing = {mark: key for key, marks in known().items() if key not in there for mark in marks}
    if not missing:
        return parts
    claimed: list[Slot] = []

    def rest(rows: Sequence[bytes]) -> Iterator[bytes]:
        for mark, group in entries(rows):
            key = missing.get(mark or "")
            if key is None or key in there:
                yield from group
            else:
                there.add(key)
                claimed.append(Slot(key, comment(key) + parts.eol, tuple(group)))

    above, loose, below = (tuple(rest(rows)) for rows in (parts.above, parts.loose, parts.below))
    slots = (*parts.slots, *claimed)
    return dataclasses.replace(parts, above=above, loose=loose, slots=slots, below=below)


def comment(key: DatabaseKey) -> bytes:
    """The comment that names a database, without line end.

    Raises:
        ValueError: such a key could not be read back; the configuration forbids it.
    """
    text = _KEY_MARK + b" " + str(key).encode("utf-8", "surrogateescape")
    if b"\n" in text or key_of(text) != key:
        raise ValueError(f"not a key that a comment can carry: {str(key)!r}")
    return text


def key_of(line: bytes) -> DatabaseKey | None:
    """The database that a key comment names; None when the line is none."""
    text = line.strip()
    if not text.startswith(_KEY_MARK) or len(line) > _LONGEST_COMMENT or text.count(b"/") != 1:
        return None
    try:
        return DatabaseKey.parse(lines.decode(text.removeprefix(_KEY_MARK).strip()))
    except ValueError:
        return None


def redact(text: bytes, show: Callable[[bytes, str, int | None], str]) -> list[str]:
    """The file's lines for showing: blank ones and the block's own comments as they are.

    Args:
        text: the file.
        show: gives any other line as it may be seen, from the line, the same made fit for a
            terminal, and how many lines below its key comment it stands; None outside the block.
    """
    inside, depth, result = False, None, list[str]()
    for row, line in zip(lines.split(text), lines.for_show(text), strict=True):
        mark = row.removeprefix(lines.BOM).strip()
        if _is_mark(mark):
            inside, depth = mark.startswith(_BEGIN_MARK), None
        elif inside and key_of(row) is not None:
            depth = 0
        elif depth is not None:
            depth += 1
        is_ours = not mark or mark in (BEGIN, END) or key_of(row) is not None
        result.append(line if is_ours else show(row, line, depth))
    return result


def merge(
    present: Mapping[DatabaseKey, tuple[bytes, ...]],
    wanted: Collection[DatabaseKey],
    leaving: Collection[DatabaseKey],
    *,
    changed: Callable[[DatabaseKey], tuple[str, ...]],
    written: Callable[[DatabaseKey], tuple[bytes, ...]],
) -> tuple[dict[DatabaseKey, tuple[bytes, ...]], list[Change]]:
    """Work out each database's lines in the block.

    What is present keeps its place, and its bytes unless something changed; what is new
    comes after it.

    Args:
        present: the lines that the block holds, key comments included.
        wanted: databases whose lines it should hold.
        leaving: databases whose lines go; one that is wanted stays.
        changed: names the fields that differ.
        written: gives the new lines.
    """
    pieces: dict[DatabaseKey, tuple[bytes, ...]] = {}
    changes: list[Change] = []
    for key, rows in present.items():
        if key not in wanted and key in leaving:
            changes.append(Change(key, Action.REMOVE))
        elif key in wanted and (fields := changed(key)):
            changes.append(Change(key, Action.UPDATE, fields))
            pieces[key] = written(key)
        else:
            pieces[key] = rows
    for key in wanted:
        if key not in present:
            changes.append(Change(key, Action.ADD))
            pieces[key] = written(key)
    return pieces, changes


def _is_mark(row: bytes) -> bool:
    return row.strip().startswith((_BEGIN_MARK, _END_MARK))


def _taken_apart(rows: list[bytes]) -> tuple[list[bytes], list[bytes], list[bytes]]:
    """The lines above the block, in it and below it; all are below when there is none."""
    found: list[int] = []
    for index, row in enumerate(rows):
        text = row.lstrip()
        if text.startswith(_BEGIN_MARK):
            if found:
                raise Unparsable("pgherald's part begins a second time", _ADVICE, line=index + 1)
        elif text.startswith(_END_MARK):
            if len(found) != 1:
                reason = "pgherald's part ends here without having begun"
                raise Unparsable(reason, _ADVICE, line=index + 1)
        else:
            continue
        found.append(index)
    if not found:
        return [], [], rows
    if len(found) == 1:
        raise Unparsable("pgherald's part begins here and never ends", _ADVICE, line=found[0] + 1)
    first, last = found
    return rows[:first], rows[first + 1 : last], rows[last + 1 :]


def _moved_warning(moved: Sequence[bytes]) -> Iterator[str]:
    """The sentence for the person whose lines had to leave the block, if any had."""
    count = sum(1 for row in moved if row.strip())
    if count:
        what = "A line of your own" if count == 1 else f"{count} lines of your own"
        yield f"{what} inside pgherald's part moved to below it, since that part is rewritten."
