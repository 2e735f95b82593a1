"""The daemon's log: lines on stderr, made for a terminal or for systemd's journal."""

from __future__ import annotations

import logging
import sys
from collections.abc import Mapping
from typing import Final

#: What sd-daemon(3) calls the levels.
_PRIORITIES: Final = {
    logging.DEBUG: 7,
    logging.INFO: 6,
    logging.WARNING: 4,
    logging.ERROR: 3,
    logging.CRITICAL: 2,
}

_CHATTY: Final = ("httpx", "httpcore", "apscheduler", "watchdog", "asyncio", "psycopg", "filelock")


class _Journal(logging.Formatter):
    """For the journal: it has the time already, and wants the priority in front."""

    def format(self, record: logging.LogRecord) -> str:
        priority = _PRIORITIES.get(record.levelno, 6)
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
