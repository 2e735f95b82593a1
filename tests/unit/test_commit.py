"""The commit and its journal: all or nothing, settled after an accident, taken back on demand."""

from __future__ import annotations

import contextlib
import errno
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pgherald.errors import ChangedMeanwhile, FileTrouble
from pgherald.files import Disk, Files, Identity
from pgherald.sync import journal as journals
from pgherald.sync.commit import Committer, Step
from support.disks import FailingDisk, QuickDisk, SteppedDisk, placed
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

    def committer(self, disk: Disk | None = None) -> Committer:
        return Committer(self.files(disk), self.folder, self.clock)

    def step(self, path: Path, new: bytes | None = NEW, *, expand: bytes | None = None) -> Step:
        return Step(path.name, self.files().read(path), new, private=True, expand=expand)

    def commit(
        self, *steps: Step, disk: Disk | None = None, proven: bool = True, note: str = "test"
    ) -> str:
        record = self.committer(disk).commit(steps, proven=proven, note=note)
        assert record is not None
        return record.id

    def journals(self) -> list[str]:
        return sorted(path.name for path in self.folder.iterdir())

    def interrupt(self, *steps: Step, after: int, proven: bool = True) -> str:
        """Die in a commit after so many renames of clients; the open journal's name."""
        disk = DyingDisk(self.root, after)
        with pytest.raises(Death):
            self.committer(disk).commit(steps, proven=proven, note="test")
        (name,) = [name for name in self.journals() if name.endswith(".open")]
        return name


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


