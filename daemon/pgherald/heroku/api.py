"""What Heroku is asked. Reads only; opening a log session, which is a POST, included.

    api = HerokuApi(host, tokens, clock=SystemClock())
    seen = await api.config_vars("shop-production", ["DATABASE"])

Of config vars the part that was picked out is remembered by its ETag, in memory alone. Nothing
changed means an empty 304, and the picked part again.

Facts: Heroku's Platform API reference; where the paths, headers and variants that only
the Heroku CLI uses are meant (`version=3.sdk`, `Accept-Inclusion`), its source.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import re
from collections.abc import Awaitable, Callable, Collection, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import partial
from types import MappingProxyType
from typing import Any, Final, TypeVar

import httpx

from pgherald.clock import Clock
from pgherald.errors import Forbidden, HerokuError, LoginRequired, NotHeroku, NotVisible
from pgherald.heroku import answers
from pgherald.heroku.answers import App, Attachment, LogSession, VarsSeen, decoded, error_of
from pgherald.heroku.backoff import Pause
from pgherald.heroku.budget import Budget
from pgherald.heroku.host import HerokuHost
from pgherald.heroku.http import Answer, HttpClient, segment
from pgherald.heroku.network import TIME_LIMIT, Trust
from pgherald.heroku.tokens import TokenSource
from pgherald.secret import Secret

log = logging.getLogger(__name__)

T = TypeVar("T")

#: Sends a request, with this token and these headers.
Send = Callable[[Secret, Mapping[str, str]], Awaitable[Answer]]

#: A token with one of these reads config vars (Heroku: `Oauth-Scope-Accepted`).
ENOUGH: Final = frozenset({"global", "read-protected", "write-protected"})

_ACCEPT: Final = "application/vnd.heroku+json; version=3"
#: The variant that names an attachment's plan (heroku CLI: addons, pg resolver).
_WITH_PLAN: Final = {
    "Accept": f"{_ACCEPT}.sdk",
    "Accept-Inclusion": "addon:plan,config_vars",
}
_LONGEST_PAGE: Final = 1000
_ALL: Final = f"id ..; max={_LONGEST_PAGE}"
_NEWEST: Final = "version ..; max=1, order=desc"
_MOST_PAGES: Final = 100
_MOST_ITEMS: Final = _MOST_PAGES * _LONGEST_PAGE
#: Answers remembered; more than the apps of a large company, at under a kilobyte each.
_MOST_REMEMBERED: Final = 4096
#: Seconds for which an ETag is believed.
_TRUSTED: Final = 15 * 60.0
#: What we are willing to send back in a header: visible ASCII and spaces.
_ECHOED: Final = re.compile(r"[\x20-\x7e]{1,1024}")
_SCOPE: Final = re.compile(r"(?<![^\s,])[a-z-]{1,32}(?![^\s,])")
_GOOD: Final = frozenset({200, 201, 206})
_NOT_MODIFIED: Final = 304
_UNAUTHORIZED: Final = 401


@dataclass(frozen=True, slots=True)
class TokenInfo:
    """What Heroku says of the token, and of the time.

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


