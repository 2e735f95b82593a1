"""pgAdmin's servers.json: what its import, and `setup.py load-servers`, read.

The file is `{"Servers": {"1": {...}, "2": {...}}}`; the numbers mean nothing. A server of ours
carries a mark, a key that pgAdmin ignores, whose value is the database's key. Its fields are
edited one by one; everything else in the file stays byte for byte.

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
from typing import Final, Literal

from pgherald.clients.base import Action, Change, Edit, Held, strictest_of
from pgherald.clients.block import by_key
from pgherald.clients.json_text import (
    BOM,
    Document,
    Json,
    Member,
    Node,
    Object,
    unparsable,
)
from pgherald.clients.servers_shown import shown
from pgherald.errors import Inexpressible
from pgherald.model import DatabaseKey, Entry, Login, strictest

#: The key that makes a server ours; its value is `str(DatabaseKey)`.
MARK: Final = "pgherald"

_PARAMETERS: Final = "ConnectionParameters"

#: Seconds. psycopg, through which pgAdmin connects, does not read it from the service file,
#: and waits 130 seconds without it.
_CONNECT_TIMEOUT: Final = 10

#: What a server of the other kind has, and what would beat the service file.
_NOT_IN_SERVICE_ROWS: Final = ("Host", "Port", "Username", "HostAddr")
_NOT_IN_HOST_ROWS: Final = ("Service",)

#: pgAdmin hands every connection parameter to libpq, where these would beat the login.
_LOGIN_PARAMETERS: Final = ("host", "hostaddr", "port", "user", "password", "dbname", "service")

#: pgAdmin, and libpq, take a comma in these for the end of a name and the start of another.
_LISTS: Final = frozenset({"DBRestriction", "Host"})

#: Fields of a server's own, from before there were parameters, that say how to verify.
_OLDER: Final = ("SSLCert", "SSLKey", "SSLRootCert", "SSLCrl")

#: Set only where a server has none: from then on they are the person's.
_DEFAULTS: Final = frozenset({"connect_timeout"})

#: In a copy of our server these are the person's.
_COPY: Final = frozenset({"Name", "Group"})

# NUL ends a C string, half a surrogate pair has no UTF-8.
_UNSTORABLE = re.compile("[\0\ud800-\udfff]")


@dataclass(frozen=True, slots=True)
class _Server:
    """A server of ours: its member of `Servers`, and that member's value."""

    member: Member
    body: Object


@dataclass(frozen=True, slots=True)
class _File:
    """The parsed file.

    Attributes:
        servers: the value of `Servers`; empty, too, when the file has none yet.
        ours: our servers by database, each in the file's order. There are several for one
            database when a person has copied ours.
    """

    document: Document
    root: Object
    servers: Object
    ours: Mapping[DatabaseKey, Sequence[_Server]]


