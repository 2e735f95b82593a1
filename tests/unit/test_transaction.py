"""The commit and its journal: all or nothing, settled after an accident, taken back on demand."""

from __future__ import annotations

import contextlib
import errno
import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, cast

import pytest

from pgherald.errors import ChangedMeanwhile, FileTrouble
from pgherald.files import Disk, Files, Identity, digest
from pgherald.files.locks import LOCK_LIMIT
from pgherald.sync.transaction import Step, Transactions
from support.disks import QuickDisk, SteppedDisk, placed
from support.fake_clock import FakeClock

OLD = b"old CANARY-old\n"
BOTH = b"both CANARY-new CANARY-old\n"
NEW = b"new CANARY-new\n"
EDITED = b"edited CANARY-edit\n"


class Clients:
    """Files of clients, and a committer for them."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.folder = root / "state" / "commits"
        self.clock = FakeClock()
        self.a, self.b = self.add("a"), self.add("b")

    def add(self, name: str) -> Path:
        path = self.root / name
        path.write_bytes(OLD)
        path.chmod(0o600)
        return path

    def files(self, disk: Disk | None = None) -> Files:
        return Files(self.root / "state" / "locks", disk or QuickDisk())

    def committer(self, disk: Disk | None = None) -> Transactions:
        return Transactions(self.files(disk), self.folder, self.clock)

    def step(self, path: Path, new: bytes | None = NEW, *, expand: bytes | None = None) -> Step:
        return Step(path.name, self.files().read(path), new, private=True, expand=expand)

    def commit(
        self, *steps: Step, disk: Disk | None = None, proven: bool = True, note: str = "test"
    ) -> str:
        record = self.committer(disk).commit(steps, proven=proven, note=note)
        assert record is not None
        return record.id

    def journals(self) -> list[str]:
        found = self.folder.iterdir() if self.folder.exists() else []
        return sorted(path.name for path in found)

    def interrupt(self, *steps: Step, after: int, proven: bool = True) -> str:
        """Die in a commit after so many renames of clients; the open journal's name."""
        disk = DyingDisk(self.root, after)
        with pytest.raises(Death):
            self.committer(disk).commit(steps, proven=proven, note="test")
        (name,) = self.opened()
        return name

    def opened(self) -> list[str]:
        return [name for name in self.journals() if name.endswith(".open")]

    def of_0_1_0(
        self,
        number: int,
        files: Sequence[tuple[Path, bytes, bytes]],
        *,
        proven: bool = True,
    ) -> None:
        """A journal as pgherald 0.1.0 left it open: (file, before, after) of each client."""
        folder = self.folder / f"20261124T0259{number:02}Z-{number:04}.open"
        folder.mkdir(parents=True, mode=0o700)
        self.folder.chmod(0o700)
        self.folder.parent.chmod(0o700)
        rows = []
        for index, (path, before, after) in enumerate(files):
            (folder / f"{index}.before").write_bytes(before)
            (folder / f"{index}.after").write_bytes(after)
            rows.append(
                {
                    "label": path.name,
                    "path": str(path),
                    "target": str(path),
                    "private": True,
                    "before": digest(before),
                    "expand": None,
                    "after": digest(after),
                    "medium": "file",
                }
            )
        manifest = {
            "format": 2,
            "at": f"2026-11-24T02:59:{number:02}+00:00",
            "note": "update shop/DATABASE (user, password)",
            "proven": proven,
            "files": rows,
        }
        (folder / "manifest.json").write_text(json.dumps(manifest, indent=1))


class Death(BaseException):
    """Stands for the end of the process: after it, nothing works any more."""


class DyingDisk(SteppedDisk):
    """The process ends right before a rename of a client, without being able to undo."""

    def __init__(self, clients: Path, after: int) -> None:
        self._clients = clients
        self._after = after
        self._dead = False

    def step(self, name: str, args: tuple[Any, ...]) -> None:
        if (path := placed(name, args)) is not None and path.parent == self._clients:
            self._dead = self._dead or self._after == 0
            self._after -= 1
        if self._dead:
            raise Death


