"""Runs the programs that show a notice or act on it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pgherald import process
from pgherald.notify.desktop import NotShown


async def run(
    argv: Sequence[str],
    environ: Mapping[str, str],
    *,
    stdin: str = "",
    time_limit: float | None = process.TIME_LIMIT,
) -> None:
    """Run a program to its end. See `pgherald.process.run`.

    Raises:
        NotShown: it is not there, or it failed; says which.
        TimeoutError: it did not end in time, and was killed.
    """
    try:
        ended = await process.run(argv, environ, stdin=stdin, time_limit=time_limit)
    except TimeoutError:
        raise
    except OSError as problem:
        raise NotShown(f"{argv[0]} cannot be run: {problem.strerror}") from None
    if ended.code:
        raise NotShown(f"{argv[0]} failed with exit code {ended.code}")
