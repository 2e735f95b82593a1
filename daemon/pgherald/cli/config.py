"""`pgherald config`: show, check or explain the configuration."""

from __future__ import annotations

import shutil
import textwrap
from typing import Final

import click

from pgherald.cli import EXIT_OK
from pgherald.cli.main import Invocation
from pgherald.cli.output import emit_json, fields
from pgherald.config import Config
from pgherald.config.generate import describe, example
from pgherald.config.paths import locate

#: Lines longer than this are hard to read, however wide the terminal.
_WIDTH: Final = 96


@click.group("config")
def command() -> None:
    """Show, check or explain the configuration.

    Example:
        pgherald config example > ~/.config/pgherald/config.toml
    """


@command.command("path")
@click.pass_obj
def path(invocation: Invocation) -> int:
    """Print where the file is looked for. It need not be there.

    Exit code 0.

    Example:
        "$EDITOR" "$(pgherald config path)"
    """
    click.echo(locate(invocation.config_path, invocation.env))
    return EXIT_OK


@command.command("example")
def show_example() -> int:
    """Print an example with every key explained. It is a good file to begin with.

    Exit code 0.

    Example:
        pgherald config example > "$(pgherald config path)"
    """
    click.echo(example(), nl=False)
    return EXIT_OK


@command.command("keys")
def keys() -> int:
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
    return EXIT_OK


@command.command("check")
@click.pass_obj
def check(invocation: Invocation) -> int:
    """Name everything that is wrong with the file, each with its line.

    Exit code 0 when nothing is, 2 when something is.

    Example:
        pgherald config check && systemctl --user reload pgherald
    """
    config = invocation.load()
    click.echo(f"{config.path} is fine.")
    return EXIT_OK


@command.command("show")
@click.option("--json", "as_json", is_flag=True, help="Print JSON, for scripts.")
@click.pass_obj
def show(invocation: Invocation, *, as_json: bool) -> int:
    """Show what the file comes to, defaults included. Secrets are never shown.

    Exit code 0, or 2 when the file is wrong.

    Example:
        pgherald config show --json | jq '.databases[].service'
    """
    settings = _settings(invocation.load())
    if as_json:
        emit_json(settings)
        return EXIT_OK
    for name, value in settings.items():
        if isinstance(value, list):
            for item in value:
                parts = ", ".join(f"{k} = {_plain(v)}" for k, v in item.items() if v)
                click.echo(f"{name}: {parts}")
        else:
            click.echo(f"{name} = {_plain(value)}")
    return EXIT_OK


def _plain(value: object) -> str:
    """A value as a person reads it."""
    match value:
        case bool():
            return "yes" if value else "no"
        case float():
            return f"{value:g}"
        case list() | tuple():
            return " ".join(map(str, value))
        case _:
            return str(value)


def _settings(config: Config) -> dict[str, object]:
    notifications = config.notifications
    return {
        **fields(config, "path", "poll_interval", "state_dir", "log_level"),
        "accounts": [{"name": a.name, "token": _source(str(a.token))} for a in config.accounts],
        "databases": [
            fields(
                *(each, "key", "name", "group", "service", "probe", "sslmode", "sslrootcert"),
                *("require_auth", "host", "port"),
            )
            for each in config.databases
        ],
        "discover": [
            fields(rule, "account", "include", "exclude", "team", "attachments")
            for rule in config.discover
        ],
        "clients": [fields(each, "kind", "path", "rows", "passfile") for each in config.clients],
        "desktop_notifications": notifications.desktop,
        "notification_urls": len(notifications.urls),
        "notification_level": notifications.level,
    }


def _source(token: str) -> str:
    """A command's own words may hold more than they should."""
    kind, colon, _ = token.partition(":")
    return f"{kind}:…" if kind == "command" and colon else token
