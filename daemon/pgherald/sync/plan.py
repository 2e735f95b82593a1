"""What would have to be written: every client's file compared with the wanted logins.

Planning reads files and writes nothing. `plan`, `check`, the daemon and the tests all use
this one function, so what a dry run shows is what a commit does.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from pgherald.clients.base import Action, Change, Edit, Held, TextClient
from pgherald.errors import ClientError, Inexpressible
from pgherald.files import Files, Snapshot
from pgherald.files.pictures import difference
from pgherald.model import DatabaseKey, Entry, Login
from pgherald.sync.servers import ServerRows, diff_rows
from pgherald.sync.steps import Step

#: Lines of unchanged text shown around a change.
_CONTEXT = 1


@dataclass(frozen=True, slots=True)
class Client:
    """A client's file: which editor, and where.

    Attributes:
        editor: knows the format.
        path: the file, as the configuration names it.
        label: what a person calls it; with the path when there are several of its kind.
        rows: reads it, where it is rows in a database; None for a file.
        reopened_for: fields of a login after whose change the person has to reopen the server
            in pgAdmin, which connects again by itself with what its row said at first.
    """

    editor: TextClient
    path: Path
    label: str
    rows: ServerRows | None = None
    reopened_for: frozenset[str] = frozenset()

    @property
    def watched(self) -> tuple[Path, ...]:
        """The files that tell when somebody has changed it.

        Whoever writes into an SQLite database keeps it open, which tells nobody anything; but
        its journal comes and goes with each transaction.
        """
        if self.rows is None:
            return (self.path,)
        return (self.path, self.path.with_name(f"{self.path.name}-journal"))

    def read(self, files: Files, *, removing: bool = False) -> Snapshot:
        """What it holds now.

        Args:
            files: reads files.
            removing: whether entries are to go, for which more has to be known of rows.

        Raises:
            ClientError: it cannot be read.
        """
        if self.rows is None:
            return files.read(self.path)
        return self.rows.read(self.path, removing=removing)

    def place(self, held: Held) -> str:
        """Where it holds something, as a person finds it: `[shop] in ~/.pg_service.conf`."""
        if self.editor.kind != "service_file" or held.service is None:
            return self.label
        home = Path.home()
        inside = self.path.is_relative_to(home)
        path = Path("~", self.path.relative_to(home)) if inside else self.path
        return f"[{held.service}] in {path}"

    def refuse_unwritable(self, files: Files, snapshot: Snapshot) -> None:
        """Pass a client that may be written, as far as that can be known without trying.

        Raises:
            FileTrouble: it cannot be written.
        """
        (files if self.rows is None else self.rows).refuse_unwritable(snapshot)

    @property
    def subject(self) -> str:
        """The subject of this client's troubles."""
        return f"client:{self.path}"


@dataclass(frozen=True, slots=True)
class FilePlan:
    """What one client's file holds and should hold.

    Attributes:
        client: which client.
        snapshot: the file as it was read.
        edit: the new bytes and what changes.
        expand: bytes to write first, in which the logins that are about to go can still be
            read beside the new ones; None when there is nothing to keep readable.
        loose: the file holds passwords and others may read it.
    """

    client: Client
    snapshot: Snapshot
    edit: Edit
    expand: bytes | None = field(repr=False)
    loose: bool

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

    @property
    def images(self) -> tuple[bytes | None, bytes]:
        """What a commit takes from one to the other: whole files, or the rows that change."""
        if self.client.rows is None or self.snapshot.content is None:
            return self.snapshot.content, self.edit.new
        return difference(self.snapshot.content, self.edit.new)

    def steps(self) -> list[Step]:
        """What a commit has to do, the record of whose rows are whose included.

        Raises:
            ClientError: another process has recorded something since; or it cannot be read.
        """
        before, after = self.images
        rows = self.client.rows
        step = Step(
            self.client.label,
            dataclasses.replace(self.snapshot, content=before),
            after,
            self.client.editor.private,
            expand=self.expand,
            medium="file" if rows is None else "rows",
        )
        return [step] if rows is None else [step, *rows.record(self.snapshot, self.edit.new)]

    def concerns(self, path: Path | None) -> bool:
        """Whether an error about this path is an error of this client."""
        rows = self.client.rows
        record = None if rows is None else rows.record_of(self.snapshot)
        return path is not None and path in (self.client.path, self.snapshot.target, record)

    def diff(self) -> Iterator[str]:
        """Lines of a unified diff in which every secret is masked."""
        old, new = self.images
        if self.client.rows is None or old is None:
            return diff_lines(self.client.editor, old or b"", new)
        return diff_rows(old, new)


