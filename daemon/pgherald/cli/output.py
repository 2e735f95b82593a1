"""How commands show things: times, marks, tables, JSON."""

from __future__ import annotations

import json
import shutil
import sys
import textwrap
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import click

from pgherald.errors import PgheraldError
from pgherald.model import DEFAULT_ACCOUNT

#: For a configuration that has only [[discover]] rules.
NOTHING_FOUND = "Heroku shows no database that fits the [[discover]] rules."

#: Columns; a table of six columns needs more.
_NARROW = 60

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


def table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print rows under headings; fitted to a terminal, plain and whole when piped.

    Where a narrow terminal would leave a column of single letters, each row is a paragraph.
    """
    if not sys.stdout.isatty():
        widths = [max(len(row[i]) for row in (headings, *rows)) for i in range(len(headings))]
        for row in (headings, *rows):
            cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
            click.echo("  ".join(cells).rstrip())
        return
    if shutil.get_terminal_size().columns < _NARROW:
        _paragraphs(headings, rows)
        return
    from rich.box import SIMPLE_HEAD  # noqa: PLC0415 – only a terminal needs it
    from rich.console import Console  # noqa: PLC0415
    from rich.table import Table  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    shown = Table(box=SIMPLE_HEAD, pad_edge=False, header_style="bold")
    for heading in headings:
        shown.add_column(heading, overflow="fold")
    for row in rows:
        # Text, not markup: a database's name may hold square brackets.
        shown.add_row(*(Text(cell) for cell in row))
    Console().print(shown)


def _paragraphs(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print each row as a paragraph: its first cell, and below it the others with headings."""
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
    if kind in {"account", "budget"}:
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
