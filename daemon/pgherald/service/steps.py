"""What is written and started to install the service: planned first, then applied.

A plan is a list of steps. `--dry-run` shows the very list that would be applied.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

from pgherald.errors import ServiceError
from pgherald.service.programs import Programs

#: Seconds between two tries of a step that may have come too early.
_PAUSE: Final = 1.0


@dataclass(frozen=True, slots=True)
class Write:
    """Replace a file of ours, mode 0600; missing folders are made.

    Attributes:
        path: the file.
        text: its new content.
        encoding: in which it is written.
    """

    path: Path
    text: str
    encoding: str = "utf-8"


@dataclass(frozen=True, slots=True)
class Remove:
    """Delete a file of ours."""

    path: Path


@dataclass(frozen=True, slots=True)
class Run:
    """Run a program.

    Attributes:
        argv: the program and its arguments.
        needed: whether a failure ends everything; else it says no more than that there was
            nothing to do.
        tries: how often it is tried, with a pause in between.
        advice: what the person can do when it has failed.
    """

    argv: tuple[str, ...]
    needed: bool = True
    tries: int = 1
    advice: str = ""


Step = Write | Remove | Run


class WritesOwnFiles(Protocol):
    """What a step needs of `files.Files`."""

    def make_folder(self, path: Path) -> None:
        """Make a folder and those above it, if they are missing."""
        ...

    def write_private(self, path: Path, data: bytes) -> None:
        """Replace a file of pgherald's own."""
        ...

    def remove_own(self, path: Path) -> None:
        """Delete a file of pgherald's own."""
        ...

    def sweep(self, target: Path) -> None:
        """Delete what a killed pgherald left beside it."""
        ...


def apply(
    steps: Sequence[Step],
    files: WritesOwnFiles,
    programs: Programs,
    sleep: Callable[[float], None] = time.sleep,
) -> None:
    """Do it, one step after the other.

    Raises:
        FileTrouble: a file cannot be written.
        MissingTool: a program is not there.
        ServiceError: a program failed that had to work.
    """
    for step in steps:
        match step:
            case Write():
                files.make_folder(step.path.parent)
                files.write_private(step.path, step.text.encode(step.encoding))
            case Remove():
                files.remove_own(step.path)
                files.sweep(step.path)
            case Run():
                _run(step, programs, sleep)


def _run(step: Run, programs: Programs, sleep: Callable[[float], None]) -> None:
    ended = programs.run(step.argv)
    for _ in range(step.tries - 1):
        if ended.code:
            sleep(_PAUSE)
            ended = programs.run(step.argv)
    if ended.code == 0 or not step.needed:
        return
    said = (ended.err.strip() or ended.out.strip()).partition("\n")[0]
    raise ServiceError(
        f"{' '.join(step.argv[:3])} failed: {said or f'exit code {ended.code}'}", step.advice
    )


def lines(steps: Sequence[Step]) -> Iterator[str]:
    """What the steps are, for a person to read."""
    for step in steps:
        match step:
            case Write():
                yield f"write {step.path}"
                yield from (f"    {line}".rstrip() for line in step.text.splitlines())
            case Remove():
                yield f"delete {step.path}"
            case Run():
                yield f"run {' '.join(map(_shown, step.argv))}"


def _shown(word: str) -> str:
    """A word as it would be typed."""
    return f'"{word}"' if " " in word else word
