"""The real pgAdmin as a running program: one child process, in a home of its own.

    with running(install(), tmp_path) as pgadmin:                      # a person's desktop
        ...
    with running(program, tmp_path, Mode.SERVER) as pgadmin:           # several people share it
        async with Session.of(pgadmin, ADA) as session:                # support.pgadmin_http
            ...
        pgadmin.restart()                                              # as after a reboot

It listens on 127.0.0.1 only, asks nobody on the internet, and finds no file of the person's:
its environment is made from nothing. Making a configuration database takes pgAdmin seconds, so
that is done once for each version and mode, and kept in `.cache/pgadmin-homes`.
"""

from __future__ import annotations

import contextlib
import enum
import json
import os
import secrets
import shutil
import socket
import sqlite3
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Final

import httpx
from filelock import FileLock

from support.pgadmin_setup import REPOSITORY, USER, PgAdmin, Program, Unavailable

#: Seconds until a started pgAdmin has to answer, and until a stopped one has to be gone.
START_LIMIT: Final = 90
STOP_LIMIT: Final = 10

#: The people of server mode: the first one administers pgAdmin, the second one only uses it.
ADA: Final = "ada@example.com"
BEN: Final = "ben@example.com"

#: Everybody's password to pgAdmin itself.
LOGIN_PASSWORD: Final = "CANARY-pgadmin-login"


class Mode(enum.Enum):
    """How pgAdmin was installed."""

    DESKTOP = "desktop"
    SERVER = "server"


#: Nothing leaves the machine.
SETTINGS: Final = {
    "UPGRADE_CHECK_ENABLED": False,
    "SHOW_GRAVATAR_IMAGE": False,
    "CHECK_EMAIL_DELIVERABILITY": False,
    "LLM_ENABLED": False,
}


def _home(program: Program, folder: Path, mode: Mode) -> PgAdmin:
    """An empty home; in server mode, pgAdmin would log below /var/log."""
    log, server = str(folder / "pgadmin4.log"), mode is Mode.SERVER
    return PgAdmin.laid(program, folder, SETTINGS | {"SERVER_MODE": server, "LOG_FILE": log})


def _template(program: Program, mode: Mode) -> Path:
    """A configuration database that was never used; makes it once for each version."""
    kept = REPOSITORY / ".cache" / "pgadmin-homes" / f"{program.version}-{mode.value}.db"
    kept.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{kept}.lock", timeout=START_LIMIT):
        if not kept.exists():
            folder = kept.with_suffix(".making")
            shutil.rmtree(folder, ignore_errors=True)
            pgadmin = _home(program, folder, mode)
            first = {"PGADMIN_SETUP_EMAIL": ADA, "PGADMIN_SETUP_PASSWORD": LOGIN_PASSWORD}
            verb = ("setup-db",) if program.has_commands else ()
            said = pgadmin.command(*verb, environment=first)
            if mode is Mode.SERVER:
                said += pgadmin.command("add-user", BEN, LOGIN_PASSWORD, "--role", "User")
            if _people(pgadmin) != ({ADA, BEN} if mode is Mode.SERVER else {USER}):
                raise Unavailable(f"pgAdmin made no configuration database: {said[-300:]!r}")
            pgadmin.database.replace(kept)
            shutil.rmtree(folder)
    return kept


def _people(pgadmin: PgAdmin) -> set[str]:
    """Names of the users in its configuration database."""
    with closing(sqlite3.connect(pgadmin.database)) as connection:
        return {name for (name,) in connection.execute("SELECT username FROM user")}


