"""What a status and its error body mean, as one of our errors.

Heroku's errors are JSON: `{"id":"not_found","message":"Couldn't find that app."}`. A 4xx
with any other body comes from something in between, and is not believed. Heroku's
message is never shown: something in Heroku's place could put into it what we sent.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any, Final

from pgherald.errors import (
    AccountSuspended,
    Forbidden,
    HerokuError,
    LoginRequired,
    NotHeroku,
    NotVisible,
    RateLimited,
    TwoFactorRequired,
    Unavailable,
)
from pgherald.heroku.getter import Answer
from pgherald.heroku.shapes import count_of, moment

#: Values in one answer. A page of a thousand apps has 40,000; each takes up to 100 bytes of memory
#: and may be one or two letters, so the size alone would allow for gigabytes.
_MOST_VALUES: Final = 250_000
_LONGEST_DATE: Final = 64

#: Heroku refills its pool within the hour; a longer pause is somebody's mistake.
_LONGEST_RETRY: Final = timedelta(hours=1)

_SCOPE: Final = "The Heroku token may not read config vars"

#: Error, title and advice (empty: the error's own) by status.
_BY_STATUS: Final[Mapping[int, tuple[type[HerokuError], str, str]]] = {
    401: (LoginRequired, "Heroku does not accept the token", ""),
    402: (AccountSuspended, "{what}: Heroku waits for a payment", ""),
    404: (
        NotVisible,
        "{what}: not on Heroku, or not visible",
        "Look at its name, and whether your Heroku user may see it: `heroku apps --all`.",
    ),
    410: (HerokuError, "Heroku no longer answers this pgherald", "Install a newer one."),
}
#: Likewise for 403, by the error's id.
_BY_WORD: Final[Mapping[str, tuple[type[HerokuError], str, str]]] = {
    "suspended": (AccountSuspended, "{what}: suspended by Heroku", ""),
    "two_factor": (TwoFactorRequired, "Heroku asks for a second factor", ""),
}
_NO_ENTRY: Final = (Forbidden, "{what}: Heroku does not let this token in", "")
_TOO_NARROW: Final = (Forbidden, _SCOPE, "")


def needs_other_token(error: HerokuError) -> bool:
    """Whether no app of the account can fare better before the token changes."""
    return isinstance(error, LoginRequired | TwoFactorRequired) or error.title == _SCOPE


def decoded(answer: Answer) -> Any:
    """The JSON of an answer.

    Raises:
        NotHeroku: it is not JSON, whatever its header says.
    """
    kind = answer.headers.get("Content-Type", "").partition(";")[0].strip().lower()
    if kind != "application/json" and not kind.endswith("+json"):
        raise NotHeroku("What answers is not Heroku: it sends a page, not data")
    if sum(answer.body.count(mark) for mark in b",[{") > _MOST_VALUES:
        raise NotHeroku("What answers is not Heroku: it sends more than anybody asked for")
    try:
        return json.loads(answer.body)
    except (ValueError, RecursionError):  # it holds the whole text, so it must not live on
        pass
    raise NotHeroku("What answers is not Heroku: its data cannot be read")


def error_of(answer: Answer, what: str, now: datetime) -> HerokuError:
    """The error that an answer means with which nothing can be done.

    Args:
        answer: what came back.
        what: whose answer it is, such as `shop-production`; for the title.
        now: the wall clock, for "ask again in".
    """
    if answer.status >= 500:  # HTTP: a server's error
        return Unavailable(f"Heroku has a problem of its own ({answer.status})")
    if answer.status == 429:  # HTTP: too many requests
        return RateLimited(
            "Heroku's limit of requests is used up",
            "Other programs use the same account: Heroku allows 4500 requests an hour.",
            retry_at=_retry_at(answer.headers, now),
        )
    body = _error_body(answer)
    if body is None or answer.status < 400:  # HTTP: refusals begin here
        return NotHeroku(f"What answers is not Heroku: an odd status {answer.status}")
    return _refusal(answer.status, body, what)


def _refusal(status: int, body: Mapping[str, Any], what: str) -> HerokuError:
    if status == 403:  # HTTP: forbidden
        narrow = "scope" in str(body.get("message"))
        found = _BY_WORD.get(str(body.get("id")), _TOO_NARROW if narrow else _NO_ENTRY)
    else:
        unknown = (HerokuError, f"{{what}}: Heroku refuses the question ({status})", "")
        found = _BY_STATUS.get(status, unknown)
    kind, title, advice = found
    return kind(title.format(what=what), advice)


def _error_body(answer: Answer) -> Mapping[str, Any] | None:
    """Heroku's error; empty when there is no body; None when it is not Heroku's."""
    if not answer.body.strip():
        return {}
    try:
        body = decoded(answer)
    except NotHeroku:
        return None
    return body if isinstance(body, dict) else None


def requests_left(headers: Mapping[str, str]) -> int | None:
    """How many requests the account has left; None where Heroku says nothing plain."""
    return count_of(headers.get("RateLimit-Remaining", ""))


def date_of(text: str) -> datetime | None:
    """The moment that a header holds, UTC; None where it holds none."""
    try:
        return moment(parsedate_to_datetime(text)) if len(text) <= _LONGEST_DATE else None
    except (ValueError, TypeError, IndexError, OverflowError):
        return None


def _retry_at(headers: Mapping[str, str], now: datetime) -> datetime | None:
    """When to ask again: `Retry-After` holds seconds or a date."""
    text = headers.get("Retry-After", "").strip()
    seconds = count_of(text)
    at = date_of(text) if seconds is None else now + timedelta(seconds=seconds)
    return None if at is None else min(max(at, now), now + _LONGEST_RETRY)
