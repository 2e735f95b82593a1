"""One full reconcile in the foreground, and what around the clients hinders them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pgherald.daemon.wiring import Machinery
from pgherald.errors import PgheraldError
from pgherald.model import About, AlertSink, Database, DatabaseKey, Phase, Subject
from pgherald.sync.plan import Plan
from pgherald.sync.targets import Target, pgadmins
from pgherald.sync.tracked import Tracked
from pgherald.watch.pgadmin_process import Astray, astray

#: A first word about logins that are still being proven comes after this, in seconds.
_PATIENCE = 2.0


@dataclass(frozen=True, slots=True)
class DatabaseReport:
    """How one database stands after a check.

    Attributes:
        database: which one.
        standing: None when Heroku did not show its login.
        error: what hinders it, if anything does.
    """

    database: Database
    standing: Phase | None
    error: PgheraldError | None

    @property
    def current(self) -> bool:
        """Whether every client holds its login."""
        return self.error is None and self.standing is not None and self.standing.is_current


@dataclass(frozen=True, slots=True)
class ClientReport:
    """How one client stands after a check."""

    label: str
    path: Path
    error: PgheraldError | None


@dataclass(frozen=True, slots=True)
class CheckReport:
    """Everything a check found.

    Attributes:
        databases: each database.
        clients: each client.
        errors: what concerns neither a database nor a client alone, such as an account, by
            subject as in `pgherald.model.News`.
        warnings: sentences that ask for no change.
    """

    databases: tuple[DatabaseReport, ...]
    clients: tuple[ClientReport, ...]
    errors: Mapping[Subject, PgheraldError]
    warnings: tuple[str, ...]

    @property
    def current(self) -> bool:
        """Whether every client of every database is current."""
        return (
            not self.errors
            and all(database.current for database in self.databases)
            and all(client.error is None for client in self.clients)
        )


async def check(
    machine: Machinery, say: Callable[[str], None], *, prune: bool = False
) -> CheckReport:
    """Sweep once, prove and write what differs, and look whether all is current.

    Args:
        machine: everything, wired; its engine must not be running yet.
        say: takes a line of progress when something takes long.
        prune: whether to take out of the clients what is no longer configured.
    """
    work = asyncio.create_task(machine.reconciler.run())
    checking = asyncio.create_task(_check(machine, say, prune=prune))
    try:
        await asyncio.wait({work, checking}, return_when=asyncio.FIRST_COMPLETED)
        if not checking.done():
            work.result()  # the engine never ends but by a mistake of its own
        return checking.result()
    finally:
        work.cancel()
        checking.cancel()
        await asyncio.gather(work, checking, return_exceptions=True)


def doing(machine: Machinery) -> str:
    """What a check is busy with, in a few words. May be called from any thread."""
    if asking := machine.poller.doing:
        return asking
    if proving := len(machine.reconciler.verifying):
        return f"Proving {proving} login{'' if proving == 1 else 's'}"
    return "Comparing the clients"


async def _check(machine: Machinery, say: Callable[[str], None], *, prune: bool) -> CheckReport:
    machine.poller.sweep()
    await machine.poller.finished()
    await machine.reconciler.settled(verifying=False)
    waiting = asyncio.ensure_future(machine.reconciler.settled())
    done, _ = await asyncio.wait({waiting}, timeout=_PATIENCE)
    if not done:
        for key in machine.reconciler.verifying:
            say(f"{key}: waiting for Postgres to accept the login (up to two minutes) …")
        await waiting
    if prune:
        await _prune(machine, say)
    return await _report(machine)


async def _prune(machine: Machinery, say: Callable[[str], None]) -> None:
    """Take strangers out of the clients."""
    plan = await machine.applier.plan(machine.reconciler.wanted)
    strangers = _strangers(machine, plan.held)
    # What is left of those in the state alone goes without a word.
    recorded = (state.key for state in machine.store.recalled())
    if gone := _strangers(machine, {*plan.held, *recorded}):
        done = await machine.applier.remove(gone)
        but = ", ".join(sorted(client.label for client, _ in done.failed))
        for key in strangers:
            say(f"{key}: removed from every client{f' but {but}' if but else ''}")
        for outcome in (outcome for file in done.files for outcome in file.edit.outcomes):
            say(outcome)


def _strangers(machine: Machinery, held: Iterable[DatabaseKey]) -> list[DatabaseKey]:
    """Databases that are held and that the configuration no longer has.

    While Heroku does not tell what the rules find, nobody knows who is one.
    """
    unknown = {About.DISCOVERY, About.ACCOUNT, About.LOGIN}
    if any(subject.about in unknown for subject in machine.poller.errors):
        return []
    known = {database.key for database in machine.poller.databases}
    return sorted(key for key in held if key not in known)


async def _report(machine: Machinery) -> CheckReport:
    reconciler, errors = machine.reconciler, dict(machine.poller.errors)
    plan = await machine.applier.plan(reconciler.wanted)
    failed = dict(plan.failed)
    tracked = reconciler.snapshot()
    databases = [
        _database(database, tracked.get(database.key), errors, plan)
        for database in machine.poller.databases
    ]
    clients = tuple(
        ClientReport(
            client.label, client.path, failed.get(client) or machine.applier.broken.get(client)
        )
        for client in machine.clients
    )
    warnings = list(plan.warnings)
    warnings += [
        f"{key} is no longer in the configuration; `pgherald check --prune` removes it "
        "from the clients."
        for key in _strangers(machine, plan.held)
    ]
    warnings += [f"{item.title}. {item.advice}" for item in astray_pgadmins(machine.clients)]
    if reconciler.broken is not None:
        errors[Subject(About.COMMIT)] = reconciler.broken
    return CheckReport(tuple(databases), clients, errors, tuple(warnings))


def _database(
    database: Database, tracked: Tracked | None, errors: Mapping[Subject, PgheraldError], plan: Plan
) -> DatabaseReport:
    if tracked is None:
        return DatabaseReport(database, None, None)
    phase, error = tracked.phase, tracked.error
    if tracked.absence is not None:
        phase = None  # Heroku did not show it
        account = Subject(About.ACCOUNT, database.key.account)
        if tracked.is_unanswered and (error in errors.values() or account in errors):
            error = None  # its account's, which is named for itself
    elif phase is not None and phase.is_current and database.key in plan.keys:
        phase = Phase.BEHIND  # somebody has written a client since
    return DatabaseReport(database, phase, error)


# --- what around the clients hinders them, although their files are right -----------------------

#: The subject of what a running pgAdmin's environment does.
ASTRAY: Final = Subject(About.PGADMIN)

#: Seconds between two looks.
ASTRAY_INTERVAL: Final = 600.0


class PgAdminAstray(PgheraldError):
    """A running pgAdmin that its environment leads elsewhere."""


def astray_pgadmins(clients: Sequence[Target]) -> list[Astray]:
    """What leads a running pgAdmin astray; nothing where none is kept."""
    ours = pgadmins(clients)
    if not ours:
        return []
    hosts = [client for client in ours if "host" in client.reopened_for]
    return astray(
        [client.path for client in clients if client.editor.kind == "service_file"],
        [client.path for client in ours],
        services=len(hosts) < len(ours),
        passfiles=bool(hosts),
    )


async def alert_astray(
    clients: Sequence[Target],
    alerts: AlertSink,
    find: Callable[[Sequence[Target]], list[Astray]] = astray_pgadmins,
) -> None:
    """Alert, on its edges, what leads a running pgAdmin astray."""
    if found := await asyncio.to_thread(find, clients):
        alerts.fire(ASTRAY, "pgAdmin", PgAdminAstray(found[0].title, found[0].advice))
    else:
        alerts.resolve(ASTRAY)
