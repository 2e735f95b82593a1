"""Finds databases by rules.

All attachments that the token may see come in one list, usually as an empty 304. Of it
stay those

- whose add-on is Heroku Postgres,
- whose app a rule includes and does not exclude, and belongs to the rule's team if it has one,
- whose name matches the rule's attachment patterns; `DATABASE` alone unless told otherwise.

Attachments of a connection pooler are left out unless a pattern is their very name: a
pooler cannot do all that pgAdmin asks of Postgres. Where wildcards match several names for
the same database and credential in one app, one stays: `DATABASE`, else the first by name.

Patterns are those of `fnmatch`, and upper and lower case differ.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from itertools import chain
from typing import Final

from pgherald.config.schema import DEFAULT_ATTACHMENT, DiscoverRule
from pgherald.errors import NotVisible
from pgherald.heroku.account import Account
from pgherald.heroku.answers import Attachment
from pgherald.heroku.api import HerokuApi

_SERVICE: Final = "heroku-postgresql"
_USUAL: Final = DEFAULT_ATTACHMENT


@dataclass(frozen=True, slots=True)
class Found:
    """An attachment that leads to a database.

    Attributes:
        app: the app's name.
        attachment: the attachment's name.
        namespace: which of the database's credentials; empty for the default one.
        plan: such as `heroku-postgresql:standard-0`.
        rule: the first rule that found it; its settings count.
    """

    app: str
    attachment: str
    namespace: str
    plan: str
    rule: DiscoverRule


class Discovery:
    """Applies rules again and again, and does not believe in sudden emptiness.

    Attributes:
        rules: what to look for.
        found: what was found last, sorted.
    """

    def __init__(self, account: Account, rules: Sequence[DiscoverRule]) -> None:
        self.rules = tuple(rules)
        self.found: tuple[Found, ...] = ()
        self._account = account
        self._by_rule: list[list[Found]] = [[] for _ in self.rules]

    async def discover(self) -> tuple[Found, ...]:
        """Look again.

        Raises:
            NotVisible: a rule that had found something now finds nothing. `found` stays;
                after this the question rests for 15 minutes.
            HerokuError: Heroku could not be asked; `found` stays.
        """
        return await self._account.ask(None, self._discover)

    async def _discover(self) -> tuple[Found, ...]:
        by_rule = await _find(self._account.api, self.rules)
        if self._account.api.odd:
            # What is not understood may be one of those that were: none is lost by it.
            for now, before in zip(by_rule, self._by_rule, strict=True):
                names = {(each.app, each.attachment) for each in now}
                now += [each for each in before if (each.app, each.attachment) not in names]
        emptied = [i for i, now in enumerate(by_rule) if self._by_rule[i] and not now]
        for i in emptied:
            by_rule[i] = self._by_rule[i]
        self._by_rule = by_rule
        self.found = _merged(by_rule)
        if emptied:
            patterns = ", ".join(self.rules[emptied[0]].include)
            raise NotVisible(
                f"Heroku shows no more databases for {patterns}",
                "What was found before is kept. Has the token lost access? `heroku apps --all`",
            )
        return self.found


async def discover(api: HerokuApi, rules: Sequence[DiscoverRule]) -> list[Found]:
    """Look once, without memory; for `config` and `init`.

    Raises:
        HerokuError: Heroku could not be asked.
    """
    return list(_merged(await _find(api, rules)))


async def _find(api: HerokuApi, rules: Sequence[DiscoverRule]) -> list[list[Found]]:
    """What each rule finds now."""
    attachments = await _postgres(api)
    teams: dict[str, set[str]] = {}
    for rule in rules:
        if rule.team is not None and rule.team not in teams:
            teams[rule.team] = {app.name for app in await api.team_apps(rule.team)}
    return [
        [
            Found(each.app, each.name, each.namespace or "", each.plan or "", rule)
            for each in _chosen(rule, attachments)
            if rule.team is None or each.app in teams[rule.team]
        ]
        for rule in rules
    ]


async def _postgres(api: HerokuApi) -> list[Attachment]:
    """All attachments of Heroku Postgres, with their plan.

    The plan is an extra that Heroku's CLI asks for. Where it does not come, the add-ons
    are asked for it.
    """
    attachments = await api.all_attachments()
    if any(each.plan is None for each in attachments):
        plans = await api.addon_plans()
        attachments = [replace(a, plan=a.plan or plans.get(a.addon)) for a in attachments]
    return [a for a in attachments if (a.plan or "").partition(":")[0] == _SERVICE]


def _chosen(rule: DiscoverRule, attachments: Iterable[Attachment]) -> list[Attachment]:
    """Those of the rule, one for each database and credential of an app."""
    named: list[Attachment] = []
    matched: dict[tuple[str, str, str | None], Attachment] = {}
    for each in sorted(attachments, key=lambda a: (a.app, a.name != _USUAL, a.name)):
        if not matches(each.app, rule.include) or matches(each.app, rule.exclude):
            continue
        if each.name in rule.attachments:
            named.append(each)
        elif not each.is_pooled and matches(each.name, rule.attachments):
            matched.setdefault(_what(each), each)
    taken = {_what(each) for each in named}
    return named + [each for what, each in matched.items() if what not in taken]


def _what(attachment: Attachment) -> tuple[str, str, str | None]:
    return attachment.app, attachment.addon, attachment.namespace


def matches(name: str, patterns: Iterable[str]) -> bool:
    """Whether a name fits one of these patterns."""
    return any(fnmatchcase(name, pattern) for pattern in patterns)


def _merged(by_rule: Iterable[Iterable[Found]]) -> tuple[Found, ...]:
    """All of them sorted, each once, by the first rule that found it."""
    merged: dict[tuple[str, str], Found] = {}
    for each in chain.from_iterable(by_rule):
        merged.setdefault((each.app, each.attachment), each)
    return tuple(merged[key] for key in sorted(merged))
