"""The one room that writes, renames, chmods or deletes anything.

disk
    The primitive operations, one system call each, handed in so that tests can fail or
    kill at every one of them.
words
    What a system error means, in plain words, and what the person can do.
obstacles
    What surely keeps a place from being written, found out without writing.
kept
    What a replacement pushes out of its place, until it is surely nobody's.
stillness
    Whether a file has been left alone for long enough.
snapshot
    What a file was when it was read, and what is about to replace it.
temp
    New content, written beside its target before anyone renames it.
own
    pgherald's own files and folders: private ones, throw-away ones.
locks
    One writer per client file, one daemon per state folder.
writer
    Clients' files: read, looked at again, replaced whole.
rows
    Rows in another program's SQLite database, changed in place.
pictures
    What rows hold, as bytes. Pure.
"""

from __future__ import annotations

from pgherald.files.disk import Disk
from pgherald.files.snapshot import Identity, Snapshot, Staged, digest
from pgherald.files.stillness import Stillness
from pgherald.files.words import errno_of, reported
from pgherald.files.writer import Files

__all__ = [
    "Disk",
    "Files",
    "Identity",
    "Snapshot",
    "Staged",
    "Stillness",
    "digest",
    "errno_of",
    "reported",
]
