"""A sweep: every app asked for itself, and no trouble lost or kept too long."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
from collections.abc import Awaitable, Callable, Collection, Iterable, Iterator, Sequence

import pytest

from pgherald.config import DiscoverRule
from pgherald.errors import NotVisible, PgheraldError, Unavailable
from pgherald.heroku.account import Identity, Missing
from pgherald.heroku.budget import Budget
from pgherald.heroku.discovery import Found
from pgherald.heroku.overview import Choice
from pgherald.heroku.poller import DISCOVERY_INTERVAL, Poller
from pgherald.heroku.watched import Watched
from pgherald.model import Database, DatabaseKey, Sighting, Subject
from support.fake_clock import START, FakeClock, settle
from support.household import database, login

SHOP, BLOG = database("shop"), database("blog")
DOWN = Unavailable("down")

Answer = Callable[[Sequence[Database]], Awaitable[list[Sighting | Missing]]]


def sighting(of: Database) -> Sighting:
    return Sighting(of.key, login(), START)


class FakeApi:
    """Has all requests left."""

    def __init__(self) -> None:
        self.budget = Budget(FakeClock())


class FakeAccount:
    """Answers as it is told to, app by app; shows every login otherwise."""

    def __init__(self, name: str = "default") -> None:
        self.name = name
        self.stopped = None
        self.interval = 60.0
        self.answers: dict[str, Answer] = {}
        self.asked: list[str] = []
        self.last: dict[str, tuple[Sequence[Database], list[Sighting | Missing]]] = {}
        #: What `choose` says; by default that each app is to be read.
        self.choice: Choice | PgheraldError | None = None
        self.api = FakeApi()
        self.identity = Identity(name, self.api, None)  # type: ignore[arg-type]  # never asked

    async def choose(self, apps: Sequence[str]) -> Choice:
        if isinstance(self.choice, PgheraldError):
            raise self.choice
        return self.choice or Choice(tuple(apps), frozenset(), listed=False)

    def known(self, databases: Sequence[Database]) -> list[Sighting | Missing] | None:
        before = self.last.get(databases[0].key.app)
        return before[1] if before and before[0] == databases else None

    async def read(self, databases: Sequence[Database]) -> list[Sighting | Missing]:
        app = databases[0].key.app
        self.asked.append(app)
        if app in self.answers:
            found = await self.answers[app](databases)
        else:
            found = [sighting(database) for database in databases]
        self.last[app] = (databases, found)
        return found

    def fails(self, app: str, error: Exception) -> None:
        async def answer(_: Sequence[Database]) -> list[Sighting | Missing]:
            raise error

        self.answers[app] = answer

    def misses(self, app: str, error: PgheraldError) -> None:
        async def answer(databases: Sequence[Database]) -> list[Sighting | Missing]:
            return [Missing(database.key, error) for database in databases]

        self.answers[app] = answer

    def waits(self, app: str, event: asyncio.Event) -> None:
        async def answer(databases: Sequence[Database]) -> list[Sighting | Missing]:
            await event.wait()
            return [sighting(database) for database in databases]

        self.answers[app] = answer


class FakeDiscovery:
    """Finds what it is told to."""

    def __init__(self, *apps: str) -> None:
        self.apps = apps
        self.error: Exception | None = None
        self.unmet = None
        self.asked = 0
        self.gate: asyncio.Event | None = None
        self.mended = False

    async def is_mended(self) -> bool:
        return self.mended

    @property
    def found(self) -> tuple[Found, ...]:
        return tuple(
            Found(app, "DATABASE", "heroku-postgresql:standard-0", DiscoverRule())
            for app in self.apps
        )

    async def discover(self) -> tuple[Found, ...]:
        self.asked += 1
        if self.gate is not None:
            await self.gate.wait()
        if self.error is not None:
            raise self.error
        return self.found


class Hears:
    """Keeps sightings and troubles."""

    def __init__(self) -> None:
        self.seen: list[DatabaseKey] = []
        self.alerts: dict[Subject, PgheraldError] = {}
        self.expected = 0
        self.verifying: set[DatabaseKey] = set()
        self.absences: dict[DatabaseKey, tuple[PgheraldError, bool]] = {}

    def sighted(self, sightings: Iterable[tuple[Database, Sighting]]) -> None:
        for shown, _ in sightings:
            self.seen.append(shown.key)
            self.absences.pop(shown.key, None)

    def absent(self, database: Database, error: PgheraldError) -> None:
        self.absences[database.key] = error, True
        self.fire(Subject.read(f"database:{database.key}"), database.name, error)

    def unanswered(self, database: Database, error: PgheraldError) -> None:
        self.absences[database.key] = error, False

    def found_only(self, account: str, keys: Collection[DatabaseKey]) -> None:
        stays = {key for key in self.absences if key.account != account or key in keys}
        self.absences = {key: self.absences[key] for key in stays}

    @contextlib.contextmanager
    def expecting(self) -> Iterator[None]:
        self.expected += 1
        try:
            yield
        finally:
            self.expected -= 1

    def fire(self, subject: Subject, label: str, error: PgheraldError) -> None:
        self.alerts[subject] = error

    def resolve(self, subject: Subject) -> None:
        self.alerts.pop(subject, None)

    def keep_only(self, concerns: Callable[[Subject], bool]) -> None:
        self.alerts = {s: error for s, error in self.alerts.items() if concerns(s)}


class Desk:
    """A poller of one or more accounts."""

    def __init__(self, *watched: Watched) -> None:
        self.hears = Hears()
        self.clock = FakeClock()
        self.poller = Poller(watched, self.hears, self.hears, self.clock)

    @property
    def failures(self) -> dict[Subject, PgheraldError]:
        """By subject, why Heroku did not show a login: an account's trouble counts once."""
        found = dict(self.poller.errors)
        for key, (error, answered) in self.hears.absences.items():
            if answered or f"account:{key.account}" not in self.poller.errors:
                found[Subject.read(f"database:{key}")] = error
        return found

    async def sweep(self) -> None:
        self.poller.sweep()
        await self.poller.finished()
        assert self.hears.expected == 0


