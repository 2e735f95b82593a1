"""`pgherald doctor`: the whole program, with a real Postgres behind TLS."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from pgherald.simulator.postgres import Cluster
from support.program import SHOP, House


@pytest.fixture
async def house(cluster: Cluster, tmp_path: Path) -> AsyncIterator[House]:
    async with House.standing(cluster, tmp_path) as standing:
        standing.configure(SHOP)
        assert (await standing.pgherald("check")).code == 0
        yield standing


async def test_the_doctor_sees_a_real_login_and_clock(house: House) -> None:
    """Over TLS the login connects, and Heroku's own time says whether ours is right."""
    async with house.daemon() as daemon:
        await daemon.line("Ready:")
        done = await house.pgherald("doctor")
    assert "Shop: Heroku shows its login, and it connects" in done.out
    assert "The clock is right" in done.out
    assert "psql holds what Heroku shows" in done.out
    assert "The daemon runs" in done.out
    assert "CANARY" not in done.out + done.err
