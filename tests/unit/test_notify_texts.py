"""What the person reads."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pgherald.model import News, NewsKind
from pgherald.notify.desktop import Action, Notice, Urgency
from pgherald.notify.texts import duration, is_warning, joined, line_for, notice_for, summary_of
from support.fake_clock import START


def rotated(name: str = "Shop (production)", **fields: object) -> News:
    given_fields = {"clients": ("pgAdmin", "psql"), "changed": ("user", "password")} | fields
    return News(NewsKind.ROTATED, f"database:{name}", START, name, **given_fields)  # type: ignore[arg-type]  # a short cut for tests


def trouble(name: str = "Shop", title: str = "Heroku does not answer", advice: str = "") -> News:
    return News(NewsKind.TROUBLE, f"database:{name}", START, name, title=title, advice=advice)


def recovered(
    name: str = "Shop", title: str = "Heroku does not answer", minutes: int = 125
) -> News:
    since = START - timedelta(minutes=minutes)
    return News(NewsKind.RECOVERED, f"database:{name}", START, name, title=title, since=since)


def added(name: str = "Shop", **fields: object) -> News:
    given_fields = {"clients": ("psql",)} | fields
    return News(NewsKind.ADDED, f"database:{name}", START, name, **given_fields)  # type: ignore[arg-type]  # a short cut for tests


def mended(name: str = "Shop", **fields: object) -> News:
    given_fields = {"clients": ("psql",)} | fields
    return News(NewsKind.MENDED, f"database:{name}", START, name, **given_fields)  # type: ignore[arg-type]  # a short cut for tests


def one(*news: News) -> Notice:
    (notice,) = notice_for(news)
    return notice


def test_one_rotation() -> None:
    """A rotation names the database and the clients that are up to date."""
    assert one(rotated()) == Notice(
        "Heroku rotated Shop (production)",
        "pgAdmin and psql are up to date.",
        Urgency.NORMAL,
        "rotated:database:Shop (production)",
        (Action.PGADMIN, Action.HISTORY),
    )


def rotating(name: str = "Shop") -> News:
    return News(NewsKind.ROTATING, f"database:{name}", START, name)


def test_a_rotation_under_way() -> None:
    """One that takes a while is announced, and its end takes the same place on the screen."""
    begin, end = one(rotating()), one(rotated("Shop"))
    assert (begin.title, begin.body) == (
        "Heroku is rotating Shop …",
        "The new login is being proven.",
    )
    assert begin.replaces == end.replaces
    assert begin.passing
    assert not end.passing
    assert not begin.actions


def test_many_under_way_become_one() -> None:
    """Forty that take a while are one notice, and so is their end, in its place."""
    begin = one(*(rotating(f"s{n}") for n in range(40)))
    end = one(*(rotated(f"s{n}") for n in range(40)))
    assert begin.title == "Heroku is rotating 40 databases …"
    assert begin.replaces == end.replaces


@pytest.mark.parametrize("end", [rotated("Shop"), trouble(), mended()])
def test_a_beginning_whose_end_is_known_is_not_told(end: News) -> None:
    """What has ended by the time that the notice is made was never under way."""
    assert not any(notice.passing for notice in notice_for([rotating(), end]))


def test_what_the_buttons_are_for() -> None:
    """Whatever does not work leads to the status; what works, to where one goes on working."""
    assert one(trouble()).actions == (Action.STATUS,)
    assert one(rotated(behind=(("psql", "no space left"),))).actions == (Action.STATUS,)
    assert one(added()).actions == (Action.PGADMIN,)
    assert one(recovered()).actions == ()


def test_an_unproven_login_is_said_to_be_so() -> None:
    """The person knows when nobody has tried the login."""
    assert one(rotated(proven=False)).body.endswith("\nThe new login could not be tested.")


def test_a_client_that_stayed_behind() -> None:
    """What could not be written is named with reason and advice, and stays on the screen."""
    notice = one(
        rotated(
            clients=("psql",), behind=(("servers.json", "no space left."),), advice="Make room."
        )
    )
    assert notice.title == "Heroku rotated Shop (production)"
    assert notice.body.splitlines() == [
        "psql is up to date.",
        "servers.json could not be updated: no space left.",
        "Make room.",
    ]
    assert notice.urgency is Urgency.CRITICAL


@pytest.mark.parametrize(
    ("changed", "reopen", "words"),
    [
        (("dbname",), True, "name changed too: in pgAdmin, reopen the server."),
        (("dbname",), False, "name changed too: enter it in your tools."),
        (("user",), True, "In pgAdmin, reopen the server."),
        (("user",), False, "pgAdmin and psql are up to date."),
    ],
)
def test_a_rotation_that_needs_a_hand(
    changed: tuple[str, ...],
    reopen: bool,  # a column of the table
    words: str,
) -> None:
    """What only the person can do is said, and stays on the screen; and only then."""
    notice = one(rotated(changed=changed, reopen=reopen))
    assert notice.body.endswith(words)
    urgent = reopen or "dbname" in changed
    assert notice.urgency is (Urgency.CRITICAL if urgent else Urgency.NORMAL)


def test_a_new_query_tool_needs_a_refresh() -> None:
    """Where a pgAdmin is open and the user changed, one line says what would ask for a password."""
    words = "Before you open a new Query Tool in pgAdmin, refresh the server."
    notice = one(rotated(refresh=True))
    assert notice.body.splitlines()[-1] == words
    assert notice.urgency is Urgency.NORMAL
    assert words not in one(rotated()).body
    assert words not in one(rotated(refresh=True, reopen=True)).body
    many = one(*(rotated(f"db {n}", refresh=True) for n in range(3)))
    assert many.body.count(words) == 1


def test_forty_rotations_are_one_notice() -> None:
    """A storm of rotations becomes one summary that names the first."""
    notice = one(*(rotated(f"db {n}") for n in range(40)))
    assert notice.title == "Heroku rotated 40 databases"
    assert notice.body == "db 0, db 1 and 38 more.\npgAdmin and psql are up to date."
    assert len(notice_for([rotated("A"), rotated("B")])) == 2  # which can be read at a glance
    assert notice.urgency is Urgency.NORMAL


def test_a_summary_hides_no_trouble() -> None:
    """In a summary, too, the person reads what is behind, unproven or renamed."""
    behind = (("servers.json", "no space left"),)
    notice = one(
        rotated("A", clients=("psql", "pgAdmin"), behind=behind),
        rotated("B", clients=("pgAdmin",), behind=behind, proven=False),
        rotated("C", clients=("pgAdmin", "psql"), changed=("dbname",)),
        rotated("D", clients=("pgAdmin", "psql"), changed=("dbname",), reopen=True),
    )
    assert notice.body.splitlines() == [
        "A, B and 2 more.",
        "pgAdmin is up to date.",
        "servers.json could not be updated: no space left.",
        "1 of the new logins could not be tested.",
        "In pgAdmin, reopen D.",
        "The own name of C changed too: enter it in your tools.",
    ]
    assert notice.urgency is Urgency.CRITICAL


def test_many_reasons_are_counted() -> None:
    """A long list of reasons is cut, and says where the rest is."""
    behind = tuple((f"file {n}", "gone") for n in range(5))
    lines = one(rotated(clients=(), behind=behind)).body.splitlines()
    assert lines[-1] == "And 3 more; see `pgherald status`."
    assert len(lines) == 3


def test_added_is_one_quiet_line() -> None:
    """A new database is confirmed, quietly."""
    notice = one(added())
    assert (notice.title, notice.body) == ("pgherald now keeps Shop", "psql is up to date.")
    assert notice.urgency is Urgency.LOW
    assert one(*(added(str(n)) for n in range(12))).title == "pgherald now keeps 12 databases"


def test_mended_is_silent() -> None:
    """A mended client asks nothing of the person, so nothing is shown."""
    assert notice_for([mended()]) == []


def test_what_could_not_be_mended_is_told() -> None:
    """A client that cannot be mended is told like any other that stayed behind."""
    notice = one(mended(behind=(("servers.json", "read-only"),)))
    assert notice.title == "pgherald mended Shop"
    assert notice.urgency is Urgency.CRITICAL


def test_trouble() -> None:
    """A trouble says whom it concerns and what to do, and stays; one that only waiting ends does not."""
    notice = one(trouble(title="The login was refused", advice="Rotate it."))
    assert (notice.title, notice.body) == ("The login was refused", "Shop: Rotate it.")
    assert notice.urgency is Urgency.CRITICAL
    notice = one(trouble())
    assert (notice.title, notice.body, notice.urgency) == (
        "Heroku does not answer",
        "Shop",
        Urgency.NORMAL,
    )
    disk = News(NewsKind.TROUBLE, "commit", START, "commit", title="No space", advice="Make room.")
    assert one(disk).body == "Make room."


def test_a_token_that_ends_soon() -> None:
    """It is told by the day, with what to do; that the new one is in use is no recovery."""
    ends = News(
        NewsKind.TROUBLE, "expiry:work", START, "work", title="It ends", advice="Log in again."
    )
    (notice,) = notice_for([ends])
    assert (notice.title, notice.body) == ("It ends", "Heroku account work: Log in again.")
    new = News(NewsKind.RECOVERED, "expiry:work", START, "work", title="It ends", since=START)
    (renewed,) = notice_for([new])
    assert (renewed.title, renewed.body) == ("Heroku account work: the new token is in use", "")
    assert renewed.urgency is Urgency.LOW
    assert renewed.replaces == notice.replaces is not None
    assert line_for(new) == "Heroku account work: the new token is in use"


def test_the_only_account_is_called_heroku() -> None:
    """A person with one account does not read the word "default"."""
    account = News(
        NewsKind.TROUBLE, "account:default", START, "default", title="No token", advice="Log in."
    )
    assert one(account).body == "Log in."
    over = News(NewsKind.RECOVERED, "account:default", START, "default", title="No token")
    assert (one(over).title, one(over).body) == ("Heroku works again", "")
    other = News(NewsKind.RECOVERED, "account:work", START, "work", title="No token")
    assert one(other).title == "Heroku account work works again"


def test_troubles_of_the_same_headline_merge() -> None:
    """An outage that hits forty databases is one notice."""
    notice = one(*(trouble(f"db {n}", advice="Wait.") for n in range(40)))
    assert (notice.title, notice.body) == (
        "Heroku does not answer",
        "db 0, db 1 and 38 more: Wait.",
    )


def test_many_different_troubles_merge() -> None:
    """Troubles of many kinds at once become one notice that names the first."""
    notice = one(*(trouble(f"db {n}", title=f"Trouble {n}") for n in range(5)))
    assert notice.title == "5 things do not work"
    assert notice.body.splitlines() == [
        "Trouble 0.",
        "Trouble 1.",
        "Trouble 2.",
        "And 2 more.",
        "`pgherald status` tells what to do.",
    ]
    three = one(*(trouble(f"db {n}", title=f"Trouble {n}") for n in range(3)))
    assert "more." not in three.body


def test_recoveries_merge() -> None:
    """The end of an outage is one notice with how long it lasted, whatever the troubles were."""
    notice = one(recovered())
    assert (notice.title, notice.body) == ("Shop works again", "It was down for 2 h 5 min.")
    notice = one(*(recovered(f"db {n}", minutes=n) for n in range(40)))
    assert notice.title == "db 0, db 1 and 38 more work again"
    assert notice.body == "It was down for 39 min."
    assert len(notice_for([recovered(f"db {n}", title=f"T {n}") for n in range(5)])) == 1


def test_a_recovery_takes_the_troubles_place() -> None:
    """The notice of a trouble is replaced by that of its end, if it is about the same subjects."""
    names = ("A", "B")
    begin, end = one(*map(trouble, names)), one(*map(recovered, reversed(names)))
    assert begin.replaces == end.replaces
    assert one(recovered("A")).replaces != begin.replaces


def test_a_rotation_does_not_hide_a_trouble() -> None:
    """News of different kinds about one database stand beside each other."""
    keys = {n.replaces for n in notice_for([rotated("A"), trouble("A"), added("B"), added("A")])}
    assert len(keys) == 4


def test_a_blink_is_not_told() -> None:
    """A trouble that is over before it could be shown is not shown."""
    assert notice_for([]) == notice_for([trouble(), recovered()]) == []


def test_the_last_edge_counts() -> None:
    """Of several edges of one subject within a moment, the person reads the last."""
    assert one(recovered(), trouble()).title == "Heroku does not answer"
    assert one(recovered(), trouble(), recovered()).title == "Shop works again"
    assert notice_for([trouble(), recovered(), trouble("Other")])[0].body == "Other"


def test_the_urgent_comes_last() -> None:
    """What must not be overlooked ends up on top."""
    urgencies = [
        n.urgency
        for n in notice_for([rotated("A", behind=(("x", "y"),)), recovered(), trouble("B")])
    ]
    assert urgencies[-1] is Urgency.CRITICAL


def test_long_names_are_cut() -> None:
    """A title fits a notification, however long the name."""
    assert len(one(rotated("x" * 500)).title) < 60


def test_log_lines() -> None:
    """Each piece of news is one line of the log, mended ones included; broken things warn."""
    assert line_for(rotated()) == (
        "Heroku rotated Shop (production): pgAdmin and psql are up to date."
    )
    assert line_for(mended()) == "pgherald mended Shop: psql is up to date."
    assert line_for(trouble()) == "Heroku does not answer: Shop"
    assert line_for(recovered()) == "Shop works again: It was down for 2 h 5 min."
    assert line_for(added(clients=())) == "pgherald now keeps Shop"
    assert is_warning(trouble())
    assert is_warning(rotated(behind=(("x", "y"),)))
    assert not is_warning(rotated())
    assert not is_warning(recovered())


BLOG = trouble("Blog", title="Blog is refused", advice="Do it.")


def test_the_summary_of_a_night() -> None:
    """A night is one notice: counted, the most urgent first, and what to do about it."""
    (notice,) = summary_of([rotated("Shop"), BLOG, rotated("Forum")])
    assert notice.title == "In your quiet hours: 1 trouble and 2 rotations"
    assert notice.body.splitlines() == [
        "Blog is refused.",
        "Heroku rotated Forum.",
        "Heroku rotated Shop.",
        "`pgherald status` tells what to do.",
    ]
    assert notice.urgency is Urgency.CRITICAL


def test_a_night_with_one_event_needs_no_summary() -> None:
    """One event is told as it would have been; a trouble that is over is not told at all."""
    (notice,) = summary_of([rotating(), rotated("Shop"), BLOG, recovered("Blog")])
    assert notice.title == "Heroku rotated Shop"
    assert summary_of([BLOG, recovered("Blog")]) == []


def test_a_long_night() -> None:
    """A summary stays short."""
    recoveries = [recovered(f"s{n}", title=str(n)) for n in range(2)]
    troubles = [trouble(f"t{n}", title=f"t{n}") for n in range(2)]
    (notice,) = summary_of([*recoveries, *troubles, added("x"), rotated()])
    assert notice.title == "In your quiet hours: 2 troubles, 1 rotation and 2 more"
    assert "And 3 more." in notice.body


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 s"),
        (45, "45 s"),
        (125, "2 min 5 s"),
        (7500, "2 h 5 min"),
        (93_600, "1 d 2 h"),
    ],
)
def test_durations(seconds: int, text: str) -> None:
    """A span is given in its two largest units."""
    assert duration(timedelta(seconds=seconds)) == text


def test_joined() -> None:
    """Lists read like a sentence."""
    assert [joined(list("abcde")[:n]) for n in range(6)] == [
        "",
        "a",
        "a and b",
        "a, b and c",
        "a, b and 2 more",
        "a, b and 3 more",
    ]


ANY_NEWS = st.builds(
    News,
    kind=st.sampled_from(NewsKind),
    subject=st.sampled_from(["database:a", "database:b", "account:default", "client:/x"]),
    at=st.just(START),
    label=st.text(min_size=1, max_size=80),
    changed=st.sampled_from([(), ("dbname",), ("user", "password")]),
    proven=st.booleans(),
    clients=st.lists(st.text(max_size=9), max_size=5).map(tuple),
    behind=st.lists(st.tuples(st.text(max_size=9), st.text(max_size=20)), max_size=5).map(tuple),
    title=st.sampled_from(["", "Trouble", "Other"]),
    advice=st.sampled_from(["", "Do this."]),
    since=st.sampled_from([None, START]),
)


@settings(max_examples=30)
@given(st.lists(ANY_NEWS, max_size=20))
def test_never_a_storm(news: list[News]) -> None:
    """However much happens at once, the person sees a handful of notices, each with a title."""
    notices = notice_for(news)
    assert len(notices) <= 2 * 5
    for n in news:
        line_for(n)
