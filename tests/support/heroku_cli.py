"""The real Heroku CLI, kept to a simulator.

    cli = HerokuCli.find()                                   # skips the test without node
    done = await cli.run(simulator, home, "apps")
    assert done.ok and "blog" in done.out

The CLI is installed once, by the lock file in `tests/heroku-cli`, below the
repository's `.cache`; `PGHERALD_HEROKU_CLI` names a copy that is there already.
It runs in a home of its own, and a guard ends it before it reaches any other machine.
"""

from __future__ import annotations

import asyncio
import filecmp
import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest
from filelock import FileLock

from pgherald.secret import Secret
from pgherald.simulator.server import Simulator
from support.children import Done, run_to_its_end, start

REPOSITORY = Path(__file__).parents[2]
LOCKED = REPOSITORY / "tests" / "heroku-cli"
CACHE = REPOSITORY / ".cache" / "heroku-cli"
GUARD = LOCKED / "only-loopback.cjs"

#: Seconds that npm may take to install it.
INSTALL_LIMIT = 300.0


@dataclass(frozen=True, slots=True)
class HerokuCli:
    """An installed Heroku CLI."""

    node: str
    script: Path

    @classmethod
    def find(cls) -> HerokuCli:
        """The installed CLI; installs it on first use. Skips the test when it cannot be had."""
        node = shutil.which("node")
        if node is None:
            pytest.skip("the Heroku CLI needs node")
        given = os.environ.get("PGHERALD_HEROKU_CLI")
        package = Path(given) if given else _install() / "node_modules" / "heroku"
        return cls(node, package / "bin" / "run.js")

    def environment(
        self, simulator: Simulator, home: Path, token: Secret | None = None
    ) -> dict[str, str]:
        """The environment that keeps it to the simulator, and from every other machine."""
        return {
            **simulator.environment(token or simulator.world.tokens[0].value, home),
            "PATH": os.environ["PATH"],
            "NODE_OPTIONS": f'--require "{GUARD}"',
        }

    async def start(
        self, simulator: Simulator, home: Path, *args: str, token: Secret | None = None
    ) -> asyncio.subprocess.Process:
        """Start a command; the caller ends it."""
        argv = [self.node, self.script, *args]
        return await start(argv, self.environment(simulator, home, token), home)

    async def run(
        self, simulator: Simulator, home: Path, *args: str, token: Secret | None = None
    ) -> Done:
        """Run a command to its end."""
        argv = [self.node, self.script, *args]
        return await run_to_its_end(argv, self.environment(simulator, home, token), home)


def _install() -> Path:
    """Install the locked CLI unless it is there; the folder it is in."""
    CACHE.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(CACHE.with_suffix(".lock")):  # another worker may be at it
        if not is_installed():
            _npm_ci()
    return CACHE


def is_installed() -> bool:
    """Whether nothing has to be fetched any more."""
    lock = CACHE / "package-lock.json"
    given = "PGHERALD_HEROKU_CLI" in os.environ
    return given or (
        lock.exists() and filecmp.cmp(lock, LOCKED / "package-lock.json", shallow=False)
    )


def _npm_ci() -> None:
    npm = shutil.which("npm")
    if npm is None:
        pytest.skip("the Heroku CLI needs npm")
    shutil.rmtree(CACHE, ignore_errors=True)
    CACHE.mkdir(parents=True)
    shutil.copy(LOCKED / "package.json", CACHE)
    # npm wants the lock file by this name; until it is done, ours must not be there.
    shutil.copy(LOCKED / "package-lock.json", CACHE / "npm-shrinkwrap.json")
    command = [npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund"]
    done = subprocess.run(
        command, cwd=CACHE, capture_output=True, text=True, timeout=INSTALL_LIMIT, check=False
    )
    if done.returncode:
        reason = f"npm could not install the Heroku CLI: {done.stderr.strip().splitlines()[-1:]}"
        pytest.fail(reason) if os.environ.get("CI") else pytest.skip(reason)
    shutil.copy(LOCKED / "package-lock.json", CACHE)
