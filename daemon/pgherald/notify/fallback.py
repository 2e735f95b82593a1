"""Where a notice goes that the desktop does not show: another way to it, then the terminals.

Never silence: what nobody shows is in the log all the same, and `pgherald status` says why.
"""

from __future__ import annotations

import asyncio
import os
import stat
from collections.abc import Mapping, Sequence
from pathlib import Path

from pgherald import process
from pgherald.clock import Clock
from pgherald.notify.desktop import (
    TIME_LIMIT,
    Backend,
    Desktop,
    Notice,
    NotShown,
    Receipt,
    Urgency,
    clean,
)


class Terminals(Backend):
    """The terminals on which this user is logged in, as `write` and `wall` find them.

    One is written to only if it is the user's own and lets others write (`mesg y`), and never
    waited for. A notice that is of little weight does not disturb anybody's work there.

    Args:
        clock: stamps the receipts.
        environ: our environment; its PATH leads to `who`.
        devices: where terminals are.
        limit: seconds that one notice may take.
    """

    name = "terminals"
    silent = "`who` does not answer"

    def __init__(
        self,
        clock: Clock,
        *,
        environ: Mapping[str, str],
        devices: Path = Path("/dev"),
        limit: float = TIME_LIMIT,
    ) -> None:
        super().__init__(clock, limit=limit)
        self._environ = process.environment(environ)
        self._devices = devices

    async def _send(self, notice: Notice) -> None:
        if notice.passing or notice.urgency is Urgency.LOW:
            raise NotShown("a terminal is not disturbed for it")
        text = "\n".join(["", f"pgherald: {notice.title}", *notice.body.splitlines(), ""])
        # A terminal in raw mode wants both.
        data = text.replace("\n", "\r\n").encode()
        if not sum([_write(terminal, data) for terminal in await self._ours()]):
            raise NotShown("no terminal to write to")

    async def _ours(self) -> list[Path]:
        """The terminals that `who` names, and that are ours."""
        try:
            asked = await process.run(["who"], self._environ | {"LC_ALL": "C"}, out=True)
        except OSError as exc:
            if isinstance(exc, TimeoutError):
                raise
            raise NotShown("`who` is not there to name the terminals") from None
        rows = [line.split() for line in asked.out.splitlines()]
        places = [self._devices / name for name in sorted({row[1] for row in rows if len(row) > 1})]
        return [place for place in places if ".." not in place.parts and _may_write(place)]


def _may_write(terminal: Path) -> bool:
    try:
        found = terminal.stat()
    except (OSError, ValueError):  # such as the display's own line, `:0`
        return False
    ours = found.st_uid == os.getuid()
    return ours and stat.S_ISCHR(found.st_mode) and bool(found.st_mode & stat.S_IWGRP)


def _write(terminal: Path, data: bytes) -> bool:
    """Whether it was written. One that was stopped with Ctrl-S is not waited for."""
    try:
        descriptor = os.open(terminal, os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY)
    except OSError:
        return False
    try:
        return os.write(descriptor, data) == len(data)
    except OSError:
        return False
    finally:
        os.close(descriptor)


class InTurn:
    """Several places, of which the first that shows a notice is enough.

    The receipt of a notice that only a later one has shown says why the first did not.
    """

    def __init__(self, first: Desktop, *others: Desktop) -> None:
        self._all: Sequence[Desktop] = (first, *others)
        self.in_place = first.in_place

    async def show(self, notice: Notice) -> Receipt:
        """Show one notice. Never raises; takes at most the time limits of all."""
        notice = clean(notice)
        receipt = first = await self._all[0].show(notice)
        for place in self._all[1:]:
            if receipt.shown:
                break
            receipt = await place.show(notice)
        if not receipt.shown or receipt is first:
            return first
        return Receipt(True, first.backend, f"{first.why} ({receipt.backend} did)", receipt.at)

    async def close(self) -> None:
        """Let go of what is open. Never raises."""
        await asyncio.gather(*(place.close() for place in self._all))
