"""How long a person waits for a command."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import Final

from bench.table import Row, median, ratio
from pgherald.simulator.postgres import Cluster
from support.heroku_cli import HerokuCli
from support.program import SHOP, House

#: Seconds for a quick command: the promise.
PROMISE: Final = 0.150

_RUNS: Final = 15
_CLI_RUNS: Final = 3


async def seconds(house: House, *argv: str) -> float:
    """Seconds that a program takes from start to end."""

    async def once() -> None:
        done = await house.run(argv)
        assert done.code == 0, done.err

    return await median(_RUNS, once)


async def of_the_cli(house: House) -> float:
    """Seconds of the Heroku CLI's answer to the same question."""
    cli, words = HerokuCli.find(), ("config:get", "DATABASE_URL", "-a", "shop-production")

    async def once() -> None:
        done = await cli.run(house.simulator, house.home, *words)
        assert done.ok, done.err

    return await median(_CLI_RUNS, once)


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
            bare = await seconds(house, sys.executable, "-c", "pass")
            cli = await of_the_cli(house)
            found = []
            for command in (["status"], ["password", "--service", "shop-production"]):
                took = await seconds(house, sys.executable, "-m", "pgherald", *command)
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
