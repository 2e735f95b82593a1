"""Which databases there are to choose from, and the questions: by a picker, or plain numbers."""

from __future__ import annotations

import re
import shutil
import sys
import textwrap
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Final

import click

from pgherald.config import Config
from pgherald.config.edit import NewDatabase
from pgherald.config.schema import DEFAULT_ATTACHMENT, default_service
from pgherald.errors import PgheraldError
from pgherald.heroku.discovery import Found, fits, matches

if TYPE_CHECKING:
    from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent
    from questionary.prompts.common import InquirerControl

_NAMED_AT_MOST = 5


@dataclass(frozen=True, slots=True)
class Offer:
    """A database to choose.

    Attributes:
        app: the Heroku app's name.
        attachment: the attachment's name.
        about: what a person wants to know of it, such as its plan.
        place: its place among the configuration's `[[databases]]`; None for a new one.
    """

    app: str
    attachment: str
    about: str = ""
    place: int | None = None

    def __str__(self) -> str:
        """`app/ATTACHMENT`."""
        return f"{self.app}/{self.attachment}"


def offers(
    found: Iterable[Found],
    config: Config | None,
    account: str,
    teams: Mapping[str, Collection[str]],
) -> tuple[list[Offer], int]:
    """The databases to choose from, sorted: those that Heroku shows, and the configured ones.

    A configured database that Heroku does not show stays an offer: emptiness is no reason to drop
    anything. A database that a `[[discover]]` rule keeps is none: nobody has to choose it.

    Args:
        found: the databases that Heroku shows.
        config: the configuration; None for a new one.
        account: whose databases and rules count.
        teams: the apps of each team that a rule names.

    Returns:
        The offers, and the number of those that rules keep.
    """
    rules = [rule for rule in config.discover if rule.account == account] if config else []
    places = {
        (each.key.app, each.key.attachment): place
        for place, each in enumerate(config.databases if config else ())
        if each.key.account == account
    }
    offered = dict.fromkeys(places, "not shown by Heroku now")
    ruled = 0
    for each in found:
        name = each.app, each.attachment
        if name not in places and any(
            fits(rule, *name) and (rule.team is None or each.app in teams.get(rule.team, ()))
            for rule in rules
        ):
            ruled += 1
        else:
            offered[name] = each.plan.partition(":")[2] or "by its config var"
    # Each app's main database comes first.
    ordered = sorted(offered, key=lambda name: (name[0], name[1] != DEFAULT_ATTACHMENT, name[1]))
    return [Offer(*name, offered[name], places.get(name)) for name in ordered], ruled


def marked(offered: Sequence[Offer]) -> set[int]:
    """What is chosen when the person only presses Enter: the configured ones, or the only one."""
    configured = {number for number, each in enumerate(offered) if each.place is not None}
    return configured or ({0} if len(offered) == 1 else set())


def by_flags(
    offered: Sequence[Offer], apps: Sequence[str], attachments: Sequence[str]
) -> list[Offer]:
    """What the command line chose, with what is configured already.

    Args:
        offered: what there is.
        apps: patterns of app names; empty for every app.
        attachments: patterns of attachment names; empty for `DATABASE`, and for the only one of
            an app that is named in full and has no `DATABASE`.

    Raises:
        PgheraldError: a pattern fits nothing.
    """
    chosen = {each for each in offered if each.place is not None}
    for app in apps or ("*",):
        of_app = [each for each in offered if fnmatchcase(each.app, app)]
        if not of_app:
            _nothing(f"Heroku shows no database of {app}", sorted({each.app for each in offered}))
        wanted = [name.removesuffix("_URL") for name in attachments] or [DEFAULT_ATTACHMENT]
        fitting = [each for each in of_app if matches(each.attachment, wanted)]
        if not fitting and not attachments and len(of_app) == 1:
            fitting = of_app
        if not fitting:
            _nothing(f"Heroku shows no {', '.join(wanted)} of {app}", list(map(str, of_app)))
        chosen.update(fitting)
    return [each for each in offered if each in chosen]


def added(
    chosen: Iterable[Offer], config: Config | None, account: str | None
) -> tuple[NewDatabase, ...]:
    """The databases to write into the configuration, each with a section of its own.

    Args:
        chosen: what was chosen.
        config: the configuration; None for a new one.
        account: the account's name, where the configuration has several.
    """
    taken = {database.service for database in config.databases} if config else set()
    new = []
    for each in chosen:
        if each.place is None:
            usual = default_service(each.app, each.attachment)
            longer = f"{each.app}-{each.attachment.lower().replace('_', '-')}"
            service = _free(usual, longer, taken)
            taken.add(service)
            named = None if service == usual else service
            new.append(NewDatabase(each.app, each.attachment, account, named))
    return tuple(new)


def dropped(offered: Iterable[Offer], chosen: Collection[Offer]) -> frozenset[int]:
    """The places of configured databases that were not chosen again."""
    return frozenset(e.place for e in offered if e.place is not None and e not in chosen)


def _free(usual: str, longer: str, taken: Collection[str]) -> str:
    """A section's name that no other database has."""
    numbered = (f"{longer}-{number}" for number in range(2, len(taken) + 3))
    return next(name for name in (usual, longer, *numbered) if name not in taken)


def _nothing(title: str, others: Sequence[str]) -> None:
    more = len(others) - _NAMED_AT_MOST
    shown = ", ".join(others[:_NAMED_AT_MOST]) + (f" and {more} more" if more > 0 else "")
    raise PgheraldError(title, f"It shows {shown or 'none at all'}.")


# --- the questions ----------------------------------------------------------------------------

#: Some of the numbers that a person types.
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
