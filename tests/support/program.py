"""The whole program as a child process, in a home that is thrown away.

    async with House.standing(cluster, tmp_path) as house:
        house.configure(SHOP)
        done = await house.pgherald("check")            # a command, to its end
        async with house.daemon() as daemon:            # `pgherald run`, until the block ends
            await daemon.line("Ready:")
            await house.rotate()
            await eventually(lambda: house.behind(house.login()) == [])

A real Postgres and a simulated Heroku stand around it. Nothing of the tests' own
environment reaches it, and whatever it started is stopped by its process id.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import fnmatch
import os
import shutil
import sys
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from pgherald.clock import SystemClock
from pgherald.model import Login
from pgherald.secret import Secret
from pgherald.simulator.postgres import Cluster
from pgherald.simulator.seed import APPS, seed_world
from pgherald.simulator.server import Simulator
from pgherald.simulator.state import Addon, App, Data, postgres_of
from pgherald.simulator.world import World
from support.canaries import hear
from support.children import LIMIT, Done, run_to_its_end, start
from support.held import behind
from support.leaks import MARK
from support.simulator import shown_in

#: Where coverage leaves its orders for child processes.
COVERAGE = ("COVERAGE_PROCESS_START", "COVERAGE_PROCESS_CONFIG")

#: The capabilities by which root gets past the modes of files (capabilities(7)).
FILE_CAPABILITIES = (0, 1, 2, 3)  # CHOWN, DAC_OVERRIDE, DAC_READ_SEARCH, FOWNER
PR_CAPBSET_DROP = 24

SHOP = '[[databases]]\napp = "shop-production"\nname = "Shop"\n'

#: The person's own line in pgpass, which must stay.
OWN_LINE = "localhost:5432:*:me:CANARY-my-own-password\n"


@dataclass
class House:
    """A developer's home, with Heroku and Postgres around it."""

    home: Path
    simulator: Simulator
    env: dict[str, str] = field(repr=False)

    @classmethod
    @contextlib.asynccontextmanager
    async def standing(
        cls, cluster: Cluster, folder: Path, *, apps: Sequence[str] = APPS[:1]
    ) -> AsyncIterator[Self]:
        """A house with an account's token and a line of its own in pgpass."""
        world = await seed_world(cluster, apps=apps, mark=MARK, token=Secret(f"HRKU-{MARK}-token"))
        try:
            async with Simulator.running(world) as simulator:
                home = folder / "house"
                home.mkdir(mode=0o700)
                house = cls(home, simulator, _environment(simulator, home))
                house.put(house.token, world.tokens[0].value.reveal() + "\n")
                house.put(house.pgpass, OWN_LINE)
                yield house
        finally:
            await world.data.clear()

    @property
    def world(self) -> World:
        return self.simulator.world

    def __post_init__(self) -> None:
        self.service_file = self.home / ".pg_service.conf"
        self.pgpass = self.home / ".pgpass"
        self.servers_json = self.home / "servers.json"
        self.clients = (self.service_file, self.pgpass, self.servers_json)
        self.config = self.home / "config.toml"
        self.token = self.home / "token"
        self.state = self.home / "state"

    def put(self, path: Path, text: str, mode: int = 0o600) -> None:
        """Write a file as an editor does: a new one, moved into the old one's place."""
        new = path.with_name(path.name + ".new")
        new.write_text(text)
        new.chmod(mode)
        new.replace(path)

    def configure(
        self,
        *tables: str,
        poll: str = "1s",
        token: str = "file:~/token",  # noqa: S107 – names a file
        desktop: bool = False,
        events: bool = True,
        top: str = "",
    ) -> None:
        """Write the configuration: these tables, all three clients, the token from a file."""
        text = f"""\
poll_interval = "{poll}"
{top}
[heroku]
token = "{token}"
events = {"true" if events else "false"}
[clients.service_file]
[clients.pgpass]
[clients.servers_json]
path = "~/servers.json"
[notifications]
desktop = {"true" if desktop else "false"}
terminals = false
"""
        self.put(self.config, text + "\n".join(tables))

    # What runs.

    async def pgherald(
        self,
        *arguments: str,
        prepare: Callable[[], None] | None = None,
        prefix: Sequence[str] = (),
        limit: float = LIMIT,
    ) -> Done:
        """Run a command of pgherald to its end.

        `prepare` is called in the child before it becomes pgherald, see `like_anybody`; `prefix`
        is a program that starts it, with that program's arguments.
        """
        argv = [*prefix, sys.executable, "-m", "pgherald", *arguments]
        done = await self.run(argv, prepare=prepare, limit=limit)
        assert "Traceback" not in done.err, done.err
        return done

    async def run(
        self,
        argv: Sequence[str],
        *,
        prepare: Callable[[], None] | None = None,
        limit: float = LIMIT,
    ) -> Done:
        done = await run_to_its_end(argv, self.env, self.home, prepare=prepare, limit=limit)
        if "password" not in argv:  # the command that is there to print one
            hear(f"what {' '.join(argv[-3:])} says", done.out + done.err)
        return done

    @contextlib.asynccontextmanager
    async def daemon(
        self, more: Mapping[str, str] | None = None, *, prepare: Callable[[], None] | None = None
    ) -> AsyncIterator[Program]:
        """`pgherald run` until the block ends; it has to end well, and without a traceback."""
        program = await Program.start(self, "run", more=more, prepare=prepare)
        try:
            yield program
            if program.running:
                await program.terminate()
                assert program.code == 0, program.log
            assert "Traceback" not in program.log, program.log
        finally:
            await program.kill()

    async def psql(self, conninfo: str, sql: str = "select current_user") -> Done:
        """Ask Postgres a question through libpq, with no password given.

        By psql, or where there is none by the libpq that psycopg brings.
        """
        if psql := shutil.which("psql"):
            return await self.run([psql, "-XAtqw", conninfo, "-c", sql])
        script = (
            "import sys, psycopg\n"
            "try: print(*psycopg.connect(sys.argv[1]).execute(sys.argv[2]).fetchone())\n"
            "except psycopg.Error as exc: sys.exit(str(exc))"
        )
        return await self.run([sys.executable, "-c", script, conninfo, sql])

    # What Heroku knows.

    def app(self, name: str = APPS[0]) -> App:
        return self.world.app(name)

    def addon(self, app: str = APPS[0]) -> Addon:
        return self.world.attachment(self.app(app), "DATABASE").addon

    def data(self, app: str = APPS[0]) -> Data:
        return postgres_of(self.addon(app)).data

    def login(self, app: str = APPS[0], attachment: str = "DATABASE") -> Login:
        """The login that the config var shows at this moment."""
        return shown_in(self.world, app, attachment)

    async def rotate(self, app: str = APPS[0]) -> Login:
        """Rotate an app's default credential; its new login."""
        await self.world.data.rotate(self.data(app))
        return self.login(app)

    def later_steps_wait(self) -> asyncio.Event:
        """From now on, what a rotation does later waits for this, and for no clock."""
        go = asyncio.Event()

        class Waiting(SystemClock):
            async def sleep(self, seconds: float) -> None:
                await go.wait()

        self.world.clock = Waiting()
        return go

    def requests(self, like: str = "*") -> int:
        """How many requests Heroku has had, or of those that match `METHOD /path`."""
        asked = [f"{visit.method} {visit.path}" for visit in self.simulator.app.front.visits]
        return len(fnmatch.filter(asked, like))

    # What the clients hold, read without pgherald.

    def behind(self, login: Login, service: str = APPS[0]) -> list[str]:
        """The clients that do not hold this login, by their file's name."""
        return behind(self.home, login, service)

    def changed_at(self) -> float:
        """When the last of the clients was put in its place, in seconds of the wall clock."""
        return max(path.stat().st_ctime_ns for path in self.clients) / 1e9

    def released_at(self, app: str = APPS[0]) -> float:
        """When the app's last release was made, by the simulator's own record."""
        return self.app(app).released_at.timestamp()

    def stamps(self) -> dict[str, tuple[int, int]]:
        """What changes when a client is written: inode and time of change."""
        return {
            path.name: ((found := path.stat()).st_ino, found.st_mtime_ns) for path in self.clients
        }

    def commits(self) -> list[str]:
        """The commits in the state folder."""
        return sorted(path.name for path in (self.state / "commits").glob("*") if path.is_dir())


