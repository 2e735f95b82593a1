"""Speaking on edges: once when something breaks, once when it works again."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from pgherald.errors import (
    LoginRequired,
    NotHeroku,
    NotYetProven,
    PgheraldError,
    ProbeFailed,
    RateLimited,
    Unavailable,
)
from pgherald.files import Files
from pgherald.model import News, NewsKind, Subject
from pgherald.store import Alert, BackgroundStore
from pgherald.sync.alerts import Alerts
from support.fake_clock import START, FakeClock

SUBJECT = Subject.read("account:default")
MINUTE = 60.0


class Desk:
    """Troubles, and what the person heard."""

    def __init__(self, store: BackgroundStore) -> None:
        self.store = store
        self.clock = FakeClock()
        self.news: list[News] = []
        self.alerts = Alerts(store, self.clock, self.news.append)

    def fire(self, error: PgheraldError) -> None:
        self.alerts.fire(SUBJECT, "default", error)

    def kinds(self) -> list[NewsKind]:
        return [news.kind for news in self.news]


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    files = Files(tmp_path / "locks")
    files.private_folder(tmp_path)
    with BackgroundStore.open(tmp_path / "state.db", files) as store:
        yield Desk(store)


async def test_one_notice_each(desk: Desk) -> None:
    """However often it shows itself, a trouble is told once, and so is its end."""
    for _ in range(5):
        desk.fire(LoginRequired("No token"))
        await desk.clock.advance(MINUTE)
    for _ in range(5):
        desk.alerts.resolve(SUBJECT)
    assert desk.kinds() == [NewsKind.TROUBLE, NewsKind.RECOVERED]
    trouble, recovered = desk.news
    assert (trouble.title, trouble.advice) == ("No token", LoginRequired.default_advice)
    assert (recovered.since, recovered.at) == (START, START + timedelta(minutes=5))


def test_another_kind_is_told_anew(desk: Desk) -> None:
    """Another kind of trouble is news; other words for the same kind are not."""
    desk.fire(LoginRequired("No token"))
    desk.fire(LoginRequired("Still no token"))
    desk.fire(ProbeFailed("Refused"))
    assert [news.title for news in desk.news] == ["No token", "Refused"]


@pytest.mark.parametrize("kind", [Unavailable, NotHeroku, RateLimited])
async def test_what_usually_passes_is_told_when_it_lasts(
    desk: Desk, kind: type[PgheraldError]
) -> None:
    """An outage is told after a quarter of an hour, not before."""
    for _ in range(15):
        desk.fire(kind("down"))
        await desk.clock.advance(MINUTE)
    assert desk.news == []
    desk.fire(kind("down"))
    assert desk.kinds() == [NewsKind.TROUBLE]


def test_a_closed_lid_is_no_long_trouble(desk: Desk) -> None:
    """The hours that the machine slept through do not make an outage a lasting one."""
    desk.fire(Unavailable("down"))
    desk.clock.suspend(8 * 3600)
    desk.fire(Unavailable("down"))
    assert desk.news == []


def test_a_blip_is_never_told(desk: Desk) -> None:
    """What passed before it was told has no end to be told either."""
    desk.fire(Unavailable("down"))
    desk.alerts.resolve(SUBJECT)
    assert desk.news == []
    assert desk.store.alerts() == []


async def test_a_login_that_is_still_being_tried_is_not_told(desk: Desk) -> None:
    """Only status knows of a login that is being tried again, however long that takes."""
    desk.fire(NotYetProven("not yet"))
    await desk.clock.advance(86_400 * 365)
    desk.fire(NotYetProven("not yet"))
    assert desk.news == []
    assert len(desk.store.alerts()) == 1


def test_a_restart_does_not_tell_again(desk: Desk) -> None:
    """What was told before a restart is not told after it; its end is."""
    desk.fire(LoginRequired("No token"))
    again = Alerts(desk.store, desk.clock, desk.news.append)
    again.fire(SUBJECT, "default", LoginRequired("No token"))
    again.resolve(SUBJECT)
    assert desk.kinds() == [NewsKind.TROUBLE, NewsKind.RECOVERED]


def test_strangers_are_forgotten_without_a_word(desk: Desk) -> None:
    """The trouble of what is kept no more is gone, and nobody hears that it works again."""
    desk.fire(LoginRequired("No token"))
    desk.alerts.fire(Subject.read("client:/old"), "psql", ProbeFailed("broken"))
    desk.alerts.keep_only(lambda subject: subject == SUBJECT)
    assert [trouble.subject for trouble in desk.store.alerts()] == [SUBJECT]
    assert desk.kinds() == [NewsKind.TROUBLE, NewsKind.TROUBLE]


def test_what_cannot_be_kept_is_told_all_the_same(desk: Desk) -> None:
    """A state file that nobody can write raises nothing, and no edge goes unsaid."""
    desk.store.close()
    desk.fire(LoginRequired("No token"))
    desk.alerts.resolve(SUBJECT)
    desk.fire(LoginRequired("No token"))
    desk.alerts.keep_only(lambda _: False)
    assert desk.kinds() == [NewsKind.TROUBLE, NewsKind.RECOVERED, NewsKind.TROUBLE]


async def test_what_is_told_and_kept(desk: Desk) -> None:
    """Each field of the news and of the state, at the beginning and at the end."""
    desk.fire(LoginRequired("No token"))
    await desk.clock.advance(MINUTE)
    desk.fire(LoginRequired("Still none", "Do it."))
    (kept,) = desk.store.alerts()
    assert kept == Alert(
        SUBJECT, "default", "LoginRequired", "Still none", "Do it.", START, told=True
    )
    desk.alerts.resolve(SUBJECT)
    later = START + timedelta(minutes=1)
    assert desk.news == [
        News(NewsKind.TROUBLE, SUBJECT, START, "default", title="No token",
             advice=LoginRequired.default_advice, error="LoginRequired"),
        News(NewsKind.RECOVERED, SUBJECT, later, "default", title="Still none", since=START,
             error="LoginRequired"),
    ]  # fmt: skip
    assert desk.store.alerts() == []


async def test_an_outage_is_one_trouble_whatever_it_looks_like(desk: Desk) -> None:
    """A time-out, a page of some proxy, a limit: the quarter of an hour goes on."""
    for kind in (Unavailable, NotHeroku, RateLimited):
        desk.fire(kind("down"))
        await desk.clock.advance(5 * MINUTE)
    assert desk.news == []
    desk.fire(Unavailable("down"))
    assert [(news.kind, news.at) for news in desk.news] == [
        (NewsKind.TROUBLE, START + timedelta(minutes=15))
    ]
    desk.fire(NotHeroku("down"))
    assert len(desk.news) == 1
    assert [(t.kind, t.since) for t in desk.store.alerts()] == [("NotHeroku", START)]


async def test_a_trouble_that_comes_again_is_counted_anew(desk: Desk) -> None:
    """What passed in between was another one."""
    desk.fire(Unavailable("down"))
    await desk.clock.advance(10 * MINUTE)
    desk.alerts.resolve(SUBJECT)
    desk.fire(Unavailable("down"))
    await desk.clock.advance(10 * MINUTE)
    desk.fire(Unavailable("down"))
    assert desk.news == []
    desk.alerts.keep_only(lambda _: False)
    desk.fire(Unavailable("down"))
    await desk.clock.advance(10 * MINUTE)
    desk.fire(Unavailable("down"))
    assert desk.news == []


async def test_another_kind_has_a_time_of_its_own(desk: Desk) -> None:
    """An outage that follows upon something else is borne for its own quarter of an hour."""
    desk.fire(LoginRequired("No token"))
    await desk.clock.advance(20 * MINUTE)
    desk.fire(Unavailable("down"))
    assert desk.kinds() == [NewsKind.TROUBLE]
    await desk.clock.advance(15 * MINUTE)
    desk.fire(Unavailable("down"))
    assert desk.kinds() == [NewsKind.TROUBLE, NewsKind.TROUBLE]


def test_one_more_try_is_no_news_and_no_end(desk: Desk) -> None:
    """A refusal that was told stays as it is while the login is tried again."""
    desk.fire(ProbeFailed("Refused"))
    desk.fire(NotYetProven("Refused so far"))
    assert desk.kinds() == [NewsKind.TROUBLE]
    assert [trouble.kind for trouble in desk.store.alerts()] == ["ProbeFailed"]
    desk.alerts.resolve(SUBJECT)
    assert desk.kinds() == [NewsKind.TROUBLE, NewsKind.RECOVERED]


def test_the_trouble_of_another_process_ends_too(desk: Desk) -> None:
    """One that a `check` kept ends without a word: the person was not notified that it began."""
    check = Alerts(desk.store, desk.clock, lambda _: None, notifies=False)
    check.fire(SUBJECT, "default", LoginRequired("No token"))
    desk.alerts.resolve(SUBJECT)
    assert desk.kinds() == []
    assert desk.store.alerts() == []
    check.fire(SUBJECT, "default", LoginRequired("No token"))
    daemon = Alerts(desk.store, desk.clock, desk.news.append)
    daemon.fire(SUBJECT, "default", LoginRequired("No token"))
    daemon.resolve(SUBJECT)
    assert desk.kinds() == [NewsKind.TROUBLE, NewsKind.RECOVERED]


def test_what_a_check_called_well_is_kept_while_it_lasts(desk: Desk) -> None:
    """One that another process resolved, and that is still there, is shown again, and told once."""
    desk.fire(LoginRequired("No token"))
    check = Alerts(desk.store, desk.clock, lambda _: None, notifies=False)
    check.resolve(SUBJECT)
    desk.fire(LoginRequired("No token"))
    assert len(desk.store.alerts()) == 1
    desk.alerts.resolve(SUBJECT)
    assert desk.kinds() == [NewsKind.TROUBLE, NewsKind.RECOVERED]


async def test_what_was_told_ends_in_words_too(desk: Desk) -> None:
    """Where a told trouble turned into one that passes untold, its end is told all the same."""
    desk.fire(LoginRequired("No token"))
    await desk.clock.advance(MINUTE)
    desk.fire(Unavailable("Heroku is down"))
    assert [trouble.title for trouble in desk.store.alerts()] == ["Heroku is down"]
    await desk.clock.advance(MINUTE)
    desk.alerts.resolve(SUBJECT)
    assert [(news.kind, news.title) for news in desk.news] == [
        (NewsKind.TROUBLE, "No token"),
        (NewsKind.RECOVERED, "No token"),
    ]
    assert desk.store.alerts() == []


async def test_what_comes_back_is_told_already(desk: Desk) -> None:
    """A trouble that only seemed to be another one for a moment is not told twice."""
    desk.fire(LoginRequired("No token"))
    await desk.clock.advance(MINUTE)
    desk.fire(Unavailable("Heroku is down"))
    await desk.clock.advance(MINUTE)
    desk.fire(LoginRequired("No token"))
    assert desk.kinds() == [NewsKind.TROUBLE]
    desk.fire(Unavailable("Heroku is down"))
    await desk.clock.advance(15 * MINUTE)
    desk.fire(Unavailable("Heroku is down"))
    desk.alerts.resolve(SUBJECT)
    told = [(news.kind, news.title) for news in desk.news[1:]]
    assert told == [(NewsKind.TROUBLE, "Heroku is down"), (NewsKind.RECOVERED, "Heroku is down")]


async def test_what_is_being_tried_is_no_outage(desk: Desk) -> None:
    """However long a login was tried, an outage after it is borne for its own quarter of an hour."""
    desk.fire(NotYetProven("Refused so far"))
    await desk.clock.advance(20 * MINUTE)
    desk.fire(Unavailable("Heroku is down"))
    assert desk.kinds() == []
    await desk.clock.advance(15 * MINUTE)
    desk.fire(Unavailable("Heroku is down"))
    assert desk.kinds() == [NewsKind.TROUBLE]


async def test_what_was_not_told_before_a_restart(desk: Desk) -> None:
    """What was borne by one daemon is told by the next, if it lasts."""
    desk.fire(Unavailable("Heroku is down"))
    again = Alerts(desk.store, desk.clock, desk.news.append)
    again.fire(SUBJECT, "default", Unavailable("Heroku is down"))
    await desk.clock.advance(15 * MINUTE)
    again.fire(SUBJECT, "default", Unavailable("Heroku is down"))
    assert desk.kinds() == [NewsKind.TROUBLE]


def test_what_was_told_before_a_restart(desk: Desk) -> None:
    """Who was told is not forgotten, and what is no longer kept is."""
    desk.fire(LoginRequired("No token"))
    again = Alerts(desk.store, desk.clock, desk.news.append)
    again.fire(SUBJECT, "default", Unavailable("Heroku is down"))
    again.resolve(SUBJECT)
    assert desk.kinds() == [NewsKind.TROUBLE, NewsKind.RECOVERED]
    desk.fire(LoginRequired("No token"))
    desk.alerts.keep_only(lambda _: False)
    desk.alerts.resolve(SUBJECT)
    desk.fire(LoginRequired("No token"))
    assert desk.kinds() == [NewsKind.TROUBLE, NewsKind.RECOVERED, NewsKind.TROUBLE]


def test_a_store_that_began_anew_hears_all_that_is_known(desk: Desk) -> None:
    """What does not work is shown by `status` also after the state file was lost."""
    desk.fire(LoginRequired("No token"))
    desk.store.path.write_bytes(b"no database" * 100)
    desk.alerts.keep_anew()
    assert [trouble.title for trouble in desk.store.alerts()] == ["No token"]


def test_what_hinders_nothing_is_mentioned_once(desk: Desk) -> None:
    """One notice ever, also over restarts; a check, which prints it, leaves the notice to the daemon."""
    what = PgheraldError("pgpass is tracked by git", "Take it out.")
    Alerts(desk.store, desk.clock, desk.news.append, notifies=False).mention(SUBJECT, "psql", what)
    assert desk.news == []
    for alerts in (desk.alerts, desk.alerts, Alerts(desk.store, desk.clock, desk.news.append)):
        alerts.mention(SUBJECT, "psql", what)
    (news,) = desk.news
    assert (news.title, news.advice, news.label) == (what.title, what.advice, "psql")
    assert not desk.store.alerts(), "nothing is wrong"


@pytest.mark.parametrize("noted", ["{", "5", "null", "[5]", '{"x": 1}'])
def test_a_damaged_note_of_mentions(desk: Desk, noted: str) -> None:
    """It costs one notice more, and no sweep."""
    desk.store.note("mentioned", noted)
    for _ in range(2):
        desk.alerts.mention(SUBJECT, "psql", PgheraldError("pgpass is tracked by git"))
    assert [news.title for news in desk.news] == ["pgpass is tracked by git"]
