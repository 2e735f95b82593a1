"""Where a pgAdmin on this machine keeps its configuration database."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Final

from pgherald.config.paths import usable

#: pgAdmin: `config.py`, SQLITE_PATH.
_NAME: Final = "pgadmin4.db"

#: Where a pgAdmin of its makers' packages is installed.
_PROGRAMS: Final[Mapping[str, tuple[str, ...]]] = {
    "linux": ("/usr/pgadmin4/web",),
    "darwin": ("/Applications/pgAdmin 4.app/Contents/Resources/web",),
    "win32": (
        "{ProgramFiles}/pgAdmin 4/web",
        "{LOCALAPPDATA}/Programs/pgAdmin 4/web",
    ),
}

#: Where an administrator says how all pgAdmins of a machine are to be.
_SYSTEM: Final[Mapping[str, str]] = {
    "linux": "/etc/pgadmin/config_system.py",
    "darwin": "/Library/Preferences/pgadmin/config_system.py",
    "win32": "{CommonProgramFiles}/pgadmin/config_system.py",
}

#: pgAdmin's configuration files beside its program; a later one counts (evaluate_config.py).
_BESIDE: Final = ("config_distro.py", "config_local.py")

_VERSION: Final = re.compile(r"^APP_VERSION_INT\s*=\s*(\d+)", re.MULTILINE)

Read = Callable[[Path], str | None]


def text(path: Path) -> str | None:
    """A file's text; None when it cannot be read."""
    try:
        return path.read_text("utf-8")
    except (OSError, ValueError):
        return None


def databases(
    env: Mapping[str, str],
    home: Path,
    platform: str,
    *,
    is_there: Callable[[Path], bool] = usable,
    read: Read = text,
) -> list[Path]:
    """The configuration databases of all pgAdmins that can be kept working.

    Where there is none yet, the place where the desktop's pgAdmin will make it.

    Args:
        env: the environment's variables.
        home: the person's home folder.
        platform: as in `sys.platform`.
        is_there: tells whether there is such a database, and it can be written.
        read: gives a file's text; None when it cannot be read.
    """
    desktop = _desktop(env, home, platform)
    places = [*_moved(env, platform, read), desktop]
    if platform != "win32":
        places.append(Path("/var/lib/pgadmin") / _NAME)
    found = [place for place in dict.fromkeys(places) if is_there(place)]
    return found or [desktop]


def program_version(env: Mapping[str, str], platform: str, *, read: Read = text) -> int | None:
    """The version of the installed pgAdmin, such as 91800 for 9.18; None when none is found.

    pgAdmin: APP_VERSION_INT in version.py, before 8.4 in config.py.
    """
    for folder in _expanded(_PROGRAMS.get(platform, ()), env):
        for name in ("version.py", "config.py"):
            if found := _VERSION.search(read(folder / name) or ""):
                return int(found[1])
    return None


def storage_name(user: str) -> str:
    """The name of a user's storage folder (pgAdmin: `utils/paths.py`, preprocess_username)."""
    name = f"pga_user_{user}" if not user or user[0].isdigit() else user
    return name.replace("@", "_").replace("/", "slash").replace("\\", "slash")


def _desktop(env: Mapping[str, str], home: Path, platform: str) -> Path:
    if platform == "win32":
        appdata = env.get("APPDATA")
        return (Path(appdata) if appdata else home / "AppData/Roaming") / "pgAdmin" / _NAME
    return home / ".pgadmin" / _NAME


def _moved(env: Mapping[str, str], platform: str, read: Read) -> Iterator[Path]:
    """Where an administrator has moved the database to, for each installed program."""
    system = _expanded([_SYSTEM.get(platform, "")], env)
    for folder in _expanded(_PROGRAMS.get(platform, ()), env):
        settings: dict[str, str] = {}
        for file in (*(folder / name for name in _BESIDE), *system):
            settings |= _settings(read(file) or "")
        if named := settings.get("SQLITE_PATH"):
            yield Path(named)
        elif data := settings.get("DATA_DIR"):
            yield Path(data) / _NAME


def _expanded(texts: Iterable[str], env: Mapping[str, str]) -> list[Path]:
    """Paths, with Windows' variables in braces; those with a variable that is not set drop out."""
    upper = {name.upper(): value for name, value in env.items()}
    found = []
    for each in texts:
        names = re.findall(r"{(\w+)}", each)
        if each and all(name.upper() in upper for name in names):
            found.append(Path(re.sub(r"{(\w+)}", lambda m: upper[m[1].upper()], each)))
    return found


def _settings(source: str) -> dict[str, str]:
    """The plain texts that a configuration file of pgAdmin's sets; it is not run."""
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError):
        return {}
    return {
        target.id: node.value.value
        for node in tree.body
        if isinstance(node, ast.Assign)
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, str)
        for target in node.targets
        if isinstance(target, ast.Name)
    }
