"""An app's log over real sockets: the simulator's, and odd ones."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import socket
import sys
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from pgherald.clock import SystemClock
from pgherald.config import TokenKind, TokenSpec
from pgherald.errors import HerokuError, NotHeroku, Unavailable, UnsafeHost
from pgherald.heroku.account import Account
from pgherald.heroku.api import HerokuApi
from pgherald.heroku.budget import Budget
from pgherald.heroku.events import AppEvents
from pgherald.heroku.host import HerokuHost, Resolver
from pgherald.heroku.http import HttpClient
from pgherald.heroku.tokens import token_source
from pgherald.secret import Secret
from pgherald.simulator.faults import Fault
from pgherald.simulator.seed import seed_world
from pgherald.simulator.server import Simulator
from pgherald.simulator.state import LogBook
from support.http_server import Script, answer, bytes_then_close, flood, serve, silence
from support.simulator import FakeDoor, FakePostgres

APP = "blog"


@pytest.fixture
async def simulator() -> AsyncIterator[Simulator]:
    world = await seed_world(
        FakePostgres(), open_door=FakeDoor.opener(), token=Secret("HRKU-CANARY-token")
    )
    world.app(APP).log = LogBook()  # its first releases were made within this very second
    async with Simulator.running(world) as running:
        yield running


class Listener:
    """Follows the app's log, and counts the looks."""

    def __init__(self, simulator: Simulator, home: Path) -> None:
        env = simulator.environment(simulator.world.tokens[0].value, home)
        host = HerokuHost.from_env(env)
        source = token_source(TokenSpec(TokenKind.ENV, "HEROKU_API_KEY"), host, env, home)
        self.api = HerokuApi(host, source, clock=SystemClock())
        self.account = Account("default", self.api)
        self.looks: asyncio.Queue[None] = asyncio.Queue()
        self.events = AppEvents(
            self.account,
            APP,
            lambda: self.looks.put_nowait(None),
            asyncio.Semaphore(8),
            chance=lambda: 0.9,
        )

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[asyncio.Task[str]]:
        task = asyncio.create_task(self.events.run())
        try:
            async with asyncio.timeout(60):
                while not self.events.connected and not task.done():  # nobody could set an event
                    await asyncio.sleep(0.01)
                yield task
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            await self.api.aclose()


async def test_a_release_is_heard_of(simulator: Simulator, tmp_path: Path) -> None:
    """Each release makes a look at once; what was released before does not."""
    listener = Listener(simulator, tmp_path)
    app = simulator.world.app(APP)
    async with listener.running():
        assert listener.looks.empty()
        for _ in range(2):
            simulator.world.release(app, "Update DATABASE by heroku-postgresql", "heroku")
            await listener.looks.get()


async def test_the_log_is_fetched_without_the_token(simulator: Simulator, tmp_path: Path) -> None:
    """The token opens the session at Heroku, and is not sent to where the log is read."""
    async with Listener(simulator, tmp_path).running():
        visits = simulator.app.front.visits
        assert [(v.method, v.path, v.account) for v in visits if "sessions/" not in v.path] == [
            ("GET", f"/apps/{APP}", "dev@example.com"),
            ("POST", f"/apps/{APP}/log-sessions", "dev@example.com"),
        ]
        assert [(v.method, v.account) for v in visits if "sessions/" in v.path] == [("GET", None)]


async def test_a_session_that_ends_is_replaced(simulator: Simulator, tmp_path: Path) -> None:
    """When Heroku ends the session, a new one is opened, and one look makes up for the gap."""
    listener = Listener(simulator, tmp_path)
    async with listener.running():
        simulator.app.sessions.end_all()
        await listener.looks.get()
        assert len([v for v in simulator.app.front.visits if v.method == "POST"]) == 2


@pytest.mark.parametrize("kind", ["403", "403-scope", "400", "fir"])
async def test_where_it_is_not_allowed(simulator: Simulator, tmp_path: Path, kind: str) -> None:
    """A refusal ends it for good; of an app whose log shows no releases no session is opened."""
    if kind == "fir":
        simulator.world.app(APP).generation = kind
    else:
        simulator.app.front.faults.add(Fault(kind, "POST /apps/*/log-sessions"))
    async with Listener(simulator, tmp_path).running() as task:
        assert task.done()
        methods = [visit.method for visit in simulator.app.front.visits]
        assert methods == ["GET", "POST"][: 1 if kind == "fir" else 2]


