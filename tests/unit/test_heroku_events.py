"""Releases as they happen: what counts as one, and what becomes of a log that ends."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pgherald.daemon.supervisor import Supervisor
from pgherald.errors import (
    Forbidden,
    HerokuError,
    LoginRequired,
    NotVisible,
    PgheraldError,
    RateLimited,
    Unavailable,
    UnsafeHost,
)
from pgherald.heroku.account import Account
from pgherald.heroku.answers import LogSession
from pgherald.heroku.backoff import LONGEST
from pgherald.heroku.events import LIFE, AppEvents, LogFollowers, Releases
from pgherald.heroku.watched import Watched
from pgherald.model import Database
from pgherald.secret import Secret
from support.fake_clock import START, FakeClock, settle
from support.heroku_answers import FakeHeroku, error, ok
from support.household import database

AT = "2026-01-05T09:00:01.5+00:00"
LINE = f"{AT} app[api]: Release v101 created by user me@example.com"
MINUTE = 60.0


# --- what counts ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "count"),
    [
        (f"{LINE}\n", 1),
        (f"id: 7\ndata: {LINE}\n\n", 1),
        (f"data:{LINE}\n", 1),
        (f"{LINE}\r\n", 1),
        (f"{AT} app[api]: Set X config vars by user e@e.com\n{LINE}\n", 1),
        ("never app[api]: Release v1 created by user e\n", 1),
        ("2026-01-05T08:00:00 app[api]: Release v1 created by user e\n", 1),
        (LINE, 0),
        (f"{AT} app[web.1]: app[api]: Release v5 created\n", 0),
        (f"{AT} app[api]: Rollback to v46 by user e\n", 0),
        (f"{AT} app[api]: Release vX created\n", 0),
        ("2026-01-05T08:59:59.9+00:00 app[api]: Release v100 created by user e\n", 0),
        (": keep-alive\n\n", 0),
    ],
)
def test_what_tells_of_a_release(text: str, count: int) -> None:
    """A line of the platform's own that names a new release counts; one from before does not."""
    assert Releases(START).feed(text.encode()) == count


@given(st.lists(st.integers(1, 40), max_size=40))
def test_pieces_of_any_size(sizes: list[int]) -> None:
    """However the network cuts the stream, each release is found, and none twice."""
    stream = "".join(f"id: {n}\ndata: {LINE}\n\ndata: {AT} app[api]: x\n\n" for n in range(3))
    releases, rest, found = Releases(), stream.encode(), 0
    for size in sizes:
        found += releases.feed(rest[:size])
        rest = rest[size:]
    assert found + releases.feed(rest) == 3


def test_a_line_without_end() -> None:
    """A line that does not end is dropped, and what comes after it is read."""
    releases = Releases()
    for _ in range(100):
        assert releases.feed(b"x" * 1000) == 0
        assert len(releases._rest) <= 17_000
    assert releases.feed(f"{LINE}\n{LINE}\n".encode()) == 1


# --- the life of a stream ------------------------------------------------------------------


class Logs:
    """Opens sessions, and lets them say something, or end."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.api = self.http = self
        self.opened: list[float] = []
        self.error: PgheraldError | None = None
        self.queue: asyncio.Queue[bytes | PgheraldError | None] = asyncio.Queue()

    async def open_log(self, app: str) -> LogSession:
        self.opened.append(self.clock.monotonic() - 1000.0)
        if self.error is not None:
            raise self.error
        return LogSession(Secret(f"https://logs.example.com/{app}"), START)

    @contextlib.asynccontextmanager
    async def follow(self, url: Secret) -> AsyncIterator[AsyncIterator[bytes]]:
        yield self._pieces()

    async def _pieces(self) -> AsyncIterator[bytes]:
        while (piece := await self.queue.get()) is not None:
            if isinstance(piece, PgheraldError):
                raise piece
            yield piece


class Stream:
    """An app's events, running."""

    def __init__(self, *, spread: float = 0.0) -> None:
        self.logs = Logs()
        self.looks = 0
        self.events = AppEvents(
            self.logs,  # type: ignore[arg-type]  # a fake account
            "shop",
            self._look,
            asyncio.Semaphore(8),
            chance=lambda: spread,
        )
        self.task = asyncio.ensure_future(self.events.run())

    def _look(self) -> None:
        self.looks += 1

    async def says(self, *pieces: bytes | PgheraldError | None) -> None:
        for piece in pieces:
            self.logs.queue.put_nowait(piece)
        await settle()


