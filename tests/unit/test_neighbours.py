"""What is got before the tests begin."""

from __future__ import annotations

import pytest

from support import neighbours
from support.pgadmin_setup import Unavailable


def test_each_missing_program_is_named_in_one_line() -> None:
    """Nothing is skipped in silence: each program that is not here is named, with its package."""
    lines = list(neighbours.missing(lambda _: None))
    assert len(lines) >= len(neighbours.SYSTEM)
    for program, (package, tests) in neighbours.SYSTEM.items():
        line = f"Missing: {program}. Not tested: {tests}. On Debian: apt-get install {package}"
        assert line in lines
    assert list(neighbours.missing(lambda program: f"/usr/bin/{program}")) == []


def test_what_is_got_is_said_before_it_is_got(capsys: pytest.CaptureFixture[str]) -> None:
    """The name, and how long it takes, are shown before the work begins."""
    seen: list[str] = []
    assert neighbours.get("a thing", "an hour", lambda: seen.append(capsys.readouterr().out)) == ""
    assert seen == ["Getting a thing (the first time it takes an hour) …\n"]


def test_what_cannot_be_got_is_named() -> None:
    """A neighbour that cannot be installed is one line, and no end of the run."""

    def refuses() -> None:
        raise Unavailable("no network")

    assert neighbours.get("pgAdmin", "a minute", refuses) == "Missing: pgAdmin. no network"


def test_a_mistake_is_no_missing_neighbour() -> None:
    """A fault of the installer itself ends the run."""
    with pytest.raises(ZeroDivisionError):
        neighbours.get("pgAdmin", "a minute", lambda: 1 / 0)
