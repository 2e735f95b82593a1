"""What every command has in common: help, exit codes, errors, and how light it is."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from pgherald import __version__
from pgherald.cli.entry import plain_run
from pgherald.cli.main import COMMANDS, group
from pgherald.errors import AlreadyRunning
from pgherald.files import Files
from support.commands import CLIENTS, SHOP, run

#: Libraries that cost a person at a prompt a noticeable moment.
HEAVY = ("apscheduler", "apprise", "asyncio", "difflib", "filelock", "httpx", "keyring", "psycopg",
         "rich", "starlette", "tomlkit", "watchdog")  # fmt: skip


def commands() -> list[tuple[str, ...]]:
    """Every command and sub-command."""
    found: list[tuple[str, ...]] = []
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        found.append((name,))
        if isinstance(command, click.Group):
            found.extend((name, sub) for sub in command.list_commands(context))
    return found


@pytest.mark.parametrize("words", commands(), ids=" ".join)
def test_help(words: tuple[str, ...]) -> None:
    """Every command's help shows an example that names it, and what its exit code means."""
    result = CliRunner().invoke(group, [*words, "--help"])
    assert result.exit_code == 0
    text = result.output
    assert "Example:\n" in text
    assert f"pgherald {' '.join(words)}" in text.partition("Example:\n")[2]
    if words != ("config",):
        assert "Exit code" in text
    assert max(map(len, text.splitlines())) <= 80


def test_the_list_of_commands() -> None:
    """`pgherald --help` says of each command what its own help begins with, cut off nowhere."""
    result = CliRunner().invoke(group, ["--help"])
    widest = max(map(len, COMMANDS))
    for name, line in COMMANDS.items():
        assert f"  {name.ljust(widest)}  {line}\n" in result.output
        own = CliRunner().invoke(group, [name, "--help"]).output
        assert f"\n\n  {line}\n" in own
    listed = CliRunner().invoke(group, ["config", "--help"]).output.partition("Commands:")[2]
    assert "path " in listed
    assert "..." not in listed


def test_exit_codes_are_listed() -> None:
    """`pgherald --help` lists every exit code."""
    text = CliRunner().invoke(group, ["--help"]).output.partition("Exit codes:")[2]
    codes = [line.split()[0] for line in text.partition("Example")[0].splitlines() if line.strip()]
    assert codes == ["0", "1", "2", "3", "130"]


@pytest.mark.parametrize(
    ("words", "meant"),
    [
        (["chek"], "check"),
        (["statu"], "status"),
        (["config", "keyz"], "keys"),
        (["history", "--jsn"], "--json"),
    ],
)
def test_a_misspelt_word(monkeypatch: pytest.MonkeyPatch, words: list[str], meant: str) -> None:
    """A misspelt command or option gets the nearest one as a suggestion, and exit code 2."""
    result = run(*words, patch=monkeypatch)
    assert (result.code, result.out) == (2, "")
    assert f"Did you mean '{meant}'?" in result.err


def test_a_word_that_is_nothing_like_a_command(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where nothing is near, nothing is suggested."""
    result = run("xyzzy", patch=monkeypatch)
    assert result.code == 2
    assert "No such command 'xyzzy'." in result.err
    assert "mean" not in result.err


def test_the_version(monkeypatch: pytest.MonkeyPatch) -> None:
    """`--version` prints name and version."""
    result = run("--version", patch=monkeypatch)
    assert (result.code, result.out) == (0, f"pgherald, version {__version__}\n")


# --- errors --------------------------------------------------------------------------------


def test_no_configuration(monkeypatch: pytest.MonkeyPatch, home: Path) -> None:
    """Without a configuration a person is told where it was looked for and how to begin."""
    result = run("status", patch=monkeypatch)
    assert (result.code, result.out) == (2, "")
    title, looked, advice = result.err.splitlines()
    assert title == "pgherald: There is no configuration file"
    assert str(home) in looked
    assert "pgherald config example >" in advice


def test_every_problem_of_a_configuration(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A wrong configuration ends every command with exit code 2 and all problems with lines."""
    file = tmp_path / "config.toml"
    file.write_text('poll_intervall = "60s"\n[[databases]]\nap = "shop"\n')
    for words in (["check"], ["plan"], ["status"], ["history"], ["config", "check"],
                  ["password", "--service", "shop"]):  # fmt: skip
        result = run("--config", str(file), *words, patch=monkeypatch)
        assert (result.code, result.out) == (2, "")
        assert f"{file}:1: " in result.err
        assert f"{file}:3: " in result.err


def replace_command(patch: pytest.MonkeyPatch, error: BaseException) -> None:
    """Let `pgherald config path` end with an error."""

    def ends(*_: object) -> None:
        raise error

    patch.setattr("pgherald.cli.config.locate", ends)


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (AlreadyRunning("Another pgherald is running", "Stop it first."), 3),
        (KeyboardInterrupt(), 130),
        (click.Abort(), 130),
        (BrokenPipeError(), 0),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, BaseException) else "",
)
def test_exit_codes(error: BaseException, code: int) -> None:
    """Each way to end has its exit code, and never a traceback."""
    program = (
        "import click, sys\n"
        "from pgherald.errors import AlreadyRunning\n"
        "import pgherald.cli.config as module\n"
        "def ends(*_): raise " + repr_of(error) + "\n"
        "module.locate = ends\n"
        "sys.argv = ['pgherald', 'config', 'path']\n"
        "from pgherald.cli.entry import main\n"
        "main()\n"
    )
    ended = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=30, check=False
    )
    assert ended.returncode == code
    assert "Traceback" not in ended.stderr


