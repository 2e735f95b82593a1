"""Where the token comes from.

    auto           HEROKU_API_KEY, then `heroku auth:token`, then netrc: the CLI's own order
    env:NAME       an environment variable
    file:PATH      the first line of a file; a relative path is a systemd credential
                   (below $CREDENTIALS_DIRECTORY)
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

from pgherald.config.values import TokenKind, TokenSpec
from pgherald.errors import LoginRequired, PgheraldError
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
            return _Auto(host, env, home, run)
        case TokenKind.NETRC:
            return Netrc(home, host.netrc_machine)
        case TokenKind.ENV:
            return Variable(env, argument)
        case TokenKind.FILE:
            # systemd guards its credentials itself, with a mode that looks too open.
            private = Path(argument).is_absolute()
            return TextFile(Path(env.get("CREDENTIALS_DIRECTORY", ""), argument), private=private)
        case TokenKind.COMMAND:
            # The arguments are not shown: a careless one may hold the token.
            argv = shlex.split(argument)
            return Program(f"The command {Path(argv[0]).name}", argv, env, run)
        case TokenKind.KEYRING:
            return Keyring(argument, env, run)


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
