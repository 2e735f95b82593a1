"""What the state file keeps, and how that becomes rows and is read from them again."""

from __future__ import annotations

import dataclasses
import hashlib
import hmac
import json
import sqlite3
from collections.abc import Mapping
from dataclasses import astuple, dataclass, field
from datetime import datetime
from typing import Final

from pgherald import plain
from pgherald.model import LOGIN_FIELDS, ClientPhase, DatabaseKey, Login, Rotation, Subject
from pgherald.secret import Secret

#: Beside the fingerprints of the fields: one over all of them and the database's key.
_SEAL: Final = "seal"


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

    @classmethod
    def read(cls, row: sqlite3.Row) -> DatabaseState:
        """Read a row of `database`, of this version or an older one.

        Raises:
            ValueError: it is damaged.
            TypeError: likewise; so for all that read rows.
        """
        phase, clients = phase_and_clients(row)
        fields = dict(row) | {
            "phase": phase,
            "written": row["fingerprint"] is not None,
            "proven": bool(row["proven"]),
        }
        fields.pop("clients", None)
        return dataclasses.replace(plain.read(cls, fields), clients=clients)


def phase_and_clients(row: sqlite3.Row) -> tuple[str, dict[str, str]]:
    """The phase and the clients in a row of `database`; none where it is older or damaged."""
    try:
        clients = json.loads(row["clients"])
        if isinstance(clients, dict) and set(clients.values()) <= set(ClientPhase):
            return str(row["phase"]), clients
    except (IndexError, ValueError, TypeError, RecursionError):
        pass
    return "", {}


@dataclass(frozen=True, slots=True)
class Alert:
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

    subject: Subject
    label: str
    kind: str
    title: str
    advice: str
    since: datetime
    told: bool

    @classmethod
    def read(cls, row: sqlite3.Row) -> Alert:
        """Read a row of `trouble`."""
        return plain.read(cls, dict(row) | {"told": bool(row["told"])})

    def row(self) -> tuple[object, ...]:
        """The way back from `read`."""
        return row_of(*astuple(self))


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

    @classmethod
    def read(cls, row: sqlite3.Row) -> Record:
        """Read a row of `rotation`."""
        return plain.read(cls, dict(row) | {"rotation": dict(row)})


def rotation_row(new: Rotation, label: str, clients: tuple[str, ...]) -> tuple[object, ...]:
    """The way back from `Record.read`, all but the number."""
    moments = (new.seen_at, new.proven_at, new.written_at)
    return row_of(new.key, label, new.changed, *moments, new.release, clients)


@dataclass(frozen=True, slots=True)
class Requests:
    """How many requests an account has cost: written by the daemon, shown by `status`.

    Attributes:
        account: its name in the configuration.
        last_hour: how many pgherald sent in the hour before `at`.
        allowance: how many it may send in an hour.
        remaining: how many the account had left, all programs counted; None when unknown.
        at: when this was so, UTC.
        bytes_last_hour: how many bytes the answers had, as they came over the wire.
    """

    account: str
    last_hour: int
    allowance: int
    remaining: int | None
    at: datetime = field(compare=False)
    bytes_last_hour: int = 0

    def note(self) -> str:
        """All but the account, as a note of the daemon."""
        moment = _column(self.at)
        return json.dumps(
            [self.last_hour, self.allowance, self.remaining, moment, self.bytes_last_hour]
        )

    @classmethod
    def read(cls, account: str, note: str) -> Requests:
        """The way back from `note`."""
        last_hour, allowance, remaining, at, *size = json.loads(note)
        return cls(account, last_hour, allowance, remaining, datetime.fromisoformat(at), *size)


class Fingerprints:
    """Makes and reads fingerprints of logins: enough to know one again, nothing to learn one from.

    One is JSON of a keyed hash for each field, and a seal: without it a single damaged letter
    would look like a rotation.

    Args:
        key: what is hashed with; it never leaves the state file.
    """

    def __init__(self, key: bytes) -> None:
        self._key = key

    def of(self, key: DatabaseKey, login: Login, *, sealed: bool = True) -> str:
        """A login's fingerprint; without the seal, as pgherald 0.1 made it."""
        fields = self._fields(login)
        return json.dumps(fields | ({_SEAL: self._seal(key, fields)} if sealed else {}))

    def mark(self, key: DatabaseKey, login: Login) -> str:
        """One hash for a whole login of one database."""
        return self._seal(key, self._fields(login))

    def differs(self, found: object, key: DatabaseKey, login: Login) -> tuple[str, ...] | None:
        """In which fields a login differs from a fingerprint; None where that is damaged."""
        try:
            fields = json.loads(found)  # type: ignore[arg-type]  # a damaged one is no text
            seal = fields.pop(_SEAL, None)
            if seal is not None and seal != self._seal(key, fields):
                return None
            new = self._fields(login)
            return tuple(field for field in LOGIN_FIELDS if fields[field] != new[field])
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
            return None

    def _fields(self, login: Login) -> dict[str, str]:
        values = {name: getattr(login, name) for name in LOGIN_FIELDS}
        return {
            name: self._hash(name, value.reveal() if isinstance(value, Secret) else str(value))
            for name, value in values.items()
        }

    def _seal(self, key: DatabaseKey, fields: dict[str, str]) -> str:
        return self._hash(_SEAL, str(key), *(fields[field] for field in LOGIN_FIELDS))

    def _hash(self, *parts: str) -> str:
        return hmac.new(self._key, "\0".join(parts).encode(), hashlib.sha256).hexdigest()


def row_of(*values: object) -> tuple[object, ...]:
    """Values as a row: moments and keys as text, lists as JSON."""
    return tuple(map(_column, values))


def _column(value: object) -> object:
    match value:
        case datetime():
            return value.isoformat(timespec="milliseconds")
        case DatabaseKey():
            return str(value)
        case tuple() | dict():
            return json.dumps(value)
        case _:
            return value


def text(raw: bytes) -> str:
    """What SQLite keeps as text; a damaged file's need not be any."""
    return raw.decode("utf-8", "replace")
