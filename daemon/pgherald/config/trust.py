"""Refuses a configuration that somebody else could change, or what it leads to.

Whoever may write the configuration, a program that it names, or the state folder, decides what
runs under this account. So all of them, and the folders above them, have to be ours or root's
alone (`pgherald.files.trusted`).
"""

from __future__ import annotations

import contextlib
import os
import shlex
import shutil
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from pgherald.config.settings import Config, TokenKind
from pgherald.errors import ConfigError
from pgherald.files.trusted import Stranger, strangers


def refuse_strangers(config: Config, env: Mapping[str, str]) -> None:
    """Pass a configuration that only root and this account can change.

    Args:
        config: the configuration.
        env: the environment's variables; PATH says where programs are.

    Raises:
        ConfigError: somebody else could; names every such place, and the commands that mend it.
    """
    refuse(_relied_on(config, env))


def refuse(relied_on: Iterable[tuple[str, Path]]) -> None:
    """Pass files and folders that only root and this account can change.

    Args:
        relied_on: each with what a person calls it.

    Raises:
        ConfigError: as `refuse_strangers`.
    """
    found: dict[Path, tuple[str, Stranger]] = {}
    for what, path in relied_on:
        for each in strangers(path):
            found.setdefault(each.place, (what, each))
    if found:
        raise ConfigError(
            "Somebody else may change what pgherald does",
            tuple(f"{each.place}: {each.why} ({what})" for what, each in found.values()),
            f"Run: {' && '.join(each.command for _, each in found.values())}",
        )


def _relied_on(config: Config, env: Mapping[str, str]) -> Iterator[tuple[str, Path]]:
    """Everything that decides what runs."""
    yield "the configuration", config.path
    yield "the state folder", config.state_dir
    # A journal that somebody else had put there would be carried out at the next start; a server
    # of the person's that is recorded as ours would be deleted with the others.
    names = ("state.db", "commits", "ownership")
    yield from (("the state", config.state_dir / name) for name in names)
    for hook in config.hooks:
        # Its arguments may be private.
        name = f"the hook {Path(hook.command[0]).name}"
        yield from ((name, path) for path in _programs(hook.command[0], env))
    for account in config.accounts:
        if account.token.kind is TokenKind.COMMAND:
            with contextlib.suppress(ValueError):  # said where the token is asked for
                program = shlex.split(account.token.argument)[:1]
                yield from (
                    ("the token's command", path)
                    for name in program
                    for path in _programs(name, env)
                )


def _programs(name: str, env: Mapping[str, str]) -> Iterator[Path]:
    """The program that would be run, and the places on PATH where another would go before it."""
    if os.path.dirname(name):  # noqa: PTH120 – as the system decides whether PATH counts
        yield Path(name).absolute()
        return
    for folder in env.get("PATH", os.defpath).split(os.pathsep):
        yield Path(folder, name).absolute()
        if shutil.which(name, path=folder):
            return