@pytest.fixture
def clients(tmp_path: Path) -> Clients:
    return Clients(tmp_path)


class TestCommitting:
    def test_all_files_are_written_and_the_record_tells_it(self, clients: Clients) -> None:
        """A commit is one deed with one record, which the history shows."""
        committer = clients.committer()
        steps = [clients.step(clients.a, expand=BOTH), clients.step(clients.b)]
        record = committer.commit(steps, proven=True, note="update shop/DATABASE")
        assert record is not None
        assert clients.a.read_bytes() == clients.b.read_bytes() == NEW
        assert record.at == clients.clock.now()
        assert record.note == "update shop/DATABASE"
        assert record.proven
        assert [(file.label, file.path) for file in record.files] == [
            ("a", clients.a),
            ("b", clients.b),
        ]
        assert committer.history() == [record]

    def test_a_file_that_changed_since_the_plan_stops_all(self, clients: Clients) -> None:
        """A stale plan is not carried out anywhere; no journal is written for it."""
        steps = [clients.step(clients.a), clients.step(clients.b)]
        clients.b.write_bytes(EDITED)
        with pytest.raises(ChangedMeanwhile) as caught:
            clients.commit(*steps)
        assert caught.value.path == clients.b
        assert (clients.a.read_bytes(), clients.b.read_bytes()) == (OLD, EDITED)
        assert not clients.folder.exists()

    def test_two_clients_in_one_file_are_refused(self, clients: Clients) -> None:
        """Two plans for one file, through whatever link, would undo each other."""
        link = clients.root / "link"
        link.symlink_to(clients.a)
        with pytest.raises(FileTrouble, match=f"the same file as {clients.a}") as caught:
            clients.commit(clients.step(clients.a), clients.step(link))
        assert caught.value.path == link
        assert clients.a.read_bytes() == OLD

    @pytest.mark.parametrize("cause", [KeyboardInterrupt(), OSError(errno.EIO, "no")])
    def test_an_undo_that_fails_leaves_the_journal_open(
        self, clients: Clients, cause: BaseException
    ) -> None:
        """What cannot be taken back now is settled before the next commit."""

        class BrokenDisk(SteppedDisk):
            broken = False

            def step(self, name: str, args: tuple[Any, ...]) -> None:
                if placed(name, args) == clients.b:
                    self.broken = True
                    raise cause
                if self.broken and name == "open" and args[0].parent == clients.root:
                    raise OSError(errno.EROFS, "no")

        raised = type(cause) if isinstance(cause, KeyboardInterrupt) else FileTrouble
        steps = [clients.step(clients.a), clients.step(clients.b)]
        with pytest.raises(raised) as caught:
            clients.commit(*steps, disk=BrokenDisk(), proven=False)
        if raised is FileTrouble:
            assert "could not be taken back" in str(caught.value)
        assert (clients.a.read_bytes(), clients.b.read_bytes()) == (NEW, OLD)
        # The plan was made on what is half-way, even if it is only about the other file.
        with pytest.raises(ChangedMeanwhile, match="interrupted commit"):
            clients.commit(clients.step(clients.b))
        assert clients.a.read_bytes() == clients.b.read_bytes() == OLD
        clients.commit(clients.step(clients.a), clients.step(clients.b))


