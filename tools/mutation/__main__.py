"""Change the program a little, and see whether a test notices: `make mutate`.

python -m tools.mutation                         # sync/, clients/ and files/, whole
python -m tools.mutation clients files/own.py    # some of it
python -m tools.mutation --sample 40             # so many mutants of each module
python -m tools.mutation --again                 # only what was not noticed in the last run

Which tests try a mutant is told by the lines that they run. First come the quick ones, for a few
seconds; what they let live is tried with the others, for a dozen, and then with all. What lives in the
end is on the list in `tests/mutants.toml`, with its reason, or ends the run with exit code 1; so does a
room of which less than 90 % is noticed.

Why not mutmut: it leaves out what is decorated, properties, and all that is not in a function, and
takes out no statements, conditions or handlers.
"""

from __future__ import annotations

import argparse
import json
import math
import random
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from tools.mutation import kept as keeping
from tools.mutation.mutants import Mutant, Tree, mutants
from tools.mutation.survey import KEPT, PROGRAM, ROOMS, ROOT, Survey, survey
from tools.mutation.trial import Task
from tools.mutation.workers import try_all

#: What each room has to reach, in percent.
WANTED: Final = 90.0

#: Each pass: seconds that all tests of one mutant may take together, and one of them.
PASSES: Final = ((2.5, 1.0), (12.0, math.inf), (300.0, math.inf))

RESULTS: Final = KEPT / "results.json"

Key = tuple[str, str]


def modules_of(named: Iterable[str]) -> list[Path]:
    """The modules that are named, by room, folder or file; all without a name."""
    found = []
    for name in named or ROOMS:
        path = PROGRAM / name.removeprefix("daemon/pgherald/").rstrip("/")
        if not path.exists() or path.relative_to(PROGRAM).parts[0] not in ROOMS:
            raise SystemExit(f"{name} is not in one of the rooms {', '.join(ROOMS)}")
        found += sorted(path.rglob("*.py")) if path.is_dir() else [path]
    return found


def in_turn(tests: Iterable[str], known: Survey, stem: str) -> list[str]:
    """One test of each file after the other, in each file the one that runs the fewest lines first.

    A file that is named for the module comes before all others. What hundreds of tests run, such as the making of an object, most of them do not look at.
    """
    files: dict[str, list[str]] = defaultdict(list)
    for test in sorted(tests, key=lambda test: (known.reach[test], test)):
        files[test.partition("::")[0]].append(test)
    ranked = (
        (stem not in file, rank, known.reach[test], test)
        for file, some in files.items()
        for rank, test in enumerate(some)
    )
    return [test for *_, test in sorted(ranked)]


def task_of(mutant: Mutant, known: Survey, turn: int) -> Task:
    """Which tests try a mutant in this pass, and in which order.

    What lives, and also runs while modules are imported, gets its second chance by importing.
    """
    if turn and known.is_imported(mutant.module, *mutant.lines):
        mutant = mutant.imported()
    stem = Path(mutant.module).stem
    tests = in_turn(known.tests_of(mutant.module, *mutant.lines), known, stem)
    if mutant.function is None:
        # Nobody knows who needs a module's own lines; what is about this module comes first.
        around = known.around(mutant.module)
        about = Counter(test.partition("::")[0] for test in tests or around)

        def order(test: str) -> tuple[bool, int, int]:
            file = test.partition("::")[0]
            named = stem in file
            return not named, 0 if named else -about[file], known.reach.get(test, 0)

        tests = sorted(around, key=order)
    return Task(mutant, tests, *PASSES[turn])


