"""pgAdmin's servers as a client: rows in its configuration database."""

from __future__ import annotations

import errno
import json
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from pgherald.clients.pgadmin_picture import TABLES
from pgherald.clients.pgadmin_row import SHOWN
from pgherald.errors import ChangedMeanwhile, FileTrouble, StoreError
from pgherald.files import Files, Snapshot, errno_of
from pgherald.files.pictures import drawn as drawn_picture
from pgherald.files.pictures import picture
from pgherald.files.rows import Rows
from pgherald.secret import MASK
from pgherald.store import BackgroundStore, Store
from pgherald.store.damage import Damaged
from pgherald.sync.commit import Step
from pgherald.sync.journal import Journals
from pgherald.sync.originals import originals
from pgherald.sync.ownership import FOLDER, RECORD, drawn, name_of, parsed

log = logging.getLogger(__name__)

#: Why the system cannot read what lies where a record, or its folder, belongs; None: it can, and
#: that is no file.
_IN_THE_WAY: Final = (None, errno.ENOTDIR, errno.ELOOP)

#: Seconds that a plan waits for another program that holds the state file.
_COPY_LIMIT: Final = 2.0


def diff_rows(before: bytes, after: bytes) -> Iterator[str]:
    """Lines of a diff between two images, column by column, with every secret masked."""
    olds, news = json.loads(before), json.loads(after)
    for table, rows in news.items():
        for number, new in rows.items():
            old = olds[table][number]
            what = f"{'new ' if not old['there'] else ''}{table} {number}"
            yield f"@@ {what}{'' if new['there'] else ' goes'} @@"
            both = old["there"] and new["there"]
            for name in sorted(new["columns"]):
                if both and old["columns"][name] == new["columns"][name]:
                    continue  # in the image for the journal's sake
                for sign, value in (("-", old["columns"][name]), ("+", new["columns"][name])):
                    if value is not None:
                        yield f"{sign}{name}: {value if name in SHOWN else MASK}"


class RowMemory:
    """Which rows of which configuration database are pgherald's: the records of a state folder.

    A record is read anew for each plan, since other processes write it too, and it is written by
    the commit that it is about. The state file holds a copy, which counts where the record is
    lost; and the other way round a lost state file does no harm.

    May be used from any thread.

    Args:
        files: reads and writes.
        state: the state folder.
    """

    def __init__(self, files: Files, state: Path) -> None:
        self._files = files
        self._state = state

    def place(self, target: Path) -> Path:
        """Where the record of a database is, by the database's path without links."""
        return self._state / FOLDER / name_of(target)

    def get(self, database: Snapshot) -> Any:
        """What is recorded of one configuration database.

        Raises:
            FileTrouble: neither the record nor its copy can be read at the moment.
        """
        place = self.place(database.target)
        try:
            content = self._files.read(place).content
        except FileTrouble as exc:
            if errno_of(exc) not in _IN_THE_WAY:
                raise  # the system refuses
            content = b""  # a folder, a pipe, a file where the folder belongs: nothing of ours
        known = parsed(content)
        if known is not None:
            return known
        if content is not None:
            log.error("the record of %s is damaged; its copy counts", database.path)
        return self._copy(database.path)

    def _copy(self, path: Path) -> Any:
        try:
            store = Store.read_only(self._state / "state.db", _COPY_LIMIT)
            if store is None:
                return {}
            with store:
                known: dict[str, Any] = json.loads(store.known_rows().get(path, "{}"))
            # It differs from any record, so that the next plan puts the record there again.
            return known | {"copy": True} if known else {}
        except (Damaged, ValueError) as exc:
            # Nothing is recorded then, and what is not recorded is the person's.
            log.warning("the copy of the record of %s cannot be read: %s", path, exc)
            return {}
        except StoreError as exc:
            # It may be read later: what it records would be lost if none were assumed now.
            raise FileTrouble(
                f"is left alone for now, since its record is lost and {exc.title}",
                exc.advice,
                path=path,
            ) from exc

    def step(self, database: Snapshot, planned_on: Any, new: Any) -> list[Step]:
        """What a commit that changes rows has to write into the record beside them.

        Args:
            database: the database, as it was read.
            planned_on: what was recorded when it was planned.
            new: what is to be recorded.

        Raises:
            ChangedMeanwhile: another process has recorded something since.
            FileTrouble: the record cannot be read.
        """
        place = self.place(database.target)
        self._files.make_way_for_folder(place.parent)
        self._files.make_way(place)
        now = self._files.read(place)
        known = parsed(now.content)
        if (self._copy(database.path) if known is None else known) != planned_on:
            raise ChangedMeanwhile("was recorded anew by another pgherald", path=database.path)
        if known == new:
            return []
        return [Step("ownership", now, drawn(new), private=True, medium=RECORD)]

    def first(self, target: Path) -> Any:
        """What the rows of a database held before pgherald first wrote them.

        Raises:
            FileTrouble: the journals cannot be read.
        """
        folder = self._state / "commits"
        with self._files.lock(folder):
            found = originals(Journals(self._files, folder).done()[::-1]).get(target)
        return {} if found is None or found.content is None else json.loads(found.content)


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

    def read(self, path: Path, *, removing: bool = False) -> Snapshot:
        """The picture that the editor plans on; see `clients.pgadmin_picture`.

        Args:
            path: the database.
            removing: whether servers are to be given back, which takes what they held at first.

        Raises:
            ClientError: it cannot be read.
        """
        # The record first: one that is older than the rows is not written over, as it has
        # changed by then; rows that are older than their record would seem to have been changed.
        place = self._rows.place(path)
        known = self._memory.get(place)
        found = self._rows.read(path, TABLES)
        if found.content is None:
            return found
        whole = picture(found.content)
        whole |= {"known": known, "program": self._program}
        if removing:
            whole["first"] = self._memory.first(found.target)
        return Snapshot(
            found.path, found.target, drawn_picture(whole), None, found.mode, found.uid, found.gid
        )

    def refuse_unwritable(self, snapshot: Snapshot) -> None:
        """Pass a database that may be written; see `files.rows.Rows`.

        Raises:
            FileTrouble: it cannot be.
        """
        self._rows.refuse_unwritable(snapshot)

    def record(self, before: Snapshot, new: bytes) -> list[Step]:
        """What has to be recorded with a plan, if anything.

        Raises:
            ClientError: another process has recorded something since; or it cannot be read.
        """
        if before.content is None or not new:
            return []
        planned_on, wanted = picture(before.content).get("known", {}), picture(new).get("known", {})
        return self._memory.step(before, planned_on, wanted)

    def record_of(self, before: Snapshot) -> Path:
        """Where that is recorded."""
        return self._memory.place(before.target)

    def copy(self, before: Snapshot, new: bytes, store: BackgroundStore) -> None:
        """Keep a copy of the record in the state file."""
        if before.content is None or not new:
            return
        text = json.dumps(picture(new).get("known", {}))
        if store.known_rows().get(before.path) != text:
            store.keep_rows(before.path, text)
