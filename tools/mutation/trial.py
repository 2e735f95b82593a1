"""Mutants before the tests: each in a forked child, which ends at the first test that fails.

A worker collects the tests once and forks for each mutant. In the child the function is given the
changed code; nothing has to be imported again, and nothing is written into the work tree. What is
not in a function (constants, defaults of arguments, fields of classes), or runs while modules are
imported, gets a child in which nothing of the program is loaded yet.

A test that fails where nothing is changed proves nothing: before a test counts as one that
notices, it has to pass in such a child without a mutant.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import importlib
import json
import math
import os
import select
import shutil
import signal
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import CodeType, FunctionType
from typing import Final

import pytest

from tools.mutation.child import (
    OPTIONS,
    Changed,
    Loop,
    Settings,
    be_child,
    dotted,
    in_order,
    passes,
)
from tools.mutation.mutants import Mutant, Tree, function_of

#: Seconds that a test may take with a mutant: some, and several times the usual.
PATIENCE: Final = 4.0
TIMES: Final = 5.0

#: Seconds until a child has imported and collected.
COLLECTING: Final = 60.0

#: Tests that are tried first where the program has to be imported anew.
NEAREST: Final = 40

#: Of others; imported before the first fork.
PRELOADED: Final = (
    "apscheduler.schedulers.asyncio", "asyncio", "click", "cryptography.x509",
    "filelock", "httpx", "hypothesis", "jeepney", "platformdirs", "psycopg", "rich.console",
    "sqlite3", "starlette.applications", "tomlkit", "uvicorn", "watchdog.observers",
)  # fmt: skip

#: Linux: PR_SET_CHILD_SUBREAPER, linux/prctl.h.
_SUBREAPER: Final = 36


@dataclass(frozen=True)
class Task:
    """A mutant, and the tests that may notice it, the most likely first.

    Attributes:
        mutant: the mutant.
        tests: names of tests.
        together: seconds that the tests may take in all; the others are left out.
        each: seconds that one of them may take.
    """

    mutant: Mutant
    tests: Sequence[str]
    together: float = math.inf
    each: float = math.inf


@dataclass(frozen=True)
class Outcome:
    """How it went: `killed` by a test, out of `time` in one, or `survived`."""

    how: str
    test: str = ""


class Worker:
    """Tries its share of the mutants, one after the other.

    Args:
        program: folder of the package.
        trees: the modules, by name.
        seconds: what each test takes.
        out: gets a line of JSON for each mutant.
        scratch: for the children's files.
    """

    def __init__(
        self,
        program: Path,
        trees: dict[str, Tree],
        seconds: dict[str, float],
        out: Path,
        scratch: Path,
    ) -> None:
        self._program = program
        self._trees = trees
        self._seconds = seconds
        self._out = out
        self._scratch = scratch
        self._sound: dict[tuple[bool, str], bool] = {}
        #: How many mutants of a module a test has noticed: it looks closely, and goes first.
        self._noticed: Counter[tuple[str, str]] = Counter()
        self._children = 0
        #: Given by `pytest_runtestloop`.
        self._items: dict[str, pytest.Item] = {}
        self._functions: dict[tuple[str, str, int], list[FunctionType]] = {}

    def run(self, tasks: Sequence[Task]) -> None:
        """Try them all."""
        os.nice(19)
        with contextlib.suppress(OSError, AttributeError):
            ctypes.CDLL(None).prctl(_SUBREAPER, 1, 0, 0, 0)
        for name in PRELOADED:
            with contextlib.suppress(ImportError):
                importlib.import_module(name)
        gc.freeze()
        for task in tasks:
            if task.mutant.function is None:
                self._note(task, self._try_fresh(task))
        live = [task for task in tasks if task.mutant.function is not None]
        if live:
            files = sorted({test.partition("::")[0] for task in live for test in task.tests})
            loop = Loop(lambda items: self._run_live(live, items))
            code = pytest.main([*OPTIONS, *files], plugins=[Settings(), loop])
            if not loop.ran:
                raise SystemExit(f"the tests cannot be collected: pytest ended with {code}")

    def _run_live(self, tasks: Sequence[Task], items: Sequence[pytest.Item]) -> None:
        self._items = {item.nodeid: item for item in items}
        for name in {task.mutant.module for task in tasks}:
            importlib.import_module(dotted(self._program / name, self._program))
        self._functions = _functions(self._program)
        gc.collect()
        gc.freeze()
        for task in tasks:
            self._note(task, self._try(task, self._live))

    def _note(self, task: Task, outcome: Outcome) -> None:
        self._noticed[task.mutant.module, outcome.test] += outcome.how == "killed"
        line = json.dumps([task.mutant.module, task.mutant.name, outcome.how, outcome.test])
        with self._out.open("a") as file:
            file.write(f"{line}\n")

    # --- one mutant ------------------------------------------------------------------------

    def _try(self, task: Task, way: Callable[[Mutant | None, Sequence[str]], Outcome]) -> Outcome:
        tests = self._chosen(task)
        while tests:
            outcome = way(task.mutant, tests)
            if outcome.how == "survived" or not outcome.test or self._is_sound(way, outcome.test):
                return outcome
            tests.remove(outcome.test)
        return Outcome("survived")

    def _chosen(self, task: Task) -> list[str]:
        """The tests in the order in which they are run, as far as there is time for them."""
        module, chosen, together = task.mutant.module, list[str](), 0.0
        for test in sorted(task.tests, key=lambda test: -self._noticed[module, test]):
            took = self._seconds[test]
            if took <= task.each and together + took <= task.together:
                together += took
                chosen.append(test)
        return chosen

    def _try_fresh(self, task: Task) -> Outcome:
        """With the first few tests, then with all: every file of tests has to be imported."""
        for tests in (task.tests[:NEAREST], task.tests):
            outcome = self._try(replace(task, tests=tests), self._fresh)
            if outcome.how != "survived":
                return outcome
        return Outcome("survived")

    def _is_sound(self, way: Callable[..., Outcome], test: str) -> bool:
        """Whether a test passes where nothing is changed."""
        key = (way == self._live, test)
        if key not in self._sound:
            self._sound[key] = way(None, [test]).how == "survived"
        return self._sound[key]

    def _live(self, mutant: Mutant | None, tests: Sequence[str]) -> Outcome:
        """Change a function of the loaded program."""
        items = [self._items[test] for test in tests if test in self._items]
        changes = self._changes(mutant) if mutant else []

        def work(tell: Callable[[str], None]) -> bool:
            for function, code in changes:
                function.__code__ = code
            return passes(items, tell)

        return self._in_child(work, 0.0)

    def _changes(self, mutant: Mutant) -> list[tuple[FunctionType, CodeType]]:
        assert mutant.function is not None  # noqa: S101 – for the type
        code = function_of(self._trees[mutant.module].code(mutant), *mutant.function)
        functions = self._functions[str(self._program / mutant.module), *mutant.function]
        if not functions:
            raise LookupError(f"{mutant.module}: {mutant.function} is not loaded")
        return [(function, code) for function in functions]

    def _fresh(self, mutant: Mutant | None, tests: Sequence[str]) -> Outcome:
        """Import the changed module, and all that uses it."""
        files = sorted({test.partition("::")[0] for test in tests})

        def work(tell: Callable[[str], None]) -> bool:
            if mutant is not None:
                code = self._trees[mutant.module].code(mutant)
                path = self._program / mutant.module
                sys.meta_path.insert(0, Changed(dotted(path, self._program), path, code))
            loop = Loop(lambda items: passes(in_order(items, tests), tell))
            pytest.main([*OPTIONS, *files], plugins=[Settings(), loop])
            return loop.passed

        return self._in_child(work, COLLECTING)

    def _in_child(self, work: Callable[[Callable[[str], None]], bool], patience: float) -> Outcome:
        """Fork, do the work there, and watch it."""
        self._children += 1
        folder = self._scratch / str(self._children)
        folder.mkdir()
        told, tell = os.pipe()
        pid = os.fork()
        if not pid:
            be_child(folder)
            code = 1
            with contextlib.suppress(BaseException):
                code = not work(lambda test: void(os.write(tell, f"{test}\n".encode())))
            os._exit(code)
        os.close(tell)
        try:
            return self._watch(pid, told, patience)
        finally:
            os.close(told)
            _end_all(pid)
            shutil.rmtree(folder, ignore_errors=True)

    def _watch(self, pid: int, told: int, patience: float) -> Outcome:
        """Wait for a child, as long as it makes progress."""
        test = ""
        begun, limit = _lived(pid), PATIENCE + patience
        while True:
            ready, _, _ = select.select([told], [], [], 0.2)
            if ready:
                if not (heard := os.read(told, 65536)):
                    break
                test = heard.decode(errors="replace").splitlines()[-1]
                begun, limit = _lived(pid), PATIENCE + TIMES * self._seconds.get(test, 0.0)
            elif _lived(pid) - begun > limit:
                break
        while _lived(pid) - begun <= limit:
            # The pipe may have been closed by the mutant, and the child go on.
            ended, status = os.waitpid(pid, os.WNOHANG)
            if ended:
                return Outcome("killed", test) if status else Outcome("survived")
            time.sleep(0.002)
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        return Outcome("time", test)


def _lived(pid: int) -> float:
    """Seconds by which a process could have run: those in which others had the machine do not count.

    Linux: /proc/PID/schedstat, whose second number is the time spent waiting for a processor.
    """
    waited = 0.0
    with contextlib.suppress(OSError, ValueError, IndexError):
        waited = int(Path(f"/proc/{pid}/schedstat").read_text().split()[1]) / 1e9
    return time.monotonic() - waited


def void(_: object) -> None:
    """Nothing."""


# --- around it -------------------------------------------------------------------------------


def _functions(program: Path) -> dict[tuple[str, str, int], list[FunctionType]]:
    """The program's functions by file, name and line."""
    found: dict[tuple[str, str, int], list[FunctionType]] = defaultdict(list)
    for one in gc.get_objects():
        if type(one) is FunctionType and one.__code__.co_filename.startswith(str(program)):
            code = one.__code__
            found[code.co_filename, code.co_qualname, code.co_firstlineno].append(one)
    return found


def _orphans() -> Iterator[int]:
    """What ended children have left running."""
    for path in Path("/proc/self/task").glob("*/children"):
        with contextlib.suppress(OSError):
            yield from map(int, path.read_text().split())


def _end_all(pid: int) -> None:
    """End what a child has started and not taken down."""
    with contextlib.suppress(OSError):
        os.killpg(pid, signal.SIGKILL)
    while orphans := list(_orphans()):
        for orphan in orphans:
            with contextlib.suppress(OSError):
                os.kill(orphan, signal.SIGKILL)
                os.waitpid(orphan, 0)
