"""`pgherald history`: the rotations that were seen.

What `--json` prints, the latest first; scripts may rely on it:

    [{
      "id": 7,                          // grows with time
      "key": "shop/DATABASE",           // as in `status` and `check`
      "name": "Shop (production)",      // what the database was called then
      "changed": ["user", "password"],  // fields of the login
      "release": 42,                    // the app's release that brought it, or null
      "seen_at": "2026-01-05T09:00:00.000+00:00",
      "proven_at": "…",                 // by a connection; null for never
      "written_at": "…",                // when every client held it; null when not all did
      "clients": ["psql"]               // those that it was written into
    }]
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Sequence
from datetime import UTC, datetime

import click

from pgherald.cli.columns import can_show
from pgherald.cli.completion import from_config
from pgherald.cli.exits import EXIT_OK
from pgherald.cli.main import Invocation
from pgherald.cli.output import emit_json, table
from pgherald.cli.timeline import timeline as timeline_of
from pgherald.errors import PgheraldError
from pgherald.model import DatabaseKey
from pgherald.store import Record, Store
from pgherald.store.sqlite import HISTORY_LIMIT


@click.command("history", epilog="\b\nExample:\n  pgherald history shop-production/DATABASE -n 5")
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
) -> int:
    """List the rotations that were seen, newest first.

    DATABASE is a database as `pgherald status` shows it, by its key or its name, or an app
    that has only one. Without it, all are listed.

    On a terminal there is a line of time for each database above the list: a mark is a rotation,
    a digit several close to each other; yellow is one that was not proven, or is not in every
    client.

    Exit code 0, also when there were none; 1 when DATABASE is unknown or may mean several; 2
    when the command line or the configuration is wrong.
    """
    config = invocation.load()
    if commits:
        if database is not None:
            raise click.UsageError("--commits is about all databases: name none.")
        from pgherald.cli.commits import show_commits  # only this needs the journals

        show_commits(config, limit, as_json=as_json)
        return EXIT_OK
    store = Store.read_only(config.state_dir / "state.db")
    records: list[Record] = []
    if store is not None:
        with store:
            records = store.history(limit, None if database is None else _key(store, database))
    elif database is not None:
        raise _unknown(database)
    if as_json:
        emit_json([_as_json(record) for record in records])
    elif not records:
        click.echo("No rotation has been seen yet.")
    else:
        if sys.stdout.isatty() if timeline is None else timeline:
            _draw(records)
        table(("WHEN", "DATABASE", "CHANGED", "PROVEN", "WRITTEN TO"), [_row(r) for r in records])
    if wait:
        click.pause()
    return EXIT_OK


def _draw(records: Sequence[Record]) -> None:
    width = shutil.get_terminal_size().columns
    for line in timeline_of(records, datetime.now(UTC), width, marks=can_show("●─…")):
        click.echo(line)
    click.echo("")


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
    import difflib  # only a misspelt name needs it

    close = difflib.get_close_matches(text, known, n=1)
    return PgheraldError(
        f"pgherald has not looked at any database {text!r}",
        f"Did you mean {close[0]!r}?" if close else "`pgherald status` shows those that it has.",
    )


def _row(record: Record) -> tuple[str, ...]:
    rotation = record.rotation
    release = "" if rotation.release is None else f" (v{rotation.release})"
    return (
        rotation.seen_at.astimezone().strftime("%Y-%m-%d %H:%M:%S"),
        f"{record.label}{release}",
        ", ".join(rotation.changed),
        "yes" if rotation.proven_at is not None else "no",
        ", ".join(record.clients) + ("" if rotation.written_at is not None else " (not all)"),
    )


def _as_json(record: Record) -> dict[str, object]:
    rotation = record.rotation
    return {
        "id": record.id,
        "key": str(rotation.key),
        "name": record.label,
        "changed": rotation.changed,
        "release": rotation.release,
        "seen_at": rotation.seen_at,
        "proven_at": rotation.proven_at,
        "written_at": rotation.written_at,
        "clients": record.clients,
    }
