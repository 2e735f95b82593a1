"""What a journal says of its transaction: sealed when written, believed only when it is whole."""

from __future__ import annotations

import dataclasses
import enum
import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from pgherald import plain

#: Bytes that a manifest may have. One of a hundred clients has fifty thousand.
SIZE_LIMIT: Final = 4 * 1024 * 1024

#: Raised by one when an older pgherald could no longer understand a manifest.
FORMAT: Final = 3

#: Formats that can be read. The first knew files only, the second no records of ownership.
_FORMATS: Final = (1, 2, FORMAT)

#: A hash over everything else, so that no letter can be damaged unseen. Manifests of pgherald
#: 0.1 have none.
_SEAL: Final = "seal"

_DIGEST: Final = re.compile("[0-9a-f]{64}")

#: The folder of the records of ownership, in the state folder.
OWNERSHIP: Final = "ownership"


class Medium(enum.StrEnum):
    """What the content of one step of a transaction is, as journals call it."""

    FILE = "file"
    """A whole file."""
    ROWS = "rows"
    """Some rows of a database; the images are then of rows."""
    RECORD = "record"
    """The record of ownership of the rows of the step before it; it goes where they go."""


class OtherFormat(ValueError):
    """A manifest of another version."""


@dataclass(frozen=True, slots=True)
class FileRecord:
    """One file of a transaction. Digests are SHA-256 in hex; None where there is no file.

    Attributes:
        label: what a person calls the client.
        path: the file as the configuration named it.
        target: the same without links.
        private: whether only the owner may read it.
        before: digest of what it held.
        expand: digest of what it held on the way; None when there was no such step.
        after: digest of what it was to hold.
        medium: what its content is.
    """

    label: str
    path: Path
    target: Path
    private: bool
    before: str | None
    expand: str | None
    after: str | None
    medium: Medium = Medium.FILE

    @property
    def is_record(self) -> bool:
        """Whether it is no client's, but goes with the file before it."""
        return self.medium is Medium.RECORD

    @property
    def states(self) -> frozenset[str | None]:
        """Digests of all that the transaction lets the file hold; anything else is an edit."""
        way = () if self.expand is None else (self.expand,)
        return frozenset((self.before, self.after, *way))

    def check(self) -> None:
        """Pass what a journal can have said.

        Raises:
            ValueError: a path is not absolute, or a digest none.
        """
        if not all(p.is_absolute() and "\0" not in str(p) for p in (self.path, self.target)):
            raise ValueError("a path is not absolute")
        if not all(state is None or _DIGEST.fullmatch(state) for state in self.states):
            raise ValueError("a digest is none")


@dataclass(frozen=True, slots=True)
class Written:
    """A login that a transaction wrote, for whoever has to record it later. Holds no secret.

    Attributes:
        key: its database.
        mark: its keyed hash, as in `Store.mark`.
        seen_at: when Heroku first showed it, UTC.
        proven_at: when a connection proved it, UTC; None when it never was.
        release: the app's release that brought it, when known.
    """

    key: str
    mark: str
    seen_at: datetime
    proven_at: datetime | None
    release: int | None


@dataclass(frozen=True, slots=True)
class CommitRecord:
    """What one transaction did. Holds no secret.

    Attributes:
        id: its name, such as `20261124T025915Z-0007`.
        at: when, UTC.
        note: what it was for.
        proven: whether the logins in it were proven.
        files: the files that it wrote.
        logins: those that it wrote.
    """

    id: str
    at: datetime
    note: str
    proven: bool
    files: tuple[FileRecord, ...]
    logins: tuple[Written, ...] = ()

    @property
    def clients(self) -> list[tuple[int, FileRecord]]:
        """The files that are clients', each with its index."""
        return [(i, file) for i, file in enumerate(self.files) if not file.is_record]

    def with_its_own(self, index: int) -> Sequence[int]:
        """The index of a file, and of the record that goes with it."""
        later = self.files[index + 1 : index + 2]
        return [index, index + 1] if later and later[0].is_record else [index]


def written(record: CommitRecord) -> bytes:
    """The manifest of a transaction."""
    fields = {"format": FORMAT} | dataclasses.asdict(record)
    del fields["id"]  # the folder bears it
    return json.dumps(fields | {_SEAL: _seal(fields)}, indent=1, default=_plain).encode()


def read(content: bytes, commit_id: str) -> CommitRecord:
    """The way back from `written`.

    Raises:
        ValueError: it is damaged; `OtherFormat` when another version wrote it.
    """
    try:
        fields = json.loads(content)
        seal = fields.pop(_SEAL, None)
        if fields["format"] not in _FORMATS:
            raise OtherFormat
        if seal is not None and seal != _seal(fields):
            raise ValueError("the seal is broken")
        record = plain.read(CommitRecord, fields | {"id": commit_id})
        for file in record.files:
            file.check()
    except (KeyError, TypeError, AttributeError, RecursionError) as exc:
        raise ValueError("a field is missing, or of another kind") from exc
    return record


def _plain(value: object) -> str:
    return value.isoformat() if isinstance(value, datetime) else str(value)


def _seal(fields: Mapping[str, Any]) -> str:
    plain = json.dumps(fields, sort_keys=True, separators=(",", ":"), default=_plain)
    return hashlib.sha256(plain.encode()).hexdigest()
