"""What would have to be written: every client's file compared with the wanted logins.

Planning reads files and writes nothing. `plan`, `check`, the daemon and the tests all use
this one function, so what a dry run shows is what a commit does.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import chain, count
from pathlib import Path
from typing import Final

from pgherald.clients.base import Action, Change, Edit, Held
from pgherald.errors import ClientError, Inexpressible
from pgherald.files import Files, Snapshot
from pgherald.model import ClientPhase, DatabaseKey, Entry, Login
from pgherald.sync.journal import Step
from pgherald.sync.storage import Storages
from pgherald.sync.targets.base import Target

_CHOOSE: Final = "To choose its name, give the database another `service` in the configuration."


@dataclass(frozen=True, slots=True)
class FilePlan:
    """What one target holds and should hold.

    Attributes:
        client: which target.
        snapshot: its content as it was read.
        edit: the new content and what changes.
        expand: bytes to write first, in which the logins that are about to go can still be
            read beside the new ones; None when there is nothing to keep readable.
        loose: the file holds passwords and others may read it.
        cautions: what hinders nothing, and the person should hear of once.
    """

    client: Target
    snapshot: Snapshot
    edit: Edit
    expand: bytes | None = field(repr=False)
    loose: bool
    cautions: tuple[ClientError, ...] = ()

    @property
    def warnings(self) -> tuple[str, ...]:
        """Sentences that ask for no change."""
        cautions = (f"{each.reason}. {each.advice}" for each in self.cautions)
        return (*self.edit.warnings, *cautions)

    @property
    def keys(self) -> frozenset[DatabaseKey]:
        """Databases whose entry changes."""
        return frozenset(change.key for change in self.edit.changes)

    @property
    def idle(self) -> bool:
        """Whether there is nothing to do."""
        return not self.edit.changes and not self.loose

    @property
    def absent(self) -> bool:
        """Whether there is nothing there, and nothing is wanted there: a pgAdmin never started."""
        return self.snapshot.content is None and not self.edit.changes

    def steps(self) -> list[Step]:
        """What a transaction has to do; see `Target.steps`."""
        return self.client.steps(self.snapshot, self.edit.new, self.expand)

    def records(self) -> list[Step]:
        """What has to be recorded where no transaction does; see `Target.records`."""
        return self.client.records(self.snapshot, self.edit.new)

    def concerns(self, path: Path | None) -> bool:
        """Whether an error about this path is an error of this target."""
        places = (self.client.path, self.snapshot.target, self.client.record_path(self.snapshot))
        return path is not None and path in places

    def diff(self) -> Iterator[str]:
        """Lines of a unified diff in which every secret is masked."""
        return self.client.diff(self.snapshot, self.edit.new)


@dataclass(frozen=True, slots=True)
class ClientPlan:
    """What one client comes to.

    Attributes:
        client: which client.
        file: its file; None when it cannot be planned, or not be written.
        error: why not.
        refused: logins that its format cannot hold.
        holds: what it holds, per database.
    """

    client: Target
    file: FilePlan | None = None
    error: ClientError | None = None
    refused: tuple[tuple[DatabaseKey, Inexpressible], ...] = ()
    holds: Mapping[DatabaseKey, Held] = field(default_factory=dict)


@dataclass(frozen=True)
class Plan:
    """What all clients hold and should hold.

    Attributes:
        parts: one for each client.
        written: whether it was carried out; else it was only made.
        services: the service of each database that has another one than it should have.
    """

    parts: tuple[ClientPlan, ...] = ()
    written: bool = False
    services: Mapping[DatabaseKey, str] = field(default_factory=dict)

    @cached_property
    def files(self) -> list[FilePlan]:
        """One for each client that can be planned, and written if need be."""
        return [part.file for part in self.parts if part.file is not None]

    @cached_property
    def failed(self) -> list[tuple[Target, ClientError]]:
        """Clients that cannot, and why."""
        return [(part.client, part.error) for part in self.parts if part.error is not None]

    @cached_property
    def refused(self) -> list[tuple[Target, DatabaseKey, Inexpressible]]:
        """Logins that a client's format cannot hold: (client, database, why)."""
        return [(part.client, key, error) for part in self.parts for key, error in part.refused]

    @cached_property
    def refusals(self) -> dict[DatabaseKey, tuple[Target, Inexpressible]]:
        """The same by database."""
        return {key: (client, error) for client, key, error in self.refused}

    @cached_property
    def holders(self) -> dict[DatabaseKey, list[tuple[str, Held]]]:
        """Per database what each client holds of it, with what a person calls the client."""
        found: dict[DatabaseKey, list[tuple[str, Held]]] = {}
        for part in self.parts:
            for key, what in part.holds.items():
                found.setdefault(key, []).append((part.client.place(what), what))
        return found

    @cached_property
    def held(self) -> dict[DatabaseKey, Held]:
        """Per database what the clients hold of it; of those that name its host, the first."""
        return {
            key: next((what for _, what in found if what.host is not None), found[-1][1])
            for key, found in self.holders.items()
        }

    @cached_property
    def keys(self) -> frozenset[DatabaseKey]:
        """Databases whose entry changes in at least one client."""
        return frozenset().union(*(keys for keys, _ in self._changing))

    @cached_property
    def _changing(self) -> list[tuple[frozenset[DatabaseKey], set[DatabaseKey]]]:
        """For each file the databases that change in it, and those of them that it has not."""
        return [
            (file.keys, {each.key for each in file.edit.changes if each.action is Action.ADD})
            for file in self.files
        ]

    def clients(self, key: DatabaseKey) -> dict[str, ClientPhase]:
        """How each client stands with a database, by the client's path."""
        found = {str(client.path): ClientPhase.FAILED for client, _ in self.failed}
        if key in self.refusals:
            found[str(self.refusals[key][0].path)] = ClientPhase.FAILED
        for file, (changing, new) in zip(self.files, self._changing, strict=True):
            if file.absent:
                phase = ClientPhase.MISSING
            elif key in changing and not self.written:
                phase = ClientPhase.NEW if key in new else ClientPhase.OLD
            else:
                phase = ClientPhase.CURRENT
            found.setdefault(str(file.client.path), phase)
        return found

    def in_words(self, key: DatabaseKey) -> str:
        """How the clients stand with a database, for the log."""
        clients = self.clients(key)
        amiss = [f"{p}: {each}" for p, each in clients.items() if each is not ClientPhase.CURRENT]
        return "; ".join(amiss) or "every client holds its login"

    def client_of(self, exc: ClientError) -> Target:
        """The client whose file failed; without one nothing could be written, so it is raised."""
        for file in self.files:
            if file.concerns(exc.path):
                return file.client
        raise exc

    @property
    def warnings(self) -> tuple[str, ...]:
        """Sentences that ask for no change."""
        return tuple(warning for plan in self.files for warning in plan.warnings)

    @property
    def idle(self) -> bool:
        """Whether every client that can be planned is current."""
        return all(plan.idle for plan in self.files)


