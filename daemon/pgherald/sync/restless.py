"""Clients that others are writing: waited for, for a moment, and then written later."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import Final

from pgherald.clock import Clock
from pgherald.errors import BeingWritten, ChangedMeanwhile, ClientError, FileTrouble
from pgherald.files import Files, Snapshot, Stillness
from pgherald.sync.plan import ClientPlan
from pgherald.sync.targets import Target

#: How long one client that is being written may hold up the others, in seconds.
HOLD: Final = 2.0

#: A file that is open to be written is asked for again after this, in seconds.
_ASK_AGAIN: Final = 1.0

#: Likewise one that changed while it was being read.
_READ_AGAIN: Final = 0.05


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
        self._stillness = stillness
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
            return ClientPlan(client, error=BeingWritten(path=client.path), holds=part.holds)
        await self._clock.sleep(min(pause, rest))
        return None

    def give_up(self, client: Target) -> None:
        """It changed too often while it was to be written: it has been waited for long enough."""
        self._since[client] = self._clock.monotonic() - HOLD

    def touched(self, path: Path) -> None:
        """Somebody else has changed a client's file."""
        self._stillness.touched(path)

    def wrote(self, path: Path, content: bytes) -> None:
        """We have written a client's file."""
        self._stillness.wrote(path, content)

    def follow(self, again: Callable[[], None]) -> None:
        """Ask for another plan once clients that are being written may be still, if any are.

        No event says when a program closes a file that it has not changed.
        """
        pauses = [self._stillness.left(client.path) or _ASK_AGAIN for client in self._since]
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
            self._stillness.saw(part.file.snapshot)
            return 0.0
        found = await asyncio.to_thread(self._ask, part)
        if found is None:
            return 0.0
        snapshot, written = found
        self._stillness.saw(snapshot)
        left = self._stillness.left(client.path)
        return max(left, _ASK_AGAIN) if written else left

    def _ask(self, part: ClientPlan) -> tuple[Snapshot, bool | None] | None:
        """The file, and whether somebody has it open to write it; None if that is not known."""
        with contextlib.suppress(ClientError):
            path = part.client.path
            snapshot = self._files.read(path) if part.file is None else part.file.snapshot
            return snapshot, self._files.written(path)
        return None
