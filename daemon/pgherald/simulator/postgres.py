"""A throw-away Postgres with TLS, for the demo and the tests.

with Cluster.start(folder) as cluster:
    await cluster.create_role("shop", Secret("…"))
    await cluster.create_database("shop", owner="shop")

It listens on 127.0.0.1 alone, knows no other way in than a password over TLS, as at Heroku,
and leaves nothing behind. It is ready in about a second, because it never waits for the disk.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any, Final

from pgherald import libpq
from pgherald.model import Login
from pgherald.secret import Secret
from pgherald.simulator.backend import quote
from pgherald.simulator.binaries import Binaries, find_binaries
from pgherald.simulator.postgres_server import HOST, SUPERUSER, Server

if TYPE_CHECKING:
    from psycopg import AsyncConnection

__all__ = ["Binaries", "Cluster", "find_binaries"]

#: Seconds that connecting may take.
_LIMIT: Final = 10.0

#: Ends connections, and waits until they are gone; which ones is to follow.
_END_ALL: Final = (
    "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE pid <> pg_backend_pid()"
)


class Cluster(Server):
    """A running throw-away Postgres, and what its superuser does; `start` makes one."""

    async def execute(
        self, sql: str, *values: str, dbname: str = "postgres"
    ) -> list[tuple[Any, ...]]:
        """Run one statement as superuser, outside any transaction block; return its rows.

        Raises:
            psycopg.Error: Postgres would not.
        """
        async with self._connection(dbname) as connection:
            cursor = await connection.execute(sql.encode(), values or None)
            return await cursor.fetchall() if cursor.description else []

    async def create_role(self, name: str, password: Secret, *, login: bool = True) -> None:
        """Make a role with that password."""
        verb = "LOGIN" if login else "NOLOGIN"
        await self._give_password(f"CREATE ROLE {quote(name)} {verb}", name, password)

    async def set_password(self, name: str, password: Secret) -> None:
        """Give a role another password."""
        await self._give_password(f"ALTER ROLE {quote(name)}", name, password)

    async def lock_role(self, name: str) -> None:
        """Refuse new connections of a role."""
        await self.execute(f"ALTER ROLE {quote(name)} NOLOGIN")

    async def create_database(self, name: str, owner: str) -> None:
        """Make an empty database."""
        await self.execute(f"CREATE DATABASE {quote(name)} OWNER {quote(owner)}")

    async def rename_database(self, old: str, new: str) -> None:
        """Rename a database, ending the connections to it."""
        await self.execute(f"ALTER DATABASE {quote(old)} ALLOW_CONNECTIONS false")
        await self.execute(f"{_END_ALL} AND datname = %s", old)
        await self.execute(f"ALTER DATABASE {quote(old)} RENAME TO {quote(new)}")
        await self.execute(f"ALTER DATABASE {quote(new)} ALLOW_CONNECTIONS true")

    async def end_connections(self, role: str) -> None:
        """End every connection that a role has open; they are gone when this returns."""
        await self.execute(f"{_END_ALL} AND usename = %s", role)

    async def _give_password(self, statement: str, name: str, password: Secret) -> None:
        async with self._connection() as connection:
            # Computed on this side, so that the password is in no statement and no log.
            verifier = connection.pgconn.encrypt_password(
                password.reveal().encode(), name.encode(), b"scram-sha-256"
            ).decode()
        await self.execute(f"{statement} PASSWORD '{verifier}'")

    @contextlib.asynccontextmanager
    async def _connection(
        self, dbname: str = "postgres"
    ) -> AsyncIterator[AsyncConnection[tuple[Any, ...]]]:
        """A connection of its own for each task, so that nobody waits for anybody."""
        import psycopg  # slow to import

        login = Login(HOST, self.port, dbname, SUPERUSER, self.password, "verify-full")
        options = {"sslrootcert": str(self.ca_file)}
        libpq.ignore_environment()
        connection = await psycopg.AsyncConnection.connect(
            libpq.conninfo(login, address=HOST, timeout=_LIMIT, options=options),
            autocommit=True,
        )
        try:
            yield connection
        finally:
            await connection.close()