def make_plan(
    files: Files,
    clients: Sequence[Target],
    wanted: Sequence[Entry],
    *,
    remove: Collection[DatabaseKey] = (),
) -> Plan:
    """Compare every client's file with the wanted logins.

    A client that cannot be read or understood, or surely cannot be written, is named in the
    plan and hinders no other.
    """
    naming = Naming(wanted)
    while True:
        entries = naming.wanted
        parts = [plan_client(files, client, entries, remove=remove) for client in clients]
        if (plan := naming.plan(parts)) is not None:
            return plan


class Naming:
    """Gives a database another service where a section of the person's has the name.

    libpq would read only the first of the two, and programs that read the file by a library for
    INI files (pgcli, QGIS' pgserviceparser, pgtoolkit) refuse all of it.

    Args:
        wanted: the entries with the services that they should have.
    """

    def __init__(self, wanted: Sequence[Entry]) -> None:
        self._asked = wanted
        self._taken: set[str] = set()
        self._kept: dict[DatabaseKey, str] = {}
        self.wanted = wanted

    def plan(self, parts: Sequence[ClientPlan]) -> Plan | None:
        """The plan; None where such a section is in the way, so that `wanted` is planned anew."""
        taken = self._taken.union(*(part.file.edit.taken for part in parts if part.file))
        kept = self._known_by(parts)
        if (taken, kept) == (self._taken, self._kept):
            return self._named(parts)
        self._taken, self._kept = taken, kept
        used = {entry.database.service for entry in self._asked} | taken | {*kept.values()}
        self.wanted = [self._apart(entry, used) for entry in self._asked]
        return None

    def _known_by(self, parts: Sequence[ClientPlan]) -> dict[DatabaseKey, str]:
        """The names that clients hold, which stay as long as nobody knows the file's sections."""
        if any(part.client.editor.kind == "service_file" and part.file for part in parts):
            return {}
        held = ((key, what.service) for part in parts for key, what in part.holds.items())
        return {key: service for key, service in held if service is not None}

    def _apart(self, entry: Entry, used: set[str]) -> Entry:
        service = entry.database.service
        if (other := self._kept.get(entry.key)) is None:
            if service not in self._taken:
                return entry
            names = chain([f"{service}-heroku"], (f"{service}-heroku-{n}" for n in count(2)))
            other = next(name for name in names if name not in used)
            used.add(other)
        return Entry(dataclasses.replace(entry.database, service=other), entry.login)

    def _named(self, parts: Sequence[ClientPlan]) -> Plan:
        """The plan of these parts, in which the person can read of other names."""
        services: dict[DatabaseKey, str] = {}
        cautions: list[ClientError] = []
        for asked, given in zip(self._asked, self.wanted, strict=True):
            service, other = asked.database.service, given.database.service
            if other != service:
                services[asked.key] = other
                reason = (
                    f"Your own section [{service}] keeps its name, so that of {asked.key} is"
                    f" [{other}]"
                )
                cautions.append(ClientError(reason, _CHOOSE))

        def noted(part: ClientPlan) -> ClientPlan:
            if part.file is None or part.client.editor.kind != "service_file":
                return part
            file = dataclasses.replace(part.file, cautions=(*part.file.cautions, *cautions))
            return dataclasses.replace(part, file=file)

        return Plan(tuple(map(noted, parts)), services=services)


