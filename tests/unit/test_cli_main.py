"""What every command has in common: help, exit codes, errors, the log, and how light it is."""

from __future__ import annotations

import ast
import io
import json
import logging
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

import pgherald
from pgherald import __version__
from pgherald.cli.entry import plain_run
from pgherald.cli.foreground import set_up
from pgherald.cli.main import COMMANDS, group, main
from pgherald.errors import AlreadyRunning
from support.commands import CLIENTS, SHOP, Desk, Result, run

#: Libraries that cost a person at a prompt a noticeable moment.
HEAVY = ("apscheduler", "apprise", "asyncio", "httpx", "keyring", "psycopg", "rich", "starlette",
         "tomlkit", "watchdog")  # fmt: skip


#: A command in a sentence for people.
_ADVISED = re.compile(r"`pgherald (?:-\S+ )*([a-z]+)(?: ([a-z-]+))?")


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


def test_help_shows_an_example_and_the_exit_codes() -> None:
    """Every command's help has an example that names it, its exit codes, and -v; in 80 columns."""
    for words in commands():
        result = CliRunner().invoke(group, [*words, "--help"])
        assert result.exit_code == 0
        example = result.output.partition("Example:\n")[2]
        assert f"pgherald {' '.join(words)}" in example
        assert "Exit code" in result.output or words == ("config",)
        assert "-v, --verbose" in result.output
        assert max(map(len, result.output.splitlines())) <= 80


def test_help_fits_a_narrow_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """At 40 columns the words to type stay whole, and all else is wrapped."""
    monkeypatch.setenv("COLUMNS", "40")
    for words in [(), *commands()]:
        shown = run(*words, "--help", patch=monkeypatch).out
        assert "Usage:" in shown
        assert "..." not in shown.replace("[ARGS]...", "")
        # What is to be copied stays as it stands.
        text = shown.partition("Example")[0].partition("Exit codes")[0]
        assert not [line for line in text.splitlines() if len(line) > 40 and " " in line.strip()]


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


@pytest.mark.parametrize("option", ["-V", "--version"])
def test_the_version(monkeypatch: pytest.MonkeyPatch, option: str) -> None:
    """Both usual options say which version it is, on stdout."""
    assert run(option, patch=monkeypatch) == Result(0, f"pgherald, version {__version__}\n", "")


@pytest.mark.parametrize(
    ("words", "meant"),
    [(["chek"], "check"), (["config", "keyz"], "keys"), (["history", "--jsn"], "--json"),
     (["xyzzy"], None)],
)  # fmt: skip
def test_a_misspelt_word_gets_the_nearest(
    monkeypatch: pytest.MonkeyPatch, words: list[str], meant: str | None
) -> None:
    """A misspelt command or option is exit code 2, with a suggestion where one is near."""
    result = run(*words, patch=monkeypatch)
    assert (result.code, result.out) == (2, "")
    assert "No such" in result.err
    assert ("mean" in result.err) is (meant is not None)
    assert meant is None or f"Did you mean '{meant}'?" in result.err


# --- errors --------------------------------------------------------------------------------


