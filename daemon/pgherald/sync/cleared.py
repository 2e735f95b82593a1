"""What is handed from seeing to proving, and from proving to writing."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from pgherald.model import DatabaseKey, Entry


@dataclass(frozen=True, slots=True)
class Seen:
    """An entry as Heroku showed it, when, and by which release."""

    entry: Entry
    seen_at: datetime
    release: int | None

    @property
    def key(self) -> DatabaseKey:
        """The database's key."""
        return self.entry.key


@dataclass(frozen=True, slots=True)
class Cleared:
    """An entry that may be written.

    Attributes:
        entry: the database and its login.
        seen_at: when Heroku showed the login, UTC.
        release: the app's release that showed it, when known.
        proven_at: when a connection proved it, UTC; None when the person chose otherwise.
    """

    entry: Entry
    seen_at: datetime
    release: int | None
    proven_at: datetime | None

    @property
    def key(self) -> DatabaseKey:
        """The database's key."""
        return self.entry.key
