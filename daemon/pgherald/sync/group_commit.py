"""Rotations that belong together become one transaction: the only place that gathers."""

from __future__ import annotations

import asyncio
import contextlib
import math
from collections.abc import Awaitable, Callable, Iterator, Sequence
from typing import Final

from pgherald.aio import set_anew
from pgherald.sync.plan import Plan
from pgherald.sync.tracked import VerifiedLogin

#: Verified logins are written after this, in seconds, so that a mass rotation is one
#: transaction and yet ends …
LIMIT: Final = 30.0

#: … and after this where events announce them: they come one by one, and are there to be quick.
#: What is on its way already has longer: on a slow network a verification takes seconds.
EVENTS_LIMIT: Final = 1.5
EVENTS_VERIFIED: Final = 5.0

#: Events rarely come alone. A transaction waits until none has come for this long, in seconds.
GATHER: Final = 0.15

#: The more is on its way, the longer a silence means nothing: this for each, in seconds. A
#: machine that is busy with a thousand verifications pauses, and one that hangs holds up nobody.
PATIENCE: Final = 0.01

#: The same where events announce them, since that is about a few apps.
EVENTS_PATIENCE: Final = 0.05


class Window:
    """A time in which things that come one after the other are gathered.

    Args:
        quiet: seconds of silence after which it closes.
    """

    def __init__(self, quiet: float) -> None:
        self._quiet = quiet
        self._last = 0.0
        #: Loop time at which it opened; None while it is closed.
        self.opened: float | None = None

    def add(self, now: float) -> None:
        """Something came, at loop time `now`."""
        self.opened = now if self.opened is None else self.opened
        self._last = now

    def close(self) -> None:
        """All that came is being handled."""
        self.opened = None

    def closes(self, limit: float, patience: float = 0.0) -> float:
        """Loop time at which it closes: after a silence, or `limit` seconds after it opened."""
        opened = math.inf if self.opened is None else self.opened
        return min(self._last + self._quiet + patience, opened + limit)


class GroupCommit:
    """Writes verified logins together.

    Args:
        write: writes them into the clients, as one transaction.
        clients: held while clients are compared or written.
        moved: set whenever something ends that others may wait for.
        quiet: seconds to wait for more before a transaction, while more is expected.
    """

    def __init__(
        self,
        write: Callable[[Sequence[VerifiedLogin]], Awaitable[Plan]],
        clients: asyncio.Lock,
        moved: asyncio.Event,
        quiet: float,
    ) -> None:
        self._write = write
        self._clients = clients
        self._moved = moved
        self._window = Window(quiet)
        self._waiting: dict[asyncio.Future[Plan], VerifiedLogin] = {}
        self._event = -math.inf
        self._writing = False
        #: How many sightings and verifications are on their way.
        self.expected = 0

    @contextlib.contextmanager
    def expecting(self) -> Iterator[None]:
        """While this is open, a transaction waits a moment for what may still come."""
        self.expected += 1
        try:
            yield
        finally:
            self.expected -= 1
            self._moved.set()

    def event(self) -> None:
        """Something may have changed, and where one login changes others do: they go together."""
        self._event = asyncio.get_running_loop().time()

    @property
    def busy(self) -> bool:
        """Whether something waits to be written, or is being written."""
        return bool(self._waiting) or self._writing

    async def submit(self, verified: VerifiedLogin) -> Plan:
        """Have a login written, with others that come at about the same time.

        Returns:
            How the clients stand now.

        Raises:
            PgheraldError: nothing could be written.
        """
        loop = asyncio.get_running_loop()
        written: asyncio.Future[Plan] = loop.create_future()
        self._waiting[written] = verified
        self._window.add(loop.time())
        self._moved.set()
        try:
            return await written
        finally:
            self._waiting.pop(written, None)  # cancelled: a later sighting has overtaken it

    async def run(self) -> None:
        """Write what is due, until cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            due = self._closes() if self._waiting else None
            if due is not None and due <= loop.time():
                await self._write_all()
            else:
                await set_anew(self._moved, due)

    async def _write_all(self) -> None:
        self._writing, waiting = True, self._waiting
        try:
            async with self._clients:
                # Only now: a later sighting may have overtaken one meanwhile.
                waiting, self._waiting = self._waiting, {}
                self._window.close()
                if waiting:
                    done = await self._write(list(waiting.values()))
                    for written in waiting:
                        if not written.done():
                            written.set_result(done)
        except Exception as exc:  # noqa: BLE001 – each that waits is told, and says so
            for written in waiting:
                if not written.done():
                    written.set_exception(exc)
        finally:
            for written in waiting:
                written.cancel()  # a mistake, or the end: without effect on what is done
            self._writing = False
            self._moved.set()

    def _closes(self) -> float:
        """Loop time at which what waits is written; past or present for now."""
        opened = self._window.opened or 0.0
        if opened >= self._event + EVENTS_LIMIT:  # a sweep has found it
            return self._window.closes(LIMIT, PATIENCE * self.expected) if self.expected else opened
        if self.expected:
            return self._window.closes(EVENTS_VERIFIED, EVENTS_PATIENCE * self.expected)
        return min(self._event + GATHER, opened + EVENTS_LIMIT)
