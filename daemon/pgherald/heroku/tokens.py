"""Where the token comes from.

    auto           HEROKU_API_KEY, then `heroku auth:token`, then netrc: the CLI's own order
    env:NAME       an environment variable
    file:PATH      the first line of a file; a relative path is a systemd credential
                   (below $CREDENTIALS_DIRECTORY) or, outside systemd, below the home folder
    command:…      the first line that a program prints (split like a shell does, no shell)
    keyring:S/U    the operating system's password store: service S, user U
    netrc          ~/.netrc (`_netrc` on Windows), where older Heroku CLIs keep their login

A source that only reads (env, file, netrc) reads at every `get`. One that starts a
program remembers what it got until `forget`: `heroku auth:token` takes a second and
costs a request of the account.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from pathlib import Path

from pgherald.errors import ConfigError, LoginRequired, PgheraldError
from pgherald.heroku.host import HerokuHost
from pgherald.heroku.token_sources import (
    Cli,
    Keyring,
    Netrc,
    Program,
    TextFile,
    TokenSource,
    Variable,
    on_path,
)
from pgherald.process import Run, run
from pgherald.secret import Secret

__all__ = ["TokenSource", "token_source"]


def token_source(
    kind: str,
    argument: str,
    host: HerokuHost,
    env: Mapping[str, str],
    home: Path,
    *,
    run: Run = run,
) -> TokenSource:
    """The source that the configuration's `token` names.

    Args:
        kind: `auto`, `env`, `file`, `command`, `keyring` or `netrc`.
        argument: what stands behind the colon; empty for `auto` and `netrc`.
        host: the Heroku that the token is for.
        env: the environment, also that of programs started here.
        home: the home folder.
        run: runs a program.

    Raises:
        ConfigError: there is no such kind, or it lacks its argument.
    """
    if (kind in {"auto", "netrc"}) == bool(argument):
        raise ConfigError(f"token = {kind!r}: {'nothing' if argument else 'something'} must follow")
    match kind:
        case "auto":
            return _Auto(host, env, home, run)
        case "netrc":
            return Netrc(home, host.netrc_machine)
        case "env":
            return Variable(env, argument)
        case "file":
            return _file(argument, env, home)
        case "command":
            return _command(argument, env, run)
        case "keyring":
            return Keyring(argument, env, run)
        case _:
            raise ConfigError(f"token = {kind!r}: there is no such source")


class _Auto(TokenSource):
    """The Heroku CLI's own order. What gave a token is asked first until `forget`."""

    name = "auto"

    def __init__(self, host: HerokuHost, env: Mapping[str, str], home: Path, run: Run) -> None:
        self._sources: list[TokenSource] = [Netrc(home, host.netrc_machine)]
        self._chosen: TokenSource | None = None
        if env.get("HEROKU_API_KEY"):
            self._sources = [Variable(env, "HEROKU_API_KEY")]
        elif host.is_known_to_cli and (program := on_path("heroku", env)):
            self._sources.insert(0, Cli(program, host, env, home, run))
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
                return token
        self._chosen, self.name = None, "auto"
        for problem in problems:
            if not isinstance(problem, LoginRequired):
                raise problem
        tried = "; ".join(problem.title for problem in problems)
        raise LoginRequired("There is no Heroku login", f"{tried}. {LoginRequired.default_advice}")

    def forget(self) -> None:
        self._chosen, self.name = None, "auto"
        for source in self._sources:
            source.forget()


def _file(argument: str, env: Mapping[str, str], home: Path) -> TokenSource:
    path = Path(home, argument[2:]) if argument.startswith("~/") else Path(argument)
    credentials = env.get("CREDENTIALS_DIRECTORY")
    if path.is_absolute():
        return TextFile(path)
    # systemd guards its credentials itself, with a mode that looks too open.
    return (
        TextFile(Path(credentials, path), private=False) if credentials else TextFile(home / path)
    )


def _command(argument: str, env: Mapping[str, str], run: Run) -> TokenSource:
    problem = "it is empty"
    argv: list[str] = []
    try:
        argv = shlex.split(argument)
    except ValueError as exc:
        problem = f"{exc}".lower()
    if not argv:
        raise ConfigError(f"token = 'command:…' cannot be split into words: {problem}")
    # The arguments are not shown: a careless one may hold the token.
    return Program(f"The command {Path(argv[0]).name}", argv, env, run)
