"""One sweep that changes nothing: for a plan."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from pgherald.config import Config
from pgherald.daemon.wiring import Outside, accounts_of, files_of
from pgherald.errors import PgheraldError
from pgherald.heroku.budget import peek
from pgherald.heroku.poller import Poller
from pgherald.heroku.watched import Sightings
from pgherald.model import About, AlertSink, Database, Entry, Sighting, Subject
from pgherald.store import BackgroundStore, Store
from pgherald.sync.names import learn
from pgherald.sync.targets import clients_of


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
                for watched in accounts.watched:
                    account = watched.account
                    peek(account.name, account.api.budget, store.notes(), outside.clock)
            poller = Poller(accounts.watched, gathered, gathered, outside.clock, names)
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
