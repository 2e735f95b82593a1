"""`pgherald refresh`: ask Heroku for everything, now."""

from __future__ import annotations

import asyncio
from typing import Final

import click

from pgherald.cli import EXIT_OK, EXIT_TROUBLE
from pgherald.cli.check import reconcile, show, show_problems
from pgherald.cli.main import Invocation
from pgherald.cli.output import problem, progress
from pgherald.cli.status import print_status
from pgherald.daemon.refresh import ask
from pgherald.daemon.wiring import files_of
from pgherald.files.locks import daemon_runs
from pgherald.sync.targets import Wishes

#: Seconds that the daemon may take: an app that does not answer is given up before that.
_LIMIT: Final = 120.0


@click.command("refresh")
@click.pass_obj
def command(invocation: Invocation) -> int:
    """Ask Heroku for everything now, instead of at the next interval.

    Use it when something at Heroku was mended, such as a permission or a token. The running
    daemon asks for every app, also for those that failed before, brings the clients up to date,
    and the result is shown as by `status`. If no daemon runs, this does the same as `check`.

    Exit code 0 when nothing is wrong afterwards; 1 when something is, or the daemon does not
    answer; 2 when the command line or the configuration is wrong.

    Example:
        pgherald refresh
    """
    config = invocation.load(writes=True)
    if not daemon_runs(config.state_dir):
        report, news = asyncio.run(reconcile(config, invocation.outside(), Wishes()))
        show(report, news)
        show_problems(report)
        return EXIT_OK if report.current else EXIT_TROUBLE
    with progress(lambda: "The daemon asks Heroku"):
        answered = ask(config.state_dir, files_of(config), _LIMIT)
    if not answered:
        problem(
            "The daemon has not answered within two minutes",
            "`pgherald service logs` says what holds it up; `pgherald service install` "
            "starts it anew.",
        )
        return EXIT_TROUBLE
    return print_status(config)
