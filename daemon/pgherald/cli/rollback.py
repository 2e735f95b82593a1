"""`pgherald rollback`: give every client back what it held before a commit.

What `--json` prints; scripts may rely on it:

    {
      "commit": 7,                      // the one that was taken back
      "at": "2026-01-05T09:00:00.000+00:00",
      "note": "update shop/DATABASE (user, password)",
      "dry_run": false,                 // with it, nothing was written
      "restored": [{"label": "psql", "path": "/home/me/.pgpass"}],
      "left": [{"label": "…", "path": "…"}]     // changed since, so nothing was restored
    }
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Mapping
from datetime import datetime
from pathlib import Path

import click

from pgherald.cli.main import Invocation
from pgherald.cli.output import diff_line, emit_json, problem
from pgherald.clients.base import Held
from pgherald.clock import SystemClock
from pgherald.config import Config
from pgherald.daemon.publish import leave_status
from pgherald.daemon.wiring import files_of
from pgherald.errors import AlreadyRunning, PgheraldError, RolledBack
from pgherald.files import Files
from pgherald.files.locks import daemon_runs
from pgherald.model import About, ClientPhase, DatabaseKey, Login, Phase, Subject
from pgherald.plain import fields
from pgherald.secret import Secret
from pgherald.store import Alert, Store
from pgherald.sync.manifest import CommitRecord
from pgherald.sync.targets import Target, clients_of, journaled
from pgherald.sync.transaction import Rollback, Transactions


@click.command("rollback")
@click.argument("number", type=click.IntRange(1), required=False)
@click.option("--dry-run", is_flag=True, help="Show what would be given back, and do nothing.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON, for scripts.")
@click.pass_obj
def command(invocation: Invocation, number: int | None, *, dry_run: bool, as_json: bool) -> bool:
    """Give every client back what it held before a commit.

    NUMBER is that of a commit in `pgherald history --commits`; without it the latest is taken
    back. All of its files go back together, or none: if one was changed since, by pgherald or by
    anybody else, it is named and nothing is changed. A rollback is a commit too, and can be taken
    back in turn.

    Heroku knows nothing of it: `pgherald status` says which logins are old, until the next
    `pgherald check`, or a daemon that is started, brings the clients up to date again.

    Exit code 0 when all went back; 1 when nothing did, since a file was changed or there is no such
    commit; 2 when the command line or the configuration is wrong; 3 while the daemon runs. With
    --dry-run likewise.

    Example:
        pgherald history --commits && pgherald rollback 7 --dry-run
    """
    config = invocation.load(writes=True)
    if daemon_runs(config.state_dir):
        raise AlreadyRunning(
            "The daemon is running, and would bring the clients up to date again at once",
            "Stop it first: `systemctl --user stop pgherald`, or end it where you started it.",
        )
    committer = committer_of(config)
    if not dry_run:
        committer.recover()  # one that was interrupted is the latest, once it is finished
    record = _meant(committer.history(), number)
    targets = {client.path.absolute(): client for client in clients_of(config, files_of(config))}
    if dry_run:
        done = committer.rollback(record.id, dry_run=True)
    else:
        now = invocation.outside().clock.now()
        done = _roll_back(config, committer, record, targets, now)
    if as_json:
        emit_json(_as_json(record, done, dry_run=dry_run))
    else:
        _show(record, done, targets, dry_run=dry_run)
    for path in done.left:
        problem(f"{path} was changed since, so nothing is given back.")
    return not done.left


def committer_of(config: Config) -> Transactions:
    """What knows the commits, and takes them back."""
    files, folder = Files(config.state_dir / "locks"), config.state_dir / "commits"
    return Transactions(files, folder, SystemClock(), journaled(config))


def number_of(record: CommitRecord) -> int:
    """The number by which a person calls a commit."""
    return int(record.id.rpartition("-")[2])


def commit_json(record: CommitRecord) -> dict[str, object]:
    """A commit without its files, in the shape that `history --commits` and `rollback` share."""
    return {"commit": number_of(record), **fields(record, "at", "note")}


def _meant(commits: list[CommitRecord], number: int | None) -> CommitRecord:
    if not commits:
        raise PgheraldError(
            "There is no commit to take back", "`pgherald check` makes one where a client differs."
        )
    if number is None:
        return commits[0]
    for record in commits:
        if number_of(record) == number:
            return record
    raise PgheraldError(
        f"There is no commit {number} that could be taken back",
        "`pgherald history --commits` lists those that can: the last five of each file.",
    )


def _roll_back(
    config: Config,
    committer: Transactions,
    record: CommitRecord,
    targets: Mapping[Path, Target],
    now: datetime,
) -> Rollback:
    """Roll back, and record which databases have an older login in the clients; `status` says it.

    The alerts come first: a kill in between leaves no old login that nobody knows of.
    """
    error = RolledBack(
        f"The login from before {record.at.astimezone():%Y-%m-%d %H:%M:%S} is back in the clients"
    )
    files = files_of(config)
    after: dict[DatabaseKey, dict[str, ClientPhase]] = {}
    state = Store.open(config.state_dir / "state.db", files)
    with state as store, contextlib.ExitStack() as unless_done:

        def alert(planned: Rollback) -> None:
            after.update(_after(store, planned, targets))
            names = {state.key: state.label for state in store.databases()}
            for key in sorted(key for key in after if _is_behind(after[key])):
                subject = Subject(About.DATABASE, key)
                if (before := store.alert(subject)) is not None:
                    unless_done.callback(store.put_alert, before)
                else:
                    unless_done.callback(store.clear_alert, subject)
                words = (names.get(key, str(key)), error.kind, error.title, error.advice)
                store.put_alert(Alert(subject, *words, now, told=False))

        done = committer.rollback(record.id, about_to=alert)
        unless_done.pop_all()
        for key, clients in after.items():
            known = store.alert(Subject(About.DATABASE, key))
            if known is None or known.kind != error.kind:
                continue
            if not _is_behind(clients):  # an earlier rollback was taken back
                store.clear_alert(known.subject)
            phase = Phase.BEHIND if _is_behind(clients) else Phase.CURRENT
            store.keep(key, str(phase), {path: str(word) for path, word in clients.items()})
        leave_status(config, store, files, now)
    return done


def _after(
    store: Store, planned: Rollback, targets: Mapping[Path, Target]
) -> dict[DatabaseKey, dict[str, ClientPhase]]:
    """How the clients will stand with each database whose login a rollback changes, by path."""
    found: dict[DatabaseKey, dict[str, ClientPhase]] = {
        state.key: {path: ClientPhase(word) for path, word in state.clients.items()}
        for state in store.databases()
    }
    changed = set()
    for step in planned.steps:
        if (target := targets.get(step.snapshot.path)) is not None:
            for key, held in target.databases(step.snapshot.content, step.new).items():
                word = ClientPhase.CURRENT if _is_newest(store, key, held) else ClientPhase.OLD
                found.setdefault(key, {})[str(target.path)] = word
                changed.add(key)
    return {key: found[key] for key in changed}


def _is_behind(clients: Mapping[str, ClientPhase]) -> bool:
    return ClientPhase.OLD in clients.values()


def _is_newest(store: Store, key: DatabaseKey, held: Held | None) -> bool:
    """Whether a client gets back the login that pgherald saw last, as far as its format shows it."""
    if held is None:
        return False
    parts = (held.host or "", held.port or 0, held.dbname or "", held.user or "")
    changed = store.changed(key, Login(*parts, held.password or Secret("")))
    if changed is None:
        return False
    return not any(getattr(held, part) is not None for part in changed if part != "sslmode")


def _show(
    record: CommitRecord, done: Rollback, targets: Mapping[Path, Target], *, dry_run: bool
) -> None:
    click.echo(f"Commit {number_of(record)}: {record.note}")
    for step in done.steps:
        path = step.snapshot.path
        click.echo(f"  {'would be ' if dry_run else ''}given back: {step.label} ({path})")
        if dry_run and (target := targets.get(path)) is not None:
            for line in target.show(step.snapshot.content, step.new):
                diff_line(f"    {line}")
    if not done.steps and not done.left:
        click.echo("  every client holds what it held before, already")
    if done.removes_servers and not dry_run:
        click.echo("A server that left pgAdmin by this stays out of it until you run:")
        click.echo("  pgherald check --recreate")


def _as_json(record: CommitRecord, done: Rollback, *, dry_run: bool) -> dict[str, object]:
    labels = {file.path: file.label for file in record.files}
    return {
        **commit_json(record),
        "dry_run": dry_run,
        "restored": _named((step.label, step.snapshot.path) for step in done.steps),
        "left": _named((labels[path], path) for path in done.left),
    }


def _named(files: Iterable[tuple[str, Path]]) -> list[dict[str, str]]:
    return [{"label": label, "path": str(path)} for label, path in files]
