"""Sources of a token that start a program, and remember what it printed."""

from __future__ import annotations

import asyncio
import importlib.util
import os
import shlex
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from pgherald.errors import LoginRequired, MissingTool, PgheraldError, Unavailable
from pgherald.heroku.host import HerokuHost
from pgherald.heroku.token_reading import checked
from pgherald.process import TIME_LIMIT, Run
from pgherald.secret import Secret

_DEFAULT_USER: Final = "pgherald"

#: `git config` would replace the null device itself by a file, when root runs it; below the
#: null device it can make nothing. Why at all: every CLI command edits the person's gitconfig.
_NO_GIT_CONFIG: Final = str(Path(os.devnull, "gitconfig"))
_QUIET_CLI: Final = {
    "HEROKU_SKIP_NEW_VERSION_CHECK": "true",
    "HEROKU_DISABLE_AUTOUPDATE": "true",
    "DISABLE_TELEMETRY": "true",
    "GIT_CONFIG_GLOBAL": _NO_GIT_CONFIG,
}


class Program:
    """A source that starts a program, and remembers what it printed."""

    cheap = False
    watch_paths: tuple[Path, ...] = ()
    warnings: tuple[str, ...] = ()

    def __init__(self, name: str, argv: Sequence[str], env: Mapping[str, str], run: Run) -> None:
        self.name = name
        self._argv = argv
        self._env = env
        self._run = run
        self._lock = asyncio.Lock()
        self._token: Secret | None = None

    async def get(self) -> Secret:
        """The token; starts the program when none is remembered."""
        async with self._lock:  # ten apps ask at once: one start serves them all
            if self._token is None:
                self._token = await self._ask()
            return self._token

    def forget(self) -> None:
        """Start the program again at the next `get`."""
        self._token = None

    async def _ask(self) -> Secret:
        problem: PgheraldError
        try:
            ended = await self._run(self._argv, self._env, out=True)
        except OSError as exc:
            problem = (
                self._too_slow()
                if isinstance(exc, TimeoutError)
                else MissingTool(f"{self.name} cannot be started", f"{exc.strerror}.")
            )
        else:
            if ended.code == 0:
                return checked(Secret(ended.out.partition("\n")[0].strip()), self.name)
            problem = self._failed(ended.code)
        raise problem

    def _too_slow(self) -> PgheraldError:
        return LoginRequired(
            f"{self.name} did not end within {TIME_LIMIT:.0f} seconds",
            "It is run without a terminal, so it must not ask anything.",
        )

    def _failed(self, code: int) -> PgheraldError:
        return LoginRequired(
            f"{self.name} ended with exit code {code}", "Run it in a terminal to see why."
        )


class Cli(Program):
    """`heroku auth:token`: the only door to the login of Heroku CLI 11 and later."""

    def __init__(
        self, program: str, host: HerokuHost, env: Mapping[str, str], home: Path, run: Run
    ) -> None:
        super().__init__("heroku auth:token", (program, "auth:token"), _cli_env(env, host), run)
        data = Path(env.get("XDG_DATA_HOME") or home / ".local" / "share")
        if sys.platform == "win32":  # pragma: no cover – runs on Windows only
            data = Path(env.get("LOCALAPPDATA") or home / "AppData" / "Local")
        self.watch_paths = (data / "heroku" / "login.json",)

    def _too_slow(self) -> PgheraldError:
        # It asks Heroku too, so time runs out when the network does.
        return Unavailable(f"{self.name} did not end within {TIME_LIMIT:.0f} seconds")


class Keyring(Program):
    """The password store, through keyring's own command.

    In a child: a locked store asks for its password and may never come back, which only
    a process can be cured of; and 12 MiB of back ends leave with it.
    """

    def __init__(self, argument: str, env: Mapping[str, str], run: Run) -> None:
        self._service, _, user = argument.partition("/")
        self._user = user or _DEFAULT_USER
        argv = (sys.executable, "-P", "-m", "keyring", "get", self._service, self._user)
        super().__init__(f"keyring {self._service}/{self._user}", argv, env, run)

    async def _ask(self) -> Secret:
        if importlib.util.find_spec("keyring") is None:
            raise MissingTool(
                "The package keyring is not installed",
                "Install pgherald with the extra `keyring`, from a clone: pipx install '.[keyring]'",
            )
        return await super()._ask()

    def _failed(self, code: int) -> PgheraldError:
        return LoginRequired(
            f"{self.name} gives no token (exit code {code})",
            f"Store a token: keyring set {shlex.join((self._service, self._user))}",
        )


def _cli_env(env: Mapping[str, str], host: HerokuHost) -> dict[str, str]:
    """The CLI's environment: quiet, and unable to reach the real Heroku from a simulator."""
    if host.is_usual:
        return {**env, **_QUIET_CLI}
    others = {
        "HEROKU_HOST": host.url,
        "HEROKU_DATA_HOST": host.name,
        "HEROKU_PARTICLEBOARD_URL": host.url,
    }
    return {**env, **_QUIET_CLI, **others}


def on_path(program: str, env: Mapping[str, str]) -> str | None:
    """Where `program` is, as a shell would find it."""
    ends = env.get("PATHEXT", ".EXE;.CMD").split(";") if os.name == "nt" else [""]
    for folder in env.get("PATH", "").split(os.pathsep):
        for end in ends:
            path = Path(folder, program + end)
            if folder and path.is_file() and os.access(path, os.X_OK):
                return str(path)
    return None
