"""`pgherald demo`: a rotation, start to end, in a throw-away home."""

from __future__ import annotations

import asyncio

import click

from pgherald.cli.main import Invocation
from pgherald.cli.output import diff_line
from pgherald.clients.base import TextClient
from pgherald.clock import SystemClock
from pgherald.model import Login
from pgherald.simulator.demo import APP, Tools, play, throwaway
from pgherald.sync.probe import Outcome, PostgresProber
from pgherald.sync.targets.file import diff_lines


@click.command("demo")
@click.option("--fast", is_flag=True, help="Without pauses for reading.")
@click.pass_obj
def command(invocation: Invocation, *, fast: bool) -> None:
    """See a rotation, start to end, in a throw-away home.

    Starts a Postgres with TLS, a simulated Heroku and the daemon, all on this machine and all
    of it real; then Heroku rotates a database. Nothing of yours is touched, and everything is
    gone afterwards. Needs the extra packages of pgherald[demo].

    Exit code 0 only if every step was really seen.

    Example:
        pgherald demo --fast
    """
    click.secho("pgherald demo", bold=True)
    click.echo(
        "Everything happens in a throw-away home on this machine. Nothing of yours is touched."
    )
    tools = Tools(_refusal, _show_diff)
    with throwaway("demo") as (folder, cluster):
        asyncio.run(play(folder, cluster, invocation.env, tools, pace=0.0 if fast else 1.0))
    click.echo()
    click.secho("Every step above was really seen. The throw-away home is gone.", fg="green")


async def _refusal(login: Login) -> str:
    proof = await PostgresProber(SystemClock()).probe(login)
    return f"Postgres refuses the login of {APP}" if proof.outcome is Outcome.REFUSED else ""


def _show_diff(editor: TextClient, old: bytes, new: bytes) -> None:
    for line in diff_lines(editor, old, new):
        diff_line(f"    {line}")
