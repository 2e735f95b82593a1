"""What would have to be written: every client's file compared with the wanted logins.

Planning reads files and writes nothing. `plan`, `check`, the daemon and the tests all use
this one function, so what a dry run shows is what a commit does.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain, count
from pathlib import Path

from pgherald.clients.base import Action, Change, Edit, Held
from pgherald.errors import ClientError, Inexpressible
from pgherald.files import Files, Snapshot
from pgherald.model import DatabaseKey, Entry, Login
from pgherald.sync.journal import Step
from pgherald.sync.targets.base import Target

#: The name that the rest of the program still uses.
Client = Target


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
class Plan:
    """What all clients hold and should hold.

    Attributes:
        files: one per client that can be planned, and written if need be.
        failed: clients that cannot, and why.
        refused: logins that a client's format cannot hold: (client, database, why).
        held: per database what the clients hold of it; of those that name its host, the first.
        holders: per database what each client holds of it, with what a person calls the client.
        services: the service of each database that has another one than it should have.
    """

    files: tuple[FilePlan, ...] = ()
    failed: tuple[tuple[Target, ClientError], ...] = ()
    refused: tuple[tuple[Target, DatabaseKey, Inexpressible], ...] = ()
    held: Mapping[DatabaseKey, Held] = field(default_factory=dict)
    holders: Mapping[DatabaseKey, Sequence[tuple[str, Held]]] = field(default_factory=dict)
    services: Mapping[DatabaseKey, str] = field(default_factory=dict)

    @property
    def keys(self) -> frozenset[DatabaseKey]:
        """Databases whose entry changes in at least one client."""
        return frozenset().union(*(plan.keys for plan in self.files))

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
        if naming.fits(parts):
            return naming.named(join_plans(parts))


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
        self.wanted = wanted

    def fits(self, parts: Sequence[ClientPlan]) -> bool:
        """Whether no such section is in the way of a plan; else it is made anew, of `wanted`."""
        taken = {name for part in parts if part.file for name in part.file.edit.taken}
        if not any(part.client.editor.kind == "service_file" and part.file for part in parts):
            # As long as nobody knows its sections, each keeps the name that other clients hold.
            for entry in self._asked:
                service = entry.database.service
                held = [part.holds[entry.key].service for part in parts if entry.key in part.holds]
                if any(re.fullmatch(rf"{re.escape(service)}-heroku(-\d+)?", h or "") for h in held):
                    taken.add(service)
        if taken <= self._taken:
            return True
        self._taken |= taken
        used = {entry.database.service for entry in self._asked} | self._taken
        self.wanted = [self._apart(entry, used) for entry in self._asked]
        return False

    def _apart(self, entry: Entry, used: set[str]) -> Entry:
        if (service := entry.database.service) not in self._taken:
            return entry
        names = chain([f"{service}-heroku"], (f"{service}-heroku-{n}" for n in count(2)))
        other = next(name for name in names if name not in used)
        used.add(other)
        return Entry(dataclasses.replace(entry.database, service=other), entry.login)

    def named(self, plan: Plan) -> Plan:
        """The same plan, in which the person can read of it."""
        asked = {entry.key: entry.database.service for entry in self._asked}
        given = {entry.key: entry.database.service for entry in self.wanted}
        services = {key: given[key] for key in asked if given[key] != asked[key]}
        cautions = tuple(
            ClientError(
                f"Your own section [{asked[key]}] keeps its name, so that of {key} is [{name}]",
                "To choose its name, give the database another `service` in the configuration.",
            )
            for key, name in services.items()
        )

        def noted(file: FilePlan) -> FilePlan:
            if file.client.editor.kind != "service_file":
                return file
            return dataclasses.replace(file, cautions=(*file.cautions, *cautions))

        files = tuple(map(noted, plan.files))
        return dataclasses.replace(plan, files=files, services=services)


def plan_client(
    files: Files,
    client: Target,
    wanted: Sequence[Entry],
    *,
    remove: Collection[DatabaseKey] = (),
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
            client.refuse_unwritable(files, snapshot)
        file = dataclasses.replace(file, cautions=client.cautions(files, snapshot))
    except ClientError as exc:
        error = exc if exc.path else exc.at(client.path)
        return ClientPlan(client, None, error, tuple(refused), holds)
    return ClientPlan(client, file, None, tuple(refused), holds)


def join_plans(parts: Iterable[ClientPlan]) -> Plan:
    """All clients' plans as one."""
    parts = list(parts)
    held: dict[DatabaseKey, Held] = {}
    holders: dict[DatabaseKey, list[tuple[str, Held]]] = {}
    for part in parts:
        for key, what in part.holds.items():
            holders.setdefault(key, []).append((part.client.place(what), what))
            if key not in held or held[key].host is None:
                held[key] = what
    return Plan(
        tuple(part.file for part in parts if part.file is not None),
        tuple((part.client, part.error) for part in parts if part.error is not None),
        tuple((part.client, key, error) for part in parts for key, error in part.refused),
        held,
        holders,
    )


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
    client: Target,
    wanted: Sequence[Entry],
    refused: list[tuple[DatabaseKey, Inexpressible]],
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
