"""Whatever decides what pgherald does is refused when somebody else could have written it."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

from pgherald.config import load
from support.commands import SHOP, Desk
from support.disks import NOBODY, in_child

pytestmark = pytest.mark.skipif(os.name != "posix", reason="files have no modes here")

HOOKED: Final = SHOP + '[clients.pgpass]\npath = "pgpass"\n[[hooks]]\non = "rotation"\n'

#: What stands on the last line of the refusal.
RUN: Final = "Run: "


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Desk:
    """A desk in a folder of its own, with a state folder that is there, and a program."""
    folder = tmp_path / "etc" / "pgherald"
    folder.mkdir(parents=True)
    desk = Desk.laid(folder, monkeypatch)
    for name in ("bin/hook", "state/commits/left", "state/ownership/left", "state/state.db"):
        place = folder / name
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text("#!/bin/sh\n" if name == "bin/hook" else "")
        place.chmod(0o700)
    return desk


def refused(desk: Desk, place: Path, *argv: str) -> None:
    """A command ends with 2, names the place, and goes on once the command it names was run."""
    result = desk.run(*argv)
    assert (result.code, result.out) == (2, ""), result
    assert f"{place}: may be written by other users" in result.err
    assert not (desk.folder / "pgpass").exists()
    (mends,) = [line for line in result.err.splitlines() if line.startswith(RUN)]
    subprocess.run(["/bin/sh", "-ec", mends.removeprefix(RUN)], check=True)
    assert not stat.S_IMODE(place.stat().st_mode) & 0o022
    assert desk.run(*argv).code in (0, 1)


@pytest.mark.parametrize(
    ("name", "argv"),
    [
        ("config.toml", ("check",)), ("config.toml", ("plan",)),
        ("config.toml", ("doctor", "--offline")), (".", ("check",)), ("..", ("plan",)),
        ("state", ("check",)), ("state/commits", ("check",)), ("state/ownership", ("plan",)),
        ("state/state.db", ("check",)), ("bin/hook", ("check",)), ("bin", ("doctor", "--offline")),
    ],
)  # fmt: skip
def test_commands_refuse_what_others_may_write(
    desk: Desk, name: str, argv: tuple[str, ...]
) -> None:
    """Whoever may write the configuration, a hook, the state or a folder above runs as this account."""
    desk.configure(f'{HOOKED}command = ["{desk.folder}/bin/hook"]\n')
    place = Path(os.path.normpath(desk.folder / name))
    place.chmod(0o777)
    refused(desk, place, *argv)


def test_a_folder_on_path_before_the_hooks_own(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """A hook that is looked for on PATH is somebody else's where they may put one before it."""
    before, after = desk.folder / "before", desk.folder / "after"
    for folder in (before, after):
        folder.mkdir()
        folder.chmod(0o777)
    desk.configure(f'{HOOKED}command = ["hook"]\n')
    path = os.pathsep.join(map(str, (before, desk.folder / "bin", after)))
    monkeypatch.setenv("PATH", f"{path}{os.pathsep}{os.environ['PATH']}")
    refused(desk, before, "check")


@pytest.mark.parametrize("name", ["bin/hook", "bin"])
def test_the_program_that_gives_the_token(desk: Desk, name: str) -> None:
    """It runs as this account, too; its arguments, which may be private, are not shown."""
    desk.configure(
        f"[heroku]\ntoken = \"command:'{desk.folder}/bin/hook' private-argument\"\n{SHOP}"
        '[clients.pgpass]\npath = "pgpass"\n'
    )
    (desk.folder / name).chmod(0o777)
    assert "private-argument" not in desk.run("check").err
    refused(desk, desk.folder / name, "check")


