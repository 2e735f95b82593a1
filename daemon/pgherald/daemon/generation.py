"""One configuration at work: machinery, schedule, watches."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final, Self

from pgherald.clock import until_beat
from pgherald.config import Config
from pgherald.daemon import surroundings
from pgherald.daemon.belongings import request_of
from pgherald.daemon.supervisor import Supervisor
from pgherald.daemon.wiring import Outside, State, machinery
from pgherald.heroku.backoff import COMPARED, RENEWED, ThrottledCall
from pgherald.heroku.events import LogFollowers
from pgherald.heroku.expiry import ExpiryWatch
from pgherald.heroku.watched import keeps_requests
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

_SWEEP: Final = "sweep"


class Generation:
    """One configuration at work, from `async with` on."""

    def __init__(
        self,
        config: Config,
        state: State,
        outside: Outside,
        *,
        tells: Teller,
        reload: Callable[[], None],
        supervisor: Supervisor,
        at_sweep: Callable[[], None],
    ) -> None:
        self._at_sweep = at_sweep
        self._supervisor = supervisor
        self._config = config
        self._state = state
        self._outside = outside
        self._tells = tells
        self._reload = reload
        self._stack = contextlib.AsyncExitStack()
        self._asked = asyncio.Event()
        self._renew = ThrottledCall(self.refresh, RENEWED, config.poll_interval)
        self.alerts = Alerts(state.store, outside.clock, self._tell)
        supervisor.alerts = self.alerts
        self._hooks = Hooks(config.hooks, outside.env, config.path, self.alerts)

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
        self._tells.post(news)
        self._hooks.post(news)

    async def _start(self) -> None:
        """Build; what is last to start is first to stop, so nothing new begins meanwhile."""
        self._stack.push_async_callback(self._hooks.close, _HOOKS_LIMIT)
        self._watch = PathWatch(self._changed, self._outside.clock)
        self._machine = await self._stack.enter_async_context(
            machinery(
                self._config,
                self._state,
                self._outside,
                alerts=self.alerts,
                tell=self._tell,
                wrote=self._wrote,
                told_at_once=False,
            )
        )
        self._stack.push_async_callback(self._machine.applier.finished, STOP_LIMIT)
        await self._keep("comparison with the clients", self._machine.reconciler.run)
        await self._keep("watch of pgAdmin", self._watch_pgadmin)
        expiry = ExpiryWatch(self._machine.accounts.watched, self.alerts, self._outside.clock)
        await self._keep("watch of the tokens", expiry.run)
        self._machine.poller.swept = self._swept
        self._keep_requests = keeps_requests(
            self._machine.accounts.watched, self._state.store, self._outside.clock
        )
        self._events = LogFollowers(
            self._machine.poller, self._machine.reconciler.event, self._supervisor.keep
        )
        self._stack.push_async_callback(self._events.stop)
        self._schedule = Schedule(log)
        self._stack.callback(self._schedule.stop)
        self._schedule.every(_SWEEP, self._config.poll_interval, self._sweep)
        # Comparing with what Heroku showed last needs no request.
        self._mend = ThrottledCall(self._machine.reconciler.again, COMPARED)
        self._stack.callback(self._mend.cancel)
        self._stack.callback(self._renew.cancel)
        self._stack.callback(self._watch.stop)
        tokens = self._machine.accounts.tokens
        self._watch.watch(self._paths())
        for warning in (each for source in tokens for each in source.warnings):
            log.warning("%s", warning)
        check = self._watch.check_health
        await self._keep(
            "watch of the clock", lambda: tick(self._outside.clock, self._jumped, on_tick=check)
        )
        self._schedule.now(_SWEEP)
        await self._keep("answering of `pgherald refresh`", self._answer_always)

    async def _keep(self, part: str, work: Callable[[], Awaitable[None]]) -> None:
        """Keep a part running as long as the generation lives."""
        await self._stack.enter_async_context(self._supervisor.running(part, work))

    def summary(self) -> str:
        """One line for `systemctl status`."""
        named = len(self._config.databases)
        rules = len(self._config.discover)
        counts = [_count(named, "database"), _count(rules, "discovery rule")]
        watching = " and ".join(count for count in counts if count)
        clients = _count(len(self._machine.clients), "client")
        return f"watching {watching} for {clients}, every {self._config.poll_interval:g} s"

    def _sweep(self) -> None:
        self._at_sweep()
        self._machine.poller.sweep()
        forget_damage(self._state.store, self.alerts, self._outside.clock)
        self._events.keep()

    def _swept(self) -> None:
        self._state.store.note("swept", self._outside.clock.now().isoformat())
        self._keep_requests()

    def refresh(self) -> None:
        """Ask Heroku for everything now, as if nothing were known. Returns at once."""
        for watched in self._machine.accounts.watched:
            watched.account.retry()
            watched.discovered_at = None
        self._look_now()

    def _look_now(self) -> None:
        self._events.restart()
        self._schedule.now(_SWEEP)

    async def _answer_always(self) -> None:
        """Do what `pgherald refresh` asks, also one before this generation, and say when it is done."""
        store, poller = self._state.store, self._machine.poller
        while True:
            self._asked.clear()
            path = request_of(self._config.state_dir)
            number = (await asyncio.to_thread(self._state.files.read, path)).content
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
        clock = self._outside.clock
        while True:
            await surroundings.check(self._machine.clients, self.alerts)
            # On the beat, so that it costs no wake-up of its own.
            await clock.sleep(until_beat(clock, surroundings.INTERVAL))

    def _paths(self) -> set[Path]:
        paths = {path for client in self._machine.clients for path in client.watched}
        paths |= {self._config.path, request_of(self._config.state_dir)}
        for source in self._machine.accounts.tokens:
            paths.update(source.watch_paths)
        return paths

    def _changed(self, path: Path) -> None:
        """A file was changed by somebody else."""
        if path == self._config.path:
            log.info("%s has changed.", path)
            self._reload()
        elif path == request_of(self._config.state_dir):
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
