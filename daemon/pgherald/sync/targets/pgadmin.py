"""A target that is rows in a database: pgAdmin's servers."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Final

from pgherald.clients.base import Action, Change, Held
from pgherald.clients.pgadmin import PgAdmin, without_ours
from pgherald.clients.pgadmin_database import TABLES, Unsupported
from pgherald.clients.pgadmin_row import SHOWN
from pgherald.files import Files, Snapshot
from pgherald.files.rows import Rows, difference, drawn, picture
from pgherald.model import DatabaseKey
from pgherald.secret import MASK
from pgherald.store import BackgroundStore
from pgherald.sync.journal import Step
from pgherald.sync.manifest import Medium
from pgherald.sync.targets.base import Fate, Target, Undo
from pgherald.sync.targets.originals import Original
from pgherald.sync.targets.ownership import Ownership

#: See `Target.reopened_for`, by how its servers are kept. What a service row does not say is
#: read at each connection.
_REOPENED_FOR: Final = {
    "service": frozenset({"dbname", "maintenance_db"}),
    "host": frozenset({"dbname", "maintenance_db", "host", "port", "user", "username"}),
}

#: Seconds without a change after which a database is no longer being made, or migrated.
_QUIET: Final = 3.0

#: Columns by which a row signs in, or leads, past its service.
_OWN_LOGIN: Final = frozenset("host port username password passexec_cmd service".split())


@dataclass(frozen=True, slots=True)
class PgAdminTarget(Target):
    """The servers in pgAdmin's configuration database, changed in place.

    Attributes:
        ownership: knows whose rows are whose.
        rows: reads the tables.
        program: version of the pgAdmin that is installed, as its APP_VERSION_INT; None when
            that could not be found out.
        trouble: why it cannot be kept although it was found, and what to do.
    """

    editor: PgAdmin
    ownership: Ownership
    rows: Rows
    program: int | None = None
    trouble: tuple[str, str] | None = None

    medium: ClassVar[Medium] = Medium.ROWS
    prominent: ClassVar[bool] = True
    shared: ClassVar[bool] = True

    #: PgAdmin keeps the user's name of a server that is open.
    refreshed_for: ClassVar[frozenset[str]] = frozenset({"user"})

    @property
    def watched(self) -> tuple[Path, ...]:
        """The database, and its journal.

        Whoever writes into an SQLite database keeps it open, which shows nothing; but its journal
        comes and goes with each transaction.
        """
        return (self.path, self.path.with_name(f"{self.path.name}-journal"))

    @property
    def reopened_for(self) -> frozenset[str]:
        """What its servers say themselves."""
        return _REOPENED_FOR[self.editor.rows]

    def is_fresh(self) -> bool:
        """Whether pgAdmin wrote a moment ago, and may be making or migrating its database."""
        return self.rows.age(self.path) < _QUIET

    def supersedes(self, change: Change) -> bool:
        """Whether a service row loses a login: an adopted one, or one that somebody typed into it."""
        loses = change.action is Action.ADOPT or bool(_OWN_LOGIN.intersection(change.fields))
        return self.editor.rows == "service" and change.action is not Action.REMOVE and loses

    def read(self, files: Files, *, removing: bool = False) -> Snapshot:
        """The picture that the editor plans on; see `clients.pgadmin_database`."""
        if self.trouble is not None:
            raise Unsupported(*self.trouble, path=self.path)
        # The record first: one that is older than the rows is not written over, as it has
        # changed by then; rows that are older than their record would seem to have been changed.
        known = self.ownership.get(self.rows.place(self.path))
        found = self.rows.read(self.path, TABLES)
        if found.content is None:
            return found
        whole = picture(found.content) | {"known": known, "program": self.program}
        if removing:
            whole["first"] = self.ownership.first(found.target)
        return found.holding(drawn(whole))

    def images(self, snapshot: Snapshot, new: bytes | None) -> tuple[bytes | None, bytes | None]:
        """The rows that change, before and after; see `Target.images`."""
        if snapshot.content is None or new is None:
            return snapshot.content, new
        return difference(snapshot.content, new)

    def show(self, before: bytes | None, after: bytes | None) -> Iterator[str]:
        """Lines of a diff, column by column; see `Target.show`."""
        return iter(()) if before is None or after is None else diff_rows(before, after)

    def databases(
        self, before: bytes | None, after: bytes | None
    ) -> Mapping[DatabaseKey, Held | None]:
        """Databases of which a recorded row differs; see `Target.databases`."""
        known = self.ownership.get(self.rows.place(self.path)).get("rows", {})
        numbers = {int(number) for number in json.loads(after or b"{}").get("server", ())}
        return {
            DatabaseKey.parse(key): None
            for key, rows in known.items()
            if not numbers.isdisjoint(row["id"] for row in rows)
        }

    def restore(self, snapshot: Snapshot, original: Original | None, *, whole: bool) -> Undo:
        """Plan what becomes of the servers; see `Target.restore`.

        What is the person's in pgAdmin is not touched, so nothing can have been edited there.
        """
        if snapshot.content is None:
            return Undo(self, snapshot, None, Fate.UNTOUCHED, original)
        first = None if original is None else original.content
        edit = without_ours(self.editor, snapshot.content, first)
        undo = Undo(self, snapshot, edit.new, Fate.RELEASED, original, edit.outcomes)
        if undo.idle and not undo.outcomes:
            return Undo(self, snapshot, edit.new, Fate.UNTOUCHED, original)
        return undo

    def records(self, snapshot: Snapshot, new: bytes | None) -> list[Step]:
        """What has to be recorded of the rows; see `Target.records`."""
        if snapshot.content is None or not new:
            return []
        planned_on, wanted = _known(snapshot.content), _known(new)
        return self.ownership.step(snapshot, planned_on, wanted)

    def record_path(self, snapshot: Snapshot) -> Path:
        """Where that is recorded."""
        return self.ownership.path(snapshot.target)

    def copy_record(self, snapshot: Snapshot, new: bytes, store: BackgroundStore) -> None:
        """Keep a copy of it in the state file."""
        if snapshot.content is None or not new:
            return
        text = json.dumps(_known(new))
        if store.known_rows().get(snapshot.path) != text:
            store.keep_rows(snapshot.path, text)


def pgadmins(targets: Iterable[Target]) -> list[PgAdminTarget]:
    """Those of the targets that are pgAdmin's."""
    return [target for target in targets if isinstance(target, PgAdminTarget)]


def _known(content: bytes) -> object:
    return picture(content).get("known", {})


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
