"""`pgherald uninstall`: the whole program, a real Postgres, a real terminal."""

from __future__ import annotations

import asyncio
import sys

from support.program import OWN_LINE, SHOP, House
from support.terminal import Terminal


async def test_uninstall_asks(house: House) -> None:
    """On a terminal a person is asked: a no changes nothing, a yes gives everything back."""
    house.configure(SHOP)
    assert (await house.pgherald("check")).code == 0
    argv = [sys.executable, "-m", "pgherald", "uninstall", "--restore"]
    before = house.pgpass.read_text()

    def answer(key: str) -> tuple[int, str]:
        with Terminal(argv, env=house.env, cwd=house.home) as terminal:
            terminal.until("Do this? [y/N]")
            terminal.press(f"{key}\r")
            return terminal.end(), terminal.shown

    code, shown = await asyncio.to_thread(answer, "n")
    assert (code, house.pgpass.read_text()) == (1, before)
    assert shown.endswith("Nothing was changed.\n")
    code, shown = await asyncio.to_thread(answer, "y")
    assert (code, house.pgpass.read_text()) == (0, OWN_LINE)
    assert not house.state.exists()
    assert not house.service_file.exists()
    assert "CANARY" not in shown
