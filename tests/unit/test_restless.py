"""Clients that others are writing: left alone, not for long in the way, and followed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from pgherald.model import NewsKind, Phase
from pgherald.sync.restless import Stillness
from support.household import Household, database, household, login, until

SHOP = database("shop")


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[Household]:
    """A household that keeps one database, and asks for stillness."""
    async with household(tmp_path) as house:
        await house.sees((SHOP, login(1)))
        house.applier.restless.stillness = Stillness(house.clock)
        await house.sees((SHOP, login(1)))
        house.news.clear()
        yield house


async def settled(house: Household) -> None:
    """Everything that follows happens, and time passes as far as it has to."""
    await house.clock.run(house.reconciler.settled())


async def written(house: Household, number: int) -> None:
    """The clock runs until all clients hold that login."""
    async with asyncio.timeout(60):
        while house.held(SHOP) != {f"u{number}"}:
            await house.clock.advance(0.1)
            await asyncio.sleep(0.01)


async def test_a_client_that_is_being_written_holds_up_nobody(house: Household) -> None:
    """The others are written after two seconds at the most; it follows when it is closed."""
    with house.pgpass.open("ab", buffering=0) as writer:
        house.show((SHOP, login(2)))
        await settled(house)
        assert b"u2" in house.service_file.read_bytes()
        assert b"u1" in house.pgpass.read_bytes()
        assert house.phase(SHOP) is Phase.BEHIND
        house.show((SHOP, login(3)))
        async with asyncio.timeout(60):
            await house.reconciler.settled()  # though the clock stands: it is not waited for again
        assert b"u3" in house.service_file.read_bytes()
        writer.write(b"# mine\n")
    await written(house, 3)
    assert house.held(SHOP) == {"u3"}
    assert b"# mine\n" in house.pgpass.read_bytes()
    assert NewsKind.TROUBLE not in house.kinds()
    assert all(not news.behind for news in house.news)


async def test_one_that_is_written_for_minutes_is_told(house: Household) -> None:
    """Once, and its end as well."""
    with house.pgpass.open("ab"):
        house.show((SHOP, login(2)))
        await settled(house)
        for _ in range(8):
            assert NewsKind.TROUBLE not in house.kinds() or house.clock.monotonic() > 1240
            await house.clock.advance(60)
            house.reconciler.again()
            await settled(house)
        assert house.kinds().count(NewsKind.TROUBLE) == 1
        (trouble,) = house.store.alerts()
        assert trouble.subject == f"client:{house.pgpass}"
    await written(house, 2)
    await until(lambda: NewsKind.RECOVERED in house.kinds())
    assert house.store.alerts() == []


async def test_a_file_is_mended_when_it_has_been_still(house: Household) -> None:
    """Less than two seconds after its last change, and not between two of them."""
    took = []
    for _ in range(5):  # this clock runs ahead of threads that a busy machine keeps waiting
        for number in range(6):
            house.pgpass.write_text(f"# mine {number}\n")
            house.applier.restless.stillness.touched(house.pgpass)
            house.reconciler.again()
            await house.clock.advance(0.2)
            assert b"u1" not in house.pgpass.read_bytes()
        last = house.clock.monotonic()
        house.reconciler.again()
        await house.clock.run(house.reconciler.settled())
        await written(house, 1)
        assert house.held(SHOP) == {"u1"}
        assert b"# mine 5\n" in house.pgpass.read_bytes()
        took.append(house.clock.monotonic() - last)
    assert min(took) <= 2


async def test_half_a_file_is_no_trouble_while_it_is_being_written(house: Household) -> None:
    """Nobody is told that it cannot be understood; when it is left so, they are."""
    whole = house.servers_json.read_bytes()
    with house.servers_json.open("wb", buffering=0) as writer:
        writer.write(whole[:40])
        house.reconciler.again()
        await settled(house)
        assert house.kinds() == []
        writer.write(whole[40:])
    await written(house, 1)
    await settled(house)
    assert house.kinds() == []
    assert house.servers_json.read_bytes() == whole
    house.servers_json.write_bytes(whole[:40])
    house.reconciler.again()
    await settled(house)
    await house.clock.advance(3)
    await settled(house)
    assert house.kinds() == [NewsKind.TROUBLE]
