"""What a commit is asked to do, and what became of one."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from pgherald.errors import ClientError
from pgherald.files import Snapshot, digest
from pgherald.sync.manifest import CommitRecord, FileRecord, Medium


@dataclass(frozen=True, slots=True)
class Step:
    """What one file is to hold.

    Attributes:
        label: what a person calls the client.
        snapshot: the file as it was planned on.
        new: its final bytes; None to delete it, which only a rollback does.
        private: whether only the owner may read it.
        expand: bytes that it holds on the way, in which the logins that go can still be
            read; None when there is nothing to keep readable.
        medium: what its content is.
    """

    label: str
    snapshot: Snapshot
    new: bytes | None = field(repr=False)
    private: bool
    expand: bytes | None = field(default=None, repr=False, kw_only=True)
    medium: Medium = field(default=Medium.FILE, kw_only=True)

    @property
    def idle(self) -> bool:
        """Whether the file already holds what it is to hold. Its mode is no affair of a commit."""
        return self.new == self.snapshot.content

    @property
    def record(self) -> FileRecord:
        """What a journal says of it."""
        return FileRecord(
            self.label,
            self.snapshot.path,
            self.snapshot.target,
            self.private,
            digest(self.snapshot.content),
            digest(self.way),
            digest(self.new),
            self.medium,
        )

    @property
    def way(self) -> bytes | None:
        """The expanded bytes, where there is a way to go and they are not one of its ends."""
        ends = (self.new, self.snapshot.content)
        return None if self.new == self.snapshot.content or self.expand in ends else self.expand


@dataclass(frozen=True, slots=True)
class Settled:
    """What became of a commit that was interrupted or failed.

    Attributes:
        record: the commit.
        forwards: whether it was finished; else it was taken back.
        left: files that somebody has edited since; they were left alone.
        failed: files that could not be read or written, and why. While there are any the
            journal stays open: it is settled before the next commit, or at the next start.
        refused: files that surely cannot be written, and why; they were left alone as well.
    """

    record: CommitRecord
    forwards: bool
    left: tuple[Path, ...]
    failed: tuple[tuple[Path, ClientError], ...]
    refused: tuple[tuple[Path, ClientError], ...] = ()

    def __str__(self) -> str:
        words = ["finished" if self.forwards else "taken back"]
        words += [f"{path} left as somebody changed it" for path in self.left]
        words += [f"{path} left as it {error.reason}" for path, error in self.refused]
        words += [f"not yet: {error.title}" for _, error in self.failed]
        return f"interrupted commit of {self.record.at:%Y-%m-%d %H:%M:%S}Z: {'; '.join(words)}"
