"""`pgherald rollback` and the commits that `history` lists, with the whole program."""

from __future__ import annotations

import pytest

from support.program import SHOP, House


@pytest.fixture
def house(house: House) -> House:
    house.configure(SHOP)
    return house


def texts(house: House) -> list[bytes]:
    return [path.read_bytes() for path in house.clients]


async def test_a_rotation_is_taken_back_and_done_again(house: House) -> None:
    """All clients go back together; the next check brings them up to date; both are commits."""
    assert (await house.pgherald("check")).code == 0
    before = texts(house)
    new = await house.rotate()
    assert (await house.pgherald("check")).code == 0
    listed = (await house.pgherald("history", "--commits", "--json")).json
    assert [item["commit"] for item in listed] == [2, 1]
    assert "update shop-production/DATABASE (user, password)" in listed[0]["note"]

    done = await house.pgherald("rollback")
    assert (done.code, done.err) == (0, "")
    assert done.out.startswith("Commit 2: update")
    assert done.out.count("given back:") == len(listed[0]["files"])
    assert texts(house) == before
    assert (await house.pgherald("check")).code == 0
    assert house.behind(new) == []
    shown = await house.pgherald("history", "--commits")
    assert "rollback of" in shown.out
    assert "CANARY" not in done.out + shown.out


async def test_the_daemon_has_to_be_stopped_first(house: House) -> None:
    """While the daemon runs it would undo the undo, so nothing is done, and it is said why."""
    async with house.daemon() as daemon:
        await daemon.line("now keeps")
        before = texts(house)
        done = await house.pgherald("rollback")
        assert (done.code, done.out) == (3, "")
        assert "The daemon is running" in done.err
        assert "systemctl --user stop pgherald" in done.err
        assert texts(house) == before


async def test_nothing_to_take_back(house: House) -> None:
    """Before the first commit, and for a number that is not there, a sentence says so."""
    done = await house.pgherald("rollback")
    assert (done.code, done.out) == (1, "")
    assert "There is no commit to take back" in done.err
    assert (await house.pgherald("history", "--commits")).out == "Nothing has been written yet.\n"
    assert (await house.pgherald("check")).code == 0
    missing = await house.pgherald("rollback", "9")
    assert "There is no commit 9 that could be taken back" in missing.err
    assert "history --commits" in missing.err
