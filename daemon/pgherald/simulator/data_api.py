"""The Data API of a simulated Heroku, for classic plans: credentials and `pg:info`.

Heroku: private and without contract; the shapes are those that its CLI reads. An
unknown path or database is answered with HTML that calls itself JSON, as recorded.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from pgherald.simulator import shapes
from pgherald.simulator.backend import quote
from pgherald.simulator.http import Call, check_scope, identify, read_body, refuse, to_json
from pgherald.simulator.state import (
    DEFAULT,
    Addon,
    Credential,
    Postgres,
    Refused,
    RoleState,
    url_of,
)
from pgherald.simulator.world import World

V0 = "/postgres/v0/databases/{addon}"
V11 = "/client/v11/databases/{addon}"

#: Where the Data API answers, so that the one port can tell it from the Platform API.
PREFIXES = ("/postgres/", "/client/", "/data/")

Handler = Callable[[Call, Addon, Postgres], Awaitable[Any]]


def routes(world: World) -> list[Route]:
    """Every route of the Data API."""
    entries: list[tuple[str, str, Handler]] = [
        ("GET", f"{V0}/credentials", list_credentials),
        ("POST", f"{V0}/credentials", create_credential),
        ("GET", f"{V0}/credentials/{{credential}}", get_credential),
        ("DELETE", f"{V0}/credentials/{{credential}}", destroy_credential),
        ("POST", f"{V0}/credentials/{{credential}}/credentials_rotation", rotate),
        ("POST", f"{V0}/credentials_rotation", rotate_all),
        ("POST", f"{V0}/repair-default", repair_default),
        ("GET", V11, get_info),
        ("GET", f"{V11}/wait_status", get_wait_status),
    ]
    return [_route(world, method, path, handler) for method, path, handler in entries]


def odd_not_found() -> Response:
    """The recorded 404: HTML with a JSON label."""
    return Response("<h1>Not Found</h1>", 404, media_type="application/json")


def _route(world: World, method: str, path: str, handler: Handler) -> Route:
    async def endpoint(request: Request) -> Response:
        try:
            token = identify(world, request)
            check_scope(token, "read-protected" if method == "GET" else "write-protected")
            call = Call(world, request, token, await read_body(request))
            try:
                addon = call.addon()
            except Refused:
                return odd_not_found()
            if addon.postgres is None:
                return odd_not_found()
            return to_json(await handler(call, addon, addon.postgres))
        except Refused as refused:
            return refuse(refused)

    return Route(path, endpoint, methods=[method])


# Credentials.


async def _shape(call: Call, postgres: Postgres, credential: Credential) -> Any:
    roles = [
        {
            "connections": await _connections(call, role.user) if credential.rotating else None,
            "password": role.password.reveal(),
            "state": role.state,
            "user": role.user,
        }
        for role in credential.roles
    ]
    busy = any(role.state is not RoleState.ACTIVE for role in credential.roles)
    return {
        "credentials": roles,
        "database": postgres.data.dbname,
        "host": postgres.host,
        "name": credential.name,
        "port": postgres.door.port,
        "state": "rotating" if busy else "active",
        "uuid": credential.uuid,
    }


async def _connections(call: Call, role: str) -> int:
    rows = await call.world.data.query(
        f"SELECT count(*) FROM pg_stat_activity WHERE usename = '{role}'"  # role names are made here or matched against CREDENTIAL_NAME
    )
    return int(rows[0][0])


async def list_credentials(call: Call, _addon: Addon, postgres: Postgres) -> Any:
    """`heroku pg:credentials`."""
    credentials = list(postgres.data.credentials.values())
    return [await _shape(call, postgres, credential) for credential in credentials]


async def get_credential(call: Call, _addon: Addon, postgres: Postgres) -> Any:
    """`heroku pg:credentials:url`."""
    credential = call.world.data.credential(postgres.data, call.part("credential"))
    return await _shape(call, postgres, credential)


async def create_credential(call: Call, addon: Addon, postgres: Postgres) -> Any:
    """`heroku pg:credentials:create`."""
    name = call.text("name")
    await call.world.data.create_credential(postgres.data, name)
    return {"message": f"Created credential {name} on {addon.name}"}


async def destroy_credential(call: Call, addon: Addon, postgres: Postgres) -> Any:
    """`heroku pg:credentials:destroy`."""
    name = call.part("credential")
    await call.world.data.destroy_credential(postgres.data, name)
    return {"message": f"Destroyed credential {name} on {addon.name}"}


async def rotate(call: Call, addon: Addon, postgres: Postgres) -> Any:
    """`heroku pg:credentials:rotate`."""
    forced = call.body.get("forced") is True
    await call.world.data.rotate(postgres.data, call.part("credential"), forced=forced)
    return {"message": f"Rotating credentials on {addon.name}"}


async def rotate_all(call: Call, addon: Addon, postgres: Postgres) -> Any:
    """`heroku pg:credentials:rotate --all`."""
    await call.world.data.rotate_all(postgres.data, forced=call.body.get("forced") is True)
    return {"message": f"Rotating all credentials on {addon.name}"}


async def repair_default(call: Call, addon: Addon, postgres: Postgres) -> Any:
    """`heroku pg:credentials:repair-default`: the default role owns the database again."""
    owner = postgres.data.credentials[DEFAULT].active.user
    name = quote(postgres.data.dbname)
    await call.world.data.query(f"ALTER DATABASE {name} OWNER TO {quote(owner)}")
    return {"message": f"Repairing permissions of default on {addon.name}"}


# Information.


async def get_info(call: Call, addon: Addon, postgres: Postgres) -> Any:
    """`heroku pg:info`. Heroku: the answer holds the login, password included."""
    dbname = postgres.data.dbname
    sql = "SELECT current_setting('server_version'), pg_database_size(current_database())"
    version, size = (await call.world.data.query(sql, dbname=dbname))[0]
    role = postgres.data.credentials[DEFAULT].active
    connections = await _connections(call, role.user)
    login = call.world.login(addon)
    facts = [
        ("Plan", addon.plan.replace("-", " ").title()),
        ("Status", "Available"),
        ("Data Size", f"{size / 1_000_000:.1f} MB"),
        ("PG Version", str(version)),
        ("Connections", f"{connections}/120"),
        ("Connection Pooling", "Available" if postgres.pool_door else "Unavailable"),
        ("Credentials", str(len(postgres.data.credentials))),
        ("Created", shapes.stamp(addon.created_at)),
    ]
    info: list[Any] = [{"name": name, "values": [value]} for name, value in facts]
    leader = None
    if postgres.leader is not None:
        leader = url_of(call.world.login(postgres.leader))
        info.append({"name": "Following", "values": [leader], "resolve_db_name": True})
    return {
        "addon_id": addon.id,
        "created_at": shapes.stamp(addon.created_at),
        "database_name": dbname,
        "database_password": role.password.reveal(),
        "database_user": role.user,
        "following": leader,
        "info": info,
        "leader": None if postgres.leader is None else postgres.leader.name,
        "name": addon.name,
        "num_bytes": size,
        "plan": addon.plan,
        "port": postgres.door.port,
        "resource_url": url_of(login),
        "waiting?": False,
    }


async def get_wait_status(_call: Call, _addon: Addon, _postgres: Postgres) -> Any:
    """`heroku pg:wait`: a simulated database is there at once."""
    return {"message": "available", "waiting?": False}
