"""Logins on the throw-away Postgres that the whole test run shares.

async def test_x(cluster: Cluster) -> None:
    login = await new_login(cluster)  # a role and a database that no other test has
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from pgherald.model import Login
from pgherald.secret import Secret
from pgherald.simulator.postgres import Cluster

_numbers = itertools.count(1)


async def new_login(cluster: Cluster) -> Login:
    """Make a role and a database of its own, and return the login to it.

    Its password is another each time, and a canary.
    """
    number = next(_numbers)
    login = Login(
        host="localhost",
        port=cluster.port,
        dbname=f"database-{number}",
        user=f"role-{number}",
        password=Secret(f"CANARY-password-{number}"),
    )
    await cluster.create_role(login.user, login.password)
    await cluster.create_database(login.dbname, login.user)
    return login


@asynccontextmanager
async def all_logged(cluster: Cluster) -> AsyncIterator[None]:
    """Every connection and statement is in the cluster's log while the block lasts."""

    async def log_statements(which: str, *changes: str) -> None:
        for change in (*changes, "SELECT pg_reload_conf()"):
            await cluster.execute(change)
        async with asyncio.timeout(60):
            # Each time over a new connection, which knows what the server knows by then.
            while await cluster.execute("SHOW log_statement") != [(which,)]:
                pass

    await log_statements(
        "all", "ALTER SYSTEM SET log_statement = 'all'", "ALTER SYSTEM SET log_connections = on"
    )
    try:
        yield
    finally:
        await log_statements("none", "ALTER SYSTEM RESET ALL")
