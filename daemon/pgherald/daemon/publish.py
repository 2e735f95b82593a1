"""Shows other programs how everything stands, whenever that changes.

`status.json` in the state folder is for tools, a Prometheus text file for those who want one,
and a line for `systemctl status`. None of them holds a secret, and none is needed for anything:
when one cannot be written, that is logged once and all goes on. Nobody waits for their disks.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import logging
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Final

from pgherald import __version__, plain
from pgherald.aio import first_of, on_loop
from pgherald.clock import Clock, until_beat
from pgherald.config import Config
from pgherald.daemon.status import STATUS_FILE, Heartbeat, Status, as_json, status_of
from pgherald.daemon.supervisor import Supervisor
from pgherald.errors import FileTrouble, PgheraldError
from pgherald.files import Files
from pgherald.model import About, Subject
from pgherald.service.sd_notify import Manager
from pgherald.store import BackgroundStore, Store

log = logging.getLogger(__name__)

#: Seconds: a sweep of many databases changes much at once, and is shown once.
_PAUSE: Final = 1.0

#: Seconds that a file may take to be written before it counts as hindered.
_WRITE_LIMIT: Final = 5.0

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
        self,
        config: Config,
        store: BackgroundStore,
        files: Files,
        manager: Manager,
        clock: Clock,
    ) -> None:
        self._config = config
        self._store = store
        self._files = files
        self._manager = manager
        self._clock = clock
        self._summary = ""
        self._changed = asyncio.Event()
        #: What was said and written last, and what hindered it.
        self._line = ""
        self._written: dict[Path, str] = {}
        self._hindered: dict[Path, str] = {}
        self._writing: dict[Path, asyncio.Task[None]] = {}

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
    async def running(self, within: float, supervisor: Supervisor) -> AsyncIterator[None]:
        """Meanwhile, show every change; at the end, that the daemon does not run any more.

        Args:
            within: seconds that the last showing may take.
            supervisor: keeps the showing up.
        """
        self._store.on_change = on_loop(self.soon)
        try:
            async with supervisor.running("writing of status.json", self._run):
                yield
        finally:
            self._store.on_change = None
            with contextlib.suppress(TimeoutError, OSError):
                async with asyncio.timeout(within):
                    await self._show(running=False)

    async def _run(self) -> None:
        while True:
            # Also where nothing changes: that a sweep is overdue shows itself by the clock alone.
            pause = until_beat(self._clock, self._config.poll_interval)
            await first_of(self._changed.wait(), self._clock.sleep(pause))
            self._changed.clear()
            try:
                await self._show(running=True)
            except BaseException:
                self.soon()  # it is still to be shown
                raise
            await self._clock.sleep(_PAUSE)

    async def _show(self, *, running: bool) -> None:
        config = self._config
        try:
            now = self._clock.now()
            status = await asyncio.to_thread(
                self._store.ask, lambda file: status_of(config, file, now, running=running)
            )
        except PgheraldError as exc:
            log.debug("How things stand cannot be shown: %s", exc.title)
            return
        if running:
            self._tell_manager(status)
        text = plain.as_json(as_json(config, status))
        await self._write(config.state_dir / STATUS_FILE, text, partial(_write, self._files))
        if config.metrics_file is not None:
            text = metrics_of(config, status)
            write = partial(_write_metrics, self._files)
            await self._write(config.metrics_file, text, write)

    def _tell_manager(self, status: Status) -> None:
        line = status_line(self._summary, status)
        if self._summary and line != self._line:
            self._manager.status(line)
            self._line = line

    async def _write(self, path: Path, text: str, write: Callable[[Path, str], None]) -> None:
        """Write what has changed, in a thread: a folder on a network may hang.

        A file that hangs is left to itself until it answers, and hinders no other.
        """
        if (busy := self._writing.get(path)) is not None:  # it hangs, or a showing was given up
            await asyncio.wait({busy}, timeout=0 if path in self._hindered else _WRITE_LIMIT)
        elif self._written.get(path) == text:
            return
        if path not in self._writing:
            task = asyncio.create_task(asyncio.to_thread(write, path, text))
            self._writing[path] = task
            task.add_done_callback(partial(self._wrote, path, text))
            await asyncio.wait({task}, timeout=_WRITE_LIMIT)
        if path in self._writing:
            self._hinder(path, f"{path} does not answer")

    def _wrote(self, path: Path, text: str, task: asyncio.Task[None]) -> None:
        del self._writing[path]
        if task.cancelled():
            return
        try:
            task.result()
        except PgheraldError as exc:
            self._hinder(path, exc.title)
        else:
            self._written[path] = text
            if self._hindered.pop(path, None) is not None:
                self.soon()  # there may be more to show by now

    def _hinder(self, path: Path, why: str) -> None:
        if self._hindered.get(path) != why:
            log.warning("%s", why)
        self._hindered[path] = why


def status_line(summary: str, status: Status) -> str:
    """One line for `systemctl status`: what is watched, and whether all is well."""
    if status.alerts:
        count, first = len(status.alerts), status.alerts[0].title
        more = "" if count == 1 else f", and {count - 1} more"
        return f"{summary}; trouble: {first}{more}"
    waiting = sum(not status.is_current(database) for database in status.databases)
    return f"{summary}; {'all current' if not waiting else f'{waiting} not current yet'}"


def leave_status(config: Config, store: Store, files: Files, now: datetime) -> None:
    """Keep status.json and metrics true where no daemon runs; what hinders that does no harm.

    Args:
        config: what has just been brought up to date.
        store: where it is known.
        files: writes.
        now: the moment, UTC.
    """
    with contextlib.suppress(PgheraldError):
        status = status_of(config, store, now, running=False)
        _write(files, config.state_dir / STATUS_FILE, plain.as_json(as_json(config, status)))
        if config.metrics_file is not None:
            _write_metrics(files, config.metrics_file, metrics_of(config, status))


def _write(files: Files, path: Path, text: str) -> None:
    files.make_way(path)
    files.write_private(path, f"{text}\n".encode())


def _write_metrics(files: Files, path: Path, text: str) -> None:
    found = files.read(path).content
    if found and not found.startswith(MARK.encode()):
        raise FileTrouble(
            "was not written by pgherald, so it is not overwritten",
            "Give [metrics] textfile another name.",
            path=path,
        )
    files.write_text_file(path, text, _PUBLIC)


def expect_daemon(config: Config, files: Files, now: datetime, *, expected: bool) -> None:
    """A service is there to keep a daemon running from now on, or is gone.

    Raises:
        FileTrouble: the state folder cannot be used.
        StoreError: the state file cannot be used.
    """
    path = config.state_dir / "state.db"
    if not expected and not path.exists():
        return
    files.private_folder(config.state_dir)
    with Store.open(path, files) as store:
        heartbeat = Heartbeat.read(store.notes()) or Heartbeat(now, None, not expected)
        if heartbeat.expected is not expected:
            dataclasses.replace(heartbeat, started_at=now, swept_at=None, expected=expected).keep(
                store
            )
            leave_status(config, store, files, now)


# --- metrics ----------------------------------------------------------------------------------
# Prometheus: "Text-based format"; node_exporter: "Textfile Collector", which reads files named
# *.prom. The format is lines of text, so no library is needed to write it.

#: The first line: by it pgherald knows its own file again.
MARK: Final = "# Written by pgherald."

#: Labels and a figure; what never happened has none.
Sample = tuple[Mapping[str, str], float | None]

#: What the moments of a database mean.
_MOMENTS: Final = {
    "looked_at": "When Heroku last answered for the database.",
    "current_at": "When every client was last known to hold its login.",
    "proven_at": "When a connection last proved a login of it.",
}


def metrics_of(config: Config, status: Status) -> str:
    """The whole text file for Prometheus.

    Args:
        config: names the clients.
        status: how everything stands.
    """
    lines = [MARK]
    for name, about, samples in _families(config, status):
        kind = "counter" if name.endswith("_total") else "gauge"
        lines += [f"# HELP pgherald_{name} {about}", f"# TYPE pgherald_{name} {kind}"]
        for labels, value in samples:
            if value is not None:
                lines.append(f"pgherald_{name}{_labels(labels)} {float(value)!r}")
    return "\n".join(lines) + "\n"


def _families(config: Config, status: Status) -> Iterator[tuple[str, str, Iterable[Sample]]]:
    """Each metric: its name, meaning and samples."""
    databases = [({"database": str(each.key)}, each) for each in status.databases]
    latest = [({"database": str(k)}, each.rotation) for k, each in sorted(status.latest.items())]
    costs = [({"account": each.account}, each) for each in status.requests]
    clients = [({"kind": each.kind, "path": str(each.path)}, each) for each in config.clients]
    alerts = [({"subject": each.subject, "kind": each.kind}, each) for each in status.alerts]
    yield "build_info", "The version.", [({"version": __version__}, 1)]
    yield "up", "Whether the daemon runs; what it said last.", [({}, status.running)]
    yield "troubles", "How many things do not work.", [({}, len(alerts))]
    yield (
        "trouble_since_timestamp_seconds",
        "Since when something does not work.",
        [(labels, each.since.timestamp()) for labels, each in alerts],
    )
    yield (
        "database_current",
        "Whether every client was last seen to hold the database's login.",
        [(labels, status.is_current(each)) for labels, each in databases],
    )
    yield (
        "database_proven",
        "Whether a connection proved the login in the clients.",
        [(labels, each.proven) for labels, each in databases],
    )
    for name, about in _MOMENTS.items():
        samples: list[Sample] = [
            (labels, _seconds(getattr(each, name))) for labels, each in databases
        ]
        yield f"database_{name.removesuffix('_at')}_timestamp_seconds", about, samples
    yield (
        "database_last_rotation_timestamp_seconds",
        "When the latest rotation was seen.",
        [(labels, _seconds(each.seen_at)) for labels, each in latest],
    )
    yield (
        "client_ok",
        "Whether nothing is wrong with the client's file.",
        [(labels, not status.in_trouble(Subject(About.CLIENT, c.path))) for labels, c in clients],
    )
    for name, about in (("last_hour", "Requests"), ("bytes_last_hour", "Bytes of answers")):
        samples = [(labels, getattr(each, name)) for labels, each in costs]
        yield f"requests_{name}", f"{about} of Heroku's API in the last hour.", samples
    # Numbers are never used twice, so the latest one counts them all, forgotten ones too.
    total = max((record.id for record in status.latest.values()), default=0)
    yield "rotations_total", "Rotations seen.", [({}, total)]


def _seconds(moment: datetime | None) -> float | None:
    return None if moment is None else moment.timestamp()


def _labels(labels: Mapping[str, str]) -> str:
    if not labels:
        return ""
    return "{" + ",".join(f'{name}="{_escaped(value)}"' for name, value in labels.items()) + "}"


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
