"""The undo, written before the deed.

One folder per commit, in a private folder of pgherald's own:

    20261124T025915Z-0007.draft    being written, taken back or deleted: nobody needs it
    20261124T025915Z-0007.open     complete and synced: clients may be touched
    20261124T025915Z-0007          done
    20261124T025915Z-0007.damaged  was open and can no longer be understood

The name is the state, and a rename changes it in one instant. The number at the end counts
the commits, since a wall clock may jump. In the folder lie `manifest.json` and, for the file
with index 0, `0.before`, `0.expand` and `0.after`: whole images, mode 0600, named so that
they tell nothing. What is only needed to finish a commit is deleted once it is done; what is
needed to roll it back stays, for the last five commits of each file.
"""

from __future__ import annotations

import logging
import re
import stat
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from pgherald.errors import FileTrouble
from pgherald.files import Files, Snapshot, digest, reported
from pgherald.files.writer import SIZE_LIMIT
from pgherald.sync import manifest
from pgherald.sync.manifest import OWNERSHIP, CommitRecord, FileRecord, Medium, Written

log = logging.getLogger(__name__)

#: Commits kept for each file beside its first one, and damaged ones kept in all.
KEPT: Final = 5

_DRAFT: Final = ".draft"
_OPEN: Final = ".open"
_DAMAGED: Final = ".damaged"
_MANIFEST: Final = "manifest.json"

#: How every name of a journal begins, and the whole of one. There will never be as many commits
#: as twelve digits count.
_STAMP: Final = re.compile(r"[0-9]{8}T[0-9]{6}Z-")
_ID: Final = re.compile(r"[0-9]{8}T[0-9]{6}Z-([0-9]{4,12})")
_NAME: Final = re.compile(rf"({_ID.pattern})(|\.draft|\.open|\.damaged)")

#: The images of a file: what it held, holds on the way, and is to hold.
_IMAGES: Final = ("before", "expand", "after")


class Damaged(FileTrouble):
    """A journal that cannot be understood."""


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
    def way(self) -> bytes | None:
        """The expanded bytes, where there is a way to go and they are not one of its ends."""
        ends = (self.new, self.snapshot.content)
        return None if self.idle or self.expand in ends else self.expand

    @property
    def images(self) -> dict[str, bytes | None]:
        """`before`, `expand`, `after`, each with its bytes."""
        return dict(zip(_IMAGES, (self.snapshot.content, self.way, self.new), strict=True))

    @property
    def record(self) -> FileRecord:
        """What a journal says of it."""
        return FileRecord(
            self.label,
            self.snapshot.path,
            self.snapshot.target,
            self.private,
            **{name: digest(content) for name, content in self.images.items()},
            medium=self.medium,
        )


class Journal:
    """One commit's folder.

    Attributes:
        record: what the commit does.
    """

    def __init__(self, files: Files, folder: Path, record: CommitRecord) -> None:
        self._files = files
        self._folder = folder
        self.record = record

    def image(self, index: int, name: str) -> bytes | None:
        """What the file with that index holds `before`, `expand` or `after`.

        Raises:
            Damaged: it is not what was written.
        """
        wanted: str | None = getattr(self.record.files[index], name)
        if wanted is None:
            return None
        content = _read(self._folder / f"{index}.{name}", SIZE_LIMIT)
        if digest(content) != wanted:
            raise Damaged("is not what was written", path=self._folder / f"{index}.{name}")
        return content

    def check(self) -> None:
        """Make sure that all images are there and whole.

        Raises:
            Damaged: one is not.
        """
        for index in range(len(self.record.files)):
            for name in _IMAGES:
                self.image(index, name)

    def finish(self) -> None:
        """Mark the commit as done, for good once this returns."""
        self._become("")

    def withdraw(self) -> None:
        """Forget the commit: no client holds anything of it."""
        self._become(_DRAFT)
        self._files.remove_own_tree(self._folder, within=self._folder.parent)

    def _become(self, state: str) -> None:
        self._folder = _renamed(self._files, self._folder, state)
        self._files.sync_folder(self._folder.parent)


