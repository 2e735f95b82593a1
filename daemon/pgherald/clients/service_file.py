"""libpq's service file: `[service]` sections of `key=value` lines.

libpq reads it again at every attempt to connect, which is why a running pgAdmin picks up a
rotation from here by itself. The first section of a name wins, and in it the first line
for a key. A value is raw: no quotes, no escapes, white space at its end dropped. A line
libpq cannot read spoils its section, and one of 1,023 bytes or more, line end included, all
sections from there on.

Ours in a section are host, port, dbname, user, password and sslmode. Further keys, such as
`application_name`, are the person's: they stay in the section while it stays.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Final

from pgherald import libpq
from pgherald.clients import block, lines, sections
from pgherald.clients.base import Edit, Held, Known, Print
from pgherald.clients.sections import Want
from pgherald.errors import Unparsable
from pgherald.model import LOGIN_FIELDS, SSLMODES, DatabaseKey, Entry, Login, strictest
from pgherald.secret import MASK, Secret

#: A value in which there can be no secret: one word, and no long run of letters and digits such
#: as Heroku makes.
_PLAIN: Final = re.compile(r"(?!.*\b(?=[a-zA-Z]*\d)[0-9a-zA-Z]{20,})[\w.*-]*")

_HEADER: Final = re.compile(r"\[[^\]]*\]")


#: libpq's keywords, from the oldest libpq in use to PostgreSQL 19.
KEYWORDS: Final = frozenset(
    """
    application_name authtype channel_binding client_encoding connect_timeout dbname
    fallback_application_name gssdelegation gssencmode gsslib host hostaddr keepalives
    keepalives_count keepalives_idle keepalives_interval krbsrvname load_balance_hosts
    max_protocol_version min_protocol_version oauth_client_id oauth_client_secret oauth_issuer
    oauth_scope options passfile password port replication require_auth requirepeer
    scram_client_key scram_server_key service servicefile ssl_max_protocol_version
    ssl_min_protocol_version sslcert sslcertmode sslcompression sslcrl sslcrldir sslkey
    sslkeylogfile sslmode sslnegotiation sslpassword sslrootcert sslsni target_session_attrs
    tcp_user_timeout tty user
    """.split()
)


@dataclass(frozen=True, slots=True)
class ServiceFile:
    """The editor of `~/.pg_service.conf`, in the shape of `base.TextClient`.

    Attributes:
        known: what pgherald wrote into the file.
    """

    known: Known = field(default=dict, compare=False, repr=False)

    kind: ClassVar[str] = "service_file"
    label: ClassVar[str] = "service file"
    private: ClassVar[bool] = True

    def plan(
        self,
        current: bytes | None,
        wanted: Sequence[Entry],
        *,
        also: Mapping[DatabaseKey, Sequence[Login]] | None = None,  # a section holds one login
        remove: Collection[DatabaseKey] = (),
    ) -> Edit:
        """Work out the file's new bytes; see `base.TextClient.plan`.

        A section of ours that nobody wants now, but whose name a wanted one takes, goes: it
        would hide the wanted one. Lines that the person had added to a section that goes
        stay in the file, where libpq ignores them.

        Raises:
            Unparsable: the file is not text, or the block's markers are damaged.
            Inexpressible: a wanted login has no form in this file.
            ValueError: a service is wanted twice.
        """
        parts = self._split(current)
        wants = _wants(wanted)
        going = sections.leaving(parts, wants, frozenset(remove))
        found = sections.sort(parts, wants, going)
        wants = {key: _kept_strict(want, found.sections.get(key)) for key, want in wants.items()}
        pieces, changes = block.merge(
            {key: section.raw for key, section in found.sections.items()},
            wants,
            going,
            changed=lambda key: _changed(key, found.sections[key], wants[key]),
            written=lambda key: _written(key, wants[key], found.sections.get(key), parts.eol),
        )
        for key, section in found.sections.items():
            if key in going:
                # As comments: above the first header a library for INI files takes nothing else.
                found.stray.extend(b"#" * sections.counts(row) + row for row in section.kept)
        # Above the first header libpq passes over lines that have lost theirs.
        first = [key for key in pieces if key not in wants and found.sections[key].headless]
        pieces = {key: pieces[key] for key in dict.fromkeys((*first, *pieces))}
        foreign = sections.arranged(parts, found)
        closing = [sections.CLOSING + parts.eol] if sections.is_loose(foreign) else []
        edit = parts.edit(
            pieces,
            foreign,
            changes,
            moved=[*found.stray, *found.foreign],
            warnings=_doubts(pieces, wants),
            closing=closing,
        )
        theirs = {sections.service(row.strip()) for row in foreign}
        services = (entry.database.service for entry in wanted)
        taken = frozenset(each for each in services if lines.raw(each) in theirs)
        return dataclasses.replace(edit, taken=taken)

    def read(self, current: bytes | None) -> Mapping[DatabaseKey, Held]:
        """What the file holds of ours; see `base.TextClient.read`."""
        found = sections.sort(self._split(current), {}).sections
        return {key: _held(section.header, _values(section)) for key, section in found.items()}

    def prints(self, current: bytes | None) -> Iterator[Print]:
        """The fingerprint of each section, for `known`."""
        parts = self._split(current)
        found = sections.sort(parts, {}).sections.items()
        return parts.prints(sections.entries, {key: each.fingerprint for key, each in found})

    def _split(self, current: bytes | None) -> block.Parts:
        return block.split(current, self.known, sections.entries)

    def services(self, current: bytes | None) -> list[str]:
        """The names of all sections, whatever else the file holds; see `base.TextClient`."""
        rows = lines.split((current or b"").removeprefix(lines.BOM))
        names = (sections.service(row.strip()) for row in rows)
        return [lines.decode(name) for name in names if name is not None]

    def redact(self, text: bytes) -> list[str]:
        """The file's lines for showing; see `base.TextClient.redact`. Headers are shown."""
        return block.redact(text, _redacted)