class TestRecovering:
    @pytest.mark.parametrize("edit", [EDITED, None])
    @pytest.mark.parametrize("proven", [True, False])
    def test_what_somebody_edited_meanwhile_is_left(
        self, clients: Clients, edit: bytes | None, *, proven: bool
    ) -> None:
        """A file that holds nothing of the commit's any more is the person's, or deleted."""
        steps = [clients.step(clients.a), clients.step(clients.b)]
        clients.interrupt(*steps, after=1, proven=proven)
        clients.b.unlink() if edit is None else clients.b.write_bytes(edit)
        (settled,) = clients.committer().recover()
        assert settled.left == [clients.b]
        assert str(clients.b) in str(settled)
        assert clients.a.read_bytes() == (NEW if proven else OLD)
        assert (clients.b.read_bytes() if clients.b.exists() else None) == edit

    def test_a_file_that_fails_hinders_no_other_and_is_tried_again(self, clients: Clients) -> None:
        """The others agree at once; the journal stays open for the one that could not."""
        steps = [clients.step(clients.a), clients.step(clients.b)]
        name = clients.interrupt(*steps, after=1, proven=True)
        aside = clients.b.rename(clients.root / "aside")
        clients.b.mkdir()
        (settled,) = clients.committer().recover()
        assert [path for path, _ in settled.failed] == [clients.b]
        assert "is a folder" in str(settled)
        assert clients.a.read_bytes() == NEW
        assert clients.journals() == [name]
        clients.b.rmdir()
        aside.rename(clients.b)
        (settled,) = clients.committer().recover()
        assert settled.failed == []
        assert clients.b.read_bytes() == NEW

    @pytest.mark.parametrize("shared", [True, False])
    def test_a_later_commit_makes_an_unsettled_one_obsolete(
        self, clients: Clients, *, shared: bool
    ) -> None:
        """What was written later is never taken back by what was interrupted before."""
        steps = [clients.step(clients.a), clients.step(clients.b)]
        name = clients.interrupt(*steps, after=1, proven=False)
        clients.b.unlink()
        clients.b.mkdir()
        later = clients.a if shared else clients.add("c")
        assert clients.committer().recover()[0].failed
        assert clients.a.read_bytes() == OLD
        clients.commit(clients.step(later))
        assert (name in clients.journals()) is not shared
        clients.committer().recover()
        assert later.read_bytes() == NEW

    def test_a_journal_that_cannot_be_read_now_is_not_given_up(
        self, clients: Clients, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        """A passing fault of the disk is logged; the journal waits, and holds up no other."""
        steps = [clients.step(clients.a), clients.step(clients.b)]
        name = clients.interrupt(*steps, after=1)
        read = Path.read_bytes

        def faulty(path: Path) -> bytes:
            if path.name == "manifest.json":
                raise OSError(errno.EIO, "the test's")
            return read(path)

        with monkeypatch.context() as patch:
            patch.setattr(Path, "read_bytes", faulty)
            clients.committer().recover()
        assert "the disk reports a fault" in caplog.text
        assert clients.journals() == [name]
        clients.committer().recover()
        assert clients.b.read_bytes() == NEW


class TestRollingBack:
    def test_every_file_gets_back_what_it_held(self, clients: Clients) -> None:
        """A rollback is a commit of its own, and can be rolled back in turn."""
        clients.b.unlink()
        commit_id = clients.commit(clients.step(clients.a), clients.step(clients.b))
        committer = clients.committer()
        done = committer.rollback(commit_id)
        assert [step.label for step in done.steps] == ["a", "b"]
        assert clients.a.read_bytes() == OLD
        assert not clients.b.exists()
        again = committer.history()[0]
        assert (again.note, again.proven) == (f"rollback of {commit_id}", True)
        committer.rollback(again.id)
        assert clients.a.read_bytes() == clients.b.read_bytes() == NEW

    def test_an_interrupted_commit_is_settled_first(self, clients: Clients) -> None:
        """What it was to write counts as written, so the one before can no longer be taken back."""
        commit_id = clients.commit(clients.step(clients.a), clients.step(clients.b))
        clients.interrupt(clients.step(clients.a, EDITED), clients.step(clients.b, EDITED), after=1)
        done = clients.committer().rollback(commit_id)
        assert (done.steps, done.left) == ((), (clients.a, clients.b))
        assert clients.a.read_bytes() == clients.b.read_bytes() == EDITED

    def test_a_killed_rollback_is_finished(self, clients: Clients) -> None:
        """Who asked to go back is not left half-way, deleted files included."""
        new = clients.add("new")
        new.unlink()
        commit_id = clients.commit(
            clients.step(new), clients.step(clients.a), clients.step(clients.b)
        )
        with pytest.raises(Death):
            clients.committer(DyingDisk(clients.root, 1)).rollback(commit_id)
        clients.committer().recover()
        assert clients.a.read_bytes() == clients.b.read_bytes() == OLD
        assert not new.exists()

    def test_a_lost_image_stops_it_before_anything_is_written(self, clients: Clients) -> None:
        """What cannot be given back whole is not given back in part."""
        commit_id = clients.commit(clients.step(clients.a), clients.step(clients.b))
        (clients.folder / commit_id / "1.before").write_bytes(b"torn")
        with pytest.raises(FileTrouble, match="not what was written"):
            clients.committer().rollback(commit_id)
        assert clients.a.read_bytes() == NEW


# --- what a commit does not change it does not touch ----------------------------------------

NEWER = b"newer CANARY-newer\n"


USER = 4321


class Owned:
    """A stat result with another owner."""

    def __init__(self, found: os.stat_result, uid: int) -> None:
        self._found = found
        self.st_uid = uid

    def __getattr__(self, name: str) -> Any:
        return getattr(self._found, name)


class NotOurs(QuickDisk):
    """Everything is this user's, save one file, which is root's."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def euid(self) -> int:
        return USER

    def _owned(self, found: os.stat_result) -> os.stat_result:
        same = os.path.samestat(found, self._path.stat())
        return cast("os.stat_result", Owned(found, 0 if same else USER))

    def fstat(self, fd: int) -> os.stat_result:
        return self._owned(super().fstat(fd))

    def stat(self, path: Path) -> os.stat_result:
        return self._owned(super().stat(path))

    def lstat(self, path: Path) -> os.stat_result:
        return self._owned(super().lstat(path))


@pytest.mark.parametrize("proven", [True, False])
def test_a_recovery_touches_nothing_that_is_as_it_is_to_be(
    clients: Clients, *, proven: bool
) -> None:
    """A file that holds what it is to hold is done, whoever owns it and whoever may read it."""
    goal = NEW if proven else OLD
    clients.b.write_bytes(goal)
    clients.b.chmod(0o644)
    before = Identity.of(clients.b.stat()), clients.b.stat().st_mode
    clients.of_0_1_0(1, [(clients.a, OLD, NEW), (clients.b, OLD, NEW)], proven=proven)
    (settled,) = clients.committer(NotOurs(clients.b)).recover()
    assert (settled.failed, settled.left, settled.refused) == ([], [], [])
    assert (clients.a.read_bytes(), clients.opened()) == (goal, [])
    assert (Identity.of(clients.b.stat()), clients.b.stat().st_mode) == before


def piled_up(clients: Clients) -> None:
    """What 0.1.0 left of thirty sweeps with two rotations past a file of somebody else's."""
    clients.of_0_1_0(1, [(clients.a, OLD, NEW), (clients.b, OLD, NEW)])
    for number in range(2, 16):
        clients.of_0_1_0(number, [(clients.b, OLD, NEW)])
    clients.of_0_1_0(16, [(clients.a, NEW, NEWER), (clients.b, OLD, NEWER)])
    for number in range(17, 31):
        clients.of_0_1_0(number, [(clients.b, OLD, NEWER)])
    clients.a.write_bytes(NEWER)
    clients.b.chmod(0o644)


def test_journals_that_piled_up_are_settled_at_the_next_start(
    clients: Clients, caplog: pytest.LogCaptureFixture
) -> None:
    """They are closed, few words are lost over it, and what they held is tidied away."""
    piled_up(clients)
    before = Identity.of(clients.b.stat()), clients.b.stat().st_mode
    committer = clients.committer(NotOurs(clients.b))
    settled = committer.recover()
    assert [path for one in settled for path, _ in one.refused] == [clients.b]
    assert [one.failed for one in settled if one.failed] == []
    assert clients.opened() == []
    assert (Identity.of(clients.b.stat()), clients.b.stat().st_mode) == before
    assert clients.a.read_bytes() == NEWER
    assert len(caplog.messages) <= 3
    assert "belongs to user" in caplog.text
    assert "CANARY" not in caplog.text
    assert list(clients.folder.rglob("*.after")) == []
    assert len(list(clients.folder.iterdir())) <= 8
    caplog.clear()
    assert clients.committer(NotOurs(clients.b)).recover() == []
    assert caplog.messages == []


class Stuck(SteppedDisk):
    """The odd file can be staged and not replaced; with `broken`, nothing can be any more."""

    def __init__(self, clients: Clients) -> None:
        self._clients = clients
        self.broken = False
        self.heals = False

    def step(self, name: str, args: tuple[Any, ...]) -> None:
        target = None if self.heals else placed(name, args)
        if target is None or target.parent != self._clients.root:
            return
        if target == self._clients.b or self.broken:
            self.broken = True
            raise OSError(errno.EIO, "no")


def test_whatever_goes_wrong_one_journal_is_open(
    clients: Clients, caplog: pytest.LogCaptureFixture
) -> None:
    """Ten commits that fail and cannot be taken back: one journal, and each word once."""
    disk = Stuck(clients)
    committer = clients.committer(disk)
    for turn in range(10):
        disk.broken = False
        new = b"CANARY %d" % turn
        clients.clock.jump(60)
        steps = [clients.step(clients.a, new), clients.step(clients.b, new)]
        with pytest.raises((FileTrouble, ChangedMeanwhile)):
            committer.commit(steps, proven=True, note="test")
        assert len(clients.opened()) <= 1
    assert len(clients.opened()) == 1
    assert len(caplog.messages) == len(set(caplog.messages)) <= 4
    assert clients.b.read_bytes() == OLD
    disk.heals = True
    committer.recover()
    assert clients.opened() == []
    assert clients.a.read_bytes() == clients.b.read_bytes()


class Locked(Files):
    """Another pgherald holds the odd file for good."""

    @contextlib.contextmanager
    def lock(self, path: Path, *, limit: float = LOCK_LIMIT) -> Iterator[None]:
        if path.name == "b":
            raise FileTrouble("is being written by another pgherald", path=path)
        with super().lock(path, limit=limit):
            yield


def test_a_client_that_cannot_be_locked_hinders_no_start(clients: Clients) -> None:
    """Its journal waits; the others are committed, and at most one stays open."""
    clients.of_0_1_0(1, [(clients.b, OLD, NEW)])
    files = Locked(clients.root / "state" / "locks", QuickDisk())
    committer = Transactions(files, clients.folder, clients.clock)
    (settled,) = committer.recover()
    assert [path for path, _ in settled.failed] == [clients.b]
    assert "by another pgherald" in str(settled)
    assert committer.commit([clients.step(clients.a)], proven=True, note="test") is not None
    for _ in range(3):
        with pytest.raises(FileTrouble, match="by another pgherald") as caught:
            committer.commit([clients.step(clients.b)], proven=True, note="test")
        assert caught.value.path == clients.b
    assert clients.a.read_bytes() == NEW
    assert len(clients.opened()) == 1


# --- locks -----------------------------------------------------------------------------------


class Watched(Files):
    """Notes which locks are taken, and whether the journals are read under theirs."""

    def __init__(self, locks: Path) -> None:
        super().__init__(locks, QuickDisk())
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


def test_locks_are_taken_in_one_order(clients: Clients) -> None:
    """By everybody, whatever the order of the clients, so that two never wait for each other.

    The journals are read under theirs alone, since another pgherald may be writing one; and a
    recovery holds the files that it settles, as a commit does.
    """
    files = Watched(clients.root / "state" / "locks")
    committer = Transactions(files, clients.folder, clients.clock)
    steps = [clients.step(clients.root / name) for name in "eafcbd"]
    committer.commit(steps, proven=True, note="test")
    assert files.taken == ["commits", *"abcdef"]
    committer.history()
    committer.originals()
    clients.interrupt(clients.step(clients.b, OLD), clients.step(clients.a, OLD), after=1)
    files.taken.clear()
    committer.recover()
    assert files.taken == ["commits", "a", "b"]
    assert set(files.safe) == {True}
