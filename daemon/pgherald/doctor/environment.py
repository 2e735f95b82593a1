"""What the environment says to libpq, against what the clients' files say. Pure but for links."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

from pgherald.config import ClientSetting
from pgherald.doctor.checks import Finding, bad, good

#: Variables that beat what the files say (libpq: "Environment Variables"), and how.
_BEATS: Final = {
    "PGPASSWORD": "beats every password in pgpass",
    "PGHOST": "leads a pgAdmin that is started here to another host",
    "PGHOSTADDR": "leads programs that are started here to another address",
}

#: Variables that name a file, by the kind of client that is that file.
_NAMES: Final = {"PGSERVICEFILE": "service_file", "PGPASSFILE": "pgpass"}


def variables(env: Mapping[str, str], clients: Sequence[ClientSetting]) -> Iterator[Finding]:
    """Variables by which programs that are started here read something else."""
    fine = True
    for name, how in _BEATS.items():
        if env.get(name):
            fine = False
            yield bad(f"{name} is set here, which {how}", f"Run: unset {name}")
    for name, kind in _NAMES.items():
        kept = [client.path for client in clients if client.kind == kind]
        if env.get(name) and kept and not _is_one_of(env[name], kept):
            fine = False
            yield bad(
                f"{name} names another file than the one that is kept up to date",
                f'Run: unset {name}, or write into [clients.{kind}]: path = "{env[name]}"',
            )
    if fine:
        yield good("No variable of the environment contradicts the clients")


def _is_one_of(named: str, kept: Sequence[Path]) -> bool:
    return os.path.realpath(named) in {os.path.realpath(path) for path in kept}
