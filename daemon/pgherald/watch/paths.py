"""Notices when somebody else writes one of a few files: configuration, tokens, clients.

An event only makes us look; whether a file has changed is decided by comparing inode, time
and size with what they were. So an editor's dance of temporary files is one change,
and our own writes are none.
"""

from __future__ import annotations

import asyncio
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

from watchdog import events
from watchdog.observers import Observer
from watchdog.observers.api import BaseObserver, EventEmitter, ObservedWatch

from pgherald.clock import Clock
from pgherald.errors import safe_text

log = logging.getLogger(__name__)

#: Seconds that `stop` waits for watchdog's threads.
STOP_LIMIT: Final = 0.8

#: Called in watchdog's thread with the real path of a file or folder that was touched.
OnEvent = Callable[[str], None]


def interesting(platform: str) -> list[type[events.FileSystemEvent]]:
    """The events that can mean another content. Reading is not among them.

    Linux says when a writer has closed the file, the others only that it is being written.
    """
    written = events.FileClosedEvent if platform == "linux" else events.FileModifiedEvent
    moved = (events.FileCreatedEvent, events.FileDeletedEvent, events.FileMovedEvent)
    return [written, *moved, events.DirDeletedEvent]  # the last one: of the folder itself


@dataclass(frozen=True)
class _Kept:
    observer: BaseObserver
    watch: ObservedWatch
    emitter: EventEmitter
    identity: tuple[int, int]  # device and inode: a folder that came back is another one

    def alive(self, folder: str) -> bool:
        return self.emitter.is_alive() and _identity(folder) == self.identity


class Folders:
    """The folders under watch, with one of watchdog's emitters for each.

    watchdog says nothing when a watched folder is deleted (its emitter ends silently) or renamed
    away (its emitter follows the old one), so `keep` looks after them. It is cheap enough to be
    called every few seconds.

    Args:
        on_event: called in watchdog's thread.
        observer: makes the observer.
    """

    def __init__(
        self,
        on_event: OnEvent,
        *,
        observer: Callable[[], BaseObserver] = Observer,
    ) -> None:
        self._handler = _Handler(on_event)
        self._make_observer = observer
        self._events = interesting(sys.platform)
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


class _Handler(events.FileSystemEventHandler):
    """What watchdog calls, in its own thread, for every event."""

    def __init__(self, on_event: OnEvent) -> None:
        self._on_event = on_event

    def dispatch(self, event: events.FileSystemEvent) -> None:
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


#: Seconds between the first event and the look: an editor has moved its files by then.
DEBOUNCE: Final = 0.2

#: Links that are followed from one path, as in the kernel.
MOST_LINKS: Final = 40

#: Inode, time of change in nanoseconds, and size; None when there is no such file.
Look = tuple[int, int, int] | None


class PathWatch:
    """Watches a few paths, whose files need not exist. Used on the loop's thread.

    Args:
        on_change: called on the loop with a path, as it was given, whose file changed,
            appeared or went away.
        clock: times the debounce.
        debounce: seconds between the first event and the look.
        folders: makes the folder watch.
    """

    def __init__(
        self,
        on_change: Callable[[Path], None],
        clock: Clock,
        *,
        debounce: float = DEBOUNCE,
        folders: Callable[[OnEvent], Folders] = Folders,
    ) -> None:
        self._on_change = on_change
        self._clock = clock
        self._debounce = debounce
        self._make_folders = folders
        self._folders: Folders | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._looks: dict[Path, Look] = {}
        self._looking: asyncio.Task[None] | None = None
        # Read by watchdog's thread; always replaced as a whole.
        self._interesting: frozenset[str] = frozenset()

    def watch(self, paths: Iterable[Path]) -> None:
        """Watch these paths from now on, and no others.

        Paths that were watched before keep what is known of them, so no change is lost.
        """
        self._loop = asyncio.get_running_loop()
        self._looks = {p: self._looks[p] if p in self._looks else look(p) for p in paths}
        self.check_health()

    def seen(self, path: Path) -> None:
        """Take the file as it is now for known. To be called after our own write."""
        if path in self._looks:
            self._looks[path] = look(path)

    def check_health(self) -> None:
        """Watch again what was lost: folders that came, went or were replaced.

        To be called now and then. A change that went unseen meanwhile is noticed here.
        """
        if self._loop is not None and self._keep_folders():
            self._look_soon()

    def stop(self) -> None:
        """End all watching; takes less than a second."""
        self._loop = None
        if self._looking is not None:
            self._looking.cancel()
        if self._folders is not None:
            self._folders.stop()
            self._folders = None

    def _keep_folders(self) -> bool:
        if self._folders is None:
            self._folders = self._make_folders(self._touched)
        steps = {step for path in self._looks for step in steps_to(path)}
        folders = {str(step.parent) for step in steps}
        self._interesting = frozenset(folders.union(map(str, steps)))
        return self._folders.keep(folders)

    def _touched(self, path: str) -> None:
        """An event, in watchdog's thread."""
        loop = self._loop
        if path in self._interesting and loop is not None:
            try:
                loop.call_soon_threadsafe(self._look_soon)
            except RuntimeError:  # the loop has closed under us: the program is ending
                self._loop = None

    def _look_soon(self) -> None:
        if self._looking is None and self._loop is not None:
            self._looking = self._loop.create_task(self._look())

    async def _look(self) -> None:
        try:
            await self._clock.sleep(self._debounce)
        finally:
            # An event during the look asks for another one.
            self._looking = None
        try:  # a link may lead elsewhere now, and a folder may have come or gone
            self._keep_folders()
        except Exception as exc:  # noqa: BLE001 – what changed must be noticed all the same
            log.error("Folders could not be watched anew: %s", safe_text(exc))
        for path, before in list(self._looks.items()):
            now = look(path)
            if now != before and path in self._looks:
                self._looks[path] = now
                self._call(path)

    def _call(self, path: Path) -> None:
        try:
            self._on_change(path)
        except Exception as exc:  # noqa: BLE001 – the next change must be noticed all the same
            log.error("%s changed, and that could not be handled (%s).", path, type(exc).__name__)


def look(path: Path) -> Look:
    """What tells one content of a file from another, symbolic links followed."""
    try:
        found = path.stat()
    except (OSError, ValueError):  # ValueError: a NUL in the path
        return None
    return (found.st_ino, found.st_mtime_ns, found.st_size)


def steps_to(path: Path) -> list[Path]:
    """The path and every link on the way to its file, each in its folder's real path.

    A file that is reached through a link changes where the link points to, and when the
    link itself is made anew: both folders have to be watched.
    """
    steps: list[Path] = []
    for _ in range(MOST_LINKS):
        try:
            step = path.parent.resolve() / path.name
            steps.append(step)
            path = step.parent / step.readlink()
        except (OSError, ValueError, RuntimeError):  # no link, a NUL, links in a circle
            break
    return steps
