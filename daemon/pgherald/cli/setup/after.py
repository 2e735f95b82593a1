"""What comes once the clients hold their logins: a notification, the service, a last word."""

from __future__ import annotations

import asyncio
import sys
from typing import Final

import click

from pgherald.cli.main import Invocation
from pgherald.cli.output import problem
from pgherald.cli.progress import progress
from pgherald.cli.service import manager_of, programs_of, set_up
from pgherald.cli.setup.ask import yes
from pgherald.config import Config
from pgherald.errors import PgheraldError
from pgherald.notify.desktop import Notice, Receipt, desktop_for
from pgherald.service.manager import Manager, Standing
from pgherald.service.steps import Programs

#: What is shown to see whether it is shown.
NOTICE: Final = Notice(
    "pgherald can reach you",
    "A rotation, or a trouble, will be told like this.",
    replaces="init",
)

_BY_HAND: Final = "To keep it running: pgherald service install, or pgherald run in the foreground."


def try_notification(invocation: Invocation) -> None:
    """Show a notification, and ask whether it was seen."""
    with progress(lambda: "Showing a notification"):
        receipt = asyncio.run(_shown(invocation))
    if not receipt.shown:
        click.echo(f"Note: no notification could be shown here: {receipt.why}.")
    elif not yes("There should be a notification on your screen. Do you see it?"):
        click.echo(
            "Then it is hidden: look for a do-not-disturb mode. `pgherald status` and the log say "
            "the same, and [notifications] urls reach chat and mail."
        )


async def _shown(invocation: Invocation) -> Receipt:
    outside = invocation.outside()
    desktop = desktop_for(sys.platform, environ=outside.env, clock=outside.clock)
    try:
        return await desktop.show(NOTICE)
    finally:
        await desktop.close()


def offer_service(
    invocation: Invocation, config: Config, *, source: str, wanted: bool | None, asks: bool
) -> bool:
    """Install the service, if the person likes; whether all went well.

    Args:
        invocation: the command line.
        config: the configuration, as it is now.
        source: where the token came from; a service does not see every place.
        wanted: what the command line says; None to ask, or to do what is usual.
        asks: whether there is somebody to ask.
    """
    if wanted is False:
        click.echo(_BY_HAND)
        return True
    manager, programs = manager_of(invocation, config), programs_of(invocation)
    standing = manager.standing(programs)
    if standing is not Standing.MISSING:
        click.echo("The service is there already; a daemon that runs has read the configuration.")
        return True
    if wanted is None and not _answers(manager, programs):
        click.echo("There is no service manager here that answers.")
        click.echo(_BY_HAND)
        return True
    usual = source not in invocation.env
    if wanted is None and not usual:
        click.echo(
            f"The login comes from ${source}, which a service does not see: for one, put the"
        )
        click.echo("token into a file, and run: pgherald init --token file:PATH")
    question = f"Keep it running, as a service of yours ({manager.name})?"
    if wanted is None and not (yes(question, default=usual) if asks else usual):
        click.echo(_BY_HAND)
        return True
    try:
        set_up(invocation, config, manager)
    except PgheraldError as exc:
        problem(exc.title, exc.advice)
        return False
    return True


def _answers(manager: Manager, programs: Programs) -> bool:
    """Whether the service manager is there at all. Only systemd may be missing."""
    if manager.name != "systemd":
        return True
    try:
        return programs.run(("systemctl", "--user", "show", "--property=Version")).code == 0
    except PgheraldError:
        return False


def last_word(config: Config) -> None:
    """Say how to see it work."""
    kinds = {client.kind for client in config.clients}
    database = next(iter(config.databases), None)
    group = database.group if database else config.discover[0].group
    if any(client.kind == "pgadmin" and client.path.is_file() for client in config.clients):
        click.echo(f'In pgAdmin: refresh the group "{group}", or start pgAdmin.')
    if "service_file" in kinds and database is not None:
        click.echo(f"In a terminal: psql service={database.service}")
