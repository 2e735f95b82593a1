"""How commands print: JSON, tables, times, problems, and what takes long."""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import shutil
import sys
import textwrap
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Final

import click

from pgherald import plain
from pgherald.cli import EXIT_INTERRUPTED, EXIT_RUNNING, EXIT_TROUBLE, EXIT_USAGE
from pgherald.errors import AlreadyRunning, ConfigError, PgheraldError, safe_text
from pgherald.model import Subject

#: For a configuration that has only [[discover]] rules.
NOTHING_FOUND: Final = "Heroku shows no database that fits the [[discover]] rules."

#: Cells that are seen better in colour.
_COLOURS: Final = {
    **dict.fromkeys(("✓", "current"), "green"),
    **dict.fromkeys(("✗", "trouble"), "red"),
    **dict.fromkeys(("○", "unproven"), "yellow"),
}

#: Seconds in which `progress` shows nothing: most of the time all is over by then.
PATIENCE: Final = 1.0

# --- JSON -----------------------------------------------------------------------------------


def emit_json(value: object) -> None:
    """Print a value as JSON for scripts."""
    click.echo(plain.as_json(value))


# --- tables ---------------------------------------------------------------------------------


def table(headings: Sequence[str], rows: Sequence[Sequence[str]], spare: Sequence[str] = ()) -> str:
    """Rows under headings; on a terminal that is too narrow for them, each row is a paragraph.

    Args:
        headings: one for each column.
        rows: the cells.
        spare: headings of columns that a narrow terminal does without, in the order they go.
    """
    columns = list(zip(headings, *rows, strict=True))
    width = shutil.get_terminal_size().columns

    def is_too_wide() -> bool:
        whole = sum(max(map(len, column)) + 2 for column in columns) - 2
        return whole > width and sys.stdout.isatty()

    for heading in spare:
        if is_too_wide():
            columns = [column for column in columns if column[0] != heading]
    if is_too_wide():
        return "\n".join(_paragraphs(headings, rows, width))
    padded = [[_coloured(cell, max(map(len, column))) for cell in column] for column in columns]
    heads, *others = ("  ".join(row).rstrip() for row in zip(*padded, strict=True))
    return "\n".join([click.style(heads, bold=True), *others])


def _coloured(cell: str, width: int) -> str:
    shown = click.style(cell, fg=_COLOURS[cell]) if cell in _COLOURS else cell
    return shown + " " * (width - len(cell))


def _paragraphs(
    headings: Sequence[str], rows: Sequence[Sequence[str]], width: int
) -> Iterator[str]:
    """Each row as a paragraph: its first cell, and below it the others with headings."""
    widest = max(map(len, headings[1:]), default=0)
    for number, (first, *others) in enumerate(rows):
        if number:
            yield ""
        yield click.style(first, bold=True)
        for heading, cell in zip(headings[1:], others, strict=True):
            begin = f"  {heading.lower().ljust(widest)} "
            parts = textwrap.wrap(cell, max(width - len(begin), 1), break_on_hyphens=False)
            yield (begin + f"\n{'':{len(begin)}}".join(parts)).rstrip()


def can_show(text: str) -> bool:
    """Whether stdout's encoding has these characters; memory, which has none, has them all."""
    try:
        text.encode(sys.stdout.encoding or "utf-8")
    except (UnicodeEncodeError, LookupError):
        return False
    return True


# --- times ----------------------------------------------------------------------------------


def ago(at: datetime | None, now: datetime | None = None) -> str:
    """A moment as a person says it: `never`, `just now`, `5 min ago`, `3 days ago`."""
    if at is None:
        return "never"
    passed = (now or datetime.now(UTC)) - at
    # "1 s ago" is now.
    return "just now" if passed < timedelta(seconds=2) else f"{lasting(passed)} ago"


