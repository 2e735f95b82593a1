"""pgAdmin's servers as they were before pgherald. Pure.

A server that a person made by hand, and that pgherald adopted, gets back what it said then:
host, user, the saved password. What the person has changed in it since stays. A group that
pgherald made goes with its last server.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from typing import Any, Final

from pgherald.clients.pgadmin import PgAdmin
from pgherald.clients.pgadmin_picture import Known, Picture, Row, opened
from pgherald.clients.pgadmin_row import OWN_PARAMETERS, UNSET, parameters_of

#: Columns that pgherald empties; one that holds something again is the person's.
_EMPTIED: Final = frozenset({"password", "save_password", "passexec_cmd", "db_res_type"})


def without_ours(
    editor: PgAdmin, current: bytes, original: bytes | None, *, restore: bool
) -> tuple[bytes, tuple[str, ...]]:
    """The picture without pgherald's servers, and what is to be said of it.

    Args:
        editor: how the servers are kept.
        current: the picture as it is.
        original: an image of every cell that was ever changed, as it was at first; None where
            that is not known.
        restore: whether adopted servers get back what they said.

    Raises:
        Unparsable: it is not pgAdmin's database.
        Unsupported: this pgAdmin cannot be kept working.
    """
    picture = opened(current, editor.user)
    image: dict[str, Any] = {} if original is None else json.loads(original)
    edit = editor.plan(current, [], remove=picture.known)
    whole: dict[str, Any] = json.loads(edit.new)
    warnings = list(edit.warnings)
    if restore:
        given_back = _give_back(editor, picture, whole, image.get("server", {}))
        warnings = [] if given_back == _adopted(editor, picture) else warnings
    _drop_groups(picture, whole, image.get("servergroup", {}))
    return json.dumps(whole).encode(), tuple(warnings)


def _adopted(editor: PgAdmin, picture: Picture) -> set[int]:
    """Numbers of the servers that were made by hand, and are still kept."""
    return {known.id for known in _by_hand(editor, picture)}


def _by_hand(editor: PgAdmin, picture: Picture) -> list[Known]:
    return [
        known
        for rows in picture.known.values()
        for known in rows
        if not known.made and editor.row_of(known, picture.servers) is not None
    ]


def _give_back(
    editor: PgAdmin, picture: Picture, whole: dict[str, Any], first: Mapping[str, Any]
) -> set[int]:
    """Put what adopted servers said at first into the picture; the numbers of those servers."""
    done: set[int] = set()
    rows = whole["tables"]["server"]["rows"]
    for known in _by_hand(editor, picture):
        was = first.get(str(known.id))
        if was is None or not was["there"]:
            continue
        row = rows[str(known.id)]
        for name, value in was["columns"].items():
            row[name] = _cell(picture, known, row, name, value)
        done.add(known.id)
    return done


def _cell(picture: Picture, known: Known, row: Row, name: str, first: Any) -> Any:
    """What one column is to hold: what it held at first, unless the person has put in else."""
    now = row.get(name)
    if name in _EMPTIED:
        return first if now in UNSET else now
    if name == "name":
        return first if now == known.name else now
    if name == "servergroup_id":
        kept = picture.group_of(row) == known.group and first in picture.groups
        return first if kept else now
    if name == "connection_params":
        return _parameters(now, first)
    return first


def _parameters(now: object, first: object) -> object:
    """The parameters at first, with those that the person has added or changed since."""
    then, present = parameters_of(first), parameters_of(now)
    merged = {name: value for name, value in present.items() if name not in OWN_PARAMETERS}
    merged |= {name: value for name, value in then.items() if name in OWN_PARAMETERS}
    return first if merged == then else json.dumps(merged)


def _drop_groups(picture: Picture, whole: dict[str, Any], first: Mapping[str, Any]) -> None:
    """Take out groups that pgherald had made, where no server is in them."""
    names: Collection[str] = {known.group for rows in picture.known.values() for known in rows}
    groups = whole["tables"]["servergroup"]["rows"]
    used = {row["servergroup_id"] for row in whole["tables"]["server"]["rows"].values()}
    for number, was in first.items():
        group = groups.get(number)
        if group is None or was["there"] or int(number) in used:
            continue
        if group["user_id"] == picture.user and group["name"] in names:
            del groups[number]
