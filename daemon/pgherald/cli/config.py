"""`pgherald config`: show, check or explain the configuration."""

from __future__ import annotations

import shutil
import textwrap
from typing import Final

import click

from pgherald.cli.exits import EXIT_OK
from pgherald.cli.main import Invocation
from pgherald.cli.output import emit_json
from pgherald.config import Config
from pgherald.config.generate import describe, example
from pgherald.config.paths import locate

#: Lines longer than this are hard to read, however wide the terminal.
_WIDTH: Final = 96


@click.group(
    "config", epilog="\b\nExample:\n  pgherald config example > ~/.config/pgherald/config.toml"
)
def command() -> None:
    """Show, check or explain the configuration."""


@command.command(
    "path",
    short_help="Print where the file is looked for.",
    epilog='\b\nExample:\n  "$EDITOR" "$(pgherald config path)"',
)
@click.pass_obj
def path(invocation: Invocation) -> int:
    """Print where the configuration file is looked for; it need not be there.

    Exit code 0.
    """
    click.echo(locate(invocation.config_path, invocation.env))
    return EXIT_OK


@command.command(
    "example",
    short_help="Print an example with every key explained.",
    epilog='\b\nExample:\n  pgherald config example > "$(pgherald config path)"',
)
def show_example() -> int:
    """Print an example with every key explained; a good file to begin with.

    Exit code 0.
    """
    click.echo(example(), nl=False)
    return EXIT_OK


@command.command(
    "keys",
    short_help="List every key with its meaning.",
    epilog="\b\nExample:\n  pgherald config keys | less",
)
def keys() -> int:
    """List every key with its type, default and meaning.

    Exit code 0.
    """
    width = min(shutil.get_terminal_size().columns, _WIDTH)
    for number, key in enumerate(describe()):
        if number:
            click.echo("")
        click.secho(key.path, bold=True)
        default = f"default {key.default}" if key.default else "required"
        for text in (f"{key.type}; {default}", key.description):
            # Back-ticks are for the documents, where Markdown makes them type.
            click.echo(_wrapped(text.replace("`", ""), width))
    return EXIT_OK


def _wrapped(text: str, width: int) -> str:
    return textwrap.fill(
        text,
        width,
        initial_indent="    ",
        subsequent_indent="    ",
        break_long_words=False,
        break_on_hyphens=False,
    )


@command.command(
    "check",
    short_help="Name everything that is wrong with the file.",
    epilog="\b\nExample:\n  pgherald config check && systemctl --user reload pgherald",
)
@click.pass_obj
def check(invocation: Invocation) -> int:
    """Read the file and name everything that is wrong with it, each with its line.

    Exit code 0 when nothing is, 2 when something is.
    """
    config = invocation.load()
    click.echo(f"{config.path} is fine.")
    return EXIT_OK


@command.command(
    "show",
    short_help="Show what the file comes to.",
    epilog="\b\nExample:\n  pgherald config show --json | jq '.databases[].service'",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON, for scripts.")
@click.pass_obj
def show(invocation: Invocation, *, as_json: bool) -> int:
    """Show what the file comes to, defaults included. Secrets are never shown.

    Exit code 0, or 2 when the file is wrong.
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
        case list():
            return " ".join(map(str, value))
        case _:
            return str(value)


def _settings(config: Config) -> dict[str, object]:
    return {
        "path": str(config.path),
        "poll_interval": config.poll_interval,
        "state_dir": str(config.state_dir),
        "log_level": config.log_level,
        "accounts": [{"name": a.name, "token": _source(str(a.token))} for a in config.accounts],
        "databases": [
            {
                "key": str(database.key),
                "name": database.name,
                "group": database.group,
                "service": database.service,
                "probe": str(database.probe),
                "sslmode": database.sslmode,
                "require_auth": database.require_auth,
            }
            for database in config.databases
        ],
        "discover": [
            {
                "account": rule.account,
                "include": list(rule.include),
                "exclude": list(rule.exclude),
                "team": rule.team,
                "attachments": list(rule.attachments),
            }
            for rule in config.discover
        ],
        "clients": [
            {
                "kind": client.kind,
                "path": str(client.path),
                "rows": None if client.rows is None else str(client.rows),
                "passfile": client.passfile,
            }
            for client in config.clients
        ],
        "desktop_notifications": config.notifications.desktop,
        "notification_urls": len(config.notifications.urls),
        "notification_level": config.notifications.level,
    }


def _source(token: str) -> str:
    """A command's own words may hold more than they should."""
    kind, colon, _ = token.partition(":")
    return f"{kind}:…" if kind == "command" and colon else token
