"""A Postgres URL, taken apart.

    postgres://user:password@host:5432/dbname?ignored=yes

What is accepted, beyond the plain form:

- White space and quotes around it, as they come of pasting.
- `postgres`, `postgresql`, `postgis`, and the `pgsql` and `psql` of some frameworks, in any case,
  also with a driver: `postgresql+psycopg`.
- Percent-encoding in every part, UTF-8 inside; `+` stays `+`. A `%` without two
  hexadecimal digits is refused, as libpq does.
- No more than 4,096 characters: Heroku's have 200, and all config vars of an app 65,536.
- A missing or empty port is 5432. IPv6 addresses stand in brackets.
- Everything after `?` or `#` behind the database's name is ignored, `sslmode` included:
  the database's own `sslmode` rules.
- Passwords in which somebody forgot to encode `@`, `/`, `?`, `#` or `:`. The user part ends
  at the first `@` that has a whole `host:port/database` behind it, up to the end of the
  URL or to a `?` or `#`. For a URL without such a slip that is what RFC 3986 says.

No message holds any part of the URL, since a misread part may be the password.
"""

from __future__ import annotations

import ipaddress
import re
import string
import unicodedata
from typing import Final
from urllib.parse import unquote_to_bytes

from pgherald.errors import BadUrl
from pgherald.model import Login
from pgherald.secret import Secret

DEFAULT_PORT: Final = 5432
_LONGEST: Final = 4096

_SCHEME: Final = re.compile(r"(?:postg(?:res(?:ql)?|is)|pg?sql)(?:\+[\w+-]+)?://", re.IGNORECASE)
_PLACE: Final = re.compile(
    r"(?P<host>\[[^\]@/?#]*\]|[^@/?#:\[\]]*)(?P<port>:[^@/?#]*)?/(?P<dbname>[^@/?#]*)(?:[?#].*)?",
    re.DOTALL,
)
_HOST: Final = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9._-]*)")
_PORT: Final = re.compile(r"[0-9]{1,5}")
#: White space, a byte order mark, a space of no width, and quotes.
_AROUND: Final = f"{string.whitespace}\xa0\ufeff\u200b\"'"
_BAD_ESCAPE: Final = re.compile(r"%(?![0-9A-Fa-f]{2})")
#: Control characters, and half surrogates, which no encoding can hold.
_UNWRITABLE: Final = frozenset({"Cc", "Cs"})


def looks_like_postgres(text: str) -> bool:
    """Whether it begins as a Postgres URL does."""
    return _SCHEME.match(_trimmed(text)) is not None


def is_masked(text: str) -> bool:
    """Whether it stands for a value that Heroku does not show."""
    return bool(text) and not text.strip("*\u2022")


def parse_postgres_url(
    text: Secret | None,
    sslmode: str = "require",
    *,
    var: str = "The config var",
    app: str = "",
) -> Login:
    """Take a URL apart.

    Args:
        text: the URL; None where Heroku hides it.
        sslmode: libpq's `sslmode` that the login gets.
        var: the config var's name, for the error.
        app: whose it is, likewise.

    Raises:
        BadUrl: it is not a whole Postgres URL. Holds no part of it.
    """
    value = None if text is None else _trimmed(text.reveal())
    name = f"{var} of {app}" if app else var
    if value is None or is_masked(value):
        raise BadUrl(
            f"{name} is masked",
            "Heroku does not show its value to this login. Whoever manages the app can unmask it: "
            f"https://dashboard.heroku.com/apps/{app}/settings",
        )
    try:
        return _read(value, sslmode)
    except _Refused as exc:
        why, remedy = exc.args
        del value
    # Raised here, so that no frame with a piece of the URL lives on in the error.
    raise BadUrl(f"{name} is not a Postgres URL", f"{why} {remedy} {var} --app {app}")


class _Refused(Exception):
    """What is wrong, without any part of the URL, and the command that mends it."""

    def __init__(self, why: str, remedy: str = "Correct it: heroku config:edit") -> None:
        super().__init__(why, remedy)


def _trimmed(text: str) -> str:
    return text.strip(_AROUND)


def _read(value: str, sslmode: str) -> Login:
    if not value:
        raise _Refused("It is empty.")
    if len(value) > _LONGEST:
        raise _Refused("It is far too long.")
    scheme = _SCHEME.match(value)
    if not scheme:
        raise _Refused("It does not begin with postgres://.")
    userinfo, place = _split(_writable(value[scheme.end() :]))
    if "," in place["host"] or "," in (place["port"] or ""):
        raise _Refused(
            "It names several hosts, and pgherald keeps a database at one.",
            "Leave one, or set another config var to one and keep that: heroku config:edit",
        )
    user, _, password = userinfo.partition(":")
    return Login(
        host=_host(place["host"]),
        port=_port(place["port"]),
        dbname=_decoded(place["dbname"], "database name"),
        user=_decoded(user, "user"),
        password=Secret(_decoded(password, "password")),
        sslmode=sslmode,
    )


def _split(rest: str) -> tuple[str, re.Match[str]]:
    """User part, and the match of what follows."""
    for at in (at for at, letter in enumerate(rest) if letter == "@"):
        if place := _PLACE.fullmatch(rest, at + 1):
            return rest[:at], place
    raise _Refused("It has not the form user:password@host:port/database.")


def _host(raw: str) -> str:
    """Host name or address; an IPv6 address without its brackets."""
    if not raw.startswith("["):
        host = _decoded(raw, "host")
        if _HOST.fullmatch(host):
            return host
        raise _Refused("Its host is no host name or address.")
    try:
        address = ipaddress.IPv6Address(_decoded(raw[1:-1], "host"))
        if address.scope_id and not _HOST.fullmatch(address.scope_id):
            raise ValueError
        return str(address)
    except ValueError:
        raise _Refused("Its host is in brackets, but is no IPv6 address.") from None


def _port(raw: str | None) -> int:
    if raw is None or raw == ":":
        return DEFAULT_PORT
    port = int(raw[1:]) if _PORT.fullmatch(raw, 1) else 0
    if not 0 < port < 2**16:
        raise _Refused("Its port is not a number from 1 to 65535.")
    return port


def _decoded(raw: str, what: str) -> str:
    if not raw:
        raise _Refused(f"It has no {what}.")
    if _BAD_ESCAPE.search(raw):
        raise _Refused("A % in it is not followed by two hexadecimal digits.")
    try:
        return _writable(unquote_to_bytes(raw).decode("utf-8"))
    except UnicodeDecodeError:
        raise _Refused("What is percent-encoded in it is not UTF-8 text.") from None


def _writable(text: str) -> str:
    if any(unicodedata.category(c) in _UNWRITABLE for c in text):
        raise _Refused("There is a control character in it.")
    return text
