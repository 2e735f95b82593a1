"""What real libpqs read from the files that we write is what was meant.

Two of them: the one that psycopg brings, and that of the machine's `psql`, if there is one.
Both talk to a listener that asks for the password in the clear and writes down what it gets.
"""

from __future__ import annotations

import contextlib
import dataclasses
import select
import shutil
import socket
import struct
import subprocess
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from psycopg import pq
from psycopg.pq import abc

from pgherald.clients import lines, pgpass, service_file
from pgherald.clients.pgpass import Pgpass
from pgherald.clients.service_file import ServiceFile
from pgherald.errors import Unparsable
from pgherald.model import DatabaseKey, Login
from pgherald.secret import Secret
from support import strategies

SHOP = DatabaseKey("default", "shop", "DATABASE")
PSQL = shutil.which("psql")

#: Seconds after which a connection of a test is given up.
PATIENCE = 60

# One file and one listener serve all examples of a test; each example writes the file anew.
bounded = settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
few = settings(bounded, max_examples=12)

SSL_REQUEST, CANCEL_REQUEST = 80877103, 80877102


@dataclass(frozen=True)
class Seen:
    """What one connection said about itself."""

    user: str
    dbname: str
    password: str


class Listener:
    """A Postgres that asks for a clear-text password and then hangs up."""

    def __init__(self) -> None:
        self._socket = socket.create_server(("127.0.0.1", 0))
        self._socket.settimeout(PATIENCE)
        self.port: int = self._socket.getsockname()[1]
        self.seen: list[Seen] = []

    def serve(self) -> None:
        """Take connections until the socket is closed."""
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._socket.accept()
                with connection, connection.makefile("rb") as stream:
                    connection.settimeout(PATIENCE)
                    with contextlib.suppress(struct.error, OSError):
                        self._ask(connection, stream.read)

    def _ask(self, connection: socket.socket, read: Callable[[int], bytes]) -> None:
        length, version = struct.unpack("!II", read(8))
        assert version not in (SSL_REQUEST, CANCEL_REQUEST)
        words = read(length - 8).split(b"\0")
        startup = dict(zip(words[::2], words[1::2], strict=False))
        connection.sendall(b"R" + struct.pack("!II", 8, 3))
        kind, length = struct.unpack("!cI", read(5))
        assert kind == b"p"
        password = read(length - 4).removesuffix(b"\0")
        user, dbname = startup[b"user"], startup[b"database"]
        self.seen.append(Seen(*map(lines.decode, (user, dbname, password))))
        reason = b"SFATAL\0VFATAL\0C28P01\0Mseen\0\0"
        connection.sendall(b"E" + struct.pack("!I", len(reason) + 4) + reason)

    def close(self) -> None:
        """Stop listening; wakes `serve`."""
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()


@pytest.fixture
def listener() -> Iterator[Listener]:
    """A listener, running in a thread of its own."""
    server = Listener()
    thread = threading.Thread(target=server.serve)
    thread.start()
    yield server
    server.close()
    thread.join(PATIENCE)
    assert not thread.is_alive()


