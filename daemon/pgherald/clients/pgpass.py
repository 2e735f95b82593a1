r"""The password file of libpq: `host:port:database:user:password`, one login per line.

The first line that matches wins, and libpq tries no other when its password is refused.
So our lines stand first, and of two lines for the same host, port and user the wanted one.

`\` and `:` are escaped in every field. The database is always `*`: the password is the
role's, whatever it connects to. `#` makes a comment only as the first byte of a line.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Final, NamedTuple

from pgherald.clients import block, lines
from pgherald.clients.base import Edit, Held, Known, Print, fingerprint
from pgherald.errors import Inexpressible
from pgherald.model import DatabaseKey, Entry, Login
from pgherald.secret import MASK, Secret

#: The field of a change in which a login that was kept readable comes or goes.
_OLD_LOGIN: Final = "old login"

_ESCAPE_OR_COLON: Final = re.compile(rb"\\.|:", re.DOTALL)
_ESCAPED: Final = re.compile(rb"\\(.)", re.DOTALL)


class _Fields(NamedTuple):
    """The fields of a line, unescaped; None where a wildcard stands."""

    host: bytes | None
    port: bytes | None
    dbname: bytes | None
    user: bytes | None
    password: Secret

    @property
    def role(self) -> tuple[bytes | None, bytes | None, bytes | None]:
        """What a password belongs to."""
        return self.host, self.port, self.user

    @property
    def fingerprint(self) -> str:
        """Stands for the line."""
        return fingerprint(*self[:-1], self.password.reveal())


@dataclass(frozen=True, slots=True)
class _Present:
    """What the block holds for one database.

    Attributes:
        raw: the lines, key comments included, as they stand.
        logins: the fields of each line; None for one that is missing or cannot be read.
    """

    raw: tuple[bytes, ...] = field(repr=False)
    logins: tuple[_Fields | None, ...]


@dataclass(frozen=True, slots=True)
class Pgpass:
    """The editor of `~/.pgpass`, in the shape of `base.TextClient`.

    Attributes:
        known: what pgherald wrote into the file.
    """

    known: Known = field(default=dict, compare=False, repr=False)

    kind: ClassVar[str] = "pgpass"
    label: ClassVar[str] = "psql"
    private: ClassVar[bool] = True

    def plan(
        self,
        current: bytes | None,
        wanted: Sequence[Entry],
        *,
        also: Mapping[DatabaseKey, Sequence[Login]] | None = None,
        remove: Collection[DatabaseKey] = (),
    ) -> Edit:
        """Work out the file's new bytes; see `base.TextClient.plan`.

        A login of `also` becomes a further line beneath its database's wanted one, with a
        key comment of its own. It is left out where a wanted line hides it, and where the
        format cannot hold it: then nobody can have read it from here.

        Raises:
            Unparsable: the file is not text, or the block's markers are damaged.
            Inexpressible: a wanted login has no form in this file.
        """
        parts, leaving = self._split(current), frozenset(remove)
        logins = _logins(wanted, also or {})
        present, moved = _present(parts, logins, leaving)
        pieces, changes = block.merge(
            {key: old.raw for key, old in present.items()},
            logins,
            leaving,
            changed=lambda key: _changed(key, present[key], logins[key]),
            written=lambda key: _written(key, logins[key], parts.eol),
        )
        for key in _in_the_way(present, logins):
            if key in pieces:
                pieces[key] = pieces.pop(key)
        return parts.edit(
            pieces,
            [*parts.above, *moved, *parts.below],
            changes,
            moved=moved,
            warnings=_clashes({key: logins[key][0] for key in pieces if key in logins}),
        )

    def read(self, current: bytes | None) -> Mapping[DatabaseKey, Held]:
        """What the file holds of ours; see `base.TextClient.read`.

        `dbname`, `sslmode` and `service` are always None: the format does not know them.
        """
        present, _ = _present(self._split(current), {})
        return {key: _held(old.logins[0]) for key, old in present.items()}

    def prints(self, current: bytes | None) -> Iterator[Print]:
        """The fingerprint of each line, for `known`."""
        parts = self._split(current)
        present, _ = _present(parts, {})
        first = ((key, old.logins[0]) for key, old in present.items())
        return parts.prints(_entries, {key: f.fingerprint for key, f in first if f is not None})

    def _split(self, current: bytes | None) -> block.Parts:
        return block.split(current, self.known, _entries)

    def services(self, current: bytes | None) -> tuple[str, ...]:  # the protocol's
        """None: the format knows no services."""
        return ()

    def redact(self, text: bytes) -> list[str]:
        """The file's lines for showing; see `base.TextClient.redact`."""
        return block.redact(text, _redacted)


