"""The undo, written before the deed.

One folder per commit, in a private folder of pgherald's own:

    20261124T025915Z-0007.draft    being written, or taken back: no client holds it
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

import json
import logging
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from pgherald.errors import FileTrouble
from pgherald.files import Files, digest, reported
from pgherald.sync.originals import holding_first

log = logging.getLogger(__name__)

#: Commits kept for each file beside its first one, and damaged ones kept in all.
KEPT: Final = 5

#: Raised by one when an older pgherald could no longer understand a manifest.
FORMAT: Final = 2

#: Formats that can be read. The first knew files only.
_FORMATS: Final = (1, FORMAT)

_DRAFT: Final = ".draft"
_OPEN: Final = ".open"
_DAMAGED: Final = ".damaged"
_MANIFEST: Final = "manifest.json"


class Damaged(FileTrouble):
    """A journal that cannot be understood."""


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
        medium: `file`, or `rows` of a database; the images are then of rows.
    """

    label: str
    path: Path
    target: Path
    private: bool
    before: str | None
    expand: str | None
    after: str | None
    medium: str = "file"

    @property
    def states(self) -> frozenset[str | None]:
        """Digests of all that the commit lets the file hold; anything else is an edit."""
        way = () if self.expand is None else (self.expand,)
        return frozenset((self.before, self.after, *way))


@dataclass(frozen=True, slots=True)
class CommitRecord:
    """What one commit did. Holds no secret.

    Attributes:
        id: its name, such as `20261124T025915Z-0007`.
        at: when, UTC.
        note: what it was for.
        proven: whether the logins in it were proven.
        files: the files that it wrote.
    """

    id: str
    at: datetime
    note: str
    proven: bool
    files: tuple[FileRecord, ...]


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
        content = _read(self._folder / f"{index}.{name}")
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
            self._files.rename_own(self._folder, new)
            self._folder = new
        self._files.sync_folder(new.parent)


class Journals:
    """All commits in one folder. To be used by one process at a time, under a lock.

    Args:
        files: the one writer.
        folder: pgherald's own folder for them.
    """

    def __init__(self, files: Files, folder: Path) -> None:
        self._files = files
        self.folder = folder

    def begin(
        self,
        at: datetime,
        note: str,
        files: Sequence[FileRecord],
        images: Sequence[Images],
        *,
        proven: bool,
    ) -> Journal:
        """Write a journal; once this returns it survives a power cut, and clients may be touched.

        Raises:
            FileTrouble: it could not be written, and nothing of it counts.
        """
        self._files.private_folder(self.folder)
        stamp = at.astimezone(UTC).strftime("%Y%m%dT%H%M%SZ")
        record = CommitRecord(
            f"{stamp}-{self._last_number() + 1:04}", at, note, proven, tuple(files)
        )
        folder = self.folder / (record.id + _DRAFT)
        journal = Journal(self._files, folder, record)
        try:
            self._files.make_folder(folder)
            for index, image in enumerate(images):
                for name, content in image.by_name():
                    if content is not None:
                        self._files.write_new_private(folder / f"{index}.{name}", content)
            manifest = json.dumps(_to_json(record), indent=1).encode()
            self._files.write_new_private(folder / _MANIFEST, manifest)
            self._files.sync_folder(folder)
            journal._become(_OPEN)  # noqa: SLF001 – the state is this module's affair
        except BaseException:
            withdraw_quietly(journal)
            raise
        return journal

    def opened(self) -> Iterator[Journal]:
        """Commits that were begun and neither finished nor withdrawn, oldest first.

        One that cannot be understood is set aside and logged.
        """
        for commit_id in self._ids(_OPEN):
            folder = self.folder / (commit_id + _OPEN)
            try:
                journal = Journal(self._files, folder, _read_manifest(folder, commit_id))
                journal.check()
            except Damaged as exc:
                self._set_aside(commit_id, folder, exc)
            else:
                yield journal

    def done(self) -> list[Journal]:
        """Finished commits, newest first; one that cannot be understood is set aside."""
        found: list[Journal] = []
        for commit_id in reversed(self._ids("")):
            folder = self.folder / commit_id
            try:
                found.append(Journal(self._files, folder, _read_manifest(folder, commit_id)))
            except Damaged as exc:
                self._set_aside(commit_id, folder, exc)
        return found

    def tidy(self) -> None:
        """Delete what no recovery, no rollback and no undoing of everything needs any more."""
        for commit_id in self._ids(_DRAFT):
            self._remove(commit_id + _DRAFT)
        later: Counter[Path] = Counter()
        done = self.done()
        first = holding_first(done[::-1])
        for journal in done:
            targets = [file.target for file in journal.record.files]
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

    def _set_aside(self, commit_id: str, folder: Path, why: Damaged) -> None:
        aside = self.folder / (commit_id + _DAMAGED)
        log.error("%s; this damaged journal of a commit is kept as %s", why.title, aside)
        self._files.rename_own(folder, aside)

    def _remove(self, name: str) -> None:
        self._files.remove_own_tree(self.folder / name, within=self.folder)

    def _last_number(self) -> int:
        numbers = [_number(name) for name in self._files.names(self.folder)]
        return max((number for number in numbers if number is not None), default=0)

    def _ids(self, state: str) -> list[str]:
        """Ids of the commits in that state, oldest first."""
        ids: list[tuple[int, str]] = []
        for name in self._files.names(self.folder):
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


def _number(name: str) -> int | None:
    stamp, dash, number = name.partition(".")[0].partition("-")
    return int(number) if stamp and dash and number.isdecimal() else None


def _to_json(record: CommitRecord) -> dict[str, Any]:
    return {
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
    }


def _read(path: Path) -> bytes:
    with reported(path, "read"):
        try:
            return path.read_bytes()
        except FileNotFoundError:
            raise Damaged("is missing", path=path) from None


def _read_manifest(folder: Path, commit_id: str) -> CommitRecord:
    content = _read(folder / _MANIFEST)
    try:
        read = json.loads(content)
        if read["format"] not in _FORMATS:
            raise Damaged("was written by another pgherald", path=folder)
        return CommitRecord(
            commit_id,
            datetime.fromisoformat(read["at"]),
            str(read["note"]),
            bool(read["proven"]),
            tuple(
                FileRecord(
                    str(file["label"]),
                    Path(file["path"]),
                    Path(file["target"]),
                    bool(file["private"]),
                    file["before"],
                    file["expand"],
                    file["after"],
                    str(file.get("medium", "file")),
                )
                for file in read["files"]
            ),
        )
    except (ValueError, KeyError, TypeError) as exc:
        raise Damaged("has a manifest that cannot be understood", path=folder) from exc
