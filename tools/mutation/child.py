"""What a child does that tries one mutant: pytest without its own loop, and a changed module."""

from __future__ import annotations

import contextlib
import os
import resource
import tempfile
from collections.abc import Callable, Sequence
from importlib.machinery import ModuleSpec, SourceFileLoader
from importlib.util import spec_from_file_location
from pathlib import Path
from types import CodeType
from typing import Any, Final

import pytest

#: Bytes that a child may have; a mutant that never ends may eat without end, too.
MEMORY: Final = 6 * 1024**3

#: For pytest in a child: no cache, no limit of pytest's own, and what is imported is imported.
OPTIONS: Final = (
    "-q", "-p", "no:cacheprovider", "-o", "timeout=0", "--capture=sys",
    "-W", "ignore::pytest.PytestAssertRewriteWarning",
)  # fmt: skip


def be_child(folder: Path) -> None:
    """A group of its own, a folder of its own, nothing to say, and an end to its appetite."""
    os.setsid()
    os.environ["PYTEST_DEBUG_TEMPROOT"] = os.environ["TMPDIR"] = str(folder)
    tempfile.tempdir = str(folder)
    null = os.open(os.devnull, os.O_RDWR)
    for fd in (0, 1, 2):
        os.dup2(null, fd)
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def passes(items: Sequence[pytest.Item], tell: Callable[[str], None]) -> bool:
    """Run the tests up to the first that fails; whether all passed."""
    from _pytest.runner import runtestprotocol  # noqa: PLC0415 – pytest's own loop is this one

    for item, following in zip(items, [*items[1:], None], strict=True):
        tell(item.nodeid)
        reports = runtestprotocol(item, nextitem=following, log=False)
        if any(report.failed for report in reports):
            with contextlib.suppress(BaseException):
                item.session._setupstate.teardown_exact(None)  # noqa: SLF001 – as pytest's loop
            return False
    return True


def in_order(items: Sequence[pytest.Item], tests: Sequence[str]) -> list[pytest.Item]:
    """The tests of these names, in this order."""
    by_name = {item.nodeid: item for item in items}
    return [by_name[test] for test in tests if test in by_name]


class Settings:
    """Hypothesis finds the same each time, keeps nothing, and does not look for the smallest."""

    @pytest.hookimpl(tryfirst=True)
    def pytest_collection(self) -> None:
        """Before the tests are imported, which take over what holds then."""
        from hypothesis import Phase, settings  # noqa: PLC0415 – after the tests' own profile

        settings.register_profile(
            "mutation", parent=settings.default, derandomize=True, database=None,
            phases=(Phase.explicit, Phase.generate), report_multiple_bugs=False,
        )  # fmt: skip
        settings.load_profile("mutation")


class Loop:
    """In place of pytest's loop over the tests."""

    def __init__(self, work: Callable[[Sequence[pytest.Item]], Any]) -> None:
        self._work = work
        self.ran = False
        self.passed = False

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        """Work, if all could be collected."""
        if session.testsfailed:
            return True
        self.ran = True
        self.passed = bool(self._work(session.items))
        return True


class Changed(SourceFileLoader):
    """Finds and loads one module, changed."""

    def __init__(self, name: str, path: Path, code: CodeType) -> None:
        super().__init__(name, str(path))
        self._code = code

    def find_spec(self, name: str, path: object = None, target: object = None) -> ModuleSpec | None:
        """This module, and no other."""
        del path, target
        return spec_from_file_location(name, self.path, loader=self) if name == self.name else None

    def get_code(self, fullname: str) -> CodeType:
        """Its changed code."""
        del fullname
        return self._code


def dotted(path: Path, program: Path) -> str:
    """A module's name, as `pgherald.clients.pgpass`."""
    parts = path.relative_to(program.parent).with_suffix("").parts
    return ".".join(part for part in parts if part != "__init__")
