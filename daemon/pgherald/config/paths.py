"""Where files are: the configuration, pgherald's own state, the clients, pgAdmin's database."""

from __future__ import annotations

import ast
import contextlib
import os
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pgherald.config.schema import ClientTable

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

#: pgAdmin: with this one it uses no SQLite at all.
_EXTERNAL: Final = "CONFIG_DATABASE_URI"

#: Settings that move the database, the one that counts first.
_MOVING: Final = (_EXTERNAL, "SQLITE_PATH", "DATA_DIR")

_SET_PATH: Final = 'Write where its pgadmin4.db is: [clients.pgadmin] path = "…"'
_UNREADABLE: Final = "sets pgAdmin's {} in a way that cannot be read without running it"
_IS_EXTERNAL: Final = (
    "has pgAdmin keep its servers in a database outside (CONFIG_DATABASE_URI)",
    "Take [clients.pgadmin] out, and import the servers once: [clients.servers_json].",
)
_IS_SANDBOXED: Final = (
    "belongs to a pgAdmin in a sandbox, which does not see your service file",
    'See docs/clients.md, "A pgAdmin in a sandbox"; or name another one: [clients.pgadmin] path = "…"',
)

_VERSION: Final = re.compile(r"^APP_VERSION_INT\s*=\s*(\d+)", re.MULTILINE)


def default_path() -> Path:
    """Where the configuration is when nobody says otherwise."""
    import platformdirs  # not needed where the file is named

    return platformdirs.user_config_path("pgherald", appauthor=False) / "config.toml"


def locate(path: Path | None, env: Mapping[str, str]) -> Path:
    """The configuration file's absolute path; the file need not exist.

    Args:
        path: the file; None for $PGHERALD_CONFIG, else the platform's configuration folder.
        env: the environment's variables.
    """
    named = env.get("PGHERALD_CONFIG") if path is None else str(path)
    return Path(expand(named, env)).absolute() if named else default_path()


def home(env: Mapping[str, str], platform: str = sys.platform) -> Path:
    """The person's home folder."""
    named = env.get("USERPROFILE" if platform == "win32" else "HOME")
    # Unlike Path.home(), this does not fail for a user without a home.
    return Path(named or os.path.expanduser("~"))  # noqa: PTH111 – see above


def expand(text: str, env: Mapping[str, str], platform: str = sys.platform) -> str:
    """The text with a leading `~` expanded, and nothing else."""
    if text == "~" or text.startswith(("~/", "~\\")):
        return str(home(env, platform) / text[2:])
    return text


def usable(path: Path) -> bool:
    """Whether there is such a file, and we may read and write it."""
    return path.is_absolute() and os.access(path, os.R_OK | os.W_OK) and path.is_file()


def _appdata(env: Mapping[str, str], home: Path) -> Path:
    """Windows: where programs have their files."""
    appdata = env.get("APPDATA")
    return Path(appdata) if appdata else home / "AppData/Roaming"


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What paths and limits depend on beside the file's text.

    Attributes:
        file: the configuration file, absolute.
        env: the environment's variables.
        platform: as in `sys.platform`.
    """

    file: Path
    env: Mapping[str, str]
    platform: str

    def path(self, text: str) -> Path:
        """A path as the file writes it: `~` expanded, relative to the file's folder."""
        return self.file.parent / self.expand(text)

    def expand(self, text: str) -> str:
        """The text with a leading `~` expanded, and nothing else."""
        return expand(text, self.env, self.platform)

    def is_credential(self, name: str) -> bool:
        """Whether systemd gave the service a credential of that name."""
        folder = self.env.get("CREDENTIALS_DIRECTORY")
        return bool(folder) and Path(name).name == name and Path(str(folder), name).is_file()

    def state_dir(self, text: str | None) -> Path:
        """The folder of pgherald's own state: $PGHERALD_STATE_DIR, else what the file says."""
        if named := self.env.get("PGHERALD_STATE_DIR"):
            return Path(self.expand(named)).absolute()
        if text is not None:
            return self.path(text)
        import platformdirs  # not needed where the folder is named

        return platformdirs.user_state_path("pgherald", appauthor=False)

    def client(self, table: ClientTable) -> Path:
        """The file of a client."""
        if table.path is not None:
            return self.path(table.path)
        if self.platform == "win32":
            return _appdata(self.env, home(self.env, self.platform)) / table.appdata
        return home(self.env, self.platform) / table.home

    def pgadmin(self, text: str) -> list[Place]:
        """The configuration databases of pgAdmin: the named one, or with `auto` all there are."""
        if text != "auto":
            return [Place(self.path(text))]
        return pgadmin_databases(self.env, home(self.env, self.platform), self.platform)

    @property
    def heroku_is_here(self) -> bool:
        """Whether $HEROKU_HOST is on this machine: a simulator, with no allowance to spare."""
        if not (url := self.env.get("HEROKU_HOST")):
            return False
        import ipaddress  # not needed for the real Heroku
        from urllib.parse import urlsplit

        try:
            host = urlsplit(url).hostname or ""
            return host == "localhost" or ipaddress.ip_address(host).is_loopback
        except ValueError:
            return False


