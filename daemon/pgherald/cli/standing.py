"""What `pgherald status` knows, and the table that it makes of it. Pure, but for reading."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from pgherald.cli.columns import Column
from pgherald.cli.wording import ago, headline, lasting
from pgherald.config import Config
from pgherald.daemon.standing import Standing, standing_of
from pgherald.files.locks import is_held
from pgherald.model import DEFAULT_ACCOUNT
from pgherald.store import DatabaseState, Store
from pgherald.store.requests import Requests

#: How one client stands with one database, as in `daemon.standing.WORDS`: its mark, its mark where only ASCII
#: can be shown, and what that means.
MARKS: Final[Mapping[str, tuple[str, str, str]]] = {
    "current": ("✓", "ok", "holds the login"),
    "old": ("○", "old", "holds the old login"),
    "failed": ("✗", "no", "could not be written"),
    "new": ("·", "-", "is yet to be written"),
}


@dataclass(frozen=True, slots=True)
class Seen:
    """All that `status` shows, at one moment.

    Attributes:
        config: the configuration.
        running: whether the daemon runs.
        standing: how everything stands.
    """

    config: Config
    running: bool
    standing: Standing


def read(config: Config) -> Seen:
    """Read the state file; Heroku is not asked.

    Raises:
        StoreError: it cannot be read.
    """
    running = is_held(config.state_dir / "daemon.lock")
    store = Store.read_only(config.state_dir / "state.db")
    with contextlib.nullcontext() if store is None else store:
        return Seen(config, running, standing_of(config, store))


def problems(seen: Seen, now: datetime) -> list[tuple[str, str]]:
    """What is wrong, and what to do."""
    return [
        (
            f"{headline(t.subject, t.label, t.title)} (began {ago(t.since, now)})",
            t.advice,
        )
        for t in seen.standing.troubles
    ]


def columns(seen: Seen, now: datetime, *, marks: bool = True) -> list[Column]:
    """The table: a row for each database.

    Args:
        seen: what is shown.
        now: the moment, UTC.
        marks: whether more than ASCII can be shown.
    """
    databases = seen.standing.databases
    clients = [seen.standing.clients(seen.config, database) for database in databases]
    kinds = list(clients[0]) if clients else []
    latest = [seen.standing.latest.get(d.key) for d in databases]
    return [
        Column("DATABASE", [d.label for d in databases]),
        Column("KEY", [str(d.key) for d in databases], dispensable=4),
        Column("STATE", [_word(seen, d) for d in databases]),
        *(Column(kind, [MARKS[c[kind]][0 if marks else 1] for c in clients]) for kind in kinds),
        Column("LAST LOOK", [ago(d.looked_at, now) for d in databases]),
        Column("NEXT LOOK", [_next(seen, d, now) for d in databases], dispensable=2),
        Column(
            "LAST ROTATION",
            [ago(None if r is None else r.rotation.seen_at, now) for r in latest],
            dispensable=1,
        ),
        Column("PROVEN", [_proof(d, now) for d in databases], dispensable=3),
    ]


def legend(seen: Seen, *, marks: bool = True) -> str:
    """What the marks mean, where one of them says that something is not as it should be."""
    standing = seen.standing
    clients = [standing.clients(seen.config, database) for database in standing.databases]
    words = {word for of_database in clients for word in of_database.values()}
    if not words & {"old", "failed"}:
        return ""
    told = [MARKS[word] for word in MARKS if word in words]
    return "  ".join(f"{mark if marks else plain} {about}" for mark, plain, about in told)


def last_lines(seen: Seen) -> list[str]:
    """What there is to say about the daemon itself."""
    how = "running" if seen.running else "not running; start it with: pgherald run"
    why = seen.standing.notifications
    return [
        f"The daemon is {how}.",
        *(_cost(cost) for cost in seen.standing.requests if seen.running),
        *([f"Notifications: {why}"] if why else []),
    ]


def _cost(cost: Requests) -> str:
    whose = "" if cost.account == DEFAULT_ACCOUNT else f" ({cost.account})"
    left = "" if cost.remaining is None else f"; {cost.remaining} left to all programs"
    return f"Requests in the last hour{whose}: {cost.last_hour} of {cost.allowance} allowed{left}."


def _word(seen: Seen, database: DatabaseState) -> str:
    if seen.standing.in_trouble(f"database:{database.key}"):
        return "trouble"
    return "new" if database.current_at is None else "current"


def _next(seen: Seen, database: DatabaseState, now: datetime) -> str:
    if not seen.running:
        return "-"
    due = seen.standing.next_look(seen.config, database)
    if due is None:
        return "now" if database.looked_at is None else "later"
    return f"in {lasting(due - now)}" if due > now else "now"


def _proof(database: DatabaseState, now: datetime) -> str:
    if database.proven:
        return ago(database.proven_at, now)
    return "never" if database.current_at is None else "unproven"
