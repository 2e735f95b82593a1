"""The targets: what a configuration names as its clients, each behind one protocol.

No caller asks which of them it has: what differs between a text file and rows in pgAdmin's
database is a method or an attribute of `Target`.
"""

from __future__ import annotations

import dataclasses
import os
import sys
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from pgherald.clients.pgadmin import PgAdmin
from pgherald.clients.pgpass import Pgpass
from pgherald.clients.servers_json import ServersJson
from pgherald.clients.service_file import ServiceFile
from pgherald.config import ClientSetting, Config
from pgherald.config import Rows as RowKind
from pgherald.config.paths import program_version
from pgherald.files import Files
from pgherald.files.rows import Rows
from pgherald.sync.manifest import Medium
from pgherald.sync.targets.base import Fate, Target, Undo
from pgherald.sync.targets.file import FileTarget
from pgherald.sync.targets.ownership import Ownership
from pgherald.sync.targets.pgadmin import PgAdminTarget, pgadmins

__all__ = [
    "Fate",
    "FileTarget",
    "Ownership",
    "PgAdminTarget",
    "Target",
    "Undo",
    "Wishes",
    "clients_of",
    "journaled",
    "pgadmins",
    "storage_folders",
]

#: The order in which they are written. Passwords first: whoever reads a server that names only a
#: service, or only a passfile, finds the password there.
_ORDER: Final = ("pgpass", "service_file", "servers_json", "pgadmin")


@dataclass(frozen=True, slots=True)
class Wishes:
    """What a person may ask for once, beside what the configuration says.

    Attributes:
        adopt: servers in pgAdmin that were made by hand shall be kept working too.
        recreate: servers in pgAdmin that were deleted shall be there again.
    """

    adopt: bool = False
    recreate: bool = False


def clients_of(config: Config, files: Files, wishes: Wishes | None = None) -> tuple[Target, ...]:
    """The configured targets, in the order in which they are written.

    Args:
        config: names them.
        files: reads and writes the records of ownership.
        wishes: what the person asks for once.
    """
    ownership = Ownership(files, config.state_dir)
    program = program_version(os.environ, sys.platform)
    targets: list[Target] = []
    for setting in sorted(config.clients, key=lambda setting: _ORDER.index(setting.kind)):
        target = _target(setting, ownership, program, wishes or Wishes())
        if sum((o.kind, o.label) == (setting.kind, setting.label) for o in config.clients) > 1:
            target = dataclasses.replace(target, label=f"{target.label} ({setting.path})")
        targets.append(target)
    return tuple(targets)


def _target(
    setting: ClientSetting, ownership: Ownership, program: int | None, wishes: Wishes
) -> Target:
    rows: Literal["host", "service"] = "host" if setting.rows is RowKind.HOST else "service"
    if setting.kind == "pgadmin":
        asked = dataclasses.asdict(wishes)
        pgadmin = PgAdmin(
            rows, setting.passfile or "", setting.user, **asked, auth_source=setting.auth_source
        )
        label = setting.label or pgadmin.label
        trouble = setting.trouble
        return PgAdminTarget(pgadmin, setting.path, label, ownership, Rows(), program, trouble)
    editors = (Pgpass(), ServiceFile(), ServersJson(rows, setting.passfile))
    editor = next(editor for editor in editors if editor.kind == setting.kind)
    return FileTarget.of(editor, setting.path, setting.label or editor.label, ownership)


def journaled(config: Config) -> Collection[tuple[Path, Medium]]:
    """Path and medium of each target, as journals name them."""
    return {
        (setting.path.absolute(), Medium.ROWS if setting.kind == "pgadmin" else Medium.FILE)
        for setting in config.clients
    }


def storage_folders(config: Config) -> list[Path]:
    """Folders that pgAdmin makes when a user first signs in; a passfile may be there first."""
    databases = (setting.path for setting in config.clients if setting.kind == "pgadmin")
    return [database.parent / "storage" for database in databases]
