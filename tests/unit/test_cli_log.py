"""The daemon's log, for a terminal and for systemd's journal."""

from __future__ import annotations

import io
import logging
from collections.abc import Iterator, Mapping

import pytest

from pgherald.cli.log import set_up


@pytest.fixture(autouse=True)
def logging_as_before() -> Iterator[None]:
    """Leave the process's logging as it was; meanwhile only `set_up` decides."""
    root = logging.getLogger()
    logging.getLogger("pgherald").setLevel(logging.NOTSET)
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:], root.level = handlers, level


def logged(patch: pytest.MonkeyPatch, level: str, env: Mapping[str, str]) -> list[str]:
    """What three lines of the program's, and one of a library's, look like."""
    stderr = io.StringIO()
    patch.setattr("sys.stderr", stderr)
    set_up(level, env)
    log = logging.getLogger("pgherald.test")
    log.debug("nearly nothing")
    log.info("something")
    log.error("a title\nan advice")
    logging.getLogger("httpx").info("GET /apps")
    return stderr.getvalue().splitlines()


def test_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lines have time and level; what is below the chosen level, and libraries' talk, is not there."""
    first, *others = logged(monkeypatch, "info", {})
    assert first.endswith(" INFO    something")
    assert first[4] == "-"
    assert len(others) == 2
    assert others[0].endswith(" ERROR   a title")
    assert others[1] == "an advice"


def test_in_the_journal(monkeypatch: pytest.MonkeyPatch) -> None:
    """The journal has the time already; each line begins with its priority."""
    lines = logged(monkeypatch, "debug", {"JOURNAL_STREAM": "8:1"})
    assert lines == ["<7>nearly nothing", "<6>something", "<3>a title", "<3>an advice"]
