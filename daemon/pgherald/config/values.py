"""What a value in the configuration may be, and how it is read.

A reader takes what `tomllib` gave and returns what the program uses. It raises `Wrong`
with a message that goes on from the key's name: "must be …". Messages show a value only
where it cannot be a secret.
"""

from __future__ import annotations

import enum
import json
import re
import shlex
import unicodedata
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import time
from typing import Any, Final

from pgherald.model import SSLMODES, ProbePolicy
from pgherald.secret import Secret

#: A name's length in bytes; well inside libpq's 1,023 for a line of the service file.
MAX_NAME: Final = 200

_SECONDS: Final = {"s": 1, "m": 60, "h": 3600}
_DURATION: Final = re.compile(r"(\d+(?:\.\d+)?) *([smh])")
_PERCENT: Final = re.compile(r"(\d{1,3}) *%", re.ASCII)
_QUIET: Final = re.compile(r"(\d\d?):(\d\d) *[-–] *(\d\d?):(\d\d)")
_AUTH_METHODS: Final = ("scram-sha-256", "md5", "password")
_VARIABLE: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_URL: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://.+", re.DOTALL)

_UUID: Final = r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}"
#: A token of Heroku's: the form since 2024 anywhere; the older UUID only where it is all
#: there is, since file names and password managers use UUIDs for other things.
_TOKEN: Final = re.compile(rf"\s*HRKU-.*|.*HRKU-\S{{20,}}.*|(?:[a-z]+:)?\s*{_UUID}\s*", re.DOTALL)

TOKEN_FORMS: Final = (
    "auto",
    "env:NAME",
    "file:PATH",
    "command:COMMAND",
    "keyring:SERVICE",
    "netrc",
)


class TokenKind(enum.StrEnum):
    """Where an account's token comes from."""

    AUTO = "auto"
    """$HEROKU_API_KEY, then the Heroku CLI, then netrc."""
    ENV = "env"
    """An environment variable."""
    FILE = "file"
    """The content of a file."""
    COMMAND = "command"
    """What a command prints."""
    KEYRING = "keyring"
    """The operating system's password store."""
    NETRC = "netrc"
    """The netrc file, as the Heroku CLI writes it."""


@dataclass(frozen=True, slots=True)
class TokenSpec:
    """Says where a token comes from; it is never the token itself.

    Attributes:
        kind: which source.
        argument: name of the variable; absolute path of the file, or name of a systemd
            credential; the command; `SERVICE[/USER]` in the keyring; empty for `auto`
            and `netrc`.
    """

    kind: TokenKind = TokenKind.AUTO
    argument: str = ""

    def __str__(self) -> str:
        """The form that the configuration file has: `env:NAME`."""
        return f"{self.kind}:{self.argument}" if self.argument else str(self.kind)


@dataclass(frozen=True, slots=True)
class QuietHours:
    """A part of each day, in local time; it may go past midnight. The end is not part of it."""

    start: time
    end: time

    def __str__(self) -> str:
        """As the configuration has it: `22:00-07:00`."""
        return f"{self.start:%H:%M}-{self.end:%H:%M}"

    def covers(self, moment: time) -> bool:
        """Whether a moment of the day is in it."""
        if self.start <= self.end:
            return self.start <= moment < self.end
        return moment >= self.start or moment < self.end


