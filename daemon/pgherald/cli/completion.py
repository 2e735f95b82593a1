"""`pgherald completion`: the script that lets a shell complete pgherald's command line."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterable
from typing import Final

import click
from click.shell_completion import CompletionItem, get_completion_class

from pgherald.cli.main import Invocation, group
from pgherald.config import Config
from pgherald.errors import PgheraldError

#: Where click looks for the shell's request; click makes this name by itself.
VARIABLE: Final = "_PGHERALD_COMPLETE"


@click.command("completion")
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def command(shell: str) -> None:
    """Print the script that completes commands in your shell.

    SHELL is bash (4.4 or newer), zsh or fish. Put the line below where that shell reads it at
    its start, and open a new one. Completed are commands, options, and the databases and
    services of your configuration.

    Exit code 0; 2 when the command line is wrong.

    Example:
        eval "$(pgherald completion bash)"        # a line for ~/.bashrc
        eval "$(pgherald completion zsh)"         # for ~/.zshrc, after compinit
        pgherald completion fish > ~/.config/fish/completions/pgherald.fish
    """
    found = get_completion_class(shell)
    assert found is not None  # click knows these three
    click.echo(found(group, {}, "pgherald", VARIABLE).source())


Complete = Callable[[click.Context, click.Parameter, str], list[CompletionItem]]


def from_config(choices: Callable[[Config], Iterable[str]]) -> Complete:
    """Complete by the names in the configuration; by nothing when it cannot be read.

    Args:
        choices: the words that are possible.
    """

    def complete(
        context: click.Context, _parameter: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        # While completing, no command has run yet, and nothing has made this for us.
        given = context.find_root().params.get("config_path")
        found: list[str] = []
        with contextlib.suppress(PgheraldError, OSError):
            found = sorted(set(choices(Invocation(given, os.environ).load())))
        return [CompletionItem(word) for word in found if word.startswith(incomplete)]

    return complete
