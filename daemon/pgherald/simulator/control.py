"""The routes by which a test or a person makes things happen to a simulated Heroku.

They live below `/_simulator/`, take and give JSON, and open only to who knows the
token printed at the start. A web page in a browser cannot call them: whatever carries
an `Origin` is refused.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Awaitable, Callable
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from pgherald.secret import Secret
from pgherald.simulator import shapes
from pgherald.simulator.data_plane import Manner
from pgherald.simulator.faults import CONTROL, Fault, Front
from pgherald.simulator.http import Limits, read_body, refuse, to_json
from pgherald.simulator.logs import LogSessions
from pgherald.simulator.state import Account, Attachment, Refused, postgres_of
from pgherald.simulator.world import World

#: The header that carries the control token.
HEADER: Final = "X-Simulator-Token"

#: What a rotation may be told about its manner, and of what type it is.
MANNERS: Final = {field.name: type(field.default) for field in dataclasses.fields(Manner)}
FAULTS: Final = {"match": str, "location": str, "seconds": float, "count": int, "retry_after": int}


class Order:
    """The body of a control request, taken apart piece by piece.

    Raises:
        Refused: 422; a piece is missing, of the wrong type, or not understood.
    """

    def __init__(self, body: dict[str, Any]) -> None:
        self._body = dict(body)

    def take(self, name: str, kind: type, default: Any = ...) -> Any:
        """A piece of that type; an `int` does where a `float` is asked for."""
        value = self._body.pop(name, default)
        if value is ...:
            raise Refused.invalid(f"{name} is missing")
        if kind is float and type(value) is int:
            value = float(value)
        if value is not default and not isinstance(value, kind):
            raise Refused.invalid(f"{name} must be a {kind.__name__}")
        return value

    def take_any(self, kinds: dict[str, type]) -> dict[str, Any]:
        """Those of several pieces that are there."""
        return {name: self.take(name, kind) for name, kind in kinds.items() if name in self._body}

    def end(self) -> None:
        """Refuse what nobody took."""
        if self._body:
            raise Refused.invalid(f"Not understood: {', '.join(sorted(self._body))}")


Deed = Callable[[Order], Awaitable[Any]]


class Control:
    """What the control routes do."""

    def __init__(self, world: World, limits: Limits, front: Front, sessions: LogSessions) -> None:
        self._world = world
        self._limits = limits
        self._front = front
        self._sessions = sessions

    def routes(self, token: Secret) -> list[Route]:
        """The control routes, open to that token."""
        deeds: dict[str, Deed] = {
            "rotate": self.rotate,
            "manner": self.manner,
            "failover": self.failover,
            "rename-database": self.rename_database,
            "rename-app": self.rename_app,
            "promote": self.promote,
            "attach": self.attach,
            "detach": self.detach,
            "destroy-addon": self.destroy_addon,
            "set-config": self.set_config,
            "show": self.show,
            "fault": self.fault,
            "calm": self.calm,
            "revoke-token": self.revoke_token,
            "restore-token": self.restore_token,
            "limits": self.limits,
            "end-log-sessions": self.end_log_sessions,
            "forget-requests": self.forget_requests,
        }
        posts = [_route("POST", name, deed, token) for name, deed in deeds.items()]
        gets = {"world": self.world, "requests": self.requests}
        return [*posts, *(_route("GET", name, deed, token) for name, deed in gets.items())]

    # What Heroku does by itself.

    async def rotate(self, order: Order) -> Any:
        """Rotate a credential of an attachment's database, or with `all` every one."""
        attachment = self._attachment(order)
        name = order.take("credential", str, attachment.credential)
        everything, forced = order.take("all", bool, False), order.take("forced", bool, False)
        manner = self._manner(order)
        order.end()
        data = postgres_of(attachment.addon).data
        if everything:
            await self._world.data.rotate_all(data, forced=forced, manner=manner)
        else:
            await self._world.data.rotate(data, name, forced=forced, manner=manner)
        return self._attachment_shape(attachment)

    async def manner(self, order: Order) -> Any:
        """Say how rotations go from now on, the Heroku CLI's included."""
        manner = self._manner(order)
        order.end()
        self._world.data.manner = manner
        return dataclasses.asdict(manner)

    async def failover(self, order: Order) -> Any:
        """Move a database to another port and, with `host`, another host name."""
        attachment = self._attachment(order)
        host = order.take("host", str, None)
        dbname, login = order.take("dbname", bool, False), order.take("login", bool, False)
        manner = self._manner(order)
        order.end()
        await self._world.data.failover(
            attachment.addon, host=host, dbname=dbname, login=login, manner=manner
        )
        return self._attachment_shape(attachment)

    async def rename_database(self, order: Order) -> Any:
        """Give a database another name."""
        attachment = self._attachment(order)
        order.end()
        await self._world.data.rename_database(attachment.addon)
        return self._attachment_shape(attachment)

    # What a person does at Heroku.

    async def rename_app(self, order: Order) -> Any:
        """Rename an app."""
        app, name = self._world.app(order.take("app", str)), order.take("name", str)
        order.end()
        self._world.rename_app(app, name)
        return shapes.app(app)

    async def promote(self, order: Order) -> Any:
        """Make another add-on the app's DATABASE."""
        app = self._world.app(order.take("app", str))
        addon = self._world.addon(order.take("addon", str))
        order.end()
        return self._attachment_shape(self._world.promote(app, addon))

    async def attach(self, order: Order) -> Any:
        """Attach an add-on to an app."""
        app = self._world.app(order.take("app", str))
        addon = self._world.addon(order.take("addon", str))
        name, namespace = order.take("name", str, None), order.take("namespace", str, None)
        order.end()
        new = self._world.attach(addon, app, name, namespace=namespace, confirm=app.name)
        return self._attachment_shape(new)

    async def detach(self, order: Order) -> Any:
        """Detach an add-on from an app."""
        attachment = self._attachment(order)
        order.end()
        self._world.detach(attachment)
        return {}

    async def destroy_addon(self, order: Order) -> Any:
        """Destroy an add-on."""
        addon = self._world.addon(order.take("addon", str))
        order.end()
        await self._world.data.destroy(addon)
        return {}

    async def set_config(self, order: Order) -> Any:
        """Set, or with null remove, an app's own config vars."""
        app = self._world.app(order.take("app", str))
        changes = order.take("vars", dict)
        order.end()
        self._world.set_config(app, changes, by=app.owner.email)
        return {"release": len(app.releases)}

    # What goes wrong.

    async def show(self, order: Order) -> Any:
        """Put any text into an attachment's config var; null puts the login back."""
        attachment = self._attachment(order)
        value = order.take("value", str, None)
        order.end()
        attachment.fixed = {} if value is None else {f"{attachment.name}_URL": value}
        self._world.release(attachment.app, f"Update {attachment.name}", attachment.app.owner.email)
        return {"release": len(attachment.app.releases)}

    async def fault(self, order: Order) -> Any:
        """Let requests fail; see `faults.Fault`. `lasting` ends it after so many seconds."""
        body = order.take("body", object, None)
        fault = Fault(order.take("kind", str), body=body, **order.take_any(FAULTS))
        lasting = order.take("lasting", float, None)
        order.end()
        self._front.faults.add(fault, lasting=lasting)
        return {"faults": len(self._front.faults.active)}

    async def calm(self, order: Order) -> Any:
        """End every fault."""
        order.end()
        self._front.faults.clear()
        return {"faults": 0}

    async def revoke_token(self, order: Order) -> Any:
        """Let every token of an account be refused."""
        return self._set_revoked(order, revoked=True)

    async def restore_token(self, order: Order) -> Any:
        """Let every token of an account be good again."""
        return self._set_revoked(order, revoked=False)

    def _set_revoked(self, order: Order, *, revoked: bool) -> Any:
        account = self._account(order)
        order.end()
        tokens = [token for token in self._world.tokens if token.account is account]
        for token in tokens:
            token.revoked = revoked
        return {"tokens": len(tokens)}

    async def limits(self, order: Order) -> Any:
        """Set how many requests an account has left, the refill per minute, or the page."""
        remaining = order.take("remaining", float, None)
        accounts = [] if remaining is None else [self._account(order)]
        self._limits.refill = order.take("refill", float, self._limits.refill)
        self._limits.page = order.take("page", int, self._limits.page)
        order.end()
        for account in accounts:
            self._limits.set(account, remaining, self._world.clock.monotonic())
        return {"refill": self._limits.refill, "page": self._limits.page}

    async def end_log_sessions(self, order: Order) -> Any:
        """End every log session."""
        order.end()
        self._sessions.end_all()
        return {}

    # What can be looked at. No secret is in it.

    async def requests(self, order: Order) -> Any:
        """How often each path was asked for, and each account asked."""
        order.end()
        return self._front.counts()

    async def forget_requests(self, order: Order) -> Any:
        """Start counting anew."""
        order.end()
        self._front.visits.clear()
        return {}

    async def world(self, order: Order) -> Any:
        """The apps, their releases and where their databases are."""
        order.end()
        apps = [
            {
                "name": app.name,
                "released_at": shapes.stamp(app.released_at),
                "release": len(app.releases),
                "attachments": [
                    self._attachment_shape(a) for a in self._world.attachments if a.app is app
                ],
            }
            for app in self._world.apps
        ]
        accounts = [account.email for account in self._world.accounts]
        manner = dataclasses.asdict(self._world.data.manner)
        faults = [f"{fault.kind} {fault.match}" for fault in self._front.faults.active]
        return {"apps": apps, "accounts": accounts, "manner": manner, "faults": faults}

    # Helpers.

    def _attachment(self, order: Order) -> Attachment:
        app = self._world.app(order.take("app", str))
        return self._world.attachment(app, order.take("attachment", str, "DATABASE"))

    def _account(self, order: Order) -> Account:
        email = order.take("account", str)
        for account in self._world.accounts:
            if account.email == email:
                return account
        raise Refused.not_found("account")

    def _manner(self, order: Order) -> Manner:
        return dataclasses.replace(self._world.data.manner, **order.take_any(MANNERS))

    @staticmethod
    def _attachment_shape(attachment: Attachment) -> dict[str, Any]:
        """Where an attachment leads: everything but the password."""
        shape = {"name": attachment.name, "addon": attachment.addon.name}
        login = attachment.shown
        if login is None:
            return shape
        at = {"host": login.host, "port": login.port, "dbname": login.dbname, "user": login.user}
        return shape | at | {"namespace": attachment.namespace}


def _route(method: str, name: str, deed: Deed, token: Secret) -> Route:
    async def endpoint(request: Request) -> Response:
        try:
            if "origin" in request.headers:
                raise Refused(
                    403, "forbidden", "Not for web pages."
                )  # all refusals are answered in one place
            if Secret(request.headers.get(HEADER, "")) != token:
                raise Refused(401, "unauthorized", f"{HEADER} is missing or wrong.")
            return to_json(await deed(Order(await read_body(request))))
        except Refused as refused:
            return refuse(refused)

    return Route(f"{CONTROL}{name}", endpoint, methods=[method])
