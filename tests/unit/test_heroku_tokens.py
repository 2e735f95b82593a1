"""Where the token comes from."""

from __future__ import annotations

import asyncio
import os
import sys
import traceback
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from pgherald.config import TokenKind, TokenSpec
from pgherald.errors import LoginRequired, MissingTool, PgheraldError, Unavailable
from pgherald.heroku.host import HerokuHost
from pgherald.heroku.tokens import TokenSource, netrc_password, token_source
from pgherald.process import Ended

HEROKU = HerokuHost.from_env({})
TOKEN = "HRKU-CANARY-1"


class FakeRun:
    """Stands in for starting programs."""

    def __init__(self, *outcomes: Ended | OSError) -> None:
        self.outcomes = list(outcomes)
        self.starts: list[tuple[Sequence[str], Mapping[str, str]]] = []

    async def __call__(
        self, argv: Sequence[str], env: Mapping[str, str], *, out: bool = False
    ) -> Ended:
        self.starts.append((argv, env))
        await asyncio.sleep(0)
        outcome = self.outcomes.pop(0)
        if isinstance(outcome, OSError):
            raise outcome
        return outcome


def printed(line: str, code: int = 0) -> Ended:
    return Ended(code, line)


def with_cli(home: Path) -> dict[str, str]:
    """An environment with a `heroku` on PATH, behind an empty entry and a false one."""
    (home / "bin").mkdir()
    (home / "bin" / "heroku").touch(0o755)
    (home / "wrong").mkdir()
    (home / "wrong" / "heroku").touch(0o644)
    return {"PATH": os.pathsep.join(["", str(home / "wrong"), str(home / "bin")])}


def source(
    spec: str,
    home: Path,
    env: Mapping[str, str] | None = None,
    run: FakeRun | None = None,
    host: HerokuHost = HEROKU,
) -> TokenSource:
    kind, _, argument = spec.partition(":")
    spec_of = TokenSpec(TokenKind(kind), argument)
    return token_source(spec_of, host, env or {}, home, run=run or FakeRun())


async def refusal(of: TokenSource, kind: type[PgheraldError] = LoginRequired) -> PgheraldError:
    """The error of `get`; checked to be free of any token and of exceptions behind it."""
    with pytest.raises(kind) as caught:
        await of.get()
    assert "CANARY" not in "".join(traceback.format_exception(caught.value))
    assert caught.value.__cause__ is None
    assert caught.value.advice
    return caught.value


def private(path: Path, text: str) -> Path:
    path.write_text(text)
    path.chmod(0o600)
    return path


# --- netrc -----------------------------------------------------------------------------

NETRC = """\
# machine api.heroku.com password commented-out
default login x password for-strangers
machine git.heroku.com login me@example.com password other
macdef init
machine api.heroku.com password in-a-macro

method interactive
machine
   api.heroku.com
   login me@example.com # a remark: password nobody
   account password
   password HRKU-CANARY-1
machine api.heroku.com password second
machine 127.0.0.1:5000 login "a b" password "with \\"quotes\\" #"
machine hash password #1
machine empty
"""


@pytest.mark.parametrize(
    ("machine", "password"),
    [
        ("api.heroku.com", TOKEN),
        ("API.heroku.com", TOKEN),
        ("127.0.0.1:5000", 'with "quotes" #'),
        ("hash", "#1"),
        ("127.0.0.1:5001", None),
        ("empty", None),
        ("init", None),
    ],
)
def test_netrc(machine: str, password: str | None) -> None:
    """The first entry of that machine counts, port included; `default` never does."""
    found = netrc_password(NETRC, machine)
    assert (found and found.reveal()) == password


@pytest.mark.parametrize(
    "text",
    [
        "", "machine", "machine m password", 'machine m password "open', "macdef", "# x",
        "macdef x\n",
    ],
)  # fmt: skip
def test_a_broken_netrc_has_no_entry(text: str) -> None:
    """A cut-off file is read as far as it goes, without an error."""
    found = netrc_password(text, "m")
    assert found is None or found.reveal() == '"open'


async def test_netrc_source(tmp_path: Path) -> None:
    """`netrc` reads the home folder's file afresh, under the host's own name for it."""
    netrc = source("netrc", tmp_path)
    assert netrc.watch_paths == (tmp_path / ".netrc",)
    assert netrc.warnings == ()
    assert "There is no " in (await refusal(netrc)).title
    private(tmp_path / ".netrc", NETRC)
    assert (await netrc.get()).reveal() == TOKEN
    other = source("netrc", tmp_path, host=HerokuHost("http", "127.0.0.1", 5001))
    assert "no entry for 127.0.0.1:5001" in (await refusal(other)).title


# --- variables and files ---------------------------------------------------------------


