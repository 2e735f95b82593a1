"""Whatever is wrong around pgherald: it is named, the rest goes on, and nothing is lost.

That there is no traceback is made sure of by `House.pgherald` and `House.daemon`.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from pathlib import Path

import pytest

from pgherald.simulator.postgres import Cluster
from support.marks import MARK
from support.program import (
    OWN_LINE,
    SHOP,
    Done,
    House,
    eventually,
    like_anybody,
    no_file_larger_than,
)

#: Bytes that a client's file may have on the smallest disk, and those of one that is larger.
SMALL, LARGE = 60_000, 80_000


@pytest.fixture
async def house(cluster: Cluster, tmp_path: Path) -> AsyncIterator[House]:
    async with House.standing(cluster, tmp_path, apps=["shop-production"]) as standing:
        standing.configure(SHOP)
        yield standing


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


# --- the configuration ----------------------------------------------------------------------


async def test_every_problem_of_the_configuration(house: House) -> None:
    """A wrong configuration is code 2, and every problem is there with its file and line."""
    house.put(
        house.config,
        'poll_interval = "soon"\n\n[[databases]]\nap = "shop"\n[clients.pgpas]\n'
        f'[heroku]\ntoken = "HRKU-{MARK}-token"\n',
    )
    for command in ("check", "plan", "run", "status", "history"):
        done = await house.pgherald(command)
        assert done.code == 2
        assert [f"{house.config}:{line}: " in done.err for line in (1, 3, 4, 5, 7)] == [True] * 5
        assert MARK not in done.err
    assert not house.state.exists()


async def test_a_configuration_that_is_no_toml(house: House) -> None:
    """What is no configuration at all is code 2, with the file and the line."""
    for raw, where in (
        (b"[[databases]\napp = 1\n", ":1: "),
        (b'# \xff\xfe\napp = "shop"\n', ":1: this is not UTF-8 text"),
        ("[clients.pgpass]\n".encode("utf-16"), ":1: this is not UTF-8 text"),
        (b"", ":1: "),
    ):
        house.config.write_bytes(raw)
        done = await house.pgherald("check")
        assert (done.code, f"{house.config}{where}" in done.err) == (2, True), done


async def test_no_configuration(house: House) -> None:
    """A missing configuration is code 2, and the file that was looked for is named."""
    house.config.unlink()
    done = await house.pgherald("check")
    assert (done.code, str(house.config) in done.err) == (2, True), done


# --- what Heroku shows ----------------------------------------------------------------------


async def test_a_config_var_that_is_no_url(house: House) -> None:
    """A config var that holds no Postgres URL is named, not quoted, and no client is touched."""
    await is_well(house)
    stamps = house.stamps()
    attachment = house.world.attachment(house.app(), "DATABASE")
    for value in (
        "",
        f"{MARK} is no URL",
        f"postgres://u:{MARK}@db.example.com:99999/d",
        f"mysql://u:{MARK}@db.example.com/d",
        f"postgres://u:{MARK}@/d",
        f"postgres://u:{MARK}%zz@db.example.com:5432/",
    ):
        attachment.fixed = {"DATABASE_URL": value}
        done = await house.pgherald("check")
        named(done, "DATABASE_URL of shop-production")
        assert MARK not in done.err + done.out
        assert house.stamps() == stamps
    attachment.fixed = {}
    await is_well(house)


# --- the clients' files ---------------------------------------------------------------------

MARKER = b"# <<< pgherald: end of the part that is rewritten, your own lines go below <<<\n"

Spoil = Callable[[bytes], bytes]


@pytest.mark.parametrize(
    ("client", "spoil", "line"),
    [
        ("pgpass", lambda old: old.decode().encode("utf-16"), 1),
        ("pgpass", lambda old: old + b"CANARY\0x\n", 6),
        ("pgpass", lambda old: old.replace(MARKER, b""), 1),
        ("service_file", lambda old: old.replace(MARKER, b""), 1),
        ("service_file", lambda old: old + old, 11),
        ("service_file", lambda old: old + b"[x]\nhost=\0CANARY\n", 12),
        ("servers_json", lambda old: old[:-10], None),
        ("servers_json", lambda _: b'["CANARY"]', 1),
        ("servers_json", lambda _: b'{"Servers": {"1": CANARY}}', 1),
    ],
)
async def test_a_client_that_cannot_be_understood(
    house: House, client: str, spoil: Spoil, line: int | None
) -> None:
    """A file that is no such file is named, with its line, and left as it is; others go on."""
    await is_well(house)
    path = house.file(client)
    whole = path.read_bytes()
    path.write_bytes(spoil(whole))
    spoilt = path.read_bytes()
    assert spoilt != whole
    await house.rotate()
    done = await house.pgherald("check")
    named(done, f"{path}:" if line is None else f"{path}:{line}: ")
    assert MARK not in done.err + done.out
    assert path.read_bytes() == spoilt
    assert set(house.behind(house.login())) <= {path.name}
    path.write_bytes(whole)
    await is_well(house)


# --- pgherald's own state -------------------------------------------------------------------


@pytest.mark.parametrize(
    "spoil",
    [
        lambda _: b"this is no database\n" * 500,
        lambda old: old[:5000],
        lambda old: old[:4096] + bytes(len(old) - 4096),
    ],
    ids=["another file", "cut off", "zeroed"],
)
async def test_damaged_state(house: House, spoil: Spoil) -> None:
    """A damaged state file is named and put aside, not deleted, and the clients are kept."""
    await is_well(house)
    state, aside = house.state / "state.db", house.state / "state.db.damaged"
    state.write_bytes(spoil(state.read_bytes()))
    damaged = state.read_bytes()
    named(await house.pgherald("status"), str(state))
    new = await house.rotate()
    async with house.daemon() as daemon:
        await eventually(lambda: not house.behind(new), log=daemon)
    named(await house.pgherald("status"), str(aside))
    assert aside.read_bytes() == damaged
    await is_well(house)


async def test_damaged_journal(house: House) -> None:
    """A damaged journal of an earlier commit keeps nobody from the next one."""
    await is_well(house)
    (commit,) = house.commits()
    (house.state / "commits" / commit / "manifest.json").write_bytes(b'{"damaged')
    await house.rotate()
    async with house.daemon() as daemon:
        await eventually(lambda: not house.behind(house.login()), log=daemon)


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
        subprocess.run(["python3", "-c", script], preexec_fn=like_anybody, check=True, timeout=10)
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
async def test_a_client_that_may_not_be_written(house: House) -> None:
    """Clients in a folder that may not be written are named, each, and stay as they are."""
    await is_well(house)
    await house.rotate()
    stamps = house.stamps()
    with closed(house.home, 0o500):
        done = await house.pgherald("check", prepare=like_anybody)
    named(done, *(f"{p}: cannot be written" for p in (house.pgpass, house.service_file)))
    assert house.stamps() == stamps
    await is_well(house)


@pytest.mark.usefixtures("modes_count")
@pytest.mark.parametrize("mode", [0, 0o500])
async def test_a_state_folder_that_is_closed(house: House, mode: int) -> None:
    """A state folder that cannot be used is named, and leaves no client half-way."""
    await is_well(house)
    old, new = house.login(), await house.rotate()
    with closed(house.state, mode):
        done = await house.pgherald("check", prepare=like_anybody)
        assert str(house.state) in done.err
        # What counts is whether the clients are current; and some of them is nothing.
        assert house.behind(new if done.code == 0 else old) == []
        named(await house.pgherald("run", prepare=like_anybody), str(house.state))
    await is_well(house)


@pytest.mark.usefixtures("modes_count")
@pytest.mark.parametrize(("name", "code"), [("config", 2), ("token", 1)])
async def test_what_may_not_be_read(house: House, name: str, code: int) -> None:
    """A configuration or token that may not be read is named."""
    path = house.file(name)
    with closed(path, 0):
        done = await house.pgherald("check", prepare=like_anybody)
    assert (done.code, str(path) in done.err) == (code, True), done
    await is_well(house)


async def test_a_folder_in_a_clients_place(house: House) -> None:
    """A folder where a client's file should be is named, and left; the others go on."""
    house.servers_json.mkdir()
    named(await house.pgherald("check"), f"{house.servers_json}: is a folder, not a file")
    assert house.behind(house.login()) == [house.servers_json.name]
    house.servers_json.rmdir()
    await is_well(house)