@dataclass(frozen=True, slots=True)
class Plan:
    """What all clients hold and should hold.

    Attributes:
        files: one per client that can be planned, and written if need be.
        failed: clients that cannot, and why.
        refused: logins that a client's format cannot hold: (client, database, why).
        held: per database what the clients hold of it; of those that name its host, the first.
        holders: per database what each client holds of it, with what a person calls the client.
    """

    files: tuple[FilePlan, ...] = ()
    failed: tuple[tuple[Client, ClientError], ...] = ()
    refused: tuple[tuple[Client, DatabaseKey, Inexpressible], ...] = ()
    held: Mapping[DatabaseKey, Held] = field(default_factory=dict)
    holders: Mapping[DatabaseKey, Sequence[tuple[str, Held]]] = field(default_factory=dict)

    @property
    def keys(self) -> frozenset[DatabaseKey]:
        """Databases whose entry changes in at least one client."""
        return frozenset().union(*(plan.keys for plan in self.files))

    def client_of(self, exc: ClientError) -> Client:
        """The client whose file failed; without one nothing could be written, so it is raised."""
        for file in self.files:
            if file.concerns(exc.path):
                return file.client
        raise exc

    @property
    def warnings(self) -> tuple[str, ...]:
        """Sentences that ask for no change."""
        return tuple(warning for plan in self.files for warning in plan.edit.warnings)

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

    client: Client
    file: FilePlan | None = None
    error: ClientError | None = None
    refused: tuple[tuple[DatabaseKey, Inexpressible], ...] = ()
    holds: Mapping[DatabaseKey, Held] = field(default_factory=dict)


def make_plan(
    files: Files,
    clients: Sequence[Client],
    wanted: Sequence[Entry],
    *,
    remove: Collection[DatabaseKey] = (),
) -> Plan:
    """Compare every client's file with the wanted logins.

    A client that cannot be read or understood, or surely cannot be written, is named in the
    plan and hinders no other.
    """
    return join_plans([plan_client(files, client, wanted, remove=remove) for client in clients])


def plan_client(
    files: Files,
    client: Client,
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
    client: Client,
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
    client: Client,
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


def diff_lines(editor: TextClient, old: bytes, new: bytes) -> Iterator[str]:
    """Lines of a unified diff in which every secret is masked.

    Lines are compared as they are and shown redacted, so a password that changes is seen
    to change.
    """
    import difflib  # the daemon shows no differences

    old_shown, new_shown = editor.redact(old), editor.redact(new)
    matcher = difflib.SequenceMatcher(None, _lines(old), _lines(new), autojunk=False)
    for group in matcher.get_grouped_opcodes(_CONTEXT):
        first, last = group[0], group[-1]
        yield f"@@ -{first[1] + 1},{last[2] - first[1]} +{first[3] + 1},{last[4] - first[3]} @@"
        for tag, old_from, old_to, new_from, new_to in group:
            if tag == "equal":
                yield from (f" {line}" for line in old_shown[old_from:old_to])
                continue
            yield from (f"-{line}" for line in old_shown[old_from:old_to])
            yield from (f"+{line}" for line in new_shown[new_from:new_to])


def _lines(text: bytes) -> list[bytes]:
    lines = text.split(b"\n")
    if not lines[-1]:
        lines.pop()
    return lines


def in_words(change: Change) -> str:
    """One change in words: `update shop/DATABASE (user, password)`."""
    told = change.action in (Action.UPDATE, Action.ADOPT)
    fields = f" ({', '.join(change.fields)})" if told else ""
    return f"{change.action} {change.key}{fields}"
