"""Builds everything from a configuration, and takes it down again."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

from pgherald.aio import on_loop
from pgherald.clock import Clock
from pgherald.config import Config
from pgherald.daemon.status import STATUS_FILE
from pgherald.errors import ClientError, StoreError
from pgherald.files import Files
from pgherald.files.locks import DAEMON_LOCK
from pgherald.files.own import DAMAGED
from pgherald.heroku.account import Account
from pgherald.heroku.api import HerokuApi
from pgherald.heroku.budget import Budget, Ledger
from pgherald.heroku.discovery import Discovery
from pgherald.heroku.host import HerokuHost
from pgherald.heroku.network import shared_trust
from pgherald.heroku.poller import Poller
from pgherald.heroku.tokens import token_source
from pgherald.heroku.watched import Watched
from pgherald.model import About, DatabaseKey, News, Phase, Subject
from pgherald.notify.hooks import subjects_of
from pgherald.store import BackgroundStore
from pgherald.sync.alerts import Alerts, forget_damage
from pgherald.sync.apply import Applier
from pgherald.sync.manifest import OWNERSHIP
from pgherald.sync.names import learn
from pgherald.sync.probe import PostgresProber, Prober
from pgherald.sync.reconciler import Reconciler
from pgherald.sync.recorder import Recorder
from pgherald.sync.targets import Target, Wishes, clients_of, journaled, storage_folders
from pgherald.sync.transaction import Transactions
from pgherald.sync.verification import MAX_AGE
from pgherald.watch import pgadmin_process

if TYPE_CHECKING:
    import httpx


#: Seconds that a start waits for the state file.
_START_LIMIT: Final = 2.0


@dataclass(frozen=True, slots=True)
class Outside:
    """What is needed from outside, handed in so that a test can hand in its own.

    Attributes:
        env: the environment.
        home: the home folder.
        clock: tells the time and waits.
        transport: carries HTTP; None for the real network.
        prober: proves logins; None for real connections.
    """

    env: Mapping[str, str]
    home: Path
    clock: Clock
    transport: httpx.AsyncBaseTransport | None = None
    prober: Prober | None = None


@dataclass(frozen=True, slots=True)
class State:
    """The state folder: what outlives a configuration.

    Attributes:
        files: the one reader and writer of files.
        store: state and history.
        committer: makes several writes one.
    """

    files: Files
    store: BackgroundStore
    committer: Transactions


@dataclass(frozen=True, slots=True)
class Machinery:
    """Everything that one configuration needs, wired."""

    clients: tuple[Target, ...]
    store: BackgroundStore
    applier: Applier
    reconciler: Reconciler
    poller: Poller


def files_of(config: Config) -> Files:
    """The reader and writer of files; its locks lie in the state folder."""
    return Files(config.state_dir / "locks", ours=storage_folders(config))


@contextlib.contextmanager
def state_of(config: Config, clock: Clock) -> Iterator[State]:
    """Open the state folder, and finish what a killed pgherald left half done.

    Raises:
        FileTrouble: the folder cannot be used.
        StoreError: the state file cannot be used.
    """
    files = files_of(config)
    files.private_folder(config.state_dir)
    committer = Transactions(files, config.state_dir / "commits", clock, journaled(config))
    committer.recover()
    sweep(config, files)
    with BackgroundStore.open(config.state_dir / "state.db", files) as store:
        store.claim(config.path)
        yield State(files, store, committer)


@contextlib.asynccontextmanager
async def accounts_of(
    config: Config, outside: Outside, store: BackgroundStore | None = None
) -> AsyncIterator[tuple[Watched, ...]]:
    """Build the accounts; at the end close their connections.

    Args:
        config: which accounts.
        outside: environment, clock, network.
        store: keeps what they cost; None where there is no state yet.

    Raises:
        UnsafeHost: HEROKU_HOST names a stranger.
        ConfigError: a token source cannot be used.
    """
    host = HerokuHost.from_env(outside.env)
    trust = shared_trust()
    async with contextlib.AsyncExitStack() as stack:
        watched: list[Watched] = []
        for setting in config.accounts:
            source = token_source(setting.token, host, outside.env, outside.home)
            api = HerokuApi(
                host,
                source,
                clock=outside.clock,
                budget=Budget(outside.clock, setting.request_share),
                transport=outside.transport,
                trust=trust,
            )
            stack.push_async_callback(api.aclose)
            named = [d for d in config.databases if d.key.account == setting.name]
            rules = [rule for rule in config.discover if rule.account == setting.name]
            account = Account(
                setting.name,
                api,
                interval=config.poll_interval,
                full_sweep=config.full_sweep,
                store=store,
            )
            if store is not None:
                ledger = Ledger(setting.name, api.budget, store, outside.clock)
                await ledger.open()
                stack.callback(ledger.close)
            known = _found_before(store, setting.name)
            discovery = Discovery(account, rules, known=known) if rules else None
            watched.append(Watched(account, named, discovery, events=setting.followed))
        yield tuple(watched)


def _found_before(store: BackgroundStore | None, account: str) -> list[tuple[str, str]]:
    """What was kept of an account when the program ended, for when a rule cannot be applied."""
    known = store.recalled() if store is not None else ()
    return [
        (state.key.app, state.key.attachment)
        for state in known
        if state.key.account == account and state.phase != Phase.GONE
    ]


@contextlib.asynccontextmanager
async def machinery(
    config: Config,
    state: State,
    outside: Outside,
    *,
    alerts: Alerts,
    tell: Callable[[News], None],
    wrote: Callable[[Path], None] = lambda _: None,
    wishes: Wishes | None = None,
    told_at_once: bool = True,
    max_age: timedelta = MAX_AGE,
) -> AsyncIterator[Machinery]:
    """Build everything but what runs by itself; at the end stop and close it.

    `told_at_once` is as for `Recorder`, `max_age` as for `Reconciler`.

    Raises:
        UnsafeHost: HEROKU_HOST names a stranger.
        ConfigError: a token source cannot be used.
    """
    async with accounts_of(config, outside, state.store) as watched:
        clients = clients_of(config, state.files, wishes)
        await _forget_strangers(config, clients, state.store, alerts)
        forget_damage(state.store, alerts, outside.clock)
        begun_anew = partial(_begun_anew, alerts)
        state.store.on_afresh = on_loop(begun_anew)
        if state.store.afresh is not None:
            begun_anew(state.store.afresh)
        recorder = Recorder(
            clients=clients,
            committer=state.committer,
            store=state.store,
            clock=outside.clock,
            tell=tell,
            pgadmin_runs=pgadmin_process.runs,
            told_at_once=told_at_once,
        )
        await recorder.resume()
        applier = Applier(
            clients=clients,
            files=state.files,
            committer=state.committer,
            recorder=recorder,
            store=state.store,
            clock=outside.clock,
            alerts=alerts,
            wrote=wrote,
        )
        reconciler = Reconciler(
            applier=applier,
            recorder=recorder,
            prober=outside.prober or PostgresProber(outside.clock),
            store=state.store,
            alerts=alerts,
            clock=outside.clock,
            max_age=max_age,
        )
        names = partial(learn, state.files, clients, outside.env)
        poller = Poller(watched, reconciler, alerts, outside.clock, names)
        reconciler.refused = poller.reread
        try:
            yield Machinery(clients, state.store, applier, reconciler, poller)
        finally:
            state.store.on_afresh = None
            await poller.stop()


def _begun_anew(alerts: Alerts, damage: StoreError) -> None:
    """The state file was damaged, and a new one knows nothing of what does not work."""
    alerts.keep_anew()
    alerts.fire(Subject(About.STORE), "state file", damage)


async def _forget_strangers(
    config: Config, clients: Sequence[Target], store: BackgroundStore, alerts: Alerts
) -> None:
    """Let go of the state of what the configuration no longer has. Its history stays."""
    named = {database.key for database in config.databases}
    searched = {rule.account for rule in config.discover}
    subjects = {client.subject for client in clients}
    for account in config.accounts:
        kinds = (About.ACCOUNT, About.LOGIN, About.BUDGET, About.EXPIRY)
        subjects |= {Subject(about, account.name) for about in kinds}
    subjects |= {Subject(About.DISCOVERY, account) for account in searched}
    subjects |= subjects_of(config.hooks)
    subjects |= {Subject(About.COMMIT), Subject(About.STORE), Subject(About.PGADMIN)}

    def keeps(key: DatabaseKey) -> bool:
        return key in named or key.account in searched

    def concerns(subject: Subject) -> bool:
        key = subject.database
        # "config" is left out: the configuration at hand could be read.
        return keeps(key) if key is not None else subject in subjects

    alerts.keep_only(concerns)
    with contextlib.suppress(StoreError):  # it can wait for the next start
        known = await asyncio.to_thread(store.ask, lambda file: file.databases(), _START_LIMIT)
        for state in known:
            if not keeps(state.key):
                store.forget(state.key)


# --- the state folder: what is called how, and what a kill leaves beside it ---------------------

#: A folder in which nothing else changes, so that watching it costs nothing.
_REFRESH: Final = "refresh"

#: All that pgherald makes in its state folder. The person may have chosen a folder of theirs.
_NAMES: Final = (
    "state.db",
    OWNERSHIP,
    STATUS_FILE,
    "commits",
    "locks",
    _REFRESH,
    DAEMON_LOCK,
    f"{DAEMON_LOCK}.pid",
    "pgherald.log",
    "pgherald-task.xml",
)

#: What may follow such a name: SQLite keeps things beside its files, and some are set aside.
_SUFFIXES: Final = re.compile(rf"(-journal|-wal|-shm|\.old|{re.escape(DAMAGED)})*")


def is_own(name: str) -> bool:
    """Whether something of that name in the state folder is pgherald's."""
    return any(
        name.startswith(own) and _SUFFIXES.fullmatch(name[len(own) :]) is not None for own in _NAMES
    )


def request_of(state_dir: Path) -> Path:
    """The file by which `pgherald refresh` asks the running daemon: no signal is on all systems.

    The answer is a note in the state.
    """
    return state_dir / _REFRESH / "asked"


def sweep(config: Config, files: Files) -> None:
    """Delete the temporary files that a killed pgherald left beside all that it writes.

    Those of a file that another pgherald is writing at this moment are left to it.
    """
    paths = [config.state_dir / name for name in _NAMES]
    records = config.state_dir / OWNERSHIP
    with contextlib.suppress(ClientError):
        paths += [records / name for name in files.names(records) if name.endswith(".json")]
    paths += [config.path, *(client.path for client in config.clients)]
    paths += [config.metrics_file] if config.metrics_file is not None else []
    for path in paths:
        with contextlib.suppress(ClientError), files.lock(path, limit=0):
            # Content is written beside what a link leads to; of pgherald's own, beside the link.
            for target in {path, Path(os.path.realpath(path))}:
                files.sweep(target)
