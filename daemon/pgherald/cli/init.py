"""`pgherald init`: from nothing to clients that are kept working."""

from __future__ import annotations

from typing import Final

import click

from pgherald.cli.main import Invocation

#: The kinds of client that `--clients` takes; the others need a path, so a line in the file.
_KINDS: Final = ("pgadmin", "service_file", "pgpass")


def _kinds(_context: click.Context, _option: click.Parameter, value: str | None) -> tuple[str, ...]:
    names = tuple(dict.fromkeys(name.strip() for name in (value or "").split(",") if name.strip()))
    if strangers := [name for name in names if name not in _KINDS]:
        raise click.BadParameter(f"there is no {strangers[0]!r}; it can be {', '.join(_KINDS)}.")
    return names


@click.command(
    "init",
    epilog="\b\nExample:\n  pgherald init\n  pgherald init --app 'shop-*' --yes --no-service",
)
@click.option("--app", "apps", multiple=True, metavar="NAME",
              help="Keep this app's database; a pattern with * and ?, may be repeated.")  # fmt: skip
@click.option("--attachment", "attachments", multiple=True, metavar="NAME",
              help="Which of an app's attachments; likewise. Default: DATABASE.")  # fmt: skip
@click.option("--all", "every", is_flag=True, help="Keep every app's database.")
@click.option("--token", metavar="SOURCE",
              help="Where the token comes from: auto, netrc, file:PATH, env:NAME and so on.")  # fmt: skip
@click.option("--account", metavar="NAME", help="Which of several [[accounts]].")
@click.option("--clients", callback=_kinds, metavar="LIST",
              help="Which clients, with commas between: pgadmin,service_file,pgpass.")  # fmt: skip
@click.option("--adopt/--no-adopt", default=None,
              help="Keep servers in pgAdmin that you made by hand, or leave them alone.")  # fmt: skip
@click.option("--no-notify", is_flag=True, help="Show no desktop notifications.")
@click.option("--service/--no-service", default=None,
              help="Install the service, or do not, without asking.")  # fmt: skip
@click.option("-y", "--yes", is_flag=True, help="Ask nothing, for scripts.")
@click.option("--dry-run", is_flag=True, help="Show what would be written, and write nothing.")
@click.pass_obj
def command(
    invocation: Invocation,
    *,
    apps: tuple[str, ...],
    attachments: tuple[str, ...],
    every: bool,
    token: str | None,
    account: str | None,
    clients: tuple[str, ...],
    adopt: bool | None,
    no_notify: bool,
    service: bool | None,
    yes: bool,
    dry_run: bool,
) -> int:
    """Set pgherald up: which databases, and it keeps them working.

    Finds your Heroku login, lists the databases that it shows, and asks which of them to keep
    working. Then it shows what will be written, passwords as dots; asks; and writes the
    configuration and every client. At last it shows a notification, and offers to install the
    service. Heroku is only read.

    Run again, it changes the configuration: what you mark is added, what you unmark is taken
    out; your comments and all else in the file stay. A server that you deleted in pgAdmin is
    made again.

    With --yes nothing is asked: --app or --all choose the databases (of one there is no
    choice), servers made by hand stay as they are without --adopt, and the service is installed
    where there is a service manager, without --no-service.

    Until you have said yes everything is as it was, and Ctrl-C while it writes takes it all
    back. At the questions that come after, it ends the asking.

    Exit code 0 when every client is current; 1 when something could not be done, each thing
    named on stderr; 2 when the command line or the configuration is wrong; 130 after Ctrl-C.
    """
    from pgherald.cli.setup.walk import Flags, walk  # `--help` needs none of it

    flags = Flags(
        apps=apps,
        attachments=attachments,
        every=every,
        token=token,
        account=account,
        clients=clients,
        adopt=adopt,
        notify=not no_notify,
        service=service,
        yes=yes,
        dry_run=dry_run,
    )
    return walk(invocation, flags)
