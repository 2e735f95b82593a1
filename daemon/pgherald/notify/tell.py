"""Notifies the person: gathers news for a moment, so that forty rotations become one notice.

The log has every piece of news at once, whatever becomes of the notice. The configured level
leaves some news out, and quiet hours hold it back, across restarts if need be.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Sequence
from dataclasses import asdict
from typing import Final

from pgherald import plain
from pgherald.aio import first_of
from pgherald.clock import Clock
from pgherald.config.schema import Level
from pgherald.config.values import QuietHours
from pgherald.model import News, NewsKind
from pgherald.notify.desktop import Backend, Notice, Receipt
from pgherald.notify.texts import is_warning, line_for, needs_hand, notice_for, summary_of
from pgherald.store import Store

#: Seconds that news is gathered for before it is shown.
WINDOW: Final = 0.5

#: Seconds between two readings of the wall clock while news is held back.
_QUIET_STEP: Final = 60.0

_NOT_SHOWN: Final = "The notice could not be shown: %s."
#: Nothing is lost then, but buttons may be.
_ELSEWHERE: Final = "The notice was shown in another way than usual: %s."


#: Notes of the state file: what is held back, and why the latest notice could not be shown.
_HELD: Final = "held"
_HINDRANCE: Final = "notifications"


class Teller:
    """Where news goes. Used on the loop's own thread.

    Args:
        places: show notices: the desktop, chat services; none when the person wants none.
        clock: times the gathering.
        log: gets one line for each piece of news, whatever is shown.
        store: remembers across restarts what is held back; which rotations no start has to notify
            of any more, since they were shown, are not wanted or are held back; and, for
            `status`, why a notice was not shown.
        level: how much is shown.
        quiet: when nothing is shown, in local time; None for never.
    """

    def __init__(
        self,
        places: Sequence[Backend],
        clock: Clock,
        log: logging.Logger,
        store: Store,
        *,
        level: Level = Level.ALL,
        quiet: QuietHours | None = None,
    ) -> None:
        self._places = places
        self._clock = clock
        self._log = log
        self._store = store
        self._level = level
        self._quiet = quiet
        self._pending: list[News] = []
        self._gathering: asyncio.Task[None] | None = None
        self._hurry = asyncio.Event()
        self._held = False
        self._complaints: dict[str, str] = {}  # backend -> why it showed nothing
        if not places:
            store.note(_HINDRANCE, "")  # from before, and nothing hinders what is not wanted

    def post(self, news: News) -> None:
        """Log the news now and show it in a moment. Never raises, never waits."""
        self._log.log(logging.WARNING if is_warning(news) else logging.INFO, "%s", line_for(news))
        if wanted(news, self._level):
            self._take([news])
        else:
            self._told([news])

    def resume(self) -> None:
        """Take up what an earlier teller held back and never told."""
        kept = _from_text(self._store.notes().get(_HELD, ""))
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
        for place in self._places:
            await place.close()

    async def _gather(self) -> None:
        try:
            while self._pending:
                await self._pause(WINDOW)
                if self._is_quiet():
                    await self._hold()
                if self._is_quiet():
                    return  # `close` was called: it is kept for the next start
                news, self._pending = self._pending, []
                notices = summary_of(news) if self._held else notice_for(news)
                for notice in notices:
                    await self._show(notice)
                self._told(news)
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
            await self._pause(_QUIET_STEP)

    def _save(self) -> None:
        self._store.note(_HELD, _to_text(self._pending))
        self._told(self._pending)

    def _told(self, news: Sequence[News]) -> None:
        keys = [item.subject.database for item in news if item.kind is NewsKind.ROTATED]
        if keys:
            self._store.told([key for key in keys if key is not None])

    def _let_go(self) -> None:
        """What was held back has been told."""
        if self._held:
            self._save()
        self._held = bool(self._pending)

    async def _pause(self, seconds: float) -> None:
        """Wait, or for `close`."""
        await first_of(self._clock.sleep(seconds), self._hurry.wait())

    async def _show(self, notice: Notice) -> None:
        # Where nothing is replaced, a notice that something else replaces soon is noise.
        places = [each for each in self._places if each.in_place or not notice.passing]
        for receipt in await asyncio.gather(*(place.show(notice) for place in places)):
            self._note(receipt)
        if places:
            self._store.note(_HINDRANCE, "; ".join(self._complaints.values()))

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


def wanted(news: News, level: Level) -> bool:
    """Whether a person who chose that level is notified of it."""
    if level is Level.ALL or news.kind in (NewsKind.TROUBLE, NewsKind.RECOVERED) or news.behind:
        return True
    if level is Level.ROTATIONS:
        return news.kind is not NewsKind.ADDED
    return needs_hand(news)


def _to_text(news: Sequence[News]) -> str:
    """News as text that can be kept across a restart; it holds no secret, as news never does."""
    return plain.as_json([asdict(n) for n in news], indent=None) if news else ""


def _from_text(text: str) -> list[News]:
    """The way back from `_to_text`; nothing from what is not understood."""
    try:
        return [plain.read(News, fields) for fields in json.loads(text or "[]")]
    except (ValueError, TypeError, KeyError):
        return []
