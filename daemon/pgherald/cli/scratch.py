"""A throw-away Postgres in a throw-away folder, for `demo` and `simulate`."""

from __future__ import annotations

import contextlib
import signal
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

from pgherald.files import Files
from pgherald.simulator.postgres import Cluster


@contextlib.contextmanager
def scratch(purpose: str) -> Iterator[tuple[Path, Cluster]]:
    """Make both, and leave nothing of them behind, also when told to stop meanwhile.

    Args:
        purpose: becomes part of the folder's name.

    Raises:
        MissingTool: there is no Postgres, or an extra package is missing.
    """
    folder = Path(tempfile.mkdtemp(prefix=f"pgherald-{purpose}-")).resolve()
    with _ended_in_order():
        try:
            with Cluster.start(folder / "postgres") as cluster:
                yield folder, cluster
        finally:
            Files(folder / "locks").remove_tree(folder)


@contextlib.contextmanager
def _ended_in_order() -> Iterator[None]:
    """Let SIGTERM unwind the program, as Ctrl-C does, instead of ending it on the spot."""
    before = signal.signal(signal.SIGTERM, _exit)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _exit(number: int, _: object) -> NoReturn:
    sys.exit(128 + number)
