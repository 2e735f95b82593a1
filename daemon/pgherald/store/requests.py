"""How many requests each account has cost: written by the daemon, shown by `status`."""

from __future__ import annotations

import contextlib
import json
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from pgherald.store.records import text_of
from pgherald.store.sqlite import Store

_PREFIX: Final = "requests:"


@dataclass(frozen=True, slots=True)
class Requests:
    """The requests of one account.

    Attributes:
        account: its name in the configuration.
        last_hour: how many pgherald sent in the hour before `at`.
        allowance: how many it may send in an hour.
        remaining: how many the account had left, all programs counted; None when unknown.
        at: when this was so, UTC.
    """

    account: str
    last_hour: int
    allowance: int
    remaining: int | None
    at: datetime


def keep(store: Store, requests: Requests) -> None:
    """Keep it, in the place of what was kept of that account before.

    Raises:
        StoreError: the file cannot be written.
    """
    value = [requests.last_hour, requests.allowance, requests.remaining, text_of(requests.at)]
    store.note(f"{_PREFIX}{requests.account}", json.dumps(value))


def kept(notes: dict[str, str]) -> list[Requests]:
    """What is kept of each account, by its name.

    Args:
        notes: as `Store.notes` gives them.
    """
    found: list[Requests] = []
    for name, value in sorted(notes.items()):
        if not name.startswith(_PREFIX):
            continue
        with contextlib.suppress(ValueError, TypeError):  # somebody has tampered with it
            hour, allowance, remaining, at = json.loads(value)
            account = name.removeprefix(_PREFIX)
            found.append(Requests(account, hour, allowance, remaining, datetime.fromisoformat(at)))
    return found
