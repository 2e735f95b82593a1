"""The play of `pgherald demo`: a rotation, start to end, in a throw-away home.

Each step shows something that really happened: the daemon is the real program in a process
of its own, the logins are tried on a real Postgres, the files are read back from the disk.
A step that does not show what it should ends the demo with an error.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import click

from pgherald.clients.base import TextClient
from pgherald.clients.pgpass import Pgpass
from pgherald.clients.servers_json import ServersJson
from pgherald.clients.service_file import ServiceFile
from pgherald.errors import PgheraldError
from pgherald.files import Files
from pgherald.model import Login
from pgherald.simulator.postgres import Cluster
from pgherald.simulator.seed import seed_world
from pgherald.simulator.server import Simulator
from pgherald.simulator.state import postgres_of

APP: Final = "shop-production"

#: Seconds that a step may take before the demo gives up on it.
_LIMIT: Final = 120.0

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

#: Variables that get through to the throw-away home.
_KEPT: Final = ("PATH", "LANG", "LC_ALL", "TERM", "DBUS_SESSION_BUS_ADDRESS", "SYSTEMROOT",
                "PYTHONPATH", "COVERAGE_PROCESS_START", "COVERAGE_PROCESS_CONFIG")  # fmt: skip


@contextlib.contextmanager
def throwaway(purpose: str) -> Iterator[tuple[Path, Cluster]]:
    """A folder and a Postgres of which nothing is left, also after SIGTERM.

    Args:
        purpose: becomes part of the folder's name.

    Raises:
        MissingTool: there is no Postgres, or an extra package is missing.
    """
    folder = Path(tempfile.mkdtemp(prefix=f"pgherald-{purpose}-")).resolve()
    # As Ctrl-C does, it unwinds the program instead of ending it on the spot.
    before = signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    try:
        with Cluster.start(folder / "postgres") as cluster:
            yield folder, cluster
    finally:
        Files(folder / "locks").remove_tree(folder)
        signal.signal(signal.SIGTERM, before)


class Failed(PgheraldError):
    """A step did not show what it should."""


@dataclass(frozen=True, slots=True)
class Tools:
    """What the play borrows from the program itself.

    Attributes:
        refusal: says why Postgres refuses a login; empty where it does not.
        show_diff: shows how a client's file has changed, secrets masked.
    """

    refusal: Callable[[Login], Awaitable[str]]
    show_diff: Callable[[TextClient, bytes, bytes], None]


@dataclass(frozen=True, slots=True)
class _Stage:
    """Where the story plays.

    Attributes:
        home: the throw-away home.
        env: the environment of everything that is started in it.
        simulator: the simulated Heroku.
        pace: seconds that a reader is given for a line; 0 for none.
    """

    home: Path
    env: Mapping[str, str]
    simulator: Simulator
    pace: float

    async def step(self, text: str) -> None:
        """Let the reader read what there is, and announce what comes."""
        await asyncio.sleep(2 * self.pace)
        click.echo()
        click.secho(f"==> {text}", bold=True)

    @property
    def has_desktop(self) -> bool:
        """Whether a notification can be shown."""
        return "DBUS_SESSION_BUS_ADDRESS" in self.env

    def login(self) -> Login:
        """The login that Heroku shows at this moment."""
        world = self.simulator.world
        attachment = world.attachment(world.app(APP), "DATABASE")
        return world.login(attachment.addon, attachment.namespace)

    async def rotate(self) -> None:
        """Let Heroku rotate the database's credentials."""
        world = self.simulator.world
        attachment = world.attachment(world.app(APP), "DATABASE")
        await world.data.rotate(postgres_of(attachment.addon).data)

    def texts(self) -> dict[str, bytes]:
        """The clients' files."""
        return {name: (self.home / name).read_bytes() for name in _CLIENTS}

    async def pgherald(self, *arguments: str) -> str:
        """Run pgherald; what it printed."""
        return await self.run(sys.executable, "-m", "pgherald", *arguments)

    async def run(self, *argv: str) -> str:
        """Run a program in the throw-away home; what it printed.

        Raises:
            Failed: it ended with an error, or not in time.
        """
        try:
            ended = await asyncio.to_thread(
                subprocess.run, argv, env=self.env, cwd=self.home, stdin=subprocess.DEVNULL,
                capture_output=True, encoding="utf-8", errors="replace", timeout=_LIMIT,
                check=False,
            )  # fmt: skip
        except subprocess.TimeoutExpired:
            raise Failed(f"{Path(argv[0]).name} did not end within {_LIMIT:g} s") from None
        if ended.returncode:
            raise Failed(f"{' '.join(argv[1:])} failed", ended.stderr.strip())
        return ended.stdout


@contextlib.asynccontextmanager
async def _stage(
    folder: Path, cluster: Cluster, env: Mapping[str, str], pace: float
) -> AsyncIterator[_Stage]:
    """A simulated Heroku, and a home with some history, from which nothing leads to the person's."""
    async with Simulator.running(await seed_world(cluster)) as simulator:
        home = folder / "home"
        inside = {
            **{name: env[name] for name in _KEPT if name in env},
            **simulator.environment(simulator.world.tokens[0].value, home),
            "PGHERALD_CONFIG": str(home / "config.toml"),
            "PGHERALD_STATE_DIR": str(home / "state"),
            "APPDATA": str(home / "AppData"),
            "NO_COLOR": "1",
        }
        stage = _Stage(home, inside, simulator, pace)
        files = Files(folder / "locks")
        files.make_folder(home)
        desktop = "true" if stage.has_desktop else "false"
        files.write_text_file(home / "config.toml", _CONFIG.format(desktop=desktop))
        files.write_text_file(home / ".pgpass", _PGPASS)
        yield stage