def test_a_wrong_configuration_ends_every_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Exit code 2, and every problem with its file and line; nothing of a secret, and no state."""
    file = tmp_path / "config.toml"
    file.write_text(
        'poll_intervall = "60s"\nstate_dir = "state"\n[[databases]]\nap = "shop"\n'
        '[heroku]\ntoken = "HRKU-CANARY-token"\n'
    )
    for words in (["check"], ["plan"], ["status"], ["history"], ["config", "check"],
                  ["password", "--service", "shop"], ["init", "--yes"]):  # fmt: skip
        result = run("--config", str(file), *words, patch=monkeypatch)
        assert (result.code, result.out) == (2, "")
        assert [f"{file}:{line}: " in result.err for line in (1, 4, 6)] == [True] * 3
        assert "CANARY" not in result.err
    assert not (tmp_path / "state").exists()


def ending(patch: pytest.MonkeyPatch, error: BaseException) -> Result:
    """Let `pgherald config path` end with an error."""

    def ends(*_: object) -> None:
        raise error

    patch.setattr("pgherald.cli.config.locate", ends)
    return run("config", "path", patch=patch)


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (AlreadyRunning("Another pgherald is running", "Stop it first."), 3,
         "pgherald: Another pgherald is running\nStop it first.\n"),
        (KeyboardInterrupt(), 130, "\nStopped.\n"),
        (click.Abort(), 130, "Stopped.\n"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, BaseException) else "",
)  # fmt: skip
def test_each_way_to_end_has_its_exit_code(
    monkeypatch: pytest.MonkeyPatch, error: BaseException, code: int, said: str
) -> None:
    """An expected error is a title and an advice on stderr, and never a traceback."""
    assert ending(monkeypatch, error) == Result(code, "", said)


def test_a_mistake_of_its_own_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    """An error that nobody foresaw repeats nothing of its message, unless all is asked for."""
    mistake = RuntimeError("postgres://u:CANARY-pw@h/d")
    result = ending(monkeypatch, mistake)
    assert (result.code, result.out) == (1, "")
    assert "pgherald stumbled over a mistake of its own: RuntimeError in " in result.err
    assert "CANARY" not in result.err
    monkeypatch.setenv("PGHERALD_TRACEBACK", "1")
    with pytest.raises(RuntimeError):
        main()


# --- the log ---------------------------------------------------------------------------------


@pytest.fixture
def logging_as_before() -> Iterator[None]:
    """Leave the process's logging as it was; meanwhile only `set_up` decides."""
    root = logging.getLogger()
    logging.getLogger("pgherald").setLevel(logging.NOTSET)
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:], root.level = handlers, level


def logged(patch: pytest.MonkeyPatch, level: str, env: Mapping[str, str]) -> list[str]:
    """Three lines of the program's, and one of a library's, as they are logged."""
    stderr = io.StringIO()
    patch.setattr("sys.stderr", stderr)
    set_up(level, env)
    log = logging.getLogger("pgherald.test")
    log.debug("nearly nothing")
    log.info("something")
    log.error("a title\nan advice")
    logging.getLogger("httpx").info("GET /apps")
    return stderr.getvalue().splitlines()


@pytest.mark.usefixtures("logging_as_before")
def test_each_line_of_the_log_says_how_grave_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a terminal with its time, in the journal as a priority; no library's talk is there."""
    first, title, advice = logged(monkeypatch, "info", {})
    assert (first[4], first[19:]) == ("-", " INFO    something")
    assert (title[19:], advice) == (" ERROR   a title", "an advice")
    lines = logged(monkeypatch, "debug", {"JOURNAL_STREAM": "8:1"})
    assert lines == ["<7>nearly nothing", "<6>something", "<3>a title", "<3>an advice"]