@pytest.fixture
def folder(home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The test's home, to which both files lead; libpq has no other place to look."""
    monkeypatch.setenv("PGSYSCONFDIR", str(home))
    return home


def put(path: Path, content: bytes) -> None:
    """Write the file as libpq accepts it."""
    path.write_bytes(content)
    path.chmod(0o600)


def conninfo(**values: str | int) -> bytes:
    """A connection string; whatever the values hold."""
    quoted = {
        name: str(value).replace("\\", "\\\\").replace("'", "\\'") for name, value in values.items()
    }
    return lines.raw(" ".join(f"{name}='{value}'" for name, value in quoted.items()))


@contextlib.contextmanager
def started(info: bytes) -> Iterator[abc.PGconn]:
    """A connection of psycopg's libpq, just begun: it has read its files by then."""
    connection = pq.PGconn.connect_start(info)
    try:
        yield connection
    finally:
        connection.finish()


def dial(info: bytes) -> None:
    """Let psycopg's libpq connect as far as it gets."""
    reading, writing = pq.PollingStatus.READING, pq.PollingStatus.WRITING
    with started(info) as connection:
        status: int = writing
        while status in (reading, writing):
            assert connection.status != pq.ConnStatus.BAD, connection.error_message
            for_reading = [connection.socket] if status == reading else []
            for_writing = [connection.socket] if status == writing else []
            assert any(select.select(for_reading, for_writing, [], PATIENCE))
            status = connection.connect_poll()
        assert b"seen" in connection.error_message


def call_psql(info: bytes) -> None:
    """Let the machine's psql connect as far as it gets."""
    assert PSQL is not None
    done = subprocess.run(
        [PSQL.encode(), b"--no-password", b"--no-psqlrc", b"-c", b"", info],
        capture_output=True,
        timeout=PATIENCE,
        check=False,
    )
    assert b"seen" in done.stderr


in_each_libpq = pytest.mark.parametrize(
    "connect",
    [
        dial,
        pytest.param(call_psql, marks=pytest.mark.skipif(PSQL is None, reason="there is no psql")),
    ],
)


def write_pgpass(folder: Path, file: bytes, login: Login, port: int) -> Login:
    """Put the login into a pgpass file; the login, with the listener's port."""
    login = dataclasses.replace(login, port=port)
    put(folder / ".pgpass", Pgpass().plan(file, [strategies.entry(SHOP, login)]).new)
    return login


def pgpass_info(login: Login) -> bytes:
    """How to reach the listener under the login's host name."""
    return conninfo(
        host=login.host,
        hostaddr="127.0.0.1",
        port=login.port,
        user=login.user,
        dbname=login.dbname,
        sslmode="disable",
    )


def expected(login: Login) -> Seen:
    """What the listener should have seen."""
    return Seen(login.user, login.dbname, login.password.reveal())


clear_logins = strategies.logins(["disable"])


@in_each_libpq
@few
@given(file=strategies.pgpass_files(), login=clear_logins)
def test_pgpass(
    folder: Path, listener: Listener, connect: Callable[[bytes], None], file: bytes, login: Login
) -> None:
    """Each libpq sends the password that we wrote, whatever else stands in the file."""
    login = write_pgpass(folder, file, login, listener.port)
    connect(pgpass_info(login))
    assert listener.seen[-1] == expected(login)


def write_service(folder: Path, file: bytes, login: Login, port: int) -> Login:
    """Put the login into a service file; the login, with the listener's port."""
    login = dataclasses.replace(login, port=port)
    put(folder / ".pg_service.conf", ServiceFile().plan(file, [strategies.entry(SHOP, login)]).new)
    return login


SERVICE_INFO = conninfo(service="shop-DATABASE", hostaddr="127.0.0.1")


@in_each_libpq
@few
@given(file=strategies.service_files(), login=clear_logins)
def test_service(
    folder: Path, listener: Listener, connect: Callable[[bytes], None], file: bytes, login: Login
) -> None:
    """Each libpq takes all six fields from our section, whatever else stands in the file."""
    login = write_service(folder, file, login, listener.port)
    connect(SERVICE_INFO)
    assert listener.seen[-1] == expected(login)
    with started(SERVICE_INFO) as connection:
        read = {option.keyword: option.val for option in connection.info}
    for name in ("host", "port", "dbname", "user", "sslmode"):
        assert read[name.encode()] == lines.raw(str(getattr(login, name)))


@bounded
@given(data=st.data())
def test_mangled_files_through_psycopg(
    folder: Path, listener: Listener, data: st.DataObject
) -> None:
    """After someone's accident with the file, an edit makes libpq read the right login again."""
    # A stricter sslmode would stay, and the listener speaks no TLS.
    entries = data.draw(strategies.entry_lists(sslmodes=["disable"]))
    login = data.draw(clear_logins)
    service = ServiceFile().plan(data.draw(strategies.service_files()), entries).new
    passfile = Pgpass().plan(data.draw(strategies.pgpass_files()), entries).new
    try:
        mangled = data.draw(strategies.mangled(service, strategies.service_rows()))
        login = write_service(folder, mangled, login, listener.port)
        mangled = data.draw(strategies.mangled(passfile, strategies.pgpass_rows()))
        write_pgpass(folder, mangled, login, listener.port)
    except Unparsable:
        assume(False)
    dial(SERVICE_INFO)
    dial(pgpass_info(login))
    assert listener.seen[-2:] == [expected(login)] * 2


@bounded
@given(data=st.data())
def test_lookup_agrees_with_libpq_about_pgpass(folder: Path, data: st.DataObject) -> None:
    """`lookup` finds in any file the password that libpq finds there."""
    ours = Pgpass().plan(data.draw(strategies.pgpass_files()), data.draw(strategies.entry_lists()))
    file = data.draw(st.one_of(st.just(ours.new), strategies.pgpass_files()))
    put(folder / ".pgpass", file)
    host = data.draw(st.sampled_from(["a", "b", "a:b", "localhost", "*", "\\", "::1"]))
    user = data.draw(st.sampled_from(["a", "b", "ab", "*", "localhost", "\\"]))
    login = Login(host, 5432, data.draw(st.sampled_from(["a", "*", "a:"])), user, Secret(""))
    with started(pgpass_info(login)) as connection:
        theirs = lines.decode(connection.password)
    found = pgpass.lookup(file, login.host, login.port, login.dbname, login.user)
    assert ("" if found is None else found.reveal()) == theirs


@bounded
@given(data=st.data())
def test_lookup_agrees_with_libpq_about_services(folder: Path, data: st.DataObject) -> None:
    """`lookup` reads in any file what libpq reads there, and refuses what libpq refuses."""
    ours = ServiceFile().plan(
        data.draw(strategies.service_files()), data.draw(strategies.entry_lists())
    )
    file = data.draw(st.one_of(st.just(ours.new), strategies.service_files()))
    put(folder / ".pg_service.conf", file)
    name = data.draw(st.sampled_from(["mine", "a", "a]b", "shop-DATABASE", "pgherald end"]))
    # Lines for LDAP mean what the library at hand was built to make of them.
    assume(b"ldap" not in file)
    with started(conninfo(service=name)) as connection:
        message = connection.error_message
        read = {option.keyword.decode(): option.val for option in connection.info}
    try:
        found = service_file.held(file, name)
    except Unparsable as exc:
        assert b"line %d" % (exc.line or 0) in message  # noqa: PT017 – refusing is up to the input
        return
    if found is None:
        assert b'definition of service "' in message
        return
    assert b"service file" not in message
    for field in ("host", "user", "password"):
        value = getattr(found, field)
        text = value.reveal() if isinstance(value, Secret) else value
        if text:
            assert read[field] == lines.raw(text)


@pytest.mark.parametrize("length", [1022, 1023])
@pytest.mark.parametrize("eol", [b"\n", b"\r\n"])
def test_the_limit_of_a_line_is_libpqs(folder: Path, length: int, eol: bytes) -> None:
    """A line of 1,022 bytes with its end is read, and libpq refuses one more."""
    row = b"password=".ljust(length - len(eol), b"x") + eol
    put(
        folder / ".pg_service.conf",
        b"[mine]" + eol + b"user=u" + eol + row + b"host=127.0.0.1" + eol,
    )
    with started(conninfo(service="mine", port=1)) as connection:
        too_long = b"too long" in connection.error_message
    assert too_long == (length == 1023)


@pytest.mark.parametrize("bom", [b"", lines.BOM])
def test_a_byte_order_mark_hides_nothing_of_ours(folder: Path, bom: bytes) -> None:
    """In a file that begins with a byte order mark libpq still finds our first entry."""
    login = Login("db.example.com", 5432, "d", "u", Secret("CANARY-pw-1"), "disable")
    write_pgpass(folder, bom + b"# mine\n", login, 5432)
    write_service(folder, bom + b"# mine\n", login, 5432)
    for info in (SERVICE_INFO, pgpass_info(login)):
        with started(info) as connection:
            assert connection.password == b"CANARY-pw-1"


def test_the_closing_section_keeps_stray_lines_away(folder: Path) -> None:
    """Stray lines are passed over by libpq before and after we write, and so is a long one."""
    login = Login("db.example.com", 5432, "d", "u", Secret("CANARY-pw-1"), "disable")
    for stray in (b"nonsense\n", b"options=-cx=y\n", b"#" + b"x" * 2000 + b"\n"):
        write_service(folder, stray + b"[mine]\nuser=me\nhost=127.0.0.1\n", login, 5432)
        with started(SERVICE_INFO) as connection:
            read = {option.keyword: option.val for option in connection.info}
        assert (read[b"password"], read[b"options"]) == (b"CANARY-pw-1", b"")
    write_service(folder, b"nonsense\n[mine]\nuser=me\n", login, 5432)
    with started(conninfo(service="mine", hostaddr="127.0.0.1", port=1)) as connection:
        assert connection.user == b"me"
