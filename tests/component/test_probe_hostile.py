"""Servers that mean harm: whatever they send, the probe reads little and keeps less."""

from __future__ import annotations

import asyncio
import contextlib
import json
import subprocess
import sys
from collections.abc import Callable

import pytest

from pgherald.clock import SystemClock
from pgherald.model import Login
from pgherald.secret import Secret
from pgherald.sync.outcomes import Outcome
from pgherald.sync.probe import PostgresProber, Proof
from pgherald.sync.relay import LIMIT
from support.fake_postgres import (
    ASK_MD5,
    ONE_ROW,
    OPEN,
    Flood,
    answering,
    columns,
    error,
    fake_postgres,
    message,
    row,
)
from support.household import database

#: Bytes that the system keeps for both ends of a connection on loopback, at most.
SOCKET_BUFFERS = 16 << 20
GIGABYTE = 1 << 30

NOTICE = b"N" + error("00000", "CANARY-notice " + "x" * 100, "NOTICE")[1:]

#: What a server can send without end, and where in the conversation.
FLOODS: dict[str, Callable[[], Flood]] = {
    "rows": lambda: Flood(row(b"u", b"d"), columns(2)),
    "rows without columns": lambda: Flood(row(), columns(0)),
    "rows nobody described": lambda: Flood(row(b"u", b"d")),
    "one message of a gigabyte": lambda: Flood(b"x", message(b"D", b"", length=GIGABYTE)),
    "one notice of a gigabyte": lambda: Flood(b"x", message(b"N", b"", length=GIGABYTE)),
    "one error of a gigabyte": lambda: Flood(b"x", message(b"E", b"", length=GIGABYTE)),
    "notices": lambda: Flood(NOTICE),
    "notifications": lambda: Flood(message(b"A", b"\0\0\0\1channel\0payload\0")),
    "settings": lambda: Flood(message(b"S", b"name\0value\0")),
    "answers to an empty query": lambda: Flood(message(b"I", b"")),
    "settings before it is ready": lambda: Flood(
        message(b"S", b"name\0value\0"), OPEN, queried=False
    ),
    "notices before it is ready": lambda: Flood(NOTICE, OPEN, queried=False),
    "keys before it is ready": lambda: Flood(
        message(b"K", b"\0\0\0\1\0\0\0\1"), OPEN, queried=False
    ),
    "questions for the password": lambda: Flood(ASK_MD5, queried=False),
    "an error without end": lambda: Flood(b"x", b"ENo such thing", queried=False),
}


def there(port: int) -> Login:
    return Login("127.0.0.1", port, "shop", "shop-user", Secret("CANARY-password"))


async def probe(port: int, limit: float = 10.0) -> Proof:
    proof = await PostgresProber(SystemClock(), limit).probe(there(port))
    assert "CANARY" not in repr(proof)
    return proof


@pytest.mark.parametrize("flood", FLOODS.values(), ids=FLOODS)
async def test_what_comes_without_end_is_cut_off(flood: Callable[[], Flood]) -> None:
    """Of whatever a server sends without end, no more is taken than the limit and what the system keeps; it proves nothing, and is not tried again and again."""
    behave = flood()
    async with fake_postgres(behave) as port:
        proof = await probe(port)
        sent = behave.sent
    assert sent < LIMIT + SOCKET_BUFFERS
    assert (proof.outcome, proof.transient) == (Outcome.TOO_MUCH, False)
    assert "64 KiB" in proof.error(database()).advice


async def test_what_drips_ends_in_time() -> None:
    """A server that sends little, again and again, is late; as it is there, it is tried again."""
    behave = Flood(NOTICE, pause=0.01)
    async with fake_postgres(behave) as port:
        proof = await probe(port, 0.5)
    assert (proof.outcome, proof.transient) == (Outcome.UNREACHABLE, True)
    assert "tunnel" not in proof.error(database()).advice


@pytest.mark.parametrize("tls", [first + b"x" * (1 << 20) for first in (b"E", b"x", b"S")])
async def test_too_much_before_tls(tls: bytes) -> None:
    """What comes in place of the one byte about TLS is bounded like the rest."""
    async with fake_postgres(Flood(b"x"), tls=tls) as port:
        assert not (await probe(port)).works


@pytest.mark.parametrize(
    "answer",
    [
        columns(2) + message(b"C", b"SELECT 0\0"),
        columns(2) + row(b"u", b"d") * 2 + message(b"C", b"SELECT 2\0"),
    ],
)
async def test_the_answer_is_one_row(answer: bytes) -> None:
    """A server that answers with another number of rows than was asked for is none."""
    async with fake_postgres(answering(answer)) as port:
        proof = await probe(port)
    assert (proof.outcome, proof.detail) == (Outcome.FAILED, "what answers there is no Postgres")


PROBES = """
import asyncio, json, pathlib, resource, sys
from pgherald.clock import SystemClock
from pgherald.model import Login
from pgherald.secret import Secret
from pgherald.sync.probe import PostgresProber

async def main():
    found = []
    for port in sys.argv[1:]:
        login = Login("127.0.0.1", int(port), "shop", "shop-user", Secret("CANARY"))
        found.append((await PostgresProber(SystemClock()).probe(login)).outcome)
    return found

found = asyncio.run(main())
status = pathlib.Path("/proc/self/status")
if status.exists():  # of this program alone; the other counts what forked it
    (peak,) = (line.split()[1] for line in status.read_text().splitlines() if "VmHWM" in line)
else:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print(json.dumps([found, int(peak)]))
"""


@pytest.mark.skipif(sys.platform == "win32", reason="nothing there tells the peak")
async def test_memory_stays_bounded() -> None:
    """A process that probes every kind of flood needs hardly more memory than one that probes good servers, and prints nothing of what they say."""

    async def peak(ports: list[int]) -> tuple[list[str], int]:
        command = [sys.executable, "-c", PROBES, *map(str, ports)]
        done = await asyncio.to_thread(
            subprocess.run, command, capture_output=True, text=True, timeout=300, check=True
        )
        assert done.stderr == ""
        found, most = json.loads(done.stdout)
        return found, most

    async with fake_postgres(answering(ONE_ROW)) as port:
        found, good = await peak([port] * len(FLOODS))
    assert set(found) == {Outcome.WORKS}
    async with contextlib.AsyncExitStack() as stack:
        servers = [fake_postgres(flood()) for flood in FLOODS.values()]
        ports = [await stack.enter_async_context(server) for server in servers]
        found, hostile = await peak(ports)
    assert Outcome.WORKS not in found
    assert hostile < good * 1.5
