"""The command group, and what every command has in common."""

from __future__ import annotations

import importlib
import inspect
import io
import os
import shutil
import sys
import textwrap
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, NoReturn

import click
from click.shell_completion import CompletionItem

from pgherald import __version__
from pgherald.cli import EXIT_OK, EXIT_TROUBLE
from pgherald.cli.output import colour, problem, said

if TYPE_CHECKING:
    # `--help`, and most commands, do without them.
    from pgherald.config import Config
    from pgherald.daemon.wiring import Outside

#: Each command with the line that `pgherald --help` shows for it, in the order of a
#: person's day. The modules are imported only when their command is run.
COMMANDS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "init": "Set pgherald up: which databases, and it keeps them working.",
        "check": "Bring every client up to date, once, in the foreground.",
        "refresh": "Ask Heroku for everything now, instead of at the next interval.",
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


@dataclass(slots=True)
class Invocation:
    """What holds for every command.

    Attributes:
        config_path: the configuration file; None for the default one.
        env: the environment.
        verbose: whether this run logs at debug level, whatever the configuration says.
    """

    config_path: Path | None
    env: Mapping[str, str]
    verbose: bool = False

    def load(self, *, writes: bool | None = None) -> Config:
        """Read the configuration.

        Args:
            writes: whether the command writes to the state folder, or only reads it and warns
                where it is another configuration's; None where that makes no difference.

        Raises:
            ConfigError: it is wrong; lists every problem. Or the state folder is another's.
        """
        from pgherald.config import load  # `--help` needs no configuration

        config = load(self.config_path, self.env)
        if writes is not None:
            from pgherald.store.sqlite import shared

            error = shared(config.state_dir / "state.db", config.path)
            if error is not None and writes:
                raise error
            if error is not None:
                problem(error.title, error.advice)
        return config

    def outside(self) -> Outside:
        """The real world: this environment, this home, this clock, this network."""
        from pgherald.clock import SystemClock  # only some commands go outside
        from pgherald.daemon.wiring import Outside

        return Outside(self.env, Path.home(), SystemClock())

    def log_all(self) -> None:
        """Log at debug level, to stderr."""
        from pgherald.cli.foreground import set_up  # the daemon's; only this needs it

        self.verbose = True
        set_up("debug", self.env)


# --- help that fits the terminal ------------------------------------------------------------

#: What `--verbose` does.
_LOGS: Final = "Log all that is done, to stderr."

#: Columns that a description beside an option needs, or it is a column of single words.
_READABLE: Final = 20


class _Formatter(click.HelpFormatter):
    """Puts descriptions below their options where there is no room beside them."""

    def write_dl(
        self, rows: Iterable[tuple[str, str]], col_max: int = 30, col_spacing: int = 2
    ) -> None:
        """Write a definition list."""
        rows = list(rows)
        widest = min(max((len(first) for first, _ in rows), default=0), col_max)
        if self.width - widest - col_spacing - self.current_indent >= _READABLE:
            super().write_dl(rows, col_max, col_spacing)
            return
        for first, second in rows:
            self.write(f"{'':>{self.current_indent}}{first}\n")
            with self.indentation(), self.indentation():
                self.write_text(second)


class _Context(click.Context):
    """The context of every command of pgherald."""

    formatter_class = _Formatter


def _verbose(context: click.Context, _option: click.Parameter, wanted: bool) -> None:
    # While a shell completes, no command is run, and there is no invocation.
    if wanted and isinstance(context.obj, Invocation):
        context.obj.log_all()


def _completed(command: click.Command) -> click.Command:
    """The same command with all that commands share.

    That is help which fits the terminal, `--verbose`, and the docstring's example below the
    options, as it stands there.
    """
    if command.context_class is not _Context:
        command.context_class = _Context
        command.help, _, example = inspect.cleandoc(command.help or "").partition("Example:\n")
        # Click would cut it off where the terminal is narrow.
        command.short_help = command.help.partition("\n")[0].partition(". ")[0].rstrip(".") + "."
        command.epilog = "\b\nExample:\n" + textwrap.indent(textwrap.dedent(example), "  ")
        command.params.append(
            click.Option(
                ["-v", "--verbose"], is_flag=True, expose_value=False, callback=_verbose, help=_LOGS
            )
        )
        for each in command.commands.values() if isinstance(command, click.Group) else ():
            _completed(each)
    return command


# --- the group ------------------------------------------------------------------------------

#: Columns of help, however wide the terminal.
_WIDEST: Final = 100

CONTEXT_SETTINGS: Final = {"help_option_names": ["-h", "--help"], "max_content_width": _WIDEST}


class _LazyGroup(click.Group):
    """A group that imports a command's module when that command is asked for."""

    context_class = _Context

    def invoke(self, ctx: click.Context) -> object:
        """Run the command. A reader that has seen enough (`| head`) is no error."""
        try:
            return super().invoke(ctx)
        except BrokenPipeError:
            nobody_reads()
            return None

    def list_commands(self, ctx: click.Context) -> list[str]:
        """All commands, in the order of `COMMANDS`."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import one command."""
        if cmd_name not in COMMANDS:
            return None
        command = importlib.import_module(f"pgherald.cli.{cmd_name}").command
        assert isinstance(command, click.Command)  # tells mypy what the table promises
        return _completed(command)

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Complete a command's name without importing the commands, or an option."""
        found = [CompletionItem(n, help=h) for n, h in COMMANDS.items() if n.startswith(incomplete)]
        return found + click.Command.shell_complete(self, ctx, incomplete)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


@click.group(
    cls=_LazyGroup,
    # Only their names count: click suggests the nearest one for a misspelt command.
    commands={name: click.Command(name) for name in COMMANDS},
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
@click.option("-v", "--verbose", is_flag=True,
              help=f"{_LOGS} Also after the command.")  # fmt: skip
@click.version_option(__version__, "-V", "--version", prog_name="pgherald")
@click.pass_context
def group(ctx: click.Context, config_path: Path | None, *, verbose: bool) -> None:
    """Heroku rotates your Postgres credentials; your pgAdmin never notices."""
    ctx.obj = Invocation(config_path, os.environ)
    if verbose:
        ctx.obj.log_all()


def nobody_reads() -> None:
    """Write into nothing from now on: Python would complain once more at exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def main() -> NoReturn:
    """Run the command line and exit."""
    # A shell may close either (`>&-`); Python has nothing in its place then.
    sys.stdout, sys.stderr = sys.stdout or io.StringIO(), sys.stderr or io.StringIO()
    try:
        # Left to itself, click takes no terminal for narrower than 50 columns.
        width = max(min(shutil.get_terminal_size().columns, _WIDEST) - 2, _READABLE)
        code = group(
            prog_name="pgherald", standalone_mode=False, color=colour(os.environ),
            terminal_width=width,
        )  # fmt: skip
    except (Exception, KeyboardInterrupt) as exc:  # noqa: BLE001 – whatever it is, a person gets a sentence
        code = said(exc)
    # A command says whether all is well, or as a program's own code how that program ended.
    sys.exit(code if type(code) is int else EXIT_TROUBLE if code is False else EXIT_OK)
