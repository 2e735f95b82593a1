"""`pgherald run`: the daemon, in the foreground of whoever starts it."""

from __future__ import annotations

from pathlib import Path
from typing import NoReturn

import click

from pgherald.cli.foreground import run
from pgherald.cli.main import Invocation


@click.command("run")
@click.option("--log-file", type=click.Path(path_type=Path, dir_okay=False), metavar="PATH",
              help="Add the log to this file, not to stderr.")  # fmt: skip
@click.pass_obj
def command(invocation: Invocation, log_file: Path | None) -> NoReturn:
    """Keep every client up to date: the daemon.

    Looks at Heroku every `poll_interval`, proves what has changed, writes it into every
    client and tells you. Stays in the foreground; a service manager, or your terminal, may
    hold it. A changed configuration file makes it read the configuration anew, and so does
    SIGHUP, which also has Heroku asked for everything at once. SIGTERM and Ctrl-C end it.

    Exit code 0 when it was told to stop, 2 when the configuration is wrong, 3 when another
    pgherald already runs with the same state folder, 1 for any other trouble.

    Example:
        pgherald run
        pgherald service install
    """
    run(invocation.config_path, log_file, invocation.env, verbose=invocation.verbose)
