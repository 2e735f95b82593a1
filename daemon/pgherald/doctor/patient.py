"""What is looked at, and in which order it is told."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from functools import partial
from typing import Final

from pgherald.config import Config
from pgherald.config.places import program_version
from pgherald.daemon.wiring import Outside, clients_of, files_of
from pgherald.doctor import account, daemon, environment, files, logins, pgadmin
from pgherald.doctor.checks import Check
from pgherald.service.manager import Manager
from pgherald.service.steps import Programs
from pgherald.sync.plan import Client
from pgherald.sync.servers import RowMemory

#: Seconds: two requests to Heroku, and perhaps a program that gives the token.
_ACCOUNT_LIMIT: Final = 60.0

#: Seconds: systemctl and loginctl.
_SERVICE_LIMIT: Final = 20.0


@dataclass(frozen=True, slots=True)
class Patient:
    """Everything that is looked at.

    Attributes:
        config: the configuration.
        outside: the world.
        manager: the platform's service manager.
        programs: runs its programs.
        offline: whether neither Heroku nor Postgres is asked.
        platform: as in `sys.platform`.
    """

    config: Config
    outside: Outside
    manager: Manager
    programs: Programs
    offline: bool = False
    platform: str = sys.platform

    def checks(self) -> list[Check]:
        """All checks, in the order in which their findings are told."""
        clients = self.clients()
        return [
            *self._heroku(),
            *self._logins(clients),
            *self._local(clients),
            *self._pgadmin(clients),
            Check(
                "Daemon",
                "service",
                lambda: daemon.service(self.config, self.manager, self.programs),
                _SERVICE_LIMIT,
            ),
            Check("Daemon", "troubles", lambda: daemon.troubles(self.config)),
            Check(
                "Notices",
                "notifications",
                partial(daemon.notifications, self.config, self.outside, self.platform),
            ),
        ]

    def clients(self) -> tuple[Client, ...]:
        """The configured clients."""
        return clients_of(self.config, RowMemory(files_of(self.config), self.config.state_dir))

    def _heroku(self) -> list[Check]:
        if self.offline:
            return []
        return [
            Check("Heroku", "route", lambda: account.route(self.outside)),
            *(
                Check(
                    "Heroku",
                    f"token:{each.name}",
                    partial(account.token, each, self.outside, self.platform),
                    _ACCOUNT_LIMIT,
                )
                for each in self.config.accounts
            ),
        ]

    def _logins(self, clients: tuple[Client, ...]) -> list[Check]:
        if self.offline:
            return []
        look = partial(logins.logins, self.config, self.outside, files_of(self.config), clients)
        return [Check("Databases", "logins", look, logins.TIME_LIMIT)]

    def _local(self, clients: tuple[Client, ...]) -> list[Check]:
        reader = files_of(self.config)
        return [
            Check("Files", "configuration", lambda: files.configuration(self.config)),
            *(
                Check("Files", f"client:{client.path}", partial(files.client, client, reader))
                for client in clients
                if client.rows is None
            ),
            Check("Files", "state", lambda: files.state(self.config)),
            Check(
                "Files",
                "environment",
                lambda: environment.variables(self.outside.env, self.config.clients),
            ),
        ]

    def _pgadmin(self, clients: tuple[Client, ...]) -> list[Check]:
        kept = [client for client in clients if client.rows is not None]
        if not kept:
            return []
        program = program_version(self.outside.env, self.platform)
        return [
            *(
                Check("pgAdmin", f"servers:{c.path}", partial(pgadmin.servers, c, program))
                for c in kept
            ),
            Check("pgAdmin", "surroundings", lambda: pgadmin.surroundings(clients)),
        ]
