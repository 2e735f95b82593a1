"""Desktop notifications on macOS, through `osascript`, which every Mac has."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from pgherald import process
from pgherald.clock import Clock
from pgherald.notify.desktop import TIME_LIMIT, Backend, Notice
from pgherald.notify.outside import run

#: The texts come in as arguments, so nothing in them is ever taken for AppleScript.
SCRIPT: Final = """\
on run argv
    display notification (item 2 of argv) with title (item 1 of argv)
end run
"""


class MacDesktop(Backend):
    """The Notification Center. It cannot replace an earlier notice, nor does it know urgency.

    `osascript` succeeds even when the person has turned its notifications off, so
    "shown" means "handed to the Notification Center".
    """

    name = "osascript"
    too_slow = "osascript does not answer"

    def __init__(
        self, clock: Clock, *, environ: Mapping[str, str], limit: float = TIME_LIMIT
    ) -> None:
        super().__init__(clock, limit=limit)
        self._environ = process.environment(environ)

    async def _send(self, notice: Notice) -> None:
        # "-": the script comes on stdin. What follows is text even if it begins with "-".
        argv = ["osascript", "-", notice.title, notice.body]
        await run(argv, self._environ, stdin=SCRIPT)
