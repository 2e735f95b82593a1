"""Whatever is wrong around pgherald: it is named, the rest goes on, and nothing is lost.

That there is no traceback is made sure of by `House.pgherald` and `House.daemon`.
"""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.children import Done
from support.leaks import MARK
from support.program import OWN_LINE, SHOP, House, like_anybody


@pytest.fixture
def house(house: House) -> House:
    house.configure(SHOP)
    return house


def named(done: Done, *texts: str) -> None:
    """The command failed, and stderr has these texts."""
    assert done.code == 1, done
    assert [text for text in texts if text not in done.err] == [], done


async def is_well(house: House) -> None:
    """A check brings everything up to date, and the person's own line is still there."""
    done = await house.pgherald("check")
    assert done.code == 0, done
    assert house.behind(house.login()) == []
    assert house.pgpass.read_text().endswith(OWN_LINE)


# --- what Heroku shows ----------------------------------------------------------------------


async def test_a_config_var_that_is_no_url(house: House) -> None:
    """A config var that holds no Postgres URL is named, not quoted, and no client is touched."""
    await is_well(house)
    stamps = house.stamps()
    attachment = house.world.attachment(house.app(), "DATABASE")
    for value in (f"{MARK} is no URL", f"postgres://u:{MARK}%zz@db.example.com:5432/"):
        attachment.fixed = {"DATABASE_URL": value}
        done = await house.pgherald("check")
        named(done, "DATABASE_URL of shop-production")
        assert MARK not in done.err + done.out
        assert house.stamps() == stamps
    attachment.fixed = {}
    await is_well(house)


# --- what may not be read or written --------------------------------------------------------


@contextlib.contextmanager
def closed(path: Path, mode: int) -> Iterator[None]:
    """Meanwhile, a file or folder has that mode."""
    before = path.stat().st_mode & 0o7777
    path.chmod(mode)
    try:
        yield
    finally:
        path.chmod(before)


@pytest.fixture(scope="module")
def modes_count() -> None:
    """Make sure that a child can be started for which the modes of files count."""
    script = f"import os; os.access({str(Path.home())!r}, os.R_OK)"
    try:
        subprocess.run(["python3", "-c", script], preexec_fn=like_anybody, check=True, timeout=60)
    except (OSError, subprocess.SubprocessError):
        pytest.skip("root cannot give up its powers over files here")


@pytest.mark.usefixtures("modes_count")
async def test_a_client_that_may_not_be_read(house: House) -> None:
    """A client that may not be read is named, the others go on; and nothing is lost."""
    await is_well(house)
    new = await house.rotate()
    with closed(house.pgpass, 0):
        done = await house.pgherald("check", prepare=like_anybody)
    named(done, f"{house.pgpass}: cannot be read: permission denied")
    assert house.behind(new) == [house.pgpass.name]
    await is_well(house)


@pytest.mark.usefixtures("modes_count")
async def test_a_state_folder_that_is_closed(house: House) -> None:
    """A state folder that cannot be used is named, and leaves no client half-way."""
    await is_well(house)
    old, new = house.login(), await house.rotate()
    with closed(house.state, 0o500):
        done = await house.pgherald("check", prepare=like_anybody)
        assert str(house.state) in done.err
        # What counts is whether the clients are current; and some of them is nothing.
        assert house.behind(new if done.code == 0 else old) == []
        named(await house.pgherald("run", prepare=like_anybody), str(house.state))
    with closed(house.state, 0):
        named(await house.pgherald("status", prepare=like_anybody), str(house.state))
    async with house.daemon() as daemon:
        await daemon.line("Ready:")
    with closed(house.state / "daemon.lock", 0o400):
        status = await house.pgherald("status", prepare=like_anybody)
        assert "The daemon is not running" in status.out
    await is_well(house)
