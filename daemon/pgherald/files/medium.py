"""What a commit needs of the place that holds a client's content: a file, or rows."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Protocol

from pgherald.files.snapshot import Snapshot, Staged


class Medium(Protocol):
    """A place for contents. `writer.Files` and `rows.Rows` are the two there are."""

    def again(self, path: Path, image: bytes | None) -> Snapshot:
        """What the place holds now.

        Args:
            path: the file, as the configuration names it.
            image: what it once held of what is asked for; a whole file needs none.

        Raises:
            ClientError: it cannot be read.
        """
        ...

    def verify(self, snapshot: Snapshot) -> None:
        """Make sure that it is still what it was.

        Raises:
            ChangedMeanwhile: it is not.
        """
        ...

    def refuse_unwritable(self, snapshot: Snapshot) -> None:
        """Pass what may be written, as far as that can be known without trying.

        Raises:
            FileTrouble: it cannot be written.
        """
        ...

    def stage(self, snapshot: Snapshot, new: bytes, *, private: bool) -> Staged:
        """Do all that may fail, and nothing that anybody could see.

        Raises:
            ClientError: the content could not be installed.
        """
        ...

    def install(self, staged: Staged, *, over: Snapshot) -> Snapshot:
        """Put staged content in its place, in one instant; the place as it is afterwards.

        Raises:
            ClientError: it could not be done; `ChangedMeanwhile` where the place does not
                hold what `over` says.
        """
        ...

    def discard(self, staged: Staged) -> None:
        """Drop staged content."""
        ...

    def remove(self, snapshot: Snapshot) -> Snapshot:
        """Delete what is there; only an undo does this."""
        ...

    def sweep(self, target: Path, known: Collection[str | None]) -> None:
        """Delete what a killed pgherald left beside it.

        Args:
            target: the place.
            known: digests of what a commit lets it hold. Other content is somebody's.
        """
        ...
