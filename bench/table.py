"""The table, and where it is kept."""

from __future__ import annotations

import os
import platform
import re
import statistics
import time
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[1]
RESULTS: Final = ROOT / "bench" / "results.md"
README: Final = ROOT / "README.md"

BEGIN: Final = "<!-- bench: written by `make bench` -->"
END: Final = "<!-- bench: end -->"

_HEAD: Final = "| | pgherald | instead | ratio |\n|---|---|---|---|\n"


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table: what was measured, our number, another one with what that is.

    `ratio` is one as a part of the other; `good`, whether it keeps what was promised, if anything.
    """

    what: str
    ours: str
    other: str
    ratio: str = ""
    good: bool | None = None

    def __str__(self) -> str:
        """The line in Markdown."""
        return f"| {self.what} | {self.ours} | {self.other} | {self.ratio} |"


def ratio(ours: float, other: float) -> str:
    """Ours as a multiple of the other, in two digits."""
    return f"{ours / other:.2g}" if other else ""


async def median(runs: int, once: Callable[[], Awaitable[object]]) -> float:
    """Seconds that something takes, once it has been done before."""
    took = []
    for _ in range(runs + 1):
        began = time.monotonic()
        await once()
        took.append(time.monotonic() - began)
    return statistics.median(took[1:])


def markdown(rows: Iterable[Row]) -> str:
    """The table."""
    return _HEAD + "".join(f"{row}\n" for row in rows)


def save(rows: Iterable[Row]) -> None:
    """Keep the table, and show it in README."""
    table = markdown(rows)
    machine = f"{platform.system()}, {os.cpu_count()} cores, Python {platform.python_version()}"
    RESULTS.write_text(f"# What it costs\n\n`make bench` on {machine}.\n\n{table}")
    README.write_text(shown_in(README.read_text(), table))


def shown_in(text: str, table: str) -> str:
    """The text with this table between its marks.

    Raises:
        ValueError: it has no marks.
    """
    pattern = re.compile(f"{re.escape(BEGIN)}\n.*?{re.escape(END)}", re.DOTALL)
    new, count = pattern.subn(lambda _: f"{BEGIN}\n{table}{END}", text)
    if count != 1:
        raise ValueError("there is no place for the table")
    return new