class LockingDisk(SteppedDisk):
    """One file is locked against change."""

    def __init__(self, locked: Path) -> None:
        self._locked = locked

    def step(self, name: str, args: tuple[Any, ...]) -> None:
        if placed(name, args) == self._locked:
            raise OSError(errno.EPERM, "no")


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

    def test_nothing_to_write_writes_nothing(self, clients: Clients) -> None:
        """Files that are right already leave no trace, not even a journal."""
        steps = [clients.step(clients.a, OLD, expand=BOTH), clients.step(clients.b, OLD)]
        assert clients.committer().commit(steps, proven=True, note="test") is None
        assert not (clients.root / "state").exists()

    def test_what_is_expanded_is_contracted_last(self, clients: Clients) -> None:
        """Whoever reads two clients in between can always log in."""
        seen: list[tuple[bytes, bytes]] = []

        class WatchingDisk(SteppedDisk):
            def step(self, name: str, args: tuple[Any, ...]) -> None:
                now = (clients.a.read_bytes(), clients.b.read_bytes())
                if not seen or seen[-1] != now:
                    seen.append(now)

        clients.commit(
            clients.step(clients.a, expand=BOTH), clients.step(clients.b), disk=WatchingDisk()
        )
        assert seen == [(OLD, OLD), (BOTH, OLD), (BOTH, NEW), (NEW, NEW)]

    @pytest.mark.parametrize("expand", [OLD, NEW, None])
    def test_an_expansion_that_changes_nothing_is_skipped(
        self, clients: Clients, expand: bytes | None
    ) -> None:
        """Each file is renamed no more often than needed."""
        renamed: list[Path] = []

        class WatchingDisk(SteppedDisk):
            def step(self, name: str, args: tuple[Any, ...]) -> None:
                if (path := placed(name, args)) is not None:
                    renamed.append(path)

        clients.commit(clients.step(clients.a, expand=expand), disk=WatchingDisk())
        assert renamed.count(clients.a) == 1

    def test_a_step_that_changes_no_bytes_touches_nothing(self, clients: Clients) -> None:
        """A file that is right already is left as it is, even one that is open to others."""
        clients.a.chmod(0o644)
        before = Identity.of(clients.a.stat()), clients.a.stat().st_mode
        clients.commit(clients.step(clients.a, OLD, expand=BOTH), clients.step(clients.b))
        assert (Identity.of(clients.a.stat()), clients.a.stat().st_mode) == before
        assert clients.b.read_bytes() == NEW

    def test_a_file_that_changed_since_the_plan_stops_all(self, clients: Clients) -> None:
        """A stale plan is not carried out anywhere; no journal is written for it."""
        steps = [clients.step(clients.a), clients.step(clients.b)]
        clients.b.write_bytes(EDITED)
        with pytest.raises(ChangedMeanwhile) as caught:
            clients.commit(*steps)
        assert caught.value.path == clients.b
        assert (clients.a.read_bytes(), clients.b.read_bytes()) == (OLD, EDITED)
        assert not clients.folder.exists()

    def test_journal_and_files_have_one_writer_at_a_time(self, clients: Clients) -> None:
        """While a commit writes, no other pgherald may touch its journal or its clients."""
        refused: set[Path] = set()

        class NosyDisk(SteppedDisk):
            def step(self, name: str, args: tuple[Any, ...]) -> None:
                if placed(name, args) is None:
                    return
                for path in (clients.folder, clients.a, clients.b):
                    with contextlib.suppress(FileTrouble), clients.files().lock(path, limit=0):
                        pytest.fail(f"{path} is not locked")
                    refused.add(path)

        clients.commit(clients.step(clients.a), clients.step(clients.b), disk=NosyDisk())
        assert refused == {clients.folder, clients.a, clients.b}

    def test_two_clients_in_one_file_are_refused(self, clients: Clients) -> None:
        """Two plans for one file, through whatever link, would undo each other."""
        link = clients.root / "link"
        link.symlink_to(clients.a)
        with pytest.raises(FileTrouble, match=f"the same file as {clients.a}") as caught:
            clients.commit(clients.step(clients.a), clients.step(link))
        assert caught.value.path == link
        assert clients.a.read_bytes() == OLD

    def test_a_failure_names_the_file_and_takes_the_others_back(self, clients: Clients) -> None:
        """The caller learns which client to leave out; the others are as they were."""
        steps = [clients.step(clients.a, expand=BOTH), clients.step(clients.b)]
        with pytest.raises(FileTrouble, match="does not allow it") as caught:
            clients.commit(*steps, disk=LockingDisk(clients.b))
        assert caught.value.path == clients.b
        assert clients.a.read_bytes() == clients.b.read_bytes() == OLD
        assert clients.journals() == []
        assert "CANARY" not in str(caught.value)

    def test_an_interruption_takes_all_back(self, clients: Clients) -> None:
        """Ctrl-C between two clients leaves neither half-way."""

        class InterruptedDisk(SteppedDisk):
            renames = 0

            def step(self, name: str, args: tuple[Any, ...]) -> None:
                if placed(name, args) == clients.b:
                    self.renames += 1
                    if self.renames == 1:
                        raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            clients.commit(clients.step(clients.a), clients.step(clients.b), disk=InterruptedDisk())
        assert clients.a.read_bytes() == clients.b.read_bytes() == OLD
        assert clients.journals() == []

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

    def test_trouble_with_old_journals_does_not_spoil_what_is_done(
        self, clients: Clients, caplog: pytest.LogCaptureFixture
    ) -> None:
        """Once the clients are right, tidying up is a matter of the log alone."""
        clients.commit(clients.step(clients.a), disk=FailingDisk(2, errno.EIO, only="unlink"))
        assert clients.a.read_bytes() == NEW
        assert "reports a fault" in caplog.text


