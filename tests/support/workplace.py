"""A developer's place: everything that `run` wires, on a clock that moves when told.

    async with Workplace.standing(tmp_path) as place:
        await place.sweep()                        # one pass of asking Heroku, to its end
        place.goes_wrong("503")                    # from now on Heroku is down
        await place.passes(DAY)                    # a day of sweeps, in a few seconds
        assert place.told() == ["Heroku has a problem of its own (503)"]
        place.nothing_is_lost()

Heroku is the simulator, asked over a real socket. The clients are real files, with lines of
the person's own in them. Postgres is `support.simulator.FakePostgres`: the prober asks it.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Self

import httpx

from pgherald.config import Config, load
from pgherald.daemon.wiring import Machinery, Outside, State, machinery
from pgherald.files import Disk, Files
from pgherald.heroku.api import HerokuApi
from pgherald.heroku.network import TIME_LIMIT
from pgherald.model import Login, News, NewsKind
from pgherald.notify.texts import notice_for
from pgherald.secret import Secret
from pgherald.simulator.faults import Fault
from pgherald.simulator.seed import APPS, seed_world
from pgherald.simulator.server import Simulator
from pgherald.simulator.state import App
from pgherald.store import BackgroundStore
from pgherald.sync.alerts import Alerts
from pgherald.sync.probe import Prober
from pgherald.sync.transaction import Transactions
from pgherald.watch.wake import tick
from support.fake_clock import FakeClock
from support.held import behind
from support.simulator import AskingProber, FakeDoor, FakePostgres, dice, shown_in

MINUTE: Final = 60.0
HOUR: Final = 60 * MINUTE
DAY: Final = 24 * HOUR

SHOP: Final = APPS[0]

#: Text of the person's own, which must stay; by the client's file.
OWN: Final = {
    ".pg_service.conf": "# mine\n[local]\nhost=localhost\npassword=CANARY-my-own\n",
    ".pgpass": "localhost:5432:*:me:CANARY-my-own\n",
    "servers.json": '{"Servers": {"1": {"Name": "Mine", "Group": "Local", "Port": 5432,'
    ' "Username": "me", "Host": "localhost", "MaintenanceDB": "postgres", "SSLMode": "prefer"}}}\n',
}

#: Seconds of real time that Heroku may take to answer here while it does not answer at all.
PATIENCE: Final = 0.3

#: Faults that nothing but a time limit ends.
ENDLESS: Final = ("hang", "never-ending", "drip")

#: Seconds of real time that a commit waits for what may still come; 0.25 outside.
QUIET: Final = 0.01


@dataclass
class Workplace:
    """One developer, with Heroku and Postgres around.

    Attributes:
        news: what was told so far, in order.
        listeners: whoever else is to be told.
        probes: the prober, unless another one was handed in.
    """

    home: Path
    clock: FakeClock
    simulator: Simulator
    postgres: FakePostgres
    probes: AskingProber
    state: State
    config: Config
    news: list[News]
    listeners: list[Callable[[News], None]]
    machine: Machinery

    @classmethod
    @contextlib.asynccontextmanager
    async def standing(
        cls,
        folder: Path,
        *,
        apps: Sequence[str] = APPS,
        watched: Sequence[str] = APPS,
        top: str = "",
        clock: FakeClock | None = None,
        disk: Disk | None = None,
        prober: Prober | None = None,
        transport: httpx.AsyncBaseTransport | None = None,
        env: Callable[[Simulator], dict[str, str]] | None = None,
        own: bool = True,
    ) -> AsyncIterator[Self]:
        """A place whose machinery runs until the block ends.

        `apps` are those at Heroku, of which the `watched` ones' DATABASE is kept; `top` is more of the
        configuration; `own`, whether the person has lines of their own in the clients.
        """
        clock = clock or FakeClock()
        postgres = FakePostgres()
        world = await seed_world(
            postgres,
            apps=apps,
            clock=clock,
            source=dice(1),
            mark="CANARY",
            token=Secret("HRKU-CANARY-token"),
            open_door=FakeDoor.opener(),
        )
        home = folder / "home"
        home.mkdir(parents=True, exist_ok=True)
        for name, text in OWN.items() if own else ():
            write(home / name, text)
        write(home / "token", world.tokens[0].value.reveal() + "\n")
        config = _config(home, watched, top)
        files = Files(config.state_dir / "locks", disk)
        files.private_folder(config.state_dir)
        committer = Transactions(files, config.state_dir / "commits", clock)
        committer.recover()
        probes = AskingProber(postgres, clock)
        news: list[News] = []
        listeners: list[Callable[[News], None]] = [news.append]

        def tell(item: News) -> None:
            for listener in listeners:
                listener(item)

        async with Simulator.running(world) as simulator:
            variables = env(simulator) if env else {"HEROKU_HOST": simulator.url}
            outside = Outside(variables, home, clock, transport, prober or probes)
            with BackgroundStore.open(config.state_dir / "state.db", files) as store:
                state = State(files, store, committer)
                alerts = Alerts(store, clock, tell)
                async with machinery(config, state, outside, alerts=alerts, tell=tell) as machine:
                    place = cls(
                        home, clock, simulator, postgres, probes, state, config, news, listeners,
                        machine,
                    )  # fmt: skip
                    for window in (machine.reconciler._window, machine.reconciler._group._window):
                        window._quiet = QUIET
                    machine.applier.restless.stillness._first = 0.0  # its clock stands
                    async with place._at_work():
                        yield place

    @contextlib.asynccontextmanager
    async def _at_work(self) -> AsyncIterator[None]:
        tasks = [
            asyncio.create_task(self.machine.reconciler.run()),
            asyncio.create_task(tick(self.clock, lambda _: self.machine.poller.sweep())),
        ]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    # --- Heroku --------------------------------------------------------------------------

    @property
    def api(self) -> HerokuApi:
        """What asks Heroku."""
        return self.machine.poller.watched[0].account.api

    @property
    def requests(self) -> int:
        """How many requests were sent so far, answered or not."""
        return self.api.http.requests

    def app(self, name: str = SHOP) -> App:
        return self.simulator.world.app(name)

    def shown(self, app: str = SHOP) -> Login:
        """What the config var of an app shows at this moment."""
        return shown_in(self.simulator.world, app)

    async def rotate(self, app: str = SHOP) -> Login:
        """Rotate an app's database; its new login."""
        world = self.simulator.world
        addon: Any = world.attachment(self.app(app), "DATABASE").addon
        await world.data.rotate(addon.postgres.data)
        return self.shown(app)

    def goes_wrong(self, kind: str, **details: Any) -> None:
        """Let that go wrong from now on; see `pgherald.simulator.faults.Fault`."""
        if kind in ENDLESS:
            self.is_impatient()
        self.simulator.app.front.faults.add(Fault(kind, **details))

    def goes_well(self) -> None:
        """Let everything go well again."""
        self.simulator.app.front.faults.clear()
        self.api.http._time_limit = TIME_LIMIT

    def is_impatient(self) -> None:
        """Give an answer up soon: none will come. A busy machine would look like that, too."""
        self.api.http._time_limit = PATIENCE

    # --- time ----------------------------------------------------------------------------

    async def sweep(self) -> None:
        """One pass of asking Heroku; everything that follows at once has happened."""
        self.machine.poller.sweep()
        await self.done()

    async def done(self) -> None:
        """Wait until nothing is under way but proofs that wait for another attempt."""
        await self.machine.poller.finished()
        await self.machine.reconciler.settled(verifying=False)

    async def passes(self, seconds: float) -> None:
        """Let time pass, with a sweep at the end of every poll interval."""
        interval = self.config.poll_interval
        for _ in range(round(seconds / interval)):
            await self.clock.advance(interval)
            await self.sweep()

    @contextlib.asynccontextmanager
    async def time_goes_on(self, step: float) -> AsyncIterator[None]:
        """Meanwhile, both kinds of time pass: `step` seconds of the clock every 20 ms."""

        async def go_on() -> None:
            while True:
                await self.clock.advance(step)
                await asyncio.sleep(0.02)

        task = asyncio.create_task(go_on())
        try:
            yield
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    # --- the person ----------------------------------------------------------------------

    def file(self, name: str) -> Path:
        return self.home / name

    def told(self) -> list[str]:
        """Titles of the notices so far; what is merely added, mended or under way is none."""
        quiet = (NewsKind.ADDED, NewsKind.MENDED, NewsKind.ROTATING)
        notices = (notice for n in self.news if n.kind not in quiet for notice in notice_for([n]))
        return [notice.title for notice in notices]

    def status(self) -> list[str]:
        return sorted(trouble.title for trouble in self.state.store.alerts())

    # --- the clients, read without pgherald ------------------------------------------------

    def behind(self, login: Login, app: str = SHOP, *, but: str = "") -> list[str]:
        """The clients that do not hold a login, by their files' names; `but` is not looked at."""
        return [name for name in behind(self.home, login, app) if name != but]

    def holds(self, login: Login, app: str = SHOP) -> bool:
        return not self.behind(login, app)

    def nothing_is_lost(self) -> None:
        """The person's own lines are all there, and nothing lies about."""
        for name in (".pg_service.conf", ".pgpass"):
            assert OWN[name] in self.file(name).read_text(), name
        servers = json.loads(self.file("servers.json").read_text())["Servers"]
        assert servers["1"] == json.loads(OWN["servers.json"])["Servers"]["1"]
        assert [path.name for path in self.home.iterdir() if ".pgherald" in path.name] == []

    def is_current(self, app: str = SHOP) -> bool:
        """Whether all clients hold what Heroku shows, and nothing else is wrong."""
        return self.holds(self.shown(app), app) and self.status() == []


def write(path: Path, text: str) -> None:
    path.write_text(text)
    path.chmod(0o600)


def _config(home: Path, watched: Sequence[str], top: str) -> Config:
    databases = "".join(
        f'[[databases]]\napp = "{app}"\nname = "{app.capitalize()}"\n' for app in watched
    )
    write(
        home / "config.toml",
        f"""\
{top}
{databases}
[heroku]
token = "file:~/token"
[clients.service_file]
[clients.pgpass]
[clients.servers_json]
path = "~/servers.json"
[notifications]
desktop = false
""",
    )
    folder = home.parent / "state"
    env = {"HOME": str(home), "PGHERALD_STATE_DIR": str(folder)}
    return load(home / "config.toml", env, platform="linux")