class Journals:
    """All commits in one folder. To be used by one process at a time, under a lock.

    Args:
        files: the one writer.
        folder: pgherald's own folder for them.
        clients: path and medium of each client, where none but these may be written because
            a journal says so; None for no such limit.
    """

    def __init__(
        self, files: Files, folder: Path, clients: Collection[tuple[Path, Medium]] | None = None
    ) -> None:
        self._files = files
        self.folder = folder
        self._clients = clients

    def begin(
        self,
        at: datetime,
        note: str,
        steps: Sequence[Step],
        *,
        proven: bool,
        logins: Sequence[Written] = (),
    ) -> Journal:
        """Write a journal; once this returns it survives a power cut, and clients may be touched.

        Raises:
            FileTrouble: it could not be written, and nothing of it counts; or two clients turn
                out to be one file.
        """
        files = tuple(step.record for step in steps)
        _refuse_twins(files)
        self._files.private_folder(self.folder)
        stamp = at.astimezone(UTC).strftime("%Y%m%dT%H%M%SZ")
        commit_id = f"{stamp}-{self._last_number() + 1:04}"
        record = CommitRecord(commit_id, at, note, proven, files, tuple(logins))
        folder = self.folder / (record.id + _DRAFT)
        journal = Journal(self._files, folder, record)
        try:
            self._files.make_folder(folder)
            for index, step in enumerate(steps):
                for name, content in step.images.items():
                    if content is not None:
                        self._files.write_new_private(folder / f"{index}.{name}", content)
            self._files.write_new_private(folder / _MANIFEST, manifest.written(record))
            self._files.sync_folder(folder)
            journal._become(_OPEN)  # noqa: SLF001 – the state is this module's affair
        except BaseException:
            withdraw_quietly(journal)
            raise
        return journal

    def opened(self) -> Iterator[Journal]:
        """Commits that were begun and neither finished nor withdrawn, oldest first.

        One that cannot be understood, or that would write what is no client, is set aside and
        logged. One that the system refuses to read stays, and is logged.
        """
        for commit_id in self._ids(_OPEN):
            if (journal := self._found(commit_id, _OPEN)) is not None:
                yield journal

    def refuse_strangers(self, record: CommitRecord) -> None:
        """Make sure that a commit wrote clients alone.

        Raises:
            Damaged: it says that it wrote something else.
        """
        for file in record.files:
            if file.is_record and file.path.parent == self.folder.parent / OWNERSHIP:
                continue
            if self._clients is not None and (file.path, file.medium) not in self._clients:
                raise Damaged(
                    "is named in a journal and is no client of the configuration",
                    "To have it written, name it there once more.",
                    path=file.path,
                )

    def done(self) -> list[Journal]:
        """Finished commits, newest first; one that cannot be understood is set aside."""
        found = (self._found(commit_id, "") for commit_id in reversed(self._ids("")))
        return [journal for journal in found if journal is not None]

    def _found(self, commit_id: str, state: str) -> Journal | None:
        """A commit's journal; None where it cannot be understood, or not be read at the moment."""
        folder = self.folder / (commit_id + state)
        try:
            journal = Journal(self._files, folder, _read_manifest(folder, commit_id))
            if state == _OPEN:
                journal.check()
                self.refuse_strangers(journal.record)
        except Damaged as exc:
            self._set_aside(folder, exc)
        except FileTrouble as exc:
            log.error("%s", exc)
        else:
            return journal
        return None

    def tidy(self, needed: Callable[[Sequence[Journal]], Collection[str]]) -> None:
        """Delete what no recovery, no rollback and no undoing of everything needs any more.

        Args:
            needed: gives the ids of those that are kept for good, of all, oldest first.
        """
        for name in self._odd():
            self._set_aside(self.folder / name, Damaged("has an odd name", path=self.folder / name))
        for commit_id in self._ids(_DRAFT):
            self._remove(commit_id + _DRAFT)
        later: Counter[Path] = Counter()
        done = self.done()
        first = needed(done[::-1])
        for journal in done:
            targets = [file.target for _, file in journal.record.clients]
            if journal.record.id not in first and all(later[t] >= KEPT for t in targets):
                self._remove(journal.record.id)
            else:
                self._keep_before(self.folder / journal.record.id)
            later.update(targets)
        for commit_id in self._ids(_DAMAGED)[:-KEPT]:
            self._remove(commit_id + _DAMAGED)

    def _keep_before(self, folder: Path) -> None:
        for name in self._files.names(folder):
            if name.endswith((".after", ".expand")):
                self._files.remove_own(folder / name)

    def _set_aside(self, folder: Path, why: Damaged) -> None:
        aside = _renamed(self._files, folder, _DAMAGED)
        log.error("%s; this damaged journal of a commit is kept as %s", why.title, aside)

    def _remove(self, name: str) -> None:
        """Delete it; a kill on the way leaves a draft, which goes at the next start."""
        draft = _renamed(self._files, self.folder / name, _DRAFT)
        self._files.remove_own_tree(draft, within=self.folder)

    def _last_number(self) -> int:
        found = (_ID.fullmatch(name.partition(".")[0]) for name in self._names())
        return max((int(match[1]) for match in found if match), default=0)

    def _names(self) -> tuple[str, ...]:
        """What lies in the folder; none when there is no such folder, or a file in its place."""
        self._files.make_way_for_folder(self.folder)
        return self._files.names(self.folder)

    def _odd(self) -> list[str]:
        """Names like a journal's that are none: nobody would find what such a one has left open."""
        odd = [name for name in self._names() if _STAMP.match(name) and not _NAME.fullmatch(name)]
        return [name for name in odd if not name.endswith(_DAMAGED)]

    def _ids(self, state: str) -> list[str]:
        """Ids of the commits in that state, oldest first."""
        found = (_NAME.fullmatch(name) for name in self._names())
        ids = [(int(match[2]), match[1]) for match in found if match and match[3] == state]
        return [commit_id for _, commit_id in sorted(ids)]