def lookup(text: bytes, host: str, port: int, dbname: str, user: str) -> Secret | None:
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
            return Secret(lines.decode(_unescaped(_cut(line[at:])[0])))
    return None


def unquoted(user: str) -> str:
    """Undo pgAdmin's quotes around a user name that is no plain identifier."""
    if len(user) > 1 and user[0] == user[-1] == '"':
        return user[1:-1].replace('""', '"')
    return user


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


def _cut(line: bytes) -> list[bytes]:
    """The line cut at its unescaped colons; the fields still escaped."""
    cuts = [m.start() for m in _ESCAPE_OR_COLON.finditer(line) if m.group() == b":"]
    starts = [0, *(cut + 1 for cut in cuts)]
    return [line[start:stop] for start, stop in zip(starts, [*cuts, len(line)], strict=True)]


def _unescaped(value: bytes) -> bytes:
    """The value: a byte behind a backslash as it is; a backslash at the very end stays."""
    return _ESCAPED.sub(rb"\1", value)


def _present(
    parts: block.Parts,
    wanted: Mapping[DatabaseKey, Sequence[_Fields]],
    leaving: Collection[DatabaseKey] = (),
) -> tuple[dict[DatabaseKey, _Present], list[bytes]]:
    """What the block holds per database, and the lines in it that someone typed.

    What stands beneath the comment of a database that is neither wanted nor leaving is left
    together, whatever it is.
    """
    rows: dict[DatabaseKey, list[bytes]] = {}
    logins: dict[DatabaseKey, list[_Fields | None]] = {}
    moved = list(parts.loose)
    for slot in parts.slots:
        key, body = slot.key, slot.body
        kept: Sequence[bytes] = body
        texts = [row.strip() for row in body]
        entries = [i for i, text in enumerate(texts) if text and not text.startswith(b"#")]
        if key in wanted or key in leaving:
            entries = _own(body, entries, wanted.get(key, ()))
            kept = [body[index] for index in entries]
            moved += [row for index, row in enumerate(body) if index not in entries]
        rows.setdefault(key, []).extend((slot.comment, *kept))
        parsed = [_parsed(lines.bare(body[index])) for index in entries]
        logins.setdefault(key, []).extend(parsed or [None])
    return {key: _Present(tuple(raw), tuple(logins[key])) for key, raw in rows.items()}, moved


def _own(body: Sequence[bytes], entries: list[int], wanted: Sequence[_Fields]) -> list[int]:
    """The line that is ours of the entries beneath one key comment, if it is known.

    A sole line is ours, whatever it says. Of several it is the one that says what is wanted;
    when none does, all are treated as the person's, so that nothing is lost.
    """
    right = [index for index in entries if _parsed(lines.bare(body[index])) in wanted]
    return right[:1] or (entries if len(entries) == 1 else [])


def _entries(rows: Sequence[bytes]) -> Iterator[tuple[str | None, Sequence[bytes]]]:
    for row in rows:
        fields = _parsed(lines.bare(row))
        yield None if fields is None else fields.fingerprint, (row,)


def _parsed(line: bytes) -> _Fields | None:
    """A line in its strict form: five fields, and every colon in them escaped."""
    raw = _cut(line)
    if len(raw) != len(_Fields._fields):
        return None
    host, port, dbname, user = (None if f == b"*" else _unescaped(f) for f in raw[:-1])
    return _Fields(host, port, dbname, user, Secret(lines.decode(_unescaped(raw[-1]))))


def _escaped(value: bytes) -> bytes:
    return value.replace(b"\\", b"\\\\").replace(b":", b"\\:")


