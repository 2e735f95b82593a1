"""The commands on a real terminal: a narrow one, one without colours, and one that is watched."""

from __future__ import annotations

import os
import re
import signal
import sys
import time
from datetime import timedelta
from pathlib import Path

import pytest

from pgherald.errors import ProbeFailed
from support.stored import KEY, StoredDesk
from support.terminal import Terminal

COLUMNS = 40

#: So long ago that a test does not see the days change.
DAYS = timedelta(days=3, hours=1)

#: What sets a colour: 30 to 37, 90 to 97 and the longer forms. Bold is no colour.
COLOUR = re.compile(r"\x1b\[(?:\d+;)*(?:3|9)[0-8][;\d]*m")


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> StoredDesk:
    """A database with a rotation, and a trouble."""
    desk = StoredDesk(tmp_path, monkeypatch)
    desk.healthy(before=DAYS)
    desk.rotated(label="Shop (production)")
    desk.trouble(f"database:{KEY}", "Shop", ProbeFailed("Postgres refuses Shop", "Make another."),
                 desk.now - DAYS)  # fmt: skip
    return desk


def terminal(
    desk: StoredDesk, *words: str, columns: int = COLUMNS, env: dict[str, str] | None = None
) -> Terminal:
    surroundings = {k: v for k, v in os.environ.items() if k != "NO_COLOR"}
    argv = [str(Path(sys.executable).with_name("pgherald")), "--config", "config.toml", *words]
    env = {**surroundings, "TERM": "xterm", **(env or {})}
    return Terminal(argv, env=env, columns=columns, cwd=desk.folder)


def show(
    desk: StoredDesk, *words: str, columns: int = COLUMNS, env: dict[str, str] | None = None
) -> Terminal:
    """Run a command of pgherald on a terminal to its end."""
    with terminal(desk, *words, columns=columns, env=env) as shown:
        assert shown.end() in (0, 1), shown.shown
    assert "Traceback" not in shown.shown
    return shown


def test_status_on_a_narrow_terminal(desk: StoredDesk) -> None:
    """Each database is a paragraph, with nothing cut off."""
    shown = show(desk, "status").shown
    lines = shown.splitlines()
    assert "Make another." in shown
    begin = lines.index("Shop")
    assert lines[begin + 1 : begin + 3] == [
        "  key           shop-production/DATABASE",
        "  state         trouble",
    ]
    assert max(map(len, lines[begin : begin + 6])) <= COLUMNS
    narrower = show(desk, "status", columns=30).shown.splitlines()
    assert max(map(len, narrower[narrower.index("Shop") :][:7])) <= 30


def test_history_on_a_narrow_terminal(desk: StoredDesk) -> None:
    """Each rotation is a paragraph that begins with its time, below the time line."""
    lines = show(desk, "history").shown.splitlines()
    end = lines.index("")
    assert lines[0].startswith("Shop (produc…")
    assert max(map(len, lines[:end])) <= COLUMNS
    assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d", lines[end + 1])
    assert lines[end + 2 :] == [
        "  database   Shop (production) (v42)",
        "  changed    user, password",
        "  proven     yes",
        "  written to psql, service file",
    ]


@pytest.mark.parametrize("words", [["status"], ["history"], ["plan"]])
def test_no_color(words: list[str], desk: StoredDesk) -> None:
    """With $NO_COLOR a terminal gets no colour, in whatever is shown and in every error."""
    assert not COLOUR.findall(show(desk, *words, columns=100, env={"NO_COLOR": "1"}).raw)
    # With an empty one there are some: the search above can find them.
    assert COLOUR.findall(show(desk, *words, columns=100, env={"NO_COLOR": ""}).raw)


@pytest.mark.parametrize("way", [signal.SIGINT, signal.SIGTERM])
def test_watch_shows_each_change(desk: StoredDesk, way: signal.Signals) -> None:
    """It draws a change, and nothing while nothing changes; it gives the terminal back."""
    with terminal(desk, "status", "--watch", columns=100) as shown:
        shown.until("Postgres refuses Shop")
        shown.until("Ctrl-C ends this.")
        desk.trouble("commit", "commit", ProbeFailed("No undo could be written"), desk.now - DAYS)
        shown.until("No undo could be written")
        drawn = shown.raw.count("No undo could be written")
        time.sleep(1.3)  # a real terminal, so real time: the state is read once in this
        shown.child.send_signal(way)
        assert shown.end() == 0
    assert shown.raw.count("No undo could be written") == drawn
    assert "\x1b[?1049l" in shown.raw  # the terminal's own screen …
    assert "\x1b[?25h" in shown.raw  # … and its cursor
    assert "Traceback" not in shown.raw


def test_the_picker_on_a_narrow_terminal(tmp_path: Path) -> None:
    """Marks survive the filter and a resize; what is filtered last is taken too; words stay whole."""
    script = tmp_path / "pick.py"
    script.write_text(
        "import os\nfrom pgherald.cli.setup.ask import pick\n"
        "rows = [f'app-{n}  DATABASE  standard-0' for n in range(10, 50)]\n"
        "print('PICKED', pick('Which databases shall pgherald keep working?', rows, (), os.environ), '!')\n"
    )
    env = {**os.environ, "TERM": "xterm"}
    with Terminal([sys.executable, str(script)], env=env, columns=COLUMNS) as shown:
        shown.until("app-20")
        title = " Which databases shall pgherald keep\nworking?\n"
        assert title in shown.screen, shown.screen
        shown.press("app-13")
        shown.until("/ app-13")
        shown.press(" ")
        shown.until("● app-13")
        shown.resize(60)
        shown.press("\x7f" * 6 + "app-27")
        shown.until("/ app-27")
        shown.press("\r")
        shown.until("!")
        assert "PICKED [3, 17] !" in shown.screen
