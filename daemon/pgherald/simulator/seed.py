"""A believable world to begin with."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Final

from pgherald.clock import Clock
from pgherald.secret import Secret
from pgherald.simulator.backend import Backend, OpenDoor, Relay
from pgherald.simulator.state import POOLED, App, postgres_of
from pgherald.simulator.world import World

APPS: Final = ("shop-production", "shop-staging", "blog")

#: The account whose token a started simulator tells.
DEVELOPER: Final = "dev@example.com"

#: The named credential of the first app.
READER: Final = "analytics"


async def seed_world(
    backend: Backend,
    *,
    apps: Sequence[str] = APPS,
    clock: Clock | None = None,
    source: random.Random | None = None,
    mark: str = "",
    token: Secret | None = None,
    open_door: OpenDoor = Relay,
) -> World:
    """Make a world of one developer and some apps, each with a database of its own.

    The first app has everything: DATABASE, the same database under a color, a follower,
    a named credential, a connection pool, other add-ons; the last app shows the first
    one's database as SHOP. Every app has secrets of its own, marked with CANARY: they
    are nobody's business but the app's.

    Args:
        backend: the Postgres behind every database.
        apps: their names; at least one.
        clock: as for `World`.
        source: as for `World`.
        mark: as for `World`.
        token: the developer's token; a random one by default.
        open_door: as for `World`.
    """
    world = World(backend, clock=clock, source=source, mark=mark, open_door=open_door)
    developer = world.add_account(DEVELOPER)
    world.add_token(developer, token)
    made = [world.add_app(name, developer, config=_secrets(name)) for name in apps]
    await _furnish(world, made[0])
    for app in made[1:]:
        await world.data.add_postgres(app, "essential-0")
    if len(made) > 1:
        shop = world.attachment(made[0], "DATABASE")
        world.attach(shop.addon, made[-1], "SHOP")
    return world


async def _furnish(world: World, app: App) -> None:
    """Everything that an app can have."""
    leader = await world.data.add_postgres(app, "standard-0", pool=True)
    world.attach(leader, app)
    world.attach(leader, app, "DATABASE_CONNECTION_POOL", namespace=POOLED)
    await world.data.create_credential(postgres_of(leader).data, READER)
    world.attach(leader, app, READER.upper(), namespace=f"credential:{READER}")
    await world.data.add_postgres(app, "standard-0", leader=leader)
    redis = "rediss://:CANARY-redis@127.0.0.1:6379"
    world.add_addon(app, "heroku-redis", "mini", {"REDIS_URL": redis})
    world.add_addon(app, "papertrail", "choklad", {"PAPERTRAIL_API_TOKEN": "CANARY-papertrail"})


def _secrets(name: str) -> dict[str, str]:
    return {
        "RACK_ENV": "production",
        "SECRET_KEY_BASE": f"CANARY-secret-key-base-{name}",
        "STRIPE_SECRET_KEY": f"CANARY-stripe-{name}",
        "AWS_SECRET_ACCESS_KEY": f"CANARY-aws-{name}",
    }