@contextlib.asynccontextmanager
async def _daemon(stage: _Stage) -> AsyncIterator[asyncio.StreamReader]:
    """Meanwhile, the daemon runs; gives its log. It has to end when it is told to."""
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "pgherald", "run", env=stage.env, cwd=stage.home,
        stdin=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    assert child.stderr is not None  # asked for above
    try:
        yield child.stderr
    finally:
        if child.returncode is None:
            child.terminate()
        try:
            await asyncio.wait_for(child.wait(), _LIMIT)
        except TimeoutError:
            child.kill()
            await child.wait()
            raise Failed("The daemon did not end when it was told to") from None


async def _line(log: asyncio.StreamReader, wanted: str) -> str:
    """Wait for a line of the daemon's log with these words; the line from there on.

    Raises:
        Failed: it did not come.
    """
    lines: list[str] = []
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(_LIMIT):
            while text := (await log.readline()).decode(errors="replace").rstrip():
                lines.append(text)
                if wanted in text:
                    return text[text.index(wanted) :]
    raise Failed(f"The daemon's log has no line with {wanted!r}", "\n".join(lines))


# --- the play ------------------------------------------------------------------------------


async def play(
    folder: Path, cluster: Cluster, env: Mapping[str, str], tools: Tools, *, pace: float
) -> None:
    """Play all of it.

    Args:
        folder: where the home is to be.
        cluster: the Postgres behind the simulated Heroku.
        env: the person's environment; little of it gets through.
        tools: what is borrowed from the program itself.
        pace: seconds that a reader is given for a line; 0 for none.

    Raises:
        Failed: a step did not show what it should.
    """
    async with _stage(folder, cluster, env, pace) as stage:
        await stage.step("A developer has a Heroku app, a pgpass file of their own, and pgherald")
        await _show(stage, "check")
        await stage.step(
            "psql gets in by the service, and by host and user with pgpass: no password typed"
        )
        await _connect(stage)
        before = stage.texts()
        async with _daemon(stage) as log:
            await _line(log, "Ready:")
            await stage.step("The daemon runs, unattended")
            _detail("$ pgherald run")
            old = stage.login()
            await _rotate(stage, old, tools)
            await _repair(stage, log, old)
            await _show_files(stage, before, tools)
            await stage.step("psql gets in again, both ways; nobody typed anything")
            await _connect(stage)
            await stage.step("How things stand")
            await _show(stage, "status")
            if not json.loads(await stage.pgherald("check", "--json"))["current"]:
                raise Failed("Not every client is current at the end")


async def _connect(stage: _Stage) -> None:
    """Connect by the service, and by host and user, as a person would, without a password."""
    login = stage.login()
    by_host = f"host={login.host} port={login.port} user={login.user} dbname={login.dbname}"
    sql = "select current_user"
    psql = shutil.which("psql", path=stage.env.get("PATH"))
    script = (
        "import sys, psycopg; print(*psycopg.connect(sys.argv[1]).execute(sys.argv[2]).fetchone())"
    )
    for conninfo, more in ((f"service={APP}", ""), (by_host, " sslmode=require")):
        if psql is not None:
            got = await stage.run(psql, "-XAtq", conninfo + more, "-c", sql)
        else:
            got = await stage.run(sys.executable, "-c", script, conninfo + more, sql)
        _detail(f"$ psql '{conninfo}' -c '{sql}'")
        _detail(got.strip())
        if got.strip() != login.user:
            raise Failed(f"Connected as {got.strip()}, and the login is for {login.user}")


async def _rotate(stage: _Stage, old: Login, tools: Tools) -> None:
    await stage.step("Heroku rotates the database's credentials")
    await stage.rotate()
    why = await tools.refusal(old)
    if not why:
        raise Failed("Postgres was expected to refuse the old login, and did not")
    _detail(f"The old login: {why}.")


async def _repair(stage: _Stage, log: asyncio.StreamReader, old: Login) -> None:
    await stage.step("pgherald notices, proves the new login, and writes it into every client")
    told = await _line(log, "Heroku rotated")
    (record,) = json.loads(await stage.pgherald("history", "--json", "-n", "1"))
    changed = ", ".join(old.changed(stage.login()))
    if changed != ", ".join(record["changed"]) or not record["proven_at"]:
        raise Failed(f"History tells of {record['changed']}, and {changed} changed")
    _detail(f"{record['seen_at'][11:19]} seen    release v{record['release']}: {changed} changed")
    _detail(f"{record['proven_at'][11:19]} proven  by a TLS connection to Postgres")
    _detail(f"{record['written_at'][11:19]} written into {', '.join(record['clients'])}")
    await stage.step(
        "You are told" + ("" if stage.has_desktop else " (no desktop here: only in the log)")
    )
    _detail(told)


async def _show_files(stage: _Stage, before: Mapping[str, bytes], tools: Tools) -> None:
    after = stage.texts()
    for name, editor in _CLIENTS.items():
        await stage.step(f"What changed in ~/{name} (secrets masked)")
        tools.show_diff(editor, before[name], after[name])
        if before[name] == after[name]:
            # A service row names no login, which is why it never has to change.
            _detail("Nothing: it names the service, and the service file has the login.")
    if not after[".pgpass"].endswith(_PGPASS.encode()):
        raise Failed("The person's own lines in pgpass are not what they were")


async def _show(stage: _Stage, command: str) -> None:
    _detail(f"$ pgherald {command}")
    for line in (await stage.pgherald(command)).splitlines():
        _detail(line)


def _detail(text: str) -> None:
    click.echo(f"    {text}")
