"""How commands print things: tables, JSON, what is wrong."""

from __future__ import annotations

import shutil
import sys
import textwrap
from collections.abc import Sequence

import click

from pgherald.cli.columns import NARROW, Column, drawn, fitting, plain
from pgherald.errors import PgheraldError
from pgherald.store.status_file import text_of

#: For a configuration that has only [[discover]] rules.
NOTHING_FOUND = "Heroku shows no database that fits the [[discover]] rules."


def emit_json(value: object) -> None:
    """Print a value as JSON for scripts; moments as ISO 8601. It must hold no secret."""
    click.echo(text_of(value), nl=False)


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
    if shutil.get_terminal_size().columns < NARROW:
        _paragraphs(columns)
        return
    from rich.console import Console  # only a terminal needs it

    console = Console()
    console.print(drawn(fitting(columns, console.width)))


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
