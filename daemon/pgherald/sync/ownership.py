"""The record of ownership: which rows of a configuration database are pgherald's. Pure.

It is a small file in the state folder, one for each database, and it is one of the files of the
commit that changes the rows. So whatever interrupts it, the journal brings both to the same end:
what is recorded was done, and what was done is recorded. And a commit that was planned on a
record that another process has changed since is planned anew, like one on any other file.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any, Final

#: What journals call such a file: it goes with the rows before it in the commit.
RECORD: Final = "record"

#: The folder of the records, in the state folder.
FOLDER: Final = "ownership"


def name_of(target: Path) -> str:
    """What the record of a database is called, by the database's path without links."""
    return f"{hashlib.sha256(bytes(target)).hexdigest()[:16]}.json"


def drawn(known: Any) -> bytes:
    """A record as a file holds it, with a checksum: a damaged one is as good as none."""
    return json.dumps({"sum": _sum(known), "known": known}, indent=1).encode() + b"\n"


def parsed(content: bytes | None) -> dict[str, Any] | None:
    """What a file records; None where there is none, or where it is damaged."""
    try:
        found = json.loads(content or b"null")
        known: dict[str, Any] = found["known"]
        return known if found["sum"] == _sum(known) else None
    except (ValueError, KeyError, TypeError):
        return None


def rolled_back(before: bytes | None, now: bytes | None, commit: str) -> bytes | None:
    """The record after a rollback, of what was recorded before the commit and what is now.

    None where there is none now: then its copy counts.

    A row of which both know is again as it was before. One of which only one knows stays
    recorded: what left pgAdmin by the rollback is not made again unasked. The commit's id makes
    it another record than before, so that it goes back in turn when the rollback is taken back.
    """
    old, new = parsed(before), parsed(now)
    if new is None:
        return None
    if old is None or old["database"] != new["database"]:
        return drawn(new | {"back": commit})
    rows: dict[str, list[dict[str, Any]]] = {}
    for key in {**old["rows"], **new["rows"]}:
        was, is_ = old["rows"].get(key, []), new["rows"].get(key, [])
        again = {row["id"] for row in was}
        rows[key] = [*was, *(row for row in is_ if row["id"] not in again)]
    led = {
        key: list(dict.fromkeys([*old["led"].get(key, []), *new["led"].get(key, [])]))
        for key in {**old["led"], **new["led"]}
    }
    groups = old["groups"] | new["groups"]
    return drawn(new | {"rows": rows, "led": led, "groups": groups, "back": commit})


def _sum(known: Any) -> str:
    return hashlib.sha256(json.dumps(known, sort_keys=True).encode()).hexdigest()[:16]
