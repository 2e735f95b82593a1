"""What it takes to give every file back what it held before a commit."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from pgherald.files import Medium, Snapshot, digest
from pgherald.sync.journal import CommitRecord, FileRecord, Journal
from pgherald.sync.manifest import Medium as Kind
from pgherald.sync.targets.ownership import rolled_back


@dataclass(frozen=True, slots=True)
class RolledBack:
    """What a rollback did.

    Attributes:
        record: the rollback's own commit; None when there was nothing to give back.
        left: files that have been changed since the commit; they were left alone.
    """

    record: CommitRecord | None
    left: tuple[Path, ...]


def taking_back(
    journal: Journal, media: Mapping[Kind, Medium]
) -> tuple[list[tuple[FileRecord, Snapshot, bytes | None]], list[Path]]:
    """The files that go back, each as it is and with what it is to hold; and those that do not.

    A file goes back if it still holds what it got; the record of whose rows are whose goes with
    its rows.

    Raises:
        ClientError: a file, or what it held, cannot be read.
    """
    back: list[tuple[FileRecord, Snapshot, bytes | None]] = []
    left: list[Path] = []
    before_it: Path | None = None
    for index, file in enumerate(journal.record.files):
        before = journal.image(index, "before")
        snapshot = media[file.medium].again(file.path, before)
        held = digest(snapshot.content)
        if file.is_record:
            again = rolled_back(before, snapshot.content, journal.record.id)
            if again is not None and back and back[-1][0].path == before_it:
                back.append((file, snapshot, again))
        elif held == file.after:
            back.append((file, snapshot, before))
        elif held != file.before:
            left.append(file.path)
        before_it = file.path
    return back, left
