"""Reconcile: what Heroku shows against what the clients hold.

Sightings come in, in any order and any number. Those that the clients already hold are
noted; the others are proven, each for itself, and written together: everything that becomes
ready within a breath goes into one commit, and a login that takes long to prove keeps no
other waiting.
"""

from __future__ import annotations

import asyncio
import contextlib
import enum
import logging
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from pgherald.clock import Clock
from pgherald.errors import ClientError, NotYetProven, PgheraldError, safe_text
from pgherald.model import Database, DatabaseKey, Entry, ProbePolicy, Sighting
from pgherald.store import BackgroundStore
from pgherald.sync.apply import Applier
from pgherald.sync.batch import Batch, Ready
from pgherald.sync.cleared import Cleared, Seen
from pgherald.sync.demands import Trial, prove, trials
from pgherald.sync.plan import Plan
from pgherald.sync.probe import RETRY_PAUSES, Outcome, Prober, Proof
from pgherald.sync.troubles import Troubles
from pgherald.sync.verdict import Verdict, judge

log = logging.getLogger(__name__)

#: While more is on its way, a batch is closed once nothing has come for this long, in seconds.
QUIET: Final = 0.25

#: Sightings are compared, and their proofs begun, at the latest after this, in seconds.
SEEN_LIMIT: Final = 1.0

#: A new login that is being proven for this long is told, in seconds: somebody may wait for it.
SLOW: Final = 2.0

#: Seconds that the record of an interrupted commit waits for the state file.
_STORE_LIMIT: Final = 1.0


class Standing(enum.StrEnum):
    """How a database stands after its last sighting."""

    CURRENT = "current"
    """Every client holds its login; nothing had to be written."""
    WRITTEN = "written"
    """Its login has just been written into every client."""
    PROVING = "proving"
    """Its new login is being proven."""
    UNPROVEN = "unproven"
    """Its new login could not be proven, so the clients still hold the old one."""
    BEHIND = "behind"
    """At least one client could not be brought up to date."""


@dataclass(frozen=True, slots=True)
class _Case:
    """A login that is being proven, and in which ways."""

    needed: tuple[Trial, ...]
    task: asyncio.Task[None]


