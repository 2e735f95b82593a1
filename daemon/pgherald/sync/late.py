"""What a killed pgherald could not do any more: record what it wrote, and tell of it."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from datetime import datetime

from pgherald.clients.base import Held
from pgherald.errors import FileTrouble
from pgherald.model import LOGIN_FIELDS, DatabaseKey, Login, News, NewsKind, strictest
from pgherald.store import Record, Store
from pgherald.sync.cleared import Cleared
from pgherald.sync.commit import Committer
from pgherald.sync.journal import Written
from pgherald.sync.plan import Client, Plan


def login_of(item: Cleared, store: Store) -> Written:
    """What the journal keeps of a login, so that it can be recorded later."""
    mark = store.mark(item.key, item.entry.login)
    return Written(str(item.key), mark, item.seen_at, item.proven_at, item.release)


def as_committed(cleared: Sequence[Cleared], committer: Committer, store: Store) -> list[Cleared]:
    """The same, with moments, proof and release of the commit that wrote them.

    One that no commit knows, since a person or an older pgherald wrote it, stays as it is.
    """
    known: dict[tuple[str, str], Written] = {}
    with contextlib.suppress(FileTrouble):
        for record in reversed(committer.history()):
            known |= {(login.key, login.mark): login for login in record.logins}
    return [_as(item, known.get(_id_of(item, store))) for item in cleared]


def _id_of(item: Cleared, store: Store) -> tuple[str, str]:
    return str(item.key), store.mark(item.key, item.entry.login)


def _as(item: Cleared, login: Written | None) -> Cleared:
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
                f"database:{rotation.key}",
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
    kept = [client for client in clients if client.rows is not None]
    open_now = bool(kept) and "user" in changed and maybe_open()
    reopen = any(client.reopened_for & set(changed) for client in kept)
    return reopen, open_now


def labels_of(plan: Plan) -> tuple[str, ...]:
    """What is up to date, in the person's words; what they look at all day comes first."""
    there = [file.client for file in plan.files if not file.absent]
    return tuple(c.label for c in sorted(there, key=lambda client: client.rows is None))


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
