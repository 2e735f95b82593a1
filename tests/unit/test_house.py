"""The walls of the house, as tests: what the linters cannot say."""

from __future__ import annotations

import ast
import graphlib
import re
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PROGRAM = ROOT / "daemon" / "pgherald"

#: Lines that a module may have.
LIMIT = 400

#: `open` by these names writes if its mode says so.
OPENERS = {"open", "io.open", "os.fdopen", "codecs.open", "gzip.open", "bz2.open", "lzma.open"}

#: Functions that write, move, chmod or delete, whatever their arguments.
WRITERS = re.compile(
    r"os\.(replace|renames?|unlink|remove|removedirs|rmdir|mkdir|makedirs|mkfifo|mknod|chmod"
    r"|lchmod|fchmod|chown|lchown|fchown|link|symlink|truncate|ftruncate|utime|open|write|pwrite"
    r"|setxattr|removexattr)"
    r"|shutil\.(copy\w*|move|rmtree|chown|make_archive|unpack_archive)"
    r"|tempfile\.(mk\w+|\w+File|\w+Directory)"
)

#: Methods that only paths have.
PATH_METHODS = {
    "write_text", "write_bytes", "unlink", "mkdir", "rmdir", "touch", "chmod", "lchmod",
    "rename", "symlink_to", "hardlink_to",
}  # fmt: skip

#: Who writes outside files/ all the same, what, and why.
WRITES_ELSEWHERE = {
    ("simulator/demo.py", "tempfile.mkdtemp"): "the throw-away folder of demo and simulate",
    ("simulator/postgres_server.py", "tempfile.mkdtemp"): "where Postgres's own account may enter",
    ("cli/main.py", "write_text"): "click's help formatter, which writes into memory",
    ("cli/main.py", "os.open"): "the null device, in place of a pipe that nobody reads",
    ("notify/programs.py", "os.open"): "the person's own terminal, which is no file",
    ("notify/programs.py", "os.write"): "likewise",
}

#: The auditor's map: every module that takes the plain text out of a `Secret`, and why.
REVEALS = {
    "cli/password.py": "prints the password that was asked for",
    "clients/lines.py": "puts logins into the clients' files",
    "clients/pgpass.py": "puts passwords into pgpass",
    "heroku/http.py": "sends the token to Heroku, and fetches a log by its address",
    "heroku/tokens.py": "checks a token's form before it is used",
    "heroku/url.py": "takes the login out of a config var's URL",
    "libpq.py": "hands the password to libpq",
    "notify/chat.py": "hands chat addresses to Apprise",
    "simulator/data_api.py": "shows the simulated login, as Heroku does",
    "simulator/postgres.py": "gives simulated roles their passwords",
    "simulator/postgres_server.py": "starts the throw-away Postgres",
    "simulator/server.py": "tells the simulated token",
    "simulator/shapes.py": "shows the simulated token, as Heroku does",
    "simulator/state.py": "makes the simulated config vars",
    "store/records.py": "hashes a login with a key, to see whether it has changed",
}

#: What no file may hold: registries, and folders of somebody's machine.
FOREIGN = re.compile(
    r"pypi\.org|files\.pythonhosted|registry\.npmjs|(?<![\w./~$}-])/(?:root|home/(?!(?:me|you|eve|other|linuxbrew)/)\w+)/"
)


def modules(folder: Path = PROGRAM) -> list[Path]:
    return sorted(folder.rglob("*.py"))


def name_of(module: Path) -> str:
    return module.relative_to(PROGRAM).as_posix()


def committed() -> list[Path]:
    """The files that are, or would be, committed; in an unpacked archive, all of them."""
    asked = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    found = [ROOT / name for name in asked.stdout.split("\0") if name] or [
        path
        for path in ROOT.rglob("*")
        if not any(part.startswith(".") or part == "__pycache__" for part in path.parts)
    ]
    return [path for path in found if path.is_file()]


# --- who writes ----------------------------------------------------------------------------


def imported(tree: ast.Module) -> dict[str, str]:
    """What each imported name stands for: `{"sp": "subprocess", "replace": "os.replace"}`."""
    names = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                names[alias.asname or alias.name.partition(".")[0]] = alias.name
        elif isinstance(node, ast.ImportFrom):
            for alias in node.names:
                names[alias.asname or alias.name] = f"{node.module}.{alias.name}"
    return names