class Engine:
    """Decides what happens to each sighting.

    Args:
        applier: plans and commits.
        prober: proves logins.
        store: keeps state.
        troubles: hears what does not work.
        clock: tells the time and waits.
        quiet: seconds to wait for more before a commit; only while more is expected.
    """

    def __init__(
        self,
        *,
        applier: Applier,
        prober: Prober,
        store: BackgroundStore,
        troubles: Troubles,
        clock: Clock,
        quiet: float = QUIET,
    ) -> None:
        self._applier = applier
        self._prober = prober
        self._store = store
        self._troubles = troubles
        self._clock = clock
        self._queue: asyncio.Queue[Seen | Cleared] = asyncio.Queue()
        self._seen: Batch[Seen] = Batch(quiet, SEEN_LIMIT)
        self._ready: Ready[Cleared] = Ready(quiet)
        self._latest: dict[DatabaseKey, Seen] = {}
        self._proven: dict[DatabaseKey, tuple[tuple[Trial, ...], datetime]] = {}
        self._given_up: dict[DatabaseKey, tuple[Trial, ...]] = {}
        self._cases: dict[DatabaseKey, _Case] = {}
        self._expected = 0
        self._working = False
        self._moved = asyncio.Event()
        #: How each database stands after its latest sighting.
        self.standing: dict[DatabaseKey, Standing] = {}
        #: Why a database is not current, where the reason is its own.
        self.problems: dict[DatabaseKey, PgheraldError] = {}
        #: Why nothing at all could be written, if that is so.
        self.broken: PgheraldError | None = None

    # --- what comes in -----------------------------------------------------------------

    def sighted(self, sightings: Iterable[tuple[Database, Sighting]]) -> None:
        """Heroku showed these logins. Returns at once."""
        for database, sighting in sightings:
            seen = Seen(Entry(database, sighting.login), sighting.seen_at, sighting.release)
            self._latest[seen.key] = seen
            self._queue.put_nowait(seen)

    def again(self) -> None:
        """A client's file was changed: compare all with what Heroku showed last."""
        for seen in self._latest.values():
            self._queue.put_nowait(seen)

    def event(self) -> None:
        """Something may have changed, and where one login changes others do: they go together."""
        self._ready.event(asyncio.get_running_loop().time())

    @property
    def wanted(self) -> list[Entry]:
        """What each client should hold, by the latest sighting of each database."""
        return [seen.entry for seen in self._latest.values()]

    @contextlib.contextmanager
    def expecting(self) -> Iterator[None]:
        """While this is open, a commit waits a moment for what may still come."""
        self._expected += 1
        try:
            yield
        finally:
            self._expected -= 1
            self._moved.set()

    @property
    def proving(self) -> tuple[DatabaseKey, ...]:
        """Databases whose new login is being proven at the moment."""
        return tuple(self._cases)

    async def settled(self, *, proving: bool = True) -> None:
        """Wait until nothing is left to do; with `proving`, until no login is being proven."""
        while (
            self._working
            or self._expected
            or not self._queue.empty()
            or self._seen
            or self._ready
            or (proving and self._cases)
        ):
            self._moved.clear()
            await self._moved.wait()

    # --- the one worker ----------------------------------------------------------------

    async def run(self) -> None:
        """Work until cancelled; one batch at a time, so that commits never overlap."""
        try:
            while True:
                await self._take_in()
                self._working = True
                try:
                    await self._work_off()
                except PgheraldError as exc:
                    # The next sweep tries again; what failed has been said.
                    log.warning("%s", exc)
                finally:
                    self._working = False
                    self._moved.set()
        finally:
            for case in self._cases.values():
                case.task.cancel()
            self._applier.restless.stop()

    async def _take_in(self) -> None:
        """Wait for the next item, or until a batch is due."""
        due = [self._seen.due()] if self._seen else []
        due += [self._ready.closes(self._expected)] if self._ready else []
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout_at(min(due, default=None)):
                self._sort(await self._queue.get())
        while not self._queue.empty():
            self._sort(self._queue.get_nowait())

    def _sort(self, item: Seen | Cleared) -> None:
        if self._latest[item.key].entry != item.entry:
            return  # a later sighting has overtaken it
        now = asyncio.get_running_loop().time()
        if isinstance(item, Seen):
            self._seen.add(item, now)
        else:
            self._ready.add(item, now)

    async def _work_off(self) -> None:
        """Handle what is due: everything, once nothing more is on its way."""
        now = asyncio.get_running_loop().time()
        if self._seen and (not self._expected or self._seen.due() <= now):
            await self._compare(self._seen.take())
            # Lets the proofs begin, so that they count as expected below.
            await asyncio.sleep(0)
        if self._ready and self._ready.closes(self._expected) <= now:
            await self._apply(self._ready.take())

    async def _compare(self, seen: Sequence[Seen]) -> None:
        """Sort sightings into those that the clients hold and those to be proven."""
        # Planned for all databases, so that a file that is idle has really nothing left to do.
        plan = await self._applier.plan(self.wanted)
        self._applier.restless.follow(self.again)
        await self._applier.note_clients(plan)
        self._note_refused(plan)
        if plan.idle and not plan.failed:
            self._can_write()  # or need not any more: somebody did it by hand
        changing, refused, current = plan.keys, {key for _, key, _ in plan.refused}, list[Seen]()
        for item in seen:
            needed = trials(item.entry, plan.holders.get(item.key, ()))
            if item.key in changing or self._is_unmet(item, needed):
                self._consider(item, needed)
                continue
            self._drop_case(item.key)
            if item.key in refused:
                self.standing[item.key] = Standing.BEHIND
                continue
            # A client that fails is named; it takes nothing from what the others hold.
            current.append(item)
            if plan.failed:
                self.standing[item.key] = Standing.BEHIND
                continue
            self.standing[item.key] = Standing.CURRENT
            self._well(item.key)
        await self._remember(seen, current, plan)
        await self._applier.tighten(plan)

    async def _remember(self, seen: Sequence[Seen], current: Sequence[Seen], plan: Plan) -> None:
        """Keep in the store what was seen, and what every client that can be kept holds."""
        now = self._clock.now()
        if plan.failed and all(file.absent for file in plan.files):
            current = []
        self._store.looked([item.entry.database for item in seen], now)
        # The clients hold it, and the store knows another one: whoever wrote it was ended
        # before it could say so. Or it is another process, which has said so by now.
        late = [i for i in current if self._store.changed(i.key, i.entry.login)]
        if late and not await asyncio.to_thread(self._store.catch_up, _STORE_LIMIT):
            current = [item for item in current if item not in late]  # at the next sweep
        late = [i for i in current if self._store.changed(i.key, i.entry.login)]
        await self._applier.record(
            [Cleared(i.entry, i.seen_at, i.release, None) for i in late], plan, late=True
        )
        at = None if plan.failed else now
        self._store.current([item.entry for item in current], at, {})

    def _note_refused(self, plan: Plan) -> None:
        refused = {key: (client, error) for client, key, error in plan.refused}
        for entry in self.wanted:
            key = entry.key
            if key not in refused:
                self._troubles.ended(f"fit:{key}")
                continue
            client, error = refused[key]
            problem = ClientError(
                f"{client.label} cannot hold the login of {key}: {error.reason}", error.advice
            )
            self.problems[key] = problem
            # A subject of its own: the same login may also be refused by Postgres.
            self._troubles.arose(f"fit:{key}", entry.database.name, problem)

    def _well(self, key: DatabaseKey) -> None:
        self.problems.pop(key, None)
        self._troubles.ended(f"database:{key}")

    def _unwell(self, key: DatabaseKey, label: str, error: PgheraldError) -> None:
        self.problems[key] = error
        self._troubles.arose(f"database:{key}", label, error)

    async def _apply(self, cleared: Sequence[Cleared]) -> None:
        try:
            plan = await self._applier.apply(cleared)
        except PgheraldError as exc:
            for item in cleared:
                self.standing[item.key] = Standing.BEHIND
            self.broken = exc
            self._troubles.arose("commit", "commit", exc)
            raise
        finally:
            self._applier.restless.follow(self.again)
        self._can_write()
        refused = {key for _, key, _ in plan.refused}
        for item in cleared:
            if plan.failed or item.key in refused:
                self.standing[item.key] = Standing.BEHIND
                continue
            self.standing[item.key] = Standing.WRITTEN
            self._well(item.key)

    def _can_write(self) -> None:
        self.broken = None
        self._troubles.ended("commit")

    # --- proving -----------------------------------------------------------------------

    def _is_unmet(self, seen: Seen, needed: tuple[Trial, ...]) -> bool:
        """Whether a client that holds the login demands what was not proven yet."""
        proven, _ = self._proven.get(seen.key, ((), None))
        must = seen.entry.database.probe is ProbePolicy.REQUIRE
        return must and proven != needed and any(trial.client for trial in needed)

    def _consider(self, seen: Seen, needed: tuple[Trial, ...]) -> None:
        """Clear the login, or begin to prove it in every way that is needed."""
        key = seen.key
        proven = self._proven.get(key)
        if proven is not None and proven[0] == needed:
            self._clear(seen, proven[1])
        elif seen.entry.database.probe is ProbePolicy.OFF:
            self._clear(seen, None)
        elif (case := self._cases.get(key)) is None or case.needed != needed:
            self._drop_case(key)
            self.standing[key] = Standing.PROVING
            # The pauses are for a login that Heroku showed a moment early. One that was
            # given up on before is tried once a sweep.
            pauses = () if self._given_up.get(key) == needed else RETRY_PAUSES
            task = asyncio.create_task(self._prove(seen, needed, pauses), name=f"prove {key}")
            self._cases[key] = _Case(needed, task)

    def _drop_case(self, key: DatabaseKey) -> None:
        if (case := self._cases.pop(key, None)) is not None:
            case.task.cancel()

    def _clear(self, seen: Seen, proven_at: datetime | None) -> None:
        self._queue.put_nowait(Cleared(seen.entry, seen.seen_at, seen.release, proven_at))

    async def _prove(self, seen: Seen, needed: tuple[Trial, ...], pauses: Sequence[float]) -> None:
        key = seen.key
        # One that was given up on has been told.
        slow = asyncio.create_task(self._announce(seen)) if pauses else None
        try:
            rest = iter(pauses)
            while True:
                pause = next(rest, None)
                with self.expecting():
                    proof = await self._probe(seen, needed)
                    verdict = judge(seen.entry.database.probe, proof, last=pause is None)
                    if verdict is Verdict.WRITE:
                        self._write(seen, needed, proof)
                        return
                if verdict is Verdict.GIVE_UP or pause is None:
                    self._give_up(seen, needed, proof)
                    return
                self._not_yet(seen, proof)
                await self._clock.sleep(pause)
        finally:
            if slow is not None:
                slow.cancel()
            case = self._cases.get(key)
            if case is not None and case.task is asyncio.current_task():
                del self._cases[key]
            self._moved.set()

    async def _announce(self, seen: Seen) -> None:
        await self._clock.sleep(SLOW)
        self._applier.announce(seen.entry)

    async def _probe(self, seen: Seen, needed: Sequence[Trial]) -> Proof:
        try:
            return await prove(self._prober, needed)
        except Exception as exc:  # noqa: BLE001 – a prober's mistake must not end in silence
            log.error("%s: the probe itself failed: %s", seen.key, safe_text(exc))
            return Proof(Outcome.FAILED, self._clock.now(), 0.0, type(exc).__name__)

    def _write(self, seen: Seen, needed: tuple[Trial, ...], proof: Proof) -> None:
        self._given_up.pop(seen.key, None)
        if proof.works:
            self._proven[seen.key] = (needed, proof.at)
        if proof.works and any(trial.client for trial in needed):
            self._queue.put_nowait(seen)  # there may be nothing to write
        else:
            self._clear(seen, proof.at if proof.works else None)

    def _give_up(self, seen: Seen, needed: tuple[Trial, ...], proof: Proof) -> None:
        self._given_up[seen.key] = needed
        self.standing[seen.key] = Standing.UNPROVEN
        label = seen.entry.database.name
        self._unwell(seen.key, label, proof.error(label))

    def _not_yet(self, seen: Seen, proof: Proof) -> None:
        label = seen.entry.database.name
        error = proof.error(label)
        log.info("%s: %s; trying again", seen.key, error.title)
        self._unwell(seen.key, label, NotYetProven(error.title, "It is being tried again."))
