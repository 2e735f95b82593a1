"""`pgherald history`: the rotations that were seen.

What `--json` prints, the latest first; scripts may rely on it:

    [{
      "id": 7,                          // grows with time
      "key": "shop/DATABASE",           // as in `status` and `check`
      "name": "Shop (production)",      // the database's name at that time
      "changed": ["user", "password"],  // fields of the login
      "release": 42,                    // the app's release that brought it, or null
      "seen_at": "2026-01-05T09:00:00.000+00:00",
      "proven_at": "…",                 // by a connection; null for never
      "written_at": "…",                // when every client held it; null when not all did
      "clients": ["psql"]               // those that it was written into
    }]

With `--commits`, likewise:

    [{
      "commit": 7,                      // for `pgherald rollback`
      "at": "2026-01-05T09:00:00.000+00:00",
      "note": "update shop/DATABASE (user, password)",
      "files": [{"label": "psql", "path": "/home/me/.pgpass"}]
    }]
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Final

import click

from pgherald.cli.completion import from_config
from pgherald.cli.main import Invocation
from pgherald.cli.output import ago, can_show, emit_json, table
from pgherald.config import Config
from pgherald.config.values import suggestion
from pgherald.errors import PgheraldError
from pgherald.model import DatabaseKey
from pgherald.plain import fields
from pgherald.store import Record, Store
from pgherald.store.file import HISTORY_LIMIT

#: Columns of a time line: at least, however narrow the terminal, and at most.
_SHORTEST: Final = 10
_LONGEST: Final = 100

#: What stands for one rotation, for the time between two, and for the rest of a long name.
_MARKS: Final = "●─…"
_PLAIN_MARKS: Final = "o-~"

#: More rotations than this in one place are "+".
_COUNTED: Final = 9


@click.command("history")
@click.argument(
    "database",
    required=False,
    shell_complete=from_config(lambda config: [str(each.key) for each in config.databases]),
)
@click.option("-n", "--limit", type=click.IntRange(1), default=20, show_default=True,
              help="How many, at most.")  # fmt: skip
@click.option("--commits", is_flag=True,
              help="List what was written instead, as `pgherald rollback` takes it back.")  # fmt: skip
@click.option("--timeline/--no-timeline", default=None,
              help="Draw them on a line of time above the list. Default: on a terminal only.")  # fmt: skip
@click.option("--wait", is_flag=True,
              help="Wait for a key at the end, in a terminal that was opened for this.")  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Print JSON, for scripts.")
@click.pass_obj
def command(
    invocation: Invocation,
    database: str | None,
    limit: int,
    *,
    commits: bool,
    timeline: bool | None,
    wait: bool,
    as_json: bool,
) -> None:
    """List the rotations that were seen, newest first.

    DATABASE is a database as `pgherald status` shows it, by its key or its name, or an app
    that has only one. Without it, all are listed.

    On a terminal there is a line of time for each database above the list: a mark is a rotation,
    a digit several close to each other; yellow is one that was not proven, or is not in every
    client.

    Exit code 0, also when there were none; 1 when DATABASE is unknown or may mean several; 2
    when the command line or the configuration is wrong.

    Example:
        pgherald history shop-production/DATABASE -n 5
    """
    config = invocation.load(writes=False)
    if commits:
        if database is not None:
            raise click.UsageError("--commits is about all databases: name none.")
        _show_commits(config, limit, as_json=as_json)
        return
    records = _records(config, database, limit)
    if as_json:
        emit_json([_as_json(record) for record in records])
    elif not records:
        click.echo("No rotation has been seen yet.")
    else:
        if sys.stdout.isatty() if timeline is None else timeline:
            width, marks = shutil.get_terminal_size().columns, can_show(_MARKS)
            for line in timeline_of(records, datetime.now(UTC), width, marks=marks):
                click.echo(line)
            click.echo("")
        headings = ("WHEN", "DATABASE", "CHANGED", "PROVEN", "WRITTEN TO")
        click.echo(table(headings, [_row(record) for record in records]))
    if wait:
        click.pause()


def _records(config: Config, database: str | None, limit: int) -> list[Record]:
    store = Store.read_only(config.state_dir / "state.db")
    if store is not None:
        with store:
            return store.history(limit, None if database is None else _key(store, database))
    if database is not None:
        raise _unknown(database)
    return []


def _key(store: Store, text: str) -> DatabaseKey:
    """The key that is meant: also one that is no longer kept, as long as history has it."""
    labels = {record.rotation.key: record.label for record in store.history(HISTORY_LIMIT)}
    labels |= {state.key: state.label for state in store.databases()}
    meant = [key for key, label in labels.items() if text in (str(key), label)]
    meant = meant or [key for key in labels if text == key.app]
    if len(meant) == 1:
        return meant[0]
    if meant:
        names = ", ".join(sorted(map(str, meant)))
        raise PgheraldError(f"{text} may mean several databases", f"Name one of them: {names}")
    raise _unknown(text, [*map(str, labels), *labels.values(), *(key.app for key in labels)])


def _unknown(text: str, known: Sequence[str] = ()) -> PgheraldError:
    return PgheraldError(
        f"pgherald has not looked at any database {text!r}{suggestion(text, known)}",
        "`pgherald status` shows those that it has.",
    )


def _row(record: Record) -> tuple[str, ...]:
    rotation = record.rotation
    release = "" if rotation.release is None else f" (v{rotation.release})"
    return (
        _local(rotation.seen_at),
        f"{record.label}{release}",
        ", ".join(rotation.changed),
        "yes" if rotation.proven_at is not None else "no",
        ", ".join(record.clients) + ("" if rotation.written_at is not None else " (not all)"),
    )


def _local(at: datetime) -> str:
    return at.astimezone().strftime("%Y-%m-%d %H:%M:%S")


def _as_json(record: Record) -> dict[str, object]:
    rotation = record.rotation
    return {
        "id": record.id,
        "key": rotation.key,
        "name": record.label,
        **fields(rotation, "changed", "release", "seen_at", "proven_at", "written_at"),
        "clients": record.clients,
    }


def _show_commits(config: Config, limit: int, *, as_json: bool) -> None:
    """List the commits that can be taken back."""
    from pgherald.cli.rollback import (  # only this needs the journals
        commit_json,
        committer_of,
        number_of,
    )

    commits = committer_of(config).history()[:limit]
    if as_json:
        emit_json(
            [
                commit_json(each)
                | {"files": [fields(file, "label", "path") for _, file in each.clients]}
                for each in commits
            ]
        )
    elif not commits:
        click.echo("Nothing has been written yet.")
    else:
        rows = [
            (str(number_of(record)), _local(record.at), record.note,
             ", ".join(file.label for _, file in record.clients))
            for record in commits
        ]  # fmt: skip
        click.echo(table(("COMMIT", "WHEN", "WHAT", "FILES"), rows))


# --- the line of time -----------------------------------------------------------------------


def timeline_of(
    records: Sequence[Record], now: datetime, width: int, *, marks: bool = True
) -> Iterator[str]:
    """Draw when each database was rotated: one line for each, the past to the left.

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
    drawn = _MARKS if marks else _PLAIN_MARKS
    start = min(record.rotation.seen_at for record in records)
    span = max(now - start, timedelta(seconds=1))
    longest = max(len(of_key[0].label) for of_key in by_key.values())
    room = min(longest, max(width // 3, _SHORTEST))
    length = min(max(width - room - 2, _SHORTEST), _LONGEST)
    for _, of_key in sorted(by_key.items()):
        cells: list[list[Record]] = [[] for _ in range(length)]
        for record in of_key:
            place = round((record.rotation.seen_at - start) / span * (length - 1))
            # A clock that was set back may put one into the future.
            cells[min(place, length - 1)].append(record)
        name = of_key[0].label
        name = name.ljust(room) if len(name) <= room else f"{name[: room - 1]}{drawn[2]}"
        yield f"{name}  {''.join(_cell(here, drawn) for here in cells)}"
    left, right = ago(start, now), "now"
    if len(left) + 1 + len(right) > length:
        left = ""
    yield f"{'':{room}}  {left}{right.rjust(length - len(left))}"


def _cell(here: Sequence[Record], marks: str) -> str:
    """One place on a line of time, with the rotations there."""
    if not here:
        return marks[1]
    count = str(len(here)) if len(here) <= _COUNTED else "+"
    well = all(each.rotation.proven_at and each.rotation.written_at for each in here)
    return click.style(marks[0] if len(here) == 1 else count, fg="green" if well else "yellow")