@dataclass(frozen=True, slots=True)
class Place:
    """Where a pgAdmin has its configuration database.

    Attributes:
        path: the database; of one that cannot be kept, what says so.
        trouble: why it cannot be kept as it is, and what to do.
    """

    path: Path
    trouble: tuple[str, str] | None = None


Read = Callable[[Path], str | None]


def read_text(path: Path) -> str | None:
    """A file's text; None when there is none. One that cannot be read is no Python either."""
    try:
        return path.read_text("utf-8")
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError):
        return "\0"


def pgadmin_databases(
    env: Mapping[str, str],
    home: Path,
    platform: str,
    *,
    is_there: Callable[[Path], bool] = usable,
    read: Read = read_text,
) -> list[Place]:
    """The configuration databases of all pgAdmins that are here.

    Where there is none yet, the place where the desktop's pgAdmin will make it. One whose place is
    set in a way that cannot be followed is named, and none is taken for it.

    Args:
        env: the environment's variables.
        home: the person's home folder.
        platform: as in `sys.platform`.
        is_there: tells whether there is such a database, and it can be written.
        read: gives a file's text; None when there is none.
    """
    moved = list(_moved(env, platform, read))
    named = env.get("SQLITE_PATH")
    desktop = Path(named) if named else _desktop(env, home, platform)
    usual = [desktop, _desktop(env, home, platform)]
    if platform != "win32":
        usual.append(Path("/var/lib/pgadmin") / _NAME)
    if any(place.trouble for place in moved):
        usual = []  # stale, if it is there: the program has another one
    there = [each for each in moved if each.trouble or is_there(each.path)]
    others = [*map(Place, usual), *_sandboxed(home, platform)]
    there += [each for each in others if is_there(each.path)]
    return list(dict.fromkeys(there)) or [Place(desktop)]


def program_version(env: Mapping[str, str], platform: str, *, read: Read = read_text) -> int | None:
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
        return _appdata(env, home) / "pgAdmin" / _NAME
    return home / ".pgadmin" / _NAME


def _moved(env: Mapping[str, str], platform: str, read: Read) -> Iterator[Place]:
    """Where an administrator has moved the database to, for each installed program."""
    system = _expanded([_SYSTEM.get(platform, "")], env)
    for folder in _expanded(_PROGRAMS.get(platform, ()), env):
        #: What each setting is, or None where that cannot be read, and the file that sets it.
        settings: dict[str, tuple[str | None, Path]] = {}
        for file in (*(folder / name for name in _BESIDE), *system):
            found = _settings(read(file) or "")
            settings |= {name: (value, file) for name, value in found.items()}
        for name in _MOVING:
            value, file = settings.get(name, ("", folder))
            if value is None:
                yield Place(file, (_UNREADABLE.format(name), _SET_PATH))
            elif value and name == _EXTERNAL:
                yield Place(file, _IS_EXTERNAL)
            elif value:
                yield Place(Path(value) if name == "SQLITE_PATH" else Path(value) / _NAME)
            if value != "":
                break


def _sandboxed(home: Path, platform: str) -> Iterator[Place]:
    """Databases of a pgAdmin in a sandbox; of a snap's several the one that was used last."""
    if platform != "linux":
        return
    yield Place(home / ".var/app/org.pgadmin.pgadmin4/config" / _NAME, _IS_SANDBOXED)
    with contextlib.suppress(OSError):
        found = home.glob(f"snap/pgadmin4/*/.pgadmin/{_NAME}")
        if latest := max(found, key=lambda path: path.stat().st_mtime, default=None):
            yield Place(latest, _IS_SANDBOXED)


def _expanded(texts: Iterable[str], env: Mapping[str, str]) -> list[Path]:
    """Paths, with Windows' variables in braces; those with a variable that is not set drop out."""
    upper = {name.upper(): value for name, value in env.items()}
    found = []
    for each in texts:
        names = re.findall(r"{(\w+)}", each)
        if each and all(name.upper() in upper for name in names):
            found.append(Path(re.sub(r"{(\w+)}", lambda m: upper[m[1].upper()], each)))
    return found


def _settings(source: str) -> dict[str, str | None]:
    """What a configuration file of pgAdmin's sets of `_MOVING`; it is not run.

    None where that is more than a plain text: a file that imports, or computes, may set anything.
    """
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError):
        return dict.fromkeys(_MOVING)
    found: dict[str, str | None] = {}
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            continue
        value = getattr(getattr(node, "value", None), "value", None)
        plain = isinstance(node, ast.Assign | ast.AnnAssign) and isinstance(value, str)
        names = {each.id for each in ast.walk(node) if isinstance(each, ast.Name)}
        if isinstance(node, ast.ImportFrom):
            names = {each.asname or each.name for each in node.names}
        anything = names & {"*", "exec", "globals", "locals", "vars"}
        for name in _MOVING if anything else names.intersection(_MOVING):
            found[name] = value if plain else None
    return found
