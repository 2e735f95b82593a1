"""A state file that nobody waits for.

Neither the clients nor the event loop wait for the disk of the state file, or for another
program that holds it (a backup, somebody's `sqlite3`), however long:

- What decisions need (fingerprints, troubles, notes, rows of pgAdmin) is copied into memory, and
  from then on answered from there. What other processes write is copied after each write of ours.
- A write is done to the copy at once, and to the file by a thread of its own. Where that fails
  it is logged once, and tried again until it works; whatever a later write makes superfluous is
  dropped meanwhile.
- Everything else is read from the file, behind the writes; whoever asks waits for it, and
  belongs in a thread.
"""

from __future__ import annotations

import contextlib
import logging
import sqlite3
import threading
import time
from collections import deque
from collections.abc import Callable, Hashable
from concurrent.futures import Future
from functools import partial
from pathlib import Path
from typing import Any, Final, Self, TypeVar

from pgherald.errors import PgheraldError, StoreError, safe_text
from pgherald.files import Files
from pgherald.store import schema
from pgherald.store.damage import Refused, is_held
from pgherald.store.file import HISTORY_LIMIT, Connection, connect, transaction
from pgherald.store.sqlite import Store

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

#: What the copy holds: all but the history.
_COPIED: Final = ("about", "database", "trouble", "pgadmin")