def _renamed(files: Files, folder: Path, state: str) -> Path:
    """Give a journal's folder another state; its path then."""
    new = folder.with_name(folder.name.partition(".")[0] + state)
    if new != folder:
        # What bears the name already is a copy that somebody made, or a rest.
        files.remove_own_tree(new, within=new.parent)
        files.rename_own(folder, new)
    return new


def withdraw_quietly(journal: Journal) -> None:
    """Withdraw after a failure that matters more; what stays is tidied or recovered later."""
    try:
        journal.withdraw()
    except FileTrouble as exc:
        log.warning("%s", exc)


def _refuse_twins(files: Sequence[FileRecord]) -> None:
    """Refuse two clients that turn out to be one file: each would undo the other's work."""
    seen: dict[Path, Path] = {}
    for file in files:
        if file.target in seen:
            raise FileTrouble(
                f"is the same file as {seen[file.target]}",
                "Give each client a file of its own in the configuration.",
                path=file.path,
            )
        seen[file.target] = file.path


def _read(path: Path, limit: int) -> bytes:
    """A plain file's bytes.

    Raises:
        Damaged: there is none, or one larger than `limit` in bytes.
    """
    with reported(path, "read"):
        try:
            # Before it is opened: to open a pipe is to wait for its other end.
            found = path.lstat()
            if not stat.S_ISREG(found.st_mode) or found.st_size > limit:
                raise Damaged("is not what was written", path=path)
            return path.read_bytes()
        except (FileNotFoundError, NotADirectoryError):
            raise Damaged("is missing", path=path) from None


def _read_manifest(folder: Path, commit_id: str) -> CommitRecord:
    content = _read(folder / _MANIFEST, manifest.SIZE_LIMIT)
    try:
        return manifest.read(content, commit_id)
    except manifest.OtherFormat:
        raise Damaged("was written by another pgherald", path=folder) from None
    except ValueError as exc:
        raise Damaged("has a manifest that cannot be understood", path=folder) from exc
