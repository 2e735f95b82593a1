"""What a journal says of its commit: sealed when it is written, believed only when it is whole."""

from __future__ import annotations

import enum
import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final, TypeVar

T = TypeVar("T")

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
    """One file of a commit. Digests are SHA-256 in hex; None where there is no file.

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
        """Digests of all that the commit lets the file hold; anything else is an edit."""
        way = () if self.expand is None else (self.expand,)
        return frozenset((self.before, self.after, *way))


@dataclass(frozen=True, slots=True)
class Written:
    """A login that a commit wrote, for whoever has to record it later. Holds no secret.

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
    """What one commit did. Holds no secret.

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
    """The manifest of a commit."""
    fields = {
        "format": FORMAT,
        "at": record.at.isoformat(),
        "note": record.note,
        "proven": record.proven,
        "files": [
            {
                "label": file.label,
                "path": str(file.path),
                "target": str(file.target),
                "private": file.private,
                "before": file.before,
                "expand": file.expand,
                "after": file.after,
                "medium": file.medium,
            }
            for file in record.files
        ],
        "logins": [
            {
                "key": each.key,
                "mark": each.mark,
                "seen_at": each.seen_at.isoformat(),
                "proven_at": each.proven_at and each.proven_at.isoformat(),
                "release": each.release,
            }
            for each in record.logins
        ],
    }
    return json.dumps(fields | {_SEAL: _seal(fields)}, indent=1).encode()


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
        return CommitRecord(
            commit_id,
            _moment(fields, "at"),
            _of(str, fields, "note"),
            _of(bool, fields, "proven"),
            tuple(map(_file, fields["files"])),
            tuple(map(_login, fields.get("logins", ()))),
        )
    except (KeyError, TypeError, AttributeError, RecursionError) as exc:
        raise ValueError("a field is missing, or of another kind") from exc


def _file(fields: Mapping[str, Any]) -> FileRecord:
    return FileRecord(
        _of(str, fields, "label"),
        _path(fields, "path"),
        _path(fields, "target"),
        _of(bool, fields, "private"),
        _digest(fields, "before"),
        _digest(fields, "expand"),
        _digest(fields, "after"),
        Medium(fields.get("medium", "file")),
    )


def _login(fields: Mapping[str, Any]) -> Written:
    return Written(
        _of(str, fields, "key"),
        _of(str, fields, "mark"),
        _moment(fields, "seen_at"),
        None if fields["proven_at"] is None else _moment(fields, "proven_at"),
        None if fields["release"] is None else _of(int, fields, "release"),
    )


def _of(kind: type[T], fields: Mapping[str, Any], name: str) -> T:
    value = fields[name]
    if type(value) is not kind:
        raise ValueError(f"{name} is of another kind")
    return value


def _path(fields: Mapping[str, Any], name: str) -> Path:
    path = Path(_of(str, fields, name))
    if "\0" in str(path) or not path.is_absolute():
        raise ValueError(f"{name} is no absolute path")
    return path


def _digest(fields: Mapping[str, Any], name: str) -> str | None:
    if fields[name] is None:
        return None
    found = _of(str, fields, name)
    if _DIGEST.fullmatch(found) is None:
        raise ValueError(f"{name} is no digest")
    return found


def _moment(fields: Mapping[str, Any], name: str) -> datetime:
    found = datetime.fromisoformat(_of(str, fields, name))
    if found.tzinfo is None:
        raise ValueError(f"{name} is in no zone")
    return found


def _seal(fields: Mapping[str, Any]) -> str:
    plain = json.dumps(fields, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(plain.encode()).hexdigest()
