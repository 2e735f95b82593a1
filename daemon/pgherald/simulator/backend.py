"""What the simulated Heroku needs of a Postgres, and the doors it puts in front of it.

One real Postgres stands behind every simulated database. Each database gets a door
(a port of its own on loopback), as at Heroku each has a server of its own: closing
the door is how a failover takes the old address away.
"""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable
from typing import Any, Protocol

from pgherald.secret import Secret

CHUNK = 65_536

#: Seconds that opening the way to Postgres may take.
CONNECT_TIMEOUT = 5.0


class Backend(Protocol):
    """A Postgres, as its superuser sees it. `simulator.postgres.Cluster` is one."""

    @property
    def host(self) -> str:
        """A loopback address."""
        ...

    @property
    def port(self) -> int:
        """Its TCP port."""
        ...

    async def execute(self, sql: str, *, dbname: str = "postgres") -> list[tuple[Any, ...]]:
        """Run one statement as superuser, outside any transaction block; return its rows."""
        ...

    async def create_role(self, name: str, password: Secret, *, login: bool = True) -> None:
        """Make a role with that password."""
        ...

    async def set_password(self, name: str, password: Secret) -> None:
        """Give a role another password."""
        ...

    async def create_database(self, name: str, owner: str) -> None:
        """Make an empty database."""
        ...

    async def rename_database(self, old: str, new: str) -> None:
        """Rename a database, ending the connections to it."""
        ...

    async def end_connections(self, role: str) -> None:
        """End every connection that a role has open."""
        ...

    async def lock_role(self, name: str) -> None:
        """Refuse new connections of a role."""
        ...


def quote(identifier: str) -> str:
    """An identifier as it stands in SQL."""
    doubled = identifier.replace('"', '""')
    return f'"{doubled}"'


class Door(Protocol):
    """An address under which Postgres is reached, until it is closed."""

    @property
    def port(self) -> int:
        """Its TCP port on loopback."""
        ...

    def close(self) -> None:
        """Refuse new connections and cut the open ones. Closing twice is fine."""
        ...


#: Opens a door to a Postgres.
OpenDoor = Callable[[Backend], Door]


class Relay:
    """A door: passes bytes between a port of its own and Postgres.

    It runs on threads, so that whoever blocks the event loop with an ordinary
    connection still gets through.

    Raises:
        OSError: no port is free.
    """

    def __init__(self, backend: Backend) -> None:
        self._target = (backend.host, backend.port)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._guard = threading.Lock()
        self._closed = False
        self._pairs: set[tuple[socket.socket, socket.socket]] = set()
        self._start(self._accept)

    def close(self) -> None:
        """Refuse new connections and cut the open ones. Closing twice is fine."""
        with self._guard:
            self._closed = True
            pairs = list(self._pairs)
        # A thread blocked in accept() is woken by shutdown() on Linux and by close() elsewhere.
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for pair in pairs:
            _hang_up(pair)

    def _start(self, work: Callable[..., None], *args: object) -> None:
        threading.Thread(target=work, args=args, name=f"relay-{self.port}", daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError:  # closed
                return
            self._start(self._serve, near)

    def _serve(self, near: socket.socket) -> None:
        with near:
            try:
                far = socket.create_connection(self._target, CONNECT_TIMEOUT)
            except OSError:  # Postgres is down: the caller sees a closed connection
                return
            far.settimeout(None)
            pair = (near, far)
            with far:
                with self._guard:
                    if self._closed:
                        return
                    self._pairs.add(pair)
                back = threading.Thread(target=_pump, args=(far, near, pair), daemon=True)
                back.start()
                _pump(near, far, pair)
                back.join()
                with self._guard:
                    self._pairs.discard(pair)


def _pump(source: socket.socket, sink: socket.socket, pair: tuple[socket.socket, ...]) -> None:
    """Copy until either side ends, then end both."""
    with contextlib.suppress(OSError):
        while data := source.recv(CHUNK):
            sink.sendall(data)
    _hang_up(pair)


def _hang_up(pair: tuple[socket.socket, ...]) -> None:
    """End both sides; the thread that serves them closes the sockets."""
    for end in pair:
        with contextlib.suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)
