"""Items that wait a moment for others, to be handled together."""

from __future__ import annotations

from typing import Generic, Protocol, TypeVar

from pgherald.model import DatabaseKey


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

    def due(self, patience: float = 0.0) -> float:
        """Loop time at which the batch is closed though more may be on its way.

        Args:
            patience: seconds that are waited longer than usual without a new item.
        """
        return min(self._last + self._quiet + patience, self._first + self._limit)

    def take(self) -> list[Item]:
        """Empty the batch."""
        items = list(self._items.values())
        self._items.clear()
        return items
