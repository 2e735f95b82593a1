"""`pgherald doctor`: what is wrong, and the command that mends it.

What `--json` prints; scripts may rely on it:

    {
      "ok": true,                       // nothing bad; as the exit code
      "findings": [{
        "area": "Heroku",               // for people
        "check": "token:default",       // a stable word; with what it is about behind a colon
        "verdict": "good",              // good | note | bad
        "title": "…", "advice": "…"     // for people; the advice may be empty
      }]
    }
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Final

import click

from pgherald.cli.main import Invocation
from pgherald.cli.output import emit_json, problem, progress
from pgherald.cli.service import manager_of
from pgherald.daemon.wiring import files_of
from pgherald.doctor import bundle
from pgherald.doctor.checks import Check, Examined, Verdict, examine, findings_json
from pgherald.doctor.context import Context
from pgherald.service.manager import Programs

#: `--bundle` without a file.
_UNNAMED: Final = "pgherald-report-%Y%m%d-%H%M%S.tar.gz"


@click.command("doctor")
@click.option("--offline", is_flag=True, help="Ask neither Heroku nor Postgres.")
@click.option("--bundle", "into", metavar="[FILE]", is_flag=False, flag_value="",
              type=click.Path(), help="Write a redacted archive for a report of a bug.")  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Print JSON, for scripts.")
@click.pass_obj
def command(invocation: Invocation, *, offline: bool, into: str | None, as_json: bool) -> bool:
    """Find out what is wrong, and how to mend it.

    Looks at the way to Heroku (proxies, DNS, TLS, clock), the token, its scope and its end; lets
    every login connect; compares every client, pgAdmin's servers included; looks at file modes,
    the disk, the environment, the daemon, its service and the notification server. Changes
    nothing. What is bad comes first, on stderr, each with the command that mends it.

    With --bundle, an archive for a report of a bug is written, mode 0600: versions, configuration,
    findings, status, history, sizes and modes of files, the last lines of the log. Apps, hosts,
    users, databases and paths are replaced in it (app-1, host-1 …), and no password, token or
    content of a client's file is in it.

    Exit code 0 when nothing is bad; 1 when something is; 2 when the command line or the
    configuration is wrong, which is all that is told then.

    Example:
        pgherald doctor
        pgherald doctor --bundle report.tar.gz
    """
    config = invocation.load()
    context = Context(
        config,
        invocation.outside(),
        manager_of(invocation, config),
        Programs(invocation.env),
        offline=offline,
    )
    examined = _examined(context)
    well = not any(f.verdict is Verdict.BAD for each in examined for f in each.findings)
    if as_json:
        emit_json({"ok": well, "findings": findings_json(examined)})
    else:
        _show(examined)
    if into is not None:
        _write(context, examined, Path(into) if into else None, quiet=as_json)
    return well


def _examined(context: Context) -> list[Examined]:
    """Every check's findings; where that takes long, a terminal shows those that go on."""
    areas: tuple[str, ...] = ()

    def going_on(checks: Sequence[Check]) -> None:
        nonlocal areas
        areas = tuple(dict.fromkeys(check.area for check in checks))

    with progress(lambda: f"Looking at: {', '.join(areas)}"):
        return asyncio.run(examine(context.checks(), going_on))


def _show(examined: Sequence[Examined]) -> None:
    bad = [f for each in examined for f in each.findings if f.verdict is Verdict.BAD]
    for finding in bad:
        problem(finding.title, finding.advice)
    if bad:
        click.echo("", err=True)
    area = ""
    for each in examined:
        for finding in each.findings:
            if finding.verdict is Verdict.BAD:
                continue
            if each.check.area != area:
                area = each.check.area
                click.secho(area, bold=True)
            click.echo(f"  {finding.verdict}  {finding.title}")
            if finding.advice:
                click.echo(f"        {finding.advice}")


def _write(
    context: Context, examined: Sequence[Examined], path: Path | None, *, quiet: bool
) -> None:
    now = datetime.now().astimezone()
    made = bundle.parts(context, examined)
    path = path or Path(now.strftime(_UNNAMED))
    # With --json, stdout is for scripts.
    click.echo("", err=quiet)
    click.echo("The report holds:", err=quiet)
    for part in made:
        click.echo(f"  {part.name.ljust(18)}  {part.what}", err=quiet)
    files_of(context.config).write_new_private(path.absolute(), bundle.archive(made, now))
    click.echo(f"It is here, and nowhere else: {path.absolute()}", err=quiet)