@pytest.mark.parametrize("text", ["two CANARY", "CANARY\x00", "CÄNARY"])
async def test_what_cannot_be_a_token_is_never_sent(tmp_path: Path, text: str) -> None:
    """White space, control characters and letters outside ASCII do not get into a header."""
    assert "is not a token" in (await refusal(source("env:X", tmp_path, {"X": text}))).title


async def test_a_file(tmp_path: Path) -> None:
    """`file:` takes the first line, without a byte order mark, and sees each new one."""
    path = tmp_path / "t"
    file = source(f"file:{path}", tmp_path)
    assert "There is no " in (await refusal(file)).title
    private(path, f"\ufeff {TOKEN} \r\nnot this\n")
    assert (await file.get()).reveal() == TOKEN
    private(path, "HRKU-2\n")
    assert (await file.get()).reveal() == "HRKU-2"
    assert file.watch_paths == (path,)
    assert file.name == str(path)


async def test_files_that_hold_nothing(tmp_path: Path) -> None:
    """An empty file, a folder and a pipe are refused at once; a pipe would wait for ever."""
    private(tmp_path / "t", "\nnot this line")
    assert "holds no token" in (await refusal(source(f"file:{tmp_path}/t", tmp_path))).title
    (tmp_path / "d").mkdir()
    assert "not a regular file" in (await refusal(source(f"file:{tmp_path}/d", tmp_path))).advice
    os.mkfifo(tmp_path / "p")
    assert "not a regular file" in (await refusal(source(f"file:{tmp_path}/p", tmp_path))).advice


async def test_a_systemd_credential(tmp_path: Path) -> None:
    """A relative path is a systemd credential where there are any; its mode is systemd's."""
    private(tmp_path / "t", "HRKU-home")
    (tmp_path / "cred").mkdir()
    private(tmp_path / "cred" / "t", TOKEN).chmod(0o444)
    credential = source("file:t", tmp_path, {"CREDENTIALS_DIRECTORY": str(tmp_path / "cred")})
    assert (await credential.get()).reveal() == TOKEN
    assert credential.warnings == ()


@pytest.mark.parametrize("mode", [0o640, 0o604])
async def test_a_readable_file_is_named(tmp_path: Path, mode: int) -> None:
    """A token file that others can read works, with a warning that says what to do."""
    path = private(tmp_path / "t", TOKEN)
    file = source(f"file:{tmp_path}/t", tmp_path)
    assert file.warnings == ()
    path.chmod(mode)
    assert f"chmod 600 {path}" in str(file.warnings)
    assert (await file.get()).reveal() == TOKEN


# --- programs --------------------------------------------------------------------------


async def test_a_command(tmp_path: Path) -> None:
    """`command:` is split like a shell does, and gets the environment as it is."""
    run = FakeRun(printed(TOKEN))
    command = source("command:pass show 'my heroku'", tmp_path, {"A": "b"}, run)
    assert (await command.get()).reveal() == TOKEN
    assert run.starts == [(["pass", "show", "my heroku"], {"A": "b"})]
    assert command.name == "The command pass"
    assert not command.cheap


async def test_a_program_is_started_once(tmp_path: Path) -> None:
    """What a program printed is kept until `forget`, however many ask at once."""
    run = FakeRun(printed(TOKEN), printed("HRKU-2"))
    command = source("command:x", tmp_path, run=run)
    tokens = await asyncio.gather(*(command.get() for _ in range(5)))
    assert {token.reveal() for token in tokens} == {TOKEN}
    command.forget()
    assert (await command.get()).reveal() == "HRKU-2"
    assert len(run.starts) == 2


@pytest.mark.parametrize(
    ("outcome", "kind", "title"),
    [
        (printed("CANARY", 3), LoginRequired, "The command x ended with exit code 3"),
        (printed(""), LoginRequired, "The command x holds no token"),
        (TimeoutError(), LoginRequired, "The command x did not end within 20 seconds"),
        (FileNotFoundError(2, "No such file"), MissingTool, "The command x cannot be started"),
    ],
)
async def test_programs_that_fail(
    tmp_path: Path, outcome: Ended | OSError, kind: type[PgheraldError], title: str
) -> None:
    """Each way a program fails has a plain name; its arguments and output are not shown."""
    command = source("command:x --key CANARY", tmp_path, run=FakeRun(outcome))
    error = await refusal(command, kind)
    assert error.title == title
    assert error.__context__ is None


