"""Record what was written, and notify of it: also of what a killed pgherald wrote.

Notices come after the record: a kill in between is made up for by `Recorder.resume`. The other
way round there would be two notices.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import json
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from functools import cache
from typing import Final

from pgherald import plain
from pgherald.clients.base import Action, Held
from pgherald.clock import Clock
from pgherald.errors import ChangedMeanwhile, FileTrouble, StoreError
from pgherald.model import (
    LOGIN_FIELDS,
    About,
    Database,
    DatabaseKey,
    Entry,
    Login,
    News,
    NewsKind,
    Rotation,
    Subject,
    strictest,
)
from pgherald.store import BackgroundStore, Store
from pgherald.sync.manifest import Written
from pgherald.sync.plan import Plan
from pgherald.sync.targets import Target
from pgherald.sync.tracked import VerifiedLogin
from pgherald.sync.transaction import Transactions

#: Seconds that a notice waits for the record of what it is about.
_RECORD_LIMIT: Final = 1.0

#: Seconds that the record of an interrupted transaction waits for the state file.
_LATE_LIMIT: Final = 1.0

#: Seconds that a start waits to see which notices are missing.
_UNTOLD_LIMIT: Final = 2.0


#: Where nobody sees whether pgAdmin was restarted, it was after so long.
_FORGOTTEN: Final = timedelta(days=30)


#: Whether a server in pgAdmin has to be reopened, and whether to be refreshed, after what was
#: written: asked with the database, the fields of its login that changed, and the clients that hold it.
Needs = Callable[[DatabaseKey, Collection[str], Sequence[Target]], tuple[bool, bool]]


class Recorder:
    """Keeps in the store what was written, and gives the news of it.

    Args:
        clients: every client.
        committer: knows what a killed pgherald wrote.
        store: keeps state and history.
        clock: tells the time.
        tell: takes news for the person; must not block.
        pgadmin_runs: whether a pgAdmin runs that was started before this moment; None where that
            cannot be seen.
        told_at_once: whether `tell` has told when it returns; else whoever does calls
            `Store.told`.
    """

    def __init__(
        self,
        *,
        clients: Sequence[Target],
        committer: Transactions,
        store: BackgroundStore,
        clock: Clock,
        tell: Callable[[News], None],
        pgadmin_runs: Callable[[datetime], bool | None] = lambda _: None,
        told_at_once: bool = True,
    ) -> None:
        self._clients = tuple(clients)
        self._committer = committer
        self._store = store
        self._clock = clock
        self._tell = tell
        self._see_pgadmin = pgadmin_runs
        self._told_at_once = told_at_once

    def journaled(self, verified: Sequence[VerifiedLogin]) -> list[Written]:
        """What a journal keeps of logins, so that they can be recorded later."""
        return [
            Written(
                str(item.key),
                self._store.mark(item.key, item.entry.login),
                item.seen_at,
                item.proven_at,
                item.release,
            )
            for item in verified
        ]

    async def record(
        self, done: Sequence[VerifiedLogin], plan: Plan, *, late: bool = False
    ) -> None:
        """Keep in the store what was written, as one transaction, and give the news of it.

        A state file that is held by somebody is waited for a second, no longer.

        Args:
            done: what is now in the clients.
            plan: how it got there.
            late: it was written by a pgherald that ended before it could record it.
        """
        if late:
            done = await asyncio.to_thread(self._as_journaled, done)
        now, labels = self._clock.now(), labels_of(plan)
        # A client that is being written follows by itself, which is no news.
        failed = [item for item in plan.failed if not isinstance(item[1], ChangedMeanwhile)]
        behind = tuple((client.label, error.reason) for client, error in failed)
        written_at = None if plan.failed else now
        rotations: list[tuple[Rotation, str]] = []
        news: list[News] = []
        needs = self._needs(plan, {item.key for item in done})
        there = [file.client for file in plan.files if not file.absent]
        tells = self._telling(there, labels, needs)
        for item in done:
            key, database = item.key, item.entry.database
            kind, changed = self._kind(item.entry, plan.held.get(key))
            if kind is NewsKind.ROTATED and labels:
                moments = (item.seen_at, item.proven_at, written_at)
                rotations.append((Rotation(key, changed, *moments, item.release), database.name))
            proven = late or item.proven_at is not None
            told = tells(kind, key, database.name, changed, proven=proven)
            service = plan.services.get(key, database.service)
            news.append(dataclasses.replace(told, behind=behind, service=service))
        if plan.files:
            proofs = {item.key: item.proven_at for item in done}
            entries = [item.entry for item in done]
            self._store.record(entries, written_at, proofs, rotations, labels)
        if rotations:
            await asyncio.to_thread(self._store.catch_up, _RECORD_LIMIT)
        self._tell_all(news, [rotation.key for rotation, _ in rotations])

    async def compared(
        self, seen: Iterable[Database], held: Sequence[VerifiedLogin], plan: Plan
    ) -> None:
        """Keep in the store which databases Heroku showed, and which logins the clients hold.

        Args:
            seen: the databases.
            held: logins that every client that can be read holds.
            plan: how the clients were read.
        """
        now = self._clock.now()
        self._store.looked(seen, now)
        if plan.failed and all(file.absent for file in plan.files):
            return
        # The clients hold it, and the store knows another one: whoever wrote it was ended
        # before it could say so. Or it is another process, which has said so by now.
        late = [item for item in held if self._store.changed(item.key, item.entry.login)]
        if late and not await asyncio.to_thread(self._store.catch_up, _LATE_LIMIT):
            held = [item for item in held if item not in late]  # at the next sweep
        late = [item for item in held if self._store.changed(item.key, item.entry.login)]
        await self.record(late, plan, late=True)
        self._store.record([item.entry for item in held], None if plan.failed else now, {})

    async def resume(self) -> None:
        """Tell of rotations that were recorded, and that nobody is known to have been told of."""
        try:
            records = await asyncio.to_thread(self._store.ask, Store.untold, _UNTOLD_LIMIT)
        except StoreError:  # said by whoever needs the store
            return
        news, needs = [], self._needs(Plan(), ())
        for record in records:
            rotation = record.rotation
            there = [client for client in self._clients if client.label in record.clients]
            tells = self._telling(there, record.clients, needs)
            proven = rotation.proven_at is not None
            key, changed = rotation.key, rotation.changed
            news.append(tells(NewsKind.ROTATED, key, record.label, changed, proven=proven))
        self._tell_all(news, [record.rotation.key for record in records])

    def _telling(
        self, there: Sequence[Target], labels: tuple[str, ...], needs: Needs
    ) -> Callable[..., News]:
        """Makes news of what these clients hold now; `labels` is what a person calls them."""
        now = self._clock.now()

        def news(
            kind: NewsKind, key: DatabaseKey, label: str, changed: tuple[str, ...], *, proven: bool
        ) -> News:
            subject, rotated = Subject(About.DATABASE, key), kind is NewsKind.ROTATED
            reopen, refresh = needs(key, changed if rotated else (), there)
            return News(
                kind, subject, now, label, changed, proven, labels, reopen=reopen, refresh=refresh
            )

        return news

    def _tell_all(self, news: Iterable[News], rotated: Collection[DatabaseKey]) -> None:
        for piece in news:
            self._tell(piece)
        if rotated and self._told_at_once:
            self._store.told(rotated)

    def _needs(self, plan: Plan, keys: Collection[DatabaseKey]) -> Needs:
        """Answers what the person has to do in pgAdmin once a plan was carried out; see `Needs`."""
        changes = [
            (file.client, change)
            for file in plan.files
            for change in file.edit.changes
            if change.key in keys
        ]
        columns: dict[DatabaseKey, list[tuple[Target, Collection[str]]]] = {}
        for client, change in changes:
            if change.action is Action.UPDATE:
                columns.setdefault(change.key, []).append((client, change.fields))
        superseded = {str(change.key) for client, change in changes if client.supersedes(change)}
        stale = self._stale(superseded)
        # One that is held at the moment may show a server all the same.
        held = [client for client, error in plan.failed if isinstance(error, FileTrouble)]
        # Looks through all processes: once for a thousand databases, and only if need be.
        maybe_open = cache(lambda: self._see_pgadmin(self._clock.now()) is not False)

        def needs(
            key: DatabaseKey, changed: Collection[str], clients: Sequence[Target]
        ) -> tuple[bool, bool]:
            written = [*columns.get(key, ()), *((client, changed) for client in clients)]
            reopen = any(client.reopened_for.intersection(names) for client, names in written)
            refresh = any(c.refreshed_for.intersection(changed) for c in (*clients, *held))
            return reopen or str(key) in stale, refresh and maybe_open()

        return needs

    def _stale(self, superseded: Collection[str]) -> Collection[str]:
        """Databases whose server in pgAdmin may be open with a login that is in it no more.

        pgAdmin keeps that until the server is reopened, which nobody sees, or itself is restarted.

        Args:
            superseded: those to which that has just happened.
        """
        now = self._clock.now()
        known: dict[str, datetime] = {}
        with contextlib.suppress(ValueError, TypeError, AttributeError):  # a damaged state file
            noted = json.loads(self._store.notes().get("superseded", "{}"))
            known = {key: plain.moment(at) for key, at in noted.items()}
        runs = cache(self._see_pgadmin)
        stale = {
            key: at for key, at in (known | dict.fromkeys(superseded, now)).items()
            if (now - at < _FORGOTTEN if (seen := runs(at)) is None else seen)
        }  # fmt: skip
        if stale != known:
            noted = {key: at.isoformat() for key, at in stale.items()}
            self._store.note("superseded", json.dumps(noted))
        return stale

    def announce(self, entry: Entry) -> None:
        """Tell of a rotation that is still to be proven, as far as the store knows one."""
        changed = self._store.changed(entry.key, entry.login)
        if changed and changed != ("sslmode",):
            subject, label = Subject(About.DATABASE, entry.key), entry.database.name
            self._tell(News(NewsKind.ROTATING, subject, self._clock.now(), label))

    def _kind(self, entry: Entry, held: Held | None) -> tuple[NewsKind, tuple[str, ...]]:
        """Whether this is a rotation, a first entry, or a client that had lost its entry.

        The store knows best. Without it (a new machine, a lost state folder) what the
        clients held tells.
        """
        changed = self._store.changed(entry.key, entry.login)
        if changed is None:
            changed = None if held is None else differs(held, entry.login)
            if changed is None:
                return NewsKind.ADDED, LOGIN_FIELDS
        if not changed or changed == ("sslmode",):
            # The sslmode is the person's own setting; Heroku does not rotate it.
            return NewsKind.MENDED, changed
        return NewsKind.ROTATED, changed

    def _as_journaled(self, done: Sequence[VerifiedLogin]) -> list[VerifiedLogin]:
        """The same, with moments, proof and release of the transaction that wrote them.

        One that no journal knows, since a person or an older pgherald wrote it, stays as it is.
        """
        known: dict[tuple[str, str], Written] = {}
        with contextlib.suppress(FileTrouble):
            for record in reversed(self._committer.history()):
                known |= {(login.key, login.mark): login for login in record.logins}
        return [self._as(item, known) for item in done]

    def _as(self, item: VerifiedLogin, known: Mapping[tuple[str, str], Written]) -> VerifiedLogin:
        login = known.get((str(item.key), self._store.mark(item.key, item.entry.login)))
        if login is None:
            return item
        moments = (login.seen_at, login.release, login.proven_at)
        return VerifiedLogin(item.entry, *moments)


def labels_of(plan: Plan) -> tuple[str, ...]:
    """What is up to date, in the person's words; what they look at all day comes first."""
    there = [file.client for file in plan.files if not file.absent]
    return tuple(c.label for c in sorted(there, key=lambda client: not client.prominent))


def differs(held: Held, login: Login) -> tuple[str, ...]:
    """Fields of the login that differ from what a client holds, as far as it holds them.

    A stricter sslmode is the person's own, and no difference.
    """
    wanted = dataclasses.replace(login, sslmode=strictest(login.sslmode, held.sslmode))
    return tuple(
        name
        for name in LOGIN_FIELDS
        if getattr(held, name) is not None and getattr(held, name) != getattr(wanted, name)
    )