def watched(account: FakeAccount, *named: Database, found: FakeDiscovery | None = None) -> Watched:
    return Watched(account, named, found)  # type: ignore[arg-type]  # fakes


async def test_every_app_is_asked_once() -> None:
    """One question per app, whatever number of databases it has."""
    account = FakeAccount()
    second = database("shop", attachment="READER")
    desk = Desk(watched(account, SHOP, BLOG, second))
    await desk.sweep()
    assert sorted(account.asked) == ["blog", "shop"]
    assert sorted(desk.hears.seen) == [BLOG.key, SHOP.key, second.key]


async def test_what_need_not_be_read_is_handed_on() -> None:
    """What Heroku says has not changed is handed on all the same, so that clients are mended."""
    account = FakeAccount()
    desk = Desk(watched(account, SHOP, BLOG))
    await desk.sweep()
    account.choice = Choice(("shop",), frozenset(), listed=True)
    for _ in range(2):
        await desk.sweep()
    assert account.asked == ["shop", "blog", "shop", "shop"]
    assert desk.hears.seen.count(BLOG.key) == 3


async def test_a_new_database_of_an_unchanged_app() -> None:
    """A database that is new here is looked at, though its app has not changed."""
    account, found = FakeAccount(), FakeDiscovery("shop")
    desk = Desk(watched(account, BLOG, found=found))
    await desk.sweep()
    reader = database("shop", attachment="READER")
    desk.poller.watched[0].found = (SHOP, reader)
    account.choice = Choice((), frozenset(), listed=True)
    await desk.sweep()
    assert reader.key in desk.hears.seen


async def test_what_is_put_off_is_said() -> None:
    """What the budget does not allow is no sighting, and a trouble until it is made up for."""
    account = FakeAccount()
    desk = Desk(watched(account, SHOP, BLOG))
    await desk.sweep()
    account.choice = Choice(("shop",), frozenset({"blog"}), listed=True)
    await desk.sweep()
    assert set(desk.failures) == {"budget:default", "database:blog/DATABASE"}
    assert desk.hears.seen.count(BLOG.key) == 1
    account.choice = Choice(("blog",), frozenset(), listed=True)
    await desk.sweep()
    assert not desk.failures
    assert not desk.hears.alerts


# --- looking again -------------------------------------------------------------------------