class BackgroundStore(Store):
    """A `Store` whose file is worked on by a thread of its own.

    Writes return at once and raise nothing. `changed`, `mark`, `troubles`, `notes` and
    `known_rows` answer from memory. The others wait for the file, `ASK_LIMIT` seconds at most.
    `on_change` and `on_afresh` are called in the other thread.

    A file that another program holds at the start is opened later; nothing is known until then.

    Raises:
        StoreError: when the file cannot be opened, and from what waits for it.
    """

    def __init__(self, path: Path, files: Files) -> None:
        super().__init__(path)
        self._db = connect(":memory:")
        # Its key is nobody's, so that no hash can be guessed from.
        schema.upgrade(self._db, 0)
        self._own = files
        #: Guards all that follows, and the copy.
        self._turn = threading.Condition()
        #: What is to be done to the file, in that order, by what it is about.
        self._writes: dict[Hashable, Callable[[Store], object]] = {}
        self._questions: deque[Callable[[], None]] = deque()
        self._closing = False
        #: How long the latest failure is waited after; 0 while the file can be used.
        self._pause = self._again_at = 0.0
        self._file: Store | None = None
        #: The file's connection, and a number that changes when others write to it.
        self._copied: tuple[Connection, int] | None = None
        self._thread = threading.Thread(target=self._run, name="pgherald-store", daemon=True)
        self._thread.start()

    @classmethod
    def open(cls, path: Path, files: Files) -> Self:
        """Open the state file as `Store.open` does."""
        opened = cls(path, files)
        answer = opened._asked(lambda _: None)
        try:
            answer.result(_OPEN_LIMIT)
        except Exception as exc:
            if answer.done() and not is_held(exc.__cause__):
                opened.close()
                raise
        return opened

    def close(self) -> None:
        """Finish what is still to be written, as far as a moment allows."""
        with self._turn:
            self._closing = True
            self._turn.notify_all()
        self._thread.join(_CLOSE_LIMIT)

    def read(self, query: Callable[[Connection], T]) -> T:
        """Ask the file, and wait for it."""
        return self.ask(lambda file: file.read(query))

    def recall(self, query: Callable[[Connection], T]) -> T:
        """Ask the copy."""
        with self._turn:
            return query(self._db)

    def write(self, change: Callable[[Connection], object], about: Hashable = None) -> None:
        """Change the copy now, and the file when it can be used."""
        with self._turn:
            # What the copy cannot hold the file cannot hold either; the thread says so.
            with (
                contextlib.suppress(sqlite3.Error, UnicodeEncodeError, OverflowError),
                transaction(self._db),
            ):
                change(self._db)
            self.submit(lambda file: file.write(change), about)

    def submit(self, work: Callable[[Store], object], about: Hashable = None) -> None:
        """Have something done to the file alone when it can be used. Returns at once.

        Args:
            work: does it; is called again when it has raised a `PgheraldError`.
            about: see `Store.write`.
        """
        about = object() if about is None else about
        with self._turn:
            self._writes.pop(about, None)
            self._writes[about] = work
            if len(self._writes) > HISTORY_LIMIT:  # of rotations; the file keeps no more either
                del self._writes[next(iter(self._writes))]
            self._turn.notify_all()

    def ask(self, question: Callable[[Store], T], within: float = ASK_LIMIT) -> T:
        """Ask the file itself, when all that was submitted before is written, or cannot be.

        Raises:
            StoreError: the file cannot be used, or not within that many seconds.
        """
        answer = self._asked(question)
        try:
            return answer.result(within)
        except TimeoutError:
            answer.cancel()
            raise StoreError(
                f"{self.path} is in use by another program",
                "Close the program that has it open; pgherald goes on by itself.",
            ) from None

    def catch_up(self, within: float = ASK_LIMIT) -> bool:
        """Wait until all is written, and what others wrote is read; whether that worked."""
        end = time.monotonic() + within
        with contextlib.suppress(StoreError):
            self.ask(lambda _: None, within)
            with self._turn:
                return self._turn.wait_for(
                    lambda: not self._pause, max(0.0, end - time.monotonic())
                )
        return False

    def _asked(self, question: Callable[[Store], T]) -> Future[T]:
        answer: Future[T] = Future()
        with self._turn:
            if self._closing:
                raise StoreError(f"{self.path} is closed")
            self._questions.append(partial(self._answer, question, answer))
            self._turn.notify_all()
        return answer

    # --- in the thread -------------------------------------------------------------------

    def _run(self) -> None:
        while (job := self._next()) is not None:
            job()
        if self._file is not None:
            self._file.close()

    def _next(self) -> Callable[[], None] | None:
        """Wait for something to do; None when nothing will come any more."""
        with self._turn:
            while True:
                wait = self._again_at - time.monotonic() if self._pause else 0.0
                if self._writes and (wait <= 0 or self._closing):
                    about = next(iter(self._writes))
                    return partial(self._do, about, self._writes.pop(about))
                if self._questions:
                    return self._questions.popleft()
                if self._closing:
                    return None
                self._turn.wait(wait if self._writes else None)

    def _opened(self) -> Store:
        if self._file is None:
            file = Store.open(self.path, self._own)
            file.on_change = lambda: self.on_change and self.on_change()
            file.on_afresh = self._begun_anew
            self._file = file
            if file.afresh is not None:
                self._begun_anew(file.afresh)
        return self._file

    def _begun_anew(self, damage: StoreError) -> None:
        self.afresh = damage
        if self.on_afresh is not None:
            self.on_afresh(damage)

    def _do(self, about: Hashable, work: Callable[[Store], object]) -> None:
        try:
            work(self._opened())
        except Refused as exc:
            log.error("%s", exc)
        except (PgheraldError, OSError) as exc:
            self._failed(exc, about, work)
            return
        except Exception as exc:  # noqa: BLE001 – a mistake must not stand in the way of all others
            log.error("pgherald could not record something: %s", safe_text(exc))
        try:
            self._copy()
        except (PgheraldError, OSError, sqlite3.Error) as exc:  # the next write meets it, too
            log.debug("%s", exc)

    def _answer(self, question: Callable[[Store], T], answer: Future[T]) -> None:
        if not answer.set_running_or_notify_cancel():
            return
        try:
            found = question(self._opened())
            self._copy()
        except BaseException as exc:  # noqa: BLE001 – raised where it is waited for
            answer.set_exception(exc)
        else:
            answer.set_result(found)

    def _failed(self, exc: Exception, about: Hashable, work: Callable[[Store], object]) -> None:
        """The file cannot be used: log it once, and try again later."""
        if not self._pause:
            said = str(exc) if isinstance(exc, PgheraldError) else safe_text(exc)
            log.error("%s\nThe clients do not wait for it; it is tried again until it works.", said)
        if self._file is not None and not is_held(exc.__cause__):
            self._file.close()  # what stands there now may be another file, or need mending
            self._file = None
        with self._turn:
            if about not in self._writes:  # else it is superfluous
                self._writes = {about: work} | self._writes
            self._pause = min(2 * self._pause, _LONGEST_PAUSE) or _FIRST_PAUSE
            self._again_at = time.monotonic() + self._pause
            if self._closing:
                log.warning("%d records could not be written.", len(self._writes))
                self._writes.clear()

    def _copy(self) -> None:
        """The file could be used: copy what other processes have changed in it."""
        if self._writes:
            return  # the copy would lack what is still to be written
        file = self._opened()
        found = file.read(lambda db: (db, int(db.execute("PRAGMA data_version").fetchone()[0])))
        rows = file.read(self._rows) if found != self._copied else {}
        with self._turn:
            if self._writes:
                return
            if rows:
                _fill(self._db, rows)
                self._copied = found
            if self._pause:
                self._pause = 0.0
                self._turn.notify_all()
                log.info("%s can be used again; everything is recorded.", self.path)

    def _rows(self, db: Connection) -> dict[str, list[sqlite3.Row]]:
        """What the copy holds; a newer pgherald's file may have more columns."""
        found: dict[str, list[sqlite3.Row]] = {}
        for table in _COPIED:
            known = self._db.execute("SELECT name FROM pragma_table_info(?)", (table,)).fetchall()
            names = ", ".join(name for (name,) in known)
            found[table] = db.execute(f"SELECT {names} FROM {table}").fetchall()
        return found


def _fill(copy: Connection, found: dict[str, list[Any]]) -> None:
    with transaction(copy):
        for table, rows in found.items():
            copy.execute(f"DELETE FROM {table}")
            if rows:
                places = ", ".join("?" * len(rows[0]))
                copy.executemany(f"INSERT OR IGNORE INTO {table} VALUES ({places})", rows)
