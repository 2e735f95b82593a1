"""The probe against a real Postgres, and against servers and networks that fail."""

from __future__ import annotations

import asyncio
import dataclasses
import logging
import socket
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import NoReturn

import psycopg
import pytest

from pgherald import libpq
from pgherald.clock import SystemClock
from pgherald.model import Login
from pgherald.secret import Secret
from pgherald.simulator.postgres import Cluster
from pgherald.simulator.tls import make_certificate
from pgherald.sync import probe as probes
from pgherald.sync.probe import Outcome, PostgresProber, Proof
from support.cluster import all_logged, new_login
from support.fake_clock import START, FakeClock
from support.fake_postgres import (
    ASK_MD5,
    ASK_PASSWORD,
    ASK_SCRAM,
    ONE_ROW,
    OPEN,
    READY,
    Behaviour,
    answering,
    error,
    fake_postgres,
    refusing,
    trusting,
)
from support.household import database
from support.proxy import Proxy

#: Seconds for a probe that is meant to run into its limit.
SHORT = 0.3
#: Seconds that "at once" may take on a busy machine.
AT_ONCE = 5.0

CANARY = Secret("CANARY-probe-password")


@pytest.fixture(autouse=True)
def nothing_leaks(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """No probe of any test here logs a password, at any level."""
    caplog.set_level(logging.DEBUG)
    yield
    assert "CANARY" not in caplog.text


@pytest.fixture
async def login(cluster: Cluster) -> Login:
    return await new_login(cluster)


def somewhere(port: int, *, host: str = "127.0.0.1") -> Login:
    return Login(host, port, "shop", "shop-user", CANARY)


async def entered(cluster: Cluster) -> set[str]:
    """The databases that somebody is connected to."""
    return {row[0] for row in await cluster.execute("SELECT datname FROM pg_stat_activity")}


async def probe(
    login: Login, limit: float = 10.0, *, root_certificate: Path | None = None
) -> Proof:
    options = {} if root_certificate is None else {"sslrootcert": str(root_certificate)}
    proof = await PostgresProber(SystemClock(), limit).probe(login, options=options)
    assert "CANARY" not in repr(proof)
    if not proof.works:
        assert "CANARY" not in str(proof.error(database()))
    return proof


# --- what the server says


async def test_a_login_that_works(login: Login) -> None:
    """A login that opens a connection is proven, at the clock's time, with nothing more to say."""
    clock = FakeClock()
    proof = await PostgresProber(clock).probe(login)
    assert proof == Proof(Outcome.WORKS, START, 0.0, "")
    assert proof.works


async def test_what_the_server_sees(cluster: Cluster, login: Login) -> None:
    """The server sees an encrypted connection by the name of pgherald, and none when it is over."""
    async with all_logged(cluster):
        before = len(cluster.log_file.read_text())
        assert (await probe(login)).works
        said = cluster.log_file.read_text()[before:]
    (arrived,) = [line for line in said.splitlines() if f"database={login.dbname}" in line]
    assert "application_name=pgherald SSL enabled" in arrived
    assert said.count("SELECT current_user, current_database()") == 1
    async with asyncio.timeout(60):
        while login.dbname in await entered(cluster):
            pass


async def test_each_verification_is_one_debug_line(
    login: Login, caplog: pytest.LogCaptureFixture
) -> None:
    """With what the caller calls the login, else its host; the outcome and the milliseconds."""
    prober = PostgresProber(FakeClock())
    await prober.probe(login, name="shop/DATABASE")
    await prober.probe(dataclasses.replace(login, dbname="gone"))
    found = [record.getMessage() for record in caplog.records if record.name == probes.__name__]
    assert found == [
        "verified shop/DATABASE: works in 0 ms",
        f"verified {login.host}: database_missing in 0 ms",
    ]


@pytest.mark.parametrize(
    ("behave", "outcome"),
    [
        (refusing("57P03", "the database system is starting up"), Outcome.STARTING_UP),
        (refusing("53300", "sorry, too many clients already"), Outcome.TOO_MANY_CONNECTIONS),
        (refusing("28P01", "Passwort-Authentifizierung fehlgeschlagen"), Outcome.FAILED),
        (answering(error("53300", "demasiadas conexiones")), Outcome.TOO_MANY_CONNECTIONS),
        (trusting, Outcome.FAILED),
        (answering(error("57P01", "terminating connection")), Outcome.STARTING_UP),
        (answering(error("57P03", "the database system is shutting down")), Outcome.STARTING_UP),
        (answering(b""), Outcome.UNREACHABLE),
        (answering(b"!!!!!!!!!"), Outcome.FAILED),
    ],
)
async def test_what_other_servers_say(behave: Behaviour, outcome: Outcome) -> None:
    """Whatever a server says, and whenever in the conversation, becomes an outcome."""
    async with fake_postgres(behave) as port:
        assert (await probe(somewhere(port))).outcome is outcome


class Asking:
    """A server that asks for the password by one method, and keeps what it gets."""

    def __init__(self, question: bytes) -> None:
        self.question = question
        self.heard = b""

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(self.question)
        self.heard = await reader.read(1000)
        writer.write(OPEN + READY)
        await reader.read(1000)
        writer.write(ONE_ROW)


@pytest.mark.parametrize(
    ("question", "require_auth", "outcome", "heard"),
    [
        (ASK_PASSWORD, "scram-sha-256,md5", Outcome.AUTH_NOT_ALLOWED, False),
        (ASK_PASSWORD, "scram-sha-256,md5,password", Outcome.WORKS, True),
        (ASK_PASSWORD, "password", Outcome.WORKS, True),
        (ASK_MD5, "scram-sha-256,md5", Outcome.WORKS, True),
        (ASK_MD5, "scram-sha-256", Outcome.AUTH_NOT_ALLOWED, False),
        (ASK_SCRAM, "md5", Outcome.AUTH_NOT_ALLOWED, False),
    ],
)
async def test_only_allowed_methods_get_an_answer(
    question: bytes, require_auth: str, outcome: Outcome, *, heard: bool
) -> None:
    """A server that asks for the password in a way that was not allowed gets nothing, and is not asked again and again."""
    server = Asking(question)
    async with fake_postgres(server) as port:
        prober = PostgresProber(SystemClock())
        proof = await prober.probe(somewhere(port), require_auth=require_auth)
    assert proof.outcome is outcome
    assert bool(server.heard) is heard
    assert (b"CANARY" in server.heard) == (question is ASK_PASSWORD and heard)
    if not proof.works:
        assert not proof.transient
        assert "`require_auth`" in proof.error(database()).advice


async def test_a_libpq_that_cannot_withhold(monkeypatch: pytest.MonkeyPatch) -> None:
    """With a libpq that gives its password to whoever asks nothing is begun."""
    from psycopg import pq

    monkeypatch.setattr(pq, "version", lambda: 150004)
    server = Asking(ASK_PASSWORD)
    async with fake_postgres(server) as port:
        proof = await probe(somewhere(port))
    assert (proof.outcome, server.heard) == (Outcome.FAILED, b"")
    assert "psycopg[binary] has a newer one" in proof.detail


# --- TLS


async def test_a_server_without_tls() -> None:
    """A server that does not speak TLS is refused before it hears the password."""
    async with fake_postgres(trusting, tls=b"N") as port:
        proof = await probe(somewhere(port))
    assert (proof.outcome, proof.transient) == (Outcome.TLS_REFUSED, False)


@pytest.mark.parametrize("sslmode", ["prefer", "allow"])
async def test_two_attempts(login: Login, sslmode: str) -> None:
    """Where libpq tries with and without TLS, the encrypted attempt tells what is wrong."""
    wrong = dataclasses.replace(login, sslmode=sslmode, password=CANARY)
    assert (await probe(wrong)).outcome is Outcome.REFUSED
    assert (await probe(dataclasses.replace(login, sslmode=sslmode))).works


@pytest.mark.parametrize("sslmode", ["verify-ca", "verify-full"])
async def test_verifying_the_server(
    cluster: Cluster, login: Login, tmp_path: Path, home: Path, sslmode: str
) -> None:
    """Where the person asks for it, the server is verified: by the file handed in, else by libpq's own, and without either nothing is proven."""
    strict = dataclasses.replace(login, sslmode=sslmode)
    assert (await probe(strict, root_certificate=cluster.ca_file)).works
    stranger = tmp_path / "stranger.crt"
    stranger.write_text(make_certificate(datetime.now(UTC)).pem)
    proof = await probe(strict, root_certificate=stranger)
    assert proof.outcome is Outcome.TLS_REFUSED
    assert proof.detail == "the server's certificate is not one to trust"

    proof = await probe(strict)
    assert proof.outcome is Outcome.TLS_REFUSED
    assert proof.detail == "there is no root certificate to verify the server with"
    folder = home / ".postgresql"
    folder.mkdir()
    (folder / "root.crt").write_text(cluster.ca_file.read_text())
    assert (await probe(strict)).works


async def test_a_certificate_for_another_host(
    cluster: Cluster, login: Login, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With verify-full a trusted certificate must be for that very host."""
    resolve_to(monkeypatch, "127.0.0.1", port=login.port)
    other = dataclasses.replace(login, host="db.example.com", sslmode="verify-full")
    proof = await probe(other, root_certificate=cluster.ca_file)
    assert proof.detail == "the server's certificate is for another host"


# --- the network


async def test_a_closed_port() -> None:
    """A port on which nobody listens is `unreachable`, and says nothing about the login."""
    async with Proxy.to("127.0.0.1", 1) as proxy:
        await proxy.refuse()
        proof = await probe(somewhere(proxy.port))
    assert (proof.outcome, proof.answered) == (Outcome.UNREACHABLE, False)


async def test_a_black_hole(login: Login) -> None:
    """A server that never answers is `unreachable` when the time is up, and not later."""
    async with Proxy.to("127.0.0.1", login.port) as proxy:
        proxy.swallow()
        proof = await probe(dataclasses.replace(login, port=proxy.port), SHORT)
    assert (proof.outcome, proof.transient) == (Outcome.NO_ANSWER, False)
    assert SHORT <= proof.seconds < SHORT + AT_ONCE


async def test_a_connection_that_breaks(login: Login) -> None:
    """A connection that is cut in the middle is the network's fault."""
    async with Proxy.to("127.0.0.1", login.port) as proxy:
        proxy.swallow()
        task = asyncio.create_task(probe(dataclasses.replace(login, port=proxy.port)))
        await proxy.has_accepted(1)
        proxy.cut()
        proof = await task
    assert (proof.outcome, proof.detail) == (Outcome.UNREACHABLE, "the connection broke off")


def resolve_to(monkeypatch: pytest.MonkeyPatch, *addresses: str, port: int) -> None:
    found = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (each, port)) for each in addresses]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found)


