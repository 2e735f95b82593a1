"""Clients that may be read and not written: they cost the others nothing, and are named once.

Each story is four sweeps with a rotation in the middle. It runs in a process of its own, as
somebody without rights, with mounts of its own where it needs some; root prepares and mends.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import functools
import json
import logging
import os
import shlex
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pytest

from pgherald.clients.base import Held
from pgherald.clients.pgpass import Pgpass
from pgherald.clients.servers_json import ServersJson
from pgherald.clients.service_file import ServiceFile
from pgherald.files import Disk
from pgherald.model import NewsKind
from pgherald.sync.targets import FileTarget, Target
from support.disks import NOBODY, in_child
from support.household import Household, database, household, login
from support.pgadmin_database import Database

#: Sweeps before the rotation, and as many after it.
SWEEPS: Final = 2

#: Seconds that a story may take; it needs two.
PATIENCE: Final = 150

SHOP = database()

#: Before and after the rotation, which every kind of client has to be written for.
LOGINS: Final = (login(1), login(2, dbname="d2"))
OWN = {
    "psql": b"localhost:5432:*:me:CANARY-my-own\n",
    "service file": b"[local]\npassword=CANARY-my-own\n",
    "servers.json": b'{"Servers": {}}\n',
}

CLONE_NEWNS: Final = 0x00020000

#: What people read.
FOREIGN = f"belongs to user 0, and pgherald runs as user {NOBODY}"
OPEN = "can be read by others, and " + FOREIGN
DENIED = "cannot be written: permission denied"
FORBIDDEN = "cannot be written: the system does not allow it"
READ_ONLY = "cannot be written: the disk can only be read"
MOUNTED = "cannot be written: it is mounted by itself, so it cannot be replaced"
FULL = "cannot be written: the disk is full"
LOOSE = "cannot be made private: "


def run(*command: str | Path) -> None:
    subprocess.run(command, check=True, capture_output=True, timeout=PATIENCE)


def own_mounts() -> None:
    """From here on, what this process mounts is its own."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(CLONE_NEWNS):
        raise OSError(ctypes.get_errno(), "unshare")
    run("mount", "--make-rprivate", "/")


@contextlib.contextmanager
def root() -> Iterator[None]:
    """Meanwhile, this process may do all."""
    user, group = os.geteuid(), os.getegid()
    if os.getuid() == 0:
        os.seteuid(0)
        os.setegid(0)
    yield
    if os.getuid() == 0:
        os.setegid(group)
        os.seteuid(user)


# --- how a file came to be so ----------------------------------------------------------------


def nothing(path: Path) -> None:
    """It is as anybody's."""


def replaced(path: Path) -> None:
    """The person puts a file of their own in its place."""
    path.unlink()
    path.write_bytes(b"")
    path.chmod(0o600)
    os.chown(path, NOBODY, NOBODY)


def sudo_tee(path: Path) -> None:
    os.chown(path, 0, 0)
    path.chmod(0o644)


def in_the_store(path: Path) -> None:
    """A link of home-manager's."""
    store = path.parent / "store" / "hm"
    store.mkdir(parents=True)
    kept = store / path.name
    path.rename(kept)
    path.symlink_to(kept)
    os.chown(kept, 0, 0)
    kept.chmod(0o444)
    for folder in (store, store.parent):
        folder.chmod(0o555)


def kubernetes(path: Path) -> None:
    """A mounted secret: kubernetes/kubernetes#57117."""
    folder = path.parent / "..2026"
    folder.mkdir(mode=0o755)
    kept = folder / path.name
    path.rename(kept)
    (path.parent / "..data").symlink_to("..2026")
    path.symlink_to(f"..data/{path.name}")
    os.chown(kept, 0, NOBODY)
    kept.chmod(0o440)


def to_owner_with_folder(path: Path) -> None:
    for place in (path, path.parent):
        os.chown(place, NOBODY, NOBODY)


