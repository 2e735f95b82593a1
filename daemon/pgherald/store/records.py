"""What the store gives back, and how its rows become that."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

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
        phase: its phase as the daemon last kept it; empty when it never did.
        clients: likewise, one word for each client's path.
    """

    key: DatabaseKey
    label: str
    looked_at: datetime | None
    current_at: datetime | None
    proven_at: datetime | None
    proven: bool
    written: bool = False
    phase: str = ""
    clients: Mapping[str, str] = field(default_factory=dict)


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
    """The way back from `text_of`.

    Raises:
        ValueError: it is no moment, or nobody knows in which part of the world.
        TypeError: likewise.
    """
    if text is None:
        return None
    found = datetime.fromisoformat(text)
    if found.tzinfo is None:
        raise ValueError("a moment without a zone")
    return found


def text(raw: bytes) -> str:
    """What SQLite keeps as text; a damaged file's need not be any."""
    return raw.decode("utf-8", "replace")


def database_state(row: sqlite3.Row) -> DatabaseState:
    """A row of `database`.

    Raises:
        ValueError: it is damaged.
        TypeError: likewise; so for the others.
    """
    return DatabaseState(
        DatabaseKey.parse(_text(row, "key")),
        _text(row, "label"),
        time_of(row["looked_at"]),
        time_of(row["current_at"]),
        time_of(row["proven_at"]),
        bool(row["proven"]),
        row["fingerprint"] is not None,
        *phase_and_clients(row),
    )


def phase_and_clients(row: sqlite3.Row) -> tuple[str, dict[str, str]]:
    """The phase and the clients in a row of `database`; none where it is older or damaged."""
    try:
        clients = json.loads(row["clients"])
        if isinstance(clients, dict) and all(isinstance(word, str) for word in clients.values()):
            return _text(row, "phase"), clients
    except (IndexError, ValueError, TypeError, RecursionError):
        pass
    return "", {}


def trouble(row: sqlite3.Row) -> Trouble:
    """A row of `trouble`."""
    return Trouble(
        _text(row, "subject"),
        _text(row, "label"),
        _text(row, "kind"),
        _text(row, "title"),
        _text(row, "advice"),
        _moment(row, "since"),
        bool(row["told"]),
    )


def record(row: sqlite3.Row) -> Record:
    """A row of `rotation`."""
    release = row["release"]
    if not isinstance(release, int | None):
        raise TypeError("a release is a number")
    return Record(
        int(row["id"]),
        _text(row, "label"),
        Rotation(
            DatabaseKey.parse(_text(row, "key")),
            _texts(row, "changed"),
            _moment(row, "seen_at"),
            time_of(row["proven_at"]),
            time_of(row["written_at"]),
            release,
        ),
        _texts(row, "clients"),
    )


def known_rows(row: sqlite3.Row) -> tuple[Path, str]:
    """A row of `pgadmin`."""
    return Path(_text(row, "path")), _text(row, "known")


def _text(row: sqlite3.Row, name: str) -> str:
    value = row[name]
    if not isinstance(value, str):
        raise TypeError(f"{name} is a text")
    return value


def _texts(row: sqlite3.Row, name: str) -> tuple[str, ...]:
    found = json.loads(_text(row, name))
    if not isinstance(found, list) or not all(isinstance(item, str) for item in found):
        raise TypeError(f"{name} is a list of texts")
    return tuple(found)


def _moment(row: sqlite3.Row, name: str) -> datetime:
    found = time_of(_text(row, name))
    assert found is not None  # a text is a moment, or raises
    return found
