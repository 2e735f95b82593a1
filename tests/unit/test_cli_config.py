"""`pgherald config`: where it is, what it comes to, and that no secret is shown."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import platformdirs
import pytest

from pgherald.config import Config
from pgherald.config.generate import describe
from support.commands import Result
from support.stored import StoredDesk

GOLDEN = Path(__file__).parents[1] / "golden"


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> StoredDesk:
    return StoredDesk(tmp_path, monkeypatch)


def test_path_and_check_name_the_file_in_use(desk: StoredDesk) -> None:
    """A good file is called fine, and the example that `config example` prints is one."""
    file = desk.folder / "config.toml"
    assert desk.run("config", "path").out == f"{file}\n"
    file.write_text(desk.run("config", "example").out)
    assert desk.run("config", "check") == Result(0, f"{file} is fine.\n", "")


def stated(settings: dict[str, Any]) -> dict[str, Any]:
    """The settings that have a value."""
    return {name: value for name, value in settings.items() if value is not None}


@pytest.mark.parametrize("name", ["every-key", "smallest"])
def test_every_setting_in_force_is_shown_and_no_secret(desk: StoredDesk, name: str) -> None:
    """What a file comes to is all there, what is switched off too; what may be secret is not."""
    (desk.folder / "config.toml").write_text((GOLDEN / f"{name}.toml").read_text())
    shown, shape = desk.run("config", "show").out, desk.run("config", "show", "--json")
    state = platformdirs.user_state_path("pgherald", appauthor=False)
    text = (GOLDEN / f"{name}.json").read_text()
    for word, path in {"FOLDER": desk.folder, "HOME": Path.home(), "STATE": state}.items():
        text = text.replace(f"{{{word}}}", str(path))
    assert json.loads(shape.out, object_hook=stated) == json.loads(text)
    assert "CANARY" not in shown + shape.out
    assert set(shape.json) >= {field.name for field in dataclasses.fields(Config)}


def test_a_person_reads_settings_line_by_line(desk: StoredDesk) -> None:
    """Plain settings are equations; of several things each has a line, with all that it has."""
    (desk.folder / "config.toml").write_text((GOLDEN / "every-key.toml").read_text())
    told = "desktop = no, level = trouble, quiet = 22:00-07:30, terminals = no, urls = 2"
    shown = set(desk.run("config", "show").out.splitlines())
    assert {"poll_interval = 300", f"notifications: {told}"} <= shown


@pytest.mark.parametrize("columns", [40, 200])
def test_keys_fit_the_terminal(desk: StoredDesk, columns: int) -> None:
    """Every key with its default, wrapped to the terminal, without marks made for documents."""
    desk.patch.setenv("COLUMNS", str(columns))
    text = desk.run("config", "keys").out
    lines = text.splitlines()
    assert [line for line in lines if line and line[0] != " "] == [key.path for key in describe()]
    assert "`" not in text
    assert not [line for line in lines if len(line) > min(columns, 96) and " " in line.strip()]
