"""The clients: their files and pgAdmin's servers, and what leads them elsewhere."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from pgherald import libpq
from pgherald.clients.pgadmin import PgAdmin
from pgherald.clients.pgadmin_database import ConfigDatabase
from pgherald.clients.pgadmin_ownership import current_records
from pgherald.config import ClientSetting
from pgherald.daemon.check import astray_pgadmins
from pgherald.daemon.look import Looked
from pgherald.doctor.checks import Finding, bad, good, note, trouble
from pgherald.errors import ClientError
from pgherald.files import Files
from pgherald.sync.plan import Plan, in_words
from pgherald.sync.targets import PgAdminTarget, Target

#: Variables that beat what the files say (libpq: "Environment Variables"), and how.
_BEATS: Final = {
    "PGPASSWORD": "beats every password in pgpass",
    "PGHOST": "leads a pgAdmin that is started here to another host",
    "PGHOSTADDR": "leads programs that are started here to another address",
}

#: Variables that name a file, by the kind of client that is that file.
_NAMES: Final = {"PGSERVICEFILE": "service_file", "PGPASSFILE": "pgpass"}

_CHECK: Final = "Run: pgherald check"


def text_file(what: Target, files: Files) -> Iterator[Finding]:
    """One client that is a text file."""
    try:
        snapshot = what.read(files)
        what.editor.read(snapshot.content)
    except ClientError as exc:
        yield _unreadable(what, exc)
        return
    if snapshot.content is None:
        yield bad(f"{what.label} is not written yet: {what.path}", _CHECK)
        return
    if not os.access(snapshot.target.parent, os.W_OK):
        folder = snapshot.target.parent
        yield bad(
            f"{what.label}: its folder may not be written: {folder}", f"Run: ls -ld '{folder}'"
        )
    elif what.editor.private and snapshot.loose:
        yield bad(
            f"{what.label}: others can read its passwords: {snapshot.target}",
            f"Run: chmod 600 '{snapshot.target}'",
        )
    else:
        yield good(f"{what.label}: {what.path}")


def servers(client: PgAdminTarget, files: Files, program: int | None) -> Iterator[Finding]:
    """One configuration database, and pgherald's servers in it.

    Args:
        client: which one.
        files: reads files.
        program: version of the installed pgAdmin, as its APP_VERSION_INT, if known.
    """
    try:
        snapshot = client.read(files)
        if snapshot.content is None:
            yield note(
                f"{client.label} has not been started yet: there is no {client.path}",
                f"Start it once. {_CHECK}",
            )
            return
        database = client.editor.database(snapshot.content)
    except ClientError as exc:
        yield _unreadable(client, exc)
        return
    release = f" {version(program)}" if program is not None else ""
    if client.editor.rows == "service" and (broken := database.broken_for_services):
        yield bad(
            f"In pgAdmin {broken} a server cannot name a service",
            "Update pgAdmin to the newest release, and start it once.",
        )
    if not os.access(snapshot.target, os.W_OK) or not os.access(snapshot.target.parent, os.W_OK):
        yield bad(
            f"{client.label}: its database may not be written: {snapshot.target}",
            f"Run: ls -ld '{snapshot.target}' '{snapshot.target.parent}'",
        )
    yield from _rows(client.editor, database, f"{client.label}{release}")


def _rows(editor: PgAdmin, database: ConfigDatabase, label: str) -> Iterator[Finding]:
    there, gone = 0, []
    for key, known in current_records(editor, database).items():
        rows = [row for row in known if not row.gone]
        there += len(rows)
        if known and not rows:
            gone.append(key)
    if there:
        yield good(f"{label} has {there} server{'s' * (there != 1)} of pgherald's")
    elif not gone:
        yield bad(f"{label} has no server of pgherald's yet", _CHECK)
    for key in gone:
        yield note(
            f"{label}: the server of {key} was deleted, and stays so",
            "To have it back: pgherald check --recreate",
        )


def surroundings(clients: Sequence[Target]) -> Iterator[Finding]:
    """What a running pgAdmin was started with."""
    found = astray_pgadmins(clients)
    for each in found:
        yield bad(each.title, each.advice)
    if not found:
        yield good("Nothing leads a running pgAdmin astray")


def version(number: int) -> str:
    """`9.18` for 91800."""
    return f"{number // 10000}.{number // 100 % 100}"


def _unreadable(client: Target, error: ClientError) -> Finding:
    return trouble(error.at(client.path), f"{client.label}: ")


def current(plan: Plan, looked: Looked) -> Iterator[Finding]:
    """Whether every client holds what Heroku shows. Files that cannot be read are told elsewhere."""
    for file in plan.files:
        if file.edit.changes:
            what = ", ".join(in_words(change) for change in file.edit.changes)
            yield bad(f"{file.client.label} is behind: {what}", _CHECK)
        elif not file.absent and looked.entries:
            yield good(f"{file.client.label} holds what Heroku shows")
        for warning in file.warnings:
            yield note(f"{file.client.label}: {warning}")
    for client, key, error in plan.refused:
        yield bad(f"{client.label} cannot hold the login of {key}: {error.reason}", error.advice)


def variables(env: Mapping[str, str], clients: Sequence[ClientSetting]) -> Iterator[Finding]:
    """Variables by which programs that are started here read something else, or nothing."""
    found = [
        bad(f"{name} is set here, which {how}", f"Run: unset {name}")
        for name, how in _BEATS.items()
        if env.get(name)
    ]
    found += [
        bad(f"{extra.source} is set here, which keeps programs from connecting", extra.remedy)
        for extra in libpq.variables(env)
        if any(libpq.refuses(keyword, value) for keyword, value in extra.options)
    ]
    if (service := env.get("PGSERVICE")) and not libpq.defines(service):
        title = "PGSERVICE names a service that is not defined, so that libpq refuses to connect"
        found.append(bad(title, "Run: unset PGSERVICE"))
    for name, kind in _NAMES.items():
        kept = {os.path.realpath(client.path) for client in clients if client.kind == kind}
        if env.get(name) and kept and os.path.realpath(env[name]) not in kept:
            title = f"{name} names another file than the one that is kept up to date"
            advice = f'Run: unset {name}, or write into [clients.{kind}]: path = "{env[name]}"'
            found.append(bad(title, advice))
    yield from found or [good("No variable of the environment leads the clients elsewhere")]