def dotted(node: ast.expr, names: dict[str, str]) -> str:
    """`os.replace` for whatever the module calls it; empty for what is no plain name."""
    if isinstance(node, ast.Name):
        return names.get(node.id, node.id)
    if isinstance(node, ast.Attribute) and (inner := dotted(node.value, names)):
        return f"{inner}.{node.attr}"
    return ""


def mode_of(call: ast.Call, position: int) -> str:
    """The mode that a file is opened with; `?` when it cannot be told."""
    given: ast.expr | None = call.args[position] if len(call.args) > position else None
    given = next((k.value for k in call.keywords if k.arg == "mode"), given)
    if given is None:
        return "r"
    return str(given.value) if isinstance(given, ast.Constant) else "?"


def writes(source: str) -> Iterator[tuple[int, str]]:
    """Every call that writes, moves, chmods or deletes: its line, and its name."""
    tree = ast.parse(source)
    names = imported(tree)
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        called = dotted(node.func, names)
        module = called.partition(".")[0]
        if called in OPENERS:
            if set(mode_of(node, 1)) & set("wax+?"):
                yield node.lineno, called
        elif WRITERS.fullmatch(called):
            yield node.lineno, called
        elif isinstance(node.func, ast.Attribute) and module not in names.values():
            # A method. `replace` is a path's where it takes one argument, a text's with two.
            method = node.func.attr
            alone = len(node.args) == 1 and not node.keywords
            if method in PATH_METHODS or (method == "replace" and alone and called != "replace"):
                yield node.lineno, method
            # A mode that cannot be told may as well be no mode: other things open, too.
            if method == "open" and set(mode_of(node, 0)) & set("wax+"):
                yield node.lineno, method


WRITING = (
        "open(p, 'w')", "open(p, mode='ab')", "open(p, m)", "import io\nio.open(p, 'r+')",
        "p.write_text(t)", "Path(p).write_bytes(b)", "(a / b).unlink()", "p.mkdir()", "p.touch()",
        "p.rename(q)", "p.replace(q)", "self.path.chmod(0o600)", "p.open('x')",
        "import os\nos.replace(a, b)", "import os as o\no.remove(a)",
        "from os import unlink as gone\ngone(a)", "import shutil\nshutil.rmtree(a)",
        "import tempfile\ntempfile.mkdtemp()", "from tempfile import mkstemp\nmkstemp()",
        "from shutil import copyfile\ncopyfile(a, b)", "import os\nos.makedirs(a)",
)  # fmt: skip
READING = (
        "open(p)", "open(p, 'rb')", "p.read_text()", "t.replace('a', 'b')", "p.open()",
        "import dataclasses\ndataclasses.replace(c, a=1)", "p.open('rb')",
        "from dataclasses import replace\nreplace(c, a=1)", "at.replace(microsecond=0)",
        "import shutil\nshutil.which('psql')", "import shutil\nshutil.get_terminal_size()",
        "import os\nos.path.exists(p)", "import os\nos.dup2(1, 2)",
)  # fmt: skip


def test_what_counts_as_writing() -> None:
    """The wall sees each way to write; reading, and texts that are replaced, pass."""
    assert [source for source in WRITING if not list(writes(source))] == []
    assert [source for source in READING if list(writes(source))] == []


def test_only_files_writes() -> None:
    """No module outside files/ writes, moves, chmods or deletes, but those that say why."""
    found = {
        (name_of(module), what): line
        for module in modules()
        if module.parent != PROGRAM / "files"
        for line, what in writes(module.read_text(encoding="utf-8"))
    }
    strangers = {place: line for place, line in found.items() if place not in WRITES_ELSEWHERE}
    assert not strangers
    assert set(WRITES_ELSEWHERE) == set(found), "an exception that nobody needs any more"


# --- what an auditor reads -----------------------------------------------------------------


def test_who_reveals_secrets() -> None:
    """A secret's plain text is taken out in the modules of the auditor's map, and in no other."""
    found = set()
    for module in modules():
        for node in ast.walk(ast.parse(module.read_text(encoding="utf-8"))):
            # Without the call, too: `map(Secret.reveal, …)` takes it out as well.
            if isinstance(node, ast.Attribute) and node.attr == "reveal":
                found.add(name_of(module))
    assert found == set(REVEALS)


