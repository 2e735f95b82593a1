"""`pgherald status`: how every database and client stands.

What `--json` prints, and the daemon keeps in status.json: `pgherald.daemon.standing`.
"""

from __future__ import annotations

import contextlib
from datetime import UTC, datetime

import click

from pgherald.cli.main import EXIT_OK, EXIT_TROUBLE, Invocation
from pgherald.cli.output import ago, emit_json, headline, problem, table
from pgherald.daemon.standing import Standing, standing_of
from pgherald.daemon.standing import as_json as json_of
from pgherald.files.locks import is_held
from pgherald.model import DEFAULT_ACCOUNT
from pgherald.store import DatabaseState, Store
from pgherald.store.requests import Requests


@click.command(
    "status",
    epilog="\b\nExample:\n  pgherald status --json | jq '.troubles[].title'",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON, for scripts.")
@click.pass_obj
def command(invocation: Invocation, *, as_json: bool) -> int:
    """Show how every database and client stands.

    Reads pgherald's own state: Heroku is not asked, and the daemon need not run.
    Exit code 0 when nothing is wrong; 1 when something is, which is said first, on stderr; 2
    when the command line or the configuration is wrong.
    """
    config = invocation.load()
    running = is_held(config.state_dir / "daemon.lock")
    store = Store.read_only(config.state_dir / "state.db")
    with contextlib.nullcontext() if store is None else store:
        standing = standing_of(config, store)
    if as_json:
        emit_json(json_of(config, standing, running=running))
    else:
        _show(standing, running=running)
    return EXIT_TROUBLE if standing.troubles else EXIT_OK


def _show(standing: Standing, *, running: bool) -> None:
    databases, troubles = standing.databases, standing.troubles
    now = datetime.now(UTC)
    for trouble in troubles:
        title = headline(trouble.subject, trouble.label, trouble.title)
        problem(f"{title} (began {ago(trouble.since, now)})", trouble.advice)
    if troubles:
        click.echo("", err=True)
    if all(database.looked_at is None for database in databases) and not troubles:
        click.echo("Nothing has been looked at yet. Run: pgherald check")
        click.echo("")
    if databases:
        rows = []
        for database in databases:
            record = standing.latest.get(database.key)
            rows.append(
                (
                    database.label,
                    str(database.key),
                    _word(database, in_trouble=standing.in_trouble(f"database:{database.key}")),
                    ago(database.looked_at, now),
                    ago(None if record is None else record.rotation.seen_at, now),
                    _proof(database, now),
                )
            )
        table(("DATABASE", "KEY", "STATE", "LAST LOOK", "LAST ROTATION", "PROVEN"), rows)
        click.echo("")
    click.echo(
        f"The daemon is {'running' if running else 'not running; start it with: pgherald run'}."
    )
    for cost in standing.requests if running else ():
        click.echo(_cost(cost))
    if standing.notifications:
        click.echo(f"Notifications: {standing.notifications}")


def _cost(cost: Requests) -> str:
    whose = "" if cost.account == DEFAULT_ACCOUNT else f" ({cost.account})"
    left = "" if cost.remaining is None else f"; {cost.remaining} left to all programs"
    return f"Requests in the last hour{whose}: {cost.last_hour} of {cost.allowance} allowed{left}."


def _word(database: DatabaseState, *, in_trouble: bool) -> str:
    if in_trouble:
        return "trouble"
    return "new" if database.current_at is None else "current"


def _proof(database: DatabaseState, now: datetime) -> str:
    if database.proven:
        return ago(database.proven_at, now)
    return "never" if database.current_at is None else "unproven"
