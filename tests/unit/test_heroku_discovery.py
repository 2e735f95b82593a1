"""Databases that nobody had to list."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import httpx
import pytest

from pgherald.config import DiscoverRule
from pgherald.errors import NotVisible, Unavailable
from pgherald.heroku.account import Account
from pgherald.heroku.discovery import Discovery, Found, discover
from support.fake_clock import FakeClock
from support.heroku_answers import FakeHeroku, ok, tagged

PLAN = "heroku-postgresql:standard-0"


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


def found(app: str, name: str = "DATABASE", namespace: str = "") -> tuple[str, str, str, str]:
    return app, name, namespace, PLAN


def plain(each: Sequence[Found]) -> list[tuple[str, str, str, str]]:
    """What was found, without the rules."""
    return [(f.app, f.attachment, f.namespace, f.plan) for f in each]


class House:
    def __init__(self, *attachments: dict[str, Any]) -> None:
        self.clock = FakeClock()
        self.heroku = FakeHeroku()
        self.api = self.heroku.api(self.clock)
        self.shows(*attachments)

    def shows(self, *attachments: dict[str, Any]) -> None:
        self.heroku.routes["/addon-attachments"] = tagged(list(attachments))

    async def finds(self, *rules: DiscoverRule) -> list[tuple[str, str, str, str]]:
        return plain(await discover(self.api, rules))

    def discovery(self, *rules: DiscoverRule) -> Discovery:
        return Discovery(Account("default", self.api, jitter=lambda: 0.0), rules)


async def test_apps_by_pattern() -> None:
    """A rule takes the apps it includes and does not exclude; patterns mind upper and lower case."""
    house = House(*(attached(app) for app in ("shop-a", "shop-b", "Shop-c", "blog")))
    assert await house.finds(DiscoverRule(include=("shop-*", "b*"), exclude=("*-b",))) == [
        found("blog"),
        found("shop-a"),
    ]
    assert await house.finds() == []


async def test_the_first_rule_counts() -> None:
    """What several rules find is found once, and names the first, whose settings apply."""
    house = House(attached("shop"), attached("blog"))
    first, second = DiscoverRule(include=("s*",)), DiscoverRule()
    each = await discover(house.api, (first, second))
    assert [(f.app, f.rule) for f in each] == [("blog", second), ("shop", first)]


async def test_only_heroku_postgres() -> None:
    """Other add-ons are left out, however alike their names."""
    plans = ["heroku-redis:mini", "heroku-postgresql-x:mini", "other", PLAN]
    house = House(*(attached(f"app{n}", plan=plan) for n, plan in enumerate(plans)))
    assert await house.finds(DiscoverRule()) == [found("app3")]


async def test_plans_are_looked_up_where_they_do_not_come() -> None:
    """Without the CLI's extra field the add-ons are asked for their plan."""
    house = House(attached("a", plan=None), attached("b", plan=None, addon="redis"), attached("c"))
    house.heroku.routes["/addons"] = ok(
        [
            {"name": "postgresql-a", "plan": {"name": PLAN}},
            {"name": "redis", "plan": {"name": "heroku-redis:mini"}},
        ]
    )
    assert await house.finds(DiscoverRule()) == [found("a"), found("c")]


async def test_a_team() -> None:
    """A rule with a team takes that team's apps only; each team is asked once."""
    house = House(attached("ours"), attached("mine"))
    house.heroku.routes["/teams/acme/apps"] = ok([{"id": "1", "name": "ours"}])
    rules = (
        DiscoverRule(team="acme"),
        DiscoverRule(include=("m*",), team="acme"),
        DiscoverRule(include=("mine",)),
    )
    assert await house.finds(*rules) == [found("mine"), found("ours")]
    assert house.heroku.paths.count("/teams/acme/apps") == 1


async def test_attachments_by_pattern() -> None:
    """DATABASE alone unless told otherwise; credentials of one database are told apart."""
    house = House(
        attached("a"),
        attached("a", "READER", namespace="credential:reader"),
        attached("a", "HEROKU_POSTGRESQL_RED", addon="other"),
    )
    assert await house.finds(DiscoverRule()) == [found("a")]
    assert await house.finds(DiscoverRule(attachments=("*",))) == [
        found("a"),
        found("a", "HEROKU_POSTGRESQL_RED"),
        found("a", "READER", "credential:reader"),
    ]


@pytest.mark.parametrize(
    ("names", "patterns", "kept"),
    [
        (["BLUE", "DATABASE"], ("*",), ["DATABASE"]),
        (["RED", "BLUE"], ("*",), ["BLUE"]),
        (["RED", "DATABASE"], ("*", "RED"), ["RED"]),
        (["RED", "DATABASE"], ("RED", "DATABASE"), ["DATABASE", "RED"]),
    ],
)
async def test_one_database_under_several_names(
    names: list[str], patterns: tuple[str, ...], kept: list[str]
) -> None:
    """A wildcard takes a database once: DATABASE, else the first; names given are all kept."""
    house = House(*(attached("a", name) for name in names), attached("b", "RED", addon="x"))
    rule = DiscoverRule(include=("a",), attachments=patterns)
    assert [name for _, name, _, _ in await house.finds(rule)] == kept


@pytest.mark.parametrize(
    ("namespace", "pooled"),
    [
        ("connection-pooling:default", True),
        ("pool:analytics", True),
        ("role:u2|proxy:true|pool:leader", True),
        ("role:u2|proxy:false|pool:leader", False),
        ("role:u2", False),
        ("credential:pool", False),
    ],
)
async def test_poolers_are_left_out_unless_named(namespace: str, *, pooled: bool) -> None:
    """A pooler is taken when a pattern is its very name, never because a wildcard fits."""
    house = House(attached("a", "POOL", namespace=namespace))
    assert bool(await house.finds(DiscoverRule(attachments=("PO*",)))) is not pooled
    assert await house.finds(DiscoverRule(attachments=("POOL",))) == [found("a", "POOL", namespace)]


async def test_sudden_emptiness_is_an_error() -> None:
    """A rule that suddenly finds nothing keeps what it had, says so, and rests; others go on."""
    house = House(attached("a"), attached("b"))
    discovery = house.discovery(
        DiscoverRule(include=("a",)), DiscoverRule(include=("b*",)), DiscoverRule(include=("z",))
    )
    assert plain(await discovery.discover()) == [found("a"), found("b")]
    house.shows(attached("b2"))
    with pytest.raises(NotVisible, match="no more databases for a"):
        await discovery.discover()
    assert plain(discovery.found) == [found("a"), found("b2")]
    sent = len(house.heroku.requests)
    with pytest.raises(NotVisible):
        await discovery.discover()
    assert len(house.heroku.requests) == sent
    house.shows(attached("a2"), attached("a"), attached("b"))
    await house.clock.advance(15 * 60)
    assert plain(await discovery.discover()) == [found("a"), found("b")]


async def test_what_was_found_outlives_an_outage() -> None:
    """When Heroku does not answer, what was found before stays."""
    house = House(attached("a"))
    discovery = house.discovery(DiscoverRule())
    await discovery.discover()
    house.heroku.routes["/addon-attachments"] = httpx.Response(503)
    with pytest.raises(Unavailable):
        await discovery.discover()
    assert plain(discovery.found) == [found("a")]


async def test_looking_again_costs_an_empty_answer() -> None:
    """An unchanged list of attachments is one request and a 304."""
    house = House(attached("a"))
    discovery = house.discovery(DiscoverRule())
    assert await discovery.discover() == await discovery.discover()
    assert len(house.heroku.requests) == 2
    assert house.heroku.requests[1].headers["If-None-Match"]
