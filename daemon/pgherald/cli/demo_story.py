"""The story that the demo tells, one visible step after another.

Each step shows something that really happened: the daemon is the real program in a process
of its own, the logins are tried on a real Postgres, the files are read back from the disk.
A step that does not show what it should ends the demo with an error.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import shutil
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import click

from pgherald.cli.output import diff_line
from pgherald.clients.base import TextClient
from pgherald.clients.pgpass import Pgpass
from pgherald.clients.servers_json import ServersJson
from pgherald.clients.service_file import ServiceFile
from pgherald.clock import SystemClock
from pgherald.errors import PgheraldError
from pgherald.files import Files
from pgherald.heroku.url import parse_postgres_url
from pgherald.model import Login
from pgherald.secret import Secret
from pgherald.simulator.postgres import Cluster
from pgherald.simulator.seed import seed_world
from pgherald.simulator.server import Simulator
from pgherald.simulator.state import Data, postgres_of
from pgherald.sync.plan import diff_lines
from pgherald.sync.probe import Outcome, PostgresProber

APP: Final = "shop-production"

#: Seconds that a step may take before the demo gives up on it.
_LIMIT: Final = 30.0

_CONFIG: Final = """\
poll_interval = "1s"

[[databases]]
app = "shop-production"
name = "Shop (production)"

[clients.service_file]
path = "~/.pg_service.conf"
[clients.pgpass]
path = "~/.pgpass"
[clients.servers_json]
path = "~/heroku-servers.json"

