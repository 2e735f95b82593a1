"""A simulated Heroku behind one port on loopback.

async with Simulator.running(world) as simulator:  # in a test
    simulator.url

await serve(cluster, port=5000, announce=print)  # in the foreground, until a signal
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import shlex
import signal
import socket
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final, Protocol

from pgherald.errors import ConfigError, MissingTool, PgheraldError
from pgherald.secret import Secret
from pgherald.simulator.backend import Backend
from pgherald.simulator.seed import APPS, seed_world
from pgherald.simulator.world import World

if TYPE_CHECKING:
    from pgherald.simulator.application import Application
    from pgherald.simulator.faults import Front

#: What every answer calls itself.
SERVER: Final = "pgherald-simulator"

LOOPBACK: Final = frozenset({"127.0.0.1", "localhost"})

#: Seconds that answers under way get when the simulator stops.
GRACE: Final = 1

BANNER: Final = """\
This is a simulator. It is not Heroku, and nothing here reaches Heroku.
Listening on {url}, for this machine only. Ctrl-C stops it.

For the Heroku CLI and for pgherald: open a new terminal and paste

{environment}

To rotate what {app} uses:

curl -X POST {url}/_simulator/rotate -H 'X-Simulator-Token: {control}' -d '{{"app": "{app}"}}'
"""


class Server(Protocol):
    """What is needed of uvicorn."""

    up: asyncio.Event
    should_exit: bool

    async def serve(self, sockets: list[socket.socket] | None = None) -> None:
        """Serve until `should_exit`; `up` is set once it listens."""
        ...


@dataclass(frozen=True, slots=True)
class Simulator:
    """A running simulated Heroku.

    Attributes:
        world: what it knows; change it as you like.
        app: its faults, limits, log sessions and the record of requests.
        url: `http://127.0.0.1:PORT`, without a slash at the end.
        control_token: opens the control routes.
    """

    world: World
    app: Application
    url: str
    control_token: Secret

    @classmethod
    @contextlib.asynccontextmanager
    async def running(
        cls, world: World, *, host: str = "127.0.0.1", port: int = 0
    ) -> AsyncIterator[Simulator]:
        """Serve a world until the block ends; then the world is closed.

        Args:
            world: what to serve.
            host: a name of this machine's loopback; anything else is refused.
            port: 0 for a free one.

        Raises:
            ConfigError: `host` is not loopback.
            PgheraldError: the port is taken.
            MissingTool: the extra `demo` is not installed.
        """
        control_token = Secret(secrets.token_urlsafe(16))
        with _listen(host, port) as listener, _extra_demo():
            from pgherald.simulator.application import build  # needs the extra `demo`

            app = build(world, control_token)
            server = _server(app.front)
            url = f"http://127.0.0.1:{listener.getsockname()[1]}"
            task = asyncio.create_task(server.serve(sockets=[listener]))
            try:
                await server.up.wait()
                yield cls(world, app, url, control_token)
            finally:
                server.should_exit = True
                app.front.stop()
                await world.close()
                await task

    def environment(self, token: Secret, home: Path) -> dict[str, str]:
        """The environment that keeps the Heroku CLI, and pgherald, to this simulator.

        Args:
            token: whose account to use.
            home: a folder of its own, so that nothing of the person's is touched.
        """
        folders = {name: str(home / path) for name, path in _FOLDERS.items()}
        return {**self._settings(token), "HOME": str(home), **folders}

    def shell_environment(self, token: Secret) -> str:
        """The same as lines for a POSIX shell, with a home made on the spot."""
        settings = [f"export {n}={shlex.quote(v)}" for n, v in self._settings(token).items()]
        folders = [f'export {name}="$HOME/{path}"' for name, path in _FOLDERS.items()]
        lines = [f"unset {' '.join(_FORGOTTEN)}", 'export HOME="$(mktemp -d)"']
        return "\n".join([*lines, *folders, *settings])

    def _settings(self, token: Secret) -> dict[str, str]:
        return {
            "HEROKU_HOST": self.url,
            # A host name alone: the CLI takes scheme and port from HEROKU_HOST. Without it
            # the CLI sends the token to Heroku's real Data API, and in the clear.
            "HEROKU_DATA_HOST": "127.0.0.1",
            "HEROKU_PARTICLEBOARD_URL": self.url,
            "HEROKU_API_KEY": token.reveal(),
            "DISABLE_TELEMETRY": "true",
            "HEROKU_SKIP_NEW_VERSION_CHECK": "true",
            "HEROKU_DISABLE_AUTOUPDATE": "true",
        }


#: Where the Heroku CLI would write, by environment variable, below a home of its own.
_FOLDERS: Final = {
    "XDG_CONFIG_HOME": ".config",
    "XDG_CACHE_HOME": ".cache",
    "XDG_DATA_HOME": ".local/share",
    "XDG_STATE_HOME": ".local/state",
    "GIT_CONFIG_GLOBAL": ".gitconfig",
}


#: What would lead pgherald, or psql, to the person's own files.
_FORGOTTEN: Final = ("PGHERALD_CONFIG", "PGHERALD_STATE_DIR", "PGPASSFILE", "PGSERVICEFILE")


async def serve(
    backend: Backend,
    *,
    port: int = 5000,
    host: str = "127.0.0.1",
    announce: Callable[[str], None],
    apps: Sequence[str] = APPS,
    token: Secret | None = None,
) -> None:
    """Serve a seeded world until SIGINT or SIGTERM.

    Args:
        backend: the Postgres behind it; the caller starts and stops it.
        port: where to listen; 0 for a free one.
        host: a name of this machine's loopback.
        announce: is given the text for the person, once.
        apps: names of the apps.
        token: the developer's token; a random one by default.

    Raises:
        As `Simulator.running`.
    """
    world = await seed_world(backend, apps=apps, token=token)
    try:
        async with Simulator.running(world, host=host, port=port) as simulator:
            announce(
                BANNER.format(
                    url=simulator.url,
                    environment=simulator.shell_environment(world.tokens[0].value),
                    app=apps[0],
                    control=simulator.control_token.reveal(),
                )
            )
            await _signalled()
    finally:
        await world.close()  # also when it could not listen


async def _signalled() -> None:
    """Wait for SIGINT or SIGTERM."""
    loop, stop = asyncio.get_running_loop(), asyncio.Event()
    caught = []
    try:
        for number in (signal.SIGINT, signal.SIGTERM):
            with contextlib.suppress(NotImplementedError):  # Windows: Ctrl-C cancels the task
                loop.add_signal_handler(number, stop.set)
                caught.append(number)
        await stop.wait()
    finally:
        for number in caught:
            loop.remove_signal_handler(number)


def _listen(host: str, port: int) -> socket.socket:
    if host not in LOOPBACK:
        raise ConfigError(
            f"The simulator does not listen on {host}",
            advice="It stands for Heroku on this machine alone; use 127.0.0.1.",
        )
    try:
        return socket.create_server(("127.0.0.1", port))
    except OSError as error:
        raise PgheraldError(
            f"The simulator cannot listen on port {port}",
            f"{error.strerror}. Choose another port; 0 takes a free one.",
        ) from None


@contextlib.contextmanager
def _extra_demo() -> Iterator[None]:
    """Say in plain words that the extra `demo` is missing."""
    try:
        yield
    except ModuleNotFoundError as error:
        raise MissingTool(
            f"The simulator needs the package {error.name}",
            "Install pgherald with the extra `demo`, from a clone: pipx install --force '.[demo]'",
        ) from None


def _server(front: Front) -> Server:
    """A uvicorn that says nothing and leaves the signals to the program around it."""
    import uvicorn  # needs the extra `demo`

    class Quiet(uvicorn.Server):
        def __init__(self, config: uvicorn.Config) -> None:
            super().__init__(config)
            self.up = asyncio.Event()

        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            await super().startup(sockets)
            self.up.set()

        @contextlib.contextmanager
        def capture_signals(self) -> Iterator[None]:
            yield

    config = uvicorn.Config(
        front,
        http="h11",
        ws="none",
        lifespan="off",
        log_config=None,
        log_level="critical",
        access_log=False,
        server_header=False,
        headers=[("Server", SERVER)],
        timeout_graceful_shutdown=GRACE,
    )
    return Quiet(config)
