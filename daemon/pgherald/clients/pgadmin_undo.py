"""pgAdmin's servers as they were before pgherald. Pure.

A server that a person made by hand, and that pgherald adopted, gets back what it said then:
host, user, the saved password. What the person has changed in it since stays.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from pgherald.clients.pgadmin_known import Known, Row
from pgherald.clients.pgadmin_picture import Picture
from pgherald.clients.pgadmin_row import (
    OWN_COLUMNS,
    OWN_PARAMETERS,
    mode_for,
    parameters_of,
    says_nothing,
)
from pgherald.model import SSLMODES, strictest

if TYPE_CHECKING:
    from pgherald.clients.base import Edit
    from pgherald.clients.pgadmin import PgAdmin
    from pgherald.clients.pgadmin_row import RowForm

#: Columns that pgherald empties; one that holds something again is the person's.
_EMPTIED: Final = frozenset({"password", "save_password", "passexec_cmd", "db_res_type"})

#: Columns that pgherald ever writes in a server that it adopted.
_WRITTEN: Final = OWN_COLUMNS | {"password", "save_password", "connection_params"}


def without_ours(editor: PgAdmin, current: bytes, original: bytes | None) -> Edit:
    """What it takes to undo all that pgherald did to a picture.

    Args:
        editor: how the servers are kept.
        current: the picture as it is.
        original: an image of every cell that was ever changed, as it was at first; None where
            that is not known.

    Raises:
        Unparsable: it is not pgAdmin's database.
        Unsupported: this pgAdmin cannot be kept working.
    """
    whole: dict[str, Any] = json.loads(current)
    whole["first"] = {} if original is None else json.loads(original)
    return editor.plan(json.dumps(whole).encode(), [], remove=editor.recorded(current))


def is_known(form: RowForm, row: Row, first: Mapping[str, Any]) -> bool:
    """Whether the journals still say how a row was before it was adopted.

    Where that one is lost, they begin with what pgherald itself had written. A journal of
    pgherald 0.1 is known by what an adoption takes away: the row's own way to its server.
    """
    return "id" in first or not form.keeps({**row, **first})


def given_back(picture: Picture, known: Known, row: Row, first: Mapping[str, Any]) -> Row:
    """A row with what it held at first, but for what the person has put into it since.

    Args:
        picture: the database.
        known: what is recorded of the row.
        row: the row as it is.
        first: what it held at first of the columns that were ever changed. pgherald 0.1, whose
            journals name no id, changed name and group as well.
    """
    back = {name: first[name] for name in first if "id" not in first or name in _WRITTEN}
    return row | {name: _cell(picture, known, row, name, value) for name, value in back.items()}


def _cell(picture: Picture, known: Known, row: Row, name: str, first: Any) -> Any:
    """What one column is to hold: what it held at first, unless the person has put in else."""
    now = row.get(name)
    if name in _EMPTIED:
        return first if says_nothing(name, now) else now
    if name == "name":
        return first if now == known.name else now
    if name == "servergroup_id":
        kept = picture.group_of(row) == known.group and first in picture.groups
        return first if kept else now
    if name == "connection_params":
        return _parameters(known, now, first)
    return first


def _parameters(known: Known, now: object, first: object) -> object:
    """The parameters at first, with those that the person has added or changed since."""
    then, present = parameters_of(first), parameters_of(now)
    merged = {name: value for name, value in present.items() if name not in OWN_PARAMETERS}
    merged |= {name: value for name, value in then.items() if name in OWN_PARAMETERS}
    mode = present.get("sslmode")
    if known.sslmode in SSLMODES and mode in SSLMODES:
        asked = mode_for(known.sslmode, then)
        if strictest(asked, mode) != asked:
            merged["sslmode"] = mode
    return first if merged == then else json.dumps(merged)
