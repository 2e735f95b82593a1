"""Odd files and bad disks, told as stories: what the person sees, and that nothing was lost.

All three clients are real files; Heroku is the simulator behind a real socket.
"""

from __future__ import annotations

import errno
import itertools
import os
import secrets
import shutil
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from support.disks import SteppedDisk
from support.workplace import OWN, SHOP, Workplace

CALM = 'poll_interval = "5m"'
ROTATED = "Heroku rotated Shop-production"

CLIENTS = sorted(OWN)
SERVERS = "servers.json"
BOM = b"\xef\xbb\xbf"


@pytest.fixture
async def place(tmp_path: Path) -> AsyncIterator[Workplace]:
    async with Workplace.standing(tmp_path, top=CALM, watched=(SHOP,)) as standing:
        yield standing


# --- files of every kind that can be kept ------------------------------------------------------


def a_link(path: Path) -> None:
    elsewhere = path.parent / "dotfiles"
    elsewhere.mkdir()
    path.rename(elsewhere / path.name)
    path.symlink_to(elsewhere / path.name)


def a_link_of_a_link(path: Path) -> None:
    a_link(path)
    path.rename(path.with_name("middle"))
    path.symlink_to("middle")


def dangling(path: Path) -> None:
    a_link(path)
    path.resolve().unlink()


def crlf(path: Path) -> None:
    path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))


def bom(path: Path) -> None:
    path.write_bytes(BOM + path.read_bytes())


def no_final_newline(path: Path) -> None:
    path.write_bytes(path.read_bytes().rstrip(b"\n"))


def empty(path: Path) -> None:
    path.write_bytes(b"")


def missing(path: Path) -> None:
    path.unlink()