def test_the_map_of_secrets_is_public() -> None:
    """docs/security.md names the same modules, and the simulator as a whole."""
    text = (ROOT / "docs" / "security.md").read_text(encoding="utf-8")
    table = text.partition("## Where a secret is used")[2].partition("\n## ")[0]
    places = re.findall(r"^\|([^|]*)\|", table, re.MULTILINE)
    named = {name for place in places for name in re.findall(r"`([\w/]+(?:\.py|/))`", place)}
    assert named == {re.sub("^simulator/.*", "simulator/", name) for name in REVEALS}


# --- what a reader sees --------------------------------------------------------------------


def test_modules_are_short() -> None:
    """A module can be read in one sitting."""
    lengths = {name_of(each): len(each.read_text("utf-8").splitlines()) for each in modules()}
    assert {name: lines for name, lines in lengths.items() if lines >= LIMIT} == {}


def test_every_test_states_its_rule() -> None:
    """Each test's docstring says what it guards."""
    silent = [
        f"{path.relative_to(ROOT)}:{node.lineno} {node.name}"
        for path in modules(ROOT / "tests")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and node.name.startswith("test_")
        and path.name.startswith("test_")
        and not ast.get_docstring(node)
    ]
    assert not silent


#: A lint exception as it should be: codes, a dash or hash, and words.
_NOQA = re.compile(r"#\s*noqa\b(?P<codes>: [A-Z]+\d+(?:, [A-Z]+\d+)*)?(?P<why> – \S+)?")
_IGNORE = re.compile(r"#\s*type:\s*ignore(?P<codes>\[[a-z, -]+\])?(?P<why>\s+# \S+)?")


def test_every_exception_has_its_reason() -> None:
    """A lint or type exception names its code and says why.

    Where a module has several of one kind, the first of them says it for all.
    """
    bare = []
    for path in [*modules(), *modules(ROOT / "tests"), *modules(ROOT / "tools")]:
        explained: set[str] = set()
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
            found = _NOQA.search(line) or _IGNORE.search(line)
            if found is None or path == Path(__file__):
                continue
            if found["codes"] and found["why"]:
                explained.add(found["codes"])
            if found["codes"] not in explained:
                bare.append(f"{path.relative_to(ROOT)}:{number}: {line.strip()}")
    assert not bare


def test_nothing_of_a_machine_or_a_registry() -> None:
    """No committed file names a package registry or a folder of a developer's machine."""
    found = []
    for path in committed():
        text = path.read_bytes()
        if path == Path(__file__) or b"\0" in text:
            continue
        for number, line in enumerate(text.decode(errors="replace").splitlines(), 1):
            if match := FOREIGN.search(line):
                found.append(f"{path.relative_to(ROOT)}:{number}: {match[0]}")
    assert not found


def test_what_is_foreign() -> None:
    """The search for registries and folders finds them, and lets examples be."""
    foreign = ("https://pypi.org/simple", "see /root/.cache/x", "/home/dev/x")
    fine = ("/home/me/.pgpass", "/home/eve/x", "~/.pgpass", "https://example.com/root/x", "$HOME/x")
    assert [text for text in (*foreign, *fine) if FOREIGN.search(text)] == [*foreign]


def _imports(path: Path, modules: Mapping[str, Path]) -> set[str]:
    """The modules of the program that one imports when it runs, inside functions included."""
    tree = ast.parse(path.read_text("utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            node.body = []
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module:
            names = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= (names & modules.keys()) or ({node.module} & modules.keys())
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names} & modules.keys()
    return found


def test_no_circles() -> None:
    """No module imports itself by way of others, not inside a function either."""
    there = {
        ".".join(path.relative_to(PROGRAM.parent).with_suffix("").parts).removesuffix(
            ".__init__"
        ): path
        for path in modules()
    }
    sorter = graphlib.TopologicalSorter(
        {name: _imports(path, there) - {name} for name, path in there.items()}
    )
    try:
        sorter.prepare()
    except graphlib.CycleError as exc:
        pytest.fail(" imports ".join(exc.args[1]), pytrace=False)
