"""Write verified logins into all clients: plan, commit, and plan again where a file changed."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import logging
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import Final

from pgherald.clock import Clock
from pgherald.errors import ChangedMeanwhile, ClientError, ClientMissing, FileTrouble
from pgherald.files import Files
from pgherald.model import DatabaseKey, Entry
from pgherald.store import BackgroundStore
from pgherald.sync.alerts import Alerts
from pgherald.sync.plan import (
    ClientPlan,
    FilePlan,
    Naming,
    Plan,
    in_words,
    plan_client,
)
from pgherald.sync.recorder import Recorder
from pgherald.sync.restless import Restless, Stillness
from pgherald.sync.targets import Target
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
        clients: Sequence[Target],
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
        self._hanging: dict[Target, asyncio.Task[ClientPlan]] = {}
        #: Files that stay open to others whatever is done, by file and mode.
        self._stubborn: set[tuple[Path, int | None]] = set()
        #: Clients that could not be brought up to date at the latest attempt, and why.
        self.broken: dict[Target, ClientError] = {}

    async def plan(
        self,
        wanted: Sequence[Entry],
        *,
        without: Collection[Target] = (),
        remove: Collection[DatabaseKey] = (),
    ) -> Plan:
        """Compare the clients with the wanted logins, all at the same time.

        A file that does not answer, on a network folder that hangs, fails like any other; so
        does one that others go on writing.
        """
        clients = [client for client in self._clients if client not in without]
        naming = Naming(wanted)
        while True:
            entries = naming.wanted
            parts = await asyncio.gather(*(self._plan_one(c, entries, remove) for c in clients))
            if (plan := naming.plan(parts)) is not None:
                return plan

    async def _plan_one(
        self, client: Target, wanted: Sequence[Entry], remove: Collection[DatabaseKey]
    ) -> ClientPlan:
        while True:
            part = await self._read_one(client, wanted, remove)
            if (settled := await self.restless.settle(part)) is not None:
                return self._unless_stubborn(settled)

    async def _read_one(
        self, client: Target, wanted: Sequence[Entry], remove: Collection[DatabaseKey]
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
        broken: dict[Target, ClientError] = {}
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
                self.restless.stillness.wrote(file.client.path, file.edit.new)
                self._wrote(file.client.path)
        left_out = (ClientPlan(client, error=error) for client, error in broken.items())
        plan = dataclasses.replace(plan, parts=(*plan.parts, *left_out), written=True)
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
            for caution in file.cautions:
                self._alerts.mention(file.client.subject, file.client.label, caution)
        for file in plan.files:
            if file.absent:
                error = ClientMissing("is not there", _MISSING, path=file.client.path)
                self._fail(file.client, error)
            elif file.idle:
                await self._remember(file)
                self._well(file.client)

    async def _remember(self, file: FilePlan) -> None:
        """Record what is ours, where no commit did, and keep a copy in the store."""
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

    def _fail(self, client: Target, error: ClientError) -> None:
        self.broken[client] = error
        self._alerts.fire(client.subject, client.label, error)

    def _well(self, client: Target) -> None:
        self.broken.pop(client, None)
        self._alerts.resolve(client.subject)
