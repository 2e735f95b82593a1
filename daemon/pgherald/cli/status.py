"""`pgherald status`: how every database and client stands.

What `--json` prints, and the daemon keeps in status.json: `pgherald.daemon.standing`.
"""

from __future__ import annotations

import sys
from datetime import UTC, datetime

import click

from pgherald.cli.columns import can_show
from pgherald.cli.main import EXIT_OK, EXIT_TROUBLE, Invocation
from pgherald.cli.output import emit_json, problem, show
from pgherald.cli.standing import MARKS, Seen, columns, last_lines, legend, problems, read
from pgherald.daemon.standing import as_json as json_of


@click.command(
    "status",
    epilog="\b\nExample:\n  pgherald status --watch\n  pgherald status --json | jq '.troubles[].title'",
)
@click.option("--watch", is_flag=True, help="Stay, and show every change. Ends with Ctrl-C.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON, for scripts.")
@click.pass_obj
def command(invocation: Invocation, *, watch: bool, as_json: bool) -> int:
    """Show how every database and client stands.

    Reads pgherald's own state: Heroku is not asked, and the daemon need not run. Each client
    has a mark: it holds the login, holds the old one, or could not be written. A narrow terminal
    shows fewer columns.

    Exit code 0 when nothing is wrong; 1 when something is, which is said first, on stderr; 2
    when the command line or the configuration is wrong. With --watch it is 0 in the end.
    """
    if watch and (as_json or not sys.stdout.isatty()):
        raise click.UsageError(
            "--watch draws on a terminal; for a script, ask for --json again and again"
        )
    config = invocation.load()
    if watch:
        from pgherald.cli.watching import watch as watch_it  # noqa: PLC0415 – only a terminal needs it

        watch_it(lambda: read(config))
        return EXIT_OK
    seen = read(config)
    if as_json:
        emit_json(json_of(config, seen.standing, running=seen.running))
    else:
        _show(seen)
    return EXIT_TROUBLE if seen.standing.troubles else EXIT_OK


def _show(seen: Seen) -> None:
    now = datetime.now(UTC)
    for title, advice in problems(seen, now):
        problem(title, advice)
    if seen.standing.troubles:
        click.echo("", err=True)
    if (
        all(database.looked_at is None for database in seen.standing.databases)
        and not seen.standing.troubles
    ):
        click.echo("Nothing has been looked at yet. Run: pgherald check")
        click.echo("")
    if seen.standing.databases:
        marks = can_show("".join(mark for mark, _, _ in MARKS.values()))
        show(columns(seen, now, marks=marks))
        if told := legend(seen, marks=marks):
            click.echo(told)
        click.echo("")
    for line in last_lines(seen):
        click.echo(line)
