"""Undo all that pgherald did on this machine, its service and its configuration aside."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pgherald.clients.pgpass import Pgpass
from pgherald.clients.servers_json import ServersJson
from pgherald.clients.service_file import ServiceFile
from pgherald.clock import Clock
from pgherald.config import Config
from pgherald.config.build import PASSFILE
from pgherald.daemon.wiring import files_of, is_own, sweep
from pgherald.errors import ChangedMeanwhile, ClientError
from pgherald.files import Files
from pgherald.files.locks import DAEMON_LOCK
from pgherald.sync.journal import Step
from pgherald.sync.manifest import Medium
from pgherald.sync.targets import FileTarget, Ownership, Target, Undo, clients_of, journaled
from pgherald.sync.targets.file import Editor
from pgherald.sync.targets.originals import Original
from pgherald.sync.transaction import Transactions

#: How often it is planned anew because another program wrote one of the files.
_ATTEMPTS: Final = 5

#: Clients that the configuration no longer has are known by what the journals call them.
_FORMER: Final[Mapping[str, Editor]] = {
    **{editor.label: editor for editor in (Pgpass(), ServiceFile(), ServersJson())},
    PASSFILE: Pgpass(),
}


@dataclass(frozen=True, slots=True)
class Undoing:
    """What becomes of all targets.

    Attributes:
        files: one for each that can be planned.
        failed: those that cannot, and why.
    """

    files: tuple[Undo, ...]
    failed: tuple[tuple[Target, ClientError], ...]

    @property
    def changed(self) -> list[Undo]:
        """Those that change."""
        return [undo for undo in self.files if not undo.idle]

    def steps(self) -> list[Step]:
        """What the transaction has to do; see `Target.steps`."""
        return [step for undo in self.changed for step in undo.steps()]


def foresee(config: Config, clock: Clock, *, restore: bool) -> Undoing:
    """What would become of each client. Writes nothing.

    Raises:
        FileTrouble: the journals cannot be read.
        StoreError: the state file cannot be used.
    """
    files = files_of(config)
    journals = config.state_dir / "commits"
    found = Transactions(files, journals, clock).originals() if journals.is_dir() else {}
    return _plan(config, files, found, restore=restore)


def uninstall(config: Config, clock: Clock, *, restore: bool) -> tuple[Undoing, tuple[Path, ...]]:
    """Undo it, as one commit; then delete the state folder, and the metrics that the daemon wrote.

    Args:
        config: says which clients there are.
        clock: dates the commit.
        restore: whether files become again what they were before pgherald.

    Returns:
        What became of each client, and what the state folder still holds: nothing of pgherald's.

    Raises:
        AlreadyRunning: the daemon runs.
        ClientError: a client cannot be read or written; no client was touched.
        StoreError: the state file cannot be used; likewise.
    """
    files = files_of(config)
    committer = Transactions(files, config.state_dir / "commits", clock, journaled(config))
    with files.exclusive(config.state_dir / DAEMON_LOCK, "pgherald uninstall"):
        committer.recover()
        sweep(config, files)
        attempts = _ATTEMPTS
        while True:
            undoing = _plan(config, files, committer.originals(), restore=restore)
            for _, error in undoing.failed:
                raise error
            try:
                committer.commit(undoing.steps(), proven=True, note="uninstall")
                break
            except ChangedMeanwhile:
                attempts -= 1
                if not attempts:
                    raise
    if config.metrics_file is not None:
        files.remove_own(config.metrics_file)
    # Outside of the lock, whose file goes too: Windows deletes none that is open.
    return undoing, _remove_state(files, config.state_dir)


def _plan(
    config: Config, files: Files, originals: Mapping[Path, Original], *, restore: bool
) -> Undoing:
    # In one that cannot be kept there is nothing of ours.
    kept = tuple(setting for setting in config.clients if setting.trouble is None)
    clients = clients_of(dataclasses.replace(config, clients=kept), files)
    ownership = Ownership(files, config.state_dir)
    former = _former({client.path for client in clients}, files, originals, ownership)
    return plan_undoing(files, [*clients, *former], originals, restore=restore)


def plan_undoing(
    files: Files, targets: Sequence[Target], originals: Mapping[Path, Original], *, restore: bool
) -> Undoing:
    """Work out what becomes of each target. Writes nothing.

    Args:
        files: reads.
        targets: the targets.
        originals: what each file held before pgherald, by its target.
        restore: whether files become again what they were.
    """
    planned: list[Undo] = []
    failed: list[tuple[Target, ClientError]] = []
    for target in targets:
        try:
            snapshot = target.read(files)
            original = originals.get(snapshot.target)
            planned.append(target.restore(snapshot, original, whole=restore))
        except ClientError as exc:
            failed.append((target, exc.at(target.path)))
    return Undoing(tuple(planned), tuple(failed))


def _former(
    configured: Collection[Path],
    files: Files,
    originals: Mapping[Path, Original],
    ownership: Ownership,
) -> list[Target]:
    """Files that pgherald wrote when the configuration was another one."""
    targets = set()
    for path in configured:
        try:
            targets.add(files.read(path).target)
        except ClientError:
            targets.add(path)
    return [
        FileTarget.of(editor, first.path, first.label, ownership)
        for target, first in originals.items()
        if target not in targets and first.path not in configured and first.medium is Medium.FILE
        if (editor := _FORMER.get(first.label.partition(" (")[0])) is not None
    ]


def _remove_state(files: Files, folder: Path) -> tuple[Path, ...]:
    """Delete what is pgherald's in the state folder, and the folder when that was all."""
    names = files.names(folder)
    for name in names:
        if is_own(name):
            files.remove_own_tree(folder / name, within=folder)
    left = tuple(folder / name for name in files.names(folder))
    if names and not left:
        files.remove_own_tree(folder, within=folder.parent)
    return left
