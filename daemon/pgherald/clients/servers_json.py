"""pgAdmin's servers.json: what its import, and `setup.py load-servers`, read.

The file is `{"Servers": {"1": {...}, "2": {...}}}`; the numbers mean nothing. A server of ours
carries a mark, a key that pgAdmin ignores, whose value is the database's key. Its fields are
edited one by one; everything else in the file keeps its values and their order, and the file its
layout. Where nothing of ours changes, no byte does.

No password is ever written here: pgAdmin's import reads none. A service row gets it from the
service file, a host row from its passfile.

Facts are those of pgAdmin 9.18 (`pgadmin/utils/__init__.py`, `load_database_servers`), and hold
for every version since 6.20, where `ConnectionParameters` came.
"""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Final

from pgherald.clients import lines
from pgherald.clients.base import (
    Action,
    Change,
    Edit,
    Held,
    Known,
    Print,
    fingerprint,
    strictest_of,
)
from pgherald.clients.json_text import JsonText, unparsable
from pgherald.clients.pgadmin_row import UNSTORABLE, RowForm, check, held, parameters_of
from pgherald.errors import Unparsable
from pgherald.model import DatabaseKey, Entry, Login
from pgherald.secret import MASK

#: The key that makes a server ours; its value is `str(DatabaseKey)`.
MARK: Final = "pgherald"

_PARAMETERS: Final = "ConnectionParameters"

#: The fields that are ours, by the column of pgAdmin's database that its import puts them into.
_FIELDS: Final = {
    "service": "Service",
    "host": "Host",
    "port": "Port",
    "username": "Username",
    "maintenance_db": "MaintenanceDB",
    "db_res": "DBRestriction",
    "db_res_type": "DBRestrictionType",
}

#: Fields of a server's own, from before there were parameters, that say how to verify.
_OLDER: Final = ("SSLMode", "SSLCert", "SSLKey", "SSLRootCert", "SSLCrl")

#: What may be seen of a server of ours: the keys that we write, and what is inside them; True is
#: the value itself.
_SHOWN: Final[Mapping[str, Any]] = {
    **dict.fromkeys((*_FIELDS.values(), "Name", "Group", MARK), True),
    _PARAMETERS: dict.fromkeys(("sslmode", "connect_timeout", "passfile"), True),
}

#: Keys whose values pgAdmin's import takes for texts.
_IMPORTED: Final = (
    *("Name", "Group", "Host", "MaintenanceDB", "Username", "SharedUsername", "Service", "Role"),
    *("Comment", "DBRestriction", "DBRestrictionType", "BGColor", "FGColor", "TunnelHost"),
    *("TunnelUsername", "TunnelIdentityFile", "PasswordExecCommand", "PostConnectionSQL"),
)
_MAY_TELL: Final = re.compile(r"passw(?:or)?d[\s=:'\"]|://.*@", re.IGNORECASE | re.DOTALL)

#: A server of the file; only its keys are sure to be texts.
_Server = dict[str, Any]


@dataclass(frozen=True, slots=True)
class _File:
    """The parsed file, to be edited in place.

    Attributes:
        text: the whole, with its layout.
        servers: the value of `Servers`; where the file has none yet, it is no part of it.
        ours: numbers of our servers by database, each in the file's order. There are several
            for one database when a person has copied ours.
    """

    text: JsonText
    servers: dict[str, Any] = field(repr=False)
    ours: Mapping[DatabaseKey, Sequence[str]]

    def own(self, key: DatabaseKey) -> list[_Server]:
        """Our servers for one database."""
        return [self.servers[number] for number in self.ours[key]]


