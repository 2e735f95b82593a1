"""What is got before the tests begin."""

from __future__ import annotations

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


def test_what_cannot_be_got_is_named() -> None:
    """A neighbour that cannot be installed is one line, and no end of the run."""

    def refuses() -> None:
        raise Unavailable("no network")

    assert neighbours.get("pgAdmin", "a minute", refuses) == "Missing: pgAdmin. no network"
