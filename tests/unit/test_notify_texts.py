"""News in, notices out."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pgherald.model import News, NewsKind, Subject
from pgherald.notify.desktop import Notice, Urgency
from pgherald.notify.texts import line_for, notice_for, summary_of
from support.fake_clock import START

CRITICAL, NORMAL, LOW = Urgency.CRITICAL, Urgency.NORMAL, Urgency.LOW


def news(kind: NewsKind, name: str, **fields: object) -> News:
    """News about a database, unless the fields name another subject."""
    given_fields = {"subject": f"database:{name}", "label": name} | fields
    given_fields["subject"] = Subject.read(str(given_fields["subject"]))
    return News(kind, at=START, **given_fields)  # type: ignore[arg-type]  # a short cut for tests


def rotated(name: str = "Shop", **fields: object) -> News:
    usual = {"clients": ("pgAdmin", "psql"), "changed": ("user", "password")}
    return news(NewsKind.ROTATED, name, **(usual | fields))


def rotating(name: str = "Shop") -> News:
    return news(NewsKind.ROTATING, name)


def added(name: str = "Shop") -> News:
    return news(NewsKind.ADDED, name, clients=("psql",))


def mended(name: str = "Shop", **fields: object) -> News:
    return news(NewsKind.MENDED, name, **({"clients": ("psql",)} | fields))


def trouble(name: str = "Shop", title: str = "Heroku does not answer", **fields: object) -> News:
    return news(NewsKind.TROUBLE, name, **({"title": title} | fields))


def recovered(
    name: str = "Shop", title: str = "Heroku does not answer", minutes: int = 125, **fields: object
) -> News:
    since = START - timedelta(minutes=minutes)
    return news(NewsKind.RECOVERED, name, **({"title": title, "since": since} | fields))


def account(name: str) -> dict[str, Any]:
    return {"subject": f"account:{name}", "label": name}


def expiry(name: str) -> dict[str, Any]:
    return {"subject": f"expiry:{name}", "label": name}


def one(*happened: News) -> Notice:
    (notice,) = notice_for(happened)
    return notice


BEHIND = (("servers.json", "no space left"),)
CURRENT = "pgAdmin and psql are up to date."
REFRESH = "Before you open a new Query Tool in pgAdmin, refresh the server."


@pytest.mark.parametrize(
    ("happened", "title", "body", "urgency"),
    [
        ([rotated()], "Heroku rotated Shop", CURRENT, NORMAL), ([rotated(clients=("psql", "a", "b", "c"))], "Heroku rotated Shop",
         "psql, a and 2 more are up to date.", NORMAL), ([rotated(refresh=True)], "Heroku rotated Shop", f"{CURRENT}\n{REFRESH}", NORMAL), ([rotated(changed=("dbname",), reopen=True)], "Heroku rotated Shop",
         f"{CURRENT}\nThe database's own name changed too: in pgAdmin, reopen the server.", CRITICAL), ([rotated("A", clients=("psql", "pgAdmin"), behind=BEHIND),
          rotated("B", clients=("pgAdmin",), behind=BEHIND, proven=False),
          rotated("C", changed=("dbname",)), rotated("D", changed=("dbname",), reopen=True)],
         "Heroku rotated 4 databases",
         ("A, B and 2 more.\npgAdmin is up to date.\nservers.json could not be updated: no space left.\n"
         "1 of the new logins could not be tested.\nIn pgAdmin, reopen D.\n"
         "The own name of C changed too: enter it in your tools."), CRITICAL), ([added(str(n)) for n in range(12)], "pgherald now keeps 12 databases",
         "0, 1 and 10 more.\npsql is up to date.", LOW), ([trouble(advice="Rotate it.")], "Heroku does not answer", "Shop: Rotate it.", CRITICAL), ([trouble(f"db {n}", f"Trouble {n}") for n in range(5)], "5 things do not work",
         "Trouble 0.\nTrouble 1.\nTrouble 2.\nAnd 2 more.\n`pgherald status` says what to do.",
         CRITICAL), ([trouble("", "No databases", subject="discovery:work", label="work")], "No databases",
         "Heroku account work", NORMAL), ([recovered()], "Shop works again", "It had not worked for 2 h 5 min.", NORMAL),
    ],
)  # fmt: skip
def test_the_texts(happened: list[News], title: str, body: str, urgency: Urgency) -> None:
    """Each notice says whom it concerns, what happened and what is left to do; that stays."""
    notice = one(*happened)
    assert (notice.title, notice.body, notice.urgency) == (title, body, urgency)


@pytest.mark.parametrize("count", [1, 40])
def test_the_end_takes_the_beginnings_place(count: int) -> None:
    """A rotation that takes a while is announced, and its end takes the same place on the screen."""
    begin = one(*(rotating(f"s{n}") for n in range(count)))
    end = one(*(rotated(f"s{n}") for n in range(count)))
    assert begin.replaces == end.replaces
    assert (begin.passing, begin.actions, end.passing) == (True, (), False)


def test_a_recovery_takes_the_troubles_place() -> None:
    """The notice of a trouble is replaced by that of its end, if it is about the same subjects."""
    names = ("A", "B")
    begin, end = one(*map(trouble, names)), one(*map(recovered, reversed(names)))
    assert begin.replaces == end.replaces
    assert one(recovered("A")).replaces != begin.replaces
    renewed = one(recovered("", **expiry("work")))
    assert one(trouble("", **expiry("work"))).replaces == renewed.replaces


def test_a_night_is_one_notice() -> None:
    """What happened in quiet hours is counted, the most urgent first, and stays short."""
    blog = trouble("Blog", "Blog is refused", advice="Do it.")
    (notice,) = summary_of([rotated(), blog, rotated("Forum")])
    assert notice.title == "In your quiet hours: 1 trouble and 2 rotations"
    assert notice.body.splitlines() == [
        "Blog is refused.",
        "Heroku rotated Forum.",
        "Heroku rotated Shop.",
        "`pgherald status` says what to do.",
    ]
    assert notice.urgency is CRITICAL
    edges = [recovered("a", "1"), recovered("b", "2"), trouble("c", "3"), trouble("d", "4")]
    (notice,) = summary_of([*edges, added("x"), rotated()])
    assert notice.title == "In your quiet hours: 2 troubles, 1 rotation and 2 more"
    assert "And 3 more." in notice.body


ANY_NEWS = st.builds(
    News,
    kind=st.sampled_from(NewsKind),
    subject=st.sampled_from(["database:a", "database:b", "account:default", "client:/x"]).map(
        Subject.read
    ),
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
def test_never_a_storm(happened: list[News]) -> None:
    """However much happens at once, the person sees a handful of notices, each with a title."""
    assert len(notice_for(happened)) <= 2 * 5
    for n in happened:
        line_for(n)
