"""The door in front of a simulated database: a port that can be closed."""

from __future__ import annotations

import socket
import socketserver
import threading
from collections.abc import Iterator

import pytest

from pgherald.simulator.backend import Relay
from support.simulator import FakePostgres


@pytest.fixture
def echo() -> Iterator[FakePostgres]:
    class Echo(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            while data := self.request.recv(1024):
                self.request.sendall(data)

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Echo) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield FakePostgres(port=server.server_address[1])
        server.shutdown()


def connect(port: int) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), 60)


def test_passes_bytes_both_ways(echo: FakePostgres) -> None:
    """What goes in at a door comes out at Postgres, and back, also while the caller blocks."""
    relay = Relay(echo)
    with connect(relay.port) as one, connect(relay.port) as two:
        one.sendall(b"one")
        two.sendall(b"two")
        assert (one.recv(10), two.recv(10)) == (b"one", b"two")
    relay.close()


def test_close_cuts_and_refuses(echo: FakePostgres) -> None:
    """A closed door ends the connections through it and takes no new ones."""
    relay = Relay(echo)
    with connect(relay.port) as open_one:
        open_one.sendall(b"x")
        assert open_one.recv(10) == b"x"
        relay.close()
        assert open_one.recv(10) == b""
    with pytest.raises(ConnectionRefusedError):
        connect(relay.port)
    relay.close()


def test_postgres_down() -> None:
    """With nobody behind the door, a connection is accepted and ends at once."""
    with socket.create_server(("127.0.0.1", 0)) as unused:
        port = unused.getsockname()[1]
    relay = Relay(FakePostgres(port=port))
    with connect(relay.port) as visitor:
        assert visitor.recv(10) == b""
    relay.close()
