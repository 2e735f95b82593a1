"""Configurations as text: load one, or list what is wrong with it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Final

from pgherald.config import Config, load
from pgherald.errors import ConfigError

#: A home that is nobody's.
HOME: Final[Mapping[str, str]] = MappingProxyType({"HOME": "/home/eve"})

DATABASES: Final = '[[databases]]\napp = "shop"\n'
CLIENTS: Final = "[clients.pgpass]\n"
#: The least that loads.
SMALLEST: Final = DATABASES + CLIENTS


def load_text(
    folder: Path, text: str, env: Mapping[str, str] = HOME, *, platform: str = "linux"
) -> Config:
    """Write `config.toml` into the folder, byte for byte, and load it."""
    file = folder / "config.toml"
    file.write_bytes(text.encode())
    return load(file, env, platform=platform)


def problems(folder: Path, text: str, env: Mapping[str, str] = HOME) -> list[str]:
    """What is wrong with a configuration, as `LINE: MESSAGE`; empty when nothing is."""
    try:
        load_text(folder, text, env)
    except ConfigError as exc:
        return [problem.removeprefix(f"{folder / 'config.toml'}:") for problem in exc.problems]
    return []
