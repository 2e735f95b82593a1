"""What Heroku's answers mean: JSON as frozen types, refusals as our errors.

Only what is needed is read, and only when it has the right shape. Names from Heroku end up in
file names, section names and on the screen, so they are held to Heroku's own alphabet. Numbers
and moments are held to what SQLite and every time zone can express. A field that identifies
something must be right, or its item is refused. A field that only describes it (a moment, a
version, a plan) is None where it is odd.

Heroku's errors are JSON: `{"id":"not_found","message":"Couldn't find that app."}`. A 4xx
with any other body comes from something in between, and is not believed. Its message is never
shown: something in Heroku's place could put into it what we sent.
"""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any, Final, TypeVar

from pgherald import errors
from pgherald.heroku.http import MOST, Answer, count_of
from pgherald.heroku.url import is_masked, looks_like_postgres, parse_postgres_url
from pgherald.model import Login
from pgherald.secret import Secret

T = TypeVar("T")

#: Values in one answer. A page of a thousand apps has 40,000; each takes up to 100 bytes of memory
#: and may be one or two letters, so the size alone would allow for gigabytes.
_MOST_VALUES: Final = 250_000
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,127}")
_LONGEST, _LONGEST_TIME = 1024, 64
#: A log session's address may carry a whole signed token.
_LONGEST_URL: Final = 8192
#: Further years leave the calendar in another time zone.
_YEARS: Final = range(1970, 3000)

#: Heroku refills its pool within the hour; a longer pause is somebody's mistake.
_LONGEST_RETRY: Final = timedelta(hours=1)

_ASK_THE_OWNER: Final = (
    "Ask the app's owner for `deploy` or `operate` permission; `heroku access --app {what}` shows "
    "who has which."
)
_ASK_FOR_ACCESS: Final = "Ask for access: its administrator can give it."
_SCOPE: Final = "The Heroku token may not read config vars"


# --- what is in an answer ------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class VarsSeen:
    """What an app's config vars hold of interest. Every other value is gone.

    Attributes:
        seen_at: when, UTC.
        logins: the URLs of the databases asked for, by name; None where Heroku hides the value.
            Those that have no config var are not there.
        bare: those of them whose config var has the very name, without `_URL`.
        others: config vars that were not asked for and hold a whole Postgres URL, sorted; those
            with the same login stand together.
        hidden: config vars whose value Heroku does not show.
    """

    seen_at: datetime
    logins: Mapping[str, Secret | None]
    bare: frozenset[str] = frozenset()
    others: tuple[tuple[str, ...], ...] = ()
    hidden: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class App:
    """An app.

    Attributes:
        name: may be changed by its owner, and be given to another app.
        released_at: when its code or a config var last changed, UTC; the cheap sign of
            a rotation.
        id: Heroku's own, which stays.
        generation: of the platform that it runs on: `cedar` or `fir`.
    """

    name: str
    released_at: datetime | None
    id: str | None = None
    generation: str | None = None


@dataclass(frozen=True, slots=True)
class Attachment:
    """An add-on attached to an app under a name, or a config var that holds a Postgres URL.

    Attributes:
        app: the app that it is attached to.
        name: its config var is `<name>_URL`, or else the name itself.
        addon: name of the add-on; of a config var without one, its name.
        namespace: which of the add-on's credentials or pools; None is the default one.
        plan: `service:plan`, such as `heroku-postgresql:standard-0`; None where Heroku
            did not say.
    """

    app: str
    name: str
    addon: str
    namespace: str | None = None
    plan: str | None = None

    @property
    def factors(self) -> frozenset[str]:
        """What the namespace says, in whatever order: `role:reader|proxy:false|pool:leader`."""
        return frozenset((self.namespace or "").split("|")) - {"", "proxy:false"}

    @property
    def is_pooled(self) -> bool:
        """Whether it leads to a connection pooler and not to Postgres itself.

        Heroku: a `pool` of an Advanced plan is a group of instances, and no pooler.
        """
        return any(each.startswith(("connection-pooling:", "proxy:true")) for each in self.factors)


@dataclass(frozen=True, slots=True)
class LogSession:
    """Where an app's log can be read for a while.

    Attributes:
        url: its address, which is the key to it.
        created_at: when it began, by Heroku's clock, UTC.
    """

    url: Secret
    created_at: datetime | None


