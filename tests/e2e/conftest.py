"""What every test of the whole program stands in."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from pgherald.simulator.postgres import Cluster
from support.program import House


@pytest.fixture
async def house(cluster: Cluster, tmp_path: Path) -> AsyncIterator[House]:
    """A developer's home, with one app at Heroku; nothing is configured yet."""
    async with House.standing(cluster, tmp_path) as standing:
        yield standing