@dataclass
class RunningPgAdmin:
    """A pgAdmin that answers.

    Attributes:
        pgadmin: its files: configuration database, what is stored in it.
        mode: desktop or server.
        environment: what its process was given.
        port: where it listens; another one after each start.
        key: what desktop mode wants to be shown before it answers; empty in server mode.
    """

    pgadmin: PgAdmin
    mode: Mode
    environment: dict[str, str] = field(repr=False)
    port: int = 0
    key: str = field(default="", repr=False)
    _process: subprocess.Popen[bytes] | None = field(default=None, repr=False)
    _output: IO[bytes] | None = field(default=None, repr=False)

    @property
    def database(self) -> Path:
        return self.pgadmin.database

    @property
    def home(self) -> Path:
        """Where everything of it lies, `.pg_service.conf` and `.pgpass` among it."""
        return Path(self.environment["HOME"])

    @property
    def url(self) -> str:
        """Where a browser finds it, without a slash at the end."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def door(self) -> str:
        """The address that lets a browser in: in desktop mode it holds the key."""
        return f"{self.url}/?key={self.key}" if self.key else f"{self.url}/"

    @property
    def log(self) -> str:
        """What it has logged and printed so far."""
        files = (self.pgadmin.home / "pgadmin4.log", self.pgadmin.home / "output")
        return "".join(file.read_text(errors="replace") for file in files if file.exists())

    def storage(self, user: str) -> Path:
        """The folder in which server mode keeps a user's files; made when it is missing.

        pgAdmin: `utils/paths.py`, for names that begin with a letter.
        """
        name = user.replace("@", "_").replace("/", "slash").replace("\\", "slash")
        folder = self.pgadmin.home / "storage" / name
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        return folder

    def start(self) -> None:
        """Start it, and wait until it answers."""
        assert self._process is None, "it runs already"
        # Somebody else may take the port between looking and listening.
        for attempt in (1, 2, 3):
            self._spawn()
            if self._answers():
                return
            self.stop()
            if attempt == 3 or "Address already in use" not in self.log:
                raise RuntimeError(f"pgAdmin did not start: {self.log[-2000:]}")

    def _spawn(self) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        given = {"PGADMIN_INT_PORT": str(self.port)}
        if self.mode is Mode.DESKTOP:
            self.key = given["PGADMIN_INT_KEY"] = secrets.token_hex(16)
        self._output = (self.pgadmin.home / "output").open("ab")
        program = self.pgadmin.program
        self._process = subprocess.Popen(
            [str(program.python), str(program.setup.with_name("pgAdmin4.py"))],
            cwd=self.pgadmin.home,
            env=self.environment | given,
            stdin=subprocess.DEVNULL,
            stdout=self._output,
            stderr=subprocess.STDOUT,
        )

    def _answers(self) -> bool:
        assert self._process is not None
        deadline = time.monotonic() + START_LIMIT
        while time.monotonic() < deadline and self._process.poll() is None:
            with contextlib.suppress(httpx.TransportError):
                answer = httpx.get(
                    f"{self.url}/misc/ping", params={"key": self.key}, timeout=5, trust_env=False
                )
                if answer.is_success:
                    return True
            time.sleep(0.05)
        return False

    def stop(self) -> None:
        """End it, and wait until it is gone. Nothing happens when it does not run."""
        if self._process is not None:
            self._process.terminate()
            try:
                self._process.wait(STOP_LIMIT)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        if self._output is not None:
            self._output.close()
        self._process = self._output = None

    def restart(self) -> None:
        self.stop()
        self.start()

    def insert(self, user: str = "", **columns: object) -> int:
        """Put a server into a user's first group by plain SQLite; a dict becomes JSON. Its id."""
        values = {
            name: json.dumps(value) if isinstance(value, dict) else value
            for name, value in columns.items()
        }
        owner = user or (ADA if self.mode is Mode.SERVER else USER)
        with closing(sqlite3.connect(self.database, timeout=30)) as connection, connection:
            ids = connection.execute(
                "SELECT user.id, min(servergroup.id) FROM user JOIN servergroup"
                " ON user_id = user.id WHERE username = ?",
                (owner,),
            ).fetchone()
            values |= {"user_id": ids[0], "servergroup_id": ids[1]}
            return int(
                connection.execute(
                    f"INSERT INTO server ({', '.join(values)})"  # names of columns, of a test's own
                    f" VALUES ({', '.join('?' * len(values))}) RETURNING id",
                    list(values.values()),
                ).fetchone()[0]
            )

    def clear(self) -> None:
        """Delete every server, and every group but each user's first one.

        Whoever still looks at it has to open a session anew. Ids are not used a second time.
        """
        with closing(sqlite3.connect(self.database, timeout=30)) as connection, connection:
            connection.execute("DELETE FROM sharedserver")
            connection.execute("DELETE FROM server")
            first = "SELECT min(id) FROM servergroup GROUP BY user_id"
            connection.execute(
                f"DELETE FROM servergroup WHERE id NOT IN ({first})"
            )  # made of constants


@contextlib.contextmanager
def running(
    program: Program,
    folder: Path,
    mode: Mode = Mode.DESKTOP,
    *,
    home: Path | None = None,
    environment: Mapping[str, str] | None = None,
) -> Iterator[RunningPgAdmin]:
    """A pgAdmin that runs for as long as the block lasts, without any server yet.

    In server mode it has the users `ADA` and `BEN`. In `home` libpq looks for its files; by
    default that is pgAdmin's own folder.
    """
    template = _template(program, mode)
    pgadmin = _home(program, folder / f"pgadmin-{mode.value}", mode)
    shutil.copy(template, pgadmin.database)
    pgadmin.database.chmod(0o600)
    given = {
        "HOME": str(home or pgadmin.home),
        "PATH": os.defpath,
        "LC_ALL": "C.UTF-8",
        "CONFIG_DISTRO_FILE_PATH": str(pgadmin.home / "config.py"),
        "PGADMIN_SERVER_MODE": "ON" if mode is Mode.SERVER else "OFF",
        "PYTHONDONTWRITEBYTECODE": "1",
        **(environment or {}),
    }
    instance = RunningPgAdmin(pgadmin, mode, given)
    try:
        instance.start()
        yield instance
    finally:
        instance.stop()