async def test_an_address_that_hangs(login: Login, monkeypatch: pytest.MonkeyPatch) -> None:
    """An address that never answers takes only its share of the time, and is not the last word."""
    resolve_to(monkeypatch, "127.0.0.2", "127.0.0.1", port=login.port)
    try:
        hole = socket.create_server(("127.0.0.2", login.port))
    except OSError:
        pytest.skip("this system has one loopback address")
    with hole:
        proof = await probe(login, 2.0)
    assert proof.works
    assert proof.seconds >= 1.0


# --- the surroundings


HOSTILE = {
    **dict.fromkeys(("PGHOST", "PGHOSTADDR"), "192.0.2.1"),
    **dict.fromkeys(("PGPASSWORD", "PGUSER", "PGSERVICE", "PGTZ", "PGCHANNELBINDING"), "CANARY"),
    **dict.fromkeys(("PGSSLCERT", "PGSSLKEY"), "/dev/null"),
    "PGPORT": "1",
    "PGOPTIONS": "-c no_such_setting=1",
    "PGSSLROOTCERT": "system",
    "PGSSLMODE": "disable",
    "PGREQUIREAUTH": "gss",
    "PGGSSENCMODE": "require",
}


async def test_the_environment_decides_nothing(
    login: Login, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No variable that libpq reads makes a good login fail."""
    for name, value in HOSTILE.items():
        monkeypatch.setenv(name, value)
    assert (await probe(login)).works


def test_every_variable_is_known() -> None:
    """Whatever variables libpq may learn, each has its parameter set; PGSERVICE alone is taken away."""
    from psycopg import pq
    from psycopg.conninfo import conninfo_to_dict

    given = conninfo_to_dict(libpq.conninfo(somewhere(1), address="127.0.0.1", timeout=10))
    open_ = {o.keyword.decode() for o in pq.Conninfo.get_defaults() if o.envvar} - given.keys()
    assert open_ == {"service"}


async def test_files_decide_nothing(
    login: Login, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither a passfile nor a service file, however broken, has a say: a login without a password stays without."""
    (home / ".pgpass").write_text(f"*:*:*:*:{login.password.reveal()}\n")
    (home / ".pgpass").chmod(0o600)
    (home / ".pg_service.conf").write_text("garbage\n")
    monkeypatch.setenv("PGSERVICE", "shop")
    assert (await probe(login)).works
    bare = await probe(dataclasses.replace(login, password=Secret("")))
    assert (bare.outcome, bare.detail) == (Outcome.REFUSED, "the login has no password")


def refuse(*_: object) -> NoReturn:
    raise NotImplementedError


async def test_a_loop_that_cannot_watch_sockets(
    login: Login, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on Windows: the probe looks at its own again and again, and finds the same."""
    loop = asyncio.get_running_loop()
    monkeypatch.setattr(loop, "add_reader", refuse)
    monkeypatch.setattr(loop, "add_writer", refuse)
    assert (await probe(login)).works
    assert (await probe(dataclasses.replace(login, password=CANARY))).outcome is Outcome.REFUSED


async def test_what_cannot_even_be_begun(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is named by its kind: its words, and what it holds, may be the login itself."""

    class Unwilling:
        @staticmethod
        def connect_start(_: bytes) -> NoReturn:
            raise psycopg.OperationalError("CANARY")

    monkeypatch.setattr(psycopg.pq, "PGconn", Unwilling)
    async with fake_postgres(trusting) as port:
        proof = await probe(somewhere(port))
    assert (proof.outcome, proof.detail) == (
        Outcome.FAILED,
        "OperationalError before connecting",
    )


# --- many at once, and the end


async def test_no_more_at_once_than_allowed(login: Login) -> None:
    """Probes beyond the limit wait for their turn, and their time starts with it."""
    async with Proxy.to("127.0.0.1", login.port) as proxy:
        proxy.swallow()
        prober = PostgresProber(SystemClock(), 5.0, 2)
        there = dataclasses.replace(login, port=proxy.port)
        tasks = [asyncio.create_task(prober.probe(there)) for _ in range(5)]
        await proxy.has_accepted(2)
        await asyncio.sleep(0.05)
        assert proxy.accepted == 2
        await proxy.restore()
        proofs = await asyncio.gather(*tasks)
    assert all(proof.works for proof in proofs)
    assert proxy.accepted == 5


async def cancelled_at_once(task: asyncio.Task[Proof]) -> None:
    began = time.monotonic()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert time.monotonic() - began < AT_ONCE


async def test_cancelled_while_connecting(login: Login) -> None:
    """A probe that is cancelled while it connects ends at once and leaves no connection."""
    async with Proxy.to("127.0.0.1", login.port) as proxy:
        proxy.swallow()
        task = asyncio.create_task(probe(dataclasses.replace(login, port=proxy.port)))
        await proxy.has_accepted(1)
        await cancelled_at_once(task)


async def test_cancelled_while_asking() -> None:
    """A probe that is cancelled during its query ends at once, and does not talk it over with the server."""
    asked = asyncio.Event()

    async def behave(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await answering(b"")(reader, writer)
        asked.set()
        await reader.read()

    async with fake_postgres(behave) as port:
        task = asyncio.create_task(probe(somewhere(port)))
        await asyncio.wait_for(asked.wait(), 60)
        await cancelled_at_once(task)


class Resolver:
    """A name server that does not answer before it is told to."""

    def __init__(self) -> None:
        self.asked = threading.Event()
        self.over = threading.Event()
        self.thread = threading.current_thread()

    def getaddrinfo(self, *_: object, **__: object) -> list[object]:
        self.thread = threading.current_thread()
        self.asked.set()
        self.over.wait(10)
        raise socket.gaierror(socket.EAI_AGAIN, "canned")


@pytest.fixture
def hanging_resolver(monkeypatch: pytest.MonkeyPatch) -> Iterator[Resolver]:
    resolver = Resolver()
    monkeypatch.setattr(socket, "getaddrinfo", resolver.getaddrinfo)
    yield resolver
    resolver.over.set()
    resolver.thread.join(5)


def test_a_look_up_does_not_keep_the_program(hanging_resolver: Resolver) -> None:
    """A name server that hangs is `unreachable` in time, and does not keep the program from ending."""
    began = time.monotonic()
    proof = asyncio.run(probe(somewhere(5432, host="db.example.com"), SHORT))
    assert proof.outcome is Outcome.UNREACHABLE
    assert time.monotonic() - began < SHORT + AT_ONCE
    assert hanging_resolver.thread.is_alive()
    assert hanging_resolver.thread.daemon
