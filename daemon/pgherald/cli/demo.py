"""`pgherald demo`: a rotation, start to end, in a throw-away home."""

from __future__ import annotations

import asyncio

import click

from pgherald.cli.exits import EXIT_OK
from pgherald.cli.main import Invocation


@click.command("demo", epilog="\b\nExample:\n  pgherald demo --fast")
@click.option("--fast", is_flag=True, help="Without pauses for reading.")
@click.pass_obj
def command(invocation: Invocation, *, fast: bool) -> int:
    """See a rotation, start to end, in a throw-away home.

    Starts a Postgres with TLS, a simulated Heroku and the daemon, all on this machine and all
    of it real; then Heroku rotates a database. Nothing of yours is touched, and everything is
    gone afterwards. Needs the extra packages of pgherald[demo].

    Exit code 0 only if every step was really seen.
    """
    from pgherald.cli.demo_story import tell  # needs the extra packages
    from pgherald.cli.scratch import scratch

    click.secho("pgherald demo", bold=True)
    click.echo(
        "Everything happens in a throw-away home on this machine. Nothing of yours is touched."
    )
    with scratch("demo") as (folder, cluster):
        asyncio.run(tell(folder, cluster, invocation.env, pace=0.0 if fast else 1.0))
    click.echo()
    click.secho("Every step above was really seen. The throw-away home is gone.", fg="green")
    return EXIT_OK
