"""What a file was when it was read."""

from __future__ import annotations

import dataclasses
import os
import stat
from dataclasses import dataclass, field
from pathlib import Path

from pgherald.files import temp as temporary

#: Mode bits that let anyone but the owner at a file.
OTHERS = 0o077


@dataclass(frozen=True, slots=True)
class Identity:
    """Changes whenever the file is replaced, written, chmodded or chowned."""

    dev: int
    ino: int
    size: int
    mtime_ns: int
    ctime_ns: int

    @classmethod
    def of(cls, found: os.stat_result) -> Identity:
        """The identity in a stat result."""
        return cls(found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A client's file as it was read. The content, which may hold secrets, is not shown.

    Attributes:
        path: the file as the configuration names it, absolute.
        target: the same without symbolic links: what is really read and written.
        content: its bytes; None when there is no file.
        identity: tells whether it is still the same; None when there is no file.
        mode: permission bits; None when there is no file, or no such thing (Windows).
        uid: owner; None likewise.
        gid: group; None likewise.
    """

    path: Path
    target: Path
    content: bytes | None = field(repr=False)
    identity: Identity | None = None
    mode: int | None = None
    uid: int | None = None
    gid: int | None = None

    def is_still(self, now: Snapshot) -> bool:
        """Whether a later reading found the same file, with the same content, mode and owner.

        The time of the last change is left out: to rename or to link a file sets it.
        """
        was, other = self.identity, now.identity
        if was is None or other is None:
            return self == now
        return self == dataclasses.replace(
            now, identity=dataclasses.replace(other, ctime_ns=was.ctime_ns)
        )

    def is_at(self, found: os.stat_result) -> bool:
        """Whether a stat result, of whatever name, is of this file, unwritten since."""
        now = Snapshot(self.path, self.target, self.content, Identity.of(found))
        same = dataclasses.replace(self, mode=None, uid=None, gid=None).is_still(now)
        return same and (self.mode is None or self.mode == stat.S_IMODE(found.st_mode))

    def holding(self, content: bytes | None) -> Snapshot:
        """The same place with another content."""
        return dataclasses.replace(self, content=content)

    @property
    def loose(self) -> bool:
        """Whether anyone but the owner may get at the file."""
        return self.mode is not None and bool(self.mode & OTHERS)

    def mode_for(self, *, private: bool) -> int:
        """The mode that new content gets: the old one, made private where it must be."""
        if self.mode is None:
            return 0o600
        return self.mode & ~OTHERS if private else self.mode


@dataclass(frozen=True, slots=True)
class Staged:
    """New content, one step away from its place.

    Attributes:
        target: the place.
        temp: where it lies complete, on the target's own disk, one rename away; None for
            rows, which are changed in place.
        content: the content.
    """

    target: Path
    temp: Path | None
    content: bytes = field(repr=False)

    @property
    def aside(self) -> Path:
        """Where that which it replaces is kept."""
        assert self.temp is not None  # a file's always lies somewhere
        return temporary.aside_path(self.temp)


def digest(content: bytes | None) -> str | None:
    """SHA-256 in hex; None for no file."""
    import hashlib  # brings OpenSSL along, which quick commands do without

    return None if content is None else hashlib.sha256(content).hexdigest()
