"""The daemon: looks at Heroku on and on, and lives through everything else.

One configuration makes one generation: machinery, schedule and watches. A reload builds the
next generation and lets the old one go; a configuration that is wrong is named, and the old
generation stays. A part of it that fails is started again (`pgherald.daemon.supervisor`).
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import logging
import os
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any, Final, Self

from pgherald.clock import until_beat
from pgherald.config import Config
from pgherald.daemon.publish import Publisher
from pgherald.daemon.supervisor import Supervisor
from pgherald.daemon.surroundings import PgAdminWatch
from pgherald.daemon.telling import teller_of
from pgherald.daemon.wiring import (
    Outside,
    State,
    files_of,
    machinery,
    state_of,
)
from pgherald.errors import PgheraldError, safe_text
from pgherald.files.locks import DAEMON_LOCK
from pgherald.heroku.expiry import ExpiryWatch
from pgherald.heroku.log_followers import LogFollowers
from pgherald.heroku.pace import COMPARED, RENEWED, Calm
from pgherald.heroku.watched import keeps_requests
from pgherald.model import News
from pgherald.notify.hooks import Hooks
from pgherald.notify.tell import Teller
from pgherald.schedule import Schedule
from pgherald.service.sd_notify import Manager, watchdog_interval
from pgherald.sync.troubles import Troubles, forget_damage
from pgherald.watch.paths import PathWatch
from pgherald.watch.wake import tick

log = logging.getLogger(__name__)

#: How long a commit, or a notice, that is under way may take to end when the daemon stops, in
#: seconds.
_STOP_LIMIT: Final = 1.2

#: How long hooks that run may take to end then, in seconds.
_HOOKS_LIMIT: Final = 0.3

#: After this many seconds the daemon stops whatever is still under way: the journal finishes
#: what was begun.
_LAST_RESORT: Final = 1.7

_SWEEP: Final = "sweep"


class Daemon:
    """Runs until told to stop.

    Args:
        config: the configuration to begin with.
        reread: reads the configuration anew; raises `ConfigError` when it is wrong.
        outside: environment, clock, network.
        last_resort: ends the process on the spot, should stopping take too long.
    """

    def __init__(
        self,
        config: Config,
        reread: Callable[[], Config],
        outside: Outside,
        last_resort: Callable[[], None],
    ) -> None:
        self._last_resort = last_resort
        self._next_teller: Teller | None = None
        self._config = config
        self._reread = reread
        self._outside = outside
        self._manager = Manager(outside.env, outside.clock)
        self._supervisor = Supervisor(outside.clock)
        self._stopping = asyncio.Event()
        self._reload = asyncio.Event()

    def stop(self) -> None:
        """End soon, whatever is under way. Called on the loop's thread."""
        self._stopping.set()
        asyncio.get_running_loop().call_later(_LAST_RESORT, self._last_resort)

    def reload(self) -> None:
        """Read the configuration anew. Called on the loop's thread."""
        self._reload.set()

    async def run(self) -> None:
        """Run until `stop`.

        Raises:
            AlreadyRunning: another daemon uses the state folder.
            FileTrouble: the state folder cannot be used.
            StoreError: the state file cannot be used.
        """
        asyncio.get_running_loop().set_exception_handler(_unforeseen)
        self._listen_to_signals()
        files = files_of(self._config)
        lock = self._config.state_dir / DAEMON_LOCK
        with (
            files.exclusive(lock, "pgherald run"),
            state_of(self._config, self._outside.clock) as state,
        ):
            publisher = Publisher(
                self._config, state.store, files, self._manager, self._outside.clock
            )
            async with self._alive(), publisher.running(_STOP_LIMIT, self._supervisor):
                while not self._stopping.is_set():
                    await self._generation(state, publisher)
                self._manager.stopping()
        log.info("Stopped.")

    def _listen_to_signals(self) -> None:
        loop = asyncio.get_running_loop()
        calls = {"SIGTERM": self.stop, "SIGINT": self.stop, "SIGHUP": self.reload,
                 "SIGBREAK": self.stop}  # fmt: skip
        for name, call in calls.items():
            number = getattr(signal, name, None)
            if number is None:
                continue
            try:
                loop.add_signal_handler(number, call)
            except NotImplementedError:
                # Windows: Python's own handler, which runs between two steps of the loop.
                signal.signal(number, lambda *_, call=call: loop.call_soon_threadsafe(call))

    @contextlib.asynccontextmanager
    async def _alive(self) -> AsyncIterator[None]:
        """Meanwhile, tell systemd that the loop turns."""
        clock = self._outside.clock
        interval = watchdog_interval(self._outside.env, os.getpid())
        if interval is None or not self._manager.listens:
            yield
            return

        async def ping() -> None:
            while True:
                self._manager.watchdog()
                # With the other ticks, so that it costs no wake-up of its own.
                await clock.sleep(until_beat(clock, interval))

        async with self._supervisor.running("watchdog's ping", ping):
            yield

    async def _generation(self, state: State, publisher: Publisher) -> None:
        """Run one configuration until the daemon stops or another one is there."""
        config = self._config
        tells = self._next_teller or self._teller(config, state)
        self._next_teller = None
        tells.resume()
        try:
            generation = _Generation(
                config,
                state,
                self._outside,
                tells=tells,
                reload=self.reload,
                supervisor=self._supervisor,
            )
            async with generation:
                self._manager.ready(generation.summary())
                publisher.follow(config, generation.summary())
                log.info("Ready: %s.", generation.summary())
                while not self._stopping.is_set() and self._config is config:
                    await self._next_event()
                    if self._reload.is_set():
                        self._reload.clear()
                        self._read_config(generation.troubles, state)
        finally:
            self._supervisor.troubles = None
            await tells.close(within=_STOP_LIMIT)

    def _teller(self, config: Config, state: State) -> Teller:
        """Whoever tells the person; what hinders that is kept for `status`."""

        def note(why: str) -> None:
            state.store.note("notifications", why)

        wanted = config.notifications
        if not wanted.desktop and not wanted.urls:
            note("")  # nothing is shown any more, so nothing can hinder it
        return teller_of(config, self._outside, state.store, note)

    async def _next_event(self) -> None:
        """Wait until there is something to do."""
        waits = [asyncio.ensure_future(event.wait()) for event in (self._stopping, self._reload)]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()

    def _read_config(self, troubles: Troubles, state: State) -> None:
        """Take over a changed configuration; keep the old one when the new one is wrong."""
        self._manager.reloading()
        try:
            config = self._reread()
            # What the configuration asks for may be missing, such as a package.
            teller = self._teller(config, state)
        except PgheraldError as exc:
            log.error("The new configuration is wrong; the old one stays.\n%s", exc)
            troubles.arose("config", "The configuration", exc)
            self._manager.ready("running with the old configuration: the new one is wrong")
            return
        troubles.ended("config")
        if config.state_dir != self._config.state_dir:
            log.warning("A changed state_dir takes effect when pgherald is started again.")
            config = dataclasses.replace(config, state_dir=self._config.state_dir)
        if config == self._config:
            log.info("The configuration has not changed.")
            self._manager.ready()
            return
        log.info("The configuration has changed.")
        self._config = config
        self._next_teller = teller


