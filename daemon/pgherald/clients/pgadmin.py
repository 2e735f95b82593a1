"""pgAdmin's configuration database: one server row for each database.

A *service row* names a section of the service file, the database and how to connect, and
holds no host, port, user or password. libpq reads these from the service file at every
connection, which is why a running pgAdmin notices nothing of a rotation, and why the row
itself is written again only when the database's own name changes, or when something has
crept into it that would beat the service file: a password that was typed and saved, above all.

A *host row* names host, port and user, and a passfile that only its owner's pgAdmin reads. It is
for a pgAdmin that serves several people, where a service is open to all of them.

Ours in a row are the columns that make it one or the other. Its name, group, colours, tags
and all the rest are the person's, from the day the row is there. A row that they delete stays
deleted.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from pgherald.clients.base import Action, Change, Edit, Held
from pgherald.clients.block import by_key
from pgherald.clients.pgadmin_picture import (
    Known,
    Picture,
    Row,
    Unsupported,
    mark_of,
    opened,
    remembered,
)
from pgherald.clients.pgadmin_row import UNSET, RowForm, check, held, likeness, redacted, shown
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
        also: Mapping[DatabaseKey, Sequence[Login]] | None = None,  # noqa: ARG002 – the protocol's; a server holds one login
        remove: Collection[DatabaseKey] = (),
    ) -> Edit:
        """Work out the picture's new bytes; see `TextClient.plan`.

        Without a database there is no pgAdmin to keep working, so nothing is wanted of it.
        What is remembered of the rows may differ in the new bytes where no change is told.

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
        """What the database holds of ours; of several rows for one database, the first.

        Raises:
            Unparsable: it is not pgAdmin's database.
            Unsupported: this pgAdmin cannot be kept working.
        """
        if current is None:
            return {}
        picture = opened(current, self.user)
        found: dict[DatabaseKey, Held] = {}
        for key, known in picture.known.items():
            if rows := [row for item in known if (row := self.row_of(item, picture.servers))]:
                found[key] = held(rows[0])
        return found

    def services(self, current: bytes | None) -> list[str]:
        """The services that servers name; see `TextClient.services`."""
        servers = {} if current is None else opened(current, self.user).servers
        return [str(row["service"]) for row in servers.values() if row["service"]]

    def redact(self, text: bytes) -> list[str]:
        """The lines of an image or a picture for showing; see `TextClient.redact`."""
        return [redacted(line) for line in text.decode("utf-8", "replace").splitlines()]

    def row_of(self, known: Known, servers: Mapping[int, Row]) -> Row | None:
        """The row that is remembered; None where it is gone, or the person's own now."""
        row = servers.get(known.id)
        if row is None or mark_of(row) != known.mark or not self.form.keeps(row):
            return None
        return row

    @property
    def form(self) -> RowForm:
        """How its rows are made."""
        return RowForm(self.rows, self.passfile)


