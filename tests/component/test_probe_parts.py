"""The prober, part by part: addresses in turn, time that is shared, sockets that are waited for."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import socket
import threading
from collections.abc import Callable
from typing import Any, NoReturn

import psycopg
import pytest
from psycopg.pq import ConnStatus, DiagnosticField, PollingStatus

from pgherald.model import Login
from pgherald.secret import Secret
from pgherald.sync import probe
from pgherald.sync.outcomes import Finding, Outcome
from pgherald.sync.probe import PostgresProber, _converse, _look_up, _poll, _ready, _Terms
from support.fake_clock import START, FakeClock

LOGIN = Login("localhost", 5432, "d", "u", Secret("CANARY"))
WORKS = Finding(Outcome.WORKS)
DOWN = Finding(Outcome.UNREACHABLE, "nothing listens there")
REFUSED = Finding(Outcome.REFUSED, "no")


class Asked(PostgresProber):
    """Finds what it is told of each address; a number is how long it takes to find nothing."""

    def __init__(self, findings: dict[str, Finding | float], **more: Any) -> None:
        super().__init__(FakeClock(), **more)
        self.findings = findings
        self.tried: list[str] = []
        self.at_once = 0
        self.most = 0

    async def _find(self, login: Login, end: float, terms: _Terms) -> Finding:
        return await self._try_each(login, list(self.findings), end, terms)

    async def _try(self, login: Login, address: str, terms: _Terms) -> Finding:
        self.tried.append(address)
        found = self.findings[address]
        if isinstance(found, float):
            self.at_once += 1
            self.most = max(self.most, self.at_once)
            try:
                await asyncio.sleep(found)
            finally:
                self.at_once -= 1
            return WORKS
        return found


def test_the_limits() -> None:
    """Ten seconds for a probe, sixteen at a time, two minutes of second chances."""
    assert (probe.TIME_LIMIT, probe.CONCURRENCY) == (10.0, 16)
    assert probe.RETRY_PAUSES == (1.0, 2.0, 4.0, 8.0, 15.0, 30.0, 60.0)


@pytest.mark.parametrize(
    ("findings", "tried", "found"),
    [
        ([WORKS, DOWN], 1, WORKS),
        ([DOWN, WORKS], 2, WORKS),
        ([DOWN, REFUSED, WORKS], 2, REFUSED),
        ([REFUSED, WORKS], 1, REFUSED),
        ([DOWN, DOWN], 2, DOWN),
        ([], 0, Finding(Outcome.HOST_UNKNOWN)),
    ],
)
async def test_addresses_are_tried_until_one_answers(
    findings: list[Finding], tried: int, found: Finding
) -> None:
    """In their order; what a server says is the last word."""
    prober = Asked({str(number): finding for number, finding in enumerate(findings)})
    proof = await prober.probe(LOGIN)
    assert prober.tried == [str(number) for number in range(tried)]
    assert (proof.outcome, proof.detail) == (found.outcome, found.detail)
    assert (proof.at, proof.seconds) == (START, 0.0)


async def test_a_dead_address_takes_its_share_alone() -> None:
    """Of the time that is left; what takes all of it is late."""
    prober = Asked({"a": 60.0, "b": WORKS}, limit=0.2)
    proof = await prober.probe(LOGIN)
    assert (prober.tried, proof.outcome) == (["a", "b"], Outcome.WORKS)
    prober = Asked({"a": 60.0, "b": 60.0}, limit=0.1)
    proof = await prober.probe(LOGIN)
    assert (proof.outcome, proof.detail) == (Outcome.UNREACHABLE, "no answer in time")
    assert prober.tried == ["a", "b"]


async def test_each_address_gets_an_equal_share(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the time that is left: those that said no at once leave theirs to the others."""
    shares: list[float] = []
    timeout = asyncio.timeout

    def noted(share: float) -> asyncio.Timeout:
        shares.append(share)
        return timeout(share)

    monkeypatch.setattr(asyncio, "timeout", noted)
    await Asked({"a": DOWN, "b": DOWN, "c": DOWN}, limit=6000.0).probe(LOGIN)
    assert [round(share, -2) for share in shares] == [2000, 3000, 6000]


