"""Hooks, with real programs."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import sys
from collections.abc import AsyncIterator, Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from pgherald.config.schema import Hook, HookEvent
from pgherald.errors import PgheraldError
from pgherald.model import News, NewsKind, Subject
from pgherald.notify import hooks as module
from pgherald.notify.hooks import Hooks, facts_of, subjects_of
from support.fake_clock import START

ROTATED = News(
    NewsKind.ROTATED,
    Subject.read("database:work:shop/DATABASE"),
    START,
    "Shop $(id)",
    changed=("user", "password"),
    clients=("pgAdmin", "psql"),
    behind=(("servers.json", "no space left"),),
    service="shop",
)
TROUBLE = News(
    NewsKind.TROUBLE,
    Subject.read("account:work"),
    START,
    "work",
    title="No token",
    advice="Log in.",
)
RECOVERED = News(
    NewsKind.RECOVERED,
    Subject.read("account:work"),
    START,
    "work",
    since=START - timedelta(hours=1),
)

NOTES = """\
import json, os, sys
told = {"argv": sys.argv[1:], "stdin": sys.stdin.read(), "environ": dict(os.environ)}
with open(sys.argv[1], "a") as file:
    file.write(json.dumps(told) + "\\n")
"""


class Ears:
    """Notes what fails, and what works."""

    def __init__(self) -> None:
        self.heard: list[tuple[str, str]] = []

    def fire(self, subject: str, label: str, error: PgheraldError) -> None:
        self.heard.append((subject, error.title))

    def resolve(self, subject: str) -> None:
        self.heard.append((subject, "works"))

    def keep_only(self, concerns: Callable[[Subject], bool]) -> None:
        raise AssertionError("hooks forget nothing")


def notes(folder: Path, name: str = "notes") -> list[dict[str, Any]]:
    file = folder / name
    return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []


def noting(folder: Path, on: HookEvent = HookEvent.ROTATION, name: str = "notes") -> Hook:
    return Hook(on, (sys.executable, "-c", NOTES, str(folder / name), "$(id); *"), 30.0)


ENVIRON = {
    "PATH": os.environ["PATH"],
    "HOME": "/home/me",
    "PGHERALD_STATE_DIR": "/state",
    "HEROKU_API_KEY": "CANARY-token-1",
    "NOTIFY_SOCKET": "/run/CANARY",
}


@contextlib.asynccontextmanager
async def running(*hooks: Hook, ears: Ears | None = None) -> AsyncIterator[Hooks]:
    made = Hooks(hooks, ENVIRON, Path("/etc/pgherald.toml"), ears or Ears())
    try:
        yield made
        async with asyncio.timeout(60):
            await made.finished()
    finally:
        await made.close(0)


async def test_a_hook_is_told_the_facts(tmp_path: Path) -> None:
    """A hook reads JSON on stdin and a few variables; its arguments go through no shell; no secret."""
    async with running(noting(tmp_path)) as hooks:
        hooks.post(ROTATED)
    (told,) = notes(tmp_path)
    assert told["argv"][1] == "$(id); *"
    assert json.loads(told["stdin"]) == facts_of(ROTATED)
    environ = told["environ"]
    assert {k: v for k, v in environ.items() if k.startswith("PGHERALD_")} == {
        "PGHERALD_CONFIG": "/etc/pgherald.toml",
        "PGHERALD_STATE_DIR": "/state",
        "PGHERALD_EVENT": "rotation",
        "PGHERALD_DATABASE": "work:shop/DATABASE",
        "PGHERALD_SERVICE": "shop",
        "PGHERALD_NAME": "Shop $(id)",
        "PGHERALD_TEXT": facts_of(ROTATED)["text"],
    }
    assert environ["HOME"] == "/home/me"
    assert "CANARY" not in json.dumps(told)


def test_the_facts() -> None:
    """The facts have the documented shape."""
    assert facts_of(ROTATED) == {
        "event": "rotation",
        "at": "2026-01-05T09:00:00.000+00:00",
        "text": "Heroku rotated Shop $(id): pgAdmin and psql are up to date. "
        "servers.json could not be updated: no space left.",
        "subject": "database:work:shop/DATABASE",
        "name": "Shop $(id)",
        "database": "work:shop/DATABASE",
        "account": "work",
        "service": "shop",
        "changed": ["user", "password"],
        "proven": True,
        "clients": ["pgAdmin", "psql"],
        "behind": [{"client": "servers.json", "why": "no space left"}],
        "title": "",
        "advice": "",
        "since": None,
    }
    facts = facts_of(RECOVERED)
    assert (facts["event"], facts["database"], facts["since"]) == (
        "recovery",
        None,
        "2026-01-05T08:00:00.000+00:00",
    )


async def test_each_hook_has_its_event(tmp_path: Path) -> None:
    """A hook is run on what it is for, once for each, in order; and on nothing else."""
    all_of_them = [noting(tmp_path, on, on.value) for on in HookEvent]
    async with running(*all_of_them) as hooks:
        for news in (ROTATED, TROUBLE, RECOVERED, TROUBLE):
            hooks.post(news)
        hooks.post(News(NewsKind.ADDED, Subject.read("database:x/DATABASE"), START, "x"))
        hooks.post(News(NewsKind.ROTATING, Subject.read("database:x/DATABASE"), START, "x"))
    assert [len(notes(tmp_path, on.value)) for on in HookEvent] == [1, 2, 1]


async def test_a_hook_that_fails(tmp_path: Path) -> None:
    """A failure is a trouble of its own, and its end is told; the others are run all the same."""
    script = tmp_path / "sometimes"
    script.write_text(f"#!/bin/sh\ntest -e {tmp_path}/well || exit 3\n")
    script.chmod(0o755)
    ears = Ears()
    hook = Hook(HookEvent.ROTATION, (str(script), "private"), 30.0)
    gone = Hook(HookEvent.ROTATION, ("/nowhere/at/all",), 30.0)
    async with running(hook, gone, noting(tmp_path), ears=ears) as hooks:
        hooks.post(ROTATED)
        await hooks.finished()
        assert sorted(ears.heard) == [
            ("hook:rotation:all", "The hook all cannot be run: No such file or directory"),
            (f"hook:rotation:{Path(sys.executable).name}", "works"),
            ("hook:rotation:sometimes", "The hook sometimes failed with exit code 3"),
        ]
        (tmp_path / "well").touch()
        hooks.post(ROTATED)
    assert ("hook:rotation:sometimes", "works") in ears.heard
    assert len(notes(tmp_path)) == 2
    assert {subject for subject, _ in ears.heard} == subjects_of([hook, gone, noting(tmp_path)])


async def test_a_hooks_own_failure_runs_no_hook(tmp_path: Path) -> None:
    """The trouble of a hook is told to the person, never to a hook: that could go on for ever."""
    async with running(noting(tmp_path, HookEvent.TROUBLE)) as hooks:
        hooks.post(
            News(
                NewsKind.TROUBLE,
                Subject.read("hook:trouble:x"),
                START,
                "x",
                title="The hook x failed",
            )
        )
    assert notes(tmp_path) == []


async def until_gone(*pids: int) -> None:
    async with asyncio.timeout(60):
        for pid in pids:
            while running_still(pid):  # a process sets no event
                await asyncio.sleep(0.01)


def running_still(pid: int) -> bool:
    """Whether the process lives; a zombie does not."""
    try:
        return " Z " not in Path(f"/proc/{pid}/stat").read_text()
    except FileNotFoundError:
        return False


def hanging(folder: Path, limit: float) -> Hook:
    """A hook that starts another program and never ends."""
    script = folder / "hangs"
    script.write_text(f"#!/bin/sh\nsleep 60 &\necho $! $$ > {folder}/pids\nwait\n")
    script.chmod(0o755)
    return Hook(HookEvent.ROTATION, (str(script),), limit)


async def test_a_hook_that_hangs(tmp_path: Path) -> None:
    """After its time limit a hook is killed, and what it has started with it."""
    pids = tmp_path / "pids"
    for limit in (0.5, 5, 50):  # until the machine is fast enough for the hook to begin
        ears = Ears()
        async with running(hanging(tmp_path, limit), ears=ears) as hooks:
            hooks.post(ROTATED)
        assert ears.heard == [("hook:rotation:hangs", f"The hook hangs was killed after {limit} s")]
        if pids.exists() and pids.read_text():
            break
    await until_gone(*map(int, pids.read_text().split()))


async def test_the_daemons_end_is_the_hooks(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A daemon that ends waits a moment for its hooks, and then ends them, children included."""
    hooks = Hooks([hanging(tmp_path, 30)], ENVIRON, Path("/c"), Ears())
    hooks.post(ROTATED)
    pids = tmp_path / "pids"
    async with asyncio.timeout(60):
        while not pids.exists() or not pids.read_text().endswith("\n"):  # a process sets no event
            await asyncio.sleep(0.01)
    async with asyncio.timeout(60):
        await hooks.close(0.05)
    await until_gone(*map(int, pids.read_text().split()))
    assert "were ended" in caplog.text


async def test_odd_names(tmp_path: Path) -> None:
    """A NUL or half a letter in a name, which variables cannot hold, hinders no hook."""
    odd = News(
        NewsKind.TROUBLE, Subject.read("client:/a\0b\udcff"), START, "/a\0b\ud800", title="x"
    )
    async with running(noting(tmp_path, HookEvent.TROUBLE)) as hooks:
        hooks.post(odd)
        hooks.post(TROUBLE)
    first, second = notes(tmp_path)
    assert first["environ"]["PGHERALD_NAME"] == "/a b?"
    assert json.loads(first["stdin"])["name"] == "/a\0b\ud800"
    assert second["environ"]["PGHERALD_EVENT"] == "trouble"


async def test_a_slow_hook_has_a_bounded_queue(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """What a slow hook cannot keep up with is left out, and that is logged."""
    monkeypatch.setattr(module, "WAITING", 1)
    hooks = Hooks([Hook(HookEvent.ROTATION, ("true",), 30.0)], ENVIRON, Path("/c"), Ears())
    for _ in range(3):
        hooks.post(ROTATED)
    await hooks.finished()
    await hooks.close(1)
    assert caplog.messages == ["The hook true is too slow: left out for Shop $(id)."]
