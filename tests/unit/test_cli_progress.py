"""What is said while something takes longer than a second."""

from __future__ import annotations

import asyncio
import contextlib
import io
import threading
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from pgherald.cli import progress as module
from pgherald.cli.progress import progress
from pgherald.heroku.account import Account
from support.commands import CLIENTS, SHOP, Desk


class Terminal(io.StringIO):
    """Memory that calls itself a terminal, and tells when something was shown."""

    def __init__(self, until: str) -> None:
        super().__init__()
        self.until = until
        self.seen = threading.Event()

    def isatty(self) -> bool:
        return True

    def write(self, text: str) -> int:
        count = super().write(text)
        if self.until in self.getvalue():
            self.seen.set()
        return count


@contextlib.contextmanager
def terminal() -> Iterator[Terminal]:
    """Stderr is a terminal; within a test only, since pytest sets it anew for each phase."""
    shown = Terminal("Asking Heroku …")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TERM", "xterm")
        patch.delenv("NO_COLOR", raising=False)
        patch.setattr("sys.stderr", shown)
        yield shown
    assert not [t for t in threading.enumerate() if t.name == "progress"]


def test_what_is_quick_shows_nothing() -> None:
    """Within the first second nothing is said."""
    with terminal() as shown, progress(lambda: "Asking Heroku"):
        pass
    assert not shown.getvalue()


def test_what_takes_long_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """Afterwards a line says what is being done; what is printed meanwhile stays, it does not."""
    monkeypatch.setattr(module, "PATIENCE", 0.0)
    with terminal() as shown, progress(lambda: "Asking Heroku") as say:
        assert shown.seen.wait(10)
        say("[shop]: still being proven")
    text = shown.getvalue()
    assert "[shop]: still being proven" in click.unstyle(text)
    assert text.endswith("\x1b[1A\x1b[2K")  # the line is taken away
    assert "\x1b[?25h" in text  # and the cursor given back


def test_a_mistake_ends_it_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """However the work ends, the line is gone."""
    monkeypatch.setattr(module, "PATIENCE", 0.0)
    with terminal() as shown:
        with contextlib.suppress(KeyError), progress(lambda: "Asking Heroku"):
            assert shown.seen.wait(10)
            raise KeyError
        assert shown.getvalue().endswith("\x1b[1A\x1b[2K")


def test_piped_it_is_plain(capsys: pytest.CaptureFixture[str]) -> None:
    """Without a terminal there is no line, and what is printed is just that."""
    with progress(lambda: "Asking Heroku") as say:
        say("shop: still being proven")
    assert capsys.readouterr().err == "shop: still being proven\n"


@pytest.mark.parametrize("command", ["check", "plan"])
def test_commands_say_what_they_do(
    command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While Heroku is being asked, check and plan can say so."""
    said: list[str] = []
    ask = Account.look

    async def look(self: Account, databases: object) -> object:
        await asyncio.sleep(0)
        said.append(doing())
        return await ask(self, databases)  # type: ignore[arg-type]  # handed on as it came

    doing = str

    def noting(what: object) -> object:
        nonlocal doing
        doing = what  # type: ignore[assignment]  # it takes nothing and gives a text
        return progress(doing)

    monkeypatch.setattr(f"pgherald.cli.{command}.progress", noting)
    monkeypatch.setattr(Account, "look", look)
    desk = Desk.laid(tmp_path, monkeypatch)
    desk.configure(SHOP + CLIENTS)
    assert desk.run(command).code == 0
    assert said == ["Asking Heroku: 1 app to go"]
    assert doing() == "Comparing the clients"
