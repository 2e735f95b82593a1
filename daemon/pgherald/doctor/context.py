"""What the doctor checks, and the order in which it shows the findings."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from functools import partial
from typing import Final

from pgherald.config import Config
from pgherald.config.paths import program_version
from pgherald.daemon.wiring import Outside, files_of
from pgherald.doctor import clients, heroku, machine
from pgherald.doctor.checks import Check
from pgherald.service.manager import Manager, Programs
from pgherald.sync.targets import Target, clients_of, pgadmins

#: Seconds: two requests to Heroku, and perhaps a program that gives the token.
_ACCOUNT_LIMIT: Final = 60.0

#: Seconds for all databases together; Heroku and Postgres have limits of their own for each.
_LOGINS_LIMIT: Final = 120.0

#: Seconds: systemctl and loginctl.
_SERVICE_LIMIT: Final = 20.0


@dataclass(frozen=True, slots=True)
class Context:
    """Everything the checks need.

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

    def clients(self) -> tuple[Target, ...]:
        """The configured clients."""
        return clients_of(self.config, files_of(self.config))

    def checks(self) -> list[Check]:
        """All checks, in the order in which their findings are shown."""
        config, outside, files = self.config, self.outside, files_of(self.config)
        kept = self.clients()
        databases = pgadmins(kept)
        checks = [] if self.offline else self._online(kept)
        checks.append(Check("Files", "configuration", partial(machine.configuration, config)))
        checks += [
            Check("Files", f"client:{c.path}", partial(clients.text_file, c, files))
            for c in kept
            if c not in databases
        ]
        # As it is before a prober takes something out of it.
        variables = partial(clients.variables, dict(outside.env), config.clients)
        checks.append(Check("Files", "state", partial(machine.state, config)))
        checks.append(Check("Files", "environment", variables))
        if databases:
            program = program_version(outside.env, self.platform)
            checks += [
                Check("pgAdmin", f"servers:{c.path}", partial(clients.servers, c, files, program))
                for c in databases
            ]
            checks.append(Check("pgAdmin", "surroundings", partial(clients.surroundings, kept)))
        service = partial(machine.service, config, self.manager, self.programs)
        notices = partial(machine.notifications, config, outside, self.platform)
        return [
            *checks,
            Check("Daemon", "service", service, _SERVICE_LIMIT),
            Check("Daemon", "troubles", partial(machine.alerts, config)),
            Check("Notices", "notifications", notices),
        ]

    def _online(self, kept: tuple[Target, ...]) -> list[Check]:
        outside, platform = self.outside, self.platform
        logins = partial(heroku.logins, self.config, outside, files_of(self.config), kept)
        return [
            Check("Heroku", "route", partial(heroku.route, outside)),
            *(
                Check(
                    "Heroku",
                    f"token:{account.name}",
                    partial(heroku.token, account, outside, platform),
                    _ACCOUNT_LIMIT,
                )
                for account in self.config.accounts
            ),
            Check("Databases", "logins", logins, _LOGINS_LIMIT),
        ]
