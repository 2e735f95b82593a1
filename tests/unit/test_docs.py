"""The documents against the tree: what they name is there."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from functools import cache
from pathlib import Path

import pytest

from pgherald.config import load
from pgherald.daemon.status import WORDS, Status, as_json
from pgherald.model import About, DatabaseKey, Subject
from pgherald.store import Alert, DatabaseState, Requests
from support.commands import CLIENTS, SHOP

ROOT = Path(__file__).parents[2]
PROGRAM = ROOT / "daemon" / "pgherald"
TESTS = ROOT / "tests"

#: Every document that people read; the changes of past versions name what was there then.
DOCUMENTS = sorted(
    [*(ROOT / "docs").rglob("*.md"), *(path for path in ROOT.glob("*.md") if path.stem.isupper())]
)

#: A test's file, or a test, as documents give them; a star at its end stands for several.
_FILE = re.compile(r"(?:\w+/)*test_\w+\.py")
_TEST = re.compile(r"`(test_\w+)`")

#: A module of the program, such as `sync/relay.py` or `files/kept`.
_MODULE = re.compile(r"`(?:daemon/pgherald/)?((?:\w+/)+\w+|\w+)(\.py)?`")

_LINK = re.compile(r"\]\(([^)\s]*)\)")
_HEADING = re.compile(r"^#+ (.*)$", re.MULTILINE)
_FENCED = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
_MAKE = re.compile(r"(?:^|`)make ([a-z-]+)", re.MULTILINE)


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def text_of(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def blocks(text: str) -> Iterator[str]:
    """The rows of tables, and the paragraphs."""
    for paragraph in re.split(r"\n\s*\n", text):
        yield from paragraph.splitlines() if paragraph.startswith("|") else [paragraph]


@cache
def defined_in(path: Path) -> set[str]:
    """The names of the functions in a test file."""
    tree = ast.parse(text_of(path))
    functions = (ast.FunctionDef, ast.AsyncFunctionDef)
    return {node.name for node in ast.walk(tree) if isinstance(node, functions)}


def found(name: str) -> Path | None:
    """The test file that a document means, by its path or by its name alone."""
    short = name.removeprefix("tests/")
    if (TESTS / short).is_file():
        return TESTS / short
    return None if "/" in short else next(TESTS.rglob(short), None)


def wrong(text: str) -> Iterator[str]:
    """Tests that a text names and that are not there: a test's file stands in the same block."""
    for block in blocks(text):
        named = {name: found(name) for name in _FILE.findall(block)}
        yield from (name for name, path in named.items() if path is None)
        there = {test for path in named.values() if path for test in defined_in(path)}
        yield from (test for test in _TEST.findall(block) if test not in there)


@pytest.mark.parametrize("document", DOCUMENTS, ids=name_of)
def test_tests_that_are_named_exist(document: Path) -> None:
    """A claim's test, named in a document with its file, is there."""
    assert list(wrong(text_of(document))) == []


def test_what_is_missing_is_found() -> None:
    """The search finds files and tests that are not there, and a test without its file."""
    here = "test_tests_that_are_named_exist"
    for text, missing in (
        (f"`tests/unit/test_docs.py`: `{here}`", []),
        ("`make test TESTS=tests/unit/test_gone.py`", ["tests/unit/test_gone.py"]),
        ("`unit/test_docs.py`, `test_gone`", ["test_gone"]),
        ("`component/test_docs.py`", ["component/test_docs.py"]),
        (f"`test_docs.py`\n\n`{here}`", [here]),
    ):
        assert list(wrong(text)) == missing


def anchors(text: str) -> set[str]:
    """What links may lead to, as GitHub makes it of headings."""
    headings = _HEADING.findall(_FENCED.sub("", text))
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("document", DOCUMENTS, ids=name_of)
def test_links_lead_somewhere(document: Path) -> None:
    """Each link to a file of the project leads to one, and to a heading that it has."""
    dead = []
    for link in _LINK.findall(_FENCED.sub("", text_of(document))):
        if "://" in link or link.startswith("mailto:"):
            continue
        name, _, anchor = link.partition("#")
        target = document.parent / name if name else document
        if not target.exists() or (anchor and anchor not in anchors(text_of(target))):
            dead.append(link)
    assert dead == []


@pytest.mark.parametrize("document", DOCUMENTS, ids=name_of)
def test_targets_and_modules_that_are_named_exist(document: Path) -> None:
    """Each `make …`, and each module of the program, `sync/relay.py` say, is there."""
    targets = set(re.findall(r"^([a-z-]+):", text_of(ROOT / "Makefile"), re.MULTILINE))
    assert set(_MAKE.findall(text_of(document))) - targets == set()
    rooms = {path.name for path in PROGRAM.iterdir() if path.is_dir()}
    missing = []
    for name, suffix in _MODULE.findall(text_of(document)):
        if name.partition("/")[0] in rooms and ("/" in name or suffix):
            path = PROGRAM / name
            # `clients/base.TextClient` and `sync/engine` do without the suffix.
            if not path.is_dir() and not path.with_suffix(".py").is_file():
                missing.append(name)
    assert missing == []


def test_every_room_is_on_the_map() -> None:
    """docs/architecture.md has a row for each folder, and each module beside them."""
    text = text_of(ROOT / "docs" / "architecture.md")
    table = text.partition("## The rooms")[2].partition("\n## ")[0]
    named = set(re.findall(r"`(\w+)/?`", "".join(re.findall(r"^\|([^|]*)\|", table, re.MULTILINE))))
    there = {
        path.stem
        for path in PROGRAM.iterdir()
        if not path.name.startswith("__") and (path.suffix == ".py" or path.is_dir())
    }
    assert named == there


def test_the_keys_of_status_json_are_described(tmp_path: Path) -> None:
    """docs/operations.md names each key of status.json and no other, and each state of a client."""
    section = text_of(ROOT / "docs" / "operations.md").partition("**status.json**")[2]
    table = section.partition("**Prometheus.**")[0]
    rows = dict(re.findall(r"^\| `(\w+)(?:\[\])?` \|(.*)\|$", table, re.MULTILINE))
    key, now = DatabaseKey("default", "shop", "DATABASE"), datetime.now(UTC)
    status = Status(
        [DatabaseState(key, "Shop", None, None, None, proven=False)],
        alerts=[Alert(Subject(About.STORE), "", "", "", "", now, told=True)],
        requests=[Requests("default", 1, 2, None, now)],
    )
    config = tmp_path / "config.toml"
    config.write_text(SHOP + CLIENTS)
    shown = as_json(load(config, {}), status)
    assert rows.keys() == shown.keys()
    for name in ("databases", "clients", "troubles", "requests"):
        keys = {*shown[name][0], *(WORDS if name == "databases" else ())}
        assert set(re.findall(r"`(\w+)`", rows[name])) == keys, name
