"""Whose log is followed, and for how long."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from pgherald.daemon.supervisor import Supervisor
from pgherald.heroku.log_followers import LogFollowers
from pgherald.heroku.watched import Watched
from pgherald.model import Database
from support.fake_clock import FakeClock, settle
from support.household import database

SHOP, BLOG, WIKI = database("shop"), database("blog"), database("wiki")


class FakeAccount:
    name = "default"


class FakeSweeper:
    """Has apps, and remembers which it was to look at."""

    def __init__(self, *named: Database, events: int = 20) -> None:
        self.watched = (Watched(FakeAccount(), named, events=events),)  # type: ignore[arg-type]  # a fake
        self.looks: list[str] = []

    def look(self, watched: Watched, app: str) -> None:
        self.looks.append(app)


class FakeLog:
    """Follows nothing, until it is told to fail or to end."""

    def __init__(self, on_release: Callable[[], None]) -> None:
        self.on_release = on_release
        self.end: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def run(self) -> None:
        await self.end


class Desk:
    """LogFollowers of some databases, with logs that a test holds in its hand."""

    def __init__(self, *named: Database, events: int = 20) -> None:
        self.poller = FakeSweeper(*named, events=events)
        self.logs: dict[str, FakeLog] = {}
        self.made: list[str] = []
        self.clock = FakeClock()
        self.events = LogFollowers(self.poller, self._told, Supervisor(self.clock).keep, self._make)  # type: ignore[arg-type]  # fakes

    def _make(
        self, _account: object, app: str, on_release: Callable[[], None], _limit: object
    ) -> FakeLog:
        self.made.append(app)
        self.logs[app] = FakeLog(on_release)
        return self.logs[app]

    def _told(self) -> None:
        self.poller.looks.append("event")

    async def keep(self) -> None:
        self.events.keep()
        await settle()

    def followed(self) -> set[str]:
        return {app for app, log in self.logs.items() if not log.end.done()}


async def test_each_app_has_one() -> None:
    """One log for each app, however many databases it has and however often it is asked for."""
    desk = Desk(SHOP, database("shop", attachment="READER"), BLOG)
    for _ in range(3):
        await desk.keep()
    assert desk.made == ["shop", "blog"]
    desk.logs["blog"].on_release()
    assert desk.poller.looks == ["event", "blog"]
    await desk.events.stop()
    assert desk.followed() == set()


async def test_the_first_ones_as_many_as_it_may() -> None:
    """Beyond the limit the apps that come first have one; with a limit of none nobody has."""
    desk = Desk(SHOP, BLOG, WIKI, events=2)
    await desk.keep()
    assert desk.made == ["shop", "blog"]
    await desk.events.stop()
    nobody = Desk(SHOP, events=0)
    await nobody.keep()
    assert nobody.made == []


async def test_apps_that_come_and_go() -> None:
    """A new app is followed, and one that is no longer watched is not."""
    desk = Desk(SHOP)
    await desk.keep()
    desk.poller.watched[0].named = (BLOG,)
    await desk.keep()
    assert desk.made == ["shop", "blog"]
    assert desk.followed() == {"blog"}
    await desk.events.stop()


async def test_one_that_gave_up_is_let_be_until_a_restart() -> None:
    """What Heroku does not allow is not asked again, but for with another token."""
    desk = Desk(SHOP)
    await desk.keep()
    desk.logs["shop"].end.set_result(None)
    await settle()
    await desk.keep()
    assert desk.made == ["shop"]
    desk.events.restart()
    await settle()
    assert desk.made == ["shop", "shop"]
    await desk.events.stop()


async def test_a_mistake_ends_nothing(caplog: pytest.LogCaptureFixture) -> None:
    """An error that nobody foresaw is logged without its words, and the log is followed again."""
    desk = Desk(SHOP, BLOG)
    await desk.keep()
    desk.logs["shop"].end.set_exception(RuntimeError("CANARY"))
    await settle()
    assert "The log of shop failed and is started again: RuntimeError" in caplog.text
    assert "CANARY" not in caplog.text
    assert desk.made == ["shop", "blog"]
    await desk.clock.advance(1)
    assert desk.made == ["shop", "blog", "shop"]
    desk.logs["shop"].on_release()
    assert desk.poller.looks == ["event", "shop"]
    await desk.events.stop()
