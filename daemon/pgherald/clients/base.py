"""What every editor of a text file offers."""

from __future__ import annotations

import dataclasses
import enum
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Protocol

from pgherald.model import SSLMODES, DatabaseKey, Entry, Login, strictest
from pgherald.secret import Secret

#: An entry's fingerprint, with its database; None where the entry is the person's own.
Print = tuple[DatabaseKey | None, str]

#: Gives the fingerprints of what pgherald wrote into a file, by database.
Known = Callable[[], Mapping[DatabaseKey, Collection[str]]]


def fingerprint(*values: object) -> str:
    """Stands for an entry that pgherald wrote, in a record that holds no secret.

    Another program may keep the entry and drop the mark beside it.
    """
    import hashlib  # brings OpenSSL along, which quick commands do without

    return hashlib.sha256(repr(values).encode()).hexdigest()[:32]


class Action(enum.StrEnum):
    """What an edit does to the entry of one database."""

    ADD = "add"
    UPDATE = "update"
    REMOVE = "remove"
    ADOPT = "adopt"


@dataclass(frozen=True, slots=True)
class Change:
    """What an edit does to one database's entry.

    Attributes:
        key: which database.
        action: added, updated, removed, or made by a person and now kept.
        fields: for an update, what changes, in the client's own names for it
            (`host`, `password`, `DBRestriction`, `order` …); for an adoption, what the
            person calls it.
    """

    key: DatabaseKey
    action: Action
    fields: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Edit:
    """The outcome of planning.

    Attributes:
        new: the file's new bytes; equal to the old ones when there is nothing to do.
        changes: what was done, one per database touched. Empty if and only if
            `new` equals the old bytes.
        warnings: sentences for the person that ask for no change, such as a section
            of their own that ours hides. They hold no secret.
        outcomes: sentences on what becomes of an entry that leaves, or is adopted. They hold no
            secret.
        taken: services that are wanted, and whose name a section of the person's has.
    """

    new: bytes = field(repr=False)
    changes: tuple[Change, ...] = ()
    warnings: tuple[str, ...] = ()
    outcomes: tuple[str, ...] = ()
    taken: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Held:
    """What a client holds for one database, and what else it tells libpq (`options`).

    None where the format has no such field, or where what stands there cannot be read.
    """

    host: str | None = None
    port: int | None = None
    dbname: str | None = None
    user: str | None = None
    password: Secret | None = None
    sslmode: str | None = None
    service: str | None = None
    sslrootcert: str | None = None
    options: tuple[tuple[str, str], ...] = field(default=(), repr=False)

    @property
    def demands(self) -> str | None:
        """The sslmode that stands there, or that libpq demands beside what stands there."""
        # libpq 16 and later refuse the system's certificates with any other mode.
        return "verify-full" if self.sslrootcert == "system" else self.sslmode


def strictest_of(copies: Sequence[Held]) -> Held:
    """What the first of several copies holds, with what the strictest of them demands."""
    strict = max(copies, key=lambda held: SSLMODES.index(strictest(SSLMODES[0], held.demands)))
    return dataclasses.replace(copies[0], sslmode=strict.sslmode, sslrootcert=strict.sslrootcert)


class TextClient(Protocol):
    """A pure editor of one file format.

    Attributes:
        kind: the configuration's name for it: `pgpass`, `service_file`, `servers_json`, `pgadmin`.
        label: what a person calls it, in one or two words.
        private: whether the file holds passwords, so that its mode must be 0600.
    """

    kind: ClassVar[str]
    label: ClassVar[str]
    private: ClassVar[bool]

    def plan(
        self,
        current: bytes | None,
        wanted: Sequence[Entry],
        *,
        also: Mapping[DatabaseKey, Sequence[Login]] | None = None,
        remove: Collection[DatabaseKey] = (),
    ) -> Edit:
        """Work out the file's new bytes.

        Entries of ours that are neither wanted nor removed stay as they are, and so
        does every byte that is not ours; in JSON that is every value, in its order. Where
        nothing of ours changes, no byte does.

        Args:
            current: the file's bytes; None when there is no file.
            wanted: what the file should hold.
            also: logins that must stay readable beside the wanted one while a commit is
                under way. A format that holds one login per entry ignores it.
            remove: databases whose entry goes away.

        Raises:
            Unparsable: the file cannot be understood; carries the line and the reason.
            Inexpressible: the format has no way to hold one of the logins.
        """
        ...

    def read(self, current: bytes | None) -> Mapping[DatabaseKey, Held]:
        """What the file holds of ours.

        Raises:
            Unparsable: the file cannot be understood.
        """
        ...

    def services(self, current: bytes | None) -> Iterable[str]:
        """Every service that the file defines or names, ours and other people's.

        Raises:
            Unparsable: the file cannot be understood.
        """
        ...

    def redact(self, text: bytes) -> list[str]:
        """The file's lines for showing, without line ends: ours, without any secret.

        What is not ours is masked whole, for anything may stand in a comment; blank lines,
        section headers and brackets are shown. One item per line of `text`, split at line feeds.
        Never raises, whatever the bytes.
        """
        ...
