"""pgAdmin: which one, its servers, and what leads a running one astray."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from typing import Final

from pgherald.clients.pgadmin import PgAdmin
from pgherald.clients.pgadmin_picture import Picture, opened
from pgherald.clients.pgadmin_row import shown
from pgherald.clients.pgadmin_whose import passed_over, seen
from pgherald.daemon.surroundings import look
from pgherald.doctor.checks import Finding, bad, good, note, trouble
from pgherald.errors import ClientError
from pgherald.sync.plan import Client

_CHECK: Final = "Run: pgherald check"


def servers(client: Client, program: int | None) -> Iterator[Finding]:
    """One configuration database, and pgherald's servers in it.

    Args:
        client: which one.
        program: version of the installed pgAdmin, as its APP_VERSION_INT, if known.
    """
    assert client.rows is not None  # its logins are in a database
    assert isinstance(client.editor, PgAdmin)
    try:
        snapshot = client.rows.read(client.path)
        if snapshot.content is None:
            yield note(
                f"{client.label} has not been started yet: there is no {client.path}",
                f"Start it once. {_CHECK}",
            )
            return
        picture = opened(snapshot.content, client.editor.user)
    except ClientError as exc:
        error = exc if exc.path else exc.at(client.path)
        yield trouble(error, f"{client.label}: ")
        return
    release = f" {version(program)}" if program is not None else ""
    if client.editor.rows == "service" and (broken := picture.broken_for_services):
        yield bad(
            f"In pgAdmin {broken} a server cannot name a service",
            "Update pgAdmin to the newest release, and start it once.",
        )
    if not os.access(snapshot.target, os.W_OK) or not os.access(snapshot.target.parent, os.W_OK):
        yield bad(
            f"{client.label}: its database may not be written: {snapshot.target}",
            f"Run: ls -ld '{snapshot.target}' '{snapshot.target.parent}'",
        )
    yield from _rows(client.editor, picture, f"{client.label}{release}")


def _rows(editor: PgAdmin, picture: Picture, label: str) -> Iterator[Finding]:
    there, gone = 0, []
    for key, known in seen(editor.form, picture).items():
        rows = [row for row in known if not row.gone]
        there += len(rows)
        if known and not rows:
            gone.append(key)
    if there:
        yield good(f"{label} has {there} server{'s' * (there != 1)} of pgherald's")
    elif not gone:
        yield bad(f"{label} has no server of pgherald's yet", _CHECK)
    for number, way in passed_over(editor.form, picture):
        name = shown(picture.servers[number]["name"])
        why = "is not pgherald's" if way is None else way
        yield note(
            f"Server {name} names the service {picture.servers[number]['service']!r} and {why}: "
            "it is left as it is",
            "It is yours. To be rid of this note give it another service, or delete it.",
        )
    for key in gone:
        yield note(
            f"{label}: the server of {key} was deleted, and stays so",
            "To have it back: pgherald check --recreate",
        )


def surroundings(clients: Sequence[Client]) -> Iterator[Finding]:
    """What a running pgAdmin was started with."""
    found = look(clients)
    for each in found:
        yield bad(each.title, each.advice)
    if not found:
        yield good("Nothing leads a running pgAdmin astray")


def version(number: int) -> str:
    """`9.18` for 91800."""
    return f"{number // 10000}.{number // 100 % 100}"