class Turning(FakeAccount):
    """Shows the login with that number."""

    def __init__(self, number: int = 1) -> None:
        super().__init__()
        self.number = number
        self.answers["shop"] = self._shown

    async def _shown(self, databases: Sequence[Database]) -> list[Sighting | Missing]:
        return [Sighting(each.key, login(self.number), START) for each in databases]


async def looked(desk: Desk, account: FakeAccount, seconds: int) -> list[int]:
    """In which of the next seconds the shop was asked."""
    times = []
    for second in range(1, seconds + 1):
        before = len(account.asked)
        await desk.clock.advance(1)
        await desk.poller.finished()
        times += [second] * (len(account.asked) - before)
    return times


async def test_a_rotation_is_followed_up() -> None:
    """After a changed login the app is read again after 1, 3, 10 and 30 seconds.

    A second step is seen at the next of these readings, and followed up itself.
    """
    account = Turning()
    desk = Desk(watched(account, SHOP))
    await desk.sweep()
    assert await looked(desk, account, 60) == []
    account.number = 2
    await desk.sweep()
    assert await looked(desk, account, 60) == [1, 3, 10, 30]
    account.number = 3
    await desk.sweep()
    assert await looked(desk, account, 2) == [1]
    account.number = 4
    assert await looked(desk, account, 60) == [1, 2, 4, 11, 31]


async def test_a_first_login_is_followed_up_while_it_is_proven() -> None:
    """At the start a login may be on its way: while it is being proven, it is read again."""
    account = Turning()
    desk = Desk(watched(account, SHOP))
    desk.hears.verifying = {SHOP.key}
    await desk.sweep()
    assert await looked(desk, account, 5) == [1, 3]
    desk.hears.verifying = set()
    assert await looked(desk, account, 60) == []


async def test_an_event_in_the_middle_of_a_look() -> None:
    """What came while the app was being read is read again a second later, and once."""
    account, event = FakeAccount(), asyncio.Event()
    account.waits("shop", event)
    desk = Desk(watched(account, SHOP, BLOG))
    desk.poller.read(desk.poller.watched[0], "shop")
    await settle()
    for _ in range(3):
        desk.poller.read(desk.poller.watched[0], "shop")
    event.set()
    await settle()
    assert account.asked == ["shop"]
    await desk.clock.advance(1)
    await desk.poller.finished()
    assert account.asked == ["shop", "shop"]
    desk.poller.read(desk.poller.watched[0], "unheard-of")
    await desk.poller.stop()


# --- each app has its share ------------------------------------------------------------------


async def noise(desk: Desk, apps: Sequence[str], seconds: float) -> None:
    """The logs of these apps show a release every 0.2 s for a while."""
    (of,) = desk.poller.watched
    for _ in range(round(seconds / 0.2)):
        for app in apps:
            desk.poller.read(of, app)
        await desk.clock.advance(0.2)


async def test_events_are_answered_ever_further_apart() -> None:
    """After 1, 2, 4, … seconds, up to the poll interval; and at once again when it was calm."""
    account = FakeAccount()
    desk = Desk(watched(account, SHOP, BLOG))
    (of,) = desk.poller.watched
    await noise(desk, ["shop"], 600)
    # At 0, 1, 3, 7, 15, 31, 63, 123, 183, … seconds.
    assert len(account.asked) == 7 + 8
    await desk.clock.advance(300)
    before = len(account.asked)
    desk.poller.read(of, "shop")
    await settle()
    assert len(account.asked) == before + 1
    await desk.poller.stop()


async def test_a_login_that_changes_all_the_time_is_followed_up_now_and_then() -> None:
    """An app whose login is another one at each reading costs no request a second."""
    account = Turning()

    async def turn(databases: Sequence[Database]) -> list[Sighting | Missing]:
        account.number += 1
        return [Sighting(each.key, login(account.number), START) for each in databases]

    account.answers["shop"] = turn
    desk = Desk(watched(account, SHOP, BLOG))
    for _ in range(30):
        await desk.sweep()
        await desk.clock.advance(60)
    assert account.asked.count("blog") == 30
    assert account.asked.count("shop") < 30 * 6
    await desk.poller.stop()


