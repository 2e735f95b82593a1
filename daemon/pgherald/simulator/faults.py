"""What goes wrong at will, and the record of what was asked.

Both sit in front of every API, so that a fault looks the same wherever it strikes.
"""

from __future__ import annotations

import asyncio
import fnmatch
import json
import re
from collections import Counter, deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from pgherald.simulator.http import refuse, to_json, token_in
from pgherald.simulator.state import Refused
from pgherald.simulator.world import World

#: Control routes live below this path; they neither fail nor count.
CONTROL: Final = "/_simulator/"

#: Names under which a program of this machine calls on us. A page of the web that has
#: pointed its own name at 127.0.0.1 calls with that name.
OUR_NAMES: Final = frozenset({"127.0.0.1", "localhost", "[::1]"})

PORT = re.compile(r":\d+$")

HOUR: Final = timedelta(hours=1)

#: Requests remembered.
REMEMBERED: Final = 100_000

#: Faults that are one of Heroku's own refusals.
REFUSALS: Final = {
    "400": Refused(400, "bad_request", "Bad request."),
    "401": Refused(401, "unauthorized", "Invalid credentials provided."),
    "402": Refused(402, "delinquent", "Please pay your bills."),
    "403": Refused(403, "forbidden", "You do not have access to this resource."),
    "403-scope": Refused(
        403,
        "forbidden",
        "The scope of this OAuth authorization does not allow access to this resource.",
    ),
    "403-two-factor": Refused(
        403,
        "two_factor",
        "A second authentication factor or pre-authorization is required for this request.",
        app={"name": "shop-production"},
    ),
    "403-suspended": Refused(403, "suspended", "Your account has been suspended."),
    "404": Refused.not_found("app"),
    "429": Refused(429, "rate_limit", "Your account reached the API rate limit"),
    "500": Refused(500, "internal_server_error", "Internal server error."),
    "503": Refused(503, "maintenance", "Heroku API is temporarily unavailable."),
}

PORTAL: Final = (
    "<!DOCTYPE html><html><body><h1>Welcome to Hotel Wi-Fi</h1>Please sign in</body></html>"
)


@dataclass(slots=True)
class Fault:
    """One thing that goes wrong.

    Attributes:
        kind: one of `KINDS`.
        match: which requests, as a pattern of `METHOD /path`, such as
            `GET /apps/*/config-vars`; a pattern without a method fits every one.
        count: how many more of them; None for all.
        until: monotonic second at which it is over; None for never.
        seconds: for `slow` how long it takes, for `drip` how long between two bytes.
        location: for `redirect`, where to.
        retry_after: for `429` and `503`, the header's value; None for none.
        body: for `body`, the JSON given instead, with status 200.
    """

    kind: str
    match: str = "*"
    count: int | None = None
    until: float | None = None
    seconds: float = 1.0
    location: str = "https://login.portal.invalid/"
    retry_after: int | None = None
    body: Any = None

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise Refused.invalid(f"No such fault: {self.kind}. There are: {', '.join(KINDS)}")

    def fits(self, method: str, path: str) -> bool:
        """Whether it strikes that request."""
        pattern = self.match if " " in self.match else f"* {self.match}"
        return fnmatch.fnmatchcase(f"{method} {path}", pattern)


