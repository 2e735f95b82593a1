"""Programs that a test starts, in an environment made from nothing."""

from __future__ import annotations

import asyncio
import json
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

#: Seconds that anything may take before a test gives up on it.
LIMIT = 100.0


@dataclass(frozen=True, slots=True)
class Done:
    """How a program ended."""

    code: int
    out: str
    err: str

    @property
    def ok(self) -> bool:
        return self.code == 0

    @property
    def json(self) -> Any:
        return json.loads(self.out)


async def start(
    argv: Sequence[Any],
    env: Mapping[str, str],
    cwd: Path,
    prepare: Callable[[], None] | None = None,
) -> Process:
    """Start a program; the caller ends it."""
    return await asyncio.create_subprocess_exec(
        *argv, env=env, cwd=cwd, stdin=DEVNULL, stdout=PIPE, stderr=PIPE, preexec_fn=prepare
    )


async def run_to_its_end(
    argv: Sequence[Any],
    env: Mapping[str, str],
    cwd: Path,
    *,
    prepare: Callable[[], None] | None = None,
    limit: float = LIMIT,
) -> Done:
    """Run a program to its end, or end it when the time is up."""
    child = await start(argv, env, cwd, prepare)
    try:
        async with asyncio.timeout(limit):
            out, err = await child.communicate()
    except BaseException:
        child.kill()
        await child.wait()
        raise
    assert child.returncode is not None
    return Done(child.returncode, out.decode(), err.decode())
