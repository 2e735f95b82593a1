"""`pgherald init`: from nothing to clients that are kept working."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import click

from pgherald.cli.main import Invocation
from pgherald.cli.plan import ask_heroku, planned, show_obstacles
from pgherald.cli.plan import show as show_plan
from pgherald.cli.setup import apply
from pgherald.cli.setup.ask import Offer, added, by_flags, dropped, marked, offers, pick, yes
from pgherald.cli.setup.preflight import (
    Preflight,
    moved_by_environment,
    pgadmins,
    preflight,
    show_found,
)
from pgherald.clients.base import Action
from pgherald.config import Config, loads, refuse_strangers
from pgherald.config.edit import Wishes as Edits
from pgherald.config.edit import edited, fresh
from pgherald.daemon.look import Looked
from pgherald.errors import Forbidden, PgheraldError
from pgherald.store.sqlite import shared
from pgherald.sync.plan import Plan
from pgherald.sync.targets import Wishes

#: The kinds of client that `--clients` takes, and those of a new configuration; the others need a
#: path, so a line in the file.
_KINDS: Final = ("pgadmin", "service_file", "pgpass")


@dataclass(frozen=True, slots=True)
class _Flags:
    """The command line; empty or None where it leaves something open.

    Attributes:
        apps: patterns of app names.
        attachments: patterns of attachment names.
        every: every app.
        token: the token's source.
        account: which of several accounts.
        clients: kinds of client.
        adopt: whether servers made by hand are kept working too.
        no_notify: whether there are no notifications.
        service: whether the service is installed.
        yes: nothing is asked.
        dry_run: nothing is written.
    """

    apps: tuple[str, ...]
    attachments: tuple[str, ...]
    every: bool
    token: str | None
    account: str | None
    clients: tuple[str, ...]
    adopt: bool | None
    no_notify: bool
    service: bool | None
    yes: bool
    dry_run: bool


def _kinds(_context: click.Context, _option: click.Parameter, value: str | None) -> tuple[str, ...]:
    names = tuple(dict.fromkeys(name.strip() for name in (value or "").split(",") if name.strip()))
    if strangers := [name for name in names if name not in _KINDS]:
        raise click.BadParameter(f"there is no {strangers[0]!r}; it can be {', '.join(_KINDS)}.")
    return names


@click.command("init")
@click.option("--app", "apps", multiple=True, metavar="NAME",
              help="Keep this app's database; a pattern with * and ?, may be repeated.")  # fmt: skip
@click.option("--attachment", "attachments", multiple=True, metavar="NAME",
              help="Which of an app's attachments; likewise. Default: DATABASE.")  # fmt: skip
@click.option("--all", "every", is_flag=True, help="Keep every app's database.")
@click.option("--token", metavar="SOURCE",
              help="Where the token comes from: auto, netrc, file:PATH, env:NAME and so on.")  # fmt: skip
@click.option("--account", metavar="NAME", help="Which of several [[accounts]].")
@click.option("--clients", callback=_kinds, metavar="LIST",
              help="Which clients, with commas between: pgadmin,service_file,pgpass.")  # fmt: skip
@click.option("--adopt/--no-adopt", default=None,
              help="Keep servers in pgAdmin that you made by hand, or leave them alone.")  # fmt: skip
@click.option("--no-notify", is_flag=True, help="Show no desktop notifications.")
@click.option("--service/--no-service", default=None,
              help="Install the service, or do not, without asking.")  # fmt: skip
@click.option("-y", "--yes", is_flag=True, help="Ask nothing, for scripts.")
@click.option("--dry-run", is_flag=True, help="Show what would be written, and write nothing.")
@click.pass_obj
def command(invocation: Invocation, /, **flags: Any) -> bool:
    """Set pgherald up: which databases, and it keeps them working.

    Finds your Heroku login, lists the databases that it shows, and asks which of them to keep
    working. Then it shows what will be written, passwords as dots; asks; and writes the
    configuration and every client. At last it shows a notification, and offers to install the
    service. Heroku is only read.

    Run again, it changes the configuration: what you mark is added, what you unmark is taken
    out; your comments and all else in the file stay. A server that you deleted in pgAdmin is
    made again.

    With --yes nothing is asked: --app or --all choose the databases (of one there is no
    choice), servers made by hand stay as they are without --adopt, and the service is installed
    where there is a service manager, without --no-service.

    Until you have said yes everything is as it was, and Ctrl-C while it writes takes it all
    back. At the questions that come after, it ends the asking.

    Exit code 0 when every client is current; 1 when it was not wanted after all, or something
    could not be done, each thing named on stderr; 2 when the command line or the configuration is wrong; 130 after Ctrl-C.

    Example:
        pgherald init
        pgherald init --app 'shop-*' --yes --no-service
    """
    return _wizard(invocation, _Flags(**flags))


def _wizard(invocation: Invocation, flags: _Flags) -> bool:
    """Lead through all of it; whether every client is current.

    Raises:
        PgheraldError: something hinders it; nothing was written.
        click.Abort: the person would rather not. What was shown as done stays, and nothing else.
    """
    found = preflight(invocation, flags.account, flags.token, flags.apps, asks=not flags.yes)
    edits = _edits(invocation, found, flags)
    text = fresh(edits) if found.config is None else edited(found.text, edits)
    config = loads(text, found.file, invocation.env)
    refuse_strangers(config, invocation.env)
    if (error := shared(config.state_dir / "state.db", config.path)) is not None:
        raise error
    looked = ask_heroku(config, invocation.outside())
    wishes, plan = _wishes(config, looked, flags)
    changes = text != found.text
    writes = changes or not plan.idle
    if writes:
        click.echo("This is what will be written; passwords are shown as dots.\n")
    if changes:
        apply.show_configuration(found.file, found.text, text)
    show_plan(plan, looked)
    if edits.drop:
        click.echo("What is left out stays in the clients until: pgherald check --prune")
    well = show_obstacles(config, plan, looked)
    if flags.dry_run:
        return well
    if writes and not flags.yes and not yes("Do it?"):
        click.echo("Nothing was written.")
        return False
    if writes:
        well = apply.write(invocation, found, text, config, wishes)
    try:
        if found.config is None and config.notifications.desktop and not flags.yes:
            apply.try_notification(invocation)
        source = found.survey.source
        well &= apply.offer_service(invocation, config, source, flags.service, asks=not flags.yes)
    except (KeyboardInterrupt, click.Abort):
        click.echo("\nThe databases are kept all the same.")
        raise
    apply.show_next_steps(config, plan)
    return well


def _edits(invocation: Invocation, found: Preflight, flags: _Flags) -> Edits:
    """The changes of the configuration."""
    new = found.config is None
    # One that is configured and not there is trouble, which nobody wants to begin with.
    is_kept = any(place.trouble is None for place in pgadmins(invocation.env))
    usual = _KINDS if is_kept else _KINDS[1:]
    kinds = flags.clients or (usual if new else ())
    paths = moved_by_environment(kinds, invocation.env, found.file)
    show_found(invocation.env, found, paths)
    shown, teams = found.survey.found, found.survey.teams
    offered, ruled = offers(shown, found.config, found.account, teams)
    if ruled:
        click.echo(f"Kept by [[discover]] without being named: {ruled}.")
    chosen = _chosen(invocation, found, offered, flags)
    desktop = False if flags.no_notify else (True if new else None)
    databases = added(chosen, found.config, found.account if found.is_one_of_several else None)
    return Edits(databases, dropped(offered, chosen), found.token, paths, desktop)


def _chosen(
    invocation: Invocation, found: Preflight, offered: Sequence[Offer], flags: _Flags
) -> list[Offer]:
    """The databases to keep."""
    ruled = found.config is not None and bool(found.config.discover)
    for app in flags.apps:
        refused = found.survey.refused.get(app)
        if isinstance(refused, Forbidden) and all(each.app != app for each in offered):
            raise refused
    if not offered:
        if ruled:
            return []
        raise PgheraldError(
            "Heroku shows no Postgres database to this login",
            "Is it the right account? `heroku apps --all` lists what it has.",
        )
    if flags.apps or flags.attachments or flags.every:
        return by_flags(offered, () if flags.every else flags.apps, flags.attachments)
    usual = marked(offered)
    if flags.yes:
        if not usual and not ruled:
            raise click.UsageError("Which databases? Name them with --app, or take --all.")
        return [offered[number] for number in sorted(usual)]
    wide = max(len(each.app) for each in offered)
    deep = max(len(each.attachment) for each in offered)
    rows = [
        f"{each.app.ljust(wide)}  {each.attachment.ljust(deep)}  {each.about}".rstrip()
        for each in offered
    ]
    title = "Which databases shall pgherald keep working?"
    picked = pick(title, rows, usual, invocation.env, needed=not ruled)
    chosen = [offered[number] for number in picked]
    click.echo(f"Databases: {', '.join(map(str, chosen)) or 'as before'}\n")
    return chosen


def _wishes(config: Config, looked: Looked, flags: _Flags) -> tuple[Wishes, Plan]:
    """The wishes for pgAdmin, and the plan that comes of them.

    A server of ours that was deleted there is made again: that is what init is run for.
    """
    plain, adopting = Wishes(recreate=True), Wishes(adopt=True, recreate=True)
    adopt = False if flags.adopt is None and flags.yes else flags.adopt
    if adopt is None:
        adopted = planned(config, looked, adopting)
        changes = [c for file in adopted.files for c in file.edit.changes]
        if names := [c.fields[0] for c in changes if c.action is Action.ADOPT]:
            click.echo(f"Made by hand in pgAdmin, and leading there too: {', '.join(names)}.")
            for cost in (outcome for file in adopted.files for outcome in file.edit.outcomes):
                click.echo(cost)
            question = "Keep that working as well? The password that pgAdmin has saved for it goes."
            adopt = yes(question)
    wishes = plain if adopt is False else adopting
    return wishes, planned(config, looked, wishes)
