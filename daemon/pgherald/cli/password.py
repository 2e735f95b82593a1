"""`pgherald password`: one password, from the clients' own files."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import click

from pgherald.cli.completion import from_config
from pgherald.cli.main import Invocation
from pgherald.clients import pgpass, service_file
from pgherald.config import Config
from pgherald.errors import ClientError, PgheraldError
from pgherald.files import Files
from pgherald.secret import Secret


@click.command("password")
@click.option("--service", metavar="NAME", help="Section of the service file.",
              shell_complete=from_config(lambda config: [each.service for each in config.databases]))  # fmt: skip
@click.option("--host", metavar="NAME", help="Host, exactly as the client's file has it.")
@click.option("--port", type=click.IntRange(1, 65535), default=5432, show_default=True,
              metavar="NUMBER", help="Port, exactly as the client's file has it.")  # fmt: skip
@click.option("--user", metavar="NAME",
              help="Role name; pgAdmin's quotes around it are understood.")  # fmt: skip
@click.option("--dbname", metavar="NAME", default="*",
              help="Database, where a line of pgpass names one.")  # fmt: skip
@click.pass_obj
def command(
    invocation: Invocation,
    *,
    service: str | None,
    host: str | None,
    port: int,
    user: str | None,
    dbname: str,
) -> None:
    """Print one password, for a script or another tool.

    Give either --service, or --host and --user. The password is read from the service file
    or pgpass that pgherald keeps, with libpq's own rules; Heroku is not asked.

    Exit code 0 and the password on stdout. Else nothing is on stdout and the reason is on
    stderr: 1 when there is no such password, 2 when the command line or the configuration is
    wrong.

    Example:
        PGPASSWORD=$(pgherald password --service shop-production) some-tool
        # As pgAdmin's PasswordExecCommand:
        pgherald password --host %HOSTNAME% --port %PORT% --user %USERNAME%
    """
    if (service is None) == (host is None and user is None):
        raise click.UsageError("Give either --service, or --host and --user.")
    if service is not None:
        found = _by_service(invocation.load(writes=False), service)
    elif host is None or user is None:
        raise click.UsageError(f"--{'user' if user is None else 'host'} is missing.")
    else:
        found = _by_login(invocation.load(writes=False), host, port, pgpass.unquoted(user), dbname)
    click.echo(found.reveal())


def _by_service(config: Config, service: str) -> Secret:
    for path, text in _texts(config, "service_file", "--host and --user"):
        with _named(path):
            held = service_file.held(text, service)
            if held is None:
                continue
            if held.password is None:
                advice = "Ask by --host and --user, or let `pgherald check` write the section."
                raise ClientError(f"section [{service}] holds no password", advice)
            return held.password
    raise PgheraldError(
        f"No service file has a section [{service}]",
        "`pgherald status` shows the databases; `pgherald check` writes their sections.",
    )


def _by_login(config: Config, host: str, port: int, user: str, dbname: str) -> Secret:
    for path, text in _texts(config, "pgpass", "--service"):
        with _named(path):
            found = pgpass.lookup(text, host, port, dbname, user)
        if found is not None:
            return found
    raise PgheraldError(
        f"No line of pgpass fits host {host}, port {port} and user {user}",
        "A rotation may have changed them: `pgherald check` brings pgpass up to date.",
    )


@contextlib.contextmanager
def _named(path: Path) -> Iterator[None]:
    """Editors do not know whose text they read; a person wants to."""
    try:
        yield
    except ClientError as exc:
        raise exc.at(path) from None


def _texts(config: Config, kind: str, other: str) -> Iterator[tuple[Path, bytes]]:
    """Each file of a kind of client; `other` is the way to ask without one."""
    paths = [client.path for client in config.clients if client.kind == kind]
    if not paths:
        raise PgheraldError(
            f"The configuration has no [clients.{kind}]",
            f"Add that section and run `pgherald check`, or ask by {other}.",
        )
    files = Files(config.state_dir / "locks")
    for path in paths:
        yield path, files.read(path).content or b""
