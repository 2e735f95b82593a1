"""Where the token comes from.

    auto           HEROKU_API_KEY, then `heroku auth:token`, then netrc: the CLI's own order
    env:NAME       an environment variable
    file:PATH      the first line of a file; a relative path is a systemd credential
                   (below $CREDENTIALS_DIRECTORY)
    command:…      the first line that a program prints (split like a shell does, no shell)
    keyring:S/U    the operating system's password store: service S, user U
    netrc          ~/.netrc (`_netrc` on Windows), where older Heroku CLIs keep their login

A source that only reads (env, file, netrc) reads at every `get`. One that starts a program
remembers what it printed until `forget`: `heroku auth:token` takes a second and costs a request
of the account.
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
from pgherald.config.values import TokenKind, TokenSpec
from pgherald.errors import MAKE_ONE, LoginRequired, MissingTool, PgheraldError, Unavailable
from pgherald.heroku.host import HerokuHost
from pgherald.process import TIME_LIMIT, Run, run
from pgherald.secret import Secret

__all__ = ["TokenSource", "token_source"]

#: What may stand in an Authorization header: visible ASCII, no white space.
_TOKEN: Final = re.compile(r"[\x21-\x7e]+")
_FILE_LIMIT: Final = 1024 * 1024
_VARIABLE: Final = "HEROKU_API_KEY"
_DEFAULT_USER: Final = "pgherald"
_UNSET: Final = (
    f"Take {_VARIABLE} out of the environment (in a shell: `unset {_VARIABLE}`) and start pgherald "
    "again: then the Heroku CLI's own login counts. If it has none: `heroku login`."
)
_LOGIN: Final = "Run: heroku login"


class TokenSource:
    """Somewhere a token comes from.

    Attributes:
        name: what it is called when shown to the person; never the token.
        advice: how another token gets there, where there is none or Heroku refuses it.
        cheap: whether `get` only reads, so that asking often costs nothing.
        watch_paths: files whose change may mean a new token.
    """

    name = ""
    advice = LoginRequired.default_advice
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
            ConfigError: somebody else may put theirs into its file, and lead the clients to a
                database of theirs.
        """
        raise NotImplementedError

    def forget(self) -> None:
        """Drop what is remembered, if anything, so that the next `get` reads afresh."""

    def _checked(self, text: str) -> Secret:
        """A token, if the text can be one.

        Raises:
            LoginRequired: it cannot.
        """
        if not text:
            raise LoginRequired(f"{self.name} holds no token", self.advice)
        if not _TOKEN.fullmatch(text):
            raise LoginRequired(f"What {self.name} holds is not a token", self.advice)
        return Secret(text)


class _Variable(TokenSource):
    def __init__(self, env: Mapping[str, str], name: str, advice: str = "") -> None:
        self._env = env
        self.name = name
        self.advice = advice or f"Set {name} to a token and start pgherald again: {MAKE_ONE}"

    async def get(self) -> Secret:
        value = self._env.get(self.name, "").strip()
        if not value:
            raise LoginRequired(f"{self.name} is not set", self.advice)
        return self._checked(value)


class _TextFile(TokenSource):
    """A file that holds a token somewhere in its text."""

    def __init__(self, path: Path, *, private: bool = True) -> None:
        self.path = path
        self.name = str(path)
        self.advice = f"Put a token into {path}: {MAKE_ONE}"
        self.watch_paths = (path,)
        self._private = private

    @property
    def warnings(self) -> tuple[str, ...]:
        try:
            mode = self.path.stat().st_mode
        except OSError:
            return ()
        if os.name != "posix" or not self._private or not mode & 0o077:
            return ()
        return (f"Others can read the token in {self.path}. Run: chmod 600 {self.path}",)

    async def get(self) -> Secret:
        if self._private:
            refuse([("the token's file", self.path.absolute())])
        return self._checked(self._pick(self._read()))

    def _pick(self, text: str) -> str:
        return text.partition("\n")[0].strip()

    def _read(self) -> str:
        try:
            if not stat.S_ISREG(self.path.stat().st_mode):
                why = "It is not a regular file"  # opening a pipe would wait for ever
            else:
                with self.path.open("rb") as file:
                    return file.read(_FILE_LIMIT).decode("utf-8-sig", "replace")
        except FileNotFoundError:
            raise LoginRequired(f"There is no {self.path}", self.advice) from None
        except OSError as exc:
            why = str(exc.strerror)
        raise LoginRequired(f"{self.path} cannot be read", f"{why}. {self.advice}")