class TestJournals:
    def test_they_are_private_and_their_names_tell_nothing(self, clients: Clients) -> None:
        """What holds secrets is the owner's alone, and neither names nor notes hold any."""
        steps = [clients.step(clients.a, expand=BOTH), clients.step(clients.b)]
        assert "CANARY" not in repr(steps)
        commit_id = clients.commit(*steps)
        folder = clients.folder / commit_id
        assert sorted(path.name for path in folder.iterdir()) == [
            "0.before",
            "1.before",
            "manifest.json",
        ]
        assert "CANARY" not in (folder / "manifest.json").read_text()
        for path in (clients.folder, folder, *folder.iterdir()):
            assert path.stat().st_mode & 0o077 == 0

    def test_the_last_five_of_each_file_are_kept(self, clients: Clients) -> None:
        """A file that rarely changes keeps its last states, however often others change."""
        rare = clients.commit(clients.step(clients.b))
        ids = [clients.commit(clients.step(clients.a, b"%d" % turn)) for turn in range(8)]
        assert clients.journals() == sorted([rare, ids[0], *ids[-5:]])

    def test_what_a_file_held_at_first_is_kept_for_good(self, clients: Clients) -> None:
        """However often a file is written, it can be given back as it was before pgherald."""
        new = clients.add("new")
        new.unlink()
        for turn in range(8):
            clients.commit(clients.step(clients.a, b"%d" % turn))
            clients.commit(clients.step(new, b"%d" % turn))
        found = clients.committer().originals()
        assert found[clients.a].content == OLD
        assert found[new].content is None
        assert clients.b not in found
        assert "CANARY" not in repr(found)

    def test_a_damaged_first_image_is_nobodys(self, clients: Clients) -> None:
        """An image that is not what was written is not given out, and hinders no other file."""
        first = clients.commit(clients.step(clients.a), clients.step(clients.b))
        clients.commit(clients.step(clients.a, EDITED))
        (clients.folder / first / "0.before").write_bytes(b"torn")
        found = clients.committer().originals()
        assert (found[clients.a].content, found[clients.b].content) == (NEW, OLD)
        clients.committer().recover()

    def test_a_clock_that_jumps_back_does_not_mix_up_the_order(self, clients: Clients) -> None:
        """Commits are counted, so the newest one is the newest whatever the clock says."""
        ids = []
        for turn in range(6):
            ids.append(clients.commit(clients.step(clients.a, b"%d" % turn)))
            clients.clock.jump(-3600)
        history = [record.id for record in clients.committer().history()]
        assert history == ids[::-1]

    def test_a_foreign_file_among_them_is_left_alone(self, clients: Clients) -> None:
        """Only what has a journal's name is taken for one."""
        clients.commit(clients.step(clients.a))
        for name in ("notes.txt", "20261124T025915Z-x", "-7", "readme"):
            (clients.folder / name).write_text("mine")
        commit_id = clients.commit(clients.step(clients.b))
        assert clients.committer().history()[0].id == commit_id
        assert commit_id.endswith("-0002")
        assert (clients.folder / "notes.txt").exists()


def break_image(folder: Path) -> None:
    (folder / "0.after").write_bytes(b"torn")


def lose_image(folder: Path) -> None:
    (folder / "0.before").unlink()


def break_manifest(folder: Path) -> None:
    (folder / "manifest.json").write_text("{")


def forget_manifest(folder: Path) -> None:
    (folder / "manifest.json").unlink()


def empty_manifest(folder: Path) -> None:
    (folder / "manifest.json").write_text("[]")


def strip_manifest(folder: Path) -> None:
    (folder / "manifest.json").write_text(json.dumps({"format": journals.FORMAT}))


def newer_manifest(folder: Path) -> None:
    (folder / "manifest.json").write_text(json.dumps({"format": 99}))


