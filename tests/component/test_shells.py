"""Completion, in the shells themselves."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from click.shell_completion import get_completion_class

from pgherald.cli.completion import VARIABLE
from pgherald.cli.main import COMMANDS, group
from support.commands import CLIENTS, SHOP
from support.stand_ins import Answer, StandIns
from support.terminal import Terminal

ROOT = Path(__file__).parents[2]

#: Where a command of our name is.
BIN = Path(sys.executable).parent

ZSH = pytest.mark.skipif(shutil.which("zsh") is None, reason="needs zsh")
FISH = pytest.mark.skipif(shutil.which("fish") is None, reason="needs fish")
BASH = pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash")

#: Asks bash as it asks itself when somebody presses Tab after the given words.
ASK_BASH = """\
eval "$(pgherald completion bash)"
COMP_WORDS=("$@")
COMP_CWORD=$(($# - 1))
_pgherald_completion pgherald
printf '%s\\n' "${COMPREPLY[@]}"
"""


@pytest.fixture
def env(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """An environment where pgherald is on PATH and has a configuration."""
    config = tmp_path / "config.toml"
    config.write_text(f'state_dir = "state"\n{SHOP}{CLIENTS}')
    return {
        **os.environ,
        "PATH": f"{BIN}:{os.environ['PATH']}",
        "PGHERALD_CONFIG": str(config),
        "TERM": "xterm",
    }


def bash(env: dict[str, str], *words: str) -> list[str]:
    """What bash would complete the last word to."""
    ended = subprocess.run(
        ["bash", "--norc", "-c", ASK_BASH, "bash", *words],
        env=env, capture_output=True, text=True, timeout=120, check=True,
    )  # fmt: skip
    assert ended.stderr == ""
    return ended.stdout.split()


def fish(env: dict[str, str], line: str) -> list[str]:
    """What fish would complete the line's last word to."""
    script = 'pgherald completion fish | source; complete --do-complete "$argv"'
    ended = subprocess.run(
        ["fish", "--no-config", "-c", script, line],
        env=env, capture_output=True, text=True, timeout=120, check=True,
    )  # fmt: skip
    assert ended.stderr == ""
    return [each.split("\t")[0] for each in ended.stdout.splitlines()]


def completed(patch: pytest.MonkeyPatch, env: dict[str, str], line: str) -> list[str]:
    """The words to which bash would complete the line's last one, asked for in this process."""
    words = line.split(" ")
    patch.setenv("PGHERALD_CONFIG", env["PGHERALD_CONFIG"])
    patch.setenv("COMP_WORDS", line)
    patch.setenv("COMP_CWORD", str(len(words) - 1))
    completion = get_completion_class("bash")
    assert completion is not None
    return [
        each.partition(",")[2]
        for each in completion(group, {}, "pgherald", VARIABLE).complete().splitlines()
    ]


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("pgherald sta", ["status"]),
        ("pgherald ", list(COMMANDS)),
        ("pgherald service un", ["uninstall"]),
        ("pgherald status --j", ["--json"]),
        ("pgherald --verb", ["--verbose"]),
        ("pgherald service install --verb", ["--verbose"]),
        ("pgherald history shop", ["shop-production/DATABASE"]),
        ("pgherald -v history shop", ["shop-production/DATABASE"]),
        ("pgherald password --service ", ["shop-production"]),
        ("pgherald completion z", ["zsh"]),
    ],
)
def test_words_are_completed(
    env: dict[str, str], monkeypatch: pytest.MonkeyPatch, line: str, found: list[str]
) -> None:
    """Commands, options, and the configuration's own names."""
    assert completed(monkeypatch, env, line) == found


def test_without_a_configuration_nothing_is_completed(
    env: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the configuration cannot be read nothing is said; another one may be named."""
    (tmp_path / "config.toml").write_text("wrong")
    assert completed(monkeypatch, env, "pgherald history shop") == []
    (tmp_path / "other.toml").write_text(f"{SHOP}{CLIENTS}")
    line = f"pgherald --config {tmp_path / 'other.toml'} history shop"
    assert completed(monkeypatch, env, line) == ["shop-production/DATABASE"]


@BASH
def test_bash(env: dict[str, str]) -> None:
    """The script that is printed works in bash."""
    assert bash(env, "pgherald", "history", "shop") == ["shop-production/DATABASE"]


@FISH
def test_fish(env: dict[str, str]) -> None:
    """The same in fish."""
    assert fish(env, "pgherald history sh") == ["shop-production/DATABASE"]


@ZSH
def test_zsh(env: dict[str, str], tmp_path: Path) -> None:
    """The same in zsh, whose completion exists only where somebody types."""
    argv = ["zsh", "-f", "-i"]
    with Terminal(argv, env={**env, "PS1": "> ", "ZDOTDIR": str(tmp_path)}) as terminal:
        terminal.until("> ")
        terminal.press('autoload -U compinit && compinit -D; eval "$(pgherald completion zsh)"\n')
        terminal.press("echo ready\n")
        terminal.until("\nready")
        terminal.press("pgherald history sh\t")
        terminal.until("shop-production/DATABASE")
        terminal.press("\x15exit\n")
        terminal.end()


def test_completing_imports_no_command(env: dict[str, str]) -> None:
    """The names of commands come from a table: pressing Tab does not import the daemon."""
    program = (
        "import sys\nfrom pgherald.cli.entry import main\n"
        "sys.argv = ['pgherald']\n"
        "try:\n    main()\n"
        "finally:\n    print(sorted(m for m in sys.modules if m.startswith('pgherald.')))\n"
    )
    asked = {"_PGHERALD_COMPLETE": "bash_complete", "COMP_WORDS": "pgherald ", "COMP_CWORD": "1"}
    ended = subprocess.run(
        [sys.executable, "-c", program],
        env={**env, **asked}, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert "plain,check" in ended.stdout
    assert "pgherald.daemon" not in ended.stdout
    assert "pgherald.cli.status" not in ended.stdout


def commands_of(page: str, heading: str) -> str:
    """The first shell commands below a heading of a page."""
    text = (ROOT / page).read_text().partition(f"\n{heading}\n")[2]
    return text.partition("```sh\n")[2].partition("```")[0]


@BASH
def test_commands_of_the_documents_work_in_an_empty_home(
    env: dict[str, str], home: Path, tmp_path: Path
) -> None:
    """A token's file and a configuration are made as the pages say, for nobody else to read."""
    heroku = StandIns(tmp_path / "bin")
    heroku.put("heroku", {"authorizations:create": Answer(out="CANARY-token\n")})
    del env["PGHERALD_CONFIG"]
    env |= {"HOME": str(home), "PATH": f"{heroku.folder}:{env['PATH']}"}
    script = commands_of("docs/security.md", "## The token") + commands_of(
        "README.md", "### By hand"
    )
    argv = ["bash", "-ec", f"{script}\npgherald config check"]
    ended = subprocess.run(argv, env=env, capture_output=True, text=True, timeout=120, check=False)
    assert (ended.returncode, ended.stderr) == (0, "")
    assert ended.stdout.endswith("is fine.\n")
    token = home / ".config" / "pgherald" / "token"
    assert token.read_text() == "CANARY-token\n"
    assert token.stat().st_mode & 0o777 == 0o600
