"""JSON in, frozen types out: only what is needed, and only when it has the right shape.

Names from Heroku end up in file names, section names and on the screen, so they are held
to Heroku's own alphabet here. Numbers and moments are held to what SQLite and every time
zone can express.

A field that identifies something must be right, or its item is refused. A field that only
describes it (a moment, a version, a text) is None where it is odd.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final, TypeVar

from pgherald.errors import NotHeroku
from pgherald.heroku.url import looks_like_postgres
from pgherald.secret import Secret

T = TypeVar("T")

_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,127}")
_DIGITS: Final = re.compile(r"[0-9]{1,10}")
_LONGEST: Final = 1024
_LONGEST_TIME: Final = 64
#: A log session's address may carry a whole signed token.
_LONGEST_URL: Final = 8192
#: No release and no quota of Heroku's comes near it; SQLite's own integers end far beyond.
_MOST: Final = 2**31 - 1
#: Years that are believed. Further ones leave the calendar in another time zone.
_YEARS: Final = range(1970, 3000)


@dataclass(frozen=True, slots=True)
class VarsSeen:
    """What an app's config vars hold of interest. Every other value is gone.

    Attributes:
        seen_at: when, UTC.
        logins: the URLs of the attachments asked for, by attachment; without those that
            have no config var.
        names: config vars that were not asked for and hold a Postgres URL, sorted.
        unchanged: whether Heroku said that nothing changed since the last time.
    """

    seen_at: datetime
    logins: Mapping[str, Secret]
    names: tuple[str, ...] = ()
    unchanged: bool = False


@dataclass(frozen=True, slots=True)
class App:
    """An app.

    Attributes:
        id: never changes.
        name: may be changed by its owner.
        team: name of the team that owns it, if one does and Heroku says so plainly.
        released_at: when its code or a config var last changed, UTC; the cheap sign of
            a rotation.
        updated_at: moves with nearly everything, UTC.
    """

    id: str
    name: str
    team: str | None
    released_at: datetime | None
    updated_at: datetime | None


@dataclass(frozen=True, slots=True)
class Attachment:
    """An add-on attached to an app under a name.

    Attributes:
        id: never changes.
        app: the app that it is attached to.
        name: its config var is `<name>_URL`.
        addon: name of the add-on.
        namespace: which of the add-on's credentials or pools; None is the default one.
        plan: `service:plan`, such as `heroku-postgresql:standard-0`; None where Heroku
            did not say.
    """

    id: str
    app: str
    name: str
    addon: str
    namespace: str | None
    plan: str | None

    @property
    def is_pooled(self) -> bool:
        """Whether it leads to a connection pooler and not to Postgres itself."""
        if self.namespace is None:
            return False
        return self.namespace.startswith(("connection-pooling:", "pool:")) or (
            "proxy:true" in self.namespace.split("|")
        )


@dataclass(frozen=True, slots=True)
class Release:
    """A release of an app: new code, or a changed config var.

    Attributes:
        version: counts up from 1; this and the others are None where Heroku says something odd.
        description: Heroku's text, such as `Update DATABASE by heroku-postgresql`.
        created_at: when, UTC.
    """

    version: int | None
    description: str | None
    created_at: datetime | None


@dataclass(frozen=True, slots=True)
class LogSession:
    """Where an app's log can be read for a while.

    Attributes:
        url: its address, which is the key to it.
        created_at: when it began, by Heroku's clock, UTC.
    """

    url: Secret
    created_at: datetime | None


def vars_seen(
    attachments: Collection[str], now: Callable[[], datetime]
) -> Callable[[Any], VarsSeen]:
    """Makes the reader of config vars that keeps these attachments' URLs only."""
    wanted = {f"{name}_URL": name for name in attachments}

    def read(body: Any) -> VarsSeen:
        if not isinstance(body, dict):
            raise _wrong("config vars")
        logins = {
            # An odd value is no URL, and is refused as such for its own database alone.
            wanted[var]: Secret(value if isinstance(value, str) else "")
            for var, value in body.items()
            if var in wanted and value is not None
        }
        if not any(logins.values()) and not all(
            isinstance(value, str | None) for value in body.values()
        ):
            raise _wrong("config vars")  # an object, but not of config vars
        return VarsSeen(
            seen_at=now(),
            logins=logins,
            names=tuple(sorted(v for v in body if v not in wanted and _is_url(v, body[v]))),
        )

    return read