def lasting(time: timedelta) -> str:
    """A span as a person says it: `45 s`, `5 min`, `2 h 5 min`, `3 days`."""
    minutes, seconds = divmod(int(time.total_seconds()), 60)
    hours, minutes = divmod(minutes, 60)
    if days := hours // 24:
        return "1 day" if days == 1 else f"{days} days"
    if hours:
        return f"{hours} h {minutes} min" if minutes else f"{hours} h"
    return f"{minutes} min" if minutes else f"{seconds} s"


# --- what is wrong, and what takes long -----------------------------------------------------


def problem(title: str, advice: str = "") -> None:
    """Name something that is not as it should be, on stderr."""
    click.secho(title, err=True, fg="red")
    if advice:
        click.echo(f"  {advice}", err=True)


def error_at(subject: Subject, label: str, error: PgheraldError) -> None:
    """Name an error on stderr, with whom it concerns."""
    problem(subject.prefix(label, error.kind) + error.title, error.advice)


def diff_line(line: str) -> None:
    """Print one line of a diff, coloured on a terminal."""
    click.secho(line, fg={"+": "green", "-": "red", "@": "cyan"}.get(line[:1]))


@contextlib.contextmanager
def progress(doing: Callable[[], str]) -> Iterator[Callable[[str], None]]:
    """Meanwhile, show on a terminal what is being done, and take it away in the end.

    A debug log, which shows more, stands for it.

    Args:
        doing: says what is being done, in a few words; is called from that thread.

    Yields:
        A function that prints a line, which stays.
    """
    if not sys.stderr.isatty() or logging.getLogger().isEnabledFor(logging.DEBUG):
        yield lambda line: click.echo(line, err=True)
        return
    from rich.console import Console  # only a terminal needs it
    from rich.live import Live
    from rich.spinner import Spinner

    console, spinner = Console(stderr=True), Spinner("dots")
    patient = time.monotonic() + PATIENCE

    def shown() -> Spinner | str:
        spinner.update(text=f"{doing()} …")
        return spinner if time.monotonic() >= patient else ""

    with Live(
        get_renderable=shown, console=console, transient=True, refresh_per_second=8,
        redirect_stdout=False, redirect_stderr=False,
    ):  # fmt: skip
        yield lambda line: console.print(line, markup=False, highlight=False)


def colour(env: Mapping[str, str]) -> bool | None:
    """Whether to use colours: never with $NO_COLOR; None for on a terminal only.

    https://no-color.org: any value but the empty one.
    """
    return False if env.get("NO_COLOR") else None


#: What stdout fails with where it goes to a full disk, or to a terminal that is gone.
_OUTPUT_LOST: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO})


def said(exc: BaseException) -> int:
    """Say on stderr what the program ended with; the exit code for it."""
    if isinstance(exc, click.ClickException):
        exc.show()
        return exc.exit_code
    if isinstance(exc, click.Abort | KeyboardInterrupt):
        click.echo("Stopped.", err=True)
        return EXIT_INTERRUPTED
    if isinstance(exc, OSError) and exc.errno in _OUTPUT_LOST and exc.filename is None:
        advice = "Send it to another place, or make room there."
        exc = PgheraldError(f"The output cannot be written: {exc.strerror}", advice)
    if isinstance(exc, PgheraldError):
        title, _, advice = str(exc).partition("\n")
        title = f"pgherald: {title}"
    else:
        # The program itself is at fault; a traceback may quote what it should not.
        title = f"pgherald stumbled over a mistake of its own: {safe_text(exc)}"
        advice = "Please report it; with PGHERALD_TRACEBACK=1 you see all of it."
    click.secho(title, err=True, fg="red", color=colour(os.environ))
    if advice:
        click.echo(advice, err=True)
    if not isinstance(exc, PgheraldError) and os.environ.get("PGHERALD_TRACEBACK") == "1":
        raise exc
    if isinstance(exc, ConfigError):
        return EXIT_USAGE
    return EXIT_RUNNING if isinstance(exc, AlreadyRunning) else EXIT_TROUBLE
