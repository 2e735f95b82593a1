"""Who else may change a file, or comes to read it.

It may be changed by its owner, as its mode says, and by those of every folder on the way to it.

Whoever may write a folder may put another file in the place of one that is in it, so a file is as
safe as the weakest folder above it. Links are followed, and the folders on both ways count.

- Owners that are trusted are root and ourselves.
- Groups that are trusted with writing hold nobody else: root's own, and the private group, of the
  same name, that many systems give each account together with a umask of 002.
- Where the sticky bit keeps people from each other's files, as in /tmp, others may write: the next
  name on the way is ours or root's, as everywhere.
- In a container a mount is trusted as it is: whoever started the container put it there, and no
  account in it is another person's. What lies in the mount is not exempt.

Access control lists are not read. On Windows nothing is: there are no modes.
"""

from __future__ import annotations

import os
import shlex
import stat
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pgherald.files.disk import Disk

#: Links on one way, as many as Linux follows.
_MOST_LINKS: Final = 40

#: Groups whose members may become root anyhow: root's own, and `admin` on macOS.
_ROOTS_GROUPS: Final = frozenset({0, 80} if sys.platform == "darwin" else {0})

#: How Docker and Podman mark a container, and Kubernetes each of its own.
_CONTAINER_FILES: Final = (Path("/.dockerenv"), Path("/run/.containerenv"))
_CONTAINER_VARIABLE: Final = "KUBERNETES_SERVICE_HOST"

#: user_namespaces(7): which users have a number here, and the number of those that have none.
_USERS: Final = Path("/proc/self/uid_map")
_NOBODY: Final = Path("/proc/sys/kernel/overflowuid")


@dataclass(frozen=True, slots=True)
class Stranger:
    """Somebody else who may change a place.

    Attributes:
        place: the folder, file or link.
        why: who may, in words that follow the path.
        command: takes that from them, in a shell.
    """

    place: Path
    why: str
    command: str


def strangers(path: Path, disk: Disk | None = None) -> Iterator[Stranger]:
    """Who else may change a file or folder, by any place on the way to it.

    What is not there, or may not be read, ends the way: whoever uses it says so.

    Args:
        path: the file or folder, absolute; it need not exist.
        disk: reads owners and modes.
    """
    disk = disk or Disk()
    try:
        for place, about, is_end in _way(path, disk):
            found = stranger(place, about, disk, is_end=is_end)
            if found is not None:
                yield found
    except OSError:
        return


def stranger(
    place: Path, about: os.stat_result, disk: Disk, *, is_end: bool = True
) -> Stranger | None:
    """Who else may change one place, apart from the folders above it.

    Args:
        place: the folder, file or link.
        about: what it is, links not followed.
        disk: reads owners and modes.
        is_end: whether the place itself is used, and is not only passed on the way.
    """
    euid = disk.euid()
    if euid is None:
        return None
    who = "" if euid in (0, about.st_uid) else "sudo "
    quoted = shlex.quote(str(place))
    if about.st_uid != euid and not _is_root(about.st_uid):
        why = f"belongs to user {about.st_uid}, and pgherald runs as user {euid}"
        found = Stranger(place, why, f"{who}chown -h {_name_of(euid) or euid} {quoted}")
    elif stat.S_ISLNK(about.st_mode):
        return None  # nobody can change a link, and its mode means nothing
    elif about.st_mode & stat.S_ISVTX and not is_end:
        return None
    elif about.st_mode & 0o002:
        found = Stranger(place, "may be written by other users", f"{who}chmod go-w {quoted}")
    elif about.st_mode & 0o020 and not _is_ours_alone(about.st_gid, euid):
        why = f"may be written by other users, those of group {about.st_gid}"
        found = Stranger(place, why, f"{who}chmod go-w {quoted}")
    else:
        return None
    return None if _is_mount_in_container(place, about, disk) else found


def git_work_tree(path: Path) -> Path | None:
    """The work tree in which git tracks a file; None where no commit will hold it.

    Args:
        path: the file, absolute and without links.
    """
    tree = next((folder for folder in path.parents if os.path.lexists(folder / ".git")), None)
    if tree is None:
        return None
    import asyncio  # which most commands do without

    from pgherald.process import environment, run

    # A repository's own configuration may name a program that git starts to learn of changes.
    command = ("git", "-C", str(tree), "-c", "core.fsmonitor=false", "ls-files", "--error-unmatch")
    env = environment(os.environ, GIT_LITERAL_PATHSPECS="1")
    try:
        ended = asyncio.run(run([*command, "--", str(path)], env, err=True))
    except (OSError, TimeoutError):
        return None  # no git here
    return None if ended.code else tree


def _way(path: Path, disk: Disk) -> Iterator[tuple[Path, os.stat_result, bool]]:
    """Each place on the way to a path, with what it is and whether the way ends there."""
    ahead = [*reversed(path.parts)]
    place = Path()
    links = 0
    while ahead:
        name = ahead.pop()
        # No link is left in `place`, so that its parent is what `..` means.
        there = place.parent if name == ".." else place / name
        about = disk.lstat(there)
        if not stat.S_ISLNK(about.st_mode):
            place = there
            yield place, about, not ahead
            continue
        yield there, about, False
        links += 1
        if links > _MOST_LINKS:
            return
        ahead += reversed(disk.readlink(there).parts)


def _is_root(uid: int) -> bool:
    """Whether a number may be root's.

    In a sandbox with users of its own, such as that of pgherald's unit, only our own account may
    have a number: root is then shown as nobody, as everybody else is.
    """
    if uid == 0:
        return True
    try:
        if any(line.split()[0] == "0" for line in _USERS.read_text().splitlines()):
            return False
        return uid == int(_NOBODY.read_text())
    except (OSError, ValueError, IndexError):
        return False


def _is_ours_alone(gid: int, euid: int) -> bool:
    """Whether a group holds nobody but root and ourselves."""
    if gid in _ROOTS_GROUPS:
        return True
    import grp  # Windows has none

    name = _name_of(euid)
    try:
        group = grp.getgrgid(gid)
    except KeyError:
        # As in a container whose account has no name: such a group is only for those who were
        # started with its number, as we were.
        return name is None and gid in {os.getegid(), *os.getgroups()}
    return group.gr_name == name and {*group.gr_mem} <= {name, "root"}


def _name_of(uid: int) -> str | None:
    import pwd  # Windows has none

    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return None


def _is_mount_in_container(place: Path, about: os.stat_result, disk: Disk) -> bool:
    if _CONTAINER_VARIABLE not in os.environ and not any(f.exists() for f in _CONTAINER_FILES):
        return False
    return place != place.parent and disk.lstat(place.parent).st_dev != about.st_dev
