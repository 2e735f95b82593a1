"""What is written from the schema: the example, the documents, the list of keys."""

from __future__ import annotations

import importlib.util
import re
import tomllib
from pathlib import Path
from types import ModuleType

import pytest

from pgherald.config.generate import describe, document, example
from pgherald.config.schema import Root
from pgherald.config.tables import Key, parts, sections
from support.configs import load_text

ROOT = Path(__file__).resolve().parents[2]

#: The "#" of a key or section that is switched off; the beginning of a section, on or off.
_OFF = re.compile(r"^#(?=[\w\[])", re.MULTILINE)
_SECTION = re.compile(r"#?\[")


@pytest.fixture
def tool() -> ModuleType:
    """The script `tools/generate.py`, as a module."""
    spec = importlib.util.spec_from_file_location("generate", ROOT / "tools" / "generate.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_generated_files_are_current(tool: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    """The repository's generated files are what the program would write now."""
    assert tool.main(["--check"]) == 0, capsys.readouterr().out


def test_the_example_loads(tmp_path: Path) -> None:
    """The example is a configuration that works as it is."""
    config = load_text(tmp_path, example())
    assert [database.key.app for database in config.databases] == ["shop-production"]
    kinds = ["pgadmin", "service_file", "pgpass", "servers_json"]
    assert [client.kind for client in config.clients] == kinds


def test_the_example_shows_true_defaults(tmp_path: Path) -> None:
    """Taking the "#" from a key of a section in use changes nothing, but for examples."""
    text = example()
    before = load_text(tmp_path, text)
    live = ""
    changes = []
    for line in text.splitlines():
        live = line if _SECTION.match(line) else live
        # `passfile` and `storage` go with `rows = "host"` alone.
        alone = "passfile" not in line and "storage" not in line
        if _OFF.match(line) and not live.startswith("#") and alone:
            after = load_text(tmp_path, text.replace(f"\n{line}\n", f"\n{line[1:]}\n", 1))
            changes += [line.partition(" ")[0]] if after != before else []
    # The state folder's default differs from platform to platform.
    ours = ("#sslrootcert", "#host", "#port", "#user", "#auth_source")
    assert changes == ["#state_dir", *ours, "#quiet", "#urls"]


def test_everything_in_the_example_may_be_switched_on(tmp_path: Path) -> None:
    """Every key of the example works once it is on; of two ways offered, one is taken."""
    text = _OFF.sub("", example())
    data = tomllib.loads(text)
    assert set(data) == set(parts(Root))
    rest = re.sub(
        r"^\[heroku\]$.*?(?=^# ──)|^(passfile|storage) = .*?$",
        "",
        text,
        flags=re.MULTILINE | re.DOTALL,
    )
    config = load_text(tmp_path, rest.replace('account = "default"', 'account = "work"'))
    assert len(config.clients) == 4
    assert config.discover[0].team == "acme"


def test_every_key_is_described() -> None:
    """The list of keys names each key of the schema once, with its type and meaning."""
    keys = describe()
    paths = [key.path for key in keys]
    assert len(set(paths)) == len(paths)
    tables = [Root, *(section.table for _, section in sections(Root))]
    assert len(keys) == sum(isinstance(p, Key) for table in tables for p in parts(table).values())
    assert {"poll_interval", "heroku.token", "databases[].app", "clients.pgpass.path"} <= set(paths)
    assert all(key.type and key.description.endswith(".") for key in keys)
    required = {key.path for key in keys if not key.default}
    assert required == {
        "accounts[].name",
        "accounts[].token",
        "databases[].app",
        "clients.servers_json.path",
        "hooks[].on",
        "hooks[].command",
    }


def test_the_documents_tables_are_whole() -> None:
    """No text of a key breaks the row that it stands in."""
    rows = [line for line in document().splitlines() if line.startswith("|")]
    assert len(rows) > len(describe())
    assert {re.sub(r"\\\|", "", row).count("|") for row in rows} == {3, 5}
