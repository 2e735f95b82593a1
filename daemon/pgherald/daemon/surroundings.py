"""What around the clients hinders them, although their files are right."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Final

from pgherald.errors import PgheraldError
from pgherald.model import About, AlertSink, Subject
from pgherald.sync.targets import Target, pgadmins
from pgherald.watch.pgadmin_process import Astray, astray

#: The subject of what a running pgAdmin's environment does.
SUBJECT: Final = Subject(About.PGADMIN)

#: Seconds between two looks.
INTERVAL: Final = 600.0


class PgAdminAstray(PgheraldError):
    """A running pgAdmin that its environment leads elsewhere."""


def look(clients: Sequence[Target]) -> list[Astray]:
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


async def check(
    clients: Sequence[Target],
    alerts: AlertSink,
    find: Callable[[Sequence[Target]], list[Astray]] = look,
) -> None:
    """Alert, on its edges, what leads a running pgAdmin astray."""
    if found := await asyncio.to_thread(find, clients):
        alerts.fire(SUBJECT, "pgAdmin", PgAdminAstray(found[0].title, found[0].advice))
    else:
        alerts.resolve(SUBJECT)