@contextlib.asynccontextmanager
async def stream(**how: float) -> AsyncIterator[Stream]:
    running = Stream(**how)
    await settle()
    try:
        yield running
    finally:
        running.task.cancel()
        await asyncio.gather(running.task, return_exceptions=True)


async def test_a_release_makes_a_look() -> None:
    """A line about a release makes one look; the others, and the connection itself, make none."""
    async with stream() as running:
        assert running.events.connected
        await running.says(b"data: hello\n\n")
        assert running.looks == 0
        await running.says(f"{LINE}\n".encode())
        assert running.looks == 1


@pytest.mark.parametrize("end", [None, Unavailable("The connection to Heroku broke off")])
async def test_after_an_end_there_is_a_new_session(end: PgheraldError | None) -> None:
    """When a session ends another is opened, and the app is looked at: a line may be missing."""
    async with stream() as running:
        await running.logs.clock.advance(10 * MINUTE)
        await running.says(end)
        assert not running.events.connected
        await running.logs.clock.advance(1)
        assert running.logs.opened == [0.0, 601.0]
        assert running.looks == 1


async def test_a_session_is_left_before_it_expires() -> None:
    """Heroku ends a session after an hour; a new one is opened a little earlier."""
    async with stream() as running:
        await running.logs.clock.advance(3 * 3600)
        assert running.logs.opened == [0.0, LIFE + 1, 2 * (LIFE + 1), 3 * (LIFE + 1)]
        assert running.looks == 3


async def test_many_do_not_march_in_step() -> None:
    """Sessions end, and begin again, at times of their own."""
    async with stream(spread=0.5) as running:
        await running.logs.clock.advance(3600)
        assert running.logs.opened == pytest.approx([0.0, LIFE * 0.9 + 0.9])


@pytest.mark.parametrize("kind", [Unavailable, RateLimited])
async def test_a_broken_log_costs_less_and_less(kind: type[HerokuError]) -> None:
    """While it cannot be had the pauses grow up to 15 minutes, and shrink once it works."""
    async with stream() as running:
        running.logs.error = kind("no")
        await running.says(None)
        await running.logs.clock.advance(3600)
        assert running.logs.opened[:6] == [0.0, 1.0, 3.0, 7.0, 15.0, 31.0]
        assert len(running.logs.opened) <= 14
        running.logs.error = None
        await running.logs.clock.advance(LONGEST)
        assert running.events.connected
        await running.logs.clock.advance(2 * MINUTE)
        opened = len(running.logs.opened)
        await running.says(None)
        await running.logs.clock.advance(1)
        assert len(running.logs.opened) == opened + 1


@pytest.mark.parametrize("kind", [NotVisible, LoginRequired, UnsafeHost])
async def test_what_lasts_is_asked_rarely(kind: type[HerokuError]) -> None:
    """An app that is gone, a refused token, an odd address: tried again every 15 minutes."""
    async with stream() as running:
        running.logs.error = kind("no")
        await running.says(None)
        await running.logs.clock.advance(3601)
        assert running.logs.opened == [0.0, 1.0, 901.0, 1801.0, 2701.0, 3601.0]


@pytest.mark.parametrize("kind", [Forbidden, HerokuError])
async def test_what_is_not_allowed_is_let_be(kind: type[HerokuError]) -> None:
    """Where Heroku does not allow it (scope, Shield, private logging) it is never asked again."""
    async with stream() as running:
        running.logs.error = kind("no")
        await running.says(None)
        await running.logs.clock.advance(1)
        assert running.task.done()
        assert running.task.result() == "no"
        assert running.logs.opened == [0.0, 1.0]


# --- what is asked for a session -----------------------------------------------------------


class Flat:
    """An account whose Heroku answers as it is told to."""

    def __init__(self, answer: object) -> None:
        self.clock = FakeClock()
        self.heroku = FakeHeroku()
        self.heroku.routes["/apps/shop/log-sessions"] = answer  # type: ignore[assignment]  # what a test says
        self.account = Account("default", self.heroku.api(self.clock), jitter=lambda: 0.0)

    async def refused(self) -> HerokuError:
        with pytest.raises(HerokuError) as caught:
            await self.account.open_log("shop")
        return caught.value


