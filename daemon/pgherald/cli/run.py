"""`pgherald run`: the daemon, in the foreground of whoever starts it."""

from __future__ import annotations

import asyncio
import logging
import os
import sys
from pathlib import Path
from typing import Final, NoReturn

import click

from pgherald.cli import core_dumps
from pgherald.cli.log import set_up
from pgherald.cli.main import EXIT_OK, EXIT_TROUBLE, Invocation, fail
from pgherald.daemon.run import Daemon
from pgherald.errors import PgheraldError, safe_text
from pgherald.files import Files

log = logging.getLogger(__name__)


#: Bytes; a log of this size is set aside at the next start.
_LOG_LIMIT: Final = 1_000_000


@click.command("run", epilog="\b\nExample:\n  pgherald run\n  pgherald service install")
@click.option("--log-file", type=click.Path(path_type=Path, dir_okay=False), metavar="PATH",
              help="Add the log to this file, not to stderr.")  # fmt: skip
@click.pass_obj
def command(invocation: Invocation, log_file: Path | None) -> None:
    """Keep every client up to date: the daemon.

    Looks at Heroku every `poll_interval`, proves what has changed, writes it into every
    client and tells you. Stays in the foreground; a service manager, or your terminal, may
    hold it. SIGHUP or a changed configuration file makes it read the configuration anew;
    SIGTERM and Ctrl-C end it.

    Exit code 0 when it was told to stop, 2 when the configuration is wrong, 3 when another
    pgherald already runs with the same state folder, 1 for any other trouble.
    """
    core_dumps.forbid()
    if log_file is not None:
        # A Windows program without a window has neither of the two.
        sys.stderr = Files(log_file.parent).open_log(log_file.absolute(), _LOG_LIMIT)
        sys.stdout = sys.stdout or sys.stderr
    config = invocation.load()
    set_up(config.log_level, invocation.env)
    loop = asyncio.new_event_loop()
    code = EXIT_OK
    try:
        daemon = Daemon(config, invocation.load, invocation.outside(), lambda: _end(EXIT_OK))
        loop.run_until_complete(daemon.run())
    except PgheraldError as exc:
        code = fail(exc)
    except Exception as exc:
        log.critical("pgherald ends, by a mistake of its own: %s", safe_text(exc))
        log.debug("all of it:", exc_info=exc)
        code = EXIT_TROUBLE
    finally:
        _end(code)


def _end(code: int) -> NoReturn:
    """End the process on the spot.

    A read of a network folder that hangs is in a thread that nobody can stop, and Python would
    wait for it. Everything that matters is closed by now, or finished at the next start.
    """
    logging.shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
