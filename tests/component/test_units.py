"""What systemd itself says of the unit."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from pgherald.service.units import quoted, user_unit

pytestmark = pytest.mark.skipif(
    shutil.which("systemd-analyze") is None, reason="needs systemd-analyze"
)

#: systemd's score times ten; below 30 it says "OK" and smiles.
MOST_EXPOSED = 30


@pytest.fixture
def program(tmp_path: Path) -> str:
    """A program for ExecStart: systemd wants to see it in place."""
    path = tmp_path / "with space" / "100%" / "pgherald"
    path.parent.mkdir(parents=True)
    path.write_text("#!/bin/sh\n")
    path.chmod(0o755)
    return quoted(path)


def analyze(folder: Path, unit: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    path = folder / "pgherald.service"
    path.write_text(unit)
    runtime = folder / "runtime"
    runtime.mkdir(mode=0o700)
    return subprocess.run(
        ["systemd-analyze", "--man=no", "--no-pager", *arguments, str(path)],
        env={"PATH": "/usr/bin:/bin", "HOME": str(folder), "XDG_RUNTIME_DIR": str(runtime)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def version() -> int:
    told = subprocess.run(
        ["systemd-analyze", "--version"], capture_output=True, text=True, timeout=60, check=True
    ).stdout
    found = re.match(r"systemd (\d+)", told)
    assert found is not None
    return int(found[1])


@pytest.mark.parametrize("sandbox", [True, False])
@pytest.mark.parametrize("systemd", ["oldest", "here"])
def test_systemd_understands_every_line(
    tmp_path: Path,
    program: str,
    systemd: str,
    sandbox: bool,  # noqa: FBT001 – a column of the table
) -> None:
    """No key is unknown and no value wrong; systemd only prints such things, so it must be silent."""
    unit = user_unit(
        program,
        systemd=252 if systemd == "oldest" else version(),
        sandbox=sandbox,
        writable=[Path("/srv/with space")],
    )
    told = analyze(tmp_path, unit, "verify", "--user")
    assert (told.returncode, told.stderr) == (0, "")


def test_a_wrong_line_would_be_found(tmp_path: Path, program: str) -> None:
    """The check above can fail: systemd's complaint about an unknown key is seen."""
    unit = user_unit(program).replace("UMask=", "UMaks=")
    assert "UMaks" in analyze(tmp_path, unit, "verify", "--user").stderr


def test_the_exposure_is_low(tmp_path: Path, program: str) -> None:
    """By systemd's own measure the service is exposed little, and the sandbox is why."""
    security = ("security", "--user", "--offline=true", f"--threshold={MOST_EXPOSED}")
    told = analyze(tmp_path, user_unit(program), *security)
    assert told.returncode == 0, told.stdout
    shutil.rmtree(tmp_path / "runtime")
    assert analyze(tmp_path, user_unit(program, sandbox=False), *security).returncode != 0
