"""Count the program: lines of code, modules, linter comments, lines of tests.

Blank lines, comments and docstrings are no code, and the simulator, which is for the demo and the
tests, is counted apart.

    python tools/size.py
"""

from __future__ import annotations

import ast
import io
import re
import tokenize
from collections.abc import Iterable
from pathlib import Path

ROOT = Path(__file__).parents[1]
PROGRAM = ROOT / "daemon" / "pgherald"

_LAYOUT = {
    tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT,
    tokenize.ENDMARKER,
}  # fmt: skip

#: An exception from the linter's rules, as a comment.
_EXCEPTION = "# no" + "qa: "


def code_lines(text: str) -> int:
    """How many lines of a module hold code."""
    strings: set[int] = set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            strings.update(range(node.lineno, (node.end_lineno or node.lineno) + 1))
    lines: set[int] = set()
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type not in _LAYOUT:
            lines.update(range(token.start[0], token.end[0] + 1))
    return len(lines - strings)


def counted(paths: Iterable[Path]) -> tuple[int, int]:
    """How many lines of code these modules have, and how many there are of them."""
    sizes = [code_lines(path.read_text(encoding="utf-8")) for path in paths]
    return sum(sizes), len(sizes)


def main() -> None:
    """Print the figures."""
    modules = sorted(PROGRAM.rglob("*.py"))
    simulator = [path for path in modules if "simulator" in path.parts]
    program = [path for path in modules if path not in simulator]
    tests = sorted((ROOT / "tests").rglob("*.py"))
    everything = [*modules, *tests, *(ROOT / "tools").glob("*.py"), *(ROOT / "bench").glob("*.py")]
    comments = sum(len(re.findall(_EXCEPTION, path.read_text("utf-8"))) for path in everything)
    written = sum(len(path.read_text("utf-8").splitlines()) for path in tests)
    print("program: {} lines of code in {} modules".format(*counted(program)))
    print("simulator: {} lines of code in {} modules".format(*counted(simulator)))
    print(f"tests: {written} lines in {len(tests)} files")
    print(f"comments for the linter: {comments}")


if __name__ == "__main__":
    main()
