"""What a commit does not change it does not touch, and no journal stays open for it."""

from __future__ import annotations

import contextlib
import errno
import json
import logging
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, cast

import pytest

from pgherald.errors import ChangedMeanwhile, FileTrouble
from pgherald.files import Disk, Files, Identity, digest
from pgherald.files.locks import LOCK_LIMIT
from pgherald.sync.commit import Committer, Step
from support.disks import QuickDisk, SteppedDisk, placed
from support.fake_clock import FakeClock

OLD, NEW, NEWER = b"old CANARY-old\n", b"new CANARY-new\n", b"newer CANARY-newer\n"


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


class Place:
    """Two clients, `healthy` and `odd`, and the commits that wrote them."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.folder = root / "state" / "commits"
        self.healthy, self.odd = root / "healthy", root / "odd"
        self.clock = FakeClock()
        for path in (self.healthy, self.odd):
            path.write_bytes(OLD)
            path.chmod(0o600)

    def committer(self, disk: Disk | None = None) -> Committer:
        files = Files(self.root / "state" / "locks", disk or QuickDisk())
        return Committer(files, self.folder, self.clock)

    def steps(self, *paths: Path, new: bytes = NEW) -> list[Step]:
        files = Files(self.root / "state" / "locks")
        return [Step(path.name, files.read(path), new, private=True) for path in paths]

    def opened(self) -> list[str]:
        found = self.folder.iterdir() if self.folder.exists() else []
        return sorted(path.name for path in found if path.suffix == ".open")

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


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def test_what_cannot_be_written_stops_a_commit_before_its_journal(place: Place) -> None:
    """No password is copied for a commit that surely fails; the file and its reason are named."""
    disk = NotOurs(place.odd)
    files = Files(place.root / "state" / "locks", disk)
    steps = [
        Step(path.name, files.read(path), NEW, private=True) for path in (place.healthy, place.odd)
    ]
    committer = place.committer(disk)
    with pytest.raises(FileTrouble, match="belongs to user") as caught:
        committer.commit(steps, proven=True, note="test")
    assert caught.value.path == place.odd
    assert not place.folder.exists()
    assert place.healthy.read_bytes() == OLD


@pytest.mark.parametrize("fails", ["stage", "install"])
def test_taking_back_leaves_alone_what_was_not_touched(place: Place, fails: str) -> None:
    """Not even its mode is asked for: a file that was not begun cannot keep the journal open."""

    class Failing(SteppedDisk):
        def __init__(self) -> None:
            self.failed = False
            self.later: set[str] = set()

        def step(self, name: str, args: tuple[Any, ...]) -> None:
            odd = args and isinstance(args[0], Path) and args[0].name.startswith(".odd.pgherald")
            if odd and name == {"stage": "open", "install": "replace"}[fails]:
                self.failed = True
                raise OSError(errno.EIO, "no")
            if self.failed and name in ("open", "stat") and args[0].parent == place.root:
                self.later.add(args[0].name)

    place.healthy.chmod(0o644)
    before = Identity.of(place.healthy.stat()), place.healthy.stat().st_mode
    disk = Failing()
    steps = place.steps(place.odd, place.healthy)
    with pytest.raises(FileTrouble, match="reports a fault"):
        place.committer(disk).commit(steps, proven=True, note="test")
    assert place.opened() == []
    assert (Identity.of(place.healthy.stat()), place.healthy.stat().st_mode) == before
    assert disk.later == (set() if fails == "stage" else {"odd"})


@pytest.mark.parametrize("proven", [True, False])
def test_a_recovery_touches_nothing_that_is_as_it_is_to_be(place: Place, *, proven: bool) -> None:
    """A file that holds what it is to hold is done, whoever owns it and whoever may read it."""
    goal = NEW if proven else OLD
    place.odd.write_bytes(goal)
    place.odd.chmod(0o644)
    before = Identity.of(place.odd.stat()), place.odd.stat().st_mode
    place.of_0_1_0(1, [(place.healthy, OLD, NEW), (place.odd, OLD, NEW)], proven=proven)
    (settled,) = place.committer(NotOurs(place.odd)).recover()
    assert (settled.failed, settled.left, settled.refused) == ((), (), ())
    assert (place.healthy.read_bytes(), place.opened()) == (goal, [])
    assert (Identity.of(place.odd.stat()), place.odd.stat().st_mode) == before


def piled_up(place: Place) -> None:
    """What 0.1.0 left of thirty sweeps with two rotations past a file of somebody else's."""
    place.of_0_1_0(1, [(place.healthy, OLD, NEW), (place.odd, OLD, NEW)])
    for number in range(2, 16):
        place.of_0_1_0(number, [(place.odd, OLD, NEW)])
    place.of_0_1_0(16, [(place.healthy, NEW, NEWER), (place.odd, OLD, NEWER)])
    for number in range(17, 31):
        place.of_0_1_0(number, [(place.odd, OLD, NEWER)])
    place.healthy.write_bytes(NEWER)
    place.odd.chmod(0o644)


