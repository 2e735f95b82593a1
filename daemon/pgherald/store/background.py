"""A state file that nobody waits for.

Neither the clients nor the event loop wait for the disk of the state file, or for another
program that holds it:

- Writes are queued, and done by a thread of its own (`pgherald.store.worker`).
- What decisions need (fingerprints, troubles, notes, rows of pgAdmin) is read once, and from
  then on answered from memory. What other processes write is read in after each write of ours.
- Everything else is read from the file, behind the writes; whoever asks waits for it, and
  belongs in a thread.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Iterable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Self, TypeVar

from pgherald.errors import StoreError
from pgherald.files import Files
from pgherald.model import Database, DatabaseKey, Entry, Login, Rotation
from pgherald.store.records import DatabaseState, Record, Trouble
from pgherald.store.sqlite import Store
from pgherald.store.worker import ASK_LIMIT, FileStore, Memory, Worker

T = TypeVar("T")


class BackgroundStore(Store):
    """A `Store` whose file is worked on by another thread. Used on the thread that opened it.

    Writes return at once and raise nothing. `changed`, `troubles`, `clear_trouble`, `notes` and
    `known_rows` answer from memory. The others wait for the file, `ASK_LIMIT` seconds at most.

    Attributes:
        on_change: as in `Store`, but called in the other thread.

    Raises:
        StoreError: when the file cannot be opened, and from what waits for it.
    """

    def __init__(self, path: Path, files: Files) -> None:
        self.path = path
        self.on_change = None
        self.on_afresh = None
        self._own = files
        self._home = threading.get_ident()
        self._worker = Worker(path, files, self._changed, self._begun_anew)
        self.afresh = self._worker.afresh

    @classmethod
    def open(cls, path: Path, files: Files) -> Self:
        """Open the state file as `Store.open` does."""
        return cls(path, files)

    def close(self) -> None:
        """Finish what is still to be written, as far as a moment allows."""
        self._worker.close()

    def submit(self, work: Callable[[FileStore], object], kind: str = "") -> None:
        """Have something written when the file can be used; see `Worker.submit`."""
        self._worker.submit(work, kind)

    def ask(self, question: Callable[[FileStore], T], within: float = ASK_LIMIT) -> T:
        """Ask the file itself, and wait for that; see `Worker.ask`."""
        return self._worker.ask(question, within)

    def catch_up(self, within: float = ASK_LIMIT) -> bool:
        """Wait until all is written, and what others wrote is read; whether that worked."""
        return self._worker.catch_up(within)

    def _changed(self) -> None:
        if (tell := self.on_change) is not None:
            tell()

    def _begun_anew(self, damage: StoreError) -> None:
        self.afresh = damage
        if (tell := self.on_afresh) is not None:
            tell(damage)

    def outlive(self, work: Callable[[], T]) -> T:
        """The thread that works on the file outlives its damage; nothing here touches it."""
        return work()

    # --- logins and databases --------------------------------------------------------------

    def changed(self, key: DatabaseKey, login: Login) -> tuple[str, ...] | None:
        """See `Store.changed`."""
        memory = self._worker.memory
        old = memory.prints.get(str(key))
        return None if old is None else memory.fingerprints.differs(old, key, login)

    def mark(self, key: DatabaseKey, login: Login) -> str:
        """See `Store.mark`."""
        return self._worker.memory.fingerprints.mark(key, login)

    def looked(self, databases: Iterable[Database], at: datetime) -> None:
        """See `Store.looked`."""
        all_ = tuple(databases)
        self._worker.submit(
            lambda file: file.looked(all_, at), "looked", (each.key for each in all_)
        )

    def record(
        self,
        entries: Iterable[Entry],
        at: datetime | None,
        proven: Mapping[DatabaseKey, datetime | None],
        rotations: Iterable[tuple[Rotation, str]] = (),
        clients: tuple[str, ...] = (),
    ) -> None:
        """See `Store.record`."""
        all_, new = tuple(entries), tuple(rotations)

        def remember(memory: Memory) -> None:
            prints = memory.fingerprints
            memory.prints.update((str(e.key), prints.of(e.key, e.login)) for e in all_)

        kind = "current" if at is not None and not proven and not new else ""
        keys = (entry.key for entry in all_)
        self._worker.submit(
            lambda file: file.record(all_, at, proven, new, clients), kind, keys, remember
        )

    def keep(self, key: DatabaseKey, phase: str, clients: Mapping[str, str]) -> None:
        """See `Store.keep`. Writes nothing when nothing has changed."""
        new = phase, dict(clients)
        if self._worker.memory.kept.get(str(key)) != new:
            self._worker.submit(
                lambda file: file.keep(key, *new),
                "kept",
                [key],
                lambda memory: memory.kept.update({str(key): new}),
            )

    def databases(self) -> list[DatabaseState]:
        """See `Store.databases`."""
        return self._worker.ask(lambda file: file.databases())

    def forget(self, key: DatabaseKey) -> None:
        """See `Store.forget`."""

        def remember(memory: Memory) -> None:
            memory.prints.pop(str(key), None)
            memory.kept.pop(str(key), None)
            memory.troubles.pop(f"database:{key}", None)

        self._worker.submit(lambda file: file.forget(key), remember=remember)

    # --- history ---------------------------------------------------------------------------

    def untold(self) -> list[Record]:
        """See `Store.untold`."""
        return self._worker.ask(lambda file: file.untold())

    def told(self, keys: Collection[DatabaseKey]) -> None:
        """See `Store.told`."""
        all_ = tuple(keys)
        self._worker.submit(lambda file: file.told(all_))

    def history(self, limit: int = 50, key: DatabaseKey | None = None) -> list[Record]:
        """See `Store.history`."""
        return self._worker.ask(lambda file: file.history(limit, key))

    def latest(self) -> dict[DatabaseKey, Record]:
        """See `Store.latest`."""
        return self._worker.ask(lambda file: file.latest())

    # --- troubles --------------------------------------------------------------------------

    def put_trouble(self, trouble: Trouble) -> None:
        """See `Store.put_trouble`."""
        subject = trouble.subject
        self._worker.submit(
            lambda file: file.put_trouble(trouble),
            "trouble",
            [subject],
            lambda memory: memory.troubles.update({subject: trouble}),
        )

    def clear_trouble(self, subject: str) -> Trouble | None:
        """See `Store.clear_trouble`."""
        found = self._worker.memory.troubles.get(subject)
        if found is not None:
            self._worker.submit(
                lambda file: file.clear_trouble(subject),
                "trouble",
                [subject],
                lambda memory: memory.troubles.pop(subject, None),
            )
        return found

    def troubles(self) -> list[Trouble]:
        """See `Store.troubles`."""
        return sorted(self._worker.memory.troubles.values(), key=lambda trouble: trouble.since)

    # --- rows in pgAdmin's databases, and notes ------------------------------------------------

    def known_rows(self) -> dict[Path, str]:
        """See `Store.known_rows`. In another thread: of the file as it is at this moment."""
        if threading.get_ident() == self._home:
            return dict(self._worker.memory.rows)
        found = FileStore.read_only(self.path)
        if found is None:
            return {}
        with found:
            return found.known_rows()

    def keep_rows(self, path: Path, known: str) -> None:
        """See `Store.keep_rows`. In another thread: written when this returns."""
        if threading.get_ident() != self._home:
            with FileStore.open(self.path, self._own) as file:
                file.keep_rows(path, known)
            return
        self._worker.submit(
            lambda file: file.keep_rows(path, known),
            "rows",
            [path],
            lambda memory: memory.rows.update({path: known}),
        )

    def note(self, name: str, value: str) -> None:
        """See `Store.note`."""
        if self._worker.memory.notes.get(name) != value:
            self._worker.submit(
                lambda file: file.note(name, value),
                "note",
                [name],
                lambda memory: memory.notes.update({name: value}),
            )

    def notes(self) -> dict[str, str]:
        """See `Store.notes`."""
        return dict(self._worker.memory.notes)
