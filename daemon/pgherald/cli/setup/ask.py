"""Puts questions: on a real terminal with a picker, elsewhere as plain numbered prompts."""

from __future__ import annotations

import re
import shutil
import sys
from collections.abc import Collection, Mapping, Sequence
from typing import Final

import click

from pgherald.cli.setup.keys import keyboard
from pgherald.cli.setup.picker import Picker

#: ECMA-48: so many lines up, to the first column; then clear all below.
_REDRAW: Final = "\x1b[{}F\x1b[J"

_RANGE: Final = re.compile(r"(\d+)(?:-(\d+))?")


def is_terminal(env: Mapping[str, str]) -> bool:
    """Whether single keys can be read and lines be drawn again."""
    if sys.platform != "win32" and env.get("TERM", "dumb") in {"", "dumb"}:
        return False
    return sys.stdin.isatty() and sys.stdout.isatty()


def pick(
    title: str,
    rows: Sequence[str],
    marked: Collection[int],
    env: Mapping[str, str],
    *,
    needed: bool = True,
) -> list[int]:
    """Let the person pick rows.

    Args:
        title: the question.
        rows: one line each.
        marked: numbers of the rows that are picked to begin with.
        env: the environment; tells what the terminal can do.
        needed: whether at least one has to be picked.

    Raises:
        click.Abort: they would rather not.
        click.UsageError: there is nobody to ask.
    """
    if is_terminal(env):
        return _pick_by_keys(Picker(title, rows, set(marked), needed=needed))
    return _pick_by_numbers(title, rows, sorted(marked), needed=needed)


def yes(question: str, *, default: bool = True) -> bool:
    """Put a question; Enter takes the default."""
    while True:
        answer = line(f"{question} [{'Y/n' if default else 'y/N'}]: ").lower()
        if answer in {"", "y", "yes", "n", "no"}:
            return default if not answer else answer.startswith("y")
        click.echo("Answer y or n.")


def line(prompt: str) -> str:
    """Read a line, without the blanks around it.

    Raises:
        click.Abort: by Ctrl-D.
        click.UsageError: there is nobody to ask.
    """
    click.echo(prompt, nl=False)
    sys.stdout.flush()
    answer = sys.stdin.readline()
    if answer:
        return answer.strip()
    click.echo()
    if sys.stdin.isatty():
        raise click.Abort
    raise click.UsageError(
        "Nobody is there to answer: name the databases with --app or --all, and add --yes."
    )


def _pick_by_keys(picker: Picker) -> list[int]:
    drawn = 0
    with keyboard() as keys:
        while True:
            size = shutil.get_terminal_size()
            lines = picker.view(size.columns, size.lines)
            _draw(drawn, lines)
            drawn = len(lines)
            key = next(keys)
            if key == "stop":
                raise click.Abort
            if picker.press(key):
                break
    _draw(drawn, [])
    return picker.picked


def _draw(over: int, lines: Sequence[str]) -> None:
    """Draw lines over those drawn before; what stays is not flickering for it."""
    again = _REDRAW.format(over) if over else ""
    # Moving the cursor is no colour: it is not left out for $NO_COLOR.
    click.echo(again + "".join(f"{each}\n" for each in lines), nl=False, color=True)


def _pick_by_numbers(
    title: str, rows: Sequence[str], marked: Sequence[int], *, needed: bool
) -> list[int]:
    click.echo(title)
    width = len(str(len(rows)))
    for number, row in enumerate(rows, 1):
        click.echo(f"  {number:>{width}}  {row}")
    usual = ",".join(str(number + 1) for number in marked)
    prompt = "Numbers, such as 1,3-5, or all" + (f" [{usual}]" if usual else "") + ": "
    while True:
        answer = line(prompt) or usual
        picked = numbers(answer, len(rows))
        if picked or not (answer or needed):
            return picked
        click.echo(f"Name some of 1 to {len(rows)}.")


def numbers(answer: str, count: int) -> list[int]:
    """What an answer such as `1,3-5` picks, counted from 0; nothing when it is not understood."""
    if answer.lower() == "all":
        return list(range(count))
    picked: set[int] = set()
    for word in answer.replace(",", " ").split():
        found = _RANGE.fullmatch(word)
        first, last = (int(found[1]), int(found[2] or found[1])) if found else (0, 0)
        if not 1 <= first <= last <= count:
            return []
        picked.update(range(first - 1, last))
    return sorted(picked)
