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


def test_what_is_installed_is_said_before_it_begins() -> None:
    """All of it with how long it takes; one that cannot be had is a line, and no end of the run."""
    got: list[str] = []

    def refuses() -> None:
        raise Unavailable("no network")

    wanted = (
        neighbours.Neighbour("the CLI", "a minute", lambda: False, lambda: got.append("CLI")),
        neighbours.Neighbour("a shell", "a second", lambda: True, refuses),
        neighbours.Neighbour("pgAdmin", "an hour", lambda: False, refuses),
    )
    lines = neighbours.get(wanted)
    first = "To be installed first, once: the CLI (a minute), pgAdmin (an hour)"
    assert (next(lines), got) == (first, [])
    assert list(lines)[-2:] == ["Installing pgAdmin …", "Missing: pgAdmin. no network"]
    assert got == ["CLI"]