class _Generation:
    """One configuration at work: machinery, schedule, watches."""

    def __init__(
        self,
        config: Config,
        state: State,
        outside: Outside,
        *,
        tells: Teller,
        reload: Callable[[], None],
        supervisor: Supervisor,
    ) -> None:
        self._supervisor = supervisor
        self._config = config
        self._state = state
        self._outside = outside
        self._tells = tells
        self._reload = reload
        self._stack = contextlib.AsyncExitStack()
        self._mend = Calm(self._mend_now, COMPARED)
        self._renew = Calm(self._renew_now, RENEWED, config.poll_interval)
        self.troubles = Troubles(state.store, outside.clock, self._tell)
        supervisor.troubles = self.troubles
        self._hooks = Hooks(config.hooks, outside.env, config.path, self.troubles)

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
                troubles=self.troubles,
                tell=self._tell,
                wrote=self._wrote,
                told_at_once=False,
            )
        )
        self._stack.push_async_callback(self._machine.applier.finished, _STOP_LIMIT)
        await self._keep("comparison with the clients", self._machine.reconciler.run)
        pgadmin = PgAdminWatch(self._machine.clients, self.troubles, self._outside.clock)
        await self._keep("watch of pgAdmin", pgadmin.run)
        expiry = ExpiryWatch(self._machine.accounts.watched, self.troubles, self._outside.clock)
        await self._keep("watch of the tokens", expiry.run)
        self._machine.poller.swept = keeps_requests(
            self._machine.accounts.watched, self._state.store, self._outside.clock
        )
        self._events = LogFollowers(
            self._machine.poller, self._machine.reconciler.event, self._supervisor.keep
        )
        self._stack.push_async_callback(self._events.stop)
        self._schedule = Schedule(log)
        self._stack.push_async_callback(self._schedule.stop)
        self._schedule.every(_SWEEP, self._config.poll_interval, self._sweep)
        self._stack.callback(self._mend.cancel)
        self._stack.callback(self._renew.cancel)
        self._stack.callback(self._watch.stop)
        self._watch.watch(self._paths())
        for source in self._machine.accounts.tokens:
            for warning in source.warnings:
                log.warning("%s", warning)
        check = self._watch.check_health
        await self._keep(
            "watch of the clock", lambda: tick(self._outside.clock, self._jumped, on_tick=check)
        )
        self._schedule.now(_SWEEP)

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

    async def _sweep(self) -> None:
        self._machine.poller.sweep()
        forget_damage(self._state.store, self.troubles, self._outside.clock)
        self._events.keep()

    def _paths(self) -> set[Path]:
        paths = {path for client in self._machine.clients for path in client.watched}
        paths.add(self._config.path)
        for source in self._machine.accounts.tokens:
            paths.update(source.watch_paths)
        return paths

    def _changed(self, path: Path) -> None:
        """A file was changed by somebody else."""
        if path == self._config.path:
            log.info("%s has changed.", path)
            self._reload()
        elif any(path in client.watched for client in self._machine.clients):
            self._machine.applier.restless.touched(path)
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

    def _mend_now(self) -> None:
        """Compare the clients with what Heroku showed last; that needs no request."""
        self._machine.reconciler.again()

    def _renew_now(self) -> None:
        for watched in self._machine.accounts.watched:
            watched.account.retry()
        self._events.restart()
        self._schedule.now(_SWEEP)

    def _jumped(self, _seconds: float) -> None:
        """The machine slept, or its clock was set: look now, and count intervals anew."""
        self._schedule.retime()
        self._events.restart()
        self._schedule.now(_SWEEP)


def _unforeseen(_loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """Log what nobody caught, without asyncio's own words: they quote the exception's text."""
    exc = context.get("exception")
    said = safe_text(exc) if isinstance(exc, BaseException) else "in the event loop"
    log.error("pgherald stumbled over a mistake of its own: %s", said)


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}" if number else ""
