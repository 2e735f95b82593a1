"""The real pgAdmin, for tests: installed on demand, run in a home of its own.

    program = install()                       # half a minute the first time, nothing later
    pgadmin = PgAdmin.fresh(program, tmp_path)
    assert pgadmin.load(file) == (1, 3)       # what `setup.py load-servers` said it added
    pgadmin.servers()                         # what it really stored
    oldest()                                  # the same for the oldest release that is supported

It lives in `.cache/pgadmin-venv` and comes from `requirements/pgadmin.txt`, every file checked
against its hash; it is made anew when those requirements change. PGHERALD_PGADMIN_VENV names
another place; a virtual environment that is already there is used as it is.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import sqlite3
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from filelock import FileLock

REPOSITORY: Final = Path(__file__).resolve().parents[2]
REQUIREMENTS: Final = REPOSITORY / "requirements" / "pgadmin.txt"
OLDEST: Final = REPOSITORY / "requirements" / "pgadmin-oldest.txt"

#: The first release with commands for its set-up; older ones have options.
COMMANDS_SINCE: Final = (8, 2)

#: For a release that does not know CONFIG_DISTRO_FILE_PATH yet: it reads this file instead.
_LOCAL: Final = """\
import os
if os.environ.get("CONFIG_DISTRO_FILE_PATH"):
    exec(open(os.environ["CONFIG_DISTRO_FILE_PATH"]).read())
