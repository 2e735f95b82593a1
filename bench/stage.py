"""A simulated Heroku with a real Postgres, in a process of its own.

    async with Stage.standing(folder, apps=200, each=5) as stage:
        stage.env                 # for pgherald, and for the Heroku CLI
        await stage.rotate()      # every database at once

So neither takes part in what is measured. All databases are one Postgres database, each with
a role of its own: a thousand databases of their own would be seven gigabytes.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from pgherald.secret import Secret
from pgherald.simulator.backend import Backend
from pgherald.simulator.postgres import Cluster
from pgherald.simulator.server import Simulator
from pgherald.simulator.state import Credential, Role, postgres_of
from pgherald.simulator.world import World


@dataclass(frozen=True, slots=True)
class Straight:
    """A door that is Postgres' own: nothing stands in between that would take time."""

    port: int

    def close(self) -> None:
        """It is not ours to close."""


@dataclass
class Stage:
    """The other process."""

    home: Path
    env: dict[str, str]
    apps: list[str]
    attachments: list[str]
    process: asyncio.subprocess.Process

    @classmethod
    @contextlib.asynccontextmanager
    async def standing(cls, folder: Path, *, apps: int, each: int) -> AsyncIterator[Self]:
        """Let it stand until the block ends."""
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "bench.stage", str(folder), str(apps), str(each)),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            limit=2**20,
        )
        assert process.stdout is not None
        assert process.stdin is not None
        try:
            told = json.loads(await process.stdout.readline())
            home = folder / "home"
            home.mkdir()
            yield cls(home, told["env"], told["apps"], told["attachments"], process)
        finally:
            process.stdin.close()
            await process.wait()

    async def rotate(self) -> None:
        """Rotate every database; returns once Heroku shows the new logins and Postgres takes them."""
        assert self.process.stdout is not None
        assert self.process.stdin is not None
        self.process.stdin.write(b"rotate\n")
        await self.process.stdout.readline()


async def _build(cluster: Backend, apps: int, each: int) -> World:
    world = World(cluster, mark="CANARY", open_door=lambda backend: Straight(backend.port))
    owner = world.add_account("dev@example.com")
    world.add_token(owner)
    first = world.add_app("app-000", owner)
    addon = await world.data.add_postgres(first, "standard-0")
    data = postgres_of(addon).data
    for number in range(1, apps):
        world.add_app(f"app-{number:03}", owner)
    for app in world.apps:
        for number in range(each):
            name = f"{app.name}-{number}".replace("-", "_")
            role = Role(name, world.mint.password())
            data.credentials[name] = Credential(world.mint.uuid(), name, [role])
            world.attach(addon, app, f"DB{number}", namespace=f"credential:{name}")
    roles = [credential.active for credential in data.credentials.values()][1:]
    await _execute(cluster, "CREATE ROLE {} LOGIN PASSWORD '{}'", roles)
    return world


async def _execute(cluster: Backend, statement: str, roles: list[Role]) -> None:
    """One statement for each role, all in one go."""
    texts = [statement.format(role.user, role.password.reveal()) for role in roles]
    await cluster.execute("; ".join(texts))


async def _rotate(world: World) -> None:
    """Give every role another password, and show it with one release for each app."""
    (addon,) = world.addons
    data = postgres_of(addon).data
    for credential in list(data.credentials.values())[1:]:
        credential.roles[0] = Role(credential.name, world.mint.password())
    roles = [credential.active for credential in data.credentials.values()][1:]
    await _execute(world.data._backend, "ALTER ROLE {} PASSWORD '{}'", roles)
    for attachment in world.attachments:
        attachment.shown = world.login(addon, attachment.namespace)
    for app in world.apps:
        world.release(app, "Update DB0 by heroku-postgresql", "heroku-postgresql@addons.heroku.com")


async def _serve(folder: Path, apps: int, each: int) -> None:
    loop = asyncio.get_running_loop()
    with Cluster.start(folder) as cluster:
        world = await _build(cluster, apps, each)
        async with Simulator.running(world) as simulator:
            token: Secret = world.tokens[0].value
            env = simulator.environment(token, folder / "home")
            _say(
                {
                    "env": env | {"PATH": os.environ["PATH"]},
                    "apps": [app.name for app in world.apps],
                    "attachments": [f"DB{number}" for number in range(each)],
                }
            )
            while await loop.run_in_executor(None, sys.stdin.readline):
                await _rotate(world)
                _say("rotated")


def _say(what: object) -> None:
    print(json.dumps(what), flush=True)


if __name__ == "__main__":
    asyncio.run(_serve(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])))
