"""What is recorded of one server row: who made it, and how it was left. Pure.

A row is pgherald's because pgherald made it and recorded that, and only for as long as it is what
was recorded, compared as a whole. Its number proves nothing, since pgAdmin gives the numbers of
deleted servers to new ones; neither does the name of its service, which anybody may enter.
"""

from __future__ import annotations

import dataclasses
import enum
import hashlib
from dataclasses import dataclass
from typing import Any

Row = dict[str, Any]


class Owner(enum.StrEnum):
    """Whose a row is, and so what pgherald may do with it."""

    MADE = "made"
    """pgherald made it, and it is what pgherald last wrote: it is renamed and deleted."""
    EDITED = "edited"
    """pgherald made it and the person changed it: it is kept current, and never deleted."""
    ADOPTED = "adopted"
    """The person made it and asked for it to be kept: it gets back what it held at first."""
    FOLLOWED = "followed"
    """The person's, and it names pgherald's section: it is kept current, and no more."""


@dataclass(frozen=True, slots=True)
class Known:
    """What is recorded of one row.

    Attributes:
        id: the row's number.
        mark: what `mark_of` gave for the row, as pgherald left it.
        owner: whose it is.
        name: the name that the configuration gave it when it was last written.
        group: likewise the group.
        ours: digest of what pgherald writes in a row, as it was last seen; None in a record of
            pgherald 0.1, which kept no digests.
        theirs: likewise of all the rest of the row.
        sslmode: the mode that pgherald asked for; a stricter one in the row is the person's.
        gone: it was seen missing, or leading elsewhere. It counts again only if it comes back
            exactly as it was; until then the record keeps pgherald from making another.
    """

    id: int
    mark: str
    owner: Owner
    name: str
    group: str
    ours: str | None = None
    theirs: str | None = None
    sslmode: str | None = None
    gone: bool = False

    @classmethod
    def parse(cls, found: dict[str, Any]) -> Known:
        """Read it from a record; one of pgherald 0.1 says only whether pgherald made the row."""
        simple = Owner.MADE if found["made"] else Owner.ADOPTED
        return cls(
            found["id"],
            found["mark"],
            Owner(found.get("owner", simple)),
            found["name"],
            found["group"],
            found.get("ours"),
            found.get("theirs"),
            found.get("sslmode"),
            found.get("gone", False),
        )

    def json(self) -> dict[str, Any]:
        """It as the record holds it; pgherald 0.1 understands its first part."""
        return dataclasses.asdict(self) | {
            "made": self.owner is Owner.MADE,
            "owner": str(self.owner),
        }


def digest(text: str) -> str:
    """A short digest."""
    return hashlib.sha256(f"pgherald {text}".encode("utf-8", "surrogatepass")).hexdigest()[:16]


def mark_of(row: Row) -> str:
    """What a row leads by: its service or, in a host row, its database."""
    return digest(f"row {row['service'] or row['maintenance_db']}")
