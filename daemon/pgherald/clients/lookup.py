"""What libpq reads in a service file and in pgpass, by its own rules.

Quick to import: `pgherald password` needs nothing else of this room.
"""

from __future__ import annotations

import re
from typing import Final

from pgherald.clients import lines
from pgherald.errors import Unparsable
from pgherald.secret import Secret

#: libpq reads lines into 1,024 bytes and refuses those that, with their end, fill them.
TOO_LONG: Final = 1023

#: What libpq's keywords are made of.
KEYWORD: Final = re.compile(rb"[a-z_]+")

_ESCAPE_OR_COLON: Final = re.compile(rb"\\.|:", re.DOTALL)
_ESCAPED: Final = re.compile(rb"\\(.)", re.DOTALL)


def header(service: str) -> bytes:
    """The line that begins a service's section."""
    return b"[" + lines.raw(service) + b"]"


def section(text: bytes, service: str) -> dict[str, bytes] | None:
    """What libpq reads for a service: keywords and values; None when the file does not define it.

    libpq: `parseServiceFile`. All sections count, ours and foreign ones. LDAP lines are
    passed over, and so are keywords that some libpq might know.

    Raises:
        Unparsable: the file is not text, or libpq refuses the service because of a line.
    """
    lines.refuse_binary(text)
    begin = header(service)
    values: dict[str, bytes] | None = None
    for number, row in enumerate(lines.split(text), 1):
        line = row.strip()
        if len(row) >= TOO_LONG:
            raise Unparsable("the line is longer than libpq can read", line=number)
        if not line or line.startswith(b"#"):
            continue
        if line.startswith(b"["):
            if values is not None:
                break
            values = {} if line.startswith(begin) else None
        elif values is not None and not line.startswith(b"ldap"):
            key, equals, value = line.partition(b"=")
            if not equals or not KEYWORD.fullmatch(key) or key == b"service":
                raise Unparsable("the line is none that libpq accepts in a section", line=number)
            values.setdefault(key.decode(), value)
    return values


def password(text: bytes, host: str, port: int, dbname: str, user: str) -> Secret | None:
    """The password that libpq takes from the file; None when no line matches.

    libpq: `passwordFromFile`. All lines count, ours and foreign ones. One thing is left out:
    libpq looks for `localhost` when the host is its own socket folder, and which folder that
    is was decided when libpq was built.

    Raises:
        Unparsable: the file is not text.
    """
    lines.refuse_binary(text)
    if not dbname or not user:
        return None
    tokens = [lines.raw(value) for value in (host or "localhost", str(port), dbname, user)]
    for row in lines.split(text):
        line = lines.bare(row)
        at: int | None = None if line.startswith(b"#") else 0
        for token in tokens:
            at = None if at is None else _behind(line, at, token)
        if at is not None:
            return Secret(lines.decode(unescaped(fields(line[at:])[0])))
    return None


def _behind(line: bytes, at: int, token: bytes) -> int | None:
    """Where the field after the one at `at` begins, if this one matches.

    libpq: `pwdfMatchesString`. A colon ends the field only once the token is used up, so an
    unescaped IPv6 address matches too; `*` is a wildcard only if it stands alone, unescaped.
    """
    if line.startswith(b"*:", at):
        return at + 2
    for byte in token:
        if line.startswith(b"\\", at):
            at += 1
        if at >= len(line) or line[at] != byte:
            return None
        at += 1
    return at + 1 if line.startswith(b":", at) else None


def fields(line: bytes) -> list[bytes]:
    """The line cut at its unescaped colons; the fields still escaped."""
    cuts = [m.start() for m in _ESCAPE_OR_COLON.finditer(line) if m.group() == b":"]
    starts = [0, *(cut + 1 for cut in cuts)]
    return [line[start:stop] for start, stop in zip(starts, [*cuts, len(line)], strict=True)]


def unescaped(value: bytes) -> bytes:
    """The value: a byte behind a backslash as it is; a backslash at the very end stays."""
    return _ESCAPED.sub(rb"\1", value)


def unquoted(user: str) -> str:
    """Undo pgAdmin's quotes around a user name that is no plain identifier."""
    if len(user) > 1 and user[0] == user[-1] == '"':
        return user[1:-1].replace('""', '"')
    return user
