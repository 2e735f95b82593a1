"""Databases that nobody had to list."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from typing import Any

import httpx
import pytest

from pgherald.config import DiscoverRule
from pgherald.errors import HerokuError, NotVisible, Unavailable
from pgherald.heroku.account import Account
from pgherald.heroku.discovery import Discovery, Found
from support.fake_clock import FakeClock
from support.heroku_answers import URL, FakeHeroku, error, ok, tagged

PLAN = "heroku-postgresql:standard-0"
OTHER_URL = "postgres://u2:CANARY-2@h2/d2"
EVERY = DiscoverRule(attachments=("*",))


def attached(
    app: str,
    name: str = "DATABASE",
    addon: str = "",
    namespace: str | None = None,
    plan: str | None = PLAN,
) -> dict[str, Any]:
    what = {"name": addon or f"postgresql-{app}"}
    return {
        "id": "a",
        "app": {"name": app},
        "name": name,
        "namespace": namespace,
        "addon": {**what, "plan": {"name": plan}} if plan else what,
    }


def plain(each: Iterable[Found]) -> list[str]:
    """The names of what was found."""
    return [f"{f.app}/{f.attachment}" for f in each]


class House:
    """An account with attachments, on apps that have no config vars unless a test gives them some.

    Attributes:
        released: when each app had its last release.
    """

    def __init__(self, *attachments: dict[str, Any]) -> None:
        self.clock = FakeClock()
        self.heroku = FakeHeroku()
        self.api = self.heroku.api(self.clock)
        self.released: dict[str, str] = {}
        self.shows(*attachments)

    def shows(self, *attachments: dict[str, Any], apps: Iterable[str] = ()) -> None:
        """Show these attachments, the apps that they are on, and further apps."""
        self.heroku.routes["/addon-attachments"] = tagged(list(attachments))
        names = dict.fromkeys([*(each["app"]["name"] for each in attachments), *apps])
        self.heroku.routes["/apps"] = self.listed(*names)
        for name in names:
            if f"/apps/{name}/config-vars" not in self.heroku.routes:
                self.heroku.holds(name, {})

    def listed(self, *names: str) -> httpx.Response:
        moment = "2025-12-01T08:00:00Z"
        return ok(
            [
                {"id": f"id-{name}", "name": name, "released_at": self.released.get(name, moment)}
                for name in names
            ]
        )

    async def finds(self, *rules: DiscoverRule) -> list[str]:
        return plain((await self.once(*rules)).found)

    async def once(self, *rules: DiscoverRule) -> Discovery:
        """Look once, as `init` does."""
        discovery = Discovery(Account("default", self.api), rules, most=100)
        await discovery.discover()
        return discovery

    def discovery(self, *rules: DiscoverRule, known: Iterable[tuple[str, str]] = ()) -> Discovery:
        return Discovery(Account("default", self.api, jitter=lambda: 0.0), rules, known=known)


async def failing(discovery: Discovery) -> HerokuError:
    """Why a rule could not be applied."""
    with pytest.raises(HerokuError) as caught:
        await discovery.discover()
    return caught.value


async def test_apps_by_pattern() -> None:
    """A rule takes the apps it includes and does not exclude; patterns mind upper and lower case."""
    house = House(*(attached(app) for app in ("shop-a", "shop-b", "Shop-c", "blog")))
    rule = DiscoverRule(include=("shop-*", "b*"), exclude=("*-b",))
    assert await house.finds(rule) == ["blog/DATABASE", "shop-a/DATABASE"]
    assert await house.finds() == []


async def test_the_first_rule_counts() -> None:
    """What several rules find is found once, and names the first, whose settings apply."""
    house = House(attached("shop"), attached("blog"))
    first, second = DiscoverRule(include=("s*",)), DiscoverRule()
    found = (await house.once(first, second)).found
    assert [(f.app, f.rule) for f in found] == [("blog", second), ("shop", first)]


async def test_only_heroku_postgres() -> None:
    """Other add-ons are left out, however alike their names."""
    plans = ["heroku-redis:mini", "heroku-postgresql-x:mini", "other", None, PLAN]
    house = House(*(attached(f"app{n}", plan=plan) for n, plan in enumerate(plans)))
    assert await house.finds(DiscoverRule()) == ["app4/DATABASE"]


async def test_a_team() -> None:
    """A rule with a team takes that team's apps only; each team is asked once."""
    house = House(attached("ours"), attached("mine"))
    house.heroku.routes["/teams/acme/apps"] = house.listed("ours")
    rules = (
        DiscoverRule(team="acme"),
        DiscoverRule(include=("m*",), team="acme"),
        DiscoverRule(include=("mine",)),
    )
    assert await house.finds(*rules) == ["mine/DATABASE", "ours/DATABASE"]
    assert house.heroku.paths.count("/teams/acme/apps") == 1


