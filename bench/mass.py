"""A thousand databases on two hundred apps, all rotated at once.

The floor is what nothing can do without: the same questions to Heroku, as many connections to
Postgres at the same concurrency, and one write of each file that waits for the disk.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import httpx

from bench.stage import Stage
from bench.table import Row, ratio
from pgherald.clock import SystemClock
from pgherald.config import Config, load
from pgherald.daemon.wiring import Machinery, Outside, machinery, state_of
from pgherald.model import Login, News, NewsKind
from pgherald.notify.texts import notice_for
from pgherald.sync.alerts import Alerts
from pgherald.sync.probe import CONCURRENCY, PostgresProber

APPS: Final = 200
EACH: Final = 5

#: What may be added to the floor: the promise.
PROMISE: Final = 1.5

#: Questions to Heroku at the same time, as in `pgherald.heroku.watched`.
_AT_ONCE: Final = 8

_CLIENTS: Final = """\
[clients.pgpass]
path = "~/.pgpass"
[clients.service_file]
path = "~/.pg_service.conf"
[clients.servers_json]
path = "~/servers.json"
"""


def configured(stage: Stage) -> Config:
    """A configuration that names every database."""
    tables = [
        f'[[databases]]\napp = "{app}"\nattachment = "{name}"\n'
        for app in stage.apps
        for name in stage.attachments
    ]
    file = stage.home / "config.toml"
    # Two sweeps of everything within seconds: the usual share allows for one.
    everything = 'state_dir = "~/state"\n[heroku]\nrequest_share = "100%"\n'
    file.write_text(everything + _CLIENTS + "".join(tables))
    return load(file, stage.env)


async def rows(folder: Path) -> list[Row]:
    """Measure a first look, and then the mass rotation beside its floor."""
    async with Stage.standing(folder, apps=APPS, each=EACH) as stage:
        config = configured(stage)
        outside = Outside(stage.env, stage.home, SystemClock())
        news: list[News] = []
        with state_of(config, outside.clock) as state:
            alerts = Alerts(state.store, outside.clock, news.append)
            async with machinery(
                config, state, outside, alerts=alerts, tell=news.append
            ) as machine:
                work = asyncio.create_task(machine.reconciler.run())
                try:
                    await _sweep(machine)
                    news.clear()
                    before = _commits(config)
                    await stage.rotate()
                    seconds = await _sweep(machine)
                    commits = len(_commits(config) - before)
                    logins = [entry.login for entry in machine.reconciler.wanted]
                finally:
                    work.cancel()
                    await asyncio.gather(work, return_exceptions=True)
        floor = await _floor(stage, logins, config)
    number = APPS * EACH
    rotated = sum(item.kind is NewsKind.ROTATED for item in news)
    assert rotated == number, rotated
    notices = len(notice_for(news))
    return [
        Row(
            f"{number:,} databases on {APPS} apps rotated at once: proven and written",
            f"{seconds:.1f} s, {commits} commit, {notices} notice",
            f"{floor:.1f} s: the floor (same questions, connections and writes)",
            ratio(seconds, floor),
            good=seconds < PROMISE * floor and (commits, notices) == (1, 1),
        )
    ]


async def _sweep(machine: Machinery) -> float:
    began = time.monotonic()
    machine.poller.sweep()
    await machine.poller.finished()
    await machine.reconciler.settled()
    return time.monotonic() - began


def _commits(config: Config) -> set[str]:
    return {path.name for path in (config.state_dir / "commits").glob("*") if path.is_dir()}


async def _floor(stage: Stage, logins: Sequence[Login], config: Config) -> float:
    """Seconds for the same work without any thought."""
    files = [(client.path, client.path.read_bytes()) for client in config.clients]
    began = time.monotonic()
    await _ask(stage)
    await _connect(logins)
    for number, (path, content) in enumerate(files):
        _write(path.with_name(f"floor-{number}"), content)
    return time.monotonic() - began


async def _ask(stage: Stage) -> None:
    headers = {
        "Authorization": f"Bearer {stage.env['HEROKU_API_KEY']}",
        "Accept": "application/vnd.heroku+json; version=3",
        "Accept-Encoding": "identity",
    }
    turn = asyncio.Semaphore(_AT_ONCE)
    async with httpx.AsyncClient(base_url=stage.env["HEROKU_HOST"], headers=headers) as client:

        async def ask(app: str) -> None:
            async with turn:
                (await client.get(f"/apps/{app}/config-vars")).json()
                newest = {"Range": "version ..; max=1, order=desc"}
                (await client.get(f"/apps/{app}/releases", headers=newest)).json()

        (await client.get("/apps", headers={"Range": "id ..; max=1000"})).json()
        await asyncio.gather(*(ask(app) for app in stage.apps))


async def _connect(logins: Sequence[Login]) -> None:
    prober = PostgresProber(SystemClock(), concurrency=CONCURRENCY)
    proofs = await asyncio.gather(*(prober.probe(login) for login in logins))
    assert all(proof.works for proof in proofs)


def _write(path: Path, content: bytes) -> None:
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
