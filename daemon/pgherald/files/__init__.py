"""The one room that writes, renames, chmods or deletes anything.

disk
    The primitive operations, one system call each, handed in so that tests can fail or
    kill at every one of them.
trouble
    What keeps a file from being read or written, in plain words, and what the person can do.
snapshot
    What a file was when it was read, and new content beside it that is about to replace it.
kept
    What a replacement pushes out of its place, until it is surely nobody's.
trusted
    Who else may change a file.
own
    pgherald's own files and folders: private ones, throw-away ones.
locks
    One writer per client file, one daemon per state folder.
writer
    Clients' files: read, read again, replaced whole.
rows
    Rows in another program's SQLite database, changed in place.
"""

from __future__ import annotations

from pgherald.files.disk import Disk
from pgherald.files.snapshot import Identity, Snapshot, Staged, digest
from pgherald.files.trouble import errno_of, reported
from pgherald.files.writer import Files

__all__ = [
    "Disk",
    "Files",
    "Identity",
    "Snapshot",
    "Staged",
    "digest",
    "errno_of",
    "reported",
]
