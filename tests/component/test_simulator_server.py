"""A simulated Heroku behind a real port: streams, broken connections, start and stop."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from pgherald.errors import ConfigError, PgheraldError
from pgherald.secret import Secret
from pgherald.simulator.faults import Fault
from pgherald.simulator.seed import seed_world
from pgherald.simulator.server import Simulator, serve
from pgherald.simulator.world import World
from support.household import until
from support.simulator import ACCEPT, FakeDoor, FakePostgres

EVENTS = {"Accept": "text/event-stream"}


@pytest.fixture
async def world() -> AsyncIterator[World]:
    made = await seed_world(FakePostgres(), open_door=FakeDoor.opener())
    yield made
    await made.close()


@pytest.fixture
async def simulator(world: World) -> AsyncIterator[Simulator]:
    async with Simulator.running(world) as running:
        yield running


@pytest.fixture
async def client(simulator: Simulator) -> AsyncIterator[httpx.AsyncClient]:
    headers = identity(simulator.world)
    async with httpx.AsyncClient(base_url=simulator.url, headers=headers, timeout=60) as made:
        yield made


def identity(world: World) -> dict[str, str]:
    return {"Authorization": f"Bearer {world.tokens[0].value.reveal()}", "Accept": ACCEPT}


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "example.com"])  # noqa: S104 – the point is that it is refused
async def test_listens_on_loopback_alone(world: World, host: str) -> None:
    """The simulator refuses to be reachable from another machine."""
    with pytest.raises(ConfigError, match="does not listen on"):
        async with Simulator.running(world, host=host):
            pass


async def test_port_taken(world: World) -> None:
    """A port in use is named, with a way out."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(PgheraldError, match=f"cannot listen on port {port}"):
            async with Simulator.running(world, port=port):
                pass


async def test_tail(simulator: Simulator, client: httpx.AsyncClient) -> None:
    """An open tail hears of a release at once, and each line once."""
    body = {"source": "app", "dyno": "api", "lines": 1, "tail": True}
    session = (await client.post("/apps/blog/log-sessions", json=body)).json()
    app = simulator.world.app("blog")
    async with client.stream("GET", session["logplex_url"], headers=EVENTS) as stream:
        lines = (line async for line in stream.aiter_lines() if line.startswith("data: "))
        await anext(lines)
        app.log.write(simulator.world.now(), "app", "web.1", "not for us")
        simulator.world.release(app, "Deploy 1234567", "dev@example.com")
        first, second = await anext(lines), await anext(lines)
    assert first.endswith("app[api]: Deploy 1234567 by user dev@example.com")
    assert second.endswith(
        f"app[api]: Release v{len(app.releases)} created by user dev@example.com"
    )


async def test_ended_session_ends_its_tail(simulator: Simulator, client: httpx.AsyncClient) -> None:
    """When Heroku ends a log session, the open tail ends and the address is gone."""
    session = (await client.post("/apps/blog/log-sessions", json={"tail": True})).json()
    async with client.stream("GET", session["logplex_url"]) as stream:
        chunks = stream.aiter_text()
        await anext(chunks)
        simulator.app.sessions.end_all()
        async for _ in chunks:
            pass
    assert (await client.get(session["logplex_url"])).status_code == 404


@pytest.mark.parametrize("kind", ["never-ending", "tail"])
async def test_stops_whatever_is_open(world: World, kind: str) -> None:
    """An answer that never ends, or an open tail, does not keep the simulator."""
    async with httpx.AsyncClient(headers=identity(world), timeout=60) as client:
        async with Simulator.running(world) as simulator:
            url = f"{simulator.url}/apps"
            if kind == "tail":
                opened = await client.post(f"{url}/blog/log-sessions", json={"tail": True})
                url = opened.json()["logplex_url"]
            else:
                simulator.app.faults.add(Fault(kind, seconds=60))
            before = len(simulator.app.front.visits)
            reading = asyncio.create_task(client.get(url))
            await until(lambda: len(simulator.app.front.visits) > before)
        await asyncio.wait({reading}, timeout=60)
        assert reading.done()
        reading.exception()


async def test_environment_leads_nowhere_else(simulator: Simulator, tmp_path: Path) -> None:
    """The environment for the CLI names the simulator for every host that the CLI talks to."""
    token = Secret("CANARY-token")
    environment = simulator.environment(token, tmp_path)
    assert environment["HEROKU_HOST"] == environment["HEROKU_PARTICLEBOARD_URL"] == simulator.url
    assert environment["HEROKU_DATA_HOST"] == "127.0.0.1"
    assert environment["HOME"] == str(tmp_path)
    assert environment["GIT_CONFIG_GLOBAL"] == str(tmp_path / ".gitconfig")
    assert environment["XDG_DATA_HOME"] == str(tmp_path / ".local/share")
    shell = simulator.shell_environment(token)
    forgotten, *exports = shell.splitlines()
    assert forgotten.startswith("unset PGHERALD_CONFIG PGHERALD_STATE_DIR PGPASSFILE")
    assert {line.split("=")[0].removeprefix("export ") for line in exports} == set(environment)


async def test_serve_until_a_signal() -> None:
    """In the foreground the simulator tells how to use it, and stops at a signal."""
    told: list[str] = []

    def announce(text: str) -> None:
        told.append(text)
        asyncio.get_running_loop().call_later(0.05, os.kill, os.getpid(), signal.SIGTERM)

    async with asyncio.timeout(60):
        await serve(FakePostgres(), port=0, announce=announce, token=Secret("CANARY-token"))
    assert told[0].startswith("This is a simulator.")
    assert "export HEROKU_API_KEY=CANARY-token" in told[0]
    assert "X-Simulator-Token: " in told[0]
