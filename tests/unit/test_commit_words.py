"""A commit in words: what is refused, what is told of a failure, and of what was settled."""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import os
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from pgherald.clock import SystemClock
from pgherald.errors import ChangedMeanwhile, FileTrouble
from pgherald.files import Disk, Files
from pgherald.files.locks import LOCK_LIMIT
from pgherald.sync.commit import Committer, Settled, Step
from pgherald.sync.journal import CommitRecord, Images
from support.disks import SteppedDisk, placed

OLD, NEW = b"old CANARY-old\n", b"new CANARY-new\n"
AT = datetime(2026, 11, 24, 2, 59, 15, tzinfo=UTC)


class Watched(Files):
    """Notes which locks are taken, and whether the journals are looked at under theirs."""

    def __init__(self, locks: Path) -> None:
        super().__init__(locks)
        self.held: list[str] = []
        self.taken: list[str] = []
        self.safe: list[bool] = []

    @contextlib.contextmanager
    def lock(self, path: Path, *, limit: float = LOCK_LIMIT) -> Iterator[None]:
        with super().lock(path, limit=limit):
            self.held.append(path.name)
            self.taken.append(path.name)
            try:
                yield
            finally:
                self.held.remove(path.name)

    def names(self, folder: Path) -> tuple[str, ...]:
        if folder.name == "commits":
            self.safe.append("commits" in self.held)
        return super().names(folder)


class Home:
    """Two clients and pgherald's state, on one disk."""

    def __init__(self, root: Path, disk: Disk | None = None, files: Files | None = None) -> None:
        self.files = files or Files(root / "locks", disk)
        self.committer = Committer(self.files, root / "commits", SystemClock())
        self.first, self.second = root / "first", root / "second"
        for path in (self.first, self.second):
            if not path.exists():
                path.write_bytes(OLD)
                path.chmod(0o600)

    def steps(self) -> list[Step]:
        return [
            Step(path.name, self.files.read(path), NEW, private=True)
            for path in (self.first, self.second)
        ]

    def commit(self, steps: list[Step] | None = None) -> CommitRecord | None:
        return self.committer.commit(steps or self.steps(), proven=True, note="why")

    def interrupted(
        self, *, proven: bool, old: bytes = OLD, way: bytes | None = None, new: bytes = NEW
    ) -> str:
        """A commit that was begun, and whose first file was written; its id."""
        steps = [dataclasses.replace(step, expand=way, new=new) for step in self.steps()]
        journal = self.committer._journals.begin(
            AT, "why", [step.record for step in steps],
            [Images(old, way, new) for _ in steps], proven=proven,
        )  # fmt: skip
        self.first.write_bytes(way or new)
        return journal.record.id


def test_one_file_for_two_clients_is_refused(tmp_path: Path) -> None:
    """The second one is named, with the first, and what to do."""
    home = Home(tmp_path)
    link = tmp_path / "link"
    link.symlink_to(home.first)
    steps = [Step("a", home.files.read(path), NEW, private=True) for path in (home.first, link)]
    with pytest.raises(FileTrouble) as caught:
        home.commit(steps)
    assert caught.value.reason == f"is the same file as {home.first}"
    assert caught.value.advice == "Give each client a file of its own in the configuration."
    assert caught.value.path == link
    assert home.first.read_bytes() == OLD


