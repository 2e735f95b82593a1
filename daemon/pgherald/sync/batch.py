"""Items that wait a moment for others, to be handled together."""

from __future__ import annotations

import math
from typing import Final, Generic, Protocol, TypeVar

from pgherald.model import DatabaseKey

#: Proven logins are written after this, in seconds, so that a mass rotation is one commit and yet
#: ends …
READY_LIMIT: Final = 30.0

#: … and after this where events tell of it: they come one by one, and are there to be quick. What
#: is on its way already has longer: on a slow network a proof takes seconds.
EVENTS_LIMIT: Final = 1.5
EVENTS_PROVEN: Final = 5.0

#: Events rarely come alone. What is written waits until none has come for this long, in seconds.
GATHER: Final = 0.15

#: The more is on its way, the longer a silence means nothing: this for each, in seconds. A
#: machine that is busy with a thousand proofs pauses, and one login that hangs waits for nobody.
PATIENCE: Final = 0.01

#: The same where events tell of it, since that is about a few apps.
EVENTS_PATIENCE: Final = 0.05


class Keyed(Protocol):
    """Something about one database."""

    @property
    def key(self) -> DatabaseKey:
        """Which database."""
        ...


Item = TypeVar("Item", bound=Keyed)


class Batch(Generic[Item]):
    """Items that wait to be handled together; the latest of each database counts.

    Args:
        quiet: seconds without a new item after which the batch is due.
        limit: seconds after its first item after which it is due all the same.
    """

    def __init__(self, quiet: float, limit: float) -> None:
        self._quiet = quiet
        self._limit = limit
        self._items: dict[DatabaseKey, Item] = {}
        self._first = 0.0
        self._last = 0.0

    def __bool__(self) -> bool:
        return bool(self._items)

    def add(self, item: Item, now: float) -> None:
        """Add an item at loop time `now`."""
        if not self._items:
            self._first = now
        self._last = now
        self._items[item.key] = item

    def due(self) -> float:
        """Loop time at which the batch is closed though more may be on its way."""
        return self._due(0.0, self._limit)

    def _due(self, patience: float, limit: float) -> float:
        return min(self._last + self._quiet + patience, self._first + limit)

    def take(self) -> list[Item]:
        """Empty the batch."""
        items = list(self._items.values())
        self._items.clear()
        return items


class Ready(Batch[Item]):
    """Proven logins that wait for others, to be written with them.

    Args:
        quiet: as for `Batch`.
        gather: seconds without an event, as long as there are events.
    """

    def __init__(self, quiet: float, gather: float = GATHER) -> None:
        super().__init__(quiet, READY_LIMIT)
        self._gather = gather
        self._event = -math.inf

    def event(self, now: float) -> None:
        """At loop time `now` an event came: something may have changed."""
        self._event = now

    def closes(self, expected: int) -> float:
        """Loop time at which they are written; past or present for now.

        Args:
            expected: how much more is on its way.
        """
        if self._first >= self._event + EVENTS_LIMIT:  # a sweep has found it
            return self._due(PATIENCE * expected, READY_LIMIT) if expected else self._first
        if expected:
            return self._due(EVENTS_PATIENCE * expected, EVENTS_PROVEN)
        return min(self._event + self._gather, self._first + EVENTS_LIMIT)
