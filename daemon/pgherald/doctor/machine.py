"""This machine: the configuration, the state folder, the daemon and the desktop."""

from __future__ import annotations

import importlib.util
import os
import shutil
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from pgherald.config import Config
from pgherald.daemon.status import STOPPED, status_now
from pgherald.daemon.wiring import Outside
from pgherald.doctor.checks import Finding, bad, good, note, trouble
from pgherald.errors import MissingTool, ServiceError
from pgherald.files.locks import daemon_runs
from pgherald.files.snapshot import OTHERS
from pgherald.notify import desktop_for
from pgherald.notify.desktop import NotShown
from pgherald.service.manager import Manager, Programs, Standing
from pgherald.store.sqlite import shared

#: Bytes; an upgrade of SQLite's file and a commit of many databases need a few hundred thousand.
_ROOM: Final = 50 * 1024 * 1024

_INSTALL: Final = "Run: pgherald service install"


def configuration(config: Config) -> Iterator[Finding]:
    """The configuration: it could be read, and is ours alone, or nothing would be looked at."""
    yield good(f"The configuration is right: {config.path}")
    if (error := shared(config.state_dir / "state.db", config.path)) is not None:
        yield trouble(error)
    if config.notifications.urls and (mode := mode_of(config.path)) and mode & OTHERS:
        yield bad(
            f"Others can read the addresses in {config.path}", f"Run: chmod 600 '{config.path}'"
        )


def state(config: Config) -> Iterator[Finding]:
    """The state folder: ours, private, writable, with room."""
    folder = config.state_dir
    if not folder.is_dir():
        yield note(f"There is no state folder yet: {folder}", "`pgherald check` makes it.")
        return
    if not os.access(folder, os.W_OK | os.X_OK):
        yield bad(f"The state folder may not be written: {folder}", f"Run: ls -ld '{folder}'")
    else:
        yield good(f"The state folder is private: {folder}")
    loose = [path for path in _secrets(folder) if (mode_of(path) or 0) & OTHERS]
    if loose:
        yield bad(
            f"Others can read backups of passwords in {folder}", f"Run: chmod -R go= '{folder}'"
        )
    yield from room(folder)
    yield from _journals(folder)


def room(folder: Path) -> Iterator[Finding]:
    """Whether the disk has room."""
    free = shutil.disk_usage(folder).free
    shown = f"{free // 1024**2} MB free on the disk of the state folder"
    yield good(shown) if free >= _ROOM else bad(f"Only {shown}", f"Make room: df -h '{folder}'")


def _journals(folder: Path) -> Iterator[Finding]:
    try:
        names = os.listdir(folder / "commits")  # names alone
    except OSError:
        return
    if any(name.endswith(".open") for name in names):
        yield bad("A commit was interrupted, and is not settled yet", "Run: pgherald check")
    if any(name.endswith(".damaged") for name in names):
        yield note(
            "A damaged journal of a commit was set aside",
            f"No client was touched for it. To be rid of it: rm -r '{folder}'/commits/*.damaged",
        )


def _secrets(folder: Path) -> Iterator[Path]:
    yield folder / "state.db"
    for path in (folder / "commits").glob("*/*"):
        if path.name != "manifest.json":
            yield path


def mode_of(path: Path) -> int | None:
    """A file's permission bits; None where there are none, or no file."""
    if os.name != "posix":
        return None
    try:
        return stat.S_IMODE(path.stat().st_mode)
    except OSError:
        return None


def service(config: Config, manager: Manager, programs: Programs) -> Iterator[Finding]:
    """Whether the daemon runs, and whether it will after the next login."""
    running = daemon_runs(config.state_dir)
    advice, installed, report = _INSTALL, False, None
    try:
        report = manager.report(programs)
    except (MissingTool, ServiceError) as exc:
        advice = "Run: pgherald run"
        yield note(f"The service manager cannot be asked: {exc.title}", exc.advice)
    else:
        installed = report.standing is not Standing.MISSING
        if installed:
            advice += "; `pgherald service logs` shows why it ended."
    yield good("The daemon runs") if running else bad("The daemon does not run", advice)
    if report is None:
        return
    if running and not installed:
        yield note("It is not installed as a service, so nobody starts it at login", _INSTALL)
    if not installed:
        return
    if report.standing is not Standing.OURS:
        yield note(f"The service is not as pgherald would write it: {manager.file}")
    if report.enabled is False:
        yield bad("The service does not start by itself", _INSTALL)
    if report.lingering is False:
        yield note(
            "It stops when you log out (no lingering)",
            "To keep it running: pgherald service install --linger",
        )


def alerts(config: Config) -> Iterator[Finding]:
    """What the daemon, or the latest check, found not to work."""
    status = status_now(config)
    found = [alert for alert in status.alerts if alert.kind != STOPPED]  # see `service`
    for alert in found:
        title = alert.subject.prefix(alert.label, alert.kind) + alert.title
        since = f"{alert.since.astimezone():%Y-%m-%d %H:%M}"
        yield bad(f"{title} (since {since})", alert.advice or "Run: pgherald check")
    if found:
        return
    if all(database.looked_at is None for database in status.databases):
        yield note("Nothing has been looked at yet", "Run: pgherald check")
    else:
        yield good("No trouble is known")


async def notifications(config: Config, outside: Outside, platform: str) -> list[Finding]:
    """Whether a notice would be seen."""
    findings = []
    if config.notifications.urls and importlib.util.find_spec("apprise") is not None:
        findings.append(good("The package for chat and mail is there"))
    elif config.notifications.urls:
        advice = "Run: pipx inject pgherald apprise, or: pip install apprise"
        findings.append(bad("A package for [notifications] urls is missing", advice))
    if not config.notifications.desktop:
        return [*findings, note("Desktop notifications are turned off in the configuration")]
    desktop = desktop_for(platform, environ=outside.env)
    try:
        return [*findings, good(f"Notices are shown by {await desktop.presence()}")]
    except NotShown as exc:
        advice = "On a machine without a desktop write into [notifications]: desktop = false"
        return [*findings, bad(f"No notice can be shown: {exc}", advice)]
    finally:
        await desktop.close()