def test_a_failure_that_cannot_be_taken_back_is_told_whole(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """What failed first, which file is left as it should not be, and what becomes of it."""

    class Dying(SteppedDisk):
        dead = False

        def step(self, name: str, args: tuple[Any, ...]) -> None:
            path = placed(name, args)
            if path is not None and path.name in ("second", "first" if self.dead else "second"):
                self.dead = True
                raise OSError(5, os.strerror(5))

    home = Home(tmp_path, Dying())
    with pytest.raises(FileTrouble) as caught:
        home.commit()
    fault = "cannot be written: the disk reports a fault"
    assert caught.value.reason == (
        f"{fault}; and what was written to {home.first} could not be taken back: it {fault}"
    )
    assert caught.value.advice == (
        "pgherald settles it before it next writes, and whenever it starts."
    )
    assert caught.value.path == home.second
    assert "a failed commit could not be taken back" in caplog.text
    (left,) = (tmp_path / "commits").iterdir()
    assert left.name.endswith(".open")
    settled = Home(tmp_path).committer.recover()
    assert [one.forwards for one in settled] == [True]
    assert [path.read_bytes() for path in (home.first, home.second)] == [NEW, NEW]


def test_a_plan_on_what_was_half_way_is_planned_again(tmp_path: Path) -> None:
    """An interrupted commit is settled first, and the new one planned on what is there then."""
    home = Home(tmp_path)
    home.interrupted(proven=True)
    steps = home.steps()
    with pytest.raises(ChangedMeanwhile) as caught:
        home.commit(steps)
    assert caught.value.reason == "was settled after an interrupted commit"
    assert caught.value.path == home.first
    assert home.second.read_bytes() == NEW


@pytest.mark.parametrize("proven", [True, False])
def test_what_was_settled_is_logged(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, *, proven: bool
) -> None:
    """As a warning: which commit, and whether it was finished or taken back."""
    home = Home(tmp_path)
    commit_id = home.interrupted(proven=proven)
    (settled,) = home.committer.recover()
    assert (settled.record.id, settled.forwards) == (commit_id, proven)
    assert [record.levelno for record in caplog.records] == [logging.WARNING]
    words = "finished" if proven else "taken back"
    assert caplog.messages == [f"interrupted commit of 2026-11-24 02:59:15Z: {words}"]
    assert home.first.read_bytes() == home.second.read_bytes() == (NEW if proven else OLD)
    assert home.committer.recover() == []


def test_what_was_settled_in_words() -> None:
    """Files that were edited since are named, those that cannot be written, and what is to be done."""
    record = CommitRecord("x", AT, "why", proven=True, files=())
    trouble = FileTrouble("is locked", path=Path("/c"))
    foreign = FileTrouble("belongs to user 0", path=Path("/d"))
    settled = Settled(
        record, True, (Path("/a"), Path("/b")), ((Path("/c"), trouble),), ((Path("/d"), foreign),)
    )
    assert str(settled) == (
        "interrupted commit of 2026-11-24 02:59:15Z: finished; /a left as somebody changed it; "
        "/b left as somebody changed it; /d left as it belongs to user 0; "
        f"not yet: {trouble.title}"
    )


def test_a_rollback_of_what_is_not_there(tmp_path: Path) -> None:
    """The commit that was asked for is named."""
    with pytest.raises(FileTrouble, match=r"^there is no commit 7$"):
        Home(tmp_path).committer.rollback("7")


def test_a_rollback_says_what_it_left(tmp_path: Path) -> None:
    """A file that was edited since is left and named; one that already is as before is not."""
    home = Home(tmp_path)
    done = home.commit()
    assert done is not None
    home.first.write_bytes(b"edited")
    home.second.write_bytes(OLD)
    undone = home.committer.rollback(done.id)
    assert (undone.record, undone.left) == (None, (home.first,))
    home.first.write_bytes(NEW)
    undone = home.committer.rollback(done.id)
    assert undone.record is not None
    assert (undone.record.note, undone.record.proven) == (f"rollback of {done.id}", True)
    assert [file.label for file in undone.record.files] == ["first"]
    assert undone.left == ()
    assert [record.note for record in home.committer.history()] == [undone.record.note, "why"]


def test_an_interrupted_commit_is_settled_before_a_rollback(tmp_path: Path) -> None:
    """What it was to write counts as written, so the commit before it can no longer be taken back."""
    home = Home(tmp_path)
    done = home.commit()
    assert done is not None
    home.interrupted(proven=True, old=NEW, new=b"newer")
    undone = home.committer.rollback(done.id)
    assert (undone.record, undone.left) == (None, (home.first, home.second))
    assert home.first.read_bytes() == home.second.read_bytes() == b"newer"


def test_what_a_step_has_to_do(tmp_path: Path) -> None:
    """Nothing where the content is right, whatever the mode; no way that leads nowhere."""
    home = Home(tmp_path)
    home.first.chmod(0o644)
    old = home.files.read(home.first)
    assert all(Step("a", old, OLD, private=private).idle for private in (True, False))
    assert not Step("a", old, NEW, private=False).idle
    ways = [Step("a", old, NEW, private=True, expand=way).way for way in (None, OLD, NEW, b"x")]
    assert ways == [None, None, None, b"x"]


def test_an_interrupted_commit_goes_on_by_the_way_that_it_had(tmp_path: Path) -> None:
    """Readers find both logins in between, in a recovery as well."""
    seen: list[bytes] = []

    class Watching(SteppedDisk):
        def step(self, name: str, args: tuple[Any, ...]) -> None:
            if placed(name, args) == tmp_path / "second":
                seen.append(args[0].read_bytes())

    home = Home(tmp_path, Watching())
    home.interrupted(proven=True, way=b"both")
    home.committer.recover()
    assert seen == [b"both", NEW]
    assert home.first.read_bytes() == NEW


def test_nothing_to_write_is_no_commit(tmp_path: Path) -> None:
    """Equal content leaves no trace."""
    home = Home(tmp_path)
    steps = [Step("a", home.files.read(home.first), OLD, private=True)]
    assert home.committer.commit(steps, proven=True, note="x") is None
    assert home.committer.history() == []


def test_what_each_held_at_first(tmp_path: Path) -> None:
    """However often it was written since."""
    home = Home(tmp_path)
    home.commit()
    home.commit([Step("again", home.files.read(home.first), b"third", private=True)])
    found = home.committer.originals()
    assert {path.name: (o.label, o.content, o.medium) for path, o in found.items()} == {
        "first": ("first", OLD, "file"),
        "second": ("second", OLD, "file"),
    }


def test_journals_are_looked_at_under_their_lock(tmp_path: Path) -> None:
    """Another pgherald may be writing one, or deleting old ones, at the same moment."""
    files = Watched(tmp_path / "locks")
    home = Home(tmp_path, files=files)
    done = home.commit()
    assert done is not None
    deeds: list[Callable[[], object]] = [
        home.committer.recover,
        home.committer.history,
        home.committer.originals,
        lambda: home.committer.rollback(done.id),
    ]
    for deed in deeds:
        files.safe.clear()
        deed()
        assert set(files.safe) == {True}


def test_locks_are_taken_in_one_order(tmp_path: Path) -> None:
    """By everybody, whatever the order of their clients, so that two never wait for each other."""
    names = ["e", "a", "f", "c", "b", "d"]
    files = Watched(tmp_path / "locks")
    home = Home(tmp_path, files=files)
    home.commit([Step(n, files.read(tmp_path / n), NEW, private=True) for n in names])
    assert files.taken == ["commits", *sorted(names)]


def test_a_recovery_holds_the_files_that_it_settles(tmp_path: Path) -> None:
    """As a commit does: somebody else may be about to write them."""
    files = Watched(tmp_path / "locks")
    home = Home(tmp_path, files=files)
    home.interrupted(proven=True)
    home.committer.recover()
    assert files.taken == ["commits", "first", "second"]


def test_the_first_that_cannot_be_taken_back_is_named(tmp_path: Path) -> None:
    """Of several, the one that was written first."""

    class Dying(SteppedDisk):
        dead = False

        def step(self, name: str, args: tuple[Any, ...]) -> None:
            path = placed(name, args)
            self.dead |= path == tmp_path / "third"
            if self.dead and path is not None and path.parent == tmp_path:
                raise OSError(5, os.strerror(5))

    home = Home(tmp_path, Dying())
    third = Step("third", home.files.read(tmp_path / "third"), NEW, private=True)
    with pytest.raises(FileTrouble) as caught:
        home.commit([*home.steps(), third])
    assert f"what was written to {home.first} could not be taken back" in caught.value.reason