class _Netrc(_TextFile):
    """The login that older Heroku CLIs leave in netrc, and newer ones where they are asked to."""

    def __init__(self, home: Path, machine: str) -> None:
        super().__init__(home / ("_netrc" if sys.platform == "win32" else ".netrc"))
        self.advice = (
            "Run `HEROKU_NETRC_WRITE=true heroku login`; without the variable newer versions of "
            'the Heroku CLI keep their login elsewhere, which `token = "auto"` finds.'
        )
        self._machine = machine

    def _pick(self, text: str) -> str:
        password = netrc_password(text, self._machine)
        if password is None:
            raise LoginRequired(f"{self.path} has no entry for {self._machine}", self.advice)
        return password.reveal()


class _Program(TokenSource):
    """A source that starts a program, and remembers what it printed."""

    cheap = False

    def __init__(
        self, name: str, argv: Sequence[str], env: Mapping[str, str], run: Run, advice: str
    ) -> None:
        self.name = name
        self.advice = advice
        self._argv = argv
        self._env = env
        self._run = run
        self._lock = asyncio.Lock()
        self._token: Secret | None = None

    async def get(self) -> Secret:
        async with self._lock:  # ten apps ask at once: one start serves them all
            if self._token is None:
                self._token = await self._ask()
            return self._token

    def forget(self) -> None:
        self._token = None

    async def _ask(self) -> Secret:
        problem: PgheraldError
        try:
            ended = await self._run(self._argv, self._env, out=True)
        except TimeoutError:
            problem = self._too_slow(f"{self.name} did not end within {TIME_LIMIT:.0f} seconds")
        except OSError as exc:
            problem = MissingTool(f"{self.name} cannot be started", f"{exc.strerror}.")
        else:
            if ended.code == 0:
                return self._checked(ended.out.partition("\n")[0].strip())
            title = f"{self.name} ended with exit code {ended.code}"
            problem = LoginRequired(title, self.advice)
        raise problem

    def _too_slow(self, title: str) -> PgheraldError:
        return LoginRequired(title, "It is run without a terminal, so it must not ask anything.")


class _Cli(_Program):
    """`heroku auth:token`: the only door to the login of Heroku CLI 11 and later."""

    def __init__(
        self, program: str, host: HerokuHost, env: Mapping[str, str], home: Path, run: Run
    ) -> None:
        argv = (program, "auth:token")
        super().__init__("heroku auth:token", argv, _cli_env(env, host), run, _LOGIN)
        data = Path(env.get("XDG_DATA_HOME") or home / ".local" / "share")
        if sys.platform == "win32":  # pragma: no cover – runs on Windows only
            data = Path(env.get("LOCALAPPDATA") or home / "AppData" / "Local")
        self.watch_paths = (data / "heroku" / "login.json",)

    def _too_slow(self, title: str) -> PgheraldError:
        return Unavailable(title)  # it asks Heroku too, so time runs out when the network does


class _Keyring(_Program):
    """The password store, through keyring's own command.

    In a child: a locked store asks for its password and may never come back, which only
    a process can be cured of; and 12 MiB of back ends leave with it.
    """

    def __init__(self, argument: str, env: Mapping[str, str], run: Run) -> None:
        service, _, user = argument.partition("/")
        entry = (service, user or _DEFAULT_USER)
        argv = (sys.executable, "-P", "-m", "keyring", "get", *entry)
        advice = f"Store a token with `keyring set {shlex.join(entry)}`: {MAKE_ONE}"
        super().__init__(f"keyring {'/'.join(entry)}", argv, env, run, advice)

    async def _ask(self) -> Secret:
        if importlib.util.find_spec("keyring") is None:
            raise MissingTool(
                "The package keyring is not installed",
                "Install pgherald with the extra `keyring`, from a clone: pipx install --force '.[keyring]'",
            )
        return await super()._ask()


