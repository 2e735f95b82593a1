"""What README says about speed and cost is what was measured."""

from __future__ import annotations

import importlib
import inspect
import sys

import pytest

from bench import __main__ as bench
from bench.table import BEGIN, END, README, RESULTS


def test_readme_shows_what_was_measured() -> None:
    """The table in README is that of the latest whole run, to the letter."""
    table = RESULTS.read_text().partition("| | pgherald")[2]
    assert table
    assert f"{BEGIN}\n| | pgherald{table}{END}" in README.read_text()


@pytest.mark.parametrize("part", bench.PARTS)
def test_each_part_can_be_asked_for(part: str) -> None:
    """Each part that `make bench` knows is there, and gives rows."""
    if sys.platform != "linux" and part == "memory":
        pytest.skip("looks into /proc")
    module = importlib.import_module(f"bench.{part}")
    assert inspect.iscoroutinefunction(module.rows)