async def test_a_session_is_opened() -> None:
    """The one POST asks for what Heroku itself says of the app, and nothing the app says."""
    url = "https://logs.example.com/sessions/CANARY?srv=1"
    flat = Flat(ok({"logplex_url": url, "created_at": "2026-01-05T09:00:00Z", "id": "x"}))
    session = await flat.account.open_log("shop")
    about, request = flat.heroku.requests
    assert (about.method, request.method) == ("GET", "POST")
    assert request.read() == b'{"source":"app","dyno":"api","lines":1,"tail":true}'
    assert session == LogSession(Secret(url), START)
    assert "CANARY" not in repr(session)
    assert flat.account.api.budget.last_hour() == 2
    await flat.account.open_log("shop")
    assert flat.account.api.budget.last_hour() == 3


async def test_an_app_whose_log_shows_no_releases(caplog: pytest.LogCaptureFixture) -> None:
    """No session of an app on Fir is opened, and the log says so once, also when it begins anew."""
    caplog.set_level("INFO")
    flat = Flat(ok({"logplex_url": "https://logs.example.com/s"}))
    flat.heroku.routes["/apps/shop"] = ok({"name": "shop", "generation": {"name": "fir"}})
    poller = FakePoller(SHOP)
    poller.watched = (Watched(flat.account, [SHOP], events=20),)

    async def keep(_: str, work: Callable[[], Awaitable[None]], *, endless: bool) -> None:
        await work()

    followers = LogFollowers(poller, lambda: None, keep)  # type: ignore[arg-type]  # a fake
    for _ in range(2):
        followers.restart()
        await settle()
    assert flat.heroku.paths == ["/apps/shop"] * 2
    said = "shop: no events (shop runs on fir, where logs show no releases); it is polled."
    assert [r.getMessage() for r in caplog.records if r.name.startswith("pgherald")] == [said]


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (error(403, "forbidden", "The scope of this OAuth authorization …"), Forbidden),
        (error(422, "invalid_params"), HerokuError),
        (ok({"logplex_url": 5}), HerokuError),
    ],
)
async def test_a_refusal_is_held_against_nobody(answer: object, kind: type[HerokuError]) -> None:
    """A log that is refused stops neither the account nor the app: the sweeps go on."""
    flat = Flat(answer)
    assert isinstance(await flat.refused(), kind)
    assert flat.account.stopped is None
    assert flat.account.api.refused is None
    flat.heroku.holds("shop", {})
    seen = await flat.account.ask("shop", lambda: flat.account.api.config_vars("shop", []))
    assert seen.logins == {}


async def test_a_used_up_limit_is_everybodys() -> None:
    """A limit that a log met with is kept by the sweeps too."""
    flat = Flat(error(429, "rate_limit"))
    assert isinstance(await flat.refused(), RateLimited)
    with pytest.raises(RateLimited):
        await flat.account.ask("shop", lambda: pytest.fail("asked"))


@pytest.mark.parametrize("why", ["the account rests", "few requests are left"])
async def test_no_session_while_heroku_is_spared(why: str) -> None:
    """No log is opened while the account rests, nor when few requests are left."""
    flat = Flat(error(401, "unauthorized"))
    if why == "the account rests":
        with pytest.raises(LoginRequired):
            await flat.account.ask(None, lambda: flat.account.api.open_log("shop"))
    else:
        flat.account.api.budget.saw(9)
    sent = len(flat.heroku.requests)
    assert type(await flat.refused()) is Unavailable
    assert len(flat.heroku.requests) == sent


# --- whose log is followed, and for how long -------------------------------------------------

SHOP, BLOG, WIKI = database("shop"), database("blog"), database("wiki")


class FakeAccount:
    name = "default"


class FakePoller:
    """Has apps, and remembers which it was to read."""

    def __init__(self, *named: Database, events: int = 20) -> None:
        self.watched = (Watched(FakeAccount(), named, events=events),)  # type: ignore[arg-type]  # a fake
        self.reads: list[str] = []

    def read(self, watched: Watched, app: str) -> None:
        self.reads.append(app)


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
        self.poller = FakePoller(*named, events=events)
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
        self.poller.reads.append("event")

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
    assert desk.poller.reads == ["event", "blog"]
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
    assert desk.poller.reads == ["event", "shop"]
    await desk.events.stop()
