"""Talks to systemd: ready, status, alive, reloading, stopping (sd_notify(3)).

Each message is one datagram to the socket that systemd names in `$NOTIFY_SOCKET`. Without
one, nothing is sent, so the daemon says the same things whoever started it.
"""

from __future__ import annotations

import logging
import socket
from collections.abc import Mapping
from typing import Final

from pgherald.clock import Clock

log = logging.getLogger(__name__)

#: Seconds a message may wait when systemd is busy and its queue full.
SEND_LIMIT: Final = 0.5


class Manager:
    """The service manager that started us, if one did.

    Args:
        environ: the process's environment.
        clock: its monotonic clock is systemd's own (CLOCK_MONOTONIC).
    """

    def __init__(self, environ: Mapping[str, str], clock: Clock) -> None:
        self._address = _address(environ.get("NOTIFY_SOCKET", ""))
        self._clock = clock

    @property
    def listens(self) -> bool:
        """Whether anybody hears what we say."""
        return self._address is not None

    def ready(self, status: str = "") -> bool:
        """The service is up, or has finished reloading. Keeps the status if none is given."""
        return self._send("READY=1", _status(status)) if status else self._send("READY=1")

    def status(self, text: str) -> bool:
        """One line for `systemctl status`, empty for none. Every user can read it."""
        return self._send(_status(text))

    def watchdog(self) -> bool:
        """The service is alive."""
        return self._send("WATCHDOG=1")

    def reloading(self) -> bool:
        """A reload begins; `ready` ends it. The time stamp is asked for by `notify-reload`."""
        return self._send("RELOADING=1", f"MONOTONIC_USEC={int(self._clock.monotonic() * 1e6)}")

    def stopping(self) -> bool:
        """The service is about to end."""
        return self._send("STOPPING=1")

    def _send(self, *assignments: str) -> bool:
        """Whether the message went out. Never raises: systemd's troubles are not ours."""
        if self._address is None:
            return False
        message = "\n".join(assignments).encode("utf-8", "replace")
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as wire:
                wire.settimeout(SEND_LIMIT)
                wire.sendto(message, self._address)
        except OSError as exc:
            log.debug("systemd did not take %s: %s", assignments[0], exc)
            return False
        return True


def watchdog_interval(environ: Mapping[str, str], pid: int) -> float | None:
    """Seconds between signs of life: half of what systemd allows; None if it wants none.

    Args:
        environ: the process's environment: `WATCHDOG_USEC`, and `WATCHDOG_PID` for whom.
        pid: our own process id.
    """
    try:
        allowed = int(environ["WATCHDOG_USEC"])
        meant = int(environ.get("WATCHDOG_PID", pid))
    except (KeyError, ValueError):
        return None
    return allowed / 2_000_000 if allowed > 0 and meant == pid else None


def _address(text: str) -> str | None:
    """The socket's address; a leading `@` stands for NUL, an abstract socket."""
    if text.startswith("@"):
        return "\0" + text[1:]
    return text if text.startswith("/") else None


def _status(text: str) -> str:
    """A line break would begin another assignment."""
    return f"STATUS={' '.join(text.split())}"
