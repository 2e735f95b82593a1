"""What `pgherald status` shows, made of how everything stands. Pure, and quick to import."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Final

from pgherald.cli.columns import Column, can_show
from pgherald.cli.wording import ago, headline, lasting
from pgherald.model import DEFAULT_ACCOUNT
from pgherald.store.status_file import DatabaseShown, RequestsShown, Shown

#: How one client stands with one database, as in `daemon.status.WORDS`: its mark, its mark where only ASCII
#: can be shown, and what that means.
MARKS: Final[Mapping[str, tuple[str, str, str]]] = {
    "current": ("✓", "ok", "holds the login"),
    "old": ("○", "old", "holds the old login"),
    "failed": ("✗", "no", "could not be written"),
    "new": ("·", "-", "is yet to be written"),
}


def write(
    shown: Shown,
    now: datetime,
    echo: Callable[[str], None],
    show: Callable[[Sequence[Column]], None],
) -> None:
    """Write everything but the troubles, top to bottom.

    Args:
        shown: how everything stands.
        now: the moment, UTC.
        echo: takes a line.
        show: takes a table.
    """
    databases = shown["databases"]
    if all(each["looked_at"] is None for each in databases) and not shown["troubles"]:
        echo("Nothing has been looked at yet. Run: pgherald check")
        echo("")
    if databases:
        marks = can_show_marks()
        show(columns(shown, now, marks=marks))
        if told := legend(shown, marks=marks):
            echo(told)
        echo("")
    for line in last_lines(shown):
        echo(line)


def problems(shown: Shown, now: datetime) -> list[tuple[str, str]]:
    """What is wrong, and what to do."""
    return [
        (
            f"{headline(t['subject'], t['name'], t['title'])} (began {ago(t['since'], now)})",
            t["advice"],
        )
        for t in shown["troubles"]
    ]


def can_show_marks() -> bool:
    """Whether stdout can show more than ASCII."""
    return can_show("".join(mark for mark, _, _ in MARKS.values()))


def columns(shown: Shown, now: datetime, *, marks: bool = True) -> list[Column]:
    """The table: a row for each database.

    Args:
        shown: how everything stands.
        now: the moment, UTC.
        marks: whether more than ASCII can be shown.
    """
    databases = shown["databases"]
    clients = [database["clients"] for database in databases]
    kinds = list(clients[0]) if clients else []
    return [
        Column("DATABASE", [d["name"] for d in databases]),
        Column("KEY", [d["key"] for d in databases], dispensable=4),
        Column("STATE", [_word(shown, d) for d in databases]),
        *(Column(kind, [MARKS[c[kind]][0 if marks else 1] for c in clients]) for kind in kinds),
        Column("LAST LOOK", [ago(d["looked_at"], now) for d in databases]),
        Column("NEXT LOOK", [_next(shown, d, now) for d in databases], dispensable=2),
        Column(
            "LAST ROTATION", [ago(d["last_rotation_at"], now) for d in databases], dispensable=1
        ),
        Column("PROVEN", [_proof(d, now) for d in databases], dispensable=3),
    ]


def legend(shown: Shown, *, marks: bool = True) -> str:
    """What the marks mean, where one of them says that something is not as it should be."""
    words = {word for database in shown["databases"] for word in database["clients"].values()}
    if not words & {"old", "failed"}:
        return ""
    told = [MARKS[word] for word in MARKS if word in words]
    return "  ".join(f"{mark if marks else plain} {about}" for mark, plain, about in told)


def last_lines(shown: Shown) -> Iterator[str]:
    """What there is to say about the daemon itself, and what asks for no change."""
    how = "running" if shown["running"] else "not running; start it with: pgherald run"
    yield f"The daemon is {how}."
    if shown["running"]:
        yield from map(_cost, shown["requests"])
    if why := shown["notifications"]:
        yield f"Notifications: {why}"
    yield from (f"Note: {warning}" for warning in shown["warnings"])


def _cost(cost: RequestsShown) -> str:
    account, remaining = cost["account"], cost["remaining"]
    whose = "" if account == DEFAULT_ACCOUNT else f" ({account})"
    left = "" if remaining is None else f"; {remaining} left to all programs"
    return (
        f"Requests in the last hour{whose}: {cost['last_hour']} of {cost['allowance']} "
        f"allowed{left}."
    )


def _word(shown: Shown, database: DatabaseShown) -> str:
    if any(trouble["subject"] == f"database:{database['key']}" for trouble in shown["troubles"]):
        return "trouble"
    if _is_new(database):
        return "new"
    return "behind" if {"old", "failed"} & set(database["clients"].values()) else "current"


def _is_new(database: DatabaseShown) -> bool:
    """Whether no client holds it yet, as far as is known."""
    return database["current_at"] is None and set(database["clients"].values()) <= {"new"}


def _next(shown: Shown, database: DatabaseShown, now: datetime) -> str:
    if not shown["running"]:
        return "-"
    due = database["next_look_at"]
    if due is None:
        return "now" if database["looked_at"] is None else "later"
    return f"in {lasting(due - now)}" if due > now else "now"


def _proof(database: DatabaseShown, now: datetime) -> str:
    if database["proven"]:
        return ago(database["proven_at"], now)
    return "never" if _is_new(database) else "unproven"
