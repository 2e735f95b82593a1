"""pgAdmin's servers as a client: rows in its configuration database."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pgherald.clients.pgadmin_picture import TABLES
from pgherald.clients.pgadmin_row import SHOWN
from pgherald.errors import StoreError
from pgherald.files import Snapshot
from pgherald.files.rows import Rows, drawn, picture
from pgherald.secret import MASK
from pgherald.store import Store

log = logging.getLogger(__name__)


def diff_rows(before: bytes, after: bytes) -> Iterator[str]:
    """Lines of a diff between two images, column by column, with every secret masked."""
    olds, news = json.loads(before), json.loads(after)
    for table, rows in news.items():
        for number, new in rows.items():
            old = olds[table][number]
            what = f"{'new ' if not old['there'] else ''}{table} {number}"
            yield f"@@ {what}{'' if new['there'] else ' goes'} @@"
            for name in sorted(new["columns"]):
                for sign, value in (("-", old["columns"][name]), ("+", new["columns"][name])):
                    if value is not None:
                        yield f"{sign}{name}: {value if name in SHOWN else MASK}"


class RowMemory:
    """Which rows of which configuration database are pgherald's. Outlives the process.

    Read from any thread, changed on one.

    Args:
        known: what is remembered so far, as JSON.
        store: keeps it; None where nothing may be written.
    """

    def __init__(self, known: Mapping[Path, str], store: Store | None = None) -> None:
        self._known: dict[Path, Any] = {}
        for path, text in known.items():
            # What somebody has tampered with is not remembered: rows tell of themselves, too.
            try:
                self._known[path] = json.loads(text)
            except ValueError:
                log.warning("what is remembered of %s cannot be read", path)
        self._store = store

    @classmethod
    def of(cls, store: Store) -> RowMemory:
        """What a state file remembers."""
        return cls(store.known_rows(), store)

    def get(self, path: Path) -> Any:
        """What is remembered of one configuration database."""
        return self._known.get(path, {})

    def keep(self, path: Path, known: Any) -> None:
        """Remember the rows of one configuration database."""
        if known == self.get(path):
            return
        self._known[path] = known
        if self._store is None:
            return
        try:
            self._store.keep_rows(path, json.dumps(known))
        except StoreError as exc:
            # It is kept in memory; a row that is not remembered is known by its service.
            log.error("%s", exc)  # noqa: TRY400 – a full disk is no bug, so no traceback


class ServerRows:
    """Reads one kind of configuration database for the editor `clients.pgadmin`.

    Args:
        rows: reads the tables.
        memory: knows whose rows are whose.
        program: version of the pgAdmin that is installed, as its APP_VERSION_INT; None when
            that could not be found out.
    """

    def __init__(self, rows: Rows, memory: RowMemory, program: int | None = None) -> None:
        self._rows = rows
        self._memory = memory
        self._program = program

    def read(self, path: Path) -> Snapshot:
        """The picture that the editor plans on; see `clients.pgadmin_picture`.

        Raises:
            ClientError: it cannot be read.
        """
        found = self._rows.read(path, TABLES)
        if found.content is None:
            return found
        whole = picture(found.content)
        whole |= {"known": self._memory.get(found.path), "program": self._program}
        return Snapshot(
            found.path, found.target, drawn(whole), None, found.mode, found.uid, found.gid
        )

    def refuse_unwritable(self, snapshot: Snapshot) -> None:
        """Pass a database that may be written; see `files.rows.Rows`.

        Raises:
            FileTrouble: it cannot be.
        """
        self._rows.refuse_unwritable(snapshot)

    def remember(self, path: Path, new: bytes) -> None:
        """Remember what the editor wants remembered, now that the rows are as it planned."""
        if new:
            self._memory.keep(path, picture(new).get("known", {}))
