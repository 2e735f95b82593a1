"""Scripted answers of Heroku for `httpx.MockTransport`, without any network."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping
from typing import Any

import httpx

from pgherald.clock import Clock
from pgherald.errors import LoginRequired, PgheraldError
from pgherald.heroku.api import HerokuApi
from pgherald.heroku.budget import Budget
from pgherald.heroku.host import HerokuHost
from pgherald.heroku.tokens import TokenSource
from pgherald.secret import Secret

HOST = HerokuHost.from_env({})
TOKEN = "HRKU-CANARY-1"
URL = "postgres://u1:CANARY-pw-1@h1.example:5432/d1"

Handler = Callable[[httpx.Request], httpx.Response]


class FakeTokens(TokenSource):
    """A token source under the test's control, which counts its calls.

    `token` is what the world holds now, None for no login at all; `reads` counts how often the
    world was really read.
    """

    name = "the test"

    def __init__(self, token: str | None = TOKEN, *, cheap: bool = True) -> None:
        self.token = token
        self.cheap = cheap
        self.gets = self.reads = self.forgotten = 0
        self.error: PgheraldError = LoginRequired("There is no Heroku login")
        self._cached: str | None = None

    async def get(self) -> Secret:
        self.gets += 1
        await asyncio.sleep(0)
        if self.cheap or self._cached is None:
            self.reads += 1
            self._cached = self.token
        if self._cached is None:
            raise self.error.with_traceback(None)
        return Secret(self._cached)

    def forget(self) -> None:
        self.forgotten += 1
        self._cached = None


class FakeHeroku:
    """Answers by path, and remembers what it was asked.

    A route is a response, an exception, or a function of the request. An unknown path is
    Heroku's 404.
    """

    def __init__(self) -> None:
        self.routes: dict[str, httpx.Response | Exception | Handler] = {}
        self.requests: list[httpx.Request] = []
        self.transport = httpx.MockTransport(self._answer)

    def api(
        self, clock: Clock, tokens: FakeTokens | None = None, budget: Budget | None = None
    ) -> HerokuApi:
        """An API that asks this Heroku."""
        return HerokuApi(
            HOST, tokens or FakeTokens(), clock=clock, budget=budget, transport=self.transport
        )

    def holds(self, app: str, config: Mapping[str, str | None], release: int = 7) -> None:
        """Give an app these config vars and that latest release."""
        self.routes[f"/apps/{app}/config-vars"] = tagged(config)
        self.routes[f"/apps/{app}/releases"] = ok(
            [{"version": release, "description": "Update DATABASE by heroku-postgresql"}]
        )

    @property
    def paths(self) -> list[str]:
        """The paths asked for so far, in order."""
        return [request.url.raw_path.decode() for request in self.requests]

    async def _answer(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        await asyncio.sleep(0)
        route = self.routes.get(request.url.raw_path.decode(), error(404, "not_found"))
        if isinstance(route, Exception):
            raise route
        return _again(route) if isinstance(route, httpx.Response) else route(request)


def ok(body: Any, **headers: str) -> httpx.Response:
    """A 200 with JSON; `Next_Range="x"` becomes the header `Next-Range`."""
    return httpx.Response(200, json=body, headers=_fields(headers))


def error(status: int, word: str, message: str = "", **headers: str) -> httpx.Response:
    """An error as Heroku words it."""
    body = {"id": word, "message": message}
    return httpx.Response(status, json=body, headers=_fields(headers))


def _fields(headers: Mapping[str, str]) -> dict[str, str]:
    return {name.replace("_", "-"): value for name, value in headers.items()}


def tagged(body: Any) -> Handler:
    """A 200 with an ETag of its content, and 304 to who knows that already."""
    etag = f'"{hash(json.dumps(body)):x}"'

    def handler(request: httpx.Request) -> httpx.Response:
        if request.headers.get("If-None-Match") == etag:
            return httpx.Response(304, headers={"ETag": etag})
        return ok(body, ETag=etag)

    return handler


def for_token(token: str, otherwise: httpx.Response, answer: httpx.Response) -> Handler:
    """`answer` for requests with that token, `otherwise` for all others."""
    return lambda request: _again(
        answer if request.headers["Authorization"] == f"Bearer {token}" else otherwise
    )


def _again(response: httpx.Response) -> httpx.Response:
    """A response can be read once, so each request gets one of its own."""
    headers, content = response.headers.raw, response.content
    return httpx.Response(response.status_code, headers=headers, content=content)
