"""`pgherald service`, with programs that stand in for those of the service managers on PATH."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

from pgherald.daemon.status import Heartbeat
from pgherald.files import Files
from pgherald.store import Store
from support.commands import CLIENTS, SHOP, Result, run
from support.stand_ins import Answer, StandIns

ACTIVE = (
    "ActiveState=active\nSubState=running\nUnitFileState=enabled\nStatusText=watching 1 database\n"
)

UNIT = "pgherald.service"


class Desk:
    """A person with a configuration, at a machine whose programs are stand-ins."""

    def __init__(self, folder: Path, home: Path, patch: pytest.MonkeyPatch) -> None:
        self.folder, self.home, self.patch = folder, home, patch
        self.stand_ins = StandIns(folder / "bin")
        self.stand_ins.put("systemctl", {"--user show pgherald": Answer(out=ACTIVE)})
        self.stand_ins.put("loginctl", {"show-user": Answer(out="Linger=no\n")})
        patch.setenv("PATH", f"{self.stand_ins.folder}:{os.environ['PATH']}")
        patch.setenv("HEROKU_HOST", "http://127.0.0.1:5000")
        self.configure()

    def configure(self, top: str = "") -> None:
        self.config.write_text(f'state_dir = "state"\n{top}{SHOP}{CLIENTS}')

    @property
    def config(self) -> Path:
        return self.folder / "config.toml"

    @property
    def unit(self) -> Path:
        return self.home / ".config" / "systemd" / "user" / UNIT

    def run(self, *words: str) -> Result:
        return run("--config", str(self.config), "service", *words, patch=self.patch)


@pytest.fixture
def desk(tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch) -> Desk:
    return Desk(tmp_path, home, monkeypatch)


def ctl(*words: str) -> list[str]:
    return ["systemctl", "--user", *words]


# --- Linux --------------------------------------------------------------------------------------


def test_install(desk: Desk) -> None:
    """The unit is written, private, and systemd takes it over; what it must write is writable."""
    desk.configure('[metrics]\ntextfile = "/srv/metrics/pgherald.prom"\n')
    (desk.folder / "pgpass").symlink_to("/srv/link/pgpass")
    result = desk.run("install")
    assert (result.code, result.err) == (0, "")
    assert desk.stand_ins.calls[:4] == [
        ctl("show", "--property=Version"),
        ctl("daemon-reload"),
        ctl("enable", UNIT),
        ctl("restart", UNIT),
    ]
    unit = desk.unit.read_text()
    assert f"--config {desk.config} run" in unit
    assert "Environment=HEROKU_HOST=http://127.0.0.1:5000" in unit
    # The clients' files are not in the home folder here.
    assert (
        f"ReadWritePaths=%h -/srv/link -/srv/metrics -{desk.folder} -{desk.folder}/state\n" in unit
    )
    assert desk.unit.stat().st_mode & 0o777 == 0o600
    assert "pgherald runs as a service now (systemd: " in result.out


@pytest.mark.parametrize(
    ("lingering", "said"),
    [("no", "pgherald service install --linger"), ("yes", "whether you are logged in or not"),
     (None, "It runs while you are logged in.\n")],
)  # fmt: skip
def test_lingering_is_advised_where_it_is_off(desk: Desk, lingering: str | None, said: str) -> None:
    """When it runs is what systemd says; whoever lingers already is not advised to."""
    if lingering is None:
        (desk.stand_ins.folder / "loginctl").unlink()
        desk.patch.setenv("PATH", str(desk.stand_ins.folder))
    else:
        desk.stand_ins.put("loginctl", {"show-user": Answer(out=f"Linger={lingering}\n")})
    result = desk.run("install")
    assert (result.code, said in result.out) == (0, True), result
    assert ("--linger" in result.out) is (lingering == "no")


def test_a_dry_run(desk: Desk) -> None:
    """A dry run shows what would be written and run, and does neither."""
    result = desk.run("install", "--dry-run", "--linger")
    assert result.code == 0
    assert desk.stand_ins.calls == []
    assert not desk.unit.exists()
    lines = result.out.splitlines()
    assert f"write {desk.unit}" in lines
    assert "    Type=notify" in lines
    assert lines[-1] == "run loginctl enable-linger"
    assert desk.run("install").code == 0
    # What was shown is what is then written.
    assert all(f"    {line}".rstrip() in lines for line in desk.unit.read_text().splitlines())
    assert desk.run("uninstall", "--dry-run").out.splitlines()[1] == f"delete {desk.unit}"
    assert desk.unit.exists()


@pytest.mark.parametrize(("what", "edited"), [("install", True), ("uninstall", False)])
def test_a_foreign_unit_stays(desk: Desk, what: str, edited: bool) -> None:
    """A unit that somebody else wrote, or changed, is neither overwritten nor deleted."""
    if edited:
        desk.run("install")
        text = desk.unit.read_text() + "Nice=5\n"
    else:
        desk.unit.parent.mkdir(parents=True)
        text = "[Service]\nExecStart=/usr/bin/mine\n"
    desk.unit.write_text(text)
    before = len(desk.stand_ins.calls)
    result = desk.run(what)
    assert (result.code, result.out) == (1, "")
    title, advice = result.err.splitlines()
    why = "has been changed since pgherald wrote it" if edited else "was not written by pgherald"
    assert title == f"pgherald: {desk.unit} {why}"
    assert "run this again" in advice
    assert desk.unit.read_text() == text
    assert desk.stand_ins.calls[before:] == []
    assert desk.run(what, "--dry-run").code == 1


def test_uninstall(desk: Desk) -> None:
    """The daemon is stopped and its unit deleted; without one, that is said."""
    assert desk.run("uninstall").out == "pgherald is not installed as a service.\n"
    assert desk.stand_ins.calls == []
    desk.run("install")
    before = len(desk.stand_ins.calls)
    assert desk.run("uninstall").code == 0
    assert desk.stand_ins.calls[before:] == [ctl("disable", "--now", UNIT), ctl("daemon-reload")]
    assert not desk.unit.exists()


@pytest.mark.parametrize("installed", [True, False])
def test_without_a_service_no_daemon_is_expected(desk: Desk, installed: bool) -> None:
    """Once the service is taken away, `status` and status.json are well though no daemon runs."""
    state = desk.folder / "state"
    files = Files(state / "locks")
    files.private_folder(state)
    with Store.open(state / "state.db", files) as store:
        Heartbeat(datetime.now(UTC)).keep(store)
    if installed:
        desk.run("install")

    def status() -> Result:
        return run("--config", str(desk.config), "status", patch=desk.patch)

    assert desk.run("uninstall", "--dry-run").code == 0
    assert status().code == 1
    with files.exclusive(state / "daemon.lock", "pgherald run"):
        assert desk.run("uninstall").code == 0
    # One that runs without a service was started by hand, and is still to run; one that was a
    # service may take a moment to end.
    assert status().code == (0 if installed else 1)
    assert desk.run("uninstall").code == 0
    assert status().code == 0
    assert json.loads((state / "status.json").read_text())["ok"] is True


@pytest.mark.parametrize("starts", [True, False])
def test_a_service_that_does_not_start_is_missed(desk: Desk, starts: bool) -> None:
    """From `service install` on a daemon is expected, though none has ever run, or one was ended."""
    state = desk.folder / "state"
    if not starts:
        desk.stand_ins.put("systemctl", {"--user enable": Answer(code=1, err="no\n")})
    assert desk.run("install").code == (0 if starts else 1)

    def status() -> Result:
        return run("--config", str(desk.config), "status", "--json", patch=desk.patch)

    assert [each["kind"] for each in status().json["troubles"]] == ["DaemonStopped"]
    assert status().code == 1
    assert json.loads((state / "status.json").read_text())["ok"] is False
    assert desk.run("uninstall").code == 0
    assert status().code == 0


def test_without_systemd(desk: Desk) -> None:
    """On a Linux without systemd the person is told what else can be done."""
    (desk.stand_ins.folder / "systemctl").unlink()
    desk.patch.setenv("PATH", str(desk.stand_ins.folder))
    result = desk.run("install")
    assert (result.code, result.out) == (1, "")
    assert result.err.startswith("pgherald: systemctl cannot be run: No such file or directory\n")
    assert "`pgherald run` stays in the foreground" in result.err
    assert not desk.unit.exists()


def test_status(desk: Desk) -> None:
    """The service, when it starts, its state, and the daemon, whoever started it."""
    result = desk.run("status")
    assert result.code == 1
    assert result.out.splitlines() == [
        f"Service: not installed (systemd: {desk.unit})",
        "Daemon:  not running",
    ]
    assert "Run: pgherald service install" in result.err
    desk.run("install")
    result = desk.run("status")
    assert result.code == 1
    assert "pgherald service logs" in result.err
    files = Files(desk.folder / "state" / "locks")
    files.private_folder(desk.folder / "state")
    with files.exclusive(desk.folder / "state" / "daemon.lock", "pgherald run"):
        result = desk.run("status")
        assert (result.code, result.err) == (0, "")
        assert result.out.splitlines() == [
            f"Service: installed (systemd: {desk.unit})",
            "Starts:  at login",
            "State:   active (running): watching 1 database",
            "Daemon:  running",
        ]
        desk.stand_ins.put("loginctl", {"show-user": Answer(out="Linger=yes\n")})
        assert "Starts:  with the machine (lingering)\n" in desk.run("status").out
        assert desk.run("status", "--json").json == {
            "manager": "systemd",
            "file": str(desk.unit),
            "installed": True,
            "standing": "ours",
            "enabled": True,
            "lingering": True,
            "state": "active (running): watching 1 database",
            "running": True,
        }


# --- what it says of the token ------------------------------------------------------------------


def test_a_credential(desk: Desk) -> None:
    """A token's file is handed over by systemd, and a configuration that ignores it is told."""
    token = desk.folder / "heroku-token"
    token.write_text("CANARY-token")
    result = desk.run("install", "--credential", str(token))
    assert f"\nLoadCredential=heroku-token:{token}\n" in desk.unit.read_text()
    assert 'write token = "file:heroku-token"' in result.out
    desk.configure('[heroku]\ntoken = "file:heroku-token"\n')
    assert "heroku-token" not in desk.run("install", "--credential", str(token)).out


