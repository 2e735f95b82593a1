"""A target: one local program's store of logins, whatever it is made of."""

from __future__ import annotations

import abc
import dataclasses
import enum
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from pgherald.clients.base import Change, Held, TextClient
from pgherald.errors import ClientError
from pgherald.files import Files, Snapshot
from pgherald.model import About, DatabaseKey, Subject
from pgherald.sync.journal import Step
from pgherald.sync.manifest import Medium

if TYPE_CHECKING:
    from pgherald.store import BackgroundStore
    from pgherald.sync.targets.originals import Original


@dataclass(frozen=True, slots=True)
class Target(abc.ABC):
    """One local program's store of logins.

    Attributes:
        editor: knows the format.
        path: the file, as the configuration names it.
        label: what a person calls it; with the path when there are several of its kind.
    """

    editor: TextClient
    path: Path
    label: str

    #: How a journal calls the place of its content.
    medium: ClassVar[Medium]

    #: Whether people have it in front of them all day, so that it is named first.
    prominent: ClassVar[bool] = False

    #: Fields of a login after whose change an open server has to be refreshed.
    refreshed_for: ClassVar[frozenset[str]] = frozenset()

    #: Whether its program may write at the same time, since both sides use transactions.
    shared: ClassVar[bool] = False

    @property
    def subject(self) -> Subject:
        """The subject of alerts about it."""
        return Subject(About.CLIENT, self.path)

    @property
    def watched(self) -> tuple[Path, ...]:
        """The files whose events show that somebody has changed it."""
        return (self.path,)

    @property
    def reopened_for(self) -> frozenset[str]:
        """Fields, of a login or its own, after whose change the person has to reopen the server.

        Its program goes on with what the server said when it was opened.
        """
        return frozenset()

    def is_fresh(self) -> bool:
        """Whether its program has just written it, where both may write at the same time."""
        return False

    def supersedes(self, change: Change) -> bool:
        """Whether a change takes a login out of a server that its program keeps while it is open."""
        return False

    def place(self, held: Held) -> str:
        """Where it holds something, as a person finds it."""
        return self.label

    @abc.abstractmethod
    def read(self, files: Files, *, removing: bool = False) -> Snapshot:
        """Its content as it is now.

        Args:
            files: reads files.
            removing: whether entries are to go, for which more has to be known of rows.

        Raises:
            ClientError: it cannot be read.
        """

    def cautions(self, files: Files, snapshot: Snapshot) -> tuple[ClientError, ...]:
        """What hinders nothing, and the person should hear of once."""
        return ()

    def diff(self, snapshot: Snapshot, new: bytes | None) -> Iterator[str]:
        """Lines of a unified diff in which every secret is masked."""
        return self.show(*self.images(snapshot, new))

    @abc.abstractmethod
    def show(self, before: bytes | None, after: bytes | None) -> Iterator[str]:
        """The same of two images, as `images` gives them."""

    @abc.abstractmethod
    def databases(
        self, before: bytes | None, after: bytes | None
    ) -> Mapping[DatabaseKey, Held | None]:
        """Databases whose login differs between two images, and what the later one holds of each.

        None where it holds nothing, or does not show it.
        """

    @abc.abstractmethod
    def restore(self, snapshot: Snapshot, original: Original | None, *, whole: bool) -> Undo:
        """Plan what becomes of it when pgherald goes.

        Args:
            snapshot: its content as it is.
            original: what it held before pgherald, where that is known.
            whole: whether it becomes again what it was, if nobody else has changed it since.

        Raises:
            ClientError: its content cannot be understood.
        """

    def images(self, snapshot: Snapshot, new: bytes | None) -> tuple[bytes | None, bytes | None]:
        """What a transaction takes from the one to the other."""
        return snapshot.content, new

    def steps(
        self, snapshot: Snapshot, new: bytes | None, expand: bytes | None = None
    ) -> list[Step]:
        """What a transaction has to do, the record of ownership included.

        Raises:
            ClientError: another process has recorded something since; or it cannot be read.
        """
        before, after = self.images(snapshot, new)
        planned_on = dataclasses.replace(snapshot, content=before)
        step = Step(
            self.label, planned_on, after, self.editor.private, expand=expand, medium=self.medium
        )
        return [step, *self.records(snapshot, new)]

    # --- the record of ownership, where a target needs one --------------------------------

    def records(self, snapshot: Snapshot, new: bytes | None) -> list[Step]:
        """What has to be recorded with a change, if anything.

        Raises:
            ClientError: another process has recorded something since; or it cannot be read.
        """
        return []

    def record_path(self, snapshot: Snapshot) -> Path | None:
        """Where that is recorded."""
        return None

    @abc.abstractmethod
    def copy_record(self, snapshot: Snapshot, new: bytes, store: BackgroundStore) -> None:
        """Keep a copy of it in the state file."""


class Fate(enum.StrEnum):
    """What becomes of a target when pgherald goes."""

    UNTOUCHED = "untouched"
    """Nothing of pgherald's is in it."""
    RESTORED = "restored"
    """It is again what it was before pgherald first wrote it."""
    DELETED = "deleted"
    """pgherald had made it, and there is nothing else in it."""
    CLEARED = "cleared"
    """pgherald's part goes out of it; the rest stays as it is."""
    EDITED = "edited"
    """The same, although it was to be restored: it has been edited since."""
    RELEASED = "released"
    """pgherald's servers go, and others get back what they held; its outcomes name them."""


@dataclass(frozen=True, slots=True)
class Undo:
    """What becomes of one target when pgherald goes.

    Attributes:
        client: which target.
        snapshot: its content as it is.
        new: what it is to hold; None to delete it.
        fate: the same in one word.
        original: what it was before pgherald; None where that is not known.
        outcomes: sentences on what becomes of each server or entry. They hold no secret.
    """

    client: Target
    snapshot: Snapshot
    new: bytes | None = field(repr=False)
    fate: Fate
    original: Original | None = None
    outcomes: tuple[str, ...] = ()

    @property
    def idle(self) -> bool:
        """Whether nothing changes."""
        old, new = self.client.images(self.snapshot, self.new)
        return old == new

    def steps(self) -> list[Step]:
        """What the transaction has to do; see `Target.steps`."""
        return self.client.steps(self.snapshot, self.new)

    def diff(self) -> Iterator[str]:
        """Lines of a unified diff in which every secret is masked."""
        return self.client.diff(self.snapshot, self.new)
