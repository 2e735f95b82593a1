"""Keeps folders under watch, with one watchdog emitter for each.

watchdog says nothing when a watched folder is deleted (its emitter ends silently) or
renamed away (its emitter follows the old one), so `keep` looks after them. It is cheap
enough to be called every few seconds.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import sys
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from watchdog.events import (
    DirDeletedEvent,
    FileClosedEvent,
    FileCreatedEvent,
    FileDeletedEvent,
    FileModifiedEvent,
    FileMovedEvent,
    FileSystemEvent,
    FileSystemEventHandler,
)
from watchdog.observers import Observer
from watchdog.observers.api import BaseObserver, EventEmitter, ObservedWatch

log = logging.getLogger(__name__)

#: Seconds that `stop` waits for watchdog's threads.
STOP_LIMIT: Final = 0.8

#: Called in watchdog's thread with the real path of a file or folder that was touched.
OnEvent = Callable[[str], None]


def interesting(platform: str) -> list[type[FileSystemEvent]]:
    """The events that can mean another content. Reading is not among them.

    Linux says when a writer has closed the file, the others only that it is being written.
    """
    written = FileClosedEvent if platform == "linux" else FileModifiedEvent
    return [
        written,
        FileCreatedEvent,
        FileDeletedEvent,
        FileMovedEvent,
        DirDeletedEvent,  # the folder itself
    ]


@dataclass(frozen=True)
class _Kept:
    observer: BaseObserver
    watch: ObservedWatch
    emitter: EventEmitter
    identity: tuple[int, int]  # device and inode: a folder that came back is another one

    def alive(self, folder: str) -> bool:
        return self.emitter.is_alive() and _identity(folder) == self.identity


class Folders:
    """The folders under watch.

    Args:
        on_event: called in watchdog's thread.
        observer: makes the observer.
        platform: `sys.platform`.
    """

    def __init__(
        self,
        on_event: OnEvent,
        *,
        observer: Callable[[], BaseObserver] = Observer,
        platform: str = sys.platform,
    ) -> None:
        self._handler = _Handler(on_event)
        self._make_observer = observer
        self._events = interesting(platform)
        self._observer: BaseObserver | None = None
        self._kept: dict[str, _Kept] = {}
        self._complaints: set[str] = set()

    @property
    def watched(self) -> frozenset[str]:
        """The folders that are under watch."""
        return frozenset(self._kept)

    def keep(self, wanted: Iterable[str]) -> bool:
        """Watch exactly these folders; missing ones are tried again at the next call.

        Args:
            wanted: real paths, no symbolic link in them.

        Returns:
            Whether a folder was put under watch: changes before that went unseen.
        """
        wanted = frozenset(wanted)
        for folder, kept in list(self._kept.items()):
            if folder not in wanted or not kept.alive(folder):
                self._drop(folder)
        added = [folder for folder in sorted(wanted - self.watched) if self._add(folder)]
        if self.watched == wanted:
            self._complaints.clear()
        return bool(added)

    def stop(self) -> None:
        """End all watching; takes less than a second, whatever watchdog does."""
        observer, self._observer = self._observer, None
        self._kept.clear()
        if observer is None:
            return

        def end() -> None:
            observer.stop()
            observer.join()

        thread = threading.Thread(target=end, name="pgherald-watch-stop", daemon=True)
        thread.start()
        thread.join(STOP_LIMIT)

    def _add(self, folder: str) -> bool:
        identity = _identity(folder)
        if identity is None:
            return False
        if not os.access(folder, os.R_OK):  # watchdog would watch nothing and not say so
            self._complain(f"{folder} may not be read, so it is not watched.")
            return False
        try:
            observer = self._running_observer()
            watch = observer.schedule(self._handler, folder, event_filter=self._events)
        except OSError as exc:
            self._complain(_reason(exc))
            return False
        emitter = next(e for e in observer.emitters if e.watch == watch)
        self._kept[folder] = _Kept(observer, watch, emitter, identity)
        return True

    def _drop(self, folder: str) -> None:
        kept = self._kept.pop(folder)
        with contextlib.suppress(KeyError, OSError):  # watchdog may have forgotten it already
            kept.observer.unschedule(kept.watch)

    def _running_observer(self) -> BaseObserver:
        if self._observer is None:
            observer = self._make_observer()
            observer.start()
            self._observer = observer
        return self._observer

    def _complain(self, text: str) -> None:
        """Once for each reason: the next try is only seconds away."""
        if text not in self._complaints:
            self._complaints.add(text)
            log.warning("%s Changes there are noticed at the next sweep.", text)


class _Handler(FileSystemEventHandler):
    """What watchdog calls, in its own thread, for every event."""

    def __init__(self, on_event: OnEvent) -> None:
        self._on_event = on_event

    def dispatch(self, event: FileSystemEvent) -> None:
        for path in (event.src_path, event.dest_path):
            if path:
                self._on_event(os.fsdecode(path))


def _identity(folder: str) -> tuple[int, int] | None:
    try:
        found = Path(folder).stat()
    except OSError:
        return None
    return (found.st_dev, found.st_ino)


def _reason(exc: OSError) -> str:
    if exc.errno in (errno.ENOSPC, errno.EMFILE):
        return "This user's limit of watched files is reached (inotify)."
    return f"Files cannot be watched: {exc.strerror}."
