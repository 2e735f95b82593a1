"""Pictures and images of rows, as bytes: see `pgherald.files.rows`. Pure."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

Row = dict[str, Any]
Image = dict[str, dict[str, dict[str, Any]]]


def difference(old: bytes, new: bytes) -> tuple[bytes, bytes]:
    """What has to change between two pictures: the images before and after.

    A row that is in both is there with the columns that differ, and with its `id` if the new
    picture's `begins` (numbers by table) has it; one that is in one of them is there whole.
    """
    before: Image = {}
    after: Image = {}
    old_tables, new_tables = _tables(old), _tables(new)
    begins = json.loads(new).get("begins", {})
    for table in sorted({*old_tables, *new_tables}):
        olds, news = old_tables.get(table, {}), new_tables.get(table, {})
        for number in sorted({*olds, *news}, key=int):
            was, is_ = olds.get(number), news.get(number)
            if was == is_:
                continue
            named = {"id"} if number in begins.get(table, ()) else set()
            columns = sorted({*_columns(was, is_), *named})
            before.setdefault(table, {})[number] = part_of(was, columns)
            after.setdefault(table, {})[number] = part_of(is_, columns)
    return drawn(before), drawn(after)


def picture(content: bytes) -> dict[str, Any]:
    """Read a picture, or what was made of one."""
    found: dict[str, Any] = json.loads(content)
    return found


def _columns(was: Row | None, is_: Row | None) -> list[str]:
    if was is None or is_ is None:
        return [*(was or is_ or ())]
    return [name for name in {*was, *is_} if was.get(name) != is_.get(name)]


def part_of(row: Row | None, columns: Sequence[str]) -> dict[str, Any]:
    """What an image holds of a row: some columns, and whether it is there."""
    values = {name: None if row is None else row.get(name) for name in columns}
    return {"there": row is not None, "columns": values}


def _tables(content: bytes) -> dict[str, dict[str, Row]]:
    tables: dict[str, dict[str, Any]] = json.loads(content)["tables"]
    return {name: table["rows"] for name, table in tables.items()}


def drawn(value: object) -> bytes:
    """The one form that a picture, or an image, has as bytes."""
    text = json.dumps(value, indent=1, sort_keys=True, ensure_ascii=True)
    return text.encode() + b"\n"