class Faults:
    """The faults in force; the first one that fits strikes."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.active: list[Fault] = []

    def add(self, fault: Fault, *, lasting: float | None = None) -> None:
        """Let something go wrong from now on, for that many seconds or for good."""
        if lasting is not None:
            fault.until = self._world.clock.monotonic() + lasting
        self.active.append(fault)

    def clear(self) -> None:
        """Let everything go well again."""
        self.active.clear()

    def strike(self, method: str, path: str) -> Fault | None:
        """The fault that strikes a request, used up by one."""
        now = self._world.clock.monotonic()
        self.active = [f for f in self.active if f.until is None or now < f.until]
        fault = next((f for f in self.active if f.fits(method, path)), None)
        if fault is not None and fault.count is not None:
            fault.count -= 1
            if not fault.count:
                self.active.remove(fault)
        return fault


@dataclass(slots=True)
class Visit:
    """One request that came in. `account` is None when its token is no good."""

    at: datetime
    method: str
    path: str
    account: str | None
    status: int | None = None


class Front:
    """The outermost layer: checks who calls, remembers it, and lets things go wrong.

    Attributes:
        visits: the requests so far, the control routes' left out.
        faults: what goes wrong.
    """

    def __init__(self, app: ASGIApp, world: World, faults: Faults) -> None:
        self._app = app
        self._world = world
        self.faults = faults
        self.visits: deque[Visit] = deque(maxlen=REMEMBERED)
        self._stopping = asyncio.Event()

    def stop(self) -> None:
        """End what would otherwise never end."""
        self._stopping.set()

    def counts(self) -> dict[str, Any]:
        """How often each path was asked for, and each account asked."""
        recent = [v for v in self.visits if v.at > self._world.now() - HOUR]
        return {
            "total": len(self.visits),
            "by_path": dict(Counter(f"{v.method} {v.path}" for v in self.visits)),
            "by_account": dict(Counter(v.account or "nobody" for v in self.visits)),
            "last_hour_by_account": dict(Counter(v.account or "nobody" for v in recent)),
            "by_status": dict(Counter(str(v.status) for v in self.visits)),
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request (ASGI)."""
        request = Request(scope)
        if PORT.sub("", request.headers.get("host", "")) not in OUR_NAMES:
            await Response("Not this host\n", 421)(scope, receive, send)
            return
        path = request.url.path
        if path.startswith(CONTROL):
            await self._app(scope, receive, send)
            return
        token = token_in(self._world, request.headers.get("authorization", ""))
        email = None if token is None else token.account.email
        visit = Visit(self._world.now(), request.method, path, email)
        self.visits.append(visit)

        async def noting(message: Message) -> None:
            if message["type"] == "http.response.start":
                visit.status = message["status"]
            await send(message)

        fault = self.faults.strike(request.method, path)
        if fault is None:
            await self._app(scope, receive, noting)
        elif fault.kind == "close":
            await _hang_up(send)
        else:
            await self._fail(fault, scope, receive, noting)

    async def _fail(self, fault: Fault, scope: Scope, receive: Receive, send: Send) -> None:
        if fault.kind == "slow":
            await _first(self._world.clock.sleep(fault.seconds), self._stopping.wait())
            await self._app(scope, receive, send)
        elif fault.kind in LASTING:
            # The request is served first; from here on `receive` tells when the caller has gone.
            whole = await self._whole(scope, receive)
            lasting: dict[str, Callable[[], Awaitable[object]]] = {
                "hang": asyncio.Event().wait,
                "drip": lambda: self._drip(whole, fault.seconds, send),
                "never-ending": lambda: _never_ending(send),
            }
            await _first(lasting[fault.kind](), self._stopping.wait(), _gone(receive))
        else:
            await _answer(fault)(scope, receive, send)

    async def _whole(self, scope: Scope, receive: Receive) -> bytes:
        """The body that the application would have sent."""
        parts: list[bytes] = []

        async def collect(message: Message) -> None:
            parts.append(message.get("body", b""))

        await self._app(scope, receive, collect)
        return b"".join(parts)

    async def _drip(self, whole: bytes, seconds: float, send: Send) -> None:
        """Give the right answer, one byte at a time."""
        await _start(send)
        for number in range(len(whole)):
            await _more(send, whole[number : number + 1])
            await self._world.clock.sleep(seconds)
        await _more(send, b"", last=True)


def _answer(fault: Fault) -> Response:
    """The answer of a fault that is one answer."""
    if fault.kind in REFUSALS:
        wait = None if fault.retry_after is None else {"Retry-After": str(fault.retry_after)}
        return refuse(REFUSALS[fault.kind], wait)
    return ANSWERS[fault.kind](fault)


#: Faults that are another answer, by their kind.
ANSWERS: Final[dict[str, Callable[[Fault], Response]]] = {
    "404-html": lambda _: Response("<h1>Not Found</h1>", 404, media_type="application/json"),
    "garbage": lambda _: Response(b'{"id": \xff\x00', 200, media_type="application/json"),
    "html": lambda _: Response(PORTAL, 200, media_type="text/html"),
    "redirect": lambda fault: Response(status_code=302, headers={"Location": fault.location}),
    "body": lambda fault: to_json(fault.body),
    "cut": lambda _: Response(b'{"DATABASE_URL": "post', 200, {"Content-Length": "4096"}),
}


#: Faults that last as long as the caller stays.
LASTING: Final = ("hang", "drip", "never-ending")

KINDS: Final = (*REFUSALS, *ANSWERS, *LASTING, "slow", "close")


async def _start(send: Send) -> None:
    headers = [(b"content-type", b"application/json")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})


async def _more(send: Send, body: bytes, *, last: bool = False) -> None:
    await send({"type": "http.response.body", "body": body, "more_body": not last})


async def _never_ending(send: Send) -> None:
    """Begin an answer and go on with it for ever."""
    await _start(send)
    await _more(send, b"[")
    while True:
        await _more(send, json.dumps({"id": "x" * 4000}).encode() + b",")
        await asyncio.sleep(0.01)  # real time: this is about a flood, not about a delay


async def _hang_up(send: Send) -> None:
    """Cut the connection without a word. ASGI has no way to ask for it; uvicorn has."""
    send.__self__.transport.abort()  # type: ignore[attr-defined]  # `send` is a method of uvicorn's
    await asyncio.sleep(0)  # until uvicorn has noticed; else it would try to send a 500


async def _gone(receive: Receive) -> None:
    """Wait until the caller has gone."""
    while (await receive())["type"] != "http.disconnect":
        pass


async def _first(*works: Awaitable[Any]) -> None:
    """Run all of them until the first one ends."""
    tasks = [asyncio.ensure_future(work) for work in works]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
