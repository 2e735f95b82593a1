"""`pgherald check`: one full reconcile in the foreground.

What `--json` prints; scripts may rely on it:

    {
      "current": true,                  // every client of every database; as the exit code
      "databases": [{
        "key": "shop/DATABASE",         // as in `status` and `history`
        "name": "Shop (production)",
        "current": true,
        "standing": "written",          // current | written | behind | unproven | proving,
                                        // or null when Heroku did not show its login
        "problem": null                 // or a problem, as below without its subject
      }],
      "clients": [{"label": "psql", "path": "/home/me/.pgpass", "problem": null}],
      "problems": [{                    // what concerns no database or client alone
        "subject": "account:default",
        "kind": "LoginRequired",        // a stable word
        "title": "…", "advice": "…"     // for people; the advice may be empty
      }],
      "warnings": ["…"]                 // for people; they leave "current" as it is
    }
"""

from __future__ import annotations

import asyncio
import dataclasses
import logging
from collections.abc import Mapping
from datetime import timedelta

import click

from pgherald.cli.main import Invocation
from pgherald.cli.output import NOTHING_FOUND, emit_json, error_at, problem, progress
from pgherald.config import Config
from pgherald.daemon.check import CheckReport, check, doing
from pgherald.daemon.publish import leave_status
from pgherald.daemon.wiring import Outside, machinery, state_of
from pgherald.errors import PgheraldError
from pgherald.files.locks import daemon_runs
from pgherald.model import About, News, Phase, Subject
from pgherald.notify.texts import line_for
from pgherald.plain import fields
from pgherald.sync.alerts import Alerts
from pgherald.sync.targets import Wishes

_WORDS = {
    Phase.CURRENT: "current",
    Phase.WRITTEN: "brought up to date",
    Phase.BEHIND: "not up to date everywhere",
    Phase.UNVERIFIED: "left as it was: the login could not be proven",
    Phase.VERIFYING: "left as it was: the new login is still being proven",
}


@click.command("check")
@click.option("--prune", is_flag=True, help="Take out of the clients what is no longer configured.")
@click.option("--adopt", is_flag=True,
              help="Keep servers in pgAdmin that you made by hand: no password is asked again.")  # fmt: skip
@click.option("--recreate", is_flag=True, help="Make servers in pgAdmin again that you deleted.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON, for scripts.")
@click.pass_obj
def command(
    invocation: Invocation, *, prune: bool, adopt: bool, recreate: bool, as_json: bool
) -> bool:
    """Bring every client up to date, once, in the foreground.

    Asks Heroku for every database's login, proves those that changed by a real connection,
    and writes them into every client. What is right already is not written again. A daemon
    that runs at the same time does no harm.

    A database that was taken out of the configuration keeps its entries until --prune, which
    names each server in pgAdmin and what became of it. With --adopt, a server that you made in
    pgAdmin by hand and that leads to one of the databases takes its login from the service file
    from then on; its name, colours and open tabs stay, and the password that pgAdmin has saved for
    it goes. A server that you deleted in pgAdmin stays deleted until --recreate.

    Exit code 0 when every client of every database is current, changed or not; 1 when
    something could not be made current, each thing named on stderr; 2 when the command line
    or the configuration is wrong.

    Example:
        pgherald check && psql service=shop-production
    """
    config = invocation.load(writes=True)
    outside = invocation.outside()
    if not invocation.verbose:
        # Its warnings are for the daemon's log; here each is named below, once.
        logging.getLogger("pgherald").setLevel(logging.ERROR)
    wishes = Wishes(adopt, recreate)
    report, news = asyncio.run(reconcile(config, outside, wishes, prune=prune))
    if as_json:
        emit_json(_as_json(report))
        show_problems(report)
    else:
        show(report, news)
    return report.current


async def reconcile(
    config: Config, outside: Outside, wishes: Wishes, *, prune: bool = False
) -> tuple[CheckReport, list[News]]:
    """Bring every client up to date once; what was found, and what is worth telling."""
    news: list[News] = []
    with state_of(config, outside.clock) as state:
        alerts = Alerts(state.store, outside.clock, news.append, notifies=False)
        async with machinery(
            config,
            state,
            outside,
            alerts=alerts,
            tell=news.append,
            wishes=wishes,
            max_age=timedelta(0),
        ) as machine:
            with progress(lambda: doing(machine)) as say:
                report = await check(machine, say, prune=prune)
        if (damage := state.store.afresh) is not None:
            said = f"{damage.title}. {damage.advice}"
            report = dataclasses.replace(report, warnings=(said, *report.warnings))
        if not await asyncio.to_thread(state.store.catch_up):
            problem(
                f"{state.store.path} could not be written, so nothing was recorded",
                "The clients are right all the same. Do as the line above says of that file, and "
                "run pgherald check again.",
            )
        elif not daemon_runs(config.state_dir):
            leave_status(config, state.store, state.files, outside.clock.now())
    return report, news


def show(report: CheckReport, news: list[News]) -> bool:
    """Show how each database stands, and on stderr what is not current; whether all is."""
    told = {item.subject: line_for(item) for item in news if item.clients}
    for database in report.databases:
        line = told.get(Subject(About.DATABASE, database.database.key))
        word = "not shown by Heroku" if database.standing is None else _WORDS[database.standing]
        click.echo(line or f"{database.database.name}: {word}")
    if not report.databases and not report.errors:
        click.echo(NOTHING_FOUND)
    for warning in report.warnings:
        click.echo(f"Note: {warning}")
    show_problems(report)
    return report.current


def show_problems(report: CheckReport) -> None:
    """Name on stderr what is not current."""
    for subject, error in report.errors.items():
        error_at(subject, "", error)
    for item in report.databases:
        if item.error is not None:
            error_at(Subject(About.DATABASE, item.database.key), item.database.name, item.error)
    for client in report.clients:
        if client.error is not None:
            error_at(Subject(About.CLIENT, client.path), client.label, client.error)
    well = not report.errors and all(client.error is None for client in report.clients)
    for item in report.databases:
        if well and not item.current and item.error is None:
            problem(
                f"{item.database.name} is not up to date everywhere",
                "Another program may have changed a file meanwhile: run pgherald check again.",
            )


def _as_json(report: CheckReport) -> dict[str, object]:
    return {
        "current": report.current,
        "databases": [
            {
                **fields(item.database, "key", "name"),
                **fields(item, "current", "standing"),
                "problem": item.error,
            }
            for item in report.databases
        ],
        "clients": [
            {"label": client.label, "path": client.path, "problem": client.error}
            for client in report.clients
        ],
        "problems": problems_json(report.errors),
        "warnings": report.warnings,
    }


def problems_json(errors: Mapping[Subject, PgheraldError]) -> list[dict[str, object]]:
    """Errors by subject, in the shape that `check` and `plan` share."""
    return [
        {"subject": subject, **fields(error, "kind", "title", "advice")}
        for subject, error in errors.items()
    ]