def config_vars(body: Any, databases: Collection[str], seen_at: datetime) -> VarsSeen:
    """Of config vars the URLs of these databases, and the names of those that hold others."""
    if not isinstance(body, dict):
        raise _wrong("config vars")
    vars_of = {name: f"{name}_URL" for name in databases}
    # A name's own `_URL` may be the address of something else.
    may_be = {var for var, value in body.items() if _may_be_url(value)}
    bare = [name for name, var in vars_of.items() if var not in may_be and name in may_be]
    vars_of |= {name: name for name in bare}
    logins = {name: _secret(body[var]) for name, var in vars_of.items() if var in body}
    if not any(logins.values()) and not all(isinstance(v, str | None) for v in body.values()):
        raise _wrong("config vars")  # an object, but not of config vars
    others: dict[Login, list[str]] = {}
    for var in sorted(body.keys() - vars_of.values()):
        if _NAME.fullmatch(var) and body[var] is not None and var in may_be:
            with contextlib.suppress(errors.BadUrl):
                others.setdefault(parse_postgres_url(_secret(body[var])), []).append(var)
    hidden = frozenset(v for v, text in body.items() if text is None or is_masked(str(text)))
    return VarsSeen(seen_at, logins, frozenset(bare), tuple(map(tuple, others.values())), hidden)


def _may_be_url(value: object) -> bool:
    return value is None or (isinstance(value, str) and looks_like_postgres(value))


def _secret(value: object) -> Secret | None:
    # An odd value is no URL, and is refused as such for its own database alone.
    return None if value is None else Secret(value if isinstance(value, str) else "")


def app(body: Any) -> App:
    """An app.

    Raises:
        NotHeroku: it has not the shape of one; likewise below.
    """
    return App(
        _name(body, "name"),
        _time(body, "released_at"),
        _or_none(_text, body, "id"),
        _or_none(_name, body.get("generation"), "name"),
    )


def attachment(body: Any) -> Attachment:
    """An attachment."""
    addon = _field(body, "addon", dict)
    return Attachment(
        app=_name(_field(body, "app", dict), "name"),
        name=_name(body, "name"),
        addon=_name(addon, "name"),
        namespace=None if body.get("namespace") is None else _text(body, "namespace"),
        plan=_or_none(_text, addon.get("plan"), "name"),
    )


def release_version(body: Any) -> int | None:
    """A release's version, which counts up from 1; None where Heroku says something odd."""
    if not isinstance(body, dict):
        raise _wrong("release")
    return _or_none(_count, body, "version")


def log_session(body: Any) -> LogSession:
    """A log session."""
    return LogSession(Secret(_text(body, "logplex_url", _LONGEST_URL)), _time(body, "created_at"))


def email(body: Any) -> str:
    """Whose account it is."""
    return _text(body, "email")


def token_end(body: Any, token: Secret, now: datetime) -> datetime | None:
    """When a token ends, by the list of the account's authorizations; None where it does not.

    An odd entry is passed over: it is not ours, or it is not understood.

    Facts: `expires_in`, seconds from now, of the authorization with our token in it: the
    Heroku CLI's `auth:token`.
    """
    for item in body if isinstance(body, list) else ():
        access = item.get("access_token") if isinstance(item, dict) else None
        if Secret(_or_none(_plain, access, "token") or "") == token:
            seconds = _or_none(_count, access, "expires_in")
            if seconds is not None:
                return _moment(now + timedelta(seconds=seconds))
    return None


def date_of(text: str) -> datetime | None:
    """The moment that a header holds, UTC; None where it holds none."""
    with contextlib.suppress(ValueError, TypeError, IndexError, OverflowError):
        return _moment(parsedate_to_datetime(text)) if len(text) <= _LONGEST_TIME else None
    return None


def _moment(at: datetime) -> datetime | None:
    """A moment in UTC; None where it has no time zone, or cannot be expressed in every one."""
    try:
        utc = at.astimezone(UTC) if at.tzinfo is not None else None
    except OverflowError:
        return None
    return utc if utc is not None and utc.year in _YEARS else None


def _or_none(read: Callable[[Any, str], T], body: Any, key: str) -> T | None:
    with contextlib.suppress(errors.NotHeroku):
        return read(body, key)
    return None


def _field(body: Any, key: str, kind: type[T]) -> T:
    value = body.get(key) if isinstance(body, dict) else None
    if not isinstance(value, kind):
        raise _wrong(key)
    return value


def _plain(body: Any, key: str) -> str:
    return _field(body, key, str)


def _text(body: Any, key: str, longest: int = _LONGEST) -> str:
    text = _plain(body, key)
    if len(text) > longest or not text.isprintable():
        raise _wrong(key)
    return text


def _name(body: Any, key: str) -> str:
    name = _plain(body, key)
    if not _NAME.fullmatch(name):
        raise _wrong(key)
    return name


def _count(body: Any, key: str) -> int:
    number = _field(body, key, int)
    if isinstance(number, bool) or not 0 <= number <= MOST:
        raise _wrong(key)
    return number