def of_another_group(path: Path) -> None:
    """Who replaced it would take it from this group, whose members may read it."""
    os.chown(path, -1, 0)
    path.chmod(0o640)


def closed_folder(path: Path) -> None:
    path.parent.chmod(0o555)


def opened_folder(path: Path) -> None:
    path.parent.chmod(0o755)


def missing_there(path: Path) -> None:
    path.unlink()
    closed_folder(path)


def others_may_read(path: Path) -> None:
    path.chmod(0o644)


def may_not_be_written(path: Path) -> None:
    path.chmod(0o444)


def marked(path: Path) -> None:
    run("chattr", "+i", path)


def unmarked(path: Path) -> None:
    run("chattr", "-i", path)


def mounted(path: Path, *options: str) -> None:
    """A file that a container was given."""
    run("mount", "--bind", path, path)
    for option in options:
        run("mount", "-o", option, path)


def mounted_read_only(path: Path) -> None:
    mounted(path, "remount,ro,bind")


def folder_read_only(path: Path) -> None:
    run("mount", "--bind", path.parent, path.parent)
    run("mount", "-o", "remount,ro,bind", path.parent)


def folder_read_write(path: Path) -> None:
    run("mount", "-o", "remount,rw,bind", path.parent)


def unmounted(path: Path) -> None:
    run("umount", path)


def full_disk(path: Path) -> None:
    """As much room as the file has, and not a block more."""
    content = path.read_bytes()
    run("mount", "-t", "tmpfs", "-o", "size=16k,mode=755", "tmpfs", path.parent)
    to_owner_with_folder(path.parent / ".")
    path.write_bytes(content)
    path.chmod(0o600)
    to_owner_with_folder(path)
    with (
        contextlib.suppress(OSError),
        open(path.with_name("filler"), "wb", buffering=0) as file,
    ):  # unbuffered, so that the end is an error here
        while True:
            file.write(b"x" * 4096)


def emptied_disk(path: Path) -> None:
    path.with_name("filler").unlink()


# --- the stories -------------------------------------------------------------------------------


@dataclass(frozen=True)
class Kind:
    """A kind of client that cannot be written.

    Attributes:
        make: what happens to the file.
        says: what is wrong when it has to be written; empty when that simply works.
        mend: what mends it; None where that is the command that the advice ends in.
        loose: what is wrong with a file that holds passwords and is right already.
        first: what happens to the file before that.
        client: which client.
        tries: whether only writing shows that it cannot be written.
        needs_root: whether only root can make one.
    """

    make: Callable[[Path], None]
    says: str = ""
    mend: Callable[[Path], None] | None = nothing
    loose: str = ""
    first: Callable[[Path], None] = nothing
    client: str = "psql"
    tries: bool = False
    needs_root: bool = True


KINDS: Final = {
    "sudo tee": Kind(sudo_tee, FOREIGN, None, OPEN),
    "home-manager": Kind(in_the_store, FOREIGN, replaced, OPEN),
    "kubernetes": Kind(kubernetes, FOREIGN, replaced, OPEN),
    "read-only mount": Kind(
        mounted_read_only, MOUNTED, unmounted, LOOSE + "the disk can only be read", others_may_read
    ),
    "read-only mount, private": Kind(mounted_read_only, MOUNTED, unmounted),
    "mounted by itself": Kind(mounted, MOUNTED, unmounted),
    "read-only folder": Kind(folder_read_only, READ_ONLY, folder_read_write),
    "immutable": Kind(marked, FORBIDDEN, unmarked),
    "immutable, by the mode not to be written": Kind(
        marked, FORBIDDEN, unmarked, LOOSE + "the system does not allow it", may_not_be_written,
        tries=True,
    ),
    "of a group of another": Kind(
        of_another_group, FORBIDDEN, to_owner_with_folder, client="servers.json", tries=True
    ),
    "closed folder": Kind(closed_folder, DENIED, opened_folder, needs_root=False),
    "missing in a closed folder": Kind(missing_there, DENIED, opened_folder, needs_root=False),
    "by the mode not to be written": Kind(may_not_be_written, needs_root=False),
    "full disk": Kind(full_disk, FULL, emptied_disk, tries=True),
    "pgAdmin, closed folder": Kind(
        closed_folder, DENIED, opened_folder, client="pgAdmin", needs_root=False
    ),
    "pgAdmin, read-only folder": Kind(
        folder_read_only, READ_ONLY, folder_read_write, client="pgAdmin"
    ),
    "pgAdmin, immutable": Kind(marked, FORBIDDEN, unmarked, client="pgAdmin"),
}  # fmt: skip