@dataclass(frozen=True, slots=True)
class ServersJson:
    """The editor of servers.json, in the shape of `base.TextClient`.

    Attributes:
        rows: `service` makes servers that name only their service; `host` makes servers
            that name host, port and user.
        passfile: for host rows, the password file that pgAdmin shall use; in server mode
            its path is relative to the user's storage folder.
    """

    rows: Literal["service", "host"] = "service"
    passfile: str | None = None

    kind: str = field(default="servers_json", init=False)
    label: str = field(default="servers.json", init=False)
    private: bool = field(default=False, init=False)

    def plan(
        self,
        current: bytes | None,
        wanted: Sequence[Entry],
        *,
        also: Mapping[DatabaseKey, Sequence[Login]] | None = None,  # noqa: ARG002 – the protocol's; a server holds one login
        remove: Collection[DatabaseKey] = (),
    ) -> Edit:
        """Work out the file's new bytes; see `TextClient.plan`.

        A server that is removed leaves no trace, except that `"Servers": {}` stays even
        where we had added it.

        Raises:
            Unparsable: the file is not JSON, or not of pgAdmin's form.
            Inexpressible: pgAdmin's import could not hold a name or a login.
            ValueError: a database is wanted twice.
        """
        entries = by_key(wanted)
        file = _open(current)
        changes: list[Change] = []
        new: list[Json] = []
        for key, entry in entries.items():
            fields, parameters = self._fields(entry), self._parameters(entry)
            if key not in file.ours:
                new.append({**fields, _PARAMETERS: parameters, MARK: str(key)})
                changes.append(Change(key, Action.ADD))
            elif changed := self._update(file, key, fields, parameters):
                changes.append(Change(key, Action.UPDATE, changed))
        leaving = [key for key in remove if key in file.ours and key not in entries]
        changes += [Change(key, Action.REMOVE) for key in leaving]
        said = tuple(line for key in leaving for line in _take_out(file, file.ours[key]))
        _add(file, new)
        text = file.document.spliced() if changes else current or b""
        return Edit(text, tuple(changes), tuple(_warnings(file, entries.values())), said)

    def read(self, current: bytes | None) -> Mapping[DatabaseKey, Held]:
        """What the file holds of ours; of several copies the first, with the strictest demand.

        Raises:
            Unparsable: the file is not JSON, or not of pgAdmin's form.
        """
        ours = _open(current).ours
        return {key: strictest_of([_held(s.body) for s in ours[key]]) for key in ours}

    def services(self, current: bytes | None) -> list[str]:
        """The services that servers name; see `TextClient.services`."""
        servers = (member.node for member in _open(current).servers.members)
        names = (_text(server, "Service") for server in servers if isinstance(server, Object))
        return [name for name in names if name]

    def redact(self, text: bytes) -> list[str]:
        """The file's lines for showing; see `TextClient.redact`."""
        return shown(text, lambda server: _marked(server) is not None)

    def _fields(self, entry: Entry) -> dict[str, Json]:
        """A server's own fields, in the order in which a new one has them."""
        database, login = entry.database, entry.login
        fields: dict[str, Json] = {"Name": database.name, "Group": database.group}
        if self.rows == "service":
            fields |= {"Service": database.service}
        else:
            fields |= {"Host": login.host, "Port": login.port, "Username": login.user}
        fields |= {"MaintenanceDB": login.dbname, "DBRestriction": login.dbname}
        for name, value in fields.items():
            if value == "" or (isinstance(value, str) and _UNSTORABLE.search(value)):
                raise _inexpressible(f"{name} of {entry.key} is empty or holds a NUL")
            if name in _LISTS and "," in str(value):
                raise _inexpressible(f"{name} of {entry.key} holds a comma, which would part it")
        return fields

    def _parameters(self, entry: Entry) -> dict[str, Json]:
        """The server's connection parameters, which pgAdmin hands to libpq."""
        parameters: dict[str, Json] = {
            "sslmode": entry.login.sslmode,
            "connect_timeout": _CONNECT_TIMEOUT,
        }
        if self.rows == "host" and self.passfile is not None:
            parameters["passfile"] = self.passfile
        return parameters

    def _update(
        self,
        file: _File,
        key: DatabaseKey,
        fields: Mapping[str, Json],
        parameters: Mapping[str, Json],
    ) -> tuple[str, ...]:
        """Bring every server of one database up to date; gives the names of what changed."""
        servers = file.ours[key]
        # The one under the wanted name, or else the first, is ours; others are the person's copies.
        own = next((s for s in servers if _text(s.body, "Name") == fields["Name"]), servers[0])
        others = _NOT_IN_SERVICE_ROWS if self.rows == "service" else _NOT_IN_HOST_ROWS
        changed: list[str] = []
        ours = str(parameters["sslmode"])
        for server in servers:
            # A person's stricter sslmode stays, in each copy its own.
            mode = strictest(ours, _held(server.body).demands)
            parameters = {**parameters, "sslmode": mode}
            keep = frozenset() if server is own else _COPY
            changed += _put(file.document, server.body, fields, keep)
            changed += _drop(file.document, server.body, others)
            if server.body.get("DBRestrictionType"):
                # As "sql", it would make pgAdmin read the database's name as a condition.
                changed += _put(file.document, server.body, {"DBRestrictionType": "databases"})
            changed += self._update_parameters(file.document, server.body, parameters)
        return tuple(dict.fromkeys(changed))

    def _update_parameters(
        self, document: Document, server: Object, wanted: Mapping[str, Json]
    ) -> list[str]:
        member = server.get(_PARAMETERS)
        if member is None or not isinstance(member.node, Object) or not member.node.members:
            # pgAdmin counts the older fields only where there are no parameters.
            older = {name.lower(): text for name in _OLDER if (text := _text(server, name))}
            document.put(server, _PARAMETERS, {**older, **wanted})
            return [_PARAMETERS]
        passfile = ("passfile",) if self.rows == "service" else ()
        return [
            *_put(document, member.node, wanted, _DEFAULTS),
            *_drop(document, member.node, (*_LOGIN_PARAMETERS, *passfile)),
        ]


