"""What one probe means for a login, by the person's policy. Pure."""

from __future__ import annotations

import enum

from pgherald.model import ProbePolicy
from pgherald.sync.probe import Proof


class Verdict(enum.Enum):
    """What one probe means for a login."""

    WRITE = enum.auto()
    AGAIN = enum.auto()
    GIVE_UP = enum.auto()


def judge(policy: ProbePolicy, proof: Proof, *, last: bool) -> Verdict:
    """Decide by the person's policy.

    A proven login is written. Under `prefer` so is one that nobody could try (a firewall, a
    sleeping network); one that the server itself refused gets its second chances first.
    """
    if proof.works:
        return Verdict.WRITE
    if policy is ProbePolicy.PREFER and (last or not proof.answered or not proof.transient):
        return Verdict.WRITE
    if last or not proof.transient:
        return Verdict.GIVE_UP
    return Verdict.AGAIN