async def test_attachments_by_pattern() -> None:
    """DATABASE alone unless told otherwise; credentials of one database are told apart."""
    house = House(
        attached("a"),
        attached("a", "READER", namespace="credential:reader"),
        attached("a", "HEROKU_POSTGRESQL_RED", addon="other"),
    )
    assert await house.finds(DiscoverRule()) == ["a/DATABASE"]
    assert await house.finds(EVERY) == ["a/DATABASE", "a/HEROKU_POSTGRESQL_RED", "a/READER"]


@pytest.mark.parametrize(
    ("names", "patterns", "kept"),
    [
        (["BLUE", "DATABASE"], ("*",), ["DATABASE"]),
        (["RED", "BLUE"], ("*",), ["BLUE"]),
        (["RED", "DATABASE"], ("*", "RED"), ["RED"]),
        (["RED", "DATABASE"], ("RED", "DATABASE"), ["DATABASE", "RED"]),
    ],
)
@pytest.mark.parametrize("pasted", [False, True])
async def test_one_database_under_several_names(
    names: list[str], patterns: tuple[str, ...], kept: list[str], *, pasted: bool
) -> None:
    """A wildcard takes a database once: DATABASE, else the first; names given are all kept."""
    house = House(*(attached("a", name) for name in names if not pasted), attached("b", "RED"))
    if pasted:
        house.heroku.holds("a", {f"{name}_URL": URL for name in names})
    rule = DiscoverRule(include=("a",), attachments=patterns)
    assert await house.finds(rule) == [f"a/{name}" for name in kept]


@pytest.mark.parametrize(
    ("namespace", "pooled"),
    [
        ("connection-pooling:default", True),
        ("role:u2|proxy:true|pool:leader", True),
        ("proxy:true|pool:analytics", True),
        ("pool:analytics", False),
        ("pool:leader|role:u2|proxy:false", False),
        ("role:u2", False),
        ("credential:pool", False),
    ],
)
async def test_poolers_are_left_out_unless_named(namespace: str, *, pooled: bool) -> None:
    """A pooler is taken when a pattern is its very name, never because a wildcard fits.

    A copy of its config var is a pooler as well. A group of an Advanced plan's instances is none.
    """
    house = House(attached("a", "POOL", namespace=namespace))
    house.heroku.holds("a", {"POOL_URL": URL, "POSTGRES_COPY": URL})
    assert bool(await house.finds(DiscoverRule(attachments=("PO*",)))) is not pooled
    assert await house.finds(DiscoverRule(attachments=("POOL",))) == ["a/POOL"]


async def test_roles_are_told_apart_in_any_order() -> None:
    """The factors of an Advanced plan's namespace say which database it is, not their order."""
    house = House(
        attached("a", "A", "pg", "role:u2|proxy:false|pool:leader"),
        attached("a", "B", "pg", "pool:leader|role:u2"),
        attached("a", "C", "pg", "pool:analytics|role:u2"),
    )
    assert await house.finds(EVERY) == ["a/A", "a/C"]


async def test_a_config_var_is_known_by_its_value() -> None:
    """A whole Postgres URL of any name is found; what is none, or is a copy, is not."""
    house = House(attached("a"), attached("a", "GRAPH", plan="partner:hobby"))
    house.heroku.holds(
        "a",
        {
            "DATABASE_URL": URL,
            "COPY_URL": f" {URL}?sslmode=require ",
            "GRAPH_URL": OTHER_URL,
            "HALF_URL": "postgres://localhost/d",
            "MASKED_URL": None,
            "postgresUri": "postgresql://u3:CANARY-3@h3/d3",
            "REDIS_URL": "redis://:CANARY@h",
        },
    )
    assert await house.finds(EVERY) == ["a/DATABASE", "a/GRAPH", "a/postgresUri"]
    assert await house.finds(DiscoverRule(attachments=("GRAPH", "COPY"))) == ["a/COPY", "a/GRAPH"]


async def test_an_app_that_no_list_shows() -> None:
    """An app named in full is read, whatever the lists have; one that is refused hinders none."""
    house = House(attached("a"))
    house.heroku.holds("pasted", {"DATABASE_URL": URL})
    house.heroku.routes["/apps/closed/config-vars"] = error(403, "forbidden")
    found = await house.once(DiscoverRule(include=("a", "closed", "pasted", "unheard-of")))
    assert plain(found.found) == ["a/DATABASE", "pasted/DATABASE"]
    assert set(found.refused) == {"closed", "unheard-of"}


