"""Disks that watch, fail or kill at one of their operations, and children to be killed.

A disk counts its operations from 1: `KillingDisk(7)` dies in the seventh. A child is told
what to run, `in_child(partial(commit, KillingDisk(7)))`, and comes back as `killed` or with
a `report` of what it raised.
"""

from __future__ import annotations

import errno
import itertools
import os
import signal
import sqlite3
import traceback
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pgherald.files import Disk

#: Everything that a disk can be asked for, save what never fails.
OPERATIONS = tuple(
    "open close read write fsync fsync_folder fchmod fchown fstat stat lstat realpath replace exchange"
    " link written unlink mkdir listdir rmtree sqlite_open sqlite_execute".split()
)

#: Those that change what a next process finds. To die before any other changes nothing.
CHANGES = frozenset(OPERATIONS) - {
    *"close read fstat stat lstat realpath listdir written sqlite_open".split()
}

#: Those that give a path other content at once: their second argument.
PLACING = ("replace", "exchange", "link")

#: A child that takes longer than this hangs, in seconds.
CHILD_LIMIT = 100

NOBODY = 65534


def placed(name: str, args: tuple[Any, ...]) -> Path | None:
    """The file into whose place an operation is about to put something, temporary ones apart."""
    path = args[1] if name in PLACING else None
    return None if path is None or ".pgherald-" in path.name else path


class NoUndo(Disk):
    """Has no room for the journal of a commit, as long as it `refuses`."""

    def __init__(self, *, refuses: bool = False) -> None:
        self.refuses = refuses

    def mkdir(self, path: Path, mode: int) -> None:
        if self.refuses and "commits" in path.parts:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
        super().mkdir(path, mode)


class QuickDisk(Disk):
    """Does not wait for the disk: a killed process loses nothing by it, only a power cut would."""

    def fsync(self, fd: int) -> None:
        """Nothing."""

    def fsync_folder(self, path: Path) -> None:
        """Nothing."""


class SteppedDisk(QuickDisk):
    """A real disk, a quick one, on which `step` is called before every operation."""

    def step(self, name: str, args: tuple[Any, ...]) -> None:
        """Look at an operation before it is done; raise to keep it from being done."""


def _stepped(name: str) -> Callable[..., Any]:
    real = getattr(QuickDisk, name)

    def operation(self: SteppedDisk, *args: Any) -> Any:
        self.step(name, args)
        return real(self, *args)

    return operation


for _name in OPERATIONS:
    setattr(SteppedDisk, _name, _stepped(_name))


class TracingDisk(SteppedDisk):
    """Writes down what it is asked for: (operation, its arguments)."""

    def __init__(self) -> None:
        self.trace: list[tuple[str, tuple[Any, ...]]] = []

    def step(self, name: str, args: tuple[Any, ...]) -> None:
        self.trace.append((name, args))

    def names(self) -> list[str]:
        return [name for name, _ in self.trace]


class FailingDisk(SteppedDisk):
    """Fails at the operation with that number, counted from 1.

    Attributes:
        failed: the first operation that failed; None while none has.
    """

    def __init__(self, at: int, number: int, *, times: int = 1, only: str = "") -> None:
        """Fail with that `errno`, that many times in a row, or in one kind of operation only."""
        self._fails = range(at, at + times)
        self._number = number
        self._only = only
        self._count = 0
        self.failed: str | None = None

    def step(self, name: str, args: tuple[Any, ...]) -> None:
        if self._only not in ("", name):
            return
        self._count += 1
        if self._count in self._fails:
            self.failed = self.failed or name
            if name == "close":
                os.close(*args)  # as the system does, whatever it says
            if name.startswith("sqlite"):
                trouble = sqlite3.OperationalError("the test's")
                trouble.sqlite_errorcode = sqlite3.SQLITE_IOERR
                raise trouble
            raise OSError(self._number, os.strerror(self._number))


class Died(BaseException):
    """The process was killed; not an `Exception`, so nothing of ours catches it."""


class MortalDisk(SteppedDisk):
    """A quick disk on which the process dies at a change, and stays dead.

    Attributes:
        left: changes until then; None for never.
    """

    left: int | None = None

    def step(self, name: str, args: tuple[Any, ...]) -> None:
        if self.left is None or name not in CHANGES:
            return
        self.left -= 1
        if self.left == 0 and name == "write":
            fd, data = args
            os.write(fd, data[: len(data) // 2])
        if self.left <= 0:
            self.die()

    def die(self) -> None:
        """Do so."""
        raise Died


class KillingDisk(MortalDisk):
    """Kills its process, for real, at the change with that number, counted from 1."""

    def __init__(self, at: int) -> None:
        self.left = at

    def die(self) -> None:
        """Do so."""
        os.kill(os.getpid(), signal.SIGKILL)


#: Whether each operation is tried, not a share of them; set by `--soak`.
try_all = False


def moments(share: int, of: int) -> Iterator[int]:
    """Numbers of operations, from 1: one share of them, or all with `--soak`.

    Tests that differ in one parameter take shares of their own, so that together they try all.
    """
    return itertools.count(1) if try_all else itertools.count(1 + share % of, of)


@dataclass(frozen=True)
class Child:
    """How a child ended: `killed`, or with a `report` of what it raised (empty: all well)."""

    killed: bool
    report: str


def in_child(work: Callable[[], object], *, user: int | None = None) -> Child:
    """Run `work` in a forked child: warm, so that a thousand of them take seconds."""
    reader, writer = os.pipe()
    with warnings.catch_warnings():
        # Python warns of forks beside threads. The child runs our code alone and ends in
        # `os._exit`; whatever a thread of the test run had locked is not touched.
        warnings.simplefilter("ignore", DeprecationWarning)
        pid = os.fork()
    if pid == 0:
        _be_child(work, user, reader, writer)
    os.close(writer)
    with os.fdopen(reader, "rb") as pipe:
        report = pipe.read().decode()
    _, status = os.waitpid(pid, 0)
    killed = os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL
    if not killed and status != 0 and not report:
        report = f"the child ended with status {status}"
    return Child(killed, report)


def _be_child(work: Callable[[], object], user: int | None, reader: int, writer: int) -> None:
    status = 1
    try:
        os.close(reader)
        signal.alarm(CHILD_LIMIT)
        if user is not None and os.geteuid() == 0:
            os.setgroups([])
            os.setresgid(user, user, user)
            os.setresuid(user, user, user)
        work()
        status = 0
    except BaseException:  # noqa: BLE001 – whatever it is, the parent shall read it
        os.write(writer, traceback.format_exc().encode())
    finally:
        os._exit(status)
