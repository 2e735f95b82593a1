"""Measure, print and keep."""

from __future__ import annotations

import asyncio
import importlib
import sys
import tempfile
import time
from pathlib import Path
from typing import Final

from bench.table import Row, save

#: The parts, in the order of the table. Each is a module with `async def rows(folder: Path)`.
PARTS: Final = ("latency", "requests", "mass", "memory", "commands", "editors")


async def main(wanted: list[str]) -> int:
    """Run the parts that are wanted, all by default; the table is kept when all ran."""
    if unknown := set(wanted) - set(PARTS):
        print(f"no such part: {', '.join(sorted(unknown))}; there are: {', '.join(PARTS)}")
        return 2
    found: list[Row] = []
    for part in wanted or PARTS:
        began = time.monotonic()
        with tempfile.TemporaryDirectory(prefix="pgherald-bench-") as folder:
            rows: list[Row] = await importlib.import_module(f"bench.{part}").rows(Path(folder))
        found += rows
        print(f"# {part}, {time.monotonic() - began:.0f} s", flush=True)
        for row in rows:
            print(row, "" if row.good is not False else "  <-- not as promised", flush=True)
    if not wanted:
        save(found)
    return 0


if __name__ == "__main__":
    sys.exit(asyncio.run(main(sys.argv[1:])))
