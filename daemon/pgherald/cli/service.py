"""`pgherald service`: the daemon as a service of this machine.

What `status --json` prints; scripts may rely on it:

    {
      "manager": "systemd",             // or launchd, Task Scheduler
      "file": "/home/me/.config/systemd/user/pgherald.service",
      "installed": true,
      "standing": "ours",               // missing | ours | edited | foreign
      "enabled": true,                  // starts by itself; null when that cannot be told
      "lingering": false,               // also while you are logged out; null where there is no such thing
      "state": "active (running): …",   // the manager's own words; may be empty
      "running": true                   // the daemon, whoever started it
    }
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import click

from pgherald import service as service_managers
from pgherald.cli.main import Invocation
from pgherald.cli.output import emit_json, problem
from pgherald.config import Config
from pgherald.daemon.publish import expect_daemon
from pgherald.daemon.wiring import files_of
from pgherald.files.locks import daemon_runs
from pgherald.plain import fields
from pgherald.service import manager as managers
from pgherald.service import systemd

_WORDS = {
    managers.Standing.MISSING: "not installed",
    managers.Standing.OURS: "installed",
    managers.Standing.EDITED: "installed, and changed by hand since",
    managers.Standing.FOREIGN: "there is one that pgherald did not write",
}

#: When it runs, by whether it lingers; None where there is no such thing.
_RUNS = {
    True: "It runs from the machine's start on, whether you are logged in or not.",
    False: "It runs while you are logged in. To keep it running while you are not, which systemd\n"
    "calls lingering: pgherald service install --linger",
    None: "It runs while you are logged in.",
}

_DRY_RUN = click.option("--dry-run", is_flag=True, help="Show what would be written and run.")


@click.group("service")
def command() -> None:
    """Keep the daemon running: install it as a service.

    As a unit of your own systemd on Linux, an agent of launchd on macOS, a task that starts
    when you log on on Windows. No root is needed.

    Exit codes are those of each command below.

    Example:
        pgherald service install --dry-run
        pgherald service install
    """


@command.command("install")
@_DRY_RUN
@click.option("--linger", is_flag=True, help="Linux: run while you are logged out, too.")
@click.option("--credential", type=click.Path(path_type=Path, dir_okay=False, exists=True),
              metavar="PATH", help="Linux: a file with the token, for systemd to hand over.")  # fmt: skip
@click.pass_obj
def install(
    invocation: Invocation, *, dry_run: bool, linger: bool, credential: Path | None
) -> None:
    """Start the daemon now, and at every login from now on.

    The service gets the configuration in use, and from your shell PATH (for the Heroku CLI),
    proxies, certificates and HEROKU_HOST; never a token. Installing again brings it up to
    date. A file that pgherald did not write, or that was changed since, is left alone.

    By default it runs while you are logged in. With --linger, systemd starts it with the
    machine and keeps it running after you log out; `loginctl disable-linger` undoes that.

    With --credential, systemd reads the token at the start and hands it over; the
    configuration then says token = "file:heroku-token".

    Exit code 0 when it runs; 1 when something failed or would have been overwritten, 2 when
    the command line or the configuration is wrong.

    Example:
        pgherald service install --dry-run
        pgherald service install --linger
    """
    config = invocation.load(writes=True)
    manager = manager_of(invocation, config)
    if manager.name != "systemd" and (linger or credential):
        raise click.UsageError("--linger and --credential are for systemd, on Linux.")
    set_up(invocation, config, manager, linger=linger, credential=credential, dry_run=dry_run)


def set_up(
    invocation: Invocation,
    config: Config,
    manager: managers.Manager,
    *,
    linger: bool = False,
    credential: Path | None = None,
    dry_run: bool = False,
) -> None:
    """Install the service and say so, or show what that would take.

    Raises:
        ServiceError: the manager refuses, or the service is not pgherald's.
    """
    programs = managers.Programs(invocation.env, dry_run=dry_run)
    managers.refuse_foreign(manager, manager.standing(programs))
    environment, secret = managers.carried(invocation.env)
    written = [client.path for client in config.clients] + [config.state_dir / "state.db"]
    written += [] if config.metrics_file is None else [config.metrics_file]
    setup = managers.Setup(
        program=managers.program_of(sys.argv[0]),
        config=None if invocation.config_path is None else config.path,
        environment=environment,
        writable=managers.outside_home(written, Path.home()),
        token=None if credential is None else credential.absolute(),
        linger=linger,
    )
    steps = manager.install(setup)
    if dry_run:
        click.echo("\n".join(managers.lines(steps)))
    else:
        files = files_of(config)
        try:
            managers.apply(steps, files, programs)
        finally:
            if (
                manager.standing(programs) is not managers.Standing.MISSING
            ):  # also one that cannot start
                expect_daemon(config, files, invocation.outside().clock.now(), expected=True)
        click.echo(f"pgherald runs as a service now ({manager.name}: {manager.file}).")
        click.echo(_RUNS[manager.report(programs).lingering])
    for name in secret:
        click.echo(
            f"${name} holds a password, so the service does not get it: set it in a drop-in.",
            err=dry_run,
        )
    for note in _token_notes(invocation, config, credential):
        click.echo(note, err=dry_run)


@command.command("uninstall")
@_DRY_RUN
@click.pass_obj
def uninstall(invocation: Invocation, *, dry_run: bool) -> None:
    """Stop the daemon and take the service away.

    Clients' files, configuration, state and log stay as they are, and so does lingering.

    Exit code 0, also when there was none; 1 when something failed, or when the service is not
    as pgherald wrote it; 2 when the command line or the configuration is wrong.

    Example:
        pgherald service uninstall
    """
    config = invocation.load()
    programs = managers.Programs(invocation.env, dry_run=dry_run)
    steps = removal(manager_of(invocation, config), programs)
    if not steps:
        click.echo("pgherald is not installed as a service.")
    elif dry_run:
        click.echo("\n".join(managers.lines(steps)))
    else:
        managers.apply(steps, files_of(config), programs)
        click.echo("The service is gone. The clients keep what they have.")
    # Without a service, one that runs was started by hand, and is to go on.
    if not dry_run and (steps or not daemon_runs(config.state_dir)):
        now = invocation.outside().clock.now()
        expect_daemon(config, files_of(config), now, expected=False)


def removal(manager: managers.Manager, programs: managers.Programs) -> list[managers.Step]:
    """The steps that take the service away; none where there is none.

    Raises:
        ServiceError: the service is not pgherald's.
    """
    standing = manager.standing(programs)
    managers.refuse_foreign(manager, standing)
    return [] if standing is managers.Standing.MISSING else manager.uninstall()


@command.command("status")
@click.option("--json", "as_json", is_flag=True, help="Print JSON, for scripts.")
@click.pass_obj
def status(invocation: Invocation, *, as_json: bool) -> bool:
    """Show how the service stands. This is the daemon itself, not the databases.

    Exit code 0 when it is installed and runs, 1 when not; 2 when the command line or the
    configuration is wrong.

    Example:
        pgherald service status --json | jq .running
    """
    config = invocation.load()
    manager = manager_of(invocation, config)
    report = manager.report(managers.Programs(invocation.env))
    running = daemon_runs(config.state_dir)
    installed = report.standing is not managers.Standing.MISSING
    if as_json:
        emit_json(
            {
                "manager": manager.name,
                "file": manager.file,
                "installed": installed,
                "standing": report.standing,
                "enabled": installed and report.enabled,
                **fields(report, "lingering", "state"),
                "running": running,
            }
        )
    else:
        _show(manager, report, running=running)
    return installed and running


@command.command("logs")
@click.option("-n", "--lines", "number", type=click.IntRange(1), default=50, show_default=True,
              help="How many lines, at most.")  # fmt: skip
@click.option("-f", "--follow", is_flag=True, help="Go on with new lines, until Ctrl-C.")
@_DRY_RUN
@click.pass_obj
def logs(invocation: Invocation, *, number: int, follow: bool, dry_run: bool) -> int:
    """Show the daemon's log, where the service manager keeps it.

    Exit code: that of the program that shows it; 1 when it is not there, 2 when the command
    line or the configuration is wrong.

    Example:
        pgherald service logs -f
    """
    manager = manager_of(invocation, invocation.load())
    argv = manager.logs(number, follow=follow)
    if dry_run:
        click.echo("\n".join(managers.lines([managers.Run(tuple(argv))])))
        return 0
    return managers.Programs(invocation.env).show(argv)


def manager_of(invocation: Invocation, config: Config) -> managers.Manager:
    """This platform's service manager."""
    return service_managers.manager_of(invocation.env, Path.home(), config.state_dir)


