"""The three service managers: pure steps, so all are tested wherever the tests run."""

from __future__ import annotations

import dataclasses
import os
import plistlib
from collections.abc import Sequence
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from pgherald.errors import ServiceError
from pgherald.files import Files
from pgherald.process import Ended
from pgherald.service.launchd import Launchd
from pgherald.service.manager import (
    Manager,
    Programs,
    Run,
    Setup,
    Standing,
    Step,
    Write,
    apply,
    carried,
    lines,
    program_of,
    refuse_foreign,
)
from pgherald.service.systemd import Systemd
from pgherald.service.windows import TaskScheduler

GOLDEN = Path(__file__).parents[1] / "golden"

SETUP = Setup(
    program=("/home/me/.local/bin/pgherald",),
    config=Path("/home/me/my config.toml"),
    environment={"PATH": "/usr/local/bin:/usr/bin", "HTTPS_PROXY": "http://proxy.example:3128"},
    writable=(Path("/srv/pgadmin"),),
)

WINDOWS = {"USERNAME": "me", "USERDOMAIN": "DESK"}


def systemd(home: Path = Path("/home/me"), *, sandbox: bool = True) -> Systemd:
    return Systemd({}, home, sandbox=sandbox, account=1000)


def launchd(home: Path = Path("/home/me")) -> Launchd:
    return Launchd(home, account=501)


def windows(home: Path = Path("/home/me")) -> TaskScheduler:
    return TaskScheduler(WINDOWS, home / "state", "/home/me/venv/Scripts/python.exe")


MANAGERS: dict[str, Manager] = {"systemd": systemd(), "launchd": launchd(), "windows": windows()}


class Answers(Programs):
    """Answers as scripted, and notes what was run."""

    def __init__(self, *answers: Ended) -> None:
        super().__init__({})
        self.answers = list(answers)
        self.ran: list[Sequence[str]] = []

    def run(self, argv: Sequence[str]) -> Ended:
        self.ran.append(argv)
        return self.answers.pop(0) if self.answers else Ended(0)


def written(steps: list[Step]) -> str:
    (write,) = [step for step in steps if isinstance(step, Write)]
    return write.text


# --- what is written and run --------------------------------------------------------------------


@pytest.mark.parametrize("name", MANAGERS)
@pytest.mark.parametrize("what", ["install", "uninstall"])
def test_what_is_written_and_run(name: str, what: str) -> None:
    """Every byte that is written and every command that is run is as agreed (tests/golden)."""
    manager = MANAGERS[name]
    steps = manager.install(SETUP) if what == "install" else manager.uninstall()
    shown = "\n".join(lines(steps)) + "\n"
    assert shown == (GOLDEN / f"service-{what}-{name}.txt").read_text()


def test_launchd_can_read_its_agent() -> None:
    """The mark does not hinder it, nothing is escaped away, and it is for this account's session."""
    setup = dataclasses.replace(SETUP, config=Path("/home/me/a & <b>.toml"))
    agent = plistlib.loads(written(launchd().install(setup)).encode())
    assert agent["ProgramArguments"][1:] == ["--config", "/home/me/a & <b>.toml", "run"]
    assert agent["EnvironmentVariables"] == SETUP.environment
    assert f"gui/{os.getuid()}" in " ".join(lines(Launchd(Path("/h")).uninstall()))


def test_windows_can_read_its_task() -> None:
    """The task is XML in UTF-16, as it says, and its arguments come apart as they were meant."""
    setup = dataclasses.replace(SETUP, config=Path("/home/me/a & <b>.toml"))
    (write,) = [step for step in windows().install(setup) if isinstance(step, Write)]
    data = write.text.encode(write.encoding)
    assert data.startswith((b"\xff\xfe", b"\xfe\xff"))
    space = "{http://schemas.microsoft.com/windows/2004/02/mit/task}"
    root = ET.fromstring(data)  # noqa: S314 – our own text
    assert root.findtext(f".//{space}Command") == "/home/me/venv/Scripts/pythonw.exe"
    assert root.findtext(f".//{space}Arguments") == (
        '-m pgherald --config "/home/me/a & <b>.toml" run --log-file /home/me/state/pgherald.log'
    )
    assert {found.text for found in root.iter(f"{space}UserId")} == {"DESK\\me"}
    local = TaskScheduler({"USERNAME": "me"}, Path("/it's"), "/p/python.exe")
    assert "<UserId>me</UserId>" in written(local.install(SETUP))
    # A quote in a path stays within PowerShell's own quotes.
    assert "-LiteralPath '/it''s/pgherald.log'" in local.logs(1, follow=False)[-1]


def test_lingering_is_asked_for() -> None:
    """Lingering is switched on only when the person wants it."""
    linger = Run(("loginctl", "enable-linger"))
    assert linger in systemd().install(dataclasses.replace(SETUP, linger=True))
    assert linger not in systemd().install(SETUP)


# --- steps --------------------------------------------------------------------------------------


