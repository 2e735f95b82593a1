"""Everything from sighting to news, with real files and a prober under the test's control."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import cast

from pgherald.clients.pgpass import Pgpass
from pgherald.clients.servers_json import ServersJson
from pgherald.clients.service_file import ServiceFile
from pgherald.clock import SystemClock
from pgherald.errors import PgheraldError
from pgherald.files import Disk, Files
from pgherald.model import (
    REQUIRE_AUTH,
    Database,
    DatabaseKey,
    Login,
    News,
    NewsKind,
    Phase,
    ProbePolicy,
    Sighting,
)
from pgherald.secret import Secret
from pgherald.store import BackgroundStore
from pgherald.sync.alerts import Alerts
from pgherald.sync.apply import Applier
from pgherald.sync.probe import RETRY_PAUSES, Outcome, Prober, Proof
from pgherald.sync.reconciler import Reconciler
from pgherald.sync.recorder import Recorder
from pgherald.sync.restless import Stillness
from pgherald.sync.targets import FileTarget, Target
from pgherald.sync.transaction import Transactions
from support.fake_clock import FakeClock


def database(
    app: str = "shop", probe: ProbePolicy = ProbePolicy.REQUIRE, attachment: str = "DATABASE"
) -> Database:
    """A database of the default account."""
    key = DatabaseKey("default", app, attachment)
    return Database(key, app.capitalize(), "Heroku", app, probe)


def login(number: int = 1, **changes: object) -> Login:
    """A login; another number is another rotation's."""
    plain = Login("db.example.com", 5432, "d1", f"u{number}", Secret(f"CANARY-{number}-password"))
    return dataclasses.replace(plain, **changes)  # type: ignore[arg-type]  # names are the test's


def many(count: int, version: int) -> list[tuple[Database, Login]]:
    """Databases with their logins; another version is another rotation's."""
    return [
        (
            database(f"app-{number:05}"),
            login(version, host=f"h{number:05}.example.com", user=f"u{number:05}-{version}"),
        )
        for number in range(count)
    ]


class FakeProber:
    """Proves what it is told to; everything works unless told otherwise.

    Attributes:
        outcomes: by user, what the next probes find; the last one stays.
        tried: every login that was tried, in order.
        ways: how each was tried, beyond the login: `require_auth` and `sslrootcert`.
        strict: what is found instead where the server's certificate is checked.
        hanging: users whose probe does not end before `release`.
    """

    def __init__(self, clock: FakeClock) -> None:
        self._clock = clock
        self.outcomes: dict[str, list[Outcome]] = {}
        self.tried: list[Login] = []
        self.ways: list[tuple[str, str | None]] = []
        self.strict = Outcome.WORKS
        self.hanging: dict[str, asyncio.Event] = {}

    async def probe(
        self,
        login: Login,
        *,
        require_auth: str = REQUIRE_AUTH,
        options: Mapping[str, str] = {},
        name: str = "",
    ) -> Proof:
        """See the class."""
        self.tried.append(login)
        self.ways.append((require_auth, options.get("sslrootcert")))
        if login.user in self.hanging:
            await self.hanging[login.user].wait()
        outcomes = self.outcomes.get(login.user, [Outcome.WORKS])
        outcome = outcomes.pop(0) if len(outcomes) > 1 else outcomes[0]
        if login.sslmode.startswith("verify-") and outcome is Outcome.WORKS:
            outcome = self.strict
        return Proof(outcome, self._clock.now(), 0.1, "")