async def test_a_broken_app_holds_up_no_other() -> None:
    """Apps whose config vars do not come are passed over, as long as some others come."""
    house = House()
    for n in range(30):
        house.heroku.holds(f"a{n:02}", {"DATABASE_URL": URL})
    house.heroku.routes["/apps/a00/config-vars"] = httpx.Response(503)
    house.shows(apps=[f"a{n:02}" for n in range(30)])
    assert len(await house.finds(DiscoverRule())) == 29


async def test_what_reading_config_vars_costs() -> None:
    """Apps are read where the list of attachments does not say all, and again after a release."""
    house = House(attached("a"), attached("b"))
    house.shows(attached("a"), attached("b"), apps=["c"])
    house.heroku.holds("c", {"DATABASE_URL": URL})
    discovery = house.discovery(DiscoverRule())
    for reads in (1, 1):
        await discovery.discover()
        assert plain(discovery.found) == ["a/DATABASE", "b/DATABASE", "c/DATABASE"]
        assert sum("config-vars" in path for path in house.heroku.paths) == reads
    house.released["c"] = "2025-12-02T08:00:00Z"
    house.heroku.holds("c", {})
    house.shows(attached("a"), attached("b"), apps=["c"])
    await discovery.discover()
    assert plain(discovery.found) == ["a/DATABASE", "b/DATABASE"]
    assert house.heroku.paths.count("/apps/a/config-vars") == 0


async def test_few_requests_left_lose_no_database() -> None:
    """What the budget does not allow to be read is kept as it was known, and read later."""
    house = House(attached("a"))
    house.heroku.holds("c", {"DATABASE_URL": URL})
    house.shows(attached("a"), apps=["c", "d"])
    discovery = house.discovery(DiscoverRule(), known=[("c", "DATABASE"), ("gone", "DATABASE")])
    house.api.budget.saw(700)
    await discovery.discover()
    assert plain(discovery.found) == ["a/DATABASE", "c/DATABASE"]
    assert "/apps/c/config-vars" not in house.heroku.paths
    await house.clock.advance(3600)
    await discovery.discover()
    assert plain(discovery.found) == ["a/DATABASE", "c/DATABASE"]
    assert "/apps/c/config-vars" in house.heroku.paths


async def test_sudden_emptiness_is_an_error() -> None:
    """A rule that suddenly finds nothing keeps what it had, and says so; others go on."""
    house = House(attached("a"), attached("b"))
    discovery = house.discovery(
        DiscoverRule(include=("a",)), DiscoverRule(include=("b*",)), DiscoverRule(include=("z",))
    )
    await discovery.discover()
    assert plain(discovery.found) == ["a/DATABASE", "b/DATABASE"]
    house.shows(attached("b2"))
    house.heroku.holds("a", {})
    assert "no more databases for a" in (await failing(discovery)).title
    assert plain(discovery.found) == ["a/DATABASE", "b2/DATABASE"]
    house.shows(attached("a2"), attached("a"), attached("b"))
    await discovery.discover()
    assert plain(discovery.found) == ["a/DATABASE", "b/DATABASE"]


async def test_sudden_emptiness_at_a_start() -> None:
    """Where nothing at all is found of what was kept before the start, all of that is kept."""
    house = House()
    rules = DiscoverRule(include=("a",)), DiscoverRule()
    discovery = house.discovery(*rules, known=[("a", "DATABASE"), ("b", "RED"), ("c", "DATABASE")])
    assert "no more databases" in (await failing(discovery)).title
    assert plain(discovery.found) == ["a/DATABASE", "c/DATABASE"]
    house.shows(attached("c"))
    await failing(discovery)
    assert plain(discovery.found) == ["a/DATABASE", "c/DATABASE"]


@pytest.mark.parametrize("value", [None, "********"])
@pytest.mark.parametrize("restarted", [False, True])
async def test_what_heroku_hides_is_not_gone(value: str | None, *, restarted: bool) -> None:
    """A config var that was kept, and is masked now, is still there."""
    house = House(attached("shop"))
    house.shows(attached("shop"), apps=["a", "b"])
    for app in "ab":
        house.heroku.holds(app, {"DATABASE_URL": URL})
    discovery = house.discovery(DiscoverRule())
    await discovery.discover()
    house.heroku.holds("a", {"DATABASE_URL": value})
    house.heroku.holds("b", {})
    house.released |= dict.fromkeys("ab", "2025-12-02T08:00:00Z")
    house.shows(attached("shop"), apps=["a", "b"])
    if restarted:
        discovery = house.discovery(DiscoverRule(), known=[f.name for f in discovery.found])
    await discovery.discover()
    assert plain(discovery.found) == ["a/DATABASE", "shop/DATABASE"]


