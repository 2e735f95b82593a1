"""How everything looks on a real terminal: a narrow one, one without colours, none at all."""

from __future__ import annotations

import os
import re
import sys
from datetime import UTC, datetime
from pathlib import Path

import click
import pytest

from pgherald.cli.main import group
from pgherald.errors import ProbeFailed
from pgherald.files import Files
from pgherald.model import DatabaseKey, Entry, Rotation
from pgherald.store import Store, Trouble
from support.commands import CLIENTS, SHOP
from support.household import database, login
from support.terminal import Terminal

COLUMNS = 40

#: What sets a colour: 30 to 37, 90 to 97 and the longer forms. Bold is no colour.
COLOUR = re.compile(r"\x1b\[(?:\d+;)*(?:3|9)[0-8][;\d]*m")


def commands() -> list[tuple[str, ...]]:
    """Every command and sub-command, and the program itself."""
    found: list[tuple[str, ...]] = [()]
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        found.append((name,))
        if isinstance(command, click.Group):
            found.extend((name, sub) for sub in command.list_commands(context))
    return found


@pytest.fixture
def desk(tmp_path: Path) -> Path:
    """A folder with a configuration, a database with a rotation, and a trouble."""
    (tmp_path / "config.toml").write_text(f'state_dir = "state"\n{SHOP}{CLIENTS}')
    files = Files(tmp_path / "state" / "locks")
    files.private_folder(tmp_path / "state")
    at = datetime.now(UTC)
    key = DatabaseKey("default", "shop-production", "DATABASE")
    shop = database("shop-production")
    with Store.open(tmp_path / "state" / "state.db", files) as store:
        store.looked([shop], at)
        store.current([Entry(shop, login())], at, {key: at})
        rotation = Rotation(key, ("host", "user", "password"), at, at, at, 42)
        store.add_rotation(rotation, "Shop (production)", ("psql", "service file"))
        error = ProbeFailed("Postgres refuses the login of Shop (production)", "Make another one.")
        store.put_trouble(
            Trouble(f"database:{key}", "Shop", error.kind, error.title, error.advice, at, told=True)
        )
    return tmp_path


def show(
    desk: Path, *words: str, columns: int = COLUMNS, env: dict[str, str] | None = None
) -> Terminal:
    """Run a command of pgherald on a terminal to its end."""
    surroundings = {k: v for k, v in os.environ.items() if k != "NO_COLOR"}
    argv = [str(Path(sys.executable).with_name("pgherald")), "--config", "config.toml", *words]
    with Terminal(
        argv, env={**surroundings, "TERM": "xterm", **(env or {})}, columns=columns, cwd=desk
    ) as terminal:
        assert terminal.end() in (0, 1), terminal.shown
    assert "Traceback" not in terminal.shown
    return terminal


def too_wide(shown: str, columns: int) -> list[str]:
    """Lines that such a terminal would break, other than what is to be copied as it stands."""
    example = False
    found = []
    for line in shown.splitlines():
        example = line.endswith(":") and "Example" in line if line and line[2:3] != " " else example
        if len(line) > columns and not example and " " in line.strip():
            found.append(line)
    return found


@pytest.mark.parametrize("words", commands(), ids=" ".join)
def test_help_on_a_narrow_terminal(words: tuple[str, ...], desk: Path) -> None:
    """Help fits 40 columns: what is to be typed stays whole, and all else is wrapped."""
    shown = show(desk, *words, "--help").shown
    assert too_wide(shown.partition("Example")[0].partition("Exit codes")[0], COLUMNS) == []
    assert "Usage:" in shown
    assert "..." not in shown.replace("[ARGS]...", "")


def test_status_on_a_narrow_terminal(desk: Path) -> None:
    """At 40 columns each database is a paragraph, with nothing cut off."""
    shown = show(desk, "status").shown
    lines = shown.splitlines()
    assert "Make another one." in shown
    begin = lines.index("Shop-production")
    assert lines[begin + 1 : begin + 3] == [
        "  key           shop-production/DATABASE",
        "  state         trouble",
    ]
    assert max(map(len, lines[begin : begin + 6])) <= COLUMNS
    assert (
        max(map(len, show(desk, "status", columns=30).shown.splitlines()[begin : begin + 7])) <= 30
    )


def test_history_on_a_narrow_terminal(desk: Path) -> None:
    """At 40 columns each rotation is a paragraph that begins with its time, below the time line."""
    lines = show(desk, "history").shown.splitlines()
    end = lines.index("")
    assert lines[0].startswith("Shop (produc…")
    assert max(map(len, lines[:end])) <= COLUMNS
    assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d", lines[end + 1])
    assert lines[end + 2 :] == [
        "  database   Shop (production) (v42)",
        "  changed    host, user, password",
        "  proven     yes",
        "  written to psql, service file",
    ]


@pytest.mark.parametrize("words", [["status"], ["history"], ["plan"], ["history", "xyz"]])
def test_no_color(words: list[str], desk: Path) -> None:
    """With $NO_COLOR a terminal gets no colour, in whatever is shown and in every error."""
    for columns in (COLUMNS, 100):
        assert not COLOUR.findall(show(desk, *words, columns=columns, env={"NO_COLOR": "1"}).raw)
    if words != ["history"]:
        # Without it, and with an empty one, there are some: the search above can find them.
        assert COLOUR.findall(show(desk, *words, env={"NO_COLOR": ""}).raw)
