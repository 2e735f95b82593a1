"""A service that ends again and again is started less and less often.

systemd 252 starts a service anew after the same pause each time, or after a while no more;
pauses that grow came with 254. A disk that is full is to be tried for as long as it takes, but a
start costs time, memory and requests. So pgherald counts its own starts, in the folder that
systemd keeps from one start to the next (`RuntimeDirectory=`, in memory, so that a full disk is no
hindrance), and rests before it begins.

A start counts until pgherald has ended as it was told to. Ending pgherald while it rests
clears the count, so `systemctl restart` begins at once. launchd and Windows' scheduler have no
such folder: there the pause stays the same.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from pgherald.clock import Clock
from pgherald.errors import FileTrouble
from pgherald.files import Files
from pgherald.service.sd_notify import Manager

log = logging.getLogger(__name__)

#: Starts that follow one another without a rest.
FREE: Final = 3

#: Seconds of the first rest; each further one is twice as long.
FIRST: Final = 30.0

#: Seconds of the longest rest; the unit's `TimeoutStartSec=` is longer.
LONGEST: Final = 15 * 60.0

#: Seconds after which a run that ends unexpectedly was no failed start.
_LASTED: Final = 60 * 60.0

#: Starts in a row that are told apart.
_MOST: Final = 999

_RECORD: Final = "starts"


class Starts:
    """Counts the starts that systemd has made in a row.

    Args:
        env: the environment; systemd names its socket and the folder in it.
        clock: on Linux, its monotonic clock is the same for all processes.
    """

    def __init__(self, env: Mapping[str, str], clock: Clock) -> None:
        self._clock = clock
        self._manager = Manager(env, clock)
        folder = env.get("RUNTIME_DIRECTORY", "") if self._manager.listens else ""
        self._record = Path(folder) / _RECORD if folder.startswith("/") else None
        self._files = Files(Path(folder))

    async def rest(self) -> None:
        """Rest if it is time to, and count this start."""
        if self._record is None:
            return
        count = self._count(self._record)
        if count >= FREE:
            seconds = min(FIRST * 2.0 ** (count - FREE), LONGEST)
            said = f"Ended unexpectedly {count} times in a row: begins anew in {seconds:.0f} s"
            self.ended()
            log.warning("%s; `systemctl restart` begins at once.", said)
            self._manager.status(said)
            await self._clock.sleep(seconds)
        with contextlib.suppress(FileTrouble):
            line = f"{count + 1} {self._clock.monotonic()}\n"
            self._files.write_private(self._record, line.encode())

    def ended(self) -> None:
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
