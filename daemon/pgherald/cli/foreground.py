"""What `pgherald run` does. Without click, which a daemon would keep in memory for ever."""

from __future__ import annotations

import asyncio
import logging
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final, NoReturn

from pgherald.cli import core_dumps
from pgherald.cli.exits import EXIT_OK, EXIT_TROUBLE
from pgherald.cli.log import set_up
from pgherald.clock import SystemClock
from pgherald.config import Config, load
from pgherald.daemon.run import Daemon
from pgherald.daemon.wiring import Outside
from pgherald.errors import PgheraldError, safe_text
from pgherald.files.disk import Disk
from pgherald.files.own import OwnFiles
from pgherald.service.sd_notify import StartBackoff

log = logging.getLogger(__name__)

#: Bytes; a log of this size is set aside at the next start.
_LOG_LIMIT: Final = 1_000_000


def run(config_path: Path | None, log_file: Path | None, env: Mapping[str, str]) -> NoReturn:
    """Be the daemon until told to stop, and end the process.

    Args:
        config_path: the configuration file; None for the default one.
        log_file: where the log is to be added; None for stderr.
        env: the environment.

    Raises:
        PgheraldError: it could not even begin, for example with a wrong configuration.
    """
    core_dumps.forbid()
    if log_file is not None:
        # A Windows program without a window has neither of the two.
        sys.stderr = OwnFiles(Disk()).open_log(log_file.absolute(), _LOG_LIMIT)
        sys.stdout = sys.stdout or sys.stderr

    def configured() -> Config:
        return load(config_path, env)

    config = configured()
    set_up(config.log_level, env)
    loop = asyncio.new_event_loop()
    code = EXIT_OK
    starts = StartBackoff(env, SystemClock())

    def end_as_told() -> NoReturn:
        starts.clear()
        _end(EXIT_OK)

    try:
        loop.run_until_complete(starts.wait())
        outside = Outside(env, Path.home(), SystemClock())
        daemon = Daemon(config, configured, outside, end_as_told)
        loop.run_until_complete(daemon.run())
        starts.clear()
    except PgheraldError as exc:
        from pgherald.cli.main import fail  # click, in the end

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