def test_nothing_is_written_without_a_manager(tmp_path: Path) -> None:
    """When systemd cannot be reached, that is found before anything is written."""
    answers = Answers(Ended(1, "", "Failed to connect to bus\n"))
    with pytest.raises(ServiceError, match="Failed to connect to bus") as caught:
        apply(systemd(tmp_path).install(SETUP), Files(tmp_path / "locks"), answers)
    assert "not by su or sudo" in caught.value.advice
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("refusals", [2, 9])
def test_a_step_that_came_too_early(tmp_path: Path, refusals: int) -> None:
    """While an agent's forerunner is still there, launchd refuses it: it is tried a few times."""
    slept: list[float] = []
    refused = [Ended(5, "", "Bootstrap failed: 5: Input/output error\nmore\n")] * refusals
    answers = Answers(Ended(3, "", "no such process"), Ended(0), *refused)
    steps, files = launchd(tmp_path).install(SETUP), Files(tmp_path / "locks")
    if refusals < 5:
        apply(steps, files, answers, slept.append)
    else:
        with pytest.raises(ServiceError) as caught:
            apply(steps, files, answers, slept.append)
        assert caught.value.title == (
            "launchctl bootstrap gui/501 failed: Bootstrap failed: 5: Input/output error"
        )
    assert slept == [1.0] * min(refusals, 4)


# --- what they are given -------------------------------------------------------------------------


def test_what_the_service_gets_of_the_shell() -> None:
    """The path, proxies and places are handed on; a token never, nor a proxy's password."""
    env = {
        "PATH": "/bin", "HEROKU_API_KEY": "CANARY-key", "HTTPS_PROXY": "http://u:CANARY-pw@p:1",
        "NO_PROXY": "localhost", "SSL_CERT_DIR": "", "PGPASSWORD": "CANARY-pg",
    }  # fmt: skip
    assert carried(env) == ({"PATH": "/bin", "NO_PROXY": "localhost"}, ["HTTPS_PROXY"])


def test_how_pgherald_is_started(tmp_path: Path) -> None:
    """By the very name it was called by, links included, or else by its Python."""
    program = tmp_path / "venv" / "pgherald"
    program.parent.mkdir()
    program.write_text("")
    program.chmod(0o755)
    link = tmp_path / "pgherald"
    link.symlink_to(program)
    assert program_of(str(link), "/python") == (str(link),)
    program.chmod(0o644)
    assert program_of(str(program), "/python") == ("/python", "-m", "pgherald")
    assert program_of("/x/pgherald/__main__.py", "/python") == ("/python", "-m", "pgherald")
    assert program_of("pgherald", "/python") == ("/python", "-m", "pgherald")


# --- whose the service is ------------------------------------------------------------------------------


@pytest.mark.parametrize("make", [systemd, launchd], ids=["systemd", "launchd"])
def test_whose_the_file_is(make: object, tmp_path: Path) -> None:
    """A file that is there is ours, changed or foreign, and only ours may be touched."""
    assert callable(make)
    manager: Manager = make(tmp_path)
    assert manager.standing(Answers()) is Standing.MISSING
    manager.file.parent.mkdir(parents=True)
    text = written(manager.install(SETUP))
    for there, whose in (
        (text, Standing.OURS),
        (text.replace("run", "walk"), Standing.EDITED),
        ("# mine\n" + text, Standing.EDITED),
        ("mine", Standing.FOREIGN),
    ):
        manager.file.write_text(there)
        assert manager.standing(Answers()) is whose
        if whose is Standing.OURS:
            refuse_foreign(manager, whose)
        else:
            with pytest.raises(ServiceError, match=str(manager.file)):
                refuse_foreign(manager, whose)


@pytest.mark.parametrize(
    ("answer", "whose"),
    [
        (Ended(1), Standing.MISSING),
        (Ended(0, written(windows().install(SETUP))), Standing.OURS),
        (Ended(0, "\0".join(written(windows().install(SETUP)))), Standing.OURS),
        (Ended(0, "<Task>mine</Task>"), Standing.FOREIGN),
    ],
    ids=["missing", "ours", "ours in UTF-16", "foreign"],
)
def test_whose_the_task_is(answer: Ended, whose: Standing) -> None:
    """Windows keeps the task itself, so it is asked; the mark is in the description."""
    assert windows().standing(Answers(answer)) is whose
    assert windows().report(Answers(answer)).enabled is (whose is not Standing.MISSING)


def test_what_systemd_reports() -> None:
    """Its own words for the state, our status line, and whether it lingers."""
    told = (
        "ActiveState=active\nSubState=running\nUnitFileState=enabled\nStatusText=watching 2 = two\n"
    )
    report = systemd().report(Answers(Ended(0, told, ""), Ended(0, "Linger=yes\n", "")))
    assert (report.enabled, report.lingering) == (True, True)
    assert report.state == "active (running): watching 2 = two"
    nothing = "ActiveState=inactive\nSubState=dead\nUnitFileState=\nStatusText=\n"
    report = systemd().report(Answers(Ended(0, nothing, ""), Ended(1, "", "not logged in")))
    assert (report.enabled, report.lingering, report.state) == (False, False, "inactive (dead)")
    report = systemd().report(
        Answers(Ended(1, "", "Failed to connect to bus\nx"), Ended(1, "", ""))
    )
    assert (report.enabled, report.state) == (None, "Failed to connect to bus")


@pytest.mark.parametrize(
    ("answer", "enabled", "state"),
    [
        (Ended(0, "gui/501/org.pgherald = {\n\tstate = running\n\tpid = 7\n", ""), True, "running"),
        (Ended(0, "something else", ""), True, "loaded"),
        (Ended(113, "", "Could not find service"), False, "not loaded"),
    ],
)
def test_what_launchd_reports(answer: Ended, enabled: bool, state: str) -> None:  # a column
    """Its own word for the state, or that the agent is not loaded."""
    report = launchd().report(Answers(answer))
    assert (report.enabled, report.state, report.lingering) == (enabled, state, None)
