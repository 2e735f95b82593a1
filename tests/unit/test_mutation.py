"""The mutants themselves: which there are, and that what notices them is told rightly."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from tools.mutation import kept
from tools.mutation.__main__ import modules_of
from tools.mutation.mutants import Tree, mutants
from tools.mutation.survey import PROGRAM

ROOT = Path(__file__).parents[2]

#: A module with a mistake that its test cannot see (the sum is never asked for), and one that
#: makes no difference.
TOY = '''
"""A toy."""
import functools

LIMIT = 3

def larger(value: int, *, by: int = 1) -> int:
    """More."""
    if value > LIMIT:
        return LIMIT
    return value + by

@functools.cache
def unseen() -> int:
    return 1 + 2

class Loop:
    @property
    def ends(self) -> bool:
        left = 2
        while left:
            left -= 1
        return True
'''

TOY_TEST = """
from toy import toy

def test_larger() -> None:
    assert (toy.larger(1), toy.larger(3), toy.larger(4)) == (2, 4, 3)

def test_unseen() -> None:
    toy.unseen()

def test_ends() -> None:
    assert toy.Loop().ends is True

def test_broken() -> None:
    raise AssertionError
"""

#: Run in a process of its own: it forks, and pytest is in there a second time.
RUN = """
import json, sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from tools.mutation import trial, workers
from tools.mutation.mutants import Tree, mutants
from tools.mutation.survey import PROGRAM
trial.PATIENCE = trial.TIMES = 1.0
path = Path.cwd() / "toy" / "toy.py"
tree = Tree(path.read_text(), str(path))
tests = [f"test_toy.py::test_{name}" for name in ("broken", "unseen", "ends", "larger")]
tasks = [trial.Task(mutant, tests) for mutant in mutants(tree, "toy.py")]
found = []
workers.try_all(tasks, path.parent, {"toy.py": tree}, dict.fromkeys(tests, 0.1),
    jobs=2, heard=found.append)
