"""The record of ownership: which rows of a configuration database are pgherald's.

Of a text file the fingerprints of what pgherald wrote are recorded, for programs that write it
anew drop the comments and keys by which entries are known.

The record of a database is a small file in the state folder, one for each database, and it is one of the files of the
transaction that changes the rows. So whatever interrupts it, the journal brings both to the same
end: what is recorded was done, and what was done is recorded. And a transaction that was planned
on a record that another process has changed since is planned anew, like one on any other file.
"""

from __future__ import annotations

import errno
import hashlib
import json
import logging
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Any, Final

from pgherald.clients.base import Print
from pgherald.errors import ChangedMeanwhile, ClientError, FileTrouble, StoreError
from pgherald.files import Files, Snapshot, errno_of
from pgherald.model import DatabaseKey
from pgherald.store import Store
from pgherald.store.damage import Damaged
from pgherald.sync.journal import Journals, Step
from pgherald.sync.manifest import OWNERSHIP, Medium
from pgherald.sync.targets.originals import originals

log = logging.getLogger(__name__)

#: Why the system cannot read what lies where a record, or its folder, belongs; None: it can, and
#: that is no file.
_IN_THE_WAY: Final = (None, errno.ENOTDIR, errno.ELOOP)

#: Fingerprints kept of each entry of a text file: a program may write back what it read long ago.
_PRINTS: Final = 20

#: Seconds that a plan waits for another program that holds the state file.
_COPY_LIMIT: Final = 2.0


class Ownership:
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

    def path(self, target: Path) -> Path:
        """Where the record of a database is, by the database's path without links."""
        return self._state / OWNERSHIP / f"{hashlib.sha256(bytes(target)).hexdigest()[:16]}.json"

    def get(self, database: Snapshot) -> Any:
        """What is recorded of one configuration database.

        Raises:
            FileTrouble: neither the record nor its copy can be read at the moment.
        """
        path = self.path(database.target)
        try:
            content = self._files.read(path).content
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
        path = self.path(database.target)
        self._files.make_way_for_folder(path.parent)
        self._files.make_way(path)
        now = self._files.read(path)
        known = parsed(now.content)
        if (self._copy(database.path) if known is None else known) != planned_on:
            raise ChangedMeanwhile("was recorded anew by another pgherald", path=database.path)
        if known == new:
            return []
        return [Step("ownership", now, drawn(new), private=True, medium=Medium.RECORD)]

    def written(self, path: Path) -> Mapping[DatabaseKey, list[str]]:
        """The fingerprints of what pgherald wrote into a text file, newest first."""
        try:
            known = parsed(self._files.read(self.path(path.absolute())).content) or {}
        except FileTrouble as exc:
            log.info("%s", exc)
            return {}
        return {DatabaseKey.parse(key): marks for key, marks in known.get("prints", {}).items()}

    def wrote(
        self, path: Path, prints: Iterable[Print], gone: Collection[DatabaseKey] = ()
    ) -> None:
        """Record these fingerprints too. That they cannot be recorded hinders nothing else.

        An entry of the person's own that is like ours is never to be taken for ours, nor one that
        they make after ours of that database is `gone`.
        """
        known = self.written(path)
        new = {key: marks for key, marks in known.items() if key not in gone}
        theirs = set[str]()
        for key, mark in prints:
            if key is None:
                theirs.add(mark)
            else:
                new[key] = list(dict.fromkeys((mark, *known.get(key, ()))))[:_PRINTS]
        new = {key: [m for m in marks if m not in theirs] for key, marks in new.items()}
        if known == new:
            return
        record = self.path(path.absolute())
        try:
            self._files.make_way_for_folder(record.parent)
            self._files.private_folder(record.parent)
            marks = {str(key): each for key, each in new.items()}
            self._files.write_private(record, drawn({"prints": marks}))
        except ClientError as exc:
            log.warning("%s", exc)

    def first(self, target: Path) -> Any:
        """What the rows of a database held before pgherald first wrote them.

        Raises:
            FileTrouble: the journals cannot be read.
        """
        folder = self._state / "commits"
        with self._files.lock(folder):
            found = originals(Journals(self._files, folder).done()[::-1]).get(target)
        return {} if found is None or found.content is None else json.loads(found.content)


def drawn(known: Any) -> bytes:
    """A record as a file holds it, with a checksum: a damaged one is as good as none."""
    return json.dumps({"sum": _sum(known), "known": known}, indent=1).encode() + b"\n"


def parsed(content: bytes | None) -> dict[str, Any] | None:
    """What a file records; None where there is none, or where it is damaged."""
    try:
        found = json.loads(content or b"null")
        known: dict[str, Any] = found["known"]
        return known if found["sum"] == _sum(known) else None
    except (ValueError, KeyError, TypeError):
        return None


def rolled_back(before: bytes | None, now: bytes | None, commit: str) -> bytes | None:
    """The record after a rollback, of what was recorded before the commit and what is now.

    None where there is none now: then its copy counts.

    A row of which both know is again as it was before. One of which only one knows stays
    recorded: what left pgAdmin by the rollback is not made again unasked. The commit's id makes
    it another record than before, so that it goes back in turn when the rollback is taken back.
    """
    old, new = parsed(before), parsed(now)
    if new is None:
        return None
    if old is None or old["database"] != new["database"]:
        return drawn(new | {"back": commit})
    rows: dict[str, list[dict[str, Any]]] = {}
    for key in {**old["rows"], **new["rows"]}:
        was, is_ = old["rows"].get(key, []), new["rows"].get(key, [])
        again = {row["id"] for row in was}
        rows[key] = [*was, *(row for row in is_ if row["id"] not in again)]
    led = {
        key: list(dict.fromkeys([*old["led"].get(key, []), *new["led"].get(key, [])]))
        for key in {**old["led"], **new["led"]}
    }
    groups = old["groups"] | new["groups"]
    return drawn(new | {"rows": rows, "led": led, "groups": groups, "back": commit})


def _sum(known: Any) -> str:
    return hashlib.sha256(json.dumps(known, sort_keys=True).encode()).hexdigest()[:16]
