"""The primitive operations, one system call each.

Everything above goes through a `Disk` that is handed in. A test hands in one that fails,
or that kills its own process, at the n-th operation.
"""

from __future__ import annotations

import errno
import os
import shutil
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    import sqlite3

#: Windows opens files as text by default.
_BINARY: Final[int] = getattr(os, "O_BINARY", 0)

#: For reading what may turn out to be no file: do not wait for a pipe's other end, do not
#: become a terminal's owner, do not follow a link that was put there a moment ago.
READ: Final[int] = (
    os.O_RDONLY
    | getattr(os, "O_NONBLOCK", 0)
    | getattr(os, "O_NOCTTY", 0)
    | getattr(os, "O_NOFOLLOW", 0)
)

#: For writing a file that must not exist yet, not even as a link.
CREATE: Final[int] = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0)

#: What file systems that cannot sync a folder answer.
_NO_FOLDER_SYNC: Final = frozenset({errno.EINVAL, errno.ENOTSUP})

#: What systems and file systems answer that cannot exchange two files, or link one: NFS, SMB,
#: FAT, an old kernel, a sandbox.
UNABLE: Final = frozenset(
    {errno.EINVAL, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EPERM, errno.EMLINK}
)

#: `RENAME_EXCHANGE` of Linux's renameat2, and `RENAME_SWAP` of macOS's renamex_np: one number.
_EXCHANGE: Final = 2

_AT_FDCWD: Final = -100


