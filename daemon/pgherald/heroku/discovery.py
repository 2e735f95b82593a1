"""Finds databases by rules.

An attachment of Heroku Postgres is known by its plan, and all of them come in one list. Any other
config var is known by its value: a URL pasted by hand, a partner's add-on, a plan that Heroku does
not show. For these the config vars of the apps that a rule includes are read, unless the rule
names attachments in full and the list has them all; and again where an app had a release since.

Of what there is those stay whose app a rule includes and does not exclude, and belongs to the
rule's team if it has one, and whose name matches the rule's attachment patterns; `DATABASE` alone
unless told otherwise. What leads to a connection pooler is left out unless a pattern is its very
name: a pooler cannot do all that pgAdmin asks of Postgres. Where wildcards match several names
for the same database and credential in one app, one stays: `DATABASE`, else the first by name.

A rule whose question fails keeps what it had found, and hinders no other.

Patterns are those of `fnmatch`, and upper and lower case differ.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import Awaitable, Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from fnmatch import fnmatchcase
from functools import partial
from itertools import chain
from typing import Final, TypeVar

from pgherald.config.schema import DEFAULT_ATTACHMENT, DiscoverRule
from pgherald.errors import Forbidden, HerokuError, NotVisible, OtherLogin, PgheraldError
from pgherald.heroku.account import Account
from pgherald.heroku.answers import App, Attachment, VarsSeen

T = TypeVar("T")

_SERVICE: Final = "heroku-postgresql:"

#: Apps whose config vars are read at the same time.
_AT_ONCE: Final = 8

#: A release younger than this may have had another one after it, within the same second.
_YOUNG: Final = timedelta(minutes=5)


@dataclass(frozen=True, slots=True)
class Found:
    """A name that leads to a database.

    Attributes:
        app: the app's name.
        attachment: the attachment's name, or the config var's without `_URL`.
        plan: such as `heroku-postgresql:standard-0`; empty where only the config var is known.
        rule: the first rule that found it; its settings count.
    """

    app: str
    attachment: str
    plan: str
    rule: DiscoverRule

    @property
    def name(self) -> tuple[str, str]:
        """What tells it from others."""
        return self.app, self.attachment


class Discovery:
    """Applies rules again and again, and does not believe in sudden emptiness.

    The lists are asked for each time, apps where they changed.

    Attributes:
        found: what was found last, sorted.
        known: apps and attachments that were found before the program started.
        refused: why an app's config vars could not be read, by app.
        unread: apps whose config vars should have been read, and never were.
    """

    def __init__(
        self,
        account: Account,
        rules: Sequence[DiscoverRule],
        *,
        known: Iterable[tuple[str, str]] = (),
        most: int | None = None,
    ) -> None:
        """Make one.

        Args:
            account: is asked.
            rules: what to look for.
            known: apps and attachments that were found before the program started.
            most: how many apps are read that no rule names in full; None for as many as the
                budget allows.
        """
        self.found: tuple[Found, ...] = ()
        self.refused: dict[str, HerokuError] = {}
        self.unread: set[str] = set()
        self._account = account
        self._api = account.api
        self._rules = tuple(rules)
        self.known = tuple(known)
        self._most = most
        self._by_rule: list[list[Found]] | None = None
        #: The apps in each list that was answered, by team.
        self._apps: dict[str | None, list[App]] = {}
        self._read: dict[str, tuple[App, VarsSeen]] = {}
        #: The questions about lists that Heroku refused, by name.
        self._refused: dict[str, Callable[[], Awaitable[object]]] = {}

    async def discover(self) -> None:
        """Look again; `found` has what there is.

        Raises:
            HerokuError: why a rule could not be applied, or finds nothing any more. What it had
                found is kept, and what the others find now counts.
        """
        by_rule, errors = await self._find()
        earlier = self._by_rule or [
            [Found(*name, "", rule) for name in self.known if fits(rule, *name)]
            for rule in self._rules
        ]
        settled = {f.name for f in chain.from_iterable(by_rule)}
        for before, error in zip(earlier, errors, strict=True):
            if lost := next((each for each in before if each.name not in settled), None):
                why = await self._account.identity.why(lost.app, error or NotVisible(""))
                if isinstance(why, OtherLogin):
                    # Theirs are none to be kept, and ours are not gone.
                    by_rule, errors, settled = [[] for _ in earlier], [why] * len(earlier), set()
                    break
        # Which rule had found what is not known at the start.
        surely_empty = self._by_rule is not None or not settled
        for i, (rule, before) in enumerate(zip(self._rules, earlier, strict=True)):
            is_empty = before and surely_empty and not by_rule[i]
            if is_empty and not self._are_gone(rule, before):
                errors[i] = errors[i] or NotVisible(
                    f"Heroku shows no more databases for {', '.join(rule.include)}",
                    "What was found before is kept. Has the token lost access? `heroku apps --all` "
                    "shows that. If they are gone, take the rule out of the configuration.",
                )
            # What is not understood may be one of those that were: none is lost by it.
            unsure = bool(errors[i] or self._api.odd)
            for each in before:
                if each.name not in settled and (unsure or self._may_be_there(each)):
                    settled.add(each.name)
                    by_rule[i].append(each)
        self._by_rule = by_rule
        merged: dict[tuple[str, str], Found] = {}
        for each in chain.from_iterable(by_rule):
            merged.setdefault(each.name, each)
        self.found = tuple(merged[name] for name in sorted(merged))
        if error := next(filter(None, errors), None):
            raise error

    async def is_mended(self) -> bool:
        """Whether Heroku answers a question that it had refused; asks those."""
        questions = dict(self._refused)
        for app in self._closed:
            questions[f"?{app}"] = partial(self._api.config_vars, app, ())
        for name, question in questions.items():
            with contextlib.suppress(PgheraldError):
                await self._account.ask(name, question, anew=True)
                return True
        return False

    @property
    def unmet(self) -> HerokuError | None:
        """Why nothing is found of an app that a rule names in full."""
        return next(iter(self._closed.values()), None)

    @property
    def _closed(self) -> dict[str, HerokuError]:
        """Apps that a rule names in full and of which nothing is found, with Heroku's refusal."""
        there = {each.app for each in self.found}
        named = chain.from_iterable(rule.include for rule in self._rules)
        errors = {app: self.refused.get(app) for app in named if app in self.unread - there}
        return {a: e for a, e in errors.items() if isinstance(e, Forbidden | NotVisible)}

    async def _find(self) -> tuple[list[list[Found]], list[HerokuError | None]]:
        """What each rule finds, and why it may not be all."""
        failed: dict[str | None, HerokuError] = {}
        self._apps.clear()
        self._refused.clear()
        try:
            attachments = await self._ask_list("?attachments", self._api.attachments)
        except HerokuError as exc:
            return [[] for _ in self._rules], [exc] * len(self._rules)
        listed = [rule for rule in self._rules if rule.team or any(map(_is_pattern, rule.include))]
        for team in {rule.team for rule in listed}:
            try:
                self._apps[team] = await self._ask_list(
                    f"?team {team}", partial(self._api.apps, team)
                )
            except HerokuError as exc:
                failed[team] = _of_team(team, exc)
        ours = [a for a in attachments if (a.plan or "").startswith(_SERVICE)]
        wanted = {app.name: app for rule in self._rules for app in self._unexplained(rule, ours)}
        await self._read_vars(wanted)
        self.unread = wanted.keys() - self._read.keys()
        everything = ours + [a for name in wanted for a in self._by_url(name, ours)]
        by_rule = [
            [
                Found(each.app, each.name, each.plan or "", rule)
                for each in _chosen(rule, everything)
                if rule.team is None or each.app in self._names(rule)
            ]
            for rule in self._rules
        ]
        return by_rule, [failed.get(r.team) if r in listed else None for r in self._rules]

    async def _ask_list(self, name: str, question: Callable[[], Awaitable[T]]) -> T:
        try:
            return await self._account.ask(name, question)
        except (Forbidden, NotVisible):
            self._refused[name] = question
            raise

    def _names(self, rule: DiscoverRule) -> set[str]:
        """The apps in a rule's list."""
        return {app.name for app in self._apps.get(rule.team, ())}

    def _are_gone(self, rule: DiscoverRule, before: Iterable[Found]) -> bool:
        """Whether the apps of what a rule had found are gone from a list that has others.

        A rule that names an app in full expects it to be there.
        """
        there = self._names(rule)
        comes_and_goes = all(map(_is_pattern, rule.include))
        return bool(there) and comes_and_goes and there.isdisjoint(each.app for each in before)

    def _may_be_there(self, found: Found) -> bool:
        """Whether it is not known that an app does not have it any more."""
        if found.app in self.unread:
            return True
        hidden = self._read[found.app][1].hidden if found.app in self._read else frozenset()
        return not hidden.isdisjoint((found.attachment, f"{found.attachment}_URL"))

    def _unexplained(self, rule: DiscoverRule, ours: Iterable[Attachment]) -> list[App]:
        """The apps in which a rule may find more than the list of attachments has."""
        apps = list(self._apps.get(rule.team, ()))
        if not rule.team:
            unlisted = [name for name in rule.include if name not in self._names(rule)]
            apps += [App(name, None) for name in unlisted if not _is_pattern(name)]
        names: dict[str, set[str]] = {}
        for each in ours:
            names.setdefault(each.app, set()).add(each.name)
        return [
            app
            for app in apps
            if includes(rule, app.name)
            and not names.get(app.name, set()).issuperset(rule.attachments)
        ]

    async def _read_vars(self, wanted: dict[str, App]) -> None:
        """Read the config vars of these apps, where they are not known."""
        self._read = {name: seen for name, seen in self._read.items() if name in wanted}
        new = [app for name, app in wanted.items() if self._read.get(name, (None,))[0] != app]
        listed = [app for app in new if app.id is not None]
        new = [app for app in new if app.id is None] + listed[: self._most]
        while new and (self._most is not None or self._api.budget.is_ample):
            some, new = new[:_AT_ONCE], new[_AT_ONCE:]
            if not any(await asyncio.gather(*map(self._read_app, some))):
                return  # it is asked again the next time

    async def _read_app(self, app: App) -> bool:
        """Read one app; whether others may be asked about."""
        began = self._api.clock.now()
        try:
            seen = await self._account.ask(
                f"?{app.name}", lambda: self._api.config_vars(app.name, ())
            )
        except HerokuError as exc:
            self.refused[app.name] = exc
            return isinstance(exc, Forbidden | NotVisible) or type(exc) is HerokuError
        self.refused.pop(app.name, None)
        is_old = app.released_at is not None and began - app.released_at > _YOUNG
        self._read[app.name] = app if is_old else replace(app, id=""), seen
        return True

    def _by_url(self, app: str, ours: Iterable[Attachment]) -> list[Attachment]:
        """The config vars of an app that hold a Postgres URL; a copy is like its original."""
        attached = {f"{each.name}_URL": each for each in ours if each.app == app}
        groups = self._read[app][1].others if app in self._read else ()
        every = {var for group in groups for var in group}
        found = []
        for group in groups:
            original = next((attached[var] for var in group if var in attached), None)
            like = original or Attachment(app, "", group[0])
            found += [
                replace(like, name=var.removesuffix("_URL"))
                for var in group
                # One that has the name of another without `_URL` cannot be told apart from it.
                if var not in attached and f"{var}_URL" not in every
            ]
        return found


