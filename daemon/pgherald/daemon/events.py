"""Keeps the logs of watched apps followed, so that a rotation is looked at as it happens."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from pgherald.daemon.supervisor import Supervisor
from pgherald.daemon.sweeper import Sweeper
from pgherald.daemon.watched import Watched, by_app
from pgherald.heroku.events import AppEvents


class Events:
    """Follows each account's first apps, as many as it may.

    Args:
        sweeper: has the apps, and looks at one when its log tells of a release.
        on_event: called before each such look.
        supervisor: follows a log anew when that failed.
        make: makes what follows one app's log.
    """

    def __init__(
        self,
        sweeper: Sweeper,
        on_event: Callable[[], None],
        supervisor: Supervisor,
        make: Callable[..., AppEvents] = AppEvents,
    ) -> None:
        self._sweeper = sweeper
        self._on_event = on_event
        self._supervisor = supervisor
        self._make = make
        #: By account and app. One that has ended stays, since Heroku does not allow it.
        self._tasks: dict[tuple[str, str], asyncio.Task[None]] = {}

    def keep(self) -> None:
        """Follow the apps that are watched now, and no others. To be called after a sweep."""
        wanted: dict[tuple[str, str], Watched] = {}
        for watched in self._sweeper.watched:
            for app in list(by_app(watched.databases))[: watched.events]:
                wanted[watched.account.name, app] = watched
        for name in [name for name in self._tasks if name not in wanted]:
            self._tasks.pop(name).cancel()
        for name, watched in wanted.items():
            if name not in self._tasks:
                self._tasks[name] = asyncio.create_task(self._follow(watched, name[1]))

    def restart(self) -> None:
        """Begin anew: the machine slept, and the connections are dead, or there is a new token."""
        for task in self._tasks.values():
            task.cancel()
        self._tasks.clear()
        self.keep()

    async def stop(self) -> None:
        """Follow nothing any more."""
        tasks = list(self._tasks.values())
        self._tasks.clear()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _follow(self, watched: Watched, app: str) -> None:
        def on_release() -> None:
            self._on_event()
            self._sweeper.look(watched, app)

        def follow() -> Awaitable[None]:
            return self._make(watched.account, app, on_release, watched.limit).run()

        await self._supervisor.keep(f"log of {app}", follow, endless=False)
