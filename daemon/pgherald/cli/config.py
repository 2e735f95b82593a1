"""`pgherald config`: show, check or explain the configuration."""

from __future__ import annotations

import shutil
import textwrap
from dataclasses import fields, is_dataclass
from typing import Any, Final

import click

from pgherald.cli.main import Invocation
from pgherald.cli.output import emit_json
from pgherald.config import Notifications, TokenKind, TokenSpec
from pgherald.config.generate import describe, example
from pgherald.config.paths import locate
from pgherald.config.schema import Hook
from pgherald.config.tables import names
from pgherald.config.values import QuietHours
from pgherald.model import DatabaseKey

#: Lines longer than this are hard to read, however wide the terminal.
_WIDTH: Final = 96


@click.group("config")
def command() -> None:
    """Show, check or explain the configuration.

    Example:
        pgherald config example > "$(pgherald config path)"
    """


@command.command("path")
@click.pass_obj
def path(invocation: Invocation) -> None:
    """Print where the file is looked for. It need not be there.

    Exit code 0.

    Example:
        "$EDITOR" "$(pgherald config path)"
    """
    click.echo(locate(invocation.config_path, invocation.env))


@command.command("example")
def show_example() -> None:
    """Print an example with every key explained. It is a good file to begin with.

    Exit code 0.

    Example:
        pgherald config example > "$(pgherald config path)"
    """
    click.echo(example(), nl=False)


@command.command("keys")
def keys() -> None:
    """List every key with its type, default and meaning.

    Exit code 0.

    Example:
        pgherald config keys | less
    """
    width = min(shutil.get_terminal_size().columns, _WIDTH)
    for number, key in enumerate(describe()):
        if number:
            click.echo("")
        click.secho(key.path, bold=True)
        default = f"default {key.default}" if key.default else "required"
        for part in (f"{key.type}; {default}", key.description):
            # Back-ticks are for the documents, where Markdown makes them type.
            text = part.replace("`", "")
            lines = textwrap.wrap(text, width - 4, break_long_words=False, break_on_hyphens=False)
            click.echo(textwrap.indent("\n".join(lines), "    "))


@command.command("check")
@click.pass_obj
def check(invocation: Invocation) -> None:
    """Name everything that is wrong with the file, each with its line.

    Exit code 0 when nothing is, 2 when something is.

    Example:
        pgherald config check && systemctl --user reload pgherald
    """
    config = invocation.load()
    click.echo(f"{config.path} is fine.")


@command.command("show")
@click.option("--json", "as_json", is_flag=True, help="Print JSON, for scripts.")
@click.pass_obj
def show(invocation: Invocation, *, as_json: bool) -> None:
    """Show what the file comes to, defaults included. Secrets are never shown.

    Exit code 0, or 2 when the file is wrong.

    Example:
        pgherald config show --json | jq '.databases[].service'
    """
    config = invocation.load()
    settings = {field.name: _shown(getattr(config, field.name)) for field in fields(config)}
    if as_json:
        told = config.notifications
        # As the first version called them.
        settings["desktop_notifications"] = told.desktop
        settings |= {"notification_urls": len(told.urls), "notification_level": told.level}
        emit_json(settings)
        return
    for name, value in settings.items():
        if isinstance(value, list | dict):
            for item in value if isinstance(value, list) else [value]:
                said = {k: _plain(v) for k, v in item.items()}
                parts = ", ".join(f"{key} = {text}" for key, text in said.items() if text)
                click.echo(f"{name}: {parts}")
        elif value is not None:
            click.echo(f"{name} = {_plain(value)}")


def _plain(value: object) -> str:
    """A value as a person reads it; nothing for none."""
    match value:
        case None:
            return ""
        case bool():
            return "yes" if value else "no"
        case float():
            return f"{value:g}"
        case list():
            return " ".join(map(str, value))
        case _:
            return str(value)


def _shown(value: Any) -> Any:
    """A setting as JSON has it: all but what is, or may be, a secret."""
    if isinstance(value, tuple):
        return [_shown(item) for item in value]
    if isinstance(value, TokenSpec) and value.kind is TokenKind.COMMAND:
        return f"{value.kind}:…"
    if isinstance(value, DatabaseKey | QuietHours | TokenSpec):
        return str(value)
    if not is_dataclass(value):
        return value
    told = {name: _shown(getattr(value, name)) for name in names(type(value))}
    if isinstance(value, Notifications):
        told["urls"] = len(value.urls)
    elif isinstance(value, Hook):
        # A command's own words may hold more than they should.
        told["command"] = [value.command[0], *(["…"] if value.command[1:] else [])]
    return told