def _token_notes(invocation: Invocation, config: Config, credential: Path | None) -> Iterator[str]:
    """What is likely to be missed about the token: the service sees another environment."""
    sources = [account.token for account in config.accounts]
    if credential is not None and all(Path(s.argument).name != systemd.CREDENTIAL for s in sources):
        yield f'The configuration does not use that token yet: write token = "file:{systemd.CREDENTIAL}".'
    named = {source.argument for source in sources if source.kind == "env"}
    if any(source.kind == "auto" for source in sources) and "HEROKU_API_KEY" in invocation.env:
        named.add("HEROKU_API_KEY")
    for name in sorted(named):
        yield (
            f"A service does not see your shell's ${name}: put the token into a file, and write "
            'token = "file:PATH".'
        )


def _show(manager: managers.Manager, report: managers.Report, *, running: bool) -> None:
    installed = report.standing is not managers.Standing.MISSING
    click.echo(f"Service: {_WORDS[report.standing]} ({manager.name}: {manager.file})")
    if installed:
        by_itself = {True: "at login", False: "by hand only", None: "unknown"}[report.enabled]
        if report.enabled and report.lingering:
            by_itself = "with the machine (lingering)"
        click.echo(f"Starts:  {by_itself}")
        if report.state:
            click.echo(f"State:   {report.state}")
    click.echo(f"Daemon:  {'running' if running else 'not running'}")
    if not installed:
        problem("pgherald is not installed as a service", "Run: pgherald service install")
    elif not running:
        problem("The daemon does not run", "`pgherald service logs` may show why.")
