"""What is there before init begins: the configuration, the login, the clients."""

from __future__ import annotations

import asyncio
import os
import shutil
import sys
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from pgherald.cli.main import Invocation
from pgherald.cli.output import problem
from pgherald.cli.progress import progress
from pgherald.cli.setup.ask import line
from pgherald.config import Config, TokenKind, TokenSpec, places
from pgherald.config.client_tables import PgpassTable, ServiceFileTable
from pgherald.config.paths import home, locate
from pgherald.config.surroundings import Surroundings
from pgherald.config.values import TOKEN, Wrong
from pgherald.errors import LoginRequired
from pgherald.model import DEFAULT_ACCOUNT

if TYPE_CHECKING:
    from pgherald.daemon.survey import Survey

#: The clients of a new configuration.
USUAL: Final = ("pgadmin", "service_file", "pgpass")

#: The variable by which a person has moved a client's file.
_MOVED_BY: Final = {"service_file": "PGSERVICEFILE", "pgpass": "PGPASSFILE"}


@dataclass(frozen=True, slots=True)
class Ground:
    """The configuration as it was found.

    Attributes:
        file: where it is, or is to be.
        raw: its bytes; None where there is none.
        config: what it says; None likewise.
        account: the account that is asked.
        named: the account's name for `[[databases]]`; None where there is but one.
    """

    file: Path
    raw: bytes | None
    config: Config | None
    account: str
    named: str | None

    @property
    def text(self) -> str:
        """Its text, without a BOM."""
        return "" if self.config is None or self.raw is None else self.raw.decode("utf-8-sig")

    @property
    def has_accounts(self) -> bool:
        """Whether tokens stand in `[[accounts]]`, which init leaves to the person."""
        return "accounts" in tomllib.loads(self.text)


@dataclass(frozen=True, slots=True)
class Login:
    """A login that works.

    Attributes:
        token: where the token comes from, as the configuration writes it; None to leave that as
            it is.
        survey: what it shows.
    """

    token: str | None
    survey: Survey


def ground(invocation: Invocation, account: str | None) -> Ground:
    """Look at the configuration.

    Args:
        invocation: the command line.
        account: which of several accounts is meant, if the person says so.

    Raises:
        ConfigError: there is one, and it is wrong.
        click.UsageError: the account is not told, or not there.
    """
    file = locate(invocation.config_path, invocation.env)
    raw = file.read_bytes() if file.is_file() else None
    config = invocation.load() if raw is not None and raw.strip() else None
    names = [each.name for each in config.accounts] if config else [DEFAULT_ACCOUNT]
    if account is not None and account not in names:
        raise click.UsageError(f"There is no account {account!r}; it can be {', '.join(names)}.")
    if account is None and len(names) > 1:
        raise click.UsageError(f"Which account? Add --account: {', '.join(names)}.")
    chosen = account or names[0]
    return Ground(file, raw, config, chosen, chosen if len(names) > 1 else None)


def token_of(text: str, env: Mapping[str, str], folder: Path) -> tuple[str, TokenSpec]:
    """A token's source as the person names it: for the configuration, and for asking.

    Args:
        text: such as `auto` or `file:PATH`; a relative path counts from `folder`.
        env: the environment.
        folder: where the person is.

    Raises:
        click.BadParameter: it names no source.
    """
    try:
        spec: TokenSpec = TOKEN.read(text)
    except Wrong as exc:
        raise click.BadParameter(str(exc), param_hint="--token") from None
    if spec.kind is not TokenKind.FILE:
        return str(spec), spec
    here = home(env)
    path = Surroundings(folder / "config.toml", env, sys.platform).path(spec.argument)
    path = Path(os.path.normpath(path))
    shown = f"~/{path.relative_to(here).as_posix()}" if path.is_relative_to(here) else str(path)
    return f"file:{shown}", TokenSpec(TokenKind.FILE, str(path))


def login(invocation: Invocation, found: Ground, token: str | None, *, asks: bool) -> Login:
    """Find a login that works; let the person name a file with a token when there is none.

    Raises:
        LoginRequired: there is none.
        HerokuError: Heroku could not be asked.
        click.UsageError: the token cannot be changed here.
    """
    from pgherald.daemon.survey import survey  # `--help` needs no HTTP

    spec = TokenSpec()
    if found.config is not None:
        spec = next(a.token for a in found.config.accounts if a.name == found.account)
    if token is not None and found.has_accounts:
        raise click.UsageError("The tokens stand in [[accounts]] here: change the file by hand.")
    if token is not None:
        token, spec = token_of(token, invocation.env, Path.cwd())
    configured = found.config.databases if found.config else ()
    named = [each.key.attachment for each in configured if each.key.account == found.account]
    rules = found.config.discover if found.config else ()
    teams = {each.team for each in rules if each.team and each.account == found.account}
    while True:
        asked = survey(spec, invocation.outside(), named, teams)
        try:
            with progress(lambda: "Asking Heroku for your databases"):
                shown = asyncio.run(asked)
        except LoginRequired as exc:
            if not asks or found.has_accounts:
                raise
            problem(exc.title, exc.advice)
        else:
            return Login(token, shown)
        path = line("A file that holds a token (Enter to stop): ")
        if not path:
            raise click.Abort
        token, spec = token_of(f"file:{path}", invocation.env, Path.cwd())


def clients(kinds: Sequence[str], invocation: Invocation, file: Path) -> dict[str, str | None]:
    """The clients to write, each with its path where the environment has moved it."""
    env = invocation.env
    here = Surroundings(file, env, sys.platform)
    usual = {
        "service_file": here.client(ServiceFileTable(path=None)),
        "pgpass": here.client(PgpassTable(path=None)),
    }
    paths: dict[str, str | None] = {}
    for kind in kinds:
        moved = env.get(_MOVED_BY.get(kind, ""), "")
        is_elsewhere = moved and Path(moved).absolute() != usual[kind]
        paths[kind] = str(Path(moved).absolute()) if is_elsewhere else None
    return paths


def files(invocation: Invocation, there: Ground, new: Mapping[str, str | None]) -> dict[str, Path]:
    """The clients' files that others write too, by what a person calls them."""
    here = Surroundings(there.file, invocation.env, sys.platform)
    tables = {"service_file": ServiceFileTable, "pgpass": PgpassTable}
    settings = there.config.clients if there.config else ()
    paths = {each.kind: each.path for each in settings if each.kind in tables}
    for kind, path in new.items():
        if kind in tables:
            paths.setdefault(kind, here.client(tables[kind](path=path)))
    return {kind.replace("_", " "): path for kind, path in paths.items()}


def show(invocation: Invocation, found: Login, paths: Mapping[str, Path]) -> None:
    """Say what was found."""
    env = invocation.env
    who = found.survey.email or "an account that the token may not name"
    rows = [("Heroku", f"{who}, by {found.survey.source}")]
    databases = [p for p in places.databases(env, home(env), sys.platform) if p.is_file()]
    rows += [("pgAdmin", str(path)) for path in databases]
    if not databases:
        rows.append(("pgAdmin", "not found; its servers come once it has been started"))
    rows.append(("psql", shutil.which("psql", path=env.get("PATH", "")) or "not found"))
    rows += [
        (label, f"{path} ({'there: your own lines stay' if path.exists() else 'new'})")
        for label, path in paths.items()
    ]
    width = max(len(label) for label, _ in rows)
    for label, text in rows:
        click.echo(f"{label.ljust(width)}  {text}")
    for warning in found.survey.warnings:
        click.echo(f"Note: {warning}")
    click.echo()
