"""`pgherald plan`: what `check` would write, as a redacted diff.

What `--json` prints; scripts may rely on it:

    {
      "idle": true,                     // nothing would be written
      "databases": ["shop/DATABASE"],   // those that Heroku showed
      "files": [{
        "label": "psql", "path": "/home/me/.pgpass",
        "changes": [{"key": "shop/DATABASE", "action": "update", "fields": ["password"]}],
        "tighten": false,               // others may read it, which would be mended
        "diff": ["…"],                  // lines of a unified diff; secrets and foreign lines masked
        "warnings": ["…"]               // for people
      }],
      "failed": [{"label": "psql", "path": "/home/me/.pgpass", "problem": {
        "kind": "Unparsable", "title": "…", "advice": "…"
      }}],
      "refused": [{"label": "psql", "key": "shop/DATABASE", "problem": {}}],
      "problems": [{"subject": "account:default", "kind": "LoginRequired",
                    "title": "…", "advice": "…"}]
    }
"""

from __future__ import annotations

import asyncio

import click

from pgherald.cli import check, main, output
from pgherald.config import Config
from pgherald.daemon.look import Looked, look
from pgherald.daemon.wiring import Outside, files_of
from pgherald.heroku.poller import Poller
from pgherald.model import About, Subject
from pgherald.plain import fields
from pgherald.sync.plan import FilePlan, Plan, in_words, make_plan
from pgherald.sync.targets import Wishes, clients_of


@click.command("plan")
@click.option("--adopt", is_flag=True, help="As check --adopt would do it.")
@click.option("--recreate", is_flag=True, help="As check --recreate would do it.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON, for scripts.")
@click.pass_obj
def command(invocation: main.Invocation, *, adopt: bool, recreate: bool, as_json: bool) -> bool:
    """Show what check would write, and write nothing.

    Asks Heroku and reads the clients' files. No login is proven, nothing is written, and
    no secret is shown: passwords appear as dots, and so do lines that are not pgherald's.

    Exit code 0 when a plan could be made, whether or not it holds changes; 1 when something
    hinders it, each thing named on stderr; 2 when the command line or the configuration is wrong.

    Example:
        pgherald plan | less -R
    """
    config = invocation.load(writes=False)
    looked = ask_heroku(config, invocation.outside())
    plan = planned(config, looked, Wishes(adopt, recreate))
    if as_json:
        output.emit_json(_as_json(plan, looked))
    else:
        show(plan, looked)
    return show_obstacles(config, plan, looked)


def ask_heroku(config: Config, outside: Outside) -> Looked:
    """Ask Heroku about every database, and show how far that is where it takes long."""
    sweepers: list[Poller] = []
    with output.progress(lambda: next((s.doing for s in sweepers), "") or "Comparing the clients"):
        return asyncio.run(look(config, outside, sweepers.append))


def planned(config: Config, looked: Looked, wishes: Wishes) -> Plan:
    """What would be written of what Heroku showed. Reads the clients' files, and no more."""
    files = files_of(config)
    clients = clients_of(config, files, wishes)
    return make_plan(files, clients, looked.entries)


def show_obstacles(config: Config, plan: Plan, looked: Looked) -> bool:
    """Name on stderr what hinders the plan; whether nothing does."""
    names = {Subject(About.DATABASE, database.key): database.name for database in config.databases}
    for subject, trouble in looked.failures.items():
        output.error_at(subject, names.get(subject, ""), trouble)
    for client, error in plan.failed:
        output.error_at(client.subject, client.label, error)
    for client, _, error in plan.refused:
        output.problem(f"{client.label} cannot hold the login: {error.reason}", error.advice)
    return not looked.failures and not plan.failed and not plan.refused


def show(plan: Plan, looked: Looked) -> None:
    """Show the plan: each file with its changes, secrets masked."""
    for file in plan.files:
        for warning in file.warnings:
            click.echo(f"Note: {file.client.path}: {warning}")
        if not file.idle:
            _show_file(file)
    if not looked.entries and not looked.failures:
        click.echo(output.NOTHING_FOUND)
    if plan.idle and looked.entries:
        count = len(looked.entries)
        what = "The one database is" if count == 1 else f"The {count} databases are"
        click.echo(f"Nothing to do. {what} current in every client that can be read.")


def _show_file(file: FilePlan) -> None:
    click.secho(f"{file.client.label}: {file.client.path}", bold=True)
    for change in file.edit.changes:
        click.echo(f"  {in_words(change)}")
    for outcome in file.edit.outcomes:
        click.echo(f"  {outcome}")
    if file.loose:
        click.echo("  make it readable by its owner alone (mode 0600)")
    for line in file.diff():
        output.diff_line(line)
    click.echo()


def _as_json(plan: Plan, looked: Looked) -> dict[str, object]:
    return {
        "idle": plan.idle,
        "databases": [entry.key for entry in looked.entries],
        "files": [
            {
                **fields(file.client, "label", "path"),
                "changes": [fields(c, "key", "action", "fields") for c in file.edit.changes],
                "tighten": file.loose,
                "diff": list(file.diff()),
                "warnings": file.warnings,
            }
            for file in plan.files
        ],
        "failed": [
            {**fields(client, "label", "path"), "problem": error} for client, error in plan.failed
        ],
        "refused": [
            {"label": client.label, "key": key, "problem": refusal}
            for client, key, refusal in plan.refused
        ],
        "problems": check.problems_json(looked.failures),
    }
