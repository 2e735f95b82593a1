"""What a replacement pushes out of its place is kept until it is surely nobody's.

Between the last reading of a file and its replacement another program may save it, and one
that opened it before may go on writing the old file, which then has no name. So the two
files trade places, where the system can do that in one instant, and the old one stays beside
the new one, under a temporary name. It is deleted when it is as it was when it was read, and
nobody has it open to write it. Else it goes back to its place, since it holds somebody's
newest work.

Where files cannot be exchanged the old one gets a second name first. That keeps what is
written into it; what is renamed to its place within the next microseconds is lost.
"""

from __future__ import annotations

import contextlib
import logging
import os
import stat
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from pgherald.errors import BeingWritten, ChangedMeanwhile
from pgherald.files.disk import READ, UNABLE, Disk
from pgherald.files.snapshot import (
    Snapshot,
    Staged,
    aside_path,
    digest,
    drop,
    temp_path,
)
from pgherald.files.trouble import reported

log = logging.getLogger(__name__)

_CHUNK: Final = 1024 * 1024

#: Where nobody can say whether a file is still open, it is kept for that long, in seconds, to
#: see whether it changes.
GRACE: Final = 0.5

#: How often a file is brought back while others go on replacing what is in its place.
_TRIES: Final = 5


@dataclass(frozen=True, slots=True)
class _Found:
    """What stands under a name.

    Attributes:
        stat: the file.
        content: its bytes; None when it is no regular file.
        written: whether somebody has it open to write it; None when nobody can say.
    """

    stat: os.stat_result
    content: bytes | None = field(repr=False)
    written: bool | None

    def is_still(self, over: Snapshot) -> bool:
        """Whether it is what was read, and nobody is writing it."""
        same = over.is_at(self.stat) and self.content == over.content
        return same and not self.written


