"""`pgherald uninstall`: undo all that pgherald did on this machine."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import click

from pgherald.cli.main import Invocation
from pgherald.cli.output import diff_line, error_at, problem
from pgherald.cli.service import manager_of, removal
from pgherald.cli.setup.ask import yes as agreed
from pgherald.config import Config
from pgherald.daemon.uninstall import Undoing, foresee, uninstall
from pgherald.daemon.wiring import files_of
from pgherald.errors import AlreadyRunning
from pgherald.files.locks import daemon_runs
from pgherald.service.manager import Programs, Step, apply, lines
from pgherald.sync.targets import Fate, Undo

_WORDS = {
    Fate.UNTOUCHED: "holds nothing of pgherald's; stays as it is",
    Fate.RESTORED: "becomes again what it was before pgherald first wrote it",
    Fate.DELETED: "is deleted: pgherald made it, and nothing else is in it",
    Fate.CLEARED: "loses pgherald's part; everything else in it stays",
    Fate.EDITED: "loses pgherald's part; it was edited since, so everything else stays as it is",
    Fate.RELEASED: "loses pgherald's part",
}


@click.command("uninstall")
@click.option("--restore", is_flag=True,
              help="Give every file back as it was before pgherald first wrote it.")  # fmt: skip
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--dry-run", is_flag=True, help="Show what would be done, and do nothing.")
@click.pass_obj
def command(invocation: Invocation, *, restore: bool, yes: bool, dry_run: bool) -> bool:
    """Undo all that pgherald did on this machine.

    Stops the service and takes it away; takes pgherald's entries out of every client, servers in
    pgAdmin included, all as one commit; then deletes the state folder, with history and backups.
    A file that pgherald made goes, if nothing else is in it. Configuration, token and the program
    itself stay, and are named.

    A server in pgAdmin that was adopted gets back its host, its user and the password that was
    saved. They are those of that day: Heroku may have changed them since. A server that you
    changed stays.

    With --restore, every file becomes again what it was before pgherald first wrote it. A file in
    which something of your own was added or changed since only loses pgherald's part.

    Asks before it does anything. Heroku is not asked.

    Exit code 0 when all is undone; 1 when it was not wanted after all, or a client cannot be read
    or written: then no client was touched; 2 when the command line or the configuration is wrong;
    3 while the daemon runs.

    Example:
        pgherald uninstall --restore --dry-run
        pgherald uninstall --restore
    """
    config = invocation.load(writes=True)
    clock = invocation.outside().clock
    programs = Programs(invocation.env, dry_run=dry_run)
    # Left behind, the service would write everything again at the next login.
    steps = removal(manager_of(invocation, config), programs)
    if not steps and not dry_run and daemon_runs(config.state_dir):
        raise AlreadyRunning(
            "The daemon is running, and would write everything again",
            "It is no service that pgherald installed: end it where you started it.",
        )
    foreseen = foresee(config, clock, restore=restore)
    _show(config, foreseen, steps, with_diff=dry_run)
    for client, error in foreseen.failed:
        error_at(client.subject, client.label, error)
    if foreseen.failed:
        problem(
            "Nothing was changed.",
            "Mend the file, move it away, or take its section out of the configuration.",
        )
        return False
    if dry_run:
        return True
    if not yes and not agreed("Do this?", default=False):
        click.echo("Nothing was changed.")
        return False
    apply(steps, files_of(config), programs)
    done, left = uninstall(config, clock, restore=restore)
    _show_left(config, len(done.changed), left)
    return True


def _show(config: Config, undoing: Undoing, steps: Sequence[Step], *, with_diff: bool) -> None:
    if steps:
        click.echo("Service: is stopped and taken away")
    for line in lines(steps) if with_diff else ():
        click.echo(f"  {line}")
    for undo in undoing.files:
        click.echo(f"{undo.client.label} ({undo.client.path}): {_fate(undo)}")
        for outcome in undo.outcomes:
            click.echo(f"  {outcome}")
        if with_diff and undo.fate is not Fate.UNTOUCHED:
            for line in undo.diff():
                diff_line(f"  {line}")
    if config.metrics_file is not None:
        click.echo(f"Metrics ({config.metrics_file}): are deleted")
    click.echo(f"State folder ({config.state_dir}): is deleted, with history and backups")


def _fate(undo: Undo) -> str:
    words = _WORDS[undo.fate]
    if undo.fate is Fate.RESTORED and undo.original is not None:
        words += f" ({undo.original.at.astimezone():%Y-%m-%d %H:%M})"
    return words


def _show_left(config: Config, count: int, left: Sequence[Path]) -> None:
    files = "1 client" if count == 1 else f"{count} clients"
    click.echo(f"Done: {files} changed, the state folder is gone. What is left, and is yours:")
    click.echo(f"  {config.path}: the configuration")
    for account in config.accounts:
        click.echo(
            f"  the token of Heroku account {account.name} ({account.token.kind}); one that was "
            "made for pgherald: `heroku authorizations`, then `heroku authorizations:revoke`"
        )
    click.echo("  the program: `pipx uninstall pgherald`, or as you installed it")
    for path in left:
        click.echo(f"  {path}: not pgherald's")
