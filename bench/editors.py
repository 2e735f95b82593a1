"""How the editors grow: ten times the databases, about ten times the time."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from bench.table import Row
from pgherald.clients.base import TextClient
from pgherald.clients.pgpass import Pgpass
from pgherald.clients.servers_json import ServersJson
from pgherald.clients.service_file import ServiceFile
from pgherald.model import Entry
from support.household import many

FEW: Final = 300
MANY: Final = 3000

#: Times as long for ten times as much: the promise.
PROMISE: Final = 12.0

_RUNS: Final = 5

EDITORS: Final[dict[str, Callable[[], TextClient]]] = {
    "pgpass": Pgpass,
    "service file": ServiceFile,
    "servers.json": ServersJson,
}


def work(editor: TextClient, count: int) -> Callable[[], None]:
    """All that a rotation of all databases asks of an editor."""
    old, new = ([Entry(*each) for each in many(count, version)] for version in (1, 2))
    text = editor.plan(None, old).new
    leaving = {before.key: (before.login,) for before in old}

    def once() -> None:
        editor.read(text)
        editor.plan(text, new, also=leaving)
        editor.plan(text, new)

    return once


def seconds(once: Callable[[], None]) -> float:
    """Processor time of the best of some runs; Python's garbage collector has its own time."""
    best = float("inf")
    gc.collect()
    gc.disable()
    try:
        for _ in range(_RUNS):
            began = time.process_time()
            once()
            best = min(best, time.process_time() - began)
    finally:
        gc.enable()
    return best


async def rows(folder: Path) -> list[Row]:
    """One row for each format."""
    found = []
    for name, make in EDITORS.items():
        few, many = (seconds(work(make(), count)) for count in (FEW, MANY))
        found.append(
            Row(
                f"{name}: {MANY:,} databases rotate instead of {FEW}",
                f"{many:.2f} s",
                f"{few:.3f} s for {FEW}",
                f"{many / few:.1f}",
                good=many / few <= PROMISE,
            )
        )
    return found