def _chosen(rule: DiscoverRule, attachments: Iterable[Attachment]) -> list[Attachment]:
    """Those of the rule, one for each database and credential of an app."""
    named: list[Attachment] = []
    matched: dict[tuple[str, str, frozenset[str]], Attachment] = {}
    for each in sorted(attachments, key=lambda a: (a.app, a.name != DEFAULT_ATTACHMENT, a.name)):
        if not fits(rule, each.app, each.name):
            continue
        if each.name in rule.attachments:
            named.append(each)
        elif not each.is_pooled:
            matched.setdefault(_what(each), each)
    taken = {_what(each) for each in named}
    return named + [each for what, each in matched.items() if what not in taken]


def _what(attachment: Attachment) -> tuple[str, str, frozenset[str]]:
    return attachment.app, attachment.addon, attachment.factors


def _of_team(team: str | None, error: HerokuError) -> HerokuError:
    """The error of a list of apps, with advice that mends it."""
    if team is None or not isinstance(error, NotVisible):
        return error
    return NotVisible(
        error.title,
        "Correct `team` of the [[discover]] rule, or take it out: `heroku teams` lists yours.",
    )


def includes(rule: DiscoverRule, app: str) -> bool:
    """Whether a rule is about an app of that name."""
    return matches(app, rule.include) and not matches(app, rule.exclude)


def fits(rule: DiscoverRule, app: str, attachment: str) -> bool:
    """Whether a rule takes that name of that app."""
    return includes(rule, app) and matches(attachment, rule.attachments)


def matches(name: str, patterns: Collection[str]) -> bool:
    """Whether a name fits one of these patterns."""
    return any(fnmatchcase(name, pattern) for pattern in patterns)


def _is_pattern(text: str) -> bool:
    return re.search(r"[*?\[]", text) is not None
