"""Writes the configuration and makes the first commit, or takes back what it wrote."""

from __future__ import annotations

import asyncio
import difflib
import re
from collections.abc import Iterator
from typing import Final

import click

from pgherald.cli.check import name_problems, reconcile, show
from pgherald.cli.commits import committer_of
from pgherald.cli.main import Invocation
from pgherald.cli.output import diff_line
from pgherald.cli.setup.ground import Ground
from pgherald.config import Config
from pgherald.daemon.check import CheckReport
from pgherald.daemon.wiring import Wishes, files_of
from pgherald.errors import ChangedMeanwhile, PgheraldError
from pgherald.files import Files, Snapshot

_BOM: Final = b"\xef\xbb\xbf"

#: A command's own words may hold more than they should.
_COMMAND: Final = re.compile(r"(['\"]command:).*")


def show_configuration(found: Ground, text: str) -> None:
    """Show how the configuration changes."""
    click.secho(f"configuration: {found.file}", bold=True)
    for line in _differences(found.text, text):
        diff_line(_COMMAND.sub(r"\1…", line))
    click.echo()


def _differences(old: str, new: str) -> Iterator[str]:
    """The lines that come and go; of those that stay, one may be a secret address."""
    lines = difflib.unified_diff(old.splitlines(), new.splitlines(), lineterm="", n=0)
    return (line for number, line in enumerate(lines) if number > 1 and line[:2] != "@@")


def carry_out(
    invocation: Invocation, found: Ground, text: str, config: Config, wishes: Wishes
) -> CheckReport:
    """Write the configuration and bring every client up to date.

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
            raise ChangedMeanwhile("was changed by another program", path=found.file)
        mark = _BOM if (found.raw or b"").startswith(_BOM) else b""
        # One that is there may be for others to read: it keeps its mode.
        after = files.replace(before, mark + text.encode(), private=found.config is None)
    try:
        report, news = asyncio.run(reconcile(config, invocation.outside(), wishes))
    except BaseException:
        _take_back(files, config, before, after, committed)
        raise
    show(report, news)
    name_problems(report)
    return report


def _take_back(
    files: Files, config: Config, before: Snapshot, after: Snapshot, committed: set[str]
) -> None:
    """Make everything as it was. What somebody else has changed since stays theirs."""
    committer = committer_of(config)
    try:
        for record in committer.history():
            if record.id not in committed:
                committer.rollback(record.id)
        if before.content is None:
            files.remove(after)
        else:
            files.replace(after, before.content, private=False)
    except PgheraldError as exc:
        click.echo(f"Not everything could be taken back: {exc.title}", err=True)
