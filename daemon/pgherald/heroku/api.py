"""What Heroku is asked. Reads only; opening a log session, which is a POST, included.

    api = HerokuApi(host, tokens, clock=SystemClock())
    seen = await api.config_vars("shop-production", ["DATABASE"])

What was answered is remembered by its ETag, in memory alone and only the part that was
picked out of it. Nothing changed means an empty 304, and the picked part again.

Facts: Heroku's Platform API reference; where the paths, headers and variants that only
the Heroku CLI uses are meant (`version=3.sdk`, `Accept-Inclusion`), its source.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import re
from collections import OrderedDict
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import partial
from typing import Any, Final, Generic, TypeVar

import httpx

from pgherald.clock import Clock
from pgherald.errors import Forbidden, LoginRequired, NotHeroku
from pgherald.heroku import shapes
from pgherald.heroku.answers import decoded, error_of, needs_other_token, requests_left
from pgherald.heroku.budget import Budget
from pgherald.heroku.getter import TIME_LIMIT, Answer, Getter, Trust, segment
from pgherald.heroku.host import HerokuHost
from pgherald.heroku.shapes import App, Attachment, LogSession, Release, VarsSeen
from pgherald.heroku.tokens import TokenSource
from pgherald.secret import Secret

log = logging.getLogger(__name__)

T = TypeVar("T")

#: Sends a request, with this token and these headers.
Send = Callable[[Secret, Mapping[str, str]], Awaitable[Answer]]

_ACCEPT: Final = "application/vnd.heroku+json; version=3"
#: The variant that names an attachment's plan (heroku CLI: addons, pg resolver).
_WITH_PLAN: Final = {
    "Accept": f"{_ACCEPT}.sdk",
    "Accept-Inclusion": "addon:plan,config_vars",
}
#: The one question that costs nothing of the account's requests.
_FREE: Final = "/account/rate-limits"
_LONGEST_PAGE: Final = 1000
_ALL: Final = f"id ..; max={_LONGEST_PAGE}"
_NEWEST: Final = "version ..; max=1, order=desc"
_MOST_PAGES: Final = 100
_MOST_ITEMS: Final = _MOST_PAGES * _LONGEST_PAGE
#: Answers remembered; more than the apps of a large company, at under a kilobyte each.
_MOST_REMEMBERED: Final = 4096
#: What we are willing to send back in a header: visible ASCII and spaces.
_ECHOED: Final = re.compile(r"[\x20-\x7e]{1,1024}")
_GOOD: Final = frozenset({200, 201, 206})
_NOT_MODIFIED: Final = 304
_UNAUTHORIZED: Final = 401


@dataclass(frozen=True, slots=True)
class _Remembered:
    etag: str
    picked: Any = field(repr=False)


@dataclass(frozen=True, slots=True)
class _Page(Generic[T]):
    """Part of a list.

    Attributes:
        items: what was understood.
        odd: how many items were not.
        following: the `Range` of the next part; empty when there is none.
    """

    items: tuple[T, ...]
    odd: int
    following: str


class HerokuApi:
    """The questions, each one or more GET requests.

    Every method raises the errors of `pgherald.errors.HerokuError`, and what the token
    source raises.

    Attributes:
        tokens: where the token comes from.
        clock: tells the time.
        budget: counts the requests, and sends none beyond.
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
        self._getter = Getter(host, transport=transport, trust=trust, time_limit=time_limit)
        self._renewing = asyncio.Lock()
        self._memory: OrderedDict[tuple[str, object], _Remembered] = OrderedDict()
        self.odd: set[str] = set()

    @property
    def requests(self) -> int:
        """How many requests have been sent."""
        return self._getter.requests

    async def aclose(self) -> None:
        """Close the connections."""
        await self._getter.aclose()

    async def config_vars(self, app: str, attachments: Collection[str]) -> VarsSeen:
        """The URLs of these attachments; every other value is dropped at once.

        Args:
            app: the app's name.
            attachments: their names, without `_URL`.
        """
        names = frozenset(attachments)
        read = shapes.vars_seen(names, self.clock.now)
        seen, unchanged = await self._one(f"/apps/{segment(app)}/config-vars", read, app, names)
        return replace(seen, seen_at=self.clock.now(), unchanged=True) if unchanged else seen

    async def apps(self) -> list[App]:
        """All apps that the token may see, those of teams included."""
        return await self._list("/apps", shapes.app, "The account's apps")

    async def team_apps(self, team: str) -> list[App]:
        """A team's apps."""
        return await self._list(f"/teams/{segment(team)}/apps", shapes.app, f"Team {team}")

    async def attachments(self, app: str) -> list[Attachment]:
        """What is attached to an app."""
        path = f"/apps/{segment(app)}/addon-attachments"
        return await self._list(path, shapes.attachment, app, _WITH_PLAN)

    async def all_attachments(self) -> list[Attachment]:
        """What is attached to any app that the token may see."""
        what = "The account's attachments"
        return await self._list("/addon-attachments", shapes.attachment, what, _WITH_PLAN)

    async def addon_plans(self) -> dict[str, str]:
        """The plan's name of every add-on that the token may see, by the add-on's name."""
        return dict(await self._list("/addons", shapes.addon_plan, "The account's add-ons"))

    async def latest_release(self, app: str) -> Release | None:
        """The newest release; None when there is none."""
        path = f"/apps/{segment(app)}/releases"
        answer = await self._ask(path, app, {"Range": _NEWEST})
        releases, odd = _each(shapes.release, decoded(answer))
        if odd and not releases:
            raise _odd_list()
        return max(releases, key=lambda release: release.version or 0, default=None)

    async def open_log(self, app: str) -> LogSession:
        """Open a log session of an app; the one request that is no GET."""
        send = partial(self._getter.open_log, app)
        answer = await self._ask("", app, {}, send=send)
        return shapes.log_session(decoded(answer))

    @contextlib.asynccontextmanager
    async def follow(self, session: LogSession) -> AsyncIterator[AsyncIterator[bytes]]:
        """Read a log session; see `Getter.follow`. It costs none of the account's requests."""
        async with self._getter.follow(session.url) as pieces:
            yield pieces

    async def account(self) -> str:
        """The e-mail address of the account."""
        return (await self._one("/account", shapes.email, "The account"))[0]

    async def token_ends_at(self) -> datetime | None:
        """When the token ends, UTC; None where it does not, or may not tell.

        Nothing of the answer is remembered: it holds the account's other tokens, too.
        """
        send = partial(self._getter.get, "/oauth/authorizations")
        try:
            answer = await self._ask("", "The token", {"Range": _ALL}, send=send)
        except Forbidden:
            return None
        return shapes.end_of(decoded(answer), await self.tokens.get(), self.clock.now())

    async def rate_limit(self) -> int:
        """How many requests are left. This one is free."""
        remaining = (await self._one(_FREE, shapes.remaining, "The account"))[0]
        self.budget.saw(remaining)
        return remaining

    async def _one(
        self, path: str, pick: Callable[[Any], T], what: str, chosen: object = None
    ) -> tuple[T, bool]:
        """What `pick` finds in the answer, and whether it is the remembered one."""
        remembered = self._memory.get((path, chosen))
        answer = await self._ask(path, what, {}, remembered)
        if remembered and answer.status == _NOT_MODIFIED:
            return remembered.picked, True
        picked = pick(decoded(answer))
        self._remember((path, chosen), answer, picked)
        return picked, False

    async def _list(
        self,
        path: str,
        pick: Callable[[Any], T],
        what: str,
        headers: Mapping[str, str] | None = None,
    ) -> list[T]:
        """All pages of a list, each of which is remembered for itself.

        Items that are not understood hide no others: they are passed over, and the log says
        so once.

        Raises:
            NotHeroku: none of them is understood, or the list has no end.
        """
        found: list[T] = []
        odd = 0
        following, seen = _ALL, {_ALL}
        while following:
            page = await self._page(path, pick, what, {"Range": following, **(headers or {})})
            found += page.items
            odd += page.odd
            following = page.following
            if following in seen or len(seen) > _MOST_PAGES or len(found) > _MOST_ITEMS:
                raise NotHeroku("What answers is not Heroku: its list has no end")
            seen.add(following)
        # Pages that begin elsewhere by now would fill the memory.
        for key in [key for key in self._memory if key[0] == path and key[1] not in seen]:
            del self._memory[key]
        self._note_odd(path, what, odd, len(found))
        return found

    def _note_odd(self, path: str, what: str, odd: int, good: int) -> None:
        if odd and not good:
            raise _odd_list()
        if odd and path not in self.odd:
            log.warning("%s: %d of %d have an odd shape and are left out.", what, odd, odd + good)
            self.odd.add(path)
        elif not odd:
            self.odd.discard(path)

    async def _page(
        self, path: str, pick: Callable[[Any], T], what: str, headers: Mapping[str, str]
    ) -> _Page[T]:
        """One page. Heroku: `Next-Range` leads to the next one, and is sent back as it is."""
        key = (path, headers["Range"])
        remembered = self._memory.get(key)
        answer = await self._ask(path, what, headers, remembered)
        if remembered and answer.status == _NOT_MODIFIED:
            known: _Page[T] = remembered.picked
            return known
        following = answer.headers.get("Next-Range", "")
        if following and not _ECHOED.fullmatch(following):
            raise NotHeroku("What answers is not Heroku: its list has no end")
        items, odd = _each(pick, decoded(answer))
        page = _Page(tuple(items), odd, following)
        if following or len(items) + odd < _LONGEST_PAGE:
            self._remember(key, answer, page)
        else:
            # It is full: its ETag would not tell that another page has begun behind it.
            self._memory.pop(key, None)
        return page

    async def _ask(
        self,
        path: str,
        what: str,
        headers: Mapping[str, str],
        remembered: _Remembered | None = None,
        send: Send | None = None,
    ) -> Answer:
        """One question: one request, or two when the first token had expired."""
        send = send or partial(self._getter.get, path)
        if remembered:
            headers = {**headers, "If-None-Match": remembered.etag}
        token = await self.tokens.get()
        answer = await self._paid(send, token, headers, free=path == _FREE)
        if self._is_refusal(answer, what):
            token = await self._other_than(token)
            answer = await self._paid(send, token, headers, free=path == _FREE)
            if self._is_refusal(answer, what):
                raise self._refuse(token)
        if answer.status not in _GOOD and not (remembered and answer.status == _NOT_MODIFIED):
            error = error_of(answer, what, self.clock.now())
            if needs_other_token(error) and path:  # without one it is nothing that is needed
                self.refused = token
            raise error
        if token == self.refused:
            self.refused = None
        return answer

    async def _paid(
        self, send: Send, token: Secret, headers: Mapping[str, str], *, free: bool
    ) -> Answer:
        if not free:
            self.budget.take()
        answer = await send(token, {"Accept": _ACCEPT, **headers})
        left = requests_left(answer.headers)
        if left is not None:
            self.budget.saw(left)
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
            f"It came from {self.tokens.name}. {LoginRequired.default_advice}",
        )

    def _remember(self, key: tuple[str, object], answer: Answer, picked: object) -> None:
        self._memory.pop(key, None)
        etag = answer.headers.get("ETag", "")
        if _ECHOED.fullmatch(etag):
            self._memory[key] = _Remembered(etag, picked)
        if len(self._memory) > _MOST_REMEMBERED:
            self._memory.popitem(last=False)


def _each(pick: Callable[[Any], T], body: Any) -> tuple[list[T], int]:
    """What is understood in a list, and how many items are not."""
    if not isinstance(body, list):
        raise _odd_list()
    found = []
    for item in body:
        with contextlib.suppress(NotHeroku):
            found.append(pick(item))
    return found, len(body) - len(found)


def _odd_list() -> NotHeroku:
    return NotHeroku("What answers is not Heroku: a list has an odd shape")
