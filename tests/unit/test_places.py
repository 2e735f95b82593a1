"""Where the configuration databases of a machine's pgAdmins are looked for."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pgherald.config.paths import pgadmin_databases, program_version, storage_name

HOME = Path("/home/eve")
SERVER = Path("/var/lib/pgadmin/pgadmin4.db")
WINDOWS = {
    "APPDATA": "/roaming",
    "LocalAppData": "/local",
    "ProgramFiles": "/programs",
    "CommonProgramFiles": "/common",
}


def databases(*arguments: Any, **given: Any) -> list[Path]:
    """Those that can be kept, or will be."""
    return [each.path for each in pgadmin_databases(*arguments, **given) if not each.trouble]


def reader(files: dict[str, str]) -> Callable[[Path], str | None]:
    return lambda path: files.get(path.as_posix())


@pytest.mark.parametrize(
    ("platform", "env", "place"),
    [
        ("linux", {}, "/home/eve/.pgadmin/pgadmin4.db"),
        ("darwin", {}, "/home/eve/.pgadmin/pgadmin4.db"),
        ("win32", WINDOWS, "/roaming/pgAdmin/pgadmin4.db"),
        ("win32", {}, "/home/eve/AppData/Roaming/pgAdmin/pgadmin4.db"),
    ],
)
def test_the_desktops_place(platform: str, env: dict[str, str], place: str) -> None:
    """Where no pgAdmin was started yet, it is the desktop's that will be."""
    found = databases(env, HOME, platform, is_there=lambda _: False, read=reader({}))
    assert found == [Path(place)]


def test_all_that_are_there_are_found() -> None:
    """Desktop and server mode on one machine are both kept working, each once."""
    found = databases({}, HOME, "linux", is_there=lambda _: True, read=reader({}))
    assert found == [HOME / ".pgadmin/pgadmin4.db", SERVER]
    found = databases({}, HOME, "linux", is_there=lambda path: path == SERVER, read=reader({}))
    assert found == [SERVER]


@pytest.mark.parametrize(
    ("files", "place"),
    [
        ({"/etc/pgadmin/config_system.py": "DATA_DIR = '/srv/p'"}, "/srv/p/pgadmin4.db"),
        ({"/etc/pgadmin/config_system.py": 'SQLITE_PATH = "/srv/x.db"'}, "/srv/x.db"),
        (
            {
                "/usr/pgadmin4/web/config_distro.py": "DATA_DIR = '/a'",
                "/usr/pgadmin4/web/config_local.py": "import os\nA = B = 1\nDATA_DIR = '/b'",
            },
            "/b/pgadmin4.db",
        ),
        (
            {
                "/usr/pgadmin4/web/config_local.py": "SQLITE_PATH = '/a/x.db'",
                "/etc/pgadmin/config_system.py": "DATA_DIR = '/b'",
            },
            "/a/x.db",
        ),
    ],
)
def test_an_administrator_may_have_moved_it(files: dict[str, str], place: str) -> None:
    """PgAdmin's own rules: the later file counts, and SQLITE_PATH before DATA_DIR."""
    found = databases({}, HOME, "linux", is_there=lambda _: True, read=reader(files))
    assert found[0] == Path(place)


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("import os\nDATA_DIR = os.path.expanduser('~/.cache/pgadmin')", "DATA_DIR"),
        ("DATA_DIR = '/a'\nSQLITE_PATH = DATA_DIR + '/x.db'", "SQLITE_PATH"),
        ("if True:\n    DATA_DIR = '/a'", "DATA_DIR"),
        ("from site_settings import *", "CONFIG_DATABASE_URI"),
        ("from site_settings import DATA_DIR", "DATA_DIR"),
        ("exec(open('/etc/more.py').read())", "CONFIG_DATABASE_URI"),
        ("DATA_DIR = (", "CONFIG_DATABASE_URI"),
        ("CONFIG_DATABASE_URI = 'postgresql://pga@db.invalid/pgadmin'", "database outside"),
    ],
)
def test_a_setting_that_cannot_be_followed_is_named(source: str, said: str) -> None:
    """PgAdmin's configuration is Python, and never run; no other database is taken for its own."""
    files = {"/etc/pgadmin/config_system.py": source}
    (found,) = pgadmin_databases(
        {}, HOME, "linux", is_there=lambda path: path.suffix == ".db" and ".var" not in path.parts,
        read=reader(files),
    )  # fmt: skip
    assert found.path == Path("/etc/pgadmin/config_system.py")
    assert found.trouble is not None
    assert said in found.trouble[0]
    assert "[clients.pgadmin]" in found.trouble[1]


