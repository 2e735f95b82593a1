"""Chat and mail, for those who ask for it: `[notifications] urls`, through apprise.

The URLs hold tokens, so they are secrets; so do the log lines that apprise and the
libraries below it write, which is why those are silenced.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from typing import Final

from pgherald.aio import in_thread
from pgherald.clock import Clock
from pgherald.errors import MissingTool
from pgherald.notify.desktop import Notice, Receipt, Urgency
from pgherald.secret import Secret

#: Seconds that all services together may take. A mail server can be slow.
TIME_LIMIT: Final = 15.0

#: Loggers that print whole URLs, tokens included.
TALKATIVE: Final = ("apprise", "urllib3", "requests")


class Chat:
    """The services behind the URLs, all told at the same time.

    Args:
        urls: apprise's URLs.
        clock: stamps the receipts.
        limit: seconds that one notice may take, all services together.

    Raises:
        MissingTool: URLs are configured, and apprise is not installed.
    """

    def __init__(self, urls: Sequence[Secret], clock: Clock, *, limit: float = TIME_LIMIT) -> None:
        self._urls = tuple(urls)
        self._clock = clock
        self._limit = limit
        if self._urls:
            _silence()
            try:
                import apprise  # noqa: F401 – heavy and optional; asked for now so that a missing one shows at the start
            except ImportError:
                raise MissingTool(
                    "`[notifications] urls` needs the package apprise",
                    "Install pgherald with the extra `chat`, from a clone: pipx install '.[chat]'",
                ) from None

    async def show(self, notice: Notice) -> Receipt:
        """Tell every service. Never raises; takes at most the time limit.

        The receipt says "shown" when every service took the notice; else it counts
        those that did not, without naming them, since their names are secret.
        """
        told = [asyncio.create_task(self._tell(url, notice)) for url in self._urls]
        if told:
            await asyncio.wait(told, timeout=self._limit)
        failed = sum(not (task.done() and task.result()) for task in told)
        for task in told:
            task.cancel()
        why = f"{failed} of {len(told)} chat services did not take it" if failed else ""
        return Receipt(not failed, "chat", why, self._clock.now())

    async def _tell(self, url: Secret, notice: Notice) -> bool:
        try:
            return await in_thread(lambda: _post(url, notice))
        except Exception:  # noqa: BLE001 – a stranger's exception may hold the URL: only the failure counts
            return False


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


def _silence() -> None:
    for name in TALKATIVE:
        logging.getLogger(name).setLevel(logging.CRITICAL + 1)