@dataclass
class Program:
    """A running pgherald."""

    process: asyncio.subprocess.Process
    lines: list[tuple[float, str]] = field(default_factory=list)  # of stderr, with their moments
    out: str = ""
    _read: int = 0
    _more: asyncio.Event = field(default_factory=asyncio.Event)
    _pumps: list[asyncio.Task[None]] = field(default_factory=list)

    @classmethod
    async def start(
        cls,
        house: House,
        *arguments: str,
        more: Mapping[str, str] | None = None,
        prepare: Callable[[], None] | None = None,
    ) -> Self:
        """Start pgherald in a house."""
        argv = (sys.executable, "-m", "pgherald", *arguments)
        program = cls(await start(argv, {**house.env, **(more or {})}, house.home, prepare))
        program._pumps = [asyncio.create_task(w) for w in (program._listen(), program._collect())]
        return program

    async def _listen(self) -> None:
        assert self.process.stderr is not None
        async for line in self.process.stderr:
            self.lines.append((time.monotonic(), line.decode().rstrip("\n")))
            hear("the log of a daemon", line)
            self._tell()
        self._tell()

    def _tell(self) -> None:
        more, self._more = self._more, asyncio.Event()
        more.set()

    async def _collect(self) -> None:
        assert self.process.stdout is not None
        self.out = (await self.process.stdout.read()).decode()
        hear("what a daemon says", self.out)

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def running(self) -> bool:
        return self.process.returncode is None

    @property
    def code(self) -> int | None:
        return self.process.returncode

    @property
    def log(self) -> str:
        return "".join(f"{line}\n" for _, line in self.lines)

    def count(self, text: str) -> int:
        """How many lines hold the text."""
        return sum(text in line for _, line in self.lines)

    async def line(self, wanted: str, *, within: float = LIMIT) -> str:
        """Wait for the next line that holds the text; those before it count as read."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(within):
                while True:
                    while self._read < len(self.lines):
                        self._read += 1
                        if wanted in (line := self.lines[self._read - 1][1]):
                            return line
                    if self._pumps[0].done():
                        break
                    await self._more.wait()
        raise AssertionError(f"no line with {wanted!r} in the log:\n{self.log}")

    def signal(self, number: int) -> None:
        self.process.send_signal(number)

    async def terminate(self) -> float:
        """Tell it to end; seconds until it had."""
        began = time.monotonic()
        self.process.terminate()
        await self.ended()
        return time.monotonic() - began

    async def ended(self, *, within: float = LIMIT) -> int:
        async with asyncio.timeout(within):
            code = await self.process.wait()
            await asyncio.gather(*self._pumps)
        return code

    async def kill(self) -> None:
        """End it now, if it has not ended."""
        if self.running:
            self.process.kill()
            await self.process.wait()
        for pump in self._pumps:
            pump.cancel()
        await asyncio.gather(*self._pumps, return_exceptions=True)


async def eventually(
    is_so: Callable[[], bool], *, within: float = LIMIT, log: Program | None = None
) -> None:
    """Wait until something is so."""
    end = time.monotonic() + within
    while not is_so():
        if time.monotonic() > end:
            raise AssertionError(f"not so after {within:g} s\n{log.log if log else ''}")
        await asyncio.sleep(0.02)


def like_anybody() -> None:
    """In a child that is to be started: let the modes of files count, for root too.

    Its program then has root's files and none of root's powers over them.
    """
    if os.geteuid() != 0:
        return
    libc = ctypes.CDLL(None, use_errno=True)
    for capability in FILE_CAPABILITIES:
        if libc.prctl(PR_CAPBSET_DROP, capability, 0, 0, 0):
            raise OSError(ctypes.get_errno(), "prctl")


def _environment(simulator: Simulator, home: Path) -> dict[str, str]:
    env = simulator.environment(simulator.world.tokens[0].value, home)
    del env["HEROKU_API_KEY"]  # it comes from a file, which a test can replace
    return {
        **env,
        **{name: os.environ[name] for name in COVERAGE if name in os.environ},
        "PATH": "/usr/bin:/bin",
        "LC_ALL": "C.UTF-8",
        "NO_COLOR": "1",
        "PGHERALD_CONFIG": str(home / "config.toml"),
        "PGHERALD_STATE_DIR": str(home / "state"),
        # Older versions of libpq do not look at $HOME.
        "PGSERVICEFILE": str(home / ".pg_service.conf"),
        "PGPASSFILE": str(home / ".pgpass"),
        "DBUS_SESSION_BUS_ADDRESS": f"unix:path={home / 'no-bus'}",
    }
