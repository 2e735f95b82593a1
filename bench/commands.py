"""How long a person waits for a command."""

from __future__ import annotations

import asyncio
import statistics
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from bench.table import Row, ratio
from pgherald.simulator.postgres import Cluster
from support.heroku_cli import HerokuCli
from support.program import SHOP, House

#: Seconds for a quick command: the promise.
PROMISE: Final = 0.150

_RUNS: Final = 15
_CLI_RUNS: Final = 3


async def median(house: House, argv: Sequence[str], runs: int = _RUNS) -> float:
    """Seconds that a program takes from start to end, once it has been started before."""
    took = []
    for _ in range(runs + 1):
        began = time.monotonic()
        done = await house.run(argv)
        took.append(time.monotonic() - began)
        assert done.code == 0, done.err
    return statistics.median(took[1:])


async def cli_median(house: House) -> float:
    """Seconds of the Heroku CLI's answer to the same question."""
    cli, took = HerokuCli.find(), []
    for _ in range(_CLI_RUNS + 1):
        began = time.monotonic()
        done = await cli.run(
            house.simulator, house.home, "config:get", "DATABASE_URL", "-a", "shop-production"
        )
        took.append(time.monotonic() - began)
        assert done.ok, done.err
    return statistics.median(took[1:])


def _as_a_person_has_it(house: House) -> None:
    """Configuration and state where no variable says where they are: it takes time to find them."""
    place = house.home / ".config" / "pgherald" / "config.toml"
    place.parent.mkdir(parents=True)
    Path(house.env.pop("PGHERALD_CONFIG")).replace(place)
    del house.env["PGHERALD_STATE_DIR"]


async def rows(folder: Path) -> list[Row]:
    """One row for each command."""
    with await asyncio.to_thread(Cluster.start, folder) as cluster:
        async with House.standing(cluster, folder) as house:
            house.configure(SHOP)
            _as_a_person_has_it(house)
            assert (await house.pgherald("check")).code == 0
            bare = await median(house, [sys.executable, "-c", "pass"])
            cli = await cli_median(house)
            found = []
            for command in (["status"], ["password", "--service", "shop-production"]):
                took = await median(house, [sys.executable, "-m", "pgherald", *command])
                found.append(
                    Row(
                        f"`pgherald {command[0]}`",
                        f"{took * 1000:.0f} ms ({took / bare:.1f} times `python -c pass`)",
                        f"{cli * 1000:.0f} ms: `heroku config:get`",
                        ratio(took, cli),
                        good=took < PROMISE,
                    )
                )
            return found
