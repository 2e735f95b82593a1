"""Puts questions: on a real terminal with a picker, elsewhere as plain numbered prompts."""

from __future__ import annotations

import re
import shutil
import sys
import textwrap
from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Final

import click

if TYPE_CHECKING:
    from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent
    from questionary.prompts.common import InquirerControl

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
        return _pick_by_keys(title, rows, marked, needed=needed)
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
    raise click.UsageError("There is nobody to ask: add --yes, or --dry-run to see it first.")


def _pick_by_keys(
    title: str, rows: Sequence[str], marked: Collection[int], *, needed: bool
) -> list[int]:
    import questionary  # init alone needs it, and it takes a tenth of a second
    from prompt_toolkit.key_binding import merge_key_bindings  # comes with it
    from questionary.prompts.common import InquirerControl

    def fitted(text: str) -> str:
        # One column less: the library puts a blank before its title.
        return textwrap.fill(text, shutil.get_terminal_size().columns - 1)

    question = questionary.checkbox(
        fitted(title),
        [questionary.Choice(row, n, checked=n in marked) for n, row in enumerate(rows)],
        qmark="",
        pointer=">",
        instruction="\n" + fitted("(type to filter, space marks, enter goes on)"),
        use_search_filter=True,
        use_jk_keys=False,
        validate=lambda picked: bool(picked) or not needed or "Mark at least one.",
    )
    app = question.application
    control = next(c for c in app.layout.find_all_controls() if isinstance(c, InquirerControl))
    assert app.key_bindings is not None  # a checkbox has some
    app.key_bindings = merge_key_bindings([app.key_bindings, _keys(control, needed=needed)])
    picked: list[int] = question.unsafe_ask()
    return picked


def _keys(control: InquirerControl, *, needed: bool) -> KeyBindings:
    """The keys that the library leaves out, or takes for something else."""
    from prompt_toolkit.key_binding import KeyBindings  # comes with the picker

    keys = KeyBindings()
    #: The filter at which the space bar was pressed: from then on the marks alone count.
    marked_at: list[str | None] = [""]

    @keys.add(" ", eager=True)
    def mark(_event: KeyPressEvent) -> None:
        value = control.get_pointed_at().value
        if value in control.selected_options:
            control.selected_options.remove(value)
        else:
            control.selected_options.append(value)
        marked_at[0] = control.search_filter

    @keys.add("enter", eager=True)
    def go_on(event: KeyPressEvent) -> None:
        """Take what is marked, and the row at the cursor where that is plainly meant."""
        # Asked for first: this finds out whether anything fits the filter.
        value, filtered = control.get_pointed_at().value, control.search_filter
        if filtered and not control.found_in_search:
            return
        if (filtered and filtered != marked_at[0]) or (needed and not control.selected_options):
            control.selected_options = list({*control.selected_options, value})
        control.is_answered = True
        event.app.exit(result=sorted(control.selected_options))

    @keys.add("escape", eager=True)
    def show_all(_event: KeyPressEvent) -> None:
        control.search_filter, control.pointed_at = None, 0

    @keys.add("c-z")
    def suspend(event: KeyPressEvent) -> None:
        event.app.suspend_to_background()

    @keys.add("c-d", eager=True)
    def stop(event: KeyPressEvent) -> None:
        event.app.exit(exception=click.Abort())

    return keys


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
