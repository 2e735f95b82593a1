"""The apps, add-ons, attachments, config vars and releases of a simulated Heroku.

State and its rules, without HTTP. What changes Postgres is in `World.data`
(`data_plane.DataPlane`). Whatever changes an app's config makes a release, moves
`released_at` and `updated_at`, and writes two log lines, as Heroku does.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Coroutine, Iterable, Mapping
from datetime import datetime
from typing import Any, Final

from pgherald.clock import Clock, SystemClock
from pgherald.model import Login
from pgherald.secret import Secret
from pgherald.simulator.backend import Backend, OpenDoor, Relay
from pgherald.simulator.data_plane import DataPlane
from pgherald.simulator.state import (
    POOLED,
    POSTGRES,
    Account,
    Addon,
    App,
    Attachment,
    Data,
    Mint,
    Refused,
    Release,
    Token,
    credential_in,
    postgres_of,
)

GLOBAL: Final = frozenset({"global"})


class World:
    """Everything that a simulated Heroku knows.

    Args:
        backend: the Postgres behind every simulated database.
        clock: tells the time of every change and measures every delay.
        source: randomness of names and passwords; the operating system's by default.
        mark: text put into every password, so that a test finds one that leaked.
        open_door: gives a database a port of its own.
    """

    def __init__(
        self,
        backend: Backend,
        *,
        clock: Clock | None = None,
        source: random.Random | None = None,
        mark: str = "",
        open_door: OpenDoor = Relay,
    ) -> None:
        self.clock: Clock = clock or SystemClock()
        self.mint = Mint(source or random.SystemRandom(), mark)
        self.data = DataPlane(self, backend, open_door)
        self.accounts: list[Account] = []
        self.tokens: list[Token] = []
        self.apps: list[App] = []
        self.addons: list[Addon] = []
        self.attachments: list[Attachment] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._timers: set[asyncio.Task[None]] = set()

    def now(self) -> datetime:
        """The wall clock, UTC."""
        return self.clock.now()

    # What happens later, and the end.

    def later(self, work: Coroutine[Any, Any, None], *, timer: bool = False) -> None:
        """Run `work` beside everything else, until `close` at the latest.

        Args:
            work: what to do.
            timer: it only waits for a time to come; `quiet` does not wait for it.
        """
        task = asyncio.get_running_loop().create_task(work)
        tasks = self._timers if timer else self._tasks
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    async def quiet(self) -> None:
        """Wait until nothing that was begun is still under way.

        Raises:
            Exception: what went wrong in it.
        """
        while self._tasks:
            await asyncio.gather(*self._tasks)

    async def close(self) -> None:
        """Stop what is under way, end every log tail, close every door."""
        tasks = [*self._tasks, *self._timers]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for app in self.apps:
            app.log.close()
        for addon in self.addons:
            self.data.close_doors(addon)

    # Accounts.

    def add_account(self, email: str, *, teams: Iterable[str] = ()) -> Account:
        """A new account."""
        account = Account(self.mint.uuid(), email, frozenset(teams))
        self.accounts.append(account)
        return account

    def add_token(
        self, account: Account, value: Secret | None = None, *, scopes: Iterable[str] = GLOBAL
    ) -> Token:
        """A new token for an account."""
        value = value or Secret(f"HRKU-{self.mint.uuid()}")
        token = Token(self.mint.uuid(), value, account, frozenset(scopes), self.now())
        self.tokens.append(token)
        return token

    def token_of(self, value: Secret) -> Token | None:
        """The token with that value, unless it is revoked."""
        return next((t for t in self.tokens if t.value == value and not t.revoked), None)

    # Looking things up. `account` limits the search to what it may know of.

    def apps_of(self, account: Account) -> list[App]:
        """The apps that an account may know of."""
        return [app for app in self.apps if app.seen_by(account)]

    def app(self, ref: str, account: Account | None = None) -> App:
        """An app by name or id.

        Raises:
            Refused: 404; there is none, or it is not for that account's eyes.
        """
        for app in self.apps:
            if ref in {app.id, app.name} and (account is None or app.seen_by(account)):
                return app
        raise Refused.not_found("app")

    def addons_of(self, account: Account) -> list[Addon]:
        """The add-ons that belong to, or are attached to, an app the account may know of."""
        return [a for a in self.addons if any(app.seen_by(account) for app in self._apps_with(a))]

    def addon(self, ref: str, account: Account | None = None) -> Addon:
        """An add-on by name or id.

        Raises:
            Refused: 404; as for `app`.
        """
        for addon in self.addons if account is None else self.addons_of(account):
            if ref in {addon.id, addon.name}:
                return addon
        raise Refused.not_found("add_on", "add-on")

    def attachments_of(self, account: Account) -> list[Attachment]:
        """The attachments on apps that the account may know of."""
        return [a for a in self.attachments if a.app.seen_by(account)]

    def attachment(self, app: App, ref: str) -> Attachment:
        """An attachment of an app, by name or id.

        Raises:
            Refused: 404.
        """
        for attachment in self.attachments:
            if attachment.app is app and ref in {attachment.id, attachment.name}:
                return attachment
        raise Refused.not_found("attachment", "add-on attachment")

    def resolve(self, ref: str, candidates: Iterable[Attachment]) -> list[Attachment]:
        """The attachments that a person may mean by `ref`.

        An attachment's name, id, config var or color; else an add-on's name or id.

        Raises:
            Refused: 404; nothing fits.
        """
        among = list(candidates)
        names = {ref, ref.removesuffix("_URL"), f"HEROKU_POSTGRESQL_{ref}"}
        found = [a for a in among if a.name in names or a.id == ref or ref in a.config_vars]
        found = found or [a for a in among if ref in {a.addon.name, a.addon.id}]
        if not found:
            raise Refused.not_found("attachment", "add-on attachment")
        return found

    def _apps_with(self, addon: Addon) -> list[App]:
        return [addon.app, *(a.app for a in self.attachments if a.addon is addon)]

    # Making and changing things.

    def add_app(
        self,
        name: str,
        owner: Account,
        *,
        team: str | None = None,
        collaborators: Iterable[str] = (),
        config: Mapping[str, str] | None = None,
    ) -> App:
        """A new app, with its first release."""
        if any(app.name == name for app in self.apps):
            raise Refused.invalid(f"Name {name} is already taken")
        now = self.now()
        app = App(self.mint.uuid(), name, owner, now, now, now, team, frozenset(collaborators))
        self.apps.append(app)
        self.release(app, "Initial release", owner.email)
        if config:
            self.set_config(app, config, by=owner.email)
        return app

    def add_addon(
        self, app: App, service: str, plan: str, config: Mapping[str, str] | None = None
    ) -> Addon:
        """A new add-on, attached to its app when it has config vars of its own.

        Postgres comes from `DataPlane.add_postgres`.
        """
        name, now = self.mint.addon_name(service), self.now()
        while any(addon.name == name for addon in self.addons):
            name = self.mint.addon_name(service)
        addon = Addon(self.mint.uuid(), name, service, plan, app, now, now)
        self.addons.append(addon)
        if config:
            self.attach(addon, app, service.removeprefix("heroku-").upper()).fixed.update(config)
        return addon

    def attach(
        self,
        addon: Addon,
        app: App,
        name: str | None = None,
        *,
        namespace: str | None = None,
        confirm: str | None = None,
    ) -> Attachment:
        """Put an add-on on an app under a name, taking the name from its holder if confirmed.

        Raises:
            Refused: 404 no such credential; 422 no pool; 423 the name is in use and
                `confirm` is not the app's name.
        """
        name = name or self._free_name(addon, app)
        held = [a for a in self.attachments if a.app is app and a.name == name]
        if held and confirm != app.name:
            raise Refused(423, "confirmation_required", f"{name} is already in use on {app.name}.")
        now = self.now()
        new = Attachment(self.mint.uuid(), name, addon, app, now, now, namespace)
        if addon.postgres is not None:
            new.shown = self.login(addon, namespace)
        for old in held:
            self.detach(old)
        self.attachments.append(new)
        self.release(app, f"Attach {name} (@ref:{addon.name})", app.owner.email)
        return new

    def detach(self, attachment: Attachment) -> None:
        """Take an attachment, and so its config vars, off its app."""
        self.attachments.remove(attachment)
        ref = f"{attachment.name} (@ref:{attachment.addon.name})"
        self.release(attachment.app, f"Detach {ref}", attachment.app.owner.email)

    def promote(self, app: App, addon: Addon) -> Attachment:
        """Make an add-on the app's DATABASE; the one before keeps another name."""
        current = next((a for a in self.attachments if a.app is app and a.name == "DATABASE"), None)
        if current is not None:
            others = [a for a in self.attachments if a.app is app and a is not current]
            same = (current.addon, current.namespace)
            if not any((a.addon, a.namespace) == same for a in others):
                self.attach(current.addon, app, namespace=current.namespace)
        return self.attach(addon, app, "DATABASE", confirm=app.name)

    def rename_app(self, app: App, name: str) -> None:
        """Give an app another name. No release: its config stays as it is."""
        if any(other.name == name for other in self.apps if other is not app):
            raise Refused.invalid(f"Name {name} is already taken")
        app.name, app.updated_at = name, self.now()

    def _free_name(self, addon: Addon, app: App) -> str:
        used = {a.name for a in self.attachments if a.app is app}
        if addon.service != POSTGRES:
            return addon.service.removeprefix("heroku-").upper()
        if "DATABASE" not in used:
            return "DATABASE"
        while (name := f"HEROKU_POSTGRESQL_{self.mint.color()}") in used:
            pass
        return name

    # Config vars and releases.

    def config_vars(self, app: App) -> dict[str, str]:
        """The app's config vars, its attachments' included."""
        merged = dict(app.vars)
        for attachment in self.attachments:
            if attachment.app is app:
                merged.update(attachment.config_vars)
        return dict(sorted(merged.items()))

    def set_config(self, app: App, changes: Mapping[str, str | None], *, by: str) -> None:
        """Set, or with None remove, the person's own config vars.

        Raises:
            Refused: 422; one of them belongs to an attachment.
        """
        taken = [a for a in self.attachments if a.app is app and a.config_vars.keys() & changes]
        if taken:
            names = ", ".join(sorted({v for a in taken for v in a.config_vars.keys() & changes}))
            raise Refused.invalid(f"Cannot overwrite attachment values {names}.")
        app.vars.update({name: value for name, value in changes.items() if value is not None})
        for name in (gone := [name for name, value in changes.items() if value is None]):
            app.vars.pop(name, None)
        verb = "Remove" if len(gone) == len(changes) else "Set"
        self.release(app, f"{verb} {', '.join(changes)} config vars", by)

    def release(self, app: App, description: str, by: str) -> Release:
        """Make the app's next release and say so in its log."""
        now = self.now()
        user = next((a.id for a in self.accounts if a.email == by), self.mint.uuid())
        version = len(app.releases) + 1
        release = Release(self.mint.uuid(), version, description, by, user, now)
        app.releases.append(release)
        app.released_at = app.updated_at = now
        app.log.write(now, "app", "api", f"{description} by user {by}")
        app.log.write(now, "app", "api", f"Release v{version} created by user {by}")
        return release

    def login(self, addon: Addon, namespace: str | None = None) -> Login:
        """The login that the config var of an attachment with that namespace is to show.

        Raises:
            Refused: 404 no such credential, or no Postgres; 422 the database has no pool.
        """
        postgres = postgres_of(addon)
        role = self.data.credential(postgres.data, credential_in(namespace)).active
        door = postgres.pool_door if namespace == POOLED else postgres.door
        if door is None:
            raise Refused.invalid("Connection pooling is not available for this database.")
        return Login(postgres.host, door.port, postgres.data.dbname, role.user, role.password)

    def publish(self, data: Data, credential: str, *, release_each: bool = False) -> None:
        """Show a credential's active login in every config var that carries it.

        Every attachment on every app, followers' included; one release per app, or with
        `release_each` one per attachment.
        """
        changed: dict[App, list[Attachment]] = {}
        for attachment in self.attachments:
            postgres = attachment.addon.postgres
            if postgres is None or postgres.data is not data or attachment.credential != credential:
                continue
            login = self.login(attachment.addon, attachment.namespace)
            if login != attachment.shown:
                attachment.shown, attachment.updated_at = login, self.now()
                changed.setdefault(attachment.app, []).append(attachment)
        by = f"{POSTGRES}@addons.heroku.com"
        for app, attachments in changed.items():
            names = [a.name for a in attachments]
            for text in names if release_each else [", ".join(names)]:
                self.release(app, f"Update {text} by {POSTGRES}", by)
