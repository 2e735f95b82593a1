"""The Platform API of a simulated Heroku: what the CLI and pgherald ask, and little more."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any

from starlette.routing import Route

from pgherald.simulator import shapes
from pgherald.simulator.http import Call, Handler, Limits, Reply, platform_route
from pgherald.simulator.state import Addon, App, Attachment, Refused
from pgherald.simulator.world import World


def routes(world: World, limits: Limits) -> list[Route]:
    """Every route of the Platform API but the log sessions'."""
    by_scope: dict[str, list[tuple[str, str, Handler]]] = {
        "identity": [
            ("GET", "/account", get_account),
            ("GET", "/oauth/authorizations", list_authorizations),
        ],
        "read": [
            ("GET", "/apps", list_apps),
            ("GET", "/users/~/apps", list_own_apps),
            ("GET", "/teams", list_teams),
            ("GET", "/teams/{team}/apps", list_team_apps),
            ("GET", "/apps/{app}", get_app),
            ("GET", "/apps/{app}/formation", list_formation),
            ("GET", "/addons", list_addons),
            ("GET", "/users/~/addons", list_own_addons),
            ("GET", "/teams/{team}/addons", list_team_addons),
            ("GET", "/apps/{app}/addons", list_app_addons),
            ("GET", "/addons/{addon}", get_addon),
            ("GET", "/addon-attachments", list_attachments),
            ("GET", "/addon-attachments/{attachment}", get_attachment),
            ("GET", "/apps/{app}/addon-attachments", list_app_attachments),
            ("GET", "/apps/{app}/addon-attachments/{attachment}", get_app_attachment),
            ("GET", "/addons/{addon}/addon-attachments", list_addon_attachments),
            ("POST", "/actions/addons/resolve", resolve_addons),
            ("POST", "/actions/addon-attachments/resolve", resolve_attachments),
        ],
        "read-protected": [
            ("GET", "/apps/{app}/config-vars", get_config_vars),
            ("GET", "/apps/{app}/releases", list_releases),
            ("GET", "/apps/{app}/releases/{release}", get_release),
            ("GET", "/addons/{addon}/config", get_addon_config),
            ("GET", "/addons/{addon}/config/{namespace}", get_addon_config),
        ],
        "write": [
            ("POST", "/addon-attachments", create_attachment),
            ("DELETE", "/addon-attachments/{attachment}", delete_attachment),
        ],
        "write-protected": [("PATCH", "/apps/{app}/config-vars", change_config_vars)],
    }
    paid = [
        platform_route(world, limits, method, path, handler, scope=scope)
        for scope, entries in by_scope.items()
        for method, path, handler in entries
    ]

    async def rate_limits(call: Call) -> Reply:
        left = limits.left(call.account, call.world.clock.monotonic())
        return Reply({"remaining": int(left)}, tagged=False)

    free = platform_route(world, limits, "GET", "/account/rate-limits", rate_limits, free=True)
    return [free, *paid]


# The account.


async def get_account(call: Call) -> Reply:
    """Who the token belongs to."""
    return Reply(shapes.account(call.account))


async def list_authorizations(call: Call) -> Reply:
    """The account's tokens, for `heroku auth:token`."""
    tokens = [t for t in call.world.tokens if t.account is call.account and not t.revoked]
    return Reply([shapes.authorization(token) for token in tokens], sorts=("id",))


# Apps.


def _apps(apps: Iterable[App]) -> Reply:
    chosen = list(apps)
    return Reply([shapes.app(a) for a in chosen], modified=_latest(a.updated_at for a in chosen))


async def list_apps(call: Call) -> Reply:
    """Every app the account may see, its teams' included."""
    return _apps(call.world.apps_of(call.account))


async def list_own_apps(call: Call) -> Reply:
    """Apps owned by or shared with the account; none of its teams'."""
    return _apps(app for app in call.world.apps_of(call.account) if app.team is None)


async def list_teams(call: Call) -> Reply:
    """The account's teams."""
    return Reply([shapes.named(team) for team in sorted(call.account.teams)])


async def list_team_apps(call: Call) -> Reply:
    """A team's apps."""
    team = _team(call)
    return _apps(app for app in call.world.apps_of(call.account) if app.team == team)


