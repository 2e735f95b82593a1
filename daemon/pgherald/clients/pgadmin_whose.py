"""Whose a server row is: what is recorded, compared with what is there. Pure."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Collection, Iterator, Mapping, Sequence

from pgherald.clients.pgadmin_known import Known, Owner, Row, mark_of
from pgherald.clients.pgadmin_picture import Picture
from pgherald.clients.pgadmin_row import UNSET, RowForm, likeness, own_way, parts, signs_in
from pgherald.model import DatabaseKey, Entry


def prints(picture: Picture, row: Row) -> tuple[str, str]:
    """Digests of what pgherald writes in a row, and of all the rest of it."""
    ours, theirs = (json.dumps(part, sort_keys=True, default=str) for part in parts(row))
    return picture.secret_digest(f"ours {ours}"), picture.secret_digest(f"theirs {theirs}")


def seen(form: RowForm, picture: Picture) -> dict[DatabaseKey, list[Known]]:
    """Every recorded row as it stands now; those that are not there, or lead elsewhere, `gone`."""
    return {
        key: [_seen(form, picture, key, known) for known in rows]
        for key, rows in picture.known.items()
    }


def kept_rows(form: RowForm, picture: Picture) -> dict[DatabaseKey, list[int]]:
    """Rows that are kept current; those that are wholly the person's, where there are no others."""
    found: dict[DatabaseKey, list[int]] = {}
    for key, known in seen(form, picture).items():
        there = [row for row in known if not row.gone]
        ours = [row for row in there if row.owner is not Owner.FOLLOWED]
        if there:
            found[key] = [row.id for row in ours or there]
    return found


def _seen(form: RowForm, picture: Picture, key: DatabaseKey, known: Known) -> Known:
    """One of them: still what was recorded, changed by the person, or another server by now."""
    row = picture.servers.get(known.id)
    if row is not None and known.owner is not Owner.FOLLOWED and _is_as_left(picture, known, row):
        # Also where the configuration wants rows of the other kind by now.
        return dataclasses.replace(known, gone=False)
    leads = row is not None and mark_of(row) == known.mark and form.keeps(row)
    if row is None or not leads or (form.rows == "service" and not _leads_on(picture, key, row)):
        return dataclasses.replace(known, gone=True)
    owner = _owner(form, picture, known, row)
    if owner is None:
        return dataclasses.replace(known, gone=True)
    ours, theirs = prints(picture, row)
    return dataclasses.replace(known, owner=owner, ours=ours, theirs=theirs, gone=False)


def _is_as_left(picture: Picture, known: Known, row: Row) -> bool:
    """Whether a row is, as a whole, what was recorded."""
    return prints(picture, row) == (known.ours, known.theirs)


def _owner(form: RowForm, picture: Picture, known: Known, row: Row) -> Owner | None:
    """Whose a row is that has a recorded number and leads the recorded way; None for a stranger's."""
    edited = Owner.EDITED if known.owner is Owner.MADE else known.owner
    if known.ours is None:
        # pgherald 0.1 knew a row by its service alone, so its word is not enough.
        plain = form.is_plain(row, known.name) and picture.group_of(row) == known.group
        return known.owner if plain and not was_there(picture, known.id) else edited
    same = [
        now == then
        for now, then in zip(prints(picture, row), (known.ours, known.theirs), strict=True)
    ]
    if all(same):
        return known.owner
    if any(same) and not known.gone and known.owner is not Owner.FOLLOWED:
        return edited
    # Nothing shows that it is the row that was recorded, and not another one with its number.
    return None if form.rows == "host" or signs_in(row) else Owner.FOLLOWED


def was_there(picture: Picture, number: int) -> bool:
    """Whether a row was there before pgherald first wrote it, as far as the journals tell."""
    part = (picture.first or {}).get("server", {}).get(str(number))
    return part is not None and bool(part["there"])


def _leads_on(picture: Picture, key: DatabaseKey, row: Row) -> bool:
    """Whether a row that is recorded leads where its section does or did; one without, too."""
    led = picture.led.get(key)
    name = row["maintenance_db"]
    return led is None or name in UNSET or picture.led_to(name) in led


def naming(picture: Picture, service: str) -> Iterator[int]:
    """Rows that name a service; those that pgAdmin makes for a moment, and hides, are none."""
    for number, row in picture.servers.items():
        if row["service"] == service and row.get("is_adhoc") in UNSET:
            yield number


def follows(row: Row) -> bool:
    """Whether a row that names our service lives by it, and by nothing of its own."""
    return own_way(row) is None and not signs_in(row)


def twins(
    picture: Picture, key: DatabaseKey, known: Sequence[Known], taken: Collection[int]
) -> Iterator[tuple[Row, bool]]:
    """Rows that are not recorded, and name the service of some that are; whether each leads there."""
    marks = {row.mark for row in known}
    for number, row in picture.servers.items():
        if number not in taken and row["service"] and mark_of(row) in marks and follows(row):
            yield row, _leads_on(picture, key, row)


def passed_over(form: RowForm, picture: Picture) -> Iterator[tuple[int, str | None]]:
    """Rows that name a section of ours and are left alone, each with the way that it goes instead."""
    known = [row for rows in seen(form, picture).values() for row in rows]
    kept, marks = {row.id for row in known if not row.gone}, {row.mark for row in known}
    if form.rows == "service":
        for number, row in picture.servers.items():
            if row["service"] and number not in kept and mark_of(row) in marks:
                yield number, own_way(row)


def by_hand(
    picture: Picture, taken: set[int], entries: Mapping[DatabaseKey, Entry]
) -> dict[DatabaseKey, list[int]]:
    """Servers that a person made, by the database that they lead to of those that are wanted."""
    found: dict[DatabaseKey, list[int]] = {}
    for number, row in picture.servers.items():
        if number in taken or row["service"] or not row["host"] or row.get("is_adhoc") not in UNSET:
            continue
        alike = {key: likeness(row, entry.login) for key, entry in entries.items()}
        best = max(alike, key=lambda key: alike[key], default=None)
        if best is not None and alike[best]:
            found.setdefault(best, []).append(number)
    return found
