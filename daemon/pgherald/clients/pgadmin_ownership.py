"""Whose a server of pgAdmin's is: what is recorded, compared with what is there. Pure.

A server that a person made by hand, and that pgherald adopted, gets back what it said then when
it is let go: host, user, the saved password. What the person has changed in it since stays.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from pgherald.clients.pgadmin_database import ConfigDatabase, Owner, Row, RowRecord, mark_of
from pgherald.clients.pgadmin_row import (
    OWN_COLUMNS,
    OWN_PARAMETERS,
    UNSET,
    RowForm,
    databases_of,
    likeness,
    mode_for,
    own_way,
    parameters_of,
    parts,
    says_nothing,
    shown,
    signs_in,
)
from pgherald.model import SSLMODES, DatabaseKey, Entry, Login, strictest

#: Columns that pgherald empties; one that holds something again is the person's.
_EMPTIED: Final = frozenset({"password", "save_password", "passexec_cmd", "db_res_type"})

#: Columns that pgherald ever writes in a server that it adopted.
_WRITTEN: Final = OWN_COLUMNS | {"password", "save_password", "connection_params"}

Records = dict[DatabaseKey, list[RowRecord]]


def prints(database: ConfigDatabase, row: Row) -> tuple[str, str]:
    """Digests of what pgherald writes in a row, and of all the rest of it."""
    ours, theirs = (json.dumps(part, sort_keys=True, default=str) for part in parts(row))
    return database.secret_digest(f"ours {ours}"), database.secret_digest(f"theirs {theirs}")


def current_records(form: RowForm, database: ConfigDatabase) -> Records:
    """Every recorded row as it stands now; those that are not there, or lead elsewhere, `gone`."""
    return {
        key: [_current(form, database, key, record) for record in records]
        for key, records in database.records.items()
    }


def _current(
    form: RowForm, database: ConfigDatabase, key: DatabaseKey, record: RowRecord
) -> RowRecord:
    """One of them: still what was recorded, changed by the person, or another server by now."""
    gone = dataclasses.replace(record, gone=True)
    if (row := database.servers.get(record.id)) is None:
        return gone
    now = ours, theirs = prints(database, row)
    if record.owner is not Owner.FOLLOWED and now == (record.ours, record.theirs):
        # Also where the configuration wants rows of the other kind by now.
        return dataclasses.replace(record, gone=False)
    if mark_of(row) != record.mark or not form.keeps(row):
        return gone
    if form.rows == "service" and not leads_on(database, key, row):
        return gone
    owner = _owner(form, database, record, row, now)
    if owner is None:
        return gone
    return dataclasses.replace(record, owner=owner, ours=ours, theirs=theirs, gone=False)


def _owner(
    form: RowForm, database: ConfigDatabase, record: RowRecord, row: Row, now: tuple[str, str]
) -> Owner | None:
    """Whose a row is that has a recorded number and leads the recorded way; None for a stranger's."""
    edited = Owner.EDITED if record.owner is Owner.MADE else record.owner
    if record.ours is None:
        # pgherald 0.1 knew a row by its service alone, so its word is not enough.
        plain = form.is_plain(row, record.name) and database.group_of(row) == record.group
        first = database.original(record.id)
        return record.owner if plain and not (first and first["there"]) else edited
    same = [is_ == was for is_, was in zip(now, (record.ours, record.theirs), strict=True)]
    if all(same):
        return record.owner
    if any(same) and not record.gone and record.owner is not Owner.FOLLOWED:
        return edited
    # Nothing shows that it is the row that was recorded, and not another one with its number.
    return None if form.rows == "host" or signs_in(row) else Owner.FOLLOWED


def kept_rows(form: RowForm, database: ConfigDatabase) -> dict[DatabaseKey, list[int]]:
    """Rows that are kept current; those that are wholly the person's, where there are no others."""
    found: dict[DatabaseKey, list[int]] = {}
    for key, records in current_records(form, database).items():
        there = [record for record in records if not record.gone]
        ours = [record for record in there if record.owner is not Owner.FOLLOWED]
        if there:
            found[key] = [record.id for record in ours or there]
    return found


def leads_on(database: ConfigDatabase, key: DatabaseKey, row: Row) -> bool:
    """Whether a row that is recorded leads where its section does or did; one without, too."""
    led, names = database.led.get(key), databases_of(row)
    return led is None or not names or any(database.led_to(name) in led for name in names)


def naming(
    database: ConfigDatabase, service: str | None, records: Iterable[RowRecord] = ()
) -> Iterator[int]:
    """Rows that name a service, or the one that these rows named when they were recorded.

    Those that pgAdmin makes for a moment, and hides, are none.
    """
    marks = {record.mark for record in records}
    for number, row in database.servers.items():
        named = row["service"] and (row["service"] == service or mark_of(row) in marks)
        if named and row.get("is_adhoc") in UNSET:
            yield number


def follows(row: Row, login: Login | None = None) -> bool:
    """Whether a row that names our service lives by it, and by nothing of its own."""
    return own_way(row) is None and not signs_in(row, login)


def unrecorded(
    database: ConfigDatabase, records: Sequence[RowRecord], taken: Collection[int]
) -> Iterator[Row]:
    """Rows that are not recorded, and live by the service of some that are."""
    for number in naming(database, None, records):
        row = database.servers[number]
        if number not in taken and follows(row):
            yield row


