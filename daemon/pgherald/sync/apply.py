"""Write verified logins into all clients: plan, commit, and plan again where a file changed.

Clients that others are writing are waited for, for a moment, and then written later.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import json
import logging
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import Final

from pgherald.clock import Clock
from pgherald.errors import BeingWritten, ChangedMeanwhile, ClientError, ClientMissing, FileTrouble
from pgherald.files import Files, Snapshot, Stillness
from pgherald.model import DatabaseKey, Entry
from pgherald.store import BackgroundStore
from pgherald.sync.alerts import Alerts
from pgherald.sync.plan import Client, ClientPlan, FilePlan, Plan, in_words, plan_client
from pgherald.sync.recorder import Recorder
from pgherald.sync.tracked import VerifiedLogin
from pgherald.sync.transaction import Transactions

log = logging.getLogger(__name__)

#: How often a commit is planned anew because another program wrote one of the files.
_ATTEMPTS: Final = 8

#: How long one client's file may take to be read, in seconds.
_READ_LIMIT: Final = 10.0

_MISSING: Final = (
    "Start its program once, which makes it, or take the client out of the configuration."
)

#: How long one client that is being written may hold up the others, in seconds.
HOLD: Final = 2.0

#: A file that is open to be written is asked for again after this, in seconds.
_ASK_AGAIN: Final = 1.0

#: Likewise one that changed while it was being read.
_READ_AGAIN: Final = 0.05

#: Pause before planning anew, in seconds, times the number of the attempt.
_PAUSE: Final = 0.05


class Applier:
    """Writes verified entries into all clients, as one commit.

    Args:
        clients: every client's file.
        files: the one reader and writer of files.
        committer: makes several writes one.
        recorder: keeps what was written, and notifies of it.
        store: keeps state and history.
        clock: tells the time.
        alerts: hears what does not work.
        wrote: hears which files were just written, so that a watcher can leave them alone.
        stillness: remembers when files changed.
    """

    def __init__(
        self,
        *,
        clients: Sequence[Client],
        files: Files,
        committer: Transactions,
        recorder: Recorder,
        store: BackgroundStore,
        clock: Clock,
        alerts: Alerts,
        wrote: Callable[[Path], None] = lambda _: None,
        stillness: Stillness | None = None,
    ) -> None:
        self._clients = tuple(clients)
        self._files = files
        self._committer = committer
        self._store = store
        self._clock = clock
        self._alerts = alerts
        self._recorder = recorder
        self._wrote = wrote
        #: Which clients are left alone for the moment.
        self.restless = Restless(files, clock, stillness or Stillness(clock))
        self._committing: asyncio.Task[None] | None = None
        self._hanging: dict[Client, asyncio.Task[ClientPlan]] = {}
        #: Files that stay open to others whatever is done, by file and mode.
        self._stubborn: set[tuple[Path, int | None]] = set()
        #: Clients that could not be brought up to date at the latest attempt, and why.
        self.broken: dict[Client, ClientError] = {}

    async def plan(
        self,
        wanted: Sequence[Entry],
        *,
        without: Collection[Client] = (),
        remove: Collection[DatabaseKey] = (),
    ) -> Plan:
        """Compare the clients with the wanted logins, all at the same time.

        A file that does not answer, on a network folder that hangs, fails like any other; so
        does one that others go on writing.
        """
        clients = [client for client in self._clients if client not in without]
        parts = await asyncio.gather(*(self._plan_one(c, wanted, remove) for c in clients))
        return Plan(tuple(parts))

    async def _plan_one(
        self, client: Client, wanted: Sequence[Entry], remove: Collection[DatabaseKey]
    ) -> ClientPlan:
        while True:
            part = await self._read_one(client, wanted, remove)
            if (settled := await self.restless.settle(part)) is not None:
                return self._unless_stubborn(settled)

    async def _read_one(
        self, client: Client, wanted: Sequence[Entry], remove: Collection[DatabaseKey]
    ) -> ClientPlan:
        silent = FileTrouble(
            "does not answer", "Is it on a network folder that is gone?", path=client.path
        )
        if client in self._hanging:
            return ClientPlan(client, error=silent)
        work = asyncio.to_thread(plan_client, self._files, client, wanted, remove=remove)
        task = asyncio.create_task(work)
        self._hanging[client] = task
        task.add_done_callback(lambda _: self._hanging.pop(client))
        done, _ = await asyncio.wait({task}, timeout=_READ_LIMIT)
        return task.result() if done else ClientPlan(client, error=silent)

    def _unless_stubborn(self, part: ClientPlan) -> ClientPlan:
        file = part.file
        if file is None or (file.snapshot.target, file.snapshot.mode) not in self._stubborn:
            return part
        return dataclasses.replace(part, file=dataclasses.replace(file, loose=False))

    async def apply(
        self, verified: Sequence[VerifiedLogin], *, remove: Collection[DatabaseKey] = ()
    ) -> Plan:
        """Write the entries into every client that can be written.

        A client that fails is left out, named as a trouble, and hinders no other. Returns
        the plan that was carried out; its `failed` and `refused` say what is behind.

        Args:
            verified: what is to be written.
            remove: databases whose entries go.

        Raises:
            FileTrouble: no undo could be written, so no client was touched.
        """
        wanted = [item.entry for item in verified]
        broken: dict[Client, ClientError] = {}
        overtaken = 0
        while True:
            plan = await self.plan(wanted, without=broken, remove=remove)
            try:
                await self._commit(plan, verified)
            except ChangedMeanwhile as exc:
                overtaken += 1
                if overtaken >= _ATTEMPTS:
                    broken[client := plan.client_of(exc)] = exc
                    self.restless.give_up(client)
                log.info("%s; planning again", exc.title)
                await self._clock.sleep(_PAUSE * overtaken)
            except FileTrouble as exc:
                broken[plan.client_of(exc)] = exc
            else:
                break
        for file in plan.files:
            await self._remember(file)
            if file.edit.changes:
                self._well(file.client)
                self.restless.wrote(file.client.path, file.edit.new)
                self._wrote(file.client.path)
        left_out = (ClientPlan(client, error=error) for client, error in broken.items())
        plan = Plan((*plan.parts, *left_out), written=True)
        for client, error in plan.failed:
            self._fail(client, error)
        # What nothing had to be written for is no news: a client that stays broken makes the
        # others be looked at again and again.
        changed = plan.keys
        await self._recorder.record([item for item in verified if item.key in changed], plan)
        return plan

    async def remove(self, keys: Collection[DatabaseKey]) -> Plan:
        """Take databases out of every client, since the person no longer wants them kept."""
        plan = await self.apply([], remove=keys)
        for key in keys:
            self._store.forget(key)
        return plan

    async def tighten(self, plan: Plan) -> None:
        """Take files with passwords from everyone but their owner.

        Some file systems know no modes; that is said once, and then let be.
        """
        for file in plan.files:
            if not file.loose or file.edit.changes:
                continue
            try:
                after = await asyncio.to_thread(self._files.tighten, file.snapshot)
            except ClientError as exc:
                self._fail(file.client, exc)
                continue
            if after.loose:
                self._stubborn.add((after.target, after.mode))
                log.warning("%s can be read by others: its file system has no modes", after.path)
            else:
                self._wrote(file.client.path)

    async def _commit(self, plan: Plan, verified: Sequence[VerifiedLogin]) -> None:
        files = [file for file in plan.files if file.edit.changes]
        if not files:
            return
        note = "; ".join(sorted({in_words(c) for file in files for c in file.edit.changes}))
        log.debug("writing %s: %s", ", ".join(str(file.client.path) for file in files), note)
        changed = plan.keys
        logins = self._recorder.journaled([item for item in verified if item.key in changed])

        def commit() -> None:
            steps = [step for file in files for step in file.steps()]
            # The logins are proven, or the person chose that they need not be.
            self._committer.commit(steps, proven=True, note=note, logins=logins)

        # A stopping daemon does not abandon a commit half-way: the thread goes on, `finished`
        # waits for it, and should it be killed, the journal ends its work at the next start.
        work = asyncio.to_thread(commit)
        self._committing = asyncio.create_task(work)
        await asyncio.shield(self._committing)

    async def finished(self, within: float) -> None:
        """Wait until no commit is under way, but no longer than `within` seconds."""
        if self._committing is not None:
            await asyncio.wait({self._committing}, timeout=within)

    async def note_clients(self, plan: Plan) -> None:
        """Tell of clients that cannot be planned, and of those that are well again.

        Args:
            plan: for all databases: that a file can be read does not mean that it can be
                written, and only one with nothing at all left to do has shown that.
        """
        for client, error in plan.failed:
            self._fail(client, error)
        self._store.note("warnings", json.dumps(plan.warnings))
        for file in plan.files:
            if file.absent:
                error = ClientMissing("is not there", _MISSING, path=file.client.path)
                self._fail(file.client, error)
            elif file.idle:
                await self._remember(file)
                self._well(file.client)

    async def _remember(self, file: FilePlan) -> None:
        """Record whose rows are whose, where no commit did, and keep a copy in the store."""
        if not file.edit.changes and file.edit.new == file.snapshot.content:
            return
        try:
            if not file.edit.changes:
                await asyncio.to_thread(self._record_alone, file)
        except ClientError as exc:
            log.info("%s; it is recorded at the next sweep", exc.title)
        else:
            file.client.copy_record(file.snapshot, file.edit.new, self._store)

    def _record_alone(self, file: FilePlan) -> None:
        for step in file.records():
            self._committer.record(step)

    def _fail(self, client: Client, error: ClientError) -> None:
        self.broken[client] = error
        self._alerts.fire(client.subject, client.label, error)

    def _well(self, client: Client) -> None:
        self.broken.pop(client, None)
        self._alerts.resolve(client.subject)


class Restless:
    """Says which clients are left alone for the moment.

    Args:
        files: reads them, and asks who writes them.
        clock: waits.
        stillness: remembers when they changed.
    """

    def __init__(self, files: Files, clock: Clock, stillness: Stillness) -> None:
        self._files = files
        self._clock = clock
        self._stillness = stillness
        #: Clients that others are writing, and since when that is known.
        self._since: dict[Client, float] = {}
        self._following: asyncio.Task[None] | None = None

    async def settle(self, part: ClientPlan) -> ClientPlan | None:
        """Wait for a client that is being written; None when it has to be planned anew.

        Returns:
            The plan as it is, if nobody writes the client, or nothing is to be written; one that
            failed with `BeingWritten` after `HOLD` seconds, and from then on without waiting.
        """
        client = part.client
        pause = await self._pause_for(part)
        if not pause:
            self._since.pop(client, None)
            return part
        now = self._clock.monotonic()
        rest = self._since.setdefault(client, now) + HOLD - now
        if rest <= 0:
            return ClientPlan(client, error=BeingWritten(path=client.path), holds=part.holds)
        await self._clock.sleep(min(pause, rest))
        return None

    def give_up(self, client: Client) -> None:
        """It changed too often while it was to be written: it has been waited for long enough."""
        self._since[client] = self._clock.monotonic() - HOLD

    def touched(self, path: Path) -> None:
        """Somebody else has changed a client's file."""
        self._stillness.touched(path)

    def wrote(self, path: Path, content: bytes) -> None:
        """We have written a client's file."""
        self._stillness.wrote(path, content)

    def follow(self, again: Callable[[], None]) -> None:
        """Ask for another plan once clients that are being written may be still, if any are.

        No event says when a program closes a file that it has not changed.
        """
        pauses = [self._stillness.left(client.path) or _ASK_AGAIN for client in self._since]
        if pauses and self._following is None:
            self._following = asyncio.create_task(self._follow(min(pauses), again))

    def stop(self) -> None:
        """Ask for nothing more."""
        if self._following is not None:
            self._following.cancel()

    async def _follow(self, pause: float, again: Callable[[], None]) -> None:
        await self._clock.sleep(pause)
        self._following = None
        again()

    async def _pause_for(self, part: ClientPlan) -> float:
        """Seconds for which the client is to be left alone; 0 if it need not be."""
        client, error = part.client, part.error
        if client.shared or isinstance(error, FileTrouble):
            return 0.0
        if isinstance(error, ChangedMeanwhile):
            return _READ_AGAIN
        if part.file is not None and not part.file.edit.changes:
            self._stillness.saw(part.file.snapshot)
            return 0.0
        found = await asyncio.to_thread(self._ask, part)
        if found is None:
            return 0.0
        snapshot, written = found
        self._stillness.saw(snapshot)
        left = self._stillness.left(client.path)
        return max(left, _ASK_AGAIN) if written else left

    def _ask(self, part: ClientPlan) -> tuple[Snapshot, bool | None] | None:
        """The file, and whether somebody has it open to write it; None if that is not known."""
        with contextlib.suppress(ClientError):
            path = part.client.path
            snapshot = self._files.read(path) if part.file is None else part.file.snapshot
            return snapshot, self._files.written(path)
        return None
