"""`pgherald status`: how every database and client stands.

What `--json` prints, and the daemon keeps in status.json: `pgherald.store.status_file`.
"""

from __future__ import annotations

import contextlib
import sys
from datetime import UTC, datetime

import click

from pgherald.cli.exits import EXIT_OK, EXIT_TROUBLE
from pgherald.cli.main import Invocation
from pgherald.cli.output import emit_json, problem, show
from pgherald.cli.standing import problems, write
from pgherald.config import Config
from pgherald.daemon.status import as_json as json_of
from pgherald.daemon.status import status_of
from pgherald.files.locks import daemon_runs
from pgherald.store import Store
from pgherald.store.status_file import Shown


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
        from pgherald.cli.watching import watch as watch_it  # only a terminal needs it

        watch_it(lambda: read(config))
        return EXIT_OK
    shown = read(config)
    if as_json:
        emit_json(shown)
    else:
        _show(shown)
    return EXIT_TROUBLE if shown["troubles"] else EXIT_OK


def read(config: Config) -> Shown:
    """Read the state file; Heroku is not asked.

    Raises:
        StoreError: it cannot be read.
    """
    running = daemon_runs(config.state_dir)
    store = Store.read_only(config.state_dir / "state.db")
    with contextlib.nullcontext() if store is None else store:
        return json_of(config, status_of(config, store), running=running)


def _show(shown: Shown) -> None:
    now = datetime.now(UTC)
    for title, advice in problems(shown, now):
        problem(title, advice)
    if shown["troubles"]:
        click.echo("", err=True)
    write(shown, now, click.echo, show)
