"""Reads the configuration file, or says everything that is wrong with it.

Whoever may write the configuration, a program that it names, or the state folder, decides what
runs under this account. So all of them, and the folders above them, have to be ours or root's
alone (`pgherald.files.trusted`).
"""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import shutil
import sys
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final, NoReturn

from pgherald.config.build import Builder
from pgherald.config.paths import Surroundings, locate
from pgherald.config.schema import Config, Root
from pgherald.config.tables import Lines, Problem, read
from pgherald.config.values import TokenKind
from pgherald.errors import ConfigError
from pgherald.files.trusted import Stranger, strangers

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
    config = loads(_text(file), file, env, platform=platform)
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
    root, problems = read(Root, data)
    builder = Builder(root, data, Surroundings(file, env, platform))
    config = builder.build()
    if problems := [*problems, *builder.problems]:
        _fail(file, text, problems)
    return config


def _text(file: Path) -> str:
    """The file's text, without a BOM."""
    raw = b""
    try:
        raw = file.read_bytes()
        return raw.decode("utf-8-sig")
    except FileNotFoundError:
        title, problem = "There is no configuration file", f"Looked for {file}"
        folder = "" if file.parent.is_dir() else f'mkdir -p "{file.parent}" && '
        advice = "Run: pgherald init. Or start from the example, and edit it: "
        advice += f'{folder}pgherald config example > "{file}"'
    except OSError as exc:
        title, problem = "The configuration file cannot be read", f"{file}: {exc.strerror}"
        advice = "It has to be a file that you may read."
    except UnicodeDecodeError as exc:
        title = "The configuration file cannot be understood"
        line = raw.count(b"\n", 0, exc.start) + 1
        problem = f"{file}:{line}: this is not UTF-8 text"
        advice = "Save it in the encoding UTF-8."
    raise ConfigError(title, (problem,), advice)


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


def refuse_strangers(config: Config, env: Mapping[str, str]) -> None:
    """Pass a configuration that only root and this account can change.

    Args:
        config: the configuration.
        env: the environment's variables; PATH says where programs are.

    Raises:
        ConfigError: somebody else could; names every such place, and the commands that mend it.
    """
    refuse(_relied_on(config, env))


def refuse(relied_on: Iterable[tuple[str, Path]]) -> None:
    """Pass files and folders that only root and this account can change.

    Args:
        relied_on: each with what a person calls it.

    Raises:
        ConfigError: as `refuse_strangers`.
    """
    found: dict[Path, tuple[str, Stranger]] = {}
    for what, path in relied_on:
        for each in strangers(path):
            found.setdefault(each.place, (what, each))
    if found:
        raise ConfigError(
            "Somebody else may change what pgherald does",
            tuple(f"{each.place}: {each.why} ({what})" for what, each in found.values()),
            f"Run: {' && '.join(each.command for _, each in found.values())}",
        )


def _relied_on(config: Config, env: Mapping[str, str]) -> Iterator[tuple[str, Path]]:
    """Everything that decides what runs."""
    yield "the configuration", config.path
    yield "the state folder", config.state_dir
    # A journal that somebody else had put there would be carried out at the next start; a server
    # of the person's that is recorded as ours would be deleted with the others.
    names = ("state.db", "commits", "ownership")
    yield from (("the state", config.state_dir / name) for name in names)
    for hook in config.hooks:
        # Its arguments may be private.
        name = f"the hook {Path(hook.command[0]).name}"
        yield from ((name, path) for path in _programs(hook.command[0], env))
    for account in config.accounts:
        if account.token.kind is TokenKind.COMMAND:
            with contextlib.suppress(ValueError, IndexError):  # said where the token is asked for
                program = shlex.split(account.token.argument)[0]
                yield from (("the token's command", path) for path in _programs(program, env))


def _programs(name: str, env: Mapping[str, str]) -> Iterator[Path]:
    """The program that would be run, and the places on PATH where another would go before it."""
    if os.path.dirname(name):  # noqa: PTH120 – as the system decides whether PATH counts
        yield Path(name).absolute()
        return
    for folder in env.get("PATH", os.defpath).split(os.pathsep):
        yield Path(folder, name).absolute()
        if shutil.which(name, path=folder):
            return
