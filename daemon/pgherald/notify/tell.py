"""Tells the person: gathers news for a moment, so that forty rotations become one notice.

The log has every piece of news at once, whatever becomes of the notice.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from typing import Final, Protocol

from pgherald.clock import Clock
from pgherald.config.settings import Level, QuietHours
from pgherald.model import News
from pgherald.notify.chat import Chat
from pgherald.notify.desktop import Desktop, Notice, Receipt
from pgherald.notify.quiet import wanted
from pgherald.notify.texts import is_warning, line_for, notice_for, summary_of

#: Seconds that news is gathered for before it is shown.
WINDOW: Final = 0.5

#: Seconds between two looks at the wall clock while news is held back.
_QUIET_LOOK: Final = 60.0

_NOT_SHOWN: Final = "The notice could not be shown: %s."
#: Nothing is lost then, but buttons may be.
_ELSEWHERE: Final = "The notice was shown in another way than usual: %s."


class Kept(Protocol):
    """Remembers what is held back."""

    def load(self) -> Sequence[News]:
        """What was saved last."""
        ...

    def save(self, news: Sequence[News]) -> None:
        """Remember this instead."""
        ...


class Teller:
    """Where news goes. Used on the loop's own thread.

    Args:
        desktop: shows notices; None when the person wants none.
        chat: sends them to chat services; None when there are none.
        clock: times the gathering.
        log: gets one line for each piece of news, whatever is told.
        level: how much is told.
        quiet: when nothing is told, in local time; None for never.
        kept: remembers across restarts what is held back; None to forget it.
        window: seconds that news is gathered for.
        on_receipt: hears after each notice why it was not shown, for `status`; an empty text
            when it was.
        on_told: hears of which news nothing is left to do: it was shown, or is not wanted, or
            is remembered in `kept`.

    Attributes:
        last_receipt: what became of the latest notice on the desktop, for `status`.
        last_chat_receipt: likewise for the chat services.
    """

    def __init__(
        self,
        desktop: Desktop | None,
        chat: Chat | None,
        clock: Clock,
        log: logging.Logger,
        *,
        level: Level = Level.ALL,
        quiet: QuietHours | None = None,
        kept: Kept | None = None,
        window: float = WINDOW,
        on_receipt: Callable[[str], None] | None = None,
        on_told: Callable[[Sequence[News]], None] = lambda _: None,
    ) -> None:
        self._desktop = desktop
        self._chat = chat
        self._clock = clock
        self._log = log
        self._level = level
        self._quiet = quiet
        self._kept = kept
        self._window = window
        self._on_receipt = on_receipt
        self._on_told = on_told
        self._pending: list[News] = []
        self._gathering: asyncio.Task[None] | None = None
        self._hurry = asyncio.Event()
        self._held = False
        self._complaints: dict[str, str] = {}  # backend -> why it showed nothing
        self.last_receipt: Receipt | None = None
        self.last_chat_receipt: Receipt | None = None

    async def tell(self, news: Sequence[News]) -> None:
        """Log the news now and show it in a moment. Never raises, never waits."""
        for item in news:
            self.post(item)

    def post(self, news: News) -> None:
        """Like `tell`, for one piece of news and for callers that cannot await."""
        self._log.log(logging.WARNING if is_warning(news) else logging.INFO, "%s", line_for(news))
        chosen = wanted([news], self._level)
        if not chosen:
            self._on_told([news])
        self._take(chosen)

    def resume(self) -> None:
        """Take up what an earlier teller held back and never told."""
        if self._kept is not None:
            kept = self._kept.load()
            self._held = self._held or bool(kept)
            self._take(kept)

    def _take(self, news: Sequence[News]) -> None:
        self._pending.extend(news)
        if self._held and news:
            self._save()
        if self._pending and self._gathering is None:
            self._gathering = asyncio.get_running_loop().create_task(self._gather())

    async def close(self, within: float = 1.0) -> None:
        """Show at once what is still pending, then let go of the desktop.

        Args:
            within: seconds this may take; what is not shown by then is only in the log.
        """
        self._hurry.set()
        if self._gathering is not None:
            await asyncio.wait({self._gathering}, timeout=within)
        if self._gathering is not None:
            self._gathering.cancel()
            await asyncio.wait({self._gathering})
        if self._desktop is not None:
            await self._desktop.close()

    async def _gather(self) -> None:
        try:
            while self._pending:
                await self._pause(self._window)
                if self._is_quiet():
                    await self._hold()
                if self._is_quiet():
                    return  # `close` was called: it is kept for the next start
                news, self._pending = self._pending, []
                notices = summary_of(news) if self._held else notice_for(news)
                for notice in notices:
                    if not notice.passing or (self._desktop and self._desktop.in_place):
                        await self._show(notice)
                self._on_told(news)
                self._let_go()
        except Exception as exc:  # noqa: BLE001 – telling is never a reason for the daemon to fail
            # No traceback: it could hold more than it should.
            self._log.error("A notice could not be made (%s).", type(exc).__name__)
        finally:
            self._gathering = None

    def _is_quiet(self) -> bool:
        now = self._clock.now().astimezone().time()
        return self._quiet is not None and self._quiet.covers(now)

    async def _hold(self) -> None:
        """Wait for the quiet hours to end, or for `close`; what comes meanwhile is kept."""
        self._held = True
        self._save()
        while self._is_quiet() and not self._hurry.is_set():
            # Not until the very end: the clock may be set, or the machine sleep.
            await self._pause(_QUIET_LOOK)

    def _save(self) -> None:
        if self._kept is not None:
            self._kept.save(self._pending)
            self._on_told(self._pending)

    def _let_go(self) -> None:
        """What was held back has been told."""
        if self._held:
            self._save()
        self._held = bool(self._pending)

    async def _pause(self, seconds: float) -> None:
        """Wait, or for `close`."""
        window = asyncio.ensure_future(self._clock.sleep(seconds))
        hurry = asyncio.ensure_future(self._hurry.wait())
        try:
            await asyncio.wait({window, hurry}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            window.cancel()
            hurry.cancel()

    async def _show(self, notice: Notice) -> None:
        desktop, chat = await asyncio.gather(
            self._desktop.show(notice) if self._desktop else _nothing(),
            # A message in a chat stays, so one that something else replaces soon is noise.
            self._chat.show(notice) if self._chat and not notice.passing else _nothing(),
        )
        if desktop is not None:
            self.last_receipt = desktop
            self._note(desktop)
        if chat is not None:
            self.last_chat_receipt = chat
            self._note(chat)
        if self._on_receipt is not None:
            self._on_receipt("; ".join(self._complaints.values()))

    def _note(self, receipt: Receipt) -> None:
        """Complain once about each reason, and say when it is over."""
        before = self._complaints.pop(receipt.backend, "")
        if receipt.why:
            self._complaints[receipt.backend] = receipt.why
            if receipt.why != before:
                said = _ELSEWHERE if receipt.shown else _NOT_SHOWN
                self._log.warning(said, receipt.why)
        elif before:
            self._log.info("Notices are shown again.")


async def _nothing() -> None:
    return