def test_what_the_service_will_not_see(desk: Desk) -> None:
    """A token in the shell's environment stays there, and the person is told; so a proxy's password."""
    desk.patch.setenv("HEROKU_API_KEY", "CANARY-key")
    desk.patch.setenv("HTTPS_PROXY", "http://me:CANARY-proxy@proxy:3128")
    result = desk.run("install")
    assert result.code == 0
    assert "$HEROKU_API_KEY" in result.out
    assert "$HTTPS_PROXY holds a password" in result.out
    assert "CANARY" not in desk.unit.read_text() + result.out
    assert "CANARY" not in json.dumps(desk.stand_ins.environments)
    assert "CANARY" not in desk.run("install", "--dry-run").out
    desk.configure('[heroku]\ntoken = "env:MY_TOKEN"\n')
    assert "$MY_TOKEN" in desk.run("install").out


# --- running programs, and the log of a program without a terminal -------------------------------


def test_a_log_file(desk: Desk) -> None:
    """With --log-file everything is in that file, private, and nothing on stderr; a long one is set aside."""
    log = desk.folder / "logs" / "pgherald.log"
    log.parent.mkdir()
    log.write_text("x" * 1_000_001)
    files = Files(desk.folder / "state" / "locks")
    files.private_folder(desk.folder / "state")
    with files.exclusive(desk.folder / "state" / "daemon.lock", "pgherald run"):
        for _ in range(2):
            ended = subprocess.run(
                [sys.executable, "-m", "pgherald", "--config", str(desk.config),
                 "run", "--log-file", str(log)],
                capture_output=True, text=True, timeout=120, check=False,
            )  # fmt: skip
            assert (ended.returncode, ended.stdout, ended.stderr) == (3, "", "")
    assert log.read_text().count("pgherald: pgherald is already running") == 2
    assert log.stat().st_mode & 0o777 == 0o600
    assert (desk.folder / "logs" / "pgherald.log.old").stat().st_size == 1_000_001
