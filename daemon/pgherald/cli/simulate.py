"""`pgherald simulate`: a Heroku on this machine."""

from __future__ import annotations

import asyncio

import click

from pgherald.simulator.demo import throwaway
from pgherald.simulator.seed import APPS
from pgherald.simulator.server import serve


@click.command("simulate")
@click.option("--port", type=click.IntRange(0, 65535), default=5000, show_default=True,
              help="Where to listen on 127.0.0.1; 0 takes a free port.")  # fmt: skip
@click.option("--app", "apps", multiple=True, metavar="NAME",
              help="An app to have; may be repeated. Default: three that make a shop.")  # fmt: skip
def command(port: int, apps: tuple[str, ...]) -> None:
    """Run a Heroku on this machine, for trying things out.

    A throw-away Postgres with TLS stands behind it, and rotating changes its roles for
    real. The Heroku CLI works with it unchanged; what to paste is shown at the start. It
    listens on this machine alone, and Ctrl-C ends it with all that it made. Needs the extra
    packages of pgherald[demo].

    Exit code 0 when it was told to stop, 1 when it could not start.

    Example:
        pgherald simulate --port 5000 --app shop --app blog
    """
    click.echo("Starting a Postgres …", err=True)
    with throwaway("simulator") as (_, cluster):
        asyncio.run(serve(cluster, port=port, announce=click.echo, apps=apps or APPS))