"""

#: Seconds. An installation loads 150 MB; a command takes about two.
INSTALL_LIMIT: Final = 900
COMMAND_LIMIT: Final = 60

#: The user that pgAdmin's desktop mode makes for itself.
USER: Final = "pgadmin4@pgadmin.org"

_PARTS: Final = ("RELEASE", "REVISION")

#: What a virtual environment was made from.
_STAMP: Final = "pgherald-requirements.sha256"

_ADDED = re.compile(r"Added (\d+) Server Group\(s\) and (\d+) Server\(s\)\.")


class Unavailable(Exception):
    """pgAdmin cannot be installed here; says why in one line."""


class Refused(Exception):
    """pgAdmin did not import the file; holds what it said."""


@dataclass(frozen=True, slots=True)
class Program:
    """An installed pgAdmin."""

    python: Path
    setup: Path

    @property
    def version(self) -> str:
        """Its release, such as `9.18`."""
        for name in ("version.py", "config.py"):  # before 8.4 there was no version.py
            file = self.setup.with_name(name)
            text = file.read_text() if file.is_file() else ""
            found = [re.search(rf"^APP_{part} = (\d+)", text, re.MULTILINE) for part in _PARTS]
            if all(found):
                return ".".join(part[1] for part in found if part)
        raise Unavailable(f"no version in {self.setup.parent}")

    @property
    def has_commands(self) -> bool:
        return tuple(map(int, self.version.split("."))) >= COMMANDS_SINCE


def install() -> Program:
    """Give the newest pgAdmin; install it first where it is missing or another version."""
    return _installed(*_newest())


def is_installed() -> bool:
    """Whether `install` has nothing to fetch any more."""
    return _is_usable(*_newest())


def _newest() -> tuple[Path, Path, bool]:
    """Where the newest one is, what it is made from, and whether it is used as it is."""
    chosen = os.environ.get("PGHERALD_PGADMIN_VENV")
    return Path(chosen or REPOSITORY / ".cache" / "pgadmin-venv"), REQUIREMENTS, bool(chosen)


def oldest() -> Program:
    """Give the oldest pgAdmin that is supported and can be installed, likewise."""
    if sys.version_info[:2] != (3, 11):
        raise Unavailable("pgAdmin 6.21 runs on Python 3.11 and on nothing newer")
    program = _installed(REPOSITORY / ".cache" / "pgadmin-oldest-venv", OLDEST, False)
    program.setup.with_name("config_local.py").write_text(_LOCAL)
    return program


def _installed(venv: Path, requirements: Path, as_it_is: bool) -> Program:
    """The pgAdmin in a virtual environment, made anew unless it holds just that."""
    python = _python(venv)
    venv.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{venv}.lock", timeout=INSTALL_LIMIT):
        if not _is_usable(venv, requirements, as_it_is):
            _run([sys.executable, "-m", "venv", "--clear", str(venv)])
            pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
            _run([*pip, "--require-hashes", "--requirement", str(requirements)])
            (venv / _STAMP).write_text(_digest(requirements))
    where = (
        "import importlib.util as u; print(u.find_spec('pgadmin4').submodule_search_locations[0])"
    )
    return Program(python, Path(_run([str(python), "-c", where]).strip()) / "setup.py")


def _python(venv: Path) -> Path:
    return venv / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


def _digest(requirements: Path) -> str:
    return hashlib.sha256(requirements.read_bytes()).hexdigest()


def _is_usable(venv: Path, requirements: Path, as_it_is: bool) -> bool:
    stamp = venv / _STAMP
    current = stamp.is_file() and stamp.read_text() == _digest(requirements)
    return current or (as_it_is and _python(venv).exists())


def _run(command: Sequence[str]) -> str:
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=INSTALL_LIMIT, check=True
        )
    except subprocess.CalledProcessError as exc:
        said = [line for line in exc.stderr.splitlines() if line.strip()] or ["no reason given"]
        raise Unavailable(f"pgAdmin cannot be installed: {said[-1]}") from None
    except (OSError, subprocess.TimeoutExpired) as exc:
        raise Unavailable(f"pgAdmin cannot be installed: {exc}") from None
    return done.stdout


@dataclass(frozen=True, slots=True)
class PgAdmin:
    """One person's pgAdmin: configuration database, log, sessions, all below one folder.

    Nothing is written outside that folder: `CONFIG_DISTRO_FILE_PATH` names a configuration
    whose DATA_DIR moves everything, and HOME points there as well.
    """

    program: Program
    home: Path

    @classmethod
    def fresh(cls, program: Program, folder: Path) -> PgAdmin:
        """A pgAdmin that was never used, with its configuration database made."""
        pgadmin = cls.laid(program, folder / "pgadmin", {"SERVER_MODE": False})
        pgadmin.command(*(("setup-db",) if program.has_commands else ()))
        return pgadmin

    @classmethod
    def laid(cls, program: Program, home: Path, settings: Mapping[str, object]) -> PgAdmin:
        """An empty home whose configuration keeps pgAdmin inside it, with no master password."""
        home.mkdir(mode=0o700)
        own = {
            "DATA_DIR": str(home),
            "MASTER_PASSWORD_REQUIRED": False,
            "USE_OS_SECRET_STORAGE": False,
        }
        lines = [f"{name} = {value!r}\n" for name, value in {**own, **settings}.items()]
        (home / "config.py").write_text("".join(lines))
        return cls(program, home)

    @property
    def database(self) -> Path:
        return self.home / "pgadmin4.db"

    def load(self, file: Path, **environment: str) -> tuple[int, int]:
        """Import a servers.json; gives how many groups and servers pgAdmin said it added."""
        verb = "load-servers" if self.program.has_commands else "--load-servers"
        said = self.command(verb, str(file), *self._as_user(), environment=environment)
        # After a mistake it says first how many it added, then what was wrong.
        added = _ADDED.fullmatch(said.strip().rpartition("\n")[2])
        if not added:
            raise Refused(said)
        return int(added[1]), int(added[2])

    def dump(self, file: Path) -> None:
        said = self.command("dump-servers", str(file), *self._as_user())
        if not file.is_file():
            raise Refused(said)

    def servers(self) -> dict[str, dict[str, Any]]:
        """What the configuration database holds: rows of `server` by name.

        Each with its group's name as `group`, and `connection_params` parsed.
        """
        query = (
            'SELECT server.*, servergroup.name AS "group" FROM server'
            " JOIN servergroup ON servergroup.id = servergroup_id ORDER BY server.id"
        )
        with closing(sqlite3.connect(self.database)) as connection:
            connection.row_factory = sqlite3.Row
            rows = [dict(row) for row in connection.execute(query)]
        for row in rows:
            row["connection_params"] = json.loads(row["connection_params"])
        return {row["name"]: row for row in rows}

    def forget(self) -> None:
        """Delete all servers, as if nothing had been imported."""
        with closing(sqlite3.connect(self.database)) as connection, connection:
            connection.execute("DELETE FROM server")

    def command(self, *words: str, environment: Mapping[str, str] | None = None) -> str:
        """Run a command of setup.py; gives all it said."""
        done = subprocess.run(
            [str(self.program.python), str(self.program.setup), *words],
            cwd=self.home,
            env={
                "HOME": str(self.home),
                "PATH": os.defpath,
                "CONFIG_DISTRO_FILE_PATH": str(self.home / "config.py"),
                "PYTHONDONTWRITEBYTECODE": "1",
                "COLUMNS": "1000",
                **(environment or {}),
            },
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=COMMAND_LIMIT,
            check=False,
        )
        return done.stdout

    def _as_user(self) -> tuple[str, ...]:
        return ("--user", USER, "--sqlite-path", str(self.database))