# --- odd logs ------------------------------------------------------------------------------


async def refused(client: HttpClient, url: str) -> None:
    """The log is not fetched, since its address is odd."""
    with pytest.raises(UnsafeHost) as caught:
        await read(client, url)
    assert "CANARY" not in str(caught.value)
    assert caught.value.__context__ is None


def client_of(host: HerokuHost, **options: Any) -> HttpClient:
    return HttpClient(host, Budget(SystemClock()), **{"time_limit": 5.0, **options})


def resolves_to(*addresses: str) -> Resolver:
    async def resolver(name: str, port: int) -> Sequence[str]:
        assert name in ("logs.example.com", "127.0.0.1")
        return addresses

    return resolver


async def read(client: HttpClient, url: str) -> bytes:
    """All that a log says."""
    try:
        async with asyncio.timeout(60), client.follow(Secret(url)) as pieces:
            return b"".join([piece async for piece in pieces])
    finally:
        await client.aclose()


PLAIN = {"Content-Type": "text/html"}


@pytest.mark.parametrize(
    ("script", "kind"),
    [
        (answer(404, "Not found"), Unavailable),
        (answer(403, "CANARY"), Unavailable),
        (answer(302, "", {"Location": "http://127.0.0.1:1/"}), Unavailable),
        (silence, Unavailable),
        (flood(b"x" * 100_000), NotHeroku),
        (bytes_then_close(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nx"), Unavailable),
        (bytes_then_close(b"220 CANARY ESMTP\r\n\r\n"), NotHeroku),
    ],
)
async def test_odd_logs(script: Script, kind: type[HerokuError]) -> None:
    """Whatever stands in the log's place, following it ends with an error in plain words."""
    async with serve(script) as server:
        host = HerokuHost.from_env({"HEROKU_HOST": server.url})
        client = client_of(host, time_limit=1.0, size_limit=1_000_000)
        with pytest.raises(kind) as caught:
            await read(client, f"{server.url}/sessions/x")
    assert "CANARY" not in str(caught.value)
    assert caught.value.__context__ is None
    assert all("uthorization" not in head for head in server.heads)


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
async def test_the_kernel_looks_after_a_silent_connection(
    simulator: Simulator, tmp_path: Path
) -> None:
    """A log's connection that has died is found by TCP's keep-alive, which wakes nobody else."""
    async with Listener(simulator, tmp_path).running():
        port = int(simulator.url.rpartition(":")[2])
        # proc_pid_net(5): timer 02 is keep-alive.
        table = await asyncio.to_thread(Path("/proc/net/tcp").read_text)
        rows = [line.split() for line in table.splitlines()[1:]]
        timers = [row[5][:2] for row in rows if row[2].endswith(f":{port:04X}") and row[3] == "01"]
        assert "02" in timers


@pytest.mark.parametrize(
    "url",
    [
        "https://logs.example.com/x",
        "http://192.0.2.1/x",
        "file:///etc/passwd",
        "http://127.0.0.1@e.org/",
    ],
)
async def test_an_odd_address_is_not_fetched(url: str) -> None:
    """An address that a log may not be fetched from is refused before anything is sent."""
    host = HerokuHost.from_env({"HEROKU_HOST": "http://127.0.0.1:9"})
    with pytest.raises((UnsafeHost, NotHeroku, Unavailable)) as caught:
        await read(client_of(host), url)
    assert isinstance(caught.value, UnsafeHost)


# --- where a log's connection leads ----------------------------------------------------------

HEROKU = HerokuHost.from_env({})


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever proxies the machine has, these tests have none."""
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


@pytest.mark.parametrize(
    "spelling",
    [
        "0.0.0.0", "127.1",  # noqa: S104 – nothing is bound
        "2130706433", "0x7f.1", "[::ffff:127.0.0.1]", "[::1]", "127.0.0.1.", "LOCALHOST",
    ],
)  # fmt: skip
async def test_this_machine_however_it_is_spelt(spelling: str) -> None:
    """An address that is this machine in disguise is refused before anything connects to it."""
    async with serve(answer(200, "CANARY", PLAIN)) as server:
        port = server.url.rpartition(":")[2]
        await refused(client_of(HEROKU), f"https://{spelling}:{port}/CANARY")
        assert server.connections == 0


@pytest.mark.parametrize(
    "addresses",
    [
        ["127.0.0.1"],
        ["2001:4860:4860::8888", "fe80::1%eth0"],
        ["not an address"],
    ],
)
async def test_a_name_that_leads_home(addresses: list[str]) -> None:
    """Each address of a name is checked; one that no log may come from is enough to refuse."""
    client = client_of(HEROKU, resolver=resolves_to(*addresses))
    await refused(client, "https://logs.example.com/CANARY")


async def test_a_name_that_leads_home_the_second_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where DNS gives another address for the connection, not a byte is sent over it."""
    received = asyncio.get_running_loop().create_future()

    async def listen(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        received.set_result(await reader.read())
        writer.close()

    real = socket.getaddrinfo

    def rebound(host: str | bytes, *args: Any, **kwargs: Any) -> Any:
        theirs = host in ("logs.example.com", b"logs.example.com")
        return real("127.0.0.1" if theirs else host, *args, **kwargs)

    monkeypatch.setattr(socket, "getaddrinfo", rebound)
    server = await asyncio.start_server(listen, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        client = client_of(HEROKU, resolver=resolves_to("8.8.8.8"))
        await refused(client, f"https://logs.example.com:{port}/CANARY")
        async with asyncio.timeout(60):
            assert await received == b""


async def test_a_simulator_that_leads_elsewhere() -> None:
    """Where Heroku is this machine, a log comes from it alone, whatever its name leads to."""
    async with serve(answer(200, "x", PLAIN)) as server:
        host = HerokuHost.from_env({"HEROKU_HOST": server.url})
        client = client_of(host, resolver=resolves_to("8.8.8.8"))
        await refused(client, f"{server.url}/CANARY")
        assert server.connections == 0


async def test_a_log_through_the_companys_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    """Through a proxy the name goes to the proxy, which is on this machine here, and rules."""
    async with serve(answer(407, "CANARY")) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", proxy.url)
        with pytest.raises(Unavailable) as caught:
            await read(
                client_of(HEROKU, resolver=resolves_to("127.0.0.1")),
                "https://logs.example.com/CANARY",
            )
        assert "the proxy refuses" in caught.value.title
        assert proxy.heads[0].startswith("CONNECT logs.example.com:443 HTTP/1.1")


async def test_a_log_after_a_question_on_the_same_connection(
    simulator: Simulator, tmp_path: Path
) -> None:
    """A log at Heroku's own address may use the connection that Heroku was just asked over."""
    listener = Listener(simulator, tmp_path)
    await listener.api.account()
    async with listener.running() as task:
        assert listener.events.connected
        assert not task.done()


async def test_one_log_after_another() -> None:
    """Each log has a connection of its own, whose address is seen, though the router is the same."""
    async with serve(answer(200, "one\n", PLAIN)) as server:
        host = HerokuHost.from_env({"HEROKU_HOST": "http://127.0.0.1:9"})
        client = client_of(host)
        for _ in range(2):
            async with client.follow(Secret(f"{server.url}/sessions/x")) as pieces:
                assert [piece async for piece in pieces] == [b"one\n"]
        await client.aclose()
        assert server.connections == 2


@pytest.mark.parametrize("encoding", ["gzip", "br"])
async def test_a_packed_log(encoding: str) -> None:
    """A log is asked for as it is, and one that comes packed is no log."""
    body = gzip.compress(b"0" * 10_000_000)
    head = f"HTTP/1.1 200 OK\r\nContent-Encoding: {encoding}\r\nContent-Length: {len(body)}\r\n\r\n"
    async with serve(bytes_then_close(head.encode() + body)) as server:
        host = HerokuHost.from_env({"HEROKU_HOST": server.url})
        with pytest.raises(NotHeroku) as caught:
            await read(client_of(host), f"{server.url}/sessions/x")
    assert "packs its data" in caught.value.title
    assert "\r\nAccept-Encoding: identity\r\n" in server.heads[0]
