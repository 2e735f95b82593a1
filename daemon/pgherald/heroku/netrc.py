"""Read one password from a netrc file, tolerantly.

The standard library's reader gives up on the whole file at the first word it does not
know, and quotes that word, which may be a password. This one skips what it does not
know. A `default` entry is never used: it is meant for strangers, not for Heroku.
"""

from __future__ import annotations

import re
from typing import Final

from pgherald.secret import Secret

_WORD: Final = re.compile(r'\s*(?:"((?:[^"\\]|\\.)*)"|(\S+))', re.DOTALL)
_WITH_VALUE: Final = frozenset({"machine", "login", "password", "account"})
_ESCAPE: Final = re.compile(r"\\(.)", re.DOTALL)
_LINE: Final = re.compile(r"[^\n]*")
#: A macro's text goes on to the next empty line.
_MACRO: Final = re.compile(r".*?(?:\n[ \t\r]*\n|\Z)", re.DOTALL)


def netrc_password(text: str, machine: str) -> Secret | None:
    """The password of the first entry for `machine`; None when there is none.

    Args:
        text: the file's text.
        machine: as it stands in the file, such as `api.heroku.com` or `127.0.0.1:5000`;
            compared without regard to case.
    """
    ours = False
    at = 0
    while word := _WORD.match(text, at):
        keyword, at = word[2] or "", word.end()
        if keyword.startswith("#"):
            at = _end(_LINE, text, at)
        elif keyword == "macdef":
            at = _end(_MACRO, text, at)
        elif keyword == "default":
            ours = False
        elif keyword in _WITH_VALUE and (value := _WORD.match(text, at)):
            at = value.end()
            if keyword == "machine":
                ours = _plain(value).lower() == machine.lower()
            elif keyword == "password" and ours:
                return Secret(_plain(value))
    return None


def _plain(word: re.Match[str]) -> str:
    return word[2] or _ESCAPE.sub(r"\1", word[1])


def _end(pattern: re.Pattern[str], text: str, at: int) -> int:
    found = pattern.match(text, at)
    return found.end() if found else at
