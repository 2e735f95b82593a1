"""Clients that others are writing: waited for, for a moment, and then written later.

A script that writes a file line by line, or an editor that saves it again and again, shall
be through before we touch it. How long that takes nobody knows, so the file has to be still
for a moment, and for a longer one the more often it has changed lately. One that has long
been quiet is still at once: then a rotation waits for nothing.

Only changes that this process saw count, by the monotonic clock: a wall clock may be set. The
one exception is a file that is read for the first time, whose own time says whether somebody
wrote it a moment ago.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from pgherald.clock import Clock
from pgherald.errors import BeingWritten, ChangedMeanwhile, ClientError, FileTrouble
from pgherald.files import Files, Identity, Snapshot, digest
from pgherald.sync.plan import ClientPlan
from pgherald.sync.targets import Target

#: How long one client that is being written may hold up the others, in seconds.
HOLD: Final = 2.0

#: A file that is open to be written is asked for again after this, in seconds.
_ASK_AGAIN: Final = 1.0

#: Likewise one that changed while it was being read.
_READ_AGAIN: Final = 0.05

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
            known.look = Identity.of(path.stat())  # links are followed
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


class Restless:
    """Says which clients are left alone for the moment.

    Args:
        files: reads them, and asks who writes them.
        clock: waits.
        stillness: remembers when they changed.
    """

    def __init__(self, files: Files, clock: Clock, stillness: Stillness) -> None:
        self._files = files
        self._clock = clock
        self.stillness = stillness
        #: Clients that others are writing, and since when that is known.
        self._since: dict[Target, float] = {}
        self._following: asyncio.Task[None] | None = None

    async def settle(self, part: ClientPlan) -> ClientPlan | None:
        """Wait for a client that is being written; None when it has to be planned anew.

        Returns:
            The plan as it is, if nobody writes the client, or nothing is to be written; one that
            failed with `BeingWritten` after `HOLD` seconds, and from then on without waiting.
        """
        client = part.client
        pause = await self._pause_for(part)
        if not pause:
            self._since.pop(client, None)
            return part
        now = self._clock.monotonic()
        hold = 2 * HOLD if client.shared else HOLD  # one that its program is making
        rest = self._since.setdefault(client, now) + hold - now
        if rest <= 0:
            return ClientPlan(client, error=BeingWritten(client.path), holds=part.holds)
        await self._clock.sleep(min(pause, rest))
        return None

    def give_up(self, client: Target) -> None:
        """It changed too often while it was to be written: it has been waited for long enough."""
        self._since[client] = self._clock.monotonic() - HOLD

    def follow(self, again: Callable[[], None]) -> None:
        """Ask for another plan once clients that are being written may be still, if any are.

        No event says when a program closes a file that it has not changed.
        """
        pauses = [self.stillness.left(client.path) or _ASK_AGAIN for client in self._since]
        if pauses and self._following is None:
            self._following = asyncio.create_task(self._follow(min(pauses), again))

    def stop(self) -> None:
        """Ask for nothing more."""
        if self._following is not None:
            self._following.cancel()

    async def _follow(self, pause: float, again: Callable[[], None]) -> None:
        await self._clock.sleep(pause)
        self._following = None
        again()

    async def _pause_for(self, part: ClientPlan) -> float:
        """Seconds for which the client is to be left alone; 0 if it need not be."""
        client, error = part.client, part.error
        if isinstance(error, FileTrouble):
            return 0.0
        if client.shared:  # what cannot be understood yet is being made, or migrated
            return _ASK_AGAIN / 2 if error is not None and client.is_fresh() else 0.0
        if isinstance(error, ChangedMeanwhile):
            return _READ_AGAIN
        if part.file is not None and not part.file.edit.changes:
            self.stillness.saw(part.file.snapshot)
            return 0.0
        found = await asyncio.to_thread(self._ask, part)
        if found is None:
            return 0.0
        snapshot, written = found
        self.stillness.saw(snapshot)
        left = self.stillness.left(client.path)
        return max(left, _ASK_AGAIN) if written else left

    def _ask(self, part: ClientPlan) -> tuple[Snapshot, bool | None] | None:
        """The file, and whether somebody has it open to write it; None if that is not known."""
        with contextlib.suppress(ClientError):
            path = part.client.path
            snapshot = self._files.read(path) if part.file is None else part.file.snapshot
            return snapshot, self._files.written(path)
        return None
