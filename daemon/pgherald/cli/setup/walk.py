"""Leads through init, from an empty home to clients that are kept working."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import click

from pgherald.cli.exits import EXIT_OK, EXIT_TROUBLE
from pgherald.cli.main import Invocation
from pgherald.cli.plan import look_patiently, name_hindrances, planned
from pgherald.cli.plan import show as show_plan
from pgherald.cli.setup import ground as found_there
from pgherald.cli.setup.after import last_word, offer_service, try_notification
from pgherald.cli.setup.ask import pick, yes
from pgherald.cli.setup.choice import Offer, added, by_flags, by_rules, dropped, marked, offers
from pgherald.cli.setup.deed import carry_out, show_configuration
from pgherald.cli.setup.ground import USUAL, Ground, Login, ground
from pgherald.clients.base import Action
from pgherald.config import Config, loads, refuse_strangers
from pgherald.config.edit import Wishes as Edits
from pgherald.config.edit import edited, fresh
from pgherald.daemon.look import Looked
from pgherald.daemon.wiring import Wishes
from pgherald.errors import PgheraldError
from pgherald.sync.plan import Plan


@dataclass(frozen=True, slots=True)
class Flags:
    """What the command line says; empty or None where it leaves that open.

    Attributes:
        apps: patterns of app names.
        attachments: patterns of attachment names.
        every: every app.
        token: the token's source.
        account: which of several accounts.
        clients: kinds of client.
        adopt: whether servers made by hand are kept working too.
        notify: whether there are notifications.
        service: whether the service is installed.
        yes: nothing is asked.
        dry_run: nothing is written.
    """

    apps: tuple[str, ...] = ()
    attachments: tuple[str, ...] = ()
    every: bool = False
    token: str | None = None
    account: str | None = None
    clients: tuple[str, ...] = ()
    adopt: bool | None = None
    notify: bool = True
    service: bool | None = None
    yes: bool = False
    dry_run: bool = False

    @property
    def choose(self) -> bool:
        """Whether they choose databases."""
        return bool(self.apps or self.attachments or self.every)


def walk(invocation: Invocation, flags: Flags) -> int:
    """Do it all; the exit code.

    Raises:
        PgheraldError: something hinders it; nothing was written.
        click.Abort: the person would rather not. What was told as done stays, and nothing else.
    """
    there = ground(invocation, flags.account)
    login = found_there.login(invocation, there, flags.token, asks=not flags.yes)
    edits = _edits(invocation, there, login, flags)
    text = fresh(edits) if there.config is None else edited(there.text, edits)
    config = loads(text, there.file, invocation.env)
    refuse_strangers(config, invocation.env)
    looked = look_patiently(config, invocation.outside())
    wishes, plan = _wishes(config, looked, flags)
    changes = text != there.text
    if changes or not plan.idle:
        click.echo("This is what will be written; passwords are shown as dots.\n")
    if changes:
        show_configuration(there, text)
    show_plan(plan, looked)
    if edits.drop:
        click.echo("What is left out stays in the clients until: pgherald check --prune")
    well = name_hindrances(config, plan, looked)
    if flags.dry_run:
        return EXIT_OK if well else EXIT_TROUBLE
    if changes or not plan.idle:
        if not flags.yes and not yes("Do it?"):
            click.echo("Nothing was written.")
            return EXIT_OK
        well = carry_out(invocation, there, text, config, wishes).current
    try:
        if there.config is None and config.notifications.desktop and not flags.yes:
            try_notification(invocation)
        installed = offer_service(
            invocation,
            config,
            source=login.survey.source,
            wanted=flags.service,
            asks=not flags.yes,
        )
    except (KeyboardInterrupt, click.Abort):
        click.echo("\nThe databases are kept all the same.")
        raise
    last_word(config)
    return EXIT_OK if well and installed else EXIT_TROUBLE


def _edits(invocation: Invocation, there: Ground, login: Login, flags: Flags) -> Edits:
    """What is to be different in the configuration."""
    new = there.config is None
    paths = found_there.clients(flags.clients or (USUAL if new else ()), invocation, there.file)
    shown = found_there.files(invocation, there, paths)
    found_there.show(invocation, login, shown)
    found, teams = login.survey.found, login.survey.teams
    offered = offers(found, there.config, there.account, teams)
    if ruled := len(by_rules(found, there.config, there.account, teams)):
        click.echo(f"Kept by [[discover]] without being named: {ruled}.")
    chosen = _chosen(invocation, there, offered, flags)
    desktop = flags.notify if new else (None if flags.notify else False)
    return Edits(
        added(chosen, there.config, there.named),
        dropped(offered, chosen),
        login.token,
        paths,
        desktop,
    )


def _chosen(
    invocation: Invocation, there: Ground, offered: Sequence[Offer], flags: Flags
) -> list[Offer]:
    """The databases to keep."""
    ruled = there.config is not None and bool(there.config.discover)
    if not offered:
        if ruled:
            return []
        raise PgheraldError(
            "Heroku shows no Postgres database to this login",
            "Is it the right account? `heroku addons --all` lists what there is.",
        )
    if flags.choose:
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


def _wishes(config: Config, looked: Looked, flags: Flags) -> tuple[Wishes, Plan]:
    """What is wished for in pgAdmin, and the plan that comes of it.

    A server of ours that was deleted there is made again: that is what init is run for.
    """
    plain = Wishes(recreate=True)
    if flags.adopt is False or (flags.adopt is None and flags.yes):
        return plain, planned(config, looked, plain)
    adopting = Wishes(adopt=True, recreate=True)
    plan = planned(config, looked, adopting)
    names = [
        change.fields[0]
        for file in plan.files
        for change in file.edit.changes
        if change.action is Action.ADOPT
    ]
    if names and flags.adopt is None:
        click.echo(f"Made by hand in pgAdmin, and leading there too: {', '.join(names)}.")
        question = "Keep that working as well? The password that pgAdmin has saved for it goes."
        if not yes(question):
            return plain, planned(config, looked, plain)
    return adopting, plan
