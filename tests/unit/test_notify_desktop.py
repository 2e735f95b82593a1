"""The frame of every desktop back end."""

from __future__ import annotations

import asyncio

import pytest

from pgherald.notify import desktop_for
from pgherald.notify.desktop import (
    Backend,
    NoDesktop,
    Notice,
    NotShown,
    Receipt,
    Urgency,
    clean,
)


class Scripted(Backend):
    """A back end that does what the test says."""

    name = "scripted"

    def __init__(
        self, does: Exception | float | None, *others: Backend, limit: float = 5.0
    ) -> None:
        super().__init__(limit=limit, others=others)
        self._does = does
        self.sent: list[Notice] = []

    async def _send(self, notice: Notice) -> None:
        self.sent.append(notice)
        if isinstance(self._does, Exception):
            raise self._does
        if self._does is not None:
            await asyncio.sleep(self._does)


@pytest.mark.parametrize(
    ("does", "why"),
    [
        (None, ""),
        (NotShown("nobody is there"), "nobody is there"),
        (TimeoutError(), "scripted does not answer"),
        (KeyError("postgres://u:CANARY-pw-1@h/d"), "unexpected trouble (KeyError)"),
    ],
)
async def test_the_receipt(does: Exception | None, why: str) -> None:
    """Whatever a back end meets becomes a receipt, without the text of a stranger's exception."""
    receipt = await Scripted(does).show(Notice("x"))
    assert receipt == Receipt(not why, "scripted", why)


async def test_never_waits_longer_than_the_limit() -> None:
    """A back end that hangs is given up when the time is up."""
    receipt = await Scripted(3600.0, limit=0.01).show(Notice("x"))
    assert (receipt.shown, receipt.why) == (False, "scripted does not answer")


async def test_others_stand_in_for_it() -> None:
    """The first that shows a notice is enough, and the receipt says why it was not the usual one."""
    silent, works, idle = Scripted(NotShown("no bus")), Scripted(None), Scripted(None)
    receipt = await Scripted(NotShown("no server"), silent, works, idle).show(Notice("x\0"))
    assert receipt == Receipt(True, "scripted", "no server (scripted did)")
    assert (works.sent, idle.sent) == ([Notice("x ")], [])
    receipt = await Scripted(NotShown("no server"), silent).show(Notice("x"))
    assert receipt == Receipt(False, "scripted", "no server")


async def test_being_cancelled_is_not_swallowed() -> None:
    """A daemon that ends is not held up by a notice."""
    showing = asyncio.create_task(Scripted(3600.0).show(Notice("x")))
    await asyncio.sleep(0)
    showing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await showing


async def test_every_back_end_gets_clean_text() -> None:
    """Control characters and broken Unicode never reach a back end; letters and line breaks do."""
    desktop = Scripted(None)
    await desktop.show(Notice("a\0b\nc", "d\x1be\nf\udcff", Urgency.LOW, "key"))
    assert desktop.sent == [Notice("a b c", "d e\nf?", Urgency.LOW, "key")]
    notice = Notice("Žluťoučký 🐘", "日本語\n“quoted” & <b>")
    assert clean(notice) == notice


async def test_no_desktop_says_so() -> None:
    """An unknown platform shows nothing, and the receipt says why."""
    desktop = desktop_for("plan9", environ={})
    assert isinstance(desktop, NoDesktop)
    receipt = await desktop.show(Notice("x"))
    await desktop.close()
    assert (receipt.shown, receipt.backend) == (False, "none")
    assert "platform" in receipt.why
