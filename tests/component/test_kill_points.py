"""The commit against a real disk that dies or fails at any of its operations.

Three clients, as they are found in homes: a private file behind a link, which is expanded
first; one that does not exist yet, in a folder that does not exist either; and one that
others may read and that stays so.
"""

from __future__ import annotations

import contextlib
import errno
import itertools
import os
import shutil
import stat
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from pgherald.clock import SystemClock
from pgherald.errors import ChangedMeanwhile, ClientError, FileTrouble
from pgherald.files import Disk, Files, errno_of
from pgherald.sync.transaction import Step, Transactions
from support.disks import (
    CHANGES,
    Child,
    FailingDisk,
    KillingDisk,
    QuickDisk,
    SteppedDisk,
    TracingDisk,
    in_child,
    moments,
)

FOREIGN = b"# mine, do not touch\r\nother:5432:*:me:foreign CANARY-foreign\n"
OLD = FOREIGN + b"old CANARY-old\n"
BOTH = FOREIGN + b"new CANARY-new\nold CANARY-old\n"
NEW = FOREIGN + b"new CANARY-new\n"
EDITED = OLD + b"saved in an editor CANARY-edit\n"

#: More operations than a commit has: who gets there goes round in a circle.
ENOUGH = 2000

#: Errors that stop a disk from working, one by one.
NUMBERS = (errno.ENOSPC, errno.EIO, errno.EACCES, errno.EROFS, errno.EINTR)