@pytest.mark.parametrize("name", ["token", "."])
def test_the_tokens_file(desk: Desk, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A token of somebody else's would lead the clients to databases of theirs: it is not used.

    Others that may only read it are a warning, as ever: the account goes on.
    """
    private = desk.folder / "private"
    private.mkdir()
    (private / "token").write_text(os.environ["HEROKU_API_KEY"])
    monkeypatch.delenv("HEROKU_API_KEY")
    desk.configure(
        f'[heroku]\ntoken = "file:{private}/token"\n{SHOP}[clients.pgpass]\npath = "pgpass"\n'
    )
    place = Path(os.path.normpath(private / name))
    place.chmod(0o777)
    result = desk.run("check")
    assert result.code == 1
    assert "Somebody else may change what pgherald does" in result.err
    assert f"Run: chmod go-w {place}" in result.err
    assert not (desk.folder / "pgpass").exists()
    assert f"Run: chmod go-w {place}" in desk.run("doctor").err
    place.chmod(0o755)
    assert desk.run("check").code == 0
    assert (desk.folder / "pgpass").exists()


def test_init_begins_nothing_there(desk: Desk) -> None:
    """The first configuration is not laid down where others could change it."""
    desk.folder.chmod(0o777)
    init = ("init", "--app", "shop-production", "--clients", "pgpass", "--yes", "--no-service")
    result = desk.run(*init)
    assert result.code == 2
    assert f"{desk.folder}: may be written by other users (the configuration)" in result.err
    assert not desk.file.exists()
    assert not (Path.home() / ".pgpass").exists()
    desk.folder.chmod(0o755)
    assert desk.run(*init).code == 0


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder away")
def test_another_accounts_configuration(desk: Desk) -> None:
    """Root does not take orders from an account: `sudo pgherald` is not a way to its hooks."""
    desk.configure(f'{HOOKED}command = ["{desk.folder}/bin/hook"]\n')
    os.chown(desk.file, NOBODY, NOBODY)
    result = desk.run("check")
    assert result.code == 2
    assert f"{desk.file}: belongs to user {NOBODY}, and pgherald runs as user 0" in result.err


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_roots_configuration_serves_an_account(desk: Desk) -> None:
    """What root alone may write is as good as one's own."""
    desk.configure(f'{HOOKED}command = ["/bin/true"]\n')
    for place in (desk.folder, *desk.folder.parents):
        if place.stat().st_mode & 0o001 == 0:
            place.chmod(place.stat().st_mode | 0o011)
    desk.file.chmod(0o644)
    child = in_child(lambda: load(desk.file, os.environ), user=NOBODY)
    assert (child.killed, child.report) == (False, "")


def test_the_daemon_does_not_start(desk: Desk) -> None:
    """`run` ends with the code on which a service manager does not try again."""
    desk.configure(f'{HOOKED}command = ["{desk.folder}/bin/hook"]\n')
    desk.file.chmod(0o666)
    done = subprocess.run(
        [sys.executable, "-m", "pgherald", "--config", str(desk.file), "run"],
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 2, done.stderr
    assert f"Run: chmod go-w {desk.file}" in done.stderr


def test_a_mistyped_log_file_makes_no_folder(desk: Desk, tmp_path: Path) -> None:
    """Nobody has asked for that folder: the path is refused, and nothing is begun."""
    desk.configure(SHOP + '[clients.pgpass]\npath = "pgpass"\n')
    path = tmp_path / "nope" / "x"
    for before in ((), ("--config", str(desk.file))):
        done = subprocess.run(
            [sys.executable, "-m", "pgherald", *before, "run", "--log-file", str(path)],
            capture_output=True, text=True, timeout=120, check=False,
        )  # fmt: skip
        assert done.returncode == 1, done.stderr
        assert f"{path}: lies in a folder that is not there: {path.parent}" in done.stderr
        assert f"mkdir -p {path.parent}" in done.stderr
    assert not path.parent.exists()


def test_a_mistyped_path_of_a_client_makes_no_folder(desk: Desk, tmp_path: Path) -> None:
    """That client is behind and says why; the others are written."""
    nope = tmp_path / "nope"
    desk.configure(
        f'{SHOP}[clients.pgpass]\npath = "pgpass"\n'
        f'[clients.service_file]\npath = "{nope}/pg_service.conf"\n'
    )
    result = desk.run("check")
    assert result.code == 1
    assert f"{nope}/pg_service.conf: lies in a folder that is not there: {nope}" in result.err
    assert not nope.exists()
    assert desk.login().user in desk.read("pgpass")
    nope.mkdir(mode=0o700)
    assert desk.run("check").code == 0
