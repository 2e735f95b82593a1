"""The thread that works on the state file: an ordered queue of writes, and questions.

Another program may hold the file for minutes (a backup, somebody's `sqlite3`), its disk may
hang, be full, or give errors. That is logged once, and the writes are tried again until they
succeed; whatever a later write makes superfluous is dropped meanwhile.
"""

from __future__ import annotations

import contextlib
import logging
import secrets
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from concurrent.futures import CancelledError, Future, InvalidStateError
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeVar

from pgherald.errors import PgheraldError, StoreError, safe_text
from pgherald.files import Files
from pgherald.store.damage import is_held
from pgherald.store.file import outliving_damage
from pgherald.store.fingerprints import Fingerprints
from pgherald.store.records import Trouble, phase_and_clients
from pgherald.store.sqlite import HISTORY_LIMIT, Store

log = logging.getLogger(__name__)

T = TypeVar("T")

#: Seconds that whoever asks waits for an answer.
ASK_LIMIT: Final = 10.0

#: Seconds that a start waits for the file. Without it, everything is proven anew, and what the
#: clients hold says what is new.
_OPEN_LIMIT: Final = 2.0

#: Seconds between two attempts while the file cannot be used; doubled up to the last.
_FIRST_PAUSE: Final = 0.5
_LONGEST_PAUSE: Final = 8.0

#: Seconds that `close` waits for what is still to be written.
_CLOSE_LIMIT: Final = 0.4


@dataclass(slots=True)
class Memory:
    """What decisions need, as the file will be when all writes are done.

    Attributes:
        fingerprints: makes and reads fingerprints.
        prints: the fingerprint of each database's login, by key.
        kept: the phase of each database and its clients, by key.
        troubles: by subject.
        notes: by name.
        rows: per configuration database of pgAdmin's what is remembered of its rows.
    """

    fingerprints: Fingerprints
    prints: dict[str, str]
    kept: dict[str, tuple[str, dict[str, str]]]
    troubles: dict[str, Trouble]
    notes: dict[str, str]
    rows: dict[Path, str]


class FileStore(Store):
    """The state file itself, with what the thread needs beside the methods of `Store`."""

    @outliving_damage
    def data_version(self) -> int:
        """Another number whenever another connection has changed the file."""
        return int(self._rows("PRAGMA data_version")[0][0])

    @outliving_damage
    def remembered(self) -> Memory:
        """What decisions need."""
        rows = self._rows("SELECT * FROM database")
        prints = {
            str(row["key"]): str(row["fingerprint"])
            for row in rows
            if row["fingerprint"] is not None
        }
        kept = {str(row["key"]): phase_and_clients(row) for row in rows}
        troubles = {trouble.subject: trouble for trouble in self.troubles()}
        return Memory(self._prints, prints, kept, troubles, self.notes(), self.known_rows())

    @outliving_damage
    def exchange(self, name: str, change: Callable[[str | None], str]) -> None:
        """Replace a note by what `change` makes of it, with no other process in between."""
        with self._writing() as connection:
            old = connection.execute(
                "SELECT value FROM about WHERE name = ?", (f"note:{name}",)
            ).fetchone()
            connection.execute(
                "INSERT OR REPLACE INTO about VALUES (?, ?)",
                (f"note:{name}", change(None if old is None else old[0])),
            )


@dataclass(frozen=True, slots=True, eq=False)
class _Write:
    work: Callable[[FileStore], object]
    kind: str
    subjects: frozenset[object]

    def replaces(self, other: _Write) -> bool:
        return bool(self.kind) and self.kind == other.kind and self.subjects >= other.subjects


