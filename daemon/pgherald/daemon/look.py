"""Asks Heroku once, and changes nothing: for a plan, and before there is a configuration."""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Final, TypeVar

from pgherald.config import Config, DiscoverRule, TokenSpec
from pgherald.daemon.wiring import Outside, accounts_of, files_of
from pgherald.errors import (
    HerokuError,
    PgheraldError,
)
from pgherald.heroku.account import Account
from pgherald.heroku.api import HerokuApi
from pgherald.heroku.budget import peek
from pgherald.heroku.discovery import Discovery, Found
from pgherald.heroku.host import HerokuHost
from pgherald.heroku.poller import Poller
from pgherald.heroku.tokens import token_source
from pgherald.heroku.watched import Sightings
from pgherald.model import About, AlertSink, Database, Entry, Sighting, Subject
from pgherald.store import BackgroundStore, Store
from pgherald.sync.names import learn
from pgherald.sync.targets import clients_of

T = TypeVar("T")

#: Apps whose config vars `survey` reads, beside those that are named in full.
_MOST: Final = 200


@dataclass(frozen=True, slots=True)
class Looked:
    """What Heroku showed.

    Attributes:
        entries: what the clients should hold.
        failures: what Heroku did not show, by subject.
    """

    entries: Sequence[Entry]
    failures: Mapping[Subject, PgheraldError]


class _Gathers(Sightings, AlertSink):
    """Keeps sightings, and why there are none; the poller keeps what concerns an account."""

    def __init__(self) -> None:
        self.entries: list[Entry] = []
        self.errors: dict[Subject, PgheraldError] = {}

    def sighted(self, sightings: Iterable[tuple[Database, Sighting]]) -> None:
        self.entries.extend(Entry(database, seen.login) for database, seen in sightings)

    def absent(self, database: Database, error: PgheraldError) -> None:
        self.errors[Subject(About.DATABASE, database.key)] = error


async def look(
    config: Config,
    outside: Outside,
    began: Callable[[Poller], None] = lambda _: None,
    *,
    counts: bool = True,
) -> Looked:
    """Ask Heroku about every database, once.

    Args:
        config: which databases.
        outside: environment, clock, network.
        began: is given the poller, which says how far it is.
        counts: whether the state file keeps what the requests cost; else it is only read.

    Raises:
        UnsafeHost: HEROKU_HOST names a stranger.
        ConfigError: a token source cannot be used.
    """
    gathered = _Gathers()
    with contextlib.ExitStack() as stack:
        store = _state(config, writes=counts)
        if store is not None:
            stack.enter_context(store)
        kept = store if isinstance(store, BackgroundStore) else None
        files = files_of(config)
        clients = clients_of(config, files)
        names = partial(learn, files, clients, outside.env)
        async with accounts_of(config, outside, kept) as accounts:
            if store is not None and kept is None:
                for watched in accounts:
                    account = watched.account
                    account.identity.recall(store.notes())
                    peek(account.name, account.api.budget, store.notes(), outside.clock)
            poller = Poller(accounts, gathered, gathered, outside.clock, names)
            began(poller)
            poller.sweep()
            await poller.finished()
            await poller.stop()
    return Looked(
        sorted(gathered.entries, key=lambda entry: entry.key), gathered.errors | poller.errors
    )


def _state(config: Config, *, writes: bool) -> Store | None:
    """The state file, for the count of requests alone. None is made, and none moved aside."""
    path = config.state_dir / "state.db"
    try:
        known = Store.read_only(path)
        if known is None or not writes:
            return known
        with known:
            known.verify()
        return BackgroundStore.open(path, files_of(config))
    except PgheraldError:
        return None


@dataclass(frozen=True, slots=True)
class Survey:
    """What a Heroku account has.

    Attributes:
        source: where the token came from, as a person calls it; never the token.
        email: whose account it is; empty where the token may not tell.
        found: its databases, sorted.
        warnings: sentences about the token's source, and about what was not read.
        teams: the apps of each team that was asked for.
        refused: why an app's config vars could not be read, by app.
    """

    source: str
    email: str
    found: tuple[Found, ...]
    warnings: tuple[str, ...]
    teams: Mapping[str, frozenset[str]]
    refused: Mapping[str, HerokuError] = field(default_factory=dict)


async def survey(
    token: TokenSpec,
    outside: Outside,
    named: Sequence[str] = (),
    teams: Collection[str] = (),
    apps: Sequence[str] = (),
) -> Survey:
    """Find the login, and everything that it shows. Reads only.

    Args:
        token: where the token comes from.
        outside: the world.
        named: names of attachments to find beside the usual ones: connection pools are found
            by their very name alone.
        teams: teams whose apps are to be told.
        apps: patterns of apps that are read before others.

    Raises:
        LoginRequired: there is no token, or Heroku does not accept it.
        HerokuError: Heroku could not be asked.
        MissingTool: the source lacks something.
        ConfigError: there is no such source.
    """
    host = HerokuHost.from_env(outside.env)
    source = token_source(token, host, outside.env, outside.home)
    api = HerokuApi(host, source, clock=outside.clock, transport=outside.transport)
    try:
        # A token that may only read what is needed may not ask whose account it is.
        email = await _unless_refused(api.account(), "")
        includes = (tuple(apps), ("*",))
        rules = [DiscoverRule(include=each, attachments=("*", *named)) for each in includes]
        rules = [rule for rule in rules if rule.include]
        discovery = Discovery(Account(source.name, api), rules, most=_MOST)
        await discovery.discover()
        # That a team is not to be seen is said by a sweep.
        shown = {team: await _unless_refused(api.apps(team), []) for team in teams}
        names = {team: frozenset(app.name for app in apps) for team, apps in shown.items()}
        warnings = source.warnings
        if left := len(discovery.unread - discovery.refused.keys()):
            warnings += (f"The config vars of {left} apps were not read: name these with --app.",)
        return Survey(source.name, email, discovery.found, warnings, names, discovery.refused)
    finally:
        await api.aclose()


async def _unless_refused(question: Awaitable[T], otherwise: T) -> T:
    try:
        return await question
    except HerokuError:  # what concerns more than this question is said by the next one
        return otherwise