async def test_review_apps_come_and_go() -> None:
    """Apps that match a pattern go where the list of apps has others, and stay where it has none."""
    house = House(attached("shop"), attached("shop-pr-1"))
    discovery = house.discovery(DiscoverRule(include=("shop-pr-*",)))
    await discovery.discover()
    house.shows()
    await failing(discovery)
    assert plain(discovery.found) == ["shop-pr-1/DATABASE"]
    house.shows(attached("shop"))
    await discovery.discover()
    assert discovery.found == ()


@pytest.mark.parametrize("restarted", [False, True])
async def test_a_rule_that_fails_holds_up_no_other(*, restarted: bool) -> None:
    """A team that is gone is its rule's trouble: it keeps what it had, also after a restart."""
    house = House(attached("mine"), attached("ours"), attached("theirs"))
    house.heroku.routes["/teams/us/apps"] = house.listed("ours")
    house.heroku.routes["/teams/them/apps"] = house.listed("theirs")
    rules = (DiscoverRule(include=("mine",)), DiscoverRule(team="us"), DiscoverRule(team="them"))
    discovery = house.discovery(*rules)
    await discovery.discover()
    every = ["mine/DATABASE", "ours/DATABASE", "theirs/DATABASE"]
    if restarted:
        discovery = house.discovery(*rules, known=[(f.app, f.attachment) for f in discovery.found])
    for answer in (error(404, "not_found"), error(503, "x"), error(403, "forbidden")):
        house.heroku.routes["/teams/us/apps"] = answer
        await failing(discovery)
        assert plain(discovery.found) == every
        assert [f.rule.team for f in discovery.found] == [None, "us", "them"]
        await house.clock.advance(3600)
    house.heroku.routes["/teams/us/apps"] = error(404, "not_found")
    trouble = await failing(discovery)
    assert (type(trouble), "Team us" in trouble.title) == (NotVisible, True)
    assert "heroku teams" in trouble.advice


@pytest.mark.parametrize("path", ["/addon-attachments", "/teams/us/apps", "/apps/b/config-vars"])
async def test_a_mended_refusal_is_seen_by_one_question(path: str) -> None:
    """A list or an app that was closed is asked for until it answers; what works costs nothing."""
    house = House(attached("a"))
    house.heroku.routes["/teams/us/apps"] = house.listed("a")
    house.heroku.holds("b", {"DATABASE_URL": URL})
    works = house.heroku.routes[path]
    house.heroku.routes[path] = error(403, "forbidden")
    discovery = house.discovery(DiscoverRule(team="us"), DiscoverRule(include=("b",)))
    with contextlib.suppress(HerokuError):
        await discovery.discover()
    for mended, answer in ((False, error(403, "forbidden")), (True, works)):
        house.heroku.routes[path] = answer
        await house.clock.advance(60)
        house.heroku.requests.clear()
        assert await discovery.is_mended() is mended
        assert len(house.heroku.requests) == 1
    await discovery.discover()
    house.heroku.requests.clear()
    assert not await discovery.is_mended()
    assert not house.heroku.requests


async def test_of_several_refusals_each_is_seen_to_be_mended() -> None:
    """A team that stays closed does not hide that another one has opened."""
    house = House(attached("a"))
    shut = error(403, "forbidden")
    for opened in ("us", "them"):
        house.heroku.routes |= {"/teams/us/apps": shut, "/teams/them/apps": shut}
        discovery = house.discovery(DiscoverRule(team="us"), DiscoverRule(team="them"))
        await failing(discovery)
        assert not await discovery.is_mended()
        house.heroku.routes[f"/teams/{opened}/apps"] = house.listed("a")
        assert await discovery.is_mended()


@pytest.mark.parametrize("path", ["/addon-attachments", "/apps"])
@pytest.mark.parametrize("restarted", [False, True])
async def test_what_was_found_outlives_an_outage(path: str, *, restarted: bool) -> None:
    """When a list does not come, what was found before stays, also after a restart."""
    house = House(attached("a"))
    discovery = house.discovery(DiscoverRule(), known=[("a", "DATABASE")])
    if not restarted:
        await discovery.discover()
    house.heroku.routes[path] = httpx.Response(503)
    assert type(await failing(discovery)) is Unavailable
    assert plain(discovery.found) == ["a/DATABASE"]


async def test_a_lists_304_is_no_proof() -> None:
    """Lists are asked for in full, since their ETag does not follow their content."""
    house = House(attached("a"))
    discovery = house.discovery(DiscoverRule())
    for _ in range(2):
        await discovery.discover()
    assert house.heroku.paths == ["/addon-attachments", "/apps"] * 2
    assert not any("If-None-Match" in request.headers for request in house.heroku.requests)