class HerokuApi:
    """The questions. Each raises the tree of `HerokuError`, and what the token source raises.

    Attributes:
        tokens: where the token comes from.
        clock: tells the time.
        budget: counts the requests, and sends none beyond.
        http: sends them.
        refused: the token that Heroku refused last, if any.
        odd: paths of the lists in which something was not understood the last time.
    """

    def __init__(
        self,
        host: HerokuHost,
        tokens: TokenSource,
        *,
        clock: Clock,
        budget: Budget | None = None,
        transport: httpx.AsyncBaseTransport | None = None,
        trust: Trust = httpx.create_ssl_context,
        time_limit: float = TIME_LIMIT,
    ) -> None:
        self.tokens = tokens
        self.clock = clock
        self.budget = budget or Budget(clock)
        self.refused: Secret | None = None
        self.odd: set[str] = set()
        self.http = HttpClient(
            host, self.budget, transport=transport, trust=trust, time_limit=time_limit
        )
        self._renewing = asyncio.Lock()
        #: Apps whose log shows releases.
        self._logging: set[str] = set()
        #: The latest config vars, by app and databases, each with its ETag.
        self._memory: dict[tuple[str, frozenset[str]], tuple[str, VarsSeen, Pause]] = {}

    async def aclose(self) -> None:
        """Close the connections."""
        await self.http.aclose()

    async def config_vars(self, app: str, databases: Collection[str]) -> VarsSeen:
        """The URLs of these databases; every other value is dropped at once.

        Args:
            app: the app's name.
            databases: names of config vars; a `_URL` at their end may be left out.
        """
        key = app, frozenset(databases)
        etag, seen, fresh = self._memory.get(key, ("", None, None))
        if fresh is not None and fresh.is_over:
            etag = ""  # nobody has proven that it follows its content
        path = f"/apps/{segment(app)}/config-vars"
        answer = await self._ask(path, app, {"If-None-Match": etag} if etag else {})
        now = self.clock.now()
        if seen is not None and answer.status == _NOT_MODIFIED:
            return replace(seen, seen_at=now)
        seen = answers.config_vars(decoded(answer), key[1], now)
        self._memory.pop(key, None)
        etag = answer.headers.get("ETag", "")
        if _ECHOED.fullmatch(etag):
            self._memory[key] = etag, seen, Pause(self.clock, _TRUSTED)
        if len(self._memory) > _MOST_REMEMBERED:
            del self._memory[next(iter(self._memory))]
        return seen

    async def apps(self, team: str | None = None) -> list[App]:
        """All apps that the token may see, those of teams included; or one team's."""
        if team is None:
            return await self._list("/apps", answers.app, "The account's apps")
        return await self._list(f"/teams/{segment(team)}/apps", answers.app, f"Team {team}")

    async def attachments(self) -> list[Attachment]:
        """What is attached to any app that the token may see."""
        what = "The account's attachments"
        return await self._list("/addon-attachments", answers.attachment, what, _WITH_PLAN)

    async def latest_release(self, app: str) -> int | None:
        """The newest release's version; None when there is none, or it makes no sense."""
        answer = await self._ask(f"/apps/{segment(app)}/releases", app, {"Range": _NEWEST})
        versions, odd = _each(answers.release_version, decoded(answer))
        if odd and not versions:
            raise _odd_list()
        return max((version for version in versions if version is not None), default=None)

    async def open_log(self, app: str) -> LogSession:
        """Open a log session of an app; the one request that is no GET.

        Facts: on Fir, `app[api]` has no lines about releases.
        """
        if app not in self._logging:
            with contextlib.suppress(Forbidden, NotVisible):  # the session's own answer counts
                answer = await self._ask(f"/apps/{segment(app)}", app, optional=True)
                known = answers.app(decoded(answer))
                if known.generation not in {None, "cedar"}:
                    title = f"{app} runs on {known.generation}, where logs show no releases"
                    raise HerokuError(title, "It is polled as often as any other app.")
            self._logging.add(app)
        send = partial(self.http.open_log, app)
        answer = await self._ask("", app, optional=True, send=send)
        return answers.log_session(decoded(answer))

    async def account(self) -> str:
        """The e-mail address of the account."""
        return answers.email(decoded(await self._ask("/account", "The account", optional=True)))

    async def token_ends_at(self) -> datetime | None:
        """When the token ends, UTC; None where it does not, or may not tell.

        Nothing of the answer is remembered: it holds the account's other tokens, too.
        """
        path = "/oauth/authorizations"
        try:
            answer = await self._ask(path, "The token", {"Range": _ALL}, optional=True)
        except (Forbidden, NotVisible):
            return None
        return answers.token_end(decoded(answer), await self.tokens.get(), self.clock.now())

    async def token_info(self) -> TokenInfo:
        """What Heroku says of the token, and what time it is there: two requests.

        Each answer of Heroku's, a refusal too, says so in its headers. So it does not matter
        that a narrow token may not ask for the account at all.

        Facts: `Oauth-Scope` and `Date`, recorded answers.
        """
        before = self.clock.now()
        with contextlib.suppress(Forbidden, NotVisible):  # that is an answer, too
            decoded(await self._ask("/account", "The account", optional=True))
        now, heard = self.clock.now(), self.http.heard
        ends_at = await self.token_ends_at()
        date = answers.date_of(heard.get("Date", ""))
        scopes = heard.get("Oauth-Scope")
        return TokenInfo(
            None if scopes is None else frozenset(_SCOPE.findall(scopes)),
            ends_at,
            None if date is None else before + (now - before) / 2 - date,
            self.budget.remaining,
        )

    async def _list(
        self,
        path: str,
        pick: Callable[[Any], T],
        what: str,
        headers: Mapping[str, str] = MappingProxyType({}),
    ) -> list[T]:
        """All pages of a list.

        They are asked for in full: the ETag of a list does not follow its content. Items that
        are not understood hide no others: they are passed over, and the log says so once.

        Facts: heroku/platform-api#73.

        Raises:
            NotHeroku: none of them is understood, or the list has no end.
        """
        found: list[T] = []
        odd = 0
        following, seen = _ALL, {""}
        while following:
            if following in seen or len(seen) > _MOST_PAGES or len(found) > _MOST_ITEMS:
                raise NotHeroku("What answers is not Heroku: its list has no end")
            seen.add(following)
            answer = await self._ask(path, what, {"Range": following, **headers})
            items, strange = _each(pick, decoded(answer))
            found, odd = found + items, odd + strange
            # Heroku: it leads to the next page, and is sent back as it is.
            following = answer.headers.get("Next-Range", "")
            if following and not _ECHOED.fullmatch(following):
                raise NotHeroku("What answers is not Heroku: its list has no end")
        if odd and not found:
            raise _odd_list()
        if odd and path not in self.odd:
            total = odd + len(found)
            log.warning("%s: %d of %d have an odd shape and are left out.", what, odd, total)
        (self.odd.add if odd else self.odd.discard)(path)
        return found

    async def _ask(
        self,
        path: str,
        what: str,
        headers: Mapping[str, str] = MappingProxyType({}),
        *,
        optional: bool = False,
        send: Send | None = None,
    ) -> Answer:
        """One question: one request, or two when the first token had expired.

        Args:
            path: what is read, unless `send` says what else is sent.
            what: whose answer it is, for the errors.
            headers: further headers.
            optional: whether a refusal does not say that the token is not good enough.
            send: sends it.
        """
        send = send or partial(self.http.get, path)
        headers = {"Accept": _ACCEPT, **headers}
        good = _GOOD | {_NOT_MODIFIED} if "If-None-Match" in headers else _GOOD
        token = await self.tokens.get()
        answer = await send(token, headers)
        if self._is_refusal(answer, what):
            token = await self._other_than(token)
            answer = await send(token, headers)
            if self._is_refusal(answer, what):
                raise self._refuse(token)
        if answer.status not in good:
            error = error_of(answer, what, self.clock.now())
            if answers.needs_other_token(error) and not optional:
                self.refused = token
            raise error
        if token == self.refused:
            self.refused = None
        return answer

    def _is_refusal(self, answer: Answer, what: str) -> bool:
        return answer.status == _UNAUTHORIZED and isinstance(
            error_of(answer, what, self.clock.now()), LoginRequired
        )

    async def _other_than(self, token: Secret) -> Secret:
        """A token that is not the refused one. Of many askers only the first renews it.

        Raises:
            LoginRequired: there is no other.
        """
        async with self._renewing:
            other = await self.tokens.get()
            if other == token and token != self.refused:
                self.refused = token
                self.tokens.forget()
                other = await self.tokens.get()
            if other == token:
                raise self._refuse(token)
            return other

    def _refuse(self, token: Secret) -> LoginRequired:
        self.refused = token
        return LoginRequired(
            "Heroku does not accept the token",
            f"It came from {self.tokens.name}. {self.tokens.advice}",
        )


def _each(pick: Callable[[Any], T], body: Any) -> tuple[list[T], int]:
    """What is understood in a list, and how many items are not.

    Raises:
        NotHeroku: it is no list.
    """
    if not isinstance(body, list):
        raise _odd_list()
    found = []
    for item in body:
        with contextlib.suppress(NotHeroku):
            found.append(pick(item))
    return found, len(body) - len(found)


def _odd_list() -> NotHeroku:
    return NotHeroku("What answers is not Heroku: a list has an odd shape")