@dataclass(frozen=True, slots=True)
class ServersJson(RowForm):
    """The editor of servers.json, in the shape of `base.TextClient`.

    A server of the file is edited as the row that pgAdmin's import makes of it.

    Attributes:
        known: what pgherald wrote into the file.
    """

    known: Known = field(default=dict, compare=False, repr=False)

    kind: ClassVar[str] = "servers_json"
    label: ClassVar[str] = "servers.json"
    private: ClassVar[bool] = False

    def plan(
        self,
        current: bytes | None,
        wanted: Sequence[Entry],
        *,
        also: Mapping[DatabaseKey, Sequence[Login]] | None = None,  # a server holds one login
        remove: Collection[DatabaseKey] = (),
    ) -> Edit:
        """Work out the file's new bytes; see `TextClient.plan`.

        A server that is removed leaves no trace, except that `"Servers": {}` stays even
        where we had added it.

        Raises:
            Unparsable: the file is not JSON, or not of pgAdmin's form.
            Inexpressible: pgAdmin's import could not hold a name or a login.
        """
        entries = {entry.key: entry for entry in wanted}
        file = _open(current, self.known)
        changes: list[Change] = []
        new: list[_Server] = []
        for key, entry in entries.items():
            check(entry)
            if key not in file.ours:
                new.append({"Name": entry.database.name, "Group": entry.database.group})
                self._put_right(new[-1], entry)
                changes.append(Change(key, Action.ADD))
            elif changed := self._update(file.own(key), entry):
                changes.append(Change(key, Action.UPDATE, changed))
        _add(file, new)  # first, so that none gets the number of one that goes
        leaving = [key for key in remove if key in file.ours and key not in entries]
        changes += [Change(key, Action.REMOVE) for key in leaving]
        said = tuple(line for key in leaving for line in _take_out(file, key))
        text = file.text.written() if changes else current or b""
        return Edit(text, tuple(changes), tuple(_warnings(file, entries.values())), said)

    def read(self, current: bytes | None) -> Mapping[DatabaseKey, Held]:
        """What the file holds of ours; of several copies the first, with the strictest demand.

        Raises:
            Unparsable: the file is not JSON, or not of pgAdmin's form.
        """
        file = _open(current, self.known)
        return {key: strictest_of([_held(s) for s in file.own(key)]) for key in file.ours}

    def prints(self, current: bytes | None) -> Iterator[Print]:
        """The fingerprint of each server, for `known`."""
        file = _open(current, self.known)
        owners = {numbers[0]: key for key, numbers in file.ours.items()}
        for number, server in file.servers.items():
            if isinstance(server, dict):
                yield owners.get(number), _print(server)

    def services(self, current: bytes | None) -> list[str]:
        """The services that servers name; see `TextClient.services`."""
        servers = _open(current).servers.values()
        names = (_text(server, "Service") for server in servers if isinstance(server, dict))
        return [name for name in names if name]

    def redact(self, text: bytes) -> list[str]:
        """The file's lines for showing; see `TextClient.redact`.

        Of a file that is laid out as nobody else would write it, nothing is shown.
        """
        rows = lines.split(text)
        try:
            parsed = JsonText.parse(text)
            masked = parsed.laid_out(_masked(parsed.value, {"Servers": _visible(parsed.value)}))
        except Unparsable:  # of a broken file nobody knows whose is what
            masked = ""
        shown = list(lines.for_show(masked.encode("utf-8", "backslashreplace")))
        return shown if len(shown) == len(rows) else [MASK for _ in rows]

    def _update(self, servers: Sequence[_Server], entry: Entry) -> tuple[str, ...]:
        """Bring every server of one database up to date; gives the names of what changed."""
        names = {"Name": entry.database.name, "Group": entry.database.group}
        # The one under the wanted name, or else the first, is ours; others are the person's copies.
        own = next((s for s in servers if _text(s, "Name") == names["Name"]), servers[0])
        changed: list[str] = []
        for server in servers:
            right = names if server is own else {**names, **server}
            changed += [name for name in names if server.get(name) != right[name]]
            server.update({name: right[name] for name in names})
            changed += self._put_right(server, entry)
        return tuple(dict.fromkeys(changed))

    def _put_right(self, server: _Server, entry: Entry) -> list[str]:
        """Give a server the login that it should have; gives the names of what changed."""
        present = _parameters(server)
        row = {column: server.get(name) for column, name in _FIELDS.items()}
        wanted = self.differences(entry, row | {"connection_params": json.dumps(present)})
        parameters = parameters_of(wanted.pop("connection_params", None))
        for column, value in wanted.items():
            if value is None:
                del server[_FIELDS[column]]
            else:
                server[_FIELDS[column]] = value
        changed = [_FIELDS[column] for column in wanted]
        if "HostAddr" in server:  # it would beat the host
            del server["HostAddr"]
            changed.append("HostAddr")
        if parameters:
            both = present | parameters
            changed += [name for name in both if present.get(name) != parameters.get(name)]
            server[_PARAMETERS] = parameters
        if server.get(MARK) != str(entry.key):  # last, where nobody looks for it
            server[MARK] = str(entry.key)
            changed.append(MARK)
        return changed


def _parameters(server: _Server) -> dict[str, Any]:
    """A server's parameters; pgAdmin counts the older fields only where there are none."""
    found = server.get(_PARAMETERS)
    if isinstance(found, dict) and found:
        return found
    return {name.lower(): text for name in _OLDER if (text := _text(server, name))}


def _open(current: bytes | None, known: Known = dict) -> _File:
    """Parse the file; none, or nothing but white space, counts as `{}`."""
    content = current or b""
    blank = not content.removeprefix(lines.BOM).strip(b" \t\r\n")
    text = JsonText.parse(b"{}\n" if blank else content)
    if not isinstance(text.value, dict):
        raise unparsable("the file holds no JSON object", 1)
    servers = text.value.get("Servers", {})
    if not isinstance(servers, dict):
        raise unparsable('"Servers" is not an object')
    ours: dict[DatabaseKey, list[str]] = {}
    for number, server in servers.items():
        if (key := _marked(server)) is not None:
            ours.setdefault(key, []).append(number)
    # pgAdmin's own export drops the mark.
    lost = {mark: key for key, marks in known().items() if key not in ours for mark in marks}
    for number, server in servers.items() if lost else ():
        if isinstance(server, dict) and _marked(server) is None:
            key = lost.get(_print(server))
            if key is not None and key not in ours:
                ours[key] = [number]
    return _File(text, servers, ours)


