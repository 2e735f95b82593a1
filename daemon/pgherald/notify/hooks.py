"""Hooks: programs of the person's own, run on what happens.

No shell, a short list of variables, the facts as JSON on stdin, and never a secret: a hook that
needs a password asks `pgherald password`. What a hook prints is thrown away, since it may be just
such a password. The runs of one hook follow each other; hooks do not wait for each other.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from pgherald import process
from pgherald.config.schema import Hook, HookEvent
from pgherald.errors import PgheraldError, safe_text
from pgherald.model import About, AlertSink, News, NewsKind, Subject
from pgherald.notify.desktop import NotShown, clean_text, run
from pgherald.notify.texts import line_for

log = logging.getLogger(__name__)

#: What is run on what.
EVENTS: Final = {
    NewsKind.ROTATED: HookEvent.ROTATION,
    NewsKind.TROUBLE: HookEvent.TROUBLE,
    NewsKind.RECOVERED: HookEvent.RECOVERY,
}

#: Runs of one hook that may wait for their turn; of forty rotations none is left out.
WAITING: Final = 200


class HookFailed(PgheraldError):
    """A hook could not be run, failed, or took too long."""


class Hooks:
    """Runs the hooks of a configuration.

    Args:
        hooks: what to run on what.
        environ: our environment, of which a hook sees a part.
        config: the configuration file, so that a hook's `pgherald password` reads the same one.
        alerts: takes the alerts about those that fail.
    """

    def __init__(
        self,
        hooks: Sequence[Hook],
        environ: Mapping[str, str],
        config: Path,
        alerts: AlertSink,
    ) -> None:
        also = process.SESSION | process.OURS
        self._environ = process.environment(environ, also, PGHERALD_CONFIG=str(config))
        self._alerts = alerts
        # Runs of one hook follow each other: a lock lets in whoever came first.
        self._turns = {hook: asyncio.Lock() for hook in hooks}
        self._runs: dict[asyncio.Task[None], Hook] = {}

    def post(self, news: News) -> None:
        """Run what is to be run on it. Returns at once."""
        if news.subject.about is About.HOOK:
            return  # a hook that fails must not run one that fails
        for hook in self._turns:
            if EVENTS.get(news.kind) is not hook.on:
                continue
            if list(self._runs.values()).count(hook) > WAITING:
                log.warning("The hook %s is too slow: left out for %s.", name_of(hook), news.label)
                continue
            task = asyncio.create_task(self._run(hook, news))
            self._runs[task] = hook
            task.add_done_callback(self._ended)

    async def finished(self) -> None:
        """Wait until every hook that was to be run has ended."""
        while self._runs:
            await asyncio.wait(self._runs)

    async def close(self, within: float) -> None:
        """Wait for what runs, but no longer than `within` seconds; then kill it."""
        try:
            async with asyncio.timeout(within):
                await self.finished()
        except TimeoutError:
            log.warning("Hooks that still ran, or waited for their turn, were ended.")
        for task in self._runs:
            task.cancel()
        await self.finished()

    def _ended(self, task: asyncio.Task[None]) -> None:
        del self._runs[task]
        if not task.cancelled() and (exc := task.exception()) is not None:
            log.error("A hook could not be run: %s", safe_text(exc))

    async def _run(self, hook: Hook, news: News) -> None:
        facts = facts_of(news)
        given = {
            "PGHERALD_EVENT": facts["event"],
            "PGHERALD_DATABASE": facts["database"] or "",
            "PGHERALD_SERVICE": news.service,
            "PGHERALD_NAME": news.label,
            "PGHERALD_TEXT": facts["text"],
        }
        environ = self._environ | {name: clean_text(value) for name, value in given.items()}
        text = json.dumps(facts) + "\n"
        why = ""
        async with self._turns[hook]:
            try:
                await run(hook.command, environ, stdin=text, time_limit=hook.time_limit)
            except TimeoutError:
                why = f"was killed after {hook.time_limit:g} s"
            except NotShown as problem:
                why = str(problem).removeprefix(f"{hook.command[0]} ")
        if why:
            advice = (
                f"It is run on each {hook.on}, and has to end with exit code 0 within its "
                f"`time_limit`, {hook.time_limit:g} s. Run it in a terminal to see why it does not."
            )
            error = HookFailed(f"The hook {name_of(hook)} {why}", advice)
            self._alerts.fire(_subject_of(hook), name_of(hook), error)
        else:
            self._alerts.resolve(_subject_of(hook))


def name_of(hook: Hook) -> str:
    """What a hook is called: its program, without the folder. Arguments may be private."""
    return Path(hook.command[0]).name


def subjects_of(hooks: Sequence[Hook]) -> set[Subject]:
    """The subjects of all troubles that these hooks may have."""
    return {_subject_of(hook) for hook in hooks}


def _subject_of(hook: Hook) -> Subject:
    return Subject(About.HOOK, f"{hook.on}:{name_of(hook)}")


def facts_of(news: News) -> dict[str, Any]:
    """What a hook reads on stdin. Scripts rely on the names; moments are ISO 8601 in UTC."""
    key = news.subject.database
    return {
        "event": str(EVENTS[news.kind]),
        "at": news.at.isoformat(timespec="milliseconds"),
        "text": line_for(news),
        "subject": news.subject,
        "name": news.label,
        "database": None if key is None else str(key),
        "account": None if key is None else key.account,
        "service": news.service or None,
        "changed": list(news.changed),
        "proven": news.proven if news.kind is NewsKind.ROTATED else None,
        "clients": list(news.clients),
        "behind": [{"client": client, "why": why} for client, why in news.behind],
        "title": news.title,
        "advice": news.advice,
        "since": None if news.since is None else news.since.isoformat(timespec="milliseconds"),
    }