class _Work:
    """One plan in the making: rows as they are to be, and what is to be remembered."""

    def __init__(
        self, editor: PgAdmin, picture: Picture, entries: Mapping[DatabaseKey, Entry]
    ) -> None:
        self._editor = editor
        self._picture = picture
        self._entries = entries
        self._servers = {number: dict(row) for number, row in picture.servers.items()}
        self._gone: set[int] = set()
        self._groups = {name: number for number, name in sorted(picture.groups.items())[::-1]}
        self._new_groups: dict[int, str] = {}
        self._next = {table: picture.free(table) for table in ("server", "servergroup")}
        self._known = {key: list(rows) for key, rows in picture.known.items()}
        self._changes: list[Change] = []
        self._warnings: list[str] = []

    def update(self) -> None:
        """Bring the rows of every wanted database up to date."""
        by_hand = self._made_by_hand()
        for key, entry in self._entries.items():
            known, hand_made = self._known_rows(entry), by_hand.get(key, [])
            ready = [number for number in hand_made if not self._in_keyring(number)]
            if ready and self._editor.adopt:
                self._known[key] = self._adopt(entry, ready, known)
                continue
            self._warnings += [self._offer(key, number) for number in hand_made]
            if known:
                self._known[key] = self._put_right(entry, known)
            elif self._editor.recreate or not self._picture.known.get(key):
                self._known[key] = [self._insert(entry)]
            # Else there was a row, and the person deleted it: it stays so.

    def remove(self, keys: Collection[DatabaseKey]) -> None:
        """Take databases out: rows that we made go, a person's own stays without its login."""
        for key in keys:
            known = self._known.pop(key, [])
            there = [row for row in known if self._is_there(row)]
            for row in there:
                if row.made:
                    self._delete(row.id)
                    continue
                name = self._servers[row.id]["name"]
                self._warnings.append(
                    f"Server {shown(name)} was made by hand, so it stays in pgAdmin: delete it "
                    "there, or give it a host and a user."
                )
            if any(row.made for row in there):
                self._changes.append(Change(key, Action.REMOVE))

    def edit(self, current: bytes) -> Edit:
        """Put the picture together again."""
        known = remembered(self._picture.database, self._known)
        if not self._changes and known == self._picture.whole.get("known"):
            return Edit(current, (), tuple(self._warnings))
        whole: dict[str, Any] = json.loads(current)
        whole["known"] = known
        servers = whole["tables"]["server"]["rows"]
        servers |= {str(number): row for number, row in self._servers.items()}
        for number in self._gone:
            del servers[str(number)]
        whole["tables"]["servergroup"]["rows"] |= {
            str(number): {"id": number, "user_id": self._picture.user, "name": name}
            for number, name in self._new_groups.items()
        }
        return Edit(json.dumps(whole).encode(), tuple(self._changes), tuple(self._warnings))

    # --- whose is which ------------------------------------------------------------------

    def _known_rows(self, entry: Entry) -> list[Known]:
        """The rows of a database that are there: the remembered ones, else by their service.

        The latter are of a pgherald whose memory is lost, or were imported from servers.json.
        """
        known = [row for row in self._known.get(entry.key, ()) if self._is_there(row)]
        if known or self._editor.rows != "service":
            return known
        taken = self._taken()
        return [
            self._known_as(entry, number, made=True)
            for number, row in self._servers.items()
            if row["service"] == entry.database.service and not row["host"] and number not in taken
        ]

    def _is_there(self, known: Known) -> bool:
        return self._editor.row_of(known, self._servers) is not None

    def _taken(self) -> set[int]:
        """Rows that are some database's."""
        return {row.id for rows in self._known.values() for row in rows if self._is_there(row)}

    def _made_by_hand(self) -> dict[DatabaseKey, list[int]]:
        """Servers that a person made and that lead to a database that is wanted here."""
        taken, found = self._taken(), dict[DatabaseKey, list[int]]()
        for number, row in self._servers.items():
            if number in taken or row["service"] or not row["host"]:
                continue
            alike = {key: likeness(row, entry.login) for key, entry in self._entries.items()}
            best = max(alike, key=lambda key: alike[key], default=None)
            if best is not None and alike[best]:
                found.setdefault(best, []).append(number)
        return found

    def _in_keyring(self, number: int) -> bool:
        """Whether the server's password is where no row can take it from."""
        row = self._servers[number]
        elsewhere = self._picture.keeps_passwords_elsewhere
        return elsewhere and row["save_password"] not in UNSET and row["password"] in UNSET

    def _offer(self, key: DatabaseKey, number: int) -> str:
        what = f"Server {shown(self._servers[number]['name'])}, made by hand, leads to {key} too: "
        if self._in_keyring(number):
            return (
                f"{what}choose Clear Saved Password for it in pgAdmin, since this release keeps it "
                "in the system's keyring; then `pgherald check --adopt` keeps it working."
            )
        return f"{what}`pgherald check --adopt` keeps it working as well."

    # --- what is done to a row -----------------------------------------------------------

    def _insert(self, entry: Entry) -> Known:
        database, number = entry.database, self._next["server"]
        self._next["server"] += 1
        self._servers[number] = {
            "id": number,
            "user_id": self._picture.user,
            "servergroup_id": self._group(database.group),
            "name": database.name,
            "connection_params": self._editor.form.parameters(entry, None),
            **self._editor.form.columns(entry),
        }
        self._changes.append(Change(entry.key, Action.ADD))
        return self._known_as(entry, number, made=True)

    def _adopt(self, entry: Entry, numbers: Sequence[int], known: list[Known]) -> list[Known]:
        """Make hand-made servers ours; one that we had made beside them goes, if untouched."""
        kept = []
        for row in known:
            if row.made and self._untouched(entry, row):
                self._delete(row.id)
            else:
                kept.append(row)
        kept = self._put_right(entry, kept)
        for number in numbers:
            name = str(self._servers[number]["name"])
            self._update(entry, self._servers[number])
            self._changes.append(Change(entry.key, Action.ADOPT, (name,)))
            kept.append(self._known_as(entry, number, made=False))
        return kept

    def _untouched(self, entry: Entry, known: Known) -> bool:
        """Whether a row is still what we had made of it: the person has put nothing into it."""
        row = self._servers[known.id]
        if (row["name"], self._picture.group_of(row)) != (known.name, known.group):
            return False
        ours = {"id", "user_id", "servergroup_id", "name", "connection_params", "db_res_type"}
        ours |= set(self._editor.form.columns(entry))
        return all(value in UNSET for name, value in row.items() if name not in ours)

    def _put_right(self, entry: Entry, known: Sequence[Known]) -> list[Known]:
        """Bring rows of ours up to date, and take over a name that the configuration changed."""
        database, fields = entry.database, list[str]()
        for item in known:
            row = self._servers[item.id]
            fields += self._update(entry, row)
            if row["name"] == item.name != database.name:
                row["name"] = database.name
                fields.append("name")
            if self._picture.group_of(row) == item.group != database.group:
                row["servergroup_id"] = self._group(database.group)
                fields.append("group")
        if fields:
            self._changes.append(Change(entry.key, Action.UPDATE, tuple(dict.fromkeys(fields))))
        return [self._known_as(entry, item.id, made=item.made) for item in known]

    def _update(self, entry: Entry, row: Row) -> list[str]:
        """Put our columns right; gives the names of those that were not."""
        changed = self._editor.form.differences(entry, row)
        row |= changed
        return list(changed)

    def _known_as(self, entry: Entry, number: int, *, made: bool) -> Known:
        mark = mark_of(self._servers[number])
        return Known(number, mark, made, entry.database.name, entry.database.group)

    def _delete(self, number: int) -> None:
        del self._servers[number]
        self._gone.add(number)

    def _group(self, name: str) -> int:
        """The number of the user's group of that name, which is made where there is none."""
        if name not in self._groups:
            number = self._next["servergroup"]
            self._next["servergroup"] += 1
            self._groups[name] = number
            self._new_groups[number] = name
        return self._groups[name]
