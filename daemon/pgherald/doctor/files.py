"""The clients' files, the configuration, and the state folder: there, readable, private."""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from pgherald.config import Config
from pgherald.doctor.checks import Finding, bad, good, note, trouble
from pgherald.errors import ClientError
from pgherald.files import Files
from pgherald.files.snapshot import OTHERS
from pgherald.sync.plan import Client

#: Bytes; an upgrade of SQLite's file and a commit of many databases need a few hundred thousand.
_ROOM: Final = 50 * 1024 * 1024


def configuration(config: Config) -> Iterator[Finding]:
    """The configuration: it could be read, and is ours alone, or nothing would be looked at."""
    yield good(f"The configuration is right: {config.path}")
    if config.notifications.urls and (mode := mode_of(config.path)) and mode & OTHERS:
        yield bad(
            f"Others can read the addresses in {config.path}", f"Run: chmod 600 '{config.path}'"
        )


def client(what: Client, files: Files) -> Iterator[Finding]:
    """One client that is a text file."""
    try:
        snapshot = what.read(files)
        what.editor.read(snapshot.content)
    except ClientError as exc:
        error = exc if exc.path else exc.at(what.path)
        yield trouble(error, f"{what.label}: ")
        return
    if snapshot.content is None:
        yield bad(f"{what.label} is not written yet: {what.path}", "Run: pgherald check")
        return
    if not os.access(snapshot.target.parent, os.W_OK):
        folder = snapshot.target.parent
        yield bad(
            f"{what.label}: its folder may not be written: {folder}", f"Run: ls -ld '{folder}'"
        )
    elif what.editor.private and snapshot.loose:
        yield bad(
            f"{what.label}: others can read its passwords: {snapshot.target}",
            f"Run: chmod 600 '{snapshot.target}'",
        )
    else:
        yield good(f"{what.label}: {what.path}")


def state(config: Config) -> Iterator[Finding]:
    """The state folder: ours, private, writable, with room."""
    folder = config.state_dir
    if not folder.is_dir():
        yield note(f"There is no state folder yet: {folder}", "`pgherald check` makes it.")
        return
    if not os.access(folder, os.W_OK | os.X_OK):
        yield bad(f"The state folder may not be written: {folder}", f"Run: ls -ld '{folder}'")
    else:
        yield good(f"The state folder is private: {folder}")
    loose = [path for path in _secrets(folder) if (mode_of(path) or 0) & OTHERS]
    if loose:
        yield bad(
            f"Others can read backups of passwords in {folder}",
            f"Run: chmod -R go= '{folder}'",
        )
    yield from room(folder)
    yield from _journals(folder)


def room(folder: Path) -> Iterator[Finding]:
    """Whether the disk has room."""
    free = shutil.disk_usage(folder).free
    shown = f"{free // 1024**2} MB free on the disk of the state folder"
    yield good(shown) if free >= _ROOM else bad(f"Only {shown}", f"Make room: df -h '{folder}'")


def _journals(folder: Path) -> Iterator[Finding]:
    try:
        names = os.listdir(folder / "commits")  # names alone
    except OSError:
        return
    if any(name.endswith(".open") for name in names):
        yield bad("A commit was interrupted, and is not settled yet", "Run: pgherald check")
    if any(name.endswith(".damaged") for name in names):
        yield note(
            "A damaged journal of a commit was set aside",
            f"No client was touched for it. To be rid of it: rm -r '{folder}'/commits/*.damaged",
        )


def _secrets(folder: Path) -> Iterator[Path]:
    yield folder / "state.db"
    for path in (folder / "commits").glob("*/*"):
        if path.name != "manifest.json":
            yield path


def mode_of(path: Path) -> int | None:
    """A file's permission bits; None where there are none, or no file."""
    if os.name != "posix":
        return None
    try:
        return stat.S_IMODE(path.stat().st_mode)
    except OSError:
        return None