class Run:
    """One run, with what it finds."""

    def __init__(self, known: Survey, listed: set[Key], jobs: int) -> None:
        self._known = known
        self._listed = listed
        self._jobs = jobs
        self._trees: dict[str, Tree] = {}
        self.outcomes: dict[Key, str] = {}
        self.by: dict[Key, str] = {}
        self.mutants: dict[Key, Mutant] = {}

    def add(self, path: Path, sample: int) -> None:
        """Make the mutants of a module; of more than `sample`, so many by chance, always the same."""
        module = path.relative_to(PROGRAM).as_posix()
        tree = self._trees[module] = Tree(path.read_text(encoding="utf-8"), str(path))
        made = list(mutants(tree, module))
        chance = random.Random(module)  # noqa: S311 – a sample that can be taken again
        for mutant in chance.sample(made, sample) if 0 < sample < len(made) else made:
            self.mutants[module, mutant.name] = mutant

    def try_them(self, keys: list[Key], turn: int) -> None:
        """Try these in this pass, and note how it went."""
        tasks = [task_of(self.mutants[key], self._known, turn) for key in keys]
        # What is imported anew is begun in a process that has imported nothing.
        for some in ([task for task in tasks if task.mutant.function is not None],
                     [task for task in tasks if task.mutant.function is None]):  # fmt: skip
            self._try(some)

    def _try(self, tasks: list[Task]) -> None:
        begun = time.monotonic()
        done = 0

        def heard(line: list[str]) -> None:
            nonlocal done
            module, name, how, test = line
            self.outcomes[module, name], self.by[module, name] = how, test
            done += 1
            if done % 100 == 0 or done == len(tasks):
                took = time.monotonic() - begun
                print(f"  {done} of {len(tasks)} after {took:.0f} s", flush=True)
                self.save()

        try_all(tasks, PROGRAM, self._trees, self._known.seconds, jobs=self._jobs, heard=heard)

    def save(self) -> None:
        """Keep what was found, for `--again`; what was found earlier of other modules stays."""
        noted = json.loads(RESULTS.read_text()) if RESULTS.exists() else []
        now = {(module, name): [how, test] for module, name, how, test in noted}
        now |= {key: [self.outcomes[key], test] for key, test in self.by.items()}
        RESULTS.write_text(json.dumps([[*key, *how] for key, how in now.items()], indent=0))

    def whole(self, before: dict[Key, str], *, quick: bool) -> None:
        """Try all that was not noticed before: with the quick tests, then with the others."""
        self.outcomes = {
            key: before[key] for key in self.mutants if before.get(key, "survived") != "survived"
        }
        left = [key for key in self.mutants if key not in self.outcomes]
        print(f"{len(left)} mutants, of {len(self.mutants)}", flush=True)
        # What the quick tests have not noticed in an earlier run they will not notice now.
        known = set() if quick else before.keys() - self._listed
        self.try_them([key for key in left if key not in known], 0)
        self.outcomes |= {key: before[key] for key in left if key in known}
        for turn in range(1, 1 if quick else len(PASSES)):
            left = [key for key in left if self._is_open(key)]
            print(f"{len(left)} live, and are tried with slower tests", flush=True)
            self.try_them(left, turn)

    def _is_open(self, key: Key) -> bool:
        return self.outcomes[key] == "survived" and key not in self._listed


def report(run: Run, kept: dict[Key, keeping.Kept], modules: list[str], *, whole: bool) -> int:
    """Print what was found; the exit code. Of a sample nobody can say what is missing in it."""
    code = 0
    alive = [key for key, how in run.outcomes.items() if how == "survived" and key not in kept]
    for key in sorted(alive, key=lambda key: (key[0], run.mutants[key].lines)):
        mutant = run.mutants[key]
        tests = len(task_of(mutant, run._known, 1).tests)  # noqa: SLF001 – its own module
        print(f"lives: {mutant.module}:{mutant.lines[0]}: {mutant.name}  ({tests} tests)")
        code = 1
    gone, noticed = keeping.outdated(run.outcomes, kept, modules if whole else [])
    for line in gone:
        print(f"listed in tests/mutants.toml, and no mutant any more: {line}")
        code = 1
    for line in noticed:
        print(f"listed in tests/mutants.toml, and noticed after all: {line}")
    print(f"\n{'':30}{'noticed':>8}{'of':>7}{'raw':>8}{'score':>8}   live, by kind")
    rooms = sorted({module.partition("/")[0] for module in modules})
    for part in [*modules, *rooms]:
        mine = {key: how for key, how in run.outcomes.items() if key[0].startswith(part)}
        got = keeping.score(mine, kept)
        kinds = [f"{number} {kind}" for kind, number in sorted(got.kinds.items())]
        kinds += [f"{got.unlisted} NOT LISTED"] if got.unlisted else []
        print(f"{part:30}{got.killed:8}{got.total:7}{got.raw:7.1f}%{got.percent:7.1f}%   "
              f"{', '.join(kinds)}")  # fmt: skip
        if part in rooms and got.percent < WANTED:
            print(f"{part}/ has to reach {WANTED:.0f} %")
            code = 1
    return code


def main() -> int:
    """Run the command; its exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m tools.mutation", description=(__doc__ or "").partition("\n")[0]
    )
    parser.add_argument("part", nargs="*", help="a room, or a module, as clients/pgpass.py")
    parser.add_argument("--again", action="store_true", help="only what was not noticed before")
    parser.add_argument("--sample", type=int, default=0, help="so many mutants of each module")
    parser.add_argument("--quick", action="store_true", help="without the slower tests")
    parser.add_argument("--jobs", type=int, default=2, help="mutants at a time (2)")
    options = parser.parse_args()
    paths = modules_of(options.part)
    kept = keeping.read(ROOT / "tests" / "mutants.toml")
    begun = time.monotonic()
    run = Run(survey(), set(kept), options.jobs)
    for path in paths:
        run.add(path, options.sample)
    noted = json.loads(RESULTS.read_text()) if RESULTS.exists() else []
    before = {(module, name): how for module, name, how, _ in noted}
    run.whole(before if options.again else {}, quick=options.quick)
    modules = [path.relative_to(PROGRAM).as_posix() for path in paths]
    code = report(run, kept, modules, whole=not options.sample)
    print(f"{time.monotonic() - begun:.0f} seconds")
    return code


if __name__ == "__main__":
    sys.exit(main())
