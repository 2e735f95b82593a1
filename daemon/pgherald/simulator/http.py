"""How a simulated Heroku answers: identity, version, rate limit, scopes, ETags, ranges, errors.

Heroku: the headers and bodies are those recorded from the Platform API. What is not
known for certain (the form of `Next-Range`, say) is opaque here too, so that a client
which depends on it fails.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import re
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from pgherald.secret import Secret
from pgherald.simulator.state import Account, Addon, App, Refused, Token
from pgherald.simulator.world import World

#: Tokens in an account's pool, and how many come back in a minute.
POOL: Final = 4500
REFILL: Final = 75.0

PAGE: Final = 200
LONGEST_PAGE: Final = 1000

#: The scopes that open a resource, by the least of them that does.
OPENED_BY: Final = {
    "identity": ("global", "identity"),
    "read": ("global", "read", "read-protected", "write", "write-protected"),
    "read-protected": ("global", "read-protected", "write-protected"),
    "write": ("global", "write", "write-protected"),
    "write-protected": ("global", "write-protected"),
}

ACCEPTED = re.compile(r"application/vnd\.heroku\+json\s*;\s*version=3(\.\w+)?\s*(,|;|$)")
RANGE = re.compile(r"(?P<field>\w+)\s+(?P<start>[^;\s]*?)\.\.(?P<end>[^;\s]*)(;(?P<options>.*))?")

BAD_RANGE: Final = Refused(416, "requested_range_not_satisfiable", "Bad Range header.")

NO_ENDPOINT: Final = (
    "The requested API endpoint was not found. Are you using the right HTTP verb "
    "(i.e. `GET` vs. `POST`), and did you specify your intended version with the "
    "`Accept` header?"
)


@dataclass(frozen=True, slots=True)
class Reply:
    """What a handler answers.

    Attributes:
        body: to be sent as JSON; a list may be asked for in ranges.
        status: HTTP status.
        modified: moment of the resource's last change, for `Last-Modified`.
        tagged: whether the answer carries an ETag.
        sorts: fields by which a list may be sorted; the first one is the usual order.
    """

    body: Any
    status: int = 200
    modified: datetime | None = None
    tagged: bool = True
    sorts: tuple[str, ...] = ("id", "name")


@dataclass(frozen=True, slots=True)
class Call:
    """One request, known to come from somebody who may make it."""

    world: World
    request: Request
    token: Token
    body: dict[str, Any]

    @property
    def account(self) -> Account:
        """Whose token it is."""
        return self.token.account

    def part(self, name: str) -> str:
        """A variable part of the path."""
        return str(self.request.path_params[name])

    def app(self) -> App:
        """The app that the path names."""
        return self.world.app(self.part("app"), self.account)

    def addon(self) -> Addon:
        """The add-on that the path names."""
        return self.world.addon(self.part("addon"), self.account)

    def text(self, name: str) -> str:
        """A text in the body.

        Raises:
            Refused: 422; it is not there or no text.
        """
        value = self.body.get(name)
        if not isinstance(value, str) or not value:
            raise Refused.invalid(f"Parameter {name} is required.")
        return value


Handler = Callable[[Call], Awaitable[Reply]]


@dataclass(slots=True)
class Limits:
    """What a test may change about the answers.

    Attributes:
        pool: size of each account's pool of requests.
        refill: requests that come back in a minute.
        page: length of a list when the request does not say.
    """

    pool: int = POOL
    refill: float = REFILL
    page: int = PAGE
    _left: dict[Account, tuple[float, float]] = field(default_factory=dict)

    def left(self, account: Account, at: float) -> float:
        """How many requests an account may make at that (monotonic) second."""
        left, since = self._left.get(account, (float(self.pool), at))
        return min(float(self.pool), left + (at - since) * self.refill / 60)

    def set(self, account: Account, left: float, at: float) -> None:
        """Leave an account that many requests."""
        self._left[account] = (left, at)

    def take(self, account: Account, at: float) -> int:
        """Use up one request; how many are left.

        Raises:
            Refused: 429; there was none.
        """
        left = self.left(account, at) - 1
        if left < 0:
            raise Refused(
                429,
                "rate_limit",
                "Your account reached the API rate limit\n"
                "Please wait a few minutes before making new requests",
            )
        self.set(account, left, at)
        return int(left)


def platform_route(
    world: World,
    limits: Limits,
    method: str,
    path: str,
    handler: Handler,
    *,
    scope: str = "read",
    free: bool = False,
) -> Route:
    """A route of the Platform API.

    Args:
        world: what it speaks of.
        limits: pools and pages.
        method: HTTP method.
        path: in Starlette's form.
        handler: does the work.
        scope: least OAuth scope that opens it.
        free: whether it costs nothing of the pool.
    """

    async def endpoint(request: Request) -> Response:
        headers = {"Cache-Control": "private, no-cache", "Vary": "Authorization,Accept-Encoding"}
        headers["Request-Id"] = _request_ids(request, world.mint.uuid())
        try:
            token = identify(world, request)
            headers |= _scope_headers(token, scope)
            at = world.clock.monotonic()
            left = int(limits.left(token.account, at)) if free else limits.take(token.account, at)
            headers |= {"RateLimit-Remaining": str(left), "RateLimit-Multiplier": "1"}
            _check_version(request)
            check_scope(token, scope)
            reply = await handler(Call(world, request, token, await read_body(request)))
            return render(request, reply, headers, limits.page)
        except Refused as refused:
            return refuse(refused, headers)

    return Route(path, endpoint, methods=[method])


def identify(world: World, request: Request) -> Token:
    """The token of a request: `Bearer`, or `Basic` with the token as password.

    Raises:
        Refused: 401; missing, unknown or revoked.
    """
    token = token_in(world, request.headers.get("authorization", ""))
    if token is None:
        raise Refused(401, "unauthorized", "Invalid credentials provided.")
    return token


def token_in(world: World, authorization: str) -> Token | None:
    """The token that an `Authorization` header carries, if it is a good one."""
    kind, _, value = authorization.partition(" ")
    if kind.lower() == "basic":
        try:
            value = base64.b64decode(value, validate=True).decode().partition(":")[2]
        except (binascii.Error, UnicodeDecodeError):
            return None
    elif kind.lower() != "bearer":
        return None
    return world.token_of(Secret(value.strip()))


def check_scope(token: Token, scope: str) -> None:
    """Let only tokens pass that open a resource.

    Raises:
        Refused: 403.
    """
    if not token.scopes & set(OPENED_BY[scope]):
        raise Refused(
            403,
            "forbidden",
            "The scope of this OAuth authorization does not allow access to this resource.",
        )


def _check_version(request: Request) -> None:
    if not ACCEPTED.match(request.headers.get("accept", "")):
        raise Refused(
            406,
            "not_acceptable",
            "Specify the API version: `Accept: application/vnd.heroku+json; version=3`.",
        )


def _scope_headers(token: Token, scope: str) -> dict[str, str]:
    return {
        "Oauth-Scope": " ".join(sorted(token.scopes)),
        "Oauth-Scope-Accepted": " ".join(OPENED_BY[scope]),
    }


def _request_ids(request: Request, own: str) -> str:
    sent = request.headers.get("request-id", "")
    return (
        f"{sent},{own}" if sent and len(sent) < 1000 else own
    )  # a bound, so that it cannot grow without end


async def read_body(request: Request) -> dict[str, Any]:
    """The JSON object that a request carries; empty without one.

    Raises:
        Refused: 400; it is something else.
    """
    raw = await request.body()
    try:
        body = json.loads(raw) if raw.strip() else {}
    except ValueError:
        body = None
    if not isinstance(body, dict):
        raise Refused(400, "bad_request", "The request body is no JSON object.")
    return body


def refuse(refused: Refused, headers: dict[str, str] | None = None) -> Response:
    """Heroku's answer to what it does not do."""
    body = {**refused.extra, "id": refused.id, "message": refused.message}
    return to_json(body, refused.status, headers)


