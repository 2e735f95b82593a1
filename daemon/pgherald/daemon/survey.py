"""What there is to be kept working: asked before there is a configuration."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from pgherald.config import DiscoverRule, TokenSpec
from pgherald.daemon.wiring import Outside
from pgherald.errors import Forbidden, NotVisible
from pgherald.heroku.api import HerokuApi
from pgherald.heroku.discovery import Found, discover
from pgherald.heroku.host import HerokuHost
from pgherald.heroku.tokens import token_source


@dataclass(frozen=True, slots=True)
class Survey:
    """What a Heroku account has.

    Attributes:
        source: where the token came from, as a person calls it; never the token.
        email: whose account it is; empty where the token may not tell.
        found: its databases, sorted.
        warnings: sentences about the token's source.
        teams: the apps of each team that was asked for.
    """

    source: str
    email: str
    found: tuple[Found, ...]
    warnings: tuple[str, ...]
    teams: Mapping[str, frozenset[str]]


async def survey(
    token: TokenSpec,
    outside: Outside,
    named: Sequence[str] = (),
    teams: Collection[str] = (),
) -> Survey:
    """Find the login, and everything that it shows. Reads only.

    Args:
        token: where the token comes from.
        outside: the world.
        named: names of attachments to find beside the usual ones: connection pools are found
            by their very name alone.
        teams: teams whose apps are to be told.

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
        email = await _email(api)
        found = await discover(api, [DiscoverRule(attachments=("*", *named))])
        apps = {team: await _apps(api, team) for team in teams}
        return Survey(source.name, email, tuple(found), source.warnings, apps)
    finally:
        await api.aclose()


async def _email(api: HerokuApi) -> str:
    """Whose account it is. A token that may only read what is needed may not ask that."""
    try:
        return await api.account()
    except Forbidden:
        return ""


async def _apps(api: HerokuApi, team: str) -> frozenset[str]:
    """The names of a team's apps; none where the token may not see them, which a sweep tells."""
    try:
        return frozenset([app.name for app in await api.team_apps(team)])
    except (Forbidden, NotVisible):
        return frozenset()
