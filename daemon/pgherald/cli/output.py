"""How commands show things: times, marks, tables, JSON."""

from __future__ import annotations

import json
import shutil
import sys
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

import click

from pgherald.errors import PgheraldError
from pgherald.model import ACCOUNT_KINDS, DEFAULT_ACCOUNT

#: For a configuration that has only [[discover]] rules.
NOTHING_FOUND = "Heroku shows no database that fits the [[discover]] rules."

if TYPE_CHECKING:
    from rich.table import Table

#: Columns; a table of six columns needs more.
_NARROW: Final = 60

#: Cells that are seen better in colour.
COLOURS: Final = {
    "✓": "green", "current": "green",
    "✗": "red", "trouble": "red",
    "○": "yellow", "unproven": "yellow",
}  # fmt: skip

_MINUTE = 60
_HOUR = 60 * _MINUTE
_DAY = 24 * _HOUR


def emit_json(value: object) -> None:
    """Print a value as JSON for scripts; moments as ISO 8601. It must hold no secret."""
    click.echo(json.dumps(value, indent=2, ensure_ascii=False, default=_jsonable))


def _jsonable(value: object) -> Any:
    if isinstance(value, datetime):
        return value.isoformat(timespec="milliseconds")
    raise TypeError(f"{type(value).__name__} is not for showing")


def ago(at: datetime | None, now: datetime | None = None) -> str:
    """A moment as a person says it: `never`, `just now`, `5 min ago`, `3 days ago`."""
    if at is None:
        return "never"
    seconds = ((now or datetime.now(UTC)) - at).total_seconds()
    if seconds < 2:  # noqa: PLR2004 – "1 s ago" is now
        return "just now"
    return f"{lasting(timedelta(seconds=seconds))} ago"


def lasting(time: timedelta) -> str:
    """A span as a person says it: `45 s`, `5 min`, `2 h 5 min`, `3 days`."""
    seconds = int(time.total_seconds())
    if seconds < _MINUTE:
        return f"{seconds} s"
    if seconds < _HOUR:
        return f"{seconds // _MINUTE} min"
    if seconds < _DAY:
        minutes = seconds % _HOUR // _MINUTE
        return f"{seconds // _HOUR} h" + (f" {minutes} min" if minutes else "")
    days = seconds // _DAY
    return "1 day" if days == 1 else f"{days} days"


@dataclass(frozen=True, slots=True)
class Column:
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


def table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print rows under headings; see `show`."""
    show([Column(heading, [row[i] for row in rows]) for i, heading in enumerate(headings)])


def show(columns: Sequence[Column]) -> None:
    """Print columns; fitted to a terminal, plain and whole when piped.

    Where a narrow terminal would leave a column of single letters, each row is a paragraph.
    """
    if not sys.stdout.isatty():
        click.echo("\n".join(plain(columns)))
        return
    if shutil.get_terminal_size().columns < _NARROW:
        _paragraphs(columns)
        return
    from rich.console import Console  # noqa: PLC0415 – only a terminal needs it

    console = Console()
    console.print(drawn(fitting(columns, console.width)))


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
    from rich.box import SIMPLE_HEAD  # noqa: PLC0415 – only a terminal needs it
    from rich.table import Table  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

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


def _paragraphs(table: Sequence[Column]) -> None:
    """Print each row as a paragraph: its first cell, and below it the others with headings."""
    headings = [column.heading for column in table]
    rows = list(zip(*(column.cells for column in table), strict=True))
    columns = shutil.get_terminal_size().columns
    widest = max(map(len, headings[1:]), default=0)
    for number, (first, *others) in enumerate(rows):
        if number:
            click.echo("")
        click.secho(first, bold=True)
        for heading, cell in zip(headings[1:], others, strict=True):
            begin = f"  {heading.lower().ljust(widest)} "
            room = max(columns - len(begin), 1)
            parts = textwrap.wrap(cell, room, break_on_hyphens=False)
            click.echo((begin + f"\n{'':{len(begin)}}".join(parts)).rstrip())


def diff_line(line: str) -> None:
    """Print one line of a diff, coloured on a terminal."""
    colour = {"+": "green", "-": "red", "@": "cyan"}.get(line[:1])
    click.secho(line, fg=colour)


def headline(subject: str, label: str, title: str) -> str:
    """A title that tells whom it concerns, and tells it once.

    Args:
        subject: as in `pgherald.model.News`.
        label: what a person calls it.
        title: what is wrong.
    """
    kind, _, name = subject.partition(":")
    if kind in ACCOUNT_KINDS:
        return title if name == DEFAULT_ACCOUNT else f"Heroku account {name}: {title}"
    told = label in title or name in title  # an empty label is in every title
    return title if told or not name else f"{label}: {title}"


def error_json(error: PgheraldError | None) -> dict[str, str] | None:
    """An error in the shape that all of `--json` shares."""
    if error is None:
        return None
    return {"kind": error.kind, "title": error.title, "advice": error.advice}


def problem(title: str, advice: str = "") -> None:
    """Name something that is not as it should be, on stderr."""
    click.secho(title, err=True, fg="red")
    if advice:
        click.echo(f"  {advice}", err=True)
