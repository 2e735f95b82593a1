"""What each file held before pgherald first wrote it. The journals keep that for good.

Of a file it is one whole image. Of rows in another program's database it is put together
cell by cell: the first commit that changed a cell has in its image what stood there before.
A commit that made, deleted or adopted a row has its id in the image, and begins anew.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from pgherald.errors import FileTrouble
from pgherald.files.rows import Image
from pgherald.sync.journal import Journal
from pgherald.sync.manifest import Medium

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Original:
    """What one file held before pgherald first wrote it.

    Attributes:
        label: what a person called the client.
        path: the file as the configuration named it.
        at: when pgherald first wrote it, UTC.
        medium: what its content is.
        content: its bytes, None for no file; of rows an image with every cell that was ever
            changed.
    """

    label: str
    path: Path
    at: datetime
    medium: Medium
    content: bytes | None = field(repr=False)


def holding_first(oldest_first: Sequence[Journal]) -> frozenset[str]:
    """Ids of the commits without which some file could not be given back as it was at first."""
    return frozenset(_gathered(oldest_first)[1])


def originals(oldest_first: Sequence[Journal]) -> dict[Path, Original]:
    """What every file held at first, by its target."""
    return _gathered(oldest_first)[0]


def _gathered(oldest_first: Sequence[Journal]) -> tuple[dict[Path, Original], set[str]]:
    """What every file held at first, and the ids of the commits that show it."""
    found: dict[Path, Original] = {}
    images: dict[Path, Image] = {}
    needed: set[str] = set()
    for journal in oldest_first:
        for index, file in journal.record.clients:
            if file.target in found and file.medium is Medium.FILE:
                continue
            content = _before(journal, index)
            if content is None and file.before is not None:
                continue  # damaged: what a later commit found counts, if anything
            if file.medium is Medium.ROWS:
                image = images.setdefault(file.target, {})
                if not _add(image, json.loads(content or b"{}"), journal.record.at):
                    continue
                content = json.dumps(image).encode()
            first = found.get(file.target)
            at = journal.record.at if first is None else first.at
            found[file.target] = Original(file.label, file.path, at, file.medium, content)
            needed.add(journal.record.id)
    return found, needed


def _before(journal: Journal, index: int) -> bytes | None:
    """An image; None also where it is damaged, which is no reason to keep others from theirs."""
    try:
        return journal.image(index, "before")
    except FileTrouble as exc:
        log.warning("%s", exc)
        return None


def _add(image: Image, later: Image, at: datetime) -> bool:
    """Take over the cells that are not in the image yet, and when their row was first written.

    A row whose id is in the later image was made, deleted or adopted by that commit. What was
    known of it before is about another row: numbers come back.

    Returns:
        Whether there were any.
    """
    new = False
    for table, rows in later.items():
        for number, row in rows.items():
            if "id" in row["columns"]:
                image.get(table, {}).pop(number, None)
            known = image.setdefault(table, {}).setdefault(
                number, {"there": row["there"], "columns": {}, "at": at.isoformat()}
            )
            new |= not row["columns"].keys() <= known["columns"].keys()
            known["columns"] = row["columns"] | known["columns"]
    return new
