"""What one look at Heroku tells about the token and about our clock. Reads only.

Each answer of Heroku's, a refusal too, says in its headers which scope the token has and what time
it is. So it does not matter that a narrow token may not ask for the account at all.

Facts: `Oauth-Scope` and `Date`, recorded answers.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from pgherald.clock import Clock
from pgherald.errors import LoginRequired, NotHeroku
from pgherald.heroku.answers import date_of, decoded, error_of, requests_left
from pgherald.heroku.getter import Answer, Getter
from pgherald.heroku.shapes import end_of
from pgherald.heroku.tokens import TokenSource

_ACCEPT: Final = {"Accept": "application/vnd.heroku+json; version=3"}

#: What a token without the right to an answer is told; that is an answer, too.
_REFUSED: Final = frozenset({403, 404})
_OK: Final = 200
_SCOPE: Final = re.compile(r"(?<![^\s,])[a-z-]{1,32}(?![^\s,])")

#: A token with one of these reads config vars (Heroku: `Oauth-Scope-Accepted`).
ENOUGH: Final = frozenset({"global", "read-protected", "write-protected"})


@dataclass(frozen=True, slots=True)
class Visit:
    """What was found.

    Attributes:
        scopes: the token's; None where Heroku does not say.
        expires_at: when the token ends, UTC; None where it does not, or nobody may know.
        ahead: how far our clock is ahead of Heroku's; None where Heroku does not say.
        remaining: requests that the account has left in this hour; None likewise.
    """

    scopes: frozenset[str] | None
    expires_at: datetime | None
    ahead: timedelta | None
    remaining: int | None


async def visit(getter: Getter, tokens: TokenSource, clock: Clock) -> Visit:
    """Ask Heroku who we are: two requests.

    Args:
        getter: sends them.
        tokens: where the token comes from.
        clock: what is compared with Heroku's.

    Raises:
        HerokuError: Heroku could not be asked, or does not accept the token.
        MissingTool: the token source, or the way to Heroku, lacks something.
    """
    token = await tokens.get()
    before = clock.now()
    account = await getter.get("/account", token, _ACCEPT)
    now = clock.now()
    _check(account, tokens, now)
    mine = await getter.get("/oauth/authorizations", token, _ACCEPT)
    _check(mine, tokens, now)
    date = date_of(account.headers.get("Date", ""))
    scopes = account.headers.get("Oauth-Scope")
    return Visit(
        None if scopes is None else frozenset(_SCOPE.findall(scopes)),
        end_of(decoded(mine), token, now) if mine.status == _OK else None,
        None if date is None else before + (now - before) / 2 - date,
        requests_left(account.headers),
    )


def _check(answer: Answer, tokens: TokenSource, now: datetime) -> None:
    """Let through what Heroku itself answered to a token that it knows."""
    if answer.status == _OK:
        decoded(answer)
        return
    error = error_of(answer, "The account", now)
    if isinstance(error, LoginRequired):
        advice = f"It came from {tokens.name}. {LoginRequired.default_advice}"
        raise LoginRequired(error.title, advice)
    if answer.status not in _REFUSED or isinstance(error, NotHeroku):
        raise error
