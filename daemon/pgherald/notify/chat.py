"""Chat and mail, for those who ask for it: `[notifications] urls`, through apprise.

The URLs hold tokens, so they are secrets; so do the log lines that apprise and the
libraries below it write, which is why those are silenced.
"""

from __future__ import annotations

import asyncio
import importlib.util
import logging
from collections.abc import Sequence
from functools import partial
from typing import Final

from pgherald.aio import in_thread
from pgherald.errors import MissingTool
from pgherald.notify.desktop import Backend, Notice, NotShown, Urgency
from pgherald.secret import Secret

#: Seconds that all services together may take. A mail server can be slow.
TIME_LIMIT: Final = 15.0

#: Loggers that print whole URLs, tokens included.
TALKATIVE: Final = ("apprise", "urllib3", "requests")


class Chat(Backend):
    """The services behind the URLs, all notified at the same time.

    Args:
        urls: apprise's URLs.
        limit: seconds that one notice may take, all services together.

    Raises:
        MissingTool: URLs are configured, and apprise is not installed.
    """

    name = "chat"

    def __init__(self, urls: Sequence[Secret], *, limit: float = TIME_LIMIT) -> None:
        super().__init__(limit=None)
        self._urls = tuple(urls)
        self._each = limit
        if self._urls:
            for name in TALKATIVE:
                logging.getLogger(name).setLevel(logging.CRITICAL + 1)
            if importlib.util.find_spec("apprise") is None:
                raise MissingTool(
                    "`[notifications] urls` needs the package apprise",
                    "Install pgherald with the extra `chat`, from a clone: pipx install --force '.[chat]'",
                )

    async def _send(self, notice: Notice) -> None:
        """Send it to every service.

        Those that did not take it are counted, not named, since their names are secret.
        """
        posts = [
            asyncio.wait_for(in_thread(partial(_post, url, notice)), self._each)
            for url in self._urls
        ]
        # A stranger's exception may hold the URL: only the failure counts.
        taken = await asyncio.gather(*posts, return_exceptions=True)
        if failed := sum(result is not True for result in taken):
            raise NotShown(f"{failed} of {len(taken)} chat services did not take it")


def _post(url: Secret, notice: Notice) -> bool:
    import apprise  # heavy, and only there when wanted

    service = apprise.Apprise.instantiate(url.reveal())
    if service is None:  # not a URL that apprise knows
        return False
    kind = {
        Urgency.LOW: apprise.NotifyType.INFO,
        Urgency.NORMAL: apprise.NotifyType.INFO,
        Urgency.CRITICAL: apprise.NotifyType.WARNING,
    }[notice.urgency]
    return bool(
        service.notify(title=notice.title, body=notice.body or notice.title, notify_type=kind)
    )