class TestRecovering:
    def test_a_first_start_recovers_nothing(self, clients: Clients) -> None:
        """Without any journal there is nothing to settle, and nothing to fail."""
        assert clients.committer().recover() == []
        assert clients.committer().history() == []

    @pytest.mark.parametrize("after", [0, 1, 2])
    @pytest.mark.parametrize("proven", [True, False])
    def test_proven_is_finished_and_unproven_is_taken_back(
        self, clients: Clients, after: int, *, proven: bool
    ) -> None:
        """After an accident all clients hold one login: the proven one, else the old one."""
        steps = [clients.step(clients.a, expand=BOTH), clients.step(clients.b)]
        name = clients.interrupt(*steps, after=after, proven=proven)
        (settled,) = clients.committer().recover()
        assert clients.a.read_bytes() == clients.b.read_bytes() == (NEW if proven else OLD)
        assert (settled.forwards, settled.left, settled.failed) == (proven, (), ())
        assert ("finished" if proven else "taken back") in str(settled)
        assert clients.journals() == ([name.removesuffix(".open")] if proven else [])
        assert clients.committer().recover() == []

    @pytest.mark.parametrize("proven", [True, False])
    def test_a_new_file_is_made_or_gone(self, clients: Clients, *, proven: bool) -> None:
        """A file that the commit makes is no client that could be half there."""
        clients.a.unlink()
        clients.interrupt(clients.step(clients.a), clients.step(clients.b), after=1, proven=proven)
        clients.committer().recover()
        assert clients.a.exists() is proven
        assert clients.b.read_bytes() == (NEW if proven else OLD)

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
        assert settled.left == (clients.b,)
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
        assert settled.failed == ()
        assert clients.b.read_bytes() == NEW

    def test_a_file_that_cannot_be_recovered_yet_leaves_nothing_beside_it(
        self, clients: Clients
    ) -> None:
        """What was staged for a file that then fails does not lie about until it works."""
        clients.interrupt(clients.step(clients.a), clients.step(clients.b), after=1)
        (settled,) = clients.committer(LockingDisk(clients.b)).recover()
        assert [path for path, _ in settled.failed] == [clients.b]
        assert [path for path in clients.root.iterdir() if ".pgherald-" in path.name] == []

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

    def test_leftovers_are_swept(self, clients: Clients) -> None:
        """Temporary files, drafts and images that nobody needs go at the next start."""
        steps = [clients.step(clients.a), clients.step(clients.b)]
        clients.interrupt(*steps, after=1)
        temp = clients.root / f".b.pgherald-{'0' * 16}.tmp"
        temp.write_bytes(NEW)
        draft = clients.folder / "20261124T025915Z-0099.draft"
        draft.mkdir()
        (draft / "0.before").write_bytes(OLD)
        clients.committer().recover()
        assert not temp.exists()
        assert not draft.exists()
        assert list(clients.folder.rglob("*.after")) == []

    @pytest.mark.parametrize(
        "damage",
        [
            break_image,
            lose_image,
            break_manifest,
            forget_manifest,
            empty_manifest,
            strip_manifest,
            newer_manifest,
        ],
    )
    def test_a_damaged_journal_is_kept_and_hinders_nothing(
        self, clients: Clients, damage: Callable[[Path], None], caplog: pytest.LogCaptureFixture
    ) -> None:
        """A sick disk's journal is set aside for a person to see; no client is touched for it."""
        steps = [clients.step(clients.a), clients.step(clients.b)]
        name = clients.interrupt(*steps, after=1)
        damage(clients.folder / name)
        assert clients.committer().recover() == []
        assert clients.journals() == [name.replace(".open", ".damaged")]
        assert "damaged" in caplog.text
        assert "CANARY" not in caplog.text
        assert (clients.a.read_bytes(), clients.b.read_bytes()) == (NEW, OLD)
        clients.commit(clients.step(clients.b))

    def test_damaged_journals_do_not_pile_up(self, clients: Clients) -> None:
        """They hold secrets, so a few are enough to look at."""
        for turn in range(7):
            commit_id = clients.commit(clients.step(clients.a, b"%d" % turn))
            break_manifest(clients.folder / commit_id)
        clients.committer().recover()
        assert len(clients.journals()) == 5
        assert all(name.endswith(".damaged") for name in clients.journals())

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
        done = clients.committer().rollback(commit_id)
        assert done.left == ()
        assert done.record is not None
        assert done.record.note == f"rollback of {commit_id}"
        assert clients.a.read_bytes() == OLD
        assert not clients.b.exists()
        clients.committer().rollback(done.record.id)
        assert clients.a.read_bytes() == clients.b.read_bytes() == NEW

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

    def test_what_was_changed_since_is_left_and_named(self, clients: Clients) -> None:
        """A rollback takes back what the commit did, not what others did afterwards."""
        commit_id = clients.commit(clients.step(clients.a), clients.step(clients.b))
        clients.b.write_bytes(EDITED)
        assert clients.committer().rollback(commit_id).left == (clients.b,)
        assert (clients.a.read_bytes(), clients.b.read_bytes()) == (OLD, EDITED)

    def test_rolling_back_twice_does_nothing_more(self, clients: Clients) -> None:
        """Files that hold the old content already are neither written nor called changed."""
        commit_id = clients.commit(clients.step(clients.a))
        clients.committer().rollback(commit_id)
        done = clients.committer().rollback(commit_id)
        assert (done.record, done.left) == (None, ())

    def test_an_unknown_commit_is_named(self, clients: Clients) -> None:
        """A mistyped id is named, and nothing is touched."""
        with pytest.raises(FileTrouble, match="there is no commit 2026"):
            clients.committer().rollback("2026")

    def test_a_lost_image_stops_it_before_anything_is_written(self, clients: Clients) -> None:
        """What cannot be given back whole is not given back in part."""
        commit_id = clients.commit(clients.step(clients.a), clients.step(clients.b))
        (clients.folder / commit_id / "1.before").write_bytes(b"torn")
        with pytest.raises(FileTrouble, match="not what was written"):
            clients.committer().rollback(commit_id)
        assert clients.a.read_bytes() == NEW

    def test_a_lost_journal_folder_does_not_hinder_the_next_commit(self, clients: Clients) -> None:
        """A person may delete the journals at any time."""
        clients.commit(clients.step(clients.a))
        shutil.rmtree(clients.folder.parent)
        clients.commit(clients.step(clients.b))
        assert clients.b.read_bytes() == NEW
