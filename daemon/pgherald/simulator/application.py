"""Every route of a simulated Heroku as one application, without a server around it."""

from __future__ import annotations

from dataclasses import dataclass

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.requests import Request
from starlette.responses import Response

from pgherald.secret import Secret
from pgherald.simulator import data_api, platform_api
from pgherald.simulator.control import Control
from pgherald.simulator.faults import Faults, Front
from pgherald.simulator.http import NO_ENDPOINT, Limits, refuse
from pgherald.simulator.logs import LogSessions
from pgherald.simulator.state import Refused
from pgherald.simulator.world import World


@dataclass(frozen=True, slots=True)
class Application:
    """What `front` serves, and what a test may reach into.

    Attributes:
        front: the ASGI application; remembers the requests.
        faults: what goes wrong.
        limits: pools of requests and length of lists.
        sessions: the log sessions.
    """

    front: Front
    faults: Faults
    limits: Limits
    sessions: LogSessions


def build(world: World, control_token: Secret) -> Application:
    """Put a world behind HTTP."""
    limits, faults, sessions = Limits(), Faults(world), LogSessions(world)
    routes = [
        *platform_api.routes(world, limits),
        *sessions.routes(limits),
        *data_api.routes(world),
    ]
    inner = Starlette(
        routes=routes,
        exception_handlers={404: _no_route, 405: _no_route, 500: _broken},
        middleware=[Middleware(GZipMiddleware)],
    )
    inner.router.redirect_slashes = False
    front = Front(inner, world, faults)
    inner.routes.extend(Control(world, limits, front, sessions).routes(control_token))
    return Application(front, faults, limits, sessions)


async def _no_route(request: Request, _exc: Exception) -> Response:
    """The answer to a path or method that is not simulated."""
    if request.url.path.startswith(data_api.PREFIXES):
        return data_api.odd_not_found()
    return refuse(Refused(404, "not_found", NO_ENDPOINT))


async def _broken(_request: Request, exc: Exception) -> Response:
    """The answer when Postgres would not; its words stay out, they may hold a login."""
    return refuse(Refused(500, "internal_server_error", f"{type(exc).__name__} in the simulator."))
