"""The sources of a token: an environment variable, a file, netrc, a program, the keyring.

Those that start a program remember what it printed; the others read each time.
"""

from __future__ import annotations

import asyncio
import importlib.util
import os
import re
import shlex
import shutil
import stat
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from pgherald.config.load import refuse
from pgherald.errors import LoginRequired, MissingTool, PgheraldError, Unavailable
from pgherald.heroku.host import HerokuHost
from pgherald.process import TIME_LIMIT, Run
from pgherald.secret import Secret

#: What may stand in an Authorization header: visible ASCII, no white space.
_TOKEN: Final = re.compile(r"[\x21-\x7e]+")
_FILE_LIMIT: Final = 1024 * 1024


def checked(token: Secret, source: str) -> Secret:
    """The token, if it can be one.

    Raises:
        LoginRequired: it cannot.
    """
    if not token:
        raise LoginRequired(f"{source} holds no token", put("there"))
    if not _TOKEN.fullmatch(token.reveal()):
        raise LoginRequired(
            f"What {source} holds is not a token", "A token is one word, such as HRKU-01ab…"
        )
    return token


def put(where: str) -> str:
    """The advice to put a token somewhere."""
    return f"Put a token into {where}: `heroku authorizations:create -s read-protected`."


class TokenSource:
    """Somewhere a token comes from.

    Attributes:
        name: what it is called when shown to the person; never the token.
        cheap: whether `get` only reads, so that asking often costs nothing.
        watch_paths: files whose change may mean a new token.
    """

    name = ""
    cheap = True
    watch_paths: tuple[Path, ...] = ()

    @property
    def warnings(self) -> tuple[str, ...]:
        """Sentences for the person, such as about a file that others can read."""
        return ()

    async def get(self) -> Secret:
        """The token.

        Raises:
            LoginRequired: there is none; the advice fits this source.
            MissingTool: a program or package is needed and not there.
            Unavailable: the Heroku CLI did not answer in time.
            ConfigError: somebody else may change the file that it is in.
        """
        raise NotImplementedError

    def forget(self) -> None:
        """Drop what is remembered, if anything, so that the next `get` reads afresh."""


class Variable(TokenSource):
    """An environment variable."""

    def __init__(self, env: Mapping[str, str], variable: str) -> None:
        self._env = env
        self.name = variable

    async def get(self) -> Secret:
        """The variable's value."""
        value = self._env.get(self.name, "").strip()
        if not value:
            raise LoginRequired(f"{self.name} is not set", put(f"the variable {self.name}"))
        return checked(Secret(value), self.name)


class TextFile(TokenSource):
    """A file that holds a token somewhere in its text."""

    def __init__(self, path: Path, *, private: bool = True) -> None:
        self.path = path
        self.name = str(path)
        self.watch_paths = (path,)
        self._private = private

    @property
    def warnings(self) -> tuple[str, ...]:
        """Whether others can read the file."""
        try:
            mode = self.path.stat().st_mode
        except OSError:
            return ()
        if os.name != "posix" or not self._private or not mode & 0o077:
            return ()
        return (f"Others can read the token in {self.path}. Run: chmod 600 {self.path}",)

    async def get(self) -> Secret:
        """The token in the file as it is now.

        Raises:
            ConfigError: somebody else may put theirs in its place, and lead the clients to a
                database of theirs.
        """
        if self._private:
            refuse([("the token's file", self.path.absolute())])
        return checked(self._pick(_read(self.path)), self.name)

    def _pick(self, text: str) -> Secret:
        return Secret(text.partition("\n")[0].strip())


class Netrc(TextFile):
    """The login that `heroku login` leaves in netrc."""

    def __init__(self, home: Path, machine: str) -> None:
        super().__init__(home / ("_netrc" if sys.platform == "win32" else ".netrc"))
        self._machine = machine

    def _pick(self, text: str) -> Secret:
        password = netrc_password(text, self._machine)
        if password is None:
            raise LoginRequired(f"{self.path} has no entry for {self._machine}")
        return password


def _read(path: Path) -> str:
    """A small regular file's text.

    Raises:
        LoginRequired: it cannot be read.
    """
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            why = "It is not a regular file."  # opening a pipe would wait for ever
        else:
            with path.open("rb") as file:
                return file.read(_FILE_LIMIT).decode("utf-8-sig", "replace")
    except FileNotFoundError:
        raise LoginRequired(f"There is no {path}", put("that file")) from None
    except OSError as exc:
        why = f"{exc.strerror}."
    raise LoginRequired(f"{path} cannot be read", f"{why} {put('that file')}")


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


class Program(TokenSource):
    """A source that starts a program, and remembers what it printed."""

    cheap = False

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
                "Install pgherald with the extra `keyring`, from a clone: pipx install --force '.[keyring]'",
            )
        return await super()._ask()

    def _failed(self, code: int) -> PgheraldError:
        return LoginRequired(
            f"{self.name} gives no token (exit code {code})",
            f"Store a token: keyring set {shlex.join((self._service, self._user))}",
        )


def _cli_env(env: Mapping[str, str], host: HerokuHost) -> dict[str, str]:
    """The CLI's environment: quiet, and unable to reach the real Heroku from a simulator."""
    if host.is_default:
        return {**env, **_QUIET_CLI}
    others = {
        "HEROKU_HOST": host.url,
        "HEROKU_DATA_HOST": host.name,
        "HEROKU_PARTICLEBOARD_URL": host.url,
    }
    return {**env, **_QUIET_CLI, **others}


def on_path(program: str, env: Mapping[str, str]) -> str | None:
    """Where `program` is on PATH; never in the working folder, which an empty entry means."""
    folders = filter(None, env.get("PATH", "").split(os.pathsep))
    return shutil.which(program, path=os.pathsep.join(folders))


_WORD: Final = re.compile(r'\s*(?:"((?:[^"\\]|\\.)*)"|(\S+))', re.DOTALL)
_WITH_VALUE: Final = frozenset({"machine", "login", "password", "account"})
_ESCAPE: Final = re.compile(r"\\(.)", re.DOTALL)
_LINE: Final = re.compile(r"[^\n]*")
#: A macro's text goes on to the next empty line.
_MACRO: Final = re.compile(r".*?(?:\n[ \t\r]*\n|\Z)", re.DOTALL)


def netrc_password(text: str, machine: str) -> Secret | None:
    """The password of the first entry for `machine`; None when there is none.

    Args:
        text: the file's text.
        machine: as it stands in the file, such as `api.heroku.com` or `127.0.0.1:5000`;
            compared without regard to case.
    """
    ours = False
    at = 0
    while word := _WORD.match(text, at):
        keyword, at = word[2] or "", word.end()
        if keyword.startswith("#"):
            at = _end(_LINE, text, at)
        elif keyword == "macdef":
            at = _end(_MACRO, text, at)
        elif keyword == "default":
            ours = False
        elif keyword in _WITH_VALUE and (value := _WORD.match(text, at)):
            at = value.end()
            if keyword == "machine":
                ours = _plain(value).lower() == machine.lower()
            elif keyword == "password" and ours:
                return Secret(_plain(value))
    return None


def _plain(word: re.Match[str]) -> str:
    return word[2] or _ESCAPE.sub(r"\1", word[1])


def _end(pattern: re.Pattern[str], text: str, at: int) -> int:
    found = pattern.match(text, at)
    return found.end() if found else at
