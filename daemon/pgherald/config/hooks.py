"""The part of the schema that says which programs are run on what happens."""

from __future__ import annotations

from dataclasses import dataclass

from pgherald.config import values
from pgherald.config.meta import key
from pgherald.config.settings import HookEvent


@dataclass(frozen=True, slots=True)
class HookTable:
    """One of `[[hooks]]`."""

    on: HookEvent = key(
        values.HOOK_EVENT,
        "What it is run on: a rotation that is in the clients, a trouble, the end of one.",
        example="rotation",
    )
    command: tuple[str, ...] = key(
        values.TEXT,
        "The program and its arguments. No shell looks at them, and the program is looked for on "
        "the daemon's PATH.",
        example=["notify-my-team", "--channel", "databases"],
        many=True,
    )
    time_limit: float = key(
        values.DURATION,
        "It is killed, with all that it has started, when it takes longer. At most one hour.",
        default=30.0,
        default_text='`"30s"`',
        example="30s",
    )
