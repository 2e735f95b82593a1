"""The process behind a throw-away cluster, and the files that it needs."""

from __future__ import annotations

import atexit
import contextlib
import os
import secrets
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, Self

from pgherald.errors import PgheraldError
from pgherald.files import Disk
from pgherald.files.own import OwnFiles
from pgherald.secret import Secret
from pgherald.simulator.binaries import (
    Account,
    Binaries,
    find_binaries,
    unprivileged_account,
)
from pgherald.simulator.tls import make_certificate

HOST: Final = "127.0.0.1"
SUPERUSER: Final = "postgres"

#: Seconds that starting may take, and each way of stopping; in fact it is one, and a fiftieth.
START_LIMIT: Final = 60.0
STOP_LIMIT: Final = 5.0

_POLL: Final = 0.01

#: How often another free port is taken because somebody was faster.
_TRIES: Final = 5

_HBA: Final = """\
hostssl   all postgres all scram-sha-256
hostssl   all all all scram-sha-256 {}
hostnossl all all all reject
"""

_SETTINGS: Final = {
    "listen_addresses": HOST,
    "unix_socket_directories": "",
    "max_connections": "300",
    "shared_buffers": "16MB",
    "ssl": "on",
    "password_encryption": "scram-sha-256",
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "wal_level": "minimal",
    "max_wal_senders": "0",
    "autovacuum": "off",
}

_TAKEN: Final = "could not bind"
_SERIOUS: Final = (_TAKEN, "FATAL:", "error:")

#: What a Postgres needs of the environment. The rest may hold secrets.
_PASSED_ON: Final = ("PATH", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "SYSTEMROOT", "TEMP", "TMP")

#: Ways to end a server, from "end all sessions" to what it cannot refuse.
_ENDINGS: Final = (
    (signal.SIGINT, signal.SIGQUIT, signal.SIGKILL) if os.name == "posix" else (signal.SIGTERM,)
)


