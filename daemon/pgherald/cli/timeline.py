"""The time line of `pgherald history`: one line for each database, the past to the left. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Final

import click

from pgherald.cli.wording import ago
from pgherald.store import Record

#: Columns that a line has at least, however narrow the terminal, and at most.
_SHORTEST: Final = 10
_LONGEST: Final = 100

#: What stands for one rotation, and for the time between two; in ASCII below.
_MARK, _LINE = "●", "─"
_PLAIN_MARK, _PLAIN_LINE = "o", "-"

#: More than this many in one place are "+".
_COUNTED: Final = 9


def timeline(
    records: Sequence[Record], now: datetime, width: int, *, marks: bool = True
) -> list[str]:
    """Draw when each database was rotated.

    A mark is a rotation, a digit several close to each other. One that was proven and is in
    every client is green, another one yellow.

    Args:
        records: the rotations, at least one, in any order.
        now: the right end, UTC.
        width: columns of the terminal.
        marks: whether more than ASCII can be shown.
    """
    by_key: dict[str, list[Record]] = {}
    for record in records:
        by_key.setdefault(str(record.rotation.key), []).append(record)
    start = min(record.rotation.seen_at for record in records)
    names = {key: of_key[0].label for key, of_key in by_key.items()}
    room = min(max(map(len, names.values())), max(width // 3, _SHORTEST))
    length = min(max(width - room - 2, _SHORTEST), _LONGEST)
    end = "…" if marks else "~"
    lines = [
        f"{_cut(names[key], room, end)}  {_line(of_key, start, now, length, marks=marks)}"
        for key, of_key in sorted(by_key.items())
    ]
    left, right = ago(start, now), "now"
    if len(left) + 1 + len(right) > length:
        left = ""
    return [*lines, f"{'':{room}}  {left}{right.rjust(length - len(left))}"]


def _line(
    records: Sequence[Record], start: datetime, now: datetime, length: int, *, marks: bool
) -> str:
    mark, between = (_MARK, _LINE) if marks else (_PLAIN_MARK, _PLAIN_LINE)
    span = max((now - start).total_seconds(), 1.0)
    cells: dict[int, list[Record]] = {}
    for record in records:
        passed = (record.rotation.seen_at - start).total_seconds() / span
        # A clock that was set back may put one into the future.
        cells.setdefault(min(round(passed * (length - 1)), length - 1), []).append(record)
    drawn = []
    for place in range(length):
        here = cells.get(place)
        if here is None:
            drawn.append(between)
            continue
        text = mark if len(here) == 1 else str(len(here)) if len(here) <= _COUNTED else "+"
        drawn.append(click.style(text, fg="green" if all(map(_well, here)) else "yellow"))
    return "".join(drawn)


def _well(record: Record) -> bool:
    return record.rotation.proven_at is not None and record.rotation.written_at is not None


def _cut(name: str, room: int, end: str) -> str:
    return name.ljust(room) if len(name) <= room else f"{name[: room - 1]}{end}"
