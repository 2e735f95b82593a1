"""The daemon: does it run, will it run, what has it seen, and can it tell?"""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from typing import Final

from pgherald.config import Config
from pgherald.daemon.wiring import Outside
from pgherald.doctor.checks import Finding, bad, good, note
from pgherald.errors import MissingTool, ServiceError
from pgherald.files.locks import daemon_runs
from pgherald.notify.desktop import NotShown
from pgherald.notify.presence import presence
from pgherald.service.manager import Manager, Standing
from pgherald.service.steps import Programs
from pgherald.store import Store

_INSTALL: Final = "Run: pgherald service install"


def service(config: Config, manager: Manager, programs: Programs) -> Iterator[Finding]:
    """Whether the daemon runs, and whether it will after the next login."""
    running = daemon_runs(config.state_dir)
    try:
        report = manager.report(programs)
    except (MissingTool, ServiceError) as exc:
        yield (
            good("The daemon runs")
            if running
            else bad("The daemon does not run", "Run: pgherald run")
        )
        yield note(f"The service manager cannot be asked: {exc.title}", exc.advice)
        return
    installed = report.standing is not Standing.MISSING
    if running:
        yield good("The daemon runs")
    else:
        yield bad(
            "The daemon does not run",
            f"{_INSTALL}; `pgherald service logs` shows why it ended." if installed else _INSTALL,
        )
    if not installed and not running:
        return
    if not installed:
        yield note("It is not installed as a service, so nobody starts it at login", _INSTALL)
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


def troubles(config: Config) -> Iterator[Finding]:
    """What the daemon, or the latest check, found not to work."""
    store = Store.read_only(config.state_dir / "state.db")
    if store is None:
        yield note("Nothing has been looked at yet", "Run: pgherald check")
        return
    with store:
        found = store.troubles()
    for trouble in found:
        told = trouble.label in trouble.title
        title = trouble.title if told else f"{trouble.label}: {trouble.title}"
        since = f"{trouble.since.astimezone():%Y-%m-%d %H:%M}"
        yield bad(f"{title} (since {since})", trouble.advice or "Run: pgherald check")
    if not found:
        yield good("No trouble is known")


async def notifications(config: Config, outside: Outside, platform: str) -> list[Finding]:
    """Whether a notice would be seen."""
    findings: list[Finding] = []
    if config.notifications.urls:
        there = importlib.util.find_spec("apprise") is not None
        findings.append(
            good("The package for chat and mail is there")
            if there
            else bad(
                "A package for [notifications] urls is missing",
                "Run: pipx inject pgherald apprise, or: pip install apprise",
            )
        )
    if not config.notifications.desktop:
        return [*findings, note("Desktop notifications are turned off in the configuration")]
    try:
        name = await presence(platform, outside.env, outside.clock)
    except NotShown as exc:
        return [
            *findings,
            bad(
                f"No notice can be shown: {exc}",
                "On a machine without a desktop write into [notifications]: desktop = false",
            ),
        ]
    return [*findings, good(f"Notices are shown by {name}")]