def _print(server: _Server) -> str:
    """Stands for a server. How strictly it connects is left out: a person may demand more."""
    return fingerprint(
        server.get("Name"),
        *(server.get(name) for name in _FIELDS.values() if name != "DBRestrictionType"),
    )


def _marked(server: object) -> DatabaseKey | None:
    """The database a server is marked with; a mark that we did not write is foreign."""
    mark = _text(server, MARK) if isinstance(server, dict) else None
    if mark is None or not mark.isprintable():
        return None
    try:
        return DatabaseKey.parse(mark)
    except ValueError:
        return None


def _text(owner: Mapping[str, Any], key: str) -> str | None:
    """A member's value, when it is a text that any program can hold."""
    value = owner.get(key)
    return value if isinstance(value, str) and not UNSTORABLE.search(value) else None


def _held(server: _Server) -> Held:
    row: _Server = {column: _text(server, name) for column, name in _FIELDS.items()}
    port = server.get("Port")
    row["port"] = port if type(port) is int else None
    return held(row | {"connection_params": json.dumps(_parameters(server))})


def _add(file: _File, new: Sequence[_Server]) -> None:
    """Put new servers behind the others, under the numbers that follow the highest."""
    if not new:
        return
    taken = set(file.servers)
    highest = max((int(key) for key in taken if re.fullmatch("[0-9]{1,9}", key)), default=0)
    free = (key for key in map(str, itertools.count(highest + 1)) if key not in taken)
    file.servers.update(zip(free, new, strict=False))
    file.text.value["Servers"] = file.servers


def _take_out(file: _File, key: DatabaseKey) -> Iterator[str]:
    """Take our server out; a person's copies, which have later numbers, only lose our mark."""
    own, *copies = sorted(file.ours[key], key=lambda number: (len(number), number))
    del file.servers[own]
    for number in copies:
        copy = file.servers[number]
        del copy[MARK]
        yield f"Server {_text(copy, 'Name')!r} is a copy of pgherald's: it stays as it is."


def _warnings(file: _File, entries: Collection[Entry]) -> Iterator[str]:
    if file.text.source.startswith("\ufeff"):
        yield "The file begins with a byte order mark, at which pgAdmin's import gives up."
    for number, server in file.servers.items():
        if flaw := _flaw(server):
            yield f"pgAdmin's import refuses the whole file as long as server {json.dumps(number)} {flaw}."
    names = {(entry.database.name, entry.database.group) for entry in entries}
    ours = {number for numbers in file.ours.values() for number in numbers}
    for number, server in file.servers.items():
        if isinstance(server, dict) and number not in ours and _marked(server) is None:
            name = (_text(server, "Name"), _text(server, "Group"))
            if name in names:
                yield (
                    f"Server {json.dumps(number)} is not pgherald's and has the name and "
                    "group of one that is; pgAdmin will show both."
                )


def _flaw(server: object) -> str | None:
    """Why pgAdmin's import refuses a server, and with it all others.

    pgAdmin: `validate_json_data`; and what its table cannot hold ends the import there.
    """
    if not isinstance(server, dict):
        return "is no object"
    needed = ["Group", "Name", "MaintenanceDB"]
    if server.get("Service") is None:
        shared = server.get("Shared") and not server.get("Username")
        needed += ["Port", "SharedUsername" if shared else "Username", "Host"]
    for key in needed:
        value = server.get(key)
        empty = value is None if key in ("Group", "Name") else not value and "Username" in key
        if key not in server or empty:
            return f'has no "{key}"'
        if key == "Port" and not isinstance(value, int):
            return 'has a "Port" that is not a number'
    for key in _IMPORTED:
        if isinstance(server.get(key), dict | list):
            return f'has a "{key}" that is not a text'
    fits = isinstance(server.get(_PARAMETERS, {}), dict | None)
    return None if fits else f'has "{_PARAMETERS}" that are no object'


def _visible(root: object) -> dict[str, Mapping[str, Any]]:
    """What may be seen of the servers; of one that is not ours its number, and nothing in it."""
    servers = root.get("Servers") if isinstance(root, dict) else None
    found = servers if isinstance(servers, dict) else {}
    numbered: dict[str, Mapping[str, Any]] = {key: {} for key in found if key.isdecimal()}
    return numbered | {key: _SHOWN for key in found if _marked(found[key]) is not None}


def _masked(value: object, shown: Any) -> Any:
    """A value with all keys, texts and numbers masked but those that are shown."""
    if isinstance(value, dict):
        inside: Mapping[str, Any] = shown if isinstance(shown, Mapping) else {}
        return {
            key if key in inside else f"{MASK} {index}": _masked(each, inside.get(key))
            for index, (key, each) in enumerate(value.items(), 1)
        }
    if isinstance(value, list):
        return [_masked(each, None) for each in value]
    plain = shown is True and not _MAY_TELL.search(str(value))
    return value if plain or value is None or isinstance(value, bool) else MASK
