"""No secret leaves its few homes: the clients' own files, and the undo of a commit."""

from __future__ import annotations

import base64
import logging
import re
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from pgherald import process
from pgherald.simulator.data_plane import Manner
from pgherald.simulator.faults import Fault
from pgherald.simulator.postgres import Cluster
from pgherald.simulator.seed import APPS
from support import canaries
from support.dbus import notification_server, session_bus
from support.leaks import FORMS, MARK, leaks_in, leaks_in_folder, open_to_others, watching
from support.program import SHOP, House, Program, eventually

#: Prints the token, and notes what it was started with.
TOKEN_PROGRAM = """\
#!/bin/sh
{ tr '\\0' ' ' < /proc/$$/cmdline; tr '\\0' '\\n' < /proc/$$/environ; } >> "$HOME/started"
cat "$HOME/token"
"""


@pytest.fixture
async def house(cluster: Cluster, tmp_path: Path) -> AsyncIterator[House]:
    async with House.standing(cluster, tmp_path, apps=APPS) as standing:
        standing.put(standing.home / "token-program", TOKEN_PROGRAM, mode=0o700)
        standing.configure(
            SHOP,
            '[[discover]]\ninclude = ["*"]\nattachments = ["*"]\n',
            token=f"command:{standing.home / 'token-program'}",
            desktop=True,
            top='log_level = "debug"',
        )
        yield standing


def is_undo(path: Path) -> bool:
    """Whether a file of the state folder is what a client held, or is to hold."""
    return path.parent.parent.name == "commits" and bool(
        re.fullmatch(r"\d+\.(before|expand|after)", path.name)
    )


async def test_the_whole_story(house: House, tmp_path: Path) -> None:
    """In a story with everything in it no secret is told, shown, logged, stored or handed on."""
    async with session_bus(tmp_path) as bus, notification_server(bus) as server:
        async with house.daemon(bus.environ) as daemon, watching(daemon.pid) as processes:
            await _story(house, daemon)
            await eventually(lambda: len(server.shown) >= 3, log=daemon)
            assert core_limit(daemon.pid) == ["0", "0"]
        assert "DEBUG" in daemon.log
        assert leaks_in(daemon.log, daemon.out) == []
        assert leaks_in(*(repr(notice) for notice in server.shown)) == []
    started = (house.home / "started").read_text()
    assert "token-program" in started
    assert leaks_in(started, *processes.texts) == []
    commands = [
        *(["check"], ["check", "--json"], ["plan"], ["plan", "--json"]),
        *(["status"], ["status", "--json"], ["history"], ["history", "--json"]),
        ["config", "show"],
    ]
    for command in commands:
        done = await house.pgherald(*command)
        assert leaks_in(done.out, done.err) == [], command
    assert leaks_in_folder(house.state, but=is_undo) == []
    assert open_to_others(house.state) == []
    assert [path.stat().st_mode & 0o777 for path in house.clients] == [0o600] * 3


def core_limit(pid: int) -> list[str]:
    """The soft and the hard limit of a core file's size (proc(5))."""
    (line,) = [
        line
        for line in Path(f"/proc/{pid}/limits").read_text().splitlines()
        if line.startswith("Max core file size")
    ]
    return line.split()[4:6]


async def _story(house: House, daemon: Program) -> None:
    """First commit, rotations, every kind of trouble, and recovery from each."""
    faults = house.simulator.app.front.faults
    await _is_current(house, daemon)
    await house.rotate()
    await _is_current(house, daemon)
    # A login that Postgres refuses at first, and one that it never takes.
    go = house.later_steps_wait()
    await house.world.data.rotate(house.data(), manner=Manner(early=1))
    await daemon.line("trying again")
    go.set()
    await _is_current(house, daemon)
    # A config var that is no URL, in two ways.
    attachment = house.world.attachment(house.app(), "DATABASE")
    for value in (f"{MARK} no URL", f"postgres://u:{MARK}@[::1/d"):
        attachment.fixed = {"DATABASE_URL": value}
        house.world.release(attachment.app, "Set DATABASE_URL config vars", "me")
        await daemon.line("is not a Postgres URL")
        attachment.fixed = {}
        house.world.release(attachment.app, "Remove DATABASE_URL config vars", "me")
        await daemon.line("again")
    # Answers that are no answers, each to another app, so that none has to rest for long.
    strange = {"DATABASE_URL": {"CANARY": ["CANARY"]}, "CANARY": 1}
    answers = (Fault("body", body=strange), Fault("garbage"), Fault("cut"))
    for fault, app in zip(answers, APPS, strict=True):
        fault.match, fault.count = f"GET /apps/{app}/config-vars", 1
        faults.add(fault)
        house.world.release(house.app(app), "Deploy", "me")
    await eventually(lambda: not faults.active, log=daemon)
    # Clients that are none, with a secret where it hurts.
    pgpass, servers = house.pgpass.read_bytes(), house.servers_json.read_bytes()
    house.pgpass.write_bytes(pgpass + b"localhost:5432:*:me:CANARY\0\n")
    house.servers_json.write_bytes(b'{"Servers": {"1": {"Password": CANARY}}}')
    await daemon.line("NUL")
    assert (await house.pgherald("plan")).code == 1
    house.pgpass.write_bytes(pgpass)
    house.servers_json.write_bytes(servers)
    await house.rotate()
    await _is_current(house, daemon)
    # A token that is refused, and one that is good again.
    (token,) = house.world.tokens
    token.revoked = True
    await daemon.line("WARNING")
    token.revoked = False


async def _is_current(house: House, daemon: Program) -> None:
    await eventually(lambda: not house.behind(house.login()), log=daemon)


async def test_what_a_killed_commit_leaves_is_private(house: House) -> None:
    """A daemon that is killed at any moment leaves nothing in the home that others may read."""
    for _ in range(3):
        daemon = await Program.start(house, "run")
        try:
            await daemon.line("Ready:")
            await house.rotate()
        finally:
            await daemon.kill()
        assert open_to_others(house.state) == []
        ours = {"config.toml", "token", "started", "token-program"}
        others = [path for path in house.home.iterdir() if path.name not in ours]
        assert [p.name for p in others if p.is_file() and p.stat().st_mode & 0o077] == []


def test_leaks_are_found() -> None:
    """The search finds a secret in each of its disguises, wherever it stands in the text."""
    assert len(FORMS) == 8
    for how, form in FORMS.items():
        assert [leak.split(": ")[0] for leak in leaks_in(b"before " + form + b" behind")] == [how]
    for before in ("", "a", "ab", "abc"):
        secret = f"{before}{MARK}behind".encode()
        assert leaks_in(base64.b64encode(secret)) != []
    assert leaks_in("can ary", b"\x00\xff") == []


async def test_every_way_out_is_watched(tmp_path: Path) -> None:
    """What fails any test: a secret in a debug record or its traceback, argv, environment, file."""
    log = logging.getLogger("pgherald.sync")
    log.debug("%s", MARK.encode().hex())
    try:
        raise ValueError(MARK)
    except ValueError:
        log.debug("no secret here", exc_info=True)
    await process.run([sys.executable, "-c", "", MARK], {"TOKEN": MARK})
    ways = [leak.partition(": ")[0] for leak in canaries.leaks_since()]
    assert ways == [
        *["the log of pgherald.sync"] * 2, "a program's command line", "a program's environment",
    ]  # fmt: skip
    left = [tmp_path / "state.db", tmp_path / "manifest.json", tmp_path / f"x-{MARK}"]
    for path in left:
        path.write_text(MARK)
    assert len(canaries.leaks_left(tmp_path)) == 3
    for path in left:
        path.unlink()
