"""What a check is, and how all of them are run.

They run at once. Each has its time limit, and one that hangs or stumbles is a finding like
any other and stops nobody else.
"""

from __future__ import annotations

import asyncio
import enum
import inspect
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final, cast

from pgherald.aio import in_thread
from pgherald.errors import PgheraldError, safe_text

#: Seconds that a check may take, unless it says otherwise.
TIME_LIMIT: Final = 10.0


class Verdict(enum.StrEnum):
    """What came of looking at one thing."""

    GOOD = "good"
    """As it should be."""
    NOTE = "note"
    """Worth knowing; nothing has to be done."""
    BAD = "bad"
    """Something is to be done; the advice says what."""


@dataclass(frozen=True, slots=True)
class Finding:
    """What was found, without any secret in it.

    Attributes:
        verdict: whether it is as it should be.
        title: what was found, in one line.
        advice: how to mend it: a command, wherever there is one.
    """

    verdict: Verdict
    title: str
    advice: str = ""


def good(title: str) -> Finding:
    """Something that is as it should be."""
    return Finding(Verdict.GOOD, title)


def note(title: str, advice: str = "") -> Finding:
    """Something worth knowing."""
    return Finding(Verdict.NOTE, title, advice)


def bad(title: str, advice: str) -> Finding:
    """Something that is to be mended."""
    return Finding(Verdict.BAD, title, advice)


def trouble(error: PgheraldError, prefix: str = "") -> Finding:
    """An error as a finding."""
    return bad(prefix + error.title, error.advice)


Found = Iterable[Finding]


@dataclass(frozen=True, slots=True)
class Check:
    """Something to look at.

    Attributes:
        area: what it belongs to, for people.
        name: a stable word, for scripts.
        look: gives the findings. One that is not `async` runs in a thread of its own.
        limit: seconds that it may take.
    """

    area: str
    name: str
    look: Callable[[], Found | Awaitable[Found]]
    limit: float = TIME_LIMIT


@dataclass(frozen=True, slots=True)
class Examined:
    """A check and what it found."""

    check: Check
    findings: tuple[Finding, ...]


async def examine(
    checks: Sequence[Check], looking: Callable[[Sequence[Check]], None] = lambda _: None
) -> list[Examined]:
    """Run all checks at once; what they found, in the checks' order.

    Args:
        checks: what to look at.
        looking: hears, whenever one is done, which are still under way.
    """
    under_way = list(checks)

    async def run(check: Check) -> tuple[Finding, ...]:
        try:
            return await _run(check)
        finally:
            under_way.remove(check)
            looking(tuple(under_way))

    looking(tuple(under_way))
    # One check that stumbles stops no other.
    found = await asyncio.gather(*map(run, checks), return_exceptions=True)
    return [
        Examined(check, (_failed(check, each),) if isinstance(each, BaseException) else each)
        for check, each in zip(checks, found, strict=True)
    ]


def findings_json(examined: Sequence[Examined]) -> list[dict[str, str]]:
    """What was found, in the shape that `pgherald doctor --json` prints."""
    return [
        {
            "area": each.check.area,
            "check": each.check.name,
            "verdict": finding.verdict,
            "title": finding.title,
            "advice": finding.advice,
        }
        for each in examined
        for finding in each.findings
    ]


async def _run(check: Check) -> tuple[Finding, ...]:
    async with asyncio.timeout(check.limit):
        if inspect.iscoroutinefunction(check.look):
            return tuple(await check.look())
        look = cast("Callable[[], Found]", check.look)
        return tuple(await in_thread(lambda: list(look())))


def _failed(check: Check, error: BaseException) -> Finding:
    if isinstance(error, TimeoutError):
        return bad(
            f"{check.area}, {check.name}: no end after {check.limit:g} seconds",
            "Something hangs there: the network, a network folder, or another program.",
        )
    if isinstance(error, PgheraldError):
        return trouble(error)
    return bad(
        f"{check.area}, {check.name}: could not be looked at ({safe_text(error)})",
        "Please report this: `pgherald doctor --bundle` makes the report.",
    )
