"""Follows apps' logs, which show each release as it happens.

Heroku writes a line into an app's log when a release is made, and every change of a config var is
one. So a followed log causes a reading at once. It is only a hint: a line says that something may
have changed, and the next sweep makes up for a missed one.

Heroku: a session's address works for five minutes until somebody comes, and for an hour from
then on. It sends server-sent events to who asks for them, else plain lines, such as

    2026-01-05T09:00:00.123456+00:00 app[api]: Release v101 created by user me@example.com
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import re
from collections.abc import Awaitable, Callable, Iterator
from datetime import datetime
from typing import Final

from pgherald import errors
from pgherald.aio import first_of
from pgherald.heroku.account import Account
from pgherald.heroku.answers import LogSession
from pgherald.heroku.backoff import LONGEST
from pgherald.heroku.poller import Poller
from pgherald.heroku.watched import Watched, by_app

log = logging.getLogger(__name__)

#: Seconds after which a session is left for a new one: before Heroku ends it.
LIFE: Final = 55 * 60.0

#: Seconds before the first attempt to come back; doubled with each that fails.
PAUSE: Final = 1.0

#: A stream that lasted this long, in seconds, was no failure.
_LASTED: Final = 60.0

#: By which part of itself a time may be shorter, so that many streams do not march in step.
_SPREAD: Final = 0.2

#: No line of Heroku's own is longer, in bytes.
_LONGEST_LINE: Final = 16 * 1024

_RELEASE: Final = re.compile(rb"(?:data: ?)?(\S{1,64}) app\[api\]: Release v\d+ created\b")


class Releases:
    """Finds the lines about releases, in pieces of a log as they come in.

    Args:
        since: lines from before that moment, by the log's own clock, are old ones.
    """

    def __init__(self, since: datetime | None = None) -> None:
        self._since = since
        self._rest = b""
        self._skipping = False

    def feed(self, piece: bytes) -> int:
        """How many releases this piece shows."""
        return sum(self._is_new(line) for line in self._lines(piece))

    def _lines(self, piece: bytes) -> Iterator[bytes]:
        *lines, rest = (self._rest + piece).split(b"\n")
        for line in lines:
            if not self._skipping:
                yield line
            self._skipping = False
        # A line without end must not fill the memory.
        self._skipping = self._skipping or len(rest) > _LONGEST_LINE
        self._rest = b"" if self._skipping else rest

    def _is_new(self, line: bytes) -> bool:
        found = _RELEASE.match(line)
        if found is None:
            return False
        with contextlib.suppress(ValueError, TypeError):  # no moment, or one without a time zone
            return self._since is None or datetime.fromisoformat(found[1].decode()) >= self._since
        return True


class AppEvents:
    """Follows one app's log until cancelled, or until Heroku forbids it.

    Args:
        account: whose app it is.
        app: the app's name.
        on_release: called when the app may have changed; must not block.
        limit: how many sessions of the account may be opened at the same time.
        chance: numbers from 0 to 1, by which times are made unequal.
    """

    def __init__(
        self,
        account: Account,
        app: str,
        on_release: Callable[[], None],
        limit: asyncio.Semaphore,
        *,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self._account = account
        self._app = app
        self._on_release = on_release
        self._limit = limit
        self._chance = chance
        self._clock = account.api.clock
        self._came_before = False
        #: Whether the log is being read at the moment.
        self.connected = False

    async def run(self) -> str:
        """Follow the log. Returns why there is nothing to be followed, and else never."""
        pause = 0.0
        while True:
            began = self._clock.monotonic()
            least = PAUSE
            try:
                await self._follow()
            except errors.PgheraldError as exc:
                if _is_final(exc):
                    return exc.title
                log.debug("%s: no events for now (%s)", self._app, exc.title)
                passes = isinstance(exc, errors.Unavailable | errors.NotHeroku | errors.RateLimited)
                least = PAUSE if passes else LONGEST
            if self._clock.monotonic() - began >= _LASTED:
                pause = 0.0
            pause = min(max(pause * 2, least), LONGEST)
            await self._clock.sleep(pause * (1 - _SPREAD * self._chance()))

    async def _follow(self) -> None:
        """Follow one session to its end."""
        async with self._limit:
            session = await self._account.open_log(self._app)
        life = LIFE * (1 - _SPREAD * self._chance())
        try:
            await first_of(self._read(session), self._clock.sleep(life))
        finally:
            self.connected = False

    async def _read(self, session: LogSession) -> None:
        releases = Releases(session.created_at)
        async with self._account.api.http.follow(session.url) as pieces:
            self.connected = True
            if self._came_before:
                self._on_release()  # a line may have been missed
            self._came_before = True
            async for piece in pieces:
                if releases.feed(piece):
                    self._on_release()


def _is_final(error: errors.PgheraldError) -> bool:
    """Whether there is no use in asking again: not allowed, or not to be had for this app.

    Heroku: no log sessions for apps in a Shield Space, nor with Private Space Logging.
    """
    return isinstance(error, errors.Forbidden) or type(error) is errors.HerokuError


class LogFollowers:
    """Follows each account's first apps, as many as it may.

    Args:
        poller: has the apps, and reads one when its log shows a release.
        on_event: called before each such reading.
        keep: runs a follower, and restarts it when it fails; see
            `pgherald.daemon.supervisor.Supervisor.keep`.
        make: makes the follower of one app's log.
    """

    def __init__(
        self,
        poller: Poller,
        on_event: Callable[[], None],
        keep: Callable[..., Awaitable[None]],
        make: Callable[..., AppEvents] = AppEvents,
    ) -> None:
        self._poller = poller
        self._on_event = on_event
        self._keep = keep
        self._make = make
        #: By account and app. One that has ended stays, since Heroku does not allow it.
        self._tasks: dict[tuple[str, str], asyncio.Task[None]] = {}
        #: Why there is nothing to be followed, as the log has said once.
        self._said: dict[tuple[str, str], str] = {}

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
            self._poller.read(watched, app)

        async def follow() -> None:
            why = await self._make(watched.account, app, on_release, watched.limit).run()
            if self._said.setdefault((watched.account.name, app), why) is why:
                log.info("%s: no events (%s); it is polled.", app, why)

        await self._keep(f"log of {app}", follow, endless=False)
