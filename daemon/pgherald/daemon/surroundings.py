"""What around the clients hinders them, although their files are right."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Final

from pgherald.clock import Clock, until_beat
from pgherald.errors import PgheraldError
from pgherald.model import About, Subject
from pgherald.sync.alerts import Alerts
from pgherald.sync.targets import Target, pgadmins
from pgherald.watch.pgadmin_process import Astray, astray
from pgherald.watch.wake import TICK

#: The subject of what a running pgAdmin's environment does.
SUBJECT: Final = Subject(About.PGADMIN)

#: Looked at with a tick, and no more often than this.
_INTERVAL: Final = timedelta(minutes=10)


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
        services=len(hosts) < len(ours),
        passfiles=bool(hosts),
    )


class PgAdminWatch:
    """Tells, on its edges, what leads a running pgAdmin astray.

    Args:
        clients: what is kept.
        alerts: hears of it.
        clock: tells the time.
        find: finds it.
    """

    def __init__(
        self,
        clients: Sequence[Target],
        alerts: Alerts,
        clock: Clock,
        find: Callable[[Sequence[Target]], list[Astray]] = look,
    ) -> None:
        self._clients = clients
        self._alerts = alerts
        self._clock = clock
        self._find = find
        self._looked_at: datetime | None = None

    async def run(self) -> None:
        """Look until cancelled."""
        while True:
            await self.look()
            # With the other ticks, so that it costs no wake-up of its own.
            await self._clock.sleep(until_beat(self._clock, TICK))

    async def look(self) -> None:
        """Look, if it is time to."""
        now = self._clock.now()
        if self._looked_at is not None and abs(now - self._looked_at) < _INTERVAL:
            return
        found = await asyncio.to_thread(self._find, self._clients)
        self._looked_at = now
        if found:
            error = PgAdminAstray(found[0].title, found[0].advice)
            self._alerts.fire(SUBJECT, "pgAdmin", error)
        else:
            self._alerts.resolve(SUBJECT)
