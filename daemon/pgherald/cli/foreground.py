"""What `pgherald run` does, and its log: lines for a terminal or for systemd's journal.

Without click, which a daemon would keep in memory for ever.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final, NoReturn

from pgherald.cli import EXIT_OK, EXIT_TROUBLE
from pgherald.clock import SystemClock
from pgherald.config import Config, load
from pgherald.daemon.run import Daemon
from pgherald.daemon.wiring import Outside
from pgherald.errors import PgheraldError, safe_text
from pgherald.files.disk import Disk
from pgherald.files.own import OwnFiles
from pgherald.service.sd_notify import StartBackoff
from pgherald.store.sqlite import shared

log = logging.getLogger(__name__)

#: What sd-daemon(3) calls the levels.
_PRIORITIES: Final = {"DEBUG": 7, "INFO": 6, "WARNING": 4, "ERROR": 3, "CRITICAL": 2}

_CHATTY: Final = ("httpx", "httpcore", "apscheduler", "watchdog", "asyncio", "psycopg", "filelock")

#: Bytes; a log of this size is set aside at the next start.
_LOG_LIMIT: Final = 1_000_000

#: prctl(2): `PR_SET_DUMPABLE`.
_SET_DUMPABLE: Final = 4


def run(
    config_path: Path | None,
    log_file: Path | None,
    env: Mapping[str, str],
    *,
    verbose: bool = False,
) -> NoReturn:
    """Be the daemon until told to stop, and end the process.

    Args:
        config_path: the configuration file; None for the default one.
        log_file: where the log is to be added; None for stderr.
        env: the environment.
        verbose: whether it logs at debug level, whatever the configuration says.

    Raises:
        PgheraldError: it could not even begin, for example with a wrong configuration.
    """
    forbid_core_dumps()
    if log_file is not None:
        # A Windows program without a window has neither of the two.
        sys.stderr = OwnFiles(Disk()).open_log(log_file.absolute(), _LOG_LIMIT)
        sys.stdout = sys.stdout or sys.stderr

    def configured() -> Config:
        return load(config_path, env)

    config = configured()
    if (error := shared(config.state_dir / "state.db", config.path)) is not None:
        raise error
    set_up("debug" if verbose else config.log_level, env)
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
        from pgherald.cli.output import said  # click, in the end

        code = said(exc)
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


def forbid_core_dumps() -> None:
    """Let no crash of this process write its memory anywhere, where the platform can.

    - The size limit of a core file becomes 0 (setrlimit(2); Linux, macOS). Programs that are
      started from here inherit that: the Heroku CLI holds the token too.
    - On Linux the process is marked as not dumpable (prctl(2)), because a system that hands
      cores to a program (`/proc/sys/kernel/core_pattern` with a `|`) does not ask for the limit
      (core(5)). It also keeps other processes of the same user from reading this one's memory
      with a debugger; root may.
    - Windows makes no core files.
    """
    with contextlib.suppress(ImportError, OSError, ValueError):
        import resource  # not on Windows

        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if sys.platform == "linux":
        with contextlib.suppress(ImportError, OSError, AttributeError):
            import ctypes  # only here

            ctypes.CDLL(None).prctl(_SET_DUMPABLE, 0, 0, 0, 0)


# --- the log ---------------------------------------------------------------------------------


class _Journal(logging.Formatter):
    """For the journal: it has the time already, and wants the priority in front."""

    def format(self, record: logging.LogRecord) -> str:
        priority = _PRIORITIES.get(record.levelname, 6)
        lines = super().format(record).splitlines() or [""]
        return "\n".join(f"<{priority}>{line}" for line in lines)


def set_up(level: str, env: Mapping[str, str]) -> None:
    """Send the log to stderr, from `level` on.

    Args:
        level: `debug`, `info`, `warning` or `error`.
        env: the environment; `JOURNAL_STREAM` says that stderr goes to the journal.
    """
    handler = logging.StreamHandler(sys.stderr)
    if "JOURNAL_STREAM" in env:
        handler.setFormatter(_Journal("%(message)s"))
    else:
        plain = logging.Formatter("%(asctime)s %(levelname)-7s %(message)s", "%Y-%m-%d %H:%M:%S")
        handler.setFormatter(plain)
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    # These tell of every request and every lock; at their warnings they are still heard.
    for chatty in _CHATTY:
        logging.getLogger(chatty).setLevel(logging.WARNING)
