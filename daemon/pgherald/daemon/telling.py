"""Builds whoever notifies the person, from a configuration."""

from __future__ import annotations

import logging
import sys

from pgherald.config import Config
from pgherald.daemon.wiring import Outside
from pgherald.notify import desktop_for
from pgherald.notify.chat import Chat
from pgherald.notify.desktop import Backend
from pgherald.notify.tell import Teller
from pgherald.store import BackgroundStore


def teller_of(config: Config, outside: Outside, store: BackgroundStore) -> Teller:
    """Whoever notifies the person, as the configuration wants it."""
    wanted = config.notifications
    places = [_desktop(config, outside)] if wanted.desktop else []
    if wanted.urls:
        places.append(Chat(wanted.urls))
    log = logging.getLogger("pgherald")
    return Teller(places, outside.clock, log, store, level=wanted.level, quiet=wanted.quiet)


def _desktop(config: Config, outside: Outside) -> Backend:
    from pgherald.notify.opening import Opener  # only where there is a desktop

    return desktop_for(
        sys.platform,
        environ=outside.env,
        opener=Opener(outside.env, outside.home, config.path),
        terminals=config.notifications.terminals,
    )