Path("found.json").write_text(json.dumps(found))
"""


def names(source: str) -> list[str]:
    """The mutants of a function of that body."""
    text = f"def f(a, b, c):\n{textwrap.indent(textwrap.dedent(source), '    ')}\n"
    return [mutant.name.removeprefix("f: ") for mutant in mutants(Tree(text, "m.py"), "m.py")]


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("return a < b", ["return a < b -> None", "a < b -> a <= b", "a < b -> a >= b"]),
        ("return not a", ["return not a -> None", "not a -> a"]),
        (
            "return a and b",
            [
                "return a and b -> None",
                "a and b -> a or b",
                "a and b -> b",
                "a and b -> a",
            ],
        ),
        ("a.x = 1", ["a.x = 1 -> (nothing)", "1 -> 2", "1 -> 0"]),
        ("raise a", ["raise a -> (nothing)"]),
        ("a[1:]", ["a[1:] -> (nothing)", "_[1:] -> _[:]", "1 -> 2", "1 -> 0"]),
        ("return 'x'", ["return 'x' -> None", "'x' -> '?x'", "'x' -> ''"]),
        ("return 'utf-8'", ["return 'utf-8' -> None", "'utf-8' -> ''"]),
        (
            "zip(a, b, strict=False)",
            [
                "zip(a, b, strict=False) -> (nothing)",
                "zip(a, b, strict=False) -> zip(a, strict=False)",
                "False -> True",
            ],
        ),
        ("for x in a: b(x)", ["for x in a -> (never)", "b(x) -> (nothing)"]),
        ("with a: b()", ["with a -> (without)", "b() -> (nothing)"]),
        (
            "while a: b(c=1)",
            ["if a -> False", "b(c=1) -> (nothing)", "b(c=1) -> b()", "1 -> 2", "1 -> 0"],
        ),
        (
            "try: a()\nexcept (OSError, ValueError): b()\nfinally: c()",
            [
                "except (OSError, ValueError) -> (not caught)",
                "finally -> (nothing)",
                "a() -> (nothing)",
                "(OSError, ValueError) -> (ValueError,)",
                "(OSError, ValueError) -> (OSError,)",
                "b() -> (nothing)",
                "c() -> (nothing)",
            ],
        ),
    ],
)
def test_which_mistakes_there_are(source: str, expected: list[str]) -> None:
    """Each place in a function gets the mistakes of its kind, and none twice."""
    assert names(source) == expected


@pytest.mark.parametrize(
    "source",
    [
        '"""Words."""', "x: int", "import os", "assert a", "pass",
        "x: 'int' = a", "if TYPE_CHECKING: a()", "__all__ = ['a', 'b']", "x = dict[str, int]",
        "x = Counter[str, 'int']()",
    ],
)  # fmt: skip
def test_what_is_left_alone(source: str) -> None:
    """Words, types, imports, assertions for types, and what makes no difference get none."""
    assert names(source) == []


def test_the_words_of_a_log_line_are_left_alone() -> None:
    """A line of a log can be missing, and says what it says."""
    assert names("log.info('%s', a)") == ["log.info('%s', a) -> (nothing)"]


def test_a_tree_is_whole_again() -> None:
    """After each mutant the tree is what it was, so that no mistake is added to another."""
    tree = Tree(TOY, "toy.py")
    found = list(mutants(tree, "toy.py"))
    changed = {tree.code(mutant).co_consts for mutant in found}
    assert tree._compile() == tree.original
    assert len(changed) > 1


def test_what_is_noticed_is_told(tmp_path: Path) -> None:
    """A mutant is killed by the test that fails because of it, and one that nobody asks for lives.

    A test that fails without any mutant counts for nothing; one that never ends, for a failure.
    """
    (tmp_path / "toy").mkdir()
    (tmp_path / "toy" / "toy.py").write_text(TOY)
    (tmp_path / "test_toy.py").write_text(TOY_TEST)
    (tmp_path / "pytest.ini").write_text(
        "[pytest]\nasyncio_default_fixture_loop_scope = function\n"
    )
    before = sorted(path for path in tmp_path.rglob("*") if "__pycache__" not in path.parts)
    ended = subprocess.run(
        [sys.executable, "-c", RUN, str(ROOT)], cwd=tmp_path, capture_output=True, text=True,
        check=False, env=os.environ | {"PYTHONPATH": str(tmp_path)},
    )  # fmt: skip
    assert (ended.returncode, ended.stderr) == (0, "")
    found = {
        name: (how, test.rpartition("_")[2])
        for _, name, how, test in json.loads((tmp_path / "found.json").read_text())
    }
    assert found == {
        "module: 3 -> 4": ("killed", "larger"),
        "module: 3 -> 2": ("killed", "larger"),
        "larger: 1 -> 2": ("killed", "larger"),
        "larger: 1 -> 0": ("killed", "larger"),
        "larger: value > LIMIT -> value >= LIMIT": ("killed", "larger"),
        "larger: value > LIMIT -> value <= LIMIT": ("killed", "larger"),
        "larger: if value > LIMIT -> False": ("killed", "larger"),
        "larger: if value > LIMIT -> True": ("killed", "larger"),
        "larger: return LIMIT -> None": ("killed", "larger"),
        "larger: return value + by -> None": ("killed", "larger"),
        "larger: value + by -> value - by": ("killed", "larger"),
        "unseen: return 1 + 2 -> None": ("survived", ""),
        "unseen: 1 + 2 -> 1 - 2": ("survived", ""),
        "unseen: 1 -> 2": ("survived", ""),
        "unseen: 1 -> 0": ("survived", ""),
        "Loop.ends: 2 -> 3": ("survived", ""),
        "Loop.ends: 2 -> 1": ("survived", ""),
        "Loop.ends: if left -> False": ("survived", ""),
        "Loop.ends: left -= 1 -> (nothing)": ("time", "ends"),
        "Loop.ends: 1 -> 2": ("survived", ""),
        "Loop.ends: 1 -> 0": ("time", "ends"),
        "Loop.ends: return True -> None": ("killed", "ends"),
        "Loop.ends: True -> False": ("killed", "ends"),
    }
    after = sorted(path for path in tmp_path.rglob("*") if "__pycache__" not in path.parts)
    assert set(after) - set(before) == {tmp_path / "found.json"}


# --- the list ------------------------------------------------------------------------------


def test_the_score() -> None:
    """What makes no difference does not count; what lives for another reason does."""
    listed = {
        ("m", "same"): kept.Kept("equivalent", "it is"),
        ("m", "slow"): kept.Kept("speed", "it is"),
    }
    how = {("m", "a"): "killed", ("m", "b"): "time", ("m", "same"): "survived",
           ("m", "slow"): "survived", ("m", "new"): "survived"}  # fmt: skip
    got = kept.score(how, listed)
    assert (got.total, got.killed, got.unlisted) == (5, 2, 1)
    assert (got.percent, got.raw) == (50.0, 40.0)
    assert dict(got.kinds) == {"equivalent": 1, "speed": 1}
    assert kept.outdated(how, listed, ["m"]) == ([], [])
    assert kept.outdated(how | {("m", "slow"): "killed"}, listed, ["m"]) == ([], ["m: slow"])
    assert kept.outdated({}, listed, ["m"]) == (["m: same", "m: slow"], [])
    assert kept.outdated({}, listed, ["other"]) == ([], [])


@pytest.mark.parametrize(
    "group",
    ['kind = "luck"\nwhy = "x"\nmutants = ["a"]', 'kind = "speed"\nwhy = " "\nmutants = ["a"]',
     'kind = "speed"\nwhy = "x"\nmutants = ["a", "a"]'],
)  # fmt: skip
def test_a_list_without_reasons_is_refused(tmp_path: Path, group: str) -> None:
    """Each entry is of a known kind, has a reason, and stands there once."""
    path = tmp_path / "mutants.toml"
    path.write_text(f'[[kept]]\nmodule = "m"\n{group}\n')
    with pytest.raises(SystemExit):
        kept.read(path)


def test_the_list_holds_nothing_that_is_gone() -> None:
    """Each mistake that is listed can still be made: a line that changes takes its entries along."""
    there = set[tuple[str, str]]()
    for path in modules_of([]):
        module = path.relative_to(PROGRAM).as_posix()
        tree = Tree(path.read_text(encoding="utf-8"), str(path))
        there |= {(module, mutant.name) for mutant in mutants(tree, module)}
    assert set(kept.read(ROOT / "tests" / "mutants.toml")) <= there
