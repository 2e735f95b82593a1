"""What is said of servers in pgAdmin: of those that are left alone, and of those that are let go."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

from pgherald.clients.pgadmin_known import Owner, Row
from pgherald.clients.pgadmin_row import shown
from pgherald.model import DatabaseKey

#: What keeps a server from being adopted by a pgAdmin of 7.2 to 8.11, and what helps.
KEYRING: Final = (
    "choose Clear Saved Password for it in pgAdmin, since this release keeps it in the system's "
    "keyring"
)


def offer(name: object, key: DatabaseKey, hindrance: str | None) -> str:
    """Of a server that was made by hand, and could be adopted, or cannot."""
    what = f"Server {shown(name)}, made by hand, leads to {key} too"
    if hindrance is None:
        return f"{what}: `pgherald check --adopt` keeps it working as well."
    if hindrance is KEYRING:
        return f"{what}: {KEYRING}; then `pgherald check --adopt` keeps it working."
    return f"{what}, and cannot be adopted: {hindrance}. It is left as it is."


def left(name: object, service: str, way: str | None) -> str:
    """Of a server that names a section of ours, and is the person's own all the same."""
    why = "is not pgherald's" if way is None else f"{way}"
    return f"Server {shown(name)} names the service {service!r} and {why}: it is left as it is."


def deleted(name: object) -> str:
    """Of one that goes."""
    return f"Server {shown(name)} is deleted: pgherald made it."


def stays(name: object, owner: Owner) -> str:
    """Of one that stays, and whose section goes."""
    why = {
        Owner.EDITED: "it is not just what pgherald made",
        Owner.ADOPTED: "what it held before it was adopted is not known any more",
    }.get(owner, "nothing shows that pgherald made it")
    return (
        f"Server {shown(name)} stays without its login, since {why}: delete it in pgAdmin, or "
        "give it a host and a user."
    )


def left_behind(row: Row, *, leads: bool) -> str:
    """Of one that is not recorded, and names a section which goes.

    Args:
        row: the row.
        leads: whether it leads where that section did; else it may live by one of the person's.
    """
    if leads:
        return stays(row["name"], Owner.FOLLOWED)
    return (
        f"Server {shown(row['name'])} names the service {row['service']!r}, which pgherald no "
        "longer keeps: it stays as it is, and works if a section of yours has that name."
    )


def given_back(row: Row, first: Mapping[str, Any], at: str | None) -> str:
    """Of one that is again what it was; with the day, since Heroku may have changed its login.

    Args:
        row: the row as it is now.
        first: what it held at first.
        at: when pgherald first wrote it, as ISO 8601 has it; None where nobody knows.
    """
    names = (("host", "host"), ("username", "user"), ("password", "saved password"))
    has = [word for name, word in names if first.get(name) and row.get(name)]
    if not has:
        return f"Server {shown(row['name'])} is again what it was."
    listed = has[0] if len(has) == 1 else f"{', '.join(has[:-1])} and {has[-1]}"
    day = "" if at is None else f" of {datetime.fromisoformat(at).astimezone():%Y-%m-%d}"
    return (
        f"Server {shown(row['name'])} has its own {listed}{day} again; Heroku may have changed "
        "them since."
    )
