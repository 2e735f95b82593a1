"""Ten times the databases make about ten times the work.

Work is counted in calls, not in seconds, so that a busy machine changes nothing.
"""

from __future__ import annotations

import contextlib
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

from pgherald.clients.base import TextClient
from pgherald.clients.pgpass import Pgpass
from pgherald.clients.servers_json import ServersJson
from pgherald.clients.service_file import ServiceFile
from pgherald.heroku.account import Missing
from pgherald.heroku.budget import Budget
from pgherald.heroku.overview import Choice
from pgherald.heroku.poller import Poller
from pgherald.heroku.watched import Watched
from pgherald.model import Database, Entry, NewsKind, Sighting
from support.fake_clock import START, FakeClock
from support.household import household, login, many

FEW, MANY = 40, 400

#: Times the work for ten times the databases: the promise.
PROMISE = 12


class Count:
    """How many calls of Python functions there were."""

    calls = 0

    def __call__(self, _frame: FrameType, event: str, _arg: Any) -> None:
        """Count (sys.setprofile). Each value that a generator gives is a call too."""
        self.calls += event in {"call", "c_call"}


@contextmanager
def counted() -> Iterator[Count]:
    """Meanwhile, count the calls of this thread and of those that it starts."""
    count, before = Count(), sys.getprofile()
    threading.setprofile(count)
    sys.setprofile(count)
    try:
        yield count
    finally:
        sys.setprofile(before)
        threading.setprofile(None)


@pytest.mark.parametrize(
    "make",
    [Pgpass, ServiceFile, ServersJson, lambda: ServersJson(rows="host")],
    ids=["pgpass", "service_file", "servers_json", "servers_json host"],
)
def test_editors_are_linear(make: Callable[[], TextClient]) -> None:
    """A rotation of ten times as many databases is ten times the work for each editor."""

    def work(count: int) -> int:
        old, new = ([Entry(*each) for each in many(count, version)] for version in (1, 2))
        editor = make()
        text = editor.plan(None, old).new
        leaving = {entry.key: (entry.login,) for entry in old}
        editor.plan(text, new)  # what is compiled and cached once is no part of it
        with counted() as counter:
            editor.read(text)
            editor.plan(text, new, also=leaving)
        return counter.calls

    assert work(MANY) / work(FEW) < PROMISE


async def test_a_mass_rotation_is_linear(tmp_path: Path) -> None:
    """From the sightings to the last record, ten times the databases are ten times the work."""
    costs = []
    for count in (FEW, MANY):
        folder = tmp_path / str(count)
        folder.mkdir()
        async with household(folder) as home:
            await home.sees(*many(count, 1))
            await home.reconciler.settled()
            home.news.clear()
            with counted() as counter:
                home.show(*many(count, 2))
                await home.reconciler.settled()
            costs.append(counter.calls)
            assert home.kinds() == [NewsKind.ROTATED] * count
            assert len(home.store.history(MANY * 2)) == count
    assert costs[1] / costs[0] < PROMISE


class Quiet:
    """An account in which nothing has changed, and whoever hears of that."""

    name = "default"
    proving = ()

    def __init__(self) -> None:
        self.api = self
        self.budget = Budget(FakeClock())

    async def choose(self, apps: Iterable[str]) -> Choice:
        return Choice((), frozenset(), listed=True)

    def known(self, databases: Iterable[Database]) -> list[Sighting | Missing]:
        return [Sighting(each.key, login(), START) for each in databases]

    def sighted(self, sightings: object) -> None:
        """It is counted what it takes to get here."""

    def expecting(self) -> object:
        return contextlib.nullcontext()

    def resolve(self, subject: str) -> None:
        """Nothing was wrong."""


async def test_a_quiet_sweep_is_linear() -> None:
    """A sweep that finds nothing new is ten times the work for ten times the databases."""
    costs = []
    for count in (FEW, MANY):
        quiet = Quiet()
        databases = [each for each, _ in many(count, 1)]
        watched = Watched(quiet, databases)  # type: ignore[arg-type]  # a fake
        poller = Poller([watched], quiet, quiet, FakeClock())  # type: ignore[arg-type]  # fakes
        with counted() as counter:
            poller.sweep()
            await poller.finished()
        costs.append(counter.calls)
    assert costs[1] / costs[0] < PROMISE
