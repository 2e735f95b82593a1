"""Applies what init has planned: writes everything, or takes it back; then the service."""

from __future__ import annotations

import asyncio
import difflib
import re
import sys
from pathlib import Path
from typing import Final

import click

from pgherald.cli.check import reconcile, show
from pgherald.cli.main import Invocation
from pgherald.cli.output import diff_line, problem, progress
from pgherald.cli.rollback import committer_of
from pgherald.cli.service import manager_of, set_up
from pgherald.cli.setup.ask import yes
from pgherald.cli.setup.preflight import Preflight
from pgherald.config import Config
from pgherald.daemon.wiring import files_of
from pgherald.errors import ChangedMeanwhile, PgheraldError
from pgherald.files import Files, Snapshot
from pgherald.notify import desktop_for
from pgherald.notify.desktop import Notice, Receipt
from pgherald.service.manager import Manager, Programs, Standing
from pgherald.sync.plan import Plan
from pgherald.sync.targets import Wishes

_BOM: Final = b"\xef\xbb\xbf"

#: A command's own words may hold more than they should.
_COMMAND: Final = re.compile(r"(['\"]command:).*")

#: The notification that is shown to see whether it is shown.
_NOTICE: Final = Notice(
    "pgherald can reach you",
    "A rotation, or a trouble, will be told like this.",
    replaces="init",
)

_BY_HAND: Final = "To keep it running: pgherald service install, or pgherald run in the foreground."


def show_configuration(file: Path, old: str, new: str) -> None:
    """Show the lines of the configuration that come and go; of those that stay, one may be a secret."""
    click.secho(f"configuration: {file}", bold=True)
    lines = difflib.unified_diff(old.splitlines(), new.splitlines(), lineterm="", n=0)
    for number, line in enumerate(lines):
        if number > 1 and line[:2] != "@@":
            diff_line(_COMMAND.sub(r"\1…", line))
    click.echo()


def write(
    invocation: Invocation, found: Preflight, text: str, config: Config, wishes: Wishes
) -> bool:
    """Write the configuration and bring every client up to date; whether all is current.

    Raises:
        ChangedMeanwhile: somebody else changed the configuration since it was read.
        PgheraldError: it could not be done. Then, as after Ctrl-C, the configuration and the
            clients are as before.
    """
    files = files_of(config)
    committed = {record.id for record in committer_of(config).history()}
    with files.lock(found.file):
        before = files.read(found.file)
        if before.content != found.raw:
            raise ChangedMeanwhile(
                "was changed by another program", "Run pgherald init once more.", path=found.file
            )
        mark = _BOM if (found.raw or b"").startswith(_BOM) else b""
        # One that is there may be for others to read: it keeps its mode.
        after = files.replace(before, mark + text.encode(), private=found.config is None)
    try:
        done = asyncio.run(reconcile(config, invocation.outside(), wishes))
    except BaseException:
        _take_back(files, config, before, after, committed)
        raise
    return show(*done)


def _take_back(
    files: Files, config: Config, before: Snapshot, after: Snapshot, committed: set[str]
) -> None:
    """Make everything as it was. What somebody else has changed since stays theirs."""
    committer = committer_of(config)
    try:
        for record in committer.history():
            if record.id not in committed:
                for path in committer.rollback(record.id).left:
                    click.echo(f"Not taken back, since {path} was changed meanwhile", err=True)
        if before.content is None:
            files.remove(after)
        else:
            files.replace(after, before.content, private=False)
    except PgheraldError as exc:
        click.echo(f"Not everything could be taken back: {exc.title}", err=True)


def try_notification(invocation: Invocation) -> None:
    """Show a notification, and ask whether it was seen."""

    async def shown() -> Receipt:
        desktop = desktop_for(sys.platform, environ=invocation.env)
        try:
            return await desktop.show(_NOTICE)
        finally:
            await desktop.close()

    with progress(lambda: "Showing a notification"):
        receipt = asyncio.run(shown())
    if not receipt.shown:
        click.echo(f"Note: no notification could be shown here: {receipt.why}.")
    elif not yes("There should be a notification on your screen. Do you see it?"):
        click.echo(
            "Then it is hidden: look for a do-not-disturb mode. `pgherald status` and the log say "
            "the same, and [notifications] urls reach chat and mail."
        )


def offer_service(
    invocation: Invocation, config: Config, source: str, wanted: bool | None, *, asks: bool
) -> bool:
    """Install the service, if the person likes; whether all went well.

    Args:
        invocation: the command line.
        config: the configuration, as it is now.
        source: where the token came from; a service does not see every place.
        wanted: the choice of the command line; None to ask, or to do what is usual.
        asks: whether there is somebody to ask.
    """
    manager, programs = manager_of(invocation, config), Programs(invocation.env)
    if wanted is not False and manager.standing(programs) is not Standing.MISSING:
        click.echo("The service is there already; a daemon that runs has read the configuration.")
        return True
    if wanted is None:
        wanted = _is_wanted(invocation, manager, programs, source, asks=asks)
    if not wanted:
        click.echo(_BY_HAND)
        return True
    try:
        set_up(invocation, config, manager)
    except PgheraldError as exc:
        problem(exc.title, exc.advice)
        return False
    return True


def _is_wanted(
    invocation: Invocation, manager: Manager, programs: Programs, source: str, *, asks: bool
) -> bool:
    if not manager.answers(programs):
        click.echo("There is no service manager here that answers.")
        return False
    usual = source not in invocation.env
    question = f"Keep it running, as a service of yours ({manager.name})?"
    return yes(question, default=usual) if asks else usual


def show_next_steps(config: Config, plan: Plan) -> None:
    """Say how to see it work."""
    kinds = {client.kind for client in config.clients}
    database = next(iter(config.databases), None)
    group = database.group if database else config.discover[0].group
    if any(client.kind == "pgadmin" and client.path.is_file() for client in config.clients):
        click.echo(f'In pgAdmin: refresh the group "{group}", or start pgAdmin.')
    if "service_file" in kinds and database is not None:
        service = plan.services.get(database.key, database.service)
        click.echo(f"In a terminal: psql service={service}")
