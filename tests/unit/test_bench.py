"""What README says about speed and cost is what was measured."""

from __future__ import annotations

import importlib
import inspect
import sys

import pytest

from bench import __main__ as bench
from bench.table import BEGIN, END, README, RESULTS, Row, markdown, ratio, shown_in


def test_readme_shows_what_was_measured() -> None:
    """The table in README is that of the latest whole run, to the letter."""
    table = RESULTS.read_text().partition("| | pgherald")[2]
    assert table
    assert f"{BEGIN}\n| | pgherald{table}{END}" in README.read_text()


def test_a_table_takes_the_place_of_the_one_before() -> None:
    """A new table replaces the old one between its marks, and nothing else."""
    rows = [Row("this", "1 s", "2 s: that", ratio(1, 2), good=True)]
    text = f"before\n{BEGIN}\nold\n{END}\nafter\n"
    new = shown_in(text, markdown(rows))
    assert new.startswith(f"before\n{BEGIN}\n| | pgherald | instead | ratio |\n")
    assert "| this | 1 s | 2 s: that | 0.5 |\n" in new
    assert new.endswith(f"{END}\nafter\n")
    assert shown_in(new, markdown(rows)) == new
    with pytest.raises(ValueError, match="no place"):
        shown_in("no marks", "")


@pytest.mark.parametrize("part", bench.PARTS)
def test_each_part_can_be_asked_for(part: str) -> None:
    """Each part that `make bench` knows is there, and gives rows."""
    if sys.platform != "linux" and part == "memory":
        pytest.skip("looks into /proc")
    module = importlib.import_module(f"bench.{part}")
    assert inspect.iscoroutinefunction(module.rows)


async def test_an_unknown_part(capsys: pytest.CaptureFixture[str]) -> None:
    """A part that is not there is named, with those that are."""
    assert await bench.main(["speed"]) == 2
    assert "no such part: speed; there are: latency, " in capsys.readouterr().out
