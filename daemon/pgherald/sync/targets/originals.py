"""What each file held before pgherald first wrote it. The journals keep that for good.

Of a file it is one whole image. Of rows in another program's database it is put together
cell by cell: the first commit that changed a cell has in its image what stood there before.
A commit that made, deleted or adopted a row has its id in the image, and begins anew.
"""

from __future__ import annotations

import json
import logging
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from pgherald.errors import FileTrouble
from pgherald.files.pictures import Image
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
    seen: set[tuple[str, ...]] = set()
    needed: set[str] = set()
    lives: Counter[tuple[str, ...]] = Counter()
    for journal in oldest_first:
        for index, file in journal.record.clients:
            places: set[tuple[str, ...]] = {(str(file.target),)}
            if file.medium is Medium.ROWS:
                image = _image(_before(journal, index))
                lives.update((str(file.target), *row) for row in _beginnings(image))
                places = {
                    (str(file.target), *cell, str(lives[str(file.target), cell[0], cell[1]]))
                    for cell in _cells(image)
                }
            if places - seen:
                needed.add(journal.record.id)
            seen |= places
    return frozenset(needed)


def originals(oldest_first: Sequence[Journal]) -> dict[Path, Original]:
    """What every file held at first, by its target."""
    found: dict[Path, Original] = {}
    images: dict[Path, Image] = {}
    for journal in oldest_first:
        for index, file in journal.record.clients:
            if file.target in found and file.medium is Medium.FILE:
                continue
            content = _before(journal, index)
            if content is None and file.before is not None:
                continue  # damaged: what a later commit found counts, if anything
            if file.medium is Medium.ROWS:
                image = images.setdefault(file.target, {})
                _add(image, _image(content), journal.record.at)
                content = json.dumps(image).encode()
            first = found.get(file.target)
            at = journal.record.at if first is None else first.at
            found[file.target] = Original(file.label, file.path, at, file.medium, content)
    return found


def _before(journal: Journal, index: int) -> bytes | None:
    """An image; None also where it is damaged, which is no reason to keep others from theirs."""
    try:
        return journal.image(index, "before")
    except FileTrouble as exc:
        log.warning("%s", exc)
        return None


def _image(content: bytes | None) -> Image:
    image: Image = {} if content is None else json.loads(content)
    return image


def _cells(image: Image) -> Iterator[tuple[str, str, str]]:
    for table, rows in image.items():
        for number, row in rows.items():
            yield from ((table, number, column) for column in row["columns"])


def _beginnings(image: Image) -> Iterator[tuple[str, str]]:
    """Rows whose id is in an image: those that a commit made, deleted or adopted.

    What was known of such a row before is about another one: numbers come back.
    """
    for table, rows in image.items():
        yield from ((table, number) for number, row in rows.items() if "id" in row["columns"])


def _add(image: Image, later: Image, at: datetime) -> None:
    """Take over the cells that are not in the image yet, and when their row was first written."""
    for table, number in _beginnings(later):
        image.get(table, {}).pop(number, None)
    for table, rows in later.items():
        for number, row in rows.items():
            known = image.setdefault(table, {}).setdefault(
                number, {"there": row["there"], "columns": {}, "at": at.isoformat()}
            )
            known["columns"] = row["columns"] | known["columns"]
