"""How commands print: tables, JSON, times, headlines, and what takes long."""

from __future__ import annotations

import contextlib
import io
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import click
import pytest

from pgherald.cli import output
from pgherald.cli.output import ago, emit_json, error_at, lasting, progress
from pgherald.errors import (
    FileTrouble,
    LoginRequired,
    NotVisible,
    PgheraldError,
    ProbeFailed,
    Unparsable,
)
from pgherald.model import Subject
from pgherald.secret import Secret

NOW = datetime(2026, 1, 5, 9, tzinfo=UTC)


@pytest.mark.parametrize(
    ("span", "text"),
    [
        (timedelta(seconds=45), "45 s"),
        (timedelta(minutes=5, seconds=59), "5 min"),
        (timedelta(hours=2), "2 h"),
        (timedelta(hours=2, minutes=5), "2 h 5 min"),
        (timedelta(days=1, hours=23), "1 day"),
        (timedelta(days=3), "3 days"),
    ],
)
def test_spans_are_said_in_a_persons_units(span: timedelta, text: str) -> None:
    """A span is said in one or two units, and so is the moment that lies so far back."""
    assert lasting(span) == text
    assert ago(NOW - span, NOW) == f"{text} ago"


@pytest.mark.parametrize(
    ("subject", "label", "error", "told"),
    [
        ("account:default", "default", LoginRequired("No token"), "No token"),
        ("expiry:work", "work", LoginRequired("It ends"), "Heroku account work: It ends"),
        ("database:shop/DATABASE", "Shop", ProbeFailed("Shop refuses"), "Shop refuses"),
        ("database:shop/DATABASE", "Shop", NotVisible("Shop has none"), "Shop: Shop has none"),
        ("client:/p", "psql", Unparsable("odd", path=Path("/p"), line=3), "/p:3: odd"),
        ("commit", "commit", FileTrouble("No undo"), "No undo"),
    ],
)
def test_a_problem_names_its_subject(
    subject: str,
    label: str,
    error: PgheraldError,
    told: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """By the kinds of subject and error, whatever words happen to stand in a title."""
    error_at(Subject.read(subject), label, error)
    assert capsys.readouterr().err.splitlines()[0] == told


def test_json_refuses_a_secret(capsys: pytest.CaptureFixture[str]) -> None:
    """Whatever nobody foresaw is refused, a secret above all, and nothing of it is printed."""
    with pytest.raises(TypeError, match="Secret is not for showing"):
        emit_json({"password": Secret("CANARY-password")})
    assert capsys.readouterr().out == ""


# --- what takes long ------------------------------------------------------------------------


class Terminal(io.StringIO):
    """Memory that calls itself a terminal, and tells when something was shown."""

    def __init__(self) -> None:
        super().__init__()
        self.seen = threading.Event()

    def isatty(self) -> bool:
        return True

    def write(self, text: str) -> int:
        count = super().write(text)
        if "Asking Heroku …" in self.getvalue():
            self.seen.set()
        return count


@contextlib.contextmanager
def terminal() -> Iterator[Terminal]:
    """Stderr is a terminal; within a test only, since pytest sets it anew for each phase."""
    shown = Terminal()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TERM", "xterm")
        patch.delenv("NO_COLOR", raising=False)
        patch.setattr("sys.stderr", shown)
        yield shown
    assert not [t for t in threading.enumerate() if t.name == "progress"]


@pytest.mark.parametrize("mistake", [False, True])
def test_long_work_is_shown_and_taken_away(monkeypatch: pytest.MonkeyPatch, mistake: bool) -> None:
    """A line says what is being done; however the work ends it goes, and what was printed stays."""
    monkeypatch.setattr(output, "PATIENCE", 0.0)
    with terminal() as shown:
        with contextlib.suppress(KeyError), progress(lambda: "Asking Heroku") as say:
            assert shown.seen.wait(30)
            say("[shop]: still being proven")
            if mistake:
                raise KeyError
        text = shown.getvalue()
    assert "[shop]: still being proven" in click.unstyle(text)
    assert text.endswith("\x1b[1A\x1b[2K")  # the line is taken away
    assert "\x1b[?25h" in text  # and the cursor given back
