"""After every test, and after the whole run: has a secret got out anywhere?

Every password, token and config var of a test holds the mark that `support.leaks` looks for.
Here everything is looked through that the program says or leaves, whatever the test is about:

- each record of the log, at every level, with its traceback;
- what each command and daemon writes to stdout and stderr, JSON too, but for `password`;
- each notice that reaches the stand-in for a desktop;
- the command line and the environment of each program that it starts in this process;
- each state file, journal and lock below the run's temporary folder, and every file's name.

A test that lets a secret out on purpose says so: `@pytest.mark.lets_out("why")`.
"""

from __future__ import annotations

import logging
import sys
from pathlib import Path
from types import FrameType
from typing import Any, Final

import pgherald
from support.leaks import leaks_in, leaks_in_folder

_PROGRAM: Final = Path(pgherald.__file__).parent
_SIMULATOR: Final = _PROGRAM / "simulator"
_TESTS: Final = Path(__file__).parents[1]

#: Files of ours that may hold a secret: what a client held, or is to hold.
_UNDO: Final = (".before", ".expand", ".after")

#: pgAdmin's configuration database, which is not ours, and holds what pgAdmin puts there.
_THEIRS: Final = "pgadmin4.db"

#: Files of ours that may not, by the end of their name.
_OURS: Final = (".db", ".db-wal", ".db-journal", ".db.damaged", "manifest.json", "status.json", ".prom", ".lock",
         ".log")  # fmt: skip


class _Ear(logging.Handler):
    """Hears each record."""

    def emit(self, record: logging.LogRecord) -> None:
        """Note what it says, as a formatter would write it."""
        try:
            said = _PLAIN.format(record)
        except (TypeError, ValueError) as exc:
            said = f"a record that cannot be formatted: {type(exc).__name__}"
        hear(f"the log of {record.name}", said)


_PLAIN = logging.Formatter("%(message)s")
_ear = _Ear(logging.DEBUG)
_heard: list[tuple[str, str | bytes]] = []


def hear(where: str, said: str | bytes) -> None:
    """Note something that the program has said, or handed on."""
    _heard.append((where, said))


def leaks_since() -> list[str]:
    """Each secret in what was heard since the last call."""
    heard = _heard[:]
    _heard.clear()
    return [f"{where}: {leak}" for where, said in heard for leak in leaks_in(said)]


def forget_harmless() -> None:
    """Let go of what was heard and holds no secret: a test of a month would keep a lot."""
    _heard[:] = [(where, said) for where, said in _heard if leaks_in(said)]


def listen() -> None:
    """Hear the log, and each program that is started, from now on until the process ends."""
    logging.getLogger().addHandler(_ear)
    logging.getLogger("pgherald").setLevel(logging.DEBUG)
    if not getattr(sys, "_pgherald_listens", False):
        sys.addaudithook(_started)
        sys._pgherald_listens = True  # type: ignore[attr-defined]  # an audit hook stays for good


def _started(event: str, args: tuple[Any, ...]) -> None:
    if event == "subprocess.Popen" and _by_the_program():
        _, argv, _, env = args
        hear("a program's command line", " ".join(map(str, argv)))
        hear("a program's environment", repr(sorted((env or {}).items())))


def _by_the_program() -> bool:
    """Whether the program starts it, and not a test, or the simulator that stands in for Heroku."""
    frame: FrameType | None = sys._getframe(2)
    while frame is not None:
        source = Path(frame.f_code.co_filename)
        if _PROGRAM in source.parents:
            return _SIMULATOR not in source.parents
        if _TESTS in source.parents:
            return False
        frame = frame.f_back
    return False


def leaks_left(folder: Path) -> list[str]:
    """Each secret in what was left below a folder: in names, and in files that are ours."""
    return leaks_in_folder(folder, but=_is_foreign)


def _is_foreign(path: Path) -> bool:
    ours = path.name.endswith(_OURS) and not path.name.endswith(_UNDO)
    return not ours or _THEIRS in path.name
