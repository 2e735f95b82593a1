"""What there is to be kept working: asked before there is a configuration."""

from __future__ import annotations

from collections.abc import Awaitable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, TypeVar

from pgherald.config import DiscoverRule, TokenSpec
from pgherald.daemon.wiring import Outside
from pgherald.errors import Forbidden, HerokuError, NotHeroku, NotVisible, Unavailable
from pgherald.heroku.api import HerokuApi
from pgherald.heroku.discovery import Found, discover
from pgherald.heroku.host import HerokuHost
from pgherald.heroku.tokens import token_source

T = TypeVar("T")

#: Apps whose config vars are read, beside those that are named in full.
_MOST: Final = 200


@dataclass(frozen=True, slots=True)
class Survey:
    """What a Heroku account has.

    Attributes:
        source: where the token came from, as a person calls it; never the token.
        email: whose account it is; empty where the token may not tell.
        found: its databases, sorted.
        warnings: sentences about the token's source, and about what was not read.
        teams: the apps of each team that was asked for.
        refused: why an app's config vars could not be read, by app.
    """

    source: str
    email: str
    found: tuple[Found, ...]
    warnings: tuple[str, ...]
    teams: Mapping[str, frozenset[str]]
    refused: Mapping[str, HerokuError] = field(default_factory=dict)


async def survey(
    token: TokenSpec,
    outside: Outside,
    named: Sequence[str] = (),
    teams: Collection[str] = (),
    apps: Sequence[str] = (),
) -> Survey:
    """Find the login, and everything that it shows. Reads only.

    Args:
        token: where the token comes from.
        outside: the world.
        named: names of attachments to find beside the usual ones: connection pools are found
            by their very name alone.
        teams: teams whose apps are to be told.
        apps: patterns of apps that are read before others.

    Raises:
        LoginRequired: there is no token, or Heroku does not accept it.
        HerokuError: Heroku could not be asked.
        MissingTool: the source lacks something.
        ConfigError: there is no such source.
    """
    host = HerokuHost.from_env(outside.env)
    source = token_source(token, host, outside.env, outside.home)
    api = HerokuApi(host, source, clock=outside.clock, transport=outside.transport)
    try:
        # A token that may only read what is needed may not ask whose account it is.
        email = await _unless_refused(api.account(), "")
        includes = (tuple(apps), ("*",))
        rules = [DiscoverRule(include=each, attachments=("*", *named)) for each in includes]
        found, search = await discover(api, [rule for rule in rules if rule.include], _MOST)
        # That a team is not to be seen is said by a sweep.
        shown = {team: await _unless_refused(api.apps(team), []) for team in teams}
        names = {team: frozenset(app.name for app in apps) for team, apps in shown.items()}
        warnings = source.warnings
        if left := len(search.unread - search.refused.keys()):
            warnings += (f"The config vars of {left} apps were not read: name these with --app.",)
        return Survey(source.name, email, tuple(found), warnings, names, search.refused)
    finally:
        await api.aclose()


async def _unless_refused(question: Awaitable[T], otherwise: T) -> T:
    try:
        return await question
    except (Forbidden, NotVisible, Unavailable, NotHeroku):
        return otherwise