# --- troubles ------------------------------------------------------------------------------


async def test_a_late_app_keeps_no_other_waiting() -> None:
    """What is under way is left out of the next sweep, which asks the others all the same."""
    account, event = FakeAccount(), asyncio.Event()
    account.waits("shop", event)
    desk = Desk(watched(account, SHOP, BLOG))
    for _ in range(3):
        desk.poller.sweep()
        await settle()
    assert (account.asked.count("shop"), account.asked.count("blog")) == (1, 3)
    assert SHOP.key not in desk.hears.seen
    event.set()
    await desk.poller.finished()
    assert SHOP.key in desk.hears.seen


async def test_stopping_gives_up_what_is_under_way() -> None:
    """A stop does not wait for Heroku, and what was given up is no trouble."""
    account = FakeAccount()
    account.waits("shop", asyncio.Event())
    desk = Desk(watched(account, SHOP))
    desk.poller.sweep()
    await settle()
    await desk.poller.stop()
    assert not desk.failures
    assert not desk.hears.alerts


async def test_a_missing_database_is_its_own_trouble() -> None:
    """What Heroku does not show of one database is that database's, until it is shown.

    It stays so as well where Heroku says that its app has not changed.
    """
    account = FakeAccount()
    gone = NotVisible("gone")
    account.misses("shop", gone)
    desk = Desk(watched(account, SHOP, BLOG))
    await desk.sweep()
    assert desk.failures == {"database:shop/DATABASE": gone}
    assert desk.hears.alerts == {"database:shop/DATABASE": gone}
    account.choice = Choice((), frozenset(), listed=True)
    await desk.sweep()
    assert desk.failures == {"database:shop/DATABASE": gone}
    del account.answers["shop"]
    account.choice = None
    await desk.sweep()
    assert not desk.failures


@pytest.mark.parametrize("is_list", [True, False])
async def test_a_trouble_of_the_account(*, is_list: bool) -> None:
    """An error that may be everybody's is told once, for the account, and ends with an answer."""
    account = FakeAccount()
    desk = Desk(watched(account, SHOP, BLOG))
    if is_list:
        await desk.sweep()
        account.choice = DOWN
    else:
        account.fails("shop", DOWN)
        account.fails("blog", DOWN)
    await desk.sweep()
    assert desk.failures == {"account:default": DOWN}
    assert desk.hears.alerts == {"account:default": DOWN}
    account.answers.clear()
    account.choice = Choice((), frozenset(), listed=True) if is_list else None
    await desk.sweep()
    assert not desk.failures
    assert not desk.hears.alerts


@pytest.mark.parametrize("apps", [("blog", "shop"), ("shop", "blog")])
async def test_no_unanswered_database_is_lost(apps: tuple[str, str]) -> None:
    """When another app is answered, the error stays with the database that was not."""
    broken, well = apps
    account = FakeAccount()
    account.fails(broken, DOWN)
    event = asyncio.Event()
    account.waits(well, event)
    desk = Desk(watched(account, SHOP, BLOG))
    desk.poller.sweep()
    await settle()
    assert desk.failures == {"account:default": DOWN}
    event.set()
    await desk.poller.finished()
    assert desk.failures == {f"database:{broken}/DATABASE": DOWN}


async def test_a_mistake_of_its_own(caplog: pytest.LogCaptureFixture) -> None:
    """An error nobody foresaw is a trouble too, and neither it nor the log repeats its words."""
    account = FakeAccount()
    account.fails("shop", RuntimeError("CANARY-secret"))
    desk = Desk(watched(account, SHOP))
    await desk.sweep()
    error = desk.failures[Subject.read("account:default")]
    assert "mistake of its own: RuntimeError" in error.title
    assert "CANARY" not in str(error)
    assert "CANARY" not in caplog.text
    assert "asking about shop" in caplog.text


# --- discovery -----------------------------------------------------------------------------


async def test_discovery_has_its_own_pace() -> None:
    """New databases are looked for every quarter of an hour, also when the clock is set back."""
    found = FakeDiscovery("shop")
    desk = Desk(watched(FakeAccount(), found=found))
    for _ in range(3):
        await desk.sweep()
    assert found.asked == 1
    for seconds in (1, -1):
        desk.clock.jump(DISCOVERY_INTERVAL.total_seconds() * seconds)
        await desk.sweep()
    assert found.asked == 3
    found.mended = True
    await desk.sweep()
    assert found.asked == 4, "at once where Heroku answers again"
    assert desk.hears.seen == [SHOP.key] * 6


