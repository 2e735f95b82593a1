"""What the environment of a running pgAdmin does, seen in real processes."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from pgherald.daemon.check import ASTRAY, alert_astray
from pgherald.files import Files
from pgherald.model import News, NewsKind
from pgherald.store import BackgroundStore
from pgherald.sync.alerts import Alerts
from pgherald.watch.pgadmin_process import PROC, Astray, astray, runs
from support.fake_clock import FakeClock

needs_proc = pytest.mark.skipif(not PROC.is_dir(), reason="other processes are shown on Linux only")


@contextmanager
def pgadmin(folder: Path, name: str = "pgAdmin4.py", **environment: str) -> Iterator[int]:
    """A program of that name that runs and does nothing, with that environment alone."""
    script = folder / name
    script.write_text("print('ready', flush=True)\ninput()\n")
    process = subprocess.Popen(
        [sys.executable, "-s", str(script)], env=environment, text=True,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    )  # fmt: skip
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        yield process.pid
    finally:
        process.communicate("\n", timeout=60)


def variables(found: Sequence[Astray]) -> list[str]:
    return sorted(item.variable for item in found)


def only(pid: int, folder: Path) -> Path:
    """A /proc that shows this one process, so that no other pgAdmin of the machine counts."""
    proc = folder / "proc"
    proc.mkdir(exist_ok=True)
    (proc / str(pid)).symlink_to(PROC / str(pid))
    (proc / "999999999").symlink_to(PROC / "999999999")  # has just ended
    (proc / "self").mkdir()
    (proc / "stat").symlink_to(PROC / "stat")
    return proc


@needs_proc
@pytest.mark.parametrize(
    ("environment", "services", "passfiles"),
    [
        ({"PGHOST": "CANARY-host"}, ["PGHOST"], []),
        ({"PGHOSTADDR": "127.0.0.9", "PGHOST": ""}, ["PGHOSTADDR"], []),
        ({"PGPASSWORD": "CANARY-password"}, [], ["PGPASSWORD"]),
        ({"PGSERVICEFILE": "/elsewhere"}, ["PGSERVICEFILE"], []),
        ({"PGSERVICEFILE": "{ours}", "PGUSER": "x", "PGPORT": "1"}, [], []),
        ({"SQLITE_PATH": "/elsewhere"}, ["SQLITE_PATH"], ["SQLITE_PATH"]),
        ({"SQLITE_PATH": "{ours}"}, [], []),
        ({}, [], []),
    ],
    ids=lambda value: "+".join(value) if isinstance(value, dict) else "",
)
def test_what_leads_pgadmin_astray_is_seen(
    tmp_path: Path, environment: dict[str, str], services: list[str], passfiles: list[str]
) -> None:
    """What would beat the service file, or a passfile, is named, and never its value."""
    ours = tmp_path / "pg_service.conf"
    there = {name: value.format(ours=ours) for name, value in environment.items()}
    with pgadmin(tmp_path, **there) as pid:
        proc = only(pid, tmp_path)
        found = astray([ours], [ours], services=True, passfiles=False, proc=proc)
        assert variables(found) == services
        others = astray([ours], [ours], services=False, passfiles=True, proc=proc)
        assert variables(others) == passfiles
    assert all("CANARY" not in f"{item.title} {item.advice}" for item in found + others)
    assert all(item.advice for item in found + others)


@needs_proc
def test_other_programs_do_not_count(tmp_path: Path) -> None:
    """A variable of some other program's is nobody's business."""
    with pgadmin(tmp_path, "other.py", PGHOST="CANARY-host") as pid:
        assert astray([], [], services=True, passfiles=True, proc=only(pid, tmp_path)) == []


#: Starts a program in a user namespace of its own, as `PrivateUsers=yes` does.
SANDBOX = ["unshare", "--user", "--map-current-user"]


@needs_proc
def test_whether_one_runs_is_seen_from_the_sandbox(tmp_path: Path) -> None:
    """From within the service's sandbox a pgAdmin is seen to run, though not its environment."""
    if (
        shutil.which("unshare") is None
        or subprocess.run([*SANDBOX, "true"], check=False).returncode
    ):
        pytest.skip("needs unshare, and user namespaces")
    program = (
        "import sys; from datetime import datetime, UTC; from pathlib import Path\n"
        "from pgherald.watch.pgadmin_process import astray, runs\n"
        "proc = Path(sys.argv[1])\n"
        "print(runs(datetime.now(UTC), proc), astray([], [], services=True, passfiles=True, proc=proc))"
    )
    before = datetime.now(UTC) - timedelta(seconds=3)
    with pgadmin(tmp_path, PGHOST="CANARY-host") as pid:
        proc = only(pid, tmp_path)
        assert runs(datetime.now(UTC), proc)
        assert runs(before, proc) is False, "it was started since"
        told = subprocess.run(
            [*SANDBOX, sys.executable, "-c", program, str(proc)],
            capture_output=True, text=True, timeout=60, check=True,
        ).stdout  # fmt: skip
    assert told == "True []\n"
    assert runs(datetime.now(UTC), proc) is False
    assert runs(before, tmp_path / "none") is None


def test_where_no_process_is_shown_nothing_is_found(tmp_path: Path) -> None:
    """MacOS and Windows show no environment, which is no error."""
    assert astray([], [], services=True, passfiles=True, proc=tmp_path / "none") == []


async def test_it_is_told_on_its_edges(tmp_path: Path) -> None:
    """One notice when pgAdmin runs with such a variable, one when it no longer does."""
    found = [Astray("PGHOST", "title", "advice")]
    news: list[News] = []
    with BackgroundStore.open(tmp_path / "state.db", Files(tmp_path / "locks")) as store:
        alerts = Alerts(store, FakeClock(), news.append)
        for _ in range(2):
            await alert_astray((), alerts, lambda _: found)
        found.clear()
        await alert_astray((), alerts, lambda _: found)
    assert [(item.kind, item.subject) for item in news] == [
        (NewsKind.TROUBLE, ASTRAY), (NewsKind.RECOVERED, ASTRAY),
    ]  # fmt: skip
