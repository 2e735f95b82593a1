"""What is said of the disk, what a file was, and how a new one is begun."""

from __future__ import annotations

import errno
import hashlib
import os
import re
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from pgherald.errors import FileTrouble
from pgherald.files import Disk, Identity, Snapshot, errno_of, reported, snapshot, trouble
from pgherald.files.snapshot import Staged, digest

PATH = Path("/mine/.pgpass")

#: Every number that has words of its own, with the first and the last of them.
KNOWN = {
    errno.ENOSPC: ("the disk is full", "Make room on the disk that holds it; pgherald tries again by itself."),
    errno.EDQUOT: ("your disk quota is used up", "Delete what you can spare; pgherald tries again by itself."),
    errno.EFBIG: ("it would be larger than this disk allows", "Move it to another disk."),
    errno.EROFS: ("the disk can only be read", "Make the disk writable, or name another path in the configuration."),
    errno.EACCES: ("permission denied", "Let the user who runs pgherald read and write the file and its folder (`ls -ld`)."),
    errno.EPERM: ("the system does not allow it", "It may be somebody else's or locked: see `ls -l` and `lsattr` (macOS: `ls -lO`)."),
    errno.EIO: ("the disk reports a fault", "Save what matters from that disk, then have it checked; the system's log says more."),
    errno.ELOOP: ("its symbolic links lead nowhere or in a circle", "`ls -l` shows where they lead; point them at a file."),
    errno.ENAMETOOLONG: ("its name is too long", "Name a shorter path in the configuration."),
    errno.ENOENT: ("its folder is gone", "Make the folder, or correct the configuration's path."),
    errno.ENOTDIR: ("a part of its path is a file, not a folder", "Correct the path in the configuration."),
    errno.EISDIR: ("it is a folder, not a file", "Name a file in the configuration."),
    errno.ENOTEMPTY: ("the folder is not empty", "Look into it, and delete it if it is not needed."),
    errno.EBUSY: ("it is in use", "Close the program that uses it; pgherald tries again by itself."),
    errno.EMFILE: ("too many files are open", "Close other programs; pgherald tries again by itself."),
    errno.ENFILE: ("too many files are open on this machine", "Close other programs; pgherald tries again by itself."),
    errno.EINTR: ("it was interrupted", "Nothing is to be done; pgherald tries again by itself."),
    errno.ESTALE: ("the network folder went away", "Connect the network folder; pgherald tries again by itself."),
    errno.ETIMEDOUT: ("the network folder does not answer", "Check the network; pgherald tries again by itself."),
}  # fmt: skip


def told(error: Exception) -> FileTrouble:
    with pytest.raises(FileTrouble) as caught, reported(PATH, "written"):
        raise error
    assert caught.value.path == PATH
    assert caught.value.__cause__ is error
    return caught.value


@pytest.mark.parametrize("number", KNOWN, ids=lambda number: errno.errorcode[number])
def test_what_is_said_of_an_error(number: int) -> None:
    """Each error that people meet has words and an advice of its own."""
    trouble = told(OSError(number, "CANARY"))
    assert (trouble.reason, trouble.advice) == (
        f"cannot be written: {KNOWN[number][0]}",
        KNOWN[number][1],
    )
    assert errno_of(trouble) == number


def test_every_word_is_tested() -> None:
    """The list above is whole."""
    assert set(trouble._WORDS) == set(KNOWN)


def test_what_is_said_of_other_errors() -> None:
    """The system's own words, or that it had none; and of what is no path."""
    assert (
        told(OSError(errno.EXDEV, "x")).reason == f"cannot be written: {os.strerror(errno.EXDEV)}"
    )
    assert told(OSError("x")).reason == "cannot be written: the system gave no reason"
    assert told(OSError(errno.EXDEV, "x")).advice == ""
    trouble = told(ValueError("embedded null byte"))
    assert trouble.reason == "cannot be written: that is no path"
    assert trouble.advice == "Correct the path in the configuration."
    assert errno_of(trouble) is None
    assert errno_of(FileTrouble("is a file", path=PATH)) is None


@pytest.mark.parametrize(
    ("kind", "what"),
    [
        (stat.S_IFDIR, "a folder"), (stat.S_IFIFO, "a named pipe"), (stat.S_IFSOCK, "a socket"),
        (stat.S_IFCHR, "a device"), (stat.S_IFBLK, "a device"), (0o160000, "something else"),
    ],
)  # fmt: skip
def test_what_is_no_file(kind: int, what: str) -> None:
    """What stands there instead is named, and what to do."""
    trouble.refuse_irregular(PATH, os.stat_result([stat.S_IFREG | 0o600, *range(9)]))
    with pytest.raises(FileTrouble) as caught:
        trouble.refuse_irregular(PATH, os.stat_result([kind | 0o600, *range(9)]))
    assert caught.value.reason == f"is {what}, not a file"
    assert (caught.value.advice, caught.value.path) == ("Name a file in the configuration.", PATH)