def _team(call: Call) -> str:
    team = next((t for t in call.account.teams if call.part("team") in _names(t)), None)
    if team is None:
        raise Refused.not_found("team")
    return team


def _names(team: str) -> set[str]:
    return {team, shapes.fixed_id(team)}


async def get_app(call: Call) -> Reply:
    """One app."""
    app = call.app()
    return Reply(shapes.app(app), modified=app.updated_at)


async def list_formation(call: Call) -> Reply:
    """The app's processes: one web, and no release command."""
    app = call.app()
    shape = {"app": {"id": app.id, "name": app.name}, "command": "rackup", "quantity": 1}
    dyno = {"id": shapes.fixed_id(app.id), "size": "Standard-1X", "type": "web"}
    return Reply([shape | dyno], sorts=("id",))


async def get_config_vars(call: Call) -> Reply:
    """The app's config vars: secrets, most of them."""
    app = call.app()
    return Reply(call.world.config_vars(app), modified=app.released_at)


async def change_config_vars(call: Call) -> Reply:
    """Set or remove config vars; makes a release."""
    app = call.app()
    if not all(value is None or isinstance(value, str) for value in call.body.values()):
        raise Refused.invalid("Config vars are texts.")
    call.world.set_config(app, call.body, by=call.account.email)
    return Reply(call.world.config_vars(app), modified=app.released_at)


async def list_releases(call: Call) -> Reply:
    """The app's releases."""
    app = call.app()
    rows = [shapes.release(release, app) for release in app.releases]
    return Reply(rows, modified=app.released_at, sorts=("version", "id"))


async def get_release(call: Call) -> Reply:
    """One release, by id or version."""
    app, ref = call.app(), call.part("release").removeprefix("v")
    for release in app.releases:
        if ref in {release.id, str(release.version)}:
            return Reply(shapes.release(release, app), modified=release.created_at)
    raise Refused.not_found("release")


# Add-ons.


def _addon(call: Call, addon: Addon) -> dict[str, Any]:
    expand = "plan" in call.request.headers.get("accept-expansion", "")
    mine = [a for a in call.world.attachments if a.addon is addon and a.app is addon.app]
    return shapes.addon(addon, {v for a in mine for v in a.config_vars}, expand=expand)


def _addons(call: Call, addons: Iterable[Addon]) -> Reply:
    chosen = list(addons)
    rows = [_addon(call, addon) for addon in chosen]
    return Reply(rows, modified=_latest(a.updated_at for a in chosen))


async def list_addons(call: Call) -> Reply:
    """Every add-on the account may see."""
    return _addons(call, call.world.addons_of(call.account))


async def list_own_addons(call: Call) -> Reply:
    """Add-ons of the apps that are no team's."""
    return _addons(call, (a for a in call.world.addons_of(call.account) if a.app.team is None))


async def list_team_addons(call: Call) -> Reply:
    """Add-ons of a team's apps."""
    team = _team(call)
    return _addons(call, (a for a in call.world.addons_of(call.account) if a.app.team == team))


async def list_app_addons(call: Call) -> Reply:
    """Add-ons of, or attached to, an app."""
    app = call.app()
    attached = [a.addon for a in call.world.attachments if a.app is app]
    return _addons(call, (a for a in call.world.addons if a.app is app or a in attached))


async def get_addon(call: Call) -> Reply:
    """One add-on."""
    addon = call.addon()
    return Reply(_addon(call, addon), modified=addon.updated_at)


async def get_addon_config(call: Call) -> Reply:
    """What an add-on puts into config vars; the CLI asks so whether a credential exists."""
    addon = call.addon()
    namespace = call.request.path_params.get("namespace")
    if namespace is not None and addon.postgres is not None:
        credential = namespace.removeprefix("credential:")
        if credential not in addon.postgres.data.credentials:
            return Reply([], sorts=("name",))
    mine = [a for a in call.world.attachments if a.addon is addon and a.namespace == namespace]
    values = {name: value for a in mine for name, value in a.config_vars.items()}
    if namespace is not None and not values:
        values = {"POSTGRES_URL": ""}
    return Reply(shapes.config_entries(values), sorts=("name",))