def repr_of(error: BaseException) -> str:
    """Python that makes the error."""
    if isinstance(error, AlreadyRunning):
        return f"AlreadyRunning({error.title!r}, {error.advice!r})"
    module = "click." if isinstance(error, click.Abort) else ""
    return f"{module}{type(error).__name__}()"


def test_a_mistake_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """An error that nobody foresaw becomes one sentence that holds nothing of its message."""
    replace_command(monkeypatch, RuntimeError("postgres://u:CANARY-pw@h/d"))
    result = run("config", "path", patch=monkeypatch)
    assert (result.code, result.out) == (1, "")
    assert "pgherald stumbled over a mistake of its own: RuntimeError in " in result.err
    assert "CANARY" not in result.err


def test_all_of_a_mistake(monkeypatch: pytest.MonkeyPatch) -> None:
    """With PGHERALD_TRACEBACK=1 the person sees all of it."""
    replace_command(monkeypatch, RuntimeError("all of it"))
    monkeypatch.setenv("PGHERALD_TRACEBACK", "1")
    monkeypatch.setattr("sys.argv", ["pgherald", "config", "path"])
    from pgherald.cli.main import main

    with pytest.raises(RuntimeError, match="all of it"):
        main()


def test_two_daemons(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A second daemon with the same state folder ends with exit code 3 and says why."""
    file = tmp_path / "config.toml"
    file.write_text(f'state_dir = "state"\n{SHOP}{CLIENTS}')
    files = Files(tmp_path / "state" / "locks")
    files.private_folder(tmp_path / "state")
    with files.exclusive(tmp_path / "state" / "daemon.lock", "pgherald run"):
        ended = subprocess.run(
            [sys.executable, "-m", "pgherald", "--config", str(file), "run"],
            capture_output=True, text=True, timeout=30, check=False,
        )  # fmt: skip
        status = run("--config", str(file), "status", "--json", patch=monkeypatch)
    assert ended.returncode == 3
    assert "Traceback" not in ended.stderr
    assert status.json["running"]


# --- how light it is -----------------------------------------------------------------------


@pytest.mark.parametrize(
    "words",
    [
        ["status"],
        ["status", "--json"],
        ["history"],
        ["history", "--json"],
        ["password", "--host", "h", "--user", "u"],
        ["config", "path"],
        ["config", "keys"],
        ["config", "show"],
        ["config", "example"],
        ["config", "check"],
        ["--help"],
    ],
    ids=" ".join,
)
def test_quick_commands_stay_quick(tmp_path: Path, words: list[str]) -> None:
    """A command that asks nobody imports no library that is slow to import."""
    file = tmp_path / "config.toml"
    file.write_text(f'state_dir = "state"\n{SHOP}{CLIENTS}')
    program = (
        "import json, sys\n"
        "from pgherald.cli.entry import main\n"
        f"sys.argv = ['pgherald', '--config', {str(file)!r}, *{words!r}]\n"
        "try:\n"
        "    main()\n"
        "except SystemExit:\n"
        "    print('\\n' + json.dumps(sorted({name.split('.')[0] for name in sys.modules})))\n"
    )
    ended = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=30, check=True
    )
    loaded = json.loads(ended.stdout.splitlines()[-1])
    assert "pgherald" in loaded
    assert set(loaded).isdisjoint(HEAVY)


def test_the_daemon_leaves_out_what_it_does_not_use() -> None:
    """What shows on a terminal, and a desktop that is not wanted, take no memory."""
    unused = {"click", "rich", "pygments", "httpx._main", "difflib", "jeepney", "configparser"}
    program = (
        "import sys, pgherald.cli.foreground, pgherald.heroku.api\n"
        f"print({unused} & {{n for n, m in sys.modules.items() if m}})\n"
        "import httpx; httpx.main  # still there, to say what it lacks"
    )
    argv = [sys.executable, "-c", program]
    ended = subprocess.run(argv, capture_output=True, text=True, timeout=30, check=True)
    assert ended.stdout == "set()\n"


@pytest.mark.parametrize(
    ("argv", "asked"),
    [
        (["run"], (None, None)),
        (["--config", "c.toml", "run"], (Path("c.toml"), None)),
        (["run", "--log-file", "x.log"], (None, Path("x.log"))),
        (["--config", "c", "run", "--log-file", "l"], (Path("c"), Path("l"))),
        (["run", "--help"], None),
        (["run", "--log-file"], None),
        (["run", "--log-file", "--help"], None),
        (["run", "now"], None),
        (["--config", "run"], None),
        (["--config=c", "run"], None),
        (["status"], None),
        ([], None),
    ],
    ids=str,
)
def test_a_service_managers_command_line_starts_the_daemon(argv: list[str], asked: object) -> None:
    """The plain form that units use goes straight to the daemon; any other is parsed by click."""
    assert plain_run(argv) == asked


def test_a_reader_that_has_seen_enough_is_no_error(tmp_path: Path) -> None:
    """`pgherald status | head -0` ends with 0 and without a word on stderr."""
    file = tmp_path / "config.toml"
    file.write_text(f'state_dir = "state"\n{SHOP}{CLIENTS}')
    program = "from pgherald.cli.entry import main; input(); main()"
    argv = [sys.executable, "-c", program, "--config", str(file), "status"]
    with subprocess.Popen(
        argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as child:
        assert child.stdout is not None
        child.stdout.close()
        child.stdout = None
        _, err = child.communicate(b"\n", timeout=30)
    assert (child.returncode, err) == (0, b"")