class CountingDisk(Disk):
    """Counts the journals that are begun."""

    begun = 0

    def mkdir(self, path: Path, mode: int) -> None:
        self.begun += path.suffix == ".draft"
        super().mkdir(path, mode)


class Lines(logging.Handler):
    """What is logged."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[tuple[int, str]] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append((record.levelno, record.getMessage()))


def possible(kind: Kind, folder: Path) -> None:
    """Skip what this machine does not let us try, and say why."""
    if not kind.needs_root:
        return
    if os.geteuid() != 0:
        pytest.skip("only root can make such a file: run the tests as root, as in a container")
    if kind.make is marked:
        probe = folder / "probe"
        probe.write_bytes(b"")
        try:
            marked(probe)
        except (OSError, subprocess.SubprocessError):
            pytest.skip("no file can be made immutable here (chattr +i)")
        unmarked(probe)
    if kind.make in (mounted, mounted_read_only, folder_read_only, full_disk):
        script = ["unshare", "-m", "mount", "-t", "tmpfs", "tmpfs", "/mnt"]
        if subprocess.run(script, capture_output=True, check=False).returncode:
            pytest.skip("nothing can be mounted here (unshare -m)")


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder that everybody may enter, and that is deleted whatever a story left."""
    made = Path(tempfile.mkdtemp(prefix="pgherald-test-"))
    made.chmod(0o755)
    yield made
    subprocess.run(["chattr", "-R", "-i", made], capture_output=True, check=False)
    for place in (made, *made.rglob("*")):
        if place.is_dir() and not place.is_symlink():
            place.chmod(0o700)
    shutil.rmtree(made)


@pytest.mark.parametrize("right", [True, False], ids=["right", "wrong"])
@pytest.mark.parametrize("name", KINDS)
def test_sweeps_past_a_client_that_cannot_be_written(
    folder: Path, name: str, *, right: bool
) -> None:
    """It is named once with its reason, and left; the other client gets the rotation at once.

    No journal stays open, the rotation is recorded once, nothing is logged twice, and what
    was not written is not called so. Once it can be written, it is mended, which is said once.
    """
    kind = KINDS[name]
    possible(kind, folder)
    if right and kind.make is missing_there:
        return  # a file that is missing is never right
    child = in_child(functools.partial(live, kind, folder, right=right))
    assert child.report == ""


def live(kind: Kind, folder: Path, *, right: bool) -> None:
    signal.alarm(PATIENCE)
    if os.geteuid() == 0:
        with contextlib.suppress(OSError):
            own_mounts()  # before there is a second thread, which would stay behind
        asyncio.run(warm(folder / "warm"))
        os.chown(folder, NOBODY, NOBODY)
        os.setgroups([])
        os.setegid(NOBODY)
        os.seteuid(NOBODY)
    asyncio.run(story(kind, folder, right=right))


def is_named_once(kind: Kind, house: Household, path: Path, *, right: bool) -> str:
    """With what is wrong, and with what to do, which is returned."""
    alerts = [item for item in house.news if item.kind is NewsKind.TROUBLE]
    first = kind.loose if right and kind.loose else kind.says
    assert [item.title for item in alerts] == [f"{path}: {first}"] * bool(kind.says)
    assert all(item.advice for item in alerts)
    now = [trouble.title for trouble in house.store.alerts()]
    assert now == [f"{path}: {kind.says}"] * bool(kind.says)
    return alerts[0].advice if alerts else ""


