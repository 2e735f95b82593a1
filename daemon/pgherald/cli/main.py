"""The command group, and what every command has in common."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, NoReturn

import click

from pgherald import __version__
from pgherald.cli.exits import EXIT_INTERRUPTED, EXIT_OK, EXIT_RUNNING, EXIT_TROUBLE, EXIT_USAGE
from pgherald.cli.terminal import Context, colour, fitted
from pgherald.errors import AlreadyRunning, ConfigError, PgheraldError, safe_text

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

    from pgherald.config import Config
    from pgherald.daemon.wiring import Outside

#: Each command with the line that `pgherald --help` shows for it, in the order of a
#: person's day. The modules are imported only when their command is run.
COMMANDS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "init": "Set pgherald up: which databases, and it keeps them working.",
        "check": "Bring every client up to date, once, in the foreground.",
        "plan": "Show what check would write, and write nothing.",
        "run": "Keep every client up to date: the daemon.",
        "status": "Show how every database and client stands.",
        "history": "List the rotations that were seen, newest first.",
        "doctor": "Find out what is wrong, and how to mend it.",
        "rollback": "Give every client back what it held before a commit.",
        "uninstall": "Undo all that pgherald did on this machine.",
        "password": "Print one password, for a script or another tool.",
        "service": "Keep the daemon running: install it as a service.",
        "config": "Show, check or explain the configuration.",
        "completion": "Print the script that completes commands in your shell.",
        "demo": "See a rotation, start to end, in a throw-away home.",
        "simulate": "Run a Heroku on this machine, for trying things out.",
    }
)


@dataclass(frozen=True, slots=True)
class Invocation:
    """What the command line was given before the command's name.

    Attributes:
        config_path: the configuration file; None for the default one.
        env: the environment.
    """

    config_path: Path | None
    env: Mapping[str, str]

    def load(self) -> Config:
        """Read the configuration.

        Raises:
            ConfigError: it is wrong; lists every problem.
        """
        from pgherald.config import load  # `--help` needs no configuration

        return load(self.config_path, self.env)

    def outside(self) -> Outside:
        """The real world: this environment, this home, this clock, this network."""
        from pgherald.clock import SystemClock  # only some commands go outside
        from pgherald.daemon.wiring import Outside

        return Outside(self.env, Path.home(), SystemClock())


CONTEXT_SETTINGS: Final = {"help_option_names": ["-h", "--help"], "max_content_width": 100}


class _LazyGroup(click.Group):
    """A group that imports a command's module when that command is asked for."""

    context_class = Context

    def invoke(self, ctx: click.Context) -> object:
        """Run the command. A reader that has seen enough (`| head`) is no error."""
        try:
            return super().invoke(ctx)
        except BrokenPipeError:
            nobody_reads()
            return EXIT_OK

    def list_commands(self, ctx: click.Context) -> list[str]:  # click's signature
        """All commands, in the order of `COMMANDS`."""
        return list(COMMANDS)

    def get_command(
        self,
        ctx: click.Context,  # click's signature
        cmd_name: str,
    ) -> click.Command | None:
        """Import one command."""
        if cmd_name not in COMMANDS:
            return None
        module = importlib.import_module(f"pgherald.cli.{cmd_name}")
        command = module.command
        assert isinstance(command, click.Command)  # tells mypy what the table promises
        return fitted(command)

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Complete a command's name without importing the commands, or an option."""
        from click.shell_completion import CompletionItem  # only a shell asks

        found = [CompletionItem(n, help=h) for n, h in COMMANDS.items() if n.startswith(incomplete)]
        return found + click.Command.shell_complete(self, ctx, incomplete)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Suggest the nearest command for a misspelt one."""
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError as exc:
            import difflib  # only a misspelt command needs it

            close = difflib.get_close_matches(args[0], COMMANDS, n=1)
            if not close:
                raise
            raise click.UsageError(f"{exc.message} Did you mean {close[0]!r}?", ctx) from None

    def format_commands(
        self,
        ctx: click.Context,  # click's signature
        formatter: click.HelpFormatter,
    ) -> None:
        """List the commands without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


@click.group(
    cls=_LazyGroup,
    context_settings=CONTEXT_SETTINGS,
    epilog="\b\nExit codes:\n"
    "    0  all is well\n"
    "    1  something is not; stderr names it, and what to do\n"
    "    2  the command line or the configuration is wrong\n"
    "    3  another pgherald runs with the same state folder\n"
    "  130  stopped by Ctrl-C\n\n"
    "\b\nExample:\n  pgherald init",
)
@click.option(
    "--config",
    "config_path",
    type=click.Path(path_type=Path, dir_okay=False),
    envvar="PGHERALD_CONFIG",
    help="The configuration file. Default: the platform's configuration folder.",
)
@click.version_option(__version__, prog_name="pgherald")
@click.pass_context
def group(ctx: click.Context, config_path: Path | None) -> None:
    """Heroku rotates your Postgres credentials; your pgAdmin never notices."""
    ctx.obj = Invocation(config_path, os.environ)


def nobody_reads() -> None:
    """Write into nothing from now on: Python would complain once more at exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def fail(error: PgheraldError) -> int:
    """Say what went wrong on stderr; return the exit code for it."""
    title, _, advice = str(error).partition("\n")
    click.secho(f"pgherald: {title}", err=True, fg="red", color=colour(os.environ))
    if advice:
        click.echo(advice, err=True)
    if isinstance(error, ConfigError):
        return EXIT_USAGE
    return EXIT_RUNNING if isinstance(error, AlreadyRunning) else EXIT_TROUBLE


def _stumbled(exc: BaseException) -> int:
    """Say that the program itself is at fault. A traceback may quote what it should not."""
    told = f"pgherald stumbled over a mistake of its own: {safe_text(exc)}"
    click.secho(told, err=True, fg="red", color=colour(os.environ))
    click.echo("Please report it; with PGHERALD_TRACEBACK=1 you see all of it.", err=True)
    if os.environ.get("PGHERALD_TRACEBACK") == "1":
        raise exc
    return EXIT_TROUBLE


def main() -> NoReturn:
    """Run the command line and exit."""
    try:
        code = group(standalone_mode=False, color=colour(os.environ))
    except (Exception, KeyboardInterrupt) as exc:  # noqa: BLE001 – whatever it is, a person gets a sentence
        ended(exc)
    sys.exit(code if isinstance(code, int) else EXIT_OK)


def ended(exc: BaseException) -> NoReturn:
    """Say what the program ended with, and exit with the code for it."""
    if isinstance(exc, click.ClickException):
        exc.show()
        sys.exit(exc.exit_code)
    if isinstance(exc, click.Abort | KeyboardInterrupt):
        click.echo("Stopped.", err=True)
        sys.exit(EXIT_INTERRUPTED)
    if isinstance(exc, PgheraldError):
        sys.exit(fail(exc))
    sys.exit(_stumbled(exc))