[notifications]
desktop = {desktop}
"""

_CLIENTS: Final[Mapping[str, TextClient]] = {
    ".pg_service.conf": ServiceFile(),
    ".pgpass": Pgpass(),
    "heroku-servers.json": ServersJson(),
}

#: What the person had in these files before, to be seen untouched afterwards.
_PGPASS: Final = "# my own servers\nlocalhost:5432:*:me:CANARY-my-own-password\n"


class Failed(PgheraldError):
    """A step did not show what it should."""


@dataclass(frozen=True, slots=True)
class Stage:
    """Where the story plays.

    Attributes:
        home: the throw-away home.
        env: the environment of everything that is started in it.
        simulator: the simulated Heroku.
        pace: seconds that a reader is given per line; 0 for none.
    """

    home: Path
    env: Mapping[str, str]
    simulator: Simulator
    pace: float

    async def pause(self, lines: float = 1.0) -> None:
        """Let the reader read."""
        await asyncio.sleep(self.pace * lines)


async def tell(folder: Path, cluster: Cluster, env: Mapping[str, str], *, pace: float) -> None:
    """Tell the whole story.

    Args:
        folder: an empty folder for all of it.
        cluster: the Postgres behind the simulated Heroku.
        env: the environment; little of it gets through.
        pace: seconds that a reader is given per line; 0 for none.

    Raises:
        Failed: a step did not show what it should.
    """
    async with _stage(folder, cluster, env, pace) as stage:
        await _prologue(stage)
        before = _texts(stage.home)
        async with _daemon(stage) as log:
            await log.line("Ready:")
            _step("The daemon runs, unattended")
            _detail("$ pgherald run")
            await stage.pause()
            old = _login(stage)
            await _rotate(stage, old)
            await _repair(stage, log, old)
            _show_files(stage, before)
            await stage.pause(4)
            await _epilogue(stage)


async def _prologue(stage: Stage) -> None:
    _step("A developer has a Heroku app, a pgpass file of their own, and pgherald")
    _detail("$ pgherald check")
    for line in (await _pgherald(stage, "check")).splitlines():
        _detail(line)
    await stage.pause(2)
    _step("psql gets in by the service, and by host and user with pgpass: no password typed")
    await _connect(stage)
    await stage.pause(2)


async def _rotate(stage: Stage, old: Login) -> None:
    _step("Heroku rotates the database's credentials")
    world = stage.simulator.world
    await world.data.rotate(_data(stage))
    await stage.pause()
    proof = await PostgresProber(SystemClock()).probe(old)
    if proof.outcome is not Outcome.REFUSED:
        raise Failed(f"The old login was expected to be refused, and it {proof.outcome}")
    _detail(f"The old login: {proof.error(APP).title}.")
    await stage.pause(2)


async def _repair(stage: Stage, log: _Log, old: Login) -> None:
    _step("pgherald notices, proves the new login, and writes it into every client")
    told = await log.line("Heroku rotated")
    (record,) = json.loads(await _pgherald(stage, "history", "--json", "-n", "1"))
    changed = ", ".join(old.changed(_login(stage)))
    if changed != ", ".join(record["changed"]) or not record["proven_at"]:
        raise Failed(f"History tells of {record['changed']}, and {changed} changed")
    _detail(f"{record['seen_at'][11:19]} seen    release v{record['release']}: {changed} changed")
    _detail(f"{record['proven_at'][11:19]} proven  by a TLS connection to Postgres")
    _detail(f"{record['written_at'][11:19]} written into {', '.join(record['clients'])}")
    await stage.pause(2)
    _step("You are told" + ("" if _has_desktop(stage) else " (no desktop here: only in the log)"))
    _detail(told)
    await stage.pause(2)


def _show_files(stage: Stage, before: Mapping[str, bytes]) -> None:
    after = _texts(stage.home)
    for name, editor in _CLIENTS.items():
        _step(f"What changed in ~/{name} (secrets masked)")
        for line in diff_lines(editor, before[name], after[name]):
            diff_line(f"    {line}")
        if before[name] == after[name]:
            # A service row names no login, which is why it never has to change.
            _detail("Nothing: it names the service, and the service file has the login.")
    if not after[".pgpass"].endswith(_PGPASS.encode()):
        raise Failed("The person's own lines in pgpass are not what they were")


async def _epilogue(stage: Stage) -> None:
    _step("psql gets in again, both ways; nobody typed anything")
    await _connect(stage)
    await stage.pause(2)
    _step("How things stand")
    _detail("$ pgherald status")
    for line in (await _pgherald(stage, "status")).splitlines():
        _detail(line)
    checked = json.loads(await _pgherald(stage, "check", "--json"))
    if not checked["current"]:
        raise Failed("Not every client is current at the end")
    await stage.pause(2)


@contextlib.asynccontextmanager
async def _stage(
    folder: Path, cluster: Cluster, env: Mapping[str, str], pace: float
) -> AsyncIterator[Stage]:
    """A simulated Heroku, and a home with some history."""
    async with Simulator.running(await seed_world(cluster)) as simulator:
        home = folder / "home"
        files = Files(folder / "locks")
        files.make_folder(home)
        inside = _environment(env, simulator, home)
        desktop = "true" if "DBUS_SESSION_BUS_ADDRESS" in inside else "false"
        files.write_text_file(home / "config.toml", _CONFIG.format(desktop=desktop))
        files.write_text_file(home / ".pgpass", _PGPASS)
        yield Stage(home, inside, simulator, pace)


def _environment(env: Mapping[str, str], simulator: Simulator, home: Path) -> dict[str, str]:
    """An environment in which nothing can reach the person's own files, or Heroku."""
    kept = ("PATH", "LANG", "LC_ALL", "TERM", "DBUS_SESSION_BUS_ADDRESS", "SYSTEMROOT",
            "PYTHONPATH", "COVERAGE_PROCESS_START", "COVERAGE_PROCESS_CONFIG")  # fmt: skip
    inside = {name: env[name] for name in kept if name in env}
    inside |= simulator.environment(simulator.world.tokens[0].value, home)
    inside |= {
        "PGHERALD_CONFIG": str(home / "config.toml"),
        "PGHERALD_STATE_DIR": str(home / "state"),
        "APPDATA": str(home / "AppData"),
        "NO_COLOR": "1",
    }
    return inside


# What is looked at


def _data(stage: Stage) -> Data:
    world = stage.simulator.world
    attachment = world.attachment(world.app(APP), "DATABASE")
    return postgres_of(attachment.addon).data