def held(text: bytes, service: str) -> Held | None:
    """What libpq reads for a service; None when the file does not define it.

    libpq: `parseServiceFile`. All sections count, ours and foreign ones. LDAP lines are
    passed over, and so are keywords that some libpq might know.

    Raises:
        Unparsable: the file is not text, or libpq refuses the service because of a line.
    """
    lines.refuse_binary(text)
    begin = _header(service)
    values: dict[str, bytes] | None = None
    for number, row in enumerate(lines.split(text), 1):
        line = row.strip()
        if len(row) >= sections.TOO_LONG:
            advice = "libpq gives up at 1,023 bytes, also in a comment: shorten it, or take it out."
            raise Unparsable("the line is longer than libpq can read", advice, line=number)
        if line.startswith(b"["):
            if values is not None:
                break
            values = {} if line.startswith(begin) else None
        elif values is not None and sections.counts(row) and not line.startswith(b"ldap"):
            key, equals, value = line.partition(b"=")
            if not equals or not sections.KEYWORD.fullmatch(key):
                raise Unparsable(
                    "the line is none that libpq accepts in a section",
                    "Write it as keyword=value, without blanks around the =, or take it out.",
                    line=number,
                )
            values.setdefault(key.decode(), value)
    return None if values is None else _held(begin, values)


def _header(service: str) -> bytes:
    """The line that begins a service's section."""
    return b"[" + lines.raw(service) + b"]"


def _wants(wanted: Sequence[Entry]) -> dict[DatabaseKey, Want]:
    """Per wanted database what its section should hold.

    Raises:
        Inexpressible: a login has no form in this file.
        ValueError: a service is wanted twice.
    """
    wants = {entry.key: _want(entry) for entry in wanted}
    if len({want.header for want in wants.values()}) < len(wants):
        raise ValueError("a service is wanted twice")
    return wants


def _want(entry: Entry) -> Want:
    key = entry.key
    values = lines.encoded(entry.login)
    if entry.database.sslrootcert is not None:
        values["sslrootcert"] = lines.raw(entry.database.sslrootcert)
    for name, value in values.items():
        if value != value.rstrip():
            raise lines.inexpressible(f"the {name} of {key} ends in white space", key)
        # As if the line ended in CR LF, so that the answer does not hang on the file.
        if len(name) + len(value) + len("=\r\n") >= sections.TOO_LONG:
            raise lines.inexpressible(f"the {name} of {key} is too long for libpq", key)
    return Want(_header(entry.database.service), values)


