"""pgAdmin's configuration database: one server row for each database.

A *service row* names a section of the service file, the database and how to connect, and
holds no host, port, user or password. libpq reads these from the service file at every
connection, which is why a running pgAdmin notices nothing of a rotation, and why the row
itself is written again only when the database's own name changes, or when something has
crept into it that would beat the service file: a password that was typed and saved, above all.

A *host row* names host, port and user, and a passfile that only its owner's pgAdmin reads. It is
for a pgAdmin that serves several people, where a service is open to all of them.

Ours in a row are the columns that make it one or the other. All the rest is the person's, from
the day the row is there. A row that they delete stays deleted.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar, Final

from pgherald.clients import lines
from pgherald.clients import pgadmin_ownership as ownership
from pgherald.clients import pgadmin_row as rows
from pgherald.clients.base import Action, Change, Edit, Held, strictest_of
from pgherald.clients.pgadmin_database import (
    ConfigDatabase,
    Owner,
    Row,
    RowRecord,
    Unsupported,
    mark_of,
)
from pgherald.clients.pgadmin_row import UNSET, RowForm
from pgherald.model import DatabaseKey, Entry, Login
from pgherald.secret import MASK


@dataclass(frozen=True, slots=True)
class PgAdmin(RowForm):
    """The editor of pgAdmin's servers, in the shape of `base.TextClient`.

    Attributes:
        user: whose servers; None for the only user there is.
        adopt: whether servers that a person made by hand are adopted.
        recreate: whether servers that a person deleted are made again.
        auth_source: how the user signs in; None where the name is the only one of its kind.
    """

    passfile: str | None = "/.pgpass"
    user: str | None = None
    adopt: bool = False
    recreate: bool = False
    auth_source: str | None = None

    kind: ClassVar[str] = "pgadmin"
    label: ClassVar[str] = "pgAdmin"
    private: ClassVar[bool] = False

    def database(self, current: bytes) -> ConfigDatabase:
        """The configuration database, to be edited; see there for what it raises."""
        return ConfigDatabase(current, self.user, self.auth_source)

    def plan(
        self,
        current: bytes | None,
        wanted: Sequence[Entry],
        *,
        also: Mapping[DatabaseKey, Sequence[Login]] | None = None,  # a server holds one login
        remove: Collection[DatabaseKey] = (),
    ) -> Edit:
        """Work out the database's new bytes; see `TextClient.plan`.

        Without a database there is no pgAdmin to keep working, so nothing is wanted of it.
        What is recorded of the rows may differ in the new bytes where nothing changes.

        Raises:
            Unparsable: it is not pgAdmin's database.
            Unsupported: this pgAdmin cannot be kept working.
            Inexpressible: a server could not hold a name or a login.
        """
        entries = {entry.key: entry for entry in wanted}
        for entry in wanted:
            rows.check(entry)
        if current is None:
            return Edit(b"")
        database = self.database(current)
        if self.rows == "service" and (release := database.broken_for_services):
            raise Unsupported(
                f"is used by pgAdmin {release}, in which a server cannot name a service",
                "Update pgAdmin to the newest release, and start it once.",
            )
        work = _Work(self, database, entries)
        work.update()
        work.remove([key for key in remove if key not in entries])
        return work.edit(current)

    def read(self, current: bytes | None) -> Mapping[DatabaseKey, Held]:
        """What the database holds of ours; of several rows, what the strictest of ours demands.

        Raises:
            Unparsable: it is not pgAdmin's database.
            Unsupported: this pgAdmin cannot be kept working.
        """
        if current is None:
            return {}
        database = self.database(current)
        return {
            key: strictest_of([rows.held(database.servers[number]) for number in numbers])
            for key, numbers in ownership.kept_rows(self, database).items()
        }

    def services(self, current: bytes | None) -> list[str]:
        """The services that servers name; see `TextClient.services`."""
        if current is None:
            return []
        rows = self.database(current).servers.values()
        return [str(row["service"]) for row in rows if row["service"]]

    def redact(self, text: bytes) -> list[str]:
        """Nothing is shown of whole tables: what changes in rows is shown column by column."""
        return [MASK for _ in lines.split(text)]


def without_ours(editor: PgAdmin, current: bytes, original: bytes | None) -> Edit:
    """What it takes to undo all that pgherald did to a configuration database.

    Args:
        editor: how the servers are kept.
        current: the database as it is.
        original: an image of every cell that was ever changed, as it was at first; None where
            that is not known.

    Raises:
        Unparsable: it is not pgAdmin's database.
        Unsupported: this pgAdmin cannot be kept working.
    """
    whole: dict[str, Any] = json.loads(current)
    whole["first"] = {} if original is None else json.loads(original)
    recorded = editor.database(current).records.keys()
    return editor.plan(json.dumps(whole).encode(), [], remove=recorded)


#: Names of databases that are kept of each section, as digests: the latest that it led to.
_LED: Final = 20


def _made(records: Iterable[RowRecord]) -> list[RowRecord]:
    return [each for each in records if each.owner is Owner.MADE and not each.gone]


class _Work:
    """One plan in the making: rows as they are to be, and what is to be recorded."""

    def __init__(
        self, editor: PgAdmin, database: ConfigDatabase, entries: Mapping[DatabaseKey, Entry]
    ) -> None:
        self._editor = editor
        self._database = database
        self._servers = database.servers
        self._entries = entries
        self._records = ownership.current_records(editor, database)
        self._adopted: list[int] = []
        self._twins: set[DatabaseKey] = set()
        self._lost = ""
        if editor.rows == "service":
            self._lost = (
                f"In an adopted server pgAdmin's {database.lost_tools} fail (docs/clients.md)."
            )
        self._changes: list[Change] = []
        self._warnings: list[str] = []
        self._outcomes: list[str] = []

    def update(self) -> None:
        """Bring the rows of every wanted database up to date."""
        for key, entry in self._entries.items():
            self._note_name(key, entry)
        if self._editor.rows == "service":
            self._follow()
        hand_made = ownership.by_hand(self._database, self._taken(), self._entries)
        for key, entry in self._entries.items():
            records, found = self._records.get(key, []), hand_made.get(key, [])
            hindrances = {number: self._hindrance(self._servers[number]) for number in found}
            ready = [number for number in found if hindrances[number] is None]
            if ready and self._editor.adopt:
                found = [number for number in found if number not in ready]
                records = self._adopt(entry, ready, records)
            for number in found:
                row = self._servers[number]
                self._warnings.append(ownership.offer(row, key, hindrances[number], self._lost))
            if any(not record.gone for record in records):
                records = self._put_right(entry, records)
            elif not records or self._editor.recreate:
                records = [*records, self._insert(entry)]
            # Else there was a row, and the person deleted it: it stays so.
            self._records[key] = records
        if self._editor.rows == "service":
            self._warnings += self._others()
        if self._adopted and self._lost:
            self._outcomes.append(self._lost)

    def remove(self, keys: Collection[DatabaseKey]) -> None:
        """Take databases out: a row that we made goes, all others stay, and are named."""
        taken, groups = self._taken(), set[str]()
        for key in keys:
            records = self._records.pop(key, [])
            changed = [self._let_go(record) for record in records if not record.gone]
            for row in ownership.unrecorded(self._database, records, taken):
                self._outcomes.append(
                    ownership.left_behind(row, leads=ownership.leads_on(self._database, key, row))
                )
            self._database.led.pop(key, None)
            if any(changed):
                self._changes.append(Change(key, Action.REMOVE))
            groups |= {record.group for record in records}
        if keys:
            self._database.drop_groups(groups)

    def edit(self, current: bytes) -> Edit:
        """Put the database together again."""
        whole, known = self._database.whole, self._database.record(self._records)
        if self._changes or known != whole.get("known"):
            whole["known"] = known
            whole.pop("first", None)
            # What the journals hold of a server from before it was adopted is about another one.
            whole["begins"] = {"server": [str(number) for number in self._adopted]}
            current = json.dumps(whole).encode()
        return Edit(current, tuple(self._changes), tuple(self._warnings), tuple(self._outcomes))

    # --- whose is which ------------------------------------------------------------------

    def _note_name(self, key: DatabaseKey, entry: Entry) -> None:
        """Record that the section leads to this database."""
        names = self._database.led.setdefault(key, [])
        if not names:
            # A record of pgherald 0.1: its rows led to where its section did.
            there = (self._servers[each.id] for each in self._records.get(key, ()) if not each.gone)
            names += sorted({self._database.led_to(row["maintenance_db"]) for row in there})
        name = self._database.led_to(entry.login.dbname)
        if name not in names:
            names.append(name)
        del names[:-_LED]

    def _follow(self) -> None:
        """Find rows of the person's that live by a section of ours."""
        taken = self._taken()
        for key, entry in self._entries.items():
            records = self._records.get(key, [])
            # Also by the name that it had until now: then nobody writes it under that one any more.
            service = entry.database.service
            for number in list(ownership.naming(self._database, service, records)):
                row = self._servers[number]
                leads = any(self._has_led(key, name) for name in rows.databases_of(row))
                if number in taken or not leads or not ownership.follows(row, entry.login):
                    continue
                records = [each for each in records if each.id != number]
                if any(rows.is_twin(row, self._servers[each.id]) for each in _made(records)):
                    records = self._drop_made(records)
                    self._twins.add(key)
                records.append(self._recorded(entry, number, Owner.FOLLOWED))
                self._records[key] = records

    def _has_led(self, key: DatabaseKey, name: str) -> bool:
        return self._database.led_to(name) in self._database.led[key]

    def _drop_made(self, records: Iterable[RowRecord]) -> list[RowRecord]:
        """Delete what we made and nobody has touched, where another server stands for it."""
        records = list(records)
        for each in _made(records):
            self._database.delete(each.id)
        return [each for each in records if each not in _made(records)]

    def _taken(self) -> set[int]:
        """Rows that are some database's."""
        return {row.id for rows in self._records.values() for row in rows if not row.gone}

    def _hindrance(self, row: Row) -> str | None:
        """Why a server that was made by hand cannot be adopted as it is."""
        saved = row["save_password"] not in UNSET and row["password"] in UNSET
        elsewhere = saved and self._database.keeps_passwords_elsewhere
        return ownership.KEYRING if elsewhere else self._editor.obstacle(row)

    def _others(self) -> Iterator[str]:
        """A sentence for each row that names a section of ours, and is left alone all the same."""
        taken = self._taken()
        for key, entry in self._entries.items():
            ours = {record.id for record in self._records[key]}
            for number in ownership.naming(self._database, entry.database.service):
                row = self._servers[number]
                way = rows.own_way(row)
                if number not in taken and (way is None or number in ours):
                    why = way or "is not pgherald's"
                    names = f"{ownership.server(row)} names the service {row['service']!r}"
                    yield f"{names} and {why}: it is left as it is."

    # --- what is done to a row -----------------------------------------------------------

    def _insert(self, entry: Entry) -> RowRecord:
        row = {
            "servergroup_id": self._database.group(entry.database.group),
            "name": entry.database.name,
            "connection_params": self._editor.parameters(entry, None),
            **self._editor.columns(entry),
        }
        self._changes.append(Change(entry.key, Action.ADD))
        return self._recorded(entry, self._database.add(row), Owner.MADE)

    def _adopt(
        self, entry: Entry, numbers: Sequence[int], records: Sequence[RowRecord]
    ) -> list[RowRecord]:
        """Make hand-made servers ours; one that we had made beside them goes, if untouched."""
        kept = [each for each in self._drop_made(records) if each.id not in numbers]
        for number in numbers:
            row = self._servers[number]
            row |= self._editor.differences(entry, row)
            self._changes.append(Change(entry.key, Action.ADOPT, (str(row["name"]),)))
            self._adopted.append(number)
            kept.append(self._recorded(entry, number, Owner.ADOPTED))
        return kept

    def _put_right(self, entry: Entry, records: Sequence[RowRecord]) -> list[RowRecord]:
        """Bring rows up to date; one that is wholly ours takes over a name that has changed."""
        database, fields = entry.database, ["duplicate"] * (entry.key in self._twins)
        for record in records:
            if record.gone:
                continue
            row = self._servers[record.id]
            changed = self._wanted(entry, record, row)
            row |= changed
            fields += changed
            if record.owner is not Owner.MADE:
                continue
            if row["name"] == record.name != database.name:
                row["name"] = database.name
                fields.append("name")
            if self._database.group_of(row) == record.group != database.group:
                row["servergroup_id"] = self._database.group(database.group)
                fields.append("group")
        if fields:
            self._changes.append(Change(entry.key, Action.UPDATE, tuple(dict.fromkeys(fields))))
        return [
            each if each.gone else self._recorded(entry, each.id, each.owner, each.sslrootcert)
            for each in records
        ]

    def _wanted(self, entry: Entry, record: RowRecord, row: Row) -> Row:
        """The columns of a row that are to be put right."""
        if record.owner is not Owner.FOLLOWED:
            return self._editor.differences(entry, row)
        return self._editor.followed(entry, row, partial(self._has_led, entry.key))

    def _recorded(
        self, entry: Entry, number: int, owner: Owner, root: str | None = None
    ) -> RowRecord:
        """What is to be recorded of a row as it is now, in which there is a root certificate of ours."""
        row, database = self._servers[number], entry.database
        ours, theirs = ownership.prints(self._database, row)
        if self._editor.rows == "host":
            root = database.sslrootcert or root
        names, mode = (database.name, database.group), entry.login.sslmode
        return RowRecord(number, mark_of(row), owner, *names, ours, theirs, mode, root)

    def _let_go(self, record: RowRecord) -> bool:
        """Let go of a row whose database is no longer kept; whether it changes."""
        row, first = self._servers[record.id], self._database.original(record.id)
        was = first["columns"] if first is not None and first["there"] else None
        if record.owner is Owner.MADE and was is None:
            self._database.delete(record.id)
            self._outcomes.append(f"{ownership.server(row)} is deleted: pgherald made it.")
            return True
        followed = record.owner is Owner.FOLLOWED
        if (
            first is None
            or was is None
            or followed
            or not ownership.is_known(self._editor, row, was)
        ):
            self._outcomes.append(ownership.stays(row, record.owner))
            return False
        back = ownership.given_back(self._database, record, row, was)
        self._outcomes.append(ownership.restored(back, was, first.get("at")))
        changes = back != row
        row |= back
        return changes
