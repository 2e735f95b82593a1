"""`pgherald rollback`: give every client back what it held before a commit.

What `--json` prints; scripts may rely on it:

    {
      "commit": 7,                      // the one that was taken back
      "at": "2026-01-05T09:00:00.000+00:00",
      "note": "update shop/DATABASE (user, password)",
      "restored": [{"label": "psql", "path": "/home/me/.pgpass"}],
      "left": [{"label": "…", "path": "…"}]     // changed since, so left alone
    }
"""

from __future__ import annotations

import click

from pgherald.cli import EXIT_OK, EXIT_TROUBLE
from pgherald.cli.main import Invocation
from pgherald.cli.output import emit_json, fields, problem
from pgherald.clock import SystemClock
from pgherald.config import Config
from pgherald.errors import AlreadyRunning, PgheraldError
from pgherald.files import Files
from pgherald.files.locks import daemon_runs
from pgherald.sync.commit import Committer
from pgherald.sync.journal import CommitRecord
from pgherald.sync.rollback import RolledBack
from pgherald.sync.targets import journaled


@click.command("rollback")
@click.argument("number", type=click.IntRange(1), required=False)
@click.option("--json", "as_json", is_flag=True, help="Print JSON, for scripts.")
@click.pass_obj
def command(invocation: Invocation, number: int | None, *, as_json: bool) -> int:
    """Give every client back what it held before a commit.

    NUMBER is that of a commit in `pgherald history --commits`; without it the latest is taken
    back. All of its files go back together, or none. A file that was changed since, by pgherald
    or by anybody else, is left alone and named. A rollback is a commit too, and can be taken
    back in turn.

    Heroku knows nothing of it: the next `pgherald check`, or a daemon that is started, brings
    the clients up to date again.

    Exit code 0 when all went back; 1 when something was left alone, or there is no such commit; 2
    when the command line or the configuration is wrong; 3 while the daemon runs.

    Example:
        pgherald history --commits && pgherald rollback 7
    """
    config = invocation.load(writes=True)
    if daemon_runs(config.state_dir):
        raise AlreadyRunning(
            "The daemon is running, and would bring the clients up to date again at once",
            "Stop it first: `systemctl --user stop pgherald`, or end it where you started it.",
        )
    committer = committer_of(config)
    commits = committer.history()
    record = _meant(commits, number)
    done = committer.rollback(record.id)
    if as_json:
        emit_json(_as_json(record, done))
    else:
        _show(record, done)
    for path in done.left:
        problem(f"{path} was changed since, so it was left alone.")
    return EXIT_TROUBLE if done.left else EXIT_OK


def committer_of(config: Config) -> Committer:
    """What knows the commits, and takes them back."""
    files, folder = Files(config.state_dir / "locks"), config.state_dir / "commits"
    return Committer(files, folder, SystemClock(), journaled(config))


def number_of(record: CommitRecord) -> int:
    """The number by which a person calls a commit."""
    return int(record.id.rpartition("-")[2])


def commit_json(record: CommitRecord) -> dict[str, object]:
    """A commit without its files, in the shape that `history --commits` and `rollback` share."""
    return {"commit": number_of(record), **fields(record, "at", "note")}


def _meant(commits: list[CommitRecord], number: int | None) -> CommitRecord:
    if not commits:
        raise PgheraldError("There is no commit to take back")
    if number is None:
        return commits[0]
    for record in commits:
        if number_of(record) == number:
            return record
    raise PgheraldError(
        f"There is no commit {number} that could be taken back",
        "`pgherald history --commits` lists those that can: the last five of each file.",
    )


def _show(record: CommitRecord, done: RolledBack) -> None:
    click.echo(f"Commit {number_of(record)}: {record.note}")
    restored = [] if done.record is None else [file for _, file in done.record.clients]
    for file in restored:
        click.echo(f"  given back: {file.label} ({file.path})")
    if not restored and not done.left:
        click.echo("  every client holds what it held before, already")
    if any(file.medium == "rows" for file in restored):
        click.echo("A server that left pgAdmin by this stays out of it until you run:")
        click.echo("  pgherald check --recreate")


def _as_json(record: CommitRecord, done: RolledBack) -> dict[str, object]:
    restored = [] if done.record is None else [file for _, file in done.record.clients]
    left = [file for file in record.files if file.path in done.left]
    return {
        **commit_json(record),
        "restored": [fields(file, "label", "path") for file in restored],
        "left": [fields(file, "label", "path") for file in left],
    }
