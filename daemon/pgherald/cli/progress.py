"""A line that says what takes so long: on stderr, on a terminal, from the first second on."""

from __future__ import annotations

import contextlib
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Final

import click

#: Seconds in which nothing is said: most of the time all is over by then.
PATIENCE: Final = 1.0

#: Seconds between two looks at what is being done.
_PAUSE: Final = 0.2


@contextlib.contextmanager
def progress(doing: Callable[[], str]) -> Iterator[Callable[[str], None]]:
    """Meanwhile, show what is being done, and take it away in the end.

    A thread shows it, so that it turns also while the main thread is busy.

    Args:
        doing: says what is being done, in a few words; is called from that thread.

    Yields:
        A function that prints a line, which stays.
    """
    if not sys.stderr.isatty():
        yield lambda line: click.echo(line, err=True)
        return
    from rich.console import Console  # only a terminal needs it

    console, over = Console(stderr=True), threading.Event()

    def turn() -> None:
        if over.wait(PATIENCE):
            return
        with console.status(f"{doing()} …") as shown:
            while not over.wait(_PAUSE):
                shown.update(f"{doing()} …")

    thread = threading.Thread(target=turn, name="progress", daemon=True)
    thread.start()
    try:
        yield lambda line: console.print(line, markup=False, highlight=False)
    finally:
        over.set()
        thread.join()
