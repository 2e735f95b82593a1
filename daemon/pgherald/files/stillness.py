"""Whether a file has been left alone for long enough to be replaced.

A script that writes a file line by line, or an editor that saves it again and again, shall
be through before we touch it. How long that takes nobody knows, so the file has to be still
for a moment, and for a longer one the more often it has changed lately. One that has long
been quiet is still at once: then a rotation waits for nothing.

Only changes that this process saw count, by the monotonic clock: a wall clock may be set. The
one exception is a file that is read for the first time, whose own time says whether somebody
wrote it a moment ago.
"""

from __future__ import annotations

import os
from collections import deque
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

from pgherald.files.snapshot import Identity, Snapshot, digest

if TYPE_CHECKING:
    from pgherald.clock import Clock  # brings asyncio along, which quick commands do without

#: How long a file must be still after one change, in seconds; twice as long after each further
#: one, up to `MOST`.
FIRST: Final = 0.3

#: The longest of these pauses, in seconds.
MOST: Final = 1.5

#: Changes that are older than this, in seconds, count no longer.
LATELY: Final = 30.0

#: More changes than these make no difference.
_COUNTED: Final = 8


@dataclass(slots=True)
class _Known:
    look: Identity | None
    ours: str | None = None
    changes: deque[float] = field(default_factory=lambda: deque(maxlen=_COUNTED))


class Stillness:
    """Remembers when files changed.

    Args:
        clock: the time.
        first: seconds of stillness asked for after one change.
    """

    def __init__(self, clock: Clock, *, first: float = FIRST) -> None:
        self._clock = clock
        self._first = first
        self._files: dict[Path, _Known] = {}

    def saw(self, snapshot: Snapshot) -> None:
        """A file was read. It has changed, unless it is what it was, or what we wrote."""
        look, known = snapshot.identity, self._files.get(snapshot.path)
        if known is None:
            known = self._files[snapshot.path] = _Known(look)
            # Nothing is known of it but its own time, which is worth a hint.
            age = self._clock.now().timestamp() - look.mtime_ns / 1e9 if look else -1
            if 0 <= age < self._first:
                known.changes.append(self._clock.monotonic() - age)
        elif look != known.look and (known.ours is None or digest(snapshot.content) != known.ours):
            known.changes.append(self._clock.monotonic())
        known.look = look

    def touched(self, path: Path) -> None:
        """A watcher saw that somebody else has changed this file."""
        known = self._files.setdefault(path, _Known(None))
        try:
            known.look = Identity.of(os.stat(path))  # links are followed
        except (OSError, ValueError):  # no file; or a NUL in the path
            known.look = None
        known.changes.append(self._clock.monotonic())

    def wrote(self, path: Path, content: bytes) -> None:
        """We wrote this file ourselves: to find that in it is no change."""
        known = self._files.get(path)
        if known is not None:
            known.ours = digest(content)

    def left(self, path: Path) -> float:
        """Seconds for which this file must still be left alone; 0 when it is still."""
        known, now = self._files.get(path), self._clock.monotonic()
        lately = [at for at in known.changes if now - at < LATELY] if known else []
        pause = min(MOST, self._first * 2.0 ** (len(lately) - 1))
        return max(0.0, lately[-1] + pause - now) if lately else 0.0
