"""One transaction over all targets: all or nothing.

A file here may also be rows in another program's database: they are changed by one
transaction where a file is renamed, and an image of these rows stands for the file's bytes.

How it goes, under one lock for the journal and one for each file:

1. every file must still be what it was when it was planned, and nothing that can be known
   beforehand may keep it from being written;
2. the journal is written: what each file holds, and what it is to hold;
3. every new content is laid down beside its file, complete and synced. What is likely to
   fail (a full disk, missing rights) has failed by now, and no client has been touched;
4. the renames: first each file's expanded content, in which the old login can be read
   beside the new one, then the final contents, files that were expanded last;
5. the journal is marked as done.

A failure on the way takes back what was renamed, and touches nothing else. A kill or a power cut leaves the journal
open, and the next start finishes the commit if its logins were proven, else takes it back.
In both a file is only written while it holds what the commit knows of it: before, expanded
or after. Anything else is somebody's edit and is left alone; so is one that already holds
what it is to hold, whatever its mode.

Of any file there is at most one open journal, the newest: an older one no longer matters.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from pgherald.clock import Clock
from pgherald.errors import ChangedMeanwhile, ClientError, FileTrouble
from pgherald.files import Files, digest
from pgherald.sync.journal import Journal, Journals, Step, withdraw_quietly
from pgherald.sync.manifest import CommitRecord, Medium, Written
from pgherald.sync.storage import Storages
from pgherald.sync.targets.originals import Original, holding_first, originals
from pgherald.sync.targets.ownership import rolled_back

__all__ = ["Rollback", "Settled", "Step", "Transactions"]

log = logging.getLogger(__name__)

#: Seconds that a record which can be written the next time waits for a commit.
_INSTANT: Final = 0.2


@dataclass(slots=True)
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
    left: list[Path] = field(default_factory=list)
    failed: list[tuple[Path, ClientError]] = field(default_factory=list)
    refused: list[tuple[Path, ClientError]] = field(default_factory=list)

    def __str__(self) -> str:
        words = ["finished" if self.forwards else "taken back"]
        words += [f"{path} left as somebody changed it" for path in self.left]
        words += [f"{path} left as it {error.reason}" for path, error in self.refused]
        words += [f"not yet: {error.title}" for _, error in self.failed]
        return f"interrupted commit of {self.record.at:%Y-%m-%d %H:%M:%S}Z: {'; '.join(words)}"


@dataclass(frozen=True, slots=True)
class Rollback:
    """What a rollback did, or would do.

    Attributes:
        steps: what every client gets back; none when nothing is, or all is there already.
        left: files that were changed since the commit; while there are any, nothing goes back.
    """

    steps: tuple[Step, ...]
    left: tuple[Path, ...]

    @property
    def removes_servers(self) -> bool:
        """Whether servers in pgAdmin may be among what goes."""
        return any(step.medium is Medium.ROWS for step in self.steps)


class Transactions:
    """Makes several writes one.

    Args:
        files: the one writer.
        folder: where the journals lie, pgherald's own.
        clock: dates the commits.
        clients: see `Journals`.
    """

    def __init__(
        self,
        files: Files,
        folder: Path,
        clock: Clock,
        clients: Collection[tuple[Path, Medium]] | None = None,
    ) -> None:
        self._files = files
        self._storages = Storages(files)
        self._journals = Journals(files, folder, clients)
        self._clock = clock
        #: Why journals stay open, as far as it was said.
        self._said: set[str] = set()

    def commit(
        self, steps: Sequence[Step], *, proven: bool, note: str, logins: Sequence[Written] = ()
    ) -> CommitRecord | None:
        """Write all files, or none; None when there was nothing to write.

        Args:
            steps: one for each file; the final contents are written in this order.
            proven: whether every login in them was proven. If the machine fails on the way,
                a proven commit is finished at the next start, another one taken back.
            note: what it is for, without any secret.
            logins: those in it, for whoever has to record them should this process be killed.

        Raises:
            ChangedMeanwhile: a file is not what it was planned on; nothing was written,
                or all of it was taken back.
            FileTrouble: a file cannot be written; `path` names it, and all else was taken
                back, or not begun. When even that failed the message says so.
        """
        busy = [step for step in steps if not step.idle]
        if not busy:
            return None
        with self._files.lock(self._journals.folder):
            for settled in self._recover():
                if not settled.failed:
                    # The steps were planned on what it had left half-way.
                    path = settled.record.files[0].path
                    raise ChangedMeanwhile("was settled after an interrupted commit", path=path)
            with self._storages.locked(step.snapshot.target for step in busy):
                for step in busy:
                    self._storages[step.medium].verify(step.snapshot)
                    self._storages[step.medium].refuse_unwritable(step.snapshot)
                now = self._clock.now()
                journal = self._journals.begin(now, note, busy, proven=proven, logins=logins)
                touched: set[Path] = set()
                try:
                    self._storages.carry_out(busy, touched)
                    journal.finish()
                except BaseException as exc:
                    self._take_back(journal, touched, exc)
                    raise
                self._supersede(journal.record)
                self._tidy()
                return journal.record

    def record(self, step: Step) -> None:
        """Write a record of ownership by itself, where no row changes.

        While a commit is open nothing is written, since the record is a part of it.

        Raises:
            ChangedMeanwhile: the record is not what it was.
            FileTrouble: it cannot be written, or somebody else is writing.
        """
        with self._files.lock(self._journals.folder, limit=_INSTANT):
            if any(True for _ in self._journals.opened()):
                return
            with self._storages.locked([step.snapshot.target]):
                self._storages[step.medium].verify(step.snapshot)
                self._storages.carry_out([step], set())

    def recover(self) -> list[Settled]:
        """Settle what a kill or a power cut interrupted. To be called at every start.

        Raises:
            FileTrouble: the journals themselves cannot be read.
        """
        with self._files.lock(self._journals.folder):
            settled = self._recover()
            self._tidy()
        return settled

    def history(self) -> list[CommitRecord]:
        """Commits that can be rolled back, newest first."""
        with self._files.lock(self._journals.folder):
            return [journal.record for journal in self._journals.done()]

    def originals(self) -> dict[Path, Original]:
        """What every file held before pgherald first wrote it, by its target."""
        with self._files.lock(self._journals.folder):
            return originals(self._journals.done()[::-1])

    def rollback(
        self,
        commit_id: str,
        *,
        dry_run: bool = False,
        about_to: Callable[[Rollback], None] = lambda _: None,
    ) -> Rollback:
        """Give every file what it held before that commit, if all still hold what they got.

        Args:
            commit_id: the commit.
            dry_run: whether nothing is to be written.
            about_to: hears what will be written, before anything is.

        Raises:
            FileTrouble: there is no such commit, or a file cannot be read or written; then
                nothing was written.
            ChangedMeanwhile: a file changed while it was being rolled back; likewise.
        """
        with self._files.lock(self._journals.folder):
            if not dry_run:
                self._recover()
            journal = next((j for j in self._journals.done() if j.record.id == commit_id), None)
            if journal is None:
                raise FileTrouble(f"there is no commit {commit_id}")
            self._journals.refuse_strangers(journal.record)
            back, left = self._steps_back(journal)
            if left:
                return Rollback((), tuple(left))
            done = Rollback(tuple(s for s in back if s.medium is not Medium.RECORD), ())
            if not dry_run:
                about_to(done)
                # The person asks for it, so it is finished whatever happens on the way.
                self.commit(back, proven=True, note=f"rollback of {commit_id}")
        return done

    def _steps_back(self, journal: Journal) -> tuple[list[Step], list[Path]]:
        """The files that go back, and those that were changed since.

        One that holds already what it held before is neither. The record of ownership goes with
        its rows.
        """
        back: list[Step] = []
        left: list[Path] = []
        for index, file in journal.record.clients:
            for each in journal.record.with_its_own(index):
                part = journal.record.files[each]
                old = journal.image(each, "before")
                now = self._storages[part.medium].again(part.path, old)
                if part.is_record:
                    old = rolled_back(old, now.content, journal.record.id)
                    if old is None:
                        continue
                elif digest(now.content) == file.before:
                    break
                elif digest(now.content) != file.after:
                    left.append(file.path)
                    break
                back.append(Step(part.label, now, old, part.private, medium=part.medium))
        return back, left

    def _take_back(self, journal: Journal, touched: set[Path], cause: BaseException) -> None:
        """Undo after a failure: what was not touched is not even read.

        Raises:
            FileTrouble: the undo failed as well; it says both, and the journal stays open.
        """
        settled = self._settle(journal, forwards=False, only=touched)
        if not settled.failed:
            withdraw_quietly(journal)
            return
        self._supersede(journal.record)
        path, undo = settled.failed[0]
        if isinstance(undo, ChangedMeanwhile):
            return  # whoever writes it comes first; it is settled before the next commit
        if self._is_new(*(error for _, error in settled.failed)):
            log.error("a failed commit could not be taken back: %s", undo)
        if isinstance(cause, ClientError):
            raise FileTrouble(
                f"{cause.reason}; and what was written to {path} could not be taken back: "
                f"it {undo.reason}",
                "pgherald settles it before it next writes, and whenever it starts.",
                path=cause.path,
            ) from cause

    def _recover(self) -> list[Settled]:
        """Settle what is open: each file by the newest commit that wrote it."""
        found: list[Settled] = []
        later: set[Path] = set()
        for journal in reversed(list(self._journals.opened())):
            record = journal.record
            mine = {file.target for file in record.files} - later
            later |= mine
            if not mine:
                journal.finish()
                continue
            try:
                with self._storages.locked(mine):
                    settled = self._settle(journal, forwards=record.proven, only=mine)
            except FileTrouble as exc:
                path = exc.path or record.files[0].path
                settled = Settled(record, record.proven, failed=[(path, exc)])
            if not settled.failed:
                (journal.finish if settled.forwards else journal.withdraw)()
            found.append(settled)
            if not settled.failed or self._is_new(*(error for _, error in settled.failed)):
                log.warning("%s", settled)
        if not any(settled.failed for settled in found):
            self._said.clear()
        return found[::-1]

    def _is_new(self, *why: ClientError) -> bool:
        """Whether it was not said yet that a journal stays open for these reasons."""
        new = {error.title for error in why} - self._said
        self._said |= new
        return bool(new)

    def _settle(self, journal: Journal, *, forwards: bool, only: set[Path]) -> Settled:
        """Bring the commit's files to where they were going, or back to where they came from.

        All together if possible; else one by one, so that one that fails hinders no other.

        Args:
            journal: the commit's.
            forwards: where to.
            only: targets of the files that are to be settled.
        """
        record = journal.record
        indexes = [index for index, file in enumerate(record.files) if file.target in only]
        settled = Settled(record, forwards)
        try:
            self._settle_files(journal, indexes, settled)
        except ClientError:
            settled = Settled(record, forwards)
            for index, file in record.clients:
                if index not in indexes:
                    continue
                try:
                    self._settle_files(journal, record.with_its_own(index), settled)
                except ClientError as exc:
                    settled.failed.append((file.path, exc))
        return settled

    def _settle_files(self, journal: Journal, indexes: Iterable[int], settled: Settled) -> None:
        """Settle these files; those that somebody has edited since are left alone, and named.

        So are those that surely cannot be written, on the way forwards: they cannot have been
        begun, or are another's by now, and nobody waits for them but the next plan.
        """
        goal = "after" if settled.forwards else "before"
        steps: list[Step] = []
        for index in indexes:
            file = journal.record.files[index]
            stay = {*settled.left, *(path for path, _ in settled.refused)}
            if file.is_record and journal.record.files[index - 1].path in stay:
                continue  # it goes where its rows go
            new, way = journal.image(index, goal), journal.image(index, "expand")
            storage = self._storages[file.medium]
            storage.sweep(file.target, file.states)
            snapshot = storage.again(file.path, new)
            if digest(snapshot.content) not in file.states:
                settled.left.append(file.path)
                continue
            step = Step(file.label, snapshot, new, file.private, expand=way, medium=file.medium)
            if step.idle:
                continue
            try:
                storage.refuse_unwritable(snapshot)
            except FileTrouble as exc:
                if not settled.forwards:
                    raise
                settled.refused.append((file.path, exc))
                continue
            steps.append(step)
        self._storages.carry_out(steps, set())

    def _supersede(self, newer: CommitRecord) -> None:
        """Close older commits that could not be settled: this one's contents count now."""
        targets = {file.target for file in newer.files}
        with _told_only():
            for journal in self._journals.opened():
                others = {file.target for file in journal.record.files}
                if journal.record.id != newer.id and targets & others:
                    journal.finish()

    def _tidy(self) -> None:
        with _told_only():
            self._journals.tidy(holding_first)


@contextlib.contextmanager
def _told_only() -> Iterator[None]:
    """Trouble with what is left over does not spoil what is done."""
    try:
        yield
    except ClientError as exc:
        log.warning("%s", exc)