class Worker:
    """Works on the state file in a thread of its own.

    Args:
        path: the state file.
        files: makes it private, and moves a damaged one aside.
        changed: called in the thread after each change.
        begun_anew: called in the thread when the file turns out to be damaged, and was begun
            anew.

    A file that another program holds when this begins is opened later.

    Attributes:
        afresh: see `Store.afresh`.
        memory: what decisions need; read and changed on the thread that submits.

    Raises:
        StoreError: the file cannot be opened.
    """

    def __init__(
        self,
        path: Path,
        files: Files,
        changed: Callable[[], None],
        begun_anew: Callable[[StoreError], None],
    ) -> None:
        self.afresh: StoreError | None = None
        self._begun_anew = begun_anew
        self._started = False
        self._path = path
        self._files = files
        self._changed = changed
        self._turn = threading.Condition()
        self._writes: deque[_Write] = deque()
        self._questions: deque[tuple[Callable[[FileStore], Any], Future[Any]]] = deque()
        self._busy: _Write | None = None
        self._closing = False
        #: Whether the writes are hindered, and when they are tried again, on the monotonic clock.
        self._hindered = False
        self._pause, self._again_at = _FIRST_PAUSE, 0.0
        self._file: FileStore | None = None
        self._version = 0
        opened: Future[Memory] = Future()
        self._thread = threading.Thread(
            target=self._run, args=(opened,), name="pgherald-store", daemon=True
        )
        self._thread.start()
        try:
            self.memory = opened.result(_OPEN_LIMIT)
        except TimeoutError:
            opened.cancel()
            self.memory = _nothing() if opened.cancelled() else opened.result()

    def submit(
        self,
        work: Callable[[FileStore], object],
        kind: str = "",
        subjects: Iterable[object] = (),
        remember: Callable[[Memory], object] = lambda _: None,
    ) -> None:
        """Have something written when the file can be used. Returns at once.

        Args:
            work: writes it; is called again when it has raised a `PgheraldError`.
            kind: with `subjects`, what it is: an earlier write of that kind that concerns none
                but these subjects is no longer needed. Empty for what nothing replaces.
            subjects: whom it concerns.
            remember: changes the memory accordingly.
        """
        write = _Write(work, kind, frozenset(subjects))
        with self._turn:
            for other in [w for w in self._writes if w is not self._busy and write.replaces(w)]:
                self._writes.remove(other)
            self._writes.append(write)
            if len(self._writes) > HISTORY_LIMIT:  # of rotations; the file keeps no more either
                del self._writes[1]
            remember(self.memory)
            self._turn.notify_all()

    def ask(self, question: Callable[[FileStore], T], within: float = ASK_LIMIT) -> T:
        """Ask the file itself, when all that was submitted before is written, or cannot be.

        Raises:
            StoreError: the file cannot be used, or not within that many seconds.
        """
        answer: Future[T] = Future()
        with self._turn:
            if self._closing:
                raise StoreError(f"{self._path} is closed")
            self._questions.append((question, answer))
            self._turn.notify_all()
        try:
            return answer.result(within)
        except (TimeoutError, CancelledError):
            answer.cancel()
            raise StoreError(
                f"{self._path} is in use by another program",
                "Close the program that has it open; pgherald goes on by itself.",
            ) from None

    def catch_up(self, within: float) -> bool:
        """Write all that is to be written, and read what others wrote; whether that worked."""
        end = time.monotonic() + within
        with contextlib.suppress(StoreError):
            self.ask(lambda _: None, within)
            with self._turn:
                left = max(0.0, end - time.monotonic())
                return self._turn.wait_for(lambda: not self._hindered, left)
        return False

    def close(self) -> None:
        """Finish what is still to be written, as far as a moment allows."""
        with self._turn:
            self._closing = True
            self._turn.notify_all()
        self._thread.join(_CLOSE_LIMIT)

    # --- in the thread -------------------------------------------------------------------

    def _run(self, opened: Future[Memory]) -> None:
        if not self._begin(opened):
            return
        while (job := self._next()) is not None:
            if isinstance(job, _Write):
                self._write(job)
            else:
                self._answer(*job)
        if self._file is not None:
            self._file.close()

    def _begin(self, opened: Future[Memory]) -> bool:
        """Open the file; whether that worked, or may work later."""
        try:
            file = self._opened()
            self.afresh, self._started = file.afresh, True
            found = file.remembered()
        except BaseException as exc:  # noqa: BLE001 – raised where it is waited for
            return self._begin_without(opened, exc)
        try:
            opened.set_result(found)
        except InvalidStateError:  # nobody waits any more
            if file.afresh is not None:
                self._noted_anew(file.afresh)
            with contextlib.suppress(PgheraldError, OSError):  # the next write meets it, too
                self._read_in()
        return True

    def _begin_without(self, opened: Future[Memory], exc: BaseException) -> bool:
        """Begin without a file that another program holds."""
        try:
            if not (isinstance(exc, Exception) and is_held(exc.__cause__)):
                opened.set_exception(exc)
                return False
            opened.set_result(_nothing())
        except InvalidStateError:  # nobody waits any more
            if not isinstance(exc, Exception):
                return False
        self._started = True
        self._failed(exc)
        return True

    def _next(self) -> _Write | tuple[Callable[[FileStore], Any], Future[Any]] | None:
        """Wait for something to do; None when nothing will come any more."""
        with self._turn:
            while True:
                wait = self._again_at - time.monotonic() if self._hindered else 0.0
                if self._writes and (wait <= 0 or self._closing):
                    self._busy = self._writes[0]
                    return self._busy
                if self._questions:
                    return self._questions.popleft()
                if self._closing:
                    return None
                self._turn.wait(wait if self._writes else None)

    def _opened(self) -> FileStore:
        if self._file is None:
            self._file = FileStore.open(self._path, self._files)
            self._file.on_change = self._changed
            self._file.on_afresh = self._noted_anew
            self._version = -1
            if self._file.afresh is not None and self._started:
                self._noted_anew(self._file.afresh)
        return self._file

    def _noted_anew(self, damage: StoreError) -> None:
        """What the old file held is no longer what the file will be when all is written."""
        self.afresh, self._version = damage, -1
        self._begun_anew(damage)

    def _write(self, write: _Write) -> None:
        try:
            write.work(self._opened())
        except (PgheraldError, OSError) as exc:
            self._failed(exc)
            return
        except Exception as exc:  # noqa: BLE001 – a mistake must not stand in the way of all others
            log.error("pgherald could not record something: %s", safe_text(exc))
        with self._turn:
            self._writes.remove(write)
            self._busy = None
        try:
            self._read_in()
        except (PgheraldError, OSError) as exc:  # the next write meets it, too
            log.debug("%s", exc)

    def _answer(self, question: Callable[[FileStore], T], answer: Future[T]) -> None:
        if not answer.set_running_or_notify_cancel():
            return
        try:
            found = question(self._opened())
            self._read_in()
        except BaseException as exc:  # noqa: BLE001 – raised where it is waited for
            answer.set_exception(exc)
        else:
            answer.set_result(found)

    def _failed(self, exc: Exception) -> None:
        """The file cannot be used: say so once, and try again later."""
        if not self._hindered:
            said = str(exc) if isinstance(exc, PgheraldError) else safe_text(exc)
            log.error("%s\nThe clients do not wait for it; it is tried again until it works.", said)
        if self._file is not None and not is_held(exc.__cause__):
            self._file.close()  # what stands there now may be another file, or need mending
            self._file = None
        with self._turn:
            self._busy = None
            self._pause = min(2 * self._pause, _LONGEST_PAUSE) if self._hindered else _FIRST_PAUSE
            self._hindered = True
            self._again_at = time.monotonic() + self._pause
            if self._closing and self._writes:
                log.warning("%d records could not be written.", len(self._writes))
                self._writes.clear()

    def _read_in(self) -> None:
        """The file could be used: read what other processes have changed in it."""
        if self._writes:
            return  # what is read now would lack what is still to be written
        file = self._opened()
        version = file.data_version()
        found = file.remembered() if version != self._version else None
        with self._turn:
            if self._writes:
                return
            if found is not None:
                self.memory, self._version = found, version
            if self._hindered:
                self._hindered = False
                self._turn.notify_all()
                log.info("%s can be used again; everything is recorded.", self._path)


def _nothing() -> Memory:
    """What is known without the file. Its key is nobody's, so that no hash can be guessed from."""
    return Memory(Fingerprints(secrets.token_bytes(32)), {}, {}, {}, {}, {})