def _logins(
    wanted: Sequence[Entry], also: Mapping[DatabaseKey, Sequence[Login]]
) -> dict[DatabaseKey, tuple[_Fields, ...]]:
    """Per wanted database the fields of its lines, the wanted login first."""
    first = {e.key: _wanted(e.login, e.key) for e in wanted}
    hidden = {fields.role for fields in first.values()}
    result = {key: {fields: None} for key, fields in first.items()}  # each once, in this order
    for key in first:
        for login in also.get(key, ()):
            with contextlib.suppress(Inexpressible):
                if (old := _wanted(login, key)).role not in hidden:
                    result[key][old] = None
    return {key: tuple(each) for key, each in result.items()}


def _wanted(login: Login, key: DatabaseKey) -> _Fields:
    """The fields of a login's line.

    Raises:
        Inexpressible: the login has no form in this file.
    """
    if login.user == "*":
        raise lines.inexpressible(f"the user of {key} is `*`, which matches any", key)
    values = lines.encoded(login)
    return _Fields(values["host"], values["port"], None, values["user"], login.password)


def _written(key: DatabaseKey, logins: Sequence[_Fields], eol: bytes) -> tuple[bytes, ...]:
    """A database's lines, each beneath the key comment."""
    comment = block.comment(key) + eol
    return tuple(row for fields in logins for row in (comment, _line(fields) + eol))


def _line(fields: _Fields) -> bytes:
    password = lines.raw(fields.password.reveal())
    line = b":".join(b"*" if f is None else _escaped(f) for f in (*fields[:-1], password))
    # A line that begins with `#` would be a comment; escaped it is not.
    return b"\\" + line if line.startswith(b"#") else line


def _changed(key: DatabaseKey, old: _Present, new: tuple[_Fields, ...]) -> tuple[str, ...]:
    """What differs, for the person; empty when nothing does."""
    if old.logins == new:
        comments = {lines.bare(row) for row in old.raw[::2]}
        return () if comments == {block.comment(key)} else (block.ORDER,)
    before = old.logins[0]
    if before is None:
        return "host", "port", "user", "password"
    pairs = zip(_Fields._fields, before, new[0], strict=True)
    return tuple(name for name, was, is_ in pairs if was != is_) or (_OLD_LOGIN,)


def _in_the_way(
    present: Mapping[DatabaseKey, _Present], logins: Mapping[DatabaseKey, Sequence[_Fields]]
) -> list[DatabaseKey]:
    """Databases that nobody wants now, and whose lines might match before a wanted one.

    Two databases can be attachments of one Postgres: the line of the one that is no longer
    kept current keeps the old password, for the same host, port and user.
    """
    passwords = {fields.role: fields.password for fields, *_ in logins.values()}

    def may_match(line: _Fields | None) -> bool:
        if line is None or None in line.role:
            return True
        return passwords.get(line.role, line.password) != line.password

    others = [key for key in present if key not in logins]
    return [key for key in others if any(map(may_match, present[key].logins))]


def _clashes(wanted: Mapping[DatabaseKey, _Fields]) -> Iterator[str]:
    """A sentence for each login that another one in front of it hides."""
    first: dict[object, DatabaseKey] = {}
    for key, fields in wanted.items():
        other = first.setdefault(fields.role, key)
        if wanted[other].password != fields.password:
            yield (
                f"{other} and {key} have the same host, port and user but different "
                f"passwords; psql takes that of {other}."
            )


def _held(fields: _Fields | None) -> Held:
    if fields is None:
        return Held()
    return Held(
        host=None if fields.host is None else lines.decode(fields.host),
        port=lines.number(fields.port),
        user=None if fields.user is None else lines.decode(fields.user),
        password=fields.password,
    )


def _redacted(row: bytes, line: str, depth: int | None) -> str:
    """A line for showing: of ours, the one beneath a key comment, all but the password."""
    found = _cut(lines.bare(row))
    if depth != 1 or len(found) < len(_Fields._fields):
        return MASK
    return next(lines.for_show(b":".join((*found[:4], b"")))) + MASK
