"""Which databases there are to choose from, and what a choice means. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from pgherald.config import Config
from pgherald.config.edit import NewDatabase
from pgherald.config.schema import DEFAULT_ATTACHMENT, default_service
from pgherald.errors import PgheraldError
from pgherald.heroku.discovery import Found, fits, matches

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
