"""`pgherald status --watch`: the table, alive."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Final

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.text import Text

from pgherald.cli.columns import drawn, fitting, plain
from pgherald.cli.standing import can_show_marks, columns, last_lines, legend, problems
from pgherald.errors import StoreError
from pgherald.store.status_file import Shown

#: Seconds between two looks at the state file, which cost next to nothing.
_PAUSE: Final = 1.0


def watch(read: Callable[[], Shown]) -> None:
    """Draw what is read, again whenever it would look different, until Ctrl-C or SIGTERM.

    Args:
        read: reads the state anew. While it cannot be read, that is shown.
    """
    # However this ends, the terminal gets its own screen back.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    console = Console()
    shown: object = None
    try:
        with Live(console=console, screen=True, auto_refresh=False) as live:
            while True:
                parts = list(_parts(read, console.width))
                looks = (console.size, [text for text, _ in parts])
                if looks != shown:
                    live.update(Group(*(part for _, part in parts)), refresh=True)
                    shown = looks
                time.sleep(_PAUSE)
    except KeyboardInterrupt:
        return


def _parts(read: Callable[[], Shown], width: int) -> Iterator[tuple[str, RenderableType]]:
    """What is drawn, top to bottom: as text, by which a change is seen, and as it looks."""
    try:
        shown = read()
    except StoreError as exc:
        yield str(exc), Text(str(exc), style="red")
        return
    now = datetime.now(UTC)
    for title, advice in problems(shown, now):
        yield title, Text(title, style="red")
        yield advice, Text(f"  {advice}")
    marks = can_show_marks()
    if shown["databases"]:
        table = fitting(columns(shown, now, marks=marks), width)
        yield "\n".join(plain(table)), drawn(table)
    for line in (legend(shown, marks=marks), *last_lines(shown), "Ctrl-C ends this."):
        if line:
            yield line, Text(line)