def large(path: Path) -> None:
    text = path.read_bytes()
    if path.name == SERVERS:
        path.write_bytes(text.replace(b'"Mine"', b'"Mine", "Comment": "' + b"x" * 10**6 + b'"'))
    else:
        path.write_bytes(text + b"# a line of mine\n" * (10**6 // 17))


def loose(path: Path) -> None:
    path.chmod(0o644)


KEPT = (
    a_link, a_link_of_a_link, dangling, crlf, bom, no_final_newline, empty, missing,
    large, loose,
)  # fmt: skip


@pytest.mark.parametrize(
    ("spoil", "name"),
    [
        *zip(KEPT, itertools.cycle(CLIENTS), strict=False),
        *((spoil, SERVERS) for spoil in (bom, missing, loose)),
        (crlf, ".pg_service.conf"),
    ],
)
async def test_an_odd_file_is_kept(
    place: Workplace, spoil: Callable[[Path], None], name: str
) -> None:
    """However a client's file came about, it is kept: nobody hears of it, and no byte goes lost.

    Links stay links, line ends and the mark at the beginning stay, and what holds a password
    is closed to others.
    """
    path = place.file(name)
    spoil(path)
    own = path.read_bytes() if path.exists() else b""
    is_link, target = path.is_symlink(), path.resolve()
    await place.sweep()
    await place.rotate()
    await place.sweep()
    assert place.is_current()
    assert place.told() == [ROTATED]
    assert (path.is_symlink(), path.resolve()) == (is_link, target)
    after = path.read_bytes()
    assert missing_pieces(own, after, whole=name == SERVERS) == []
    assert after.startswith(BOM) == own.startswith(BOM)
    assert (b"\r\n" in after) == (b"\r\n" in own)
    assert path.stat().st_mode & 0o077 == (0o044 if spoil is loose and name == SERVERS else 0)
    assert [found.name for found in place.home.rglob("*.tmp")] == []


def missing_pieces(own: bytes, after: bytes, *, whole: bool) -> list[bytes]:
    """What the person's own file held and the new one does not: lines, or one JSON member."""
    if whole:
        start = own.find(b'"1"')
        return [] if start < 0 or own[start : own.rindex(b"}}")] in after else [own[:80]]
    lines = set(after.removeprefix(BOM).splitlines())
    return [line for line in own.removeprefix(BOM).splitlines() if line not in lines]


@pytest.fixture
def other_disk(tmp_path: Path) -> Iterator[Path]:
    """A folder on another file system than everything else here."""
    shared = Path("/dev/shm")  # noqa: S108 – the usual second file system of a Linux machine
    if not shared.is_dir() or shared.stat().st_dev == tmp_path.stat().st_dev:
        pytest.skip("there is no second file system to write to")
    folder = shared / f"pgherald-{secrets.token_hex(8)}"
    folder.mkdir(mode=0o700)
    yield folder
    shutil.rmtree(folder)


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("name", CLIENTS)
async def test_a_file_on_another_disk(place: Workplace, other_disk: Path, name: str) -> None:
    """A file that is a link to another file system is kept there: new files are made beside it."""
    path = place.file(name)
    shutil.copy(path, other_disk / name)
    path.unlink()
    path.symlink_to(other_disk / name)
    await place.sweep()
    await place.rotate()
    await place.sweep()
    assert place.is_current()
    assert path.is_symlink()
    assert names_in(other_disk) == [name]
    place.nothing_is_lost()


# --- files that cannot be kept -----------------------------------------------------------------


def a_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def a_pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def nul(path: Path) -> None:
    path.write_bytes(path.read_bytes() + b"\0CANARY\n")


def in_a_circle(path: Path) -> None:
    path.unlink()
    path.symlink_to(path)


#: What the person reads, after the file's name.
NOT_KEPT: dict[Callable[[Path], None], str] = {
    a_folder: "is a folder, not a file",
    a_pipe: "is a named pipe, not a file",
    nul: "NUL",
    in_a_circle: "link",
}


@pytest.mark.parametrize(
    ("spoil", "name"), [*zip(NOT_KEPT, itertools.cycle(CLIENTS), strict=False), (nul, SERVERS)]
)
async def test_what_is_no_clients_file(
    place: Workplace, spoil: Callable[[Path], None], name: str
) -> None:
    """What cannot be a client's file is named once, with advice, and stays as it is.

    The other clients get each rotation; once the file is mended, it gets it too.
    """
    path = place.file(name)
    was = path.read_bytes()
    spoil(path)
    now = path.read_bytes() if path.is_file() else None
    await place.sweep()
    rotated = await place.rotate()
    for _ in range(5):
        await place.sweep()
    told = place.told()
    assert len(told) == 2, told
    assert str(path) in told[0]
    assert "CANARY" not in "".join(told)
    if (name, spoil) != (SERVERS, nul):
        assert NOT_KEPT[spoil] in told[0]
    assert told[1] == ROTATED
    assert all(n.advice for n in place.news if n.title)
    assert place.behind(rotated, but=name) == []
    assert (path.read_bytes() if path.is_file() else None) == now
    shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
    path.write_bytes(was)
    await place.sweep()
    assert place.is_current()
    assert place.told()[2:] == [f"{told_label(name)} works again"]
    place.nothing_is_lost()


def told_label(name: str) -> str:
    """What a person calls a client."""
    return {".pgpass": "psql", ".pg_service.conf": "service file"}.get(name, name)


# --- disks -------------------------------------------------------------------------------------


class FickleDisk(SteppedDisk):
    """A real disk that fails at will.

    Attributes:
        fails: by operation, with which `errno`.
    """

    def __init__(self) -> None:
        self.fails: dict[str, int] = {}

    def step(self, name: str, args: tuple[Any, ...]) -> None:
        """Fail, if it is to."""
        number = self.fails.get(name)
        for_reading = name == "open" and not args[1] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)
        if number is not None and not for_reading:
            raise OSError(number, os.strerror(number))


CHANGING = (
    "open", "write", "fsync", "replace", "exchange", "link", "unlink", "mkdir", "rmdir", "fchmod",
)  # fmt: skip


@pytest.mark.parametrize(
    ("fails", "words"),
    [
        ({"write": errno.ENOSPC}, "the disk is full"),
        ({"write": errno.EDQUOT}, "quota"),
        ({"fsync": errno.EIO}, "disk"),
        (dict.fromkeys(CHANGING, errno.EROFS), "can only be read"),
    ],
)
async def test_a_disk_that_takes_nothing(tmp_path: Path, fails: dict[str, int], words: str) -> None:
    """A full, broken or write-protected disk: told once, no client touched, mended by itself."""
    disk = FickleDisk()
    async with Workplace.standing(tmp_path, top=CALM, watched=(SHOP,), disk=disk) as place:
        await place.sweep()
        before = {name: place.file(name).read_bytes() for name in CLIENTS}
        disk.fails = fails
        rotated = await place.rotate()
        for _ in range(5):
            await place.sweep()
        told = place.told()
        assert len(told) == 1, told
        assert words in " ".join([*told, *(n.advice for n in place.news)]), told
        assert {name: place.file(name).read_bytes() for name in CLIENTS} == before
        disk.fails = {}
        await place.sweep()
        assert place.holds(rotated)
        assert place.status() == []
        assert len(place.told()) == 3
        assert ROTATED in place.told()
        place.nothing_is_lost()
