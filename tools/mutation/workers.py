"""Some processes that try mutants at the same time."""

from __future__ import annotations

import json
import os
import signal
import tempfile
import time
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path

from tools.mutation.mutants import Tree
from tools.mutation.trial import Task, Worker


def try_all(
    tasks: Sequence[Task],
    program: Path,
    trees: dict[str, Tree],
    seconds: dict[str, float],
    *,
    jobs: int,
    heard: Callable[[list[str]], None],
) -> None:
    """Try the mutants in some processes; `heard` gets module, name, how and test of each."""
    with tempfile.TemporaryDirectory(prefix="m-") as scratch:
        # Postgres, which runs as another user, makes its folder in there too, and it goes with it.
        Path(scratch).chmod(0o711)
        outs = [Path(scratch, f"out{number}") for number in range(jobs)]
        pids = []
        for number, out in enumerate(outs):
            out.touch()
            if pid := os.fork():
                pids.append(pid)
                continue
            folder = Path(scratch, str(number))
            folder.mkdir()
            code = 1
            try:
                null = os.open(os.devnull, os.O_RDWR)
                os.dup2(null, 1)
                Worker(program, trees, seconds, out, folder).run(tasks[number::jobs])
                code = 0
            except BaseException:  # noqa: BLE001 – whatever it is, it is said, and ends this worker
                traceback.print_exc()
            finally:
                os._exit(code)
        _follow(outs, pids, heard)


def _follow(outs: Sequence[Path], pids: list[int], heard: Callable[[list[str]], None]) -> None:
    """Pass on what the workers write, until all have ended."""
    failed = False
    running = set(pids)
    files = [out.open() for out in outs]
    rests = [""] * len(files)
    try:
        while True:
            done = not running
            for pid in list(running):
                ended, status = os.waitpid(pid, os.WNOHANG)
                if ended:
                    running.discard(pid)
                    failed |= bool(status)
            for number, file in enumerate(files):
                *lines, rests[number] = (rests[number] + file.read()).split("\n")
                for line in lines:
                    heard(json.loads(line))
            if done:
                break
            time.sleep(0.2)
    finally:
        for pid in running:
            os.kill(pid, signal.SIGTERM)
        for file in files:
            file.close()
    if failed:
        raise SystemExit("a worker ended early; what it said stands above")
