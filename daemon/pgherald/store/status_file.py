"""How everything stands, in one shape for all readers: `status`, its `--json`, status.json.

Scripts may rely on it. Moments are ISO 8601 in UTC once it is JSON, null for never:

    {
      "ok": true,                       // no troubles; as the exit code of `status`
      "running": true,                  // the daemon
      "databases": [{
        "key": "shop/DATABASE",         // as in `check` and `history`
        "name": "Shop (production)",
        "current": true,                // every client was last seen to hold its login
        "looked_at": "2026-01-05T09:00:00.000+00:00",
        "next_look_at": "…",            // null when the daemon does not run, or has to wait
        "current_at": "…",
        "proven": true,                 // the login in the clients was proven
        "proven_at": "…",
        "last_rotation_at": null,
        "clients": {"psql": "current"}  // each: current | old | failed | missing | new
      }],
      "clients": [{"kind": "pgpass", "path": "/home/me/.pgpass", "ok": true}],
      "troubles": [{                    // the longest-standing first
        "subject": "database:shop/DATABASE",    // or account:…, budget:…, client:…, config, …
        "name": "Shop (production)",
        "kind": "ProbeFailed",          // a stable word
        "title": "…", "advice": "…",    // for people; the advice may be empty
        "since": "…"
      }],
      "requests": [{                    // what each account cost, as of the last sweep
        "account": "default",
        "last_hour": 64,                // requests that pgherald sent in the hour before
        "bytes_last_hour": 18432,       // bytes of the answers, as they came over the wire
        "allowance": 1125,              // what it may send in an hour
        "remaining": 4431,              // what the account had left, all programs counted
        "at": "…"
      }],
      "notifications": null             // why the latest could not be shown
    }

No secret is in any of it: the store, where it comes from, holds none.
"""

from __future__ import annotations

import json
from datetime import datetime
from typing import Final, TypedDict

#: The file in the state folder.
STATUS_FILE: Final = "status.json"


class DatabaseShown(TypedDict):
    """How one database stands."""

    key: str
    name: str
    current: bool
    looked_at: datetime | None
    next_look_at: datetime | None
    current_at: datetime | None
    proven: bool
    proven_at: datetime | None
    last_rotation_at: datetime | None
    clients: dict[str, str]


class ClientShown(TypedDict):
    """How one client stands."""

    kind: str
    path: str
    ok: bool


class TroubleShown(TypedDict):
    """What does not work."""

    subject: str
    name: str
    kind: str
    title: str
    advice: str
    since: datetime


class RequestsShown(TypedDict):
    """What one account cost."""

    account: str
    last_hour: int
    bytes_last_hour: int
    allowance: int
    remaining: int | None
    at: datetime


class Shown(TypedDict):
    """How everything stands."""

    ok: bool
    running: bool
    databases: list[DatabaseShown]
    clients: list[ClientShown]
    troubles: list[TroubleShown]
    requests: list[RequestsShown]
    notifications: str | None
    warnings: list[str]


def text_of(shown: object) -> str:
    """Anything that holds moments, as JSON for scripts; a line end comes last."""
    return json.dumps(shown, indent=2, ensure_ascii=False, default=_moment) + "\n"


def _moment(value: object) -> str:
    if isinstance(value, datetime):
        return value.isoformat(timespec="milliseconds")
    raise TypeError(f"{type(value).__name__} is not for showing")
