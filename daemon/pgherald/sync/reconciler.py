"""Reconcile: the logins that Heroku shows against the ones that the clients hold.

Sightings come in, in any order and any number. They are compared with all clients at once; each
database that differs gets a task of its own, so that a login that takes long to verify holds up
no other. What was verified at about the same time is written together.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import timedelta
from typing import Final

from pgherald.aio import set_anew
from pgherald.clock import Clock
from pgherald.errors import NotYetProven, PgheraldError, ProbeFailed
from pgherald.model import (
    About,
    Database,
    DatabaseKey,
    Entry,
    Phase,
    ProbePolicy,
    Sighting,
    Subject,
)
from pgherald.store import BackgroundStore
from pgherald.sync.alerts import Alerts
from pgherald.sync.apply import Applier
from pgherald.sync.group_commit import GroupCommit, Window
from pgherald.sync.plan import Plan
from pgherald.sync.probe import CHECK_PAUSES, RETRY_PAUSES, Prober, Proof
from pgherald.sync.recorder import Recorder
from pgherald.sync.tracked import Latest, Tracked, Tracker, VerifiedLogin
from pgherald.sync.verification import (
    MAX_AGE,
    Decision,
    Trial,
    Verification,
    Verifier,
    decide,
    is_stale,
    trials,
)

log = logging.getLogger(__name__)

#: While more is on its way, a comparison waits until nothing has come for this long, in seconds …
QUIET: Final = 0.25
#: … but never longer than this.
COMPARE_LIMIT: Final = 1.0

#: A rotation whose verification takes longer than this is announced, in seconds: somebody may
#: wait for it.
SLOW: Final = 2.0


class Reconciler:
    """Decides what happens to each sighting.

    Args:
        applier: plans and writes.
        recorder: keeps what was written, and notifies of it.
        prober: connects with logins.
        store: keeps state.
        troubles: hears what does not work.
        clock: tells the time and waits.
        quiet: seconds to wait for more before a comparison or a transaction; only while more
            is expected.
        max_age: how long ago a current login may have connected last. Zero verifies each one.
    """

    def __init__(
        self,
        *,
        applier: Applier,
        recorder: Recorder,
        prober: Prober,
        store: BackgroundStore,
        alerts: Alerts,
        clock: Clock,
        quiet: float = QUIET,
        max_age: timedelta = MAX_AGE,
    ) -> None:
        self._applier = applier
        self._recorder = recorder
        self._verifier = Verifier(prober, clock)
        self._store = store
        self._alerts = alerts
        self._tracker = Tracker(store, alerts)
        #: What Heroku does not show needs no work, only a word in the records.
        self.absent, self.unanswered = self._tracker.absent, self._tracker.unanswered
        self.found_only, self.snapshot = self._tracker.found_only, self._tracker.snapshot
        self._clock = clock
        self._max_age = max_age
        #: Called with a database whose current login no longer connects: Heroku is asked at once.
        self.refused: Callable[[Database], None] = lambda _: None
        self._moved = asyncio.Event()
        self._window = Window(quiet)
        #: Held while clients are compared or written.
        self._clients = asyncio.Lock()
        self._group = GroupCommit(self._write, self._clients, self._moved, quiet)
        #: Why nothing at all could be written, if that is so.
        self.broken: PgheraldError | None = None

    # --- what comes in -----------------------------------------------------------------

    def sighted(self, sightings: Iterable[tuple[Database, Sighting]]) -> None:
        """Heroku showed these logins. Returns at once."""
        for database, sighting in sightings:
            self._tracker.sighted(database, sighting)
            self._compare_soon()

    def again(self) -> None:
        """A client's file was changed: compare all with what Heroku showed last."""
        for tracked in self._tracker:
            if tracked.sighting is not None:
                tracked.due = True
                self._compare_soon()

    def event(self) -> None:
        """Something may have changed, and where one login changes others do: they go together."""
        self._group.event()

    def expecting(self) -> contextlib.AbstractContextManager[None]:
        """While this is open, comparisons and transactions wait a moment for what may come."""
        return self._group.expecting()

    # --- how it stands -----------------------------------------------------------------

    @property
    def wanted(self) -> list[Entry]:
        """What each client should hold, by the latest sighting of each database."""
        return self._tracker.wanted

    @property
    def verifying(self) -> tuple[DatabaseKey, ...]:
        """Databases whose login is being verified at the moment."""
        return tuple(tracked.key for tracked in self._tracker if tracked.is_verifying)

    async def settled(self, *, verifying: bool = True) -> None:
        """Wait until nothing is left to do; with `verifying`, until no login is being verified."""
        while self._is_busy(verifying=verifying):
            await set_anew(self._moved, None)

    def _is_busy(self, *, verifying: bool) -> bool:
        if self._window.opened is not None or self._clients.locked() or self._group.expected:
            return True
        return self._group.busy or any(
            tracked.task is not None and (verifying or not tracked.waits)
            for tracked in self._tracker
        )

    # --- comparing ---------------------------------------------------------------------

    async def run(self) -> None:
        """Work until cancelled. Comparisons and transactions never overlap."""
        try:
            async with asyncio.TaskGroup() as self._tasks:
                self._tasks.create_task(self._group.run())
                await self._compare_always()
        except BaseExceptionGroup as mistakes:
            raise mistakes.exceptions[0] from None
        finally:
            self._applier.restless.stop()

    async def _compare_always(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            due = None
            if self._window.opened is not None:
                due = self._window.closes(COMPARE_LIMIT)
                if not self._group.expected or due <= loop.time():
                    try:
                        async with self._clients:
                            await self._compare()
                    except PgheraldError as exc:
                        # The next sweep tries again; what failed has been said.
                        log.warning("%s", exc)
                    self._moved.set()
                    continue
            await set_anew(self._moved, due)

    def _compare_soon(self) -> None:
        self._window.add(asyncio.get_running_loop().time())
        self._moved.set()

    async def _compare(self) -> None:
        """Compare all databases with the clients, and begin to reconcile those that differ."""
        self._window.close()
        due = [(t, t.entry) for t in self._tracker if t.due]
        for tracked, _ in due:
            tracked.due = False
        # Planned for all databases, so that a file that is idle has really nothing left to do.
        found = await self._applier.plan(self.wanted)
        self._applier.restless.follow(self.again)
        await self._applier.note_clients(found)
        self._tracker.note(found)
        if found.idle and not found.failed:
            self._can_write()  # or need not any more: somebody did it by hand
        same = [t for t, entry in due if t.entry == entry]
        latest = self._tracker.latest()
        for tracked in same:
            self._begin_or_settle(tracked, found, latest)
        held = [t for t in same if t.key not in found.keys and t.key not in found.refusals]
        await self._recorder.compared(
            [t.database for t in same], [t.login(None) for t in held], found
        )
        await self._applier.tighten(found)

    def _begin_or_settle(self, tracked: Tracked, found: Plan, latest: Latest) -> None:
        """Begin to reconcile a database that differs; one that does not needs nothing more."""
        entry, shown, tracked.shown = tracked.entry, tracked.shown, False
        assert entry is not None
        needed = trials(entry, found.holders.get(tracked.key, ()))
        differs = tracked.key in found.keys
        self._tracker.share(tracked, latest.get(needed))
        same = tracked.task is not None and tracked.trials in (needed, ())
        if differs or (same and tracked.held) or self._must_verify(tracked, needed, shown=shown):
            if same and not (differs and tracked.held):  # else a client was changed meanwhile
                return
            self._tracker.begin(tracked, needed, found)
            work = self._reconcile(tracked, entry, needed, found)
            tracked.task = self._tasks.create_task(work, name=f"reconcile {tracked.key}")
            tracked.task.add_done_callback(lambda _: self._moved.set())
        elif shown or tracked.rejected != needed:  # else Heroku has to answer first
            tracked.cancel()
            self._tracker.settle(tracked, found, Phase.CURRENT)
        self._tracker.keep(tracked)

    def _must_verify(self, tracked: Tracked, needed: tuple[Trial, ...], *, shown: bool) -> bool:
        """Whether a login that the clients hold has to connect before it is called current."""
        database, known = tracked.database, tracked.verification
        if database.probe is ProbePolicy.OFF:
            return False
        at = self._store.connected_at(database.key, tracked.login(None).entry.login)
        if known is not None and known.trials == needed:
            if not self._max_age:
                return False  # once in this run
            disproved = known.works and at is None
            at = None if known.trouble or disproved else known.at
        elif any(trial.demand for trial in needed) and database.probe is ProbePolicy.REQUIRE:
            return True  # a client demands more than was verified
        at = None if self._tracker.is_disputed(tracked, at) else at
        # Only Heroku's answer shows that there is a network to verify it over.
        return shown and is_stale(needed[0].login, at, self._clock.now(), self._max_age)

    # --- reconciling one database ------------------------------------------------------

    async def _reconcile(
        self, tracked: Tracked, entry: Entry, needed: tuple[Trial, ...], found: Plan
    ) -> None:
        """From a login that differs to clients that hold it. A newer sighting cancels this."""
        held = entry.key not in found.keys  # so that it only has to connect
        try:
            verified = await self._verify(tracked, entry, needed, held=held)
            tracked.trials = ()
            if verified is None:
                return
            done = found if held else await self._group.submit(verified)
            written = entry.key in done.keys
            self._tracker.settle(tracked, done, Phase.WRITTEN if written else Phase.CURRENT)
        except PgheraldError:
            tracked.compared = Phase.BEHIND  # `_write` has said why
        except Exception as exc:  # noqa: BLE001 – one database's must not end all others' work
            self._tracker.blunder(tracked, exc)
        finally:
            if tracked.task is asyncio.current_task():
                tracked.task, tracked.trials = None, ()
                self._tracker.keep(tracked)

    async def _verify(
        self, tracked: Tracked, entry: Entry, needed: tuple[Trial, ...], *, held: bool
    ) -> VerifiedLogin | None:
        """Connect with a login, with retries; None when it is given up."""
        policy = entry.database.probe
        if policy is ProbePolicy.OFF:
            return tracked.login(None)
        if not held and (known := self._tracker.proof(tracked, needed)) is not None:
            return tracked.login(known.at)
        # The pauses are for a login that Heroku showed a moment early; one that the clients hold
        # delays no check for long. One that was given up before is tried once a sweep.
        usual = CHECK_PAUSES if held and not self._max_age else RETRY_PAUSES
        pauses = () if tracked.rejected == needed else usual
        with self._announced(entry, wanted=bool(pauses)):
            for pause in itertools.chain(pauses, [None]):
                with self.expecting():
                    proof = await self._verifier.attempt(entry.key, needed, self._tasks)
                    decision = decide(policy, proof, last=pause is None, held=held)
                    if decision is Decision.WRITE:
                        return self._verified(tracked, needed, proof, held=held)
                tracked.verification = None  # whatever it was, it is over
                if held and proof.answered and pauses:
                    self.refused(entry.database)
                if pause is None or decision is Decision.GIVE_UP:
                    self._give_up(tracked, needed, proof, held=held)
                    return None
                await self._retry_later(tracked, proof, pause)
        raise AssertionError("the last attempt decides")

    def _verified(
        self, tracked: Tracked, needed: tuple[Trial, ...], proof: Proof, *, held: bool
    ) -> VerifiedLogin:
        tracked.rejected = ()
        trouble = proof.error(tracked.database) if proof.proven else None
        tracked.verification = Verification(needed, proof.at, proof.works, trouble)
        login = tracked.login(proof.at if proof.proves else None)
        if held and proof.works:
            self._tracker.connected(login)
        return login

    async def _retry_later(self, tracked: Tracked, proof: Proof, pause: float) -> None:
        log.info("%s: %s; trying again", tracked.key, proof.error(tracked.database).title)
        self._tracker.not_yet(tracked, proof)
        tracked.waits = True
        self._moved.set()
        try:
            await self._clock.sleep(pause)
        finally:
            tracked.waits = False

    def _give_up(
        self, tracked: Tracked, needed: tuple[Trial, ...], proof: Proof, *, held: bool
    ) -> None:
        error: ProbeFailed | NotYetProven = proof.error(tracked.database)
        if held and not proof.answered:
            # A network that lets nobody through says nothing about the login: status shows it.
            error = NotYetProven(error.title, error.advice)
        elif held:
            self._store.disproved(tracked.key)
            said = f"Heroku still shows this login. {error.advice}"
            error = ProbeFailed(error.title, said, outcome=proof.outcome)
        self._tracker.give_up(tracked, needed, error)

    @contextlib.contextmanager
    def _announced(self, entry: Entry, *, wanted: bool) -> Iterator[None]:
        """Meanwhile, announce a rotation whose verification is slow."""

        async def announce() -> None:
            await self._clock.sleep(SLOW)
            self._recorder.announce(entry)

        task = self._tasks.create_task(announce()) if wanted else None
        try:
            yield
        finally:
            if task is not None:
                task.cancel()

    # --- writing -----------------------------------------------------------------------

    async def _write(self, verified: Sequence[VerifiedLogin]) -> Plan:
        """Write logins into the clients, as one transaction; for `GroupCommit`."""
        try:
            plan = await self._applier.apply(verified)
        except PgheraldError as exc:
            self.broken = exc
            self._alerts.fire(Subject(About.COMMIT), "commit", exc)
            # The next sweep tries again.
            log.warning("%s", exc)
            raise
        finally:
            self._applier.restless.follow(self.again)
        self._can_write()
        return plan

    def _can_write(self) -> None:
        self.broken = None
        self._alerts.resolve(Subject(About.COMMIT))
