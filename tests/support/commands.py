r"""The command line in this process, in front of a simulated Heroku without any socket.

desk = Desk.laid(tmp_path, monkeypatch)
desk.configure('[[databases]]\napp = "shop-production"\n[clients.pgpass]\npath = "pgpass"\n')
result = desk.run("check", "--json")
assert result.code == 0, result.err
"""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from pgherald.cli.main import Invocation, main
from pgherald.clock import SystemClock
from pgherald.daemon.wiring import Outside
from pgherald.model import Login
from pgherald.simulator.application import Application
from pgherald.simulator.seed import seed_world
from pgherald.simulator.state import Attachment, postgres_of
from pgherald.simulator.world import World
from support.canaries import hear
from support.simulator import AskingProber, FakeDoor, FakePostgres, browse, dice

#: What every password of the desk's Heroku holds.
MARK = "CANARY-desk-"

CLIENTS = """
[clients.pgpass]
path = "pgpass"
[clients.service_file]
path = "pg_service.conf"
[clients.servers_json]
path = "servers.json"
"""

SHOP = '[[databases]]\napp = "shop-production"\nname = "Shop"\n'


@dataclass(frozen=True)
class Result:
    """What a command left behind."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


class HastyClock(SystemClock):
    """The machine's own clock for somebody who never waits."""

    async def sleep(self, seconds: float) -> None:
        """Let others run, and that is all."""
        await asyncio.sleep(0)


@dataclass
class Desk:
    """A person at a command line."""

    folder: Path
    world: World
    app: Application
    prober: AskingProber
    transport: httpx.AsyncBaseTransport
    patch: pytest.MonkeyPatch

    @property
    def file(self) -> Path:
        return self.folder / "config.toml"

    @classmethod
    def laid(cls, folder: Path, patch: pytest.MonkeyPatch) -> Desk:
        """A desk with three apps at Heroku and nothing configured yet."""
        postgres = FakePostgres()
        world = asyncio.run(
            seed_world(postgres, source=dice(7), mark=MARK, open_door=FakeDoor.opener())
        )
        app = browse(world).app
        desk = cls(
            folder,
            world,
            app,
            AskingProber(postgres, SystemClock()),
            httpx.ASGITransport(app.front),
            patch,
        )
        patch.setenv("HEROKU_HOST", "http://127.0.0.1:5000")
        patch.setenv("HEROKU_API_KEY", world.tokens[0].value.reveal())
        # A method that is bound already would not take the invocation.
        patch.setattr(Invocation, "outside", lambda invocation: desk.outside(invocation.env))
        return desk

    def outside(self, env: Mapping[str, str]) -> Outside:
        """What stands in for the real world."""
        return Outside(env, self.folder, HastyClock(), self.transport, self.prober)

    def configure(self, text: str) -> None:
        self.file.write_text(f'state_dir = "state"\n{text}')

    def rotate(self, app: str = "shop-production") -> None:
        """Let Heroku rotate an app's database."""
        data = postgres_of(self._attachment(app).addon).data
        self._at_heroku(lambda: self.world.data.rotate(data))

    def rename(self, app: str = "shop-production") -> str:
        """Let Heroku give an app's database another name; the name."""
        addon = self._attachment(app).addon
        self._at_heroku(lambda: self.world.data.rename_database(addon))
        return self.login(app).dbname

    def _attachment(self, app: str) -> Attachment:
        return self.world.attachment(self.world.app(app), "DATABASE")

    def _at_heroku(self, deed: Callable[[], Awaitable[None]]) -> None:
        async def done() -> None:
            await deed()
            await self.world.quiet()

        asyncio.run(done())

    def login(self, app: str = "shop-production") -> Login:
        """What Heroku shows."""
        attachment = self._attachment(app)
        return self.world.login(attachment.addon, attachment.namespace)

    def read(self, name: str) -> str:
        return (self.folder / name).read_text()

    def run(self, *args: str) -> Result:
        """Run one command; its configuration is the desk's."""
        return run("--config", str(self.file), *args, patch=self.patch)


def run(*args: str, patch: pytest.MonkeyPatch) -> Result:
    """Run one command line through the program's own entry point."""
    out, err = io.StringIO(), io.StringIO()
    log = logging.getLogger("pgherald")
    level = log.level
    patch.setattr("sys.argv", ["pgherald", *args])
    with (
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
        pytest.raises(SystemExit) as ended,
    ):
        main()
    log.setLevel(level)  # a command may set it for the rest of its process
    code = ended.value.code
    assert isinstance(code, int)
    if "password" not in args:  # the command that is there to print one
        hear(f"what {' '.join(args[-3:])} says", out.getvalue() + err.getvalue())
    return Result(code, out.getvalue(), err.getvalue())
