"""The JSON shapes of the Platform API, complete: the real Heroku CLI reads them.

Heroku: keys as in the public hyperschema and in recorded answers.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from pgherald.simulator.state import (
    POSTGRES,
    Account,
    Addon,
    App,
    Attachment,
    Release,
    Token,
)

Json = dict[str, Any]

#: Monthly price of each plan, in cents.
PRICES = {"essential-0": 500, "mini": 500, "standard-0": 5000, "premium-0": 20000}


def stamp(moment: datetime) -> str:
    """A moment as the Platform API writes it, such as `2026-01-05T09:00:00Z`."""
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def fixed_id(name: str) -> str:
    """The id of something that is the same in every world: a plan, a region, a stack."""
    return str(uuid.uuid5(uuid.NAMESPACE_DNS, f"{name}.simulator.invalid"))


def named(name: str) -> Json:
    """A reference to something that is the same in every world."""
    return {"id": fixed_id(name), "name": name}


def account(person: Account) -> Json:
    """`GET /account`; also what the CLI asks of its billing service."""
    return {
        "allow_tracking": False,
        "beta": False,
        "country_of_residence": None,
        "created_at": "2012-01-01T12:00:00Z",
        "default_organization": None,
        "default_team": None,
        "delinquent_at": None,
        "email": person.email,
        "federated": False,
        "id": person.id,
        "identity_provider": None,
        "last_login": None,
        "name": person.email.partition("@")[0],
        "scheduled_deletion_time": None,
        "scheduled_suspension_time": None,
        "sms_number": None,
        "suspended_at": None,
        "two_factor_authentication": False,
        "updated_at": "2012-01-01T12:00:00Z",
        "verified": True,
    }


def authorization(token: Token) -> Json:
    """One of `GET /oauth/authorizations`. The token itself is part of it, as at Heroku."""
    return {
        "access_token": {
            "expires_in": token.expires_in,
            "id": token.id,
            "token": token.value.reveal(),
        },
        "client": None,
        "created_at": stamp(token.created_at),
        "description": "Simulated token",
        "grant": None,
        "id": token.id,
        "refresh_token": None,
        "scope": sorted(token.scopes),
        "session": None,
        "updated_at": stamp(token.created_at),
        "user": {"email": token.account.email, "full_name": None, "id": token.account.id},
    }


def app(that: App) -> Json:
    """`GET /apps/{app}`."""
    team = None if that.team is None else named(that.team)
    return {
        "acm": False,
        "archived_at": None,
        "build_stack": named("heroku-24"),
        "buildpack_provided_description": "Ruby/Rack",
        "created_at": stamp(that.created_at),
        "generation": named(that.generation),
        "git_url": f"https://git.heroku.com/{that.name}.git",
        "id": that.id,
        "internal_routing": None,
        "maintenance": False,
        "name": that.name,
        "organization": team,
        "owner": {"email": that.owner.email, "id": that.owner.id},
        "region": named("us"),
        "released_at": stamp(that.released_at),
        "repo_size": None,
        "slug_size": None,
        "space": None,
        "stack": named("heroku-24"),
        "team": team,
        "updated_at": stamp(that.updated_at),
        "web_url": f"https://{that.name}.herokuapp.com/",
    }


def _app_ref(that: App) -> Json:
    return {"id": that.id, "name": that.name}


def addon(that: Addon, config_vars: Iterable[str], *, expand: bool = False) -> Json:
    """`GET /addons/{addon}`.

    Args:
        that: the add-on.
        config_vars: names of its config vars on the app it belongs to.
        expand: whether `Accept-Expansion: addon_service,plan` was asked for.
    """
    price = {"cents": PRICES.get(that.plan, 0), "contract": False, "unit": "month"}
    plan, service = named(that.plan_name), named(that.service)
    if expand:
        plan |= {"description": that.plan, "human_name": that.plan.title(), "price": price}
        service |= {"human_name": that.service.title(), "state": "ga"}
    return {
        "actions": [],
        "addon_service": service,
        "app": _app_ref(that.app),
        "billed_price": price,
        "billing_entity": {**_app_ref(that.app), "type": "app"},
        "config_vars": sorted(config_vars),
        "created_at": stamp(that.created_at),
        "id": that.id,
        "name": that.name,
        "plan": plan,
        "provider_id": f"resource{int(that.id[:6], 16)}@heroku.com",
        "state": that.state,
        "updated_at": stamp(that.updated_at),
        "web_url": f"https://addons-sso.heroku.com/apps/{that.app.id}/addons/{that.id}",
    }


def attachment(that: Attachment, *, include: bool = False) -> Json:
    """`GET /addon-attachments/{attachment}`.

    Args:
        that: the attachment.
        include: whether `Accept-Inclusion: addon:plan,config_vars` was asked for.
    """
    addon_part: Json = {
        "app": _app_ref(that.addon.app),
        "id": that.addon.id,
        "name": that.addon.name,
    }
    shape: Json = {
        "addon": addon_part,
        "app": _app_ref(that.app),
        "created_at": stamp(that.created_at),
        "id": that.id,
        "log_input_url": None,
        "name": that.name,
        "namespace": that.namespace,
        "updated_at": stamp(that.updated_at),
        "web_url": f"https://addons-sso.heroku.com/apps/{that.app.id}/addons/{that.addon.id}",
    }
    if include:
        addon_part["plan"] = named(that.addon.plan_name)
        shape["config_vars"] = sorted(that.config_vars)
    return shape


def release(that: Release, app_: App) -> Json:
    """`GET /apps/{app}/releases/{release}`."""
    return {
        "addon_plan_names": [f"{POSTGRES}:standard-0"],
        "app": _app_ref(app_),
        "artifacts": [],
        "created_at": stamp(that.created_at),
        "current": that is app_.releases[-1],
        "description": that.description,
        "eligible_for_rollback": True,
        "id": that.id,
        "output_stream_url": None,
        "slug": None,
        "status": "succeeded",
        "updated_at": stamp(that.created_at),
        "user": {"email": that.by, "id": that.user_id},
        "version": that.version,
    }


def config_entries(values: Mapping[str, str]) -> list[Json]:
    """`GET /addons/{addon}/config`."""
    return [{"name": name, "value": value} for name, value in values.items()]
