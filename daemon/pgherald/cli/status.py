"""`pgherald status`: how every database and client stands.

What `--json` prints, and the daemon keeps in status.json: `pgherald.daemon.status`.
"""

from __future__ import annotations

import contextlib
import math
import signal
import sys
import time
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any, Final

import click

from pgherald.cli.main import Invocation
from pgherald.cli.output import ago, can_show, emit_json, lasting, problem, table
from pgherald.config import Config
from pgherald.daemon.status import as_json as json_of
from pgherald.daemon.status import status_now
from pgherald.errors import StoreError
from pgherald.model import DEFAULT_ACCOUNT, About, Subject

Json = Mapping[str, Any]

#: How one client stands with one database, as in `daemon.status.WORDS`: its mark, its mark where
#: only ASCII can be shown, and the mark's meaning.
_MARKS: Final[Mapping[str, tuple[str, str, str]]] = {
    "current": ("✓", "ok", "holds the login"),
    "old": ("○", "old", "holds the old login"),
    "failed": ("✗", "no", "could not be written"),
    "missing": ("?", "?", "is not there"),
    "new": ("·", "-", "is yet to be written"),
}

#: Those that ask for something to be done.
_AMISS: Final = frozenset({"old", "failed", "missing"})

#: Columns that a narrow terminal does without, in the order they go.
_SPARE: Final = ("KEY", "PROVEN", "NEXT LOOK", "LAST ROTATION")

#: Seconds after which --watch reads the state again, which costs next to nothing.
_PAUSE: Final = 1.0


@click.command("status")
@click.option("--watch", is_flag=True, help="Stay, and show every change. Ends with Ctrl-C.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON, for scripts.")
@click.pass_obj
def command(invocation: Invocation, *, watch: bool, as_json: bool) -> bool:
    """Show how every database and client stands.

    Reads pgherald's own state: Heroku is not asked, and the daemon need not run. Each client
    has a mark: it holds the login, holds the old one, or could not be written. A narrow terminal
    shows fewer columns.

    Exit code 0 when nothing is wrong; 1 when something is, which is said first, on stderr; 2
    when the command line or the configuration is wrong. With --watch it is 0 in the end.

    Example:
        pgherald status --watch
        pgherald status --json | jq '.troubles[].title'
    """
    if watch and (as_json or not sys.stdout.isatty()):
        raise click.UsageError(
            "--watch draws on a terminal; for a script, ask for --json again and again"
        )
    config = invocation.load(writes=False)
    if watch:
        _watch(config)
        return True
    return print_status(config, as_json=as_json)


def print_status(config: Config, *, as_json: bool = False) -> bool:
    """Print the status; whether nothing is wrong.

    Raises:
        StoreError: the state cannot be read.
    """
    shown = json_of(config, status_now(config))
    if as_json:
        emit_json(shown)
    else:
        now = datetime.now(UTC)
        for title, advice in _problems(shown, now):
            problem(title, advice)
        if shown["troubles"]:
            click.echo("", err=True)
        click.echo("\n".join(_lines(shown, now)))
    return bool(shown["ok"])


def _watch(config: Config) -> None:
    """Draw the state, again whenever it would look different, until Ctrl-C or SIGTERM."""
    from rich.console import Console  # only a terminal needs it
    from rich.live import Live
    from rich.text import Text

    # However this ends, the terminal gets its own screen back.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    console, drawn = Console(), None
    with (
        contextlib.suppress(KeyboardInterrupt),
        Live(console=console, screen=True, auto_refresh=False) as live,
    ):
        while True:
            text = "\n".join(_screen(config))
            if (console.size, text) != drawn:
                live.update(Text.from_ansi(text), refresh=True)
                drawn = (console.size, text)
            time.sleep(_PAUSE)


def _screen(config: Config) -> Iterator[str]:
    now = datetime.now(UTC)
    try:
        shown = json_of(config, status_now(config))
    except StoreError as exc:
        yield click.style(str(exc), fg="red")
        return
    for title, advice in _problems(shown, now):
        yield click.style(title, fg="red")
        yield f"  {advice}"
    yield from _lines(shown, now)
    yield "Ctrl-C ends this."


def _problems(shown: Json, now: datetime) -> Iterator[tuple[str, str]]:
    """What is wrong, and the advice."""
    for trouble in shown["troubles"]:
        prefix = Subject.read(trouble["subject"]).prefix(trouble["name"], trouble["kind"])
        title = prefix + trouble["title"]
        yield f"{title} (began {ago(trouble['since'], now)})", trouble["advice"]


def _lines(shown: Json, now: datetime) -> Iterator[str]:
    """Everything but the troubles, top to bottom."""
    databases = shown["databases"]
    if all(each["looked_at"] is None for each in databases) and not shown["troubles"]:
        yield "Nothing has been looked at yet. Run: pgherald check"
        yield ""
    if databases:
        marks = 0 if can_show("".join(mark for mark, *_ in _MARKS.values())) else 1
        kinds = list(databases[0]["clients"])
        headings = ("DATABASE", "KEY", "STATE", *kinds,
                    "LAST LOOK", "NEXT LOOK", "LAST ROTATION", "PROVEN")  # fmt: skip
        yield table(headings, [_row(shown, each, now, marks) for each in databases], _SPARE)
        words = {word for database in databases for word in database["clients"].values()}
        if words & _AMISS:
            told = (_MARKS[word] for word in _MARKS if word in words)
            yield "  ".join(f"{each[marks]} {each[2]}" for each in told)
        yield ""
    how = "running" if shown["running"] else "not running; start it with: pgherald run"
    yield f"The daemon is {how}."
    if shown["running"]:
        yield from map(_cost, shown["requests"])
    if why := shown["notifications"]:
        yield f"Notifications: {why}"
    yield from (f"Note: {warning}" for warning in shown["warnings"])


def _row(shown: Json, database: Json, now: datetime, marks: int) -> tuple[str, ...]:
    """A row of the table; `marks` is the place in `_MARKS`."""
    clients = database["clients"].values()
    # No client holds it yet, as far as is known.
    is_new = database["current_at"] is None and set(clients) <= {"new"}
    if any(
        trouble["subject"] == Subject(About.DATABASE, database["key"])
        for trouble in shown["troubles"]
    ):
        state = "trouble"
    elif is_new:
        state = "new"
    else:
        # A client whose program has never run here holds nothing, and is no trouble.
        behind = {"old", "failed"} & set(clients) or not database["current"]
        state = "behind" if behind else "current"
    unproven = "never" if is_new else "unproven"
    return (
        database["name"],
        database["key"],
        state,
        *(_MARKS[word][marks] for word in clients),
        ago(database["looked_at"], now),
        _next(shown, database, now),
        ago(database["last_rotation_at"], now),
        ago(database["proven_at"], now) if database["proven"] else unproven,
    )


def _next(shown: Json, database: Json, now: datetime) -> str:
    if not shown["running"]:
        return "-"
    due = database["next_look_at"]
    if due is None:
        return "now" if database["looked_at"] is None else "later"
    return f"in {lasting(due - now)}" if due > now else "now"


def _cost(cost: Json) -> str:
    account, remaining = cost["account"], cost["remaining"]
    whose = "" if account == DEFAULT_ACCOUNT else f" ({account})"
    left = "" if remaining is None else f"; {remaining} left to all programs"
    size = cost.get("bytes_last_hour", 0)  # an older daemon does not count them
    volume = f", {math.ceil(size / 1000):,} kB" if size else ""
    return (
        f"Requests in the last hour{whose}: {cost['last_hour']} of {cost['allowance']} "
        f"allowed{volume}{left}."
    )
