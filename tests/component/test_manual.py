"""The manual page, as the programs that show one read it."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import click
import pytest

from pgherald.cli.main import group

PAGE = Path(__file__).parents[2] / "man" / "pgherald.1"


def needs(program: str) -> pytest.MarkDecorator:
    return pytest.mark.skipif(shutil.which(program) is None, reason=f"needs {program}")


@pytest.mark.parametrize(
    "argv",
    [
        pytest.param(["groff", "-man", "-Tutf8", "-Kutf8", "-ww", "-z"], marks=needs("groff")),
        pytest.param(["mandoc", "-T", "lint", "-W", "warning"], marks=needs("mandoc")),
    ],
    ids=lambda argv: argv[0],
)
def test_the_page_is_sound(argv: list[str]) -> None:
    """Neither groff nor mandoc has anything to complain about."""
    ended = subprocess.run([*argv, PAGE], capture_output=True, text=True, timeout=120, check=False)
    said = [*ended.stdout.splitlines(), *ended.stderr.splitlines()]
    # A date would be wrong in every page but the one of a release's day.
    assert [line for line in said if "missing date" not in line] == []


@needs("groff")
def test_a_reader_sees_every_command_as_it_is_typed() -> None:
    """Plain dashes, nothing missing, each section there, and `-v` described once."""
    shown = subprocess.run(
        ["groff", "-man", "-Tutf8", "-Kutf8", "-rLL=200n", "-P-c", PAGE],
        capture_output=True, text=True, timeout=120, check=True,
    ).stdout  # fmt: skip
    shown = re.sub(r".\x08", "", shown)  # bold, as typewriters made it
    for command in group.list_commands(click.Context(group)):
        assert f"   pgherald {command}" in shown
    assert "   pgherald service install" in shown
    assert "pgherald status --json | jq '.troubles[].title'" in shown
    assert shown.count("-v, --verbose") == 1
    assert "\\" not in shown.replace("\\WINDOWS", "").partition("ENVIRONMENT")[0]
    for section in ("NAME", "SYNOPSIS", "OPTIONS", "EXIT STATUS", "ENVIRONMENT", "FILES"):
        assert f"\n{section}\n" in shown
    assert re.search(r"^ +130 +stopped by Ctrl-C$", shown, re.MULTILINE)
