"""Shows other programs how everything stands, whenever that changes.

`status.json` in the state folder is for tools, a Prometheus text file for those who want one,
and a line for `systemctl status`. None of them holds a secret, and none is needed for anything:
when one cannot be written, that is logged once and all goes on.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Final

from pgherald.clock import Clock
from pgherald.config import Config
from pgherald.daemon import metrics
from pgherald.daemon.standing import Standing, as_json, standing_of
from pgherald.errors import FileTrouble, PgheraldError
from pgherald.files import Files
from pgherald.quick.shape import STATUS_FILE, text_of
from pgherald.service.sd_notify import Manager
from pgherald.store import Store

log = logging.getLogger(__name__)

#: Seconds: a sweep of many databases changes much at once, and is shown once.
_PAUSE: Final = 1.0

#: Others read metrics: node_exporter runs under an account of its own.
_PUBLIC: Final = 0o644


class Publisher:
    """Writes what other programs read.

    Args:
        config: what is to be shown.
        store: where it is known.
        files: writes.
        manager: the service manager that started us.
        clock: waits.
    """

    def __init__(
        self, config: Config, store: Store, files: Files, manager: Manager, clock: Clock
    ) -> None:
        self._config = config
        self._store = store
        self._files = files
        self._manager = manager
        self._clock = clock
        self._summary = ""
        self._changed = asyncio.Event()
        self._closing = asyncio.Event()
        #: What was said and written last, and what hindered it.
        self._line = ""
        self._written: dict[Path, str] = {}
        self._hindered: dict[Path, str] = {}

    def follow(self, config: Config, summary: str) -> None:
        """Show another configuration from now on.

        Args:
            config: the configuration.
            summary: what it comes to, in a few words.
        """
        old, self._config, self._summary = self._config.metrics_file, config, summary
        if old is not None and old != config.metrics_file and old in self._written:
            # What is no longer kept up to date would go on saying that all is well.
            del self._written[old]
            with contextlib.suppress(FileTrouble):
                self._files.remove_own(old)
        self.soon()

    def soon(self) -> None:
        """Something has changed. Called on the loop's thread."""
        self._changed.set()

    @contextlib.asynccontextmanager
    async def running(self, within: float) -> AsyncIterator[None]:
        """Meanwhile, show every change; at the end, that the daemon does not run any more.

        Args:
            within: seconds that the last showing may take.
        """
        self._store.on_change = self.soon
        task = asyncio.create_task(self._run())
        try:
            yield
        finally:
            self._store.on_change = None
            self._closing.set()
            self._changed.set()
            _, late = await asyncio.wait([task], timeout=within)
            for each in late:
                each.cancel()

    async def _run(self) -> None:
        await self._changed.wait()
        while not self._closing.is_set():
            self._changed.clear()
            await self._show(running=True)
            await self._pause()
            await self._changed.wait()
        await self._show(running=False)

    async def _pause(self) -> None:
        waits = [
            asyncio.ensure_future(self._clock.sleep(_PAUSE)),
            asyncio.ensure_future(self._closing.wait()),
        ]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()

    async def _show(self, *, running: bool) -> None:
        config = self._config
        try:
            standing = standing_of(config, self._store)
        except PgheraldError as exc:
            log.debug("How things stand cannot be shown: %s", exc.title)
            return
        if running:
            self._tell_manager(standing)
        text = text_of(as_json(config, standing, running=running))
        await self._write(config.state_dir / STATUS_FILE, text, self._write_status)
        if config.metrics_file is not None:
            text = metrics.text(config, standing, running=running)
            await self._write(config.metrics_file, text, self._write_metrics)

    def _tell_manager(self, standing: Standing) -> None:
        line = status_line(self._summary, standing)
        if self._summary and line != self._line:
            self._manager.status(line)
            self._line = line

    async def _write(self, path: Path, text: str, write: Callable[[Path, str], None]) -> None:
        """Write what has changed, in a thread: a folder on a network may hang."""
        if self._written.get(path) == text:
            return
        try:
            await asyncio.to_thread(write, path, text)
        except PgheraldError as exc:
            if self._hindered.get(path) != exc.title:
                log.warning("%s", exc.title)
            self._hindered[path] = exc.title
        else:
            self._written[path] = text
            self._hindered.pop(path, None)

    def _write_status(self, path: Path, text: str) -> None:
        self._files.write_private(path, text.encode())

    def _write_metrics(self, path: Path, text: str) -> None:
        found = self._files.read(path).content
        if found and not found.startswith(metrics.MARK.encode()):
            raise FileTrouble(
                "was not written by pgherald, so it is not overwritten",
                "Give [metrics] textfile another name.",
                path=path,
            )
        self._files.write_text_file(path, text, _PUBLIC)


def status_line(summary: str, standing: Standing) -> str:
    """One line for `systemctl status`: what is watched, and whether all is well."""
    if standing.troubles:
        count, first = len(standing.troubles), standing.troubles[0].title
        more = "" if count == 1 else f", and {count - 1} more"
        return f"{summary}; trouble: {first}{more}"
    waiting = sum(not standing.is_current(database) for database in standing.databases)
    return f"{summary}; {'all current' if not waiting else f'{waiting} not current yet'}"


def leave_status(config: Config, store: Store, files: Files) -> None:
    """Keep status.json true where no daemon runs; what hinders that does no harm.

    Args:
        config: what has just been brought up to date.
        store: where it is known.
        files: writes.
    """
    with contextlib.suppress(PgheraldError):
        shown = as_json(config, standing_of(config, store), running=False)
        files.write_private(config.state_dir / STATUS_FILE, text_of(shown).encode())
