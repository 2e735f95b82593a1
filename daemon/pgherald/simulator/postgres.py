"""A throw-away Postgres with TLS, for the demo and the tests.

with Cluster.start(folder) as cluster:
    await cluster.create_role("shop", Secret("…"))
    await cluster.create_database("shop", owner="shop")

It listens on 127.0.0.1 alone, knows no other way in than a password over TLS, as at Heroku,
and leaves nothing behind. It is ready in about a second, because it never waits for the disk.
"""

from __future__ import annotations

import atexit
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Self

from pgherald import libpq
from pgherald.model import Login
from pgherald.secret import Secret
from pgherald.simulator.binaries import Binaries, find_binaries
from pgherald.simulator.postgres_server import HOST, SUPERUSER, Server

if TYPE_CHECKING:
    from psycopg import AsyncConnection
    from psycopg.sql import Composable

__all__ = ["Binaries", "Cluster", "find_binaries"]

#: Seconds that connecting may take.
_LIMIT: Final = 10.0


class Cluster:
    """A running throw-away Postgres; `start` makes one.

    Attributes:
        host: 127.0.0.1. The certificate is good for `localhost` too.
        port: its TCP port.
        superuser: the role that may do everything.
        ca_file: the certificate to verify it against, PEM; gone once it is stopped.
        log_file: what it has to say; gone once it is stopped.
    """

    def __init__(self, server: Server) -> None:
        self.host: Final = HOST
        self.port: Final = server.port
        self.superuser: Final = SUPERUSER
        self.ca_file: Final = server.ca_file
        self.log_file: Final = server.log_file
        self._server = server

    @classmethod
    def start(
        cls, folder: Path, *, port: int = 0, binaries: Binaries | None = None, client_ca: str = ""
    ) -> Self:
        """Make a cluster and start it. Blocks for about a second.

        Args:
            folder: where to put its own folder. Root has to start it as another account; if
                that cannot enter `folder`, the system's folder for temporary files is used.
            port: where to listen; 0 for a free one.
            binaries: whose; found on this machine by default.
            client_ca: certificates, PEM, of which everybody but the superuser has to show one
                in the name of its role; empty to ask for none.

        Raises:
            MissingTool: there is no Postgres, or the extra `demo` is not installed.
            FileTrouble: the folder cannot be written.
            PgheraldError: it does not start; the advice quotes its reason.
        """
        cluster = cls(Server.start(folder, port, binaries or find_binaries(), client_ca))
        atexit.register(cluster.stop)
        return cluster

    def stop(self) -> None:
        """End it and remove its folder. Stopping twice is fine."""
        atexit.unregister(self.stop)
        self._server.stop()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()

    async def execute(self, sql: str, *, dbname: str = "postgres") -> list[tuple[Any, ...]]:
        """Run one statement as superuser, outside any transaction block; return its rows.

        Raises:
            psycopg.Error: Postgres would not.
        """
        async with self._connection(dbname) as connection:
            cursor = await connection.execute(sql.encode())
            return await cursor.fetchall() if cursor.description else []

    async def create_role(self, name: str, password: Secret, *, login: bool = True) -> None:
        """Make a role with that password."""
        statement = "CREATE ROLE {name} %s PASSWORD {verifier}" % ("LOGIN" if login else "NOLOGIN")
        await self._give_password(statement, name, password)

    async def set_password(self, name: str, password: Secret) -> None:
        """Give a role another password."""
        await self._give_password("ALTER ROLE {name} PASSWORD {verifier}", name, password)

    async def rename_role(self, old: str, new: str) -> None:
        """Rename a role. It keeps its password; its connections stay open."""
        await self._order("ALTER ROLE {old} RENAME TO {new}", old=old, new=new)

    async def lock_role(self, name: str) -> None:
        """Refuse new connections of a role."""
        await self._order("ALTER ROLE {name} NOLOGIN", name=name)

    async def drop_role(self, name: str, *, reassign_to: str | None = None) -> None:
        """Take a role away.

        Args:
            name: which one; it must own nothing, unless the next is given.
            reassign_to: who gets what it owns, in every database.
        """
        if reassign_to is not None:
            rows = await self.execute("SELECT datname FROM pg_database WHERE datallowconn")
            for (dbname,) in rows:
                reassign = "REASSIGN OWNED BY {name} TO {heir}"
                await self._order(reassign, dbname=dbname, name=name, heir=reassign_to)
                await self._order("DROP OWNED BY {name}", dbname=dbname, name=name)
        await self._order("DROP ROLE {name}", name=name)

    async def create_database(self, name: str, owner: str) -> None:
        """Make an empty database."""
        await self._order("CREATE DATABASE {name} OWNER {owner}", name=name, owner=owner)

    async def rename_database(self, old: str, new: str) -> None:
        """Rename a database, ending the connections to it."""
        await self._order("ALTER DATABASE {old} ALLOW_CONNECTIONS false", old=old)
        await self._end_all("datname", old)
        await self._order("ALTER DATABASE {old} RENAME TO {new}", old=old, new=new)
        await self._order("ALTER DATABASE {new} ALLOW_CONNECTIONS true", new=new)

    async def end_connections(self, role: str) -> None:
        """End every connection that a role has open; they are gone when this returns."""
        await self._end_all("usename", role)

    async def _end_all(self, column: str, value: str) -> None:
        from psycopg import sql  # slow to import

        query = (
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity"
            " WHERE {column} = {value} AND pid <> pg_backend_pid()"
        )
        await self._run(query, column=sql.Identifier(column), value=sql.Literal(value))

    async def _order(self, statement: str, *, dbname: str = "postgres", **names: str) -> None:
        from psycopg import sql  # slow to import

        parts = {key: sql.Identifier(name) for key, name in names.items()}
        await self._run(statement, dbname=dbname, **parts)

    async def _give_password(self, statement: str, name: str, password: Secret) -> None:
        from psycopg import sql  # slow to import

        async with self._connection() as connection:
            # Computed on this side, so that the password is in no statement and no log.
            verifier = connection.pgconn.encrypt_password(
                password.reveal().encode(), name.encode(), b"scram-sha-256"
            ).decode()
        await self._run(statement, name=sql.Identifier(name), verifier=sql.Literal(verifier))

    async def _run(self, statement: str, *, dbname: str = "postgres", **parts: Composable) -> None:
        from psycopg import sql  # slow to import

        template = sql.SQL(statement)
        async with self._connection(dbname) as connection:
            await connection.execute(template.format(**parts))

    @contextlib.asynccontextmanager
    async def _connection(
        self, dbname: str = "postgres"
    ) -> AsyncIterator[AsyncConnection[tuple[Any, ...]]]:
        """A connection of its own for each task, so that nobody waits for anybody."""
        import psycopg  # slow to import

        password = self._server.password
        login = Login(HOST, self.port, dbname, SUPERUSER, password, "verify-full")
        libpq.ignore_environment()
        connection = await psycopg.AsyncConnection.connect(
            libpq.conninfo(
                login,
                address=HOST,
                timeout=_LIMIT,
                options={"sslrootcert": str(self.ca_file)},
            ),
            autocommit=True,
        )
        try:
            yield connection
        finally:
            await connection.close()
