"""Service names that are the person's own: nothing that was only found takes one of them.

Whoever can invite an account to an app chooses that app's name, and by default it is the name of
the service. If the person has such a service already, what reads it would be led to the stranger's
database from then on.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from pgherald.clients.service_file import ServiceFile
from pgherald.errors import ClientError, ConfigError, FileTrouble, PgheraldError
from pgherald.files import Files
from pgherald.model import Database, DatabaseKey
from pgherald.sync.targets import FileTarget, Target

#: Where Debian's libpq looks for services that the person's file has not.
_DEBIAN: Final = "/etc/postgresql-common"


#: Seconds that reading the clients' files may take.
_LIMIT: Final = 10.0


@dataclass(frozen=True, slots=True)
class Names:
    """Who has which service name, as of one look at the clients.

    Attributes:
        owners: the file that has a name, where the name is not ours.
        held: names that a database of ours has; None where a client knows it by no name.
        unread: why not all names are known.
    """

    owners: Mapping[str, Path] = field(default_factory=dict)
    held: Mapping[DatabaseKey, set[str | None]] = field(default_factory=dict)
    unread: ClientError | None = None

    def refusal(self, database: Database) -> PgheraldError | None:
        """Why a database that was found may not have its service name; None when it may.

        One that we keep already goes on under another name, whatever the person writes later.
        """
        held = self.held.get(database.key, set())
        if database.service in held or (self.unread is not None and held):
            return None
        key = database.key
        named = (
            f"To keep it under another name, add to the configuration: [[databases]] with "
            f'app = "{key.app}", attachment = "{key.attachment}" and a `service` of its own.'
        )
        left_out = f"{key} is left out: the service {database.service!r} is"
        for other, names in self.held.items():
            # Names of apps are Heroku's: in another account it is the same one.
            same = (other.app, other.attachment) == (key.app, key.attachment)
            if database.service in names and not same:
                prune = f" If {other} is gone for good: pgherald check --prune"
                return ConfigError(f"{left_out} that of {other}", advice=named + prune)
        if not held and (owner := self.owners.get(database.service)) is not None:
            return ConfigError(f"{left_out} your own, in {owner}", advice=named)
        return self.unread


async def learn(files: Files, clients: Sequence[Target], env: Mapping[str, str]) -> Names:
    """Read which names there are.

    Args:
        files: reads files.
        clients: whose names count.
        env: the environment's variables; PGSYSCONFDIR says where the machine's services are.

    Raises:
        FileTrouble: a client's file does not answer.
    """
    try:
        async with asyncio.timeout(_LIMIT):
            return await asyncio.to_thread(names_of, files, clients, env)
    except TimeoutError:
        raise FileTrouble(
            "A client's file does not answer, so nobody knows which services there are",
            "Is it on a network folder that is gone?",
        ) from None


def names_of(files: Files, clients: Sequence[Target], env: Mapping[str, str]) -> Names:
    """As `learn`, for as long as it takes."""
    machine = Path(env.get("PGSYSCONFDIR") or _DEBIAN, "pg_service.conf")
    owners: dict[str, Path] = {}
    held: dict[DatabaseKey, set[str | None]] = {}
    unread: ClientError | None = None
    for client in (*clients, FileTarget(ServiceFile(), machine, "")):
        try:
            content = client.read(files).content
            for name in client.editor.services(content):
                owners.setdefault(name, client.path)
            for key, what in client.editor.read(content).items():
                held.setdefault(key, set()).add(what.service)
        except ClientError as exc:
            if client.editor.kind == "service_file":
                unread = exc.at(client.path)
    ours = {name for names in held.values() for name in names}
    return Names({name: path for name, path in owners.items() if name not in ours}, held, unread)
