"""What Heroku does to a Postgres, done to a real one.

A rotation of the default credential makes a new role that inherits the old one's
rights, moves every object to it, ends the old role's connections and drops it. A
named credential keeps its role and goes through `<name>-rotating` meanwhile, so its
config vars change twice.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pgherald.simulator.backend import Backend, OpenDoor, quote
from pgherald.simulator.state import (
    DEFAULT,
    POSTGRES,
    Addon,
    App,
    Credential,
    Data,
    Postgres,
    Refused,
    Role,
    RoleState,
    postgres_of,
)

if TYPE_CHECKING:
    from pgherald.simulator.world import World

#: A credential's name is also the name of its role.
CREDENTIAL_NAME = re.compile(r"[a-z][a-z0-9_-]{0,50}")

Deed = Callable[[], Awaitable[None]]

#: When, in seconds from now, and what.
Step = tuple[float, Deed]


@dataclass(frozen=True, slots=True)
class Manner:
    """How a rotation goes. All times in seconds from its beginning.

    Attributes:
        user: the default credential's user name changes with its password.
        overlap: how long the old login of a default credential goes on working beside
            the new one; only where the user name changes, as a role has one password.
        step: when a named rotation goes back from its temporary role.
        early: how long config vars show the new login before Postgres takes it;
            not for a named rotation in two steps.
        late: how long config vars show the old login after Postgres took the new one.
        release_each: one release per attachment, not per app.
    """

    user: bool = True
    overlap: float = 0.0
    step: float = 0.0
    early: float = 0.0
    late: float = 0.0
    release_each: bool = False


class DataPlane:
    """Makes, rotates, moves and destroys the databases of a world.

    Attributes:
        manner: how rotations go when nobody says otherwise; the real CLI's among them.
    """

    def __init__(self, world: World, backend: Backend, open_door: OpenDoor) -> None:
        self._world = world
        self._backend = backend
        self._open_door = open_door
        self.manner = Manner()

    async def query(self, sql: str, *, dbname: str = "postgres") -> list[tuple[Any, ...]]:
        """Run one statement as superuser; return its rows."""
        return await self._backend.execute(sql, dbname=dbname)

    # Making and destroying.

    async def add_postgres(
        self, app: App, plan: str, *, leader: Addon | None = None, pool: bool = False
    ) -> Addon:
        """A new database on an app, attached as DATABASE or under a color.

        Args:
            app: whom it belongs to.
            plan: such as `standard-0`.
            leader: the add-on that this one follows.
            pool: whether it has a connection pool, at a port of its own.
        """
        if leader is None or leader.postgres is None:
            data = await self._make_data()
        else:
            data = leader.postgres.data
        addon = self._world.add_addon(app, POSTGRES, plan)
        door = self._open_door(self._backend)
        pool_door = self._open_door(self._backend) if pool else None
        addon.postgres = Postgres(data, self._backend.host, door, pool_door, leader)
        self._world.attach(addon, app)
        return addon

    async def _make_data(self) -> Data:
        role = Role(self._world.mint.role(), self._world.mint.password())
        data = Data(self._world.mint.dbname(), {})
        data.credentials[DEFAULT] = Credential(self._world.mint.uuid(), DEFAULT, [role])
        await self._backend.create_role(role.user, role.password)
        await self._backend.create_database(data.dbname, role.user)
        return data

    async def destroy(self, addon: Addon) -> None:
        """Destroy an add-on: its attachments on every app, and its data unless followed."""
        for attachment in [a for a in self._world.attachments if a.addon is addon]:
            self._world.detach(attachment)
        self._world.addons.remove(addon)
        self.close_doors(addon)
        postgres = addon.postgres
        others = [a.postgres.data for a in self._world.addons if a.postgres is not None]
        if postgres is not None and postgres.data not in others:
            await self._drop_data(postgres.data)

    async def clear(self) -> None:
        """Take every database and role of this world out of Postgres."""
        for addon in list(self._world.addons):
            await self.destroy(addon)

    async def _drop_data(self, data: Data) -> None:
        await self._backend.execute(f"DROP DATABASE {quote(data.dbname)} WITH (FORCE)")
        for role in [r for credential in data.credentials.values() for r in credential.roles]:
            await self._drop_role(role)

    async def _drop_role(self, role: Role) -> None:
        # A login that was shown early may have no role yet.
        await self._backend.execute(f"DROP ROLE IF EXISTS {quote(role.user)}")

    def close_doors(self, addon: Addon) -> None:
        """Close the ports of an add-on, cutting the connections through them."""
        if addon.postgres is not None:
            addon.postgres.door.close()
            if addon.postgres.pool_door is not None:
                addon.postgres.pool_door.close()

    async def create_credential(self, data: Data, name: str) -> Credential:
        """A named credential: a role that may connect and nothing more.

        Raises:
            Refused: 422; the name is taken, or no name for a credential.
        """
        if not CREDENTIAL_NAME.fullmatch(name) or name == DEFAULT or name in data.credentials:
            raise Refused.invalid(f"Credential name {name} is already taken or not allowed")
        taken = f"SELECT 1 FROM pg_roles WHERE rolname = '{name}'"  # it matched CREDENTIAL_NAME
        if await self._backend.execute(taken):
            raise Refused.invalid(f"Credential name {name} is taken by another simulated database")
        role = Role(name, self._world.mint.password())
        credential = Credential(self._world.mint.uuid(), name, [role])
        data.credentials[name] = credential
        await self._backend.create_role(role.user, role.password)
        return credential

    async def destroy_credential(self, data: Data, name: str) -> None:
        """Destroy a named credential; its objects go to the default one.

        Raises:
            Refused: 404 unknown; 422 the default one, or still attached.
        """
        credential = self.credential(data, name)
        if name == DEFAULT:
            raise Refused.invalid("Default credential cannot be destroyed.")
        postgres = [a.addon.postgres for a in self._world.attachments if a.credential == name]
        if any(p is not None and p.data is data for p in postgres):
            raise Refused.invalid(f"Credential {name} must be detached from every app first")
        heir = data.credentials[DEFAULT].active.user
        del data.credentials[name]
        for role in credential.roles:
            await self._retire(data, role, heir)

    def credential(self, data: Data, name: str) -> Credential:
        """A credential by name.

        Raises:
            Refused: 404.
        """
        if name not in data.credentials:
            raise Refused.not_found("credential")
        return data.credentials[name]

    # Rotating.

    async def rotate(
        self,
        data: Data,
        name: str = DEFAULT,
        *,
        forced: bool = False,
        manner: Manner | None = None,
    ) -> None:
        """Rotate one credential.

        Returns once everything without a delay is done; the rest goes on by itself.

        Raises:
            Refused: 404 unknown; 422 a rotation of it is under way.
        """
        manner = manner or self.manner
        async with data.lock:
            credential = self.credential(data, name)
            if credential.rotating:
                raise Refused.invalid(f"Credential {name} is being rotated")
            if name == DEFAULT and manner.user:
                steps = self._with_new_user(data, credential, manner)
            elif name == DEFAULT or forced:
                steps = self._in_place(data, credential, manner)
            else:
                steps = self._in_two_steps(data, credential, manner)
            await self._run(data, steps)

    async def rotate_all(
        self, data: Data, *, forced: bool = False, manner: Manner | None = None
    ) -> None:
        """Rotate every credential of a database."""
        for name in list(data.credentials):
            await self.rotate(data, name, forced=forced, manner=manner)

    def _with_new_user(self, data: Data, credential: Credential, manner: Manner) -> list[Step]:
        old = credential.active
        new = Role(self._world.mint.role(), self._world.mint.password())
        old.state = RoleState.REVOKING
        credential.roles.insert(0, new)

        async def come() -> None:
            await self._make_heir(new, old)

        async def leave() -> None:
            credential.roles.remove(old)
            await self._retire(data, old, credential.active.user)

        show = self._show(data, credential, manner)
        gone = manner.early + manner.overlap
        return [(manner.early, come), (manner.late, show), (gone, leave)]

    def _in_place(self, data: Data, credential: Credential, manner: Manner) -> list[Step]:
        role = credential.active
        new = Role(role.user, self._world.mint.password())
        credential.roles[credential.roles.index(role)] = new

        async def change() -> None:
            await self._backend.set_password(new.user, new.password)
            await self._backend.end_connections(new.user)

        return [(manner.early, change), (manner.late, self._show(data, credential, manner))]

    def _in_two_steps(self, data: Data, credential: Credential, manner: Manner) -> list[Step]:
        old = credential.active
        between = Role(f"{old.user}-rotating", self._world.mint.password(), RoleState.ENABLING)
        new = Role(old.user, self._world.mint.password(), RoleState.ENABLING)
        credential.rotating = True
        credential.roles.append(between)

        async def come() -> None:
            await self._make_heir(between, old)
            old.state, between.state = RoleState.REVOKING, RoleState.ACTIVE

        async def back() -> None:
            await self._backend.set_password(new.user, new.password)
            await self._backend.end_connections(new.user)
            credential.roles[credential.roles.index(old)] = new
            between.state, new.state = RoleState.REVOKING, RoleState.ACTIVE

        async def leave() -> None:
            credential.roles.remove(between)
            credential.rotating = False
            await self._retire(data, between, new.user)

        show = self._show(data, credential, manner)
        done = manner.step + manner.late
        return [(0, come), (manner.late, show), (manner.step, back), (done, show), (done, leave)]

    def _show(self, data: Data, credential: Credential, manner: Manner) -> Deed:
        async def show() -> None:
            self._world.publish(data, credential.name, release_each=manner.release_each)

        return show

    async def _run(self, data: Data, steps: list[Step]) -> None:
        """Do the steps in the order of their times; those of equal time as listed.

        What is due at once is done here, the rest beside everything else.
        """
        steps = sorted(steps, key=lambda step: step[0])
        for due, deed in steps:
            if not due:
                await deed()
        if later := [step for step in steps if step[0]]:
            self._world.later(self._run_late(data, later))

    async def _run_late(self, data: Data, steps: list[Step]) -> None:
        passed = 0.0
        for due, deed in steps:
            await self._world.clock.sleep(due - passed)
            passed = due
            async with data.lock:
                await deed()

    async def _make_heir(self, new: Role, old: Role) -> None:
        """A role that may do what the old one may, so that both work for a while."""
        await self._backend.create_role(new.user, new.password)
        await self._backend.execute(f"GRANT {quote(old.user)} TO {quote(new.user)}")

    async def _retire(self, data: Data, role: Role, heir: str) -> None:
        """Lock a role, end its connections, give its objects away and drop it."""
        await self._backend.lock_role(role.user)
        await self._backend.end_connections(role.user)
        old = quote(role.user)
        for sql in (f"REASSIGN OWNED BY {old} TO {quote(heir)}", f"DROP OWNED BY {old}"):
            await self._backend.execute(sql, dbname=data.dbname)
        await self._drop_role(role)

    # Moving.

    async def failover(
        self,
        addon: Addon,
        *,
        host: str | None = None,
        dbname: bool = False,
        login: bool = False,
        manner: Manner | None = None,
    ) -> None:
        """Move a database to another address; its old ports close.

        Args:
            addon: which one.
            host: its new host name, such as `localhost`; None keeps the one it has.
            dbname: the database is renamed too.
            login: user and password change too, as in Heroku's own emergency moves.
            manner: as for `rotate`.
        """
        postgres = postgres_of(addon)
        async with postgres.data.lock:
            self.close_doors(addon)
            postgres.door = self._open_door(self._backend)
            if postgres.pool_door is not None:
                postgres.pool_door = self._open_door(self._backend)
            postgres.host = host or postgres.host
            if dbname:
                await self._rename(postgres.data)
        if login:
            await self.rotate(postgres.data, manner=manner)
        self.publish_all(postgres.data)

    async def rename_database(self, addon: Addon) -> None:
        """Give a database another name, as a restore into a new one would."""
        data = postgres_of(addon).data
        async with data.lock:
            await self._rename(data)
        self.publish_all(data)

    async def _rename(self, data: Data) -> None:
        new = self._world.mint.dbname()
        await self._backend.rename_database(data.dbname, new)
        data.dbname = new

    def publish_all(self, data: Data) -> None:
        """Show every credential's active login in the config vars."""
        for name in data.credentials:
            self._world.publish(data, name)
