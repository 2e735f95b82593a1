"""Reads the configuration file, or says everything that is wrong with it."""

from __future__ import annotations

import re
import sys
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final, NoReturn

from pgherald.config.build import Builder
from pgherald.config.lines import Lines
from pgherald.config.paths import locate
from pgherald.config.settings import Config
from pgherald.config.structure import Problem, structure
from pgherald.config.surroundings import Surroundings
from pgherald.config.trust import refuse_strangers
from pgherald.errors import ConfigError

_AT_LINE: Final = re.compile(r"(?P<what>.*) \(at line (?P<line>\d+), column \d+\)", re.DOTALL)
_BACKSLASH: Final = re.compile(r'"[^"]*\\')
_ADVICE: Final = "`pgherald config example` prints every key with its meaning."


def load(path: Path | None, env: Mapping[str, str], *, platform: str = sys.platform) -> Config:
    """Read and check the configuration.

    Args:
        path: the file; None for $PGHERALD_CONFIG, else the platform's configuration folder.
        env: the environment's variables.
        platform: as in `sys.platform`; decides where clients have their files.

    Raises:
        ConfigError: there is no such file, it cannot be read, or it is wrong; lists every
            problem with its line, in the file's order. Or somebody else may change it.
    """
    file = locate(path, env)
    config = loads(_text(file, _read(file)), file, env, platform=platform)
    refuse_strangers(config, env)
    return config


def loads(text: str, file: Path, env: Mapping[str, str], *, platform: str = sys.platform) -> Config:
    """The configuration that a text would be, once it is written; arguments as for `load`.

    Args:
        text: the file's content, without a BOM.
        file: where it is, or is to be; absolute.
        env: the environment's variables.
        platform: as in `sys.platform`.

    Raises:
        ConfigError: it is wrong; lists every problem.
    """
    data = _parse(file, text)
    root, problems = structure(data)
    builder = Builder(root, data, Surroundings(file, env, platform))
    config = builder.build()
    if problems := [*problems, *builder.problems]:
        _fail(file, text, problems)
    return config


def _read(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except FileNotFoundError:
        folder = "" if file.parent.is_dir() else f'mkdir -p "{file.parent}" && '
        raise ConfigError(
            "There is no configuration file",
            (f"Looked for {file}",),
            "Run: pgherald init. Or start from the example, and edit it: "
            f'{folder}pgherald config example > "{file}"',
        ) from None
    except OSError as exc:
        raise ConfigError(
            "The configuration file cannot be read",
            (f"{file}: {exc.strerror}",),
            "It has to be a file that you may read.",
        ) from None


def _text(file: Path, raw: bytes) -> str:
    """The file's text, without a BOM."""
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as exc:
        line = raw.count(b"\n", 0, exc.start) + 1
        raise ConfigError(
            "The configuration file cannot be understood",
            (f"{file}:{line}: this is not UTF-8 text",),
            "Save it in the encoding UTF-8.",
        ) from None


def _parse(file: Path, text: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as exc:
        what, line = _syntax(str(exc), text)
    except RecursionError:
        what, line = "brackets are nested too deeply", 1
    raise ConfigError("The configuration is not TOML", (f"{file}:{line}: {what}",), _ADVICE)


def _syntax(message: str, text: str) -> tuple[str, int]:
    """What `tomllib` has to say, and on which line."""
    lines = text.rstrip().split("\n")
    match = _AT_LINE.fullmatch(message)
    if match is None:  # "(at end of document)"
        return message, len(lines)
    what, line = match["what"], int(match["line"])
    if _BACKSLASH.search(lines[min(line, len(lines)) - 1]):
        what += r"; write a Windows path in single quotes: 'C:\…'"
    return what, line


def _fail(file: Path, text: str, problems: Iterable[Problem]) -> NoReturn:
    lines = Lines(text)

    def told(problem: Problem) -> str:
        other = "" if problem.other is None else f" (see line {lines.of(problem.other)})"
        return f"{file}:{lines.of(problem.place)}: {problem.message}{other}"

    ordered = sorted(problems, key=lambda problem: lines.of(problem.place))
    title = "The configuration has " + (
        "a problem" if len(ordered) == 1 else f"{len(ordered)} problems"
    )
    raise ConfigError(title, tuple(told(problem) for problem in ordered), _ADVICE)
