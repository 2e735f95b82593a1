"""pgherald's own files and folders: its state, and what `demo` and `simulate` throw away.

Nobody else writes these, so they are replaced unread; clients' files never come
through here.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import shlex
import stat
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Final, TextIO

from pgherald.errors import FileTrouble
from pgherald.files import trusted
from pgherald.files.disk import Disk
from pgherald.files.snapshot import drop, random_token, write_new, write_temp
from pgherald.files.trouble import reported

log = logging.getLogger(__name__)

#: What follows the name of something of pgherald's own that was set aside.
DAMAGED: Final = ".damaged"

#: What the system says of a folder, or beside a folder, that a name is to be given to.
_IN_THE_WAY: Final = frozenset({errno.EEXIST, errno.ENOTEMPTY, errno.EISDIR, errno.ENOTDIR})

#: Variables that name folders of the person's own, beside the home folder.
_HOMES: Final = (
    "XDG_CONFIG_HOME",
    "XDG_DATA_HOME",
    "XDG_STATE_HOME",
    "XDG_CACHE_HOME",
    "APPDATA",
    "LOCALAPPDATA",
)

_PRIVATE_FOLDER: Final = 0o700
_PRIVATE_FILE: Final = 0o600


class OwnFiles:
    """Writes, renames and deletes what is pgherald's own.

    Every method raises `FileTrouble`, naming the file, when the system refuses.

    Missing folders are made below the home folder, those that XDG or Windows give the person, and
    the state folder. Elsewhere only a folder of pgherald's own is made, in one that is there: a
    mistyped path of a file makes none.

    Args:
        disk: does it.
        token: makes temporary names unlike any before.
        ours: further folders that may be made, with any below them, in one that is there.
    """

    def __init__(
        self,
        disk: Disk,
        token: Callable[[], str] = random_token,
        ours: Collection[Path] = (),
    ) -> None:
        self._disk = disk
        self._token = token
        self._ours = ours

    @property
    def disk(self) -> Disk:
        """What does it."""
        return self._disk

    def private_folder(self, path: Path) -> None:
        """Make a folder that only its owner may enter, or make sure of an existing one.

        A folder that others may read is left so: the files in it are private themselves.

        Raises:
            FileTrouble: it is a link, no folder, or somebody else may write to it. Whoever may
                write to the folders above it is no question here: `trusted.strangers` is.
        """
        with reported(path, "made"):
            self._make_missing(path)
            found = self._disk.lstat(path)
        if not stat.S_ISDIR(found.st_mode):
            raise FileTrouble(
                "is not a folder (a link does not count)", f"Move it away: {path}", path=path
            )
        self._refuse_stranger(path, found)

    def make_folder(self, path: Path, mode: int = _PRIVATE_FOLDER) -> None:
        """Make a folder of pgherald's own, if it is missing; new ones get `mode`."""
        with reported(path, "made"):
            self._make_missing(path, mode)
            if not stat.S_ISDIR(self._disk.stat(path).st_mode):
                raise FileTrouble("is a file, not a folder", f"Move it away: {path}", path=path)

    def write_private(self, path: Path, data: bytes) -> None:
        """Replace a file of pgherald's own, whole and synced, mode 0600."""
        self._put(path, data, _PRIVATE_FILE)

    def write_text_file(self, path: Path, text: str, mode: int = _PRIVATE_FILE) -> None:
        """Replace a text file that pgherald made, whole and synced, in UTF-8 as it stands.

        A link is replaced, not followed.
        """
        with reported(path, "written"):
            self._make_missing(path.parent, of=path)
        self._put(path, text.encode("utf-8"), mode)

    def write_new_private(self, path: Path, data: bytes) -> None:
        """Create a private file that must not exist yet, synced; its folder is not."""
        with reported(path, "written"):
            write_new(self._disk, path, data, lambda _: None)

    def sync_folder(self, path: Path) -> None:
        """Bring the folder's names to the disk."""
        with reported(path, "written"):
            self._disk.fsync_folder(path)

    def open_log(self, path: Path, limit: int) -> TextIO:
        """Open a log of pgherald's own to add to it, mode 0600.

        One that somebody else may write, or a link of theirs, is refused: it could lead what is
        logged into a file of the person's.

        Args:
            path: the log.
            limit: bytes; a longer one is set aside first, in the place of the one before.
        """
        with reported(path, "written"):
            self._make_missing(path.parent, of=path)
            if os.path.lexists(path):
                self._refuse_stranger(path, self._disk.lstat(path))
        if path.is_file() and path.stat().st_size > limit:
            self.set_aside(path, ".old")
        with reported(path, "written"):
            fd = self._disk.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, _PRIVATE_FILE)
        return open(fd, "a", encoding="utf-8", errors="replace", buffering=1)  # it is a descriptor

    def rename_own(self, source: Path, target: Path) -> None:
        """Give a file or folder of pgherald's own another name in the same folder."""
        with reported(source, "renamed"):
            self._disk.replace(source, target)

    def set_aside(self, path: Path, suffix: str) -> Path:
        """Rename a file or folder to its name with `suffix`, over an earlier one; the new path."""
        aside = path.with_name(path.name + suffix)
        try:
            self.rename_own(path, aside)
        except FileTrouble as exc:
            if not isinstance(exc.__cause__, OSError) or exc.__cause__.errno not in _IN_THE_WAY:
                raise
            self.remove_own_tree(aside, within=path.parent)
            self.rename_own(path, aside)
        self.sync_folder(path.parent)
        return aside

    def make_way(self, path: Path) -> None:
        """Set aside what cannot be a private file of pgherald's own, where one belongs.

        That is a folder, a pipe, a link, or a file that its owner may not read or write.
        """
        self._make_way(path, lambda mode: not stat.S_ISREG(mode) or self._is_closed(mode))

    def make_way_for_folder(self, path: Path) -> None:
        """Set aside a file, where a folder of pgherald's own belongs."""
        self._make_way(path, stat.S_ISREG)

    def _make_way(self, path: Path, hinders: Callable[[int], bool]) -> None:
        with reported(path, "read"), contextlib.suppress(FileNotFoundError):
            if hinders(self._disk.lstat(path).st_mode):
                aside = self.set_aside(path, DAMAGED)
                log.error("%s was in the way and is kept as %s", path, aside.name)

    def _is_closed(self, mode: int) -> bool:
        """Whether its owner may not read and write it."""
        return self._disk.posix and mode & _PRIVATE_FILE != _PRIVATE_FILE

    def names(self, folder: Path) -> tuple[str, ...]:
        """Names in a folder, sorted; none when there is no such folder."""
        with reported(folder, "read"):
            try:
                return tuple(sorted(self._disk.listdir(folder)))
            except FileNotFoundError:
                return ()

    def remove_own(self, path: Path) -> None:
        """Delete a file of pgherald's own; nothing happens when it is not there."""
        with reported(path, "deleted"):
            self._unlink(path)

    def remove_own_tree(self, path: Path, *, within: Path) -> None:
        """Delete a file or folder of pgherald's own with all that is in it.

        Links are deleted, never followed. Nothing happens when it is not there.

        Raises:
            FileTrouble: it does not lie below `within`.
        """
        with reported(path, "deleted"):
            root = self._disk.realpath(within)
            place = self._disk.realpath(path.parent) / path.name
            if ".." in path.parts or root not in place.parents:
                raise FileTrouble(f"is not deleted: it lies outside {within}", path=path)
            try:
                is_folder = stat.S_ISDIR(self._disk.lstat(place).st_mode)
            except FileNotFoundError:
                return
            (self._disk.rmtree if is_folder else self._disk.unlink)(place)

    def remove_tree(self, root: Path) -> None:
        """Delete a throw-away folder with all that is in it.

        Raises:
            FileTrouble: it is a link, or the person's home or a folder above it.
        """
        with reported(root, "deleted"):
            home = self._disk.realpath(Path.home())
            if root.is_symlink() or self._disk.realpath(root) in (home, *home.parents):
                raise FileTrouble("is not deleted: it is no throw-away folder", path=root)
        self.remove_own_tree(root, within=root.parent)

    def _put(self, path: Path, data: bytes, mode: int) -> None:
        with reported(path, "written"):
            new = write_temp(
                self._disk, path, data, lambda fd: self._set_mode(fd, mode), self._token
            )
            try:
                self._disk.replace(new, path)
            except BaseException:
                drop(self._disk, new)
                raise
            self._disk.fsync_folder(path.parent)

    def _set_mode(self, fd: int, mode: int) -> None:
        """The mode as asked for: what the umask left of it may be less, and was never more."""
        if self._disk.posix and stat.S_IMODE(self._disk.fstat(fd).st_mode) != mode:
            self._disk.fchmod(fd, mode)

    def _refuse_stranger(self, path: Path, found: os.stat_result) -> None:
        if (other := trusted.stranger(path, found, self._disk)) is not None:
            raise FileTrouble(other.why, f"Run: {other.command}", path=path)

    def _make_missing(
        self, folder: Path, mode: int = _PRIVATE_FOLDER, *, of: Path | None = None
    ) -> None:
        """Make a folder and those above it, where they are missing and are ours to make.

        Args:
            folder: the folder.
            mode: of those that are made.
            of: the file for which; None where the folder itself is pgherald's own.

        Raises:
            FileTrouble: one of them is not ours to make.
        """
        missing: list[Path] = []
        place = folder.absolute()
        while not os.path.lexists(place):
            if place == place.parent:
                # Windows: a drive that is not connected.
                raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(place))
            missing.append(place)
            place = place.parent
        own = folder.absolute() if of is None else None
        if strange := [new for new in missing if new != own and not self._is_ours(new)]:
            raise FileTrouble(
                f"lies in a folder that is not there: {strange[0]}",
                f"Correct the path, or make the folder: mkdir -p {shlex.quote(str(strange[0]))}",
                path=of or folder,
            )
        for new in reversed(missing):
            try:
                self._disk.mkdir(new, mode)
            except FileExistsError:
                continue  # another program was faster, and that is as good
            self._disk.fsync_folder(new.parent)

    def _is_ours(self, folder: Path) -> bool:
        """Whether a folder is ours to make where it is missing."""
        place = self._disk.realpath(folder)
        around = (place, *place.parents)
        if any(self._disk.realpath(own) in around for own in self._ours):
            return True
        named = (os.path.expanduser("~"), *map(os.environ.get, _HOMES))  # never fails
        homes = (self._disk.realpath(Path(n)) for n in named if n and Path(n).is_absolute())
        # A service may have the whole machine for its home.
        return any(home in place.parents and home != home.parent for home in homes)

    def _unlink(self, path: Path) -> None:
        try:
            self._disk.unlink(path)
        except FileNotFoundError:
            return
        self._disk.fsync_folder(path.parent)