class Kept:
    """Puts files in others' places, and keeps those.

    Every method but `let_go` raises `OSError` as the system says.

    Args:
        disk: does it.
        token: makes temporary names unlike any before.
        sleep: waits, in seconds.
    """

    def __init__(
        self,
        disk: Disk,
        token: Callable[[], str],
        sleep: Callable[[float], None],
    ) -> None:
        self._disk = disk
        self._token = token
        self._sleep = sleep

    def written(self, target: Path) -> bool | None:
        """Whether somebody has a file open to write it; None when nobody can say.

        A file that is not there is not being written.
        """
        found = self._find(target, read=False)
        return False if found is None else found.written

    def swap(self, staged: Staged, over: Snapshot) -> None:
        """Put staged content in the file's place; what stood there, if anything, is kept.

        Raises:
            ChangedMeanwhile: that was not what was read, or is being written. It is in its
                place again.
        """
        assert staged.temp is not None  # a file's always lies somewhere
        aside, target = staged.aside, staged.target
        if over.content is None:
            try:
                return self.put(staged.temp, target)
            except FileExistsError as exc:
                raise ChangedMeanwhile("was changed by another program", path=over.path) from exc
        self._disk.replace(staged.temp, aside)
        try:
            self._trade(aside, target)
        except OSError as exc:
            with contextlib.suppress(OSError):
                self._disk.replace(aside, staged.temp)
            if isinstance(exc, FileNotFoundError):
                raise ChangedMeanwhile("was changed by another program", path=over.path) from exc
            raise
        return self._refuse_changed(aside, over, staged.content)

    def put(self, source: Path, target: Path) -> None:
        """Give a file a name that nobody has.

        Raises:
            FileExistsError: somebody has it.
        """
        if self._link(source, target):
            self._disk.unlink(source)
            return
        if os.path.lexists(target):
            raise FileExistsError(f"there is a file: {target}")
        self._disk.replace(source, target)

    def take_away(self, over: Snapshot) -> None:
        """Take a file out of its place, for good.

        Raises:
            ChangedMeanwhile: it was not what was read, or is being written. It is in its
                place again.
        """
        aside = aside_path(temp_path(over.target, self._token()))
        try:
            self._disk.replace(over.target, aside)
        except FileNotFoundError:
            return
        if self.written(aside) is None:
            self._sleep(GRACE)
        self._refuse_changed(aside, over, None)
        self._disk.unlink(aside)
        self._disk.fsync_folder(aside.parent)

    def let_go(self, replaced: Iterable[tuple[Staged, Snapshot]]) -> None:
        """Delete what was kept of these files, if it is nobody's.

        Args:
            replaced: what was put in their places, and what each held before.

        Raises:
            ChangedMeanwhile: somebody writes one of them still. It is in its place again.
            FileTrouble: the system refuses.
        """
        kept = [(new, over) for new, over in replaced if over.content is not None]
        unsaid = False
        for new, over in kept:
            with reported(over.path, "written"):
                unsaid |= self.written(new.aside) is None
        if unsaid:
            self._sleep(GRACE)
        for new, over in kept:
            with reported(over.path, "written"):
                self._refuse_changed(new.aside, over, new.content)
        for new, over in kept:
            with reported(over.path, "written"):
                self._drop(new.aside)
                self._disk.fsync_folder(new.target.parent)

    def reclaim(self, aside: Path, target: Path, known: Collection[str | None]) -> None:
        """Delete what a killed pgherald kept, if a commit knows it and nobody writes it.

        Anything else is somebody's: it goes back to its place.
        """

        def ours(found: _Found) -> bool:
            return found.content is not None and digest(found.content) in known

        found, there = self._find(aside), self._find(target)
        if found is None:
            return
        twins = there is not None and os.path.samestat(found.stat, there.stat)
        if twins or (ours(found) and not found.written):
            self._disk.unlink(aside)
        else:
            self._bring_back(aside, target, ours)
        self._disk.fsync_folder(target.parent)

    def _refuse_changed(self, aside: Path, over: Snapshot, ours: bytes | None) -> None:
        """Bring a file back that is not what was read; `ours` is what stands in its place."""
        found = self._find(aside)
        # None: this file system has neither exchange nor links, so nothing could be kept.
        if found is None or found.is_still(over):
            return
        self._bring_back(
            aside, over.target, lambda there: ours is not None and there.content == ours
        )
        self._disk.fsync_folder(over.target.parent)
        if found.written:
            raise BeingWritten(over.path)
        raise ChangedMeanwhile("was changed by another program", path=over.path)

    def _bring_back(self, aside: Path, target: Path, ours: Callable[[_Found], bool]) -> None:
        """Put a file back in its place, if what stands there now is ours and nobody writes it.

        Else two programs have written two files: the one with the name has it, and the other
        one is kept beside it.
        """
        for _ in range(_TRIES):
            there = self._find(target)
            if there is None:
                with contextlib.suppress(FileExistsError):
                    return self.put(aside, target)
                continue
            if not ours(there) or there.written:
                break
            with contextlib.suppress(FileNotFoundError):
                self._trade(aside, target)
                came = self._find(aside)
                if came is None or (ours(came) and not came.written):
                    return self._drop(aside)
                self._trade(aside, target)  # somebody was faster: theirs is the newest
                break
        self._save(aside, target)
        return None

    def _save(self, aside: Path, target: Path) -> None:
        saved = target.with_name(f"{target.name}.pgherald-kept-{self._token()}")
        self._disk.replace(aside, saved)
        log.warning(
            "%s was written by two programs at once: what one of them wrote is kept as %s. "
            "Compare them, and delete the one that you do not need.",
            target,
            saved,
        )

    def _trade(self, source: Path, target: Path) -> None:
        """Give two files each other's place; where that is impossible, as nearly as possible.

        What stood in the target's place is then under the source's name, unless this file
        system knows neither exchange nor links.
        """
        try:
            return self._disk.exchange(source, target)
        except OSError as exc:
            if exc.errno not in UNABLE:
                raise
        other = aside_path(temp_path(target, self._token()))
        linked = self._link(target, other)
        try:
            self._disk.replace(source, target)
        except BaseException:
            if linked:
                drop(self._disk, other)
            raise
        if linked:
            self._disk.replace(other, source)
        return None

    def _link(self, source: Path, target: Path) -> bool:
        """Give a file one more name; whether this file system can."""
        try:
            self._disk.link(source, target)
        except OSError as exc:
            if exc.errno not in UNABLE:
                raise
            return False
        return True

    def _drop(self, path: Path) -> None:
        with contextlib.suppress(FileNotFoundError):
            self._disk.unlink(path)

    def _find(self, path: Path, *, read: bool = True) -> _Found | None:
        """What stands under a name, links not followed; None when nothing does."""
        try:
            found = self._disk.lstat(path)
            if not stat.S_ISREG(found.st_mode):
                return _Found(found, None, None)
            fd = self._disk.open(path, READ)
        except FileNotFoundError:
            return None
        try:
            # Asked first: what is written later is seen in the content, or seen next time.
            written = self._disk.written(fd)
            content = bytearray()
            while read and (chunk := self._disk.read(fd, _CHUNK)):
                content += chunk
            return _Found(self._disk.fstat(fd), bytes(content), written)
        finally:
            self._disk.close(fd)
