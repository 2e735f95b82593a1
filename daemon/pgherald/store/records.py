"""What the store gives back, and how its rows become that."""

from __future__ import annotations

import json
import sqlite3
from dataclasses import dataclass
from datetime import datetime

from pgherald.model import DatabaseKey, Rotation


@dataclass(frozen=True, slots=True)
class DatabaseState:
    """What is known of one database.

    Attributes:
        key: which database.
        label: what a person calls it.
        looked_at: when Heroku last answered for it, UTC.
        current_at: when every client was last known to hold its login, UTC.
        proven_at: when a connection last proved a login of it, UTC.
        proven: whether the login now in the clients was proven.
        written: whether any client was ever known to hold a login of it.
    """

    key: DatabaseKey
    label: str
    looked_at: datetime | None
    current_at: datetime | None
    proven_at: datetime | None
    proven: bool
    written: bool = False


@dataclass(frozen=True, slots=True)
class Trouble:
    """Something that does not work at the moment.

    Attributes:
        subject: whom it concerns, as in `pgherald.model.News`.
        label: what a person calls it.
        kind: the error's class name.
        title: headline.
        advice: what the person can do.
        since: when it began, UTC.
        told: whether the person was told.
    """

    subject: str
    label: str
    kind: str
    title: str
    advice: str
    since: datetime
    told: bool


@dataclass(frozen=True, slots=True)
class Record:
    """A rotation as history keeps it.

    Attributes:
        id: number, growing with time.
        label: what the database was called then.
        rotation: what happened.
        clients: labels of the clients it was written to.
    """

    id: int
    label: str
    rotation: Rotation
    clients: tuple[str, ...]


def text_of(at: datetime | None) -> str | None:
    """A moment as the store keeps it: ISO 8601 with milliseconds."""
    return None if at is None else at.isoformat(timespec="milliseconds")


def time_of(text: str | None) -> datetime | None:
    """The way back from `text_of`."""
    return None if text is None else datetime.fromisoformat(text)


def database_state(row: sqlite3.Row) -> DatabaseState:
    """A row of `database`."""
    return DatabaseState(
        DatabaseKey.parse(row["key"]),
        row["label"],
        time_of(row["looked_at"]),
        time_of(row["current_at"]),
        time_of(row["proven_at"]),
        bool(row["proven"]),
        row["fingerprint"] is not None,
    )


def trouble(row: sqlite3.Row) -> Trouble:
    """A row of `trouble`."""
    return Trouble(
        row["subject"],
        row["label"],
        row["kind"],
        row["title"],
        row["advice"],
        datetime.fromisoformat(row["since"]),
        bool(row["told"]),
    )


def record(row: sqlite3.Row) -> Record:
    """A row of `rotation`."""
    return Record(
        row["id"],
        row["label"],
        Rotation(
            DatabaseKey.parse(row["key"]),
            tuple(json.loads(row["changed"])),
            datetime.fromisoformat(row["seen_at"]),
            time_of(row["proven_at"]),
            time_of(row["written_at"]),
            row["release"],
        ),
        tuple(json.loads(row["clients"])),
    )