def _open(current: bytes | None) -> _File:
    """Parse the file; none, or nothing but white space, counts as `{}`."""
    content = current or b""
    blank = not content.removeprefix(BOM.encode()).strip(b" \t\r\n")
    document = Document("{}\n") if blank else Document.parse(content)
    root = document.root
    if not isinstance(root, Object):
        raise unparsable(document.text, "the file holds no JSON object", root.start)
    _refuse_twins(document, root)
    member = root.get("Servers")
    if member is None:
        return _File(document, root, Object(document.text, 0, 0, ()), {})
    servers = member.node
    if not isinstance(servers, Object):
        raise unparsable(document.text, '"Servers" is not an object', member.start)
    _refuse_twins(document, servers)
    ours: dict[DatabaseKey, list[_Server]] = {}
    for each in servers.members:
        if isinstance(each.node, Object) and (key := _marked(each.node)) is not None:
            _refuse_twins(document, each.node)
            parameters = each.node.get(_PARAMETERS)
            if parameters is not None and isinstance(parameters.node, Object):
                _refuse_twins(document, parameters.node)
            ours.setdefault(key, []).append(_Server(each, each.node))
    return _File(document, root, servers, ours)


def _refuse_twins(document: Document, owner: Object) -> None:
    """Refuse equal keys: programs differ on which of them counts."""
    seen: set[str] = set()
    for member in owner.members:
        if member.key in seen:
            raise unparsable(document.text, "a key stands twice in one object", member.start)
        seen.add(member.key)


def _marked(server: Object) -> DatabaseKey | None:
    """The database a server is marked with; a mark that we did not write is foreign."""
    mark = _text(server, MARK)
    if mark is None or not mark.isprintable():
        return None
    try:
        return DatabaseKey.parse(mark)
    except ValueError:
        return None


def _text(owner: Object, key: str) -> str | None:
    """A member's value, when it is a text that any program can hold."""
    member = owner.get(key)
    if member is None or not member.node.raw.startswith('"'):
        return None
    value: str = member.node.value
    return None if _UNSTORABLE.search(value) else value


def _inexpressible(reason: str) -> Inexpressible:
    return Inexpressible(reason, "Enter this server in pgAdmin by hand.")


def _held(server: Object) -> Held:
    port = server.get("Port")
    number = port.node.value if port else None
    member = server.get(_PARAMETERS)
    where: Node = server
    names = "SSLMode", "SSLRootCert"  # counted by pgAdmin where there are no parameters
    if member is not None and not (isinstance(member.node, Object) and not member.node.members):
        where, names = member.node, ("sslmode", "sslrootcert")
    sslmode, root = (_text(where, n) if isinstance(where, Object) else None for n in names)
    return Held(
        host=_text(server, "Host"),
        port=number if type(number) is int else None,
        dbname=_text(server, "MaintenanceDB"),
        user=_text(server, "Username"),
        sslmode=sslmode,
        service=_text(server, "Service"),
        sslrootcert=root or None,
    )


def _put(
    document: Document,
    owner: Object,
    wanted: Mapping[str, Json],
    keep: Collection[str] = frozenset(),
) -> list[str]:
    """Set members, except those in `keep` that are there; gives the names of what changed."""
    return [
        name
        for name, value in wanted.items()
        if not (name in keep and owner.get(name)) and document.put(owner, name, value)
    ]


def _drop(document: Document, owner: Object, names: Sequence[str]) -> list[str]:
    """Take members away; gives the names of those that were there."""
    members = [member for name in names if (member := owner.get(name))]
    for member in members:
        document.drop(owner, member)
    return [member.key for member in members]


def _add(file: _File, new: Sequence[Json]) -> None:
    """Put new servers behind the others, under the numbers that follow the highest."""
    if not new:
        return
    taken = {member.key for member in file.servers.members}
    highest = max((int(key) for key in taken if re.fullmatch("[0-9]{1,9}", key)), default=0)
    free = (key for key in map(str, itertools.count(highest + 1)) if key not in taken)
    numbered = dict(zip(free, new, strict=False))
    if not file.servers.members:
        file.document.put(file.root, "Servers", numbered)
        return
    for number, server in numbered.items():
        file.document.put(file.servers, number, server)


def _take_out(file: _File, servers: Sequence[_Server]) -> Iterator[str]:
    """Take our server out; a person's copies, which have later numbers, only lose our mark."""
    own, *copies = sorted(servers, key=lambda each: (len(each.member.key), each.member.key))
    file.document.drop(file.servers, own.member)
    for copy in copies:
        _drop(file.document, copy.body, (MARK,))
        yield f"Server {_text(copy.body, 'Name')!r} is a copy of pgherald's: it stays as it is."


def _warnings(file: _File, entries: Collection[Entry]) -> Iterator[str]:
    if file.document.text.startswith(BOM):
        yield "The file begins with a byte order mark, at which pgAdmin's import gives up."
    names = {(entry.database.name, entry.database.group) for entry in entries}
    for member in file.servers.members:
        server = member.node
        if isinstance(server, Object) and _marked(server) is None:
            name = (_text(server, "Name"), _text(server, "Group"))
            if name in names:
                yield (
                    f"Server {json.dumps(member.key)} is not pgherald's and has the name and "
                    "group of one that is; pgAdmin will show both."
                )
