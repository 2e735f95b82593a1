"""Record what was written, and notify of it: also of what a killed pgherald wrote.

Notices come after the record: a kill in between is made up for by `Recorder.resume`. The other
way round there would be two notices.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from functools import cache
from typing import Final

from pgherald.clients.base import Held
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
from pgherald.store import BackgroundStore, Record, Store
from pgherald.sync.manifest import Written
from pgherald.sync.plan import Client, Plan
from pgherald.sync.tracked import VerifiedLogin
from pgherald.sync.transaction import Transactions

#: Seconds that a notice waits for the record of what it is about.
_RECORD_LIMIT: Final = 1.0

#: Seconds that the record of an interrupted transaction waits for the state file.
_LATE_LIMIT: Final = 1.0

#: Seconds that a start waits to see which notices are missing.
_UNTOLD_LIMIT: Final = 2.0


class Recorder:
    """Keeps in the store what was written, and gives the news of it.

    Args:
        clients: every client.
        committer: knows what a killed pgherald wrote.
        store: keeps state and history.
        clock: tells the time.
        tell: takes news for the person; must not block.
        pgadmin_runs: whether a pgAdmin runs at the moment; None where that cannot be seen.
        told_at_once: whether `tell` has told when it returns; else whoever does calls
            `Store.told`.
    """

    def __init__(
        self,
        *,
        clients: Sequence[Client],
        committer: Transactions,
        store: BackgroundStore,
        clock: Clock,
        tell: Callable[[News], None],
        pgadmin_runs: Callable[[], bool | None] = lambda: None,
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
        now = self._clock.now()
        labels = labels_of(plan)
        there = [file.client for file in plan.files if not file.absent]
        # A client that is being written follows by itself, which is no news.
        failed = [item for item in plan.failed if not isinstance(item[1], ChangedMeanwhile)]
        behind = tuple((client.label, error.reason) for client, error in failed)
        written_at = None if plan.failed else now
        rotations: list[tuple[Rotation, str]] = []
        news: list[News] = []
        # Looks through all processes: once for a thousand databases, and only if need be.
        maybe_open = cache(lambda: self._see_pgadmin() is not False)
        for item in done:
            proven = late or item.proven_at is not None
            kind, changed = self._kind(item.entry, plan.held.get(item.key))
            if kind is NewsKind.ROTATED and labels:
                rotation = Rotation(
                    item.key, changed, item.seen_at, item.proven_at, written_at, item.release
                )
                rotations.append((rotation, item.entry.database.name))
            reopen, refresh = needs(kind, changed, there, maybe_open)
            news.append(
                News(
                    kind,
                    Subject(About.DATABASE, item.key),
                    now,
                    item.entry.database.name,
                    changed=changed,
                    proven=proven,
                    clients=labels,
                    behind=behind,
                    reopen=reopen,
                    refresh=refresh,
                    service=plan.services.get(item.key, item.entry.database.service),
                )
            )
        self._store_current(done, plan, written_at, rotations)
        if rotations:
            await asyncio.to_thread(self._store.catch_up, _RECORD_LIMIT)
        for piece in news:
            self._tell(piece)
        self._told([rotation.key for rotation, _ in rotations])

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
        self._store.current([item.entry for item in held], None if plan.failed else now, {})

    async def resume(self) -> None:
        """Tell of rotations that were recorded, and that nobody is known to have been told of."""
        try:
            records = await asyncio.to_thread(self._store.ask, Store.untold, _UNTOLD_LIMIT)
        except StoreError:  # said by whoever needs the store
            return
        maybe_open = cache(lambda: self._see_pgadmin() is not False)
        keys = []
        for key, news in untold(records, self._clients, self._clock.now(), maybe_open):
            self._tell(news)
            keys.append(key)
        self._told(keys)

    def _told(self, keys: Collection[DatabaseKey]) -> None:
        if keys and self._told_at_once:
            self._store.told(keys)

    def announce(self, entry: Entry) -> None:
        """Tell of a rotation that is still to be proven, as far as the store knows one."""
        changed = self._store.changed(entry.key, entry.login)
        if changed and changed != ("sslmode",):
            subject, label = Subject(About.DATABASE, entry.key), entry.database.name
            self._tell(News(NewsKind.ROTATING, subject, self._clock.now(), label))

    def _store_current(
        self,
        verified: Sequence[VerifiedLogin],
        plan: Plan,
        at: datetime | None,
        rotations: Sequence[tuple[Rotation, str]],
    ) -> None:
        if not plan.files:
            return
        proofs = {item.key: item.proven_at for item in verified}
        entries = [item.entry for item in verified]
        self._store.record(entries, at, proofs, rotations, labels_of(plan))

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
        return dataclasses.replace(
            item, seen_at=login.seen_at, release=login.release, proven_at=login.proven_at
        )


def untold(
    records: Iterable[Record],
    clients: Sequence[Client],
    now: datetime,
    maybe_open: Callable[[], bool],
) -> Iterator[tuple[DatabaseKey, News]]:
    """The news of recorded rotations that nobody is known to have been told of.

    Args:
        records: what `Store.untold` gives.
        clients: all that there are now.
        now: the moment, UTC.
        maybe_open: as for `needs`.
    """
    for record in records:
        rotation = record.rotation
        there = [client for client in clients if client.label in record.clients]
        reopen, refresh = needs(NewsKind.ROTATED, rotation.changed, there, maybe_open)
        yield (
            rotation.key,
            News(
                NewsKind.ROTATED,
                Subject(About.DATABASE, rotation.key),
                now,
                record.label,
                changed=rotation.changed,
                proven=rotation.proven_at is not None,
                clients=record.clients,
                reopen=reopen,
                refresh=refresh,
            ),
        )


def needs(
    kind: NewsKind,
    changed: Collection[str],
    clients: Sequence[Client],
    maybe_open: Callable[[], bool],
) -> tuple[bool, bool]:
    """What the person has to do in pgAdmin after a rotation: reopen a server, refresh it.

    Args:
        kind: what happened.
        changed: which fields of the login.
        clients: those that are up to date.
        maybe_open: whether a pgAdmin may be running.
    """
    if kind is not NewsKind.ROTATED:
        return False, False
    reopen = any(client.reopened_for & set(changed) for client in clients)
    refresh = any(client.refreshed_for & set(changed) for client in clients) and maybe_open()
    return reopen, refresh


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