@pytest.mark.parametrize(
    ("spec", "user"), [("keyring:herald", "pgherald"), ("keyring:herald/me@x", "me@x")]
)
async def test_the_keyring(tmp_path: Path, spec: str, user: str) -> None:
    """`keyring:` asks the keyring package in a process of its own, for service and user."""
    run = FakeRun(printed(TOKEN), printed("", 1))
    keyring = source(spec, tmp_path, {"A": "b"}, run)
    assert (await keyring.get()).reveal() == TOKEN
    argv = (sys.executable, "-P", "-m", "keyring", "get", "herald", user)
    assert run.starts == [(argv, {"A": "b"})]
    keyring.forget()
    error = await refusal(keyring)
    assert f"keyring set herald {user}" in error.advice


async def test_without_the_keyring_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """When the package is missing, the advice is the command that installs it."""
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    error = await refusal(source("keyring:x", tmp_path), MissingTool)
    assert "pipx install --force '.[keyring]'" in error.advice


# --- auto ------------------------------------------------------------------------------


async def test_auto_asks_the_cli_quietly(tmp_path: Path) -> None:
    """The CLI is asked next; it neither updates itself, nor reports, nor edits gitconfig."""
    private(tmp_path / ".netrc", NETRC.replace(TOKEN, "HRKU-netrc"))
    run = FakeRun(printed(TOKEN))
    env = with_cli(tmp_path)
    auto = source("auto", tmp_path, env, run)
    assert (await auto.get()).reveal() == TOKEN
    assert (await auto.get()).reveal() == TOKEN
    ((argv, child_env),) = run.starts
    assert argv == (str(tmp_path / "bin" / "heroku"), "auth:token")
    assert child_env == {
        **env,
        "HEROKU_SKIP_NEW_VERSION_CHECK": "true",
        "HEROKU_DISABLE_AUTOUPDATE": "true",
        "DISABLE_TELEMETRY": "true",
        "GIT_CONFIG_GLOBAL": "/dev/null/gitconfig",
    }
    assert (auto.name, auto.cheap) == ("heroku auth:token", False)
    assert auto.watch_paths == (
        tmp_path / ".local" / "share" / "heroku" / "login.json",
        tmp_path / ".netrc",
    )


async def test_the_cli_cannot_leave_the_simulator(tmp_path: Path) -> None:
    """With HEROKU_HOST set, every host that the CLI knows is the same one."""
    env = {**with_cli(tmp_path), "HEROKU_HOST": "http://127.0.0.1:5000/", "XDG_DATA_HOME": "/d"}
    run = FakeRun(printed(TOKEN))
    auto = source("auto", tmp_path, env, run, HerokuHost.from_env(env))
    await auto.get()
    child_env = run.starts[0][1]
    assert child_env["HEROKU_HOST"] == "http://127.0.0.1:5000"
    assert child_env["HEROKU_DATA_HOST"] == "127.0.0.1"
    assert child_env["HEROKU_PARTICLEBOARD_URL"] == "http://127.0.0.1:5000"
    assert auto.watch_paths[0] == Path("/d/heroku/login.json")


async def test_the_cli_is_not_run_for_a_host_it_would_replace(tmp_path: Path) -> None:
    """Where the CLI would ask the real Heroku instead, it is left alone."""
    env = {**with_cli(tmp_path), "HEROKU_HOST": "http://127.0.0.2:5000"}
    run = FakeRun()
    auto = source("auto", tmp_path, env, run, HerokuHost.from_env(env))
    await refusal(auto)
    assert run.starts == []
    assert auto.cheap


async def test_auto_falls_back_to_netrc(tmp_path: Path) -> None:
    """When the CLI has no login, netrc is read; the CLI is not asked again before `forget`."""
    path = private(tmp_path / ".netrc", NETRC)
    run = FakeRun(printed("", 2), printed("HRKU-2"))
    auto = source("auto", tmp_path, with_cli(tmp_path), run)
    assert auto.warnings == ()
    for _ in range(3):
        assert (await auto.get()).reveal() == TOKEN
    assert len(run.starts) == 1
    path.chmod(0o644)
    assert str(path) in "".join(auto.warnings)
    auto.forget()
    assert (await auto.get()).reveal() == "HRKU-2"


async def test_auto_looks_further_when_its_choice_dries_up(tmp_path: Path) -> None:
    """A source that worked and no longer does is passed over at once."""
    path = private(tmp_path / ".netrc", NETRC)
    run = FakeRun(printed("", 2), printed("HRKU-2"))
    auto = source("auto", tmp_path, with_cli(tmp_path), run)
    await auto.get()
    path.unlink()
    assert (await auto.get()).reveal() == "HRKU-2"


async def test_auto_when_the_cli_hangs(tmp_path: Path) -> None:
    """A CLI that hangs means a broken network, not a missing login."""
    run = FakeRun(TimeoutError())
    with pytest.raises(Unavailable, match="did not end within 20 seconds"):
        await source("auto", tmp_path, with_cli(tmp_path), run).get()