def to_json(body: object, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    """An answer in JSON."""
    return Response(json.dumps(body), status, headers, media_type="application/json")


def render(request: Request, reply: Reply, headers: dict[str, str], page: int) -> Response:
    """A handler's answer with range, ETag and date; 304 when the caller has it already.

    Raises:
        Refused: 412 or 416.
    """
    body, status = reply.body, reply.status
    if isinstance(body, list):
        span = Span.parse(request.headers.get("range", ""), reply.sorts, page)
        body, more = span.cut(body)
        headers["Accept-Ranges"] = ", ".join(reply.sorts)
        if body:
            headers["Content-Range"] = f"{span.field} {body[0][span.field]}..{body[-1][span.field]}"
        if more:
            headers["Next-Range"], status = more, 206
    if reply.modified is not None:
        headers["Last-Modified"] = format_datetime(reply.modified.astimezone(UTC), usegmt=True)
    answer = to_json(body, status, headers)
    if reply.tagged:
        digest = hashlib.md5(bytes(answer.body), usedforsecurity=False).hexdigest()
        tag = answer.headers["ETag"] = f'"{digest}"'
        wanted = request.headers.get("if-match")
        if wanted is not None and tag not in _tags(wanted):
            raise Refused(412, "precondition_failed", "The resource has changed.")
        if tag in _tags(request.headers.get("if-none-match", "")):
            return Response(status_code=304, headers=headers | {"ETag": tag})
    return answer


def _tags(header: str) -> list[str]:
    return [tag.strip() for tag in header.split(",")]


@dataclass(frozen=True, slots=True)
class Span:
    """Which part of a list is asked for.

    Attributes:
        field: by which it is sorted.
        start: first value wanted, or empty.
        end: last value wanted, or empty.
        longest: how many at most.
        descending: whether the greatest comes first.
        skip: how many were given before, by an earlier answer's `Next-Range`.
    """

    field: str
    start: str = ""
    end: str = ""
    longest: int = PAGE
    descending: bool = False
    skip: int = 0

    @classmethod
    def parse(cls, header: str, sorts: Sequence[str], page: int) -> Span:
        """Read a `Range` header, ours (`Next-Range`) or a person's.

        Raises:
            Refused: 416.
        """
        if not header:
            return cls(sorts[0], longest=page)
        try:
            if header.startswith("~"):
                return cls(**json.loads(base64.urlsafe_b64decode(header[1:])))
        except (ValueError, TypeError):
            raise BAD_RANGE from None
        match = RANGE.fullmatch(header.strip())
        if match is None or match["field"] not in sorts:
            raise BAD_RANGE
        longest, descending = _range_options(match["options"] or "", page)
        return cls(match["field"], match["start"], match["end"], longest, descending)

    def cut(self, rows: list[dict[str, Any]]) -> tuple[list[dict[str, Any]], str]:
        """The rows of this part, and the `Next-Range` header when there are more."""
        low, high = (self.end, self.start) if self.descending else (self.start, self.end)
        try:
            chosen = [r for r in rows if _within(r[self.field], low, high)]
        except ValueError:  # a version that is no number
            raise BAD_RANGE from None
        chosen.sort(key=lambda row: row[self.field], reverse=self.descending)
        until = self.skip + self.longest
        if until >= len(chosen):
            return chosen[self.skip :], ""
        state = {name: getattr(self, name) for name in self.__slots__} | {"skip": until}
        return chosen[self.skip : until], "~" + base64.urlsafe_b64encode(
            json.dumps(state).encode()
        ).decode()


def _range_options(text: str, page: int) -> tuple[int, bool]:
    """`max=10, order=desc` as numbers; separated by `;` or `,`, both are in use."""
    parts = (part.strip().partition("=") for part in re.split("[;,]", text))
    options = {name: value for name, _, value in parts if name}
    longest = options.get("max", str(page))
    if not longest.isdecimal() or not 0 < int(longest) <= LONGEST_PAGE:
        raise BAD_RANGE
    return int(longest), options.get("order") == "desc"


def _within(value: str | int, low: str, high: str) -> bool:
    """Whether a value lies in a range; numbers are compared as numbers."""
    kind = type(value)
    return (not low or kind(low) <= value) and (not high or value <= kind(high))  # type: ignore[operator]  # both sides have the one type
