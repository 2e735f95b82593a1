"""Keeps the logs of watched apps followed, so that a rotation is looked at as it happens."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Protocol

from pgherald.heroku.events import AppEvents
from pgherald.heroku.poller import Poller
from pgherald.heroku.watched import Watched, by_app


class Keep(Protocol):
    """Runs work, and runs it again when it fails."""

    async def __call__(
        self, part: str, work: Callable[[], Awaitable[None]], *, endless: bool
    ) -> None:
        """Run it."""
        ...


class LogFollowers:
    """Follows each account's first apps, as many as it may.

    Args:
        poller: has the apps, and looks at one when its log tells of a release.
        on_event: called before each such look.
        keep: runs what follows a log, and does so anew when that failed; see
            `pgherald.daemon.supervisor.Supervisor.keep`.
        make: makes what follows one app's log.
    """

    def __init__(
        self,
        poller: Poller,
        on_event: Callable[[], None],
        keep: Keep,
        make: Callable[..., AppEvents] = AppEvents,
    ) -> None:
        self._poller = poller
        self._on_event = on_event
        self._keep = keep
        self._make = make
        #: By account and app. One that has ended stays, since Heroku does not allow it.
        self._tasks: dict[tuple[str, str], asyncio.Task[None]] = {}

    def keep(self) -> None:
        """Follow the apps that are watched now, and no others. To be called after a sweep."""
        wanted: dict[tuple[str, str], Watched] = {}
        for watched in self._poller.watched:
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
            self._poller.look(watched, app)

        def follow() -> Awaitable[None]:
            return self._make(watched.account, app, on_release, watched.limit).run()

        await self._keep(f"log of {app}", follow, endless=False)
