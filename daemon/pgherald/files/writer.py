"""Clients' files: read, read again, replaced whole.

What a replacement guarantees, whenever and however it ends:

- a reader sees the old bytes or the new ones, never a part, never no file;
- the new bytes are on the disk before their name is;
- nobody but the owner can read them from the first byte on, unless the file was open to
  others before and need not be private;
- links stay links, owner and group stay, the mode stays or becomes stricter;
- a file that another program has changed since it was read, or has open to write it, is not
  replaced;
- what another program writes while it is being replaced is not lost: the old file is kept
  until it is nobody's, and else goes back to its place (`kept`).

The last two hold to the full on Linux and its local file systems, where the kernel says who
writes and two files can be exchanged. macOS can exchange, and does not say who writes: there
the old file is kept for half a second, and a program that holds it open in silence for longer
loses what it writes afterwards. Windows refuses to replace an open file, unless its program
allows that. Elsewhere (network folders, FAT) what is renamed to the file's place in the
microseconds before our own rename is lost as well.

What is not kept: access control lists, extended attributes, and a hard link's other names,
which go on holding the old bytes.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import time
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Final

from pgherald.errors import BeingWritten, ChangedMeanwhile, FileTrouble
from pgherald.files import locks as locking
from pgherald.files.disk import READ, Disk
from pgherald.files.kept import Kept
from pgherald.files.own import OwnFiles
from pgherald.files.snapshot import (
    OTHERS,
    Identity,
    Snapshot,
    Staged,
    digest,
    drop,
    leftover,
    random_token,
    write_temp,
)
from pgherald.files.trouble import foreign, refuse_irregular, refuse_unwritable, reported

#: Bytes that a client's file may have. The largest real ones have some hundred thousand.
SIZE_LIMIT: Final = 64 * 1024 * 1024

_CHUNK: Final = 1024 * 1024

#: How often a file is read anew because it changed while it was being read.
_READS: Final = 5

#: Pauses in seconds before the replacement is tried again, on Windows, where it fails while
#: another program has the file open (an editor, a virus scanner).
_PAUSES: Final = (0.02, 0.05, 0.1, 0.2, 0.4, 0.8)

#: Windows: ERROR_ACCESS_DENIED and ERROR_SHARING_VIOLATION.
_SHARING: Final = frozenset({5, 32})


class Files(OwnFiles):
    """Reads and writes clients' files, and pgherald's own.

    Every method may be called from any thread and raises `FileTrouble`, naming the file as
    the person knows it, when the system refuses; `trouble.errno_of` reads its number.

    Args:
        locks: folder of the lock files, pgherald's own.
        disk: does it all.
        sleep: waits, in seconds; needed where the system says too little, or refuses.
        token: makes temporary names unlike any before.
        ours: folders beside the state folder that may be made; see `OwnFiles`.
    """

    def __init__(
        self,
        locks: Path,
        disk: Disk | None = None,
        *,
        sleep: Callable[[float], None] = time.sleep,
        token: Callable[[], str] = random_token,
        ours: Collection[Path] = (),
    ) -> None:
        super().__init__(disk or Disk(), token, (locks.parent, *ours))
        self._locks = locking.Locks(locks, self)
        self._sleep = sleep
        self._kept = Kept(self._disk, token, sleep)

    # Reading

    def read(self, path: Path) -> Snapshot:
        """The file as it is now, links followed. A missing one is a snapshot without content.

        Raises:
            FileTrouble: it is no regular file, too large, not readable, or lies behind a
                link into a folder that is not there.
            ChangedMeanwhile: it changes faster than it can be read.
        """
        path = path.absolute()
        with reported(path, "read"):
            for _ in range(_READS):
                snapshot = self._read_once(path)
                if snapshot is not None:
                    return snapshot
        raise ChangedMeanwhile("is being written by another program", path=path)

    def again(self, path: Path, image: bytes | None) -> Snapshot:  # as for rows
        """The file as it is now; see `Rows.again`."""
        return self.read(path)

    def written(self, path: Path) -> bool | None:
        """Whether another program has the file open to write it; None where nobody can say."""
        with reported(path, "read"):
            return self._kept.written(self._disk.realpath(path))

    def verify(self, snapshot: Snapshot) -> None:
        """Make sure that the file is still what it was, and that nobody is writing it.

        The content is compared too: some file systems count time in steps so large that two
        writes fall into one.

        Raises:
            ChangedMeanwhile: it is not; `BeingWritten` when somebody is.
        """
        if self.read(snapshot.path) != snapshot:
            raise ChangedMeanwhile("was changed by another program", path=snapshot.path)
        if self.written(snapshot.path):
            raise BeingWritten(snapshot.path)

    def _read_once(self, path: Path) -> Snapshot | None:
        """One attempt; None when the file changed under it."""
        target = self._disk.realpath(path)
        try:
            # Before it is opened: to open a pipe or a device may be to act on it.
            refuse_irregular(path, self._disk.stat(path))
        except FileNotFoundError:
            self._refuse_dangling(path, target)
            return Snapshot(path, target, None)
        try:
            fd = self._disk.open(target, READ)
        except FileNotFoundError:
            return None
        try:
            found = self._disk.fstat(fd)
            refuse_irregular(path, found)
            content = self._read_all(path, fd)
            if Identity.of(self._disk.fstat(fd)) != Identity.of(found):
                return None
        finally:
            self._disk.close(fd)
        if not self._disk.posix:
            return Snapshot(path, target, content, Identity.of(found))
        mode = stat.S_IMODE(found.st_mode)
        return Snapshot(path, target, content, Identity.of(found), mode, found.st_uid, found.st_gid)

    def _read_all(self, path: Path, fd: int) -> bytes:
        content = bytearray()
        while chunk := self._disk.read(fd, _CHUNK):
            content += chunk
            if len(content) > SIZE_LIMIT:
                raise FileTrouble(
                    f"is larger than {SIZE_LIMIT // 1024**2} MiB, so it is hardly a client's file",
                    "Correct the path in the configuration.",
                    path=path,
                )
        return bytes(content)

    def _refuse_dangling(self, path: Path, target: Path) -> None:
        """Do not make folders behind a link: what it leads to may just not be mounted."""
        places = (place for place in (path, *path.parents) if os.path.lexists(place))
        place = next(places, None)
        if place is None:
            raise FileTrouble(
                "cannot be found: its drive is not there", "Connect the drive.", path=path
            )
        if not place.is_symlink():
            return
        try:
            self._disk.stat(target.parent if place == path else place)
        except FileNotFoundError:
            raise FileTrouble(
                f"cannot be found: {place} is a link to a place that is not there",
                "Connect or mount what it leads to, or correct the link.",
                path=path,
            ) from None

    # Writing

    def refuse_unwritable(self, snapshot: Snapshot) -> None:
        """Pass a file that may be replaced, as far as that can be known without trying.

        Raises:
            FileTrouble: it cannot be.
        """
        refuse_unwritable(self._disk, snapshot)

    def replace(self, snapshot: Snapshot, new: bytes, *, private: bool) -> Snapshot:
        """Replace the file's content; the file as it is afterwards.

        Equal content is not written, but a private file that others may read is closed to
        them.

        Args:
            snapshot: the file as it was read.
            new: its new bytes.
            private: whether only the owner may read it.

        Raises:
            ChangedMeanwhile: another program wrote it since; nothing was written.
        """
        if new == snapshot.content:
            return self.tighten(snapshot) if private else snapshot
        staged = self.stage(snapshot, new, private=private)
        try:
            after = self.install(staged, over=snapshot)
            self.let_go([(staged, snapshot)])
        except BaseException:
            self.discard(staged)
            with contextlib.suppress(OSError):
                known = digest(snapshot.content), digest(new)
                self._kept.reclaim(staged.aside, staged.target, known)
            raise
        return after

    def stage(self, snapshot: Snapshot, new: bytes, *, private: bool) -> Staged:
        """Lay the new content down beside the target, complete and synced.

        All that is likely to fail fails here, before the file is touched. What was staged is
        to be installed or discarded.
        """
        self.refuse_unwritable(snapshot)
        with reported(snapshot.path, "written"):
            self._make_missing(snapshot.target.parent, of=snapshot.path)

            def finish(fd: int) -> None:
                self._keep_owner(fd, snapshot, private=private)
                self._set_mode(fd, snapshot.mode_for(private=private))

            new_file = write_temp(self._disk, snapshot.target, new, finish, self._token)
        return Staged(snapshot.target, new_file, new)

    def install(self, staged: Staged, *, over: Snapshot) -> Snapshot:
        """Put staged content in the file's place; the file as it is afterwards.

        What it held before is kept beside it: see `let_go`.

        Raises:
            ChangedMeanwhile: the file is not what `over` says, or no longer what was
                installed when it is read again.
        """
        with reported(over.path, "written"):
            self._rename(staged, over)
            self._disk.fsync_folder(staged.target.parent)
        after = self.read(over.path)
        if after.content != staged.content:
            raise ChangedMeanwhile("was changed by another program", path=over.path)
        return after

    def let_go(self, replaced: Iterable[tuple[Staged, Snapshot]]) -> None:
        """Delete what was kept of files that were replaced: what was installed, and over what.

        Raises:
            ChangedMeanwhile: another program writes one of them still. That one is in its place
                again, as it is.
        """
        self._kept.let_go(replaced)

    def discard(self, staged: Staged) -> None:
        """Delete staged content that is not wanted, as far as the system lets us."""
        assert staged.temp is not None  # a file's always lies somewhere
        drop(self._disk, staged.temp)

    def tighten(self, snapshot: Snapshot) -> Snapshot:
        """Take the file from everyone but its owner; the file as it is afterwards.

        Raises:
            ChangedMeanwhile: another program wrote it since; it was left alone.
            FileTrouble: it is somebody else's, or the system refuses.
        """
        if not snapshot.loose:
            return snapshot
        if (why := foreign(self._disk, snapshot)) is not None:
            reason, advice = why
            raise FileTrouble(f"can be read by others, and {reason}", advice, path=snapshot.path)
        with reported(snapshot.path, "made private"):
            fd = self._disk.open(snapshot.target, READ)
            try:
                if Identity.of(self._disk.fstat(fd)) != snapshot.identity:
                    raise ChangedMeanwhile("was changed by another program", path=snapshot.path)
                self._disk.fchmod(fd, snapshot.mode_for(private=True))
            finally:
                self._disk.close(fd)
        return self.read(snapshot.path)

    def remove(self, snapshot: Snapshot) -> Snapshot:
        """Delete the file; the place as it is afterwards. Only an undo does this.

        Raises:
            ChangedMeanwhile: another program wrote it since; it was left alone.
        """
        self.verify(snapshot)
        with reported(snapshot.path, "deleted"):
            self._kept.take_away(snapshot)
        return self.read(snapshot.path)

    def sweep(self, target: Path, known: Collection[str | None] = ()) -> None:
        """Delete temporary files for `target` that a killed pgherald left behind.

        To be called while holding the target's lock: then nobody is using them.

        Args:
            target: the file.
            known: digests of what a commit lets it hold. A file that was kept and holds
                anything else, or is being written, is somebody's, and goes back to its place.
        """
        for name in self.names(target.parent):
            kind = leftover(target, name)
            if kind == "tmp":
                self.remove_own(target.with_name(name))
            elif kind == "old":
                with reported(target, "written"):
                    self._kept.reclaim(target.with_name(name), target, known)

    def _put(self, path: Path, data: bytes, mode: int) -> None:
        """Under the file's lock: what a killed pgherald left beside it goes on the way."""
        with self.lock(path):
            self.sweep(path)
            super()._put(path, data, mode)

    def _keep_owner(self, fd: int, old: Snapshot, *, private: bool) -> None:
        """Give a new file the owner and group of the old one.

        A group that only its members could give away does not matter where the file is the
        owner's alone; elsewhere somebody would lose access, or gain it, so it is an error.
        """
        new = self._disk.fstat(fd)
        if old.uid is None or old.gid is None or (old.uid, old.gid) == (new.st_uid, new.st_gid):
            return
        try:
            self._disk.fchown(fd, old.uid if old.uid != new.st_uid else -1, old.gid)
        except OSError as exc:
            # EINVAL: in a user namespace, such as the service's sandbox is, it has no number.
            if exc.errno not in {errno.EPERM, errno.EINVAL}:
                raise
            if old.uid != new.st_uid or old.mode_for(private=private) & OTHERS:
                raise

    def _rename(self, staged: Staged, over: Snapshot) -> None:
        pauses = iter(_PAUSES)
        while True:
            self.verify(over)
            try:
                return self._kept.swap(staged, over)
            except PermissionError as exc:
                pause = next(pauses, None)
                if pause is None or getattr(exc, "winerror", None) not in _SHARING:
                    raise
            self._sleep(pause)

    # Locks

    @contextlib.contextmanager
    def lock(self, path: Path, *, limit: float = locking.LOCK_LIMIT) -> Iterator[None]:
        """Be the only pgherald that writes this file; again in the same thread is fine.

        Args:
            path: the file, which need not exist.
            limit: seconds to wait for another writer.

        Raises:
            FileTrouble: another pgherald held it all that time.
        """
        with reported(path, "locked"):
            target = self._disk.realpath(path)
        with self._locks.hold(path, target, limit):
            yield

    def exclusive(self, path: Path, who: str) -> AbstractContextManager[None]:
        """Be the only one who holds `path`, without waiting; see `locks.exclusive`.

        Raises:
            AlreadyRunning: somebody else holds it; names the process, if known.
        """
        return locking.exclusive(path, who, self)
