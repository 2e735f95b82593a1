"""Tables, without whoever prints them."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from rich.table import Table

#: Columns of a terminal; a table of six columns needs more.
NARROW: Final = 60

#: Cells that are seen better in colour.
COLOURS: Final = {
    "✓": "green", "current": "green",
    "✗": "red", "trouble": "red",
    "○": "yellow", "unproven": "yellow",
}  # fmt: skip


class Column(NamedTuple):
    """A column of a table.

    Attributes:
        heading: what stands above it.
        cells: one for each row.
        dispensable: whether a narrow terminal may do without it: 0 for no, else the most
            dispensable has the highest number.
    """

    heading: str
    cells: Sequence[str]
    dispensable: int = 0

    @property
    def width(self) -> int:
        """Columns of the terminal that it takes."""
        return max(map(len, (self.heading, *self.cells)))


def fitting(columns: Sequence[Column], width: int) -> list[Column]:
    """The columns that a terminal has room for; what cannot be spared is kept all the same."""
    kept = list(columns)
    # Two blanks between two columns, and one at each end.
    while sum(column.width + 2 for column in kept) > width:
        least = max(kept, key=lambda column: column.dispensable)
        if not least.dispensable:
            break
        kept.remove(least)
    return kept


def plain(columns: Sequence[Column]) -> list[str]:
    """The lines of a table without any ornament."""
    rows = zip(*([c.heading, *c.cells] for c in columns), strict=True)
    widths = [column.width for column in columns]
    return [
        "  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]


def drawn(columns: Sequence[Column]) -> Table:
    """The table as a terminal shows it."""
    from rich.box import SIMPLE_HEAD  # only a terminal needs it
    from rich.table import Table
    from rich.text import Text

    shown = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False, header_style="bold")
    for column in columns:
        shown.add_column(column.heading, overflow="fold")
    for row in zip(*(column.cells for column in columns), strict=True):
        # Text, not markup: a database's name may hold square brackets.
        shown.add_row(*(Text(cell, style=COLOURS.get(cell, "")) for cell in row))
    return shown


def can_show(text: str) -> bool:
    """Whether stdout's encoding has these characters; memory, which has none, has them all."""
    try:
        text.encode(sys.stdout.encoding or "utf-8")
    except (UnicodeEncodeError, LookupError):
        return False
    return True