async def resolve_addons(call: Call) -> Reply:
    """The add-ons that a person may mean by a name."""
    ref = call.text("addon")
    candidates = _attachments_on(call)
    addons = [a for a in call.world.addons_of(call.account) if ref in {a.name, a.id}]
    if call.body.get("app"):
        within = {a.addon for a in candidates} | {a for a in addons if a.app is _named_app(call)}
        addons = [addon for addon in addons if addon in within]
    if not addons:
        try:
            addons = [a.addon for a in call.world.resolve(ref, candidates)]
        except Refused:
            raise Refused.not_found("add_on", "add-on") from None
    service = call.body.get("addon_service")
    chosen = [a for a in dict.fromkeys(addons) if service in {None, a.service}]
    if not chosen:
        raise Refused.not_found("add_on", "add-on")
    return Reply([_addon(call, addon) for addon in chosen])


# Attachments.


def _attachment(call: Call, attachment: Attachment) -> dict[str, Any]:
    include = "config_vars" in call.request.headers.get("accept-inclusion", "")
    return shapes.attachment(attachment, include=include)


def _attachments(call: Call, attachments: Iterable[Attachment]) -> Reply:
    chosen = list(attachments)
    rows = [_attachment(call, attachment) for attachment in chosen]
    return Reply(rows, modified=_latest(a.updated_at for a in chosen))


def _named_app(call: Call) -> App:
    return call.world.app(str(call.body["app"]), call.account)


def _attachments_on(call: Call) -> list[Attachment]:
    """The visible attachments; those of the app in the body when it names one."""
    visible = call.world.attachments_of(call.account)
    if not call.body.get("app"):
        return visible
    app = _named_app(call)
    return [a for a in visible if a.app is app]


async def list_attachments(call: Call) -> Reply:
    """Every attachment the account may see."""
    return _attachments(call, call.world.attachments_of(call.account))


async def list_app_attachments(call: Call) -> Reply:
    """The attachments on an app."""
    app = call.app()
    return _attachments(call, (a for a in call.world.attachments if a.app is app))


async def list_addon_attachments(call: Call) -> Reply:
    """The attachments of an add-on, on whatever app the account may see."""
    addon = call.addon()
    visible = call.world.attachments_of(call.account)
    return _attachments(call, (a for a in visible if a.addon is addon))


async def get_app_attachment(call: Call) -> Reply:
    """One attachment of an app."""
    attachment = call.world.attachment(call.app(), call.part("attachment"))
    return Reply(_attachment(call, attachment), modified=attachment.updated_at)


async def get_attachment(call: Call) -> Reply:
    """One attachment, by id."""
    attachment = _attachment_by_id(call)
    return Reply(_attachment(call, attachment), modified=attachment.updated_at)


def _attachment_by_id(call: Call) -> Attachment:
    for attachment in call.world.attachments_of(call.account):
        if attachment.id == call.part("attachment"):
            return attachment
    raise Refused.not_found("attachment", "add-on attachment")


async def resolve_attachments(call: Call) -> Reply:
    """The attachments that a person may mean by a name."""
    found = call.world.resolve(call.text("addon_attachment"), _attachments_on(call))
    return Reply([_attachment(call, attachment) for attachment in found])


async def create_attachment(call: Call) -> Reply:
    """Attach an add-on: `addons:attach`, `pg:promote`."""
    addon = call.world.addon(_ref(call, "addon"), call.account)
    app = call.world.app(_ref(call, "app"), call.account)
    new = call.world.attach(
        addon,
        app,
        call.body.get("name"),
        namespace=call.body.get("namespace"),
        confirm=call.body.get("confirm"),
    )
    return Reply(_attachment(call, new), 201, modified=new.created_at)


def _ref(call: Call, name: str) -> str:
    """A reference in the body: `"x"`, `{"name": "x"}` or `{"id": "x"}`."""
    value = call.body.get(name)
    if isinstance(value, dict):
        value = value.get("id") or value.get("name")
    if not isinstance(value, str):
        raise Refused.invalid(f"Parameter {name} is required.")
    return value


async def delete_attachment(call: Call) -> Reply:
    """Detach."""
    attachment = _attachment_by_id(call)
    call.world.detach(attachment)
    return Reply(_attachment(call, attachment))


def _latest(moments: Iterable[datetime]) -> datetime | None:
    return max(moments, default=None)
