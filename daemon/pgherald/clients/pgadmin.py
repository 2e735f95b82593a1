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
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from pgherald.clients import pgadmin_words as words
from pgherald.clients.base import Action, Change, Edit, Held, strictest_of
from pgherald.clients.block import by_key
from pgherald.clients.pgadmin_known import Known, Owner, Row, mark_of
from pgherald.clients.pgadmin_picture import Picture, Unsupported, opened, record
from pgherald.clients.pgadmin_row import UNSET, RowForm, check, held, own_way, redacted
from pgherald.clients.pgadmin_undo import given_back, is_known
from pgherald.clients.pgadmin_whose import by_hand, follows, kept_rows, naming, prints, seen, twins
from pgherald.model import DatabaseKey, Entry, Login


@dataclass(frozen=True, slots=True)
class PgAdmin:
    """The editor of pgAdmin's servers, in the shape of `base.TextClient`.

    Attributes:
        rows: `service` for service rows, `host` for host rows with a passfile.
        user: whose servers; None for the only user there is.
        passfile: for host rows, the file as pgAdmin resolves it: in server mode below
            the user's own storage folder.
        adopt: whether servers that a person made by hand are adopted.
        recreate: whether servers that a person deleted are made again.
    """

    rows: Literal["service", "host"] = "service"
    user: str | None = None
    passfile: str = "/.pgpass"
    adopt: bool = False
    recreate: bool = False

    kind: str = field(default="pgadmin", init=False)
    label: str = field(default="pgAdmin", init=False)
    private: bool = field(default=False, init=False)

    def plan(
        self,
        current: bytes | None,
        wanted: Sequence[Entry],
        *,
        also: Mapping[DatabaseKey, Sequence[Login]] | None = None,  # a server holds one login
        remove: Collection[DatabaseKey] = (),
    ) -> Edit:
        """Work out the picture's new bytes; see `TextClient.plan`.

        Without a database there is no pgAdmin to keep working, so nothing is wanted of it.
        What is recorded of the rows may differ in the new bytes where nothing changes.

        Raises:
            Unparsable: it is not pgAdmin's database.
            Unsupported: this pgAdmin cannot be kept working.
            Inexpressible: a server could not hold a name or a login.
            ValueError: a database is wanted twice.
        """
        entries = by_key(wanted)
        for entry in wanted:
            check(entry)
        if current is None:
            return Edit(b"")
        picture = opened(current, self.user)
        if self.rows == "service" and (release := picture.broken_for_services):
            raise Unsupported(
                f"is used by pgAdmin {release}, in which a server cannot name a service",
                "Update pgAdmin to the newest release, and start it once.",
            )
        work = _Work(self, picture, entries)
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
        picture = opened(current, self.user)
        kept = kept_rows(self.form, picture).items()
        return {key: strictest_of([held(picture.servers[n]) for n in rows]) for key, rows in kept}

    def services(self, current: bytes | None) -> list[str]:
        """The services that servers name; see `TextClient.services`."""
        rows = opened(current, self.user).servers.values() if current is not None else ()
        return [str(row["service"]) for row in rows if row["service"]]

    def recorded(self, current: bytes) -> Collection[DatabaseKey]:
        """Databases of which rows are recorded, whether or not they are there."""
        return opened(current, self.user).known.keys()

    def redact(self, text: bytes) -> list[str]:
        """The lines of an image or a picture for showing; see `TextClient.redact`."""
        return [redacted(line) for line in text.decode("utf-8", "replace").splitlines()]

    @property
    def form(self) -> RowForm:
        """How its rows are made."""
        return RowForm(self.rows, self.passfile)


#: Names of databases that are kept of each section, as digests: the latest that it led to.
_LED: Final = 20


