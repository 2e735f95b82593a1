"""Where a transaction's contents are kept, and how several of them are changed at once.

Files and rows have one shape: what is there `again`, `verify`, `refuse_unwritable`, `stage`,
`install`, and for an undo `discard`, `remove` and `sweep`.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from pgherald.files import Files, Snapshot, Staged
from pgherald.files.rows import Rows
from pgherald.sync.journal import Step
from pgherald.sync.manifest import Medium


class Storages:
    """The storage of each medium, and what is done with several of them at once.

    Args:
        files: the one writer of files.
    """

    def __init__(self, files: Files) -> None:
        self._files = files
        self._of: dict[Medium, Files | Rows] = {
            Medium.FILE: files,
            Medium.ROWS: Rows(files.disk),
            Medium.RECORD: files,
        }

    def __getitem__(self, medium: Medium) -> Files | Rows:
        return self._of[medium]

    def carry_out(self, steps: Sequence[Step], touched: set[Path]) -> None:
        """Stage everything, then rename everything. What was renamed stays on failure.

        What is replaced is kept until all is in its place, in case somebody still writes it.

        Args:
            steps: what each file is to hold; none of them is idle.
            touched: gets the target of each file that may not be as it was.
        """
        expanded = [step for step in steps if step.way is not None]
        plain = [step for step in steps if step.way is None]
        writes = [(step, step.way) for step in expanded]
        writes += [(step, step.new) for step in (*plain, *expanded)]
        now = {step.snapshot.path: step.snapshot for step in steps}
        staged: list[Staged | None] = []
        replaced: list[tuple[Staged, Snapshot]] = []
        try:
            for step, content in writes:
                if content is None:
                    staged.append(None)
                    continue
                storage = self[step.medium]
                staged.append(storage.stage(step.snapshot, content, private=step.private))
            for (step, _), new in zip(writes, staged, strict=True):
                path = step.snapshot.path
                touched.add(step.snapshot.target)
                if new is not None and new.temp is not None:
                    replaced.append((new, now[path]))
                storage, over = self[step.medium], now[path]
                now[path] = storage.remove(over) if new is None else storage.install(new, over=over)
            self._files.let_go(replaced)
        except BaseException:
            for (step, _), new in zip(writes, staged, strict=False):
                if new is not None:
                    self[step.medium].discard(new)
            raise

    @contextlib.contextmanager
    def locked(self, targets: Iterable[Path]) -> Iterator[None]:
        """Hold all files' locks, taken in one order by everybody, so that nobody deadlocks."""
        with contextlib.ExitStack() as locks:
            for target in sorted(set(targets)):
                locks.enter_context(self._files.lock(target))
            yield
