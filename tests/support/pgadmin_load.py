"""A pgAdmin that never stops writing to its configuration database.

async with Session.of(pgadmin) as one, Session.of(pgadmin) as two:
    async with busy(one, two) as load:      # goes on once each of them has written
        ...
load.writes                                 # that many, and not one of them failed
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass

from support.pgadmin_http import Session

#: A preference whose value does nothing here: seconds between two savings of the tree's state.
PREFERENCE = "browser_tree_state_save_interval"


@dataclass
class Load:
    """What busy people have done."""

    writes: int = 0


@contextlib.asynccontextmanager
async def busy(*sessions: Session) -> AsyncIterator[Load]:
    """Each session changes a preference again and again for as long as the block lasts."""
    load = Load()
    begun = [asyncio.Event() for _ in sessions]
    done = asyncio.Event()

    known = (await sessions[0].ask("GET", "/preferences/get_all")).must()
    (found,) = [item for item in known if item["name"] == PREFERENCE]
    wanted = {key: found[key] for key in ("mid", "id", "name")} | {"category_id": found["cid"]}

    async def write(session: Session) -> None:
        change = wanted | {"value": 60 + load.writes % 60}
        (await session.ask("PUT", "/preferences/", json=[change])).must()
        load.writes += 1

    async def keep_writing(session: Session, first: asyncio.Event) -> None:
        while not done.is_set():
            await write(session)
            first.set()

    # Two who set it for the first time at once get into each other's way in pgAdmin itself.
    await write(sessions[0])

    async with asyncio.TaskGroup() as people:
        for session, first in zip(sessions, begun, strict=True):
            people.create_task(keep_writing(session, first))
        for first in begun:
            await first.wait()
        try:
            yield load
        finally:
            done.set()
