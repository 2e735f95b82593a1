"""By what status.json is known to be what the whole program would say now.

What is said follows from the configuration, from a few things around it, and from the state. The
file says of what it was made, in its key `made_from`, and who wants to rely on it looks whether
that is still so:

    {
      "pgherald": "1.2.3",
      "config": {
        "file": "/home/me/.config/pgherald/config.toml",
        "size": 312, "crc": 2290034123,         // of its bytes
        "env": {"HOME": "/home/me", …},         // what a configuration's meaning depends on
        "there": {"/home/me/.pgadmin/pgadmin4.db": true},       // where a pgAdmin was looked for,
        "read": {"/etc/pgadmin/config_system.py": null}         // and asked where its database is
      },
      "state": [1311, 61440, 1764083000123456789, 57]        // of state.db
    }

When in doubt it is not so: then the whole program answers.
"""

from __future__ import annotations

import os
import zlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

from pgherald import __version__
from pgherald.quick.whereabouts import usable

#: The key in status.json.
MADE_FROM: Final = "made_from"

#: What a configuration's meaning depends on, in the environment: where clients have their files,
#: and how often a Heroku on this machine may be asked.
_VARIABLES: Final = ("HOME", "USERPROFILE", "APPDATA", "HEROKU_HOST")

#: https://www.sqlite.org/fileformat.html#file_change_counter – counts transactions, in a file
#: that is not in WAL mode.
_COUNTER: Final = slice(24, 28)

#: The same page, 1.3: where a file of SQLite says whether it is in WAL mode.
_WAL: Final = slice(18, 20)


def origin(
    file: Path,
    raw: bytes,
    env: Mapping[str, str],
    there: Iterable[str] = (),
    read: Iterable[str] = (),
) -> dict[str, Any]:
    """What a configuration was made from.

    The check sum is no defence: who can write the configuration can write the state.

    Args:
        file: the configuration file, absolute.
        raw: its bytes.
        env: the environment's variables.
        there: paths where a pgAdmin was looked for.
        read: paths of pgAdmin's own configuration that were read, or would have been.
    """
    return {
        "file": str(file),
        "size": len(raw),
        "crc": zlib.crc32(raw),
        "env": {name: env[name] for name in _VARIABLES if name in env},
        "there": {path: usable(Path(path)) for path in there},
        "read": {path: _mark(path) for path in read},
    }


def made_from(config: Mapping[str, Any], state_dir: Path) -> dict[str, Any]:
    """What status.json is made from; to be taken before the state is read.

    Args:
        config: the configuration's `origin`.
        state_dir: the folder of the state.
    """
    return {"pgherald": __version__, "config": dict(config), "state": _state(state_dir)}


def still(found: Mapping[str, Any], file: Path, raw: bytes, env: Mapping[str, str]) -> bool:
    """Whether a configuration would come to the same now.

    Args:
        found: what `made_from` gave.
        file: the configuration file, absolute.
        raw: its bytes.
        env: the environment's variables.
    """
    config = found["config"]
    now = origin(file, raw, env, config["there"], config["read"])
    return bool(found["pgherald"] == __version__ and config == now)


def same_state(found: Mapping[str, Any], state_dir: Path) -> bool:
    """Whether nothing has been written to the state since `made_from`."""
    return found["state"] is not None and found["state"] == _state(state_dir)


def _state(folder: Path) -> list[int] | None:
    """Something that is another one after each change; None when nobody can tell."""
    path = folder / "state.db"
    try:
        with path.open("rb") as file:
            head, about = file.read(28), os.fstat(file.fileno())
    except OSError:
        return None
    if len(head) < _COUNTER.stop or head[_WAL] != b"\1\1" or Path(f"{path}-journal").exists():
        return None  # not ours, or somebody is writing
    return [
        about.st_ino,
        about.st_size,
        about.st_mtime_ns,
        int.from_bytes(head[_COUNTER], "big"),
    ]


def _mark(path: str) -> list[int] | None:
    """Another one after each change of a file; None when it is not there."""
    try:
        about = Path(path).stat()
    except OSError:
        return None
    return [about.st_ino, about.st_size, about.st_mtime_ns]