class _Auto(TokenSource):
    """The Heroku CLI and its older file. What gave a token is asked first until `forget`."""

    name = "auto"

    def __init__(self, host: HerokuHost, env: Mapping[str, str], home: Path, run: Run) -> None:
        self._sources: list[TokenSource] = [_Netrc(home, host.netrc_machine)]
        self._chosen: TokenSource | None = None
        self._none = "Make `heroku` found on PATH and run `heroku login`"
        if host.is_known_to_cli and (program := on_path("heroku", env)):
            self._none = "Run `heroku login`"
            self._sources.insert(0, _Cli(program, host, env, home, run))
        self.cheap = all(source.cheap for source in self._sources)
        self.watch_paths = tuple(path for each in self._sources for path in each.watch_paths)

    @property
    def warnings(self) -> tuple[str, ...]:
        return self._chosen.warnings if self._chosen else ()

    async def get(self) -> Secret:
        problems: list[PgheraldError] = []
        first = [self._chosen] if self._chosen else []
        for source in dict.fromkeys([*first, *self._sources]):
            try:
                token = await source.get()
            except PgheraldError as exc:
                problems.append(exc)
            else:
                self._chosen, self.name = source, source.name
                # Of a netrc beside the CLI, the CLI's next login is the better one.
                self.advice = self._sources[0].advice
                return token
        self._chosen, self.name = None, "auto"
        for problem in problems:
            if not isinstance(problem, LoginRequired):
                raise problem
        tried = "; ".join(problem.title for problem in problems)
        file = "or name a file with a token, `pgherald init --token file:PATH`"
        advice = f"{tried}. {self._none}, {file}: {MAKE_ONE}"
        raise LoginRequired("There is no Heroku login", advice)

    def forget(self) -> None:
        self._chosen, self.name = None, "auto"
        for source in self._sources:
            source.forget()


def token_source(
    spec: TokenSpec, host: HerokuHost, env: Mapping[str, str], home: Path, *, run: Run = run
) -> TokenSource:
    """The source that the configuration's `token` names.

    Args:
        spec: the configured source, already checked.
        host: the Heroku that the token is for.
        env: the environment, also that of programs started here.
        home: the home folder.
        run: runs a program.
    """
    argument = spec.argument
    match spec.kind:
        case TokenKind.AUTO:
            variable = _Variable(env, _VARIABLE, _UNSET)
            return variable if env.get(_VARIABLE) else _Auto(host, env, home, run)
        case TokenKind.NETRC:
            return _Netrc(home, host.netrc_machine)
        case TokenKind.ENV:
            return _Variable(env, argument)
        case TokenKind.FILE:
            # systemd guards its credentials itself, with a mode that looks too open.
            private = Path(argument).is_absolute()
            return _TextFile(Path(env.get("CREDENTIALS_DIRECTORY", ""), argument), private=private)
        case TokenKind.COMMAND:
            # The arguments are not shown: a careless one may hold the token.
            argv = shlex.split(argument)
            advice = f"Run it in a terminal: it has to print a token that works. {MAKE_ONE}"
            return _Program(f"The command {Path(argv[0]).name}", argv, env, run, advice)
        case TokenKind.KEYRING:
            return _Keyring(argument, env, run)


def _cli_env(env: Mapping[str, str], host: HerokuHost) -> dict[str, str]:
    """The CLI's environment: quiet, and unable to reach the real Heroku from a simulator."""
    quiet = {
        "HEROKU_SKIP_NEW_VERSION_CHECK": "true",
        "HEROKU_DISABLE_AUTOUPDATE": "true",
        "DISABLE_TELEMETRY": "true",
        # Every CLI command edits the person's gitconfig. Root's git would replace the null device
        # itself by a file; below it, nobody can make anything.
        "GIT_CONFIG_GLOBAL": str(Path(os.devnull, "gitconfig")),
    }
    others = {
        "HEROKU_HOST": host.url,
        "HEROKU_DATA_HOST": host.name,
        "HEROKU_PARTICLEBOARD_URL": host.url,
    }
    return {**env, **quiet, **({} if host.is_default else others)}


def on_path(program: str, env: Mapping[str, str]) -> str | None:
    """Where `program` is on PATH; never in the working folder, which an empty entry means."""
    folders = filter(None, env.get("PATH", "").split(os.pathsep))
    return shutil.which(program, path=os.pathsep.join(folders))


#: A comment, a macro with its text up to an empty line, a keyword with its value, or another word.
_ENTRY: Final = re.compile(
    r"#[^\n]*"
    r"|macdef(?!\S).*?(?:\n[ \t\r]*\n|\Z)"
    r'|(machine|login|password|account)\s+(?:"((?:[^"\\]|\\.)*)"|(\S+))'
    r"|(\S+)",
    re.DOTALL,
)
_ESCAPE: Final = re.compile(r"\\(.)", re.DOTALL)


def netrc_password(text: str, machine: str) -> Secret | None:
    """The password of the first entry for `machine`; None when there is none.

    Args:
        text: the file's text.
        machine: as it stands in the file, such as `api.heroku.com` or `127.0.0.1:5000`;
            compared without regard to case.
    """
    ours = False
    for found in _ENTRY.finditer(text):
        keyword, quoted, plain, other = found.groups()
        value = plain or _ESCAPE.sub(r"\1", quoted or "")
        if keyword == "machine" or other == "default":
            ours = value.lower() == machine.lower()
        elif keyword == "password" and ours:
            return Secret(value)
    return None