def app(body: Any) -> App:
    """An app.

    Raises:
        NotHeroku: it has not the shape of one; likewise below.
    """
    return App(
        id=_name(body, "id"),
        name=_name(body, "name"),
        team=_or_none(_name, body.get("team"), "name"),
        released_at=_time(body, "released_at"),
        updated_at=_time(body, "updated_at"),
    )


def attachment(body: Any) -> Attachment:
    """An attachment."""
    addon = _field(body, "addon", dict)
    namespace = body.get("namespace")
    return Attachment(
        id=_name(body, "id"),
        app=_name(_field(body, "app", dict), "name"),
        name=_name(body, "name"),
        addon=_name(addon, "name"),
        namespace=None if namespace is None else _text(body, "namespace"),
        plan=_or_none(_text, addon.get("plan"), "name"),
    )


def addon_plan(body: Any) -> tuple[str, str]:
    """An add-on's name and its plan's."""
    return _name(body, "name"), _text(_field(body, "plan", dict), "name")


def release(body: Any) -> Release:
    """A release."""
    if not isinstance(body, dict):
        raise _wrong("release")
    return Release(
        version=_or_none(_count, body, "version"),
        description=_or_none(_text, body, "description"),
        created_at=_time(body, "created_at"),
    )


def log_session(body: Any) -> LogSession:
    """A log session."""
    url = _field(body, "logplex_url", str)
    if len(url) > _LONGEST_URL or not url.isprintable():
        raise _wrong("logplex_url")
    return LogSession(Secret(url), _time(body, "created_at"))


def email(body: Any) -> str:
    """Whose account it is."""
    return _text(body, "email")


def remaining(body: Any) -> int:
    """How many requests are left."""
    return _count(body, "remaining")


def moment(at: datetime) -> datetime | None:
    """A moment in UTC; None where it has no time zone, or cannot be expressed in every one."""
    try:
        utc = at.astimezone(UTC) if at.tzinfo is not None else None
    except OverflowError:
        return None
    return utc if utc is not None and utc.year in _YEARS else None


def count_of(text: str) -> int | None:
    """The number that a header holds; None where it holds anything else."""
    number = int(text) if _DIGITS.fullmatch(text) else None
    return number if number is not None and number <= _MOST else None


def _is_url(var: str, value: object) -> bool:
    if not var.endswith("_URL") or not _NAME.fullmatch(var):
        return False
    return isinstance(value, str) and looks_like_postgres(value)


def _or_none(read: Callable[[Any, str], T], body: Any, key: str) -> T | None:
    try:
        return read(body, key)
    except NotHeroku:
        return None


def _field(body: Any, key: str, kind: type[T]) -> T:
    value = body.get(key) if isinstance(body, dict) else None
    if not isinstance(value, kind):
        raise _wrong(key)
    return value


def _text(body: Any, key: str) -> str:
    text = _field(body, key, str)
    if len(text) > _LONGEST or not text.isprintable():
        raise _wrong(key)
    return text


def _name(body: Any, key: str) -> str:
    name = _field(body, key, str)
    if not _NAME.fullmatch(name):
        raise _wrong(key)
    return name


def _count(body: Any, key: str) -> int:
    number = _field(body, key, int)
    if isinstance(number, bool) or not 0 <= number <= _MOST:
        raise _wrong(key)
    return number


def _time(body: Any, key: str) -> datetime | None:
    """A moment, which Heroku writes as `2012-01-01T12:00:00Z`; None for anything else."""
    text = body.get(key) if isinstance(body, dict) else None
    if not isinstance(text, str) or len(text) > _LONGEST_TIME:
        return None
    try:
        return moment(datetime.fromisoformat(text))
    except ValueError:
        return None


def _wrong(what: str) -> NotHeroku:
    return NotHeroku(f"What answers is not Heroku: {what} has an odd shape")


def end_of(body: Any, token: Secret, now: datetime) -> datetime | None:
    """When a token ends, by the list of the account's authorizations; None where it does not.

    An odd entry is passed over: it is not ours, or it is not understood.

    Facts: `expires_in`, seconds from now, of the authorization with our token in it: the
    Heroku CLI's `auth:token`.
    """
    for item in body if isinstance(body, list) else ():
        access = item.get("access_token") if isinstance(item, dict) else None
        if not isinstance(access, dict) or not isinstance(access.get("token"), str):
            continue
        seconds = access.get("expires_in")
        if Secret(access["token"]) != token or not isinstance(seconds, int):
            continue
        if not isinstance(seconds, bool) and 0 <= seconds <= _MOST:
            return moment(now + timedelta(seconds=seconds))
    return None
