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
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from pgherald.errors import FileTrouble
from pgherald.files import Files, digest, reported
from pgherald.files.writer import SIZE_LIMIT
from pgherald.sync import manifest
from pgherald.sync.manifest import (
    FORMAT,
    OWNERSHIP,
    CommitRecord,
    FileRecord,
    Medium,
    Written,
)

__all__ = [
    "FORMAT",
    "KEPT",
    "CommitRecord",
    "Damaged",
    "FileRecord",
    "Images",
    "Journal",
    "Journals",
    "Written",
    "withdraw_quietly",
]

log = logging.getLogger(__name__)

#: Commits kept for each file beside its first one, and damaged ones kept in all.
KEPT: Final = 5

_DRAFT: Final = ".draft"
_OPEN: Final = ".open"
_DAMAGED: Final = ".damaged"
_MANIFEST: Final = "manifest.json"

#: How every name of a journal begins, and what all of it is but for the state. There will never
#: be as many commits as twelve digits count.
_STAMP: Final = re.compile(r"[0-9]{8}T[0-9]{6}Z-")
_ID: Final = re.compile(r"[0-9]{8}T[0-9]{6}Z-([0-9]{4,12})")


class Damaged(FileTrouble):
    """A journal that cannot be understood."""


@dataclass(frozen=True, slots=True)
class Images:
    """The bytes of one file before, on the way and after; None for no file or no such step."""

    before: bytes | None
    expand: bytes | None
    after: bytes | None

    def by_name(self) -> Iterator[tuple[str, bytes | None]]:
        """`before`, `expand`, `after`, each with its bytes."""
        yield "before", self.before
        yield "expand", self.expand
        yield "after", self.after


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
            for name in ("before", "expand", "after"):
                self.image(index, name)

    def finish(self) -> None:
        """Mark the commit as done, for good once this returns."""
        self._become("")

    def withdraw(self) -> None:
        """Forget the commit: no client holds anything of it."""
        self._become(_DRAFT)
        self._files.remove_own_tree(self._folder, within=self._folder.parent)

    def _become(self, state: str) -> None:
        new = self._folder.with_name(self.record.id + state)
        if new != self._folder:
            # What bears the name already is a copy that somebody made, or a rest.
            self._files.remove_own_tree(new, within=new.parent)
            self._files.rename_own(self._folder, new)
            self._folder = new
        self._files.sync_folder(new.parent)


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
        files: Sequence[FileRecord],
        images: Sequence[Images],
        *,
        proven: bool,
        logins: Sequence[Written] = (),
    ) -> Journal:
        """Write a journal; once this returns it survives a power cut, and clients may be touched.

        Raises:
            FileTrouble: it could not be written, and nothing of it counts; or two clients turn
                out to be one file.
        """
        _refuse_twins(files)
        self._files.private_folder(self.folder)
        stamp = at.astimezone(UTC).strftime("%Y%m%dT%H%M%SZ")
        record = CommitRecord(
            f"{stamp}-{self._last_number() + 1:04}",
            at,
            note,
            proven,
            tuple(files),
            tuple(logins),
        )
        folder = self.folder / (record.id + _DRAFT)
        journal = Journal(self._files, folder, record)
        try:
            self._files.make_folder(folder)
            for index, image in enumerate(images):
                for name, content in image.by_name():
                    if content is not None:
                        self._files.write_new_private(folder / f"{index}.{name}", content)
            content = manifest.written(record)
            self._files.write_new_private(folder / _MANIFEST, content)
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
            folder = self.folder / (commit_id + _OPEN)
            try:
                journal = Journal(self._files, folder, _read_manifest(folder, commit_id))
                journal.check()
                self.refuse_strangers(journal.record)
            except Damaged as exc:
                self._set_aside(folder, exc)
            except FileTrouble as exc:
                log.error("%s", exc)
            else:
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
        found: list[Journal] = []
        for commit_id in reversed(self._ids("")):
            folder = self.folder / commit_id
            try:
                found.append(Journal(self._files, folder, _read_manifest(folder, commit_id)))
            except Damaged as exc:
                self._set_aside(folder, exc)
            except FileTrouble as exc:
                log.warning("%s", exc)
        return found

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
        aside = folder.with_name(folder.name.partition(".")[0] + _DAMAGED)
        log.error("%s; this damaged journal of a commit is kept as %s", why.title, aside)
        self._files.remove_own_tree(aside, within=self.folder)
        self._files.rename_own(folder, aside)

    def _remove(self, name: str) -> None:
        """Delete it; a kill on the way leaves a draft, which goes at the next start."""
        folder = self.folder / name
        draft = folder.with_name(name.partition(".")[0] + _DRAFT)
        if folder != draft:
            self._files.remove_own_tree(draft, within=self.folder)
            self._files.rename_own(folder, draft)
        self._files.remove_own_tree(draft, within=self.folder)

    def _last_number(self) -> int:
        numbers = [_number(name) for name in self._names()]
        return max((number for number in numbers if number is not None), default=0)

    def _names(self) -> tuple[str, ...]:
        """What lies in the folder; none when there is no such folder, or a file in its place."""
        self._files.make_way_for_folder(self.folder)
        return self._files.names(self.folder)

    def _odd(self) -> list[str]:
        """Names like a journal's that are none: nobody would find what such a one has left open."""
        states = ("", _DRAFT, _OPEN, _DAMAGED)
        odd = []
        for name in self._names():
            commit_id, dot, state = name.partition(".")
            if _STAMP.match(name) and (_number(commit_id) is None or dot + state not in states):
                odd.append(name)
        return [name for name in odd if not name.endswith(_DAMAGED)]

    def _ids(self, state: str) -> list[str]:
        """Ids of the commits in that state, oldest first."""
        ids: list[tuple[int, str]] = []
        for name in self._names():
            commit_id, dot, found = name.partition(".")
            number = _number(commit_id)
            if number is not None and dot + found == state:
                ids.append((number, commit_id))
        return [commit_id for _, commit_id in sorted(ids)]


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


def _number(name: str) -> int | None:
    found = _ID.fullmatch(name.partition(".")[0])
    return None if found is None else int(found[1])


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
