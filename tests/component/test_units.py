"""What systemd itself says of the units."""

from __future__ import annotations

import asyncio
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from pgherald.service.manager import Setup
from pgherald.service.systemd import quoted, system_unit, user_unit
from pgherald.simulator.postgres import Cluster
from support.program import SHOP, House, eventually

pytestmark = pytest.mark.skipif(
    shutil.which("systemd-analyze") is None, reason="needs systemd-analyze"
)

#: systemd's score times ten; 100 is no protection at all.
MOST_EXPOSED = 20


@pytest.fixture
def program(tmp_path: Path) -> str:
    """A program for ExecStart: systemd wants to see it in place."""
    path = tmp_path / "with space" / "100%" / "pgherald"
    path.parent.mkdir(parents=True)
    path.write_text("#!/bin/sh\n")
    path.chmod(0o755)
    return quoted(path)


def analyze(
    folder: Path, unit: str, *arguments: str, name: str = "pgherald.service"
) -> subprocess.CompletedProcess[str]:
    path = folder / name
    path.write_text(unit)
    runtime = folder / "runtime"
    runtime.mkdir(mode=0o700, exist_ok=True)
    return subprocess.run(
        ["systemd-analyze", "--man=no", "--no-pager", *arguments, str(path)],
        env={"PATH": "/usr/bin:/bin", "HOME": str(folder), "XDG_RUNTIME_DIR": str(runtime)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize("sandbox", [True, False])
def test_systemd_understands_every_line(
    tmp_path: Path,
    program: str,
    sandbox: bool,  # a column of the table
) -> None:
    """No key is unknown and no value wrong; systemd only prints such things, so it must be silent."""
    setup = Setup(
        (),
        writable=(Path("/srv/with space"),),
        token=Path("/srv/the token"),
        config=Path("/srv/50%.toml"),
        environment={"PATH": '/usr/bin:/opt/50%/"my" bin', "NO_PROXY": "$x"},
    )
    unit = user_unit(program, setup, sandbox=sandbox)
    told = analyze(tmp_path, unit, "verify", "--user")
    assert (told.returncode, told.stderr) == (0, "")


@pytest.mark.parametrize("whose", ["user", "system"])
def test_the_exposure_is_low(tmp_path: Path, program: str, whose: str) -> None:
    """By systemd's own measure the service is exposed little, the system's least of all."""
    if whose == "user":
        words, unit = ["--user", f"--threshold={MOST_EXPOSED}"], user_unit(program)
    else:
        words, unit = [f"--threshold={MOST_EXPOSED - 4}"], system_unit(program)
    arguments = ("security", "--offline=true", *words)
    told = analyze(
        tmp_path, unit, *arguments, name=f"pgherald{'' if whose == 'user' else '@'}.service"
    )
    assert told.returncode == 0, told.stdout
    # The sandbox is why.
    bare = analyze(tmp_path, user_unit(program, sandbox=False), *arguments)
    assert bare.returncode != 0


# --- what the filter forbids --------------------------------------------------------------------


def calls_of(group: str) -> set[str]:
    """The system calls of one of systemd's groups, and of the groups within it."""
    told = subprocess.run(
        ["systemd-analyze", "--no-pager", "syscall-filter", group],
        capture_output=True, text=True, timeout=60, check=True,
    ).stdout  # fmt: skip
    words = {line.strip() for line in told.splitlines()[1:] if line.strip()}
    inner = {word for word in words if word.startswith("@")}
    plain = {word for word in words if re.fullmatch(r"\w+", word)}
    return plain.union(*(calls_of(name) for name in inner))


def allowed(unit: str) -> set[str]:
    """The system calls that the unit's lines leave, read one after the other as systemd does."""
    found = calls_of("@default")
    for line in re.findall(r"^SystemCallFilter=(.*)$", unit, re.MULTILINE):
        named = set().union(*(calls_of(group) for group in line.removeprefix("~").split()))
        found = found - named if line.startswith("~") else found | named
    return found


@pytest.mark.skipif(shutil.which("strace") is None, reason="needs strace")
async def test_the_filter_forbids_nothing_that_is_needed(cluster: Cluster, tmp_path: Path) -> None:
    """What the daemon calls from its start through a rotation to its end, both filters allow."""
    noted = tmp_path / "calls"
    async with House.standing(cluster, tmp_path) as house:
        house.configure(SHOP)
        daemon = await asyncio.create_subprocess_exec(
            # -D: it is strace that is the child, so that our child is pgherald.
            *("strace", "-D", "-f", "-qq", "-o", str(noted), "-s", "0"),
            *(sys.executable, "-m", "pgherald", "run"),
            env=house.env, cwd=house.home, stderr=asyncio.subprocess.DEVNULL,
        )  # fmt: skip
        try:
            await eventually(lambda: house.behind(house.login()) == [])
            await house.rotate()
            await eventually(lambda: house.behind(house.login()) == [])
            daemon.send_signal(signal.SIGTERM)
            async with asyncio.timeout(100):
                assert await daemon.wait() == 0
        finally:
            if daemon.returncode is None:
                daemon.kill()
                await daemon.wait()
    text = noted.read_text()
    called = set(re.findall(r"^\d+ +(\w+)\(", text, re.MULTILINE))
    assert {"connect", "inotify_add_watch", "rename", "fsync"} <= called
    for unit in (user_unit(), system_unit()):
        assert called <= allowed(unit)
    # MemoryDenyWriteExecute=, which only the system unit has.
    assert not re.findall(r"PROT_WRITE\|PROT_EXEC", text)
