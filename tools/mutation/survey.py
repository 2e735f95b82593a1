"""Which test runs which line, and how long it takes.

A part of pytest: while it runs the tests, each line of the three rooms that a test runs is noted
under the test's name, and what runs while modules are imported under none. What was noted of a
file of tests is kept as long as neither it nor a module that its tests run changes.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import coverage
import pytest

ROOT: Final = Path(__file__).parents[2]
PROGRAM: Final = ROOT / "daemon" / "pgherald"
ROOMS: Final = ("sync", "clients", "files")

#: What is noted of each file of tests, by the hash of all that it depends on.
KEPT: Final = ROOT / ".cache" / "mutation"

#: Seconds after which a test is too slow to be of use; so is one that runs a program of its own,
#: for the mistake is not in there.
SLOW: Final = 20.0

#: Where a line is noted that runs while a module is imported.
IMPORTED: Final = ""


class Survey:
    """What is known of all tests.

    Attributes:
        seconds: how long each test takes, by its name.
        lines: the tests that run a line, by module and line; see `IMPORTED`.
        reach: how many lines a test runs. One that runs few is about these few.
    """

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self.lines: dict[tuple[str, int], set[str]] = defaultdict(set)
        self.reach: dict[str, int] = {}

    def add(self, noted: dict[str, Any]) -> None:
        """Take in what is noted of one file of tests."""
        self.seconds |= noted["seconds"]
        for test, modules in noted["lines"].items():
            self.reach[test] = sum(map(len, modules.values()))
            for module, lines in modules.items():
                for line in lines:
                    self.lines[module, line].add(test)

    def tests_of(self, module: str, first: int, last: int) -> set[str]:
        """The tests that run one of these lines."""
        ran = (self.lines.get((module, line), set()) for line in range(first, last + 1))
        return {test for tests in ran for test in tests if test in self.seconds}

    def around(self, module: str) -> set[str]:
        """The tests of files that are about a module, or in which one runs any line of it.

        Constants run in no test, but are seen by some of these.
        """
        last = max((line for name, line in self.lines if name == module), default=0)
        files = {test.partition("::")[0] for test in self.tests_of(module, 1, last)}
        stem = Path(module).stem
        return {
            test
            for test in self.seconds
            if (file := test.partition("::")[0]) in files or stem in Path(file).stem
        }

    def is_imported(self, module: str, first: int, last: int) -> bool:
        """Whether one of these lines runs while modules are imported."""
        return any(
            IMPORTED in self.lines.get((module, line), ()) for line in range(first, last + 1)
        )


class Surveyor:
    """The part of pytest."""

    def __init__(self) -> None:
        self._coverage = coverage.Coverage(
            data_file=None, config_file=False, include=[f"{PROGRAM}/{room}/*" for room in ROOMS]
        )
        self._coverage.start()
        self._seconds: dict[str, float] = {}

    @pytest.hookimpl(hookwrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Iterator[None]:
        """Around each test."""
        self._coverage.switch_context(item.nodeid)
        begun = time.monotonic()
        yield
        self._seconds[item.nodeid] = time.monotonic() - begun
        self._coverage.switch_context(IMPORTED)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """A test that does not pass is of no use."""
        if not report.passed:
            self._seconds[report.nodeid] = -1

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Note it all."""
        self._coverage.stop()
        data = self._coverage.get_data()
        lines: dict[str, dict[str, list[int]]] = defaultdict(lambda: defaultdict(list))
        for path in data.measured_files():
            module = Path(path).relative_to(PROGRAM).as_posix()
            for line, tests in data.contexts_by_lineno(path).items():
                for test in tests:
                    lines[test][module].append(line)
        for file in {item.nodeid.partition("::")[0] for item in session.items}:
            own = [test for test in self._seconds if test.partition("::")[0] == file]
            noted = {
                "seconds": {test: self._seconds[test] for test in own},
                "lines": {test: lines.get(test, {}) for test in [IMPORTED, *own]},
            }
            keep(ROOT / file, noted)


def hash_of(path: Path) -> str:
    """What a file holds, in short; of one that is gone, nothing."""
    return hashlib.sha256(path.read_bytes()).hexdigest()[:20] if path.exists() else ""


def place_of(file: Path) -> Path:
    """Where is noted what a file of tests runs."""
    return KEPT / f"{file.parent.name}-{file.stem}.json"


def keep(file: Path, noted: dict[str, Any]) -> None:
    """Note it, and what it holds for."""
    imported = noted["lines"][IMPORTED]
    modules = {module for test, ran in noted["lines"].items() if test != IMPORTED for module in ran}
    noted["lines"][IMPORTED] = {name: imported[name] for name in modules if name in imported}
    paths = [file, *(PROGRAM / module for module in sorted(modules))]
    noted["of"] = {str(path.relative_to(ROOT)): hash_of(path) for path in paths}
    place = place_of(file)
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_text(json.dumps(noted))


def known_of(file: Path) -> dict[str, Any] | None:
    """What is noted of it, as long as that holds."""
    if not place_of(file).exists():
        return None
    noted: dict[str, Any] = json.loads(place_of(file).read_text())
    same = all(hash_of(ROOT / name) == known for name, known in noted["of"].items())
    return noted if same else None


def survey() -> Survey:
    """Run the tests of which nothing is known yet, and tell what is known of all."""
    files = sorted(
        path for room in ("unit", "component") for path in (ROOT / "tests" / room).glob("test_*.py")
    )
    unknown = [file for file in files if known_of(file) is None]
    if unknown:
        print(f"running {len(unknown)} files of tests, to see which lines they run", flush=True)
        subprocess.run([sys.executable, "-m", "tools.mutation.survey", *map(str, unknown)],
                       cwd=ROOT, check=False, stdout=subprocess.DEVNULL)  # fmt: skip
    found = Survey()
    for file in files:
        noted = known_of(file)
        if noted is None:
            raise SystemExit(f"the tests do not run: python -m pytest {file.relative_to(ROOT)}")
        found.add(noted)
    found.seconds = {test: took for test, took in found.seconds.items() if 0 <= took <= SLOW}
    return found


if __name__ == "__main__":
    os.nice(19)
    sys.exit(pytest.main(["-q", "-p", "no:cacheprovider", *sys.argv[1:]], plugins=[Surveyor()]))