async def test_a_silent_heroku_takes_nothing_away() -> None:
    """When discovery fails, what was found before is kept, and it is tried again at once."""
    found = FakeDiscovery("shop")
    desk = Desk(watched(FakeAccount(), found=found))
    await desk.sweep()
    desk.clock.jump(DISCOVERY_INTERVAL.total_seconds())
    found.error = DOWN
    await desk.sweep()
    await desk.sweep()
    assert [each.key for each in desk.poller.databases] == [SHOP.key]
    assert found.asked == 3


async def test_a_long_discovery_keeps_no_database_waiting() -> None:
    """What is known already is looked at while Heroku still thinks about what else there is."""
    found = FakeDiscovery("blog")
    found.gate = asyncio.Event()
    desk = Desk(watched(FakeAccount(), SHOP, found=found))
    for _ in range(2):
        desk.poller.sweep()
        await settle()
    assert desk.hears.seen == [SHOP.key, SHOP.key]
    found.gate.set()
    await desk.poller.finished()
    assert desk.hears.seen == [SHOP.key, SHOP.key, BLOG.key]


@pytest.mark.parametrize("error", [None, DOWN, NotVisible("gone")])
async def test_a_late_answer_about_what_is_gone(error: PgheraldError | None) -> None:
    """What discovery finds no more while it is being read is neither shown nor a trouble."""
    account, found = FakeAccount(), FakeDiscovery("shop", "blog")
    desk = Desk(watched(account, found=found))
    await desk.sweep()
    desk.hears.seen.clear()
    event = asyncio.Event()

    async def late(databases: Sequence[Database]) -> list[Sighting | Missing]:
        await event.wait()
        if error is DOWN:
            raise DOWN
        return [Missing(d.key, error) if error else sighting(d) for d in databases]

    account.answers["shop"] = late
    found.apps = ("blog",)
    desk.clock.jump(DISCOVERY_INTERVAL.total_seconds())
    desk.poller.sweep()
    await settle()
    event.set()
    await desk.poller.finished()
    assert desk.hears.seen == [BLOG.key]
    assert not desk.hears.absences


async def test_a_named_database_is_not_found_again() -> None:
    """What the configuration names keeps the settings it has there."""
    named = dataclasses.replace(SHOP, name="My shop", service="mine")
    desk = Desk(watched(FakeAccount(), named, found=FakeDiscovery("shop")))
    await desk.sweep()
    assert desk.poller.databases == (named,)


async def test_a_clash_lasts_as_long_as_it_lasts() -> None:
    """A found database whose service name is taken is named, until it is gone or renamed."""
    other = dataclasses.replace(BLOG, service="shop")
    found = FakeDiscovery("shop")
    desk = Desk(watched(FakeAccount(), other, found=found))
    await desk.sweep()
    (subject,) = desk.failures
    assert subject == "database:shop/DATABASE"
    assert subject in desk.hears.alerts
    assert desk.poller.databases == (other,)
    found.apps = ()
    desk.clock.jump(DISCOVERY_INTERVAL.total_seconds())
    await desk.sweep()
    assert not desk.failures
    assert not desk.hears.alerts


async def test_what_is_no_longer_found_is_in_no_trouble() -> None:
    """The trouble of an app that is gone goes with it; those of other accounts stay."""
    work, home = FakeAccount("work"), FakeAccount("home")
    found = FakeDiscovery("shop", "blog")
    work.misses("shop", DOWN)
    desk = Desk(watched(work, found=found), watched(home))
    desk.hears.alerts[Subject.read("database:home:shop/DATABASE")] = DOWN
    await desk.sweep()
    assert desk.failures == {"database:work:shop/DATABASE": DOWN}
    found.apps = ("blog",)
    desk.clock.jump(DISCOVERY_INTERVAL.total_seconds())
    await desk.sweep()
    assert not desk.failures
    assert set(desk.hears.alerts) == {"database:home:shop/DATABASE"}
