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
import sys
from collections.abc import AsyncIterator, Callable
from functools import partial
from typing import Any, Final

from pgherald.aio import first_of
from pgherald.clock import until_beat
from pgherald.config import Config
from pgherald.daemon.generation import STOP_LIMIT, Generation
from pgherald.daemon.publish import Publisher
from pgherald.daemon.status import Heartbeat
from pgherald.daemon.supervisor import Supervisor
from pgherald.daemon.wiring import Outside, State, files_of, state_of
from pgherald.errors import ConfigError, PgheraldError, safe_text
from pgherald.files.locks import DAEMON_LOCK
from pgherald.model import About, Subject
from pgherald.notify import desktop_for
from pgherald.notify.chat import Chat
from pgherald.notify.desktop import Backend
from pgherald.notify.tell import Teller
from pgherald.service import manager_of
from pgherald.service.sd_notify import Manager, watchdog_interval
from pgherald.store import BackgroundStore, Store
from pgherald.store.damage import identity
from pgherald.sync.alerts import Alerts

log = logging.getLogger(__name__)

#: After this many seconds the daemon stops whatever is still under way: the journal finishes
#: what was begun.
_LAST_RESORT: Final = 1.7

_NAME_THEM: Final = (
    "`pgherald config check` names each line. Until they are right, the old configuration counts."
)


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
        #: The lock file that is held, and whether it is no longer there.
        self._lock: tuple[int, int] | None = None
        self._lost = asyncio.Event()

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
        while not self._stopping.is_set():
            await self._hold_state()
        log.info("Stopped.")

    async def _hold_state(self) -> None:
        """Hold the state folder, and run, until the daemon stops or somebody removes the folder."""
        files = files_of(self._config)
        lock = self._config.state_dir / DAEMON_LOCK
        with (
            files.exclusive(lock, "pgherald run"),
            state_of(self._config, self._outside.clock) as state,
        ):
            self._lost.clear()
            self._lock = identity(lock)
            publisher = Publisher(
                self._config, state.store, files, self._manager, self._outside.clock
            )
            self._heartbeat = Heartbeat(self._outside.clock.now())
            self._heartbeat.keep(state.store)
            async with self._alive(), publisher.running(STOP_LIMIT, self._supervisor):
                while not self._stopping.is_set() and not self._lost.is_set():
                    await self._generation(state, publisher)
                if not self._stopping.is_set():
                    return
                self._manager.stopping()
                if not self._is_service():  # so nobody expects it to run any more
                    dataclasses.replace(self._heartbeat, expected=False).keep(state.store)

    def _swept(self, store: Store) -> None:
        """A sweep has ended. All of the heartbeat is kept again: the state may have begun anew."""
        now = self._outside.clock.now()
        self._heartbeat = dataclasses.replace(self._heartbeat, swept_at=now)
        self._heartbeat.keep(store)

    def _look_after_lock(self) -> None:
        """Begin anew where the lock is gone with its folder: another daemon could start beside us."""
        folder = self._config.state_dir
        if identity(folder / DAEMON_LOCK) != self._lock and not self._lost.is_set():
            log.warning("%s was removed while pgherald ran; it is made anew.", folder)
            self._lost.set()

    def _is_service(self) -> bool:
        """Whether a service manager is to keep a daemon running: ours, or whoever started this."""
        env, home = self._outside.env, self._outside.home
        return self._manager.listens or manager_of(env, home, self._config.state_dir).file.exists()

    def _listen_to_signals(self) -> None:
        loop = asyncio.get_running_loop()
        stops = dict.fromkeys(("SIGTERM", "SIGINT", "SIGBREAK"), self.stop)
        for name, call in {**stops, "SIGHUP": self.reload}.items():
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
        tells = self._next_teller or teller_of(config, self._outside, state.store)
        self._next_teller = None
        tells.resume()
        try:
            generation = Generation(
                config,
                state,
                self._outside,
                tells=tells,
                reload=self.reload,
                supervisor=self._supervisor,
                at_sweep=self._look_after_lock,
                swept=partial(self._swept, state.store),
            )
            async with generation:
                self._manager.ready(generation.summary())
                publisher.follow(config, generation.summary())
                log.info("Ready: %s.", generation.summary())
                ends = (self._stopping, self._lost)
                while self._config is config and not any(event.is_set() for event in ends):
                    await first_of(*(event.wait() for event in (*ends, self._reload)))
                    if self._reload.is_set():
                        self._reload.clear()
                        self._read_config(generation.alerts, state)
                        if self._config is config:
                            generation.refresh()
        finally:
            self._supervisor.alerts = None
            await tells.close(within=STOP_LIMIT)

    def _read_config(self, alerts: Alerts, state: State) -> None:
        """Take over a changed configuration; keep the old one when the new one is wrong."""
        self._manager.reloading()
        try:
            config = self._reread()
            # What the configuration asks for may be missing, such as a package.
            teller = teller_of(config, self._outside, state.store)
        except PgheraldError as exc:
            log.error("The new configuration is wrong; the old one stays.\n%s", exc)
            if isinstance(exc, ConfigError) and exc.problems:  # a notice has no room for them
                exc = ConfigError(exc.title, advice=_NAME_THEM)
            alerts.fire(Subject(About.CONFIG), "The configuration", exc)
            self._manager.ready("running with the old configuration: the new one is wrong")
            return
        alerts.resolve(Subject(About.CONFIG))
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


def _unforeseen(_loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """Log what nobody caught, without asyncio's own words: they quote the exception's text."""
    exc = context.get("exception")
    said = safe_text(exc) if isinstance(exc, BaseException) else "in the event loop"
    log.error("pgherald stumbled over a mistake of its own: %s", said)


def teller_of(config: Config, outside: Outside, store: BackgroundStore) -> Teller:
    """Whoever notifies the person, as the configuration wants it."""
    wanted = config.notifications
    places = [_desktop(config, outside)] if wanted.desktop else []
    if wanted.urls:
        places.append(Chat(wanted.urls))
    ours = logging.getLogger("pgherald")
    return Teller(places, outside.clock, ours, store, level=wanted.level, quiet=wanted.quiet)


def _desktop(config: Config, outside: Outside) -> Backend:
    from pgherald.notify.opening import Opener  # only where there is a desktop

    return desktop_for(
        sys.platform,
        environ=outside.env,
        opener=Opener(outside.env, outside.home, config.path),
        terminals=config.notifications.terminals,
    )
