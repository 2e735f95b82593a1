"""Where the configuration and pgherald's own state are."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path


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


def state_dir(
    text: str | None, file: Path, env: Mapping[str, str], platform: str = sys.platform
) -> Path:
    """The folder of pgherald's own state.

    Args:
        text: what the configuration says, if anything; $PGHERALD_STATE_DIR goes before it.
        file: the configuration file, absolute.
        env: the environment's variables.
        platform: as in `sys.platform`.
    """
    if named := env.get("PGHERALD_STATE_DIR"):
        return Path(expand(named, env, platform)).absolute()
    if text is not None:
        return file.parent / expand(text, env, platform)
    import platformdirs  # not needed where the folder is named

    return platformdirs.user_state_path("pgherald", appauthor=False)


def usable(path: Path) -> bool:
    """Whether there is such a file, and we may read and write it."""
    return path.is_absolute() and os.access(path, os.R_OK | os.W_OK) and path.is_file()
