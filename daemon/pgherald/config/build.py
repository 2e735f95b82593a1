"""From the file's tables to `Config`: what one key says about another."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Hashable, Iterator, Mapping
from typing import Any, Final

from pgherald import libpq
from pgherald.config import paths, schema, values
from pgherald.config.tables import Place, Problem, parts
from pgherald.model import DEFAULT_ACCOUNT, Database, DatabaseKey

#: Seconds. Heroku allows each account 4,500 requests an hour.
MIN_POLL: Final = 5.0
#: Seconds; for a simulator on this machine.
MIN_POLL_HERE: Final = 0.2
#: Seconds; one day.
MAX_POLL: Final = 86_400.0

#: How the passfile of host rows is called.
PASSFILE: Final = "pgAdmin's passfile"

_HOST_ROWS_ALONE: Final = 'has a meaning only with rows = "host": a service holds its password'


class Builder:
    """Builds the configuration and notes what does not fit together.

    Tables that are None had a problem of their own, and are left out.

    Args:
        root: the tables.
        data: what `tomllib` gave; tells what was written, be it right or wrong.
        here: what paths and limits depend on.

    Attributes:
        problems: what was found so far.
    """

    def __init__(
        self, root: schema.Root, data: Mapping[str, Any], here: paths.Surroundings
    ) -> None:
        self._root = root
        self._data = data
        self._here = here
        self.problems: list[Problem] = []

    def build(self) -> schema.Config:
        """The configuration; good for use only when there are no problems."""
        root, here = self._root, self._here
        self._check_presence()
        self._check_poll_interval()
        accounts = tuple(self._accounts())
        metrics = root.metrics.textfile if root.metrics else None
        return schema.Config(
            path=here.file,
            poll_interval=root.poll_interval,
            full_sweep=root.full_sweep,
            state_dir=here.state_dir(root.state_dir),
            log_level=root.log_level,
            accounts=accounts,
            databases=tuple(self._databases(accounts)),
            discover=tuple(self._discover(accounts)),
            clients=tuple(self._clients()),
            notifications=root.notifications or schema.Notifications(),
            metrics_file=None if metrics is None else here.path(metrics),
            hooks=tuple(hook for hook in root.hooks if hook is not None),
        )

    def _wrong(self, place: Place, message: str, other: Place | None = None) -> None:
        self.problems.append(Problem(place, message, other))

    def _once(
        self, seen: dict[Hashable, Place], what: Hashable, place: Place, message: str
    ) -> bool:
        """Whether this is here for the first time; if not, that is a problem."""
        if first := seen.get(what):
            self._wrong(place, message, first)
        return seen.setdefault(what, place) is place

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

    def _check_poll_interval(self) -> None:
        least = MIN_POLL_HERE if self._here.heroku_is_here else MIN_POLL
        if not least <= self._root.poll_interval <= MAX_POLL:  # so that "nan" fails too
            self._wrong(
                ("poll_interval",),
                f"poll_interval must be at least {least:g} seconds, to spare Heroku's hourly "
                "allowance of requests, and at most 24 hours",
            )

    def _client_kinds(self) -> list[str]:
        """The kinds of client that the file names, rightly or wrongly."""
        written = self._data.get("clients", {})
        if not isinstance(written, Mapping):
            return ["?"]  # a problem of its own
        return [kind for kind, tables in written.items() if tables != []]

    def _accounts(self) -> Iterator[schema.Account]:
        tables = self._root.accounts
        if not self._data.get("accounts"):
            only = self._root.heroku or schema.HerokuTable()
            settings = {field.name: getattr(only, field.name) for field in dataclasses.fields(only)}
            tables = (schema.Account(name=DEFAULT_ACCOUNT, **settings),)
        seen: dict[Hashable, Place] = {}
        for index, table in enumerate(tables):
            if table is None:
                continue
            message = f'there are two accounts named "{table.name}"'
            self._once(seen, table.name, ("accounts", index, "name"), message)
            token = table.token
            if token.kind is values.TokenKind.FILE and not self._here.is_credential(token.argument):
                token = dataclasses.replace(token, argument=str(self._here.path(token.argument)))
            yield dataclasses.replace(table, token=token)

    def _account_name(self, named: str, place: Place, accounts: tuple[schema.Account, ...]) -> str:
        """The account that a table belongs to; `named` is empty where it does not say."""
        names = list(dict.fromkeys(account.name for account in accounts))
        if "accounts" in self._data and (not accounts or None in self._root.accounts):
            # Some names could not be read, so nothing certain can be said about this one.
            return named or DEFAULT_ACCOUNT
        if not named and len(names) > 1:
            self._wrong(place, f"account is missing: there are several, {values.quoted(names)}")
        elif named and named not in names:
            self._wrong(
                (*place, "account"),
                f'there is no account "{named}"; it can be {values.quoted(names)}'
                f"{values.suggestion(named, names)}",
            )
        return named or names[0]

    def _databases(self, accounts: tuple[schema.Account, ...]) -> Iterator[Database]:
        keys: dict[Hashable, Place] = {}
        services: dict[Hashable, Place] = {}
        for index, table in enumerate(self._root.databases):
            if table is None:
                continue
            place: Place = ("databases", index)
            account = self._account_name(table.account, place, accounts)
            key = DatabaseKey(account, table.app, table.attachment)
            service = table.service or schema.default_service(table.app, table.attachment)
            taken = f'the service name "{service}" is taken: give one of the two another `service`'
            if self._once(keys, key, place, f"{key} is here twice"):
                self._once(services, service, (*place, "service"), taken)
            yield Database(
                key=key,
                name=table.name or schema.default_name(table.app, table.attachment),
                group=table.group,
                service=service,
                probe=table.probe,
                sslmode=table.sslmode,
                require_auth=table.require_auth,
                sslrootcert=self._root_certificate(table, place),
                host=table.host,
                port=table.port,
            )

    def _root_certificate(
        self, table: schema.DatabaseTable | schema.DiscoverRule, place: Place
    ) -> str | None:
        """Libpq's `sslrootcert`: a path, `system`, or for "none" one that names no file."""
        named = table.sslrootcert
        if named == libpq.SYSTEM and table.sslmode != "verify-full":
            self._wrong(
                (*place, "sslrootcert"),
                'sslrootcert = "system" goes with sslmode = "verify-full" alone',
            )
        if named == "none" and table.sslmode.startswith("verify-"):
            self._wrong(
                (*place, "sslrootcert"),
                f'sslrootcert = "none" leaves sslmode = "{table.sslmode}" nothing to verify by',
            )
        known = {None: None, libpq.SYSTEM: libpq.SYSTEM, "none": libpq.NOWHERE}
        return known[named] if named in known else str(self._here.path(str(named)))

    def _discover(self, accounts: tuple[schema.Account, ...]) -> Iterator[schema.DiscoverRule]:
        for index, rule in enumerate(self._root.discover):
            if rule is not None:
                place: Place = ("discover", index)
                account = self._account_name(rule.account, place, accounts)
                root = self._root_certificate(rule, place)
                yield dataclasses.replace(rule, account=account, sslrootcert=root)

    def _clients(self) -> Iterator[schema.ClientSetting]:
        files: dict[Hashable, Place] = {}
        for place, setting in self._client_settings():
            same = os.path.normcase(os.path.realpath(setting.path))
            self._once(files, same, place, f"two clients write to {setting.path}")
            yield setting

    def _client_settings(self) -> Iterator[tuple[Place, schema.ClientSetting]]:
        """Each client's file with the place of its path."""
        for kind in parts(schema.ClientsTable):
            for index, table in enumerate(getattr(self._root.clients, kind)):
                if table is None:
                    continue
                several = isinstance(self._data["clients"][kind], list)
                place: Place = ("clients", kind, *([index] if several else []))
                if isinstance(table, schema.PgAdminTable):
                    settings = list(self._pgadmin(table, place))
                elif isinstance(table, schema.ServersJsonTable):
                    settings = [self._servers_json(table, place)]
                else:
                    settings = [schema.ClientSetting(kind, self._here.client(table))]
                yield from (((*place, "path"), setting) for setting in settings)

    def _servers_json(self, table: schema.ServersJsonTable, place: Place) -> schema.ClientSetting:
        if table.rows is schema.Rows.SERVICE:
            self._check_service_rows(place, "passfile", table.passfile)
        passfile = None if table.passfile is None else self._here.expand(table.passfile)
        return schema.ClientSetting("servers_json", self._here.client(table), table.rows, passfile)

    def _pgadmin(self, table: schema.PgAdminTable, place: Place) -> Iterator[schema.ClientSetting]:
        """A pgAdmin, or all there are; each with its user's passfile, if it needs one."""
        rows = table.rows or (schema.Rows.SERVICE if table.user is None else schema.Rows.HOST)
        if rows is schema.Rows.SERVICE:
            self._check_service_rows(place, "storage", table.storage)
        elif table.user is None:
            self._wrong(place, 'rows = "host" needs `user`, whose storage folder has the passfile')
        for found in self._here.pgadmin(table.path):
            if found.trouble is not None:
                yield schema.ClientSetting("pgadmin", found.path, rows, trouble=found.trouble)
                continue
            if rows is schema.Rows.HOST and table.user is not None:
                storage = self._here.path(table.storage or str(found.path.parent / "storage"))
                passfile = storage / paths.storage_name(table.user) / ".pgpass"
                yield schema.ClientSetting("pgpass", passfile, label=PASSFILE)
            yield schema.ClientSetting(
                "pgadmin", found.path, rows, "/.pgpass", table.user, auth_source=table.auth_source
            )

    def _check_service_rows(self, place: Place, name: str, value: str | None) -> None:
        """Service rows are of no use without what they point into; one key is not for them."""
        if "service_file" not in self._client_kinds():
            self._wrong(
                place,
                'rows = "service" points into a service file: add [clients.service_file], '
                'or write rows = "host"',
            )
        if value is not None:
            self._wrong((*place, name), f"{name} {_HOST_ROWS_ALONE}")