async def test_a_file_in_the_state_folders_place(house: House) -> None:
    """A file where the state folder should be is named, and left; no client is touched."""
    house.put(house.state, "mine\n")
    for command in ("check", "run"):
        named(await house.pgherald(command), str(house.state))
    assert house.state.read_text() == "mine\n"
    assert house.pgpass.read_text() == OWN_LINE


async def test_a_missing_folder(house: House) -> None:
    """The folder of a client, or the state folder, that is missing is made, for its owner alone."""
    away = house.home / "not" / "there"
    house.configure(SHOP)
    house.put(house.config, house.config.read_text().replace("~/servers", "~/not/there/servers"))
    assert (await house.pgherald("check")).code == 0
    assert (away / "servers.json").exists()
    assert [folder.stat().st_mode & 0o777 for folder in (away, house.state)] == [0o700] * 2


# --- a full disk ----------------------------------------------------------------------------


def _mounting() -> Sequence[str]:
    """How to start something that may mount; skips the test where nobody may."""
    prefix = ["unshare", "--mount"] if os.geteuid() == 0 else ["unshare", "-r", "--mount"]
    try:
        subprocess.run(
            [*prefix, "mount", "-t", "tmpfs", "tmpfs", "/mnt"],
            check=True,
            capture_output=True,
            timeout=10,
        )
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


async def test_a_disk_too_full_for_the_undo(house: House) -> None:
    """Where the undo cannot be written no client is touched; with room again all is made good."""
    await is_well(house)
    whole, large = house.pgpass.read_text(), OWN_LINE + "# filler\n" * (LARGE // 9)
    assert len(large) > SMALL > len(whole)
    house.put(house.pgpass, large)
    old = house.login()
    async with house.daemon(prepare=no_file_larger_than(SMALL)) as daemon:
        await daemon.line("cannot be written")
        new = await house.rotate()
        await daemon.line("cannot be written")
        assert house.pgpass.read_text() == large
        assert house.behind(old) == [house.pgpass.name]
        named(await house.pgherald("status"), "cannot be written")
        house.put(house.pgpass, whole)
        await eventually(lambda: not house.behind(new), log=daemon)
        await daemon.line("again")
    await is_well(house)
    assert (await house.pgherald("status")).code == 0
