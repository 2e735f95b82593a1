"""One commit over all clients: all or nothing.

A file here may also be rows in another program's database: they are changed by one
transaction where a file is renamed, and an image of these rows stands for the file's bytes.

How it goes, under one lock for the journal and one for each file:

1. every file must still be what it was when it was planned;
2. the journal is written: what each file holds, and what it is to hold;
3. every new content is laid down beside its file, complete and synced. What is likely to
   fail (a full disk, missing rights) has failed by now, and no client has been touched;
4. the renames: first each file's expanded content, in which the old login can be read
   beside the new one, then the final contents, files that were expanded last;
5. the journal is marked as done.

A failure on the way takes back what was renamed. A kill or a power cut leaves the journal
open, and the next start finishes the commit if its logins were proven, else takes it back.
In both a file is only written while it holds what the commit knows of it: before, expanded
or after. Anything else is somebody's edit and is left alone.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from pgherald.clock import Clock
from pgherald.errors import ChangedMeanwhile, ClientError, FileTrouble
from pgherald.files import Files, Medium, Snapshot, Staged, digest
from pgherald.files.rows import Rows
from pgherald.sync.journal import (
    CommitRecord,
    FileRecord,
    Images,
    Journal,
    Journals,
    withdraw_quietly,
)
from pgherald.sync.originals import Original, originals

log = logging.getLogger(__name__)


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
        medium: `file`, or `rows` of a database; content is then an image of rows.
    """

    label: str
    snapshot: Snapshot
    new: bytes | None = field(repr=False)
    private: bool
    expand: bytes | None = field(default=None, repr=False, kw_only=True)
    medium: str = field(default="file", kw_only=True)

    @property
    def idle(self) -> bool:
        """Whether the file is already as it is to be."""
        same = self.new == self.snapshot.content
        return same and not (self.private and self.snapshot.loose)

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
    """

    record: CommitRecord
    forwards: bool
    left: tuple[Path, ...]
    failed: tuple[tuple[Path, ClientError], ...]

    def __str__(self) -> str:
        words = ["finished" if self.forwards else "taken back"]
        words += [f"{path} left as somebody changed it" for path in self.left]
        words += [f"not yet: {error.title}" for _, error in self.failed]
        return f"interrupted commit of {self.record.at:%Y-%m-%d %H:%M:%S}Z: {'; '.join(words)}"


@dataclass(frozen=True, slots=True)
class RolledBack:
    """What a rollback did.

    Attributes:
        record: the rollback's own commit; None when there was nothing to give back.
        left: files that have been changed since the commit; they were left alone.
    """

    record: CommitRecord | None
    left: tuple[Path, ...]


class Committer:
    """Makes several writes one.

    Args:
        files: the one writer.
        folder: where the journals lie, pgherald's own.
        clock: dates the commits.
    """

    def __init__(self, files: Files, folder: Path, clock: Clock) -> None:
        self._files = files
        self._media: dict[str, Medium] = {"file": files, "rows": Rows(files.disk)}
        self._journals = Journals(files, folder)
        self._clock = clock

    def commit(self, steps: Sequence[Step], *, proven: bool, note: str) -> CommitRecord | None:
        """Write all files, or none; None when there was nothing to write.

        Args:
            steps: one for each file; the final contents are written in this order.
            proven: whether every login in them was proven. If the machine fails on the way,
                a proven commit is finished at the next start, another one taken back.
            note: what it is for, without any secret.

        Raises:
            ChangedMeanwhile: a file is not what it was planned on; nothing was written,
                or all of it was taken back.
            FileTrouble: a file cannot be written; `path` names it, and all else was taken
                back. When even that failed the message says so.
        """
        busy = [step for step in steps if not step.idle]
        if not busy:
            return None
        _refuse_twins(busy)
        with self._files.lock(self._journals.folder):
            for settled in self._recover():
                if not settled.failed:
                    # The steps were planned on what it had left half-way.
                    path = settled.record.files[0].path
                    raise ChangedMeanwhile("was settled after an interrupted commit", path=path)
            with self._locked(step.snapshot.target for step in busy):
                return self._perform(busy, proven=proven, note=note)

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

    def rollback(self, commit_id: str) -> RolledBack:
        """Give every file what it held before that commit, if it still holds what it got.

        Raises:
            FileTrouble: there is no such commit, or a file cannot be read or written; then
                nothing was written.
            ChangedMeanwhile: a file changed while it was being rolled back; likewise.
        """
        with self._files.lock(self._journals.folder):
            self._recover()
            journal = next((j for j in self._journals.done() if j.record.id == commit_id), None)
            if journal is None:
                raise FileTrouble(f"there is no commit {commit_id}")
            steps: list[Step] = []
            left: list[Path] = []
            for index, file in enumerate(journal.record.files):
                before = journal.image(index, "before")
                snapshot = self._media[file.medium].again(file.path, before)
                held = digest(snapshot.content)
                if held == file.after:
                    step = Step(file.label, snapshot, before, file.private, medium=file.medium)
                    steps.append(step)
                elif held != file.before:
                    left.append(file.path)
            # The person asks for it, so it is finished whatever happens on the way.
            record = self.commit(steps, proven=True, note=f"rollback of {commit_id}")
        return RolledBack(record, tuple(left))

    def _perform(self, steps: Sequence[Step], *, proven: bool, note: str) -> CommitRecord:
        for step in steps:
            self._media[step.medium].verify(step.snapshot)
        journal = self._journals.begin(
            self._clock.now(),
            note,
            [_record_of(step) for step in steps],
            [Images(step.snapshot.content, step.way, step.new) for step in steps],
            proven=proven,
        )
        try:
            self._carry_out(steps)
            journal.finish()
        except BaseException as exc:
            self._take_back(journal, exc)
            raise
        self._supersede(journal.record)
        self._tidy()
        return journal.record

    def _carry_out(self, steps: Sequence[Step]) -> None:
        """Stage everything, then rename everything. What was renamed stays on failure."""
        expanded = [step for step in steps if step.way is not None]
        plain = [step for step in steps if step.way is None]
        writes = [(step, step.way) for step in expanded]
        writes += [(step, step.new) for step in (*plain, *expanded)]
        now = {step.snapshot.path: step.snapshot for step in steps}
        staged: list[Staged | None] = []
        try:
            for step, content in writes:
                staged.append(self._stage(step, content))
            for (step, content), new in zip(writes, staged, strict=True):
                path = step.snapshot.path
                now[path] = self._install(step, content, new, over=now[path])
        except BaseException:
            for (step, _), new in zip(writes, staged, strict=False):
                if new is not None:
                    self._media[step.medium].discard(new)
            raise

    def _stage(self, step: Step, content: bytes | None) -> Staged | None:
        if content is None or content == step.snapshot.content:
            return None
        medium = self._media[step.medium]
        return medium.stage(step.snapshot, content, private=step.private)

    def _install(
        self, step: Step, content: bytes | None, staged: Staged | None, *, over: Snapshot
    ) -> Snapshot:
        medium = self._media[step.medium]
        if staged is not None:
            return medium.install(staged, over=over)
        return medium.remove(over) if content is None else medium.tighten(over)

    def _take_back(self, journal: Journal, cause: BaseException) -> None:
        """Undo after a failure.

        Raises:
            FileTrouble: the undo failed as well; it says both, and the journal stays open.
        """
        settled = self._settle(journal, forwards=False)
        if not settled.failed:
            withdraw_quietly(journal)
            return
        path, undo = settled.failed[0]
        log.error("a failed commit could not be taken back: %s", undo)
        if isinstance(cause, ClientError):
            raise FileTrouble(
                f"{cause.reason}; and what was written to {path} could not be taken back: "
                f"it {undo.reason}",
                "pgherald settles it before it next writes, and whenever it starts.",
                path=cause.path,
            ) from cause

    def _recover(self) -> list[Settled]:
        found: list[Settled] = []
        for journal in self._journals.opened():
            record = journal.record
            with self._locked(file.target for file in record.files):
                settled = self._settle(journal, forwards=record.proven)
            if not settled.failed:
                (journal.finish if settled.forwards else journal.withdraw)()
            log.warning("%s", settled)
            found.append(settled)
        return found

    def _settle(self, journal: Journal, *, forwards: bool) -> Settled:
        """Bring the commit's files to where they were going, or back to where they came from.

        All together if possible; else one by one, so that one that fails hinders no other.
        """
        files = journal.record.files
        failed: list[tuple[Path, ClientError]] = []
        left: list[Path] = []
        try:
            left += self._settle_files(journal, range(len(files)), forwards=forwards)
        except ClientError:
            for index, file in enumerate(files):
                try:
                    left += self._settle_files(journal, [index], forwards=forwards)
                except ClientError as exc:
                    failed.append((file.path, exc))
        return Settled(journal.record, forwards, tuple(left), tuple(failed))

    def _settle_files(
        self, journal: Journal, indexes: Iterable[int], *, forwards: bool
    ) -> list[Path]:
        """Settle these files; those that somebody has edited since are left alone, and named."""
        goal = "after" if forwards else "before"
        steps: list[Step] = []
        left: list[Path] = []
        for index in indexes:
            file = journal.record.files[index]
            new, way = journal.image(index, goal), journal.image(index, "expand")
            medium = self._media[file.medium]
            medium.sweep(file.target)
            snapshot = medium.again(file.path, new)
            if digest(snapshot.content) not in file.states:
                left.append(file.path)
                continue
            steps.append(
                Step(file.label, snapshot, new, file.private, expand=way, medium=file.medium)
            )
        self._carry_out([step for step in steps if not step.idle])
        return left

    def _supersede(self, done: CommitRecord) -> None:
        """Close older commits that could not be settled: this one's contents count now."""
        targets = {file.target for file in done.files}
        with _told_only():
            for journal in self._journals.opened():
                if targets & {file.target for file in journal.record.files}:
                    journal.finish()

    def _tidy(self) -> None:
        with _told_only():
            self._journals.tidy()

    @contextlib.contextmanager
    def _locked(self, targets: Iterable[Path]) -> Iterator[None]:
        """Hold all files' locks, taken in one order by everybody, so that nobody deadlocks."""
        with contextlib.ExitStack() as locks:
            for target in sorted(set(targets)):
                locks.enter_context(self._files.lock(target))
            yield


@contextlib.contextmanager
def _told_only() -> Iterator[None]:
    """Trouble with what is left over does not spoil what is done."""
    try:
        yield
    except ClientError as exc:
        log.warning("%s", exc)


def _refuse_twins(steps: Sequence[Step]) -> None:
    """Refuse two clients that turn out to be one file: each would undo the other's work."""
    seen: dict[Path, Path] = {}
    for step in steps:
        path, target = step.snapshot.path, step.snapshot.target
        if target in seen:
            raise FileTrouble(
                f"is the same file as {seen[target]}",
                "Give each client a file of its own in the configuration.",
                path=path,
            )
        seen[target] = path


def _record_of(step: Step) -> FileRecord:
    return FileRecord(
        step.label,
        step.snapshot.path,
        step.snapshot.target,
        step.private,
        digest(step.snapshot.content),
        digest(step.way),
        digest(step.new),
        step.medium,
    )