class Disk:
    """The machine's own disk. Every method may raise `OSError`.

    Attributes:
        posix: whether files have owners and modes, and folders can be synced.
    """

    posix: bool = os.name == "posix"

    def euid(self) -> int | None:
        """The user that pgherald runs as; None where there is no such number."""
        return os.geteuid() if self.posix else None

    def egid(self) -> int | None:
        """The group of what that user makes; None likewise."""
        return os.getegid() if self.posix else None

    def open(self, path: Path, flags: int, mode: int = 0o600) -> int:
        """Open, never to be inherited by children; a new file gets `mode`."""
        return os.open(path, flags | _BINARY, mode)

    def close(self, fd: int) -> None:
        """Close."""
        os.close(fd)

    def read(self, fd: int, size: int) -> bytes:
        """Up to `size` bytes; none at the end."""
        return os.read(fd, size)

    def write(self, fd: int, data: memoryview) -> int:
        """Write some of `data`; how many bytes."""
        return os.write(fd, data)

    def fsync(self, fd: int) -> None:
        """Bring the file's content to the disk."""
        os.fsync(fd)

    def fsync_folder(self, path: Path) -> None:
        """Bring the folder's names to the disk, where the file system can."""
        if not self.posix:
            return
        fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(fd)
        except OSError as exc:
            if exc.errno not in _NO_FOLDER_SYNC:
                raise
        finally:
            os.close(fd)

    def fchmod(self, fd: int, mode: int) -> None:
        """Set the mode; nothing where there are no modes."""
        if self.posix:
            os.fchmod(fd, mode)

    def fchown(self, fd: int, uid: int, gid: int) -> None:
        """Set owner and group; -1 leaves one as it is."""
        if self.posix:
            os.fchown(fd, uid, gid)

    def fstat(self, fd: int) -> os.stat_result:
        """What the open file is."""
        return os.fstat(fd)

    def stat(self, path: Path) -> os.stat_result:
        """What is there, links followed."""
        return os.stat(path)

    def lstat(self, path: Path) -> os.stat_result:
        """What is there, links not followed."""
        return os.lstat(path)

    def may_write(self, path: Path) -> bool:
        """Whether the system would let us write a file, or into a folder."""
        return os.access(path, os.W_OK, effective_ids=os.access in os.supports_effective_ids)

    def is_read_only(self, path: Path) -> bool:
        """Whether it lies on a disk, or behind a mount, that can only be read."""
        return bool(os.statvfs(path).f_flag & os.ST_RDONLY)

    def is_mount(self, path: Path) -> bool:
        """Whether a file is mounted by itself, as far as the system shows it (Linux does)."""
        try:
            mounts = Path("/proc/self/mountinfo").read_bytes().splitlines()
        except OSError:
            return False
        # proc(5): octal escapes stand for what would look like the end of a field.
        places = (mount.split(b" ", 5)[4:5] for mount in mounts)
        decoded = (place[0].decode("unicode_escape").encode("latin-1") for place in places if place)
        return os.fsencode(path) in decoded

    def realpath(self, path: Path) -> Path:
        """The path without links, as far as it exists."""
        return Path(os.path.realpath(path))

    def readlink(self, path: Path) -> Path:
        """The path that a link holds."""
        return path.readlink()

    def replace(self, source: Path, target: Path) -> None:
        """Put `source` in the place of `target` in one instant."""
        os.replace(source, target)

    def exchange(self, one: Path, other: Path) -> None:
        """Give two files each other's name, in one instant.

        Raises:
            OSError: with a number in `UNABLE` where that is not possible.
        """
        import ctypes  # slow to import, and only needed to replace a file

        names = os.fsencode(one), os.fsencode(other)
        libc: Any = ctypes.CDLL(None, use_errno=True) if self.posix else None
        if hasattr(libc, "renameat2"):
            failed = libc.renameat2(_AT_FDCWD, names[0], _AT_FDCWD, names[1], _EXCHANGE)
        elif hasattr(libc, "renamex_np"):
            failed = libc.renamex_np(*names, _EXCHANGE)
        else:
            raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS), str(one))
        if failed:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number), str(one), None, str(other))

    def link(self, source: Path, target: Path) -> None:
        """Give a file one more name, which must be free."""
        os.link(source, target)

    def written(self, fd: int) -> bool | None:
        """Whether any program has the file open to write it; None where nobody can say.

        Linux grants a lease on a file that is open for reading only if nobody can write it. It
        is given back at once: whoever opens the file in between waits for some microseconds.

        Args:
            fd: the file, open for reading alone.
        """
        if sys.platform != "linux":
            return None
        import fcntl  # there is none on Windows

        try:
            # By default the kernel would ask for the lease with a signal that ends us.
            fcntl.fcntl(fd, fcntl.F_SETSIG, signal.SIGURG)
            fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_RDLCK)
        except OSError as exc:
            # Anything else: a file system without leases, or a file that is not ours.
            return True if exc.errno == errno.EAGAIN else None
        fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_UNLCK)
        return False

    def unlink(self, path: Path) -> None:
        """Delete a file or a link."""
        os.unlink(path)

    def mkdir(self, path: Path, mode: int) -> None:
        """Make a folder."""
        os.mkdir(path, mode)

    def listdir(self, path: Path) -> list[str]:
        """Names in a folder, in no order."""
        return os.listdir(path)  # the primitive itself

    def rmtree(self, path: Path) -> None:
        """Delete a folder with all that is in it; links in it are deleted, not followed."""
        shutil.rmtree(path)

    def sqlite_open(self, path: Path, timeout: float) -> sqlite3.Connection:
        """Connect to an SQLite database that is there; none is made.

        Args:
            path: the file.
            timeout: seconds that a statement waits for another program's lock.

        Raises:
            sqlite3.Error: likewise.
        """
        import sqlite3  # quick commands have nothing to do with it

        # Not `mode=ro`: a journal that a killed program left behind could not be rolled back.
        uri = f"{path.as_uri()}?mode=rw"
        connection = sqlite3.connect(uri, uri=True, timeout=timeout, isolation_level=None)
        # Some other program's text need not be text.
        connection.text_factory = lambda raw: raw.decode("utf-8", "surrogateescape")
        return connection

    def sqlite_execute(
        self, connection: sqlite3.Connection, sql: str, values: Sequence[object] = ()
    ) -> list[tuple[Any, ...]]:
        """Run one statement; its rows.

        Raises:
            sqlite3.Error: as SQLite says.
        """
        return connection.execute(sql, values).fetchall()
