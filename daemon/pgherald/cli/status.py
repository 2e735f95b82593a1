"""`pgherald status`: how every database and client stands.

What `--json` prints; scripts may rely on it. Moments are ISO 8601 in UTC, null for never:

    {
      "ok": true,                       // no troubles; as the exit code
      "running": true,                  // the daemon
      "databases": [{
        "key": "shop/DATABASE",         // as in `check` and `history`
        "name": "Shop (production)",
        "current": true,                // every client was last seen to hold its login
        "looked_at": "2026-01-05T09:00:00.000+00:00",
        "current_at": "…",
        "proven": true,                 // the login in the clients was proven
        "proven_at": "…",
        "last_rotation_at": null
      }],
      "clients": [{"kind": "pgpass", "path": "/home/me/.pgpass", "ok": true}],
      "troubles": [{                    // the longest-standing first
        "subject": "database:shop/DATABASE",    // or account:…, client:…, config, commit, store
        "name": "Shop (production)",
        "kind": "ProbeFailed",          // a stable word
        "title": "…", "advice": "…",    // for people; the advice may be empty
        "since": "…"
      }],
      "notifications": null             // why the latest could not be shown
    }
"""

from __future__ import annotations

from datetime import UTC, datetime

import click

from pgherald.cli.main import EXIT_OK, EXIT_TROUBLE, Invocation
from pgherald.cli.output import ago, emit_json, headline, problem, table
from pgherald.config import Config
from pgherald.files.locks import is_held
from pgherald.store import DatabaseState, Record, Store, Trouble

#: Enough to hold the latest rotation of every database in all but the largest households.
_RECENT = 2_000


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
    if store is None:
        databases: list[DatabaseState] = []
        troubles: list[Trouble] = []
        notes: dict[str, str] = {}
        records: list[Record] = []
    else:
        with store:
            databases, troubles = store.databases(), store.troubles()
            notes, records = store.notes(), store.history(_RECENT)
    databases = _with_new_ones(config, databases)
    latest = {str(record.rotation.key): record for record in reversed(records)}
    if as_json:
        emit_json(_as_json(config, databases, troubles, notes, latest, running=running))
    else:
        _show(databases, troubles, notes, latest, running=running)
    return EXIT_TROUBLE if troubles else EXIT_OK


def _with_new_ones(config: Config, seen: list[DatabaseState]) -> list[DatabaseState]:
    """The databases as pgherald knows them, and those that it has yet to look at."""
    known = {state.key for state in seen}
    new = [
        DatabaseState(database.key, database.name, None, None, None, proven=False)
        for database in config.databases
        if database.key not in known
    ]
    return sorted([*seen, *new], key=lambda state: state.key)


def _show(
    databases: list[DatabaseState],
    troubles: list[Trouble],
    notes: dict[str, str],
    latest: dict[str, Record],
    *,
    running: bool,
) -> None:
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
        in_trouble = {trouble.subject for trouble in troubles}
        rows = []
        for database in databases:
            record = latest.get(str(database.key))
            rows.append(
                (
                    database.label,
                    str(database.key),
                    _word(database, in_trouble=f"database:{database.key}" in in_trouble),
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
    if why := notes.get("notifications"):
        click.echo(f"Notifications: {why}")


def _word(database: DatabaseState, *, in_trouble: bool) -> str:
    if in_trouble:
        return "trouble"
    return "new" if database.current_at is None else "current"


def _proof(database: DatabaseState, now: datetime) -> str:
    if database.proven:
        return ago(database.proven_at, now)
    return "never" if database.current_at is None else "unproven"


def _as_json(
    config: Config,
    databases: list[DatabaseState],
    troubles: list[Trouble],
    notes: dict[str, str],
    latest: dict[str, Record],
    *,
    running: bool,
) -> dict[str, object]:
    in_trouble = {trouble.subject for trouble in troubles}
    return {
        "ok": not troubles,
        "running": running,
        "databases": [
            {
                "key": str(database.key),
                "name": database.label,
                "current": database.current_at is not None
                and f"database:{database.key}" not in in_trouble,
                "looked_at": database.looked_at,
                "current_at": database.current_at,
                "proven": database.proven,
                "proven_at": database.proven_at,
                "last_rotation_at": record.rotation.seen_at
                if (record := latest.get(str(database.key)))
                else None,
            }
            for database in databases
        ],
        "clients": [
            {
                "kind": client.kind,
                "path": str(client.path),
                "ok": f"client:{client.path}" not in in_trouble,
            }
            for client in config.clients
        ],
        "troubles": [
            {
                "subject": trouble.subject,
                "name": trouble.label,
                "kind": trouble.kind,
                "title": trouble.title,
                "advice": trouble.advice,
                "since": trouble.since,
            }
            for trouble in troubles
        ],
        "notifications": notes.get("notifications") or None,
    }