class _Work:
    """One plan in the making: rows as they are to be, and what is to be recorded."""

    def __init__(
        self, editor: PgAdmin, picture: Picture, entries: Mapping[DatabaseKey, Entry]
    ) -> None:
        self._editor = editor
        self._form = editor.form
        self._picture = picture
        self._entries = entries
        self._servers = {number: dict(row) for number, row in picture.servers.items()}
        self._gone: set[int] = set()
        self._groups = {name: number for number, name in sorted(picture.groups.items())[::-1]}
        self._new_groups: dict[int, str] = {}
        self._made_groups = dict(picture.made_groups)
        self._lost_groups: set[int] = set()
        self._next = {table: picture.free(table) for table in ("server", "servergroup")}
        self._known = seen(self._form, picture)
        self._led = {key: list(names) for key, names in picture.led.items()}
        self._adopted: list[int] = []
        self._changes: list[Change] = []
        self._warnings: list[str] = []
        self._outcomes: list[str] = []

    def update(self) -> None:
        """Bring the rows of every wanted database up to date."""
        for key, entry in self._entries.items():
            self._note_name(key, entry)
        self._follow()
        hand_made = by_hand(self._picture, self._taken(), self._entries)
        for key, entry in self._entries.items():
            known, found = self._known.get(key, []), hand_made.get(key, [])
            ready = [number for number in found if self._hindrance(number) is None]
            if ready and self._editor.adopt:
                found = [number for number in found if number not in ready]
                known = self._adopt(entry, ready, known)
            self._warnings += [
                words.offer(self._servers[number]["name"], key, self._hindrance(number))
                for number in found
            ]
            if any(not row.gone for row in known):
                known = self._put_right(entry, known)
            elif not known or self._editor.recreate:
                known = [*known, self._insert(entry)]
            # Else there was a row, and the person deleted it: it stays so.
            self._known[key] = known
        self._name_others()

    def remove(self, keys: Collection[DatabaseKey]) -> None:
        """Take databases out: a row that we made goes, all others stay, and are named."""
        taken, groups = self._taken(), set[str]()
        for key in keys:
            known = self._known.pop(key, [])
            self._led.pop(key, None)
            changed = [self._let_go(row) for row in known if not row.gone]
            for row, leads in twins(self._picture, key, known, taken):
                self._outcomes.append(words.left_behind(row, leads=leads))
            if any(changed):
                self._changes.append(Change(key, Action.REMOVE))
            groups |= {row.group for row in known}
        if keys:
            self._drop_groups(groups)

    def edit(self, current: bytes) -> Edit:
        """Put the picture together again."""
        known = record(self._picture.database, self._known, self._led, self._made_groups)
        said = (tuple(self._warnings), tuple(self._outcomes))
        if not self._changes and known == self._picture.whole.get("known"):
            return Edit(current, (), *said)
        whole: dict[str, Any] = json.loads(current)
        whole["known"] = known
        whole.pop("first", None)
        # What the journals hold of a server from before it was adopted is about another one.
        whole["begins"] = {"server": [str(number) for number in self._adopted]}
        servers = whole["tables"]["server"]["rows"]
        servers |= {str(number): row for number, row in self._servers.items()}
        for number in self._gone:
            del servers[str(number)]
        groups = whole["tables"]["servergroup"]["rows"]
        groups |= {
            str(number): {"id": number, "user_id": self._picture.user, "name": name}
            for number, name in self._new_groups.items()
        }
        for number in self._lost_groups:
            del groups[str(number)]
        return Edit(json.dumps(whole).encode(), tuple(self._changes), *said)

    # --- whose is which ------------------------------------------------------------------

    def _note_name(self, key: DatabaseKey, entry: Entry) -> None:
        """Record that the section leads to this database."""
        names = self._led.setdefault(key, [])
        if not names:
            # A record of pgherald 0.1: its rows led to where its section did.
            there = (self._servers[row.id] for row in self._known.get(key, ()) if not row.gone)
            names += sorted({self._picture.led_to(row["maintenance_db"]) for row in there})
        name = self._picture.led_to(entry.login.dbname)
        if name not in names:
            names.append(name)
        del names[:-_LED]

    def _follow(self) -> None:
        """Find rows of the person's that live by a section of ours."""
        if self._form.rows != "service":
            return
        taken = self._taken()
        for key, entry in self._entries.items():
            for number in naming(self._picture, entry.database.service):
                row = self._servers[number]
                leads = self._picture.led_to(row["maintenance_db"]) in self._led[key]
                if number not in taken and leads and follows(row):
                    self._known[key] = self._with(
                        key, self._known_as(entry, number, Owner.FOLLOWED)
                    )

    def _taken(self) -> set[int]:
        """Rows that are some database's."""
        return {row.id for rows in self._known.values() for row in rows if not row.gone}

    def _with(self, key: DatabaseKey, new: Known) -> list[Known]:
        """What is recorded of a database, with this in the place of all else with its number."""
        return [*(row for row in self._known.get(key, ()) if row.id != new.id), new]

    def _hindrance(self, number: int) -> str | None:
        """Why a server that was made by hand cannot be adopted as it is."""
        row = self._servers[number]
        if (
            self._picture.keeps_passwords_elsewhere
            and row["save_password"] not in UNSET
            and row["password"] in UNSET
        ):
            return words.KEYRING
        return self._form.obstacle(row)

    def _name_others(self) -> None:
        """Name rows that name a section of ours, and are left alone all the same."""
        if self._form.rows != "service":
            return
        taken = self._taken()
        for key, entry in self._entries.items():
            ours = {row.id for row in self._known[key]}
            for number in naming(self._picture, entry.database.service):
                if number in taken or number in self._gone:
                    continue
                row = self._servers[number]
                way = own_way(row)
                if way is None or number in ours:
                    self._warnings.append(words.left(row["name"], entry.database.service, way))

    # --- what is done to a row -----------------------------------------------------------

    def _insert(self, entry: Entry) -> Known:
        database, number = entry.database, self._next["server"]
        self._next["server"] += 1
        self._servers[number] = {
            "id": number,
            "user_id": self._picture.user,
            "servergroup_id": self._group(database.group),
            "name": database.name,
            "connection_params": self._form.parameters(entry, None),
            **(self._form.columns(entry) | self._picture.switched_off),
        }
        self._changes.append(Change(entry.key, Action.ADD))
        return self._known_as(entry, number, Owner.MADE)

    def _adopt(self, entry: Entry, numbers: Sequence[int], known: list[Known]) -> list[Known]:
        """Make hand-made servers ours; one that we had made beside them goes, if untouched."""
        for item in known:
            if item.owner is Owner.MADE and not item.gone:
                self._delete(item.id)
        kept = [item for item in known if item.id not in {*self._gone, *numbers}]
        for number in numbers:
            row = self._servers[number]
            row |= self._form.differences(entry, row)
            self._changes.append(Change(entry.key, Action.ADOPT, (str(row["name"]),)))
            self._adopted.append(number)
            kept.append(self._known_as(entry, number, Owner.ADOPTED))
        return kept

    def _put_right(self, entry: Entry, known: Sequence[Known]) -> list[Known]:
        """Bring rows up to date; one that is wholly ours takes over a name that has changed."""
        database, fields = entry.database, list[str]()
        for item in known:
            if item.gone:
                continue
            row = self._servers[item.id]
            changed = self._wanted(entry, item, row)
            row |= changed
            fields += changed
            if item.owner is not Owner.MADE:
                continue
            if row["name"] == item.name != database.name:
                row["name"] = database.name
                fields.append("name")
            if self._picture.group_of(row) == item.group != database.group:
                row["servergroup_id"] = self._group(database.group)
                fields.append("group")
        if fields:
            self._changes.append(Change(entry.key, Action.UPDATE, tuple(dict.fromkeys(fields))))
        return [item if item.gone else self._known_as(entry, item.id, item.owner) for item in known]

    def _wanted(self, entry: Entry, known: Known, row: Row) -> Row:
        """The columns of a row that are to be put right."""
        if known.owner is not Owner.FOLLOWED:
            return self._form.differences(entry, row)
        names = self._led[entry.key]
        restricts = self._picture.led_to(row["db_res"]) in names
        return self._form.followed(entry, row, restricts=restricts)

    def _known_as(self, entry: Entry, number: int, owner: Owner) -> Known:
        row, database = self._servers[number], entry.database
        ours, theirs = prints(self._picture, row)
        return Known(
            number,
            mark_of(row),
            owner,
            database.name,
            database.group,
            ours,
            theirs,
            entry.login.sslmode,
        )

    def _let_go(self, known: Known) -> bool:
        """Let go of a row whose database is no longer kept; whether it changes."""
        row = self._servers[known.id]
        first = (self._picture.first or {}).get("server", {}).get(str(known.id))
        there = first is not None and first["there"]
        if known.owner is Owner.MADE and not there:
            self._delete(known.id)
            self._outcomes.append(words.deleted(row["name"]))
            return True
        was_adopted = first is not None and there and is_known(self._form, row, first["columns"])
        if known.owner is Owner.FOLLOWED or first is None or not was_adopted:
            self._outcomes.append(words.stays(row["name"], known.owner))
            return False
        back = given_back(self._picture, known, row, first["columns"])
        self._servers[known.id] = back
        self._outcomes.append(words.given_back(back, first["columns"], first.get("at")))
        return back != row

    def _delete(self, number: int) -> None:
        del self._servers[number]
        self._gone.add(number)

    def _group(self, name: str) -> int:
        """The number of the user's group of that name, which is made where there is none."""
        if name not in self._groups:
            number = self._next["servergroup"]
            self._next["servergroup"] += 1
            self._groups[name] = number
            self._new_groups[number] = self._made_groups[number] = name
        return self._groups[name]

    def _drop_groups(self, names: Collection[str]) -> None:
        """Take out groups that we made and that are left without a server.

        Args:
            names: groups that pgherald 0.1, which did not record it, may have made.
        """
        first = (self._picture.first or {}).get("servergroup", {})
        made = dict(self._made_groups) | {
            int(number): name
            for number, was in first.items()
            if not was["there"] and (name := self._picture.groups.get(int(number))) in names
        }
        rows = self._picture.whole["tables"]["server"]["rows"].values()
        used = {row["servergroup_id"] for row in self._servers.values()}
        used |= {row["servergroup_id"] for row in rows if row["id"] not in self._picture.servers}
        for number in made.keys() - used - self._lost_groups:
            self._lost_groups.add(number)
            self._made_groups.pop(number, None)
