"""What is there before init begins: the configuration, the login, the clients."""

from __future__ import annotations

import asyncio
import os
import shutil
import sys
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import click

from pgherald.cli.main import Invocation
from pgherald.cli.output import problem, progress
from pgherald.cli.setup.ask import line
from pgherald.config import Config, TokenKind, TokenSpec
from pgherald.config.paths import Place, Surroundings, home, locate, pgadmin_databases
from pgherald.config.schema import PgpassTable, ServiceFileTable
from pgherald.config.values import TOKEN, Wrong
from pgherald.daemon.look import Survey, survey
from pgherald.errors import LoginRequired
from pgherald.model import DEFAULT_ACCOUNT

#: The files that others write too, and the variable by which a person has moved each.
_SHARED: Final = {
    "service_file": (ServiceFileTable, "PGSERVICEFILE"),
    "pgpass": (PgpassTable, "PGPASSFILE"),
}


@dataclass(frozen=True, slots=True)
class Preflight:
    """The configuration as it was found, and a login that works.

    Attributes:
        file: where the configuration is, or is to be.
        raw: its bytes; None where there is none.
        config: the same, understood; None likewise.
        account: the account that is asked.
        is_one_of_several: whether the configuration has several accounts.
        token: where the token comes from, as the configuration writes it; None to leave that as
            it is.
        survey: what the login shows.
    """

    file: Path
    raw: bytes | None
    config: Config | None
    account: str
    is_one_of_several: bool
    token: str | None
    survey: Survey

    @property
    def text(self) -> str:
        """The configuration's text, without a BOM."""
        return "" if self.config is None or self.raw is None else self.raw.decode("utf-8-sig")


def preflight(
    invocation: Invocation,
    account: str | None,
    token: str | None,
    apps: Sequence[str] = (),
    *,
    asks: bool,
) -> Preflight:
    """Read the configuration, and find a login that works.

    Args:
        invocation: the command line.
        account: which of several accounts is meant, if the person says so.
        token: where the token comes from, if the person says so.
        apps: patterns of apps that the person has named.
        asks: whether the person may name a file with a token where there is no login.

    Raises:
        ConfigError: there is a configuration, and it is wrong.
        LoginRequired: there is no login.
        HerokuError: Heroku could not be asked.
        click.UsageError: the account is missing or unknown, or the token cannot be changed here.
    """
    file = locate(invocation.config_path, invocation.env)
    raw = file.read_bytes() if file.is_file() else None
    config = invocation.load() if raw is not None and raw.strip() else None
    names = [each.name for each in config.accounts] if config else [DEFAULT_ACCOUNT]
    if account is not None and account not in names:
        raise click.UsageError(f"There is no account {account!r}; it can be {', '.join(names)}.")
    if account is None and len(names) > 1:
        raise click.UsageError(f"Which account? Add --account: {', '.join(names)}.")
    account = account or names[0]
    spec = TokenSpec()
    has_accounts = False
    if config is not None:
        spec = next(each.token for each in config.accounts if each.name == account)
        # Tokens in [[accounts]] are left to the person.
        has_accounts = "accounts" in tomllib.loads((raw or b"").decode("utf-8-sig"))
    if token is not None and has_accounts:
        raise click.UsageError("The tokens stand in [[accounts]] here: change the file by hand.")
    if token is not None:
        token, spec = token_of(token, invocation.env, Path.cwd())
    asks = asks and not has_accounts
    while (shown := _survey(invocation, config, account, spec, apps, asks=asks)) is None:
        path = line("A file that holds a token (Enter to stop): ")
        if not path:
            raise click.Abort
        token, spec = token_of(f"file:{path}", invocation.env, Path.cwd())
    return Preflight(file, raw, config, account, len(names) > 1, token, shown)


def _survey(
    invocation: Invocation,
    config: Config | None,
    account: str,
    spec: TokenSpec,
    apps: Sequence[str],
    *,
    asks: bool,
) -> Survey | None:
    """What a login shows; None where there is none, and the person may name another."""
    databases, rules = (config.databases, config.discover) if config else ((), ())
    named = [each.key.attachment for each in databases if each.key.account == account]
    teams = {each.team for each in rules if each.team and each.account == account}
    try:
        with progress(lambda: "Asking Heroku for your databases"):
            return asyncio.run(survey(spec, invocation.outside(), named, teams, apps))
    except LoginRequired as exc:
        if not asks:
            raise
        problem(exc.title, exc.advice)
        return None


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


def moved_by_environment(
    kinds: Iterable[str], env: Mapping[str, str], file: Path
) -> dict[str, str | None]:
    """Each of these clients, with its path where the environment has moved it."""
    here = Surroundings(file, env, sys.platform)
    paths: dict[str, str | None] = dict.fromkeys(kinds)
    for kind, (table, variable) in _SHARED.items():
        moved = Path(env.get(variable, "")).absolute()
        if kind in paths and env.get(variable) and moved != here.client(table(path=None)):
            paths[kind] = str(moved)
    return paths


def pgadmins(env: Mapping[str, str]) -> list[Place]:
    """The configuration databases of pgAdmins that have run here."""
    return [p for p in pgadmin_databases(env, home(env), sys.platform) if p.path.is_file()]


def show_found(env: Mapping[str, str], found: Preflight, new: Mapping[str, str | None]) -> None:
    """Say what was found; `new` are the clients that the configuration does not have yet."""
    who = found.survey.email or "an account that the token may not name"
    rows = [("Heroku", f"{who}, by {found.survey.source}")]
    databases = pgadmins(env)
    rows += [
        ("pgAdmin", f"{place.path} {'. '.join(place.trouble or ())}".rstrip())
        for place in databases
    ]
    if not databases:
        again = "once it has been started, run: pgherald init --clients pgadmin"
        rows.append(("pgAdmin", f"not found; {again}"))
    rows.append(("psql", shutil.which("psql", path=env.get("PATH", "")) or "not found"))
    here = Surroundings(found.file, env, sys.platform)
    configured = found.config.clients if found.config else ()
    paths = {each.kind: each.path for each in configured if each.kind in _SHARED}
    for kind, (table, _) in _SHARED.items():
        if kind in new:
            paths.setdefault(kind, here.client(table(path=new[kind])))
    for kind, path in paths.items():
        there = "there: your own lines stay" if path.exists() else "new"
        rows.append((kind.replace("_", " "), f"{path} ({there})"))
    width = max(len(label) for label, _ in rows)
    for label, text in rows:
        click.echo(f"{label.ljust(width)}  {text}")
    warnings = list(found.survey.warnings)
    if (source := found.survey.source) in env:
        warnings.append(
            f"the login comes from ${source}, which a service does not see. For one, put the "
            "token into a file and run: pgherald init --token file:PATH"
        )
    for warning in warnings:
        click.echo(f"Note: {warning}")
    click.echo()
