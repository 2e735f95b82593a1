"""From the tables of `schema` to `Config`: what one key says about another."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Hashable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from pgherald.config import places, settings
from pgherald.config.client_tables import (
    ClientsTable,
    ClientTable,
    PgAdminTable,
    ServersJsonTable,
)
from pgherald.config.lines import Place
from pgherald.config.meta import parts
from pgherald.config.schema import (
    AccountTable,
    DatabaseTable,
    DiscoverTable,
    HerokuTable,
    Root,
)
from pgherald.config.settings import (
    Account,
    ClientSetting,
    Config,
    DiscoverRule,
    Hook,
    Notifications,
    Rows,
    TokenKind,
    TokenSpec,
)
from pgherald.config.structure import Problem
from pgherald.config.surroundings import Surroundings
from pgherald.config.telling import NotificationsTable
from pgherald.config.values import quoted, suggestion
from pgherald.model import DEFAULT_ACCOUNT, Database, DatabaseKey

#: Seconds. Heroku allows each account 4,500 requests an hour.
MIN_POLL: Final = 5.0
#: Seconds; for a simulator on this machine.
MIN_POLL_HERE: Final = 0.2
#: Seconds; one day.
MAX_POLL: Final = 86_400.0
#: Seconds that a hook may be given.
MAX_HOOK: Final = 3600.0

#: How the passfile of host rows is called.
PASSFILE: Final = "pgAdmin's passfile"


class Builder:
    """Builds the configuration and notes what does not fit together.

    Tables that are None had a problem of their own, and are left out.

    Attributes:
        problems: what was found so far.
    """

    def __init__(self, root: Root, data: Mapping[str, Any], here: Surroundings) -> None:
        """Take the file's tables.

        Args:
            root: the tables.
            data: what `tomllib` gave; tells what was written, be it right or wrong.
            here: what paths and limits depend on.
        """
        self._root = root
        self._data = data
        self._here = here
        self.problems: list[Problem] = []

    def build(self) -> Config:
        """The configuration; good for use only when there are no problems."""
        self._check_presence()
        accounts = self._accounts()
        root = self._root
        told = root.notifications or NotificationsTable()
        return Config(
            path=self._here.file,
            poll_interval=self._poll_interval(),
            full_sweep=self._full_sweep(),
            state_dir=self._here.state_dir(root.state_dir),
            log_level=root.log_level,
            accounts=accounts,
            databases=tuple(self._databases(accounts)),
            discover=tuple(self._discover(accounts)),
            clients=tuple(self._clients()),
            notifications=Notifications(
                told.desktop, told.terminals, told.urls, told.level, told.quiet
            ),
            metrics_file=self._metrics_file(),
            hooks=tuple(self._hooks()),
        )

    def _wrong(self, place: Place, message: str, other: Place | None = None) -> None:
        self.problems.append(Problem(place, message, other))

    def _check_presence(self) -> None:
        """What has to be there, or must not be there together."""
        data = self._data
        if not data.get("databases") and not data.get("discover"):
            self._wrong((), "there is no database: add [[databases]] or [[discover]]")
        if not self._client_kinds():
            self._wrong(
                (),
                "there is no client, so nothing would be kept up to date: "
                "add [clients.service_file], for a start",
            )
        if "heroku" in data and data.get("accounts"):
            self._wrong(
                ("heroku",),
                "[heroku] and [[accounts]] exclude each other: make this one of [[accounts]] too",
                ("accounts",),
            )

    def _client_kinds(self) -> list[str]:
        """The kinds of client that the file names, rightly or wrongly."""
        written = self._data.get("clients", {})
        if not isinstance(written, Mapping):
            return ["?"]  # a problem of its own
        return [kind for kind, tables in written.items() if tables != []]

    def _poll_interval(self) -> float:
        seconds = self._root.poll_interval
        least = MIN_POLL_HERE if self._here.heroku_is_here else MIN_POLL
        if not least <= seconds <= MAX_POLL:  # so that "nan" fails too
            self._wrong(
                ("poll_interval",),
                f"poll_interval must be at least {least:g} seconds, to spare Heroku's hourly "
                "allowance of requests, and at most 24 hours",
            )
        return seconds

    def _full_sweep(self) -> float:
        seconds = self._root.full_sweep
        if not 0 < seconds <= MAX_POLL:
            self._wrong(
                ("full_sweep",), "full_sweep must be more than no time, and at most 24 hours"
            )
        return seconds

    def _accounts(self) -> tuple[Account, ...]:
        if not self._data.get("accounts"):
            return (self._made_account(DEFAULT_ACCOUNT, self._root.heroku or HerokuTable()),)
        accounts: dict[str, Account] = {}
        seen: dict[Hashable, Place] = {}
        for index, table in enumerate(self._root.accounts):
            if table is None:
                continue
            place = ("accounts", index, "name")
            if table.name in seen:
                self._wrong(place, f'there are two accounts named "{table.name}"', seen[table.name])
            seen.setdefault(table.name, place)
            accounts[table.name] = self._made_account(table.name, table)
        return tuple(accounts.values())

    def _made_account(self, name: str, table: HerokuTable | AccountTable) -> Account:
        events = table.events_limit if table.events else 0
        return Account(name, self._token(table.token), table.request_share, events)

    def _token(self, token: TokenSpec) -> TokenSpec:
        """The same source, with a file's path as `TokenSpec` wants it."""
        if token.kind is not TokenKind.FILE or self._here.is_credential(token.argument):
            return token
        return dataclasses.replace(token, argument=str(self._here.path(token.argument)))

    def _metrics_file(self) -> Path | None:
        table = self._root.metrics
        return None if table is None or table.textfile is None else self._here.path(table.textfile)

    def _account(
        self, table: DatabaseTable | DiscoverTable, place: Place, accounts: tuple[Account, ...]
    ) -> str:
        """The account that a table belongs to."""
        names = [account.name for account in accounts]
        if "accounts" in self._data and (not accounts or None in self._root.accounts):
            # Some names could not be read, so nothing certain can be said about this one.
            return table.account or DEFAULT_ACCOUNT
        if table.account is None and len(names) > 1:
            self._wrong(place, f"account is missing: there are several, {quoted(names)}")
        elif table.account is not None and table.account not in names:
            self._wrong(
                (*place, "account"),
                f'there is no account "{table.account}"; it can be {quoted(names)}'
                f"{suggestion(table.account, names)}",
            )
        return table.account or names[0]

    def _databases(self, accounts: tuple[Account, ...]) -> Iterator[Database]:
        keys: dict[Hashable, Place] = {}
        services: dict[Hashable, Place] = {}
        for index, table in enumerate(self._root.databases):
            if table is None:
                continue
            place: Place = ("databases", index)
            key = DatabaseKey(self._account(table, place, accounts), table.app, table.attachment)
            service = table.service or settings.default_service(table.app, table.attachment)
            if key in keys:
                self._wrong(place, f"{key} is here twice", keys[key])
            elif service in services:
                self._wrong(
                    (*place, "service"),
                    f'the service name "{service}" is taken: give one of the two another `service`',
                    services[service],
                )
            keys.setdefault(key, place)
            services.setdefault(service, place)
            yield Database(
                key=key,
                name=table.name or settings.default_name(table.app, table.attachment),
                group=table.group,
                service=service,
                probe=table.probe,
                sslmode=table.sslmode,
                require_auth=table.require_auth,
            )

    def _discover(self, accounts: tuple[Account, ...]) -> Iterator[DiscoverRule]:
        for index, table in enumerate(self._root.discover):
            if table is None:
                continue
            place: Place = ("discover", index)
            account = self._account(table, place, accounts)
            for name in ("include", "attachments"):
                if not getattr(table, name):
                    self._wrong((*place, name), f"{name} is empty, so that nothing can match")
            yield DiscoverRule(
                account=account,
                include=table.include,
                exclude=table.exclude,
                team=table.team,
                attachments=table.attachments,
                group=table.group,
                probe=table.probe,
                sslmode=table.sslmode,
                require_auth=table.require_auth,
            )

    def _hooks(self) -> Iterator[Hook]:
        for index, table in enumerate(self._root.hooks):
            if table is None:
                continue
            if not table.command:
                self._wrong(("hooks", index, "command"), "command is empty: name a program")
            if not 0 < table.time_limit <= MAX_HOOK:  # so that "nan" fails too
                self._wrong(
                    ("hooks", index, "time_limit"),
                    "time_limit must be more than nothing, and at most one hour",
                )
            yield Hook(table.on, table.command, table.time_limit)

    def _clients(self) -> Iterator[ClientSetting]:
        files: dict[Hashable, Place] = {}
        for place, setting in self._client_settings():
            same = os.path.normcase(os.path.realpath(setting.path))
            if same in files:
                self._wrong(place, f"two clients write to {setting.path}", files[same])
            files.setdefault(same, place)
            yield setting

    def _client_settings(self) -> Iterator[tuple[Place, ClientSetting]]:
        """Each client's file with the place of its path."""
        for place, kind, table in self._client_tables():
            path = (*place, "path")
            if isinstance(table, PgAdminTable):
                yield from ((path, setting) for setting in self._pgadmin(table, place))
            elif isinstance(table, ServersJsonTable):
                yield path, self._servers_json(table, place)
            else:
                yield path, ClientSetting(kind, self._here.client(table))

    def _client_tables(self) -> Iterator[tuple[Place, str, ClientTable]]:
        for kind in parts(ClientsTable):
            for index, table in enumerate(getattr(self._root.clients, kind)):
                if table is not None:
                    several = isinstance(self._data["clients"][kind], list)
                    yield ("clients", kind, *([index] if several else [])), kind, table

    def _servers_json(self, table: ServersJsonTable, place: Place) -> ClientSetting:
        service_rows = table.rows is Rows.SERVICE
        if service_rows:
            self._check_service_file(place)
        if service_rows and table.passfile is not None:
            self._wrong(
                (*place, "passfile"),
                'passfile has a meaning only with rows = "host": a service holds its password',
            )
        passfile = None if table.passfile is None else self._here.expand(table.passfile)
        return ClientSetting("servers_json", self._here.client(table), table.rows, passfile)

    def _pgadmin(self, table: PgAdminTable, place: Place) -> Iterator[ClientSetting]:
        """A pgAdmin, or all there are; each with its user's passfile, if it needs one."""
        rows = table.rows or (Rows.SERVICE if table.user is None else Rows.HOST)
        if rows is Rows.SERVICE:
            self._check_service_file(place)
        elif table.user is None:
            self._wrong(place, 'rows = "host" needs `user`, whose storage folder has the passfile')
        if rows is Rows.SERVICE and table.storage is not None:
            self._wrong(
                (*place, "storage"),
                'storage has a meaning only with rows = "host": a service holds its password',
            )
        for database in self._here.pgadmin(table.path):
            if rows is Rows.HOST and table.user is not None:
                storage = self._here.path(table.storage or str(database.parent / "storage"))
                passfile = storage / places.storage_name(table.user) / ".pgpass"
                yield ClientSetting("pgpass", passfile, label=PASSFILE)
            yield ClientSetting("pgadmin", database, rows, "/.pgpass", table.user)

    def _check_service_file(self, place: Place) -> None:
        """Service rows are of no use without what they point into."""
        if "service_file" not in self._client_kinds():
            self._wrong(
                place,
                'rows = "service" points into a service file: add [clients.service_file], '
                'or write rows = "host"',
            )