class Server:
    """A Postgres in a folder of its own, which goes when it stops.

    Attributes:
        host: 127.0.0.1. The certificate is good for `localhost` too.
        home: that folder.
        port: where it listens, once it does.
        password: the superuser's.
        ca_file: the certificate to verify it against, PEM.
        log_file: what it has to say.
    """

    def __init__(
        self, binaries: Binaries, account: Account | None, home: Path, client_ca: str
    ) -> None:
        self.host: Final = HOST
        self.home = home
        self.port = 0
        self.password = Secret(secrets.token_urlsafe(24))
        self.ca_file = home / "server.crt"
        self.log_file = home / "postgres.log"
        self._binaries = binaries
        self._account = account
        self._client_ca = client_ca
        self._process: subprocess.Popen[bytes] | None = None

    @classmethod
    def start(
        cls, folder: Path, *, port: int = 0, binaries: Binaries | None = None, client_ca: str = ""
    ) -> Self:
        """Make a server in a folder of its own, and start it. Blocks for about a second.

        Args:
            folder: where to put its own folder. Root has to start it as another account; if
                that cannot enter `folder`, the system's folder for temporary files is used.
            port: where to listen; 0 for a free one.
            binaries: whose; found on this machine by default.
            client_ca: certificates, PEM, of which everybody but the superuser has to show one
                in the name of its role; empty to ask for none.

        Raises:
            MissingTool: there is no Postgres, or the extra `demo` is not installed.
            FileTrouble: the folder cannot be written.
            PgheraldError: it does not start; the advice quotes its reason.
        """
        account = unprivileged_account()
        binaries = binaries or find_binaries()
        server = cls(binaries, account, _new_home(folder, account), client_ca)
        atexit.register(server.stop)
        try:
            server._make()
            server._serve(port)
        except BaseException:
            server.stop()
            raise
        return server

    def stop(self) -> None:
        """End it and remove its folder. Stopping twice is fine."""
        atexit.unregister(self.stop)
        self._end()
        OwnFiles(Disk()).remove_tree(self.home)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _make(self) -> None:
        """Write the files and run initdb."""
        self._give(self.home)
        certificate = make_certificate(datetime.now(UTC))
        self._write("server.crt", certificate.pem)
        self._write("server.key", certificate.key.reveal())
        self._write("client_ca.crt", self._client_ca)
        demand = "clientcert=verify-full" if self._client_ca else ""
        self._write("pg_hba.conf", _HBA.format(demand))
        password_file = self._write("password", self.password.reveal())
        argv: list[str | Path] = [
            *(self._binaries.initdb, "--pgdata", self.home / "data", "--no-sync"),
            *("--encoding=UTF8", "--locale=C", "--auth=scram-sha-256"),
            *(f"--username={SUPERUSER}", "--pwfile", password_file),
        ]
        with self._log() as log:
            made = subprocess.run(  # no shell, and nothing of it comes from outside
                argv, stdout=log, timeout=START_LIMIT, check=False, **self._options()
            )
        if made.returncode:
            raise self._failure("Postgres cannot make its files")
        OwnFiles(Disk()).remove_own(password_file)

    def _serve(self, port: int) -> None:
        """Serve on `port`, or on a free one if that is 0."""
        for _ in range(1 if port else _TRIES):
            self.port = port or _free_port()
            if self._is_ready(self._launch()):
                return
            if _TAKEN not in self._reason():
                break
        raise self._failure(f"Postgres does not start on port {self.port}")

    def _launch(self) -> subprocess.Popen[bytes]:
        settings = {
            **_SETTINGS,
            "port": str(self.port),
            "ssl_cert_file": str(self.ca_file),
            "ssl_key_file": str(self.home / "server.key"),
            "hba_file": str(self.home / "pg_hba.conf"),
        }
        if self._client_ca:
            settings["ssl_ca_file"] = str(self.home / "client_ca.crt")
        argv: list[str | Path] = [self._binaries.postgres, "-D", self.home / "data"]
        argv += [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        with self._log() as log:
            process = subprocess.Popen(argv, stdout=log, **self._options())
        self._process = process
        return process

    def _is_ready(self, process: subprocess.Popen[bytes]) -> bool:
        """Wait until it serves, or has ended, or time is up. `pg_ctl` looks at the same line."""
        status = self.home / "data" / "postmaster.pid"
        end = time.monotonic() + START_LIMIT
        while process.poll() is None and time.monotonic() < end:
            with contextlib.suppress(OSError):
                if status.read_text("utf-8").splitlines()[7:8] == ["ready   "]:
                    return True
            time.sleep(_POLL)
        return False

    def _end(self) -> None:
        for ending in _ENDINGS:
            if self._process is None or self._process.poll() is not None:
                return
            self._process.send_signal(ending)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(STOP_LIMIT)

    def _options(self) -> dict[str, Any]:
        env = {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
        env |= {"HOME": str(self.home), "LC_ALL": "C"}
        if self._binaries.icu_data is not None:
            env["ICU_DATA"] = str(self._binaries.icu_data)
        options: dict[str, Any] = {
            "stdin": subprocess.DEVNULL,
            "stderr": subprocess.STDOUT,
            "cwd": self.home,
            "env": env,
        }
        if os.name == "posix":
            # Ctrl-C is for us, who then end it in order.
            options["process_group"] = 0
        if self._account is not None:
            options |= {"user": self._account.uid, "group": self._account.gid, "extra_groups": []}
        return options

    def _write(self, name: str, text: str) -> Path:
        path = self.home / name
        OwnFiles(Disk()).write_text_file(path, text)
        self._give(path)
        return path

    def _give(self, path: Path) -> None:
        """Let the server's account own it; nothing to do if that is our own."""
        if self._account is None:
            return
        disk = Disk()
        fd = disk.open(path, os.O_RDONLY)
        try:
            disk.fchown(fd, self._account.uid, self._account.gid)
        finally:
            disk.close(fd)

    @contextlib.contextmanager
    def _log(self) -> Iterator[int]:
        disk = Disk()
        fd = disk.open(self.log_file, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        try:
            yield fd
        finally:
            disk.close(fd)

    def _failure(self, title: str) -> PgheraldError:
        return PgheraldError(title, f"It says: {self._reason()}")

    def _reason(self) -> str:
        """The first line of the log that is about a failure."""
        lines = self.log_file.read_text("utf-8", "replace").splitlines()
        serious = (line for line in lines if any(word in line for word in _SERIOUS))
        return next(serious, "nothing")


def _new_home(folder: Path, account: Account | None) -> Path:
    """A new folder within `folder`, or where that account can enter."""
    own = OwnFiles(Disk())
    places = [folder]
    if account is not None:
        places += [Path(tempfile.gettempdir()), Path("/tmp"), Path("/var/tmp")]  # noqa: S108 – mkdtemp makes it private
    for place in places:
        own.make_folder(place, 0o755)
        if account is None or account.may_enter(place):
            return Path(tempfile.mkdtemp(prefix="pgherald-postgres-", dir=place)).resolve()
    raise PgheraldError(
        "Postgres does not run as root, and no other account can enter a temporary folder",
        "Run this as an ordinary user.",
    )


def _free_port() -> int:
    with socket.create_server((HOST, 0)) as listener:
        return int(listener.getsockname()[1])
