"""One configuration at work: machinery, schedule, watches."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

from pgherald.clock import until_beat
from pgherald.config import Config
from pgherald.daemon.check import ASTRAY_INTERVAL, alert_astray
from pgherald.daemon.supervisor import Supervisor
from pgherald.daemon.wiring import Outside, State, machinery, request_of
from pgherald.heroku.backoff import COMPARED, RENEWED, ThrottledCall
from pgherald.heroku.events import LogFollowers
from pgherald.heroku.tokens import TokenSource
from pgherald.heroku.watched import ExpiryWatch, keeps_requests
from pgherald.model import News
from pgherald.notify.hooks import Hooks
from pgherald.notify.tell import Teller
from pgherald.schedule import Schedule
from pgherald.sync.alerts import Alerts, forget_damage
from pgherald.watch.paths import PathWatch
from pgherald.watch.wake import tick

log = logging.getLogger(__name__)

#: How long a commit, or a notice, that is under way may take to end when the daemon stops, in
#: seconds.
STOP_LIMIT: Final = 1.2

#: How long hooks that run may take to end then, in seconds.
_HOOKS_LIMIT: Final = 0.3


@dataclass(eq=False)
class Generation:
    """One configuration at work, from `async with` on.

    Attributes:
        config: the configuration.
        state: the state folder.
        outside: environment, clock, network.
        tells: notifies the person.
        reload: called when the configuration's file has changed.
        supervisor: keeps the parts running.
        at_sweep: called when a sweep begins.
        swept: called when one has ended.
    """

    config: Config
    state: State
    outside: Outside
    tells: Teller
    reload: Callable[[], None]
    supervisor: Supervisor
    at_sweep: Callable[[], None]
    swept: Callable[[], None]

    def __post_init__(self) -> None:
        """Be ready to hear of trouble; nothing runs yet."""
        self._stack = contextlib.AsyncExitStack()
        self._asked = asyncio.Event()
        self._renew = ThrottledCall(self.refresh, RENEWED, self.config.poll_interval)
        self.alerts = Alerts(self.state.store, self.outside.clock, self._tell)
        self.supervisor.alerts = self.alerts
        self._hooks = Hooks(self.config.hooks, self.outside.env, self.config.path, self.alerts)

    async def __aenter__(self) -> Self:
        try:
            await self._start()
        except BaseException:
            await self._stack.aclose()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    def _tell(self, news: News) -> None:
        self.tells.post(news)
        self._hooks.post(news)

    async def _start(self) -> None:
        """Build; what is last to start is first to stop, so nothing new begins meanwhile."""
        self._stack.push_async_callback(self._hooks.close, _HOOKS_LIMIT)
        self._watch = PathWatch(self._changed, self.outside.clock)
        self._machine = await self._stack.enter_async_context(
            machinery(
                self.config,
                self.state,
                self.outside,
                alerts=self.alerts,
                tell=self._tell,
                wrote=self._wrote,
                told_at_once=False,
            )
        )
        self._stack.push_async_callback(self._machine.applier.finished, STOP_LIMIT)
        await self._keep("comparison with the clients", self._machine.reconciler.run)
        await self._keep("watch of pgAdmin", self._watch_pgadmin)
        expiry = ExpiryWatch(self._machine.poller.watched, self.alerts, self.outside.clock)
        await self._keep("watch of the tokens", expiry.run)
        self._machine.poller.swept = self._swept
        self._keep_requests = keeps_requests(
            self._machine.poller.watched, self.state.store, self.outside.clock
        )
        self._events = LogFollowers(
            self._machine.poller, self._machine.reconciler.event, self.supervisor.keep
        )
        self._stack.push_async_callback(self._events.stop)
        self._schedule = Schedule("sweep", self.config.poll_interval, self._sweep)
        self._stack.callback(self._schedule.stop)
        # Comparing with what Heroku showed last needs no request.
        self._mend = ThrottledCall(self._machine.reconciler.again, COMPARED)
        self._stack.callback(self._mend.cancel)
        self._stack.callback(self._renew.cancel)
        self._stack.callback(self._watch.stop)
        self._watch.watch(self._paths())
        for warning in (each for source in self._tokens for each in source.warnings):
            log.warning("%s", warning)
        check = self._watch.check_health
        await self._keep(
            "watch of the clock", lambda: tick(self.outside.clock, self._jumped, on_tick=check)
        )
        self._schedule.now()
        await self._keep("answering of `pgherald refresh`", self._answer_always)

    async def _keep(self, part: str, work: Callable[[], Awaitable[None]]) -> None:
        """Keep a part running as long as the generation lives."""
        await self._stack.enter_async_context(self.supervisor.running(part, work))

    def summary(self) -> str:
        """One line for `systemctl status`."""
        named = len(self.config.databases)
        rules = len(self.config.discover)
        counts = [_count(named, "database"), _count(rules, "discovery rule")]
        watching = " and ".join(count for count in counts if count)
        clients = _count(len(self._machine.clients), "client")
        return f"watching {watching} for {clients}, every {self.config.poll_interval:g} s"

    def _sweep(self) -> None:
        self.at_sweep()
        self._machine.poller.sweep()
        forget_damage(self.state.store, self.alerts, self.outside.clock)
        self._events.keep()

    def _swept(self) -> None:
        self.swept()
        self._keep_requests()

    def refresh(self) -> None:
        """Ask Heroku for everything now, as if nothing were known. Returns at once."""
        for watched in self._machine.poller.watched:
            watched.account.retry()
            watched.discovered_at = None
        self._look_now()

    def _look_now(self) -> None:
        self._events.restart()
        self._schedule.now()

    async def _answer_always(self) -> None:
        """Do what `pgherald refresh` asks, also one before this generation, and say when it is done."""
        store, poller = self.state.store, self._machine.poller
        while True:
            self._asked.clear()
            path = request_of(self.config.state_dir)
            number = (await asyncio.to_thread(self.state.files.read, path)).content
            asked = (number or b"").decode("ascii", "replace")
            if asked and asked != store.notes().get("refreshed"):
                await poller.finished()
                self.refresh()
                poller.sweep()
                await poller.finished()
                await self._machine.reconciler.settled(verifying=False)
                store.note("refreshed", asked)
            await self._asked.wait()

    async def _watch_pgadmin(self) -> None:
        clock = self.outside.clock
        while True:
            await alert_astray(self._machine.clients, self.alerts)
            # On the beat, so that it costs no wake-up of its own.
            await clock.sleep(until_beat(clock, ASTRAY_INTERVAL))

    @property
    def _tokens(self) -> list[TokenSource]:
        return [watched.account.api.tokens for watched in self._machine.poller.watched]

    def _paths(self) -> set[Path]:
        paths = {path for client in self._machine.clients for path in client.watched}
        paths |= {self.config.path, request_of(self.config.state_dir)}
        for source in self._tokens:
            paths.update(source.watch_paths)
        return paths

    def _changed(self, path: Path) -> None:
        """A file was changed by somebody else."""
        if path == self.config.path:
            log.info("%s has changed.", path)
            self.reload()
        elif path == request_of(self.config.state_dir):
            self._asked.set()
        elif any(path in client.watched for client in self._machine.clients):
            self._machine.applier.restless.stillness.touched(path)
            self._mend.soon()
        else:
            log.info("%s has changed: looking for a new token.", path)
            self._renew.soon()

    def _wrote(self, path: Path) -> None:
        """We wrote a client's file ourselves.

        Somebody else may have written it right after us, and that is taken for known with it:
        so everything is compared once more.
        """
        self._watch.seen(path)
        asyncio.get_running_loop().call_soon(self._machine.reconciler.again)

    def _jumped(self, _seconds: float) -> None:
        """The machine slept, or its clock was set: look now, and count intervals anew."""
        self._schedule.retime()
        self._look_now()


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}" if number else ""