class Wrong(ValueError):
    """A value is not what it has to be; the message goes on from the key's name."""


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of value.

    Attributes:
        word: what the documents call it.
        read: turns what `tomllib` gave into what the program uses; raises `Wrong`.
    """

    word: str
    read: Callable[[Any], Any]


def quoted(items: Iterable[str]) -> str:
    """`"a", "b" or "c"`."""
    *first, last = [f'"{item}"' for item in items]
    return f"{', '.join(first)} or {last}" if first else last


def suggestion(word: str, known: Iterable[str]) -> str:
    """`; did you mean "…"?`, or nothing when no known word is near."""
    import difflib  # only a mistake needs it

    by_case = {item.casefold(): item for item in known}
    close = difflib.get_close_matches(word.casefold(), by_case, n=1)
    return f'; did you mean "{by_case[close[0]]}"?' if close else ""


def shown(value: Any) -> str:
    """The value as a message may show it: cut out if it might hold a secret."""
    if isinstance(value, dict):
        return "a table"
    if isinstance(value, list):
        return "an array"
    if not isinstance(value, str):
        return str(value).lower() if isinstance(value, bool) else str(value)
    might_be_secret = any(sign in value for sign in ("://", "@", "HRKU-")) or _TOKEN.fullmatch(
        value
    )
    if might_be_secret or len(value) > 60:  # longer is a paste, not a slip
        return "what stands here"
    return json.dumps(value, ensure_ascii=False)


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise Wrong(f"must be a text in quotes, not {shown(value)}")
    if not value:
        raise Wrong("must not be empty")
    if any(unicodedata.category(character) in {"Cc", "Zl", "Zp"} for character in value):
        raise Wrong("must not hold a line break or another control character")
    return value


def _name(value: Any) -> str:
    text = _text(value)
    if text != text.strip():
        raise Wrong("must not start or end with a blank")
    if len(text.encode()) > MAX_NAME:
        raise Wrong(f"must be at most {MAX_NAME} bytes long")
    return text


def _service(value: Any) -> str:
    text = _name(value)
    if "]" in text:
        raise Wrong('must not hold a "]", which ends a section\'s name in the service file')
    return text


def _flag(value: Any) -> bool:
    if not isinstance(value, bool):
        raise Wrong(f"must be true or false, without quotes, not {shown(value)}")
    return value


def _duration(value: Any) -> float:
    if isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    match = _DURATION.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        raise Wrong(f'must be seconds, or a text such as "90s", "5m" or "1h", not {shown(value)}')
    return float(match[1]) * _SECONDS[match[2]]


def _percent(value: Any) -> float:
    match = _PERCENT.fullmatch(value) if isinstance(value, str) else None
    if match is None or not 1 <= int(match[1]) <= 100:  # that is what percent means
        raise Wrong(f'must be a text from "1%" to "100%", not {shown(value)}')
    return int(match[1]) / 100


def _quiet(value: Any) -> QuietHours:
    match = _QUIET.fullmatch(value.strip()) if isinstance(value, str) else None
    try:
        if match is None:
            raise ValueError  # the same as an hour 25
        hours = QuietHours(time(int(match[1]), int(match[2])), time(int(match[3]), int(match[4])))
    except ValueError:
        raise Wrong(f'must be two times of day such as "22:00-07:00", not {shown(value)}') from None
    if hours.start == hours.end:
        raise Wrong("begins and ends at the same time, so that nothing would be quiet")
    return hours


def _require_auth(value: Any) -> str:
    words = [word.strip() for word in _text(value).split(",")]
    for word in words:
        if word not in _AUTH_METHODS:
            near = suggestion(word, _AUTH_METHODS)
            # The others of libpq's prove no password.
            raise Wrong(
                f"must be {quoted(_AUTH_METHODS)}, or several with commas between them, "
                f"not {shown(value)}{near}"
            )
    return ",".join(dict.fromkeys(words))


def _path(value: Any) -> str:
    text = _text(value)
    if text.startswith(("$", "%")):
        raise Wrong('must not start with a variable: only "~/", the home folder, is expanded')
    if text.startswith("~") and text[1:2] not in {"", "/", "\\"}:
        raise Wrong('must not name another person\'s home: only "~/", your own, is expanded')
    return text


def _metrics_file(value: Any) -> str:
    text = _path(value)
    if not text.endswith(".prom"):
        raise Wrong('must end in ".prom", or node_exporter does not read it')
    return text


def _token(value: Any) -> TokenSpec:
    """Never shows the value: whatever is wrong with it, it may be a token."""
    if not isinstance(value, str):
        raise Wrong(f"must be a text: {quoted(TOKEN_FORMS)}")
    if _TOKEN.fullmatch(value):
        raise Wrong(
            "must not be the token itself: this file gets copied, shared and committed. "
            'Put it into a file that only you can read and write token = "file:PATH", '
            'or use "auto", "env:NAME", "command:COMMAND" or "keyring:SERVICE"'
        )
    word, colon, argument = value.partition(":")
    if word not in {kind.value for kind in TokenKind}:
        near = suggestion(word, TokenKind)
        raise Wrong(f"must be {quoted(TOKEN_FORMS)}; what stands here is not shown{near}")
    kind, argument = TokenKind(word), argument.strip()
    if kind in {TokenKind.AUTO, TokenKind.NETRC}:
        if colon:
            raise Wrong(f'must be just "{kind}", with nothing after it')
    elif not argument:
        raise Wrong(f'says nothing after "{kind}:"')
    else:
        _check_argument(kind, argument)
    return TokenSpec(kind, argument)


def _check_argument(kind: TokenKind, argument: str) -> None:
    if kind is TokenKind.ENV and not _VARIABLE.fullmatch(argument):
        raise Wrong('must name an environment variable after "env:", without a $')
    if kind is TokenKind.KEYRING and (argument.startswith("/") or argument.endswith("/")):
        raise Wrong('must be "keyring:SERVICE" or "keyring:SERVICE/USER"')
    if kind is TokenKind.FILE:
        _path(argument)
    if kind is TokenKind.COMMAND:
        try:
            shlex.split(argument)
        except ValueError as exc:
            raise Wrong(f"cannot be split into words: {str(exc).lower()}") from None


def _spelled(
    pattern: str,
    must: str,
    *,
    clean: Callable[[str], str] = str,
    near: Callable[[str], str] = str,
) -> Callable[[Any], str]:
    """Reads a text that a pattern matches; `near` makes the one that was probably meant."""
    matches = re.compile(pattern).fullmatch

    def read(value: Any) -> str:
        text = clean(_text(value))
        if matches(text):
            return text
        meant = near(text)
        hint = f'; did you mean "{meant}"?' if matches(meant) else ""
        raise Wrong(f"must be {must}, not {shown(value)}{hint}")

    return read


def _without_url(text: str) -> str:
    return text.removesuffix("_URL")


def _url(value: Any) -> Secret:
    """Never shows the value: such addresses hold tokens."""
    if not isinstance(value, str) or not _URL.fullmatch(value.strip()):
        raise Wrong('must be an address such as "slack://…" or "mailto://…" (not shown here)')
    return Secret(value.strip())


def up_to(most: float, must: str) -> Kind:
    """A duration above zero and at most `most` seconds; "nan" is none."""

    def read(value: Any) -> float:
        seconds = _duration(value)
        if not 0 < seconds <= most:
            raise Wrong(must)
        return seconds

    return Kind(DURATION.word, read)


def number(low: int, high: int) -> Kind:
    """A whole number in that range."""

    def read(value: Any) -> int:
        if type(value) is int and low <= value <= high:
            return value
        raise Wrong(f"must be a number from {low} to {high}, without quotes, not {shown(value)}")

    return Kind("number", read)


def choice(*allowed: str, of: Callable[[str], Any] = str) -> Kind:
    """One of a few words, made into `of`."""

    def read(value: Any) -> Any:
        if value not in allowed:
            near = suggestion(value, allowed) if isinstance(value, str) else ""
            raise Wrong(f"must be {quoted(allowed)}, not {shown(value)}{near}")
        return of(value)

    return Kind(", ".join(f"`{word}`" for word in allowed), read)


TEXT: Final = Kind("text", _text)
NAME: Final = Kind("text", _name)
SERVICE: Final = Kind("text without `]`", _service)
FLAG: Final = Kind("`true` or `false`", _flag)
DURATION: Final = Kind('seconds, or text such as `"5m"`', _duration)
PERCENT: Final = Kind('text such as `"25%"`', _percent)
COUNT: Final = number(0, 100)  # more at the same time would be no comfort to anybody
PORT: Final = number(1, 65535)
APP: Final = Kind(
    "app name",
    _spelled(
        r"[a-z][a-z0-9-]*",
        "a Heroku app's name (lower-case letters, digits and dashes)",
        near=str.lower,
    ),
)
ATTACHMENT: Final = Kind(
    "attachment name",
    _spelled(
        r"[A-Za-z][A-Za-z0-9_.-]*",
        "the name of an attachment or a config var (letters, digits and underscores)",
        clean=_without_url,
    ),
)
APP_PATTERN: Final = Kind(
    "pattern",
    _spelled(
        r"[a-z0-9*?\[\]!-]+",
        'a pattern of app names such as "shop-*" (lower-case letters, digits, dashes, * and ?)',
    ),
)
ATTACHMENT_PATTERN: Final = Kind(
    "pattern",
    _spelled(
        r"[A-Za-z0-9_.*?\[\]!-]+",
        'a pattern of attachment names such as "DATABASE" or "*_REPLICA" '
        "(letters, digits, underscores, * and ?)",
        clean=_without_url,
    ),
)
ACCOUNT: Final = Kind(
    "account name", _spelled(r"[A-Za-z0-9_-]+", "letters, digits, dashes and underscores")
)
HOST: Final = Kind("host", _spelled(r"[0-9A-Za-z._:-]+", "one host's name or address"))
PATH: Final = Kind("path", _path)
METRICS_FILE: Final = Kind("path", _metrics_file)
TOKEN: Final = Kind("token source", _token)
URL: Final = Kind("URL", _url)
QUIET: Final = Kind('text such as `"22:00-07:00"`', _quiet)
LOG_LEVEL: Final = choice("debug", "info", "warning", "error")
PROBE: Final = choice(*ProbePolicy, of=ProbePolicy)
SSLMODE: Final = choice(*SSLMODES)
REQUIRE_AUTH: Final = Kind("methods, with commas between them", _require_auth)