def is_recorded_once(kind: Kind, house: Household, label: str, *, right: bool) -> None:
    """With the clients that were written, and none that was not."""
    (rotated,) = [item for item in house.news if item.kind is NewsKind.ROTATED]
    assert set(rotated.clients) == {"service file", *[label] * (not kind.says)}
    assert rotated.behind == ((label, kind.says),) * bool(kind.says)
    (record,) = house.store.history()
    assert record.clients == rotated.clients
    (kept,) = house.store.databases()
    assert kept.written
    assert (kept.current_at is None) == bool(kind.says and not right)


async def warm(folder: Path) -> None:
    """Import what is imported late: it may lie where only root can read it."""
    (folder / "home").mkdir(parents=True)
    odd = the_client("pgAdmin", folder / "home" / "pgAdmin", folder / "state")
    async with household(folder, clients=[odd]) as house:
        for shown in LOGINS:
            await house.sees((SHOP, shown))


async def story(kind: Kind, folder: Path, *, right: bool) -> None:
    away = folder / "home" / "away"
    away.mkdir(parents=True)
    path = away / {"psql": "pgpass"}.get(kind.client, kind.client)
    odd = the_client(kind.client, path, folder / "state")
    healthy = FileTarget(ServiceFile(), folder / "home" / ".pg_service.conf", "service file")
    disk, said = CountingDisk(), Lines()
    logging.getLogger("pgherald").addHandler(said)
    logging.getLogger("pgherald").setLevel(logging.INFO)
    async with household(folder, disk=disk, clients=[healthy, odd]) as house:
        if right:
            await house.sees((SHOP, LOGINS[0]))
        with root():
            kind.first(path)
            kind.make(path)
        said.lines.clear()
        house.news.clear()
        before = looks(path)
        for shown in LOGINS:
            for _ in range(SWEEPS):
                await house.sees((SHOP, shown))
            assert held(house, healthy).user == shown.user
        assert (looks(path) == before) == bool(kind.says) or kind.first is others_may_read
        trouble = is_named_once(kind, house, path, right=right)
        is_recorded_once(kind, house, odd.label, right=right)
        journals = [place.name for place in (folder / "state" / "commits").iterdir()]
        assert [name for name in journals if "." in name] == []
        assert len(journals) <= 2
        assert kind.tries or disk.begun == len(journals)
        assert [place.name for place in away.iterdir() if ".pgherald" in place.name] == []
        assert [line for line in said.lines if line[0] > logging.INFO] == []
        assert len(said.lines) == len(set(said.lines))
        assert len(house.prober.tried) <= 2
        assert "CANARY" not in json.dumps([said.lines, [str(item) for item in house.news]])
        house.news.clear()
        with root():
            kind.mend(path) if kind.mend else run(*shlex.split(trouble)[-3:])
        for _ in range(3):
            await house.sees((SHOP, LOGINS[1]))
        assert held(house, odd).dbname in ("d2", None)
        assert house.store.alerts() == []
        ended = [item for item in house.news if item.kind is NewsKind.RECOVERED]
        assert len(ended) == bool(kind.says)
        assert house.store.databases()[0].current_at is not None


def the_client(label: str, path: Path, state: Path) -> Target:
    if label == "pgAdmin":
        return Database.made(path).client(state)
    path.write_bytes(OWN[label])
    path.chmod(0o600)
    return FileTarget(Pgpass() if label == "psql" else ServersJson(), path, label)


def held(house: Household, client: Target) -> Held:
    return client.editor.read(client.read(house.files).content)[SHOP.key]


def looks(path: Path) -> object:
    """All that a client is: what it holds, and everything about it but when it was read."""
    with root():
        try:
            found = path.stat()
        except FileNotFoundError:
            return None
        return path.read_bytes(), found.st_ino, found.st_mode, found.st_mtime_ns, found.st_ctime_ns
