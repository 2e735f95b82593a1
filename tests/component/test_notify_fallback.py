"""Where a notice goes that the desktop does not show: real terminals, stand-ins for programs."""

from __future__ import annotations

import os
import pty
import tty
from collections.abc import Iterator
from pathlib import Path

import pytest

from pgherald.notify.desktop import Notice, Urgency
from pgherald.notify.programs import Terminals

NOTICE = Notice("Heroku rotated Shop", "psql is up to date.\nAll \x1b[31mwell\x07.")


class Terminal:
    """A terminal of this user's."""

    def __init__(self) -> None:
        self.ours, self.theirs = pty.openpty()
        tty.setraw(self.theirs)
        self.path = Path(os.ttyname(self.theirs))
        self.path.chmod(0o620)
        os.set_blocking(self.ours, False)

    def shown(self) -> str:
        try:
            return os.read(self.ours, 65536).decode()
        except BlockingIOError:
            return ""

    def close(self) -> None:
        os.close(self.ours)
        os.close(self.theirs)


@pytest.fixture
def terminal() -> Iterator[Terminal]:
    made = Terminal()
    yield made
    made.close()


def who(folder: Path, *lines: str) -> dict[str, str]:
    """An environment in which `who` names these lines."""
    program = folder / "who"
    rows = "\n".join(f"me       {line}        2026-01-05 09:00 (here)" for line in lines)
    program.write_text(f"#!/bin/sh\ncat <<'END'\n{rows}\nEND\n")
    program.chmod(0o755)
    return {"PATH": f"{folder}:/usr/bin:/bin"}


def line_of(terminal: Terminal) -> str:
    return str(terminal.path.relative_to("/dev"))


async def test_terminals_are_written_to(tmp_path: Path, terminal: Terminal) -> None:
    """Each terminal of the person's shows the notice, with no control character of its text."""
    other = Terminal()
    environ = who(tmp_path, line_of(terminal), line_of(other), ":0", "pts/4711", "../etc/passwd")
    receipt = await Terminals(environ=environ).show(NOTICE)
    text = "\r\npgherald: Heroku rotated Shop\r\npsql is up to date.\r\nAll  [31mwell .\r\n"
    assert (receipt.shown, receipt.why) == (True, "")
    assert [terminal.shown(), other.shown()] == [text, text]
    other.close()


@pytest.mark.parametrize(
    ("notice", "mode", "account"),
    [
        (NOTICE, 0o600, os.getuid()),
        (NOTICE, 0o620, 4711),
        (Notice("x", urgency=Urgency.LOW), 0o620, os.getuid()),
        (Notice("x", passing=True), 0o620, os.getuid()),
    ],
    ids=["mesg n", "somebody else's", "of little weight", "passes soon"],
)
async def test_a_terminal_that_is_left_alone(
    tmp_path: Path,
    terminal: Terminal,
    monkeypatch: pytest.MonkeyPatch,
    *,
    notice: Notice,
    mode: int,
    account: int,
) -> None:
    """A terminal that wants no messages, or is another user's, stays as it is; so for trifles."""
    terminal.path.chmod(mode)
    monkeypatch.setattr(os, "getuid", lambda: account)
    receipt = await Terminals(environ=who(tmp_path, line_of(terminal))).show(notice)
    assert not receipt.shown
    assert terminal.shown() == ""


async def test_a_stopped_terminal_is_not_waited_for(tmp_path: Path, terminal: Terminal) -> None:
    """A terminal that takes nothing costs neither time nor the other terminals' notice."""
    with open(terminal.path, "wb", buffering=0) as full:  # noqa: ASYNC230 – a terminal
        os.set_blocking(full.fileno(), False)
        while full.write(b"x" * 4096) is not None:
            pass
        free = Terminal()
        environ = who(tmp_path, line_of(terminal), line_of(free))
        receipt = await Terminals(environ=environ).show(NOTICE)
    assert receipt.shown
    assert "Heroku rotated Shop" in free.shown()
    free.close()


async def test_without_who(tmp_path: Path) -> None:
    """Without `who`, or with one that hangs, the receipt says so in time."""
    nobody = Terminals(environ={"PATH": str(tmp_path)})
    assert (await nobody.show(NOTICE)).why == "`who` is not there to name the terminals"
    (tmp_path / "who").write_text("#!/bin/sh\nexec sleep 60\n")
    (tmp_path / "who").chmod(0o755)
    environ = {"PATH": f"{tmp_path}:/usr/bin:/bin"}
    silent = Terminals(environ=environ, limit=0.4)
    assert (await silent.show(NOTICE)).why == "`who` does not answer"