async def test_what_cannot_even_be_begun(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is named by its kind: its words, and what it holds, may be the login itself."""

    def refused(_: bytes) -> NoReturn:
        raise psycopg.OperationalError("CANARY")

    class Unwilling:
        connect_start = staticmethod(refused)

    monkeypatch.setattr(psycopg.pq, "PGconn", Unwilling)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        there = dataclasses.replace(LOGIN, port=listener.getsockname()[1])
        terms = _Terms("md5", None)
        found = await PostgresProber(FakeClock())._try(there, "127.0.0.1", terms)
    assert found == Finding(Outcome.FAILED, "OperationalError before connecting")


async def test_as_many_at_a_time_as_was_said() -> None:
    """The others wait their turn, and their time begins then."""
    prober = Asked({"a": 0.02}, concurrency=2, limit=0.05)
    proofs = await asyncio.gather(*(prober.probe(LOGIN) for _ in range(8)))
    assert prober.most == 2
    assert {proof.outcome for proof in proofs} == {Outcome.WORKS}


async def test_how_long_it_took() -> None:
    """By the clock that was handed in."""
    prober = Asked({"a": 0.02})
    clock = prober._clock
    assert isinstance(clock, FakeClock)
    work = asyncio.create_task(prober.probe(LOGIN))
    await asyncio.sleep(0.005)
    await clock.advance(3)
    proof = await work
    assert proof.seconds == 3.0
    assert proof.at == clock.now()


@pytest.mark.parametrize(
    ("problem", "outcome"),
    [
        (socket.gaierror(socket.EAI_NONAME, "x"), Outcome.HOST_UNKNOWN),
        (socket.gaierror(socket.EAI_AGAIN, "x"), Outcome.UNREACHABLE),
        (UnicodeError("x"), Outcome.HOST_UNKNOWN),
    ],
)
async def test_a_look_up_that_fails_is_a_finding(
    monkeypatch: pytest.MonkeyPatch, problem: Exception, outcome: Outcome
) -> None:
    """Never an error."""

    def fail(*_: object, **__: object) -> None:
        raise problem

    monkeypatch.setattr(socket, "getaddrinfo", fail)
    assert (await PostgresProber(FakeClock()).probe(LOGIN)).outcome is outcome


async def test_each_address_once_in_the_systems_order(monkeypatch: pytest.MonkeyPatch) -> None:
    """As the system gives them, for this port and a stream."""
    asked: list[tuple[object, ...]] = []

    def answer(*args: object, **more: object) -> list[tuple[Any, ...]]:
        asked.append((*args, more, threading.current_thread().name))
        return [(0, 0, 0, "", (address, 5432)) for address in ("::1", "127.0.0.1", "::1")]

    monkeypatch.setattr(socket, "getaddrinfo", answer)
    assert await _look_up("h", 5432) == ["::1", "127.0.0.1"]
    assert asked == [("h", 5432, {"type": socket.SOCK_STREAM}, "pgherald-look-up")]


async def test_a_look_up_that_hangs_holds_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    """A cancelled probe ends at once, and what comes later is dropped without a word."""
    gate = threading.Event()

    def hang(*_: object, **__: object) -> list[tuple[Any, ...]]:
        gate.wait(10)
        return []

    monkeypatch.setattr(socket, "getaddrinfo", hang)
    work = asyncio.create_task(_look_up("h", 5432))
    await asyncio.sleep(0.01)
    (thread,) = (one for one in threading.enumerate() if one.name == "pgherald-look-up")
    assert thread.daemon
    work.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await work
    gate.set()
    thread.join(5)
    await asyncio.sleep(0)
    assert not thread.is_alive()


@pytest.mark.parametrize("wait", [_ready, _poll])
async def test_a_socket_is_waited_for(wait: Callable[..., Any]) -> None:
    """Until it can be read, or written; then nobody watches it any more."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        for end in (ours, theirs):
            end.setblocking(False)
        await asyncio.wait_for(wait(ours.fileno(), to_write=True), 1)
        reading = asyncio.create_task(wait(ours.fileno(), to_write=False))
        await asyncio.sleep(0.03)
        assert not reading.done()
        theirs.send(b"x")
        await asyncio.wait_for(reading, 1)
        with contextlib.suppress(BlockingIOError):
            while True:
                ours.send(b"x" * 65536)
        writing = asyncio.create_task(wait(ours.fileno(), to_write=True))
        await asyncio.sleep(0.03)
        assert not writing.done()
        with contextlib.suppress(BlockingIOError):
            while True:
                theirs.recv(65536)
        await asyncio.wait_for(writing, 1)
        loop = asyncio.get_running_loop()
        assert not loop.remove_reader(ours.fileno())
        assert not loop.remove_writer(ours.fileno())


async def test_where_a_socket_cannot_be_watched(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is looked at again and again, as on Windows."""
    loop = asyncio.get_running_loop()

    def never(*_: object) -> None:
        raise NotImplementedError

    monkeypatch.setattr(loop, "add_reader", never)
    ours, theirs = socket.socketpair()
    with ours, theirs:
        reading = asyncio.create_task(_ready(ours.fileno(), to_write=False))
        await asyncio.sleep(0.03)
        assert not reading.done()
        theirs.send(b"x")
        await asyncio.wait_for(reading, 1)


async def test_looking_at_a_socket_holds_up_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    """It never waits within a look: everything else runs in between."""
    waits: list[float] = []

    def look(*sets: Any) -> tuple[list[int], ...]:
        waits.append(sets[3])
        return ([7], [], []) if len(waits) == 3 else ([], [], [])

    monkeypatch.setattr("select.select", look)
    await _poll(7, to_write=False)
    assert waits == [0, 0, 0]


class Answering:
    """A connection whose server answers the question by an error, in its own language."""

    status = ConnStatus.OK
    socket = 7
    error_message = b"FATAL:  demasiadas conexiones"

    def __init__(self, sqlstate: bytes | None) -> None:
        self._sqlstate = sqlstate

    def connect_poll(self) -> PollingStatus:
        return PollingStatus.OK

    def send_query(self, _: bytes) -> None:
        """It is sent."""

    def is_busy(self) -> bool:
        return False

    def get_result(self) -> Any:
        return self

    def error_field(self, field: DiagnosticField) -> bytes | None:
        return self._sqlstate if field is DiagnosticField.SQLSTATE else None


@pytest.mark.parametrize(
    ("sqlstate", "outcome"), [(b"53300", Outcome.TOO_MANY_CONNECTIONS), (None, Outcome.FAILED)]
)
async def test_a_number_says_more_than_words(
    monkeypatch: pytest.MonkeyPatch, sqlstate: bytes | None, outcome: Outcome
) -> None:
    """What a server answers is told by its SQLSTATE where it gives one, in whatever language."""

    async def ready(*_: object, **__: object) -> None:
        """At once."""

    monkeypatch.setattr(probe, "_ready", ready)
    assert (await _converse(Answering(sqlstate))).outcome is outcome  # type: ignore[arg-type]  # all that it needs
