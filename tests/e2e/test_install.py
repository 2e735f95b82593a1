"""What is released: built, and installed into clean environments the way people do."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tarfile
import venv
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from pgherald import __version__

ROOT = Path(__file__).parents[2]

pytestmark = pytest.mark.timeout(600)  # what is installed has to be fetched first


def sh(
    *argv: str | Path, env: Mapping[str, str] | None = None, cwd: Path | None = None, code: int = 0
) -> str:
    """Run a program that has to end like this; its stdout."""
    ended = subprocess.run(
        argv, env={**os.environ, **(env or {})}, cwd=cwd,
        capture_output=True, text=True, timeout=500, check=False,
    )  # fmt: skip
    assert ended.returncode == code, f"{argv}: {ended.stdout}{ended.stderr}"
    assert "Traceback" not in ended.stderr, ended.stderr
    return ended.stdout + (ended.stderr if code else "")


@pytest.fixture(scope="module")
def dist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with what `make build` makes."""
    folder = tmp_path_factory.mktemp("dist")
    sh(sys.executable, "-m", "hatchling", "build", "-d", folder, cwd=ROOT)
    return folder


@pytest.fixture(scope="module")
def wheel(dist: Path) -> Path:
    (found,) = dist.glob("*.whl")
    return found


@pytest.fixture(scope="module")
def tools(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The programs of an environment with uv and pipx."""
    folder = tmp_path_factory.mktemp("tools")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HOME", str(folder))
        venv.create(folder / "venv", with_pip=True)
        python = folder / "venv" / "bin" / "python"
        got = subprocess.run(
            [python, "-m", "pip", "install", "-q", "uv", "pipx"], capture_output=True, check=False
        )
        if got.returncode:
            pytest.skip("needs uv and pipx from a package index")
        yield python.parent


def smoke(program: Path) -> None:
    """An installed pgherald says who it is, and can do what needs nothing from outside."""
    # From another folder, and without a word that would lead to the sources.
    place = Path.home()
    assert sh(program, "--version", cwd=place) == f"pgherald, version {__version__}\n"
    config = place / "config.toml"
    config.write_text(sh(program, "config", "example", cwd=place))
    assert "is fine" in sh(program, "--config", config, "config", "check", cwd=place)
    assert "Nothing has been looked at yet" in sh(program, "--config", config, "status", cwd=place)
    assert "Type=notify" in sh(
        program, "--config", config, "service", "install", "--dry-run", cwd=place
    ) or not sys.platform.startswith("linux")
    for command in ("check", "run", "plan"):
        assert "Example:" in sh(program, command, "--help", cwd=place)


def test_the_version_stands_in_one_place(dist: Path) -> None:
    """Wheel, archive, program and manual have the one version, CHANGELOG's latest release."""
    assert {path.name for path in dist.iterdir()} == {
        f"pgherald-{__version__}-py3-none-any.whl",
        f"pgherald-{__version__}.tar.gz",
    }
    assert f'"pgherald {__version__}"' in (ROOT / "man" / "pgherald.1").read_text()
    latest = re.search(r"^## \[([\d.]+)\]", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert latest is not None
    assert latest[1] == __version__
    assert not re.search(r"^version", (ROOT / "pyproject.toml").read_text(), re.MULTILINE)


def test_the_archive_is_whole(dist: Path, wheel: Path, tmp_path: Path) -> None:
    """The same wheel can be built from the archive, which has the tests and all they need."""
    (archive,) = dist.glob("*.tar.gz")
    with tarfile.open(archive) as tar:
        tar.extractall(tmp_path, filter="data")
    source = tmp_path / f"pgherald-{__version__}"
    sh(sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", tmp_path, cwd=source)
    with zipfile.ZipFile(wheel) as one, zipfile.ZipFile(tmp_path / wheel.name) as other:
        assert one.namelist() == other.namelist()
        assert all(one.read(name) == other.read(name) for name in one.namelist())
    tracked = subprocess.run(
        ["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    missing = [name for name in tracked.stdout.splitlines() if not (source / name).exists()]
    assert missing == []


def test_a_wheel_holds_nothing_else(wheel: Path) -> None:
    """The wheel has the package, the manual page and its own data: no tests, no tools."""
    with zipfile.ZipFile(wheel) as archive:
        tops = {name.partition("/")[0] for name in archive.namelist()}
        assert tops == {
            "pgherald", f"pgherald-{__version__}.dist-info", f"pgherald-{__version__}.data",
        }  # fmt: skip
        (page,) = (name for name in archive.namelist() if ".data/" in name)
        assert page.endswith("/data/share/man/man1/pgherald.1")


def test_pip_with_the_locked_hashes(wheel: Path, tmp_path: Path) -> None:
    """In an environment of exactly the locked packages pgherald works, and so does its demo."""
    venv.create(tmp_path / "venv", with_pip=True)
    python = tmp_path / "venv" / "bin" / "python"
    locked = ROOT / "requirements" / "demo.txt"
    sh(python, "-m", "pip", "install", "-q", "--require-hashes", "-r", locked)
    sh(python, "-m", "pip", "install", "-q", "--no-deps", "--no-index", wheel)
    sh(python, "-m", "pip", "check")
    program = python.with_name("pgherald")
    smoke(program)
    assert "psql" in sh(program, "demo", "--fast", cwd=tmp_path)


def test_uv(wheel: Path, tools: Path, tmp_path: Path) -> None:
    """`uv tool install` makes a pgherald that works; what an extra is needed for is said."""
    env = {
        "UV_TOOL_DIR": str(tmp_path / "tools"),
        "UV_TOOL_BIN_DIR": str(tmp_path / "bin"),
        "UV_CACHE_DIR": str(tmp_path / "cache"),
        "UV_PYTHON_DOWNLOADS": "never",
    }
    sh(tools / "uv", "tool", "install", "-q", "--python", sys.executable, wheel, env=env)
    program = tmp_path / "bin" / "pgherald"
    smoke(program)
    assert "[demo]" in sh(program, "demo", "--fast", cwd=tmp_path, code=1)


def test_pipx(wheel: Path, tools: Path, tmp_path: Path) -> None:
    """`pipx install` makes a pgherald that works, and a manual page beside it."""
    env = {
        "PIPX_HOME": str(tmp_path / "home"),
        "PIPX_BIN_DIR": str(tmp_path / "bin"),
        "PIPX_MAN_DIR": str(tmp_path / "man"),
    }
    sh(tools / "pipx", "install", "--python", sys.executable, wheel, env=env)
    smoke(tmp_path / "bin" / "pgherald")
    assert (tmp_path / "man" / "man1" / "pgherald.1").read_text().startswith('.\\"')
