"""Two configurations never share a state folder unnoticed."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from pgherald.cli import foreground
from pgherald.clock import SystemClock
from pgherald.config import load
from pgherald.daemon.wiring import state_of
from support.commands import SHOP, Desk, Result, run

PGPASS = '[clients.pgpass]\npath = "pgpass"\n'


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Desk:
    """A desk whose state folder belongs to its configuration."""
    desk = Desk.laid(tmp_path, monkeypatch)
    desk.configure(SHOP + PGPASS)
    owned(desk.file)
    return desk


def owned(configuration: Path) -> None:
    """Open the state for writing, as `run` and `check` do."""
    with state_of(load(configuration, {}), SystemClock()) as state:
        assert state.store.catch_up()


@pytest.fixture
def other(desk: Desk) -> Callable[..., Result]:
    """Run a command with another configuration that names the same state folder."""
    path = desk.folder / "other.toml"
    shutil.copy(desk.file, path)
    return lambda *args: run("--config", str(path), *args, patch=desk.patch)


@pytest.mark.parametrize(
    "command", ["run", "check", "rollback", "uninstall --yes", "init --yes --app blog"]
)
def test_who_writes_is_refused(desk: Desk, other: Callable[..., Result], command: str) -> None:
    """Both files are named, nothing is written, and the advice makes the refusal go away."""
    desk.patch.setattr(foreground, "forbid_core_dumps", lambda: None)
    path = desk.folder / "other.toml"
    before = path.read_text()
    result = other(*command.split())
    assert result.code == 2, result
    assert str(desk.file) in result.err
    assert str(path) in result.err
    assert f'state_dir = "{desk.folder}/state-2"' in result.err
    assert path.read_text() == before
    assert not (desk.folder / "pgpass").exists()
    path.write_text(before.replace('"state"', '"state-2"'))
    assert "another configuration" not in other("status").err


@pytest.mark.parametrize("command", ["status", "history", "plan", "password --service shop"])
def test_who_only_reads_is_warned(desk: Desk, other: Callable[..., Result], command: str) -> None:
    """The answer is the same, with a warning on stderr before it."""
    mine, result = desk.run(*command.split()), other(*command.split())
    assert (result.code, result.out) == (mine.code, mine.out)
    assert result.err.startswith(f"{desk.folder / 'other.toml'} uses the state folder of another")
    assert "another configuration" not in mine.err


def test_a_moved_configuration_takes_its_state_along(
    desk: Desk, other: Callable[..., Result]
) -> None:
    """Where the old file is gone there is nothing to say, and the state is the new one's."""
    desk.file.rename(desk.folder / "old.toml")
    assert "another configuration" not in other("status").err
    owned(desk.folder / "other.toml")
    desk.configure(SHOP + PGPASS)
    assert str(desk.folder / "other.toml") in desk.run("rollback").err


def test_a_link_to_the_configuration_is_the_same(desk: Desk) -> None:
    """One file under two names is one configuration."""
    link = desk.folder / "link.toml"
    link.symlink_to(desk.file)
    result = run("--config", str(link), "status", patch=desk.patch)
    assert "another configuration" not in result.err