def test_journals_that_piled_up_are_settled_at_the_next_start(
    place: Place, caplog: pytest.LogCaptureFixture
) -> None:
    """They are closed, few words are lost over it, and what they held is tidied away."""
    piled_up(place)
    before = Identity.of(place.odd.stat()), place.odd.stat().st_mode
    committer = place.committer(NotOurs(place.odd))
    settled = committer.recover()
    assert [path for one in settled for path, _ in one.refused] == [place.odd]
    assert [one.failed for one in settled if one.failed] == []
    assert place.opened() == []
    assert (Identity.of(place.odd.stat()), place.odd.stat().st_mode) == before
    assert place.healthy.read_bytes() == NEWER
    assert len(caplog.messages) <= 3
    assert "belongs to user" in caplog.text
    assert "CANARY" not in caplog.text
    assert list(place.folder.rglob("*.after")) == []
    assert len(list(place.folder.iterdir())) <= 8
    caplog.clear()
    assert place.committer(NotOurs(place.odd)).recover() == []
    assert caplog.messages == []


def test_of_journals_that_piled_up_the_newest_counts(place: Place) -> None:
    """Where the file can be written by now, it gets the latest login and none before it."""
    piled_up(place)
    written: list[bytes] = []

    class Watching(QuickDisk):
        def replace(self, source: Path, target: Path) -> None:
            if target.parent == place.root:
                written.append(source.read_bytes())
            super().replace(source, target)

    place.committer(Watching()).recover()
    assert written == [NEWER]
    assert (place.healthy.read_bytes(), place.odd.read_bytes()) == (NEWER, NEWER)
    assert place.opened() == []


class Stuck(SteppedDisk):
    """The odd file can be staged and not replaced; with `broken`, nothing can be any more."""

    def __init__(self, place: Place) -> None:
        self._place = place
        self.broken = False
        self.heals = False

    def step(self, name: str, args: tuple[Any, ...]) -> None:
        target = None if self.heals else placed(name, args)
        if target is None or target.parent != self._place.root:
            return
        if target == self._place.odd or self.broken:
            self.broken = True
            raise OSError(errno.EIO, "no")


def test_whatever_goes_wrong_one_journal_is_open(
    place: Place, caplog: pytest.LogCaptureFixture
) -> None:
    """A hundred commits that fail and cannot be taken back: one journal, and each word once."""
    disk = Stuck(place)
    committer = place.committer(disk)
    for turn in range(100):
        disk.broken = False
        new = b"CANARY %d" % turn
        place.clock.jump(60)
        with pytest.raises((FileTrouble, ChangedMeanwhile)):
            committer.commit(
                place.steps(place.healthy, place.odd, new=new), proven=True, note="test"
            )
        assert len(place.opened()) <= 1
    assert len(place.opened()) == 1
    assert len(caplog.messages) == len(set(caplog.messages)) <= 4
    assert place.odd.read_bytes() == OLD
    disk.heals = True
    committer.recover()
    assert place.opened() == []
    assert place.healthy.read_bytes() == place.odd.read_bytes()


def test_an_open_journal_is_logged_when_something_changes(
    place: Place, caplog: pytest.LogCaptureFixture
) -> None:
    """Once that it stays open, and once that it is settled."""
    place.of_0_1_0(1, [(place.healthy, OLD, NEW), (place.odd, OLD, NEW)])
    aside = place.odd.rename(place.root / "aside")
    place.odd.mkdir()
    committer = place.committer()
    for _ in range(10):
        committer.recover()
    (message,) = caplog.messages
    assert "not yet" in message
    place.odd.rmdir()
    aside.rename(place.odd)
    for _ in range(10):
        committer.recover()
    assert [record.levelno for record in caplog.records] == [logging.WARNING] * 2
    assert "not yet" not in caplog.messages[1]
    assert (place.odd.read_bytes(), place.opened()) == (NEW, [])


class Locked(Files):
    """Another pgherald holds the odd file for good."""

    @contextlib.contextmanager
    def lock(self, path: Path, *, limit: float = LOCK_LIMIT) -> Iterator[None]:
        if path.name == "odd":
            raise FileTrouble("is being written by another pgherald", path=path)
        with super().lock(path, limit=limit):
            yield


def test_a_client_that_cannot_be_locked_hinders_no_start(place: Place) -> None:
    """Its journal waits; the others are committed, and at most one stays open."""
    place.of_0_1_0(1, [(place.odd, OLD, NEW)])
    files = Locked(place.root / "state" / "locks", QuickDisk())
    committer = Committer(files, place.folder, place.clock)
    (settled,) = committer.recover()
    assert [path for path, _ in settled.failed] == [place.odd]
    assert "by another pgherald" in str(settled)
    assert committer.commit(place.steps(place.healthy), proven=True, note="test") is not None
    for _ in range(3):
        with pytest.raises(FileTrouble, match="by another pgherald") as caught:
            committer.commit(place.steps(place.odd), proven=True, note="test")
        assert caught.value.path == place.odd
    assert place.healthy.read_bytes() == NEW
    assert len(place.opened()) == 1