def plan_client(
    files: Files, client: Target, wanted: Sequence[Entry], *, remove: Collection[DatabaseKey] = ()
) -> ClientPlan:
    """Compare one client's file with the wanted logins."""
    refused: list[tuple[DatabaseKey, Inexpressible]] = []
    holds: Mapping[DatabaseKey, Held] = {}
    try:
        snapshot = client.read(files, removing=bool(remove))
        holds = client.editor.read(snapshot.content)
        try:
            file = _plan_file(client, snapshot, wanted, holds, remove)
        except Inexpressible:
            good = _expressible(client, wanted, refused)
            file = _plan_file(client, snapshot, good, holds, remove)
        if file.edit.changes:
            Storages(files)[client.medium].refuse_unwritable(snapshot)
        file = dataclasses.replace(file, cautions=client.cautions(files, snapshot))
    except ClientError as exc:
        error = exc.at(client.path)
        return ClientPlan(client, None, error, tuple(refused), holds)
    return ClientPlan(client, file, None, tuple(refused), holds)


def _plan_file(
    client: Target,
    snapshot: Snapshot,
    wanted: Sequence[Entry],
    holds: Mapping[DatabaseKey, Held],
    remove: Collection[DatabaseKey],
) -> FilePlan:
    current = snapshot.content
    edit = client.editor.plan(current, wanted, remove=remove)
    expand: bytes | None = None
    if also := _leaving(wanted, holds):
        both = client.editor.plan(current, wanted, also=also, remove=remove).new
        if both not in (edit.new, current):
            expand = both
    loose = client.editor.private and snapshot.loose
    return FilePlan(client, snapshot, edit, expand, loose)


def _leaving(
    wanted: Sequence[Entry], holds: Mapping[DatabaseKey, Held]
) -> dict[DatabaseKey, tuple[Login, ...]]:
    """Logins that the edit takes away and that some reader may still be on its way to."""
    leaving: dict[DatabaseKey, tuple[Login, ...]] = {}
    for entry in wanted:
        what, login = holds.get(entry.key), entry.login
        if what is None or what.host is None or what.user is None or what.password is None:
            continue
        old = Login(
            what.host,
            what.port or login.port,
            what.dbname or login.dbname,
            what.user,
            what.password,
            what.sslmode or login.sslmode,
        )
        if (old.host, old.port, old.user) != (login.host, login.port, login.user):
            leaving[entry.key] = (old,)
    return leaving


def _expressible(
    client: Target, wanted: Sequence[Entry], refused: list[tuple[DatabaseKey, Inexpressible]]
) -> Sequence[Entry]:
    """The entries that the format can hold; the others are named and left as they are."""
    good: list[Entry] = []
    for entry in wanted:
        try:
            client.editor.plan(None, [entry])
        except Inexpressible as exc:
            refused.append((entry.key, exc))
        else:
            good.append(entry)
    return good


def in_words(change: Change) -> str:
    """One change in words: `update shop/DATABASE (user, password)`."""
    told = change.action in (Action.UPDATE, Action.ADOPT)
    fields = f" ({', '.join(change.fields)})" if told else ""
    return f"{change.action} {change.key}{fields}"