def _kept_strict(want: Want, section: sections.Section | None) -> Want:
    """The same, with the sslmode that the person demands in the section, if that is stricter."""
    if section is None:
        return want
    ours = want.values["sslmode"].decode()
    said = _values(section)
    if "sslrootcert" in section.values:  # the configuration's, now or before
        said["sslrootcert"] = want.values.get("sslrootcert", b"")
    mode = strictest(ours, _held(section.header, said).demands)
    return Want(want.header, {**want.values, "sslmode": mode.encode()})


def _values(section: sections.Section) -> dict[str, bytes]:
    """What a section of ours says, the strictest sslmode of several and all own lines included.

    libpq reads the first of several and refuses a misspelt one, but what the person meant is
    clear.
    """
    own = (row.strip().partition(b"=") for row in reversed(section.kept) if sections.counts(row))
    values = {key.decode(errors="replace"): value for key, equals, value in own if equals}
    values |= section.values
    modes = [lines.decode(v.strip()) for k, v in section.ours if k.strip().lower() == "sslmode"]
    if known := [mode for mode in map(str.lower, modes) if mode in SSLMODES]:
        values["sslmode"] = strictest(*known).encode()
    return values


def _changed(key: DatabaseKey, old: sections.Section, new: Want) -> tuple[str, ...]:
    """What differs, for the person; empty when nothing does."""
    fields = [] if old.header == new.header else ["service"]
    names = dict.fromkeys((*new.values, "sslrootcert"))  # which may go
    fields += [name for name in names if old.values.get(name) != new.values.get(name)]
    neat = len(old.ours) == len(new.values) and not old.headless
    if not fields and not (neat and lines.bare(old.raw[0]) == block.comment(key)):
        return (block.ORDER,)
    return tuple(fields)


def _written(
    key: DatabaseKey, want: Want, old: sections.Section | None, eol: bytes
) -> tuple[bytes, ...]:
    """A section: the key comment, the header, our keys, then the person's own lines."""
    rows = [block.comment(key), want.header]
    for name, value in want.values.items():
        rows += [sections.ASKED] * (name == "sslrootcert")
        rows.append(name.encode() + b"=" + value)
    return (*(row + eol for row in rows), *(old.kept if old else ()))


def _doubts(
    pieces: Mapping[DatabaseKey, Sequence[bytes]], wants: Mapping[DatabaseKey, Want]
) -> Iterator[str]:
    """A sentence for each line of the person's in a section of ours that may do harm."""
    rows = ((key, row) for key, piece in pieces.items() for row in piece)
    for number, (key, row) in enumerate(rows, 2):  # the first line begins the block
        keyword, equals, value = lines.decode(row.strip()).partition("=")
        own = sections.counts(row) and not row.startswith(b"[")
        if key not in wants or not equals or not own or keyword in wants[key].values:
            continue
        where = f"on line {number}, in {lines.decode(wants[key].header)},"
        if keyword == "hostaddr":
            yield f"Your line `hostaddr=` {where} sends libpq there, whatever the host is."
        elif keyword not in KEYWORDS:
            yield f"Your line {where} holds a keyword that libpq may refuse."
        elif libpq.refuses(keyword, value):
            yield f"Your line `{keyword}={value}` {where} keeps libpq from connecting: take it out."


def _held(header: bytes | None, values: Mapping[str, bytes]) -> Held:
    texts = {name: lines.decode(value) for name, value in values.items()}
    password, service = texts.get("password"), sections.service(header)
    return Held(
        host=texts.get("host"),
        port=lines.number(values.get("port")),
        dbname=texts.get("dbname"),
        user=texts.get("user"),
        password=None if password is None else Secret(password),
        sslmode=texts.get("sslmode"),
        service=None if service is None else lines.decode(service),
        sslrootcert=texts.get("sslrootcert") or None,
        options=tuple(
            (name, text)
            for name, text in texts.items()
            if name not in libpq.SET and name != "sslrootcert"
        ),
    )


def _redacted(row: bytes, line: str, depth: int | None) -> str:
    """A line for showing: a header, or in our part what is ours, without a password."""
    if _HEADER.fullmatch(line.strip()) or row.strip() == sections.ASKED:
        return line
    name, equals, value = line.partition("=")
    if depth is None or name.strip().lower() not in (*LOGIN_FIELDS, "sslrootcert"):
        return MASK
    plain = name.strip().lower() != "password" and _PLAIN.fullmatch(value.strip())
    return line if plain else name + equals + MASK
