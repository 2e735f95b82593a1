"""Log sessions of a simulated Heroku: server-sent events, or plain lines, by `Accept`.

Heroku: a session's URL is fetched without a token. It lasts five minutes when nobody
comes, and an hour after somebody came; then it is answered with 404.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from pgherald.simulator import shapes
from pgherald.simulator.http import Call, Limits, Reply, platform_route
from pgherald.simulator.state import App, LogLine, Refused
from pgherald.simulator.world import World

#: How long a session waits for somebody to come, and how long it lasts from then on.
WAITS: Final = timedelta(minutes=5)
LASTS: Final = timedelta(hours=1)

DEFAULT_LINES: Final = 100


@dataclass(slots=True)
class Session:
    """What one log session shows, and until when."""

    app: App
    ends: datetime
    source: str | None
    dyno: str | None
    lines: int
    tail: bool
    met: bool = False
    ended: bool = False

    def wants(self, line: LogLine) -> bool:
        """Whether a line passes the session's filters."""
        if self.source not in {None, line.source}:
            return False
        return self.dyno is None or self.dyno in {line.dyno, line.dyno.partition(".")[0]}

    def end(self) -> None:
        """End the session, and the tails that hang on it."""
        self.ended = True
        self.app.log.wake()


class LogSessions:
    """Opens and serves log sessions."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._sessions: dict[str, Session] = {}

    def routes(self, limits: Limits) -> list[Route]:
        """The route that opens a session, and the one that serves it."""
        path = "/apps/{app}/log-sessions"
        return [
            platform_route(self._world, limits, "POST", path, self._open),
            Route("/sessions/{session}", self._serve, methods=["GET"]),
        ]

    def end_all(self) -> None:
        """End every session now, as Heroku does when it restarts its log routers."""
        for session in self._sessions.values():
            session.end()

    async def _open(self, call: Call) -> Reply:
        now = self._world.now()
        session = Session(
            app=call.app(),
            ends=now + WAITS,
            source=_text(call, "source"),
            # Heroku: the public schema says dyno_name, its own CLI says dyno.
            dyno=_text(call, "dyno") or _text(call, "dyno_name"),
            lines=_lines(call.body.get("lines")),
            tail=call.body.get("tail") is True,
        )
        key = self._world.mint.uuid()
        self._sessions[key] = session
        url = f"{call.request.base_url}sessions/{key}?srv={int(now.timestamp())}"
        body = {"created_at": shapes.stamp(now), "id": key, "logplex_url": url}
        return Reply(body | {"updated_at": shapes.stamp(now)}, 201, tagged=False)

    async def _serve(self, request: Request) -> Response:
        session = self._sessions.get(request.path_params["session"])
        if session is None or session.ended or self._world.now() >= session.ends:
            return Response("Not found\n", 404, media_type="text/plain")
        if not session.met:
            session.met, session.ends = True, self._world.now() + LASTS
            self._world.later(self._end_in_time(session), timer=True)
        events = "text/event-stream" in request.headers.get("accept", "")
        kind = "text/event-stream" if events else "text/html"
        last = request.headers.get("last-event-id", "")
        lines = self._lines(session, int(last) if last.isdecimal() else None)
        return StreamingResponse(_written(lines, as_events=events), media_type=kind)

    async def _lines(self, session: Session, last: int | None) -> AsyncIterator[LogLine]:
        """The session's lines: the newest ones, or all since an earlier one, then new ones."""
        book = session.app.log
        kept = list(book.after(last or 0))
        wanted = [line for line in kept if session.wants(line)]
        for line in wanted[-session.lines :] if last is None else wanted:
            yield line
        if session.tail:
            newest = kept[-1].id if kept else last or 0
            async for line in book.follow(newest, lambda: session.ended):
                if session.wants(line):
                    yield line

    async def _end_in_time(self, session: Session) -> None:
        await self._world.clock.sleep(LASTS.total_seconds())
        session.end()


async def _written(lines: AsyncIterator[LogLine], *, as_events: bool) -> AsyncIterator[str]:
    async for line in lines:
        yield f"id: {line.id}\ndata: {line.text}\n\n" if as_events else f"{line.text}\n"


def _text(call: Call, name: str) -> str | None:
    value = call.body.get(name)
    if value is not None and not isinstance(value, str):
        raise Refused.invalid(f"Parameter {name} is a text.")
    return value


def _lines(value: Any) -> int:
    """How many old lines; at least one, since a slice of none would give all."""
    if value is None:
        return DEFAULT_LINES
    if not isinstance(value, int) or value < 1:
        raise Refused.invalid("Parameter lines is a number above zero.")
    return value