@pytest.mark.usefixtures("logging_as_before")
@pytest.mark.parametrize("place", ["before", "after", "not at all"])
def test_verbose_logs_at_debug_level(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    """With -v before or after the command it logs to stderr, no secret, and prints as without it."""
    desk = Desk.laid(tmp_path, monkeypatch)
    desk.configure(SHOP + CLIENTS)
    outside = type(desk).outside

    def logging_outside(*args: object) -> object:
        logging.getLogger("pgherald.test").debug("going outside")
        return outside(*args)  # type: ignore[arg-type]  # handed on as it came

    monkeypatch.setattr(type(desk), "outside", logging_outside)
    options = {"before": ["-v", "check"], "after": ["check", "--verbose"], "not at all": ["check"]}
    result = desk.run(*options[place])
    assert (result.code, result.out.count("Shop")) == (0, 1)
    assert (" DEBUG   going outside\n" in result.err) is (place != "not at all")
    assert "CANARY" not in result.out + result.err


@pytest.mark.parametrize("words", [["-v", "run"], ["run", "-v"]], ids=" ".join)
def test_verbose_overrules_the_daemons_log_level(tmp_path: Path, words: list[str]) -> None:
    """A daemon that is started with -v logs at debug level, whatever the configuration says."""
    file = tmp_path / "config.toml"
    file.write_text(f'state_dir = "state"\nlog_level = "error"\n{SHOP}{CLIENTS}')
    program = (
        "import logging, sys\n"
        "import pgherald.cli.foreground as module\n"
        "class Daemon:\n"
        "    def __init__(self, *_): pass\n"
        "    async def run(self): logging.getLogger('pgherald').debug('it runs')\n"
        "module.Daemon = Daemon\n"
        "from pgherald.cli.entry import main\n"
        f"sys.argv = ['pgherald', '--config', {str(file)!r}, *{words!r}]\n"
        "main()\n"
    )
    argv = [sys.executable, "-c", program]
    ended = subprocess.run(argv, capture_output=True, text=True, timeout=120, check=False)
    assert ended.returncode == 0, ended.stderr
    assert "DEBUG   it runs\n" in ended.stderr


# --- how light it is -----------------------------------------------------------------------


@pytest.mark.parametrize(
    "words", [["status"], ["password", "--host", "h", "--user", "u"], ["--help"]], ids=" ".join
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
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=120, check=True
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
    ended = subprocess.run(argv, capture_output=True, text=True, timeout=120, check=True)
    assert ended.stdout == "set()\n"


@pytest.mark.parametrize(
    ("argv", "asked"),
    [
        (["run"], (None, None)),
        (["--config", "c.toml", "run"], (Path("c.toml"), None)),
        (["run", "--log-file", "x.log"], (None, Path("x.log"))),
        (["--config", "c", "run", "--log-file", "l"], (Path("c"), Path("l"))),
        (["-v", "run"], None),
        (["run", "--help"], None),
        (["run", "--log-file", "--help"], None),
        (["run", "now"], None),
        (["--config=c", "run"], None),
        (["status"], None),
        ([], None),
    ],
    ids=str,
)
def test_a_service_managers_command_line_starts_the_daemon(argv: list[str], asked: object) -> None:
    """The plain form that units use goes straight to the daemon; any other is parsed by click."""
    assert plain_run(argv) == asked


@pytest.mark.parametrize(
    ("redirected", "code", "said"),
    [
        ("| (exec <&-)", 0, ""),
        (">&-", 0, ""),
        ("2>&-", 0, ""),
        pytest.param("> /dev/full", 1, "The output cannot be written: No space left on device",
                     marks=pytest.mark.skipif(not Path("/dev/full").exists(), reason="Linux has it")),
    ],
)  # fmt: skip
def test_an_output_that_goes_nowhere(tmp_path: Path, redirected: str, code: int, said: str) -> None:
    """A reader that has seen enough, or a stream that is closed, is no error; a full disk is one."""
    (tmp_path / "config.toml").write_text(f'state_dir = "state"\n{SHOP}{CLIENTS}')
    program = f"{sys.executable} -m pgherald --config config.toml status"
    argv = ["bash", "-c", f"set -o pipefail; {program} {redirected}"]
    ended = subprocess.run(
        argv, cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False
    )
    assert (ended.returncode, said in ended.stderr) == (code, True), ended.stderr
    assert bool(ended.stderr) is bool(said)


def test_commands_in_advice_exist() -> None:
    """Whatever command a sentence of the program names is one that can be run."""
    known = {command[:2] for command in commands()}
    groups = {command[0] for command in known if len(command) == 2}
    advised: set[tuple[str, ...]] = set()
    for module in Path(pgherald.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(module.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                for name, sub in _ADVISED.findall(node.value):
                    advised.add((name, sub) if name in groups and sub else (name,))
    assert len(advised) > 8
    assert advised - known == set()
