"""The daemon under systemd: its messages (sd_notify(3)), and a backoff of its starts.

Each message is one datagram to the socket that systemd names in `$NOTIFY_SOCKET`. Without
one, nothing is sent, so the daemon says the same things whoever started it.

systemd 252 starts a service anew after the same pause each time, or after a while no more;
pauses that grow came with 254. A disk that is full is to be tried for as long as it takes, but a
start costs time, memory and requests. So pgherald counts its own starts, in the folder that
systemd keeps from one start to the next (`RuntimeDirectory=`, in memory, so that a full disk is no
hindrance), and waits before it begins. launchd and Windows' scheduler have no such folder: there
the pause stays the same.
"""

from __future__ import annotations

import contextlib
import logging
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from pgherald.clock import Clock
from pgherald.errors import FileTrouble
from pgherald.files import Files

log = logging.getLogger(__name__)

#: Seconds a message may wait when systemd is busy and its queue full.
SEND_LIMIT: Final = 0.5

#: Starts that follow one another without a pause.
FREE: Final = 3

#: Seconds of the first pause; each further one is twice as long.
FIRST: Final = 30.0

#: Seconds of the longest pause; the unit's `TimeoutStartSec=` is longer.
LONGEST: Final = 15 * 60.0

#: Seconds after which a run that ends unexpectedly was no failed start.
_LASTED: Final = 60 * 60.0

#: Starts in a row that are told apart.
_MOST: Final = 999


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
        return self._send("READY=1", *([_status(status)] if status else []))

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


class StartBackoff:
    """Counts the starts that systemd has made in a row, and waits longer before each.

    A start counts until pgherald has ended as it was told to. Ending pgherald while it waits
    clears the count, so `systemctl restart` begins at once.

    Args:
        env: the environment; systemd names its socket and the folder in it.
        clock: on Linux, its monotonic clock is the same for all processes.
    """

    def __init__(self, env: Mapping[str, str], clock: Clock) -> None:
        self._clock = clock
        self._manager = Manager(env, clock)
        folder = env.get("RUNTIME_DIRECTORY", "") if self._manager.listens else ""
        self._record = Path(folder, "starts") if folder.startswith("/") else None
        self._files = Files(Path(folder))

    async def wait(self) -> None:
        """Wait if there were too many starts, and count this one."""
        if self._record is None:
            return
        count = self._count(self._record)
        if count >= FREE:
            seconds = min(FIRST * 2.0 ** (count - FREE), LONGEST)
            said = f"Ended unexpectedly {count} times in a row: begins anew in {seconds:.0f} s"
            self.clear()
            log.warning("%s; `systemctl restart` begins at once.", said)
            self._manager.status(said)
            await self._clock.sleep(seconds)
        with contextlib.suppress(FileTrouble):
            line = f"{count + 1} {self._clock.monotonic()}\n"
            self._files.write_private(self._record, line.encode())

    def clear(self) -> None:
        """It ends as it was told to: the next start is the first one."""
        if self._record is not None:
            with contextlib.suppress(FileTrouble):
                self._files.remove_own(self._record)

    def _count(self, record: Path) -> int:
        """How many starts in a row have not ended well; 0 where the record says nothing plain."""
        try:
            number, at = record.read_text("ascii").split()
            count, passed = int(number), self._clock.monotonic() - float(at)
        except (OSError, ValueError):
            return 0
        return min(max(0, count), _MOST) if 0 <= passed < _LASTED else 0