class Home:
    """A home with three clients, and pgherald's state."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.state = root / "state"
        self.pgpass = root / ".pgpass"
        self.real_pgpass = root / "dotfiles" / "pgpass"
        self.service = root / "config" / "deep" / "pg_service.conf"
        self.servers = root / "servers.json"
        for folder in (root, self.state, self.real_pgpass.parent):
            folder.mkdir(0o700)
        for path, its_mode in ((self.real_pgpass, 0o600), (self.servers, 0o640)):
            path.write_bytes(OLD)
            path.chmod(its_mode)
        self.pgpass.symlink_to(self.real_pgpass)

    def files(self, disk: Disk) -> Files:
        # As below the person's own home, the folder of the service file is made.
        return Files(self.state / "locks", disk, ours=(self.root / "config",))

    def committer(self, disk: Disk) -> Transactions:
        files = self.files(disk)
        return Transactions(files, self.state / "commits", SystemClock())

    def steps(self, disk: Disk) -> list[Step]:
        files = self.files(disk)
        return [
            Step("pgpass", files.read(self.pgpass), NEW, private=True, expand=BOTH),
            Step("service file", files.read(self.service), NEW, private=True),
            Step("servers.json", files.read(self.servers), NEW, private=False),
        ]

    def commit(self, disk: Disk, *, proven: bool = True) -> None:
        self.committer(disk).commit(self.steps(disk), proven=proven, note="test")

    def try_commit(
        self, disk: Disk, steps: list[Step] | None = None, *, proven: bool = True
    ) -> ClientError | None:
        """Commit; what went wrong, if anything."""
        try:
            steps = self.steps(disk) if steps is None else steps
            self.committer(disk).commit(steps, proven=proven, note="test")
        except ClientError as exc:
            return exc
        return None

    def recover(self, disk: Disk) -> None:
        self.committer(disk).recover()

    def contents(self) -> list[bytes | None]:
        return [
            path.read_bytes() if path.exists() else None
            for path in (self.pgpass, self.service, self.servers)
        ]

    def check_whole(self) -> None:
        """Each file holds all of something that the commit gives it."""
        pgpass, service, servers = self.contents()
        assert pgpass in (OLD, BOTH, NEW)
        assert service in (None, NEW)
        assert servers in (OLD, NEW)

    def check_agree(self) -> bool:
        """All hold the same, with the right modes, behind the same link; whether the new."""
        contents = self.contents()
        assert contents in ([OLD, None, OLD], [NEW, NEW, NEW])
        assert self.pgpass.is_symlink()
        assert mode(self.real_pgpass) == 0o600
        assert mode(self.servers) == 0o640
        if new := contents[0] == NEW:
            assert mode(self.service) == 0o600
        return new

    def check_nothing_left(self) -> None:
        """No temporary file lies about, and the journals hold what a rollback needs, no more."""
        assert not [path for path in self.root.rglob("*") if ".pgherald-" in path.name]
        for place in (self.state / "commits").glob("**/*"):
            assert place.suffix in ("", ".before", ".json"), place
            assert mode(place) == (0o700 if place.is_dir() else 0o600), place


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def well(child: Child) -> Child:
    assert child.report == ""
    return child


def homes(folder: Path, share: int, of: int) -> Iterator[tuple[int, Home]]:
    """A fresh home for each operation of this share of a commit."""
    for at in moments(share, of):
        assert at < ENOUGH, "the commit never ends"
        yield at, Home(folder / str(at))


@pytest.mark.parametrize("proven", [True, False], ids=["proven", "unproven"])
def test_after_a_kill_at_any_moment_all_clients_agree(tmp_path: Path, *, proven: bool) -> None:
    """Killed anywhere, files are whole; the next start finishes what was proven, or undoes it."""
    news: list[bool] = []
    for at, home in homes(tmp_path, proven, 2):
        child = well(in_child(partial(home.commit, KillingDisk(at), proven=proven)))
        home.check_whole()
        assert not well(in_child(partial(home.recover, QuickDisk()))).killed
        home.check_nothing_left()
        news.append(home.check_agree())
        if not child.killed:
            break
    assert at > 60
    # The old state up to one moment, the new one from there on: where the journal is
    # complete for what is proven, and where it is done for what is not.
    assert news == sorted(news)
    assert not news[0]
    assert news[-1]
    assert news[len(news) // 2] is proven


@pytest.fixture(scope="module")
def half_way(tmp_path_factory: pytest.TempPathFactory) -> int:
    """The change at which a killed commit leaves the last client as it was."""
    for at, home in homes(tmp_path_factory.mktemp("half-way"), 0, 1):
        well(in_child(partial(home.commit, KillingDisk(at))))
        if home.contents() == [BOTH, NEW, OLD]:
            return at
    raise AssertionError


@pytest.mark.parametrize("proven", [True, False], ids=["proven", "unproven"])
def test_recovery_may_be_killed_at_any_moment_too(
    tmp_path: Path, half_way: int, *, proven: bool
) -> None:
    """A start that is killed while it recovers leaves work that the next one can finish."""
    for at, home in homes(tmp_path, proven, 2):
        well(in_child(partial(home.commit, KillingDisk(half_way), proven=proven)))
        assert home.contents() == [BOTH, NEW, OLD]
        first = well(in_child(partial(home.recover, KillingDisk(at))))
        home.check_whole()
        well(in_child(partial(home.recover, QuickDisk())))
        home.check_nothing_left()
        assert home.check_agree() is proven
        if not first.killed:
            break


@pytest.mark.parametrize(
    ("share", "number", "proven"),
    [*((share, number, True) for share, number in enumerate(NUMBERS)), (5, errno.EIO, False)],
)
def test_any_operation_may_fail_once(
    tmp_path: Path, share: int, number: int, *, proven: bool
) -> None:
    """One failure anywhere is reported, and all is as before for good; or it does not matter."""
    reported = 0
    for at, home in homes(tmp_path, share, len(NUMBERS) + 1):
        disk = FailingDisk(at, number)
        trouble = home.try_commit(disk, proven=proven)
        new = home.check_agree()
        assert new is (trouble is None), (at, disk.failed)
        if trouble is not None:
            assert isinstance(trouble, FileTrouble)
            assert errno_of(trouble) == number
            reported += 1
        home.recover(QuickDisk())
        assert home.check_agree() is new, (at, disk.failed)
        home.check_nothing_left()
        if disk.failed is None:
            break
    assert reported > 16


def test_the_disk_may_die_at_any_moment(tmp_path: Path) -> None:
    """When all fails from some moment on, the undo too, the next start settles it."""
    undone = 0
    for at, home in homes(tmp_path, 0, 4):
        disk = FailingDisk(at, errno.EIO, times=ENOUGH)
        trouble = home.try_commit(disk)
        home.check_whole()
        undone += "could not be taken back" in str(trouble)
        home.recover(QuickDisk())
        home.check_agree()
        home.check_nothing_left()
        if disk.failed is None:
            break
    assert undone > 2


@pytest.mark.skipif(sys.platform != "linux", reason="other systems are asked in other ways")
def test_the_document_tells_how_many_calls_a_commit_makes(tmp_path: Path) -> None:
    """docs/reliability.md says how many calls were interrupted, and how many of them change it."""
    disk = TracingDisk()
    Home(tmp_path / "home").commit(disk)
    calls = len(disk.trace)
    changes = sum(name in CHANGES for name in disk.names())
    text = (Path(__file__).parents[2] / "docs" / "reliability.md").read_text(encoding="utf-8")
    assert f"makes {calls} calls to\nthe file system, {changes} of which change something" in text
    assert f"| {changes} for a proven login," in text
    assert f"| {calls} calls, {len(NUMBERS)} errors |" in text
    assert f"everything fails | {calls} |" in text


class EditorDisk(SteppedDisk):
    """An editor saves a file just before the operation with that number."""

    def __init__(self, at: int, save: Callable[[], None]) -> None:
        self._at = at
        self._count = 0
        self._save = save
        self.struck: str | None = None

    def step(self, name: str, args: tuple[Any, ...]) -> None:
        self._count += 1
        if self._count == self._at:
            self.struck = name
            self._save()


def save_in_place(path: Path) -> None:
    path.write_bytes(EDITED)


def save_by_rename(path: Path) -> None:
    new = path.with_name("editor's own")
    new.write_bytes(EDITED)
    new.replace(path)


@pytest.mark.parametrize(
    ("share", "victim", "save"),
    [
        (0, "real_pgpass", save_in_place), (1, "real_pgpass", save_by_rename),
        (2, "servers", save_in_place), (3, "servers", save_by_rename),
    ],
)  # fmt: skip
def test_an_editor_that_saves_meanwhile_loses_nothing(
    tmp_path: Path, share: int, victim: str, save: Callable[[Path], None]
) -> None:
    """An edit survives whenever it is saved, be it in the instant before our own rename."""
    lost: list[str | None] = []
    refused = 0
    for at, home in homes(tmp_path, share, 4):
        path = getattr(home, victim)
        disk = EditorDisk(at, partial(save, path))
        trouble = home.try_commit(disk, home.steps(QuickDisk()))
        if trouble is not None:
            assert isinstance(trouble, ChangedMeanwhile)
            assert trouble.path in (home.pgpass, home.servers)
            others = {home.real_pgpass, home.servers} - {path}
            assert {other.read_bytes() for other in others} == {OLD}
            assert not home.service.exists()
            refused += 1
        if disk.struck is None:
            break
        if path.read_bytes() != EDITED:
            lost.append(disk.struck)
        home.check_nothing_left()
    assert refused > 12
    assert lost == []


class BlindDisk(KillingDisk):
    """Dies at a change, and sees no writer before a file has traded places."""

    def __init__(self, at: int) -> None:
        super().__init__(at)
        self._traded = False

    def exchange(self, one: Path, other: Path) -> None:
        self._traded = True
        super().exchange(one, other)

    def written(self, fd: int) -> bool | None:
        return super().written(fd) if self._traded else False


@pytest.mark.parametrize(
    ("share", "victim", "proven"),
    [(0, "real_pgpass", True), (1, "servers", True), (2, "servers", False)],
)
def test_what_is_written_late_survives_every_kill(
    tmp_path: Path, share: int, victim: str, *, proven: bool
) -> None:
    """Who has a file open keeps it, wherever pgherald dies between taking and bringing it back."""
    for at, home in homes(tmp_path, share, 3):
        path = getattr(home, victim)
        with path.open("ab", buffering=0) as writer:
            child = in_child(partial(home.commit, BlindDisk(at), proven=proven))
            if at % 2:
                writer.write(b"late CANARY-late\n")
            well(in_child(partial(home.recover, QuickDisk())))
            if not at % 2:
                writer.write(b"late CANARY-late\n")
            writer.write(b"later CANARY-later\n")
        well(in_child(partial(home.recover, QuickDisk())))
        text = path.read_bytes()
        assert text.startswith(OLD), at
        assert text.endswith(b"late CANARY-late\nlater CANARY-later\n"), at
        home.check_nothing_left()
        if not child.killed:
            assert "BeingWritten" in child.report
            break
    assert at > 20


class OrderDisk(Disk):
    """Knows what a power cut would lose, and refuses to build on it."""

    def __init__(self, home: Home) -> None:
        self._commits = home.state / "commits"
        self._state = home.state
        self._paths: dict[int, Path] = {}
        self.files: set[Path] = set()
        self.folders: set[Path] = set()
        self.renames: list[Path] = []

    def open(self, path: Path, flags: int, mode: int = 0o600) -> int:
        fd = super().open(path, flags, mode)
        self._paths[fd] = path
        if flags & os.O_CREAT:
            assert mode == 0o600
            assert flags & os.O_EXCL
            assert flags & os.O_NOFOLLOW
            self.folders.add(path.parent)
        return fd

    def write(self, fd: int, data: memoryview) -> int:
        self.files.add(self._paths[fd])
        return super().write(fd, data)

    def fsync(self, fd: int) -> None:
        self.files.discard(self._paths[fd])

    def fsync_folder(self, path: Path) -> None:
        self.folders.discard(path)

    def mkdir(self, path: Path, mode: int) -> None:
        assert mode == 0o700
        super().mkdir(path, mode)
        self.folders.add(path.parent)

    def exchange(self, one: Path, other: Path) -> None:
        self.check(one, other)
        super().exchange(one, other)

    def link(self, source: Path, target: Path) -> None:
        self.check(source, target)
        super().link(source, target)

    def replace(self, source: Path, target: Path) -> None:
        if ".pgherald-" not in target.name:
            self.check(source, target)
        super().replace(source, target)

    def check(self, source: Path, target: Path) -> None:
        """Something takes a place: is it on the disk, and is the journal?"""
        assert not [path for path in self.files if path == source or source in path.parents]
        assert source not in self.folders
        if self._state not in target.parents:
            assert list(self._commits.glob("*.open"))
            assert self._commits not in self.folders
        elif target.parent == self._commits and not target.suffix:
            assert all(folder.is_relative_to(self._state) for folder in self.folders)
        self.folders.add(target.parent)
        self.renames.append(target)


def test_nothing_is_built_on_what_a_power_cut_would_lose(tmp_path: Path) -> None:
    """A power cut finds the journal before a client, content before its name, names before done."""
    home = Home(tmp_path / "home")
    disk = OrderDisk(home)
    home.commit(disk)
    assert home.check_agree()
    assert [path for path in disk.renames if home.state not in path.parents] == [
        home.real_pgpass,
        home.service,
        home.servers,
        home.real_pgpass,
    ]
    assert not disk.files
    assert disk.folders <= {home.state, home.state / "commits"}


class NosyDisk(SteppedDisk):
    """Looks, before every operation, for a file of ours that others could read."""

    def __init__(self, home: Home) -> None:
        self._home = home

    def step(self, name: str, args: tuple[Any, ...]) -> None:
        for path in self._home.root.rglob("*"):
            # The third client may be read by its group, and becomes so under its own name.
            open_to_group = path == self._home.servers or (
                path.name.startswith(".servers.json.") and mode(path) == 0o640
            )
            if not path.is_symlink() and not open_to_group:
                assert mode(path) & 0o077 == 0, (name, path)


def commit_without_umask(home: Home) -> None:
    os.umask(0)
    home.commit(NosyDisk(home))


def test_no_file_is_ever_readable_by_others_whatever_the_umask(tmp_path: Path) -> None:
    """Files and folders of ours are private from the moment they exist."""
    home = Home(tmp_path / "home")
    assert not well(in_child(partial(commit_without_umask, home))).killed
    assert home.check_agree()


def test_a_racing_reader_never_sees_a_torn_or_missing_file(tmp_path: Path) -> None:
    """While a file is replaced over and over, each reading finds one whole content."""
    path = tmp_path / "file"
    contents = [bytes([letter]) * size for letter, size in ((97, 10), (98, 70_000), (99, 3))]
    path.write_bytes(contents[0])

    enough = tmp_path / "enough"

    def write() -> None:
        files = Files(tmp_path / "locks", QuickDisk())
        snapshot = files.read(path)
        for turn in itertools.count():
            snapshot = files.replace(snapshot, contents[turn % 3 - 1], private=True)
            if enough.exists():
                return

    children: list[Child] = []
    writer = threading.Thread(target=lambda: children.append(in_child(write)))
    writer.start()
    seen: Counter[bytes] = Counter()
    try:
        while writer.is_alive() and (len(seen) < len(contents) or seen.total() < 1000):
            seen[path.read_bytes()] += 1
    finally:
        enough.touch()
        writer.join()
    well(children[0])
    assert set(seen) == set(contents)


def test_two_committers_take_turns(tmp_path: Path) -> None:
    """Two processes that commit to the same files never mix their contents."""
    home = Home(tmp_path / "home")
    paths = (home.real_pgpass, home.servers)

    def write_often(who: bytes) -> None:
        files = Files(home.state / "locks", QuickDisk())
        committer = Transactions(files, home.state / "commits", SystemClock())
        for turn in range(15):
            new = b"%s %d" % (who, turn)
            with contextlib.suppress(ChangedMeanwhile):
                steps = [Step("a file", files.read(path), new, private=False) for path in paths]
                committer.commit(steps, proven=True, note="test")

    children: list[Child] = []
    threads = [
        threading.Thread(
            target=lambda who=who: children.append(in_child(partial(write_often, who)))
        )
        for who in (b"one", b"two")
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [child.report for child in children] == ["", ""]
    assert len({path.read_bytes() for path in paths}) == 1
    home.check_nothing_left()


def test_a_kill_while_an_old_journal_is_deleted(tmp_path: Path) -> None:
    """What is deleted half goes at the next start: no damaged journal, and no password, is left."""
    home = Home(tmp_path / "home")
    disk = QuickDisk()
    committer = home.committer(disk)
    files = Files(home.state / "locks", disk)
    for turn in range(9):
        step = Step("pgpass", files.read(home.pgpass), b"CANARY %d" % turn, private=True)
        # As if each had been killed before it tidied up.
        committer._tidy = lambda: None  # type: ignore[method-assign]  # likewise
        committer.commit([step], proven=True, note="test")
    pristine = tmp_path / "pristine"
    shutil.copytree(home.root, pristine, symlinks=True)
    for at in moments(0, 3):
        shutil.rmtree(home.root)
        shutil.copytree(pristine, home.root, symlinks=True)
        child = well(in_child(partial(home.recover, KillingDisk(at))))
        well(in_child(partial(home.recover, disk)))
        left = sorted(path.name.partition("-")[2] for path in (home.state / "commits").iterdir())
        assert left == ["0001", "0005", "0006", "0007", "0008", "0009"], at
        home.check_nothing_left()
        if not child.killed:
            break
    assert at > 10