@pytest.mark.parametrize(
    "source", ["x = 1", "CONFIG_DATABASE_URI = ''", "def f():\n    DATA_DIR = '/a'", "import os"]
)
def test_what_moves_nothing(source: str) -> None:
    """A file that sets something else leaves the database where it is."""
    files = {"/etc/pgadmin/config_system.py": source}
    found = databases({}, HOME, "linux", is_there=lambda _: True, read=reader(files))
    assert found[0] == HOME / ".pgadmin/pgadmin4.db"


def test_a_variable_may_have_moved_it() -> None:
    """PgAdmin reads SQLITE_PATH, and what its configuration says beats that."""
    env, nowhere = {"SQLITE_PATH": "/nix/p.db"}, {"is_there": lambda _: False}
    assert databases(env, HOME, "linux", **nowhere, read=reader({})) == [Path("/nix/p.db")]
    files = {"/etc/pgadmin/config_system.py": "SQLITE_PATH = '/srv/x.db'"}
    found = databases(env, HOME, "linux", is_there=lambda _: True, read=reader(files))
    assert found[0] == Path("/srv/x.db")


def test_a_pgadmin_in_a_sandbox_is_named(tmp_path: Path) -> None:
    """It does not see the service file; of a snap's revisions the one that was used last counts."""
    flatpak = tmp_path / ".var/app/org.pgadmin.pgadmin4/config/pgadmin4.db"
    snaps = [tmp_path / f"snap/pgadmin4/{revision}/.pgadmin/pgadmin4.db" for revision in (9, 10)]
    for number, path in enumerate((flatpak, *snaps)):
        path.parent.mkdir(parents=True)
        path.touch()
        os.utime(path, (number, number))
    is_there = {"is_there": lambda path: path.is_relative_to(tmp_path) and path.is_file()}
    found = pgadmin_databases({}, tmp_path, "linux", **is_there, read=reader({}))
    assert [each.path for each in found] == [flatpak, snaps[1]]
    assert all(each.trouble and "sandbox" in each.trouble[0] for each in found)


def test_windows_has_its_own_folders() -> None:
    """Variables are found whatever their case; a folder whose variable is missing drops out."""
    files = {
        "/common/pgadmin/config_system.py": "DATA_DIR = '/moved'",
        "/local/Programs/pgAdmin 4/web/version.py": "APP_VERSION_INT = 91800",
    }
    found = databases(WINDOWS, HOME, "win32", is_there=lambda _: True, read=reader(files))
    assert found == [Path("/moved/pgadmin4.db"), Path("/roaming/pgAdmin/pgadmin4.db")]
    assert program_version(WINDOWS, "win32", read=reader(files)) == 91800
    assert program_version({}, "win32", read=reader(files)) is None


@pytest.mark.parametrize(
    ("file", "content", "version"),
    [
        ("version.py", "APP_RELEASE = 9\nAPP_VERSION_INT = 91800\n", 91800),
        ("config.py", "import x\nAPP_VERSION_INT=62000\n", 62000),
        ("version.py", "nothing", None),
    ],
)
def test_the_installed_version(file: str, content: str, version: int | None) -> None:
    """The version is read where that release has it."""
    files = {f"/usr/pgadmin4/web/{file}": content}
    assert program_version({}, "linux", read=reader(files)) == version


@pytest.mark.parametrize(
    ("user", "folder"),
    [
        ("me@example.com", "me_example.com"),
        ("2me", "pga_user_2me"),
        ("", "pga_user_"),
        ("a/b\\c", "aslashbslashc"),
    ],
)
def test_the_storage_folder_of_a_user(user: str, folder: str) -> None:
    """The folder has the name that pgAdmin gives it."""
    assert storage_name(user) == folder