# --- what a file was -----------------------------------------------------------------------


def test_a_file_that_changed_is_another_one(tmp_path: Path) -> None:
    """By its disk, number, size and both times."""
    path = tmp_path / "a"
    path.write_bytes(b"x")
    found = path.stat()
    identity = Identity.of(found)
    assert identity == Identity(found.st_dev, found.st_ino, 1, found.st_mtime_ns, found.st_ctime_ns)


@pytest.mark.parametrize(
    ("mode", "loose", "private"),
    [(0o600, False, 0o600), (0o640, True, 0o600), (0o604, True, 0o600), (0o755, True, 0o700),
     (0o601, True, 0o600), (0o400, False, 0o400), (None, False, 0o600)],
)  # fmt: skip
def test_who_may_read_it(
    mode: int | None, loose: bool, private: int
) -> None:  # a column of the table above
    """What others may do is taken away where it must be, and nothing is added."""
    snapshot = Snapshot(PATH, PATH, b"", mode=mode)
    assert snapshot.loose is loose
    assert snapshot.mode_for(private=True) == private
    assert snapshot.mode_for(private=False) == (0o600 if mode is None else mode)


def test_content_is_not_shown() -> None:
    """Neither that which was read, nor that which is to be written."""
    assert "CANARY" not in repr((Snapshot(PATH, PATH, b"CANARY"), Staged(PATH, PATH, b"CANARY")))


def test_a_digest() -> None:
    """It is SHA-256, and there is none of no file."""
    assert digest(b"x") == hashlib.sha256(b"x").hexdigest()
    assert digest(None) is None


# --- temporary files -----------------------------------------------------------------------


def test_the_name_of_a_temporary_file() -> None:
    """It is the target's, hidden, recognised as ours and as no other's."""
    for name in (".pgpass", "x" * 50, "x" * 300, "a[b]*\nc"):
        target = Path("/mine") / name
        path = snapshot.temp_path(target, "0123456789abcdef")
        assert path.parent == target.parent
        assert path.name == f".{name[:50]}.pgherald-0123456789abcdef.tmp"
        assert snapshot.leftover(target, path.name) == "tmp"
    for other in (
        ".pgpass", "..pgpass.pgherald-0123456789abcde.tmp", "..pgpass.pgherald-0123456789abcdeg.tmp",
        "x..pgpass.pgherald-0123456789abcdef.tmp", "..pgpass.pgherald-0123456789abcdef.tmp~",
        ".xpgpass.pgherald-0123456789abcdef.tmp", "..pgpas.pgherald-0123456789abcdef.tmp",
    ):  # fmt: skip
        assert snapshot.leftover(PATH, other) != "tmp"


def test_a_token_is_unlike_any_before() -> None:
    """Sixteen hex digits."""
    tokens = {snapshot.random_token() for _ in range(100)}
    assert len(tokens) == 100
    assert all(re.fullmatch("[0-9a-f]{16}", token) for token in tokens)


def test_a_name_that_is_taken_is_left_alone(tmp_path: Path) -> None:
    """Another one is tried, ten in all; what has the name stays as it is."""
    target = tmp_path / "a"
    tried: list[str] = []

    def token_after(free: int) -> Callable[[], str]:
        tried.clear()

        def token() -> str:
            tried.append("x")
            return "free" if len(tried) == free else "taken"

        return token

    snapshot.temp_path(target, "taken").write_bytes(b"theirs")
    made = snapshot.write_temp(Disk(), target, b"x", lambda _: None, token_after(10))
    assert (made, made.read_bytes()) == (snapshot.temp_path(target, "free"), b"x")
    with pytest.raises(FileExistsError, match=r"^10 temporary names are taken beside /"):
        snapshot.write_temp(Disk(), target, b"x", lambda _: None, token_after(0))
    assert len(tried) == 10
    assert snapshot.temp_path(target, "taken").read_bytes() == b"theirs"


def test_every_byte_is_written_however_few_are_taken(tmp_path: Path) -> None:
    """A system that takes three bytes at a time gets them all."""

    class Slow(Disk):
        def write(self, fd: int, data: memoryview) -> int:
            return super().write(fd, data[:3])

    path = tmp_path / "a"
    snapshot.write_new(Slow(), path, bytes(range(256)), lambda _: None)
    assert path.read_bytes() == bytes(range(256))
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