def by_hand(
    database: ConfigDatabase, taken: Collection[int], entries: Mapping[DatabaseKey, Entry]
) -> dict[DatabaseKey, list[int]]:
    """Servers that a person made, by the database that they lead to of those that are wanted."""
    found: dict[DatabaseKey, list[int]] = {}
    for number, row in database.servers.items():
        if number in taken or row["service"] or not row["host"] or row.get("is_adhoc") not in UNSET:
            continue
        alike = {key: likeness(row, entry.login) for key, entry in entries.items()}
        best = max(alike, key=lambda key: alike[key], default=None)
        if best is not None and alike[best]:
            found.setdefault(best, []).append(number)
    return found


# --- what an adopted server held ---------------------------------------------------------------


def is_known(form: RowForm, row: Row, first: Mapping[str, Any]) -> bool:
    """Whether the journals still say how a row was before it was adopted.

    Where that one is lost, they begin with what pgherald itself had written. A journal of
    pgherald 0.1 is known by what an adoption takes away: the row's own way to its server.
    """
    return "id" in first or not form.keeps({**row, **first})


def given_back(
    database: ConfigDatabase, record: RowRecord, row: Row, first: Mapping[str, Any]
) -> Row:
    """A row with what it held at first, but for what the person has put into it since.

    Args:
        database: where it is.
        record: what is recorded of the row.
        row: the row as it is.
        first: what it held at first of the columns that were ever changed. pgherald 0.1, whose
            journals name no id, changed name and group as well.
    """
    back = {name: value for name, value in first.items() if "id" not in first or name in _WRITTEN}
    for name in back:
        if name == "connection_params":
            back[name] = _parameters(record, row.get(name), first[name])
        elif _is_theirs(database, record, row, name, first[name]):
            back[name] = row.get(name)
    return row | back


def _is_theirs(
    database: ConfigDatabase, record: RowRecord, row: Row, name: str, first: object
) -> bool:
    """Whether the person has put something into a column since it was adopted."""
    now = row.get(name)
    if name in _EMPTIED:
        return not says_nothing(name, now)
    if name == "name":
        return bool(now != record.name)
    if name == "servergroup_id":
        return database.group_of(row) != record.group or first not in database.groups
    return False


def _parameters(record: RowRecord, now: object, first: object) -> object:
    """The parameters at first, with those that the person has added or changed since."""
    then, present = parameters_of(first), parameters_of(now)
    own = OWN_PARAMETERS
    if record.sslrootcert is not None and present.get("sslrootcert") == record.sslrootcert:
        own |= {"sslrootcert"}
    merged = {name: value for name, value in present.items() if name not in own}
    merged |= {name: value for name, value in then.items() if name in own}
    mode = present.get("sslmode")
    if record.sslmode in SSLMODES and mode in SSLMODES:
        asked = mode_for(record.sslmode, then)
        if strictest(asked, mode) != asked:
            merged["sslmode"] = mode
    return first if merged == then else json.dumps(merged)


# --- messages about servers that are left alone, and about those that are let go ----------------


#: What keeps a server from being adopted by a pgAdmin of 7.2 to 8.11, and what helps.
KEYRING: Final = (
    "choose Clear Saved Password for it in pgAdmin, since this release keeps it in the system's "
    "keyring"
)


def server(row: Row) -> str:
    """A server as a message names it."""
    return f"Server {shown(row['name'])}"


def offer(row: Row, key: DatabaseKey, hindrance: str | None, lost: str) -> str:
    """Of a server that was made by hand, and could be adopted, or cannot.

    Args:
        row: the server.
        key: the database that it leads to.
        hindrance: why it cannot be.
        lost: what adopting costs, as a sentence.
    """
    what = f"{server(row)}, made by hand, leads to {key} too"
    if hindrance is None:
        return f"{what}: `pgherald check --adopt` keeps it working as well. {lost}".rstrip()
    if hindrance is KEYRING:
        return f"{what}: {KEYRING}; then `pgherald check --adopt` keeps it working. {lost}".rstrip()
    return f"{what}, and cannot be adopted: {hindrance}. It is left as it is."


def stays(row: Row, owner: Owner) -> str:
    """Of one that stays, and whose section goes."""
    why = {
        Owner.EDITED: "it is not just what pgherald made",
        Owner.ADOPTED: "what it held before it was adopted is not known any more",
    }.get(owner, "nothing shows that pgherald made it")
    return (
        f"{server(row)} stays without its login, since {why}: delete it in pgAdmin, or "
        "give it a host and a user."
    )


def left_behind(row: Row, *, leads: bool) -> str:
    """Of one that is not recorded, and names a section which goes.

    Args:
        row: the row.
        leads: whether it leads where that section did; else it may live by one of the person's.
    """
    if leads:
        return stays(row, Owner.FOLLOWED)
    return (
        f"{server(row)} names the service {row['service']!r}, which pgherald no "
        "longer keeps: it stays as it is, and works if a section of yours has that name."
    )


def restored(row: Row, first: Mapping[str, Any], at: str | None) -> str:
    """Of one that is again what it was; with the day, since Heroku may have changed its login.

    Args:
        row: the row as it is now.
        first: what it held at first.
        at: when pgherald first wrote it, as ISO 8601 has it; None where nobody knows.
    """
    names = (("host", "host"), ("username", "user"), ("password", "saved password"))
    has = [word for name, word in names if first.get(name) and row.get(name)]
    if not has:
        return f"{server(row)} is again what it was."
    listed = has[0] if len(has) == 1 else f"{', '.join(has[:-1])} and {has[-1]}"
    day = "" if at is None else f" of {datetime.fromisoformat(at).astimezone():%Y-%m-%d}"
    return f"{server(row)} has its own {listed}{day} again; Heroku may have changed them since."