@dataclass
class Household:
    """One person's clients, and what keeps them."""

    folder: Path
    clock: FakeClock
    prober: FakeProber
    files: Files
    store: BackgroundStore
    applier: Applier
    recorder: Recorder
    reconciler: Reconciler
    clients: tuple[Target, ...]
    news: list[News] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.service_file = self.folder / ".pg_service.conf"
        self.pgpass = self.folder / ".pgpass"
        self.servers_json = self.folder / "servers.json"

    def show(self, *shown: tuple[Database, Login]) -> None:
        """Heroku shows these logins."""
        now = self.clock.now()
        self.reconciler.sighted(
            (database, Sighting(database.key, login, now, 7)) for database, login in shown
        )

    async def sees(self, *shown: tuple[Database, Login]) -> None:
        """Heroku shows these logins, and everything that follows at once has happened."""
        self.show(*shown)
        await self.reconciler.settled(verifying=False)

    async def retried(self) -> None:
        """All retries of what is being verified are over."""
        await self.clock.advance(sum(RETRY_PAUSES))
        await self.reconciler.settled()

    def held(self, database: Database) -> set[str]:
        """Users that the clients hold for a database: one when all agree."""
        found = set()
        for client in self.clients:
            held = client.editor.read(self.files.read(client.path).content).get(database.key)
            if held is None:
                found.add("none")
            elif held.user is not None:
                found.add(held.user)
        return found

    def phase(self, database: Database) -> Phase | None:
        """How a database stands."""
        tracked = self.reconciler.snapshot().get(database.key)
        return None if tracked is None else tracked.phase

    def error(self, database: Database) -> PgheraldError | None:
        """Why a database is not current, if the reason is its own."""
        return self.reconciler.snapshot()[database.key].error

    def kinds(self) -> list[NewsKind]:
        return [item.kind for item in self.news]

    def texts(self) -> dict[str, bytes]:
        """The clients' files as they are."""
        return {path.name: path.read_bytes() for path in self.folder.iterdir() if path.is_file()}


async def until(condition: Callable[[], bool]) -> None:
    """Wait for something that real threads bring about, however slow the machine."""
    async with asyncio.timeout(60):
        while not condition():  # nobody could set an event
            await asyncio.sleep(0.001)


@contextlib.asynccontextmanager
async def household(
    tmp_path: Path,
    *,
    disk: Disk | None = None,
    clients: Sequence[Target] | None = None,
    real: SystemClock | None = None,
    stillness: Stillness | None = None,
    real_prober: Prober | None = None,
    pgadmin_runs: Callable[[datetime], bool | None] = lambda _: None,
) -> AsyncIterator[Household]:
    """A household whose reconciler runs until the block ends; by default with three files.

    `real` is the machine's own clock, in place of one that stands; as long as that stands, files
    count as still at once. `real_prober` connects, in place of the one that does as told.
    `pgadmin_runs`: see `Recorder`.
    """
    folder = tmp_path / "home"
    folder.mkdir(exist_ok=True)
    clock = cast("FakeClock", real) if real else FakeClock()
    prober = FakeProber(clock)
    files = Files(tmp_path / "state" / "locks", disk)
    files.private_folder(tmp_path / "state")
    committer = Transactions(files, tmp_path / "state" / "commits", clock)
    committer.recover()
    made = tuple(
        clients
        or (
            FileTarget(Pgpass(), folder / ".pgpass", "psql"),
            FileTarget(ServiceFile(), folder / ".pg_service.conf", "service file"),
            FileTarget(ServersJson(), folder / "servers.json", "servers.json"),
        )
    )
    news: list[News] = []
    with BackgroundStore.open(tmp_path / "state" / "state.db", files) as store:
        alerts = Alerts(store, clock, news.append)
        recorder = Recorder(
            clients=made,
            committer=committer,
            store=store,
            clock=clock,
            tell=news.append,
            pgadmin_runs=pgadmin_runs,
        )
        applier = Applier(
            clients=made,
            files=files,
            committer=committer,
            recorder=recorder,
            store=store,
            clock=clock,
            alerts=alerts,
            stillness=stillness or Stillness(clock, first=0),
        )
        reconciler = Reconciler(
            applier=applier,
            recorder=recorder,
            prober=real_prober or prober,
            store=store,
            alerts=alerts,
            clock=clock,
            quiet=0.05,
        )
        work = asyncio.create_task(reconciler.run())
        try:
            yield Household(
                folder, clock, prober, files, store, applier, recorder, reconciler, made, news
            )
        finally:
            work.cancel()
            await asyncio.gather(work, return_exceptions=True)
