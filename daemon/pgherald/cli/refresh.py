"""`pgherald refresh`: ask Heroku for everything, now."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import time
from pathlib import Path
from typing import Final

import click

from pgherald.cli.check import reconcile, show
from pgherald.cli.main import Invocation
from pgherald.cli.output import problem, progress
from pgherald.cli.status import print_status
from pgherald.daemon.wiring import files_of, request_of
from pgherald.files import Files
from pgherald.files.locks import daemon_runs
from pgherald.store import Store
from pgherald.sync.targets import Wishes

#: Seconds that the daemon may take: an app that does not answer is given up before that.
_LIMIT: Final = 120.0

#: Seconds between two readings of the answer.
_PAUSE: Final = 0.2


@click.command("refresh")
@click.pass_obj
def command(invocation: Invocation) -> bool:
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
    answered = False
    if daemon_runs(config.state_dir):
        with progress(lambda: "The daemon asks Heroku"):
            answered = ask(config.state_dir, files_of(config), _LIMIT)
    if not answered and not daemon_runs(config.state_dir):  # also one that has ended meanwhile
        done = asyncio.run(reconcile(config, invocation.outside(), Wishes()))
        return show(*done)
    if not answered:
        problem(
            "The daemon has not answered within two minutes",
            "`pgherald service logs` says what holds it up; `pgherald service install` "
            "starts it anew.",
        )
        return False
    return print_status(config)


def ask(state_dir: Path, files: Files, within: float) -> bool:
    """Have the running daemon ask Heroku for everything now, and wait until it has.

    Args:
        state_dir: the state folder.
        files: writes the request.
        within: seconds to wait.

    Returns:
        Whether the daemon answered in time, and while it ran.

    Raises:
        FileTrouble: the request cannot be written.
        StoreError: the answer cannot be read.
    """
    number = secrets.token_hex(8)
    path = request_of(state_dir)
    files.make_way_for_folder(path.parent)
    files.private_folder(path.parent)
    files.make_way(path)
    files.write_private(path, number.encode())
    for _ in range(round(within / _PAUSE)):
        time.sleep(_PAUSE)
        if not daemon_runs(state_dir):
            return False
        store = Store.read_only(state_dir / "state.db")
        with contextlib.nullcontext() if store is None else store:
            answered = None if store is None else store.notes().get("refreshed")
        # Somebody may have asked after us: an answer to that is one to us, too.
        latest = files.read(path).content
        if answered == number or (latest and answered == latest.decode("ascii", "replace")):
            return True
    return False