def _time(body: Any, key: str) -> datetime | None:
    """A moment, which Heroku writes as `2012-01-01T12:00:00Z`; None for anything else."""
    with contextlib.suppress(errors.NotHeroku, ValueError):
        return _moment(datetime.fromisoformat(_text(body, key, _LONGEST_TIME)))
    return None


def _wrong(what: str) -> errors.NotHeroku:
    return errors.NotHeroku(f"What answers is not Heroku: {what} has an odd shape")


# --- refusals ------------------------------------------------------------------------------


def needs_other_token(error: errors.HerokuError) -> bool:
    """Whether no app of the account can fare better before the token changes."""
    return (
        isinstance(error, errors.LoginRequired | errors.TwoFactorRequired) or error.title == _SCOPE
    )


def decoded(answer: Answer) -> Any:
    """The JSON of an answer.

    Raises:
        NotHeroku: it is not JSON, whatever its header says.
    """
    kind = answer.headers.get("Content-Type", "").partition(";")[0].strip().lower()
    if kind != "application/json" and not kind.endswith("+json"):
        raise errors.NotHeroku("What answers is not Heroku: it sends a page, not data")
    if sum(answer.body.count(mark) for mark in b",[{") > _MOST_VALUES:
        raise errors.NotHeroku("What answers is not Heroku: it sends more than anybody asked for")
    with contextlib.suppress(ValueError, RecursionError):  # holds the text, so must not live on
        return json.loads(answer.body)
    raise errors.NotHeroku("What answers is not Heroku: its data cannot be read")


def error_of(answer: Answer, what: str, now: datetime) -> errors.HerokuError:
    """The error that an answer means with which nothing can be done.

    Args:
        answer: what came back.
        what: whose answer it is, such as `shop-production`; for the title.
        now: the wall clock, for "ask again in".
    """
    status = answer.status
    if status >= 500:  # HTTP: a server's error
        return errors.Unavailable(f"Heroku has a problem of its own ({status})")
    if status == 429:  # HTTP: too many requests
        return errors.RateLimited(
            "Heroku's limit of requests is used up",
            "Other programs use the same account: Heroku allows 4500 requests an hour.",
            retry_at=_retry_at(answer.headers, now),
        )
    body = _error_body(answer)
    if body is None or status < 400:  # HTTP: refusals begin here
        return errors.NotHeroku(f"What answers is not Heroku: an odd status {status}")
    error = errors.HerokuError(f"{what}: Heroku refuses the question ({status})")
    match status:
        case 401:
            error = errors.LoginRequired("Heroku does not accept the token")
        case 402:
            error = errors.AccountSuspended(f"{what}: Heroku waits for a payment")
        case 403:
            error = _forbidden(body, what)
        case 404:
            error = errors.NotVisible(
                f"{what}: not on Heroku, or not visible",
                "Compare its name with `heroku apps --all`, which lists what your Heroku user may "
                "see. If it is gone, take it out of the configuration.",
            )
        case 410:
            title = "Heroku no longer answers this pgherald"
            error = errors.HerokuError(title, "Install a newer one.")
    return error


def _forbidden(body: Mapping[str, Any], what: str) -> errors.Forbidden:
    word = body.get("id")
    if word == "suspended":
        return errors.AccountSuspended(f"{what}: suspended by Heroku")
    if word == "two_factor":
        title, advice = "Heroku asks for a second factor", errors.TwoFactorRequired.default_advice
        if _or_none(_name, body.get("app"), "name") == what:  # others may not ask for it
            return errors.Forbidden(f"{what}: {title}", advice)
        return errors.TwoFactorRequired(title)
    # As a word: the message may name an app that is called so.
    if "scope" in str(body.get("message")).split():
        return errors.Forbidden(_SCOPE, f"Use another token: {errors.MAKE_ONE}")
    advice = _ASK_THE_OWNER if _NAME.fullmatch(what) else _ASK_FOR_ACCESS
    title = f"{what}: Heroku does not let this token in"
    return errors.Forbidden(title, advice.format(what=what))


def _error_body(answer: Answer) -> Mapping[str, Any] | None:
    """Heroku's error; empty when there is no body; None when it is not Heroku's."""
    if not answer.body.strip():
        return {}
    with contextlib.suppress(errors.NotHeroku):
        body = decoded(answer)
        return body if isinstance(body, dict) else None
    return None


def _retry_at(headers: Mapping[str, str], now: datetime) -> datetime | None:
    """When to ask again: `Retry-After` holds seconds or a date."""
    text = headers.get("Retry-After", "").strip()
    seconds = count_of(text)
    at = date_of(text) if seconds is None else now + timedelta(seconds=seconds)
    return None if at is None else min(max(at, now), now + _LONGEST_RETRY)
