"""Whatever is wrong around pgherald: it is named, the rest goes on, and nothing is lost.

That there is no traceback is made sure of by `House.pgherald` and `House.daemon`.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from support.children import Done
from support.marks import MARK
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
    assert (done.code, done.err) == (0, "")
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
async def test_clients_that_may_not_be_read_or_written(house: House) -> None:
    """One that may not be read is named, the others go on; in a closed folder, each is named."""
    await is_well(house)
    new = await house.rotate()
    with closed(house.pgpass, 0):
        done = await house.pgherald("check", prepare=like_anybody)
    named(done, f"{house.pgpass}: cannot be read: permission denied")
    assert house.behind(new) == [house.pgpass.name]
    await is_well(house)
    await house.rotate()
    stamps = house.stamps()
    with closed(house.home, 0o500):
        done = await house.pgherald("check", prepare=like_anybody)
    named(done, *(f"{p}: cannot be written" for p in (house.pgpass, house.service_file)))
    assert house.stamps() == stamps
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
    await is_well(house)


# --- a full disk ----------------------------------------------------------------------------


def _mounting() -> Sequence[str]:
    """How to start something that may mount; skips the test where nobody may."""
    prefix = ["unshare", "--mount"] if os.geteuid() == 0 else ["unshare", "-r", "--mount"]
    try:
        argv = [*prefix, "mount", "-t", "tmpfs", "tmpfs", "/mnt"]
        subprocess.run(argv, check=True, capture_output=True, timeout=60)
    except (OSError, subprocess.SubprocessError):
        pytest.skip("no disk can be mounted here")
    return prefix


#: Mounts a small disk, puts pgpass on it, fills it, runs the command, and shows pgpass.
ON_A_FULL_DISK = """\
set -e
mount -t tmpfs -o size=64k tmpfs small
cp .pgpass small/pgpass
chmod 600 small/pgpass
cat /dev/zero > small/filler 2> /dev/null || true
code=0
"$@" || code=$?
echo "--- pgpass"
cat small/pgpass
echo "--- names"
ls -A small
exit $code
"""


@pytest.mark.lets_out("its script prints the person's own file")
async def test_a_full_disk(house: House) -> None:
    """A client on a full disk is named and stays whole, with nothing beside it; others go on."""
    prefix = [*_mounting(), "sh", "-c", ON_A_FULL_DISK, "sh"]
    (house.home / "small").mkdir()
    text = house.config.read_text()
    house.put(
        house.config,
        text.replace("[clients.pgpass]\n", '[clients.pgpass]\npath = "small/pgpass"\n'),
    )
    done = await house.pgherald("check", prefix=prefix)
    named(done, f"{house.home / 'small/pgpass'}: cannot be written: the disk is full")
    assert done.out.endswith(f"--- pgpass\n{OWN_LINE}--- names\nfiller\npgpass\n")
    assert house.behind(house.login()) == [house.pgpass.name]
