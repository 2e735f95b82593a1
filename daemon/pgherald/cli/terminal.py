"""What a terminal asks for: help that fits a narrow one, and no colours where none are wanted."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Mapping
from typing import Final

import click

#: Columns. Click itself takes none for narrower than this, and its lines would be broken anywhere.
NARROW: Final = 52

#: Columns that a description beside an option needs, or it is a column of single words.
_READABLE: Final = 20


def colour(env: Mapping[str, str]) -> bool | None:
    """Whether to use colours: never with $NO_COLOR; None for on a terminal only.

    https://no-color.org: any value but the empty one.
    """
    return False if env.get("NO_COLOR") else None


class _Formatter(click.HelpFormatter):
    """Puts descriptions below what they describe where there is no room beside it."""

    def __init__(
        self,
        indent_increment: int = 2,
        width: int | None = None,
        max_width: int | None = None,
    ) -> None:
        columns = shutil.get_terminal_size().columns
        if width is None and columns < NARROW:
            width = max(columns - 2, _READABLE)
        super().__init__(indent_increment, width, max_width)

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


class Context(click.Context):
    """The context of every command of pgherald."""

    formatter_class = _Formatter


def fitted(command: click.Command) -> click.Command:
    """The same command, its help and that of its sub-commands made to fit the terminal."""
    command.context_class = Context
    if isinstance(command, click.Group):
        for each in command.commands.values():
            fitted(each)
    return command
