"""What there is to be kept working: asked before there is a configuration."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pgherald.config import TokenSpec
from pgherald.daemon.wiring import Outside
from pgherald.errors import Forbidden
from pgherald.heroku.api import HerokuApi
from pgherald.heroku.discovery import Found, Rule, discover
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
    """

    source: str
    email: str
    found: tuple[Found, ...]
    warnings: tuple[str, ...]


async def survey(token: TokenSpec, outside: Outside, named: Sequence[str] = ()) -> Survey:
    """Find the login, and everything that it shows. Reads only.

    Args:
        token: where the token comes from.
        outside: the world.
        named: names of attachments to find beside the usual ones: connection pools are found
            by their very name alone.

    Raises:
        LoginRequired: there is no token, or Heroku does not accept it.
        HerokuError: Heroku could not be asked.
        MissingTool: the source lacks something.
        ConfigError: there is no such source.
    """
    host = HerokuHost.from_env(outside.env)
    source = token_source(token.kind, token.argument, host, outside.env, outside.home)
    api = HerokuApi(host, source, clock=outside.clock, transport=outside.transport)
    try:
        email = await _email(api)
        found = await discover(api, [Rule(attachments=("*", *named))])
        return Survey(source.name, email, tuple(found), source.warnings)
    finally:
        await api.aclose()


async def _email(api: HerokuApi) -> str:
    """Whose account it is. A token that may only read what is needed may not ask that."""
    try:
        return await api.account()
    except Forbidden:
        return ""