def _login(stage: Stage) -> Login:
    """The login that Heroku shows at this moment."""
    world = stage.simulator.world
    url = world.config_vars(world.app(APP))["DATABASE_URL"]
    return parse_postgres_url(Secret(url))


def _texts(home: Path) -> dict[str, bytes]:
    return {name: (home / name).read_bytes() for name in _CLIENTS}


def _has_desktop(stage: Stage) -> bool:
    return "DBUS_SESSION_BUS_ADDRESS" in stage.env


# What is run


async def _connect(stage: Stage) -> None:
    """Connect by the service, and by host and user, as a person would, without a password."""
    login = _login(stage)
    by_host = f"host={login.host} port={login.port} user={login.user} dbname={login.dbname}"
    for conninfo in (f"service={APP}", f"{by_host} sslmode=require"):
        got = (await _psql(stage, conninfo, "select current_user")).strip()
        shown = conninfo.removesuffix(" sslmode=require")
        _detail(f"$ psql '{shown}' -c 'select current_user'")
        _detail(got)
        if got != login.user:
            raise Failed(f"Connected as {got}, and the login is for {login.user}")


async def _psql(stage: Stage, conninfo: str, sql: str) -> str:
    psql = shutil.which("psql", path=stage.env.get("PATH"))
    if psql is not None:
        return await _run(stage, [psql, "-XAtq", conninfo, "-c", sql])
    script = (
        "import sys, psycopg; print(*psycopg.connect(sys.argv[1]).execute(sys.argv[2]).fetchone())"
    )
    return await _run(stage, [sys.executable, "-c", script, conninfo, sql])


async def _pgherald(stage: Stage, *arguments: str) -> str:
    return await _run(stage, [sys.executable, "-m", "pgherald", *arguments])


async def _run(stage: Stage, argv: Sequence[str]) -> str:
    """Run a program in the throw-away home; what it printed.

    Raises:
        Failed: it ended with an error, or not in time.
    """
    child = await asyncio.create_subprocess_exec(
        *argv,
        env=stage.env,
        cwd=stage.home,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        async with asyncio.timeout(_LIMIT):
            out, err = await child.communicate()
    except TimeoutError:
        child.kill()
        await child.wait()
        raise Failed(f"{Path(argv[0]).name} did not end within {_LIMIT:g} s") from None
    if child.returncode:
        raise Failed(f"{' '.join(argv[1:])} failed", err.decode(errors="replace").strip())
    return out.decode(errors="replace")


class _Log:
    """The daemon's log, read as it is written."""

    def __init__(self, stream: asyncio.StreamReader) -> None:
        self._stream = stream
        self._lines: list[str] = []

    async def line(self, wanted: str) -> str:
        """Wait for a line with these words; what follows the time and level in it.

        Raises:
            Failed: it did not come.
        """
        try:
            async with asyncio.timeout(_LIMIT):
                while text := (await self._stream.readline()).decode(errors="replace").rstrip():
                    self._lines.append(text)
                    if wanted in text:
                        return text[text.index(wanted) :]
        except TimeoutError:
            pass
        raise Failed(f"The daemon's log has no line with {wanted!r}", "\n".join(self._lines))


@contextlib.asynccontextmanager
async def _daemon(stage: Stage) -> AsyncIterator[_Log]:
    """Meanwhile, the daemon runs; it has to end when it is told to."""
    child = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "pgherald", "run"),
        env=stage.env,
        cwd=stage.home,
        stdin=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
    )
    assert child.stderr is not None  # asked for above
    try:
        yield _Log(child.stderr)
    finally:
        if child.returncode is None:
            child.terminate()
        try:
            async with asyncio.timeout(_LIMIT):
                await child.wait()
        except TimeoutError:
            child.kill()
            await child.wait()
            raise Failed("The daemon did not end when it was told to") from None


# What is shown


def _step(text: str) -> None:
    click.echo()
    click.secho(f"==> {text}", bold=True)


def _detail(text: str) -> None:
    click.echo(f"    {text}")
