"""Builds whoever tells the person, from a configuration."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Sequence
from functools import partial

from pgherald.config import Config
from pgherald.daemon.wiring import Outside
from pgherald.model import News, NewsKind
from pgherald.notify import desktop_for
from pgherald.notify.chat import Chat
from pgherald.notify.desktop import Backend
from pgherald.notify.tell import Teller, from_text, to_text
from pgherald.store import BackgroundStore


class _Held:
    """Keeps in the store what quiet hours hold back."""

    def __init__(self, store: BackgroundStore) -> None:
        self._store = store

    def load(self) -> list[News]:
        return from_text(self._store.notes().get("held", ""))

    def save(self, news: Sequence[News]) -> None:
        self._store.note("held", to_text(news))


def teller_of(
    config: Config,
    outside: Outside,
    store: BackgroundStore,
    on_receipt: Callable[[str], None] | None = None,
) -> Teller:
    """Whoever tells the person, as the configuration wants it."""
    wanted = config.notifications
    return Teller(
        _desktop(config, outside) if wanted.desktop else None,
        Chat(wanted.urls) if wanted.urls else None,
        outside.clock,
        logging.getLogger("pgherald"),
        level=wanted.level,
        quiet=wanted.quiet,
        kept=_Held(store),
        on_receipt=on_receipt,
        on_told=partial(_told, store),
    )


def _told(store: BackgroundStore, news: Sequence[News]) -> None:
    """No other start has to notify of these rotations."""
    keys = [item.subject.database for item in news if item.kind is NewsKind.ROTATED]
    if keys:
        store.told([key for key in keys if key is not None])


def _desktop(config: Config, outside: Outside) -> Backend:
    from pgherald.notify.opening import Opener  # only where there is a desktop

    return desktop_for(
        sys.platform,
        environ=outside.env,
        opener=Opener(outside.env, outside.home, config.path),
        terminals=config.notifications.terminals,
    )
